use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ledger::Ledgers;
use proto::{LedgerId, Position};
use tokio::sync::oneshot;

use super::replay::Replay;
use super::{AckDelta, AckReceipt, AckSet, Cursor, CursorLog, Cursors, Room, Run, encode};
use crate::log::rig::{Rig, publish};
use crate::log::{Loaded, LogError, Settled, create, load};

async fn loaded(rig: &Rig, entries: u32) -> (Loaded, Vec<Position>) {
    let context = rig.context("a", 1000);
    create(&context, &rig.topic, HashMap::new()).await.unwrap();
    let mut loaded = load(&context, &rig.topic).await.unwrap();
    let positions = publish(&mut loaded.log, 0, entries).await;
    (loaded, positions)
}

async fn again(rig: &Rig) -> Loaded {
    load(&rig.context("b", 1000), &rig.topic).await.unwrap()
}

async fn ack(log: &CursorLog, name: &Arc<str>, position: Position) -> Result<(), LogError> {
    let (done, outcome) = oneshot::channel();
    let receipt = AckReceipt::new(move |outcome| drop(done.send(outcome)));
    log.acknowledge(name, AckDelta::entry(position), Some(receipt));
    outcome.await.expect("a receipt is always answered")
}

fn acks<'a>(loaded: &'a Loaded, name: &str) -> &'a AckSet {
    &loaded.cursors.iter().find(|cursor| &*cursor.name == name).expect("it is there").acks
}

#[tokio::test(start_paused = true)]
async fn an_answered_acknowledgement_survives_and_plain_ones_wait_at_most_50_ms() {
    let rig = Rig::new();
    let (topic, positions) = loaded(&rig, 10).await;
    let (name, other): (Arc<str>, Arc<str>) = ("s".into(), "gone".into());
    let properties = HashMap::from([("k".to_string(), "v".to_string())]);
    topic.cursor_log.put(&name, AckSet::default(), properties.clone()).await.unwrap();
    topic.cursor_log.put(&other, AckSet::default(), HashMap::new()).await.unwrap();
    topic.cursor_log.remove(&other).await.unwrap();
    let before = tokio::time::Instant::now();
    ack(&topic.cursor_log, &name, positions[3]).await.unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO, "a receipt waits for no timer");
    topic.cursor_log.acknowledge(&name, AckDelta::entry(positions[5]), None);
    topic.cursor_log.acknowledge(&name, AckDelta::batch(positions[6], &[5]), None);
    tokio::time::sleep(Duration::from_millis(51)).await;
    topic.cursor_log.acknowledge(&name, AckDelta::entry(positions[7]), None);
    drop(topic);
    let topic = again(&rig).await;
    assert_eq!((topic.cursors.len(), &topic.cursors[0].properties), (1, &properties));
    let acks = acks(&topic, "s");
    assert_eq!([3, 5, 7].map(|at| acks.contains(positions[at])), [true, true, false]);
    assert_eq!(acks.partial(positions[6]), Some(&[5][..]));
}

#[tokio::test(start_paused = true)]
async fn small_state_is_folded_on_close_and_its_ledgers_go_by_intents() {
    let rig = Rig::new();
    let (topic, positions) = loaded(&rig, 10).await;
    let name: Arc<str> = "s".into();
    topic.cursor_log.put(&name, AckSet::default(), HashMap::new()).await.unwrap();
    ack(&topic.cursor_log, &name, positions[2]).await.unwrap();
    let ledgers = rig.record().await.cursor_ledgers;
    topic.log.close().await.unwrap();
    assert!(matches!(ack(&topic.cursor_log, &name, positions[3]).await, Err(LogError::Closed)));
    let record = rig.record().await;
    assert!(record.cursor_ledgers.is_empty() && !record.folded_cursors.is_empty());
    assert_eq!(rig.intents().await, ledgers.into_iter().map(LedgerId).collect::<Vec<_>>());

    let untouched = again(&rig).await;
    assert!(acks(&untouched, "s").contains(positions[2]));
    untouched.log.close().await.unwrap();
    let topic = again(&rig).await;
    ack(&topic.cursor_log, &name, positions[4]).await.unwrap();
    drop(topic);
    let topic = again(&rig).await;
    assert_eq!([2, 4].map(|at| acks(&topic, "s").contains(positions[at])), [true, true], "newer than the folded state");
}

/// Goal: a failed cursor ledger costs no answered acknowledgement, whether or not what was in flight was stored.
#[tokio::test(start_paused = true)]
async fn n12_a_failed_cursor_ledger_is_followed_by_one_that_opens_with_everything() {
    let rig = Rig::new();
    let (topic, positions) = loaded(&rig, 10).await;
    let name: Arc<str> = "s".into();
    topic.cursor_log.put(&name, AckSet::default(), HashMap::new()).await.unwrap();
    ack(&topic.cursor_log, &name, positions[1]).await.unwrap();
    let ledger = LedgerId(rig.record().await.cursor_ledgers[0]);
    rig.ledgers.lose_quorum(ledger);
    ack(&topic.cursor_log, &name, positions[3]).await.unwrap();
    let listed = rig.record().await.cursor_ledgers;
    assert!(listed.len() == 1 && LedgerId(listed[0]) != ledger);
    assert_eq!(rig.intents().await, [ledger]);
    drop(topic);
    let topic = again(&rig).await;
    assert_eq!([1, 2, 3].map(|at| acks(&topic, "s").contains(positions[at])), [true, false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_fenced_cursor_log_answers_no_receipt_and_the_topic_is_lost() {
    let rig = Rig::new();
    let (mut topic, positions) = loaded(&rig, 10).await;
    let name: Arc<str> = "s".into();
    topic.cursor_log.put(&name, AckSet::default(), HashMap::new()).await.unwrap();
    let _second = again(&rig).await;
    assert!(matches!(ack(&topic.cursor_log, &name, positions[1]).await, Err(LogError::Fenced { .. })));
    assert!(matches!(ack(&topic.cursor_log, &name, positions[2]).await, Err(LogError::Fenced { .. })));
    assert!(matches!(topic.log.settled().await, Settled::Lost(LogError::Fenced { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_missing_cursor_ledger_stops_the_load() {
    let rig = Rig::new();
    let (topic, _) = loaded(&rig, 1).await;
    topic.cursor_log.put(&"s".into(), AckSet::default(), HashMap::new()).await.unwrap();
    drop(topic);
    let ledger = LedgerId(rig.record().await.cursor_ledgers[0]);
    rig.ledgers.delete(ledger).await.unwrap();
    let outcome = load(&rig.context("b", 10), &rig.topic).await;
    assert!(matches!(outcome, Err(LogError::DataMissing { ledger: missing, .. }) if missing == ledger));
}

/// Goal: what is known of times survives whatever becomes of the subscription, and goes once it tells nothing any more.
#[tokio::test(start_paused = true)]
async fn runs_outlive_a_crash_and_a_move_and_go_with_the_first_snapshot_after_their_times_or_acknowledgements() {
    let rig = Rig::new();
    let (topic, positions) = loaded(&rig, 10).await;
    let name: Arc<str> = "s".into();
    topic.cursor_log.put(&name, AckSet::default(), HashMap::new()).await.unwrap();
    let run = |due, at: usize| Run::pack([(due, positions[at])].into_iter()).unwrap();
    let (past, acknowledged, future) = (run(1, 6), run(9_000_000, 3), run(9_000_000, 6));
    for run in [&past, &acknowledged, &future] {
        assert_eq!(topic.cursor_log.delay(&name, run.clone()), Room::Enough);
    }
    topic.cursor_log.put(&name, AckSet::at(positions[2]), HashMap::new()).await.unwrap();
    drop(topic);
    let topic = again(&rig).await;
    assert_eq!(topic.cursors[0].delays, [past, acknowledged, future.clone()]);
    topic.cursor_log.put(&name, AckSet::at(positions[4]), HashMap::new()).await.unwrap(); // To a new ledger, which opens with a snapshot.
    drop(topic);
    assert_eq!(again(&rig).await.cursors[0].delays, [future]);
}

/// A state that takes several entries: every other of many entries, in many ledgers.
fn large() -> Cursors {
    let mut acks = AckSet::default();
    for ledger in 1..=200 {
        let entries = (0..40_000).step_by(2).collect();
        acks.add_holes(LedgerId(ledger), &entries);
    }
    Cursors::from([("large".into(), Cursor { acks, ..Cursor::default() })])
}

#[test]
fn a_snapshot_over_several_entries_counts_only_with_its_end_mark() {
    let cursors = large();
    let entries = encode::snapshot(&cursors);
    assert!(3 < entries.len() && entries.iter().all(|entry| entry.len() <= 2 * encode::ENTRY_BYTES));
    let chain = crate::log::Chain::default();
    let old = Cursors::from([("old".into(), Cursor::default())]);
    for cut in 0..=entries.len() {
        let mut replay = Replay::default();
        let mut replay_all =
            |entries: &[Bytes]| entries.iter().for_each(|entry| replay.entry(entry, &chain).expect("decodes"));
        replay_all(&encode::snapshot(&old));
        replay_all(&entries[..cut]);
        replay.next_ledger();
        let read = replay.finish(&chain);
        assert_eq!(read == old, cut < entries.len(), "cut at {cut}");
        assert!(cut < entries.len() || read["large"].acks.holes() == cursors["large"].acks.holes());
    }
    let mut headless = Replay::default();
    entries[1..].iter().for_each(|entry| headless.entry(entry, &chain).expect("decodes"));
    assert!(headless.finish(&chain).is_empty());
}

/// Goal: a long log is rewritten while acknowledgements go on, and none is lost over it.
#[tokio::test(start_paused = true)]
async fn a_long_log_is_rewritten_between_acknowledgements() {
    let rig = Rig::new();
    let (topic, positions) = loaded(&rig, 400).await;
    let name: Arc<str> = "s".into();
    topic.cursor_log.put(&name, AckSet::default(), HashMap::new()).await.unwrap();
    let first = rig.record().await.cursor_ledgers;
    let noise = "x".repeat(4000);
    for position in &positions[..350] {
        let properties = HashMap::from([("noise".to_string(), noise.clone())]);
        topic.cursor_log.put(&"noisy".into(), AckSet::default(), properties).await.unwrap();
        ack(&topic.cursor_log, &name, *position).await.unwrap();
    }
    let listed = rig.record().await.cursor_ledgers;
    assert!(listed.len() == 1 && listed != first, "rewritten");
    drop(topic);
    let topic = again(&rig).await;
    assert_eq!(acks(&topic, "s").mark(), positions[350]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_grows_too_large_says_so_until_it_is_written() {
    let rig = Rig::new();
    let (topic, positions) = loaded(&rig, 2).await;
    let name: Arc<str> = "s".into();
    topic.cursor_log.put(&name, AckSet::default(), HashMap::new()).await.unwrap();
    let words = vec![1; 16 * 1024];
    let delta = || AckDelta::batch(positions[1], &words);
    let rooms: Vec<Room> = (0..64).map(|_| topic.cursor_log.acknowledge(&name, delta(), None)).collect();
    assert_eq!((rooms[0], rooms[63]), (Room::Enough, Room::Full));
    topic.cursor_log.roomy().await;
    assert_eq!(topic.cursor_log.acknowledge(&name, AckDelta::entry(positions[0]), None), Room::Enough);
}

/// Goal: every hole outlives a crash, however many there are. Method: every other of 400,000 entries, in changes of a thousand.
#[tokio::test(start_paused = true)]
async fn n13_200_000_holes_are_all_there_after_a_crash() {
    const ENTRIES: u32 = 400_000;
    let rig = Rig::new();
    let context = rig.context("a", u64::from(ENTRIES) / 3);
    create(&context, &rig.topic, HashMap::new()).await.unwrap();
    let mut topic = load(&context, &rig.topic).await.unwrap();
    let positions = publish(&mut topic.log, 0, ENTRIES).await;
    let name: Arc<str> = "s".into();
    topic.cursor_log.put(&name, AckSet::default(), HashMap::new()).await.unwrap();
    let odd: Vec<Position> = positions.iter().copied().skip(1).step_by(2).collect();
    for positions in odd.chunks(1000) {
        let mut delta = AckDelta::default();
        positions.iter().for_each(|position| delta.merge(AckDelta::entry(*position)));
        topic.cursor_log.acknowledge(&name, delta, None);
        topic.cursor_log.roomy().await;
    }
    ack(&topic.cursor_log, &name, odd[0]).await.unwrap();
    drop(topic);
    let topic = again(&rig).await;
    let acks = acks(&topic, "s");
    assert_eq!(acks.holes(), u64::from(ENTRIES) / 2);
    assert!(positions.iter().enumerate().all(|(at, position)| acks.contains(*position) == (at % 2 == 1)));
}
