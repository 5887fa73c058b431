//! Goal: a walk does what is due, and nothing when it cannot know what is wanted. Method: whole topics over storage in memory, with
//! the walk called by hand and the clock moved.
mod backlog;
mod compaction;
mod heed;
mod tiering;
mod unused;

use std::collections::HashMap;
use std::sync::Arc;

use metadata::{Expect, MetadataStore, MetadataStoreExt};
use prost::Message;
use proto::records::{NamespaceRecord, PoliciesRecord, Retention};
use proto::{LedgerId, keys};

use super::*;
use crate::log::rig::{Rig, publish, read_all};
use crate::log::{self, LogContext};
use crate::outbox::{Client, Outbox, PublishBudget};
use crate::policies::Level;
use crate::topic::{AttachProducer, ProducerReply, Publish, SubscribeAt, TopicSetup};

struct House {
    rig: Rig,
    log: LogContext,
    upkeep: Upkeep,
    sealed: mpsc::Receiver<TopicName>,
}

/// As brokers are by default: nothing moves.
fn defaults() -> Defaults {
    crate::Config::default().offload()
}

const HOUR: Duration = Duration::from_secs(3600);

impl House {
    async fn new() -> Self {
        let rig = Rig::new();
        let (sealing, sealed) = mpsc::channel(SEALED_MAX);
        let log = LogContext { sealed: sealing, ..rig.context("a", 2) };
        let topics = Topics::new(TopicSetup {
            log: log.clone(),
            owns: Box::new(|_| true),
            producer_prefix: "test".into(),
            clock: log.clock.clone(),
        });
        let policies = Policies::new(log.metadata.clone(), crate::Config::default().of_broker());
        let tiering = Tiering::new(log.tier.clone(), policies.clone(), defaults(), log.clock.clone());
        let schemas = Schemas::new(log.metadata.clone(), log.clock.clone());
        let rooms = Rooms { topics, policies, schemas };
        let upkeep = Upkeep::new(rooms, tiering, log.rollover, HOUR, log.clock.clone(), 1);
        let namespace = NamespaceRecord::default().encode_to_vec();
        rig.store.put(keys::namespace(rig.topic.namespace()), namespace, Expect::Absent).await.unwrap();
        Self { rig, log, upkeep, sealed }
    }

    /// A topic with so many entries, two in a ledger, all of them sealed.
    async fn stored(&self, name: &str, entries: u32) -> TopicName {
        let topic: TopicName = name.parse().unwrap();
        log::create(&self.log, &topic, HashMap::new()).await.unwrap();
        let mut loaded = log::load(&self.log, &topic).await.unwrap();
        publish(&mut loaded.log, 0, entries).await;
        loaded.log.close().await.unwrap();
        topic
    }

    /// The same, loaded, with a subscription that has acknowledged everything.
    async fn consumed(&self, name: &str, entries: u32) -> TopicHandle {
        let topic = self.stored(name, entries).await;
        let handle = self.upkeep.topics.open(&topic, false).await.unwrap();
        handle.create_subscription("s", SubscribeAt::Earliest, BTreeMap::new()).await.unwrap();
        handle.skip_all("s").await.unwrap();
        handle
    }

    async fn walk(&self) {
        self.upkeep.walk(self.upkeep.topics.loaded(), &Drain::new()).await;
    }

    async fn retain(&self, level: Level, minutes: i64, mebibytes: i64) {
        let set = |record: &mut PoliciesRecord| {
            record.retention = Some(Retention { minutes, mebibytes });
            Ok(())
        };
        self.upkeep.policies.change(&level, set).await.unwrap();
    }

    /// As the worker of intents does it.
    async fn work_off(&self) {
        let metadata: Arc<dyn MetadataStore> = self.log.metadata.clone();
        crate::intents::work_off(&metadata, &self.log.ledgers).await;
    }
}

fn ledgers(handle: &TopicHandle) -> usize {
    handle.with_chain(|chain| chain.ledgers().len())
}

/// Lets the paused clock go on by `time`, and every task do what falls due meanwhile, in order. It takes no real time.
async fn pass(time: Duration) {
    let real = std::time::Instant::now();
    tokio::time::sleep(time).await;
    assert!(time < Duration::from_secs(5) || real.elapsed() < time, "the clock is not paused");
}

#[tokio::test(start_paused = true)]
async fn what_everyone_has_acknowledged_leaves_the_topic_the_metadata_and_the_storage() {
    let house = House::new().await;
    let handle = house.consumed("orders", 7).await;
    let of_chain: Vec<LedgerId> = handle.with_chain(|chain| chain.ledgers().iter().map(|one| one.ledger).collect());
    assert_eq!(of_chain.len(), 4);
    house.walk().await;
    assert_eq!(ledgers(&handle), 0);
    let stats = handle.stats().await.unwrap();
    assert_eq!((stats.storage_size, stats.subscriptions["s"].msg_backlog), (0, 0));
    let listed = handle.internal_stats().await.unwrap().ledgers;
    assert_eq!(listed.iter().map(|one| (one.ledger_id, one.size)).collect::<Vec<_>>(), [(-1, 0)], "the one to come");
    assert_eq!(handle.last_message_id(false).await.unwrap().ledger_id, u64::MAX, "there is no last message");
    house.work_off().await;
    for ledger in of_chain {
        assert_eq!(house.rig.store.get(&keys::ledger(ledger).into()).await.unwrap(), None);
        assert!(!house.rig.ledgers.ledgers().contains(&ledger));
    }
    assert!(house.rig.intents().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_topic_keeps_what_its_own_policy_or_that_of_its_namespace_says() {
    let house = House::new().await;
    let handles = [
        house.consumed("plain", 7).await,
        house.consumed("own", 7).await,
        house.consumed("parted-partition-0", 7).await,
    ];
    let namespace = house.rig.topic.namespace().clone();
    house.retain(Level::Namespace(namespace), 60, -1).await;
    house.retain(Level::Topic("own".parse().unwrap()), -1, -1).await;
    let parent: TopicName = "parted".parse().unwrap();
    house.rig.store.put(keys::partitioned_topic(&parent), vec![], Expect::Absent).await.unwrap();
    house.retain(Level::Topic(parent), 120, -1).await;
    let mut left = Vec::new();
    for _ in 0..3 {
        house.walk().await;
        left.push(handles.each_ref().map(ledgers));
        pass(HOUR + Duration::from_millis(1)).await;
    }
    assert_eq!(left, [[4, 4, 4], [0, 4, 4], [0, 4, 0]]);
}

/// N16 (P#26137). Goal: what cannot be read is not "nothing is wanted". Method: policies are away, or damaged, from the load on; the
/// broker's default keeps nothing; walks come, and somebody asks for a trim.
#[tokio::test(start_paused = true)]
async fn n16_nothing_leaves_while_policies_cannot_be_read() {
    let house = House::new().await;
    let damaged: TopicName = "damaged".parse().unwrap();
    house.rig.store.put(keys::topic_policies(&damaged), "\u{7}\u{7}\u{7}", Expect::Absent).await.unwrap();
    house.rig.mortal.set_unreadable(Some("policies/"));
    let (away, broken) = (house.consumed("away", 7).await, house.consumed("damaged", 7).await);
    for _ in 0..3 {
        house.walk().await;
        pass(PAUSE).await;
    }
    assert!(matches!(house.upkeep.trim(&away).await, Err(UpkeepError::Policies(_))));
    assert_eq!((ledgers(&away), ledgers(&broken)), (4, 4));
    house.rig.mortal.set_unreadable(None);
    house.walk().await;
    assert_eq!((ledgers(&away), ledgers(&broken)), (0, 4), "the damage of one is no reason for the other");
    assert!(matches!(house.upkeep.trim(&broken).await, Err(UpkeepError::Policies(Error::Corrupt { .. }))));
    // What can be read of it is all there is.
    house.rig.store.delete(keys::topic_policies(&damaged), Expect::Any).await.unwrap();
    house.upkeep.trim(&broken).await.unwrap();
    assert_eq!(ledgers(&broken), 0);

    let spoilt = house.consumed("spoilt", 7).await;
    let namespace = keys::namespace_policies(spoilt.name().namespace());
    house.rig.store.put(namespace, "\u{7}\u{7}\u{7}", Expect::Absent).await.unwrap();
    house.walk().await;
    assert_eq!(ledgers(&spoilt), 4);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_is_set_while_a_trim_is_under_way_counts() {
    let house = House::new().await;
    let handle = house.consumed("orders", 7).await;
    house.rig.mortal.hold_commits(true);
    let (upkeep, asked) = (house.upkeep.clone(), handle.clone());
    let trim = tokio::spawn(async move { upkeep.trim(&asked).await });
    pass(Duration::from_millis(10)).await;
    let kept = PoliciesRecord { retention: Some(Retention { minutes: -1, mebibytes: -1 }), ..Default::default() };
    let key = keys::topic_policies(handle.name());
    house.rig.store.put(key, kept.encode_to_vec(), Expect::Absent).await.unwrap();
    house.rig.mortal.hold_commits(false);
    assert!(trim.await.unwrap().is_err());
    house.walk().await;
    assert_eq!(ledgers(&handle), 4);
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_who_subscribes_within_the_hour_finds_everything() {
    let house = House::new().await;
    let topic = house.stored("orders", 7).await;
    let handle = house.upkeep.topics.open(&topic, false).await.unwrap();
    pass(HOUR - Duration::from_secs(1)).await;
    house.walk().await;
    house.upkeep.trim(&handle).await.unwrap();
    handle.create_subscription("late", SubscribeAt::Earliest, BTreeMap::new()).await.unwrap();
    assert_eq!(handle.stats().await.unwrap().subscriptions["late"].msg_backlog, 7);
    pass(3 * HOUR).await;
    house.walk().await;
    assert_eq!(handle.stats().await.unwrap().subscriptions["late"].msg_backlog, 7);
    let other = house.stored("unread", 7).await;
    let unread = house.upkeep.topics.open(&other, false).await.unwrap();
    house.walk().await;
    assert_eq!(ledgers(&unread), 4);
    pass(HOUR).await;
    house.walk().await;
    assert_eq!(ledgers(&unread), 0, "nobody came");
}

#[tokio::test(start_paused = true)]
async fn truncating_acknowledges_everything_and_asks_no_policy() {
    let house = House::new().await;
    let topic = house.stored("orders", 7).await;
    house.retain(Level::Topic(topic.clone()), -1, -1).await;
    let handle = house.upkeep.topics.open(&topic, false).await.unwrap();
    for name in ["a", "b"] {
        handle.create_subscription(name, SubscribeAt::Earliest, BTreeMap::new()).await.unwrap();
    }
    house.upkeep.truncate(&handle).await.unwrap();
    let stats = handle.stats().await.unwrap();
    assert_eq!((ledgers(&handle), stats.subscriptions["a"].msg_backlog), (0, 0));
    let bare = house.stored("bare", 7).await;
    let bare = house.upkeep.topics.open(&bare, false).await.unwrap();
    house.upkeep.truncate(&bare).await.unwrap();
    assert_eq!(ledgers(&bare), 0, "nobody is there to wait for");
}

/// Whoever holds a connection that goes away has asked; a change of the record is seen to its end all the same.
#[tokio::test(start_paused = true)]
async fn a_trim_whose_asker_goes_away_costs_the_topic_nothing() {
    let house = House::new().await;
    let handle = house.consumed("orders", 7).await;
    house.rig.mortal.hold_commits(true);
    let asked = tokio::time::timeout(Duration::from_millis(10), house.upkeep.trim(&handle)).await;
    assert!(asked.is_err(), "gone away");
    house.rig.mortal.hold_commits(false);
    house.upkeep.trim(&handle).await.unwrap();
    assert_eq!((ledgers(&handle), handle.is_closed()), (0, false));
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_was_taken_over_is_given_up_when_its_trim_is_fenced() {
    let house = House::new().await;
    let handle = house.consumed("orders", 7).await;
    let other = log::load(&house.rig.context("b", 2), handle.name()).await.unwrap();
    house.walk().await;
    assert_eq!(read_all(&other.log.reader()).await.len(), 7);
    tokio::time::timeout(Duration::from_secs(60), async {
        while !handle.is_closed() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it is given up");
}

/// Publishes one entry of so many bytes.
async fn publish_one(house: &House, handle: &TopicHandle, bytes: usize) {
    publish_at(house, handle, bytes, 0).await;
}

/// The same, at a time.
async fn publish_at(house: &House, handle: &TopicHandle, bytes: usize, publish_time: u64) {
    let metadata = proto::pulsar::MessageMetadata { publish_time, ..Default::default() };
    publish_entry(house, handle, proto::entry::build(&metadata, &vec![7; bytes])).await;
}

async fn publish_entry(house: &House, handle: &TopicHandle, entry: bytes::Bytes) {
    let serial = house.upkeep.topics.serial();
    handle.attach(|reply| AttachProducer { serial, ..producer(house, client(), reply) }).await.unwrap();
    let entry = Ok(entry);
    let publish = Publish {
        serial,
        sequence_id: 0,
        highest_sequence_id: 0,
        messages: 1,
        bytes: 1,
        stamp: Default::default(),
        entry,
    };
    let before = handle.last_position();
    assert!(handle.publish(vec![publish]).await);
    while handle.last_position() == before {
        pass(Duration::from_millis(1)).await;
    }
}

fn client() -> Arc<Client> {
    Arc::new(Client {
        outbox: Outbox::new(Arc::new(PublishBudget::new(usize::MAX))),
        address: String::new(),
        version: String::new(),
        protocol: 21,
        connected_since: String::new(),
    })
}

fn producer(house: &House, client: Arc<Client>, reply: ProducerReply) -> AttachProducer {
    AttachProducer {
        serial: house.upkeep.topics.serial(),
        producer_id: 1,
        name: None,
        user_provided: false,
        epoch: 0,
        mode: proto::pulsar::ProducerAccessMode::Shared,
        topic_epoch: None,
        deduplication: false,
        producers_max: None,
        client,
        metadata: BTreeMap::new(),
        reply,
    }
}

fn is_open(handle: &TopicHandle) -> bool {
    handle.with_chain(|chain| chain.open().is_some())
}

/// P#15332: a topic whose messages were all consumed holds no space for ever. Nor is a ledger made for each message of a quiet topic.
#[tokio::test(start_paused = true)]
async fn an_idle_ledger_that_was_consumed_is_closed_and_leaves() {
    let mut house = House::new().await;
    let (large, small) = (house.consumed("large", 1).await, house.consumed("small", 1).await);
    publish_one(&house, &large, 2 << 20).await;
    publish_one(&house, &small, 100).await;
    pass(Duration::from_secs(119)).await;
    house.walk().await;
    assert_eq!((ledgers(&large), is_open(&large)), (1, true), "what was closed has left, what is needed is open");
    large.skip_all("s").await.unwrap();
    small.skip_all("s").await.unwrap();
    house.walk().await;
    assert!(is_open(&large), "not idle for long enough");
    pass(Duration::from_secs(1)).await;
    while house.sealed.try_recv().is_ok() {}
    house.walk().await;
    assert_eq!(house.sealed.recv().await.as_ref(), Some(large.name()));
    house.walk().await;
    assert_eq!((ledgers(&large), ledgers(&small)), (0, 1));
    assert!(is_open(&small), "its space is not worth a ledger");
    publish_one(&house, &large, 1).await;
    assert_eq!(large.stats().await.unwrap().subscriptions["s"].msg_backlog, 1, "it goes on with the next ledger");

    pass(house.log.rollover.age_max).await;
    house.walk().await;
    let mut closed = [house.sealed.recv().await.unwrap(), house.sealed.recv().await.unwrap()];
    closed.sort();
    assert_eq!(closed, [large.name().clone(), small.name().clone()], "old ones are closed without a publish");
    house.walk().await;
    assert_eq!((ledgers(&large), ledgers(&small)), (1, 0));
}

/// Goal: a topic of which nothing can be learnt now holds up no other, and loses nothing. Method: the storage does not confirm what its
/// cursor log writes; other cursor logs have nothing to write.
#[tokio::test(start_paused = true)]
async fn a_topic_whose_cursor_log_hangs_waits_for_the_next_walk_and_holds_up_no_other() {
    let house = House::new().await;
    let (stuck, other) = (house.consumed("stuck", 7).await, house.consumed("other", 7).await);
    house.rig.ledgers.hold_confirmations();
    let asked = stuck.clone();
    let late =
        tokio::spawn(async move { asked.create_subscription("late", SubscribeAt::Latest, BTreeMap::new()).await });
    pass(Duration::from_millis(100)).await;
    let begin = Instant::now();
    house.walk().await;
    assert_eq!((ledgers(&stuck), ledgers(&other)), (4, 0));
    assert!(begin.elapsed() <= SAID_WITHIN + Duration::from_millis(100), "{:?}", begin.elapsed());
    house.rig.ledgers.release_confirmations();
    late.await.unwrap().unwrap();
    house.walk().await;
    assert_eq!(ledgers(&stuck), 0);
}

/// The worker: nobody waits for the next minute when a ledger was closed, and a walk comes every minute.
#[tokio::test(start_paused = true)]
async fn the_worker_looks_when_a_ledger_was_closed_and_every_minute() {
    let House { rig, log, upkeep, sealed } = House::new().await;
    let house = House { rig, log, upkeep: upkeep.clone(), sealed: mpsc::channel(1).1 };
    let handle = house.consumed("orders", 7).await;
    let drain = Drain::new();
    let begin = Instant::now();
    let work = tokio::spawn(upkeep.work(sealed, drain.clone()));
    let gone = async |handle: &TopicHandle| {
        while 0 < ledgers(handle) {
            pass(Duration::from_millis(100)).await;
        }
        begin.elapsed()
    };
    // Closing the ledgers of `stored` was heard of.
    assert!(gone(&handle).await < Duration::from_secs(1));
    let later = house.consumed("later", 1).await;
    house.rig.mortal.set_unreadable(Some("policies/"));
    pass(Duration::from_secs(30)).await;
    house.rig.mortal.set_unreadable(None);
    let took = gone(&later).await;
    assert!(Duration::from_secs(59) < took && took < Duration::from_secs(62), "{took:?}");
    drain.request();
    work.await.unwrap();
    assert!(house.sealed.is_empty());
}
