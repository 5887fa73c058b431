//! One rewriting of several segments, step by step: gather entries, read them, write them as a batch, and so on to the end.
use std::sync::Arc;

use proto::LedgerId;

use super::fault::Fault;
use super::merge::Merge;
use super::output::{Output, Sorted};
use super::piece::{Piece, READ_BYTES};
use crate::disk::{AlignedBuffer, BLOCK};
use crate::format::{Generation, SegmentId};
use crate::segments::Segments;

/// Of one batch. With the buffer for reading and what is known of its entries, this is what a pass takes in memory.
const PIECE_BYTES: u64 = 12 << 20;
const PIECE_ENTRIES: usize = 64 << 10;
/// Entries gathered in one step.
const GATHERED: usize = 16 << 10;
/// Bytes written in one step.
const WRITE_BYTES: usize = 1 << 20;
/// Reads of one step: small entries of one ledger among many lie far apart.
const READS: usize = 64;

/// What the next step does.
#[derive(Debug)]
enum Stage {
    Gather(Piece),
    Fill(Piece, Output),
    /// From here on in the batch.
    Write(usize, Output),
    Seal(Output),
    Done,
}

/// What is to be done with a piece.
#[derive(Debug)]
enum Gathered {
    More,
    Enough,
    /// It goes into the next segment.
    NoRoom,
    /// It is empty, and no entry is left.
    End,
}

/// What a step came to.
#[derive(Debug)]
pub(super) enum Step {
    /// So many bytes were read and written.
    Moved(u64),
    /// All is written and durable.
    Done,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pass {
    segments: Arc<Segments>,
    pub(super) chosen: Vec<SegmentId>,
    pub(super) merge: Merge,
    stage: Stage,
    /// Partly filled, until a piece needs more than it has room for.
    output: Option<Output>,
    pub(super) sorted: Vec<Sorted>,
    /// Of the next output.
    next: SegmentId,
    batch: AlignedBuffer,
    scratch: AlignedBuffer,
    index_bytes: u64,
}

impl Pass {
    /// Begins to rewrite these segments into others that are numbered from `next` on.
    pub(super) fn begin(segments: &Arc<Segments>, chosen: Vec<SegmentId>, next: SegmentId) -> Result<Self, Fault> {
        let merge = Merge::open(segments, &chosen)?;
        let capacity = usize::try_from(PIECE_BYTES.min(segments.options.segment_bytes)).expect("a piece is small");
        Ok(Self {
            segments: segments.clone(),
            chosen,
            merge,
            stage: Stage::Gather(Piece::new()),
            output: None,
            sorted: Vec::new(),
            next,
            batch: AlignedBuffer::with_capacity(capacity),
            scratch: AlignedBuffer::with_capacity(READ_BYTES),
            index_bytes: 0,
        })
    }

    /// The segment after all that this pass has begun.
    pub(super) fn next(&self) -> SegmentId {
        self.next
    }

    /// One step. After a fault the pass can only be [abandoned](Self::abandon).
    pub(super) fn step(&mut self, generation: &mut dyn FnMut() -> Generation) -> Result<Step, Fault> {
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Gather(piece) => self.gather(piece, generation),
            Stage::Fill(piece, output) => self.fill(piece, output),
            Stage::Write(at, output) => self.write(at, output),
            Stage::Seal(output) => {
                let (sorted, footer_bytes) = output.seal(&self.segments)?;
                self.sorted.push(sorted);
                self.stage = Stage::Gather(Piece::new());
                Ok(Step::Moved(footer_bytes))
            }
            Stage::Done => Ok(Step::Done),
        }
    }

    fn gather(&mut self, mut piece: Piece, generation: &mut dyn FnMut() -> Generation) -> Result<Step, Fault> {
        let outcome = self.add_to(&mut piece);
        let index_bytes = std::mem::replace(&mut self.index_bytes, self.merge.bytes_read());
        let moved = self.index_bytes - index_bytes;
        self.segments.traffic.rewrite_read.add(moved);
        self.stage = match (outcome?, self.output.take()) {
            (Gathered::More, output) => {
                self.output = output;
                Stage::Gather(piece)
            }
            (Gathered::NoRoom, Some(output)) => Stage::Seal(output),
            (Gathered::NoRoom, None) => unreachable!("a segment takes one entry at least"),
            (Gathered::Enough, output) => {
                let output = match output {
                    Some(output) => output,
                    None => {
                        self.next = self.next.next();
                        Output::begin(&self.segments, SegmentId(self.next.0 - 1), generation())?
                    }
                };
                piece.close(&mut self.batch);
                Stage::Fill(piece, output)
            }
            (Gathered::End, Some(last)) => Stage::Seal(last),
            (Gathered::End, None) => Stage::Done,
        };
        Ok(Step::Moved(moved))
    }

    /// Adds the next entries to a piece.
    fn add_to(&mut self, piece: &mut Piece) -> Result<Gathered, Fault> {
        let segment_bytes = self.segments.options.segment_bytes;
        let room = self.output.as_ref().map_or(segment_bytes - BLOCK as u64, |output| output.room(segment_bytes));
        let room = room.min(PIECE_BYTES);
        let segments = self.segments.clone();
        let is_deleted = |ledger: LedgerId| segments.index.read().marks().is_deleted(ledger);
        for _ in 0..GATHERED {
            let Some(next) = self.merge.peek(&is_deleted)? else {
                return Ok(if piece.len() == 0 { Gathered::End } else { Gathered::Enough });
            };
            if piece.ends_with(&next) {
                let what = format!("entry {} of ledger {} is there twice", next.entry.entry.0, next.ledger.0);
                return Err(self.merge.sources[next.source].damaged(next.entry.offset.into(), what));
            }
            let fits = piece.length as u64 + next.entry.bytes() <= room && piece.len() < PIECE_ENTRIES;
            match piece.len() {
                0 if !fits && self.output.is_some() => return Ok(Gathered::NoRoom),
                0 => {}
                _ if !fits => return Ok(Gathered::Enough),
                _ => {}
            }
            piece.push(&next);
            self.merge.take(&next, &is_deleted)?;
        }
        Ok(Gathered::More)
    }

    fn fill(&mut self, mut piece: Piece, mut output: Output) -> Result<Step, Fault> {
        let mut read = 0;
        for _ in 0..READS {
            read += piece.fill(&self.merge.sources, output.generation, &mut self.scratch, &mut self.batch)?;
            if piece.is_whole() || READ_BYTES as u64 / 2 <= read {
                break;
            }
        }
        self.segments.traffic.rewrite_read.add(read);
        self.stage = if piece.is_whole() {
            output.head(&piece, &mut self.batch);
            Stage::Write(0, output)
        } else {
            Stage::Fill(piece, output)
        };
        Ok(Step::Moved(read))
    }

    fn write(&mut self, at: usize, mut output: Output) -> Result<Step, Fault> {
        let rest = &self.batch.bytes()[at..];
        let bytes = &rest[..rest.len().min(WRITE_BYTES)];
        output.write(bytes, &self.segments)?;
        self.segments.traffic.rewrite_written.add(bytes.len() as u64);
        let moved = Step::Moved(bytes.len() as u64);
        if bytes.len() == rest.len() {
            self.output = Some(output);
            self.stage = Stage::Gather(Piece::new());
        } else {
            self.stage = Stage::Write(at + bytes.len(), output);
        }
        Ok(moved)
    }

    /// Removes what was written. What cannot be removed is swept by the next start.
    pub(super) fn abandon(self, first: SegmentId) {
        for number in first.0..self.next.0 {
            let name = SegmentId(number).file_name();
            self.segments.close(SegmentId(number));
            if let Err(error) = self.segments.disk.remove(&name) {
                tracing::warn!(name, %error, "cannot remove a segment that was not finished");
            }
        }
    }
}
