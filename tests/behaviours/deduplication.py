"""Messages that come twice from a producer and are stored once, in namespaces and topics that want it."""

import time

import pulsar
from stage import PATIENCE_MS, nothing_more, page, received


def _wanting(stage, name):
    namespace = stage.namespace(name)
    stage.ask("POST", f"namespaces/{namespace}/deduplication", True)
    return stage.topic(name, namespace=namespace)


def _producer(stage, topic, **options):
    options.setdefault("batching_enabled", False)
    return stage.client.create_producer(topic, producer_name="mine", **options)


def a_message_that_comes_twice_is_stored_once(stage):
    topic = _wanting(stage, "twice")
    consumer = stage.subscribe(topic)
    producer = _producer(stage, topic)
    for sequence_id in (0, 1, 1, 0, 2):
        producer.send(f"m{sequence_id}".encode(), sequence_id=sequence_id)
    assert received(consumer, 3) == ["m0", "m1", "m2"]
    nothing_more(consumer)


def a_producer_that_comes_again_goes_on_where_it_was(stage):
    topic = _wanting(stage, "again")
    producer = _producer(stage, topic)
    assert producer.last_sequence_id() == -1
    producer.send(b"a", sequence_id=10)
    producer.close()
    stage.ask("PUT", page(topic, "unload"))
    producer = _producer(stage, topic)
    assert producer.last_sequence_id() == 10
    producer.send(b"a", sequence_id=10)
    producer.send(b"b", sequence_id=11)
    assert received(stage.subscribe(topic), 2) == ["a", "b"]


def another_producer_has_numbers_of_its_own(stage):
    topic = _wanting(stage, "another")
    _producer(stage, topic).send(b"a", sequence_id=5)
    other = stage.client.create_producer(topic, producer_name="other", batching_enabled=False)
    other.send(b"b", sequence_id=5)
    consumer = stage.subscribe(topic)
    assert received(consumer, 2) == ["a", "b"]


def a_large_message_that_comes_twice_is_delivered_once(stage):
    topic = _wanting(stage, "large")
    consumer = stage.subscribe(topic)
    contents = b"x" * (6 * 1024 * 1024)
    producer = _producer(stage, topic, chunking_enabled=True)
    producer.send(contents, sequence_id=3)
    producer.send(contents, sequence_id=3)
    producer.send(b"end", sequence_id=4)
    assert consumer.receive(timeout_millis=PATIENCE_MS).data() == contents
    assert received(consumer, 1) == ["end"]
    nothing_more(consumer)


def without_it_every_message_is_stored(stage):
    topic = stage.topic("without")
    consumer = stage.subscribe(topic)
    producer = _producer(stage, topic)
    for _ in range(2):
        producer.send(b"a", sequence_id=1)
    assert received(consumer, 2) == ["a", "a"]


def a_topic_may_differ_from_its_namespace(stage):
    topic = _wanting(stage, "differs")
    stage.publish(topic, ["first"])
    assert stage.ask("GET", page(topic, "deduplicationEnabled")) is None
    assert stage.ask("GET", page(topic, "deduplicationEnabled") + "?applied=true") is True
    stage.ask("POST", page(topic, "deduplicationEnabled"), False)
    _wait_for(lambda: stage.ask("GET", page(topic, "deduplicationEnabled")), False)
    producer = _producer(stage, topic)
    _wait_for(lambda: stage.stats(topic)["deduplicationStatus"], "Disabled")
    for _ in range(2):
        producer.send(b"a", sequence_id=1)
    assert received(stage.subscribe(topic), 3) == ["first", "a", "a"]
    stage.ask("DELETE", page(topic, "deduplicationEnabled"))
    _wait_for(lambda: stage.ask("GET", page(topic, "deduplicationEnabled")), None)


def statistics_say_whether_a_topic_does_it(stage):
    topic, without = _wanting(stage, "statistics"), stage.topic("statistics")
    for one in (topic, without):
        stage.publish(one, ["a"])
    assert stage.stats(topic)["deduplicationStatus"] == "Enabled"
    assert stage.stats(without)["deduplicationStatus"] == "Disabled"
    assert stage.ask("GET", page(topic, "subscriptions")) == []


def _wait_for(look, expected):
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while (found := look()) != expected:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
