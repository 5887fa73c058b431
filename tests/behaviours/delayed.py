"""Delayed delivery: messages that wait for their time, on Shared and Key_Shared subscriptions."""

import time
from datetime import timedelta

import pulsar
from stage import PATIENCE_MS, SILENCE_MS, nothing_more, page, received, refused

Shared = pulsar.ConsumerType.Shared
KeyShared = pulsar.ConsumerType.KeyShared
# What the policies of these topics say. Apache Pulsar may deliver as much too early.
TICK_MS = 100


def a_message_waits_for_its_time_and_others_do_not(stage):
    topic = _topic(stage, "waits")
    consumers = [stage.subscribe(topic, kind.name, kind=kind) for kind in (Shared, KeyShared)]
    due = _publish(stage, topic, {"later": 2000})
    stage.publish(topic, ["now"])
    for consumer in consumers:
        assert received(consumer, 1) == ["now"]
    assert _now() < due - TICK_MS
    for consumer in consumers:
        assert received(consumer, 1) == ["later"]
        assert due - TICK_MS <= _now()


def messages_come_in_the_order_of_their_times(stage):
    topic = _topic(stage, "order")
    consumer = stage.subscribe(topic, kind=Shared)
    _publish(stage, topic, {"c": 3600, "a": 1200, "b": 2400})  # Further apart than a tick of Apache Pulsar.
    assert received(consumer, 3) == ["a", "b", "c"]


def a_message_may_name_the_very_time(stage):
    topic = _topic(stage, "at")
    consumer = stage.subscribe(topic, kind=Shared)
    producer = stage.client.create_producer(topic)
    due = _now() + 1500
    producer.send(b"later", deliver_at=due)
    producer.send(b"past", deliver_at=due - 10_000)
    assert received(consumer, 2) == ["past", "later"]
    assert due - TICK_MS <= _now()


def only_shared_subscriptions_wait(stage):
    topic = _topic(stage, "exclusive")
    consumers = [
        stage.subscribe(topic, kind.name, kind=kind)
        for kind in (pulsar.ConsumerType.Exclusive, pulsar.ConsumerType.Failover)
    ]
    due = _publish(stage, topic, {"a": 20_000})
    for consumer in consumers:
        assert received(consumer, 1) == ["a"]
    assert _now() < due - TICK_MS


def waiting_messages_take_no_permit(stage):
    topic = _topic(stage, "permits")
    consumer = stage.subscribe(topic, kind=Shared, receiver_queue_size=2)
    _publish(stage, topic, {str(number): 60_000 for number in range(20)})
    stage.publish(topic, ["a", "b", "c"])
    assert received(consumer, 3) == ["a", "b", "c"]


def stats_tell_how_many_wait(stage):
    topic = _topic(stage, "stats")
    stage.subscribe(topic, kind=Shared)
    _publish(stage, topic, {"a": 60_000, "b": 60_000, "c": 60_000})
    stage.publish(topic, ["now"])
    members = ["msgDelayed", "msgBacklog", "unackedMessages"]
    stage.eventually(lambda: [_of(stage, topic)[member] for member in members] == [3, 4, 1])


def a_message_given_back_comes_again_at_once(stage):
    topic = _topic(stage, "nack")
    consumer = stage.subscribe(topic, kind=Shared, negative_ack_redelivery_delay_ms=100)
    _publish(stage, topic, {"a": 1000})
    for count in range(3):
        message = consumer.receive(timeout_millis=PATIENCE_MS)
        assert message.redelivery_count() == count
        consumer.negative_acknowledge(message)


def a_waiting_message_outlives_its_consumer(stage):
    topic = _topic(stage, "leaves")
    first = stage.subscribe(topic, kind=Shared)
    due = _publish(stage, topic, {"a": 2500})
    stage.eventually(lambda: _of(stage, topic)["msgDelayed"] == 1)
    first.close()
    second = stage.subscribe(topic, kind=Shared)
    assert received(second, 1) == ["a"]
    assert due - TICK_MS <= _now()


def a_waiting_message_outlives_its_topic_being_unloaded(stage):
    topic = _topic(stage, "unloaded")
    consumer = stage.subscribe(topic, kind=Shared)
    due = _publish(stage, topic, {"a": 2500})
    stage.eventually(lambda: _of(stage, topic)["msgDelayed"] == 1)
    stage.ask("PUT", page(topic, "unload"))
    assert received(consumer, 1) == ["a"]
    assert due - TICK_MS <= _now()


def what_waits_can_be_skipped(stage):
    topic = _topic(stage, "skipped")
    consumer = stage.subscribe(topic, kind=Shared)
    due = _publish(stage, topic, {"a": 2000})
    stage.eventually(lambda: _of(stage, topic)["msgDelayed"] == 1)
    stage.ask("POST", page(topic, "subscription/s/skip_all"))
    stage.eventually(lambda: _of(stage, topic)["msgBacklog"] == 0)
    nothing_more(consumer, silence_ms=max(due - _now(), 0) + SILENCE_MS)


def after_a_seek_messages_wait_again(stage):
    topic = _topic(stage, "seek")
    consumer = stage.subscribe(topic, kind=Shared)
    stage.publish(topic, ["now"])
    due = _publish(stage, topic, {"later": 2500})
    assert received(consumer, 1) == ["now"]
    consumer.seek(pulsar.MessageId.earliest)
    assert received(consumer, 2) == ["now", "later"]
    assert due - TICK_MS <= _now()


def a_policy_can_switch_it_off(stage):
    topic = _topic(stage, "off", active=False)
    consumer = stage.subscribe(topic, kind=Shared)
    due = _publish(stage, topic, {"a": 20_000})
    assert received(consumer, 1) == ["a"]
    assert _now() < due - TICK_MS


def _topic(stage, name, active=True, longest_ms=0):
    namespace = stage.namespace(name)
    policy = {"active": active, "tickTime": TICK_MS, "maxDeliveryDelayInMillis": longest_ms}
    stage.ask("POST", f"namespaces/{namespace}/delayedDelivery", policy)
    return stage.topic(name, namespace=namespace)


def _now():
    return int(time.time() * 1000)


def _publish(stage, topic, delays):
    """Publishes what waits, and tells until when the last does at least."""
    producer = stage.client.create_producer(topic)
    for content, delay_ms in delays.items():
        due = _now() + delay_ms
        producer.send(content.encode(), deliver_after=timedelta(milliseconds=delay_ms))
    producer.close()
    return due


def _of(stage, topic):
    return stage.stats(topic)["subscriptions"]["s"]
