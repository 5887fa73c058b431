"""Who may publish to a topic, and who else meanwhile."""

import threading

import pulsar
from stage import PATIENCE_MS, received, refused, text

Mode = pulsar.ProducerAccessMode


def _producer(stage, topic, client=None, **options):
    options.setdefault("batching_enabled", False)
    return (client or stage.client).create_producer(topic, **options)


def a_producer_has_a_name_that_no_other_has(stage):
    topic = stage.topic("names")
    first, second = _producer(stage, topic), _producer(stage, topic)
    assert first.producer_name() != second.producer_name()
    named = _producer(stage, topic, producer_name="mine")
    assert named.producer_name() == "mine"
    other = stage.another_client()
    refused(pulsar.ProducerBusy, _producer, stage, topic, other, producer_name="mine")
    named.close()
    _producer(stage, topic, other, producer_name="mine").close()
    other.close()


def an_exclusive_producer_has_the_topic_for_itself(stage):
    topic = stage.topic("exclusive")
    alone = _producer(stage, topic, access_mode=Mode.Exclusive)
    refused(pulsar.ProducerFenced, _producer, stage, topic, access_mode=Mode.Exclusive)
    refused(pulsar.ProducerBusy, _producer, stage, topic)
    alone.send(b"a")
    alone.close()
    _producer(stage, topic).close()


def no_producer_has_a_topic_for_itself_while_others_share_it(stage):
    topic = stage.topic("shared")
    shared = _producer(stage, topic)
    refused(pulsar.ProducerFenced, _producer, stage, topic, access_mode=Mode.Exclusive)
    shared.close()
    _producer(stage, topic, access_mode=Mode.Exclusive).close()


def a_producer_that_waits_has_the_topic_once_the_one_before_has_left(stage):
    topic = stage.topic("waits")
    first = _producer(stage, topic, access_mode=Mode.Exclusive)
    came = []
    waiting = threading.Thread(
        target=lambda: came.append(_producer(stage, topic, access_mode=Mode.WaitForExclusive)), daemon=True
    )
    waiting.start()
    waiting.join(0.5)
    assert not came, "it waits"
    first.send(b"first")
    first.close()
    waiting.join(PATIENCE_MS / 1000)
    came[0].send(b"second")
    assert received(stage.subscribe(topic), 2) == ["first", "second"]


def a_producer_that_was_fenced_out_stays_out(stage):
    topic = stage.topic("fenced")
    other = stage.another_client()
    old = _producer(stage, topic, other, access_mode=Mode.ExclusiveWithFencing)
    old.send(b"old")
    new = _producer(stage, topic, access_mode=Mode.ExclusiveWithFencing)
    refused(pulsar.ProducerFenced, old.send, b"late")
    new.send(b"new")
    refused(pulsar.ProducerFenced, _producer, stage, topic, access_mode=Mode.Exclusive)
    assert received(stage.subscribe(topic), 2) == ["old", "new"]
    other.close()


def statistics_name_each_producer_and_how_it_shares_the_topic(stage):
    topic = stage.topic("statistics")
    producer = _producer(stage, topic, producer_name="mine", access_mode=Mode.Exclusive, properties={"a": "b"})
    producer.send(b"a")
    publisher = stage.stats(topic)["publishers"][0]
    shown = [publisher[name] for name in ("producerName", "accessMode", "metadata")]
    assert shown == ["mine", "Exclusive", {"a": "b"}], shown


def a_message_is_delivered_with_the_name_of_its_producer_and_its_sequence_id(stage):
    topic = stage.topic("origin")
    producer = _producer(stage, topic, producer_name="mine", initial_sequence_id=41)
    producer.send(b"a")
    producer.send(b"b", sequence_id=100)
    assert producer.last_sequence_id() == 100
    consumer = stage.subscribe(topic)
    first = consumer.receive(timeout_millis=PATIENCE_MS)
    assert (text(first), first.producer_name()) == ("a", "mine")
