use bytes::Bytes;
use proto::bookie::{Request, Status};
use proto::digest::entry_digest;

use super::*;
use crate::fake_bookies::FakeBookie;

const PLAIN: QuorumPolicy = QuorumPolicy { ensemble: 3, write: 3, ack: 2 };
const STRIPED: QuorumPolicy = QuorumPolicy { ensemble: 4, write: 2, ack: 2 };
const LEDGER: LedgerId = LedgerId(9);

fn payload(entry: u64) -> Bytes {
    Bytes::from(vec![entry as u8; 100])
}

/// A target, which is the first, and its sources.
struct Rig {
    bookies: Vec<FakeBookie>,
    silent: Vec<usize>,
    asks: usize,
}

impl Rig {
    /// Four bookies of which each but the target holds what its seat should.
    fn new(policy: QuorumPolicy, end: u64) -> Self {
        let mut rig = Self { bookies: (0..4).map(|_| FakeBookie::default()).collect(), silent: Vec::new(), asks: 0 };
        for entry in 0..end {
            (1..4).filter(|seat| policy.holds(*seat, EntryId(entry))).for_each(|seat| rig.put(seat, entry));
        }
        rig
    }

    fn put(&mut self, bookie: usize, entry: u64) {
        let (length, payload) = (100 * (entry + 1), payload(entry));
        let digest = entry_digest(LEDGER, EntryId(entry), length, &payload);
        let add = Add { entry, confirmed: entry, length, digest, recovery: true, payload, urgent: false };
        let answer = self.bookies[bookie].handle(request(&request::Body::Add(add)));
        assert_eq!(answer.status(), Status::Ok);
    }

    fn run(&mut self, job: Job) -> Verdict {
        let mut machine = Copying::new(job);
        loop {
            let asks = machine.asks();
            assert!(!asks.is_empty() || machine.verdict().is_some(), "copying never waits for nothing: {machine:?}");
            for ask in asks {
                self.asks += 1;
                let bookie = match ask.party {
                    Party::Target => 0,
                    Party::Source(source) => source + 1,
                };
                let replies = if self.silent.contains(&bookie) {
                    vec![Reply::Silence; ask.bodies.len()]
                } else {
                    ask.bodies.iter().map(|body| self.bookies[bookie].handle(request(body)).into()).collect()
                };
                machine.answered(&ask, replies);
            }
            if let Some(verdict) = machine.verdict() {
                return verdict;
            }
        }
    }
}

fn request(body: &request::Body) -> Request {
    Request { id: 1, ledger: LEDGER.0, body: Some(body.clone()) }
}

/// The share of seat 0; sources sit in the seats from 1 on.
fn job(policy: QuorumPolicy, end: u64) -> Job {
    let seats = policy.ensemble as usize;
    let holder = |seat| Holder { seat: Some(seat), lacking: false, doubtful: false };
    Job {
        ledger: LEDGER,
        policy,
        seat: 0,
        entries: std::iter::once(EntryId(0)..EntryId(end)).collect(),
        entry_bytes: 100,
        sources: (1..seats).map(holder).collect(),
        look: false,
    }
}

fn done(verdict: Verdict) -> Tally {
    match verdict {
        Verdict::Done(tally) => tally,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_bookie_gets_its_share_and_nothing_else() {
    for policy in [PLAIN, STRIPED] {
        let mut rig = Rig::new(policy, 200);
        let tally = done(rig.run(job(policy, 200)));
        let share: Vec<EntryId> = (0..200).map(EntryId).filter(|entry| policy.holds(0, *entry)).collect();
        assert_eq!(rig.bookies[0].entries(LEDGER), share);
        let copied = share.len() as u64;
        assert_eq!(tally, Tally { copied, copied_bytes: copied * 100, ..Tally::default() });
        assert!(share.iter().all(|entry| rig.bookies[0].payload(LEDGER, *entry) == Some(payload(entry.0))));
    }
}

#[test]
fn what_is_there_is_read_and_only_what_is_missing_is_copied() {
    let mut rig = Rig::new(PLAIN, 100);
    (0..40).chain(50..60).for_each(|entry| rig.put(0, entry));
    let tally = done(rig.run(job(PLAIN, 100)));
    assert_eq!((tally.present, tally.copied), (50, 50));
    assert_eq!(rig.bookies[0].entries(LEDGER).len(), 100);
    let again = done(rig.run(job(PLAIN, 100)));
    assert_eq!((again.present, again.copied), (100, 0), "a second time there is nothing to do");
}

#[test]
fn a_fenced_ledger_takes_copies() {
    let mut rig = Rig::new(PLAIN, 10);
    rig.bookies[0].handle(request(&request::Body::Fence(proto::bookie::Fence {})));
    assert_eq!(done(rig.run(job(PLAIN, 10))).copied, 10);
}

#[test]
fn batches_are_bounded_by_what_entries_weigh() {
    let mut rig = Rig::new(PLAIN, 100);
    let heavy = Job { entry_bytes: 1 << 20, ..job(PLAIN, 100) };
    assert_eq!(done(rig.run(heavy)).copied, 100);
    assert!(2 * 100 / BATCH_ENTRIES_MIN as usize <= rig.asks, "a few entries at once: {} asks", rig.asks);
}

#[test]
fn one_that_holds_a_damaged_copy_is_unfit_and_gets_nothing() {
    let mut rig = Rig::new(PLAIN, 10);
    rig.put(0, 3);
    rig.bookies[0].corrupt(LEDGER, EntryId(3));
    assert_eq!(rig.run(job(PLAIN, 10)), Verdict::Unfit);
    assert_eq!(rig.bookies[0].entries(LEDGER).len(), 1);
}

#[test]
fn a_damaged_or_missing_copy_is_had_from_another_holder() {
    let mut rig = Rig::new(PLAIN, 10);
    rig.bookies[1].corrupt(LEDGER, EntryId(3));
    (5..8).for_each(|entry| rig.bookies[1].lose(LEDGER, EntryId(entry)));
    let tally = done(rig.run(job(PLAIN, 10)));
    assert_eq!((tally.copied, tally.lost, tally.unreadable), (10, 0, 0));
    assert_eq!(rig.bookies[0].payload(LEDGER, EntryId(3)), Some(payload(3)));
}

#[test]
fn a_holder_that_has_nothing_is_asked_in_few_steps() {
    let mut rig = Rig::new(PLAIN, 1000);
    rig.bookies[1] = FakeBookie::default();
    assert_eq!(done(rig.run(job(PLAIN, 1000))).copied, 1000);
    assert!(rig.asks < 10, "{} asks", rig.asks);
}

#[test]
fn an_entry_is_lost_only_if_every_holder_says_no_and_the_others_are_copied() {
    let mut rig = Rig::new(PLAIN, 10);
    (1..3).for_each(|bookie| rig.bookies[bookie].lose(LEDGER, EntryId(4)));
    let tally = done(rig.run(job(PLAIN, 10)));
    assert_eq!((tally.copied, tally.lost, tally.first_lost), (9, 1, Some(EntryId(4))));
    assert_eq!((tally.unreadable, rig.bookies[0].entries(LEDGER).len()), (0, 9));

    let mut rig = Rig::new(PLAIN, 10);
    rig.bookies[1].lose(LEDGER, EntryId(4));
    rig.silent.push(2);
    let tally = done(rig.run(job(PLAIN, 10)));
    assert_eq!((tally.copied, tally.lost), (9, 0), "one of them did not say");
    assert_eq!((tally.unreadable, tally.first_unreadable), (1, Some(EntryId(4))));
}

#[test]
fn one_that_left_is_asked_when_members_fail() {
    let mut rig = Rig::new(PLAIN, 10);
    (1..3).for_each(|bookie| rig.bookies[bookie].lose(LEDGER, EntryId(4)));
    rig.put(3, 4);
    let mut job = job(PLAIN, 10);
    job.sources.push(Holder { seat: None, lacking: false, doubtful: false });
    assert_eq!(done(rig.run(job)).lost, 0);
    assert_eq!(rig.bookies[0].entries(LEDGER).len(), 10);
}

#[test]
fn a_target_that_says_nothing_or_refuses_is_given_up() {
    let mut rig = Rig::new(PLAIN, 10);
    rig.silent.push(0);
    assert_eq!(rig.run(job(PLAIN, 10)), Verdict::Silent);
    let mut rig = Rig::new(PLAIN, 10);
    rig.bookies[0].refuse_adds(Some(Status::Busy));
    assert_eq!(rig.run(job(PLAIN, 10)), Verdict::Silent);
    let mut rig = Rig::new(PLAIN, 10);
    rig.bookies[0].answer_reads_unknown(true);
    assert_eq!(rig.run(job(PLAIN, 10)), Verdict::Silent, "it cannot say what it holds");
}

#[test]
fn a_tombstone_ends_it() {
    for bookie in 0..2 {
        let mut rig = Rig::new(PLAIN, 10);
        rig.bookies[bookie].handle(request(&request::Body::Delete(proto::bookie::Delete {})));
        assert_eq!(rig.run(job(PLAIN, 10)), Verdict::Deleted);
    }
}

#[test]
fn looking_counts_and_writes_nothing() {
    let mut rig = Rig::new(PLAIN, 10);
    (2..10).for_each(|entry| rig.put(0, entry));
    rig.bookies[0].corrupt(LEDGER, EntryId(6));
    let tally = done(rig.run(Job { look: true, sources: Vec::new(), ..job(PLAIN, 10) }));
    assert_eq!((tally.present, tally.missing, tally.damaged), (7, 2, 1));
    assert_eq!(tally.first_bad, Some(EntryId(0)));
    assert_eq!(rig.bookies[0].entries(LEDGER).len(), 8);
}

#[test]
fn a_fragment_without_entries_needs_nobody() {
    let mut rig = Rig::new(PLAIN, 0);
    assert_eq!(done(rig.run(job(PLAIN, 0))), Tally::default());
    assert_eq!(rig.asks, 0);
}
