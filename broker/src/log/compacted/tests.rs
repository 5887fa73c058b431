//! Goal: what compaction has left is the old or the new, whole, wherever a broker dies, and nothing else is left of a pass.
//! Method: topics over storage in memory; a pass keeps every second entry.
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use ledger::Ledgers;
use metadata::{MetadataStore, MetadataStoreExt};
use proto::keys;

use super::*;
use crate::log::rig::{Rig, publish};
use crate::log::{Keep, Loaded, create, delete, load};

const ENTRIES: u32 = 9;

async fn topic(rig: &Rig) -> (Loaded, Vec<Position>) {
    let context = rig.context("a", 2);
    create(&context, &rig.topic, HashMap::new()).await.unwrap();
    let mut loaded = load(&context, &rig.topic).await.unwrap();
    let positions = publish(&mut loaded.log, 0, ENTRIES).await;
    (loaded, positions)
}

async fn from(reader: &LogReader, from: Position) -> Vec<Position> {
    let (mut all, mut next) = (Vec::new(), from);
    loop {
        let found = reader.read_compacted(next, 2, 1 << 20).await.unwrap();
        let Some(last) = found.last() else { return all };
        next = last.position.next();
        all.extend(found.iter().map(|entry| entry.position));
    }
}

/// Keeps every second of what there is.
async fn compact(loaded: &Loaded) -> Result<Arc<Compacted>, LogError> {
    let reader = loaded.log.reader();
    let end = reader.end();
    let mut rewrite = loaded.compactor.begin().await?;
    let mut next = Position::EARLIEST;
    let mut number = 0;
    loop {
        let found = reader.read_compacted(next, 3, 1 << 20).await?;
        let Some(last) = found.last() else { return rewrite.publish(end).await };
        next = last.position.next();
        for entry in &found {
            if number % 2 == 0 {
                rewrite.append(entry.position, &entry.bytes).await?;
            }
            number += 1;
        }
    }
}

fn every(step: usize, positions: &[Position]) -> Vec<Position> {
    positions.iter().copied().step_by(step).collect()
}

/// Once all intents are worked off, bookies hold what the record lists, and nothing else.
async fn check_nothing_is_left_over(rig: &Rig, what: &str) {
    rig.work_off().await;
    assert!(rig.store.list_all(keys::INTENTS).await.unwrap().is_empty(), "{what}: intents are left");
    let record = rig.record().await;
    let compacted = record.compacted.iter().map(|compacted| compacted.ledger).filter(|ledger| *ledger != 0);
    let listed = record.ledgers.iter().map(|listed| listed.ledger).chain(record.cursor_ledgers.iter().copied());
    let listed: BTreeSet<u64> =
        listed.chain(compacted).chain(Some(record.compacting).filter(|one| *one != 0)).collect();
    let mut there = BTreeSet::new();
    for ledger in rig.ledgers.ledgers() {
        // One without a record was never made.
        let made = rig.store.get(&keys::ledger(ledger).into()).await.unwrap().is_some();
        there.extend(made.then_some(ledger.0));
    }
    assert_eq!(there, listed, "{what}");
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_is_read_below_the_horizon_and_everything_behind_it() {
    let rig = Rig::new();
    let (mut loaded, mut positions) = topic(&rig).await;
    let reader = loaded.log.reader();
    assert_eq!(from(&reader, Position::EARLIEST).await, positions, "nothing was compacted yet");
    let compacted = compact(&loaded).await.unwrap();
    assert_eq!((compacted.entries, compacted.horizon), (5, positions[8].next()));
    positions.extend(publish(&mut loaded.log, 9, 12).await);
    let expected = [every(2, &positions[..9]), positions[9..].to_vec()].concat();
    for reader in [reader.clone(), load(&rig.context("b", 2), &rig.topic).await.unwrap().log.reader()] {
        assert_eq!(from(&reader, Position::EARLIEST).await, expected);
        for position in &positions {
            let behind: Vec<Position> = expected.iter().copied().filter(|kept| position <= kept).collect();
            assert_eq!(from(&reader, *position).await, behind, "from {position}");
        }
        let found = reader.read_compacted(positions[1], 1, 1).await.unwrap();
        assert_eq!((found[0].position, &found[0].bytes[..]), (positions[2], &b"2"[..]));
        assert_eq!(reader.last_compacted().await.unwrap().map(|last| last.position), Some(positions[11]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_commit_leaves_the_old_or_the_new_and_nothing_besides() {
    let (mut old, mut new) = (0, 0);
    for half_commits in 0.. {
        let rig = Rig::new();
        let (loaded, positions) = topic(&rig).await;
        compact(&loaded).await.unwrap();
        rig.mortal.die_after(half_commits);
        let finished = tokio::select! {
            done = compact(&loaded) => { done.unwrap(); true }
            () = rig.mortal.died() => false,
        };
        rig.mortal.live();
        let what = format!("died at {half_commits}");
        let again = load(&rig.context("b", 2), &rig.topic).await.unwrap();
        assert_eq!(rig.record().await.compacting, 0, "{what}: the load deletes what was not finished");
        let kept = from(&again.log.reader(), Position::EARLIEST).await;
        if kept == every(2, &positions) {
            old += 1;
        } else {
            assert_eq!(kept, every(4, &positions), "{what}");
            new += 1;
        }
        check_nothing_is_left_over(&rig, &what).await;
        assert_eq!(from(&again.log.reader(), Position::EARLIEST).await, kept, "{what}: still there");
        compact(&again).await.unwrap();
        if finished {
            break;
        }
    }
    assert!(2 <= old && 2 <= new, "both sides were met: {old}, {new}");
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_came_to_nothing_leaves_nothing_to_the_next() {
    let rig = Rig::new();
    let (loaded, positions) = topic(&rig).await;
    let mut rewrite = loaded.compactor.begin().await.unwrap();
    rewrite.append(positions[0], b"x").await.unwrap();
    drop(rewrite);
    assert_ne!(rig.record().await.compacting, 0);
    compact(&loaded).await.unwrap();
    check_nothing_is_left_over(&rig, "another pass").await;
    let mut rewrite = loaded.compactor.begin().await.unwrap();
    rewrite.append(positions[0], b"x").await.unwrap();
    loaded.compactor.drop_unfinished().await.unwrap();
    check_nothing_is_left_over(&rig, "given up").await;
    assert_eq!(from(&loaded.log.reader(), Position::EARLIEST).await, every(2, &positions));
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_deleted_takes_its_compacted_ledgers_along() {
    let rig = Rig::new();
    let (loaded, positions) = topic(&rig).await;
    compact(&loaded).await.unwrap();
    let mut rewrite = loaded.compactor.begin().await.unwrap();
    rewrite.append(positions[0], b"x").await.unwrap();
    delete(&rig.context("b", 2), &rig.topic, Vec::new()).await.unwrap();
    rig.work_off().await;
    assert!(rig.ledgers.ledgers().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_a_compacted_ledger_that_is_replaced_goes_on_in_the_new_one() {
    let rig = Rig::new();
    let (loaded, positions) = topic(&rig).await;
    compact(&loaded).await.unwrap();
    let loaded = load(&rig.context("b", 2), &rig.topic).await.unwrap(); // Its cache is empty: it asks the ledgers.
    let reader = loaded.log.reader();
    let first = reader.read_compacted(Position::EARLIEST, 1, 1).await.unwrap();
    assert_eq!(first[0].position, positions[0]);
    rig.ledgers.hold_reads(true);
    let slow = {
        let (reader, next) = (reader.clone(), positions[1]);
        tokio::spawn(async move { reader.read_compacted(next, 1, 1).await })
    };
    tokio::task::yield_now().await;
    let mut rewrite = loaded.compactor.begin().await.unwrap();
    rewrite.append(positions[4], b"4").await.unwrap();
    rewrite.publish(positions[8].next()).await.unwrap();
    check_nothing_is_left_over(&rig, "replaced").await;
    rig.ledgers.hold_reads(false);
    assert_eq!(slow.await.unwrap().unwrap()[0].position, positions[4]);
    assert_eq!(from(&reader, positions[1]).await, [positions[4]]);
    assert_eq!(reader.last_compacted().await.unwrap().map(|last| last.position), Some(positions[4]));
}

#[tokio::test(start_paused = true)]
async fn what_has_left_the_chain_is_still_there_compacted() {
    let rig = Rig::new();
    let (loaded, positions) = topic(&rig).await;
    compact(&loaded).await.unwrap();
    loaded.trimmer.trim(&Keep::NOTHING, &[]).await.unwrap();
    let reader = loaded.log.reader();
    assert_eq!(reader.first(), positions[8], "only the open ledger is left");
    assert_eq!(from(&reader, Position::EARLIEST).await, every(2, &positions));
    // A second pass reads it from there.
    compact(&loaded).await.unwrap();
    assert_eq!(from(&reader, Position::EARLIEST).await, every(4, &positions));
    loaded.compactor.forget().await.unwrap();
    assert_eq!(from(&reader, Position::EARLIEST).await, [positions[8]]);
    check_nothing_is_left_over(&rig, "forgotten").await;
}

#[tokio::test(start_paused = true)]
async fn when_nothing_is_left_there_is_no_ledger() {
    let rig = Rig::new();
    let (mut loaded, positions) = topic(&rig).await;
    let rewrite = loaded.compactor.begin().await.unwrap();
    let compacted = rewrite.publish(positions[8].next()).await.unwrap();
    assert_eq!((compacted.ledger, compacted.entries), (None, 0));
    let reader = loaded.log.reader();
    assert_eq!(from(&reader, Position::EARLIEST).await, []);
    assert_eq!(reader.last_compacted().await.unwrap(), None);
    let next = publish(&mut loaded.log, 9, 10).await;
    assert_eq!(from(&reader, Position::EARLIEST).await, next);
}

/// A ledger whose end is not what was written to it does not count.
#[tokio::test(start_paused = true)]
async fn a_pass_by_whoever_lost_the_topic_counts_for_nobody() {
    let rig = Rig::new();
    let (loaded, positions) = topic(&rig).await;
    let mut rewrite = loaded.compactor.begin().await.unwrap();
    rewrite.append(positions[0], b"x").await.unwrap();
    let unfinished = LedgerId(rig.record().await.compacting);
    let second = load(&rig.context("b", 2), &rig.topic).await.unwrap();
    assert!(matches!(rewrite.publish(positions[8].next()).await, Err(LogError::Fenced { .. })));
    assert_eq!(from(&second.log.reader(), Position::EARLIEST).await, positions);
    assert!(rig.intents().await.contains(&unfinished));
    rig.ledgers.delete(unfinished).await.unwrap();
    check_nothing_is_left_over(&rig, "lost").await;
}
