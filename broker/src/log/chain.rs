//! The chain: which positions exist, and in which order. Pure.
use std::sync::Arc;

use proto::{EntryId, LedgerId, Position};

use crate::offload::OffloadedLedger;

/// A ledger of the chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ChainLedger {
    /// Which.
    pub ledger: LedgerId,
    /// Confirmed entries.
    pub entries: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Milliseconds since 1970; `None` while it is open.
    pub sealed_at: Option<u64>,
    /// Its copy in objects, once that was read back and the topic's record refers to it.
    pub objects: Option<Arc<InObjects>>,
    /// The bookies' copy is gone, or goes by an intent. Never without `objects`.
    pub bookies_freed: bool,
}

/// Where a ledger's copy in objects lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InObjects {
    /// How it is read.
    pub copy: OffloadedLedger,
    /// Since when the record refers to it: milliseconds since 1970.
    pub since: u64,
}

/// The ledgers of a topic as far as they are confirmed.
///
/// Ids rise; only the last may grow, and another follows once it is sealed; only the first may leave. An entry exists if its ledger is
/// listed and it lies below that ledger's count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chain {
    ledgers: Vec<ChainLedger>,
    highest: LedgerId,
    /// Of the last ledger, while it is open: milliseconds since 1970.
    opened_at: u64,
    grown_at: u64,
}

impl Chain {
    /// `highest` is the highest id that was ever listed.
    pub(crate) fn new(ledgers: Vec<ChainLedger>, highest: LedgerId) -> Self {
        assert!(ledgers.windows(2).all(|pair| pair[0].ledger < pair[1].ledger), "ledger ids of a topic only grow");
        let highest = ledgers.last().map_or(highest, |last| last.ledger.max(highest));
        Self { ledgers, highest, opened_at: 0, grown_at: 0 }
    }

    /// In order.
    pub(crate) fn ledgers(&self) -> &[ChainLedger] {
        &self.ledgers
    }

    /// One ledger.
    pub(crate) fn ledger(&self, ledger: LedgerId) -> Option<&ChainLedger> {
        let at = self.ledgers.binary_search_by_key(&ledger, |listed| listed.ledger).ok()?;
        Some(&self.ledgers[at])
    }

    /// The ledger that takes entries, when it was made, and when its last entry was confirmed.
    pub(crate) fn open(&self) -> Option<(&ChainLedger, u64, u64)> {
        let last = self.ledgers.last().filter(|last| last.sealed_at.is_none())?;
        Some((last, self.opened_at, self.grown_at))
    }

    /// Lists a new ledger at the end.
    pub(crate) fn push(&mut self, ledger: LedgerId, now_ms: u64) {
        assert!(self.highest < ledger, "ledger ids of a topic only grow");
        self.highest = ledger;
        (self.opened_at, self.grown_at) = (now_ms, now_ms);
        self.ledgers.push(ChainLedger { ledger, ..ChainLedger::default() });
    }

    /// Notes that more of a ledger is confirmed.
    pub(crate) fn grow(&mut self, ledger: LedgerId, entries: u64, bytes: u64, now_ms: u64) {
        let listed =
            self.ledgers.iter_mut().rfind(|listed| listed.ledger == ledger).expect("the open ledger is listed");
        listed.entries += entries;
        listed.bytes += bytes;
        self.grown_at = now_ms;
    }

    /// Notes how a ledger ended.
    pub(crate) fn seal(&mut self, ledger: LedgerId, entries: u64, bytes: u64, at: u64) {
        let listed =
            self.ledgers.iter_mut().rfind(|listed| listed.ledger == ledger).expect("a sealed ledger is listed");
        assert!(listed.entries <= entries, "a ledger's end covers everything that was confirmed");
        *listed = ChainLedger { ledger, entries, bytes, sealed_at: Some(at), ..ChainLedger::default() };
    }

    /// Notes that a ledger has a copy in objects. One that has left the chain meanwhile needs none.
    pub(crate) fn offloaded(&mut self, ledger: LedgerId, objects: Arc<InObjects>) {
        if let Some(listed) = self.ledgers.iter_mut().find(|listed| listed.ledger == ledger) {
            assert!(listed.sealed_at.is_some() && listed.objects.is_none(), "sealed ledgers move once");
            listed.objects = Some(objects);
        }
    }

    /// Notes that bookies are about to forget a ledger.
    pub(crate) fn freed(&mut self, ledger: LedgerId) {
        if let Some(listed) = self.ledgers.iter_mut().find(|listed| listed.ledger == ledger) {
            assert!(listed.objects.is_some(), "a ledger keeps one copy");
            listed.bookies_freed = true;
        }
    }

    /// Forgets the first ledgers. Positions in them do not exist any more, and are never used again.
    pub(crate) fn drop_first(&mut self, gone: &[LedgerId]) {
        let is_gone = |(listed, gone): (&ChainLedger, &LedgerId)| listed.ledger == *gone && listed.sealed_at.is_some();
        let first = self.ledgers.iter().zip(gone).take_while(|pair| is_gone(*pair)).count();
        assert!(first == gone.len(), "sealed ledgers leave a chain from its front");
        self.ledgers.drain(..first);
    }

    /// The position after the last confirmed entry.
    ///
    /// Of a chain without entries: above every position there ever was, and not above any there will be.
    pub(crate) fn end(&self) -> Position {
        match self.ledgers.iter().rfind(|listed| 0 < listed.entries) {
            Some(last) => Position { ledger: last.ledger, entry: EntryId(last.entries) },
            None if self.highest == LedgerId(0) => Position::EARLIEST,
            None => match self.ledgers.first() {
                Some(first) => Position { ledger: first.ledger, entry: EntryId::FIRST },
                None => Position::new(self.highest.0 + 1, 0),
            },
        }
    }

    /// The first existing position, or the end.
    pub(crate) fn first(&self) -> Position {
        self.at_or_after(Position::EARLIEST)
    }

    /// The last confirmed entry.
    pub(crate) fn last(&self) -> Option<Position> {
        self.before(self.end())
    }

    /// The entry that so many others lie in front of.
    pub(crate) fn nth(&self, mut before: u64) -> Option<Position> {
        for listed in &self.ledgers {
            if before < listed.entries {
                return Some(Position { ledger: listed.ledger, entry: EntryId(before) });
            }
            before -= listed.entries;
        }
        None
    }

    /// Whether an entry lies there.
    pub(crate) fn contains(&self, position: Position) -> bool {
        self.ledger(position.ledger).is_some_and(|listed| position.entry.0 < listed.entries)
    }

    /// The first existing position not before `position`, or the end.
    pub(crate) fn at_or_after(&self, position: Position) -> Position {
        let at = self.ledgers.partition_point(|listed| listed.ledger < position.ledger);
        for listed in &self.ledgers[at..] {
            let entry = if listed.ledger == position.ledger { position.entry } else { EntryId::FIRST };
            if entry.0 < listed.entries {
                return Position { ledger: listed.ledger, entry };
            }
        }
        self.end()
    }

    /// The last existing position before `position`.
    pub(crate) fn before(&self, position: Position) -> Option<Position> {
        let above = self.ledgers.partition_point(|listed| listed.ledger <= position.ledger);
        self.ledgers[..above].iter().rev().find_map(|listed| {
            let below =
                if listed.ledger == position.ledger { position.entry.0.min(listed.entries) } else { listed.entries };
            Some(Position { ledger: listed.ledger, entry: EntryId(below.checked_sub(1)?) })
        })
    }

    /// Payload bytes from a position on: of its own ledger in proportion, because sizes of single entries are not kept.
    pub(crate) fn bytes_from(&self, from: Position) -> u64 {
        let at = self.ledgers.partition_point(|listed| listed.ledger < from.ledger);
        let bytes = self.ledgers[at..].iter().map(|listed| match listed.ledger == from.ledger {
            true => share(listed.bytes, listed.entries.saturating_sub(from.entry.0), listed.entries),
            false => listed.bytes,
        });
        bytes.sum()
    }

    /// The first position from which on no more than `bytes` lie, by the same reckoning.
    pub(crate) fn last_bytes(&self, bytes: u64) -> Position {
        let mut left = bytes;
        for listed in self.ledgers.iter().rev() {
            if left < listed.bytes {
                let entries = share(listed.entries, left, listed.bytes);
                return self.at_or_after(Position { ledger: listed.ledger, entry: EntryId(listed.entries - entries) });
            }
            left -= listed.bytes;
        }
        self.first()
    }

    /// Entries in `[from, to)`.
    pub(crate) fn count(&self, from: Position, to: Position) -> u64 {
        if to <= from {
            return 0;
        }
        let first = self.ledgers.partition_point(|listed| listed.ledger < from.ledger);
        let counts = self.ledgers[first..].iter().take_while(|listed| listed.ledger <= to.ledger).map(|listed| {
            let low = if listed.ledger == from.ledger { from.entry.0.min(listed.entries) } else { 0 };
            let high = if listed.ledger == to.ledger { to.entry.0.min(listed.entries) } else { listed.entries };
            high - low
        });
        counts.sum()
    }
}

/// `whole` times `part` of `of`, rounded down.
fn share(whole: u64, part: u64, of: u64) -> u64 {
    u64::try_from(u128::from(whole) * u128::from(part) / u128::from(of.max(1))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_reckoned_from_both_ends_in_the_same_way() {
        let ledger =
            |ledger, entries, bytes| ChainLedger { ledger: LedgerId(ledger), entries, bytes, ..Default::default() };
        let chain = Chain::new(vec![ledger(2, 10, 100), ledger(5, 4, 400), ledger(7, 2, 20)], LedgerId(7));
        let rows = [((0, 0), 520), ((2, 9), 430), ((5, 0), 420), ((5, 3), 120), ((7, 1), 10), ((7, 2), 0), ((9, 0), 0)];
        for ((ledger, entry), bytes) in rows {
            assert_eq!(chain.bytes_from(Position::new(ledger, entry)), bytes, "{ledger}:{entry}");
        }
        for (bytes, (ledger, entry)) in
            [(600, (2, 0)), (430, (2, 9)), (429, (5, 0)), (419, (5, 1)), (10, (7, 1)), (0, (7, 2))]
        {
            assert_eq!(chain.last_bytes(bytes), Position::new(ledger, entry), "{bytes}");
        }
    }
}
