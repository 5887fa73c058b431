use bytes::Bytes;
use proto::LedgerId;
use proto::bookie::{Answer, Request, Status, request};

use super::*;
use crate::QuorumPolicy;
use crate::writer::Limits;

const POLICY: QuorumPolicy = QuorumPolicy { ensemble: 3, write: 3, ack: 2 };
const STRIPED: QuorumPolicy = QuorumPolicy { ensemble: 3, write: 2, ack: 2 };

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn set(members: &[usize]) -> Members {
    members.iter().copied().collect()
}

/// A writer and what its members were sent, by seat number.
struct Rig {
    writer: Writer,
    /// The next request id and the requests, all of session 1.
    sent: Vec<(u64, Vec<Request>)>,
    seats: Vec<usize>,
}

impl Rig {
    fn new(policy: QuorumPolicy, kept_max: usize) -> Self {
        let limits = Limits { kept_max, ..Limits::default() };
        let mut writer = Writer::new(LedgerId(1), policy, Members::default(), limits);
        let seats: Vec<usize> = (0..policy.ensemble as usize).collect();
        seats.iter().for_each(|seat| writer.connected(*seat, 1));
        let sent = seats.iter().map(|_| (1, Vec::new())).collect();
        Self { writer, sent, seats }
    }

    fn append(&mut self, count: usize, now: Duration) {
        for _ in 0..count {
            self.writer.append(Bytes::from_static(&[0; 100])).expect("no failure");
        }
        self.writer.flush(now);
        self.send();
    }

    fn send(&mut self) {
        for (member, seat) in self.seats.iter().enumerate() {
            if self.writer.wants_to_send(member).is_some() {
                let (next, sent) = &mut self.sent[*seat];
                let requests = self.writer.requests(member, *next, usize::MAX);
                *next += requests.len() as u64;
                sent.extend(requests);
            }
        }
    }

    fn entries(&self, seat: usize) -> Vec<u64> {
        let entry = |request: &Request| match &request.body {
            Some(request::Body::Add(add)) => add.entry,
            other => panic!("a writer only adds: {other:?}"),
        };
        self.sent[seat].1.iter().map(entry).collect()
    }

    /// The one in `seat` acknowledges what it was sent.
    fn acknowledge(&mut self, seat: usize, now: Duration) {
        for request in std::mem::take(&mut self.sent[seat].1) {
            let answer = Answer { id: request.id, ledger: 1, run: 1, status: Status::Ok.into(), ..Answer::default() };
            self.writer.answered(seat, 1, &answer, now);
        }
    }

    /// Begins a change of `members` that ended their sessions a while ago.
    fn begin(&mut self, members: &[usize], now: Duration) -> Begun {
        let wanted = self.writer.change_wanted(now).expect("it is time");
        assert!(members.iter().all(|member| wanted.contains(*member)), "{wanted:?}");
        self.writer.begin_change(set(members), now).expect("it is still wanted")
    }

    /// The record says so, and the replacements have sessions.
    fn changed(&mut self, members: &[usize], now: Duration) {
        let numbers: Vec<usize> = (self.sent.len()..).take(members.len()).collect();
        for (member, number) in members.iter().zip(&numbers) {
            self.seats[*member] = *number;
            self.sent.push((1, Vec::new()));
        }
        self.writer.changed(&numbers, now);
        numbers.iter().for_each(|number| self.writer.connected(*number, 1));
        self.send();
    }
}

/// Goal: an entry that needs a member which is being replaced waits for the change (D-3).
/// Method: two of three go, one of them after it has acknowledged; a replacement is found for that one.
#[test]
fn what_needs_a_member_that_is_being_replaced_waits_for_its_replacement() {
    let mut rig = Rig::new(POLICY, 10_000);
    rig.append(2, at(0));
    rig.acknowledge(2, at(0));
    rig.writer.disconnected(0, 1, at(0));
    rig.writer.disconnected(2, 1, at(0));
    let begun = rig.begin(&[2], at(1));
    assert_eq!((begun.first, begun.length_before), (EntryId(0), 0));
    rig.acknowledge(1, at(1));
    assert_eq!(rig.writer.take_confirmed(), None, "what had been acknowledged does not count any more");
    rig.writer.connected(2, 2);
    rig.send();
    assert!(rig.entries(2).is_empty(), "nothing more is sent to it");
    rig.changed(&[2], at(2));
    assert_eq!(rig.entries(3), [0, 1]);
    assert_eq!(rig.writer.take_confirmed(), None);
    rig.acknowledge(3, at(2));
    assert_eq!(rig.writer.take_confirmed(), Some(EntryId(2)));
}

#[test]
fn answers_of_a_replaced_member_are_discarded() {
    let mut rig = Rig::new(POLICY, 10_000);
    rig.append(1, at(0));
    rig.writer.disconnected(0, 1, at(0));
    rig.acknowledge(1, at(0));
    let late = rig.sent[2].1.clone();
    rig.begin(&[2], at(5)); // It has a session and says nothing.
    rig.changed(&[2], at(5));
    for request in late {
        let answer = Answer { id: request.id, ledger: 1, run: 1, ..Answer::default() };
        rig.writer.answered(2, 1, &answer, at(5));
    }
    assert_eq!(rig.writer.take_confirmed(), None, "one of three is no quorum");
    rig.acknowledge(3, at(5));
    assert_eq!(rig.writer.take_confirmed(), Some(EntryId(1)));
}

#[test]
fn a_fence_that_a_replaced_member_tells_of_changes_nothing_and_one_of_a_member_ends_the_writer() {
    let mut rig = Rig::new(POLICY, 10_000);
    rig.append(1, at(0));
    rig.writer.disconnected(2, 1, at(0));
    rig.acknowledge(1, at(0));
    rig.writer.disconnected(0, 1, at(0));
    rig.begin(&[2], at(1));
    rig.changed(&[2], at(1));
    let fenced = Answer { id: 1, ledger: 1, run: 1, status: Status::Fenced.into(), ..Answer::default() };
    rig.writer.answered(2, 1, &fenced, at(1));
    assert_eq!(rig.writer.failure(), None);
    rig.writer.answered(3, 1, &fenced, at(1));
    assert_eq!(rig.writer.failure(), Some(Failure::Fenced));
}

#[test]
fn what_the_others_confirm_by_themselves_waits_for_nobody() {
    let mut rig = Rig::new(POLICY, 10_000);
    rig.append(1, at(0));
    rig.writer.disconnected(2, 1, at(0));
    rig.acknowledge(0, at(0));
    rig.acknowledge(1, at(0));
    assert_eq!(rig.writer.take_confirmed(), Some(EntryId(1)));
    let begun = rig.begin(&[2], at(30));
    assert_eq!((begun.first, begun.length_before, begun.behind), (EntryId(1), 100, set(&[2])));
    rig.append(1, at(30));
    rig.acknowledge(0, at(30));
    rig.acknowledge(1, at(30));
    assert!(rig.writer.is_changing());
    assert_eq!(rig.writer.take_confirmed(), Some(EntryId(2)));
    rig.changed(&[2], at(31));
    assert_eq!(rig.entries(3), [1], "the new fragment begins where the change was begun");
    assert!(!rig.writer.lacking().contains(0));
    rig.acknowledge(3, at(31));
    assert!(rig.writer.lacking().is_empty());
}

/// N2. Goal: nothing is confirmed on the strength of a change that a recoverer was faster than.
#[test]
fn acks_that_come_while_a_change_is_refused_confirm_nothing() {
    let mut rig = Rig::new(POLICY, 10_000);
    rig.append(1, at(0));
    rig.writer.disconnected(0, 1, at(0));
    rig.acknowledge(1, at(0));
    let late = rig.sent[2].1.clone();
    rig.writer.disconnected(2, 1, at(0));
    rig.begin(&[0, 2], at(1));
    rig.writer.change_refused();
    for request in late {
        let answer = Answer { id: request.id, ledger: 1, run: 1, ..Answer::default() };
        rig.writer.answered(2, 1, &answer, at(1));
    }
    assert_eq!(rig.writer.take_confirmed(), None);
    assert_eq!(rig.writer.failure(), Some(Failure::Fenced));
}

#[test]
fn a_change_that_was_certainly_not_written_leaves_everything_as_before() {
    let mut rig = Rig::new(POLICY, 10_000);
    rig.append(1, at(0));
    rig.writer.disconnected(0, 1, at(0));
    rig.acknowledge(1, at(0));
    rig.begin(&[2], at(5));
    rig.sent[2].1.clear();
    rig.writer.change_not_written(at(6));
    rig.send();
    assert_eq!(rig.entries(2), [0], "it is sent to again");
    rig.acknowledge(2, at(6));
    assert_eq!(rig.writer.take_confirmed(), Some(EntryId(1)));
    assert_eq!(rig.writer.change_wanted(at(10)), None, "the next attempt waits");
    assert!(rig.writer.change_wanted(at(60)).is_some());
}

/// N3. Goal: an entry completes whose write set the replaced member is not in, though another member fails meanwhile.
#[test]
fn a_second_member_fails_while_a_change_is_in_flight_and_everything_completes() {
    let mut rig = Rig::new(STRIPED, 10_000);
    rig.append(3, at(0)); // 0 on 0 and 1, 1 on 1 and 2, 2 on 2 and 0.
    rig.acknowledge(0, at(0));
    rig.writer.disconnected(2, 1, at(0));
    rig.begin(&[2], at(1));
    rig.writer.disconnected(1, 1, at(1));
    rig.changed(&[2], at(2));
    rig.acknowledge(3, at(2));
    assert_eq!(rig.writer.take_confirmed(), None, "the first entry needs member 1");
    rig.begin(&[1], at(3));
    rig.changed(&[1], at(4));
    assert_eq!(rig.entries(4), [0, 1]);
    rig.acknowledge(4, at(4));
    assert_eq!(rig.writer.take_confirmed(), Some(EntryId(3)));
}

#[test]
fn fragments_begin_at_the_confirmed_end_and_rise() {
    let mut rig = Rig::new(POLICY, 10_000);
    let mut last = EntryId(0);
    for change in 1..10 {
        let now = at(change * 100);
        rig.append(3, now);
        rig.acknowledge(rig.seats[0], now);
        rig.acknowledge(rig.seats[1], now);
        let confirmed = rig.writer.take_confirmed().expect("an ack quorum has all of it");
        rig.writer.disconnected(rig.seats[2], 1, now);
        let begun = rig.begin(&[2], now + at(30));
        assert_eq!(begun.first, confirmed);
        assert!(last < begun.first);
        last = begun.first;
        rig.changed(&[2], now + at(31));
    }
}

#[test]
fn members_are_replaced_when_they_were_waited_for_long_enough() {
    let mut idle = Rig::new(POLICY, 10_000);
    idle.writer.disconnected(1, 1, at(7));
    assert_eq!(idle.writer.deadline(), Some(at(37)), "nothing to tell it: half a minute");
    assert_eq!(idle.writer.change_wanted(at(36)), None);
    assert_eq!(idle.writer.change_wanted(at(37)), Some(set(&[1])));

    let mut needed = Rig::new(POLICY, 10_000);
    needed.writer.disconnected(1, 1, at(0));
    needed.writer.disconnected(2, 1, at(0));
    needed.append(1, at(10));
    assert_eq!(needed.writer.change_wanted(at(10)), None);
    assert_eq!(needed.writer.change_wanted(at(11)), Some(set(&[1, 2])), "an entry waits: a second");

    let mut silent = Rig::new(POLICY, 10_000);
    silent.append(1, at(10));
    (0..2).for_each(|seat| silent.acknowledge(seat, at(10)));
    assert_eq!(silent.writer.change_wanted(at(14)), None);
    assert_eq!(silent.writer.change_wanted(at(15)), Some(set(&[2])), "it says nothing: five seconds");

    let mut lagging = Rig::new(POLICY, 1000);
    for second in 0..8 {
        lagging.append(1, at(second));
        (0..2).for_each(|seat| lagging.acknowledge(seat, at(second)));
        let first = lagging.sent[2].1.remove(0);
        let answer = Answer { id: first.id, ledger: 1, run: 1, ..Answer::default() };
        if second < 3 {
            lagging.sent[2].1.insert(0, first); // From here on it answers, and stays behind.
        } else {
            lagging.writer.answered(2, 1, &answer, at(second));
        }
        lagging.writer.tick(at(second));
    }
    assert_eq!(lagging.writer.change_wanted(at(6)), None);
    assert_eq!(lagging.writer.change_wanted(at(7)), Some(set(&[2])));
}

#[test]
fn without_a_replacement_the_question_comes_back_less_and_less_often() {
    let mut rig = Rig::new(POLICY, 10_000);
    rig.writer.disconnected(1, 1, at(0));
    let mut now = at(30);
    for pause in [5, 10, 20, 40, 60, 60] {
        assert_eq!(rig.writer.change_wanted(now), Some(set(&[1])));
        rig.writer.nobody_to_change_to(now);
        assert_eq!(rig.writer.deadline(), Some(now + at(pause)));
        now += at(pause);
    }
}

#[test]
fn a_member_that_is_back_is_not_replaced() {
    let mut rig = Rig::new(POLICY, 10_000);
    rig.writer.disconnected(1, 1, at(0));
    assert!(rig.writer.change_wanted(at(30)).is_some());
    rig.writer.connected(1, 2);
    assert_eq!(rig.writer.begin_change(set(&[1]), at(31)), None);
    assert!(!rig.writer.is_changing());
}

#[test]
fn marks_and_changes_go_one_after_the_other() {
    let mut rig = Rig::new(POLICY, 1000);
    rig.writer.disconnected(2, 1, at(0));
    rig.append(8, at(0));
    (0..2).for_each(|seat| rig.acknowledge(seat, at(0)));
    assert_eq!(rig.writer.marks_wanted(), set(&[2]));
    assert!(rig.writer.change_wanted(at(30)).is_some());
    assert_eq!(rig.writer.begin_change(set(&[2]), at(30)), None, "the mark is on its way");
    rig.writer.marked();
    rig.begin(&[2], at(31));
    rig.append(8, at(31));
    (0..2).for_each(|seat| rig.acknowledge(seat, at(31)));
    assert!(rig.writer.marks_wanted().is_empty(), "the change is on its way");
    rig.changed(&[2], at(32));
    assert_eq!(rig.entries(3), [8, 9, 10, 11, 12, 13, 14, 15], "nothing that the replacement needs was dropped");
}

#[test]
fn changes_of_a_ledger_are_counted() {
    let mut rig = Rig::new(POLICY, 10_000);
    for change in 0..u64::from(Patience::default().changes_max) {
        let now = at(change * 100);
        rig.writer.disconnected(rig.seats[1], 1, now);
        rig.begin(&[1], now + at(30));
        rig.changed(&[1], now + at(31));
    }
    rig.writer.disconnected(rig.seats[1], 1, at(100_000));
    assert_eq!(rig.writer.change_wanted(at(200_000)), None);
    assert_eq!(rig.writer.deadline(), None);
}

/// A full disk is no absence: the member says itself that it takes nothing, so nobody waits to find out.
#[test]
fn a_member_whose_disk_is_full_is_replaced_at_once_and_asked_again_while_nobody_can() {
    let mut rig = Rig::new(POLICY, 10_000);
    rig.append(2, at(0));
    (0..2).for_each(|seat| rig.acknowledge(seat, at(0)));
    assert_eq!(rig.writer.take_confirmed(), Some(EntryId(2)), "two of three are enough");
    let first = rig.sent[2].1.remove(0).id;
    rig.sent[2].1.clear();
    let full = Answer { id: first, ledger: 1, run: 2, status: Status::ReadOnly.into(), ..Answer::default() };
    rig.writer.answered(2, 1, &full, at(0));
    assert_eq!(rig.writer.failure(), None, "it is no fence");
    assert_eq!(rig.writer.change_wanted(at(0)), Some(set(&[2])));
    rig.writer.nobody_to_change_to(at(0));
    rig.writer.tick(at(0));
    rig.send();
    assert!(rig.entries(2).is_empty(), "not at once");
    rig.writer.tick(at(1));
    rig.send();
    assert_eq!(rig.entries(2), [0, 1]);
    rig.acknowledge(2, at(1));
    assert_eq!(rig.writer.change_wanted(at(100)), None, "it has room again");
}
