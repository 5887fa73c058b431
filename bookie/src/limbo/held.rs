//! What the index of a store that has lost something still proves.
use std::collections::HashSet;
use std::ops::Range;

use proto::records::LedgerRecord;
use proto::{EntryId, LedgerId};

use super::judge::{self, Held};
use crate::format::SegmentId;
use crate::index::Found;
use crate::reader::locate;
use crate::segments::Segments;

/// Entries looked up at once.
const AT_ONCE: usize = 4096;

/// See [`Held`].
pub(super) struct Index<'a> {
    pub(super) segments: &'a Segments,
    /// Journal segments from here on were begun after all that was lost had been written.
    pub(super) after: SegmentId,
    /// Ledgers whose entries there may be older: the start has appended them again.
    pub(super) repeated: &'a HashSet<LedgerId>,
}

impl Held for Index<'_> {
    fn first_missing(&self, record: &LedgerRecord, seat: usize, entries: Range<EntryId>) -> Option<EntryId> {
        let ledger = LedgerId(record.ledger);
        let mut next = entries.start;
        while next < entries.end {
            if !judge::holds(record, seat, next) {
                next = next.next();
                continue;
            }
            let wanted = usize::try_from(entries.end.0 - next.0).unwrap_or(usize::MAX).min(AT_ONCE);
            match locate(self.segments, ledger, next, wanted) {
                Ok(Some((_, _, places))) => next = EntryId(next.0 + places.len() as u64),
                Ok(None) => return Some(next),
                Err(error) => {
                    tracing::error!(%ledger, entry = %next, %error, "it cannot be told whether an entry is held");
                    return Some(next);
                }
            }
        }
        None
    }

    fn safe_end(&self, record: &LedgerRecord) -> Option<EntryId> {
        let ledger = LedgerId(record.ledger);
        if self.repeated.contains(&ledger) {
            return None;
        }
        let index = self.segments.index.read();
        let end = index.standing(ledger).end;
        let segment = match index.find(ledger, EntryId(end.0.checked_sub(1)?), 1) {
            Found::Open(segment, ..) => segment,
            Found::Sealed(runs) => runs.iter().map(|(run, _)| run.segment).min()?,
            Found::Nowhere => return None,
        };
        (!segment.is_sorted() && self.after <= segment).then_some(end)
    }
}
