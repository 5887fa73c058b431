//! Bookies that go: what goes on without them, and how ledgers leave them.
use std::time::Duration;

use ledger::repair::Held;
use proto::records::{LedgerRecord, LedgerState};
use pulsar::SubType;
use pulsar::producer::ProducerOptions;
use tests::client::{ProducerId, Publisher};
use tests::cluster::{Cluster, Shape};
use tests::crash::{Keeping, Load, Report};
use tests::deadline::eventually;
use tests::records::Records;

use crate::directory;
use crate::rust_client::{connect, message, next, numbered, publish, subscribe};

const SEED: u64 = 31;
const LOADED: &str = "public/default/crash";
const QUIET: &str = "public/default/quiet";
/// A lease of a bookie lasts 5 s; the machine may be busy.
const LEASE_ENDS_WITHIN: Duration = Duration::from_secs(30);
/// A member that does not acknowledge is waited for 5 s.
const REPLACED_WITHIN: Duration = Duration::from_secs(30);
/// It is given up after 10 s, and an open ledger is left to its writer for 30 s.
const REPAIRED_WITHIN: Duration = Duration::from_secs(120);

/// A cluster under load.
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) records: Records,
    pub(crate) load: Load,
}

impl Scene {
    pub(crate) async fn start(place: &std::path::Path, bookies: usize, settings: &[&str]) -> Self {
        let mut shape = Shape { bookies, ..Shape::default() };
        shape.broker_settings.extend(settings.iter().map(|setting| (*setting).to_owned()));
        let cluster = Cluster::start(place, &shape).await.expect("the cluster starts");
        let records = Records::of(&cluster, SEED).await.expect("etcd answers");
        let load = Load::start(cluster.addresses(), &cluster.brokers[0].admin(), Keeping::Everything, SEED).await;
        let scene = Self { cluster, records, load: load.expect("the broker takes a policy") };
        scene.receipts(500, "before anything happens").await;
        scene
    }

    pub(crate) async fn receipts(&self, count: u64, why: &str) {
        self.load.receipts_grow_by(count, why).await.expect("an ack quorum lives");
    }

    /// The identities of the bookies, as they were started. All must be there.
    async fn identities(&self) -> Vec<String> {
        let registered = self.records.registered().await.expect("etcd answers");
        self.cluster.bookies.iter().map(|bookie| registered[&bookie.address()].clone()).collect()
    }

    async fn is_registered(&self, count: usize) {
        let what = format!("{count} bookies are registered");
        let look = async || (self.records.registered().await.ok()?.len() == count).then_some(());
        eventually(&what, LEASE_ENDS_WITHIN, look).await.expect("leases end");
    }

    async fn ledgers(&self) -> Vec<LedgerRecord> {
        self.records.ledgers().await.expect("etcd answers")
    }

    async fn ledger(&self, ledger: u64) -> LedgerRecord {
        self.ledgers().await.into_iter().find(|record| record.ledger == ledger).expect("it has a record")
    }

    async fn lacking(&self) -> usize {
        self.records.lacking().await.expect("etcd answers")
    }

    /// Reads every copy of every closed ledger from its bookies. Says how many ledgers there were.
    pub(crate) async fn audit(&self) -> usize {
        let audits = self.records.audit().await.expect("its bookies answer");
        // One that was slow when its ledger was closed is marked, and its turn comes.
        let is_whole = |held: &Held| held.answered && (held.marked || !held.is_bad());
        audits.iter().for_each(|audit| assert!(audit.members.iter().all(is_whole), "{audit:?}"));
        audits.len()
    }

    /// The broker that serves `topic` is killed and starts again once another has taken over.
    async fn owner_is_killed(&mut self, topic: &str) {
        let (owner, _) = self.cluster.brokers[0].admin().owner(topic).await.expect("somebody owns it");
        let victim = self.cluster.brokers.iter().position(|broker| broker.address() == owner).expect("one of ours");
        self.cluster.brokers[victim].process().kill();
        self.receipts(500, "after another broker has taken over").await;
        self.cluster.brokers[victim].restart().await.expect("it starts again");
        self.load.restarted();
    }

    pub(crate) async fn ends_well(self) -> (Cluster, Report) {
        let report = self.load.finish().await.expect("all is read back");
        println!("{report}");
        assert_eq!(report.faults(), 0, "promises were not kept:\n{report}");
        (self.cluster, report)
    }
}

/// Decision D4. Goal: with 3/3/2 and exactly three bookies, one that is lost stops neither writes, nor rollover, nor new topics, nor a
/// take-over, and nothing acknowledged is lost. Method: kill -9 in the middle of a load whose ledgers are short.
#[tokio::test]
async fn with_exactly_three_bookies_one_that_is_killed_stops_nothing() {
    let place = directory();
    let mut scene = Scene::start(place.path(), 3, &["ledger_entries_max=300"]).await;
    let victim = scene.identities().await[1].clone();
    scene.cluster.bookies[1].process().kill();
    scene.receipts(1000, "over several ledgers, while the dead bookie is still registered").await;
    scene.is_registered(2).await;
    scene.receipts(1000, "over several ledgers, while it is not").await;

    let (topic, sent) = ("persistent://public/default/born-with-two", numbered(100));
    let client = connect(&scene.cluster.addresses()[0]).await;
    let messages = sent.iter().cloned().map(message).collect();
    Box::pin(publish(&client, topic, ProducerOptions { batch_size: Some(10), ..Default::default() }, messages)).await;
    let records = scene.ledgers().await;
    let lacks = |record: &&LedgerRecord| record.fragments.iter().any(|fragment| fragment.lacking.contains(&victim));
    assert!(3 < records.iter().filter(lacks).count(), "records say what the dead bookie lacks");

    scene.owner_is_killed(LOADED).await;
    scene.cluster.bookies[1].restart().await.expect("it starts again");
    scene.load.restarted();
    scene.is_registered(3).await;
    scene.receipts(500, "after it is back").await;
    let (cluster, report) = scene.ends_well().await;
    assert!(3500 < report.acknowledged && report.restarts == 2, "{report}");

    let client = connect(&cluster.addresses()[0]).await;
    let mut consumer = subscribe(&client, topic, "afterwards", SubType::Exclusive, None).await;
    for expected in &sent {
        assert_eq!(&next(&mut consumer).await.payload.data, expected);
    }
}

/// Goal: a writer leaves a bookie that stays away, in an open ledger, and what it confirms after that survives the loss of another of the
/// first members. Method: four bookies, a quiet topic with one ledger, two kills one after the other.
#[tokio::test]
async fn a_writer_leaves_a_bookie_that_stays_away_and_may_then_lose_another() {
    let place = directory();
    let mut scene = Scene::start(place.path(), 4, &["ledger_entries_max=1000"]).await;
    let bookies = scene.identities().await;
    let topic = format!("persistent://{QUIET}");
    let mut quiet = Publisher::open(&scene.cluster.addresses(), &topic).await.expect("it attaches");
    let first = send(&mut quiet, 10).await;
    let record = scene.ledger(first).await;
    let members: Vec<String> = record.fragments[0].bookies.clone();
    let number = |name: &String| bookies.iter().position(|bookie| bookie == name).expect("one of ours");

    scene.cluster.bookies[number(&members[0])].process().kill();
    assert_eq!(send(&mut quiet, 10).await, first, "two of three are enough, and nothing rolls");
    let look = async || {
        let record = scene.ledger(first).await;
        let last = record.fragments.last().expect("one at least");
        (!last.bookies.contains(&members[0])).then_some(record)
    };
    let record = eventually("another has taken the seat", REPLACED_WITHIN, look).await.expect("there is a fourth");
    assert_eq!((record.state(), record.fragments.len()), (LedgerState::Open, 2), "{record:?}");
    assert!(record.fragments[0].lacking.contains(&members[0]), "{record:?}");

    scene.cluster.bookies[number(&members[1])].process().kill();
    assert_eq!(send(&mut quiet, 10).await, first, "the new member is as good as an old one");
    scene.receipts(1000, "with two bookies of four").await;
    scene.owner_is_killed(QUIET).await;
    let client = connect(&scene.cluster.addresses()[0]).await;
    let mut consumer = subscribe(&client, &topic, "afterwards", SubType::Exclusive, None).await;
    for expected in 0..30_u32 {
        assert_eq!(next(&mut consumer).await.payload.data, (expected % 10).to_string().into_bytes());
    }
    scene.ends_well().await;
}

/// Goal: a bookie that stays away leaves no ledger with fewer copies than it should have, and with another lost after that, everything is
/// still there. Method: a load whose ledgers are short, a kill for good, an audit of every copy, another kill, readers without caches.
#[tokio::test]
async fn what_a_lost_bookie_held_is_copied_until_every_ledger_is_whole_again() {
    let place = directory();
    let mut scene = Scene::start(place.path(), 4, &["ledger_entries_max=300", "repair_after_s=10"]).await;
    let bookies = scene.identities().await;
    scene.receipts(1000, "so that some ledgers end with all four").await;
    let quiet = format!("persistent://{QUIET}");
    let mut quiet = Publisher::open(&scene.cluster.addresses(), &quiet).await.expect("it attaches");
    let open = send(&mut quiet, 10).await;
    let victim = scene.ledger(open).await.fragments[0].bookies[0].clone();
    let victim = bookies.iter().position(|bookie| *bookie == victim).expect("one of ours");
    scene.cluster.bookies[victim].process().kill();
    send(&mut quiet, 10).await;
    let leaves = async || scene.records.named(&bookies[victim]).await.ok()?.is_empty().then_some(());
    eventually("no record names the lost bookie as a member", REPAIRED_WITHIN, leaves).await.expect("there is a spare");

    let audited = scene.audit().await;
    assert!(4 < audited, "{audited} ledgers");
    let another = (victim + 1) % bookies.len();
    scene.cluster.bookies[another].process().kill();
    for broker in &mut scene.cluster.brokers {
        broker.process().kill();
    }
    for broker in &mut scene.cluster.brokers {
        broker.restart().await.expect("it starts again");
    }
    scene.receipts(500, "with two bookies of four").await;
    scene.ends_well().await;
}

/// Goal: an operator takes a bookie out of service without losing a copy, and it stays out. Method: four bookies under load, one is
/// decommissioned, killed once it is retired, and started again in vain; every copy is read.
#[tokio::test]
async fn a_decommissioned_bookie_is_left_by_every_ledger_and_never_comes_back() {
    let place = directory();
    let mut scene = Scene::start(place.path(), 4, &["ledger_entries_max=300"]).await;
    let bookies = scene.identities().await;
    scene.receipts(1500, "so that ledgers lie on all four").await;
    let admin = scene.cluster.brokers[0].admin();
    let victim = 2;
    let decommission = format!("/admin/v2/geminga/bookies/{}/decommission", bookies[victim]);
    let begun = admin.ask(&decommission).await.expect("three others take entries");
    assert_eq!((begun["state"].as_str(), begun["status"].as_str()), (Some("draining"), Some("RUNNING")), "{begun}");
    let another = format!("/admin/v2/geminga/bookies/{}/decommission", bookies[0]);
    let refused = admin.ask(&another).await.expect_err("two are too few for an ensemble of three");
    assert!(refused.message.contains("start another bookie first"), "{refused}");
    let retired = async || {
        let answer = admin.ask(&decommission).await.ok()?;
        (answer["state"] == "retired").then_some(())
    };
    eventually("the bookie is retired", REPAIRED_WITHIN, retired).await.expect("its ledgers have where to go");
    assert!(scene.records.named(&bookies[victim]).await.expect("etcd answers").is_empty());

    scene.cluster.bookies[victim].process().kill();
    let again = scene.cluster.bookies[victim].restart().await.expect_err("it never starts again");
    assert!(again.message.contains("is retired"), "{again}");
    assert!(3 < scene.audit().await);
    let audit = admin.ask("/admin/v2/geminga/bookies/audit?sample=20").await.expect("all bookies answer");
    assert!(3 < audit["ledgers"].as_u64().unwrap_or(0), "{audit}");
    scene.receipts(500, "with the three that are left").await;
    let listed = admin.get("/admin/v2/geminga/bookies").await.expect("metadata answers");
    let states: Vec<&str> = listed.as_array().into_iter().flatten().filter_map(|one| one["state"].as_str()).collect();
    assert_eq!(states.iter().filter(|state| **state == "available").count(), 3, "{listed}");
    assert!(states.contains(&"retired"), "{listed}");
    scene.ends_well().await;
}

/// Goal: what a bookie missed while it was away is made good when it is back. Method: exactly three, so that nobody else could take it.
#[tokio::test]
async fn what_a_bookie_missed_is_made_good_once_it_is_back() {
    let place = directory();
    let mut scene = Scene::start(place.path(), 3, &["ledger_entries_max=300"]).await;
    scene.cluster.bookies[0].process().kill();
    scene.is_registered(2).await;
    scene.receipts(1000, "over several ledgers").await;
    assert!(2 < scene.lacking().await, "records say what the dead bookie lacks");
    scene.cluster.bookies[0].restart().await.expect("it starts again");
    scene.load.restarted();
    scene.receipts(1000, "over several ledgers").await;
    let whole = async || (scene.lacking().await == 0).then_some(());
    eventually("no fragment that has ended lacks a copy", REPAIRED_WITHIN, whole).await.expect("all are back");
    scene.audit().await;
    scene.ends_well().await;
}

/// Goal: etcd that was restored from an old snapshot is refused, before anything is done by it. Method: its directory is copied, a topic is
/// made, and the copy takes the place of the directory.
#[tokio::test]
async fn an_old_snapshot_of_etcd_is_refused() {
    let place = directory();
    let mut cluster = Cluster::start(place.path(), &Shape::default()).await.expect("the cluster starts");
    let publish = async |cluster: &Cluster, topic: &str| {
        let mut publisher = Publisher::open(&cluster.addresses(), topic).await.expect("it attaches");
        send(&mut publisher, 10).await
    };
    publish(&cluster, "persistent://public/default/before").await;
    let (now, old) = (place.path().join("etcd"), place.path().join("etcd-old"));
    cluster.etcd.process().kill();
    let copied = std::process::Command::new("cp").arg("-a").args([&now, &old]).status().expect("there is cp");
    assert!(copied.success());
    cluster.etcd.restart().await.expect("it starts again");
    publish(&cluster, "persistent://public/default/after").await;

    cluster.etcd.process().kill();
    std::fs::remove_dir_all(&now).expect("it is there");
    std::fs::rename(&old, &now).expect("on one disk");
    cluster.etcd.restart().await.expect("it starts again");
    for bookie in &mut cluster.bookies {
        bookie.process().kill();
        let refused = bookie.restart().await.expect_err("ids would be given out again");
        assert!(refused.message.contains("restore a newer snapshot"), "{refused}");
    }
}

/// Publishes so many, and says which ledger all of them are in.
async fn send(publisher: &mut Publisher, count: usize) -> u64 {
    for number in 0..count {
        publisher.publish(ProducerId(0), number.to_string().as_bytes());
    }
    publisher.flush().await.expect("it is connected");
    let mut ledgers = Vec::new();
    while 0 < publisher.awaited() {
        ledgers.push(publisher.receipt().await.expect("an ack quorum lives").position.ledger.0);
    }
    ledgers.dedup();
    assert_eq!(ledgers.len(), 1);
    ledgers[0]
}
