//! Which ledgers were fenced and which deleted.
//!
//! Ids are given out in rising order and never again, so what is deleted becomes dense: about a bit per id that the cluster
//! ever gave out, and less where whole runs are gone. That is why no tombstone need ever be forgotten.
use proto::LedgerId;
use roaring::RoaringTreemap;

use crate::format::RowFlags;

/// The marks of all ledgers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Marks {
    fenced: RoaringTreemap,
    deleted: RoaringTreemap,
}

impl Marks {
    pub(crate) fn of(&self, ledger: LedgerId) -> RowFlags {
        RowFlags { fenced: self.fenced.contains(ledger.0), deleted: self.is_deleted(ledger) }
    }

    pub(crate) fn is_deleted(&self, ledger: LedgerId) -> bool {
        self.deleted.contains(ledger.0)
    }

    /// Means nothing for a ledger that is deleted.
    pub(crate) fn fence(&mut self, ledger: LedgerId) {
        if !self.is_deleted(ledger) {
            self.fenced.insert(ledger.0);
        }
    }

    /// Stands for good. `false` if it stood already.
    pub(crate) fn delete(&mut self, ledger: LedgerId) -> bool {
        self.fenced.remove(ledger.0);
        self.deleted.insert(ledger.0)
    }

    /// How many ledgers are deleted.
    pub(crate) fn deleted(&self) -> u64 {
        self.deleted.len()
    }

    /// About as much as they take in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.fenced.serialized_size() + self.deleted.serialized_size()
    }

    /// The two sets as they are stored: fenced, then deleted.
    pub(crate) fn encode(&self) -> [Vec<u8>; 2] {
        [&self.fenced, &self.deleted].map(|set| {
            let mut set = set.clone();
            set.optimize();
            let mut bytes = Vec::with_capacity(set.serialized_size());
            set.serialize_into(&mut bytes).expect("memory takes what is written to it");
            bytes
        })
    }

    /// What [`encode`](Self::encode) made.
    pub(crate) fn decode([fenced, deleted]: [&[u8]; 2]) -> Option<Self> {
        let set = |bytes| RoaringTreemap::deserialize_from(bytes).ok();
        Some(Self { fenced: set(fenced)?, deleted: set(deleted)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tombstone_takes_the_place_of_a_fence_and_stays() {
        let mut marks = Marks::default();
        marks.fence(LedgerId(7));
        assert_eq!(marks.of(LedgerId(7)), RowFlags { fenced: true, deleted: false });
        assert!(marks.delete(LedgerId(7)) && !marks.delete(LedgerId(7)));
        marks.fence(LedgerId(7));
        assert_eq!(marks.of(LedgerId(7)), RowFlags { fenced: false, deleted: true });
        assert_eq!(marks.of(LedgerId(8)), RowFlags::default());
    }

    #[test]
    fn marks_read_as_they_were_stored() {
        let mut marks = Marks::default();
        for ledger in (0..100_000).chain([u64::MAX - 1, 1 << 40]) {
            marks.fence(LedgerId(ledger));
            assert!(ledger % 3 == 0 || marks.delete(LedgerId(ledger)));
        }
        let [fenced, deleted] = marks.encode();
        assert_eq!(Marks::decode([&fenced, &deleted]), Some(marks));
        assert_eq!(Marks::decode([&fenced[..9], &deleted]), None);
    }

    /// Goal: the marks of a long life stay small without forgetting any.
    #[test]
    fn ten_million_tombstones_take_about_a_bit_each() {
        let mut marks = Marks::default();
        for ledger in (0..10_000_000).filter(|ledger| ledger % 1000 != 0) {
            marks.delete(LedgerId(ledger));
        }
        assert!(marks.bytes() < 10_000_000 / 7, "{} bytes in memory", marks.bytes());
        let stored: usize = marks.encode().iter().map(Vec::len).sum();
        assert!(stored < 100_000, "{stored} bytes stored: runs are stored as such");
    }
}
