//! Whole brokers' ownership over one store in memory, with paused time.
use metadata::MemoryStore;

use super::probe::Presence;
use super::*;

pub(crate) const NOW_MS: u64 = 1_000_000;

struct Broker {
    ownership: Ownership,
    keeping: Keeping,
}

fn record(name: &str, start: &str) -> BrokerRecord {
    BrokerRecord {
        broker: format!("{name}:6650"),
        http: format!("{name}:8080"),
        start: start.into(),
        ..Default::default()
    }
}

async fn broker(store: &MemoryStore, probe: &Probe, name: &str) -> Broker {
    let me = record(name, &format!("{name}-start"));
    probe.tell(&me.broker, Presence::Start(me.start.clone()));
    let clock = Clock::runtime(NOW_MS);
    let (ownership, keeping) = Ownership::start(me, Arc::new(store.clone()), clock, probe.clone()).await.unwrap();
    Broker { ownership, keeping }
}

/// Two brokers that know of each other.
async fn two(store: &MemoryStore, probe: &Probe) -> (Broker, Broker) {
    let (a, b) = (broker(store, probe, "a").await, broker(store, probe, "b").await);
    until(|| a.ownership.brokers().len() == 2).await;
    (a, b)
}

async fn namespace(store: &MemoryStore) {
    let record = NamespaceRecord { boundaries: Bundles::even(4).boundaries().to_vec(), ..Default::default() };
    let put = Operation::put("namespaces/public/default", record.encode_to_vec(), Expect::Absent);
    store.commit(Transaction::new(vec![put])).await.unwrap();
}

fn topic(number: usize) -> TopicName {
    format!("topic-{number}").parse().unwrap()
}

/// Where each of twenty topics is, asked at `broker`.
async fn owners(broker: &Broker) -> Vec<String> {
    let mut owners = vec![];
    for number in 0..20 {
        owners.push(match broker.ownership.lookup(&topic(number)).await.unwrap() {
            Owner::Here => broker.ownership.me().broker.clone(),
            Owner::At(other) => other.broker,
        });
    }
    owners
}

async fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "not within a minute");
        tokio::time::sleep(Duration::from_millis(10)).await; // Paused: costs nothing.
    }
}

/// The process is gone: nothing is released and nothing answers any more.
fn kill(broker: Broker, probe: &Probe, presence: Presence) {
    probe.tell(&broker.ownership.me().broker, presence);
    broker.keeping.kill();
}

#[tokio::test(start_paused = true)]
async fn both_brokers_say_the_same_and_each_serves_some() {
    let (store, probe) = (MemoryStore::default(), Probe::told());
    namespace(&store).await;
    let (a, b) = two(&store, &probe).await;
    let (from_b, from_a) = tokio::join!(owners(&b), owners(&a));
    assert_eq!(from_a, from_b);
    for (number, owner) in from_a.iter().enumerate() {
        let owned = (a.ownership.owns(&topic(number)), b.ownership.owns(&topic(number)));
        assert_eq!(owned, (owner == "a:6650", owner == "b:6650"));
    }
    assert_eq!(a.ownership.bundles().len() + b.ownership.bundles().len(), 4);
    assert_eq!(a.ownership.brokers().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_race_for_a_bundle_has_one_winner() {
    let (store, probe) = (MemoryStore::default(), Probe::told());
    namespace(&store).await;
    let (a, b) = two(&store, &probe).await;
    let default = "public/default".parse().unwrap();
    b.ownership.bundles_of(&default).await.unwrap();
    for bundle in a.ownership.bundles_of(&default).await.unwrap().ranges() {
        let bundle = Bundle { namespace: "public/default".parse().unwrap(), range: bundle };
        let (at_a, at_b) =
            (a.ownership.shared.take(&bundle, Expect::Absent), b.ownership.shared.take(&bundle, Expect::Absent));
        let outcomes = tokio::join!(at_a, at_b);
        assert!(outcomes.0.is_ok() && outcomes.1.is_ok(), "losing is no error");
        let owners = [&a, &b].iter().filter(|broker| broker.ownership.bundles().contains(&bundle)).count();
        assert_eq!(owners, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn bundles_of_a_broker_that_died_silently_are_taken_over_after_its_lease_and_five_seconds() {
    let (store, probe) = (MemoryStore::default(), Probe::told());
    namespace(&store).await;
    let (a, b) = two(&store, &probe).await;
    assert!(owners(&a).await.contains(&"b:6650".to_owned()));
    let died = Instant::now();
    kill(b, &probe, Presence::Unclear);
    until(|| a.ownership.brokers().len() == 1).await;
    assert!(died.elapsed() < LEASE + Duration::from_secs(1));
    assert_eq!(owners(&a).await, vec!["a:6650"; 20]);
    let took = died.elapsed();
    assert!((LEASE + view::GRACE..LEASE + view::GRACE + Duration::from_secs(1)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn bundles_of_a_broker_that_refuses_are_taken_over_at_once() {
    let (store, probe) = (MemoryStore::default(), Probe::told());
    namespace(&store).await;
    let (a, b) = two(&store, &probe).await;
    assert!(owners(&a).await.contains(&"b:6650".to_owned()));
    kill(b, &probe, Presence::Refused);
    let died = Instant::now();
    while owners(&a).await.contains(&"b:6650".to_owned()) {
        tokio::time::sleep(Duration::from_millis(100)).await; // As a client does that cannot connect.
    }
    assert!(died.elapsed() < Duration::from_millis(1500), "{:?}", died.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_gives_nothing_up() {
    let (store, probe) = (MemoryStore::default(), Probe::told());
    namespace(&store).await;
    let (a, b) = two(&store, &probe).await;
    let before = owners(&a).await;
    let losses = (*a.ownership.losses().borrow(), *b.ownership.losses().borrow());
    store.end_leases();
    assert_eq!(owners(&a).await, before, "nobody else took anything");
    let keys = store.clone();
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(keys.list(keys::BUNDLES, None, 10).await.unwrap().records.len(), 4, "the keys are back");
    assert_eq!(keys.list(keys::BROKERS, None, 10).await.unwrap().records.len(), 2);
    assert_eq!((*a.ownership.losses().borrow(), *b.ownership.losses().borrow()), losses);
    assert_eq!(owners(&b).await, before);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_long_gives_nothing_up() {
    let (store, probe) = (MemoryStore::default(), Probe::told());
    namespace(&store).await;
    let a = broker(&store, &probe, "a").await;
    owners(&a).await;
    store.set_away(true);
    store.end_leases();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(a.ownership.owns(&topic(1)), "what is served here goes on");
    assert_eq!(a.ownership.lookup(&topic(1)).await.unwrap(), Owner::Here);
    store.set_away(false);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(store.list(keys::BUNDLES, None, 10).await.unwrap().records.len(), 4);
    assert_eq!(store.list(keys::BROKERS, None, 10).await.unwrap().records.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_bundle_goes_to_the_broker_it_is_released_for() {
    let (store, probe) = (MemoryStore::default(), Probe::told());
    namespace(&store).await;
    let (a, b) = two(&store, &probe).await;
    owners(&a).await;
    let bundle = a.ownership.bundles().pop().expect("a has some of four");
    let inside = (0..).map(topic).find(|topic| Bundles::even(4).of(topic) == bundle.range).unwrap();
    let unloaded = std::cell::Cell::new(false);
    let unload = async {
        assert!(!a.ownership.owns(&inside), "nobody is let in while topics are unloaded");
        unloaded.set(true);
    };
    a.ownership
        .release(&bundle, &Next::Broker { broker: b.ownership.me().clone(), lease: None }, unload)
        .await
        .unwrap();
    assert!(unloaded.get());
    // The other broker may be asked before it has heard of the release, and sends its client back once.
    let taken = async {
        while b.ownership.lookup(&inside).await.unwrap() != Owner::Here {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let taken = tokio::time::timeout(Duration::from_secs(5), taken);
    let (from_a, taken) = tokio::join!(a.ownership.lookup(&inside), taken);
    taken.expect("it takes the bundle");
    assert_eq!(from_a.unwrap(), Owner::At(b.ownership.me().clone()));
    a.ownership.release(&bundle, &Next::Anyone, async {}).await.unwrap();
    assert!(b.ownership.owns(&inside), "what is not ours we cannot release");
}

/// A bundle that `a` has, and a topic in it.
fn one_of(a: &Broker) -> (Bundle, TopicName) {
    let bundle = a.ownership.bundles().pop().expect("it has some of four");
    let inside = (0..).map(topic).find(|topic| Bundles::even(4).of(topic) == bundle.range).unwrap();
    (bundle, inside)
}

#[tokio::test(start_paused = true)]
async fn a_bundle_that_is_announced_is_waited_for_and_never_free() {
    let (store, probe) = (MemoryStore::default(), Probe::told());
    namespace(&store).await;
    let (a, b) = two(&store, &probe).await;
    owners(&a).await;
    let (bundle, inside) = one_of(&a);
    let lease = b.ownership.expect(&bundle, a.ownership.version_of(&bundle)).await.unwrap().expect("it serves");
    let asked = b.ownership.lookup(&inside);
    tokio::pin!(asked);
    let early = tokio::time::timeout(Duration::from_millis(500), &mut asked).await;
    assert!(early.is_err(), "nobody is sent back to where the bundle leaves: {early:?}");

    let mut watch = store.watch(keys::BUNDLES).await.unwrap();
    let next = Next::Broker { broker: b.ownership.me().clone(), lease: Some(lease) };
    a.ownership.release(&bundle, &next, async {}).await.unwrap();
    assert_eq!(a.ownership.lookup(&inside).await.unwrap(), Owner::At(b.ownership.me().clone()), "at once");
    assert_eq!(asked.await.unwrap(), Owner::Here);
    assert!(b.ownership.arrival(&bundle).await);
    let events = watch.next().await.unwrap();
    let (owner, _) = decode_owner(events[0].record.as_ref().unwrap()).unwrap();
    assert_eq!((events.len(), owner.broker), (1, "b:6650".into()), "one change, from one to the other");
    a.keeping.stop().await; // Ends its lease, under which the key no longer is.
    tokio::time::sleep(LEASE * 2).await;
    assert_eq!(b.ownership.owner_of(&bundle), Some(Owner::Here));
    assert_eq!(store.list(keys::BUNDLES, None, 10).await.unwrap().records.len(), b.ownership.bundles().len());
}

#[tokio::test(start_paused = true)]
async fn a_bundle_whose_next_owner_has_lost_its_lease_is_reserved_for_it() {
    let (store, probe) = (MemoryStore::default(), Probe::told());
    namespace(&store).await;
    let (a, b) = two(&store, &probe).await;
    owners(&a).await;
    let (bundle, inside) = one_of(&a);
    let next = Next::Broker { broker: b.ownership.me().clone(), lease: Some(LeaseId(4711)) };
    a.ownership.release(&bundle, &next, async {}).await.unwrap();
    assert_eq!(a.ownership.lookup(&inside).await.unwrap(), Owner::At(b.ownership.me().clone()));
    assert!(b.ownership.owns(&inside));
}

#[tokio::test(start_paused = true)]
async fn an_announcement_that_nothing_follows_is_forgotten() {
    let (store, probe) = (MemoryStore::default(), Probe::told());
    namespace(&store).await;
    let (a, b) = two(&store, &probe).await;
    owners(&a).await;
    let (bundle, inside) = one_of(&a);
    b.ownership.expect(&bundle, a.ownership.version_of(&bundle)).await.unwrap().expect("it serves");
    assert!(!b.ownership.arrival(&bundle).await);
    assert_eq!(b.ownership.lookup(&inside).await.unwrap(), Owner::At(a.ownership.me().clone()));
    b.ownership.withdraw().await;
    assert_eq!(
        b.ownership.expect(&bundle, a.ownership.version_of(&bundle)).await.unwrap(),
        None,
        "it takes nothing any more"
    );
}

#[tokio::test(start_paused = true)]
async fn a_split_bundle_stays_where_it_was_and_its_parts_move_alone() {
    let (store, probe) = (MemoryStore::default(), Probe::told());
    namespace(&store).await;
    let (a, b) = two(&store, &probe).await;
    let before = owners(&a).await;
    let (bundle, _) = one_of(&a);
    let middle = bundle.range.middle().unwrap();
    assert!(matches!(b.ownership.split(&bundle, &[middle]).await, Err(SplitError::NotHere(_))), "it is not there");
    assert!(matches!(a.ownership.split(&bundle, &[middle, 0]).await, Err(SplitError::Boundaries)));
    let losses = *a.ownership.losses().borrow();
    let parts = a.ownership.split(&bundle, &[middle]).await.unwrap();
    assert_eq!(owners(&a).await, before);
    until(|| b.ownership.shared.view.read().bundles_of(&bundle.namespace).unwrap().ranges().count() == 5).await;
    tokio::time::sleep(Duration::from_secs(40)).await; // Everything is listed again meanwhile.
    assert_eq!((owners(&a).await, owners(&b).await), (before.clone(), before));
    assert_eq!(*a.ownership.losses().borrow(), losses, "no topic was given up");
    let keys = store.list(keys::BUNDLES, None, 10).await.unwrap().records;
    assert_eq!(keys.len(), a.ownership.bundles().len() + b.ownership.bundles().len());
    assert!(!keys.iter().any(|record| record.key.as_str().ends_with(&bundle.range.to_string())), "nobody put it back");

    let lease = b.ownership.expect(&parts[1], a.ownership.version_of(&parts[1])).await.unwrap();
    let next = Next::Broker { broker: b.ownership.me().clone(), lease };
    a.ownership.release(&parts[1], &next, async {}).await.unwrap();
    assert!(a.ownership.bundles().contains(&parts[0]) && !a.ownership.bundles().contains(&parts[1]));
}

#[tokio::test(start_paused = true)]
async fn a_reservation_that_is_not_taken_ends_after_ten_seconds() {
    let (store, probe) = (MemoryStore::default(), Probe::told());
    namespace(&store).await;
    let a = broker(&store, &probe, "a").await;
    let deaf = record("deaf", "1");
    let lease = store.lease(LEASE).await.unwrap();
    let put = Operation::put_leased(keys::broker(&deaf.broker), deaf.encode_to_vec(), Expect::Absent, lease.id());
    store.commit(Transaction::new(vec![put])).await.unwrap();
    until(|| a.ownership.brokers().len() == 2).await;
    owners(&a).await; // What is nominated for the deaf one comes back after two seconds.
    assert_eq!(a.ownership.bundles().len(), 4);
    let bundle = a.ownership.bundles().pop().unwrap();
    let inside = (0..).map(topic).find(|topic| Bundles::even(4).of(topic) == bundle.range).unwrap();
    let released = Instant::now();
    a.ownership.release(&bundle, &Next::Broker { broker: deaf, lease: None }, async {}).await.unwrap();
    assert_eq!(a.ownership.lookup(&inside).await.unwrap(), Owner::Here);
    let waited = released.elapsed();
    assert!((Duration::from_secs(10)..Duration::from_secs(11)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_dropped_half_way_leaves_the_bundle_here() {
    let (store, probe) = (MemoryStore::default(), Probe::told());
    namespace(&store).await;
    let a = broker(&store, &probe, "a").await;
    owners(&a).await;
    let bundle = a.ownership.bundles().pop().unwrap();
    let never = a.ownership.release(&bundle, &Next::Anyone, std::future::pending());
    assert!(tokio::time::timeout(Duration::from_secs(1), never).await.is_err());
    assert_eq!(owners(&a).await, vec!["a:6650"; 20]);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_drains_hands_over_without_a_pause() {
    let (store, probe) = (MemoryStore::default(), Probe::told());
    namespace(&store).await;
    let (a, b) = two(&store, &probe).await;
    owners(&a).await;
    let start = Instant::now();
    b.ownership.withdraw().await;
    for bundle in b.ownership.bundles() {
        b.ownership.release(&bundle, &Next::Anyone, async {}).await.unwrap();
    }
    until(|| a.ownership.brokers().len() == 1 && a.ownership.shared.view.read().known().len() == 4).await;
    assert_eq!(owners(&a).await, vec!["a:6650"; 20]);
    assert_eq!(owners(&b).await, vec!["a:6650"; 20], "it still knows where everything is");
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    b.keeping.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_a_live_process_holds_is_refused() {
    let (store, probe) = (MemoryStore::default(), Probe::told());
    let a = broker(&store, &probe, "a").await;
    let start =
        |start: &str| Ownership::start(record("a", start), Arc::new(store.clone()), Clock::runtime(0), probe.clone());
    let failure = start("other").await.expect_err("it answers");
    assert_eq!(failure.exit, daemon::Exit::Usage);
    assert!(failure.message.contains("a:6650") && failure.message.contains("advertised_address"), "{failure}");
    probe.tell("a:6650", Presence::Unclear);
    let begin = Instant::now();
    assert_eq!(start("other").await.expect_err("its key stays").exit, daemon::Exit::Usage);
    assert!(LEASE < begin.elapsed());
    drop(a);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_broker_replaces_its_own_keys_at_once() {
    let (store, probe) = (MemoryStore::default(), Probe::told());
    namespace(&store).await;
    let a = broker(&store, &probe, "a").await;
    owners(&a).await;
    kill(a, &probe, Presence::Start("a-again".into())); // The new process listens already.
    let begin = Instant::now();
    let me = record("a", "a-again");
    let started = Ownership::start(me, Arc::new(store.clone()), Clock::runtime(NOW_MS), probe.clone()).await;
    let (ownership, keeping) = started.unwrap();
    let again = Broker { ownership, keeping };
    assert_eq!(owners(&again).await, vec!["a:6650"; 20]);
    assert!(again.ownership.owns(&topic(3)));
    assert!(begin.elapsed() < Duration::from_millis(500), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_process_whose_identity_another_live_start_has_taken_ends() {
    let (store, probe) = (MemoryStore::default(), Probe::told());
    let mut a = broker(&store, &probe, "a").await;
    probe.tell("a:6650", Presence::Start("a-again".into()));
    let me = record("a", "a-again");
    let _again = Ownership::start(me, Arc::new(store.clone()), Clock::runtime(NOW_MS), probe.clone()).await.unwrap();
    assert_eq!(a.keeping.failed().await.exit, daemon::Exit::Usage);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_not_there_is_said_at_once() {
    let (store, probe) = (MemoryStore::default(), Probe::told());
    let a = broker(&store, &probe, "a").await;
    let begin = Instant::now();
    assert!(matches!(a.ownership.lookup(&topic(1)).await, Err(OwnershipError::NamespaceNotFound)));
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_made_again_is_cut_as_its_new_record_says() {
    let (store, probe) = (MemoryStore::default(), Probe::told());
    namespace(&store).await;
    let a = broker(&store, &probe, "a").await;
    owners(&a).await;
    let delete = Operation::delete("namespaces/public/default", Expect::Any);
    store.commit(Transaction::new(vec![delete])).await.unwrap();
    until(|| a.ownership.bundles().is_empty()).await;
    let record = NamespaceRecord { boundaries: Bundles::even(1).boundaries().to_vec(), ..Default::default() };
    let put = Operation::put("namespaces/public/default", record.encode_to_vec(), Expect::Absent);
    store.commit(Transaction::new(vec![put])).await.unwrap();
    assert_eq!(owners(&a).await, vec!["a:6650"; 20]);
    assert_eq!(a.ownership.bundles().len(), 1);
}
