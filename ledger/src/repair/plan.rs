//! What a ledger's record wants done, given which bookies are to be left.
use std::collections::BTreeSet;

use proto::records::{Fragment, LedgerRecord, LedgerState};
use proto::{BookieId, EntryId};

use crate::records;

/// One step towards a whole ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Task {
    /// Nobody closes it, and its last fragment is touched: settle its end.
    Seal,
    /// Another bookie is to hold what `old` should hold of the fragment at `first`.
    Replace { first: EntryId, seat: usize, old: BookieId },
    /// `member` is marked as lacking entries of the fragment at `first`.
    FillUp { first: EntryId, seat: usize, member: BookieId },
    /// The record names holders whose identity is retired.
    Forget(Vec<BookieId>),
}

/// Everything that is to be done now. `bad` bookies are to be left, `retired` ones are among them.
pub(crate) fn tasks(record: &LedgerRecord, bad: &BTreeSet<BookieId>, retired: &[BookieId]) -> Vec<Task> {
    let mut tasks = Vec::new();
    let is_closed = match record.state() {
        LedgerState::Deleted => return tasks,
        LedgerState::Closed => true,
        LedgerState::Open | LedgerState::InRecovery => false,
    };
    let ended = if is_closed { &record.fragments[..] } else { &record.fragments[..record.fragments.len() - 1] };
    for fragment in ended {
        let first = EntryId(fragment.first);
        for (seat, member) in records::bookies(fragment).into_iter().enumerate() {
            if bad.contains(&member) {
                tasks.push(Task::Replace { first, seat, old: member });
            } else if fragment.lacking.iter().any(|name| name == member.as_str()) {
                tasks.push(Task::FillUp { first, seat, member });
            }
        }
    }
    let last = record.fragments.last().expect("checked when decoded");
    if !is_closed && records::bookies(last).iter().any(|member| bad.contains(member)) {
        tasks.push(Task::Seal);
    }
    let forgotten: Vec<BookieId> = records::may_hold(record)
        .into_iter()
        .filter(|name| retired.contains(name) && !record.fragments.iter().any(|fragment| names(fragment, name)))
        .collect();
    if !forgotten.is_empty() {
        tasks.push(Task::Forget(forgotten));
    }
    tasks
}

fn names(fragment: &Fragment, bookie: &BookieId) -> bool {
    fragment.bookies.iter().any(|name| name == bookie.as_str())
}

/// The entry after the last of the fragment at `first`, if it has ended, and the fragment.
pub(crate) fn fragment(record: &LedgerRecord, first: EntryId) -> Option<(&Fragment, EntryId)> {
    let at = record.fragments.iter().position(|fragment| fragment.first == first.0)?;
    let is_closed = record.state() == LedgerState::Closed;
    let end = record.fragments.get(at + 1).map(|next| next.first).or(is_closed.then_some(record.end))?;
    Some((&record.fragments[at], EntryId(end)))
}

/// Payload bytes of an entry of this ledger, about.
pub(crate) fn entry_bytes(record: &LedgerRecord) -> u64 {
    let last = record.fragments.last().expect("checked when decoded");
    let (length, entries) = if record.state() == LedgerState::Closed {
        (record.length, record.end)
    } else {
        (last.length_before, last.first)
    };
    length / entries.max(1)
}

/// The fewest copies that any entry should have on bookies that stay and are not marked. Fragments without entries do not count.
pub(crate) fn copies(record: &LedgerRecord, bad: &BTreeSet<BookieId>) -> u32 {
    let policy = records::policy(record);
    let fewest = |fragment: &Fragment| {
        let lacking = records::lacking(fragment);
        let members = records::bookies(fragment);
        let good = (0..members.len()).filter(|seat| !lacking.contains(*seat) && !bad.contains(&members[*seat])).collect();
        policy.write_sets().map(|set| set.len() - set.without(good).len()).min()
    };
    let holds_entries = |fragment: &&Fragment| {
        self::fragment(record, EntryId(fragment.first)).is_none_or(|(_, end)| EntryId(fragment.first) < end)
    };
    let fragments = record.fragments.iter().filter(holds_entries);
    fragments.filter_map(fewest).min().unwrap_or(policy.write)
}
