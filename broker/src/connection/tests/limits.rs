//! How many there may be of everything. Codes and texts are those that Apache Pulsar 4.0.8 gave to the same frames.
use proto::records::LedgerRecord;
use proto::{EntryId, LedgerId};
use serde_json::{Value, json};

use super::*;
use crate::policies::Level;

const NO_SUCH_KIND: &str = "Topic[{persistent://public/default/orders}] doesn't support Shared sub type!";
const TOO_MANY_PRODUCERS: &str = "Topic 'persistent://public/default/orders' reached max producers limit";
const TOO_MANY_SUBSCRIPTIONS: &str =
    "Exceed the maximum number of subscriptions of the topic: persistent://public/default/orders";
const OF_TOPIC: &str = "Topic reached max consumers limit";
const OF_SUBSCRIPTION: &str = "Subscription reached max consumers limit";

impl Broker {
    pub(super) async fn limits(&self, level: Level, policies: &[(&str, Value)]) {
        let set = |record: &mut proto::records::PoliciesRecord| {
            record.plain = policies.iter().map(|(name, value)| ((*name).into(), value.to_string())).collect();
            Ok(())
        };
        self.context.policies.change(&level, set).await.unwrap();
    }

    pub(super) async fn of_namespace(&self, policies: &[(&str, Value)]) {
        self.limits(Level::Namespace("public/default".parse().unwrap()), policies).await;
    }
}

impl Client {
    async fn too_many(&mut self, subscription: &str, kind: SubType, error: ServerError, text: &str) {
        let request_id = self.subscribe(subscription, kind, 99).await;
        assert_eq!(self.expect_error(request_id, error).await, text);
    }

    async fn leaves(&mut self, consumer_id: u64) {
        let request_id = self.request_id();
        self.send(CommandCloseConsumer { consumer_id, request_id, ..Default::default() }).await;
        self.expect_success(request_id).await;
    }

    async fn wants_to_produce(&mut self, producer_id: u64, initial: Option<&str>) -> u64 {
        let request_id = self.request_id();
        let initial_subscription_name = initial.map(str::to_owned);
        let command = CommandProducer {
            topic: TOPIC.into(),
            producer_id,
            request_id,
            initial_subscription_name,
            ..Default::default()
        };
        self.send(command).await;
        request_id
    }
}

#[tokio::test]
async fn producers() {
    let broker = Broker::start().await;
    broker.of_namespace(&[("max_producers_per_topic", json!(1))]).await;
    let mut client = broker.client().await;
    client.producer(TOPIC, 1).await;
    let request_id = client.wants_to_produce(2, None).await;
    assert_eq!(client.expect_error(request_id, ServerError::ProducerBusy).await, TOO_MANY_PRODUCERS);
    broker.limits(Level::Topic(name(TOPIC)), &[("max_producers_per_topic", json!(0))]).await;
    client.producer(TOPIC, 2).await; // Of a topic, 0 is no limit whatever its namespace says.
    broker.stop().await;
}

#[tokio::test]
async fn consumers_of_a_subscription_and_of_a_topic() {
    let broker = Broker::start().await;
    let limits = [("max_consumers_per_topic", json!(3)), ("max_consumers_per_subscription", json!(2))];
    broker.of_namespace(&limits).await;
    let mut client = broker.client().await;
    client.subscribed("s", SubType::Shared, 1).await;
    client.subscribed("s", SubType::Shared, 2).await;
    client.too_many("s", SubType::Shared, ServerError::ConsumerBusy, OF_SUBSCRIPTION).await;
    client.subscribed("other", SubType::Shared, 3).await;
    for subscription in ["s", "other", "third"] {
        client.too_many(subscription, SubType::Shared, ServerError::ConsumerBusy, OF_TOPIC).await;
    }
    let mut all = broker.topic(TOPIC).subscriptions().await.unwrap();
    all.sort();
    assert_eq!(all, ["other", "s"], "who is refused leaves no subscription");
    client.leaves(1).await;
    client.subscribed("third", SubType::Exclusive, 4).await;
    drop(client); // Whoever is gone counts no more.
    let mut next = broker.client().await;
    for consumer_id in 1..=2 {
        loop {
            let request_id = next.subscribe("s", SubType::Shared, consumer_id).await;
            let answer = next.next().await.unwrap().command;
            if answer.r#type() == Type::Success {
                assert_eq!(answer.success.unwrap().request_id, request_id);
                break;
            }
            assert_eq!(answer.error.unwrap().error(), ServerError::ConsumerBusy);
        }
    }
    broker.stop().await;
}

#[tokio::test]
async fn subscriptions() {
    let broker = Broker::start().await;
    broker.of_namespace(&[("max_subscriptions_per_topic", json!(1))]).await;
    let mut client = broker.client().await;
    client.subscribed("s", SubType::Shared, 1).await;
    client.too_many("other", SubType::Shared, ServerError::NotAllowedError, TOO_MANY_SUBSCRIPTIONS).await;
    client.subscribed("s", SubType::Shared, 2).await;
    broker.stop().await;
}

#[tokio::test]
async fn kinds_and_whether_subscriptions_come_to_be() {
    let broker = Broker::start().await;
    let auto = ("autoSubscriptionCreationOverride", json!({"allowAutoSubscriptionCreation": false}));
    broker.of_namespace(&[("subscription_types_enabled", json!(["Exclusive"]))]).await;
    let mut client = broker.client().await;
    client.too_many("s", SubType::Shared, ServerError::NotAllowedError, NO_SUCH_KIND).await;
    client.subscribed("s", SubType::Exclusive, 1).await;
    broker.of_namespace(&[auto]).await;
    client.too_many("t", SubType::Shared, ServerError::SubscriptionNotFound, "Subscription does not exist").await;
    let request_id = client.wants_to_produce(1, Some("t")).await;
    let text = "Could not create the initial subscription due to the auto subscription creation is not allowed.";
    assert_eq!(client.expect_error(request_id, ServerError::NotAllowedError).await, text);
    let request_id = client.wants_to_produce(1, Some("s")).await;
    assert_eq!(client.expect(Type::ProducerSuccess).await.producer_success.unwrap().request_id, request_id);
    let mut reader = subscription_command("reader", SubType::Exclusive, 7);
    (reader.durable, reader.request_id) = (Some(false), client.request_id());
    let request_id = reader.request_id;
    client.send(reader).await;
    client.expect_success(request_id).await;
    broker.stop().await;
}

#[tokio::test]
async fn topics() {
    let broker = Broker::start().await;
    broker.of_namespace(&[("max_topics_per_namespace", json!(1))]).await;
    let mut client = broker.client().await;
    client.producer(TOPIC, 1).await;
    let text = "Exceed maximum number of topics in namespace.";
    let new = "persistent://public/default/new";
    let request_id = client.request_id();
    client.send(CommandProducer { topic: new.into(), producer_id: 2, request_id, ..Default::default() }).await;
    assert_eq!(client.expect_error(request_id, ServerError::NotAllowedError).await, text);
    let (mut command, request_id) = (subscription_command("s", SubType::Shared, 1), client.request_id());
    (command.topic, command.request_id) = (new.into(), request_id);
    client.send(command).await;
    assert_eq!(client.expect_error(request_id, ServerError::NotAllowedError).await, text);
    client.subscribed("s", SubType::Shared, 2).await; // What is there is there.
    broker.of_namespace(&[("max_topics_per_namespace", json!(2))]).await;
    client.producer(new, 2).await;
    broker.stop().await;
}

#[tokio::test]
async fn sizes_of_messages() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.producer(TOPIC, 1).await;
    client.publish(1, 0, "of any size").await;
    let (fits, over) = (message(&"x".repeat(100)), message(&"x".repeat(101)));
    broker.limits(Level::Topic(name(TOPIC)), &[("max_message_size", json!(fits.len()))]).await;
    client.producer(TOPIC, 2).await; // It brings the news, to the other as well.
    client.write(&send_bytes(1, 1, &over)).await;
    let refused = client.expect(Type::SendError).await.send_error.unwrap();
    assert_eq!((refused.producer_id, refused.sequence_id), (1, 1));
    assert_eq!((refused.error(), &*refused.message), (ServerError::NotAllowedError, "Exceed maximum message size"));
    client.write(&send_bytes(1, 2, &fits)).await;
    assert_eq!(client.expect(Type::SendReceipt).await.send_receipt.unwrap().sequence_id, 2);

    // Whoever sends in chunks has been told the broker's limit.
    let chunk = CommandSend { producer_id: 1, sequence_id: 3, is_chunk: Some(true), ..Default::default() };
    let mut bytes = BytesMut::new();
    frame::encode_head(&chunk.into(), over.len(), &mut bytes);
    bytes.extend_from_slice(&over);
    client.write(&bytes).await;
    assert_eq!(client.expect(Type::SendReceipt).await.send_receipt.unwrap().sequence_id, 3);

    broker.limits(Level::Topic(name(TOPIC)), &[("max_message_size", json!(0))]).await;
    client.producer(TOPIC, 3).await;
    client.write(&send_bytes(1, 4, &over)).await;
    assert_eq!(client.expect(Type::SendReceipt).await.send_receipt.unwrap().sequence_id, 4);
    broker.stop().await;
}

/// The copies of the ledger that a message lies in: ensemble, write quorum, ack quorum.
async fn copies(broker: &Broker, id: &MessageIdData) -> [u32; 3] {
    let found = broker.context.metadata.get(&keys::ledger(LedgerId(id.ledger_id)).into()).await.unwrap().unwrap();
    let record = LedgerRecord::decode(found.value).unwrap();
    [record.ensemble_size, record.write_quorum, record.ack_quorum]
}

#[tokio::test]
async fn copies_of_messages() {
    let broker = Broker::start().await;
    let of = |ensemble: u32, write: u32, ack: u32| {
        json!({"bookkeeperEnsemble": ensemble, "bookkeeperWriteQuorum": write, "bookkeeperAckQuorum": ack,
               "managedLedgerMaxMarkDeleteRate": 0.0})
    };
    broker.of_namespace(&[("persistence", of(3, 2, 2))]).await;
    let mut client = broker.client().await;
    client.producer(TOPIC, 1).await;
    let first = client.publish(1, 0, "a").await;
    assert_eq!(copies(&broker, &first).await, [3, 2, 2], "from the first ledger on");
    broker.limits(Level::Topic(name(TOPIC)), &[("persistence", of(5, 5, 3))]).await;
    client.producer(TOPIC, 2).await; // It brings the news.
    let mut last = client.publish(1, 1, "b").await;
    assert_eq!((last.ledger_id, copies(&broker, &last).await), (first.ledger_id, [3, 2, 2]), "a ledger stays as it is");
    // The next may have been made already, ahead of need, and the one after it was not.
    for sequence_id in 2..=15 {
        last = client.publish(1, sequence_id, "c").await;
    }
    assert_eq!((position(&last).entry, copies(&broker, &last).await), (EntryId(1), [5, 5, 3]));
    broker.stop().await;
}

#[tokio::test]
async fn backlogs() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.producer(TOPIC, 1).await;
    client.subscribed("s", SubType::Shared, 1).await;
    client.publish(1, 0, "a").await;
    let text = "Cannot create producer on topic with backlog quota exceeded";
    let rows = [
        ("producer_request_hold", Some(ServerError::ProducerBlockedQuotaExceededError)),
        ("producer_exception", Some(ServerError::ProducerBlockedQuotaExceededException)),
        ("consumer_backlog_eviction", None),
    ];
    for (producer_id, (policy, error)) in (2..).zip(rows) {
        let quota = json!({"destination_storage": {"limitSize": 10, "limitTime": -1, "policy": policy}});
        broker.of_namespace(&[("backlog_quota_map", quota)]).await;
        match error {
            Some(error) => {
                let request_id = client.wants_to_produce(producer_id, None).await;
                assert_eq!(client.expect_error(request_id, error).await, text);
            }
            None => drop(client.producer(TOPIC, producer_id).await),
        }
    }
    broker.stop().await;
}
