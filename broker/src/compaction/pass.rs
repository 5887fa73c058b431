//! One compaction: all entries once or more to decide, and once more to copy.
use std::collections::BTreeMap;

use bytes::Bytes;
use proto::{EntryId, LedgerId, Position};

use super::contents::{Contents, Meaning, Reading};
use super::latest::Latest;
use super::rewrite;

/// What is done when all entries were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Give all of them again, from the first.
    Again,
    /// What had to be copied was.
    Done(Outcome),
}

/// What a pass has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Messages that stay.
    pub(crate) kept: u64,
    /// Messages that were there before and do not stay.
    pub(crate) removed: u64,
}

/// Why a pass cannot go on: begin another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PassError {
    /// An entry came that was not there at the first look.
    #[error("{0} was not there when the pass began")]
    Unseen(Position),
}

/// Where the numbers of a ledger's messages begin.
#[derive(Debug, Clone, Copy)]
struct Begin {
    entry: EntryId,
    number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    First,
    /// Another look for other keys.
    Again,
    Copy,
}

/// Gets the entries of a topic in order, several times over, and says what is written.
///
/// Messages are numbered as they come. Each ledger has its own beginning of numbers, so that a ledger which has left the topic between two looks
/// shifts no others.
#[derive(Debug)]
pub(crate) struct Pass {
    reading: Reading,
    latest: Latest,
    phase: Phase,
    begins: BTreeMap<LedgerId, Begin>,
    ledger: Option<LedgerId>,
    next: u64,
    outcome: Outcome,
}

impl Pass {
    /// `seed` is best another each time: keys are hashed with it. Beyond `keys_max` keys, entries are looked at more often.
    pub(crate) fn new(seed: u64, keys_max: usize) -> Self {
        Self {
            reading: Reading::new(seed),
            latest: Latest::new(keys_max),
            phase: Phase::First,
            begins: BTreeMap::new(),
            ledger: None,
            next: 0,
            outcome: Outcome::default(),
        }
    }

    /// The next entry, and what of it is written: nothing while it is only looked at.
    pub(crate) fn entry(&mut self, position: Position, entry: &Bytes) -> Result<Option<Bytes>, PassError> {
        if self.ledger != Some(position.ledger) {
            self.enter(position)?;
        }
        let contents = self.reading.read(entry);
        let first = self.next;
        self.next += match &contents {
            Contents::Batch(batch) => batch.messages.len() as u64,
            _ => 1,
        };
        if self.phase == Phase::Copy {
            return Ok(self.copy(first, contents, entry));
        }
        self.look(first, contents);
        Ok(None)
    }

    fn enter(&mut self, position: Position) -> Result<(), PassError> {
        self.ledger = Some(position.ledger);
        match self.begins.get(&position.ledger) {
            Some(begin) if begin.entry == position.entry => self.next = begin.number,
            None if self.phase == Phase::First => {
                self.begins.insert(position.ledger, Begin { entry: position.entry, number: self.next });
            }
            _ => return Err(PassError::Unseen(position)),
        }
        Ok(())
    }

    fn look(&mut self, first: u64, contents: Contents) {
        match contents {
            Contents::One(meaning) => self.latest.message(first, meaning),
            Contents::Chunk { of, number, count, key } => self.latest.chunk(first, of, number, count, key),
            Contents::Batch(batch) => {
                (first..).zip(batch.meanings).for_each(|(number, meaning)| self.latest.message(number, meaning));
            }
            Contents::Marker => {}
            Contents::Sealed => self.latest.keep(first),
        }
    }

    fn copy(&mut self, first: u64, contents: Contents, entry: &Bytes) -> Option<Bytes> {
        let Contents::Batch(batch) = contents else {
            let stays = self.latest.stays(first);
            self.count(u64::from(stays), 1);
            return stays.then(|| entry.clone());
        };
        let stays: Vec<bool> = (first..).take(batch.messages.len()).map(|number| self.latest.stays(number)).collect();
        let kept = stays.iter().filter(|stays| **stays).count() as u64;
        let there = batch.meanings.iter().filter(|meaning| **meaning != Meaning::Nothing(true)).count() as u64;
        self.count(kept, there);
        if kept == there || kept == 0 {
            return (0 < kept).then(|| entry.clone());
        }
        Some(rewrite::without(*batch, &stays).unwrap_or_else(|| entry.clone()))
    }

    fn count(&mut self, kept: u64, there: u64) {
        self.outcome.kept += kept;
        self.outcome.removed += there - kept;
    }

    /// All entries were given.
    pub(crate) fn all_given(&mut self) -> Then {
        (self.ledger, self.next) = (None, 0);
        self.phase = match self.phase {
            Phase::Copy => return Then::Done(self.outcome),
            Phase::First | Phase::Again if self.latest.all_seen() => Phase::Copy,
            Phase::First | Phase::Again => Phase::Again,
        };
        Then::Again
    }
}

#[cfg(test)]
mod tests;
