//! What writers, recoverers and repairs make of a ledger's record. Values in, values out: whoever carries them compares and sets.
//!
//! Promises: made twice, a change is the same as made once, so that one whose answer was lost is recognised; a record that is
//! CLOSED keeps its end; fragments begin at rising entries.
use proto::records::{Fragment, LedgerRecord, LedgerState};
use proto::{BookieId, EntryId};

use super::{Decision, add_names};
use crate::Sealed;

#[cfg(test)]
mod tests;

/// A writer's replacement of members.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    /// The confirmed end: where the new members begin.
    pub(crate) first: EntryId,
    /// Sum of payload bytes below it.
    pub(crate) length_before: u64,
    /// The ensemble as the writer knows it, and as it shall be.
    pub(crate) from: Vec<BookieId>,
    pub(crate) to: Vec<BookieId>,
    /// Members of `from` that have not acknowledged everything below `first`.
    pub(crate) behind: Vec<BookieId>,
}

/// One of the fragments that a recovery leaves instead of the last one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ended {
    pub(crate) first: EntryId,
    pub(crate) length_before: u64,
    pub(crate) bookies: Vec<BookieId>,
    /// Members that are not known to hold everything they should.
    pub(crate) lacking: Vec<BookieId>,
}

fn write(record: LedgerRecord) -> Decision {
    Decision::Write(Box::new(record))
}

fn texts(names: &[BookieId]) -> Vec<String> {
    names.iter().map(|name| name.as_str().to_owned()).collect()
}

fn sorted(names: &[BookieId]) -> Vec<String> {
    let mut texts = texts(names);
    texts.sort();
    texts
}

fn sealed(record: &LedgerRecord) -> Option<Sealed> {
    (record.state() == LedgerState::Closed).then_some(Sealed { end: EntryId(record.end), length: record.length })
}

fn last(record: &mut LedgerRecord) -> &mut Fragment {
    record.fragments.last_mut().expect("checked when decoded")
}

/// A writer's mark: `names` may lack entries of the last fragment.
pub(crate) fn mark(record: &LedgerRecord, names: &[BookieId]) -> Decision {
    if record.state() != LedgerState::Open {
        return Decision::Refused;
    }
    let mut record = record.clone();
    if add_names(&mut last(&mut record).lacking, names) { write(record) } else { Decision::Already }
}

/// A writer's change of its ensemble.
pub(crate) fn change(record: &LedgerRecord, change: &Change) -> Decision {
    let (from, to) = (texts(&change.from), texts(&change.to));
    let mut record = record.clone();
    let fragment = last(&mut record);
    if fragment.first == change.first.0 && fragment.bookies == to {
        return Decision::Already;
    }
    if fragment.bookies != from || record.state() != LedgerState::Open {
        return Decision::Refused;
    }
    let fragment = last(&mut record);
    // The writer may count what they had acknowledged before they lost it.
    let limbo: Vec<String> = fragment.limbo.iter().filter(|name| to.contains(name)).cloned().collect();
    if fragment.first == change.first.0 {
        fragment.lacking.retain(|name| to.contains(name)); // Nothing of it is confirmed: it begins anew.
        fragment.bookies = to;
        fragment.limbo = limbo;
    } else {
        add_names(&mut fragment.lacking, &change.behind);
        let (first, length_before) = (change.first.0, change.length_before);
        record.fragments.push(Fragment { first, bookies: to, lacking: Vec::new(), length_before, limbo });
    }
    add_names(&mut record.may_hold, change.from.iter().filter(|name| !change.to.contains(name)));
    write(record)
}

/// A writer's close. `lacking` are members of the last fragment that have not acknowledged all of it.
pub(crate) fn close(record: &LedgerRecord, end: Sealed, lacking: &[BookieId]) -> Decision {
    if record.state() != LedgerState::Open {
        return if sealed(record) == Some(end) { Decision::Already } else { Decision::Refused };
    }
    let mut record = record.clone();
    set_closed(&mut record, end);
    last(&mut record).lacking = sorted(lacking);
    write(record)
}

/// Whoever calls it knows that the ledger may be closed.
pub(crate) fn set_closed(record: &mut LedgerRecord, end: Sealed) {
    record.set_state(LedgerState::Closed);
    record.end = end.end.0;
    record.length = end.length;
}

/// The start of a recovery. `recoverer` names this start and no other.
pub(crate) fn begin_recovery(record: &LedgerRecord, recoverer: &str) -> Decision {
    match record.state() {
        LedgerState::InRecovery if record.recoverer == recoverer => return Decision::Already,
        LedgerState::Open | LedgerState::InRecovery => {}
        LedgerState::Closed | LedgerState::Deleted => return Decision::Refused,
    }
    let mut record = record.clone();
    record.set_state(LedgerState::InRecovery);
    record.recovery_epoch += 1;
    recoverer.clone_into(&mut record.recoverer);
    write(record)
}

/// A recoverer's close: `ended` stands for the last fragment. Only the one who started last may.
pub(crate) fn close_recovered(
    record: &LedgerRecord,
    recoverer: &str,
    end: Sealed,
    ended: &[Ended],
    in_doubt: bool,
) -> Decision {
    if record.recoverer != recoverer {
        return Decision::Refused;
    }
    match record.state() {
        LedgerState::InRecovery => {}
        LedgerState::Closed => return Decision::Already,
        LedgerState::Open | LedgerState::Deleted => return Decision::Refused,
    }
    let mut record = record.clone();
    let may_hold = super::may_hold(&record);
    let last = record.fragments.pop().unwrap_or_default();
    let before = super::bookies(&last);
    let stays = |name: &&BookieId| ended.iter().any(|fragment| fragment.bookies.contains(name));
    add_names(&mut record.may_hold, before.iter().filter(|name| !stays(name)));
    for fragment in ended {
        let mut lacking = sorted(&fragment.lacking);
        // A repair may have copied to them while they were counted: then the count proves nothing.
        add_names(
            &mut lacking,
            fragment.bookies.iter().filter(|name| before.contains(name) && may_hold.contains(name)),
        );
        record.fragments.push(Fragment {
            first: fragment.first.0,
            bookies: texts(&fragment.bookies),
            lacking,
            length_before: fragment.length_before,
            limbo: last
                .limbo
                .iter()
                .filter(|name| fragment.bookies.iter().any(|stays| stays.as_str() == *name))
                .cloned()
                .collect(),
        });
    }
    record.end_in_doubt |= in_doubt;
    set_closed(&mut record, end);
    write(record)
}

/// Says, before it is true, that `names` may hold entries.
pub(crate) fn note_holders(record: &LedgerRecord, names: &[BookieId]) -> Decision {
    if record.state() == LedgerState::Deleted {
        return Decision::Refused;
    }
    let mut record = record.clone();
    if add_names(&mut record.may_hold, names) { write(record) } else { Decision::Already }
}

/// The fragment that begins at `first`, if it has ended: a last one may still grow while its ledger is not closed.
fn ended(record: &mut LedgerRecord, first: EntryId) -> Option<&mut Fragment> {
    let at = record.fragments.iter().position(|fragment| fragment.first == first.0)?;
    let is_over = match record.state() {
        LedgerState::Closed => true,
        LedgerState::Open | LedgerState::InRecovery => at + 1 < record.fragments.len(),
        LedgerState::Deleted => false,
    };
    if is_over { record.fragments.get_mut(at) } else { None }
}

/// A repair's: `new` holds all that `old` should hold of the fragment at `first`, and takes its seat. The repair began to look when the record
/// was `seen`: if a bookie has lost something since, it must look again.
pub(crate) fn replace_member(
    record: &LedgerRecord,
    seen: &LedgerRecord,
    first: EntryId,
    old: &BookieId,
    new: &BookieId,
) -> Decision {
    if record.losses != seen.losses {
        return Decision::Refused;
    }
    let mut record = record.clone();
    let listed = record.may_hold.iter().any(|name| name == new.as_str());
    let Some(fragment) = ended(&mut record, first).filter(|_| listed) else { return Decision::Refused };
    let Some(seat) = fragment.bookies.iter().position(|name| name == old.as_str()) else { return Decision::Refused };
    if fragment.bookies.iter().any(|name| name == new.as_str()) {
        return Decision::Refused;
    }
    fragment.bookies[seat] = new.as_str().to_owned();
    fragment.lacking.retain(|name| name != old.as_str() && name != new.as_str());
    fragment.limbo.retain(|name| name != old.as_str() && name != new.as_str());
    add_names(&mut record.may_hold, [old]);
    write(record)
}

/// A repair's: `member` holds all it should of the fragment at `first`. The repair began to look when the record was `seen`: what it found may
/// be lost since, then the mark stays, whether or not the member was in limbo before.
pub(crate) fn unmark(record: &LedgerRecord, seen: &LedgerRecord, first: EntryId, member: &BookieId) -> Decision {
    if record.losses != seen.losses {
        return Decision::Refused;
    }
    let mut record = record.clone();
    let Some(fragment) = ended(&mut record, first) else { return Decision::Refused };
    let before = fragment.lacking.len() + fragment.limbo.len();
    fragment.lacking.retain(|name| name != member.as_str());
    fragment.limbo.retain(|name| name != member.as_str());
    if fragment.lacking.len() + fragment.limbo.len() < before { write(record) } else { Decision::Already }
}

/// An audit's: `member` does not hold all it should of the fragment at `first`.
pub(crate) fn mark_member(record: &LedgerRecord, first: EntryId, member: &BookieId) -> Decision {
    let mut record = record.clone();
    let Some(fragment) = ended(&mut record, first) else { return Decision::Refused };
    if !fragment.bookies.iter().any(|name| name == member.as_str()) {
        return Decision::Refused;
    }
    if add_names(&mut fragment.lacking, [member]) { write(record) } else { Decision::Already }
}

/// Forgets holders whose identity is retired and that no fragment names.
pub(crate) fn forget_holders(record: &LedgerRecord, retired: &[BookieId]) -> Decision {
    let mut record = record.clone();
    let before = record.may_hold.len();
    let named: Vec<String> = record.fragments.iter().flat_map(|fragment| fragment.bookies.clone()).collect();
    let is_retired = |name: &String| retired.iter().any(|retired| retired.as_str() == name);
    record.may_hold.retain(|name| !is_retired(name) || named.contains(name));
    if record.may_hold.len() < before { write(record) } else { Decision::Already }
}
