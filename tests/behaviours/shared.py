"""Shared: many consumers, each message at one of them at a time, in no order."""

import pulsar
from stage import PATIENCE_MS, eventually, nothing_more, received, refused, text

Shared = pulsar.ConsumerType.Shared
# As many messages as one consumer may hold unacknowledged.
UNACKED_MAX = 50_000


def each_message_goes_to_one_consumer(stage):
    topic = stage.topic("shared")
    consumers = [stage.subscribe(topic, kind=Shared, receiver_queue_size=10) for _ in range(3)]
    stage.publish(topic, [str(number) for number in range(90)])
    counts, texts = [], []
    for consumer in consumers:
        own = _all_of(consumer)
        counts.append(len(own))
        texts += map(text, own)
    assert sorted(texts, key=int) == [str(number) for number in range(90)]
    assert min(counts) > 0, counts


def a_message_given_back_comes_again_with_a_count(stage):
    topic = stage.topic("back")
    consumer = stage.subscribe(topic, kind=Shared, negative_ack_redelivery_delay_ms=100)
    stage.publish(topic, ["a", "b"])
    for count in range(3):
        message = _the_one(consumer, "a")
        assert message.redelivery_count() == count
        consumer.negative_acknowledge(message)
    consumer.acknowledge(_the_one(consumer, "a"))
    nothing_more(consumer)


def what_a_consumer_leaves_goes_to_others_and_does_not_count(stage):
    topic = stage.topic("leaves")
    first = stage.subscribe(topic, kind=Shared, negative_ack_redelivery_delay_ms=100)
    stage.publish(topic, ["a"])
    first.negative_acknowledge(first.receive(timeout_millis=PATIENCE_MS))
    assert first.receive(timeout_millis=PATIENCE_MS).redelivery_count() == 1
    second = stage.subscribe(topic, kind=Shared)
    nothing_more(second)
    first.close()
    assert second.receive(timeout_millis=PATIENCE_MS).redelivery_count() == 1


def all_that_a_consumer_holds_can_be_asked_for_again(stage):
    topic = stage.topic("again")
    consumer = stage.subscribe(topic, kind=Shared)
    stage.publish(topic, [str(number) for number in range(10)])
    assert len(_all_of(consumer, acknowledge=False)) == 10
    consumer.redeliver_unacknowledged_messages()
    again = _all_of(consumer)
    assert sorted(map(text, again), key=int) == [str(number) for number in range(10)]
    assert {message.redelivery_count() for message in again} == {1}


def a_batch_may_be_larger_than_the_permits(stage):
    topic = stage.topic("batch")
    first = stage.subscribe(topic, kind=Shared, receiver_queue_size=10)
    _publish_batches(stage, topic, 1, 100)
    assert len(_all_of(first, acknowledge=False)) == 100
    second = stage.subscribe(topic, kind=Shared, receiver_queue_size=10)
    stage.publish(topic, ["single"])
    texts = [text(message) for consumer in (first, second) for message in _all_of(consumer)]
    assert texts == ["single"]


def a_consumer_with_too_many_unacknowledged_messages_gets_no_more_until_half_of_them_are_acknowledged(stage):
    topic = stage.topic("unacked")
    consumer = stage.subscribe(topic, kind=Shared, receiver_queue_size=70_000)
    _publish_batches(stage, topic, 60, 1000)
    held = [consumer.receive(timeout_millis=PATIENCE_MS) for _ in range(UNACKED_MAX)]
    nothing_more(consumer)
    told = _stats(stage, topic)["consumers"][0]
    assert told["blockedConsumerOnUnackedMsgs"] is True and told["unackedMessages"] == UNACKED_MAX
    for message in held[:24_000]:
        consumer.acknowledge(message)
    eventually(lambda: _stats(stage, topic)["unackedMessages"] == UNACKED_MAX - 24_000)
    nothing_more(consumer)
    for message in held[24_000:25_000]:
        consumer.acknowledge(message)
    assert len([consumer.receive(timeout_millis=PATIENCE_MS) for _ in range(10_000)]) == 10_000
    assert _stats(stage, topic)["consumers"][0]["blockedConsumerOnUnackedMsgs"] is False


def giving_back_unblocks_a_consumer(stage):
    topic = stage.topic("unblocks")
    consumer = stage.subscribe(topic, kind=Shared, receiver_queue_size=60_000)
    _publish_batches(stage, topic, 50, 1000)
    for _ in range(UNACKED_MAX):
        consumer.receive(timeout_millis=PATIENCE_MS)
    assert _stats(stage, topic)["consumers"][0]["blockedConsumerOnUnackedMsgs"] is True
    consumer.redeliver_unacknowledged_messages()
    assert consumer.receive(timeout_millis=PATIENCE_MS).redelivery_count() == 1


def a_consumer_cannot_unsubscribe_while_others_are_there(stage):
    topic = stage.topic("unsubscribe")
    first, second = (stage.subscribe(topic, kind=Shared) for _ in range(2))
    refused(pulsar.PulsarException, first.unsubscribe)
    second.close()
    first.unsubscribe()


def a_subscription_changes_its_type_once_nobody_is_there(stage):
    topic = stage.topic("type")
    first = stage.subscribe(topic, kind=Shared)
    stage.publish(topic, ["a", "b"])
    for kind in (pulsar.ConsumerType.Exclusive, pulsar.ConsumerType.Failover, pulsar.ConsumerType.KeyShared):
        refused(pulsar.ConsumerBusy, stage.subscribe, topic, "s", kind)
    assert received(first, 1) == ["a"]
    first.close()
    assert received(stage.subscribe(topic, kind=pulsar.ConsumerType.Exclusive), 1) == ["b"]
    assert _stats(stage, topic)["type"] == "Exclusive"


def _publish_batches(stage, topic, batches, size):
    producer = stage.client.create_producer(
        topic,
        batching_enabled=True,
        batching_max_messages=size,
        batching_max_allowed_size_in_bytes=1 << 20,
        batching_max_publish_delay_ms=10_000,
        max_pending_messages=100_000,
    )
    for _ in range(batches):
        for number in range(size):
            producer.send_async(str(number).encode(), None)
        producer.flush()
    producer.close()


def _all_of(consumer, acknowledge=True):
    messages = []
    while True:
        try:
            messages.append(consumer.receive(timeout_millis=700))
        except pulsar.Timeout:
            return messages
        if acknowledge:
            consumer.acknowledge(messages[-1])


def _the_one(consumer, content):
    """The next message with that content; others are acknowledged."""
    while True:
        message = consumer.receive(timeout_millis=PATIENCE_MS)
        if text(message) == content:
            return message
        consumer.acknowledge(message)


def _stats(stage, topic):
    return stage.stats(topic)["subscriptions"]["s"]
