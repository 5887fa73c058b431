//! How many messages may be unacknowledged, and how many acknowledged behind them.
use super::*;

#[test]
fn many_consumers_together_block_a_subscription_until_half_is_acknowledged_or_given_back() {
    for kind in [SubType::Shared, SubType::KeyShared] {
        let mut bench = Bench::new(kind);
        let published: Vec<Position> =
            (0..300).map(|number| bench.publish_key(Some(1000), &number.to_string())).collect();
        for serial in 1..=10 {
            bench.attach(serial, 0);
            bench.flow(serial, 40_000);
        }
        assert_eq!(bench.drain().len(), 200);
        assert!(bench.dispatch.consumers.unacked().is_blocked());
        assert_eq!(bench.dispatch.standstill(bench.chain.end()), Some(Standstill::SubscriptionUnacked));
        let held: Vec<Position> = bench.dispatch.pending.keys().copied().collect();
        held[..99].iter().for_each(|position| bench.ack(*position));
        assert_eq!(bench.drain(), [], "101,000 are still too many");
        bench.detach(1);
        assert!(!bench.dispatch.consumers.unacked().is_blocked());
        assert!(!bench.drain().is_empty());
        assert!(bench.dispatch.consumers.unacked().messages() <= 200_000 && published.len() == 300);
    }
}

#[test]
fn too_many_unacknowledged_messages_block_and_half_of_them_unblock() {
    let mut bench = Bench::new(SubType::Shared);
    let published: Vec<Position> = (0..60).map(|_| bench.publish(Some(1000))).collect();
    bench.attach(1, 0);
    bench.flow(1, 1_000_000);
    assert_eq!(bench.drain().len(), 50);
    published[..24].iter().for_each(|position| bench.ack(*position));
    assert_eq!(bench.drain(), [], "26,000 are still too many");
    published[24..25].iter().for_each(|position| bench.ack(*position));
    assert_eq!(bench.drain().len(), 10);
}

#[test]
fn limits_on_unacknowledged_messages_change_while_they_are_held() {
    let limits = |consumer: Option<u64>, subscription: Option<u64>| Terms {
        unacked_of_consumer: consumer,
        unacked_of_subscription: subscription,
        ..Terms::default()
    };
    for limits in [limits(Some(4), None), limits(None, Some(4))] {
        let mut bench = Bench::new(SubType::Shared);
        let published: Vec<Position> = (0..20).map(|_| bench.publish(None)).collect();
        bench.dispatch.heed(&limits);
        bench.attach(1, 0);
        bench.flow(1, 100);
        assert_eq!(positions(&bench.drain()), published[..4]);
        bench.ack(published[0]);
        bench.dispatch.heed(&limits);
        assert_eq!(bench.drain(), [], "three are more than half, however often that is said");
        bench.ack(published[1]);
        assert_eq!(positions(&bench.drain()), published[4..6]);
        bench.dispatch.heed(&Terms { unacked_of_consumer: None, unacked_of_subscription: None, ..limits });
        assert_eq!(positions(&bench.drain()), published[6..], "without a limit");
    }
}

#[test]
fn beyond_too_many_holes_nothing_new_comes_and_what_lies_before_them_does() {
    for kind in [SubType::Shared, SubType::KeyShared, SubType::Exclusive, SubType::Failover] {
        let mut bench = Bench::new(kind);
        bench.dispatch.holes_max = 3;
        let published: Vec<Position> = (0..20).map(|number| bench.publish_key(None, &number.to_string())).collect();
        bench.attach(1, 0);
        bench.flow(1, 5);
        assert_eq!(positions(&bench.drain()), published[..5]);
        [1, 3, 4].into_iter().for_each(|number| bench.ack(published[number]));
        bench.flow(1, 100);
        assert_eq!(bench.drain(), [], "{kind:?}");
        assert_eq!(bench.dispatch.standstill(bench.chain.end()), Some(Standstill::Holes), "{kind:?}");
        bench.dispatch.redeliver_all(Serial(1), None);
        assert_eq!(positions(&bench.drain()), [published[0], published[2]], "{kind:?}: given back");
        bench.detach(1);

        let mut loaded = Bench::new(kind);
        (loaded.chain, loaded.entries) = (bench.chain, bench.entries);
        loaded.dispatch = Dispatch::new(kind, bench.dispatch.acks().clone());
        loaded.dispatch.holes_max = 3;
        loaded.attach(1, 0);
        loaded.flow(1, 100);
        assert_eq!(positions(&loaded.drain()), [published[0], published[2]], "{kind:?}: loaded again");
        loaded.ack(published[2]);
        assert_eq!(loaded.drain(), [], "{kind:?}: still too many");
        loaded.ack(published[0]);
        assert_eq!(positions(&loaded.drain()), published[5..], "{kind:?}: there are none");
    }
}
