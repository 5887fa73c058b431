//! Which segments to rewrite now. A value without I/O.
use std::time::Duration;

use crate::format::{INDEX_ENTRY, SegmentId};
use crate::index::Usage;
use crate::segments::Options;

/// Segments of one pass, and what is wanted in them.
pub(super) const PASS_SEGMENTS: usize = 16;
const PASS_BYTES: u64 = 1 << 30;
/// Directory rows of one pass, which are kept in memory: 8 MiB.
const PASS_ROWS: usize = 128 << 10;
/// What a file takes besides records and index entries, about.
const FOOTER_BYTES: u64 = 1 << 20;
/// A sorted segment this many times smaller than one may be is sorted again with the next pass.
const SMALL: u64 = 8;
/// What the disk has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// For a pass.
    pub(super) usable: u64,
    /// It is full: every byte counts.
    pub(super) pressed: bool,
}

/// A sealed segment that may be rewritten.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) usage: Usage,
    /// How long it has been known to be sealed.
    pub(super) age: Duration,
}

impl Candidate {
    /// Less than half of its records are wanted, or less than seven eighths.
    fn is_mostly_dead(&self, pressed: bool) -> bool {
        let Usage { live_bytes, bytes, .. } = self.usage;
        if pressed { 8 * live_bytes < 7 * bytes } else { 2 * live_bytes < bytes }
    }
}

/// What the next pass takes.
#[derive(Debug)]
pub(super) struct Choice {
    /// Not empty.
    pub(super) segments: Vec<SegmentId>,
    /// Some only because they are old.
    pub(super) major: bool,
}

/// The next pass, if it is time for one.
///
/// What is old waits as long again for others to be sorted with: what one pass takes becomes one run per ledger.
pub(super) fn choose(candidates: &[Candidate], room: Room, options: &Options) -> Option<Choice> {
    let (age, segment_bytes) = (options.rewrite_after, options.segment_bytes);
    let wanted = candidates.iter().filter(|candidate| !candidate.usage.dead);
    let (mut first, others): (Vec<&Candidate>, Vec<_>) =
        wanted.partition(|candidate| candidate.is_mostly_dead(room.pressed));
    // What gives most for what it takes comes first, in case there is little room.
    let wanted_per_mille = |usage: &Usage| usage.live_bytes * 1000 / usage.bytes.max(1);
    first.sort_by_key(|candidate| wanted_per_mille(&candidate.usage));
    let (sorted, others): (Vec<&Candidate>, Vec<_>) =
        others.into_iter().partition(|candidate| candidate.usage.segment.is_sorted());
    let (mut old, young): (Vec<&Candidate>, Vec<_>) = others.into_iter().partition(|candidate| age <= candidate.age);
    old.sort_by_key(|candidate| candidate.usage.segment);
    let waited = old.iter().any(|candidate| 2 * age <= candidate.age);
    if young.is_empty() || waited || PASS_SEGMENTS <= old.len() {
        // In parts of like size: a small rest would get short runs.
        let passes = old.len().div_ceil(PASS_SEGMENTS).max(1);
        old.truncate(old.len().div_ceil(passes));
        first.append(&mut old);
    }
    if !first.is_empty() {
        // What was rewritten when there was little, so that small files do not pile up.
        first.extend(sorted.into_iter().filter(|candidate| SMALL * candidate.usage.data_end <= segment_bytes));
    }
    let chosen = within_bounds(&first, room.usable);
    let major = chosen.iter().any(|candidate| !candidate.is_mostly_dead(room.pressed));
    let segments: Vec<_> = chosen.iter().map(|candidate| candidate.usage.segment).collect();
    (!segments.is_empty()).then_some(Choice { segments, major })
}

fn within_bounds<'a>(candidates: &[&'a Candidate], mut room: u64) -> Vec<&'a Candidate> {
    let (mut bytes, mut rows) = (0, 0);
    let mut chosen = Vec::new();
    for candidate in candidates {
        let usage = &candidate.usage;
        let needed = usage.live_bytes + usage.entries * INDEX_ENTRY as u64 + FOOTER_BYTES;
        let fits = chosen.is_empty() || rows + usage.rows <= PASS_ROWS && bytes + usage.live_bytes <= PASS_BYTES;
        if PASS_SEGMENTS <= chosen.len() || room < needed || !fits {
            continue;
        }
        room -= needed;
        bytes += usage.live_bytes;
        rows += usage.rows;
        chosen.push(*candidate);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const AGE: Duration = Duration::from_secs(5 * 60);

    fn candidate(number: u64, live_mib: u64, age: Duration) -> Candidate {
        let (segment, live_bytes) = (SegmentId(number), live_mib * MIB);
        let (rows, entries, bytes) = (1000, 10_000, 64 * MIB);
        Candidate {
            usage: Usage { segment, data_end: bytes, rows, entries, bytes, live_bytes, dead: live_mib == 0 },
            age,
        }
    }

    const PLENTY: Room = Room { usable: u64::MAX, pressed: false };

    fn numbers(candidates: &[Candidate], usable: u64) -> Vec<u64> {
        chosen(candidates, Room { usable, pressed: false })
    }

    fn chosen(candidates: &[Candidate], room: Room) -> Vec<u64> {
        choose(candidates, room, &Options::default())
            .into_iter()
            .flat_map(|choice| choice.segments)
            .map(|segment| segment.0)
            .collect()
    }

    #[test]
    fn segments_are_sorted_once_they_are_old_and_none_younger_could_join() {
        let all = |age| [1, 2, 3].map(|number| candidate(number, 60, age));
        assert!(numbers(&all(AGE - Duration::from_secs(1)), u64::MAX).is_empty());
        assert_eq!(numbers(&all(AGE), u64::MAX), [1, 2, 3]);
        let younger = [candidate(1, 60, AGE), candidate(2, 60, Duration::ZERO)];
        assert!(numbers(&younger, u64::MAX).is_empty(), "it waits for the other");
        let waited = [candidate(1, 60, 2 * AGE), candidate(2, 60, Duration::ZERO)];
        assert_eq!(numbers(&waited, u64::MAX), [1], "but not for ever");
        let sorted = [candidate(SegmentId::FIRST_SORTED.0, 60, 10 * AGE)];
        assert!(numbers(&sorted, u64::MAX).is_empty(), "once is enough");
    }

    #[test]
    fn mostly_dead_segments_are_rewritten_at_any_age_and_dead_ones_never() {
        let sorted = SegmentId::FIRST_SORTED.0;
        let all = [
            candidate(1, 31, Duration::ZERO),
            candidate(2, 32, Duration::ZERO),
            candidate(3, 0, AGE),
            candidate(sorted, 5, Duration::ZERO),
        ];
        assert_eq!(numbers(&all, u64::MAX), [sorted, 1]);
        assert!(!choose(&all, PLENTY, &Options::default()).unwrap().major);
        assert!(choose(&[candidate(1, 60, AGE)], PLENTY, &Options::default()).unwrap().major);
    }

    #[test]
    fn a_small_sorted_segment_joins_a_pass_but_begins_none() {
        let sorted = SegmentId::FIRST_SORTED.0;
        let usage = Usage { data_end: 2 * MIB, bytes: 2 * MIB, ..candidate(sorted, 2, AGE).usage };
        let small = Candidate { usage, age: AGE };
        assert!(numbers(&[small], u64::MAX).is_empty());
        assert_eq!(numbers(&[small, candidate(1, 60, AGE)], u64::MAX), [1, sorted]);
    }

    #[test]
    fn a_pass_is_bounded_and_many_segments_are_split_evenly() {
        let many: Vec<_> = (1..=20).map(|number| candidate(number, 60, AGE)).collect();
        assert_eq!(numbers(&many, u64::MAX), (1..=10).collect::<Vec<_>>());
        let rows = many.iter().map(|one| Candidate { usage: Usage { rows: 50_000, ..one.usage }, ..*one });
        assert_eq!(numbers(&rows.collect::<Vec<_>>(), u64::MAX), [1, 2]);
    }

    #[test]
    fn with_little_room_the_emptiest_come_first_and_with_none_nothing_is_rewritten() {
        let all = [candidate(1, 60, AGE), candidate(2, 30, AGE), candidate(3, 10, AGE)];
        assert_eq!(numbers(&all, u64::MAX), [3, 2, 1]);
        assert_eq!(numbers(&all, 80 * MIB), [3, 2], "60 MiB and their index do not fit behind them");
        assert_eq!(numbers(&all, 20 * MIB), [3]);
        assert!(numbers(&all, 0).is_empty());
    }

    #[test]
    fn on_a_full_disk_little_that_is_dead_is_enough_and_the_last_room_is_used() {
        let all = [candidate(1, 60, Duration::ZERO), candidate(2, 50, Duration::ZERO), candidate(3, 5, Duration::ZERO)];
        let pressed = |usable| chosen(&all, Room { usable, pressed: true });
        assert_eq!(pressed(u64::MAX), [3, 2], "of the first a sixteenth is dead: not worth it");
        assert_eq!(pressed(10 * MIB), [3]);
        assert!(pressed(0).is_empty());
    }
}
