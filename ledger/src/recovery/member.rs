//! How far a recovery is with one member.
use proto::EntryId;
use proto::bookie::{Read, request};

use super::AHEAD_ENTRIES;
use crate::QuorumPolicy;

#[derive(Debug, Default)]
pub(super) struct Member {
    pub(super) fence_answered: bool,
    pub(super) reading: bool,
    /// Everything below was read or voted on.
    read: EntryId,
    /// It had not this entry: others decide, and only then is it asked for later ones.
    stopped: bool,
    /// What it counts proves nothing.
    pub(super) uncountable: bool,
    pub(super) asked_held: bool,
    pub(super) held_answered: bool,
    pub(super) verified: bool,
}

impl Member {
    /// One that nothing is known of. Only if it is `countable` does its count of entries say anything.
    pub(super) fn new(countable: bool) -> Self {
        Self { uncountable: !countable, ..Self::default() }
    }

    /// The entry to ask for now, or nothing.
    pub(super) fn reads_from(&mut self, settled: EntryId) -> Option<EntryId> {
        if self.reading || (self.stopped && settled < self.read) {
            return None;
        }
        self.stopped = false;
        self.read = self.read.max(settled);
        Some(self.read)
    }

    pub(super) fn has_read(&mut self, next: EntryId) {
        self.read = self.read.max(next);
    }

    pub(super) fn stopped_at(&mut self, entry: EntryId) {
        self.read = self.read.max(entry.next());
        self.stopped = true;
    }
}

/// Reads of the entries that `member` should hold from `first` on: one range if it holds every entry, else the next run.
pub(super) fn reads(
    policy: QuorumPolicy,
    member: usize,
    first: EntryId,
    bytes_max: usize,
    fence: bool,
) -> Vec<request::Body> {
    let cycle = u64::from(policy.ensemble);
    let Some(first) = (first.0..first.0 + cycle).find(|entry| policy.holds(member, EntryId(*entry))) else {
        return Vec::new();
    };
    let end = if policy.write == policy.ensemble {
        first + AHEAD_ENTRIES
    } else {
        (first..first + cycle).find(|entry| !policy.holds(member, EntryId(*entry))).unwrap_or(first + cycle)
    };
    let bytes_max = u32::try_from(bytes_max).unwrap_or(u32::MAX);
    vec![request::Body::Read(Read { first, end, bytes_max, fence })]
}
