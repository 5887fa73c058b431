use proto::bookie::Answer;

use super::*;

const POLICY: QuorumPolicy = QuorumPolicy { ensemble: 3, write: 3, ack: 2 };
const NOW: Duration = Duration::ZERO;

fn writer(kept_max: usize) -> Writer {
    let limits = Limits { kept_max, ..Limits::default() };
    let mut writer = Writer::new(LedgerId(1), POLICY, Members::default(), limits);
    (0..3).for_each(|member| writer.connected(member, 1));
    writer
}

fn append(writer: &mut Writer, count: usize) {
    for _ in 0..count {
        writer.append(Bytes::from_static(&[0; 100])).expect("no failure");
    }
    writer.flush(NOW);
}

fn answer(id: u64, run: u32, status: Status) -> Answer {
    Answer { id, ledger: 1, run, status: status.into(), ..Answer::default() }
}

fn entries(requests: &[Request]) -> Vec<u64> {
    let entry = |request: &Request| match &request.body {
        Some(request::Body::Add(add)) => add.entry,
        other => panic!("a writer only adds: {other:?}"),
    };
    requests.iter().map(entry).collect()
}

#[test]
fn entries_are_confirmed_in_order_and_only_by_an_ack_quorum() {
    let mut writer = writer(10_000);
    append(&mut writer, 3);
    (0..3).for_each(|member| assert_eq!(writer.requests(member, 1, usize::MAX).len(), 3));
    writer.answered(0, 1, &answer(1, 3, Status::Ok), NOW);
    assert_eq!(writer.take_confirmed(), None, "one of three is no quorum");
    writer.answered(1, 1, &answer(2, 2, Status::Ok), NOW);
    assert_eq!(writer.take_confirmed(), None, "the first is missing");
    writer.answered(2, 1, &answer(1, 1, Status::Ok), NOW);
    assert_eq!(writer.take_confirmed(), Some(EntryId(3)));
    assert_eq!(writer.unconfirmed_bytes(), 0);
}

#[test]
fn nothing_is_sent_before_it_is_flushed() {
    let mut writer = writer(10_000);
    writer.append(Bytes::from_static(b"one")).expect("no failure");
    assert_eq!(writer.wants_to_send(0), None);
    writer.flush(NOW);
    assert_eq!(writer.wants_to_send(0), Some(1));
    assert_eq!(entries(&writer.requests(0, 1, usize::MAX)), [0]);
    assert_eq!(writer.wants_to_send(0), None, "once is enough");
}

#[test]
fn answers_of_an_earlier_session_count_for_nothing_and_its_entries_are_sent_again() {
    let mut writer = writer(10_000);
    append(&mut writer, 2);
    (0..2).for_each(|member| assert_eq!(writer.requests(member, 1, usize::MAX).len(), 2));
    writer.answered(0, 1, &answer(1, 2, Status::Ok), NOW);
    writer.disconnected(1, 1, NOW);
    writer.connected(1, 2);
    writer.answered(1, 1, &answer(1, 2, Status::Ok), NOW);
    assert_eq!(writer.take_confirmed(), None);
    assert_eq!(entries(&writer.requests(1, 1, usize::MAX)), [0, 1]);
    writer.answered(1, 2, &answer(1, 2, Status::Ok), NOW);
    assert_eq!(writer.take_confirmed(), Some(EntryId(2)));
}

#[test]
fn a_refusal_is_no_acknowledgement_and_everything_from_it_on_is_sent_again_later() {
    for refusal in [Status::Busy, Status::Unknown, Status::Invalid, Status::NotHeld] {
        let mut writer = writer(10_000);
        append(&mut writer, 3);
        assert_eq!(writer.requests(0, 1, usize::MAX).len(), 3);
        writer.answered(0, 1, &answer(1, 1, Status::Ok), NOW);
        writer.answered(0, 1, &answer(2, 1, refusal), NOW);
        writer.answered(0, 1, &answer(3, 1, Status::Ok), NOW);
        assert_eq!(writer.wants_to_send(0), None, "not at once");
        let later = writer.deadline().expect("it wants to be looked after");
        writer.tick(later);
        assert_eq!(writer.wants_to_send(0), Some(1));
        assert_eq!(entries(&writer.requests(0, 4, usize::MAX)), [1, 2], "{refusal:?}");
    }
}

#[test]
fn a_fence_from_anyone_ends_the_writer() {
    let mut writer = writer(10_000);
    append(&mut writer, 1);
    (0..3).for_each(|member| assert_eq!(writer.requests(member, 1, usize::MAX).len(), 1));
    writer.answered(2, 1, &answer(1, 1, Status::Fenced), NOW);
    (0..2).for_each(|member| writer.answered(member, 1, &answer(1, 1, Status::Ok), NOW));
    assert_eq!(writer.take_confirmed(), None, "nothing is confirmed after a failure");
    assert_eq!(writer.failure(), Some(Failure::Fenced));
    assert_eq!(writer.append(Bytes::new()), Err(Failure::Fenced));
}

#[test]
fn an_entry_without_quorum_times_out() {
    let mut writer = writer(10_000);
    append(&mut writer, 1);
    let deadline = Limits::default().quorum_timeout;
    writer.tick(deadline - Duration::from_millis(1));
    assert_eq!(writer.failure(), None);
    writer.tick(deadline);
    assert_eq!(writer.failure(), Some(Failure::TimedOut { entry: EntryId(0) }));
}

/// Members 0 and 1 acknowledge everything from `first` on.
fn two_acknowledge(writer: &mut Writer, first: u64, count: u32) {
    for member in 0..2 {
        assert_eq!(writer.requests(member, first, usize::MAX).len(), count as usize);
        writer.answered(member, 1, &answer(first, count, Status::Ok), NOW);
    }
}

#[test]
fn a_confirmed_entry_is_withheld_only_after_the_mark() {
    let mut writer = writer(1000);
    writer.disconnected(2, 1, NOW);
    append(&mut writer, 8);
    two_acknowledge(&mut writer, 1, 8);
    let kept = writer.kept_bytes(2);
    assert!(1000 < kept);
    assert_eq!(writer.marks_wanted(), [2].into_iter().collect());
    assert!(writer.marks_wanted().is_empty(), "asked for once");
    assert_eq!(writer.kept_bytes(2), kept, "nothing is dropped before the record says so");
    assert_eq!(writer.take_confirmed(), Some(EntryId(8)), "and nobody waits for it");
    writer.marked();
    assert!(writer.kept_bytes(2) <= 1000);
    writer.connected(2, 2);
    let sent = entries(&writer.requests(2, 1, usize::MAX));
    assert_eq!(sent, [4, 5, 6, 7], "what is still kept is sent");
    assert_eq!(writer.lacking(), [2].into_iter().collect());
}

#[test]
fn confirmations_wait_when_the_mark_takes_too_long_and_come_with_it() {
    let mut writer = writer(1000);
    writer.disconnected(2, 1, NOW);
    append(&mut writer, 8);
    two_acknowledge(&mut writer, 1, 8);
    assert!(!writer.marks_wanted().is_empty());
    append(&mut writer, 8);
    two_acknowledge(&mut writer, 9, 8);
    assert_eq!(writer.take_confirmed(), Some(EntryId(8)), "twice the bound is kept: no more");
    writer.tick(Duration::from_secs(1000));
    assert_eq!(writer.failure(), None, "the quorum is not to blame");
    writer.marked();
    assert_eq!(writer.take_confirmed(), Some(EntryId(16)));
    assert!(writer.kept_bytes(2) <= 1000);
}

#[test]
fn a_member_that_catches_up_within_the_bound_is_not_marked() {
    let mut writer = writer(10_000);
    writer.disconnected(2, 1, NOW);
    append(&mut writer, 8);
    two_acknowledge(&mut writer, 1, 8);
    assert!(writer.marks_wanted().is_empty());
    writer.connected(2, 2);
    assert_eq!(writer.requests(2, 1, usize::MAX).len(), 8);
    writer.answered(2, 2, &answer(1, 8, Status::Ok), NOW);
    assert!(writer.lacking().is_empty());
    assert_eq!(writer.kept_bytes(2), 0);
}
