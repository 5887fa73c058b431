//! Goal: nothing leaves that somebody needs or that is to be kept, and all the rest does. Method: the decision beside a model
//! that counts entry by entry; then the change itself, with everything that may happen beside it.
use std::collections::HashMap;
use std::sync::Arc;

use ledger::Ledgers;
use metadata::{Expect, MetadataStore, MetadataStoreExt};
use proptest::prelude::*;
use proto::records::{self, TopicRecord};
use proto::{LedgerId, Position, keys};
use tokio::time::timeout;

use super::super::record::departure;
use super::super::rig::{Rig, publish, read_all};
use super::super::{Loaded, create, load};
use super::*;
use crate::cursor::{AckDelta, AckReceipt, AckSet};

const MINUTE: u64 = 60_000;

#[derive(Debug, Clone)]
struct Situation {
    ledgers: Vec<ChainLedger>,
    marks: Vec<Position>,
    nobody_since: u64,
    keep: Keep,
    now_ms: u64,
}

impl Situation {
    fn chain(&self) -> Chain {
        Chain::new(self.ledgers.clone(), LedgerId(0))
    }

    fn need(&self) -> Need {
        self.marks.iter().min().map_or(Need::NobodySince(self.nobody_since), |lowest| Need::From(*lowest))
    }

    fn trimmed(&self) -> Vec<LedgerId> {
        trimmable(&self.chain(), self.need(), &self.keep, self.now_ms)
    }

    /// Entry by entry, and ledger by ledger from the front.
    fn model(&self) -> Vec<LedgerId> {
        let acknowledged = |listed: &ChainLedger| {
            let mut entries = (0..listed.entries).map(|entry| Position::new(listed.ledger.0, entry));
            entries.all(|entry| self.marks.iter().all(|mark| entry < *mark))
        };
        let may_go = |at: usize| {
            let listed = &self.ledgers[at];
            let Some(sealed_at) = listed.sealed_at else { return false };
            let later = self.ledgers[at + 1..].iter().take_while(|later| acknowledged(later));
            let after: u64 = later.map(|later| later.bytes).sum();
            let too_old = self.keep.age.is_some_and(|age| sealed_at + (age.as_millis() as u64) < self.now_ms);
            let too_much = self.keep.bytes.is_some_and(|bytes| bytes <= after);
            let window = self.keep.without_subscription.as_millis() as u64;
            let awaited =
                self.marks.is_empty() && (self.now_ms < sealed_at + window || self.now_ms < self.nobody_since + window);
            acknowledged(listed) && (too_old || too_much) && !awaited
        };
        let gone = (0..self.ledgers.len()).take_while(|at| may_go(*at));
        gone.map(|at| self.ledgers[at].ledger).collect()
    }
}

prop_compose! {
    fn situations()(
        sizes in prop::collection::vec((1..4_u64, 0..30_u64, 0..100_u64), 0..7),
        open in any::<bool>(),
        marks in prop::collection::vec((0..80_u64, 0..5_u64), 0..3),
        nobody_since in 0..120_u64,
        keep in (prop::option::of(0..100_u64), prop::option::of(0..90_u64), 0..60_u64),
        now_ms in 0..150_u64,
    ) -> Situation {
        let listed = |(at, (entries, bytes, sealed_at)): (usize, &(u64, u64, u64))| ChainLedger {
            ledger: LedgerId(10 * (at as u64 + 1)),
            entries: *entries,
            bytes: *bytes,
            sealed_at: Some(*sealed_at),
            ..ChainLedger::default()
        };
        let mut ledgers: Vec<ChainLedger> = sizes.iter().enumerate().map(listed).collect();
        if let Some(last) = ledgers.last_mut().filter(|_| open) {
            last.sealed_at = None;
        }
        // Ledger ids are multiples of ten: half of the marks shall lie in a ledger that exists.
        let marks = marks.into_iter().map(|(ledger, entry)| Position::new(ledger / 10 * 10 + u64::from(ledger % 2 == 1), entry));
        let (age, bytes, window) = keep;
        Situation {
            ledgers,
            marks: marks.collect(),
            nobody_since,
            keep: Keep { age: age.map(Duration::from_millis), bytes, without_subscription: Duration::from_millis(window) },
            now_ms,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn what_leaves_is_what_the_model_says(situation in situations()) {
        prop_assert_eq!(situation.trimmed(), situation.model());
    }

    #[test]
    fn no_policy_is_stricter_than_what_is_needed(situation in situations()) {
        let all = Situation { keep: Keep::NOTHING, ..situation.clone() };
        prop_assert!(all.trimmed().starts_with(&situation.trimmed()));
        let none = Situation { keep: Keep { age: None, bytes: None, ..situation.keep }, ..situation };
        prop_assert!(none.trimmed().is_empty());
    }

    /// Whatever leaves, readers and cursors that hold a position go on at the same place or behind it, and a new position is above
    /// all that ever were.
    #[test]
    fn positions_only_grow_while_ledgers_come_and_go(steps in prop::collection::vec((0..4_u8, 1..4_u64), 1..40)) {
        let mut chain = Chain::new(Vec::new(), LedgerId(0));
        let mut next = 1;
        let probes: Vec<Position> =
            (0..60).map(|ledger| Position::new(ledger, 1)).chain([Position::EARLIEST]).collect();
        let look = |chain: &Chain| {
            let places: Vec<Position> = probes.iter().map(|probe| chain.at_or_after(*probe)).collect();
            (chain.end(), places)
        };
        let mut before = look(&chain);
        let mut highest_entry = None;
        for (step, count) in steps {
            let last = chain.ledgers().last().cloned();
            match (step, last) {
                (0, last) if last.as_ref().is_none_or(|last| last.sealed_at.is_some()) => {
                    chain.push(LedgerId(next), 0);
                    next += 1 + count % 2;
                }
                (1, Some(last)) if last.sealed_at.is_none() => {
                    chain.grow(last.ledger, count, 1, 0);
                    let grown = chain.last();
                    prop_assert!(highest_entry < grown);
                    highest_entry = grown;
                }
                (2, Some(last)) if last.sealed_at.is_none() && 0 < last.entries => {
                    chain.seal(last.ledger, last.entries, last.bytes, 1);
                }
                (3, Some(_)) => {
                    let sealed = chain.ledgers().iter().take_while(|listed| listed.sealed_at.is_some());
                    let gone: Vec<LedgerId> = sealed.take(count as usize).map(|listed| listed.ledger).collect();
                    chain.drop_first(&gone);
                }
                _ => {}
            }
            let now = look(&chain);
            prop_assert!(before.0 <= now.0, "the end went back from {} to {}", before.0, now.0);
            prop_assert!(before.1.iter().zip(&now.1).all(|(before, now)| before <= now));
            prop_assert!(now.1.iter().all(|place| chain.contains(*place) || *place == chain.end()));
            before = now;
        }
    }
}

fn sealed(ledger: u64, bytes: u64, sealed_at: u64) -> ChainLedger {
    ChainLedger { ledger: LedgerId(ledger), entries: 10, bytes, sealed_at: Some(sealed_at), ..ChainLedger::default() }
}

#[test]
fn the_clock_may_go_back_and_numbers_may_be_huge() {
    let keep = Keep { age: Some(Duration::MAX), bytes: Some(u64::MAX), without_subscription: Duration::MAX };
    let chain = Chain::new(vec![sealed(1, 5, 1_000_000)], LedgerId(0));
    let need = Need::From(Position::new(2, 0));
    assert!(trimmable(&chain, need, &keep, 1).is_empty());
    assert!(trimmable(&chain, Need::NobodySince(u64::MAX), &keep, u64::MAX).is_empty());
    let minute = Keep { age: Some(Duration::from_secs(60)), bytes: None, without_subscription: Duration::ZERO };
    assert!(trimmable(&chain, need, &minute, 1).is_empty(), "sealed in what is now the future");
    assert!(trimmable(&chain, need, &minute, 1_000_000 + MINUTE).is_empty(), "not yet beyond");
    assert_eq!(trimmable(&chain, need, &minute, 1_000_001 + MINUTE), [LedgerId(1)]);
}

/// Apache Pulsar would count the backlog too: of a topic that is read slowly it keeps nothing of what was asked for.
#[test]
fn the_size_of_retention_is_that_of_what_is_acknowledged() {
    let chain = Chain::new((1..=4).map(|ledger| sealed(ledger, 100, 1)).collect(), LedgerId(0));
    let keep = Keep { age: None, bytes: Some(100), without_subscription: Duration::ZERO };
    assert_eq!(trimmable(&chain, Need::From(Position::new(3, 0)), &keep, 9), [LedgerId(1)]);
    assert_eq!(trimmable(&chain, Need::From(Position::new(4, 10)), &keep, 9), [LedgerId(1), LedgerId(2), LedgerId(3)]);
}

#[test]
fn the_open_ledger_is_closed_when_it_is_old_or_idle_and_worth_it() {
    let rollover = Rollover { age_max: Duration::from_secs(3600), ..Rollover::default() };
    let open = |bytes: u64| {
        let mut chain = Chain::new(vec![sealed(1, 5, 1)], LedgerId(0));
        chain.push(LedgerId(2), 1000);
        chain.grow(LedgerId(2), 10, bytes, 5000);
        chain
    };
    let (all, but_one) = (Need::From(Position::new(2, 10)), Need::From(Position::new(2, 9)));
    let due = |bytes, need, now_ms| roll_due(&open(bytes), need, &rollover, now_ms).is_some();
    assert!(due(1, but_one, 1000 + 60 * MINUTE) && !due(1, but_one, 999 + 60 * MINUTE), "age");
    assert!(due(1 << 20, all, 5000 + 2 * MINUTE) && !due(1 << 20, all, 4999 + 2 * MINUTE), "idle");
    assert!(!due((1 << 20) - 1, all, 5000 + 2 * MINUTE), "not worth a ledger");
    assert!(!due(1 << 20, but_one, 5000 + 2 * MINUTE), "somebody needs it");
    assert!(!due(1 << 20, Need::NobodySince(0), 5000 + 2 * MINUTE), "a newcomer may come");
    let mut empty = Chain::default();
    empty.push(LedgerId(2), 0);
    assert_eq!(roll_due(&empty, all, &rollover, u64::MAX), None, "nothing is in it");
    assert_eq!(roll_due(&Chain::new(vec![sealed(1, 5, 1)], LedgerId(0)), all, &rollover, u64::MAX), None);
}

#[test]
fn an_intent_is_left_for_each_copy_of_a_ledger() {
    let offloaded = |store| records::Offloaded { store, attempt: 77, objects: 2, ..Default::default() };
    let record = TopicRecord {
        topic: "persistent://a/b/c".into(),
        stores: vec!["s3://one".into(), "s3://two".into()],
        ledgers: vec![
            records::ChainLedger { ledger: 1, ..Default::default() },
            records::ChainLedger { ledger: 2, offloaded: Some(offloaded(1)), ..Default::default() },
            records::ChainLedger {
                ledger: 3,
                offloaded: Some(offloaded(0)),
                bookies_freed: true,
                ..Default::default()
            },
        ],
        ..Default::default()
    };
    let left = |ledger| {
        let operations = departure(&record, LedgerId(ledger), 5);
        assert!(operations.len() <= DEPARTURE_MAX);
        operations.iter().map(|operation| operation.key().as_str().to_owned()).collect::<Vec<_>>()
    };
    let (ledger, objects) = (|id| keys::delete_ledger(LedgerId(id)), |id| keys::delete_objects(LedgerId(id), 77));
    assert_eq!(left(1), [ledger(1)]);
    assert_eq!(left(2), [ledger(2), objects(2)]);
    assert_eq!(left(3), [objects(3)]);
    assert_eq!(left(4), [ledger(4)], "one of the cursor log");
    let [Operation::Put { value, .. }] = &departure(&record, LedgerId(3), 5)[..] else { panic!("one intent") };
    let intent: records::Intent = prost::Message::decode(value.clone()).unwrap();
    let Some(records::intent::Subject::DeleteObjects(objects)) = intent.subject else { panic!("of objects") };
    assert_eq!((objects.store.as_str(), objects.topic.as_str()), ("s3://one", "persistent://a/b/c"));
    assert_eq!((objects.ledger, objects.attempt, objects.epoch), (3, 77, 0));
}

// The change itself.

/// A topic of ledgers with two entries each, and one subscription at its beginning.
async fn subscribed(rig: &Rig, entries: u32) -> (Loaded, Vec<Position>) {
    let context = rig.context("a", 2);
    create(&context, &rig.topic, HashMap::new()).await.unwrap();
    let mut loaded = load(&context, &rig.topic).await.unwrap();
    loaded.cursor_log.put(&"s".into(), AckSet::default(), HashMap::new()).await.unwrap();
    let positions = publish(&mut loaded.log, 0, entries).await;
    (loaded, positions)
}

async fn acknowledge(loaded: &Loaded, below: Position) {
    let (done, outcome) = tokio::sync::oneshot::channel();
    let receipt = AckReceipt::new(move |outcome| drop(done.send(outcome)));
    loaded.cursor_log.acknowledge(&"s".into(), AckDelta::below(below), Some(receipt));
    outcome.await.expect("a receipt is always answered").expect("it is written");
}

fn listed(record: &TopicRecord) -> Vec<u64> {
    record.ledgers.iter().map(|listed| listed.ledger).collect()
}

async fn intents_of_chain(rig: &Rig, positions: &[Position]) -> Vec<LedgerId> {
    let intents = rig.intents().await;
    let mut of_chain: Vec<LedgerId> = positions.iter().map(|position| position.ledger).collect();
    of_chain.dedup();
    of_chain.into_iter().filter(|ledger| intents.contains(ledger)).collect()
}

#[tokio::test(start_paused = true)]
async fn acknowledged_ledgers_leave_with_intents_and_the_topic_goes_on_behind_them() {
    let rig = Rig::new();
    let (mut loaded, positions) = subscribed(&rig, 7).await;
    acknowledge(&loaded, positions[5]).await;
    let reader = loaded.log.reader();
    let gone = loaded.trimmer.trim(&Keep::NOTHING, &[]).await.unwrap();
    assert_eq!(gone, [positions[0].ledger, positions[2].ledger], "the third has an entry that is needed");
    assert_eq!(intents_of_chain(&rig, &positions).await, gone);
    assert_eq!(reader.first(), positions[4]);
    assert_eq!(read_all(&reader).await.len(), 3);
    assert!(loaded.trimmer.trim(&Keep::NOTHING, &[]).await.unwrap().is_empty());

    acknowledge(&loaded, reader.end()).await;
    loaded.log.roll(positions[6].ledger);
    assert!(timeout(Duration::from_secs(1), loaded.log.settled()).await.is_err(), "nothing else happens");
    let end = reader.end();
    assert_eq!(loaded.trimmer.trim(&Keep::NOTHING, &[]).await.unwrap(), [positions[4].ledger, positions[6].ledger]);
    assert!(end <= reader.end() && reader.last().is_none() && reader.first() == reader.end());
    for ledger in rig.intents().await {
        rig.ledgers.delete(ledger).await.unwrap();
    }
    let next = publish(&mut loaded.log, 7, 8).await[0];
    assert!(end < next && positions[6] < next, "a position is never reused");

    let again = load(&rig.context("b", 2), &rig.topic).await.unwrap();
    assert_eq!(again.log.reader().first(), next);
    assert_eq!(again.log.reader().with_chain(|chain| again.cursors[0].acks.unacknowledged(chain)), 1);
}

/// The mutation this is about: a decision by acknowledgements that are only in memory.
#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_in_memory_only_is_still_needed() {
    let rig = Rig::new();
    let (loaded, positions) = subscribed(&rig, 7).await;
    rig.ledgers.hold_confirmations();
    loaded.cursor_log.acknowledge(&"s".into(), AckDelta::below(positions[6]), None);
    let mut trim = tokio::spawn({
        let trimmer = loaded.trimmer.clone();
        async move { trimmer.trim(&Keep::NOTHING, &[]).await }
    });
    assert!(timeout(Duration::from_secs(20), &mut trim).await.is_err(), "it waits for what is being written");
    assert_eq!(loaded.log.reader().first(), positions[0]);
    assert!(intents_of_chain(&rig, &positions).await.is_empty());
    let ledger = LedgerId(rig.record().await.cursor_ledgers[0]);
    rig.ledgers.lose_unconfirmed(ledger); // The acknowledgement reached no bookie, and another broker sealed the log.
    rig.ledgers.release_confirmations();
    assert!(trim.await.unwrap().is_err());
    assert_eq!(loaded.log.reader().first(), positions[0]);
    let again = load(&rig.context("b", 2), &rig.topic).await.unwrap();
    assert_eq!(read_all(&again.log.reader()).await.len(), 7, "all of it is delivered again");
}

#[tokio::test(start_paused = true)]
async fn without_a_subscription_everything_stays_for_a_while_and_a_newcomer_finds_it() {
    let rig = Rig::new();
    let context = rig.context("a", 2);
    create(&context, &rig.topic, HashMap::new()).await.unwrap();
    let mut loaded = load(&context, &rig.topic).await.unwrap();
    publish(&mut loaded.log, 0, 7).await;
    let keep = Keep { without_subscription: Duration::from_secs(3600), ..Keep::NOTHING };
    tokio::time::sleep(Duration::from_secs(3599)).await;
    assert!(loaded.trimmer.trim(&keep, &[]).await.unwrap().is_empty());
    loaded.cursor_log.put(&"s".into(), AckSet::default(), HashMap::new()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5000)).await;
    assert!(loaded.trimmer.trim(&keep, &[]).await.unwrap().is_empty(), "it needs everything");
    loaded.cursor_log.remove(&"s".into()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3599)).await;
    assert!(loaded.trimmer.trim(&keep, &[]).await.unwrap().is_empty(), "an hour since the last one went");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(loaded.trimmer.trim(&keep, &[]).await.unwrap().len(), 3);
}

/// N15 (P#24855). Goal: a new subscription from the earliest message, or one that is moved back, loses nothing to a trim beside it.
/// Method: either order, with the other one held up in the middle.
#[tokio::test(start_paused = true)]
async fn n15_a_trim_races_with_a_subscription_that_begins_at_the_earliest_message() {
    for moved_back in [false, true] {
        let name: Arc<str> = if moved_back { "s".into() } else { "new".into() };
        // The subscription is being written down while the trim comes.
        let rig = Rig::new();
        let (loaded, positions) = subscribed(&rig, 7).await;
        acknowledge(&loaded, positions[6]).await;
        rig.ledgers.hold_confirmations();
        let put = tokio::spawn({
            let (log, name, acks) = (loaded.cursor_log.clone(), name.clone(), AckSet::at(positions[0]));
            async move { log.put(&name, acks, HashMap::new()).await }
        });
        tokio::time::sleep(Duration::from_millis(10)).await;
        let trimmer = loaded.trimmer.clone();
        let trim = tokio::spawn(async move { trimmer.trim(&Keep::NOTHING, &[]).await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!put.is_finished() && !trim.is_finished(), "the trim waits");
        rig.ledgers.release_confirmations();
        put.await.unwrap().unwrap();
        assert!(trim.await.unwrap().unwrap().is_empty(), "all of it is needed again");
        assert_eq!(loaded.log.reader().first(), positions[0]);

        // The trim is being written down while the subscription comes.
        let rig = Rig::new();
        let (loaded, positions) = subscribed(&rig, 7).await;
        acknowledge(&loaded, positions[6]).await;
        rig.mortal.hold_commits(true);
        let trimmer = loaded.trimmer.clone();
        let trim = tokio::spawn(async move { trimmer.trim(&Keep::NOTHING, &[]).await });
        tokio::time::sleep(Duration::from_millis(10)).await;
        let put = tokio::spawn({
            let (log, name, acks) = (loaded.cursor_log.clone(), name.clone(), AckSet::at(loaded.log.reader().first()));
            async move { log.put(&name, acks, HashMap::new()).await }
        });
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(!put.is_finished() && !trim.is_finished(), "the subscription waits");
        rig.mortal.hold_commits(false);
        assert_eq!(trim.await.unwrap().unwrap().len(), 3);
        put.await.unwrap().unwrap();
        let again = load(&rig.context("b", 2), &rig.topic).await.unwrap();
        let cursor = again.cursors.iter().find(|cursor| cursor.name == name).expect("it was made");
        let sees = again.log.reader().at_or_after(cursor.acks.mark());
        assert_eq!(sees, positions[6], "the first message there is");
    }
}

/// Goal: wherever the broker dies, a ledger is in the chain or an intent is left for it, and whoever works off intents finishes.
#[tokio::test(start_paused = true)]
async fn a_crash_beside_the_change_leaves_no_ledger_to_nobody() {
    let mut trimmed = 0;
    for half_commits in 0..3 {
        let rig = Rig::new();
        let (loaded, positions) = subscribed(&rig, 7).await;
        acknowledge(&loaded, positions[5]).await;
        rig.mortal.die_after(half_commits);
        tokio::select! {
            outcome = loaded.trimmer.trim(&Keep::NOTHING, &[]) => assert_eq!((half_commits, outcome.unwrap().len()), (2, 2)),
            () = rig.mortal.died() => assert!(half_commits < 2),
        }
        rig.mortal.live();
        let again = load(&rig.context("b", 2), &rig.topic).await.unwrap();
        let intents = intents_of_chain(&rig, &positions).await;
        let chain = listed(&rig.record().await);
        for position in &positions {
            let (listed, intended) = (chain.contains(&position.ledger.0), intents.contains(&position.ledger));
            assert!(listed != intended, "died at {half_commits}: {position} is listed: {listed}, intended: {intended}");
        }
        trimmed += usize::from(!intents.is_empty());
        for ledger in rig.intents().await {
            rig.ledgers.delete(ledger).await.unwrap();
        }
        assert!(rig.intents().await.is_empty());
        let left = read_all(&again.log.reader()).await;
        assert!(
            left.iter().map(|(position, _)| *position).eq(positions[positions.len() - left.len()..].iter().copied())
        );
        assert!(3 <= left.len(), "nothing needed has gone");
    }
    assert_eq!(trimmed, 2, "dead before the change once, after it once, and once alive");
}

#[tokio::test(start_paused = true)]
async fn a_trim_whose_ground_has_changed_does_nothing_and_the_topic_goes_on() {
    let rig = Rig::new();
    let (mut loaded, positions) = subscribed(&rig, 7).await;
    acknowledge(&loaded, positions[6]).await;
    rig.store.put("policies/x", "new", Expect::Any).await.unwrap();
    let absent = [Operation::check("policies/x", Expect::Absent)];
    let outcome = loaded.trimmer.trim(&Keep::NOTHING, &absent).await;
    assert!(matches!(&outcome, Err(LogError::Outdated { key }) if key.as_str() == "policies/x"), "{outcome:?}");
    assert_eq!(loaded.log.reader().first(), positions[0]);
    publish(&mut loaded.log, 7, 12).await;
    let found = rig.store.get(&"policies/x".into()).await.unwrap();
    let there = [Operation::check("policies/x", Expect::unchanged(found.as_ref()))];
    assert_eq!(loaded.trimmer.trim(&Keep::NOTHING, &there).await.unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_trim_by_whoever_lost_the_topic_is_fenced() {
    let rig = Rig::new();
    let (loaded, positions) = subscribed(&rig, 7).await;
    acknowledge(&loaded, positions[6]).await;
    let second = load(&rig.context("b", 2), &rig.topic).await.unwrap();
    // The first does not know yet.
    assert!(matches!(loaded.trimmer.trim(&Keep::NOTHING, &[]).await, Err(LogError::Fenced { .. })));
    assert_eq!(read_all(&second.log.reader()).await.len(), 7);
    assert!(intents_of_chain(&rig, &positions).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn more_ledgers_than_one_transaction_can_name_leave_in_several() {
    let rig = Rig::new();
    let (loaded, positions) = subscribed(&rig, 300).await;
    acknowledge(&loaded, positions[299]).await;
    assert_eq!(loaded.trimmer.trim(&Keep::NOTHING, &[]).await.unwrap().len(), 149);
    assert_eq!(intents_of_chain(&rig, &positions).await.len(), 149);
    assert_eq!(loaded.log.reader().first(), positions[298]);
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_leaves_while_it_is_read_is_no_alarm() {
    let rig = Rig::new();
    let (loaded, positions) = subscribed(&rig, 7).await;
    acknowledge(&loaded, positions[6]).await;
    let loaded = load(&rig.context("b", 2), &rig.topic).await.unwrap(); // Its cache is empty: it asks the ledgers.
    rig.ledgers.hold_reads(true);
    let reader = loaded.log.reader();
    let from = positions[1];
    let read = tokio::spawn(async move { reader.read(from, 10, 1 << 20).await });
    tokio::time::sleep(Duration::from_millis(10)).await;
    for ledger in loaded.trimmer.trim(&Keep::NOTHING, &[]).await.unwrap() {
        rig.ledgers.delete(ledger).await.unwrap();
    }
    rig.ledgers.hold_reads(false);
    let found = read.await.unwrap().unwrap();
    assert_eq!(found.first().map(|entry| entry.position), Some(positions[6]), "the first that exists");
}
