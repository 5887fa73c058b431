"""Moving a subscription: to a message, to a time, to either end."""

import time

import pulsar
from stage import PATIENCE_MS, nothing_more, page, received

Shared = pulsar.ConsumerType.Shared


def _numbers(start, end):
    return [str(number) for number in range(start, end)]


def a_consumer_goes_back_to_the_beginning(stage):
    topic = stage.topic("beginning")
    consumer = stage.subscribe(topic)
    stage.publish(topic, _numbers(0, 5))
    assert received(consumer, 5) == _numbers(0, 5)
    consumer.seek(pulsar.MessageId.earliest)
    assert received(consumer, 5) == _numbers(0, 5)


def a_consumer_leaves_everything_behind(stage):
    topic = stage.topic("end")
    consumer = stage.subscribe(topic)
    stage.publish(topic, _numbers(0, 5))
    consumer.seek(pulsar.MessageId.latest)
    nothing_more(consumer)
    stage.publish(topic, ["new"])
    assert received(consumer, 1) == ["new"]


def a_seek_to_a_message_goes_on_behind_it(stage):
    topic = stage.topic("message")
    consumer = stage.subscribe(topic)
    ids = stage.publish(topic, _numbers(0, 6))
    consumer.seek(ids[2])
    assert received(consumer, 3) == _numbers(3, 6)
    nothing_more(consumer)


def a_seek_to_a_message_begins_with_it_where_that_was_asked_for(stage):
    topic = stage.topic("inclusive")
    consumer = stage.subscribe(topic, start_message_id_inclusive=True)
    ids = stage.publish(topic, _numbers(0, 6))
    consumer.seek(ids[2])
    assert received(consumer, 4) == _numbers(2, 6)


def a_seek_into_a_batch_goes_on_behind_the_message(stage):
    topic = stage.topic("batch")
    consumer = stage.subscribe(topic)
    stage.publish_batch(topic, _numbers(0, 5))
    messages = [consumer.receive(timeout_millis=PATIENCE_MS) for _ in range(5)]
    consumer.seek(messages[1].message_id())
    assert received(consumer, 3) == _numbers(2, 5)
    nothing_more(consumer)


def a_seek_to_a_time_begins_with_the_first_message_published_then_or_later(stage):
    topic = stage.topic("time")
    consumer = stage.subscribe(topic)
    stage.publish(topic, ["before"])
    assert received(consumer, 1) == ["before"]
    time.sleep(0.05)
    moment = int(time.time() * 1000)
    time.sleep(0.05)
    stage.publish(topic, ["a", "b"])
    consumer.seek(moment)
    assert received(consumer, 2) == ["a", "b"]
    consumer.seek(0)
    assert received(consumer, 3) == ["before", "a", "b"]
    consumer.seek(int(time.time() * 1000) + 3_600_000)
    nothing_more(consumer)


def all_consumers_of_a_shared_subscription_go_on_at_the_new_place(stage):
    topic = stage.topic("shared")
    one, other = stage.subscribe(topic, kind=Shared), stage.subscribe(topic, kind=Shared)
    stage.publish(topic, _numbers(0, 60))
    for consumer in (one, other):
        consumer.acknowledge(consumer.receive(timeout_millis=PATIENCE_MS))
    other.close()
    one.seek(pulsar.MessageId.earliest)
    assert sorted(received(one, 60), key=int) == _numbers(0, 60)
    nothing_more(one)


def where_a_subscription_was_moved_to_outlives_its_topic_being_unloaded(stage):
    topic = stage.topic("unloaded")
    consumer = stage.subscribe(topic)
    ids = stage.publish(topic, _numbers(0, 6))
    assert received(consumer, 6) == _numbers(0, 6)
    consumer.seek(ids[3])
    consumer.close()
    stage.ask("PUT", page(topic, "unload"))
    assert received(stage.subscribe(topic), 3) == _numbers(3, 6)


def one_subscription_moves_and_the_others_stay(stage):
    topic = stage.topic("others")
    one, other = stage.subscribe(topic, "one"), stage.subscribe(topic, "other")
    stage.publish(topic, _numbers(0, 3))
    assert received(one, 3) == received(other, 3) == _numbers(0, 3)
    one.seek(pulsar.MessageId.earliest)
    assert received(one, 3) == _numbers(0, 3)
    nothing_more(other)


def a_seek_moves_every_partition(stage):
    topic = stage.partitioned("partitions", 3)
    consumer = stage.subscribe(topic)
    stage.publish(topic, _numbers(0, 9))
    assert sorted(received(consumer, 9)) == _numbers(0, 9)
    consumer.seek(pulsar.MessageId.earliest)
    assert sorted(received(consumer, 9)) == _numbers(0, 9)
    consumer.seek(int(time.time() * 1000) + 3_600_000)
    nothing_more(consumer)
