//! What a writer does when bookies go, through the public doors.
use std::time::Duration;

use bytes::Bytes;
use proto::EntryId;
use tokio::time::{Instant, sleep, timeout};

use crate::rig::{House, POLICY, house, publish};
use crate::{Above, LedgerError, LedgerWriter, Ledgers};

/// Looks after a writer that has nothing in flight, for so long.
async fn tend(writer: &mut dyn LedgerWriter, seconds: u64) {
    let outcome = timeout(Duration::from_secs(seconds), writer.tend()).await;
    assert!(outcome.is_err(), "the writer has failed: {outcome:?}");
}

/// One who is no member.
async fn spare(house: &House, writer: &dyn LedgerWriter, count: usize) -> usize {
    let members = house.members(writer.ledger()).await.remove(0);
    (0..count).find(|bookie| !members.contains(bookie)).expect("there is one")
}

#[tokio::test(start_paused = true)]
async fn a_member_that_stays_away_is_replaced_while_nobody_waits() {
    let house = house(4).await;
    let mut writer = house.create().await;
    let id = writer.ledger();
    publish(writer.as_mut(), 10, 100).await;
    let members = house.members(id).await.remove(0);
    let spare = spare(&house, writer.as_ref(), 4).await;
    house.bookies.cut([members[1]]);
    house.bookies.set_available(&house.metadata, members[1], false).await;
    tend(writer.as_mut(), 40).await;
    let now = house.members(id).await;
    assert_eq!(now[1], [members[0], spare, members[2]], "it takes the same seat");
    publish(writer.as_mut(), 10, 100).await;
    let sealed = writer.close().await.expect("all live");
    assert_eq!(sealed.end, EntryId(20));
    assert!(house.holds(spare, id, 10..20));
    let record = house.record(id).await;
    assert_eq!(record.may_hold, [format!("fake-{}", members[1])]);
    assert!(record.fragments.iter().all(|fragment| fragment.lacking.is_empty()), "{record:?}");
    assert_eq!(house.other.read(id, EntryId(0)..EntryId(10), 10_000).await.expect("two hold it").len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_restarts_is_not_replaced() {
    let house = house(4).await;
    let mut writer = house.create().await;
    publish(writer.as_mut(), 1, 100).await;
    let members = house.members(writer.ledger()).await.remove(0);
    house.bookies.cut([members[0]]);
    tend(writer.as_mut(), 20).await;
    house.bookies.heal();
    tend(writer.as_mut(), 60).await;
    assert_eq!(house.members(writer.ledger()).await.len(), 1);
}

/// Goal: two of three going at once stop a writer for about a second, and what was confirmed stays.
#[tokio::test(start_paused = true)]
async fn an_entry_without_its_quorum_hastens_the_change() {
    let house = house(6).await;
    let mut writer = house.create().await;
    let id = writer.ledger();
    publish(writer.as_mut(), 5, 100).await;
    let members = house.members(id).await.remove(0);
    house.bookies.cut([members[0], members[2]]);
    let started = Instant::now();
    publish(writer.as_mut(), 5, 100).await;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let last = house.members(id).await.pop().expect("one at least");
    assert_eq!(last[1], members[1]);
    assert!(!last.contains(&members[0]) && !last.contains(&members[2]), "{last:?}");
    assert_eq!(house.other.seal(id).await.expect("the new ensemble answers").end, EntryId(10));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_takes_everything_and_answers_nothing_is_replaced() {
    let house = house(4).await;
    let mut writer = house.create().await;
    publish(writer.as_mut(), 1, 100).await;
    let members = house.members(writer.ledger()).await.remove(0);
    house.bookies.stall([members[2]]);
    publish(writer.as_mut(), 3, 100).await;
    tend(writer.as_mut(), 8).await;
    let last = house.members(writer.ledger()).await.pop().expect("one at least");
    assert!(!last.contains(&members[2]), "{last:?}");
    house.bookies.heal(); // Its answers come now, to nobody.
    publish(writer.as_mut(), 3, 100).await;
    assert_eq!(writer.close().await.expect("all live").end, EntryId(7));
}

/// Decision D4. Goal: with exactly three bookies, one that is lost stops neither writes, nor rollover, nor new ledgers, nor a
/// take-over, and every ledger says who lacks what.
#[tokio::test(start_paused = true)]
async fn three_bookies_are_enough_with_one_of_them_lost() {
    let house = house(3).await;
    let mut writer = house.create().await;
    let first = writer.ledger();
    publish(writer.as_mut(), 5, 100).await;
    house.bookies.cut([1]);
    house.bookies.set_available(&house.metadata, 1, false).await;
    let started = Instant::now();
    publish(writer.as_mut(), 5, 100).await;
    assert!(started.elapsed() < Duration::from_millis(100), "writes go on: {:?}", started.elapsed());
    tend(writer.as_mut(), 300).await;
    assert_eq!(house.members(first).await.len(), 1, "nobody could take its place, so nothing changed");
    writer.close().await.expect("the ledger ends");
    assert_eq!(house.marked(first).await, [1]);

    let mut next = house.create().await;
    assert_eq!(house.marked(next.ledger()).await, [1], "a new ledger says it from the start");
    publish(next.as_mut(), 5, 100).await;
    let sealed = house.other.seal(next.ledger()).await.expect("another process takes over");
    assert_eq!(sealed.end, EntryId(5));
    assert_eq!(house.marked(next.ledger()).await, [1]);
    let outcome = next.append(Bytes::new()).map(|_| next.flush());
    let outcome = if outcome.is_ok() { next.confirmed().await.map(|_| ()) } else { outcome };
    assert!(matches!(outcome, Err(LedgerError::Fenced { .. })), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn below_an_ack_quorum_nothing_is_confirmed_and_the_outcome_is_called_unknown() {
    let house = house(3).await;
    let mut writer = house.create().await;
    publish(writer.as_mut(), 1, 100).await;
    house.bookies.cut([0, 1]);
    writer.append(Bytes::from_static(b"x")).expect("not known yet");
    writer.flush();
    let outcome = writer.confirmed().await;
    assert!(matches!(outcome, Err(LedgerError::OutcomeUnknown { entry: EntryId(1), needed: 2, .. })), "{outcome:?}");
    let id = house.ledgers.next_id(Above::AllHandedOut).await.expect("ids");
    house.bookies.set_available(&house.metadata, 0, false).await;
    house.bookies.set_available(&house.metadata, 1, false).await;
    sleep(Duration::from_secs(1)).await; // The list of bookies is kept fresh by a watch.
    let refused = house.ledgers.create(id, POLICY, "topic/t", Vec::new()).await;
    assert!(matches!(refused, Err(LedgerError::NoLiveQuorum { .. })), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn without_metadata_no_member_is_replaced_and_those_that_are_left_go_on() {
    let house = house(4).await;
    let mut writer = house.create().await;
    let id = writer.ledger();
    publish(writer.as_mut(), 1, 100).await;
    let members = house.members(id).await.remove(0);
    house.bookies.cut([members[0]]);
    house.store.set_away(true);
    tend(writer.as_mut(), 60).await;
    publish(writer.as_mut(), 10, 100).await;
    house.store.set_away(false);
    assert_eq!(house.members(id).await.len(), 1);
    tend(writer.as_mut(), 90).await;
    assert_eq!(house.members(id).await.len(), 2, "once it is back, it is done");
    publish(writer.as_mut(), 10, 100).await;
    assert_eq!(writer.close().await.expect("all live").end, EntryId(21));
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_was_taken_over_changes_no_ensemble() {
    let house = house(5).await;
    let mut writer = house.create().await;
    let id = writer.ledger();
    publish(writer.as_mut(), 3, 100).await;
    let members = house.members(id).await.remove(0);
    house.bookies.cut([members[0]]);
    assert_eq!(house.other.seal(id).await.expect("two answer").end, EntryId(3));
    let record = house.record(id).await;
    house.bookies.cut([members[1], members[2]]);
    writer.append(Bytes::from_static(b"late")).expect("not known yet");
    writer.flush();
    let outcome = writer.confirmed().await;
    assert!(matches!(outcome, Err(LedgerError::OutcomeUnknown { .. } | LedgerError::Fenced { .. })), "{outcome:?}");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(house.record(id).await, record);
}

/// Goal: bookies that left are found again by a deletion.
#[tokio::test(start_paused = true)]
async fn a_deletion_buries_what_a_replaced_member_holds() {
    let house = house(4).await;
    let mut writer = house.create().await;
    let id = writer.ledger();
    publish(writer.as_mut(), 3, 100).await;
    let members = house.members(id).await.remove(0);
    house.bookies.cut([members[0]]);
    tend(writer.as_mut(), 40).await;
    writer.close().await.expect("all others live");
    let refused = house.other.delete(id).await;
    assert!(matches!(refused, Err(LedgerError::NotDeletedYet { .. })), "{refused:?}");
    house.bookies.heal();
    sleep(Duration::from_secs(2)).await;
    house.other.delete(id).await.expect("all are back");
    assert!((0..4).all(|bookie| house.bookies.with(bookie, |bookie| bookie.is_deleted(id))));
}

/// Goal: a seal marks nobody whose copies were only written back elsewhere. Method: 2/2/2, one of two gone for good.
#[tokio::test(start_paused = true)]
async fn a_tail_that_lacks_an_ack_quorum_is_written_to_another_bookie() {
    let house = house(3).await;
    let policy = crate::QuorumPolicy { ensemble: 2, write: 2, ack: 2 };
    let id = house.ledgers.next_id(Above::AllHandedOut).await.expect("ids");
    let mut writer = house.ledgers.create(id, policy, "topic/t", Vec::new()).await.expect("three live");
    publish(writer.as_mut(), 4, 100).await;
    let members = house.members(id).await.remove(0);
    house.bookies.stall([members[0]]);
    writer.append(Bytes::from_static(b"tail")).expect("no failure");
    writer.flush();
    house.bookies.cut([members[0]]);
    let sealed = house.other.seal(id).await.expect("the other member and a replacement are enough");
    assert_eq!(sealed.end, EntryId(5));
    let now = house.members(id).await;
    let last = now.last().expect("one at least");
    let spare = (0..3).find(|bookie| !members.contains(bookie)).expect("one of three");
    assert_eq!(*last, [spare, members[1]]);
    assert!(house.holds(spare, id, 4..5) && house.holds(members[1], id, 0..5));
    let record = house.record(id).await;
    assert_eq!(record.fragments[0].lacking, [format!("fake-{}", members[0])]);
    assert!(record.fragments.last().expect("two").lacking.is_empty(), "{record:?}");
}
