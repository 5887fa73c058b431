//! Shared and Key_Shared: entries that wait for their time (ADR 17). Each is delayed, then near its time and read, then queued.
use proto::Position;

use super::reading::{FETCH_ENTRIES_MAX, one_read};
use super::{Dispatch, FETCH_BYTES_MAX, Fetch, Fetched};
use crate::cursor::Run;
use crate::policies::DelayTerms;
use crate::subscription::chunks::Chunk;
use crate::subscription::delayed::{Delayed, Due};
use crate::subscription::near::{Near, SOON_MS};

/// Entries of a Shared subscription whose time has come and that are queued at once. The others wait where they are.
const QUEUED_MAX: usize = 1000;
/// One read of a lonely entry.
const SMALL_FETCH_BYTES: usize = 16 * 1024;
/// So many others in what a large read brings are worth it.
const NEIGHBOURS: usize = 3;

/// The entries that wait, and what is known of times.
#[derive(Debug, Default)]
pub(super) struct Delays {
    terms: DelayTerms,
    now: Due,
    delayed: Delayed,
    near: Near,
    /// What they say holds whatever is acknowledged, so they outlive every rewind.
    runs: Vec<Run>,
    /// Of these, those that nobody has taken to write them down.
    new_runs: Vec<Run>,
    /// The last read of new entries brought almost nothing else.
    prevail: bool,
}

impl Delays {
    /// Those that are due soon.
    pub(super) fn near(&self) -> &Near {
        &self.near
    }

    /// What was read and nobody has taken for a while is read again.
    pub(super) fn give_back(&mut self) {
        self.near.give_back(self.now);
    }

    /// A read of what is due soon has ended there.
    pub(super) fn swept(&mut self, to: Position) {
        self.near.swept(to);
    }

    pub(super) fn take_unread(&mut self, position: Position) -> bool {
        self.near.take_unread(position)
    }

    /// Whether something could be delivered.
    pub(super) fn is_due(&self) -> bool {
        self.near.is_due(self.now) || self.delayed.first_due().is_some_and(|due| due <= self.now)
    }

    /// Whether most of what is read waits for its time.
    pub(super) fn prevail(&self) -> bool {
        self.prevail
    }

    pub(super) fn note_read(&mut self, entries: usize, delayed: u64) {
        self.prevail = 0 < entries && entries as u64 - entries as u64 / 8 <= delayed;
    }

    pub(super) fn len(&self) -> u64 {
        self.delayed.len() + self.near.len()
    }

    pub(super) fn len_below(&self, end: Position) -> u64 {
        self.delayed.len_below(end) + self.near.len_below(end)
    }

    pub(super) fn contains(&self, position: Position) -> bool {
        self.delayed.contains(position) || self.near.contains(position)
    }

    /// Whether something below a position waits until then, or may.
    fn hold_before(&self, due: Due, position: Position) -> bool {
        self.near.holds_before(due, position) || self.delayed.first_due().is_some_and(|first| first <= due)
    }

    pub(super) fn remove(&mut self, position: Position) {
        let removed = self.delayed.remove(position);
        self.forget_runs_after(removed);
        self.near.remove(position);
    }

    pub(super) fn remove_below(&mut self, mark: Position) {
        let before = self.delayed.len();
        self.delayed.remove_below(mark);
        self.forget_runs_after(self.delayed.len() < before);
        self.near.remove_below(mark);
    }

    /// One more is due soon, if there is room for it.
    fn come_near(&mut self) -> bool {
        if !self.near.has_room() {
            return false;
        }
        let soon = self.delayed.pop_due(self.now.saturating_add(SOON_MS));
        self.forget_runs_after(soon.is_some());
        if let Some((due, position)) = soon {
            self.near.insert(position, due);
        }
        soon.is_some()
    }

    /// When the last that was delayed is not any more, what runs tell has come, or is acknowledged.
    fn forget_runs_after(&mut self, removed: bool) {
        if removed && self.delayed.len() == 0 {
            self.runs.clear();
        }
    }

    /// A new run takes the place of those that tell nothing any more.
    fn add_run(&mut self, run: Run, mark: Position) {
        self.runs.retain(|run| run.tells(mark, self.now));
        self.delayed.forget_runs_below(mark);
        self.runs.push(run.clone());
        self.new_runs.push(run);
    }
}

impl Dispatch {
    /// The time is `now`, in milliseconds since 1970.
    pub(crate) fn at(&mut self, now: u64) {
        self.delays.now = now;
    }

    pub(super) fn set_delays(&mut self, terms: DelayTerms) {
        self.delays.terms = terms;
    }

    /// Entries that wait for their time.
    pub(crate) fn delayed(&self) -> u64 {
        self.delays.len()
    }

    /// What was written down of times.
    pub(crate) fn know(&mut self, runs: Vec<Run>) {
        self.delays.runs = runs;
        self.recall_delays();
    }

    /// When [`Self::next`] may have something to deliver, or [`Self::wanted`] something to read, that it has not now.
    pub(crate) fn next_due(&self) -> Option<u64> {
        let Delays { terms, now, ref near, ref delayed, .. } = self.delays;
        let gathered = |due: Due| due.div_ceil(terms.tick_ms.max(1)).saturating_mul(terms.tick_ms.max(1));
        let read = near.first_read_due().map(gathered);
        let soon = delayed.first_due().map(|due| due.saturating_sub(SOON_MS));
        [read, soon, near.sweep_at(), near.stale_at()].into_iter().flatten().filter(|at| now < *at).min()
    }

    /// Runs that are to be written down, because their times are further away than `far`.
    pub(crate) fn take_runs(&mut self, far: u64) -> Vec<Run> {
        let (new, now) = (std::mem::take(&mut self.delays.new_runs), self.delays.now);
        new.into_iter().filter(|run| now.saturating_add(far) < run.last_due()).collect()
    }

    /// Makes runs of the entries that are in none, if they are `least` or more.
    pub(crate) fn pack_delays(&mut self, least: usize) {
        if least <= self.delays.delayed.young() {
            let (now, mark) = (self.delays.now, self.acks.mark());
            for run in self.delays.delayed.pack_young(now) {
                self.delays.add_run(run, mark);
            }
        }
    }

    /// Nothing is delayed but what runs say.
    pub(super) fn recall_delays(&mut self) {
        let shared = self.shared();
        let Self { delays: Delays { terms, now, delayed, near, runs, .. }, acks, .. } = self;
        delayed.clear();
        near.clear();
        runs.retain(|run| run.tells(acks.mark(), *now));
        if !shared || !terms.active {
            return;
        }
        for run in runs {
            delayed.insert_run(run, |due, position| *now < due && !acks.contains(position));
        }
    }

    /// Whether an entry that was read waits for its time, or a chunk for that of the beginning of its message. Then it is not delivered now.
    pub(super) fn postpone(&mut self, position: Position, due: Option<u64>, chunk: Option<Chunk>) -> bool {
        let own = due.filter(|due| self.delays.now < *due && self.delays.terms.active && self.shared());
        let Some(due) = own.or_else(|| self.due_of_others(position, chunk?)) else { return false };
        self.delay(position, due);
        true
    }

    /// The time of a message in chunks, if chunks that belong before this one may still wait for it: they may have been read before that time, and this
    /// one after it.
    fn due_of_others(&self, position: Position, chunk: Chunk) -> Option<Due> {
        chunk.due.filter(|due| !chunk.first && self.delays.hold_before(*due, position))
    }

    fn delay(&mut self, position: Position, due: Due) {
        if let Some(run) = self.delays.delayed.insert(position, due, self.delays.now) {
            self.delays.add_run(run, self.acks.mark());
        }
    }

    /// Whether an entry that is read for the first time has its place already.
    pub(super) fn is_known(&self, position: Position) -> bool {
        self.acks.contains(position)
            || self.delays.contains(position)
            || self.queue.contains(position)
            || self.pending.contains_key(&position)
    }

    /// Queues those whose time has come, as far as they were read and there is room; then others are due soon.
    pub(super) fn release(&mut self) {
        while self.queues_more()
            && let Some((position, fetched)) = self.delays.near.pop_due(self.delays.now)
        {
            self.let_come(position, fetched);
        }
        while self.delays.come_near() {}
    }

    /// The time of an entry has come. A chunk must not come before others of its message.
    fn let_come(&mut self, position: Position, fetched: Fetched) {
        let (slot, chunk) = (fetched.slot, fetched.chunk);
        if let Some(chunk) = chunk.filter(|chunk| !chunk.first) {
            if self.next <= position {
                return self.ahead.turn_back(position); // Not all that lies before it was looked at. It is read again in its turn.
            }
            if let Some(due) = self.due_of_others(position, chunk) {
                return self.delay(position, due);
            }
        }
        self.ahead.put(position, fetched);
        self.enqueue(position, slot, chunk.map(|chunk| chunk.of));
        self.give_way(position);
    }

    fn queues_more(&self) -> bool {
        if self.keys.is_some() { self.passes_more() } else { self.queue.len() < QUEUED_MAX }
    }

    /// What is due soon and was read. Its own time is what counts, whatever was thought of it.
    pub(super) fn hold_near(&mut self, position: Position, due: Option<Due>, fetched: Fetched) {
        match due {
            Some(due) if self.delays.now.saturating_add(SOON_MS) < due => self.delay(position, due),
            due => self.delays.near.put_read(position, due.unwrap_or_default(), fetched),
        }
    }

    /// Up to where entries may be read before their turn: where keys have an order, one of the same key may be among those that were not
    /// looked at yet.
    pub(super) fn near_end(&self) -> Position {
        if self.keys.is_some() { self.next } else { Position::new(u64::MAX, u64::MAX) }
    }

    /// The read of what is due soon that should be made, if any.
    pub(super) fn wanted_near(&self) -> Option<Fetch> {
        let near = self.delays.near();
        let end = self.near_end();
        let first = near.unread(end, self.delays.now).next()?;
        let entries_max = one_read(first, FETCH_ENTRIES_MAX, near.unread(end, self.delays.now));
        // Large reads pay where several lie near each other.
        let reach = first.entry.0.saturating_add(near.entries_in(FETCH_BYTES_MAX));
        let in_reach = |at: &Position| at.ledger == first.ledger && at.entry.0 < reach;
        let many = near.unread(end, self.delays.now).take_while(in_reach).nth(NEIGHBOURS).is_some();
        let bytes_max = if many { FETCH_BYTES_MAX } else { SMALL_FETCH_BYTES };
        Some(Fetch { from: first, entries_max, bytes_max, again: true })
    }

    /// All that was read has its place: new is what lies behind it and behind what is known without being read.
    pub(super) fn pass_known(&mut self) {
        let end = self.ahead.end();
        self.ahead.reach(self.delays.delayed.first_unknown(end, self.acks.holes_in(end.ledger)));
        self.next = self.ahead.end();
    }
}
