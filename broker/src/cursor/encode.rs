//! Cursors and their changes as entries of the cursor log, and back. Pure.
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use proto::records::{
    Acknowledged, BatchHoles, CursorChange, CursorEntry, CursorPosition, CursorState, EntryRange, LedgerHoles,
    SnapshotPart, cursor_change,
};
use proto::{EntryId, LedgerId, Position};
use roaring::RoaringTreemap;

use super::{AckDelta, AckSet, Change, Cursor, Cursors, Run};

/// An entry of the cursor log is cut before it exceeds this, as long as it holds more than one thing.
pub(super) const ENTRY_BYTES: usize = 256 * 1024;

/// Ranges or batches in one change: what fits well into an entry.
const PIECES_MAX: usize = 4096;

/// Bytes that do not say what they should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Undecodable;

/// A full snapshot, in as many entries as it takes; the last carries the end mark.
pub(super) fn snapshot(cursors: &Cursors) -> Vec<Bytes> {
    let mut parts: Vec<Vec<CursorState>> = vec![Vec::new()];
    let mut size = 0;
    let mut add = |state: CursorState| {
        let weight = state.encoded_len();
        if 0 < size && ENTRY_BYTES < size + weight {
            parts.push(Vec::new());
            size = 0;
        }
        size += weight;
        parts.last_mut().expect("there is always one").push(state);
    };
    for (name, cursor) in cursors {
        states(name, cursor).into_iter().for_each(&mut add);
    }
    let last = parts.len() - 1;
    let entry = |(part, cursors)| CursorEntry {
        changes: Vec::new(),
        snapshot: Some(SnapshotPart { part: part as u32, last: part == last, cursors }),
    };
    parts.into_iter().enumerate().map(entry).map(|entry| entry.encode_to_vec().into()).collect()
}

/// Changes in order, in as many entries as it takes. `None`: a subscription is put with a state that only a snapshot can hold
/// as one.
pub(super) fn changes(changes: &[Change]) -> Option<Vec<Bytes>> {
    let mut entries = vec![CursorEntry::default()];
    let mut size = 0;
    for change in changes {
        for piece in pieces(change)? {
            let weight = piece.encoded_len();
            if 0 < size && ENTRY_BYTES < size + weight {
                entries.push(CursorEntry::default());
                size = 0;
            }
            size += weight;
            entries.last_mut().expect("there is always one").changes.push(piece);
        }
    }
    Some(entries.into_iter().map(|entry| entry.encode_to_vec().into()).collect())
}

fn pieces(change: &Change) -> Option<Vec<CursorChange>> {
    let (name, changes) = match change {
        Change::Put(name, cursor) => {
            let mut states = states(name, cursor);
            let state = states.pop().filter(|_| states.is_empty())?;
            (name, vec![cursor_change::Change::Put(state)])
        }
        Change::Removed(name) => (name, vec![cursor_change::Change::Removed(true)]),
        Change::Acknowledged(name, delta) => (name, acknowledged(delta)),
        Change::Delays(name, run) => (name, vec![cursor_change::Change::Delays(run.bytes().clone())]),
    };
    let change = |change| CursorChange { subscription: name.to_string(), change: Some(change) };
    Some(changes.into_iter().map(change).collect())
}

fn acknowledged(delta: &AckDelta) -> Vec<cursor_change::Change> {
    let below = delta.below.map(to_record);
    let mut all = vec![Acknowledged { below, ..Default::default() }];
    for piece in delta.ranges.chunks(PIECES_MAX) {
        let ranges = piece.iter().map(|&(ledger, first, end)| EntryRange { ledger: ledger.0, first, end }).collect();
        all.push(Acknowledged { ranges, ..Default::default() });
    }
    for piece in delta.batches.chunks(PIECES_MAX) {
        let batches = piece.iter().map(|(position, words)| batch(*position, words)).collect();
        all.push(Acknowledged { batches, ..Default::default() });
    }
    let said = |piece: &Acknowledged| *piece != Acknowledged::default();
    all.into_iter().filter(said).map(cursor_change::Change::Acknowledged).collect()
}

/// One subscription, in as many states as it takes: the first says all but what does not fit.
fn states(name: &Arc<str>, cursor: &Cursor) -> Vec<CursorState> {
    let more = || CursorState { subscription: name.to_string(), ..Default::default() };
    let mut states = vec![CursorState {
        acknowledged_below: Some(to_record(cursor.acks.mark())),
        properties: cursor.properties.clone(),
        created_at: cursor.created_at,
        ..more()
    }];
    let mut size = 0;
    let mut grow = |states: &mut Vec<CursorState>, weight: usize| {
        if 0 < size && ENTRY_BYTES / 2 < size + weight {
            states.push(more());
            size = 0;
        }
        size += weight;
    };
    for (ledger, entries) in cursor.acks.holes_by_ledger() {
        let mut acknowledged = Vec::with_capacity(entries.serialized_size());
        entries.serialize_into(&mut acknowledged).expect("writing to memory does not fail");
        grow(&mut states, acknowledged.len() + 16);
        let holes = LedgerHoles { ledger: ledger.0, acknowledged: acknowledged.into() };
        states.last_mut().expect("there is always one").holes.push(holes);
    }
    for (position, words) in cursor.acks.partials() {
        grow(&mut states, 32 + 10 * words.len());
        states.last_mut().expect("there is always one").batches.push(batch(position, words));
    }
    for run in &cursor.delays {
        grow(&mut states, run.bytes().len() + 8);
        states.last_mut().expect("there is always one").delays.push(run.bytes().clone());
    }
    states
}

fn batch(position: Position, words: &[u64]) -> BatchHoles {
    BatchHoles { ledger: position.ledger.0, entry: position.entry.0, unacknowledged: words.to_vec() }
}

fn to_record(position: Position) -> CursorPosition {
    CursorPosition { ledger: position.ledger.0, entry: position.entry.0 }
}

fn from_record(position: CursorPosition) -> Position {
    Position::new(position.ledger, position.entry)
}

/// Adds a state to what is known of its subscription; one that starts with a mark starts it anew.
pub(super) fn add_state(cursors: &mut Cursors, state: CursorState) -> Result<(), Undecodable> {
    let name: Arc<str> = state.subscription.into();
    if let Some(below) = state.acknowledged_below {
        let acks = AckSet::at(from_record(below));
        let (properties, created_at) = (state.properties, state.created_at);
        cursors.insert(name.clone(), Cursor { acks, properties, created_at, delays: Vec::new() });
    }
    let cursor = cursors.get_mut(&name).ok_or(Undecodable)?;
    for holes in state.holes {
        let entries = RoaringTreemap::deserialize_from(&holes.acknowledged[..]).map_err(|_| Undecodable)?;
        cursor.acks.add_holes(LedgerId(holes.ledger), &entries);
    }
    for batch in state.batches {
        cursor.acks.keep_partial(Position::new(batch.ledger, batch.entry), &batch.unacknowledged);
    }
    for run in state.delays {
        cursor.delays.push(Run::read(run).ok_or(Undecodable)?);
    }
    Ok(())
}

/// A change as it was written.
pub(super) fn decode_change(change: CursorChange) -> Result<Change, Undecodable> {
    let name: Arc<str> = change.subscription.into();
    Ok(match change.change.ok_or(Undecodable)? {
        cursor_change::Change::Put(state) => {
            let mut one = Cursors::new();
            add_state(&mut one, CursorState { subscription: name.to_string(), ..state })?;
            Change::Put(name.clone(), one.remove(&name).ok_or(Undecodable)?)
        }
        cursor_change::Change::Removed(_) => Change::Removed(name),
        cursor_change::Change::Acknowledged(acknowledged) => {
            let range = |range: EntryRange| (LedgerId(range.ledger), range.first, range.end);
            let batch = |batch: BatchHoles| {
                let entry = EntryId(batch.entry);
                (Position { ledger: LedgerId(batch.ledger), entry }, batch.unacknowledged.into())
            };
            let delta = AckDelta {
                below: acknowledged.below.map(from_record),
                ranges: acknowledged.ranges.into_iter().map(range).collect(),
                batches: acknowledged.batches.into_iter().map(batch).collect(),
            };
            Change::Acknowledged(name, delta)
        }
        cursor_change::Change::Delays(run) => Change::Delays(name, Run::read(run).ok_or(Undecodable)?),
    })
}
