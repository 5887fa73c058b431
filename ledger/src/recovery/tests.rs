use bytes::Bytes;
use proto::bookie::{Request, Status};

use super::*;
use crate::fake_bookies::FakeBookie;
use crate::writer::{Failure, Limits, Writer};

const POLICY: QuorumPolicy = QuorumPolicy { ensemble: 3, write: 3, ack: 2 };
const LEDGER: LedgerId = LedgerId(9);

fn scope() -> Scope {
    let earlier = vec![Some(0); 3];
    Scope { ledger: LEDGER, policy: POLICY, first: EntryId(0), length_before: 0, earlier, planted: Planted::default() }
}

fn bookies() -> Vec<FakeBookie> {
    (0..3).map(|_| FakeBookie::default()).collect()
}

/// A writer with a session to each member.
fn writer() -> Writer {
    let mut writer = Writer::new(LEDGER, POLICY, Members::default(), Limits::default());
    (0..3).for_each(|member| writer.connected(member, 1));
    writer
}

/// What a writer would send to each member for one more entry.
fn append(writer: &mut Writer, ids: &mut [u64; 3], payload: &'static [u8]) -> Vec<Request> {
    writer.append(Bytes::from_static(payload)).expect("no failure");
    writer.flush(std::time::Duration::ZERO);
    let mut one_each = Vec::new();
    for (member, next) in ids.iter_mut().enumerate() {
        let mut requests = writer.requests(member, *next, usize::MAX);
        *next += requests.len() as u64;
        assert_eq!(requests.len(), 1);
        one_each.extend(requests.pop());
    }
    one_each
}

fn deliver(writer: &mut Writer, bookies: &mut [FakeBookie], member: usize, request: &Request) {
    let answer = bookies[member].handle(request.clone());
    writer.answered(member, 1, &answer, std::time::Duration::ZERO);
}

fn reply(bookies: &mut [FakeBookie], ask: &Ask) -> Vec<Reply> {
    let request = |body: &request::Body| Request { id: 1, ledger: LEDGER.0, body: Some(body.clone()) };
    ask.bodies.iter().map(|body| bookies[ask.member].handle(request(body)).into()).collect()
}

fn silence(ask: &Ask) -> Vec<Reply> {
    vec![Reply::Silence; ask.bodies.len()]
}

/// Runs a recovery to its end; members in `away` say nothing.
fn run(recovery: &mut Recovery, bookies: &mut [FakeBookie], away: &[usize]) -> Verdict {
    loop {
        let asks = recovery.asks();
        assert!(!asks.is_empty() || recovery.verdict().is_some(), "a recovery never waits for nothing: {recovery:?}");
        for ask in asks {
            let replies = if away.contains(&ask.member) { silence(&ask) } else { reply(bookies, &ask) };
            recovery.answered(&ask, replies);
        }
        if let Some(verdict) = recovery.verdict() {
            return verdict.clone();
        }
    }
}

fn end(verdict: &Verdict) -> u64 {
    match verdict {
        Verdict::Ended(sealed, _) => sealed.end.0,
        other => panic!("{other:?}"),
    }
}

/// N1. Goal: an entry that was answered No in a recovery is never confirmed afterwards.
/// Method: the fence of member 2 is lost, its fencing read says No, then the delayed add arrives there.
#[test]
fn a_no_to_a_fencing_read_is_final() {
    let (mut bookies, mut writer, mut ids) = (bookies(), writer(), [1; 3]);
    let adds = append(&mut writer, &mut ids, b"one");
    deliver(&mut writer, &mut bookies, 1, &adds[1]);
    let mut recovery = Recovery::new(scope());
    let fences = recovery.asks();
    for ask in &fences[..2] {
        let replies = reply(&mut bookies, ask); // Covered by 0 and 1; the fence of 2 is lost.
        recovery.answered(ask, replies);
    }
    let reads = recovery.asks();
    assert_eq!(reads.len(), 3, "all are read");
    let replies = [0, 2].map(|at: usize| reply(&mut bookies, &reads[at]));
    for (at, replies) in [0, 2].into_iter().zip(replies) {
        recovery.answered(&reads[at], replies);
    }
    deliver(&mut writer, &mut bookies, 2, &adds[2]);
    deliver(&mut writer, &mut bookies, 0, &adds[0]);
    assert_eq!(writer.take_confirmed(), None, "the delayed adds are refused");
    assert_eq!(writer.failure(), Some(Failure::Fenced));
    assert_eq!(end(&run(&mut recovery, &mut bookies, &[1])), 0);
}

/// N2, as it is here: the record cannot be marked because a recoverer has it. Nothing is confirmed afterwards.
#[test]
fn acks_after_a_refused_mark_confirm_nothing() {
    let (mut bookies, mut writer, mut ids) = (bookies(), writer(), [1; 3]);
    let adds = append(&mut writer, &mut ids, b"one");
    writer.mark_refused();
    for (member, add) in adds.iter().enumerate() {
        deliver(&mut writer, &mut bookies, member, add);
    }
    assert_eq!(writer.take_confirmed(), None);
}

/// N4. Goal: no reader is shown an entry that another recoverer may leave out.
/// Method: one recoverer finds an entry that the other does not; the confirmed end that bookies learn stays where it was.
#[test]
fn two_recoverers_may_differ_but_show_no_reader_more_than_was_confirmed() {
    let (mut bookies, mut writer, mut ids) = (bookies(), writer(), [1; 3]);
    let adds = append(&mut writer, &mut ids, b"one");
    deliver(&mut writer, &mut bookies, 2, &adds[2]);
    let mut blind = Recovery::new(scope());
    assert_eq!(end(&run(&mut blind, &mut bookies, &[2])), 0);
    let mut seeing = Recovery::new(scope());
    assert_eq!(end(&run(&mut seeing, &mut bookies, &[0])), 1);
    for bookie in &mut bookies {
        let held = Request { id: 1, ledger: LEDGER.0, body: Some(request::Body::Held(Held {})) };
        assert_eq!(bookie.handle(held).holding.map(|holding| holding.confirmed), Some(0));
    }
}

/// N5. Goal: a bookie that lost its disk truncates nothing. Method: it answers Unknown, and the other holder is away.
#[test]
fn an_unknown_answer_never_ends_a_ledger() {
    let (mut bookies, mut writer, mut ids) = (bookies(), writer(), [1; 3]);
    let adds = append(&mut writer, &mut ids, b"one");
    deliver(&mut writer, &mut bookies, 0, &adds[0]);
    deliver(&mut writer, &mut bookies, 1, &adds[1]);
    assert_eq!(writer.take_confirmed(), Some(EntryId(1)));
    bookies[0].answer_reads_unknown(true);
    let verdict = run(&mut Recovery::new(scope()), &mut bookies, &[1]);
    assert!(matches!(verdict, Verdict::Unsettled(_)), "{verdict:?}");
    let verdict = run(&mut Recovery::new(scope()), &mut bookies, &[]);
    assert_eq!(end(&verdict), 1, "the other holder decides");
    assert!(
        matches!(verdict, Verdict::Ended(_, ref parts) if parts[0].lacking.contains(0)),
        "the doubtful one is marked"
    );
}

/// N10. A paused writer's add after the deletion is refused, and a recovery of what is being deleted stops.
#[test]
fn a_deleted_ledger_takes_nothing_more() {
    let (mut bookies, mut writer, mut ids) = (bookies(), writer(), [1; 3]);
    let adds = append(&mut writer, &mut ids, b"one");
    for bookie in &mut bookies {
        bookie.handle(Request { id: 1, ledger: LEDGER.0, body: Some(request::Body::Delete(proto::bookie::Delete {})) });
    }
    deliver(&mut writer, &mut bookies, 0, &adds[0]);
    assert_eq!(writer.failure(), Some(Failure::Fenced));
    assert_eq!(run(&mut Recovery::new(scope()), &mut bookies, &[]), Verdict::Deleted);
}

#[test]
fn a_gap_at_the_tail_ends_the_ledger_and_what_lies_behind_it_is_left_out() {
    let (mut bookies, mut writer, mut ids) = (bookies(), writer(), [1; 3]);
    append(&mut writer, &mut ids, b"one");
    let second = append(&mut writer, &mut ids, b"two");
    for (member, add) in second.iter().enumerate() {
        deliver(&mut writer, &mut bookies, member, add);
    }
    assert_eq!(writer.take_confirmed(), None, "in order only");
    let verdict = run(&mut Recovery::new(scope()), &mut bookies, &[]);
    assert_eq!(end(&verdict), 0);
    assert!(
        matches!(verdict, Verdict::Ended(_, ref parts) if parts[0].lacking.len() == 3),
        "who holds more is not verified"
    );
}

#[test]
fn a_long_tail_is_written_back_in_bounded_batches_with_its_length() {
    let (mut bookies, mut writer) = (bookies(), writer());
    for _ in 0..600 {
        writer.append(Bytes::from(vec![7; 10_000])).expect("no failure");
    }
    writer.flush(std::time::Duration::ZERO);
    for request in writer.requests(1, 1, usize::MAX) {
        assert_eq!(bookies[1].handle(request).status(), Status::Ok); // Only one member has the tail.
    }
    let verdict = run(&mut Recovery::new(scope()), &mut bookies, &[2]);
    let sealed = Sealed { end: EntryId(600), length: 6_000_000 };
    assert!(
        matches!(verdict, Verdict::Ended(found, ref parts) if found == sealed && parts[0].lacking == [2].into_iter().collect())
    );
    assert_eq!(bookies[0].entries(LEDGER).len(), 600, "an ack quorum holds all of it");
}

#[test]
fn a_corrupt_copy_is_neither_yes_nor_no() {
    let (mut bookies, mut writer, mut ids) = (bookies(), writer(), [1; 3]);
    let adds = append(&mut writer, &mut ids, b"one");
    deliver(&mut writer, &mut bookies, 0, &adds[0]);
    bookies[0].corrupt(LEDGER, EntryId(0));
    let verdict = run(&mut Recovery::new(scope()), &mut bookies, &[1]);
    assert!(matches!(verdict, Verdict::Unsettled(_)), "one no is not enough: {verdict:?}");
    assert_eq!(end(&run(&mut Recovery::new(scope()), &mut bookies, &[])), 0, "two noes are");
}

/// A ledger whose last fragment begins at `first`, with `before` entries of 10 bytes below it on all of its members.
fn later_scope(first: u64) -> Scope {
    Scope { first: EntryId(first), length_before: first * 10, earlier: vec![Some(first), Some(first), None], ..scope() }
}

fn hold(bookie: &mut FakeBookie, entry: u64, confirmed: u64) {
    let payload = Bytes::from_static(&[7; 10]);
    let length = 10 * (entry + 1);
    let digest = proto::digest::entry_digest(LEDGER, EntryId(entry), length, &payload);
    let add = Add { entry, confirmed, length, digest, recovery: false, payload, urgent: false };
    let answer = bookie.handle(Request { id: 1, ledger: LEDGER.0, body: Some(request::Body::Add(add)) });
    assert_eq!(answer.status(), Status::Ok);
}

/// D-2. Goal: entries below the last fragment are never voted on by its members. Method: two of them are new and hold nothing below,
/// the third has heard of no confirmation.
#[test]
fn a_recovery_begins_no_lower_than_the_last_fragment() {
    let mut bookies = bookies();
    (0..6).for_each(|entry| hold(&mut bookies[0], entry, 0));
    let verdict = run(&mut Recovery::new(later_scope(5)), &mut bookies, &[]);
    let Verdict::Ended(sealed, parts) = verdict else { panic!("{verdict:?}") };
    assert_eq!(sealed, Sealed { end: EntryId(6), length: 60 });
    assert_eq!((parts.len(), parts[0].first, parts[0].length_before), (1, EntryId(5), 50));
    assert!(bookies.iter().all(|bookie| bookie.entries(LEDGER).contains(&EntryId(5))), "the tail is on all");

    let planted = Some(Defect::RecoveryBeginsBelowFragment).into();
    let mut bookies = [(); 3].map(|()| FakeBookie::default());
    (0..6).for_each(|entry| hold(&mut bookies[0], entry, 0));
    let verdict = run(&mut Recovery::new(Scope { planted, ..later_scope(5) }), &mut bookies, &[0]);
    assert_eq!(end(&verdict), 0, "the defect would cut off what was confirmed");
}

#[test]
fn a_fragment_that_nothing_was_written_to_ends_where_it_began() {
    let mut bookies = bookies();
    (0..5).for_each(|entry| hold(&mut bookies[0], entry, 4));
    (0..5).for_each(|entry| hold(&mut bookies[1], entry, 4));
    let Verdict::Ended(sealed, parts) = run(&mut Recovery::new(later_scope(5)), &mut bookies, &[]) else {
        panic!("an end")
    };
    assert_eq!(sealed, Sealed { end: EntryId(5), length: 50 });
    assert_eq!(parts[0].lacking, [2].into_iter().collect(), "whose count proves nothing is marked");
}

/// Answers everything but the asks of members in `away`; others take the places that are wanted.
fn run_with_replacements(recovery: &mut Recovery, bookies: &mut Vec<FakeBookie>, away: &[usize]) -> Verdict {
    loop {
        for ask in recovery.asks() {
            let replies = if away.contains(&ask.member) { silence(&ask) } else { reply(bookies, &ask) };
            recovery.answered(&ask, replies);
        }
        let wanted = recovery.replacements_wanted();
        if !wanted.is_empty() {
            wanted.iter().for_each(|_| bookies.push(FakeBookie::default()));
            recovery.replaced(wanted);
        }
        if let Some(verdict) = recovery.verdict() {
            return verdict.clone();
        }
    }
}

/// Goal: the tail is on an ack quorum before the end is written, also where too few members take it.
/// Method: 3/3/3 with one member that answers fences and reads and refuses writes.
#[test]
fn write_backs_that_members_refuse_go_to_others_who_do_not_vote() {
    let policy = QuorumPolicy { ensemble: 3, write: 3, ack: 3 };
    let mut bookies = bookies();
    (0..4).for_each(|entry| hold(&mut bookies[0], entry, 2));
    bookies[2].refuse_adds(Some(Status::Busy));
    let mut recovery = Recovery::new(Scope { policy, ..scope() });
    let verdict = run_with_replacements(&mut recovery, &mut bookies, &[]);
    let Verdict::Ended(sealed, parts) = verdict else { panic!("{verdict:?}") };
    assert_eq!(sealed.end, EntryId(4));
    let seats: Vec<(u64, Vec<usize>)> = parts.iter().map(|part| (part.first.0, part.seats.clone())).collect();
    assert_eq!(seats, [(0, vec![0, 1, 2]), (2, vec![0, 1, 3])]);
    assert!(parts[0].lacking.contains(2) && !parts[1].lacking.contains(2), "{parts:?}");
    assert_eq!(bookies[3].entries(LEDGER), [EntryId(2), EntryId(3)], "what was confirmed needs no writing");
}

#[test]
fn without_anybody_to_write_to_nothing_is_decided() {
    let policy = QuorumPolicy { ensemble: 3, write: 3, ack: 3 };
    let mut bookies = bookies();
    hold(&mut bookies[0], 0, 0);
    bookies[2].refuse_adds(Some(Status::Busy));
    let mut recovery = Recovery::new(Scope { policy, ..scope() });
    while recovery.replacements_wanted().is_empty() {
        for ask in recovery.asks() {
            let replies = reply(&mut bookies, &ask);
            recovery.answered(&ask, replies);
        }
    }
    recovery.cannot_replace("there is no other");
    assert!(matches!(recovery.verdict(), Some(Verdict::Unsettled(_))));
}

/// S2 with a bookie that knows what it lost. Goal: what it does not hold is no vote, and what it takes afterwards does not make it whole.
/// Method: of the two holders of a confirmed entry one is in limbo without it, the other away at first.
#[test]
fn a_member_in_limbo_neither_votes_nor_counts_as_whole() {
    let (mut bookies, mut writer, mut ids) = (bookies(), writer(), [1; 3]);
    let adds = append(&mut writer, &mut ids, b"one");
    deliver(&mut writer, &mut bookies, 0, &adds[0]);
    deliver(&mut writer, &mut bookies, 1, &adds[1]);
    assert_eq!(writer.take_confirmed(), Some(EntryId(1)));
    bookies[0].lose(LEDGER, EntryId(0));
    bookies[0].enter_limbo(LEDGER);
    let verdict = run(&mut Recovery::new(scope()), &mut bookies, &[1]);
    assert!(matches!(verdict, Verdict::Unsettled(_)), "{verdict:?}");
    let mut recovery = Recovery::new(scope());
    let verdict = run(&mut recovery, &mut bookies, &[]);
    assert_eq!(end(&verdict), 1, "the other holder decides");
    assert_eq!(bookies[0].entries(LEDGER), [EntryId(0)], "it has got its copy back");
    let Verdict::Ended(_, parts) = verdict else { panic!("an end") };
    assert_eq!(parts[0].lacking, [0].into_iter().collect(), "its count proves nothing");
    assert!(!recovery.end_is_in_doubt());
}

/// Goal: with more copies than one nothing is guessed, also if everybody who could know is in limbo.
#[test]
fn two_members_in_limbo_leave_an_end_undecided() {
    let mut bookies = bookies();
    bookies[0].enter_limbo(LEDGER);
    bookies[1].enter_limbo(LEDGER);
    let verdict = run(&mut Recovery::new(scope()), &mut bookies, &[]);
    assert!(matches!(verdict, Verdict::Unsettled(_)), "{verdict:?}");
}

fn sole_scope(first: u64) -> Scope {
    let policy = QuorumPolicy { ensemble: 1, write: 1, ack: 1 };
    let earlier = vec![Some(first)];
    Scope { policy, first: EntryId(first), length_before: first * 10, earlier, ..scope() }
}

/// Goal: the only copy, damaged, gives what is intact and says that its end is a guess.
#[test]
fn the_only_copy_in_limbo_ends_where_it_ends_and_says_so() {
    let mut only = vec![FakeBookie::default()];
    (0..5).for_each(|entry| hold(&mut only[0], entry, entry));
    only[0].lose(LEDGER, EntryId(2));
    let mut sure = Recovery::new(sole_scope(0));
    assert_eq!(end(&run(&mut sure, &mut only, &[])), 5);
    assert!(!sure.end_is_in_doubt(), "nobody has told of a loss");
    only[0].enter_limbo(LEDGER);
    let mut recovery = Recovery::new(sole_scope(0));
    let Verdict::Ended(sealed, parts) = run(&mut recovery, &mut only, &[]) else { panic!("an end") };
    assert_eq!(sealed, Sealed { end: EntryId(5), length: 50 });
    assert!(recovery.end_is_in_doubt() && parts[0].lacking.contains(0));

    let mut empty = vec![FakeBookie::default()];
    empty[0].enter_limbo(LEDGER);
    let mut recovery = Recovery::new(sole_scope(3));
    let Verdict::Ended(sealed, _) = run(&mut recovery, &mut empty, &[]) else { panic!("an end") };
    assert_eq!(sealed, Sealed { end: EntryId(3), length: 30 }, "what was confirmed before is not given up");
    assert!(recovery.end_is_in_doubt());
}

/// What the only copy knows to be confirmed is inside the end even if it is lost: its readers are told, it is not skipped.
#[test]
fn entries_that_were_confirmed_and_lost_stay_inside_an_end_in_doubt() {
    let mut only = vec![FakeBookie::default()];
    (0..5).for_each(|entry| hold(&mut only[0], entry, 4));
    (2..5).for_each(|entry| only[0].lose(LEDGER, EntryId(entry)));
    only[0].enter_limbo(LEDGER);
    let mut recovery = Recovery::new(sole_scope(0));
    let Verdict::Ended(sealed, _) = run(&mut recovery, &mut only, &[]) else { panic!("an end") };
    assert_eq!((sealed.end, sealed.length), (EntryId(4), 20));
}
