//! Bundles that move while their topics are used: a small version of `geminga-check moves`, and balance.
use std::collections::BTreeMap;
use std::time::Duration;

use daemon::Failure;
use serde_json::Value;
use tests::client::{ProducerId, Publisher};
use tests::cluster::{Admin, Cluster, Shape};
use tests::deadline::{eventually, under_load_for};
use tests::moves::{MovesRun, move_under_load};

use crate::directory;

/// The goal is 200 ms on a quiet machine; here others may build meanwhile. A client that is not told where to go waits for 100 ms alone.
const GAP_MAX: Duration = Duration::from_millis(1000);
/// Six looks, one each 5 s, and a minute's worth of moves.
const BALANCED_WITHIN: Duration = Duration::from_secs(120);

#[tokio::test]
async fn planned_moves_and_drains_lose_nothing_change_no_order_and_are_short() {
    let place = directory();
    let run = MovesRun { moves: 12, drains: 2, topics: 4, seed: 12, directory: place.path().into() };
    let report = Box::pin(move_under_load(&run)).await.expect("the bundle is served throughout");
    println!("{report}");
    assert_eq!((report.lost, report.misordered), (0, 0), "{report}");
    assert_eq!((report.named.len(), report.unnamed.len(), report.drained.len()), (32, 16, 8));
    assert!(report.p99() <= GAP_MAX, "{report}");
}

/// How many bundles of `public/wide` each broker has, as the broker at `admin` sees it.
async fn shares(admin: &Admin) -> Result<BTreeMap<String, usize>, Failure> {
    let mut shares = BTreeMap::new();
    for broker in admin.brokers().await? {
        let owned = admin.get(&format!("/admin/v2/brokers/tests/{broker}/ownedNamespaces")).await?;
        let ours = |name: &&String| name.starts_with("public/wide/");
        shares.insert(broker, owned.as_object().map_or(0, |owned| owned.keys().filter(ours).count()));
    }
    Ok(shares)
}

async fn moves(admin: &Admin) -> Vec<Value> {
    let shown = admin.get("/admin/v2/geminga/moves").await.expect("any broker answers");
    shown["moves"].as_array().cloned().expect("a list")
}

/// Goal: a broker that joins gets its share of the bundles without anybody asking, each move has a reason, and then nothing moves any more.
#[tokio::test]
async fn a_broker_that_joins_gets_its_share_and_then_nothing_flaps() {
    let place = directory();
    let mut shape = Shape::default();
    shape.broker_settings.push("balance_moves_per_min=60".into());
    let mut cluster = Cluster::start(place.path(), &shape).await.expect("the cluster starts");
    cluster.brokers[1].process().drain(Duration::from_secs(30)).await.expect("it ends");
    let admin = cluster.brokers[0].admin();
    admin.put("/admin/v2/namespaces/public/wide?bundles=16", None).await.expect("a namespace");
    let mut producers = Vec::new();
    for number in 0..48 {
        let topic = format!("persistent://public/wide/topic-{number}");
        producers.push(Publisher::open(&cluster.addresses()[..1], &topic).await.expect("it attaches"));
    }
    cluster.brokers[1].restart().await.expect("it starts again");

    let look = async || {
        let shares = shares(&admin).await.ok()?;
        (shares.len() == 2 && shares.values().all(|share| 4 <= *share)).then_some(shares)
    };
    let shared = eventually("both have a share", BALANCED_WITHIN, look).await.expect("the first broker balances");
    println!("{shared:?}"); // Only bundles with topics have an owner.
    let made = moves(&cluster.brokers[1].admin()).await;
    for one in &made {
        let reason = one["reason"].as_str().expect("a reason");
        assert!(reason.contains("of the mean") && one.get("failed").is_none(), "{one}");
    }
    under_load_for(Duration::from_secs(60)).await; // Twelve looks.
    let later = moves(&admin).await;
    assert!(later.len() <= made.len() + 1, "it had not ended when it was seen to: {later:#?}");
    let mut bundles: Vec<&str> = later.iter().filter_map(|one| one["bundle"].as_str()).collect();
    bundles.sort_unstable();
    assert!(bundles.windows(2).all(|pair| pair[0] != pair[1]), "each at most once: {later:#?}");
}

/// Goal: topics do not notice that their bundle is cut, and its halves can then live apart.
#[tokio::test]
async fn a_bundle_is_split_under_its_producers() {
    let place = directory();
    let mut shape = Shape::default();
    shape.broker_settings.push("balance_moves_per_min=0".into());
    let cluster = Cluster::start(place.path(), &shape).await.expect("the cluster starts");
    let admins: Vec<Admin> = cluster.brokers.iter().map(|broker| broker.admin()).collect();
    admins[0].put("/admin/v2/namespaces/public/narrow?bundles=1", None).await.expect("a namespace");
    let (mut publishers, mut topics) = (Vec::new(), Vec::new());
    for number in 0..8 {
        topics.push(format!("public/narrow/topic-{number}"));
        let topic = format!("persistent://{}", topics[number]);
        publishers.push(Publisher::open(&cluster.addresses(), &topic).await.expect("it attaches"));
    }
    let (_, owner) = admins[0].owner(&topics[0]).await.expect("somebody has it");
    let other = admins.iter().find(|admin| !admin.base().ends_with(&owner)).expect("two brokers");
    let split = "/admin/v2/namespaces/public/narrow/LARGEST/split?splitAlgorithmName=topic_count_equally_divide";
    other.put(split, None).await.expect("any broker takes the request");
    for publisher in &mut publishers {
        publisher.publish(ProducerId(0), b"after the split");
        publisher.flush().await.expect("it is connected");
        publisher.receipt().await.expect("the producer is still attached");
    }
    let bundles = other.get("/admin/v2/namespaces/public/narrow/bundles").await.expect("any broker knows");
    assert_eq!(bundles["numBundles"], 2, "{bundles}");
    let mut halves: BTreeMap<String, usize> = BTreeMap::new();
    for topic in &topics {
        *halves.entry(other.bundle(topic).await.expect("it lies in one")).or_default() += 1;
        assert_eq!(other.owner(topic).await.expect("somebody has it").1, owner);
    }
    assert_eq!(halves.values().copied().collect::<Vec<_>>(), [4, 4]);

    let to = other.base().trim_start_matches("http://");
    let moved = other.bundle(&topics[0]).await.expect("it lies in one");
    other.move_bundle("public/narrow", &moved, to).await.expect("it takes it");
    for topic in &topics {
        let is_moved = other.bundle(topic).await.expect("it lies in one") == moved;
        let expected = if is_moved { to } else { &owner };
        assert_eq!(other.owner(topic).await.expect("somebody has it").1, expected, "{topic}");
    }
}
