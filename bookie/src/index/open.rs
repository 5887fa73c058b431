//! What is kept in memory of a segment that has no footer yet.
use std::collections::HashMap;

use proto::{EntryId, LedgerId};

use super::entries::Entries;
use crate::format::{IndexEntry, Kind, Place, Record, RowFlags};

/// All that a segment without a footer holds of one ledger.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenLedger {
    pub(crate) entries: Entries,
    pub(crate) confirmed: EntryId,
    pub(crate) flags: RowFlags,
    /// Of records whose ledger was deleted since.
    pub(crate) dead_bytes: u64,
}

/// What a segment without a footer holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenSegment {
    pub(crate) ledgers: HashMap<LedgerId, OpenLedger>,
    /// What its first batch said was synced before it.
    pub(crate) before: Option<Place>,
    /// Of its last batch.
    pub(crate) sequence: u64,
}

impl OpenSegment {
    /// Takes in a record. `offset` is where its header lies.
    pub(crate) fn note(&mut self, record: &Record, offset: u32) {
        let open = self.ledgers.entry(record.ledger).or_default();
        match record.kind {
            Kind::Fence => open.flags.fenced = true,
            Kind::Tombstone => {
                open.flags.deleted = true;
                let dead = std::mem::take(&mut open.entries);
                open.dead_bytes += dead.pieces().flatten().map(IndexEntry::bytes).sum::<u64>();
            }
            Kind::Entry => {
                let Record { entry, size, digest, .. } = *record;
                open.entries.insert(IndexEntry { entry, offset, size, digest });
                open.confirmed = open.confirmed.max(record.confirmed);
            }
        }
    }

    /// Takes in an entry of a ledger that was deleted since it was written.
    pub(super) fn note_dead(&mut self, record: &Record) {
        self.ledgers.entry(record.ledger).or_default().dead_bytes += record.bytes() as u64;
    }
}
