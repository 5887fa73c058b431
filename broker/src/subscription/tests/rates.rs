//! Goal: messages are delivered as fast as policies say. Method: the clock is moved, and what a consumer has been sent is counted.
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::BytesMut;
use proto::pulsar::MessageMetadata;
use proto::pulsar::base_command::Type;
use proto::{entry, frame};

use super::*;
use crate::Clock;
use crate::heed::Heeded;
use crate::log::rig::settle;
use crate::outbox::{Client, Outbox, PublishBudget, Serial};
use crate::pace::Speed;
use crate::policies::{Limits, Terms};
use crate::subscription::dispatch::KeyTerms;
use crate::subscription::{Attach, ConsumerEvent};

const MESSAGES: usize = 30;

/// A topic with messages that wait.
struct House {
    rig: Rig,
    topic: Loaded,
    heeded: Arc<Heeded>,
    clock: Clock,
}

/// Who takes whatever comes.
struct Consumer {
    client: Arc<Client>,
    subscription: SubscriptionHandle,
    delivered: usize,
}

fn message() -> bytes::Bytes {
    let metadata = MessageMetadata { producer_name: "p".into(), publish_time: 5, ..Default::default() };
    entry::build(&metadata, b"x")
}

fn speed(messages: Option<u64>, bytes: Option<u64>) -> Speed {
    Speed { messages, bytes, period_ms: 1000 }
}

impl House {
    async fn new() -> Self {
        let rig = Rig::new();
        let context = rig.context("a", 1000);
        create(&context, &rig.topic, HashMap::new()).await.unwrap();
        let mut topic = load(&context, &rig.topic).await.unwrap();
        (0..MESSAGES).for_each(|_| topic.log.append(message()));
        topic.log.flush();
        settle(&mut topic.log).await;
        Self { rig, topic, heeded: Arc::default(), clock: context.clock }
    }

    fn heed(&self, terms: Terms) {
        self.heeded.heed(terms, self.clock.now_ms());
    }

    async fn consumer(&self, name: &str) -> Consumer {
        let setup = Setup {
            name: name.into(),
            durable: true,
            kind: SubType::Shared,
            partition: None,
            seat: Seat::of(&self.rig.topic),
            terminated: Arc::default(),
            attendance: Default::default(),
            heeded: self.heeded.clone(),
            start: Start::New(SubscribeAt::Earliest, false),
            properties: HashMap::new(),
            reader: self.topic.log.reader(),
            cursor_log: self.topic.cursor_log.clone(),
            clock: self.clock.clone(),
        };
        let subscription = spawn(setup, &TaskTracker::new());
        let client = Arc::new(Client {
            outbox: Outbox::new(Arc::new(PublishBudget::new(usize::MAX))),
            address: String::new(),
            version: String::new(),
            protocol: 21,
            connected_since: String::new(),
        });
        let attached = subscription.ask(|reply| {
            Command::Attach(Box::new(Attach {
                serial: Serial(1),
                consumer_id: 1,
                kind: SubType::Shared,
                keys: KeyTerms::default(),
                durable: true,
                read_compacted: false,
                name: "c".into(),
                priority: 0,
                epoch: None,
                limits: Limits::default(),
                client: client.clone(),
                metadata: BTreeMap::new(),
                takes_any_schema: false,
                reply,
            }))
        });
        attached.await.unwrap();
        let events = vec![(Serial(1), ConsumerEvent::Announced), (Serial(1), ConsumerEvent::Permits(1000))];
        subscription.events(events).await;
        Consumer { client, subscription, delivered: 0 }
    }
}

impl Consumer {
    /// Messages that it was sent up to now.
    fn count(&mut self) -> usize {
        let mut pieces = VecDeque::new();
        self.client.outbox.take(&mut pieces);
        let mut bytes = BytesMut::new();
        pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
        self.client.outbox.written(bytes.len());
        while let Some(frame) = frame::decode(&mut bytes, 1 << 20).unwrap() {
            self.delivered += usize::from(frame.command.r#type() == Type::Message);
        }
        self.delivered
    }
}

/// Lets the paused clock go on, and every task do what falls due meanwhile.
async fn pass(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_period_goes_at_once_and_the_rest_one_by_one() {
    let house = House::new().await;
    house.heed(Terms { subscription_dispatch: speed(Some(10), None), ..Terms::default() });
    let mut consumer = house.consumer("s").await;
    let mut counts = Vec::new();
    for millis in [50, 100, 100, 800, 1000, 1000] {
        pass(millis).await;
        counts.push(consumer.count());
    }
    assert_eq!(counts, [10, 11, 12, 20, 30, 30]);
    assert_eq!(consumer.subscription.ask(Command::Stats).await.unwrap().msg_backlog, MESSAGES as u64);
}

#[tokio::test(start_paused = true)]
async fn subscriptions_have_their_own_rates_and_share_that_of_their_topic() {
    let house = House::new().await;
    house.heed(Terms { subscription_dispatch: speed(Some(10), None), ..Terms::default() });
    let (mut one, mut other) = (house.consumer("one").await, house.consumer("other").await);
    pass(50).await;
    assert_eq!((one.count(), other.count()), (10, 10));

    let house = House::new().await;
    house.heed(Terms { dispatch: speed(Some(10), None), ..Terms::default() });
    let (mut one, mut other) = (house.consumer("one").await, house.consumer("other").await);
    pass(50).await;
    assert_eq!(one.count() + other.count(), 10);
    pass(1000).await;
    assert_eq!(one.count() + other.count(), 20);
    pass(4000).await;
    assert_eq!((one.count(), other.count()), (MESSAGES, MESSAGES), "none is left behind");
}

#[tokio::test(start_paused = true)]
async fn bytes_count_as_messages_do_and_a_rate_that_goes_lets_the_rest_go_at_once() {
    let house = House::new().await;
    let five = 5 * message().len() as u64;
    house.heed(Terms { dispatch: speed(None, Some(five)), ..Terms::default() });
    let mut consumer = house.consumer("s").await;
    pass(50).await;
    let at_once = consumer.count();
    assert!((5..=6).contains(&at_once), "{at_once}: whoever finds something left may take more");
    pass(1000).await;
    let later = consumer.count() - at_once;
    assert!((4..=6).contains(&later), "{later} in a second");
    house.heed(Terms::default());
    pass(1).await;
    assert_eq!(consumer.count(), MESSAGES);
}
