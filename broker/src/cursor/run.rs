//! Runs: times and positions, sorted and packed (`docs/formats/topic-log.md`). Pure.
use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::encoding::{decode_varint, encode_varint};
use proto::Position;

/// When entries are to be delivered. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    bytes: Bytes,
    last_due: u64,
    highest: Position,
}

impl Run {
    /// Packs what is sorted by time, then position. `None`: there is nothing.
    pub(crate) fn pack(items: impl Iterator<Item = (u64, Position)>) -> Option<Self> {
        let mut bytes = BytesMut::new();
        let (mut due, mut at, mut highest) = (0, Position::new(0, 0), None);
        for (next, position) in items {
            encode_varint(next - due, &mut bytes);
            put_difference(at.ledger.0, position.ledger.0, &mut bytes);
            put_difference(at.entry.0, position.entry.0, &mut bytes);
            (due, at, highest) = (next, position, highest.max(Some(position)));
        }
        let bytes = Bytes::copy_from_slice(&bytes); // Without the room that the buffer has to spare.
        highest.map(|highest| Self { bytes, last_due: due, highest })
    }

    /// As it was written. `None`: it tells nothing.
    pub(super) fn read(bytes: Bytes) -> Option<Self> {
        let mut items = Items::of(bytes.clone());
        let first = items.next()?;
        let (last_due, highest) = items.fold(first, |(_, highest), (due, at)| (due, highest.max(at)));
        Some(Self { bytes, last_due, highest })
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What it tells, in order.
    pub(crate) fn items(&self) -> Items {
        Items::of(self.bytes.clone())
    }

    /// When the last is due.
    pub(crate) fn last_due(&self) -> u64 {
        self.last_due
    }

    pub(crate) fn highest(&self) -> Position {
        self.highest
    }

    /// Whether it may tell of an entry, not below `mark`, whose time has not come.
    pub(crate) fn tells(&self, mark: Position, now: u64) -> bool {
        now < self.last_due && mark <= self.highest
    }
}

/// Small numbers for small differences, whichever way they go.
fn put_difference(from: u64, to: u64, bytes: &mut impl BufMut) {
    let difference = to.wrapping_sub(from).cast_signed();
    encode_varint((difference << 1 ^ difference >> 63).cast_unsigned(), bytes);
}

fn add_difference(from: u64, bytes: &mut impl Buf) -> Option<u64> {
    let packed = decode_varint(bytes).ok()?;
    let difference = (packed >> 1) ^ (packed & 1).wrapping_neg();
    Some(from.wrapping_add(difference))
}

/// What a run holds, in order. Ends where the bytes do, or make no sense.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Items {
    rest: Bytes,
    due: u64,
    at: Position,
}

impl Items {
    fn of(run: Bytes) -> Self {
        Self { rest: run, due: 0, at: Position::new(0, 0) }
    }
}

impl Iterator for Items {
    type Item = (u64, Position);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let due = self.due.checked_add(decode_varint(&mut self.rest).ok()?)?;
        let ledger = add_difference(self.at.ledger.0, &mut self.rest)?;
        let entry = add_difference(self.at.entry.0, &mut self.rest)?;
        (self.due, self.at) = (due, Position::new(ledger, entry));
        Some((self.due, self.at))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn items() -> impl Strategy<Value = Vec<(u64, Position)>> {
        let near = (0..100_u64, 0..4_u64, 0..1000_u64);
        let any = (any::<u64>(), any::<u64>(), any::<u64>());
        let one = prop_oneof![near, any].prop_map(|(due, ledger, entry)| (due, Position::new(ledger, entry)));
        proptest::collection::btree_set(one, 0..200).prop_map(|all| all.into_iter().collect())
    }

    proptest! {
        #[test]
        fn a_run_gives_back_what_was_packed(items in items()) {
            let run = Run::pack(items.iter().copied());
            prop_assert_eq!(&run, &run.as_ref().and_then(|run| Run::read(run.bytes().clone())));
            prop_assert_eq!(run.as_ref().map(Run::last_due), items.last().map(|(due, _)| *due));
            prop_assert_eq!(run.as_ref().map(Run::highest), items.iter().map(|(_, at)| *at).max());
            prop_assert_eq!(run.iter().flat_map(Run::items).collect::<Vec<_>>(), items);
        }

        #[test]
        fn any_bytes_end_without_a_panic_and_in_order(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let dues: Vec<u64> = Items::of(bytes.into()).map(|(due, _)| due).collect();
            prop_assert!(dues.is_sorted());
        }
    }

    #[test]
    fn times_that_rise_with_positions_take_three_bytes_each() {
        let run = Run::pack((0..10_000).map(|number| (1_700_000_000_000 + number / 50, Position::new(7, number))));
        let bytes = run.expect("there are some").bytes().len();
        assert!(bytes < 10_000 * 3 + 20, "{bytes}");
    }
}
