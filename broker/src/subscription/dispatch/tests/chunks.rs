//! Messages in chunks on subscriptions on which all consumers receive (ADR 22).
use super::*;
use crate::cursor::Run;
use crate::subscription::chunks::Chunk;

const KINDS: [SubType; 2] = [SubType::Shared, SubType::KeyShared];

fn bench(kind: SubType, permits: &[u32]) -> Bench {
    let mut bench = Bench::new(kind);
    for (serial, permits) in (1..).zip(permits) {
        bench.attach(serial, 0);
        bench.flow(serial, *permits);
    }
    bench
}

fn part(bench: &mut Bench, uuid: &str, number: u32, count: u32) -> Position {
    bench.publish_chunk(&Part { uuid, number, count, key: uuid, due: None })
}

fn whole(bench: &mut Bench, uuid: &str, count: u32) -> Vec<Position> {
    (0..count).map(|number| part(bench, uuid, number, count)).collect()
}

fn of(delivered: &[Delivery], serial: u64) -> Vec<Position> {
    delivered.iter().filter(|one| one.consumer == Serial(serial)).map(|one| one.position).collect()
}

fn unacknowledged(bench: &Bench) -> u64 {
    bench.dispatch.acks.unacknowledged(&bench.chain)
}

#[test]
fn the_chunks_of_a_message_stay_together_however_its_neighbours_lie_between() {
    for kind in KINDS {
        let mut bench = bench(kind, &[5000, 5000, 5000]);
        let mut messages: Vec<Vec<Position>> = vec![Vec::new(); 6];
        for number in 0..30_u32 {
            for (message, places) in messages.iter_mut().enumerate() {
                places.push(part(&mut bench, &format!("m{message}"), number, 30));
                bench.publish(Some(10));
            }
        }
        let delivered = bench.drain();
        assert_eq!(delivered.len(), 360);
        let mut holders = Vec::new();
        for message in &messages {
            let holder = delivered.iter().find(|one| one.position == message[0]).expect("it came").consumer.0;
            let there: Vec<Position> = of(&delivered, holder).into_iter().filter(|at| message.contains(at)).collect();
            assert_eq!(&there, message, "in their order");
            holders.push(holder);
        }
        assert!(holders.iter().any(|holder| *holder != holders[0]), "{kind:?}: {holders:?}");
    }
}

#[test]
fn a_chunk_waits_for_permits_of_its_consumer_while_others_go_on() {
    let mut bench = bench(SubType::Shared, &[2]);
    let message = whole(&mut bench, "m", 4);
    let other = bench.publish(None);
    assert_eq!(positions(&bench.drain()), message[..2]);
    bench.attach(2, 0);
    bench.flow(2, 10);
    assert_eq!(of(&bench.drain(), 2), [other], "what lies behind is not held up");
    assert_eq!(bench.dispatch.standstill(bench.chain.end()), Some(Standstill::Chunks));
    bench.flow(1, 1);
    assert_eq!(of(&bench.drain(), 1), message[2..3]);
    bench.flow(1, 5);
    assert_eq!(of(&bench.drain(), 1), message[3..]);
    assert_eq!(bench.dispatch.consumers.get(Serial(1)).expect("there").permits, 4, "one for each chunk");
}

#[test]
fn what_waits_for_a_consumer_goes_before_anything_new() {
    let mut bench = bench(SubType::Shared, &[1]);
    let mut message = vec![part(&mut bench, "m", 0, 3), part(&mut bench, "m", 1, 3)];
    bench.drain();
    bench.attach(2, 0);
    bench.flow(2, 1);
    let other = bench.publish(None);
    assert_eq!(positions(&bench.drain()), [other], "and the last is passed over");
    bench.dispatch.ahead.restart(bench.dispatch.next); // As when it takes too much.
    message.push(part(&mut bench, "m", 2, 3));
    bench.flow(1, 2);
    assert_eq!(positions(&bench.drain()), message[1..]);
}

#[test]
fn what_a_consumer_leaves_of_a_message_comes_whole_and_in_order_to_another() {
    for kind in KINDS {
        let mut bench = bench(kind, &[2]);
        let message = whole(&mut bench, "m", 4);
        assert_eq!(bench.drain().len(), 2);
        bench.attach(2, 0);
        bench.attach(3, 0);
        bench.flow(2, 10);
        bench.flow(3, 10);
        assert_eq!(bench.drain(), [], "the beginning is with the first");
        bench.detach(1);
        let moved = bench.drain();
        assert_eq!(positions(&moved), message);
        assert!(moved.iter().all(|one| one.consumer == moved[0].consumer && one.redelivery_count == 0));
    }
}

#[test]
fn giving_back_one_chunk_gives_back_the_message() {
    for kind in KINDS {
        let mut bench = bench(kind, &[10]);
        let (message, other) = (whole(&mut bench, "m", 3), whole(&mut bench, "o", 2));
        bench.drain();
        bench.dispatch.redeliver(Serial(1), &[message[2].to_message_id(), message[0].to_message_id()]);
        let again = bench.drain();
        assert_eq!(positions(&again), message);
        assert!(again.iter().all(|delivery| delivery.redelivery_count == 1));
        [message, other].concat().into_iter().for_each(|position| bench.ack(position));
        assert_eq!(unacknowledged(&bench), 0);
        bench.check();
    }
}

/// Goal: a client that knows nothing of chunks, and acknowledges each, gets them all; and their neighbours go on.
#[test]
fn the_rest_of_a_message_goes_to_who_has_acknowledged_its_beginning() {
    let mut bench = bench(SubType::Shared, &[1]);
    let first = part(&mut bench, "m", 0, 4);
    assert_eq!(positions(&bench.drain()), [first]);
    bench.ack(first);
    bench.attach(2, 0);
    bench.flow(2, 100);
    let (second, other) = (part(&mut bench, "m", 1, 4), bench.publish(None));
    assert_eq!(positions(&bench.drain()), [other], "the second waits for the first consumer");
    bench.flow(1, 1);
    assert_eq!(of(&bench.drain(), 1), [second]);
    bench.ack(second);
    let third = part(&mut bench, "m", 2, 4);
    assert_eq!(bench.drain(), []);
    bench.detach(1);
    assert_eq!(of(&bench.drain(), 2), [third], "it has left");
    let last = part(&mut bench, "m", 3, 4);
    assert_eq!(of(&bench.drain(), 2), [last]);
    bench.ack(third);
    bench.ack(last);
    bench.attach(1, 0);
    bench.flow(1, 100);
    bench.dispatch.set_room(Serial(2), false);
    let anew = [part(&mut bench, "m", 0, 2), part(&mut bench, "m", 1, 2)]; // By a producer that counts anew.
    assert_eq!(of(&bench.drain(), 1), anew, "what is complete and acknowledged is forgotten");
    bench.check();
}

#[test]
fn a_thousand_messages_of_which_nothing_is_pending_are_remembered() {
    let mut bench = bench(SubType::Shared, &[1001]);
    let begun: Vec<Position> = (0..1001).map(|number| part(&mut bench, &number.to_string(), 0, 2)).collect();
    assert_eq!(bench.drain().len(), 1001);
    begun[1..].iter().for_each(|position| bench.ack(*position));
    bench.attach(2, 0);
    bench.flow(2, 10);
    let rest = [part(&mut bench, "1", 1, 2), part(&mut bench, "2", 1, 2)];
    assert_eq!(bench.drain(), []);
    bench.ack(begun[0]);
    assert_eq!(of(&bench.drain(), 2), rest[..1], "the oldest is forgotten");
    bench.check();
}

/// Goal: what is left of a message without its beginning stops nobody; no client can use it.
#[test]
fn a_subscription_that_starts_inside_a_message_goes_on_behind_it() {
    let mut bench = Bench::new(SubType::Shared);
    let gone = part(&mut bench, "m", 0, 3);
    bench.roll();
    let rest = [part(&mut bench, "m", 1, 3), part(&mut bench, "m", 2, 3)];
    let other = bench.publish(None);
    bench.dispatch.reset(AckSet::at(rest[0]));
    bench.attach(1, 0);
    bench.flow(1, 10);
    assert_eq!(positions(&bench.drain()), [rest[0], rest[1], other]);
    bench.detach(1);
    bench.dispatch.reset(AckSet::at(gone));
    bench.attach(1, 0);
    bench.flow(1, 1);
    assert_eq!(positions(&bench.drain()), [gone]);
    bench.trim(1);
    bench.dispatch.trimmed(&bench.chain);
    bench.attach(2, 0);
    bench.flow(2, 10);
    assert_eq!(positions(&bench.drain()), [other], "who has the beginning in memory may go on");
    bench.flow(1, 10);
    assert_eq!(of(&bench.drain(), 1), rest);
}

#[test]
fn a_consumer_that_takes_nothing_stops_others_only_at_the_bound_of_the_look_ahead() {
    let mut bench = bench(SubType::Shared, &[1]);
    let message = whole(&mut bench, "m", 4_002);
    let other = bench.publish(None);
    bench.drain();
    bench.attach(2, 0);
    bench.flow(2, 10);
    assert_eq!(bench.drain(), [], "the other lies behind too many");
    assert_eq!(bench.dispatch.queued(), 4_000);
    assert_eq!(bench.dispatch.standstill(bench.chain.end()), Some(Standstill::Chunks));
    bench.attach(3, 0);
    assert_eq!(positions(&bench.drain()), [other], "each consumer is good for 2,000");
    bench.flow(1, 5_000);
    assert_eq!(of(&bench.drain(), 1), message[1..]);
}

/// Goal: no limit makes a message wait for its own acknowledgement.
#[test]
fn limits_on_unacknowledged_messages_count_the_last_chunk_of_each() {
    let limits = |consumer: Option<u64>, subscription: Option<u64>| Terms {
        unacked_of_consumer: consumer,
        unacked_of_subscription: subscription,
        ..Terms::default()
    };
    for limits in [limits(Some(1), None), limits(None, Some(1))] {
        for kind in KINDS {
            let mut bench = Bench::new(kind);
            bench.dispatch.heed(&limits);
            bench.attach(1, 0);
            bench.flow(1, 100);
            let message = whole(&mut bench, "m", 5);
            let other = bench.publish(None);
            assert_eq!(positions(&bench.drain()), message, "{kind:?}: all of one, and nothing more");
            assert_eq!(bench.dispatch.consumers.unacked().messages(), 5);
            message.iter().for_each(|position| bench.ack(*position));
            assert_eq!(positions(&bench.drain()), [other]);
            bench.check();
        }
    }
}

/// Goal: a slot that moves to another consumer inside a message does not wait for ever for its first owner, who could not
/// acknowledge half a message.
#[test]
fn a_message_whose_slot_moves_is_completed_where_it_began() {
    let mut bench = bench(SubType::KeyShared, &[1000]);
    let begun: Vec<Position> = (0..40).map(|number| part(&mut bench, &number.to_string(), 0, 3)).collect();
    assert_eq!(positions(&bench.drain()), begun);
    bench.attach(2, 0);
    bench.flow(2, 1000);
    let others: Vec<Position> = (0..40).map(|key| bench.publish_key(None, &key.to_string())).collect();
    let stayed = positions(&bench.drain());
    assert!((1..40).contains(&stayed.len()), "some keys move");
    let rest: Vec<Position> = (0..40).map(|number| part(&mut bench, &number.to_string(), 1, 3)).collect();
    assert_eq!(of(&bench.drain(), 1), rest);
    let last: Vec<Position> = (0..40).map(|number| part(&mut bench, &number.to_string(), 2, 3)).collect();
    assert_eq!(of(&bench.drain(), 1), last);
    [begun, rest, last].concat().into_iter().for_each(|position| bench.ack(position));
    let moved = bench.drain();
    assert!(moved.iter().all(|one| one.consumer == Serial(2)) && stayed.len() + moved.len() == others.len());
}

/// The same where the rest was queued before the message began at its present consumer.
#[test]
fn a_message_that_was_given_back_and_whose_slot_moves_then_is_completed_where_it_began() {
    let mut bench = bench(SubType::KeyShared, &[120]);
    let messages: Vec<Vec<Position>> = (0..40).map(|number| whole(&mut bench, &number.to_string(), 3)).collect();
    assert_eq!(bench.drain().len(), 120);
    bench.dispatch.redeliver_all(Serial(1), None);
    bench.flow(1, 61);
    assert_eq!(bench.drain().len(), 61);
    bench.attach(2, 0);
    bench.flow(2, 1000);
    let moved = bench.drain();
    assert!(moved.iter().all(|one| messages[21..].concat().contains(&one.position)));
    bench.flow(1, 1000);
    let begun = of(&bench.drain(), 1);
    assert_eq!(begun[..2], messages[20][1..]);
}

#[test]
fn the_chunks_of_a_delayed_message_come_in_their_order_whenever_each_was_read() {
    for kind in KINDS {
        let chunk = |number, due| Part { uuid: "m", number, count: 3, key: "k", due: Some(due) };
        // The first is read before its time, the others after it.
        let mut late = bench(kind, &[10]);
        let mut message = vec![late.publish_chunk(&chunk(0, 1000))];
        assert_eq!(late.drain(), []);
        message.extend([1, 2].map(|number| late.publish_chunk(&chunk(number, 1000))));
        late.at(1000);
        assert_eq!(positions(&late.drain()), message, "{kind:?}");
        // Of the last a run tells, of the others nothing: they are to be read first.
        let mut recalled = Bench::new(kind);
        let message = [0, 1, 2].map(|number| recalled.publish_chunk(&chunk(number, 1000)));
        let run = Run::pack([(1000, message[2])].into_iter()).expect("it holds one");
        recalled.dispatch.know(vec![run]);
        recalled.at(1000);
        recalled.attach(1, 0);
        recalled.flow(1, 10);
        assert_eq!(positions(&recalled.drain()), message, "{kind:?}");
    }
}

#[test]
fn a_chunk_whose_time_has_come_while_those_before_it_wait_for_permits_comes_behind_them() {
    let mut bench = bench(SubType::Shared, &[3]);
    let batch = bench.publish(Some(3));
    let message =
        [0, 1].map(|number| bench.publish_chunk(&Part { uuid: "m", number, count: 2, key: "k", due: Some(0) }));
    assert_eq!(positions(&bench.drain()), [batch]);
    let fetched = bench.dispatch.ahead.take(message[1]).expect("all were read together");
    bench.dispatch.hold_near(message[1], Some(0), fetched); // As if it had waited longer.
    bench.flow(1, 10);
    assert_eq!(positions(&bench.drain()), message);
}

#[test]
fn entries_that_only_claim_to_be_chunks_are_like_all_others() {
    let metadata = |chunk_id, count, messages| proto::entry::EntryHead {
        uuid: Some("m".into()),
        chunk_id: Some(chunk_id),
        num_chunks_from_msg: Some(count),
        num_messages_in_batch: messages,
        ..Default::default()
    };
    let of = |head: &proto::entry::EntryHead| Chunk::of(head, Slot(0)).map(|chunk| (chunk.first, chunk.last));
    assert_eq!(of(&metadata(0, 1, None)), None);
    assert_eq!(of(&metadata(0, i32::MIN, None)), None);
    assert_eq!(of(&metadata(0, 2, Some(7))), None, "a batch");
    assert_eq!(of(&metadata(0, 2, Some(1))), Some((true, false)));
    assert_eq!(of(&metadata(1, 2, None)), Some((false, true)));
    assert_eq!(of(&metadata(i32::MAX, 2, None)), Some((false, true)));
    assert_eq!(of(&metadata(i32::MIN, i32::MAX, None)), Some((true, false)));
}
