//! What repairs have done, for whoever watches them.
use std::sync::atomic::{AtomicU64, Ordering};

use super::copying::Tally;

/// Since the process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Entries that bookies have got.
    pub entries_copied: u64,
    /// Their payload.
    pub bytes_copied: u64,
    /// Entries that were held already and were read to see that they are whole.
    pub entries_checked: u64,
    /// Members of fragments that others replaced.
    pub members_replaced: u64,
    /// Marked members that hold everything again.
    pub members_filled: u64,
    /// Ledgers whose end was settled because nobody else did.
    pub ledgers_sealed: u64,
    /// Entries that every holder denied, each time that was found.
    pub entries_lost: u64,
    /// Copies that are damaged, each time one was found.
    pub copies_damaged: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    entries_copied: AtomicU64,
    bytes_copied: AtomicU64,
    entries_checked: AtomicU64,
    pub(super) members_replaced: AtomicU64,
    pub(super) members_filled: AtomicU64,
    pub(super) ledgers_sealed: AtomicU64,
    entries_lost: AtomicU64,
    copies_damaged: AtomicU64,
}

impl Counters {
    /// Takes in how far one copying has come since `before`.
    pub(super) fn note(&self, before: &Tally, now: &Tally) {
        let add = |counter: &AtomicU64, before: u64, now: u64| counter.fetch_add(now - before, Ordering::Relaxed);
        add(&self.entries_copied, before.copied, now.copied);
        add(&self.bytes_copied, before.copied_bytes, now.copied_bytes);
        add(&self.entries_checked, before.present, now.present);
        add(&self.entries_lost, before.lost, now.lost);
        add(&self.copies_damaged, before.damaged, now.damaged);
    }

    pub(super) fn one(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn progress(&self) -> Progress {
        let now = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Progress {
            entries_copied: now(&self.entries_copied),
            bytes_copied: now(&self.bytes_copied),
            entries_checked: now(&self.entries_checked),
            members_replaced: now(&self.members_replaced),
            members_filled: now(&self.members_filled),
            ledgers_sealed: now(&self.ledgers_sealed),
            entries_lost: now(&self.entries_lost),
            copies_damaged: now(&self.copies_damaged),
        }
    }
}
