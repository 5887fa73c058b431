//! Reading a topic's cursor log again.
use bytes::Bytes;
use prost::Message;
use proto::records::{CursorEntry, SnapshotPart, TopicRecord};
use proto::{EntryId, LedgerId};

use super::encode::{Undecodable, add_state, decode_change};
use super::{Change, Cursors};
use crate::log::{Chain, LogError, LogReader, RecordOwner};

/// Read from a ledger at once.
const WINDOW: usize = 1 << 20;

/// Seals the topic's cursor ledgers and reads what its subscriptions have acknowledged.
pub(crate) async fn replay(owner: &RecordOwner, record: &TopicRecord, reader: &LogReader) -> Result<Cursors, LogError> {
    let topic = owner.topic();
    let corrupt = |_: Undecodable| LogError::Corrupt { topic: topic.clone(), what: "the cursor log" };
    let mut replay = Replay::default();
    if !record.folded_cursors.is_empty() {
        reader.with_chain(|chain| replay.entry(&record.folded_cursors, chain)).map_err(corrupt)?;
    }
    let ledgers = &owner.context().ledgers;
    for ledger in record.cursor_ledgers.iter().copied().map(LedgerId) {
        let end = owner.seal(ledger).await?.end;
        replay.next_ledger();
        let mut next = EntryId::FIRST;
        while next < end {
            for entry in ledgers.read(ledger, next..end, WINDOW).await? {
                reader.with_chain(|chain| replay.entry(&entry.payload, chain)).map_err(corrupt)?;
                next = entry.entry.next();
            }
        }
    }
    Ok(reader.with_chain(|chain| replay.finish(chain)))
}

/// Applies entries in order. A snapshot that lacks its end mark changes nothing.
#[derive(Debug, Default)]
pub(super) struct Replay {
    cursors: Cursors,
    unfinished: Option<Snapshot>,
}

#[derive(Debug, Default)]
struct Snapshot {
    parts: u32,
    cursors: Cursors,
}

impl Replay {
    /// A snapshot does not go on in another ledger.
    pub(super) fn next_ledger(&mut self) {
        self.unfinished = None;
    }

    pub(super) fn entry(&mut self, bytes: &Bytes, chain: &Chain) -> Result<(), Undecodable> {
        let entry = CursorEntry::decode(bytes.clone()).map_err(|_| Undecodable)?;
        if let Some(part) = entry.snapshot {
            self.part(part)?;
        }
        for change in entry.changes {
            self.unfinished = None;
            apply(&mut self.cursors, decode_change(change)?, chain);
        }
        Ok(())
    }

    fn part(&mut self, part: SnapshotPart) -> Result<(), Undecodable> {
        let mut snapshot = match self.unfinished.take() {
            _ if part.part == 0 => Snapshot::default(),
            Some(snapshot) if snapshot.parts == part.part => snapshot,
            _ => return Ok(()), // Its beginning was not read: it does not count.
        };
        part.cursors.into_iter().try_for_each(|state| add_state(&mut snapshot.cursors, state))?;
        snapshot.parts += 1;
        if part.last {
            self.cursors = snapshot.cursors;
        } else {
            self.unfinished = Some(snapshot);
        }
        Ok(())
    }

    pub(super) fn finish(mut self, chain: &Chain) -> Cursors {
        self.cursors.values_mut().for_each(|cursor| cursor.acks.advance(chain));
        self.cursors
    }
}

/// Does what a change says. One of a subscription that is gone says nothing.
pub(super) fn apply(cursors: &mut Cursors, change: Change, chain: &Chain) {
    match change {
        Change::Put(name, mut cursor) => {
            // Wherever a subscription is moved: its entries are to be delivered when they were.
            cursor.delays = cursors.remove(&name).map(|before| before.delays).unwrap_or_default();
            cursors.insert(name, cursor);
        }
        Change::Removed(name) => {
            cursors.remove(&name);
        }
        Change::Acknowledged(name, delta) => {
            if let Some(cursor) = cursors.get_mut(&name) {
                cursor.acks.apply(&delta, chain);
            }
        }
        Change::Delays(name, run) => {
            if let Some(cursor) = cursors.get_mut(&name) {
                cursor.delays.push(run);
            }
        }
    }
}
