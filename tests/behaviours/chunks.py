"""Messages larger than a message may be, which clients cut into chunks and put together again."""

import os

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
