use std::time::Duration;

use bytes::Bytes;
use proto::keys;
use proto::records::LedgerState;
use tokio::time::Instant;

use super::*;
use crate::conformance::{self, Subject};
use crate::delete_intent;
use crate::rig::{POLICY, house, publish};

#[tokio::test(start_paused = true)]
async fn ledgers_on_bookies_keep_the_contract() {
    for (count, policy) in [
        (3, POLICY),
        (1, QuorumPolicy { ensemble: 1, write: 1, ack: 1 }),
        (6, QuorumPolicy { ensemble: 5, write: 3, ack: 2 }),
    ] {
        let house = house(count).await;
        let subject = Subject {
            ledgers: house.ledgers.clone(),
            other: house.other.clone(),
            metadata: house.metadata.clone(),
            policy,
        };
        conformance::run(&subject).await;
    }
}

#[tokio::test(start_paused = true)]
async fn ledgers_on_bookies_keep_the_contract_with_one_bookie_away() {
    let house = house(3).await;
    house.bookies.delay([0], Duration::from_millis(3));
    house.bookies.cut([2]);
    let subject = Subject {
        ledgers: house.ledgers.clone(),
        other: house.other.clone(),
        metadata: house.metadata.clone(),
        policy: POLICY,
    };
    // All checks but those of deletion, which needs every tombstone.
    conformance::run_without_deletion(&subject).await;
}

/// Method: two of three refuse connections, then take them again before the pause between attempts is over.
#[tokio::test(start_paused = true)]
async fn a_bookie_that_has_just_come_back_is_asked_at_once() {
    let house = house(3).await;
    let mut writer = house.create().await;
    let end = publish(writer.as_mut(), 3, 10).await;
    house.bookies.cut([0, 1]);
    let outcome = house.other.seal(writer.ledger()).await;
    assert!(matches!(outcome, Err(LedgerError::Unsettled { .. })), "{outcome:?}");
    house.bookies.heal();
    let healed = Instant::now();
    assert_eq!(house.other.seal(writer.ledger()).await.expect("all are back").end, end);
    assert!(healed.elapsed() < Duration::from_millis(1500), "{:?}", healed.elapsed());
}

/// Goal: an entry that reached one bookie of three was never promised, yet recovery decides its fate once.
/// Method: cut two bookies between two appends, heal, seal twice, and compare.
#[tokio::test(start_paused = true)]
async fn an_entry_without_quorum_is_decided_once() {
    let house = house(3).await;
    let mut writer = house.create().await;
    let first = publish(writer.as_mut(), 1, 10).await;
    house.bookies.cut([1, 2]);
    writer.append(Bytes::from_static(b"second")).expect("not known yet");
    writer.flush();
    let outcome = writer.confirmed().await;
    assert!(matches!(outcome, Err(LedgerError::OutcomeUnknown { entry: EntryId(1), needed: 2, .. })), "{outcome:?}");
    house.bookies.heal();
    let sealed = house.other.seal(writer.ledger()).await.expect("all are back");
    assert!(first <= sealed.end, "a promised entry is inside the end");
    house.bookies.restart([0]);
    assert_eq!(
        house.ledgers.seal(writer.ledger()).await.expect("all are back"),
        sealed,
        "the decision does not change"
    );
    assert!(matches!(writer.append(Bytes::new()), Err(LedgerError::OutcomeUnknown { .. })), "a failure is final");
}

#[tokio::test(start_paused = true)]
async fn one_member_down_is_marked_only_beyond_the_bound_and_the_mark_stays() {
    let house = house(3).await;
    let mut writer = house.create().await;
    let id = writer.ledger();
    publish(writer.as_mut(), 5, 100).await;
    house.bookies.cut([2]);
    publish(writer.as_mut(), 20, 100).await;
    assert!(house.marked(id).await.is_empty(), "within the bound everything is kept");
    for _ in 0..5 {
        publish(writer.as_mut(), 40, 100).await;
    }
    assert_eq!(house.marked(id).await, [2], "beyond it the record says so");
    house.bookies.heal();
    tokio::time::sleep(Duration::from_secs(3)).await;
    publish(writer.as_mut(), 5, 100).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    publish(writer.as_mut(), 1, 100).await;
    let held = house.bookies.with(2, |bookie| bookie.entries(id));
    assert!(held.contains(&EntryId(229)), "it gets new entries again");
    assert!(held.len() < 231, "some were withheld");
    let sealed = writer.close().await.expect("an ack quorum lives");
    assert_eq!(sealed.end, EntryId(231));
    assert_eq!(house.marked(id).await, [2]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_returns_within_the_bound_is_not_marked() {
    let house = house(3).await;
    let mut writer = house.create().await;
    house.bookies.cut([1]);
    publish(writer.as_mut(), 20, 100).await;
    house.bookies.heal();
    tokio::time::sleep(Duration::from_secs(3)).await;
    publish(writer.as_mut(), 1, 100).await;
    writer.close().await.expect("all live");
    assert!(house.marked(writer.ledger()).await.is_empty());
    assert_eq!(house.bookies.with(1, |bookie| bookie.entries(writer.ledger())).len(), 21);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_member_does_not_stop_the_writer() {
    let house = house(3).await;
    let mut writer = house.create().await;
    publish(writer.as_mut(), 1, 100).await;
    house.bookies.stall([0]);
    let started = Instant::now();
    for _ in 0..10 {
        publish(writer.as_mut(), 40, 100).await;
    }
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    writer.close().await.expect("an ack quorum lives");
    assert_eq!(house.marked(writer.ledger()).await, [0]);
}

/// Goal: no entry is withheld before the record says so. Method: metadata is away while the bound is crossed.
#[tokio::test(start_paused = true)]
async fn while_the_record_cannot_be_marked_memory_stays_bounded_and_nothing_is_withheld() {
    let house = house(3).await;
    let mut writer = house.create().await;
    publish(writer.as_mut(), 1, 100).await;
    house.bookies.cut([2]);
    house.store.set_away(true);
    let mut end = EntryId(1);
    for _ in 0..300 {
        end = writer.append(Bytes::from(vec![0; 100])).expect("no failure").next();
        writer.flush();
        let _ = tokio::time::timeout(Duration::from_millis(1), writer.confirmed()).await;
    }
    assert!(10_000 < writer.unconfirmed_bytes(), "the caller is told to stop");
    tokio::time::sleep(Duration::from_secs(20)).await;
    house.store.set_away(false);
    while writer.confirmed().await.expect("waiting for metadata is no failure of the quorum") < end {}
    assert_eq!(house.marked(writer.ledger()).await, [2]);
}

#[tokio::test(start_paused = true)]
async fn members_away_at_creation_are_marked_from_the_start() {
    let house = house(3).await;
    house.bookies.cut([1]);
    house.bookies.set_available(&house.metadata, 1, false).await;
    let mut writer = house.create().await;
    assert_eq!(house.marked(writer.ledger()).await, [1]);
    publish(writer.as_mut(), 3, 10).await;
    house.bookies.set_available(&house.metadata, 0, false).await;
    let id = house.ledgers.next_id(Above::AllHandedOut).await.expect("ids");
    let refused = house.ledgers.create(id, POLICY, "topic/t", Vec::new()).await;
    assert!(matches!(refused, Err(LedgerError::NoLiveQuorum { live: 1, known: 3, needed: 2, .. })), "{refused:?}");
    let wide = QuorumPolicy { ensemble: 5, write: 3, ack: 2 };
    let refused = house.ledgers.create(id, wide, "topic/t", Vec::new()).await;
    assert!(matches!(refused, Err(LedgerError::TooFewBookies { needed: 5, known: 3 })), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_ledger_is_settled_with_one_member_down_and_that_member_is_marked() {
    let house = house(3).await;
    let mut writer = house.create().await;
    publish(writer.as_mut(), 50, 100).await;
    house.bookies.cut([0]);
    let sealed = house.other.seal(writer.ledger()).await.expect("an ack quorum of each write set answers");
    assert_eq!(sealed, Sealed { end: EntryId(50), length: 5000 });
    assert_eq!(house.marked(writer.ledger()).await, [0]);
    writer.append(Bytes::from_static(b"late")).expect("not known yet");
    writer.flush();
    let outcome = writer.confirmed().await;
    assert!(matches!(outcome, Err(LedgerError::Fenced { .. })), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_settled_ledger_marks_nobody_who_holds_everything() {
    let house = house(3).await;
    let mut writer = house.create().await;
    publish(writer.as_mut(), 50, 100).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    house.other.seal(writer.ledger()).await.expect("all live");
    assert!(house.marked(writer.ledger()).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_settled_while_too_few_answer() {
    let house = house(3).await;
    let mut writer = house.create().await;
    publish(writer.as_mut(), 5, 100).await;
    house.bookies.cut([0, 1]);
    let outcome = house.other.seal(writer.ledger()).await;
    assert!(matches!(outcome, Err(LedgerError::Unsettled { .. })), "{outcome:?}");
    house.bookies.heal();
    house.bookies.with(0, |bookie| bookie.answer_reads_unknown(true));
    house.bookies.with(1, |bookie| bookie.answer_reads_unknown(true));
    let outcome = house.other.seal(writer.ledger()).await;
    assert!(matches!(outcome, Err(LedgerError::Unsettled { .. })), "{outcome:?}");
    assert_eq!(house.record(writer.ledger()).await.state(), LedgerState::InRecovery);
    for index in [0, 1] {
        house.bookies.with(index, |bookie| bookie.answer_reads_unknown(false));
    }
    assert_eq!(house.other.seal(writer.ledger()).await.expect("all answer").end, EntryId(5));
}

#[tokio::test(start_paused = true)]
async fn readers_pass_over_corrupt_and_missing_replicas_and_tell_loss_from_doubt() {
    let house = house(3).await;
    let mut writer = house.create().await;
    publish(writer.as_mut(), 3, 100).await;
    let id = writer.ledger();
    writer.close().await.expect("all live");
    let read = async || house.other.read(id, EntryId(1)..EntryId(3), 1000).await;
    house.bookies.with(0, |bookie| bookie.corrupt(id, EntryId(1)));
    house.bookies.with(1, |bookie| bookie.lose(id, EntryId(1)));
    assert_eq!(read().await.expect("one replica is whole").len(), 2);
    house.bookies.cut([2]);
    assert!(matches!(read().await, Err(LedgerError::Unreadable { .. })));
    house.bookies.heal();
    for index in [0, 2] {
        house.bookies.with(index, |bookie| bookie.lose(id, EntryId(1)));
    }
    assert!(matches!(read().await, Err(LedgerError::Lost { entry: EntryId(1), .. })));
    let beyond = house.other.read(id, EntryId(3)..EntryId(4), 1000).await;
    assert!(matches!(beyond, Err(LedgerError::Unreadable { .. })), "{beyond:?}");
}

#[tokio::test(start_paused = true)]
async fn a_deletion_waits_for_every_tombstone_and_refuses_late_adds() {
    let house = house(3).await;
    let mut writer = house.create().await;
    let id = writer.ledger();
    publish(writer.as_mut(), 3, 100).await;
    let intent = metadata::Transaction::new(vec![delete_intent(id, 1)]);
    house.metadata.commit(intent).await.expect("metadata");
    house.bookies.cut([1]);
    assert_eq!(house.ledgers.work_off_intents().await.expect("metadata"), 1, "it is left for later");
    assert_eq!(house.record(id).await.state(), LedgerState::Deleted);
    let seal = house.other.seal(id).await;
    assert!(matches!(seal, Err(LedgerError::NotFound { .. })), "{seal:?}");
    house.bookies.heal();
    house.bookies.restart([0, 1, 2]);
    let (one, two) = tokio::join!(house.ledgers.work_off_intents(), house.other.work_off_intents());
    assert_eq!((one.expect("metadata"), two.expect("metadata")), (0, 0));
    assert_eq!(records::read(&house.metadata, id).await.expect("metadata"), None);
    assert!((0..3).all(|index| house.bookies.with(index, |bookie| bookie.is_deleted(id))));
    writer.append(Bytes::from_static(b"late")).map(|_| ()).unwrap_or(());
    writer.flush();
    let outcome = writer.confirmed().await;
    assert!(matches!(outcome, Err(LedgerError::Fenced { .. })), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_missing_record_deletes_nothing() {
    let house = house(3).await;
    let mut writer = house.create().await;
    let id = writer.ledger();
    publish(writer.as_mut(), 3, 100).await;
    let wiped = vec![metadata::Operation::delete(keys::ledger(id), Expect::Any), delete_intent(id, 1)];
    house.metadata.commit(metadata::Transaction::new(wiped)).await.expect("metadata");
    house.ledgers.delete(id).await.expect("nothing to do");
    assert!((0..3).all(|index| !house.bookies.with(index, |bookie| bookie.is_deleted(id))));
    let intent = house.metadata.get(&keys::delete_ledger(id).into()).await.expect("metadata");
    assert!(intent.is_some(), "the alarm stays");
}

/// Goal: acknowledgements, which free space, go on where messages stop.
#[tokio::test(start_paused = true)]
async fn what_is_urgent_is_written_to_bookies_that_are_read_only() {
    let house = house(3).await;
    for bookie in 0..3 {
        house.bookies.set_read_only(&house.metadata, bookie, true).await;
    }
    let id = house.ledgers.next_id(Above::AllHandedOut).await.expect("ids");
    let refused = house.ledgers.create(id, POLICY, "topic/t", Vec::new()).await;
    let Err(LedgerError::NoLiveQuorum { live: 0, reasons, .. }) = refused else { panic!("{refused:?}") };
    assert!(reasons.contains("is read-only"), "{reasons}");
    let mut writer = house.ledgers.create_urgent(id, POLICY, "cursors/t", Vec::new()).await.expect("they take it");
    publish(writer.as_mut(), 3, 10).await;
    assert_eq!(writer.close().await.expect("all take it").end, EntryId(3));

    house.bookies.set_read_only(&house.metadata, 0, false).await;
    house.bookies.set_read_only(&house.metadata, 1, false).await;
    let mut writer = house.create().await;
    assert_eq!(house.marked(writer.ledger()).await, [2], "the full one lacks entries from the start");
    publish(writer.as_mut(), 3, 10).await;
}

/// Goal: an open ledger leaves a bookie that becomes full, and one that is full is no replacement.
#[tokio::test(start_paused = true)]
async fn a_bookie_that_becomes_full_is_left_for_one_that_is_not() {
    let house = house(5).await;
    let mut writer = house.create().await;
    publish(writer.as_mut(), 3, 10).await;
    let members = house.members(writer.ledger()).await.remove(0);
    let others: Vec<usize> = (0..5).filter(|bookie| !members.contains(bookie)).collect();
    for bookie in [members[0], others[0]] {
        house.bookies.set_read_only(&house.metadata, bookie, true).await;
    }
    let started = tokio::time::Instant::now();
    publish(writer.as_mut(), 3, 10).await;
    while house.members(writer.ledger()).await.len() < 2 {
        let _ = tokio::time::timeout(std::time::Duration::from_millis(50), writer.tend()).await;
    }
    assert!(started.elapsed() < std::time::Duration::from_secs(2), "{:?}", started.elapsed());
    let last = house.members(writer.ledger()).await.remove(1);
    assert!(last.contains(&others[1]) && !last.contains(&members[0]), "{last:?}");
    assert_eq!(writer.close().await.expect("three take entries").end, EntryId(6));
}
