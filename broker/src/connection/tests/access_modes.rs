use proto::pulsar::ProducerAccessMode::{Exclusive, ExclusiveWithFencing, Shared, WaitForExclusive};

use super::*;

impl Client {
    async fn wants(&mut self, producer_id: u64, name: &str, mode: ProducerAccessMode, topic_epoch: Option<u64>) -> u64 {
        let request_id = self.request_id();
        let command = CommandProducer {
            topic: TOPIC.into(),
            producer_id,
            request_id,
            producer_name: Some(name.into()),
            producer_access_mode: Some(mode.into()),
            topic_epoch,
            ..Default::default()
        };
        self.send(command).await;
        request_id
    }

    async fn success(&mut self, request_id: u64) -> (Option<u64>, bool) {
        let success = self.expect(Type::ProducerSuccess).await.producer_success.unwrap();
        assert_eq!(success.request_id, request_id);
        (success.topic_epoch, success.producer_ready())
    }

    async fn attached(&mut self, producer_id: u64, name: &str, mode: ProducerAccessMode) -> (Option<u64>, bool) {
        let request_id = self.wants(producer_id, name, mode, None).await;
        self.success(request_id).await
    }

    async fn refused(&mut self, producer_id: u64, name: &str, mode: ProducerAccessMode) -> (ServerError, String) {
        self.refused_with(producer_id, name, mode, None).await
    }

    async fn refused_with(
        &mut self,
        producer_id: u64,
        name: &str,
        mode: ProducerAccessMode,
        topic_epoch: Option<u64>,
    ) -> (ServerError, String) {
        let request_id = self.wants(producer_id, name, mode, topic_epoch).await;
        let answer = self.expect(Type::Error).await.error.unwrap();
        assert_eq!(answer.request_id, request_id);
        (answer.error(), answer.message)
    }

    async fn closes(&mut self, producer_id: u64) {
        let request_id = self.request_id();
        self.send(CommandCloseProducer { producer_id, request_id, ..Default::default() }).await;
        self.expect_success(request_id).await;
    }
}

fn fenced(text: &str) -> (ServerError, String) {
    (ServerError::ProducerFenced, text.into())
}

fn busy(text: &str) -> (ServerError, String) {
    (ServerError::ProducerBusy, text.into())
}

#[tokio::test]
async fn a_topic_is_shared_or_has_one_producer() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    assert_eq!(client.attached(1, "s", Shared).await, (None, true), "no epoch while nobody has had it alone");
    assert_eq!(client.refused(2, "e", Exclusive).await, fenced("Topic has existing shared producers"));
    client.closes(1).await;
    assert_eq!(client.attached(2, "e", Exclusive).await, (Some(0), true));
    let text = "Topic has an existing exclusive producer: e";
    assert_eq!(client.refused(3, "s", Shared).await, busy(text));
    assert_eq!(client.refused(3, "f", Exclusive).await, fenced(text));
    client.publish(2, 0, "x").await;
    client.closes(2).await;
    assert_eq!(client.attached(3, "s", Shared).await, (Some(0), true));
}

#[tokio::test]
async fn those_who_wait_have_their_turn_one_after_the_other() {
    let broker = Broker::start().await;
    let mut first = broker.client().await;
    let mut other = broker.client().await;
    first.attached(1, "a", Exclusive).await;
    let second = other.wants(1, "b", WaitForExclusive, None).await;
    assert_eq!(other.success(second).await, (None, false));
    let third = other.wants(2, "c", WaitForExclusive, None).await;
    assert_eq!(other.success(third).await, (None, false));
    let fourth = other.wants(3, "d", WaitForExclusive, None).await;
    assert_eq!(other.success(fourth).await, (None, false));
    assert_eq!(first.refused(2, "s", Shared).await, busy("Topic has an existing exclusive producer: a"));
    other.closes(2).await; // One that waits may leave.
    drop(first);
    assert_eq!(other.success(second).await, (Some(1), true));
    other.publish(1, 0, "x").await;
    other.closes(1).await;
    assert_eq!(other.success(fourth).await, (Some(2), true));
}

#[tokio::test]
async fn one_that_waits_comes_in_when_the_last_shared_producer_has_left() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.attached(1, "s", Shared).await;
    client.attached(2, "t", Shared).await;
    let waits = client.wants(3, "w", WaitForExclusive, None).await;
    assert_eq!(client.success(waits).await, (None, false));
    assert_eq!(client.refused(4, "u", Shared).await, busy("Topic has an existing exclusive producer: w"));
    client.closes(1).await;
    client.expect_silence().await;
    client.closes(2).await;
    assert_eq!(client.success(waits).await, (Some(0), true));
}

#[tokio::test]
async fn whoever_publishes_before_its_turn_breaks_the_protocol() {
    let broker = Broker::start().await;
    let mut holder = broker.client().await;
    holder.attached(1, "a", Exclusive).await;
    let mut client = broker.client().await;
    let waits = client.wants(1, "b", WaitForExclusive, None).await;
    assert_eq!(client.success(waits).await, (None, false));
    client.write(&send_bytes(1, 0, &message("x"))).await;
    client.expect_end().await;
    holder.publish(1, 0, "y").await;
}

/// Goal: a producer that was fenced out cannot come back, not even after the topic was loaded again.
#[tokio::test]
async fn a_fenced_producer_stays_out() {
    let broker = Broker::start().await;
    let mut old = broker.client().await;
    let mut waiting = broker.client().await;
    let mut new = broker.client().await;
    assert_eq!(old.attached(1, "old", ExclusiveWithFencing).await, (Some(0), true));
    let waits = waiting.wants(1, "w", WaitForExclusive, None).await;
    assert_eq!(waiting.success(waits).await, (None, false));
    assert_eq!(new.attached(1, "new", ExclusiveWithFencing).await, (Some(1), true));
    assert_eq!(old.expect(Type::CloseProducer).await.close_producer.unwrap().producer_id, 1);
    assert_eq!(waiting.expect_error(waits, ServerError::ProducerFenced).await, "Fenced out");
    old.write(&send_bytes(1, 0, &message("late"))).await; // It crossed the news, and is dropped.
    let moved = fenced("Topic epoch has already moved. Current epoch: 1, Producer epoch: 0");
    for mode in [ExclusiveWithFencing, WaitForExclusive] {
        assert_eq!(old.refused_with(1, "old", mode, Some(0)).await, moved);
    }
    new.publish(1, 0, "x").await;
    broker.context.topics.unload(&name(TOPIC), &Default::default()).await;
    new.expect(Type::CloseProducer).await;
    for mode in [Exclusive, ExclusiveWithFencing, WaitForExclusive] {
        assert_eq!(old.refused_with(1, "old", mode, Some(0)).await, moved, "after the topic was loaded again");
    }
    let again = new.wants(2, "new", Exclusive, Some(1)).await;
    assert_eq!(new.success(again).await, (Some(1), true), "nobody has followed it: its epoch still counts");
}

#[tokio::test]
async fn a_new_exclusive_producer_replaces_one_whose_client_is_dead() {
    let broker = Broker::start().await;
    let mut dead = broker.client().await;
    dead.attached(1, "a", Exclusive).await;
    let mut client = broker.client().await;
    // It answers no PING: the connection is given up, and the name is free.
    assert_eq!(client.attached(1, "a", Exclusive).await, (Some(1), true));
}
