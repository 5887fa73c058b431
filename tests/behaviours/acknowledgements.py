"""What is acknowledged stays away: single messages, messages of a batch, everything up to one."""

import pulsar
from stage import PATIENCE_MS, nothing_more, page, received, refused, text

Shared = pulsar.ConsumerType.Shared
Exclusive = pulsar.ConsumerType.Exclusive


def _numbers(start, end):
    return [str(number) for number in range(start, end)]


def _messages(consumer, count):
    return [consumer.receive(timeout_millis=PATIENCE_MS) for _ in range(count)]


def _unload(stage, topic, *consumers):
    for consumer in consumers:
        consumer.close()
    stage.ask("PUT", page(topic, "unload"))


def messages_of_a_batch_are_acknowledged_one_by_one(stage):
    topic = stage.topic("batch")
    consumer = stage.subscribe(topic, kind=Shared, batch_index_ack_enabled=True)
    stage.publish_batch(topic, _numbers(0, 6))
    for message in _messages(consumer, 6):
        if text(message) in "135":
            consumer.acknowledge(message)
    consumer.close()
    consumer = stage.subscribe(topic, kind=Shared, batch_index_ack_enabled=True)
    assert received(consumer, 3) == ["0", "2", "4"]
    nothing_more(consumer)


def what_is_left_of_a_batch_outlives_its_topic_being_unloaded(stage):
    topic = stage.topic("kept")
    consumer = stage.subscribe(topic, batch_index_ack_enabled=True)
    stage.publish_batch(topic, _numbers(0, 6))
    for message in _messages(consumer, 6):
        if text(message) in "024":
            consumer.acknowledge(message)
    _unload(stage, topic, consumer)
    consumer = stage.subscribe(topic, batch_index_ack_enabled=True)
    assert received(consumer, 3) == ["1", "3", "5"]
    nothing_more(consumer)


def a_cumulative_acknowledgement_ends_inside_a_batch(stage):
    topic = stage.topic("cumulative")
    consumer = stage.subscribe(topic, batch_index_ack_enabled=True)
    stage.publish(topic, ["before"])
    stage.publish_batch(topic, _numbers(0, 6))
    consumer.acknowledge_cumulative(_messages(consumer, 4)[3])
    _unload(stage, topic, consumer)
    consumer = stage.subscribe(topic, batch_index_ack_enabled=True)
    assert received(consumer, 3) == ["3", "4", "5"]


def a_batch_is_gone_once_all_of_it_is_acknowledged(stage):
    topic = stage.topic("whole")
    consumer = stage.subscribe(topic, kind=Shared, batch_index_ack_enabled=True)
    stage.publish_batch(topic, _numbers(0, 4))
    messages = _messages(consumer, 4)
    for message in messages[:3]:
        consumer.acknowledge(message)
    assert stage.stats(topic)["subscriptions"]["s"]["msgBacklog"] == 1
    consumer.acknowledge(messages[3])
    consumer.close()
    assert stage.stats(topic)["subscriptions"]["s"]["msgBacklog"] == 0
    nothing_more(stage.subscribe(topic, kind=Shared))


def without_it_a_batch_comes_again_as_a_whole(stage):
    topic = stage.topic("without")
    consumer = stage.subscribe(topic)
    stage.publish_batch(topic, _numbers(0, 4))
    consumer.acknowledge(_messages(consumer, 4)[1])
    consumer.close()
    assert received(stage.subscribe(topic), 4) == _numbers(0, 4)


def a_batch_that_is_given_back_comes_again_without_what_was_acknowledged(stage):
    topic = stage.topic("nack")
    options = {"kind": Shared, "batch_index_ack_enabled": True, "negative_ack_redelivery_delay_ms": 100}
    consumer = stage.subscribe(topic, **options)
    stage.publish_batch(topic, _numbers(0, 4))
    messages = _messages(consumer, 4)
    consumer.acknowledge(messages[0])
    consumer.acknowledge(messages[2])
    consumer.negative_acknowledge(messages[1])
    consumer.negative_acknowledge(messages[3])
    assert received(consumer, 2) == ["1", "3"]
    nothing_more(consumer)


def holes_outlive_the_topic_being_unloaded(stage):
    topic = stage.topic("holes")
    consumer = stage.subscribe(topic, kind=Shared)
    stage.publish(topic, _numbers(0, 40))
    for message in _messages(consumer, 40):
        if int(text(message)) % 3:
            consumer.acknowledge(message)
    _unload(stage, topic, consumer)
    consumer = stage.subscribe(topic, kind=Shared)
    assert received(consumer, 14) == [str(number) for number in range(0, 40, 3)]
    nothing_more(consumer)


def a_shared_subscription_takes_no_cumulative_acknowledgement(stage):
    topic = stage.topic("refused")
    consumer = stage.subscribe(topic, kind=Shared)
    stage.publish(topic, ["a"])
    refused(pulsar.CumulativeAcknowledgementNotAllowedError, consumer.acknowledge_cumulative, _messages(consumer, 1)[0])


def an_acknowledgement_of_what_does_not_exist_harms_nothing(stage):
    topic = stage.topic("unknown")
    consumer = stage.subscribe(topic)
    ids = stage.publish(topic, ["a", "b"])
    for ledger, entry in [(ids[0].ledger_id() + 1000, 0), (ids[0].ledger_id(), 99)]:
        consumer.acknowledge(pulsar.MessageId(-1, ledger, entry, -1))
    assert received(consumer, 2) == ["a", "b"]


def unacknowledged_messages_of_a_batch_are_counted_one_by_one(stage):
    topic = stage.topic("counted")
    consumer = stage.subscribe(topic, kind=Shared, batch_index_ack_enabled=True)
    stage.publish_batch(topic, _numbers(0, 6))
    messages = _messages(consumer, 6)
    assert stage.stats(topic)["subscriptions"]["s"]["unackedMessages"] == 6
    for message in messages[:4]:
        consumer.acknowledge(message)
    stage.eventually(lambda: stage.stats(topic)["subscriptions"]["s"]["unackedMessages"] == 2)
