use super::*;

fn broker(name: &str) -> BrokerRecord {
    BrokerRecord { broker: name.into(), http: format!("{name}:http"), start: format!("{name}-1"), ..Default::default() }
}

fn owner(broker: &BrokerRecord) -> BundleOwner {
    let BrokerRecord { broker, http, start, .. } = broker.clone();
    BundleOwner { broker, http, start, ..Default::default() }
}

fn bundle() -> Bundle {
    "t/n/0x00000000_0x40000000".parse().unwrap()
}

/// The view of broker `a`, which serves, beside `others`.
fn view(others: &[&str]) -> View {
    let mut view = View::new(broker("a"));
    view.set_serving(true);
    view.set_bundles_of(&bundle().namespace, Some((Bundles::even(4), Version(0))));
    for name in ["a"].iter().chain(others) {
        view.set_broker(name, Some(broker(name)));
    }
    view
}

#[tokio::test(start_paused = true)]
async fn a_bundle_that_nobody_has_goes_to_the_same_broker_everywhere() {
    let mut chosen = vec![];
    for me in ["a", "b", "c"] {
        let mut view = View::new(broker(me));
        view.set_serving(true);
        ["a", "b", "c"].iter().for_each(|name| view.set_broker(name, Some(broker(name))));
        chosen.push(match view.decide(&bundle(), Instant::now(), 0) {
            Decision::Take(Expect::Absent) => me.to_owned(),
            Decision::Nominate(other, Expect::Absent) => other,
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(chosen, vec![chosen[0].clone(); 3]);
}

#[test]
fn bundles_spread_evenly_over_brokers() {
    let brokers = ["host-1:6650", "host-2:6650", "host-3:6650"];
    let mut counts = [0; 3];
    for number in 0..3000 {
        let bundle = format!("tenant/ns{}/{}", number / 4, Bundles::even(4).ranges().nth(number % 4).unwrap());
        let best = (0..3).max_by_key(|index| score(brokers[*index], &bundle)).unwrap();
        counts[best] += 1;
    }
    assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_key_went_has_five_seconds_to_return() {
    let mut view = view(&["b"]);
    let now = Instant::now();
    assert!(!view.apply(&bundle(), Some((owner(&broker("b")), Version(1))), now));
    assert_eq!(view.decide(&bundle(), now, 0), Decision::At(broker("b")));

    view.set_broker("b", None);
    assert_eq!(view.decide(&bundle(), now, 0), Decision::Wait, "its lease is ending");
    view.apply(&bundle(), None, now);
    assert_eq!(view.decide(&bundle(), now + GRACE - Duration::from_millis(1), 0), Decision::Wait);
    assert_eq!(view.decide(&bundle(), now + GRACE, 0), Decision::Take(Expect::Absent));
    view.set_refusing("b-1", true, now);
    assert_eq!(view.decide(&bundle(), now, 0), Decision::Take(Expect::Absent), "it refuses");
}

#[tokio::test(start_paused = true)]
async fn a_dead_owner_is_replaced_while_its_key_is_still_there() {
    let now = Instant::now();
    let key = Some((owner(&broker("b")), Version(7)));
    let mut refused = view(&["b"]);
    refused.apply(&bundle(), key.clone(), now);
    refused.set_refusing("b-1", true, now);
    assert_eq!(refused.decide(&bundle(), now, 0), Decision::Take(Expect::Version(Version(7))));

    let mut restarted = view(&[]);
    restarted.set_broker("b", Some(BrokerRecord { start: "b-2".into(), ..broker("b") }));
    restarted.apply(&bundle(), key, now);
    assert!(matches!(restarted.decide(&bundle(), now, 0), Decision::Take(_) | Decision::Nominate(..)));

    let mut own = view(&["b"]);
    own.apply(&bundle(), Some((BundleOwner { start: "a-0".into(), ..owner(&broker("a")) }, Version(7))), now);
    assert!(
        matches!(own.decide(&bundle(), now, 0), Decision::Take(_) | Decision::Nominate(..)),
        "our former start is dead"
    );
}

#[tokio::test(start_paused = true)]
async fn only_the_broker_it_is_reserved_for_takes_a_bundle() {
    let now = Instant::now();
    let reserved = |name: &str| BundleOwner { reserved_for: name.into(), reserved_until: 1000, ..Default::default() };
    let mut view = view(&["b"]);
    view.apply(&bundle(), Some((reserved("b"), Version(1))), now);
    assert_eq!(view.decide(&bundle(), now, 999), Decision::Wait);
    assert_eq!(view.decide(&bundle(), now, 1000), Decision::Take(Expect::Version(Version(1))), "it did not come");
    view.set_broker("b", None);
    assert_eq!(view.decide(&bundle(), now, 999), Decision::Take(Expect::Version(Version(1))), "it is gone");

    assert_eq!(view.reserved(), vec![]);
    view.apply(&bundle(), Some((reserved("a"), Version(2))), now);
    assert_eq!(view.decide(&bundle(), now, 0), Decision::Take(Expect::Version(Version(2))));
    assert_eq!(view.reserved(), vec![(bundle(), Expect::Version(Version(2)))]);
    view.set_serving(false);
    assert_eq!(view.decide(&bundle(), now, 0), Decision::Wait);
    assert_eq!(view.reserved(), vec![]);
}

#[tokio::test(start_paused = true)]
async fn old_news_changes_nothing() {
    let now = Instant::now();
    let mut view = view(&["b"]);
    view.apply(&bundle(), Some((owner(&broker("a")), Version(5))), now);
    assert_eq!(view.decide(&bundle(), now, 0), Decision::Here);
    assert!(!view.apply(&bundle(), Some((owner(&broker("b")), Version(4))), now));
    assert_eq!(view.decide(&bundle(), now, 0), Decision::Here);
    assert!(view.apply(&bundle(), Some((owner(&broker("b")), Version(6))), now), "lost");
    assert_eq!(view.decide(&bundle(), now, 0), Decision::At(broker("b")));
}

#[tokio::test(start_paused = true)]
async fn a_bundle_whose_key_went_stays_ours_and_is_put_back() {
    let now = Instant::now();
    let mut view = view(&["b"]);
    view.apply(&bundle(), Some((owner(&broker("a")), Version(5))), now);
    assert!(!view.apply(&bundle(), None, now));
    assert_eq!(view.decide(&bundle(), now, 0), Decision::Here);
    assert_eq!(view.missing(), vec![bundle()]);
}

#[tokio::test(start_paused = true)]
async fn while_it_is_released_nobody_is_let_in() {
    let now = Instant::now();
    let mut view = view(&[]);
    view.apply(&bundle(), Some((owner(&broker("a")), Version(5))), now);
    assert!(view.begin_release(&bundle()));
    assert!(!view.begin_release(&bundle()), "one at a time");
    assert_eq!(view.decide(&bundle(), now, 0), Decision::Wait);
    view.cancel_release(&bundle());
    assert_eq!(view.decide(&bundle(), now, 0), Decision::Here);
}

#[tokio::test(start_paused = true)]
async fn a_split_changes_no_topics_owner_however_the_news_of_it_arrives() {
    let now = Instant::now();
    let topics: Vec<TopicName> = (0..64).map(|number| format!("t/n/{number}").parse().unwrap()).collect();
    let (cut, whole) = (Bundles::even(1), Bundle { range: Bundles::even(1).ranges().next().unwrap(), ..bundle() });
    let mut view = View::new(broker("a"));
    view.set_serving(true);
    view.set_broker("a", Some(broker("a")));
    view.set_bundles_of(&whole.namespace, Some((cut.clone(), Version(1))));
    view.apply(&whole, Some((owner(&broker("a")), Version(2))), now);
    let parted = cut.split(whole.range, &[0x7000_0000]).unwrap();
    let parts: Vec<Bundle> = parted.ranges().map(|range| Bundle { range, ..whole.clone() }).collect();
    let all = |view: &View| topics.iter().all(|topic| view.owns(topic));

    assert!(view.begin_split(&whole) && !view.begin_split(&whole) && !view.begin_release(&whole));
    assert!(all(&view), "nothing changes while it is written");
    view.apply(&whole, None, now); // The news of its end may be quicker than the answer.
    assert!(all(&view) && view.missing().is_empty(), "and nobody puts it back");
    view.split(&whole, parted, &parts, &owner(&broker("a")), Version(3));
    assert!(all(&view));
    view.set_bundles_of(&whole.namespace, Some((cut, Version(1))));
    view.apply(&parts[0], Some((owner(&broker("b")), Version(2))), now);
    assert!(all(&view), "old news");
    assert_eq!(view.ours().len(), 2);
}
