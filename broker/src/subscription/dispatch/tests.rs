use proptest::prelude::*;
use proto::pulsar::MessageIdData;

use super::bench::{Bench, Part, entry};
use super::standstill::Standstill;
use super::*;
use crate::cursor::AckDelta;
use crate::log::StoredEntry;

fn positions(deliveries: &[Delivery]) -> Vec<Position> {
    deliveries.iter().map(|delivery| delivery.position).collect()
}

#[test]
fn an_exclusive_consumer_gets_everything_in_order_and_no_more_than_its_permits() {
    let mut bench = Bench::new(SubType::Exclusive);
    let published: Vec<Position> = (0..10).map(|_| bench.publish(None)).collect();
    bench.attach(1, 0);
    assert_eq!(bench.drain(), []);
    bench.flow(1, 4);
    assert_eq!(positions(&bench.drain()), published[..4]);
    bench.flow(1, 100);
    assert_eq!(positions(&bench.drain()), published[4..]);
}

#[test]
fn a_batch_may_overshoot_permits_once() {
    let mut bench = Bench::new(SubType::Shared);
    bench.publish(Some(100));
    let single = bench.publish(None);
    bench.attach(1, 0);
    bench.attach(2, 0);
    bench.flow(1, 10);
    let first = bench.drain();
    assert_eq!((first.len(), first[0].messages), (1, 100));
    assert_eq!(bench.dispatch.consumers.get(Serial(1)).expect("there").permits, -90);
    bench.flow(1, 90);
    assert_eq!(bench.drain(), [], "no permits are left");
    bench.flow(2, 1);
    assert_eq!(bench.drain().iter().map(|d| (d.consumer, d.position)).collect::<Vec<_>>(), [(Serial(2), single)]);
}

#[test]
fn shared_consumers_take_turns_and_lower_priorities_wait() {
    let mut bench = Bench::new(SubType::Shared);
    for _ in 0..100 {
        let _ = bench.publish(None);
    }
    for (serial, priority) in [(1, 0), (2, 0), (3, 1)] {
        bench.attach(serial, priority);
        bench.flow(serial, 30);
    }
    let delivered = bench.drain();
    let of = |serial| delivered.iter().filter(|delivery| delivery.consumer == Serial(serial)).count();
    assert_eq!((of(1), of(2), of(3)), (30, 30, 30));
    let first_of_third = delivered.iter().position(|delivery| delivery.consumer == Serial(3));
    assert_eq!(first_of_third, Some(60), "only once the better ones are full");
    let turns: Vec<u64> = delivered[..60].chunks(10).map(|chunk| chunk[0].consumer.0).collect();
    assert_eq!(turns, [1, 1, 2, 2, 1, 2]);
}

#[test]
fn what_a_shared_consumer_leaves_behind_goes_to_others_with_a_count() {
    let mut bench = Bench::new(SubType::Shared);
    let published: Vec<Position> = (0..4).map(|_| bench.publish(None)).collect();
    bench.attach(1, 0);
    bench.flow(1, 10);
    bench.drain();
    bench.ack(published[1]);
    bench.dispatch.redeliver(Serial(1), &[published[3].to_message_id(), Position::new(9, 9).to_message_id()]);
    let again = bench.drain();
    assert_eq!(again.iter().map(|d| (d.position, d.redelivery_count)).collect::<Vec<_>>(), [(published[3], 1)]);
    bench.attach(2, 0);
    bench.dispatch.redeliver(Serial(2), &[published[0].to_message_id()]);
    bench.detach(1);
    bench.flow(2, 10);
    let moved: Vec<_> = bench.drain().iter().map(|d| (d.position, d.redelivery_count)).collect();
    assert_eq!(moved, [(published[0], 0), (published[2], 0), (published[3], 1)], "leaving is not giving back");
}

#[test]
fn a_single_active_consumer_starts_over_from_what_is_unacknowledged() {
    let mut bench = Bench::new(SubType::Failover);
    let published: Vec<Position> = (0..4).map(|_| bench.publish(None)).collect();
    bench.attach(2, 0);
    bench.flow(2, 10);
    bench.drain();
    bench.ack(published[0]);
    bench.ack(published[2]);
    bench.dispatch.redeliver_all(Serial(2), Some(7));
    let again = bench.drain();
    assert_eq!(positions(&again), [published[1], published[3]]);
    assert!(again.iter().all(|delivery| delivery.epoch == Some(7) && delivery.redelivery_count == 0));
    bench.attach(1, 0); // Sorts before the other.
    bench.flow(1, 10);
    assert_eq!(bench.dispatch.consumers.active(), Some(Serial(1)));
    assert_eq!(positions(&bench.drain()), [published[1], published[3]]);
    bench.detach(1);
    assert_eq!(bench.dispatch.consumers.active(), Some(Serial(2)));
    assert_eq!(positions(&bench.drain()), [published[1], published[3]]);
}

#[test]
fn a_held_subscription_delivers_nothing_and_then_only_what_is_still_unacknowledged() {
    let mut bench = Bench::new(SubType::Failover);
    let published: Vec<Position> = (0..2).map(|_| bench.publish(None)).collect();
    bench.attach(1, 0);
    bench.flow(1, 10);
    bench.dispatch.hold(true);
    assert_eq!(bench.drain(), []);
    bench.ack(published[0]);
    bench.dispatch.hold(false);
    assert_eq!(positions(&bench.drain()), [published[1]]);
}

#[test]
fn a_batch_acknowledged_in_part_comes_back_with_what_is_left() {
    let mut bench = Bench::new(SubType::Shared);
    let batch = bench.publish(Some(3));
    bench.attach(1, 0);
    bench.flow(1, 10);
    bench.drain();
    let part = |ack_set: i64| MessageIdData {
        ack_set: vec![ack_set],
        batch_size: Some(3),
        batch_index: Some(0),
        ..batch.to_message_id()
    };
    assert_eq!(
        bench.dispatch.acknowledge(&part(0b110), &bench.chain),
        Some(AckDelta::batch(batch, &[0b110])),
        "the first message"
    );
    bench.check();
    bench.dispatch.redeliver_all(Serial(1), None);
    let again = bench.drain();
    assert_eq!((again[0].ack_set.as_slice(), again[0].messages), (&[0b110][..], 2));
    assert_eq!(bench.dispatch.acknowledge(&part(0b001), &bench.chain), Some(AckDelta::entry(batch)), "the others");
    assert_eq!(bench.dispatch.acks.unacknowledged(&bench.chain), 0);
    bench.check();
}

#[test]
fn markers_are_acknowledged_and_never_delivered() {
    for kind in [SubType::Shared, SubType::Exclusive] {
        let mut bench = Bench::new(kind);
        bench.publish_entry(entry(None, true, ""));
        let message = bench.publish(None);
        bench.publish_entry(entry(None, true, ""));
        bench.attach(1, 0);
        bench.flow(1, 10);
        assert_eq!(positions(&bench.drain()), [message]);
        bench.ack(message);
        assert_eq!(bench.dispatch.acks.unacknowledged(&bench.chain), 0);
    }
}

#[test]
fn what_compaction_has_left_nothing_of_is_not_asked_for_again() {
    let mut bench = Bench::new(SubType::Exclusive);
    let gone: Vec<Position> = (0..3).map(|_| bench.publish(None)).collect();
    bench.attach(1, 0);
    bench.flow(1, 10);
    let fetch = bench.dispatch.wanted(bench.chain.end()).expect("there is something to read");
    bench.dispatch.nothing_below(&fetch, gone[2].next());
    bench.dispatch.supply(&fetch, Vec::new(), &bench.chain);
    assert_eq!(bench.dispatch.wanted(bench.chain.end()), None);
    let next = bench.publish(None);
    assert_eq!(positions(&bench.drain()), [next]);
}

#[test]
fn hostile_numbers_change_nothing_and_never_panic() {
    let mut bench = Bench::new(SubType::Shared);
    let position = bench.publish(None);
    bench.attach(1, 0);
    for _ in 0..3 {
        bench.dispatch.flow(Serial(1), u32::MAX);
    }
    assert_eq!(bench.dispatch.consumers.get(Serial(1)).expect("there").permits, i64::from(i32::MAX));
    bench.granted.insert(Serial(1), i64::from(i32::MAX));
    for id in [Position::new(u64::MAX, u64::MAX), Position::new(1, u64::MAX), Position::new(1, 1), Position::new(0, 0)]
    {
        assert_eq!(bench.dispatch.acknowledge(&id.to_message_id(), &bench.chain), None, "{id}");
        let part = MessageIdData { ack_set: vec![1; 4], batch_size: Some(i32::MAX), ..id.to_message_id() };
        assert_eq!(bench.dispatch.acknowledge(&part, &bench.chain), None, "{id}");
        bench.dispatch.redeliver(Serial(1), &[id.to_message_id()]);
    }
    assert_eq!(positions(&bench.drain()), [position]);
    bench.dispatch.redeliver_all(Serial(99), Some(u64::MAX));
    bench.dispatch.detach(Serial(99));
    let everything = Position::new(u64::MAX, u64::MAX).to_message_id();
    bench.dispatch.acknowledge_up_to(&everything, &bench.chain);
    assert_eq!(bench.dispatch.acks.unacknowledged(&bench.chain), 0, "clamped to the end");
    bench.check();
}

#[test]
fn a_subscription_whose_ledger_left_goes_on_behind_it() {
    for kind in [SubType::Exclusive, SubType::Shared] {
        let mut bench = Bench::new(kind);
        let gone: Vec<Position> = (0..4).map(|_| bench.publish(Some(5))).collect();
        bench.roll();
        let left = [bench.publish(None), bench.publish(None)];
        bench.attach(1, 0);
        bench.flow(1, 12);
        assert_eq!(positions(&bench.drain()), gone[..3]);
        bench.ack(gone[1]);
        bench.trim(1);
        bench.dispatch.trimmed(&bench.chain);
        bench.check();
        assert_eq!(
            (bench.dispatch.consumers.unacked().messages(), bench.dispatch.acks.holes()),
            (0, 0),
            "nobody waits for what is gone"
        );
        assert_eq!(bench.dispatch.acks.unacknowledged(&bench.chain), 2);
        bench.flow(1, 10);
        assert_eq!(positions(&bench.drain()), left);
        bench.ack(gone[0]);
        assert_eq!(bench.dispatch.acks.unacknowledged(&bench.chain), 2, "what is gone says nothing");
    }
}

/// N23. Goal: permits stay exact when a batch is larger than they are, and when nothing of what was read may be delivered.
#[test]
fn n23_a_batch_of_a_thousand_for_one_permit_and_entries_that_nobody_sees_cost_no_permit_twice() {
    let mut bench = Bench::new(SubType::Shared);
    let batch = bench.publish(Some(1000));
    for _ in 0..50 {
        bench.publish_entry(entry(None, true, ""));
    }
    let last = bench.publish(None);
    bench.attach(1, 0);
    bench.flow(1, 1);
    assert_eq!(positions(&bench.drain()), [batch]);
    bench.flow(1, 999);
    assert_eq!(bench.drain(), [], "it has had its thousand");
    bench.flow(1, 1);
    assert_eq!(positions(&bench.drain()), [last], "markers take no permits");
    bench.detach(1);
    bench.attach(1, 0);
    assert_eq!(bench.drain(), [], "permits are not inherited");
    bench.flow(1, 1);
    assert_eq!(positions(&bench.drain()), [batch], "the lowest first, and one permit is enough");
    bench.assert_not_frozen();
}

/// A subscription need not be told: what it asks for next shows it. And it does not ask for ever.
#[test]
fn a_read_that_finds_nothing_before_the_end_is_not_repeated() {
    let mut bench = Bench::new(SubType::Exclusive);
    for _ in 0..4 {
        bench.publish(None);
    }
    bench.roll();
    bench.attach(1, 0);
    bench.flow(1, 10);
    let tail = bench.chain.end();
    bench.trim(1);
    let fetch = bench.dispatch.wanted(tail).expect("the tail is as it was before");
    bench.dispatch.supply(&fetch, Vec::new(), &bench.chain);
    assert_eq!(bench.dispatch.next(), None);
    assert_eq!(bench.dispatch.wanted(tail), None);
    assert_eq!(bench.dispatch.wanted(bench.chain.end()), None);
    let next = bench.publish(None);
    assert_eq!(positions(&bench.drain()), [next]);
}

#[derive(Debug, Clone)]
enum Step {
    Publish(Option<u32>, u8),
    Roll,
    Trim(usize),
    Attach(u64, i32),
    Detach(u64),
    Flow(u64, u32),
    Ack(usize),
    AckPart(usize, i64),
    Cumulative(usize),
    Redeliver(u64, usize),
    RedeliverAll(u64),
    Room(u64, bool),
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    let serial = || 0..4u64;
    prop_oneof![
        4 => (prop_oneof![Just(None), (1..30u32).prop_map(Some)], 0..6u8).prop_map(|(size, key)| Step::Publish(size, key)),
        1 => Just(Step::Roll),
        1 => (1..3usize).prop_map(Step::Trim),
        2 => (serial(), 0..2).prop_map(|(serial, priority)| Step::Attach(serial, priority)),
        1 => serial().prop_map(Step::Detach),
        4 => (serial(), 0..50u32).prop_map(|(serial, permits)| Step::Flow(serial, permits)),
        4 => (0..60usize).prop_map(Step::Ack),
        2 => (0..60usize, 0..8i64).prop_map(|(at, set)| Step::AckPart(at, set)),
        1 => (0..60usize).prop_map(Step::Cumulative),
        2 => (serial(), 0..60usize).prop_map(|(serial, at)| Step::Redeliver(serial, at)),
        1 => serial().prop_map(Step::RedeliverAll),
        1 => (serial(), any::<bool>()).prop_map(|(serial, room)| Step::Room(serial, room)),
        4 => Just(Step::Drain),
    ]
}

fn apply(bench: &mut Bench, step: Step) {
    let nth = |bench: &Bench, at: usize| bench.entries.keys().nth(at).copied().unwrap_or(Position::new(at as u64, 3));
    match step {
        Step::Publish(messages, key) => drop(bench.publish_key(messages, &format!("k{key}"))),
        Step::Roll => bench.roll(),
        Step::Trim(count) => {
            bench.trim(count);
            bench.dispatch.trimmed(&bench.chain);
        }
        Step::Attach(serial, priority) => {
            let alone = bench.dispatch.kind() != SubType::Exclusive || bench.granted.is_empty();
            if alone && !bench.granted.contains_key(&Serial(serial)) {
                bench.attach(serial, priority);
            }
        }
        Step::Detach(serial) => bench.detach(serial),
        Step::Flow(serial, permits) => bench.flow(serial, permits),
        Step::Ack(at) => bench.ack(nth(bench, at)),
        Step::AckPart(at, set) => {
            let id = MessageIdData { ack_set: vec![set], batch_size: Some(3), ..nth(bench, at).to_message_id() };
            bench.dispatch.acknowledge(&id, &bench.chain);
        }
        Step::Cumulative(at) if !bench.dispatch.shared() => {
            let id = nth(bench, at).to_message_id();
            bench.dispatch.acknowledge_up_to(&id, &bench.chain);
        }
        Step::Cumulative(_) => {}
        Step::Redeliver(serial, at) => {
            let id = nth(bench, at).to_message_id();
            bench.dispatch.redeliver(Serial(serial), &[id]);
        }
        Step::RedeliverAll(serial) => bench.dispatch.redeliver_all(Serial(serial), None),
        Step::Room(serial, room) => bench.dispatch.set_room(Serial(serial), room),
        Step::Drain => {
            bench.drain();
            bench.assert_not_frozen();
        }
    }
    bench.check();
}

proptest! {
    /// Goal: whatever clients do, every entry between mark and read position is in exactly one state, permits are exact, nobody
    /// who can take waits in vain, and in the end everything reaches someone.
    #[test]
    fn no_sequence_of_events_loses_an_entry_or_a_permit(
        kind in prop_oneof![
            Just(SubType::Exclusive), Just(SubType::Failover), Just(SubType::Shared), Just(SubType::KeyShared)
        ],
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut bench = Bench::new(kind);
        steps.into_iter().for_each(|step| apply(&mut bench, step));
        (0..4).for_each(|serial| bench.detach(serial));
        bench.check();
        bench.attach(50, 0);
        for _ in 0..100_000 {
            if bench.dispatch.acks.unacknowledged(&bench.chain) == 0 {
                break;
            }
            bench.flow(50, 10);
            for delivery in bench.drain() {
                bench.ack(delivery.position);
            }
        }
        prop_assert_eq!(bench.dispatch.acks.unacknowledged(&bench.chain), 0, "an entry was never delivered");
    }
}

mod chunks;
mod keyed;
mod timing;
mod unacked;
