"""Readers: a place of one's own in a topic, that nobody remembers."""

import time

import pulsar
from stage import PATIENCE_MS, page, text

earliest, latest = pulsar.MessageId.earliest, pulsar.MessageId.latest


def _numbers(start, end):
    return [str(number) for number in range(start, end)]


def _rest(reader):
    """All there is from here on."""
    texts = []
    while reader.has_message_available():
        texts.append(text(reader.read_next(timeout_millis=PATIENCE_MS)))
    return texts


def a_reader_reads_all_there_is_and_then_what_comes(stage):
    topic = stage.topic("all")
    stage.publish(topic, _numbers(0, 3))
    reader = stage.client.create_reader(topic, earliest)
    assert _rest(reader) == _numbers(0, 3)
    stage.publish(topic, ["new"])
    assert _rest(reader) == ["new"]


def a_reader_from_the_end_reads_only_what_comes(stage):
    topic = stage.topic("latest")
    stage.publish(topic, _numbers(0, 3))
    reader = stage.client.create_reader(topic, latest)
    assert not reader.has_message_available()
    stage.publish(topic, ["new"])
    assert _rest(reader) == ["new"]


def a_reader_begins_behind_its_start_or_with_it(stage):
    topic = stage.topic("start")
    ids = stage.publish(topic, _numbers(0, 6))
    assert _rest(stage.client.create_reader(topic, ids[2])) == _numbers(3, 6)
    inclusive = stage.client.create_reader(topic, ids[2], start_message_id_inclusive=True)
    assert _rest(inclusive) == _numbers(2, 6)
    assert _rest(stage.client.create_reader(topic, ids[5])) == []


def a_reader_begins_inside_a_batch(stage):
    topic = stage.topic("batch")
    stage.publish_batch(topic, _numbers(0, 5))
    reader = stage.client.create_reader(topic, earliest)
    ids = [reader.read_next(timeout_millis=PATIENCE_MS).message_id() for _ in range(5)]
    assert _rest(stage.client.create_reader(topic, ids[1])) == _numbers(2, 5)
    inclusive = stage.client.create_reader(topic, ids[1], start_message_id_inclusive=True)
    assert _rest(inclusive) == _numbers(1, 5)
    assert _rest(stage.client.create_reader(topic, ids[4])) == []


def a_reader_on_an_empty_topic_has_nothing(stage):
    topic = stage.topic("empty")
    for start in (earliest, latest):
        assert not stage.client.create_reader(topic, start).has_message_available()


def a_reader_moves_to_a_message_and_to_a_time(stage):
    topic = stage.topic("moves")
    ids = stage.publish(topic, _numbers(0, 3))
    time.sleep(0.05)
    moment = int(time.time() * 1000)
    time.sleep(0.05)
    stage.publish(topic, _numbers(3, 6))
    reader = stage.client.create_reader(topic, earliest)
    assert _rest(reader) == _numbers(0, 6)
    reader.seek(ids[1])
    assert _rest(reader) == _numbers(2, 6)
    reader.seek(moment)
    assert _rest(reader) == _numbers(3, 6)
    reader.seek(earliest)
    assert _rest(reader) == _numbers(0, 6)
    reader.seek(latest)
    assert not reader.has_message_available()
    stage.publish(topic, ["new"])
    assert _rest(reader) == ["new"]


def a_reader_leaves_no_subscription_behind(stage):
    topic = stage.topic("traces")
    stage.publish(topic, ["a"])
    reader = stage.client.create_reader(topic, earliest)
    assert _rest(reader) == ["a"]
    assert len(stage.ask("GET", page(topic, "subscriptions"))) == 1
    reader.close()
    assert stage.ask("GET", page(topic, "subscriptions")) == []


def a_reader_reads_on_after_its_topic_was_unloaded(stage):
    topic = stage.topic("unloaded")
    stage.publish(topic, _numbers(0, 3))
    reader = stage.client.create_reader(topic, earliest)
    assert text(reader.read_next(timeout_millis=PATIENCE_MS)) == "0"
    stage.ask("PUT", page(topic, "unload"))
    assert [text(reader.read_next(timeout_millis=PATIENCE_MS)) for _ in range(2)] == _numbers(1, 3)


def the_last_message_id_is_that_of_the_last_in_its_batch(stage):
    topic = stage.topic("last")
    consumer = stage.subscribe(topic)
    assert consumer.get_last_message_id().entry_id() == -1
    single = stage.publish(topic, ["a"])[0]
    last = consumer.get_last_message_id()
    assert (last.ledger_id(), last.entry_id(), last.batch_index()) == (single.ledger_id(), single.entry_id(), -1)
    stage.publish_batch(topic, _numbers(0, 4))
    assert consumer.get_last_message_id().batch_index() == 3
