//! Whether the file system has room for more: what it said last, and what follows from it.
//!
//! Becoming read-only needs one look, leaving it needs more room than becoming so took, and some time after a write that found none.
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::disk::Room;

/// Below a segment and so much, or a quarter of what there is if that is less, no entries are taken whatever the percentage says: there
/// must be room to rewrite one.
const FREE_MIN: u64 = 8 << 20;
const SHARE_MIN: u64 = 4;
/// Down to here, or a quarter of what is kept, what is urgent is taken and rewriting goes on.
const FREE_LAST: u64 = 4 << 20;
const SHARE_LAST: u64 = 4;
/// What rewriting leaves to the journal otherwise.
const FREE_FOR_JOURNAL: u64 = 256 << 20;
/// So many hundredths of the disk more must be free to take entries again.
const BACK_PERCENT: u64 = 5;
/// After a write that found no room, whatever the file system says: it may be a quota.
const REST: Duration = Duration::from_secs(10);

/// What a bookie's disk allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// No entries are taken.
    pub read_only: bool,
    /// As the file system said last.
    pub room: Room,
}

impl Capacity {
    /// Whether it is worth telling others, who know `told`: what they may do is another thing, or a hundredth of the disk is.
    #[must_use]
    pub fn is_news_after(&self, told: &Self) -> bool {
        let change = self.room.free.abs_diff(told.room.free);
        self.read_only != told.read_only || self.room.total != told.room.total || self.room.total / 100 < change
    }
}

/// One for a store.
#[derive(Debug)]
pub(crate) struct Fullness {
    /// In use, from which on no entries are taken.
    percent: u64,
    free_min: u64,
    // Asked for each add. Only `state` decides.
    read_only: AtomicBool,
    urgent: AtomicBool,
    // Journal and space thread measure in turn, rarely, a few instructions each.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    room: Room,
    /// A write has found no room since the last look.
    refused: bool,
    rest_until: Duration,
}

impl Fullness {
    /// Of a store with segments of this size.
    pub(crate) fn new(percent: u8, segment_bytes: u64) -> Self {
        let room = Room { free: u64::MAX, total: u64::MAX };
        Self {
            percent: percent.into(),
            free_min: segment_bytes + FREE_MIN,
            read_only: AtomicBool::new(false),
            urgent: AtomicBool::new(true),
            state: Mutex::new(State { room, refused: false, rest_until: Duration::ZERO }),
        }
    }

    /// Ordinary entries are refused.
    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Relaxed)
    }

    /// Entries that are urgent are taken.
    pub(crate) fn takes_urgent(&self) -> bool {
        self.urgent.load(Ordering::Relaxed)
    }

    /// As the file system said last.
    pub(crate) fn room(&self) -> Room {
        self.state.lock().room
    }

    /// Whether a bookie with so much room should be read-only.
    pub(crate) fn is_too_little(&self, room: Room) -> bool {
        room.free < self.margin(room.total)
    }

    fn margin(&self, total: u64) -> u64 {
        let share = total / 100 * (100 - self.percent.min(100));
        share.max(self.free_min.min(total / SHARE_MIN))
    }

    /// What neither urgent entries nor rewriting take.
    pub(crate) fn last(&self) -> u64 {
        FREE_LAST.min(self.margin(self.room().total) / SHARE_LAST)
    }

    /// What a pass that rewrites leaves to the journal: while the bookie is read-only, this needs little.
    pub(crate) fn kept_from_passes(&self) -> u64 {
        if self.is_read_only() {
            return self.last();
        }
        FREE_FOR_JOURNAL.min(self.margin(self.room().total).saturating_mul(2))
    }

    /// Takes in what the file system says. Only makes read-only.
    pub(crate) fn note(&self, room: Room) {
        self.state.lock().room = room;
        self.urgent.store(self.last() <= room.free, Ordering::Relaxed);
        if self.is_too_little(room) {
            self.close(room);
        }
    }

    /// A write has found no room.
    pub(crate) fn refused(&self) {
        let room = {
            let mut state = self.state.lock();
            state.refused = true;
            state.room
        };
        self.close(room);
    }

    /// Takes entries again if what was noted last allows it. `now` only grows.
    pub(crate) fn reconsider(&self, now: Duration) {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.refused) {
            state.rest_until = now + REST;
        }
        let room = state.room;
        let back = self.margin(room.total).saturating_add(room.total / 100 * BACK_PERCENT);
        let enough = back.min(room.total / 100 * 99) <= room.free && state.rest_until <= now;
        drop(state);
        if enough && self.read_only.swap(false, Ordering::Relaxed) {
            tracing::info!(free = room.free, total = room.total, "there is room again: entries are taken");
        }
    }

    fn close(&self, room: Room) {
        if !self.read_only.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                free = room.free,
                total = room.total,
                "the disk is full: read-only until space is free again"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const SEGMENT: u64 = 64 << 20;
    const SECOND: Duration = Duration::from_secs(1);

    fn look(fullness: &Fullness, free: u64, now: Duration) -> bool {
        fullness.note(Room { free, total: 100 * GIB });
        fullness.reconsider(now);
        fullness.is_read_only()
    }

    #[test]
    fn it_closes_at_one_mark_and_opens_at_another() {
        let fullness = Fullness::new(95, SEGMENT);
        assert!(!look(&fullness, 5 * GIB, SECOND));
        assert!(look(&fullness, 5 * GIB - 1, SECOND * 2));
        assert!(look(&fullness, 10 * GIB - 1, SECOND * 3), "between the marks it stays as it is");
        assert!(!look(&fullness, 10 * GIB, SECOND * 4));
        assert!(!look(&fullness, 5 * GIB, SECOND * 5), "in both directions");
    }

    /// A quota may refuse what the file system says is free.
    #[test]
    fn after_a_write_without_room_it_rests_whatever_the_disk_says() {
        let fullness = Fullness::new(95, SEGMENT);
        assert!(!look(&fullness, 50 * GIB, SECOND));
        fullness.refused();
        assert!(fullness.is_read_only());
        assert!(look(&fullness, 50 * GIB, SECOND * 2));
        assert!(look(&fullness, 50 * GIB, SECOND * 2 + REST - Duration::from_millis(1)));
        assert!(!look(&fullness, 50 * GIB, SECOND * 2 + REST));
    }

    #[test]
    fn rewriting_leaves_room_to_the_journal_and_the_last_of_it_to_nobody() {
        let fullness = Fullness::new(95, SEGMENT);
        assert!(!look(&fullness, 50 * GIB, SECOND));
        assert_eq!(fullness.kept_from_passes(), 256 << 20);
        assert!(look(&fullness, 4 * GIB, SECOND));
        assert_eq!(fullness.kept_from_passes(), 4 << 20);
        fullness.note(Room { free: 64 << 20, total: 64 << 20 });
        fullness.reconsider(SECOND);
        assert_eq!(fullness.kept_from_passes(), 32 << 20, "less on a small disk");
    }

    #[test]
    fn others_are_told_what_changes_notably() {
        let told = Capacity { read_only: false, room: Room { free: 50 * GIB, total: 100 * GIB } };
        let free = |free| Capacity { room: Room { free, ..told.room }, ..told };
        assert!(!free(49 * GIB).is_news_after(&told) && !free(51 * GIB).is_news_after(&told));
        assert!(free(49 * GIB - 1).is_news_after(&told) && free(51 * GIB + 1).is_news_after(&told));
        assert!(Capacity { read_only: true, ..told }.is_news_after(&told));
    }

    #[test]
    fn what_is_urgent_goes_on_until_hardly_anything_is_left() {
        let fullness = Fullness::new(95, SEGMENT);
        for (total, last) in [(GIB, 4 << 20), (32 << 20, 2 << 20)] {
            fullness.note(Room { free: last, total });
            assert!(fullness.is_read_only() && fullness.takes_urgent());
            fullness.note(Room { free: last - 1, total });
            assert!(!fullness.takes_urgent());
        }
    }

    #[test]
    fn a_small_disk_keeps_more_than_the_percentage_and_any_percentage_can_be_left_again() {
        let (small, fullness) = (|free, total| Room { free, total }, Fullness::new(99, SEGMENT));
        assert!(fullness.is_too_little(small((72 << 20) - 1, GIB)) && !fullness.is_too_little(small(72 << 20, GIB)));
        assert!(
            fullness.is_too_little(small((8 << 20) - 1, 32 << 20)) && !fullness.is_too_little(small(8 << 20, 32 << 20))
        );
        for percent in 1..=99 {
            let fullness = Fullness::new(percent, SEGMENT);
            fullness.note(Room { free: 0, total: 100 * GIB });
            assert!(!look(&fullness, 100 * GIB - 1, SECOND), "{percent}");
        }
    }
}
