//! The journal: what has come goes into one batch, one sync covers all of it, then all of it is answered.
//!
//! Owns: the end of the store, and with it the order of adds, fences and tombstones of every ledger.
//! Promises: an order judged done is synced; a fence covers every add that was judged after it.
//! Never: waits for more to come.
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use proto::bookie::{Add, Status};
use proto::digest::entry_digest;
use proto::{EntryId, LedgerId};

use crate::disk::{AlignedBuffer, BLOCK, is_full, whole_blocks};
use crate::error::JournalError;
use crate::format::{BATCH_HEADER, BatchHead, IndexEntry, Kind, Place, Record, RowFlags, SegmentId};
use crate::index::{Extent, Index};
use crate::segments::{Active, HEADER_END, Keeper, Recovered, Segments};

/// Bytes one batch should carry: beyond this a sync takes longer and moves hardly more.
pub(crate) const BATCH_BYTES: usize = 1 << 20;
/// How often the journal asks how full the disk is, in bytes that it has written.
const MEASURE_BYTES: u64 = 4 << 20;
/// The largest payload of an entry: above every message that a broker takes.
pub const ENTRY_BYTES_MAX: usize = 8 << 20;

/// What the journal is asked to do.
#[derive(Debug)]
pub(crate) enum Order {
    Add {
        ledger: LedgerId,
        add: Add,
    },
    Fence(LedgerId),
    Delete(LedgerId),
    /// Refused before it came here. It takes its turn, so that a ledger's adds are answered in order.
    Refused(Verdict),
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) status: Status,
    /// For people, when the status is not OK.
    pub(crate) reason: &'static str,
}

impl Verdict {
    pub(crate) const DONE: Self = Self::new(Status::Ok, "");

    pub(crate) const fn new(status: Status, reason: &'static str) -> Self {
        Self { status, reason }
    }
}

const READ_ONLY: Verdict = Verdict::new(Status::ReadOnly, "the disk is full, and the bookie read-only");

impl Order {
    /// An add whose bytes are what its writer meant. Not for the journal's thread: it reads the whole payload.
    pub(crate) fn add(ledger: LedgerId, add: Add) -> Self {
        let invalid = |reason| Self::Refused(Verdict::new(Status::Invalid, reason));
        if ENTRY_BYTES_MAX < add.payload.len() {
            return invalid("the entry is larger than an entry may be");
        }
        if add.entry == u64::MAX {
            return invalid("no ledger has an entry of this number");
        }
        if add.length < add.payload.len() as u64 {
            return invalid("the ledger's length is smaller than this entry");
        }
        if entry_digest(ledger, EntryId(add.entry), add.length, &add.payload) != add.digest {
            return invalid("the digest is of other bytes");
        }
        Self::Add { ledger, add }
    }

    /// What it adds to a batch.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Add { add, .. } => crate::format::RECORD_HEADER + add.payload.len(),
            Self::Fence(_) | Self::Delete(_) => crate::format::RECORD_HEADER,
            Self::Refused(_) => 0,
        }
    }
}

/// Records that will be synced as one.
#[derive(Debug, Default)]
struct Batch {
    records: Vec<(Record, Bytes)>,
    ledgers: HashMap<LedgerId, InBatch>,
    bytes: usize,
}

/// Why a batch was not written.
#[derive(Debug)]
enum Unwritten {
    /// There was no room. Nothing of it counts, and the journal may go on.
    Full(JournalError),
    /// Only a new start knows what is durable.
    Failed(JournalError),
}

/// What the batch will have changed about a ledger.
#[derive(Debug, Clone, Copy, Default)]
struct InBatch {
    flags: RowFlags,
    end: EntryId,
}

/// The journal's state. One thread calls [`step`](Self::step).
#[derive(Debug)]
pub(crate) struct Journal {
    segments: Arc<Segments>,
    keeper: Arc<Keeper>,
    active: Option<Active>,
    /// Where the next batch begins in the active segment.
    offset: u64,
    /// The segment after the active one.
    next: SegmentId,
    sequence: u64,
    synced: Place,
    buffer: AlignedBuffer,
    pub(crate) bytes_written: u64,
    /// Of these, when the disk was asked last.
    measured_at: u64,
    #[cfg(feature = "defects")]
    pub(crate) planted: crate::defects::Planted,
}

impl Journal {
    /// Goes on where the store ended, in a fresh segment. Returns once everything that may not have been synced is.
    pub(crate) fn open(recovered: Recovered) -> Result<(Self, Arc<Keeper>), JournalError> {
        let Recovered { segments, to_seal, segment, sequence, synced, again, .. } = recovered;
        let keeper = Arc::new(Keeper::new(segments.clone(), to_seal));
        let mut journal = Self {
            segments,
            keeper: keeper.clone(),
            active: None,
            offset: HEADER_END,
            next: segment,
            sequence,
            synced,
            buffer: AlignedBuffer::with_capacity(2 * BATCH_BYTES),
            bytes_written: 0,
            measured_at: 0,
            #[cfg(feature = "defects")]
            planted: crate::defects::Planted::default(),
        };
        let mut batch = Batch::default();
        for (record, payload) in again {
            batch.push(record, payload);
            if BATCH_BYTES <= batch.bytes {
                journal.write_for_sure(&std::mem::take(&mut batch))?;
            }
        }
        if !batch.records.is_empty() {
            journal.write_for_sure(&batch)?;
        }
        Ok((journal, keeper))
    }

    /// Judges the orders one after the other, appends what must be kept as one batch, syncs once, and says what became of
    /// each. After an error nothing may be answered, by this journal or about it.
    pub(crate) fn step(&mut self, orders: Vec<Order>) -> Result<Vec<Verdict>, JournalError> {
        let mut batch = Batch::default();
        let adds: Vec<bool> = orders.iter().map(|order| matches!(order, Order::Add { .. })).collect();
        let index = self.segments.index.read();
        let mut verdicts: Vec<Verdict> =
            orders.into_iter().map(|order| self.judge(&index, &mut batch, order)).collect();
        drop(index);
        if !batch.records.is_empty() {
            match self.write(&batch) {
                Ok(()) => self.measure_now_and_then(),
                Err(Unwritten::Failed(error)) => return Err(error),
                Err(Unwritten::Full(error)) => self.do_without_room(batch, &adds, &mut verdicts, &error)?,
            }
        }
        Ok(verdicts)
    }

    fn measure_now_and_then(&mut self) {
        if self.measured_at + MEASURE_BYTES <= self.bytes_written {
            self.measured_at = self.bytes_written;
            self.segments.measure();
        }
    }

    /// The batch found no room: its entries are refused, its fences and tombstones get what is in reserve.
    fn do_without_room(
        &mut self,
        mut batch: Batch,
        adds: &[bool],
        verdicts: &mut [Verdict],
        error: &JournalError,
    ) -> Result<(), JournalError> {
        tracing::warn!(%error, "a batch found no room");
        self.segments.fullness.refused();
        self.segments.measure();
        batch.keep_marks();
        let marked = if batch.records.is_empty() {
            true
        } else {
            match self.write_for_sure(&batch) {
                Ok(()) => true,
                Err(Unwritten::Full(_)) => false,
                Err(Unwritten::Failed(error)) => return Err(error),
            }
        };
        for (verdict, is_add) in verdicts.iter_mut().zip(adds) {
            let was_done = verdict.status == Status::Ok && (*is_add || !marked);
            // What an order of the same batch would have brought about.
            let rests_on_marks = matches!(verdict.status, Status::Fenced | Status::Deleted) && !marked;
            if was_done || rests_on_marks {
                *verdict = READ_ONLY;
            }
        }
        Ok(())
    }

    /// Writes a batch at the expense of the reserve.
    fn write_for_sure(&mut self, batch: &Batch) -> Result<(), Unwritten> {
        loop {
            match self.write(batch) {
                Err(Unwritten::Full(_)) if self.segments.reserve.release() => {}
                outcome => return outcome,
            }
        }
    }

    fn judge(&self, index: &Index, batch: &mut Batch, order: Order) -> Verdict {
        match order {
            Order::Refused(verdict) => verdict,
            Order::Add { ledger, add } => self.judge_add(index, batch, ledger, add),
            Order::Fence(ledger) => {
                let now = batch.of(index, ledger);
                if now.flags.deleted {
                    return DELETED;
                }
                #[cfg(feature = "defects")]
                if !self.planted.keeps_fence(ledger) {
                    return Verdict::DONE;
                }
                if !now.flags.fenced {
                    now.flags.fenced = true;
                    batch.push(Record::mark(Kind::Fence, ledger), Bytes::new());
                }
                Verdict::DONE
            }
            Order::Delete(ledger) => {
                let now = batch.of(index, ledger);
                if !now.flags.deleted {
                    now.flags.deleted = true;
                    batch.push(Record::mark(Kind::Tombstone, ledger), Bytes::new());
                }
                Verdict::DONE
            }
        }
    }

    fn judge_add(&self, index: &Index, batch: &mut Batch, ledger: LedgerId, add: Add) -> Verdict {
        let now = batch.of(index, ledger);
        if now.flags.deleted {
            return DELETED;
        }
        let fenced = now.flags.fenced;
        #[cfg(feature = "defects")]
        let fenced = self.planted.is_fenced(ledger, fenced);
        if fenced && !add.recovery {
            return Verdict::new(Status::Fenced, "the ledger is fenced");
        }
        let entry = EntryId(add.entry);
        if entry < now.end {
            // Below the highest entry: sent again, or filling a gap.
            let in_batch = batch
                .records
                .iter()
                .map(|(record, _)| record)
                .find(|record| record.kind == Kind::Entry && record.ledger == ledger && record.entry == entry);
            let digest = match in_batch {
                Some(record) => Ok(Some(record.digest)),
                None => self.segments.held(index, ledger, entry).map(|held| held.map(|held: IndexEntry| held.digest)),
            };
            match digest {
                Ok(Some(digest)) if digest == add.digest => return Verdict::DONE,
                Ok(Some(_)) => return Verdict::new(Status::Invalid, "another entry is held under this number"),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(ledger = ledger.0, entry = entry.0, %error, "cannot tell whether an entry is held");
                    return Verdict::new(Status::Unknown, "the index of the entry's segment cannot be read");
                }
            }
        }
        let fullness = &self.segments.fullness;
        if fullness.is_read_only() && !(add.urgent && fullness.takes_urgent()) {
            return READ_ONLY;
        }
        let now = batch.of(index, ledger);
        now.end = now.end.max(entry.next());
        let record = Record {
            kind: Kind::Entry,
            ledger,
            entry,
            confirmed: EntryId(add.confirmed),
            length: add.length,
            digest: add.digest,
            size: u32::try_from(add.payload.len()).expect("entries are below the limit"),
        };
        batch.push(record, add.payload);
        Verdict::DONE
    }

    fn write(&mut self, batch: &Batch) -> Result<(), Unwritten> {
        let length = BATCH_HEADER + batch.bytes;
        let active = self.room_for(whole_blocks(length) as u64).map_err(|error| match error.is_full() {
            true => Unwritten::Full(error), // Nothing rests on a segment that was not begun.
            false => Unwritten::Failed(error),
        })?;
        self.buffer.clear();
        self.buffer.resize(BATCH_HEADER);
        let mut offsets = Vec::with_capacity(batch.records.len());
        for (record, payload) in &batch.records {
            let offset = self.offset + self.buffer.len() as u64;
            offsets.push(u32::try_from(offset).expect("segments are below 4 GiB"));
            record.append(active.generation, &mut self.buffer);
            self.buffer.extend(payload);
        }
        let head = BatchHead {
            segment: active.segment,
            generation: active.generation,
            sequence: self.sequence,
            offset: self.offset,
            synced: self.synced,
            length: u32::try_from(length).expect("batches are small"),
            records: u32::try_from(batch.records.len()).expect("batches are small"),
        };
        self.buffer.resize(whole_blocks(length));
        head.write(self.buffer.bytes_mut());

        let fault =
            |doing, source| JournalError { path: self.segments.path(active.segment), doing, source: Arc::new(source) };
        self.keeper.claim(head.end(), self.buffer.len() as u64);
        if let Err(error) = active.file.write_at(head.offset, self.buffer.bytes()) {
            if !is_full(&error) {
                return Err(Unwritten::Failed(fault("write", error)));
            }
            // No sync has vouched for the place, and the next batch begins there.
            self.keeper.unclaim(head.offset);
            return Err(Unwritten::Full(fault("write", error)));
        }
        active.file.sync().map_err(|error| Unwritten::Failed(fault("sync", error)))?;

        let end = Place { segment: active.segment, offset: head.end() };
        let records = batch.records.iter().zip(offsets).map(|((record, _), offset)| (record, offset));
        self.segments.index.write().apply(end, self.synced, self.sequence, records);
        self.offset = head.end();
        self.synced = end;
        self.sequence += 1;
        self.bytes_written += self.buffer.len() as u64;
        if 4 * BATCH_BYTES < self.buffer.capacity() {
            self.buffer = AlignedBuffer::with_capacity(2 * BATCH_BYTES); // After a batch of large entries.
        }
        Ok(())
    }

    /// The active segment, or a fresh one when `bytes` more do not fit. A segment takes one batch at least.
    fn room_for(&mut self, bytes: u64) -> Result<Active, JournalError> {
        if let Some(active) = &self.active {
            let fits = self.offset + bytes <= self.segments.options.segment_bytes;
            if fits || self.offset == HEADER_END {
                return Ok(active.clone());
            }
        }
        let active = self.keeper.roll(self.next)?;
        let extent = Extent::new(active.generation, HEADER_END);
        self.segments.index.write().begin(active.segment, extent);
        self.next = self.next.next();
        self.offset = BLOCK as u64;
        self.active = Some(active.clone());
        Ok(active)
    }
}

const DELETED: Verdict = Verdict::new(Status::Deleted, "the ledger is deleted");

impl From<Unwritten> for JournalError {
    fn from(unwritten: Unwritten) -> Self {
        match unwritten {
            Unwritten::Full(error) | Unwritten::Failed(error) => error,
        }
    }
}

impl Batch {
    fn of(&mut self, index: &Index, ledger: LedgerId) -> &mut InBatch {
        self.ledgers.entry(ledger).or_insert_with(|| {
            let standing = index.standing(ledger);
            InBatch { flags: standing.flags, end: standing.end }
        })
    }

    /// Takes the entries out.
    fn keep_marks(&mut self) {
        self.records.retain(|(record, _)| record.kind != Kind::Entry);
        self.bytes = self.records.iter().map(|(record, _)| record.bytes()).sum();
    }

    fn push(&mut self, record: Record, payload: Bytes) {
        self.bytes += record.bytes();
        self.records.push((record, payload));
    }
}
