//! Repairs through the public doors: who may die, be dropped, or do the same at once.
use std::time::Duration;

use bytes::Bytes;
use proto::EntryId;
use proto::records::{BookieStanding, LedgerState};
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::Ledgers;
use crate::rig::{House, house, ids, index, publish};

const SLOW: RepairLimits = RepairLimits { bytes_per_second: 10_000, open_grace: Duration::from_secs(30) };

/// A closed ledger of 50 entries, and its members.
async fn closed(house: &House) -> (LedgerId, Vec<usize>) {
    let mut writer = house.create().await;
    publish(writer.as_mut(), 50, 100).await;
    sleep(Duration::from_secs(1)).await;
    writer.close().await.expect("all live");
    let members = house.members(writer.ledger()).await.remove(0);
    (writer.ledger(), members)
}

/// A bookie never comes back.
async fn lose(house: &House, bookie: usize) -> BTreeSet<BookieId> {
    house.bookies.cut([bookie]);
    house.bookies.set_available(&house.metadata, bookie, false).await;
    ids(&[bookie])
}

/// Every member has no mark and holds all 50 entries.
async fn is_whole(house: &House, ledger: LedgerId) {
    let record = house.record(ledger).await;
    let ends = record.fragments.iter().skip(1).map(|fragment| fragment.first).chain([record.end]);
    for (fragment, end) in record.fragments.iter().zip(ends) {
        assert!(fragment.lacking.is_empty(), "{record:?}");
        let holds = |name: &String| house.holds(index(name), ledger, fragment.first..end);
        assert!(fragment.bookies.iter().all(holds), "{record:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_bookies_copies_are_made_good_on_another() {
    let house = house(4).await;
    let (id, members) = closed(&house).await;
    let repairs = house.other.repairs(RepairLimits::default());
    assert!(repairs.survey(&BTreeSet::new()).await.expect("metadata").findings.is_empty());
    let gone = lose(&house, members[1]).await;
    let survey = repairs.survey(&gone).await.expect("metadata");
    let [finding] = &survey.findings[..] else { panic!("{survey:?}") };
    assert_eq!((finding.ledger, finding.copies, finding.wanted, finding.steps), (id, 2, 3, 1));
    let repaired = repairs.repair(id, &gone).await.expect("there is a spare");
    assert_eq!(repaired, Repaired { replaced: 1, ..Repaired::default() });
    is_whole(&house, id).await;
    let survey = repairs.survey(&gone).await.expect("metadata");
    assert!(survey.findings.is_empty() && survey.ledgers == 1, "{survey:?}");
    assert!(!survey.named.contains_key(gone.first().expect("one")), "nobody needs it any more");
    let progress = repairs.progress();
    assert_eq!((progress.entries_copied, progress.bytes_copied, progress.members_replaced), (50, 5000, 1));
}

#[tokio::test(start_paused = true)]
async fn without_a_spare_nothing_changes_and_the_error_says_why() {
    let house = house(3).await;
    let (id, members) = closed(&house).await;
    let gone = lose(&house, members[1]).await;
    let before = house.record(id).await;
    let outcome = house.other.repairs(RepairLimits::default()).repair(id, &gone).await;
    let Err(error @ LedgerError::NoReplacement { .. }) = outcome else { panic!("{outcome:?}") };
    assert!(error.to_string().contains("is not registered as available"), "{error}");
    assert_eq!(house.record(id).await, before);
}

/// Goal: repairs leave room for others. Method: the time that 5,000 bytes take at 10,000 a second, and who must wait for it.
#[tokio::test(start_paused = true)]
async fn repairs_go_no_faster_than_they_may() {
    let house = house(4).await;
    let ledgers = [closed(&house).await, closed(&house).await, closed(&house).await];
    let gone = lose(&house, ledgers[0].1[0]).await;
    let repairs = house.other.repairs(SLOW);
    let started = Instant::now();
    for (ledger, _) in &ledgers {
        repairs.repair(*ledger, &gone).await.expect("there is a spare");
    }
    let copied = repairs.progress().bytes_copied;
    let least = Duration::from_millis(copied.saturating_sub(5000) / 10); // The last bytes make nobody wait.
    assert!(least <= started.elapsed(), "{copied} bytes in {:?}", started.elapsed());
}

/// Goal: a repair that is dropped anywhere leaves nothing to undo, and the next goes on.
/// Method: heavy entries make many batches; the call is dropped after ever more time, and each is followed by another.
#[tokio::test(start_paused = true)]
async fn a_repair_that_is_dropped_is_taken_up_by_the_next() {
    let house = house(4).await;
    let mut writer = house.create().await;
    let id = writer.ledger();
    publish(writer.as_mut(), 40, 300_000).await;
    writer.close().await.expect("all live");
    let members = house.members(id).await.remove(0);
    let gone = lose(&house, members[0]).await;
    let limits = RepairLimits { bytes_per_second: 3 << 20, ..SLOW };
    let mut attempts = 0;
    loop {
        attempts += 1;
        let repairs = house.other.repairs(limits);
        let patience = Duration::from_millis(500 * attempts);
        if let Ok(outcome) = timeout(patience, repairs.repair(id, &gone)).await {
            outcome.expect("there is a spare");
            assert!(repairs.progress().entries_copied < 40, "it has gone on from where the others were");
            break;
        }
        let now = house.members(id).await.remove(0);
        assert_eq!(now, members, "nobody leaves the record before a replacement holds everything");
    }
    assert!(1 < attempts);
    is_whole(&house, id).await;
}

#[tokio::test(start_paused = true)]
async fn two_repairs_at_once_harm_nobody() {
    let house = house(6).await;
    let (id, members) = closed(&house).await;
    let gone = lose(&house, members[1]).await;
    let (one, two) = (house.ledgers.repairs(SLOW), house.other.repairs(SLOW));
    let (first, second) = tokio::join!(one.repair(id, &gone), two.repair(id, &gone));
    let replaced = first.expect("a spare").replaced + second.expect("a spare").replaced;
    assert_eq!(replaced, 1);
    is_whole(&house, id).await;
}

#[tokio::test(start_paused = true)]
async fn a_bookie_that_dies_while_it_is_copied_to_is_followed_by_another() {
    let house = house(5).await;
    let (id, members) = closed(&house).await;
    let gone = lose(&house, members[1]).await;
    let spares: Vec<usize> = (0..5).filter(|bookie| !members.contains(bookie)).collect();
    house.bookies.with(spares[0], |bookie| bookie.refuse_adds(Some(proto::bookie::Status::Busy)));
    let repairs = house.other.repairs(RepairLimits::default());
    repairs.repair(id, &gone).await.expect("there are two spares");
    assert!(house.members(id).await[0].contains(&spares[1]));
    is_whole(&house, id).await;
}

#[tokio::test(start_paused = true)]
async fn an_open_ledger_is_left_to_its_writer_for_a_while_and_then_settled_and_repaired() {
    let house = house(4).await;
    let mut writer = house.create().await;
    let id = writer.ledger();
    publish(writer.as_mut(), 50, 100).await;
    let members = house.members(id).await.remove(0);
    let gone = lose(&house, members[2]).await;
    let repairs = house.other.repairs(SLOW);
    let first = repairs.repair(id, &gone).await.expect("nothing is to be done yet");
    assert_eq!(first.left_to_writer, Some(Duration::from_secs(30)));
    assert_eq!(house.record(id).await.state(), LedgerState::Open);
    sleep(Duration::from_secs(30)).await;
    let second = repairs.repair(id, &gone).await.expect("its time is over");
    assert_eq!((second.replaced, second.is_whole()), (1, true));
    assert_eq!(house.record(id).await.end, 50);
    is_whole(&house, id).await;
    writer.append(Bytes::from_static(b"late")).expect("not known yet");
    writer.flush();
    let outcome = writer.confirmed().await;
    assert!(matches!(outcome, Err(LedgerError::Fenced { .. })), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_lives_replaces_its_member_and_repair_fills_the_rest() {
    let house = house(4).await;
    let mut writer = house.create().await;
    let id = writer.ledger();
    publish(writer.as_mut(), 50, 100).await;
    let members = house.members(id).await.remove(0);
    let gone = lose(&house, members[2]).await;
    let repairs = house.other.repairs(SLOW);
    let outcome = timeout(Duration::from_secs(40), writer.tend()).await;
    assert!(outcome.is_err(), "the writer goes on: {outcome:?}");
    let repaired = repairs.repair(id, &gone).await.expect("the fragment that has ended is repaired");
    assert_eq!((repaired.replaced, repaired.left_to_writer), (1, None));
    let record = house.record(id).await;
    assert_eq!((record.state(), record.fragments.len()), (LedgerState::Open, 2));
    publish(writer.as_mut(), 5, 100).await;
    assert_eq!(writer.close().await.expect("all members live").end, EntryId(55));
    is_whole(&house, id).await;
}

/// Goal: with exactly three bookies, a lost one makes nobody settle ledgers whose writers live.
#[tokio::test(start_paused = true)]
async fn an_open_ledger_is_not_settled_for_a_member_that_nobody_could_replace() {
    let house = house(3).await;
    let mut writer = house.create().await;
    let id = writer.ledger();
    publish(writer.as_mut(), 5, 100).await;
    let gone = lose(&house, 1).await;
    let repairs = house.other.repairs(RepairLimits::default());
    for _ in 0..5 {
        let outcome = repairs.repair(id, &gone).await;
        assert!(matches!(outcome, Err(LedgerError::NoReplacement { .. })), "{outcome:?}");
        sleep(Duration::from_secs(60)).await;
    }
    publish(writer.as_mut(), 5, 100).await;
    assert_eq!(house.record(id).await.state(), LedgerState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_marked_member_is_filled_up_once_it_is_back() {
    let house = house(3).await;
    let mut writer = house.create().await;
    let id = writer.ledger();
    house.bookies.cut([1]);
    house.bookies.set_available(&house.metadata, 1, false).await;
    publish(writer.as_mut(), 50, 100).await;
    writer.close().await.expect("an ack quorum lives");
    assert_eq!(house.marked(id).await, [1]);
    let repairs = house.other.repairs(RepairLimits::default());
    let waiting = repairs.repair(id, &BTreeSet::new()).await.expect("nothing can be done yet");
    assert_eq!(waiting.waits_for, ids(&[1]).into_iter().collect::<Vec<_>>());
    house.bookies.heal();
    house.bookies.set_available(&house.metadata, 1, true).await;
    let repaired = repairs.repair(id, &BTreeSet::new()).await.expect("it is back");
    assert_eq!((repaired.filled, repaired.is_whole()), (1, true));
    is_whole(&house, id).await;
}

#[tokio::test(start_paused = true)]
async fn entries_that_nobody_holds_are_reported_and_nothing_is_hidden() {
    let house = house(4).await;
    let (id, members) = closed(&house).await;
    let gone = lose(&house, members[0]).await;
    members[1..].iter().for_each(|member| house.bookies.with(*member, |bookie| bookie.lose(id, EntryId(7))));
    let repairs = house.other.repairs(RepairLimits::default());
    let outcome = repairs.repair(id, &gone).await;
    assert!(matches!(outcome, Err(LedgerError::Unreadable { entry: EntryId(7), .. })), "one may hold it: {outcome:?}");
    house.stand(members[0], BookieStanding::Retired).await;
    let outcome = repairs.repair(id, &gone).await;
    assert!(matches!(outcome, Err(LedgerError::Lost { entry: EntryId(7), .. })), "{outcome:?}");
    assert_eq!(house.members(id).await[0], members, "nobody takes a seat who lacks something");
    let spare = (0..4).find(|bookie| !members.contains(bookie)).expect("one");
    assert_eq!(house.bookies.with(spare, |bookie| bookie.entries(id)).len(), 49, "the rest has a copy more");
}

#[tokio::test(start_paused = true)]
async fn a_bookie_that_is_drained_gives_everything_away_and_may_then_retire() {
    let house = house(4).await;
    let (id, members) = closed(&house).await;
    house.stand(members[0], BookieStanding::Draining).await;
    let repairs = house.other.repairs(RepairLimits::default());
    let survey = repairs.survey(&BTreeSet::new()).await.expect("metadata");
    assert_eq!(survey.findings.len(), 1);
    repairs.repair(id, &BTreeSet::new()).await.expect("there is a spare");
    is_whole(&house, id).await;
    let named = repairs.survey(&BTreeSet::new()).await.expect("metadata").named;
    assert!(!named.contains_key(&BookieId::clone(ids(&[members[0]]).first().expect("one"))));
    assert_eq!(house.record(id).await.may_hold.len(), 2, "a deletion still finds it");
    house.stand(members[0], BookieStanding::Retired).await;
    repairs.repair(id, &BTreeSet::new()).await.expect("metadata");
    let record = house.record(id).await;
    assert!(!record.may_hold.contains(&format!("fake-{}", members[0])), "{record:?}");
}

#[tokio::test(start_paused = true)]
async fn an_audit_finds_what_members_lack_and_repair_makes_it_good() {
    let house = house(4).await;
    let (id, members) = closed(&house).await;
    let repairs = house.other.repairs(RepairLimits::default());
    let audit = repairs.audit(id, Extent::All).await.expect("all answer");
    assert!(audit.members.iter().all(|held| held.whole == 50 && !held.is_bad()), "{audit:?}");
    house.bookies.with(members[0], |bookie| bookie.lose(id, EntryId(7)));
    house.bookies.with(members[1], |bookie| bookie.corrupt(id, EntryId(9)));
    let sample = repairs.audit(id, Extent::Sample(3)).await.expect("all answer");
    assert!(sample.members.iter().all(|held| held.whole <= 5), "{sample:?}");
    let audit = repairs.audit(id, Extent::All).await.expect("all answer");
    let bad: Vec<(u64, u64, Option<EntryId>)> =
        audit.members.iter().map(|held| (held.missing, held.damaged, held.first_bad)).collect();
    assert_eq!(bad, [(1, 0, Some(EntryId(7))), (0, 1, Some(EntryId(9))), (0, 0, None)]);
    repairs.mark(&audit).await.expect("metadata");
    let repaired = repairs.repair(id, &BTreeSet::new()).await.expect("there is a spare");
    assert_eq!((repaired.filled, repaired.replaced), (1, 1), "a damaged copy is made good elsewhere");
    assert!(!house.members(id).await[0].contains(&members[1]));
    is_whole(&house, id).await;
    house.bookies.cut([members[2]]);
    let audit = repairs.audit(id, Extent::All).await.expect("metadata");
    assert_eq!(audit.members.iter().filter(|held| !held.answered).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_is_deleted_meanwhile_is_let_go() {
    let house = house(4).await;
    let (id, members) = closed(&house).await;
    let gone = lose(&house, members[0]).await;
    house.stand(members[0], BookieStanding::Retired).await;
    house.other.delete(id).await.expect("the lost one is retired");
    let outcome = house.other.repairs(RepairLimits::default()).repair(id, &gone).await;
    assert!(matches!(outcome, Err(LedgerError::NotFound { .. })), "{outcome:?}");
}

/// A bookie starts with a damaged store: what it has lost is gone, and the record says so.
async fn damage(house: &House, ledger: LedgerId, bookie: usize, lost: std::ops::Range<u64>) {
    house.bookies.with(bookie, |bookie| {
        lost.for_each(|entry| bookie.lose(ledger, EntryId(entry)));
        bookie.enter_limbo(ledger);
    });
    let name = format!("fake-{bookie}");
    let mark = |record: &proto::records::LedgerRecord| {
        let mut record = record.clone();
        record.fragments.iter_mut().for_each(|fragment| fragment.limbo = vec![name.clone()]);
        records::Decision::Write(Box::new(record))
    };
    records::update(&house.metadata, ledger, mark).await.expect("metadata");
}

#[tokio::test(start_paused = true)]
async fn a_member_in_limbo_is_filled_up_where_it_is() {
    let house = house(3).await;
    let (id, _) = closed(&house).await;
    damage(&house, id, 1, 3..20).await;
    let repairs = house.other.repairs(RepairLimits::default());
    let survey = repairs.survey(&BTreeSet::new()).await.expect("metadata");
    assert_eq!((survey.in_limbo, survey.findings[0].copies, survey.findings[0].steps), (1, 2, 1), "{survey:?}");
    let repaired = repairs.repair(id, &BTreeSet::new()).await.expect("others have it");
    assert_eq!((repaired.filled, repaired.replaced), (1, 0), "what it lacks is no damage");
    assert_eq!(repairs.progress().entries_copied, 17);
    assert!(house.record(id).await.fragments[0].limbo.is_empty());
    is_whole(&house, id).await;
}

/// Goal: an open ledger that nobody writes to does not stay in limbo. Method: its writer lives and is idle.
#[tokio::test(start_paused = true)]
async fn an_open_ledger_in_limbo_is_settled_and_filled_up() {
    let house = house(3).await;
    let mut writer = house.create().await;
    let id = writer.ledger();
    publish(writer.as_mut(), 20, 100).await;
    damage(&house, id, 2, 15..20).await;
    let repairs = house.other.repairs(RepairLimits::default());
    let left = repairs.repair(id, &BTreeSet::new()).await.expect("metadata").left_to_writer;
    sleep(left.expect("its writer may be about to go on")).await;
    assert!(repairs.repair(id, &BTreeSet::new()).await.expect("two are well").is_whole());
    let record = house.record(id).await;
    assert_eq!((record.state(), record.end, record.end_in_doubt), (LedgerState::Closed, 20, false));
    assert!(record.fragments[0].limbo.is_empty());
    is_whole(&house, id).await;
}

/// Goal: a loss that nobody can make good is named, and what is left is copied.
#[tokio::test(start_paused = true)]
async fn what_only_a_member_in_limbo_had_is_reported_as_lost() {
    let house = house(3).await;
    let (id, members) = closed(&house).await;
    damage(&house, id, members[0], 3..10).await;
    members[1..].iter().for_each(|member| house.bookies.with(*member, |bookie| bookie.lose(id, EntryId(7))));
    let outcome = house.other.repairs(RepairLimits::default()).repair(id, &BTreeSet::new()).await;
    assert!(matches!(outcome, Err(LedgerError::Lost { entry: EntryId(7), .. })), "{outcome:?}");
    assert!(house.holds(members[0], id, 8..50) && !house.record(id).await.fragments[0].limbo.is_empty());
    let read = house.ledgers.read(id, EntryId(7)..EntryId(8), 1000).await;
    assert!(matches!(read, Err(LedgerError::Lost { .. })), "{read:?}");
}
