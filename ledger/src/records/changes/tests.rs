use proto::LedgerId;

use super::*;
use crate::QuorumPolicy;
use crate::records::{is_sound, new_record};

const POLICY: QuorumPolicy = QuorumPolicy { ensemble: 3, write: 3, ack: 2 };

fn names(letters: &str) -> Vec<BookieId> {
    letters.chars().map(|letter| letter.to_string().parse().expect("valid")).collect()
}

fn name(letter: &str) -> BookieId {
    letter.parse().expect("valid")
}

fn open() -> LedgerRecord {
    new_record(LedgerId(7), POLICY, "topic/t", &names("abc"), &[], 1)
}

fn changed(first: u64, from: &str, to: &str, behind: &str) -> Change {
    let (from, to, behind) = (names(from), names(to), names(behind));
    Change { first: EntryId(first), length_before: first * 10, from, to, behind }
}

fn written(decision: Decision) -> LedgerRecord {
    match decision {
        Decision::Write(record) => {
            assert!(is_sound(&record, LedgerId(record.ledger)), "{record:?}");
            *record
        }
        other => panic!("{other:?}"),
    }
}

fn texts(names: &[String]) -> String {
    names.concat()
}

const END: Sealed = Sealed { end: EntryId(9), length: 90 };

fn ended(first: u64, bookies: &str, lacking: &str) -> Ended {
    let (bookies, lacking) = (names(bookies), names(lacking));
    Ended { first: EntryId(first), length_before: first * 10, bookies, lacking }
}

/// A closed ledger of two fragments: abc from 0, abd from 5.
fn closed() -> LedgerRecord {
    let two = written(change(&open(), &changed(5, "abc", "abd", "c")));
    written(close(&two, END, &names("a")))
}

#[test]
fn a_change_ends_a_fragment_and_marks_those_that_are_behind() {
    let record = written(change(&open(), &changed(5, "abc", "abd", "bc")));
    let [before, after] = &record.fragments[..] else { panic!("{record:?}") };
    assert_eq!((texts(&before.bookies), texts(&before.lacking)), ("abc".into(), "bc".into()));
    assert_eq!((after.first, after.length_before), (5, 50));
    assert_eq!((texts(&after.bookies), texts(&after.lacking)), ("abd".into(), String::new()));
    assert_eq!(texts(&record.may_hold), "c", "a deletion finds the one that went");
}

#[test]
fn a_change_where_nothing_was_confirmed_since_the_last_rewrites_the_fragment() {
    let first = written(change(&open(), &changed(5, "abc", "abd", "")));
    let marked = written(mark(&first, &names("bd")));
    let record = written(change(&marked, &changed(5, "abd", "abe", "d")));
    assert_eq!(record.fragments.len(), 2);
    assert_eq!(texts(&record.fragments[1].bookies), "abe");
    assert_eq!(texts(&record.fragments[1].lacking), "b", "who stays keeps its mark");
    assert_eq!(texts(&record.may_hold), "cd");
}

#[test]
fn every_change_is_recognised_when_it_is_made_again() {
    let again = |decide: &dyn Fn(&LedgerRecord) -> Decision, record: &LedgerRecord| {
        let record = written(decide(record));
        assert_eq!(decide(&record), Decision::Already, "{record:?}");
        record
    };
    let marked = again(&|record| mark(record, &names("b")), &open());
    let two = again(&|record| change(record, &changed(5, "abc", "abd", "")), &marked);
    again(&|record| close(record, END, &names("d")), &two);
    let mine = again(&|record| begin_recovery(record, "me"), &two);
    again(&|record| close_recovered(record, "me", END, &[ended(5, "abd", "")], false), &mine);
    again(&|record| note_holders(record, &names("e")), &two);
    again(&|record| unmark(record, record, EntryId(0), &name("b")), &two);
    again(&|record| mark_member(record, EntryId(0), &name("c")), &two);
}

#[test]
fn a_writer_whose_record_another_has_taken_changes_nothing() {
    let taken = written(begin_recovery(&open(), "other"));
    assert_eq!(mark(&taken, &names("a")), Decision::Refused);
    assert_eq!(change(&taken, &changed(5, "abc", "abd", "")), Decision::Refused);
    assert_eq!(close(&taken, END, &[]), Decision::Refused);
    assert_eq!(change(&open(), &changed(5, "abe", "abd", "")), Decision::Refused, "another ensemble than the writer's");
}

#[test]
fn a_closed_ledger_keeps_its_end() {
    let record = closed();
    assert_eq!(begin_recovery(&record, "late"), Decision::Refused);
    assert_eq!(close(&record, Sealed { end: EntryId(8), length: 80 }, &[]), Decision::Refused);
    assert_eq!(close_recovered(&record, "late", END, &[], false), Decision::Refused);
    assert_eq!(mark(&record, &names("b")), Decision::Refused);
}

#[test]
fn only_the_recoverer_that_began_last_closes() {
    let first = written(begin_recovery(&open(), "first"));
    let second = written(begin_recovery(&first, "second"));
    assert_eq!((first.recovery_epoch, second.recovery_epoch), (1, 2));
    assert_eq!(close_recovered(&second, "first", END, &[ended(0, "abc", "")], false), Decision::Refused);
    let record = written(close_recovered(&second, "second", END, &[ended(0, "abc", "b")], false));
    assert_eq!((record.state(), record.end, record.length), (LedgerState::Closed, 9, 90));
    assert_eq!(texts(&record.fragments[0].lacking), "b");
}

#[test]
fn write_backs_that_moved_leave_a_fragment_of_their_own() {
    let mine = written(begin_recovery(&open(), "me"));
    let noted = written(note_holders(&mine, &names("d")));
    let parts = [ended(0, "abc", "c"), ended(7, "abd", "")];
    let record = written(close_recovered(&noted, "me", END, &parts, false));
    let fragments: Vec<(u64, String)> =
        record.fragments.iter().map(|fragment| (fragment.first, texts(&fragment.bookies))).collect();
    assert_eq!(fragments, [(0, "abc".to_owned()), (7, "abd".to_owned())]);
    assert_eq!(texts(&record.fragments[1].lacking), "", "a replacement was not counted but heard");
}

/// Goal: a count that a repair has changed meanwhile marks nobody as whole. Method: the repair lists its target between.
#[test]
fn a_member_that_a_repair_copied_to_is_not_trusted_by_its_count() {
    let two = written(change(&open(), &changed(5, "abc", "abd", "")));
    let mine = written(begin_recovery(&two, "me"));
    let noted = written(note_holders(&mine, &names("d")));
    let record = written(close_recovered(&noted, "me", END, &[ended(5, "abd", "")], false));
    assert_eq!(texts(&record.fragments[1].lacking), "d");
}

#[test]
fn a_repair_replaces_members_only_where_nothing_is_written_any_more() {
    let two = written(change(&open(), &changed(5, "abc", "abd", "")));
    let listed = written(note_holders(&two, &names("e")));
    let replace = |record: &LedgerRecord, first, old: &str, new: &str| {
        replace_member(record, record, EntryId(first), &name(old), &name(new))
    };
    assert_eq!(replace(&listed, 5, "d", "e"), Decision::Refused, "its writer may still write there");
    assert_eq!(replace(&two, 0, "c", "e"), Decision::Refused, "nobody was told that e holds anything");
    assert_eq!(replace(&listed, 0, "x", "e"), Decision::Refused, "there is no such member");
    assert_eq!(replace(&listed, 3, "a", "e"), Decision::Refused, "no fragment begins there");
    let record = written(replace(&listed, 0, "c", "e"));
    assert_eq!(texts(&record.fragments[0].bookies), "abe");
    assert_eq!(texts(&record.may_hold), "ce");
    assert_eq!(replace(&record, 0, "a", "e"), Decision::Refused, "nobody sits twice");
    let done = written(note_holders(&closed(), &names("e")));
    let record = written(replace(&done, 5, "a", "e"));
    assert_eq!((texts(&record.fragments[1].bookies), texts(&record.fragments[1].lacking)), ("ebd".into(), "".into()));
    assert_eq!((record.end, record.length), (9, 90));
}

#[test]
fn marks_of_ended_fragments_come_and_go() {
    let record = closed();
    let unmarked = written(unmark(&record, &record, EntryId(5), &name("a")));
    assert!(unmarked.fragments[1].lacking.is_empty());
    let marked = written(mark_member(&unmarked, EntryId(0), &name("b")));
    assert_eq!(texts(&marked.fragments[0].lacking), "bc");
    assert_eq!(mark_member(&record, EntryId(0), &name("x")), Decision::Refused);
    assert_eq!(mark_member(&open(), EntryId(0), &name("a")), Decision::Refused, "its writer marks there");
    assert_eq!(unmark(&open(), &open(), EntryId(0), &name("a")), Decision::Refused);
}

#[test]
fn holders_are_forgotten_only_when_they_are_retired_and_named_nowhere() {
    let record = written(note_holders(&closed(), &names("ade")));
    assert_eq!(texts(&record.may_hold), "acde");
    assert_eq!(forget_holders(&record, &[]), Decision::Already);
    let record = written(forget_holders(&record, &names("ae")));
    assert_eq!(texts(&record.may_hold), "acd", "a is still a member");
}

#[test]
fn nothing_is_done_to_a_ledger_that_is_being_deleted() {
    let mut record = closed();
    record.set_state(LedgerState::Deleted);
    assert_eq!(note_holders(&record, &names("e")), Decision::Refused);
    assert_eq!(begin_recovery(&record, "me"), Decision::Refused);
    assert_eq!(unmark(&record, &record, EntryId(0), &name("c")), Decision::Refused);
    assert_eq!(replace_member(&record, &record, EntryId(0), &name("a"), &name("c")), Decision::Refused);
}

fn in_limbo(mut record: LedgerRecord, letters: &str) -> LedgerRecord {
    last(&mut record).limbo = letters.chars().map(String::from).collect();
    record
}

/// Goal: what a repair saw before a loss proves nothing, also of a member that was in limbo then, left it, and is in limbo again.
#[test]
fn a_repair_that_looked_before_a_loss_changes_nothing() {
    let closed = in_limbo(written(close(&open(), END, &[])), "b");
    let seen = written(note_holders(&closed, &names("f")));
    let since = LedgerRecord { losses: seen.losses + 1, ..seen.clone() };
    assert_eq!(unmark(&since, &seen, EntryId(0), &name("b")), Decision::Refused);
    assert_eq!(replace_member(&since, &seen, EntryId(0), &name("b"), &name("f")), Decision::Refused);
    assert!(texts(&written(unmark(&since, &since, EntryId(0), &name("b"))).fragments[0].limbo).is_empty());
    written(replace_member(&since, &since, EntryId(0), &name("b"), &name("f")));
}

/// Goal: a member that may have lost what it acknowledged is never taken for whole again but by a repair.
#[test]
fn limbo_outlives_everything_but_a_repair() {
    let record = in_limbo(open(), "bc");
    let two = written(change(&record, &changed(5, "abc", "abd", "")));
    let limbo = |record: &LedgerRecord| -> Vec<String> {
        record.fragments.iter().map(|fragment| texts(&fragment.limbo)).collect()
    };
    assert_eq!(limbo(&two), ["bc", "b"], "the writer may count what b had acknowledged");
    let again = written(change(&two, &changed(5, "abd", "aed", "")));
    assert_eq!(limbo(&again), ["bc", ""]);
    assert_eq!(limbo(&written(close(&two, END, &[]))), ["bc", "b"]);
    let mine = written(begin_recovery(&two, "me"));
    let parts = [ended(5, "abd", "b"), ended(7, "abe", "")];
    let closed = written(close_recovered(&mine, "me", END, &parts, false));
    assert_eq!(limbo(&closed), ["bc", "b", "b"]);
    let filled = written(unmark(&closed, &closed, EntryId(5), &name("b")));
    assert_eq!((limbo(&filled)[1].as_str(), texts(&filled.fragments[1].lacking)), ("", String::new()));
    let noted = written(note_holders(&closed, &names("f")));
    let replaced = written(replace_member(&noted, &noted, EntryId(0), &name("c"), &name("f")));
    assert_eq!(limbo(&replaced)[0], "b");
}

#[test]
fn an_end_in_doubt_stays_in_the_record() {
    let mine = written(begin_recovery(&open(), "me"));
    assert!(!written(close_recovered(&mine, "me", END, &[ended(0, "abc", "")], false)).end_in_doubt);
    let doubtful = written(close_recovered(&mine, "me", END, &[ended(0, "abc", "a")], true));
    assert!(doubtful.end_in_doubt);
    assert!(written(unmark(&doubtful, &doubtful, EntryId(0), &name("a"))).end_in_doubt);
}
