"""Messages larger than a message may be, which clients cut into chunks and put together again."""

import os
import time
from datetime import timedelta

import pulsar
from stage import PATIENCE_MS, nothing_more, received, refused

MEBIBYTE = 1024 * 1024


def _chunking(stage, topic, **options):
    return stage.client.create_producer(topic, batching_enabled=False, chunking_enabled=True, **options)


def a_message_of_more_than_five_mebibytes_is_refused_without_chunks(stage):
    producer = stage.client.create_producer(stage.topic("too-large"), batching_enabled=False)
    refused(pulsar.MessageTooBig, producer.send, b"x" * (5 * MEBIBYTE + 1))
    producer.send(b"x" * (5 * MEBIBYTE - 1024))


def a_message_in_chunks_arrives_whole(stage):
    topic = stage.topic("whole")
    contents = os.urandom(12 * MEBIBYTE)
    consumer = stage.subscribe(topic)
    _chunking(stage, topic).send(contents)
    message = consumer.receive(timeout_millis=PATIENCE_MS)
    assert message.data() == contents
    consumer.acknowledge(message)
    consumer.close()
    consumer = stage.subscribe(topic)
    nothing_more(consumer)


def messages_in_chunks_of_several_producers_are_told_apart(stage):
    topic = stage.topic("several")
    consumer = stage.subscribe(topic, kind=pulsar.ConsumerType.Failover)
    contents = [bytes([number]) * (6 * MEBIBYTE) for number in range(3)]
    producers = [_chunking(stage, topic) for _ in contents]
    for producer, content in zip(producers, contents):
        producer.send_async(content, None)
    for producer in producers:
        producer.flush()
    found = [consumer.receive(timeout_millis=PATIENCE_MS).data() for _ in contents]
    assert sorted(found) == sorted(contents)


def one_consumer_of_a_shared_subscription_gets_large_messages_too(stage):
    topic = stage.topic("shared")
    consumer = stage.subscribe(topic, kind=pulsar.ConsumerType.Shared)
    producer = _chunking(stage, topic)
    producer.send(b"x" * (6 * MEBIBYTE))
    producer.send(b"small")
    assert len(consumer.receive(timeout_millis=PATIENCE_MS).data()) == 6 * MEBIBYTE
    assert received(consumer, 1) == ["small"]


def _large(stage, topic, numbers, **options):
    """Messages of 6 MiB each, all on their way at once, from producers of their own. Gives their contents."""
    contents = [bytes([number]) * (6 * MEBIBYTE) for number in numbers]
    producers = [_chunking(stage, topic) for _ in contents]
    for number, producer, content in zip(numbers, producers, contents):
        producer.send_async(content, lambda *_: None, partition_key=f"k{number}", **options)
    for producer in producers:
        producer.flush()
    return contents


def _all_of(consumers, count, acknowledge=True):
    """What several consumers get together, in order."""
    found = []
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} came"
        for consumer in consumers:
            try:
                message = consumer.receive(timeout_millis=50)
            except pulsar.Timeout:
                continue
            found.append(message.data())
            if acknowledge:
                consumer.acknowledge(message)
    return sorted(found, key=lambda data: (len(data), data))


def _nothing_waits(stage, topic):
    stage.eventually(lambda: stage.stats(topic)["subscriptions"]["s"]["msgBacklog"] == 0)


def each_large_message_goes_to_one_of_several_consumers(stage):
    for kind in (pulsar.ConsumerType.Shared, pulsar.ConsumerType.KeyShared):
        topic = stage.topic("each")
        consumers = [stage.subscribe(topic, kind=kind) for _ in range(3)]
        contents = _large(stage, topic, range(6))
        assert _all_of(consumers, 6) == contents
        for consumer in consumers:
            nothing_more(consumer, 100)
            consumer.close()
        _nothing_waits(stage, topic)


def small_messages_between_large_ones_go_to_everybody(stage):
    topic = stage.topic("between")
    consumers = [stage.subscribe(topic, kind=pulsar.ConsumerType.Shared, receiver_queue_size=2) for _ in range(2)]
    contents = _large(stage, topic, range(3))
    stage.publish(topic, [str(number) for number in range(20)])
    assert _all_of(consumers, 23)[20:] == contents
    _nothing_waits(stage, topic)


def a_large_message_comes_whole_to_another_when_its_consumer_leaves(stage):
    for kind in (pulsar.ConsumerType.Shared, pulsar.ConsumerType.KeyShared):
        topic = stage.topic("leaves")
        client = stage.another_client()
        first = stage.subscribe(topic, kind=kind, client=client)
        contents = _large(stage, topic, range(2))
        assert _all_of([first], 2, acknowledge=False) == contents
        client.close()
        second = stage.subscribe(topic, kind=kind)
        assert _all_of([second], 2) == contents
        second.close()


def a_large_message_that_is_given_back_comes_whole_again(stage):
    topic = stage.topic("again")
    options = {"negative_ack_redelivery_delay_ms": 100}
    consumer = stage.subscribe(topic, kind=pulsar.ConsumerType.Shared, **options)
    contents = _large(stage, topic, [7])
    message = consumer.receive(timeout_millis=PATIENCE_MS)
    consumer.negative_acknowledge(message)
    again = consumer.receive(timeout_millis=PATIENCE_MS)
    assert [again.data()] == contents
    consumer.acknowledge(again)
    nothing_more(consumer)


def a_delayed_large_message_comes_whole(stage):
    for kind in (pulsar.ConsumerType.Shared, pulsar.ConsumerType.KeyShared):
        topic = stage.topic("delayed")
        consumer = stage.subscribe(topic, kind=kind)
        contents = _large(stage, topic, range(3), deliver_after=timedelta(seconds=2))
        assert _all_of([consumer], 3) == contents
        _nothing_waits(stage, topic)


def a_subscription_that_starts_inside_a_large_message_goes_on_behind_it(stage):
    topic = stage.topic("inside")
    before = stage.publish(topic, ["before"])[0]
    _large(stage, topic, [1])
    stage.publish(topic, ["behind"])
    consumer = stage.subscribe(topic, kind=pulsar.ConsumerType.Shared)
    second = pulsar.MessageId(-1, before.ledger_id(), before.entry_id() + 2, -1)
    consumer.seek(second)
    assert received(consumer, 1) == ["behind"]
    nothing_more(consumer)


def a_large_message_counts_once_for_limits_on_unacknowledged_messages(stage):
    namespace = stage.namespace("once")
    topic = stage.topic("once", namespace=namespace)
    stage.ask("POST", f"namespaces/{namespace}/maxUnackedMessagesPerConsumer", 2)
    consumer = stage.subscribe(topic, kind=pulsar.ConsumerType.Shared)
    contents = [bytes([number]) * (12 * MEBIBYTE) for number in range(2)]
    producer = _chunking(stage, topic)
    for content in contents:
        producer.send(content)
    stage.publish(topic, ["small"])
    held = [consumer.receive(timeout_millis=PATIENCE_MS) for _ in contents]
    assert [message.data() for message in held] == contents
    nothing_more(consumer)
    for message in held:
        consumer.acknowledge(message)
    assert received(consumer, 1) == ["small"]
