//! Entries that were looked at and are to be delivered: for whoever may have them, or each for one consumer. Pure.
use std::collections::BTreeMap;
use std::ops::RangeBounds;

use proto::Position;

use super::slots::Slot;

/// Positions with their slots. No entry is here twice (C4).
#[derive(Debug, Default)]
pub(super) struct Queue {
    free: BTreeMap<Position, Slot>,
    /// Chunks of messages that a consumer has begun with. [`Chunks`](super::chunks::Chunks) knows which.
    kept: BTreeMap<Position, Slot>,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.free.len() + self.kept.len()
    }

    /// Those that are for one consumer.
    pub(super) fn kept(&self) -> usize {
        self.kept.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.is_empty() && self.kept.is_empty()
    }

    pub(super) fn contains(&self, position: Position) -> bool {
        self.free.contains_key(&position) || self.kept.contains_key(&position)
    }

    pub(super) fn first_free(&self) -> Option<Position> {
        self.free.first_key_value().map(|(position, _)| *position)
    }

    /// Those in a range, in order if all are free or none is.
    pub(super) fn range(&self, range: impl RangeBounds<Position> + Clone) -> impl Iterator<Item = Position> {
        self.free.range(range.clone()).chain(self.kept.range(range)).map(|(position, _)| *position)
    }

    /// From one that is queued on, those that are like it, in order.
    pub(super) fn like(&self, first: Position) -> impl Iterator<Item = Position> {
        let part = if self.kept.contains_key(&first) { &self.kept } else { &self.free };
        part.range(first..).map(|(position, _)| *position)
    }

    pub(super) fn insert(&mut self, position: Position, slot: Slot, kept: bool) {
        assert!(!self.contains(position), "an entry is queued once (C4)");
        if kept {
            self.kept.insert(position, slot)
        } else {
            self.free.insert(position, slot)
        };
    }

    /// The slot, and whether it was free.
    pub(super) fn remove(&mut self, position: Position) -> Option<(Slot, bool)> {
        let free = self.free.remove(&position).map(|slot| (slot, true));
        free.or_else(|| self.kept.remove(&position).map(|slot| (slot, false)))
    }

    /// One that was free is for one consumer from now on.
    pub(super) fn keep(&mut self, position: Position) -> Slot {
        let slot = self.free.remove(&position).expect("what is kept was free");
        self.kept.insert(position, slot);
        slot
    }

    /// One is free again.
    pub(super) fn let_go(&mut self, position: Position) -> Slot {
        let slot = self.kept.remove(&position).expect("what is let go was kept");
        self.free.insert(position, slot);
        slot
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
