//! What a ledger's record and the index together say about a bookie that has lost something. Values in, values out.
use std::ops::Range;

use proto::records::{Fragment, LedgerRecord, LedgerState};
use proto::{BookieId, EntryId};

/// What is to be done about one ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Judged {
    /// The record says DELETED: the tombstone may be lost.
    pub(super) delete: bool,
    /// A fence may be lost.
    pub(super) fence: bool,
    /// Fragments, by number, of which this bookie may lack entries.
    pub(super) lacks: Vec<usize>,
    /// The first entry that it should hold and does not.
    pub(super) first_missing: Option<EntryId>,
    /// It may hold entries beside what fragments say: a repair may be copying here, and what it copied may be lost.
    pub(super) beside: bool,
}

impl Judged {
    pub(super) fn is_limbo(&self) -> bool {
        !self.lacks.is_empty()
    }

    /// Whether the record must tell of the loss.
    pub(super) fn is_loss(&self) -> bool {
        self.is_limbo() || self.beside
    }
}

/// What this bookie's index says.
pub(super) trait Held {
    /// The first entry of the bookie's share of `entries` that it does not hold. An index that cannot be read holds nothing.
    fn first_missing(&self, record: &LedgerRecord, seat: usize, entries: Range<EntryId>) -> Option<EntryId>;
    /// The entry after the highest that is held, if that one was appended after all that was lost.
    fn safe_end(&self, record: &LedgerRecord) -> Option<EntryId>;
}

/// Nothing, if the record does not name this bookie.
pub(super) fn judge(record: &LedgerRecord, me: &BookieId, held: &impl Held) -> Option<Judged> {
    let named = record.fragments.iter().any(|fragment| seat(fragment, me).is_some());
    let beside = record.may_hold.iter().any(|name| name == me.as_str());
    if !named && !beside {
        return None;
    }
    if record.state() == LedgerState::Deleted {
        return Some(Judged { delete: true, ..Judged::default() });
    }
    let mut judged = Judged { fence: true, beside, ..Judged::default() };
    for (number, fragment) in record.fragments.iter().enumerate() {
        let Some(seat) = seat(fragment, me) else { continue };
        let first = EntryId(fragment.first);
        match end(record, number) {
            Some(end) => {
                if let Some(missing) = held.first_missing(record, seat, first..end) {
                    judged.lacks.push(number);
                    judged.first_missing.get_or_insert(missing);
                }
            }
            None => {
                let safe = held.safe_end(record).filter(|_| is_in_order(record));
                let whole = |end: EntryId| first < end && held.first_missing(record, seat, first..end).is_none();
                if safe.is_some_and(whole) && judged.lacks.is_empty() {
                    judged.fence = false; // Nobody has asked for one.
                } else {
                    judged.lacks.push(number);
                }
            }
        }
    }
    Some(judged)
}

/// Whether entries came in rising order only. A recoverer's do not, and a writer within this process, which has one copy, may be told to send one
/// again whose successor was taken.
fn is_in_order(record: &LedgerRecord) -> bool {
    record.state() == LedgerState::Open && record.recovery_epoch == 0 && 1 < record.write_quorum
}

fn seat(fragment: &Fragment, me: &BookieId) -> Option<usize> {
    fragment.bookies.iter().position(|name| name == me.as_str())
}

/// The entry after the last of a fragment that has ended.
pub(super) fn end(record: &LedgerRecord, number: usize) -> Option<EntryId> {
    let closed = (record.state() == LedgerState::Closed).then_some(record.end);
    record.fragments.get(number + 1).map(|next| next.first).or(closed).map(EntryId)
}

/// The record with this bookie's name in the fragments of which it may lack entries, and one loss more: also where it is named already, for
/// a repair that is filling it up may have seen what is lost now. Nothing, if there is nothing to tell.
pub(super) fn marked(record: &LedgerRecord, me: &BookieId, judged: &Judged) -> Option<LedgerRecord> {
    if !judged.is_loss() {
        return None;
    }
    let mut marked = record.clone();
    marked.losses += 1;
    for number in &judged.lacks {
        let limbo = &mut marked.fragments[*number].limbo;
        if !limbo.iter().any(|name| name == me.as_str()) {
            limbo.push(me.to_string());
            limbo.sort();
        }
    }
    Some(marked)
}

/// Whether a record says that this bookie may lack entries.
pub(super) fn names(record: &LedgerRecord, me: &BookieId) -> bool {
    record.fragments.iter().any(|fragment| fragment.limbo.iter().any(|name| name == me.as_str()))
}

/// The record of a closed ledger without this bookie's name where it holds all that it should. Nothing, if there is no such place.
pub(super) fn cleared(record: &LedgerRecord, me: &BookieId, held: &impl Held) -> Option<LedgerRecord> {
    if record.state() != LedgerState::Closed {
        return None;
    }
    let mut cleared = record.clone();
    for number in 0..record.fragments.len() {
        let fragment = &record.fragments[number];
        let (Some(seat), Some(end)) = (seat(fragment, me), end(record, number)) else { continue };
        let named = fragment.limbo.iter().any(|name| name == me.as_str());
        if named && held.first_missing(record, seat, EntryId(fragment.first)..end).is_none() {
            let fragment = &mut cleared.fragments[number];
            fragment.limbo.retain(|name| name != me.as_str());
            fragment.lacking.retain(|name| name != me.as_str());
        }
    }
    (cleared != *record).then_some(cleared)
}

/// Whether the member in `seat` should hold `entry`.
pub(super) fn holds(record: &LedgerRecord, seat: usize, entry: EntryId) -> bool {
    let ensemble = u64::from(record.ensemble_size.max(1));
    (seat as u64 + ensemble - entry.0 % ensemble) % ensemble < u64::from(record.write_quorum)
}

#[cfg(test)]
mod tests;
