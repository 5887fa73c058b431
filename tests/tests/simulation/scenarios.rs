//! Shapes of known bugs as fixed schedules, in a world where nothing else goes wrong. Those that turn on a single message (N1 to N4) stand
//! beside the state machines that they are about, in `ledger/src/recovery/tests.rs` and `ledger/src/writer/change/tests.rs`. The list of
//! all is in `docs/operations/reliability.md`.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ledger::repair::Extent;
use ledger::{Above, LedgerError, LedgerWriter, Ledgers, QuorumPolicy, delete_intent};
use metadata::{Error, Expect, MetadataStore, Operation, Transaction};
use proto::bookie::{Held, Request, Status, request};
use proto::records::BookieStanding;
use proto::{BookieId, EntryId, LedgerId, keys};
use tokio::time::{sleep, timeout};

use crate::chance::Chance;
use crate::processes::Process;
use crate::wires::Way;
use crate::world::{World, in_paused_time};

const POLICY: QuorumPolicy = QuorumPolicy { ensemble: 3, write: 3, ack: 2 };

/// Runs a script in a quiet cluster of so many bookies.
fn script(bookies: usize, script: impl AsyncFnOnce(Arc<World>)) {
    in_paused_time(async {
        let world = World::with(Chance::new(7), POLICY, bookies, None);
        sleep(Duration::from_secs(1)).await; // They start.
        script(world).await;
    });
}

fn process(world: &World) -> Arc<Process> {
    let process = world.new_process();
    process.metadata.calm_down();
    process
}

async fn create(process: &Process) -> Box<dyn LedgerWriter> {
    let id = process.ledgers.next_id(Above::AllHandedOut).await.expect("metadata answers");
    process.ledgers.create(id, POLICY, "topic/t", Vec::new()).await.expect("all live")
}

/// Appends and waits until all is confirmed.
async fn publish(writer: &mut dyn LedgerWriter, count: u64) -> EntryId {
    let mut end = EntryId::FIRST;
    for number in 0..count {
        end = writer.append(Bytes::from(vec![number as u8; 50])).expect("no failure").next();
    }
    writer.flush();
    while writer.confirmed().await.expect("an ack quorum lives") < end {}
    end
}

async fn late_append(writer: &mut dyn LedgerWriter) -> Result<EntryId, LedgerError> {
    writer.append(Bytes::from_static(b"late"))?;
    writer.flush();
    timeout(Duration::from_secs(60), writer.confirmed()).await.expect("an append ends in time")
}

/// The numbers of a ledger's first members.
async fn members(world: &World, ledger: LedgerId) -> Vec<usize> {
    let record = world.book.record(ledger).await.expect("it exists");
    let number = |name: &String| world.nodes.iter().position(|node| node.identity.bookie.as_str() == name);
    record.fragments[0].bookies.iter().filter_map(number).collect()
}

/// N5. An entry is on two bookies, one of which gets another disk. Whoever comes back on it is somebody else: nothing says No for the
/// old one, and nothing is cut off while the other holder is away.
#[test]
fn a_bookie_whose_disk_was_exchanged_cuts_nothing_off() {
    script(3, async |world| {
        let (writing, settling) = (process(&world), process(&world));
        let mut writer = create(&writing).await;
        let ledger = writer.ledger();
        let members = members(&world, ledger).await;
        world.network.cut(writing.number, members[2], Way::ToBookie);
        let end = publish(writer.as_mut(), 5).await;
        world.nodes[members[0]].lose();
        world.nodes[members[1]].end(true);
        let outcome = settling.ledgers.seal(ledger).await;
        assert!(matches!(outcome, Err(LedgerError::Unsettled { .. })), "{outcome:?}");
        world.nodes[members[1]].start().await;
        assert_eq!(settling.ledgers.seal(ledger).await.unwrap().end, end);
    });
}

/// N6. A ledger is closed, all bookies lose power, and the old writer goes on after a minute: its fence is still there.
#[test]
fn a_fence_outlives_the_power_of_all_bookies() {
    script(3, async |world| {
        let (writing, settling) = (process(&world), process(&world));
        let mut writer = create(&writing).await;
        let end = publish(writer.as_mut(), 5).await;
        assert_eq!(settling.ledgers.seal(writer.ledger()).await.unwrap().end, end);
        for node in &world.nodes {
            node.end(true);
            node.start().await;
        }
        sleep(Duration::from_secs(60)).await;
        let outcome = late_append(writer.as_mut()).await;
        assert!(matches!(outcome, Err(LedgerError::Fenced { .. })), "{outcome:?}");
    });
}

/// S2. An entry is on two bookies, one of which comes back with a damaged disk: it denies nothing, and nothing is cut off while the
/// other holder is away.
#[test]
fn a_bookie_whose_disk_is_damaged_cuts_nothing_off() {
    script(3, async |world| {
        let (writing, settling) = (process(&world), process(&world));
        let mut writer = create(&writing).await;
        let ledger = writer.ledger();
        let members = members(&world, ledger).await;
        world.network.cut(writing.number, members[2], Way::ToBookie);
        let mut end = EntryId::FIRST;
        for _ in 0..10 {
            end = publish(writer.as_mut(), 1).await;
        }
        world.nodes[members[0]].end(true);
        world.nodes[members[1]].end(true);
        while !world.nodes[members[0]].damage() {}
        world.nodes[members[0]].start().await;
        assert!(world.nodes[members[0]].is_in_limbo());
        let outcome = settling.ledgers.seal(ledger).await;
        assert!(matches!(outcome, Err(LedgerError::Unsettled { .. })), "{outcome:?}");
        world.nodes[members[1]].start().await;
        assert_eq!(settling.ledgers.seal(ledger).await.unwrap().end, end);
        assert!(process(&world).heal_once().await, "and it is made good");
        assert!((0..end.0).all(|entry| world.nodes[members[0]].payload(ledger.0, entry).is_some()));
    });
}

/// S1. A ledger is closed, all bookies come back with damaged disks, which may have lost its fence, and the old writer goes on.
#[test]
fn a_fence_outlives_damage_to_all_disks() {
    script(3, async |world| {
        let (writing, settling) = (process(&world), process(&world));
        let mut writer = create(&writing).await;
        let mut end = EntryId::FIRST;
        for _ in 0..10 {
            end = publish(writer.as_mut(), 1).await;
        }
        assert_eq!(settling.ledgers.seal(writer.ledger()).await.unwrap().end, end);
        for node in &world.nodes {
            node.end(true);
            while !node.damage() {}
            node.start().await;
        }
        let outcome = late_append(writer.as_mut()).await;
        assert!(matches!(outcome, Err(LedgerError::Fenced { .. })), "{outcome:?}");
    });
}

/// N7. An owner hears nothing of its first entry, another settles the ledger with it and goes on, and the first one, which thinks that
/// the ledger is empty, deletes it: refused, because its list is old.
#[test]
fn an_owner_that_was_away_deletes_nothing() {
    script(3, async |world| {
        let (old, new) = (process(&world), process(&world));
        let id = old.ledgers.next_id(Above::AllHandedOut).await.unwrap();
        let listed = Operation::put("chains/t", id.0.to_be_bytes().to_vec(), Expect::Absent);
        let mut writer = old.ledgers.create(id, POLICY, "topic/t", vec![listed]).await.unwrap();
        let seen = old.metadata.get(&"chains/t".into()).await.unwrap().unwrap();
        (0..3).for_each(|node| world.network.cut(old.number, node, Way::FromBookie));
        writer.append(Bytes::from_static(b"first")).unwrap();
        writer.flush();
        let outcome = timeout(Duration::from_secs(30), writer.confirmed()).await.unwrap();
        assert!(matches!(outcome, Err(LedgerError::OutcomeUnknown { entry: EntryId(0), .. })), "{outcome:?}");
        assert_eq!(new.ledgers.seal(id).await.unwrap().end, EntryId(1));
        let taken = Operation::put("chains/t", id.0.to_be_bytes().to_vec(), Expect::Version(seen.version));
        new.metadata.commit(Transaction::new(vec![taken])).await.unwrap();
        let emptied = Operation::put("chains/t", Vec::new(), Expect::Version(seen.version));
        let outcome = old.metadata.commit(Transaction::new(vec![emptied, delete_intent(id, 1)])).await;
        assert!(matches!(outcome, Err(Error::Conflict { .. })), "{outcome:?}");
        assert_eq!(old.ledgers.work_off_intents().await.unwrap(), 0);
        let found = new.ledgers.read(id, EntryId(0)..EntryId(1), 100).await.unwrap();
        assert_eq!(found[0].payload, Bytes::from_static(b"first"));
    });
}

/// N8. Two processes create the next ledger of a topic at once: one has it, and of the other's nothing is left.
#[test]
fn of_two_that_create_the_next_ledger_one_wins_and_the_other_leaves_nothing() {
    script(3, async |world| {
        let (one, two) = (process(&world), process(&world));
        let ids = [
            one.ledgers.next_id(Above::AllHandedOut).await.unwrap(),
            two.ledgers.next_id(Above::AllHandedOut).await.unwrap(),
        ];
        let list = |id: LedgerId| vec![Operation::put("chains/t", id.0.to_be_bytes().to_vec(), Expect::Absent)];
        let (first, second) = tokio::join!(
            one.ledgers.create(ids[0], POLICY, "topic/t", list(ids[0])),
            two.ledgers.create(ids[1], POLICY, "topic/t", list(ids[1])),
        );
        assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
        let won = usize::from(second.is_ok());
        assert!(world.book.record(ids[won]).await.is_some());
        assert!(world.book.record(ids[1 - won]).await.is_none());
        let listed = world.truth.get(&"chains/t".into()).await.unwrap().unwrap();
        assert_eq!(listed.value, ids[won].0.to_be_bytes().to_vec());
    });
}

/// N9. Metadata that lacks records deletes nothing, whatever intents say.
#[test]
fn lost_records_delete_nothing() {
    script(3, async |world| {
        let process = process(&world);
        let mut writer = create(&process).await;
        let ledger = writer.ledger();
        let end = publish(writer.as_mut(), 5).await;
        let wiped = vec![Operation::delete(keys::ledger(ledger), Expect::Any), delete_intent(ledger, 1)];
        world.truth.commit(Transaction::new(wiped)).await.unwrap();
        process.ledgers.work_off_intents().await.unwrap();
        for node in &world.nodes {
            node.end(true);
            node.start().await;
            assert!((0..end.0).all(|entry| node.payload(ledger.0, entry).is_some()), "nothing is freed");
        }
    });
}

/// N10. A ledger is deleted while its writer stands still; a bookie restarts; then the writer's add arrives.
#[test]
fn a_late_add_to_a_deleted_ledger_is_refused_also_after_a_restart() {
    script(3, async |world| {
        let (writing, deleting) = (process(&world), process(&world));
        let mut writer = create(&writing).await;
        let ledger = writer.ledger();
        publish(writer.as_mut(), 5).await;
        world.truth.commit(Transaction::new(vec![delete_intent(ledger, 1)])).await.unwrap();
        assert_eq!(deleting.ledgers.work_off_intents().await.unwrap(), 0);
        for node in &world.nodes {
            node.end(true);
            node.start().await;
        }
        let outcome = late_append(writer.as_mut()).await;
        assert!(matches!(outcome, Err(LedgerError::Fenced { .. })), "{outcome:?}");
        let held = Request { id: 1, ledger: ledger.0, body: Some(request::Body::Held(Held {})) };
        assert!(world.nodes.iter().all(|node| node.ask(held.clone()).unwrap().status() == Status::Deleted));
    });
}

/// N11. A fragment is repaired and its old member returns: nothing is taken from either, and there are as many copies as there should be.
#[test]
fn a_member_that_returns_after_its_replacement_costs_no_copy() {
    script(4, async |world| {
        let process = process(&world);
        let mut writer = create(&process).await;
        let ledger = writer.ledger();
        let end = publish(writer.as_mut(), 30).await;
        writer.close().await.unwrap();
        let old = members(&world, ledger).await[1];
        world.nodes[old].end(true);
        world.nodes[old].announce(false).await;
        let gone: BTreeSet<BookieId> = [world.nodes[old].identity.bookie.clone()].into();
        process.repairs.repair(ledger, &gone).await.unwrap();
        assert!(!members(&world, ledger).await.contains(&old));
        world.nodes[old].start().await;
        let nobody = BTreeSet::new();
        assert!(process.repairs.survey(&nobody).await.unwrap().findings.is_empty());
        assert!(process.repairs.repair(ledger, &nobody).await.unwrap().is_whole());
        for node in &world.nodes {
            assert!((0..end.0).all(|entry| node.payload(ledger.0, entry).is_some()), "{}", node.identity.bookie);
        }
        let audit = process.repairs.audit(ledger, Extent::All).await.unwrap();
        assert!(audit.members.iter().all(|held| held.answered && !held.is_bad() && held.whole == end.0), "{audit:?}");
    });
}

/// A lost bookie is made good and retired, and ledgers on it can be deleted without it.
#[test]
fn a_lost_bookie_is_made_good_and_retired() {
    script(4, async |world| {
        let process = process(&world);
        let mut ledgers = Vec::new();
        for _ in 0..10 {
            let mut writer = create(&process).await;
            publish(writer.as_mut(), 10).await;
            writer.close().await.unwrap();
            ledgers.push(writer.ledger());
        }
        world.nodes[2].lose();
        world.nodes[2].announce(false).await;
        world.gone.lock().insert(world.nodes[2].identity.bookie.clone());
        assert!(process.heal_once().await, "every ledger is whole again");
        let survey = process.repairs.survey(&BTreeSet::new()).await.unwrap();
        assert!(!survey.named.contains_key(&world.nodes[2].identity.bookie), "nobody needs it");
        world.nodes[2].write_standing(BookieStanding::Retired).await;
        for ledger in ledgers {
            world.truth.commit(Transaction::new(vec![delete_intent(ledger, 1)])).await.unwrap();
        }
        assert_eq!(process.ledgers.work_off_intents().await.unwrap(), 0);
    });
}
