//! Key_Shared: whose turn a key is.
use super::*;

fn key_shared(ranges: &[(u64, SlotRange)]) -> Bench {
    let mut bench = Bench::new(SubType::KeyShared);
    for (serial, range) in ranges {
        join_sticky(&mut bench, *serial, range.clone());
    }
    bench
}

fn join_sticky(bench: &mut Bench, serial: u64, range: SlotRange) {
    let policy = KeyPolicy { sticky: true, out_of_order: false };
    bench.attach_as(SubType::KeyShared, &KeyTerms { policy, ranges: vec![range] }, serial, 0);
    bench.flow(serial, 100);
}

/// N22. Goal: what a dead consumer had in flight goes, in order, to who has its keys now, and what it says late changes nothing.
/// Method: consumer 1 nacks one of three entries of a key and dies; another key is never disturbed.
#[test]
fn n22_keys_of_a_dead_consumer_move_in_order_and_its_late_words_do_no_harm() {
    let all = 0..=65_535;
    let mut bench = key_shared(&[(1, all.clone())]);
    let published: Vec<Position> = (0..4).map(|_| bench.publish_key(None, "key")).collect();
    bench.flow(1, 100_000);
    assert_eq!(positions(&bench.drain()), published);
    bench.dispatch.redeliver(Serial(1), &[published[1].to_message_id()]);
    bench.detach(1);
    assert_eq!(bench.drain(), [], "nobody has the slots now");
    let later = bench.publish_key(None, "key");
    join_sticky(&mut bench, 2, all);
    bench.dispatch.redeliver(Serial(1), &[published[2].to_message_id()]);
    bench.ack(published[0]); // On its way when it died.
    let moved: Vec<_> = bench.drain().iter().map(|d| (d.consumer.0, d.position, d.redelivery_count)).collect();
    let expected = [(published[1], 1), (published[2], 0), (published[3], 0), (later, 0)];
    assert_eq!(moved, expected.map(|(position, count)| (2, position, count)));
    bench.ack(published[3]); // Late, and of what the other has now: an acknowledgement is one, whoever sends it.
    bench.dispatch.redeliver(Serial(1), &[later.to_message_id()]);
    assert_eq!(bench.drain(), [], "only who has it may give it back");
}

/// What the holder of an Exclusive subscription does not want stays for whoever comes next.
#[test]
fn an_exclusive_consumer_gets_only_the_keys_it_names() {
    let mut bench = Bench::new(SubType::Exclusive);
    let slots = Slots::new(KeyPolicy { sticky: true, out_of_order: false });
    let is_low = |key: &u32| slots.slot(key.to_string().as_bytes()).0 < 32_768;
    let published: Vec<Position> = (0..20).map(|key| bench.publish_key(None, &key.to_string())).collect();
    let low: Vec<Position> = (0..20).filter(is_low).map(|key| published[key as usize]).collect();
    let terms = KeyTerms { policy: KeyPolicy { sticky: true, out_of_order: false }, ranges: vec![0..=32_767] };
    bench.attach_as(SubType::Exclusive, &terms, 1, 0);
    bench.flow(1, 1000);
    assert_eq!(positions(&bench.drain()), low);
    low.iter().for_each(|position| bench.ack(*position));
    bench.detach(1);
    bench.attach_as(SubType::Exclusive, &KeyTerms::default(), 2, 0);
    bench.flow(2, 1000);
    let rest: Vec<Position> = published.iter().copied().filter(|position| !low.contains(position)).collect();
    assert_eq!(positions(&bench.drain()), rest);
}

#[test]
fn a_consumer_that_joins_waits_for_its_keys_and_nobody_waits_for_others() {
    let mut bench = Bench::new(SubType::KeyShared);
    bench.attach(1, 0);
    bench.flow(1, 1000);
    let keys: Vec<String> = (0..40).map(|key| key.to_string()).collect();
    let first: Vec<Position> = keys.iter().map(|key| bench.publish_key(None, key)).collect();
    assert_eq!(bench.drain().len(), 40);
    bench.attach(2, 0);
    bench.flow(2, 1000);
    let second: Vec<Position> = keys.iter().map(|key| bench.publish_key(None, key)).collect();
    let stayed = bench.drain();
    assert!((1..40).contains(&stayed.len()) && stayed.iter().all(|delivery| delivery.consumer == Serial(1)));
    assert_eq!(bench.dispatch.standstill(bench.chain.end()), Some(Standstill::Keys));
    let moved: Vec<usize> = (0..40).filter(|key| !positions(&stayed).contains(&second[*key])).collect();
    assert_eq!(bench.dispatch.keys().expect("it has keys").draining(Serial(1)).len(), moved.len());
    for key in &moved {
        bench.ack(first[*key]);
        let freed = bench.drain();
        assert_eq!(freed.iter().map(|d| (d.consumer.0, d.position)).collect::<Vec<_>>(), [(2, second[*key])]);
    }
    assert_eq!(bench.dispatch.keys().expect("it has keys").drained(Serial(1)), moved.len() as u64);
    bench.detach(2);
    let back = bench.drain();
    assert_eq!(positions(&back), moved.iter().map(|key| second[*key]).collect::<Vec<_>>());
    assert!(back.iter().all(|delivery| delivery.consumer == Serial(1)));
}

#[test]
fn a_consumer_without_permits_stops_others_only_at_the_bound_of_the_look_ahead() {
    let mut bench = key_shared(&[(1, 0..=32_767), (2, 32_768..=65_535)]);
    let slots = Slots::new(KeyPolicy { sticky: true, out_of_order: false });
    let of = |low: bool| {
        let key = (0..).find(|key: &u32| (slots.slot(key.to_string().as_bytes()).0 < 32_768) == low);
        key.expect("half of the keys are there").to_string()
    };
    let (low, high) = (of(true), of(false));
    bench.flow(1, 100_000);
    for _ in 0..4_300 {
        bench.publish_key(None, &high);
    }
    let beyond = bench.publish_key(None, &low);
    assert_eq!(bench.drain().len(), 100, "as many as consumer 2 has permits for");
    assert_eq!(bench.dispatch.queued(), 4_000);
    assert_eq!(bench.dispatch.standstill(bench.chain.end()), Some(Standstill::LookAhead));
    bench.flow(2, 200);
    let delivered = bench.drain();
    assert_eq!(delivered.iter().filter(|delivery| delivery.consumer == Serial(2)).count(), 200);
    assert_eq!(delivered.last().map(|delivery| delivery.position), Some(beyond));
    bench.flow(2, 10_000);
    let rest = positions(&bench.drain());
    assert!(rest.len() == 4_000 && rest.is_sorted(), "all the others, in order");
}
