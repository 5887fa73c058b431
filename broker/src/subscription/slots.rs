//! Which consumer of a Key_Shared subscription owns which part of the keys. Pure.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;

use bytes::Bytes;
use proto::entry::key_of_stored;

use super::murmur3::murmur3;
use crate::outbox::Serial;

/// Keys have so many slots: their hash decides, modulo this.
const SLOTS: u32 = 65_536;
/// Places of a consumer on the ring, as in Apache Pulsar. More would be fairer and longer in stats.
const POINTS: u32 = 100;

/// A part of the keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(pub(crate) u16);

/// A range of slots, ends included, as clients write it.
pub(crate) type SlotRange = RangeInclusive<i32>;

/// What all consumers of a Key_Shared subscription must agree on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct KeyPolicy {
    /// Consumers name their ranges; else slots are split between them.
    pub(crate) sticky: bool,
    /// Neither order nor exclusivity is kept when slots change their owner.
    pub(crate) out_of_order: bool,
}

impl KeyPolicy {
    /// As stats and errors name it.
    pub(super) fn mode_name(self) -> &'static str {
        if self.sticky { "STICKY" } else { "AUTO_SPLIT" }
    }
}

/// Why ranges are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RangeConflict {
    /// There are none.
    Empty,
    /// It ends before it starts.
    Reversed(SlotRange),
    /// Two of the same consumer.
    Own(SlotRange, SlotRange),
    /// With one of this consumer.
    With(Serial),
}

/// Who owns which slot.
#[derive(Debug)]
pub(super) enum Slots {
    Split(Ring),
    Ranges(BTreeMap<u16, (u16, Serial)>),
}

/// Consistent hashing: a slot belongs to the first point at or behind it, so that who comes or goes moves only its own share.
#[derive(Debug, Default)]
pub(super) struct Ring {
    points: BTreeSet<(u32, Serial)>,
    /// By name, and the how manieth of that name: who comes back under its name gets the same slots.
    names: HashMap<Serial, (String, u32)>,
}

impl Slots {
    pub(super) fn new(policy: KeyPolicy) -> Self {
        if policy.sticky { Self::Ranges(BTreeMap::new()) } else { Self::Split(Ring::default()) }
    }

    /// The slot of a key. With the ring, none has slot 0, as in Apache Pulsar.
    pub(super) fn slot(&self, key: &[u8]) -> Slot {
        let slot = match self {
            Self::Split(_) => 1 + murmur3(key) % (SLOTS - 1),
            Self::Ranges(_) => murmur3(key) % SLOTS,
        };
        Slot(u16::try_from(slot).expect("slots are below 65,536"))
    }

    /// The slot of an entry. Without a key that decodes, it goes with all such.
    pub(super) fn slot_of(&self, entry: &Bytes) -> Slot {
        let key = key_of_stored(entry);
        self.slot(key.as_ref().map(|key| key.bytes()).unwrap_or_default().as_ref())
    }

    pub(super) fn owner(&self, slot: Slot) -> Option<Serial> {
        match self {
            Self::Split(ring) => ring.owner(slot),
            Self::Ranges(ranges) => {
                let (_, (end, owner)) = ranges.range(..=slot.0).next_back()?;
                (slot.0 <= *end).then_some(*owner)
            }
        }
    }

    /// Whether a consumer with such ranges may come in. Ranges mean nothing to a ring.
    pub(super) fn conflict(&self, wanted: &[SlotRange]) -> Option<RangeConflict> {
        let Self::Ranges(ranges) = self else { return None };
        if wanted.is_empty() {
            return Some(RangeConflict::Empty);
        }
        if let Some(reversed) = wanted.iter().find(|range| range.end() < range.start()) {
            return Some(RangeConflict::Reversed(reversed.clone()));
        }
        let mut sorted = wanted.to_vec();
        sorted.sort_by_key(|range| *range.start());
        if let Some(pair) = sorted.windows(2).find(|pair| pair[1].start() <= pair[0].end()) {
            return Some(RangeConflict::Own(pair[0].clone(), pair[1].clone()));
        }
        sorted.iter().filter_map(clamped).find_map(|(start, end)| {
            let (_, (last, owner)) = ranges.range(..=end).next_back()?;
            (start <= *last).then_some(RangeConflict::With(*owner))
        })
    }

    /// Lets a consumer in. Its ranges have no conflict.
    pub(super) fn add(&mut self, serial: Serial, name: &str, wanted: &[SlotRange]) {
        match self {
            Self::Split(ring) => ring.add(serial, name),
            Self::Ranges(ranges) => {
                ranges.extend(wanted.iter().filter_map(clamped).map(|(start, end)| (start, (end, serial))));
            }
        }
    }

    pub(super) fn remove(&mut self, serial: Serial) {
        match self {
            Self::Split(ring) => ring.remove(serial),
            Self::Ranges(ranges) => ranges.retain(|_, (_, owner)| *owner != serial),
        }
    }

    /// The slots of a consumer, as ranges with their ends.
    pub(super) fn ranges_of(&self, serial: Serial) -> Vec<[u16; 2]> {
        match self {
            Self::Split(ring) => ring.ranges_of(serial),
            Self::Ranges(ranges) => {
                let own = ranges.iter().filter(|(_, (_, owner))| *owner == serial);
                own.map(|(start, (end, _))| [*start, *end]).collect()
            }
        }
    }
}

/// What of a range are slots.
fn clamped(range: &SlotRange) -> Option<(u16, u16)> {
    let start = u16::try_from((*range.start()).max(0)).ok()?;
    let end = u16::try_from((*range.end()).min(i32::from(u16::MAX))).ok()?;
    Some((start, end))
}

impl Ring {
    fn add(&mut self, serial: Serial, name: &str) {
        let taken: BTreeSet<u32> =
            self.names.values().filter(|(other, _)| other == name).map(|(_, number)| *number).collect();
        let number = (0..).find(|number| !taken.contains(number)).expect("there are fewer consumers than numbers");
        self.points.extend(points(name, number).map(|point| (point, serial)));
        self.names.insert(serial, (name.into(), number));
    }

    fn remove(&mut self, serial: Serial) {
        if let Some((name, number)) = self.names.remove(&serial) {
            for point in points(&name, number) {
                self.points.remove(&(point, serial));
            }
        }
    }

    fn owner(&self, slot: Slot) -> Option<Serial> {
        let at = (u32::from(slot.0) << 15, Serial(0));
        self.points.range(at..).next().or_else(|| self.points.first()).map(|(_, owner)| *owner)
    }

    fn ranges_of(&self, serial: Serial) -> Vec<[u16; 2]> {
        let mut all: Vec<(u16, u16, Serial)> = Vec::new();
        let last = self.points.first().map(|(_, first)| (u32::from(u16::MAX) << 15, *first));
        let mut start = 1;
        for (point, owner) in self.points.iter().copied().chain(last) {
            let end = (point >> 15) as u16; // Points have 31 bits.
            if end < start {
                continue;
            }
            match all.last_mut().filter(|last| last.2 == owner) {
                Some(last) => last.1 = end,
                None => all.push((start, end, owner)),
            }
            let Some(next) = end.checked_add(1) else { break };
            start = next;
        }
        all.into_iter().filter(|(_, _, owner)| *owner == serial).map(|(start, end, _)| [start, end]).collect()
    }
}

fn points(name: &str, number: u32) -> impl Iterator<Item = u32> {
    (0..POINTS).map(move |point| murmur3(format!("{name}\0{number}\0{point}").as_bytes()))
}

/// Who of `names` is active on a topic that is no partition: as Apache Pulsar's ring says.
pub(super) fn elected(names: &[&str], topic_hash: u32) -> usize {
    let mut ring = BTreeMap::new();
    for (at, name) in names.iter().enumerate() {
        ring.extend((0..POINTS).map(|point| (murmur3(format!("{name}{point}").as_bytes()), at)));
    }
    ring.range(topic_hash..).next().or_else(|| ring.first_key_value()).map_or(0, |(_, at)| *at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(consumers: u64) -> Slots {
        let mut slots = Slots::new(KeyPolicy::default());
        (1..=consumers).for_each(|serial| slots.add(Serial(serial), &format!("c{serial}"), &[]));
        slots
    }

    fn owners(slots: &Slots) -> Vec<Serial> {
        (1..=u16::MAX).map(|slot| slots.owner(Slot(slot)).expect("somebody owns it")).collect()
    }

    #[test]
    fn a_consumer_that_comes_or_goes_moves_only_its_own_share() {
        let mut slots = split(9);
        let before = owners(&slots);
        slots.add(Serial(10), "c10", &[]);
        let with = owners(&slots);
        let moved = before.iter().zip(&with).filter(|(before, with)| before != with);
        assert!(moved.clone().all(|(_, with)| *with == Serial(10)), "slots move to the new one only");
        let share = moved.count();
        assert!((3000..11_000).contains(&share), "about a tenth: {share}");
        slots.remove(Serial(10));
        assert_eq!(owners(&slots), before);
    }

    #[test]
    fn who_comes_back_under_its_name_gets_the_same_slots_and_namesakes_get_others() {
        let mut slots = split(3);
        let before = slots.ranges_of(Serial(2));
        slots.remove(Serial(2));
        slots.add(Serial(20), "c2", &[]);
        assert_eq!(slots.ranges_of(Serial(20)), before);
        slots.add(Serial(21), "c2", &[]);
        assert!(!slots.ranges_of(Serial(21)).is_empty());
    }

    #[test]
    fn ranges_that_are_told_are_those_that_are_owned() {
        for consumers in [1, 2, 7] {
            let slots = split(consumers);
            let mut told = vec![None; usize::from(u16::MAX) + 1];
            for serial in (1..=consumers).map(Serial) {
                for [start, end] in slots.ranges_of(serial) {
                    told[usize::from(start)..=usize::from(end)].iter_mut().for_each(|slot| {
                        assert_eq!(slot.replace(serial), None, "ranges do not overlap");
                    });
                }
            }
            let owned: Vec<Option<Serial>> = owners(&slots).into_iter().map(Some).collect();
            assert_eq!(told[1..], owned);
        }
        assert_eq!(split(1).ranges_of(Serial(1)), [[1, u16::MAX]]);
    }

    #[test]
    fn ranges_of_sticky_consumers_must_not_overlap() {
        let mut slots = Slots::new(KeyPolicy { sticky: true, out_of_order: false });
        assert_eq!(slots.conflict(&[]), Some(RangeConflict::Empty));
        let reversed = SlotRange::new(7, 1);
        assert_eq!(slots.conflict(&[5..=9, reversed.clone()]), Some(RangeConflict::Reversed(reversed)));
        assert_eq!(slots.conflict(&[150..=250, 100..=200]), Some(RangeConflict::Own(100..=200, 150..=250)));
        let first = [0..=100, 200..=300];
        assert_eq!(slots.conflict(&first), None);
        slots.add(Serial(1), "a", &first);
        for overlapping in [50..=150, 100..=100, 150..=250, -5..=0, 0..=65_535, 300..=400] {
            assert_eq!(slots.conflict(std::slice::from_ref(&overlapping)), Some(RangeConflict::With(Serial(1))));
        }
        let second = [101..=199, 60_000..=70_000, -9..=-1];
        assert_eq!(slots.conflict(&second), None);
        slots.add(Serial(2), "b", &second);
        let owner = |slot| slots.owner(Slot(slot)).map(|serial| serial.0);
        assert_eq!(
            [0, 100, 101, 199, 200, 301, 65_535].map(owner),
            [1, 1, 2, 2, 1, 0, 2].map(|s| Some(s).filter(|s| 0 < *s))
        );
        assert_eq!(slots.ranges_of(Serial(2)), [[101, 199], [60_000, 65_535]]);
        slots.remove(Serial(1));
        assert_eq!(slots.owner(Slot(0)), None);
    }

    /// Asked of Apache Pulsar 4.0.8: consumers `a` and `b` on topics of these names.
    #[test]
    fn the_active_consumer_is_the_one_that_apache_pulsar_elects() {
        for (topic, active) in [
            ("fo-a9c349ec", "b"),
            ("fo-afba82f2", "a"),
            ("fo-2b3a3349", "b"),
            ("fo-8bc47c3f", "a"),
            ("fo-cfb8f611", "b"),
            ("fo-3747c0d0", "a"),
            ("fo-bc8544d9", "b"),
        ] {
            let hash = murmur3(format!("persistent://public/default/{topic}").as_bytes());
            assert_eq!(["a", "b"][elected(&["a", "b"], hash)], active, "{topic}");
        }
    }
}
