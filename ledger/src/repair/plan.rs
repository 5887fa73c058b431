//! What a ledger's record wants done, given which bookies are to be left.
use std::collections::BTreeSet;

use proto::records::{Fragment, LedgerRecord, LedgerState};
use proto::{BookieId, EntryId};

use crate::records;

/// One step towards a whole ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Task {
    /// Nobody closes it, and a member of its last fragment is to be left or in limbo: settle its end.
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
            } else if records::may_lack(fragment, &fragment.bookies[seat]) {
                tasks.push(Task::FillUp { first, seat, member });
            }
        }
    }
    let last = record.fragments.last().expect("checked when decoded");
    if !is_closed && (!last.limbo.is_empty() || records::bookies(last).iter().any(|member| bad.contains(member))) {
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
        let good =
            (0..members.len()).filter(|seat| !lacking.contains(*seat) && !bad.contains(&members[*seat])).collect();
        policy.write_sets().map(|set| set.len() - set.without(good).len()).min()
    };
    let holds_entries = |fragment: &&Fragment| {
        self::fragment(record, EntryId(fragment.first)).is_none_or(|(_, end)| EntryId(fragment.first) < end)
    };
    let fragments = record.fragments.iter().filter(holds_entries);
    fragments.filter_map(fewest).min().unwrap_or(policy.write)
}

#[cfg(test)]
mod tests {
    use proto::LedgerId;

    use super::*;
    use crate::QuorumPolicy;
    use crate::records::new_record;

    fn names(letters: &str) -> Vec<BookieId> {
        letters.chars().map(|letter| letter.to_string().parse().expect("valid")).collect()
    }

    fn name(letter: &str) -> BookieId {
        letter.parse().expect("valid")
    }

    /// An open ledger of two fragments: abc from 0, where b is marked, and abd from 5.
    fn open() -> LedgerRecord {
        let policy = QuorumPolicy { ensemble: 3, write: 3, ack: 2 };
        let mut record = new_record(LedgerId(7), policy, "topic/t", &names("abc"), &names("b"), 1);
        let bookies = names("abd").iter().map(|name| name.as_str().to_owned()).collect();
        record.fragments.push(Fragment { first: 5, bookies, length_before: 500, ..Fragment::default() });
        record
    }

    fn closed() -> LedgerRecord {
        let mut record = open();
        record.set_state(LedgerState::Closed);
        (record.end, record.length) = (9, 900);
        record
    }

    fn planned(record: &LedgerRecord, bad: &str) -> Vec<Task> {
        tasks(record, &names(bad).into_iter().collect(), &[])
    }

    fn replace(first: u64, seat: usize, old: &str) -> Task {
        Task::Replace { first: EntryId(first), seat, old: name(old) }
    }

    fn fill_up(first: u64, seat: usize, member: &str) -> Task {
        Task::FillUp { first: EntryId(first), seat, member: name(member) }
    }

    #[test]
    fn members_that_are_gone_are_replaced_and_marked_ones_filled_up() {
        assert_eq!(planned(&closed(), ""), [fill_up(0, 1, "b")]);
        assert_eq!(planned(&closed(), "d"), [fill_up(0, 1, "b"), replace(5, 2, "d")]);
        assert_eq!(planned(&closed(), "bx"), [replace(0, 1, "b"), replace(5, 1, "b")], "marked or not, it goes");
    }

    #[test]
    fn of_an_open_ledger_what_has_ended_is_repaired_and_the_rest_settled_only_if_it_is_touched() {
        assert_eq!(planned(&open(), "c"), [fill_up(0, 1, "b"), replace(0, 2, "c")], "c is no member any more");
        assert_eq!(planned(&open(), "d"), [fill_up(0, 1, "b"), Task::Seal]);
        let mut recovering = open();
        recovering.set_state(LedgerState::InRecovery);
        assert_eq!(planned(&recovering, "d"), [fill_up(0, 1, "b"), Task::Seal], "its recoverer may be gone too");
    }

    #[test]
    fn a_deleted_ledger_is_left_alone() {
        let mut record = closed();
        record.set_state(LedgerState::Deleted);
        assert!(planned(&record, "abcd").is_empty());
    }

    #[test]
    fn names_of_retired_holders_go_when_no_fragment_has_them() {
        let mut record = closed();
        record.fragments[0].lacking.clear();
        record.may_hold = vec!["a".into(), "e".into(), "f".into()];
        let retired = names("e");
        assert_eq!(tasks(&record, &BTreeSet::new(), &retired), [Task::Forget(retired)]);
    }

    #[test]
    fn copies_are_counted_where_they_are_fewest() {
        let copies = |record: &LedgerRecord, bad: &str| copies(record, &names(bad).into_iter().collect());
        assert_eq!((copies(&closed(), ""), copies(&closed(), "a"), copies(&closed(), "ac")), (2, 1, 0));
        let mut empty_tail = closed();
        (empty_tail.end, empty_tail.length) = (5, 500);
        empty_tail.fragments[0].lacking.clear();
        assert_eq!(copies(&empty_tail, "d"), 3, "no entry is on it");
    }

    #[test]
    fn a_fragment_has_an_end_once_nothing_is_written_to_it() {
        let end = |record: &LedgerRecord, first| fragment(record, EntryId(first)).map(|(_, end)| end.0);
        assert_eq!((end(&open(), 0), end(&open(), 5), end(&open(), 3)), (Some(5), None, None));
        assert_eq!(end(&closed(), 5), Some(9));
        assert_eq!((entry_bytes(&open()), entry_bytes(&closed())), (100, 100));
    }
}
