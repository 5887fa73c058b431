use std::collections::BTreeSet;

use super::*;

/// What is held of each ledger, and what of it was appended after the loss.
#[derive(Default)]
struct Holding {
    entries: BTreeSet<u64>,
    safe_end: Option<u64>,
}

impl Holding {
    fn of(entries: impl IntoIterator<Item = u64>) -> Self {
        Self { entries: entries.into_iter().collect(), safe_end: None }
    }
}

impl Held for Holding {
    fn first_missing(&self, record: &LedgerRecord, seat: usize, entries: Range<EntryId>) -> Option<EntryId> {
        let mut wanted = (entries.start.0..entries.end.0).filter(|entry| holds(record, seat, EntryId(*entry)));
        wanted.find(|entry| !self.entries.contains(entry)).map(EntryId)
    }

    fn safe_end(&self, _: &LedgerRecord) -> Option<EntryId> {
        self.safe_end.map(EntryId)
    }
}

fn me() -> BookieId {
    "b".parse().unwrap()
}

fn fragment(first: u64, letters: &str) -> Fragment {
    Fragment { first, bookies: letters.chars().map(String::from).collect(), ..Fragment::default() }
}

/// Open, of two fragments.
fn open() -> LedgerRecord {
    let fragments = vec![fragment(0, "abc"), fragment(10, "dbe")];
    LedgerRecord { ledger: 7, ensemble_size: 3, write_quorum: 3, ack_quorum: 2, fragments, ..LedgerRecord::default() }
}

fn closed(end: u64) -> LedgerRecord {
    let mut record = LedgerRecord { end, ..open() };
    record.set_state(LedgerState::Closed);
    record
}

fn judged(record: &LedgerRecord, held: &Holding) -> Judged {
    judge(record, &me(), held).unwrap()
}

#[test]
fn of_a_closed_ledger_only_what_is_not_whole_is_in_limbo_and_all_of_it_is_fenced() {
    let whole = judged(&closed(15), &Holding::of(0..15));
    assert_eq!((whole.lacks.len(), whole.fence), (0, true), "{whole:?}");
    let hole = judged(&closed(15), &Holding::of((0..4).chain(5..15)));
    assert_eq!((&hole.lacks[..], hole.first_missing), (&[0][..], Some(EntryId(4))));
    let tail = judged(&closed(15), &Holding::of(0..12));
    assert_eq!((&tail.lacks[..], tail.first_missing), (&[1][..], Some(EntryId(12))));
    assert_eq!(judged(&closed(15), &Holding::default()).lacks, [0, 1]);
}

/// Goal: no entry is denied that may have been acknowledged. What is whole up to the highest entry may still have had others behind it.
#[test]
fn an_open_end_is_in_limbo_unless_its_last_entry_came_after_the_loss() {
    let mut held = Holding::of(0..15);
    let doubtful = judged(&open(), &held);
    assert_eq!((&doubtful.lacks[..], doubtful.fence), (&[1][..], true));
    held.safe_end = Some(15);
    let safe = judged(&open(), &held);
    assert_eq!((safe.is_limbo(), safe.fence), (false, false), "its writer goes on");
    let mut recovering = LedgerRecord { recovery_epoch: 1, ..open() };
    recovering.set_state(LedgerState::InRecovery);
    assert!(judged(&recovering, &held).is_limbo(), "a fence and a recoverer's writes may be lost");
    let sole = LedgerRecord { write_quorum: 1, ack_quorum: 1, ..open() };
    assert!(judged(&sole, &held).is_limbo(), "one that came before it may have been behind it");
    let mut hole = Holding::of((0..11).chain(12..15));
    hole.safe_end = Some(15);
    assert!(judged(&open(), &hole).fence && judged(&open(), &hole).is_limbo());
    let mut earlier = Holding::of(1..15);
    earlier.safe_end = Some(15);
    assert_eq!(judged(&open(), &earlier).lacks, [0, 1], "what lost one may have lost more");
    let mut nothing = Holding::of(0..10);
    nothing.safe_end = Some(10);
    assert_eq!(judged(&open(), &nothing).lacks, [1], "the last fragment may have begun");
}

#[test]
fn others_ledgers_are_left_alone_and_deleted_ones_get_their_tombstone_back() {
    let mut other = open();
    other.fragments = vec![fragment(0, "xyz")];
    assert_eq!(judge(&other, &me(), &Holding::default()), None);
    other.may_hold = vec!["b".into()];
    let left = judged(&other, &Holding::default());
    assert!(left.fence && !left.is_limbo(), "it was a member, and its fence may be lost");
    assert!(left.is_loss(), "or a repair is copying to it");
    let mut deleted = open();
    deleted.set_state(LedgerState::Deleted);
    assert_eq!(judged(&deleted, &Holding::default()), Judged { delete: true, ..Judged::default() });
}

#[test]
fn a_member_of_a_striped_ensemble_answers_for_its_share_only() {
    let mut record = closed(10);
    record.fragments = vec![fragment(0, "abc")];
    record.write_quorum = 2;
    // Seat 1 holds what seats 0 and 1 begin: all but 2, 5, 8.
    let share = Holding::of([0, 1, 3, 4, 6, 7, 9]);
    assert!(!judged(&record, &share).is_limbo());
    assert_eq!(judged(&record, &Holding::of([0, 1, 3, 4, 7, 9])).first_missing, Some(EntryId(6)));
}

#[test]
fn marks_tell_of_each_loss_and_are_taken_off_where_all_is_held_again() {
    let lost = judged(&closed(15), &Holding::default());
    let record = marked(&closed(15), &me(), &lost).unwrap();
    assert!(names(&record, &me()) && !names(&record, &"a".parse().unwrap()));
    let again = marked(&record, &me(), &lost).unwrap();
    assert_eq!((record.losses, again.losses), (1, 2), "each start with a loss counts");
    assert_eq!((&again.fragments, again.end), (&record.fragments, record.end));
    assert_eq!(marked(&record, &me(), &judged(&closed(15), &Holding::of(0..15))), None, "it holds everything");
    assert_eq!(cleared(&record, &me(), &Holding::default()), None);
    let half = cleared(&record, &me(), &Holding::of(0..12)).unwrap();
    assert_eq!((half.fragments[0].limbo.len(), half.fragments[1].limbo.len()), (0, 1));
    let all = cleared(&record, &me(), &Holding::of(0..15)).unwrap();
    assert!(!names(&all, &me()));
    let open = marked(&open(), &me(), &judged(&open(), &Holding::default())).unwrap();
    assert_eq!(cleared(&open, &me(), &Holding::of(0..15)), None, "more may follow");
}
