use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use ledger::{LedgerError, Ledgers};
use metadata::MetadataStore;
use proto::{EntryId, LedgerId, Position, keys};

use super::rig::{Rig, publish, read_all, settle};
use super::{Loaded, LogError, Settled, create, delete, load};
use crate::cursor::{AckDelta, AckReceipt, AckSet};

fn texts(range: std::ops::Range<u32>) -> Vec<Bytes> {
    range.map(|number| number.to_string().into()).collect()
}

async fn new_topic(rig: &Rig, entries_max: u64) -> Loaded {
    let context = rig.context("a", entries_max);
    assert!(create(&context, &rig.topic, HashMap::new()).await.unwrap());
    load(&context, &rig.topic).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_topic_has_no_ledger_before_its_first_entry_and_is_made_once() {
    let rig = Rig::new();
    let context = rig.context("a", 10);
    assert!(matches!(load(&context, &rig.topic).await, Err(LogError::NotFound { .. })));
    let loaded = new_topic(&rig, 10).await;
    assert!(!create(&context, &rig.topic, HashMap::new()).await.unwrap());
    assert!(rig.ledgers.ledgers().is_empty());
    let reader = loaded.log.reader();
    assert_eq!((reader.first(), reader.end(), reader.last()), (Position::EARLIEST, Position::EARLIEST, None));
    assert!(reader.read(Position::EARLIEST, 10, 10).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn entries_are_confirmed_in_order_over_many_small_ledgers() {
    let rig = Rig::new();
    let mut loaded = new_topic(&rig, 4).await;
    let mut positions = publish(&mut loaded.log, 0, 30).await;
    positions.extend(publish(&mut loaded.log, 30, 33).await);
    assert!(positions.is_sorted_by(|a, b| a < b));
    let reader = loaded.log.reader();
    let (read_positions, entries): (Vec<_>, Vec<_>) = read_all(&reader).await.into_iter().unzip();
    assert_eq!((read_positions, entries), (positions.clone(), texts(0..33)));
    assert_eq!(reader.chain().len(), 9);
    assert_eq!(reader.last(), positions.last().copied());
    assert_eq!(reader.with_chain(|chain| chain.count(Position::EARLIEST, chain.end())), 33);
    assert_eq!(reader.with_chain(|chain| chain.count(positions[3], positions[10])), 7);

    let again = load(&rig.context("b", 4), &rig.topic).await.unwrap();
    let (read_positions, entries): (Vec<_>, Vec<_>) = read_all(&again.log.reader()).await.into_iter().unzip();
    assert_eq!((read_positions, entries), (positions, texts(0..33)), "read from ledgers, not from the cache");
}

#[tokio::test(start_paused = true)]
async fn readers_see_nothing_that_is_not_confirmed() {
    let rig = Rig::new();
    let mut loaded = new_topic(&rig, 100).await;
    publish(&mut loaded.log, 0, 2).await;
    rig.ledgers.hold_confirmations();
    loaded.log.append("2".into());
    loaded.log.flush();
    let waited = tokio::time::timeout(std::time::Duration::from_secs(5), loaded.log.settled()).await;
    assert!(waited.is_err(), "nothing settles while confirmations are held");
    assert_eq!(read_all(&loaded.log.reader()).await.len(), 2);
    let mut tail = loaded.log.reader().tail();
    tail.mark_unchanged();
    rig.ledgers.release_confirmations();
    settle(&mut loaded.log).await;
    tail.changed().await.unwrap();
    assert_eq!(read_all(&loaded.log.reader()).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_second_load_fences_the_first() {
    let rig = Rig::new();
    let mut first = new_topic(&rig, 100).await;
    publish(&mut first.log, 0, 5).await;
    let mut second = load(&rig.context("b", 100), &rig.topic).await.unwrap();
    first.log.append("late".into());
    first.log.flush();
    assert!(matches!(first.log.settled().await, Settled::Lost(LogError::Fenced { .. })));
    let position = publish(&mut second.log, 5, 6).await[0];
    let entries: Vec<Bytes> = read_all(&second.log.reader()).await.into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(entries, texts(0..6));
    assert!(first.log.reader().end() < position, "a position is never reused");
}

#[tokio::test(start_paused = true)]
async fn a_first_load_that_never_wrote_is_fenced_at_its_first_ledger() {
    let rig = Rig::new();
    let mut first = new_topic(&rig, 100).await;
    load(&rig.context("b", 100), &rig.topic).await.unwrap();
    first.log.append("late".into());
    assert!(matches!(first.log.settled().await, Settled::Lost(LogError::Fenced { .. })));
    assert!(rig.ledgers.ledgers().is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_two_loaders_at_once_at_most_one_may_serve() {
    let rig = Rig::new();
    drop(new_topic(&rig, 100).await);
    let (a, b) = (rig.context("a", 100), rig.context("b", 100));
    let (a, b) = tokio::join!(load(&a, &rig.topic), load(&b, &rig.topic));
    let mut served = 0;
    for loaded in [a, b] {
        match loaded {
            Ok(mut loaded) => {
                loaded.log.append("x".into());
                served += u32::from(matches!(loaded.log.settled().await, Settled::Confirmed { .. }));
            }
            Err(error) => assert!(matches!(error, LogError::Fenced { .. }), "{error}"),
        }
    }
    assert_eq!(served, 1);
}

/// Goal: entries whose outcome is unknown are settled by a seal, each exactly once.
/// Method: half of what was sent reaches the bookies, then the quorum is lost.
#[tokio::test(start_paused = true)]
async fn a_ledger_with_unknown_outcome_is_sealed_and_the_rest_is_sent_again() {
    for stored in [true, false] {
        let rig = Rig::new();
        let mut loaded = new_topic(&rig, 100).await;
        let mut positions = publish(&mut loaded.log, 0, 3).await;
        let ledger = positions[0].ledger;
        rig.ledgers.hold_confirmations();
        (3..6).for_each(|number: u32| loaded.log.append(number.to_string().into()));
        loaded.log.flush();
        if stored {
            rig.ledgers.lose_quorum(ledger);
        } else {
            // Lost entries, and then a writer that fails for another reason than a fence.
            rig.ledgers.lose_quorum(ledger);
            rig.ledgers.lose_unconfirmed(ledger);
        }
        rig.ledgers.fail_next_seal(LedgerError::Unsettled { ledger, reason: "a bookie is away".into() });
        (6..8).for_each(|number: u32| loaded.log.append(number.to_string().into()));
        rig.ledgers.release_confirmations();
        positions.extend(settle(&mut loaded.log).await);
        let (read_positions, entries): (Vec<_>, Vec<_>) = read_all(&loaded.log.reader()).await.into_iter().unzip();
        assert_eq!((read_positions, entries), (positions.clone(), texts(0..8)));
        assert_eq!(positions[3].ledger == ledger, stored, "stored entries are confirmed where they lie");
        assert!(ledger < positions[7].ledger);
    }
}

#[tokio::test(start_paused = true)]
async fn appends_wait_for_bookies_and_are_lost_when_none_come() {
    let rig = Rig::new();
    let mut loaded = new_topic(&rig, 100).await;
    rig.ledgers.fail_next_create(LedgerError::TooFewBookies { needed: 3, known: 1 });
    assert_eq!(publish(&mut loaded.log, 0, 1).await.len(), 1, "a second attempt succeeds");

    let rig = Rig::new();
    let mut loaded = new_topic(&rig, 100).await;
    rig.store.set_away(true);
    loaded.log.append("x".into());
    let before = tokio::time::Instant::now();
    assert!(matches!(loaded.log.settled().await, Settled::Lost(_)));
    assert!(before.elapsed().as_secs() <= 60);
}

#[tokio::test(start_paused = true)]
async fn a_missing_ledger_stops_the_load() {
    let rig = Rig::new();
    let mut loaded = new_topic(&rig, 4).await;
    let position = publish(&mut loaded.log, 0, 3).await[0];
    drop(loaded);
    rig.ledgers.delete(position.ledger).await.unwrap();
    for _ in 0..2 {
        let outcome = load(&rig.context("b", 4), &rig.topic).await;
        assert!(matches!(outcome, Err(LogError::DataMissing { ledger, .. }) if ledger == position.ledger));
    }
    assert_eq!(rig.record().await.ledgers.len(), 1, "nothing is dropped silently");
}

#[tokio::test(start_paused = true)]
async fn an_empty_ledger_leaves_the_chain_with_an_intent_and_ids_still_grow() {
    let rig = Rig::new();
    let mut loaded = new_topic(&rig, 100).await;
    rig.ledgers.hold_confirmations();
    loaded.log.append("x".into());
    assert!(tokio::time::timeout(std::time::Duration::from_secs(1), loaded.log.settled()).await.is_err());
    let ledger = rig.ledgers.ledgers()[0];
    rig.ledgers.lose_unconfirmed(ledger);
    rig.ledgers.release_confirmations();
    drop(loaded);
    let mut loaded = load(&rig.context("b", 100), &rig.topic).await.unwrap();
    assert!(rig.record().await.ledgers.is_empty());
    assert_eq!(rig.intents().await, [ledger]);
    assert!(ledger < publish(&mut loaded.log, 0, 1).await[0].ledger);
}

#[tokio::test(start_paused = true)]
async fn a_closed_topic_has_nothing_to_recover() {
    let rig = Rig::new();
    let mut loaded = new_topic(&rig, 4).await;
    let positions = publish(&mut loaded.log, 0, 4).await;
    drop(loaded.cursor_log);
    loaded.log.close().await.unwrap();
    let record = rig.record().await;
    assert_eq!(record.ledgers.len(), 1);
    assert!(record.ledgers[0].sealed_at != 0 && record.ledgers[0].entries == 4);
    assert_eq!(LedgerId(record.highest_ledger).max(positions[0].ledger), LedgerId(record.highest_ledger));
    assert_eq!(rig.intents().await.len() as u64 + 1, rig.ledgers.ledgers().len() as u64, "a spare ledger goes");
    let again = load(&rig.context("b", 4), &rig.topic).await.unwrap();
    assert_eq!(read_all(&again.log.reader()).await.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_delete_leaves_an_intent_for_every_ledger_and_frees_the_name() {
    let rig = Rig::new();
    let mut loaded = new_topic(&rig, 1).await;
    let last = publish(&mut loaded.log, 0, 130).await[129];
    let name: Arc<str> = "s".into();
    loaded.cursor_log.put(&name, AckSet::default(), HashMap::new()).await.unwrap();
    let context = rig.context("a", 1);
    delete(&context, &rig.topic, Vec::new()).await.unwrap();
    assert_eq!(rig.store.get(&keys::topic(&rig.topic).into()).await.unwrap(), None);
    assert_eq!(rig.intents().await, rig.ledgers.ledgers());
    for ledger in rig.intents().await {
        rig.ledgers.delete(ledger).await.unwrap();
    }
    loaded.log.append("late".into());
    assert!(matches!(loaded.log.settled().await, Settled::Lost(_)));
    let mut reborn = new_topic(&rig, 10).await;
    assert!(last < publish(&mut reborn.log, 0, 1).await[0], "clients may remember positions");
}

fn receipt(kept: &Arc<parking_lot::Mutex<Vec<Position>>>, position: Position) -> AckReceipt {
    let kept = kept.clone();
    AckReceipt::new(move |outcome| {
        if outcome.is_ok() {
            kept.lock().push(position);
        }
    })
}

/// Goal: whenever a broker dies, what it confirmed and what it answered is there for the next.
/// Method: it dies at each commit in turn, before and after it happened; then another loads.
#[tokio::test(start_paused = true)]
async fn nothing_confirmed_or_answered_is_lost_wherever_a_broker_dies() {
    let name: Arc<str> = "s".into();
    for half_commits in 0.. {
        let rig = Rig::new();
        let context = rig.context("a", 4);
        create(&context, &rig.topic, HashMap::new()).await.unwrap();
        rig.mortal.die_after(half_commits);
        let confirmed = parking_lot::Mutex::new(Vec::new());
        let kept = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let life = async {
            for round in 0..2 {
                let mut loaded = load(&context, &rig.topic).await.unwrap();
                let acks = loaded.cursors.first().map_or_else(AckSet::default, |cursor| cursor.acks.clone());
                loaded.cursor_log.put(&name, acks, HashMap::new()).await.unwrap();
                for batch in 0..3 {
                    let first = round * 30 + batch * 5;
                    let positions = publish(&mut loaded.log, first, first + 5).await;
                    confirmed.lock().extend(positions.iter().copied().zip(texts(first..first + 5)));
                    for position in positions.into_iter().step_by(2) {
                        let answer = Some(receipt(&kept, position));
                        loaded.cursor_log.acknowledge(&name, AckDelta::entry(position), answer);
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
                loaded.log.close().await.unwrap();
            }
        };
        let survived = tokio::select! {
            () = life => true,
            () = rig.mortal.died() => false,
        };
        rig.mortal.live();
        tokio::task::yield_now().await;
        let mut next = load(&rig.context("b", 4), &rig.topic).await.unwrap();
        let there = read_all(&next.log.reader()).await;
        let confirmed = confirmed.into_inner();
        let mut rest = there.iter();
        assert!(confirmed.iter().all(|entry| rest.any(|other| other == entry)), "died at {half_commits}");
        let kept = kept.lock().clone();
        let acks = next.cursors.first().map(|cursor| cursor.acks.clone()).unwrap_or_default();
        assert!(kept.iter().all(|position| acks.contains(*position)), "died at {half_commits}");
        let highest = there.last().map(|(position, _)| *position);
        assert!(highest < publish(&mut next.log, 99, 100).await.first().copied());
        if survived {
            assert_eq!((there.len(), kept.len()), (30, 18));
            assert!(20 < half_commits, "there were commits to die in");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_fails_is_an_error_and_the_next_succeeds() {
    let rig = Rig::new();
    let mut loaded = new_topic(&rig, 100).await;
    let position = publish(&mut loaded.log, 0, 3).await[0];
    let again = load(&rig.context("b", 100), &rig.topic).await.unwrap();
    let reader = again.log.reader();
    let error = LedgerError::Unreadable { ledger: position.ledger, entry: EntryId(0), reason: "away".into() };
    rig.ledgers.fail_next_read(error);
    assert!(reader.read(position, 3, 100).await.unwrap_err().passes());
    assert_eq!(reader.read(position, 3, 1).await.unwrap().len(), 1, "one entry at least");
    assert_eq!(reader.read(position.next(), 9, 100).await.unwrap().len(), 2);
    assert_eq!(reader.read(position, 2, 100).await.unwrap().len(), 2, "the rest is cached by now");
}
