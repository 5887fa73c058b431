//! What happens to segments beside the journal: zeros ahead of it, the next file before it is needed, footers behind it.
//!
//! [`Keeper::turn`] does one piece of work; a thread calls it in production, a simulation calls it between steps.
use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::seal::write_footer;
use super::zero_ahead::{AHEAD, CHUNK, ZeroAhead};
use super::{Begun, HEADER_END, Segments};
use crate::disk::{AlignedBuffer, DiskFile, is_full};
use crate::error::JournalError;
use crate::format::{Generation, SegmentId};
use crate::seed::Seed;

/// Zeros are made durable in groups of this size, so that the journal's syncs have no growth of the file to carry.
const ZEROS_PER_SYNC: u64 = 4 << 20;
/// Batches from here on are bound by bandwidth: zeros before them would only double the bytes.
const FLOOD_BATCH: u64 = 256 << 10;

/// The segment the journal writes to.
#[derive(Debug, Clone)]
pub(crate) struct Active {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) segment: SegmentId,
    pub(crate) generation: Generation,
}

/// How busy the journal is: whoever can wait asks for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pressure {
    /// Written since the start.
    pub(crate) batches: u64,
    /// The last one was bound by the disk's bandwidth.
    pub(crate) flood: bool,
}

#[derive(Debug)]
struct Kept {
    active: Active,
    zeros: ZeroAhead,
    /// Zeroed but not yet durable.
    unsynced: u64,
}

#[derive(Debug, Default)]
struct State {
    active: Option<Kept>,
    next: Option<Kept>,
    /// Being created right now.
    preparing: bool,
    /// The disk refused. The journal will hear of it itself.
    unprepared: bool,
    flood: bool,
    batches: u64,
    to_seal: VecDeque<SegmentId>,
    /// The disk refused. They are tried again when the next segment is full.
    unsealed: Vec<SegmentId>,
    stopping: bool,
}

/// A piece of work.
#[derive(Debug)]
enum Work {
    Zero { active: Active, chunk: std::ops::Range<u64>, sync: bool },
    Prepare(SegmentId, Generation),
    Seal(SegmentId),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Keeper {
    segments: Arc<Segments>,
    // Journal and keeper hand files to each other here: two threads, a few instructions, no I/O inside.
    state: Mutex<State>,
    /// There may be work.
    work: Condvar,
    /// A chunk or a file is finished.
    finished: Condvar,
    generations: Mutex<Seed>,
    zeros: AlignedBuffer,
}

impl Keeper {
    pub(crate) fn new(segments: Arc<Segments>, to_seal: Vec<SegmentId>) -> Self {
        let state = State { to_seal: to_seal.into(), ..State::default() };
        let generations = Mutex::new(Seed::new(segments.options.seed));
        let chunk = usize::try_from(CHUNK).expect("a chunk is small");
        Self {
            segments,
            state: Mutex::new(state),
            work: Condvar::new(),
            finished: Condvar::new(),
            generations,
            zeros: AlignedBuffer::zeroed(chunk),
        }
    }

    /// The journal is about to write up to `end` of the active segment. Waits while a begun chunk is in its way.
    pub(crate) fn claim(&self, end: u64, batch_bytes: u64) {
        let mut state = self.state.lock();
        state.flood = FLOOD_BATCH <= batch_bytes;
        state.batches += 1;
        while state.active.as_mut().is_some_and(|kept| !kept.zeros.claim(end)) {
            self.finished.wait(&mut state);
        }
        // Waking a thread costs more than a small batch does.
        if state.has_work(self.zeros_allowed()) {
            self.work.notify_one();
        }
    }

    /// What was claimed last was not written: the journal goes on at `offset`.
    pub(crate) fn unclaim(&self, offset: u64) {
        if let Some(kept) = &mut self.state.lock().active {
            kept.zeros.unclaim(offset);
        }
    }

    /// A full disk is not filled with zeros.
    fn zeros_allowed(&self) -> bool {
        !self.segments.fullness.is_read_only()
    }

    /// Tries again what could not be sealed.
    pub(crate) fn seal_again(&self) {
        let mut state = self.state.lock();
        let unsealed = std::mem::take(&mut state.unsealed);
        if !unsealed.is_empty() {
            state.to_seal.extend(unsealed);
            self.work.notify_one();
        }
    }

    /// The segment to go on with after the active one, which is sealed in the background. Made now if nobody prepared it. An error leaves
    /// the active one as it is.
    pub(crate) fn roll(&self, segment: SegmentId) -> Result<Active, JournalError> {
        let mut state = self.state.lock();
        while state.preparing {
            self.finished.wait(&mut state);
        }
        let kept = match state.next.take() {
            Some(next) => next,
            None => {
                let generation = self.generation();
                let Begun { file, written } = self.segments.begin(segment, generation)?;
                self.kept(Active { file, segment, generation }, written)
            }
        };
        assert_eq!(kept.active.segment, segment, "segments follow each other");
        let unsealed = std::mem::take(&mut state.unsealed);
        state.to_seal.extend(unsealed);
        if let Some(full) = state.active.take() {
            state.to_seal.push_back(full.active.segment);
        }
        let active = kept.active.clone();
        state.active = Some(kept);
        state.unprepared = false;
        drop(state);
        self.work.notify_one();
        Ok(active)
    }

    /// How busy the journal is.
    pub(crate) fn pressure(&self) -> Pressure {
        let state = self.state.lock();
        Pressure { batches: state.batches, flood: state.flood }
    }

    /// Whether nobody has locked what the journal locks for each batch.
    #[cfg(test)]
    pub(crate) fn is_free(&self) -> bool {
        self.state.try_lock().is_some()
    }

    /// One piece of work, if there is any.
    pub(crate) fn turn(&self) -> bool {
        let work = self.state.lock().choose(self.zeros_allowed(), || self.generation());
        let Some(work) = work else { return false };
        self.perform(work);
        true
    }

    /// Works until asked to stop.
    pub(crate) fn run(&self) {
        loop {
            let work = {
                let mut state = self.state.lock();
                loop {
                    if state.stopping {
                        return;
                    }
                    match state.choose(self.zeros_allowed(), || self.generation()) {
                        Some(work) => break work,
                        None => self.work.wait(&mut state),
                    }
                }
            };
            self.perform(work);
        }
    }

    /// Lets [`run`](Self::run) return.
    pub(crate) fn stop(&self) {
        self.state.lock().stopping = true;
        self.work.notify_all();
    }

    /// Seals all that can be sealed, for a stop after which nothing need be scanned. Call when neither thread runs any more.
    pub(crate) fn seal_all(&self) {
        let open = self.segments.index.read().open_segments(); // In its own statement: sealing takes the lock to write.
        for segment in open {
            self.seal(segment);
        }
    }

    fn generation(&self) -> Generation {
        Generation(self.generations.lock().next())
    }

    fn kept(&self, active: Active, written: u64) -> Kept {
        let zeros = ZeroAhead::new(HEADER_END, written, self.segments.options.segment_bytes);
        Kept { active, zeros, unsynced: 0 }
    }

    fn perform(&self, work: Work) {
        match work {
            Work::Zero { active, chunk, sync } => {
                let length = usize::try_from(chunk.end - chunk.start).expect("a chunk is small");
                let outcome = active.file.write_at(chunk.start, &self.zeros.bytes()[..length]);
                let outcome = outcome.and_then(|()| if sync { active.file.sync() } else { Ok(()) });
                self.segments.traffic.zeros.add(chunk.end - chunk.start);
                if let Err(error) = &outcome {
                    if is_full(error) {
                        self.segments.fullness.refused();
                    }
                    // Not the journal's bytes: it goes on and finds out itself whether the disk is broken.
                    tracing::warn!(segment = active.segment.0, %error, "cannot zero ahead");
                }
                self.finish(&active, &chunk, outcome.is_ok());
            }
            Work::Prepare(segment, generation) => {
                let outcome = self.segments.begin(segment, generation);
                let mut state = self.state.lock();
                state.preparing = false;
                match outcome {
                    Ok(Begun { file, written }) => {
                        state.next = Some(self.kept(Active { file, segment, generation }, written));
                    }
                    // The journal tries once more, and knows what to do.
                    Err(error) => {
                        state.unprepared = true;
                        tracing::warn!(%error, "cannot prepare a segment");
                    }
                }
                self.finished.notify_all();
            }
            Work::Seal(segment) => self.seal(segment),
        }
    }

    fn finish(&self, active: &Active, chunk: &std::ops::Range<u64>, zeroed: bool) {
        let mut state = self.state.lock();
        let State { active: current, next, .. } = &mut *state;
        let kept = [current, next].into_iter().flatten().find(|kept| kept.active.segment == active.segment);
        if let Some(kept) = kept {
            kept.zeros.finish(zeroed);
            kept.unsynced = (kept.unsynced + chunk.end - chunk.start) % ZEROS_PER_SYNC;
        }
        self.finished.notify_all();
    }

    fn seal(&self, segment: SegmentId) {
        if let Err(error) = seal(&self.segments, segment) {
            // It stays in memory; if the process ends before it is sealed, it is scanned at the next start.
            tracing::warn!(segment = segment.0, %error, "cannot seal a segment");
            self.state.lock().unsealed.push(segment);
        }
    }
}

impl State {
    fn zeros_lag(&self) -> bool {
        !self.flood && self.active.as_ref().is_some_and(|active| active.zeros.lags(AHEAD))
    }

    fn needs_next(&self) -> bool {
        let rest = self.active.as_ref().map(|active| active.zeros.rest());
        rest.is_some_and(|rest| rest < AHEAD) && self.next.is_none() && !self.preparing && !self.unprepared
    }

    /// What `ahead` leaves for the next segment once the active one has no more room for zeros.
    fn ahead_in_next(&self) -> u64 {
        self.active.as_ref().map_or(0, |active| AHEAD.saturating_sub(active.zeros.rest()))
    }

    fn next_zeros_lag(&self) -> bool {
        !self.flood && self.next.as_ref().is_some_and(|next| next.zeros.lags(self.ahead_in_next()))
    }

    fn has_work(&self, zeros: bool) -> bool {
        let lags = zeros && (self.zeros_lag() || self.next_zeros_lag());
        lags || self.needs_next() || !self.to_seal.is_empty()
    }

    fn choose(&mut self, zeros: bool, generation: impl FnOnce() -> Generation) -> Option<Work> {
        if zeros && self.zeros_lag() {
            return self.active.as_mut()?.zero(AHEAD);
        }
        if self.needs_next() {
            self.preparing = true;
            let segment = self.active.as_ref()?.active.segment.next();
            return Some(Work::Prepare(segment, generation()));
        }
        if let Some(segment) = self.to_seal.pop_front() {
            return Some(Work::Seal(segment));
        }
        let ahead = self.ahead_in_next();
        if zeros && self.next_zeros_lag() { self.next.as_mut()?.zero(ahead) } else { None }
    }
}

impl Kept {
    fn zero(&mut self, ahead: u64) -> Option<Work> {
        let chunk = self.zeros.begin(ahead)?;
        let sync = ZEROS_PER_SYNC <= self.unsynced + CHUNK || chunk.end - chunk.start < CHUNK;
        Some(Work::Zero { active: self.active.clone(), chunk, sync })
    }
}

/// Appends the footer and lets the index forget the single entries.
pub(crate) fn seal(segments: &Segments, segment: SegmentId) -> std::io::Result<()> {
    let Some((open, extent)) = segments.index.read().open_segment(segment) else { return Ok(()) };
    let (rows, bytes) = write_footer(segments.file(segment)?.as_ref(), segment, &extent, &open)?;
    segments.traffic.upkeep.add(bytes);
    segments.index.write().seal(segment, &rows);
    Ok(())
}
