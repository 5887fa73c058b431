//! Bringing one bookie to hold what one seat of a fragment should hold, as a value without I/O: replies go in, asks and a verdict
//! come out. The same, without writing, looks how much it holds.
//!
//! Promises: what the bookie has is compared with its digest, and what it gets had the right one; nothing is called lost unless
//! every other holder has explicitly said no; an entry that cannot be had does not keep the others from being copied.
//! Never: holds more than a batch.
use std::collections::VecDeque;
use std::ops::Range;

use proto::bookie::{Add, Entry, Held, Read, request};
use proto::{EntryId, LedgerId};

use self::item::{Item, State};
use crate::QuorumPolicy;
use crate::reader::Holder;
use crate::recovery::{Reply, is_whole};

mod item;
#[cfg(test)]
mod tests;

/// Payload bytes read with one ask.
const BATCH_BYTES: u64 = 2 << 20;
const BATCH_ENTRIES_MIN: u64 = 16;
const BATCH_ENTRIES_MAX: u64 = 4096;

/// Whom an ask is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Party {
    /// The bookie that is to hold the entries.
    Target,
    /// One of the other holders.
    Source(usize),
}

/// Requests for one bookie, to be answered once with a reply to each.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ask {
    pub(crate) party: Party,
    pub(crate) bodies: Vec<request::Body>,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) ledger: LedgerId,
    pub(crate) policy: QuorumPolicy,
    /// Of the fragment's ensemble.
    pub(crate) seat: usize,
    /// Within the fragment, in order.
    pub(crate) entries: Vec<Range<EntryId>>,
    /// Payload bytes of an entry, about.
    pub(crate) entry_bytes: u64,
    /// The other holders.
    pub(crate) sources: Vec<Holder>,
    /// Only look.
    pub(crate) look: bool,
}

/// What was found and done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// Entries that the bookie had, whole.
    pub(crate) present: u64,
    /// Entries it has got.
    pub(crate) copied: u64,
    pub(crate) copied_bytes: u64,
    /// Entries that it had not, when only looked for.
    pub(crate) missing: u64,
    /// Entries of which it has a damaged copy, or cannot say.
    pub(crate) damaged: u64,
    /// The first of either.
    pub(crate) first_bad: Option<EntryId>,
    /// Entries that every other holder denies, and the first.
    pub(crate) lost: u64,
    pub(crate) first_lost: Option<EntryId>,
    /// Entries that could not be had now, and the first.
    pub(crate) unreadable: u64,
    pub(crate) first_unreadable: Option<EntryId>,
}

/// What it came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All of it was looked at, and what could be had was copied.
    Done(Tally),
    /// The bookie does not answer, or does not take entries now.
    Silent,
    /// The bookie has a damaged copy of something, which it would keep.
    Unfit,
    /// The ledger is being deleted.
    Deleted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Whether the bookie holds anything at all.
    Greeting,
    /// What it holds of the batch; one by one, once something was missing.
    Checking {
        singly: bool,
    },
    /// Missing entries come from others, and are written before more is asked for.
    Fetching,
    /// The batch is through.
    Next,
    Over,
}

/// One bookie being brought to hold one seat's share.
#[derive(Debug)]
pub(crate) struct Copying {
    job: Job,
    left: VecDeque<Range<EntryId>>,
    /// Of the sources, the best first.
    order: Vec<usize>,
    /// Which of the sources lacked something of this batch: they are asked for one entry at a time.
    patchy: Vec<bool>,
    at_once: u64,
    /// The bookie held nothing when it was asked first.
    fresh: bool,
    batch: Vec<Item>,
    phase: Phase,
    unanswered: usize,
    tally: Tally,
    verdict: Option<Verdict>,
    asks: Vec<Ask>,
}

impl Copying {
    pub(crate) fn new(job: Job) -> Self {
        let mut order: Vec<usize> = (0..job.sources.len()).collect();
        order.sort_by_key(|source| {
            let Holder { seat, lacking, doubtful } = job.sources[*source];
            (lacking, doubtful, seat.is_none())
        });
        let mut copying = Self {
            left: job.entries.iter().filter(|range| !range.is_empty()).cloned().collect(),
            patchy: vec![false; order.len()],
            order,
            at_once: (BATCH_BYTES / job.entry_bytes.max(1)).clamp(BATCH_ENTRIES_MIN, BATCH_ENTRIES_MAX),
            job,
            fresh: false,
            batch: Vec::new(),
            phase: Phase::Greeting,
            unanswered: 0,
            tally: Tally::default(),
            verdict: None,
            asks: Vec::new(),
        };
        if copying.left.is_empty() {
            copying.end_with(Verdict::Done(Tally::default()));
        } else {
            copying.ask(Party::Target, vec![request::Body::Held(Held {})]);
        }
        copying
    }

    /// What is to be asked now.
    pub(crate) fn asks(&mut self) -> Vec<Ask> {
        std::mem::take(&mut self.asks)
    }

    /// What it came to, once it has.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        self.verdict
    }

    /// What was found and done so far.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    fn ask(&mut self, party: Party, bodies: Vec<request::Body>) {
        if !bodies.is_empty() {
            self.unanswered += 1;
            self.asks.push(Ask { party, bodies });
        }
    }

    /// Takes the replies to an ask, one for each of its bodies.
    pub(crate) fn answered(&mut self, ask: &Ask, replies: Vec<Reply>) {
        assert_eq!(ask.bodies.len(), replies.len(), "each body has its reply");
        self.unanswered -= 1;
        for (body, reply) in ask.bodies.iter().zip(replies) {
            match (self.phase, body, ask.party) {
                (Phase::Over, ..) => return,
                _ if reply == Reply::Deleted => return self.end_with(Verdict::Deleted),
                (Phase::Greeting, ..) => self.greeted(&reply),
                (_, request::Body::Read(read), Party::Target) => self.checked(read, reply),
                (_, request::Body::Read(read), Party::Source(source)) => self.fetched(source, read, reply),
                (_, request::Body::Add(add), _) => self.wrote(add, &reply),
                _ => unreachable!("nothing else is asked"),
            }
        }
        if self.unanswered == 0 {
            self.go_on();
        }
    }

    fn greeted(&mut self, reply: &Reply) {
        match reply {
            Reply::Holding(holding) => self.fresh = holding.entries == 0,
            _ => self.end_with(Verdict::Silent),
        }
    }

    fn go_on(&mut self) {
        while self.phase != Phase::Over && self.asks.is_empty() {
            match self.phase {
                Phase::Greeting | Phase::Next => self.next_batch(),
                Phase::Checking { singly } => self.check(singly),
                Phase::Fetching => self.fetch(),
                Phase::Over => {}
            }
        }
    }

    fn next_batch(&mut self) {
        self.batch.clear();
        self.patchy.fill(false);
        while let Some(range) = self.left.front_mut() {
            if self.at_once <= self.batch.len() as u64 {
                break;
            }
            let entry = range.start;
            range.start = entry.next();
            if range.is_empty() {
                self.left.pop_front();
            }
            if self.job.policy.holds(self.job.seat, entry) {
                self.batch.push(Item::new(entry, if self.fresh { State::Missing } else { State::Unknown }));
            }
        }
        if self.batch.is_empty() {
            return self.end_with(Verdict::Done(self.tally));
        }
        self.phase = Phase::Checking { singly: false };
    }

    fn check(&mut self, singly: bool) {
        let longest = if singly { 1 } else { u64::MAX };
        let runs = item::runs(&self.batch, longest, |item| (item.state == State::Unknown).then_some(()));
        if !runs.is_empty() {
            let bodies = reads(runs.into_iter().map(|(run, ())| run).collect());
            return self.ask(Party::Target, bodies);
        }
        for item in &self.batch {
            match item.state {
                State::Present => self.tally.present += 1,
                State::Damaged => self.tally.damaged += 1,
                _ if self.job.look => self.tally.missing += 1,
                _ => continue,
            }
            if item.state != State::Present {
                self.tally.first_bad.get_or_insert(item.entry);
            }
        }
        if self.job.look {
            self.phase = Phase::Next;
        } else if 0 < self.tally.damaged {
            self.end_with(Verdict::Unfit);
        } else {
            self.phase = Phase::Fetching;
        }
    }

    fn item(&mut self, entry: u64) -> Option<&mut Item> {
        let at = self.batch.binary_search_by_key(&entry, |item| item.entry.0).ok()?;
        self.batch.get_mut(at)
    }

    fn set(&mut self, entry: u64, state: State) {
        if let Some(item) = self.item(entry) {
            item.state = state;
        }
    }

    /// The bookie has said what it holds from the start of a run on.
    fn checked(&mut self, read: &Read, reply: Reply) {
        match reply {
            Reply::Entries(entries) => {
                let ledger = self.job.ledger;
                for (entry, id) in entries.iter().zip(read.first..read.end) {
                    let whole = entry.entry == id && is_whole(ledger, entry);
                    self.set(id, if whole { State::Present } else { State::Damaged });
                }
            }
            Reply::NotHeld | Reply::Absent => {
                self.set(read.first, State::Missing);
                if let Phase::Checking { singly } = &mut self.phase {
                    *singly = true;
                }
            }
            Reply::Unknown => self.set(read.first, State::Damaged),
            _ => self.end_with(Verdict::Silent),
        }
    }

    /// Writes what has been had; else asks for each missing entry the best source that has not been asked for it.
    fn fetch(&mut self) {
        let found = self.batch.iter().filter_map(|item| match &item.state {
            State::Found(entry) => Some(request::Body::Add(add(entry))),
            _ => None,
        });
        let adds: Vec<request::Body> = found.collect();
        if !adds.is_empty() {
            return self.ask(Party::Target, adds);
        }
        for index in 0..self.batch.len() {
            if self.batch[index].state == State::Missing {
                self.choose_source(index);
            }
        }
        let wants = |item: &Item| (item.state == State::Missing).then_some(item.source);
        let runs = item::runs(&self.batch, u64::MAX, wants);
        let mut sources: Vec<usize> = runs.iter().map(|(_, source)| *source).collect();
        sources.sort_unstable();
        sources.dedup();
        for source in &sources {
            let singly = self.patchy[self.order[*source]];
            let of_source = runs.iter().filter(|(_, other)| other == source).map(|(run, _)| run.clone());
            let of_source = of_source.flat_map(|run| if singly { item::each(run) } else { vec![run] }).collect();
            self.ask(Party::Source(self.order[*source]), reads(of_source));
        }
        if sources.is_empty() {
            self.phase = Phase::Next;
        }
    }

    /// Moves on to a source that may hold the entry, or gives the entry up.
    fn choose_source(&mut self, index: usize) {
        let item = &mut self.batch[index];
        let may_hold = |source: &usize| {
            let seat = self.job.sources[self.order[*source]].seat;
            seat.is_none_or(|seat| self.job.policy.holds(seat, item.entry))
        };
        if let Some(source) = (item.source..self.order.len()).find(may_hold) {
            item.source = source;
            return;
        }
        item.state = State::GivenUp;
        if item.doubted {
            self.tally.unreadable += 1;
            self.tally.first_unreadable.get_or_insert(item.entry);
        } else {
            self.tally.lost += 1;
            self.tally.first_lost.get_or_insert(item.entry);
        }
    }

    fn fetched(&mut self, source: usize, read: &Read, reply: Reply) {
        let ledger = self.job.ledger;
        match reply {
            Reply::Entries(entries) => {
                for (entry, id) in entries.into_iter().zip(read.first..read.end) {
                    if entry.entry == id && is_whole(ledger, &entry) {
                        self.set(id, State::Found(entry));
                    } else {
                        tracing::error!(%ledger, entry = id, source, "a replica is corrupt");
                        self.next_source(id, true);
                    }
                }
            }
            Reply::NotHeld | Reply::Absent => {
                self.patchy[source] = true;
                self.next_source(read.first, false);
            }
            Reply::Unknown => self.next_source(read.first, true),
            _ => (read.first..read.end).for_each(|entry| self.next_source(entry, true)),
        }
    }

    fn next_source(&mut self, entry: u64, doubted: bool) {
        if let Some(item) = self.item(entry) {
            item.source += 1;
            item.doubted |= doubted;
        }
    }

    fn wrote(&mut self, add: &Add, reply: &Reply) {
        if *reply != Reply::Done {
            return self.end_with(Verdict::Silent);
        }
        self.set(add.entry, State::Present);
        self.tally.copied += 1;
        self.tally.copied_bytes += add.payload.len() as u64;
    }

    fn end_with(&mut self, verdict: Verdict) {
        self.phase = Phase::Over;
        self.verdict = Some(verdict);
        self.asks.clear();
    }
}

/// A repair's write is a recoverer's: it passes the fence and shows readers nothing new.
fn add(entry: &Entry) -> Add {
    Add {
        entry: entry.entry,
        confirmed: entry.confirmed,
        length: entry.length,
        digest: entry.digest,
        recovery: true,
        payload: entry.payload.clone(),
        urgent: false,
    }
}

fn reads(runs: Vec<Range<u64>>) -> Vec<request::Body> {
    let bytes_max = u32::try_from(BATCH_BYTES / runs.len().max(1) as u64).unwrap_or(u32::MAX);
    let read = |run: Range<u64>| request::Body::Read(Read { first: run.start, end: run.end, bytes_max, fence: false });
    runs.into_iter().map(read).collect()
}
