"""One consumer at a time: exclusive subscriptions, and failover subscriptions with others in waiting."""

import pulsar
from stage import murmur3, nothing_more, received, refused, text

Failover = pulsar.ConsumerType.Failover


def an_exclusive_subscription_has_one_consumer(stage):
    topic = stage.topic("exclusive")
    first = stage.subscribe(topic)
    refused(pulsar.ConsumerBusy, stage.subscribe, topic)
    first.close()
    stage.subscribe(topic).close()


def subscriptions_are_independent_of_each_other(stage):
    topic = stage.topic("independent")
    one, other = stage.subscribe(topic, "one"), stage.subscribe(topic, "other")
    stage.publish(topic, ["a", "b"])
    assert received(one, 2) == received(other, 2) == ["a", "b"]


def what_is_not_acknowledged_comes_again_to_the_next_consumer(stage):
    topic = stage.topic("again")
    consumer = stage.subscribe(topic)
    stage.publish(topic, ["a", "b", "c"])
    kept = [consumer.receive(timeout_millis=30_000) for _ in range(3)]
    consumer.acknowledge(kept[1])
    consumer.close()
    consumer = stage.subscribe(topic)
    assert received(consumer, 2) == ["a", "c"]
    nothing_more(consumer)


def the_consumer_in_waiting_takes_over_where_the_active_one_stopped(stage):
    topic = stage.partitioned("failover", 1)  # Of a partition, the first by name is active.
    active = stage.subscribe(topic, kind=Failover, consumer_name="a")
    waiting = stage.subscribe(topic, kind=Failover, consumer_name="b")
    stage.publish(topic, [str(number) for number in range(10)])
    assert received(active, 5) == [str(number) for number in range(5)]
    nothing_more(waiting)
    active.close()
    assert received(waiting, 5) == [str(number) for number in range(5, 10)]


def partitions_take_turns_through_the_names_of_consumers(stage):
    topic = stage.partitioned("turns", 4)
    consumers = [stage.subscribe(topic, kind=Failover, consumer_name=name) for name in ("b", "a", "c")]
    assert [_active(stage, f"{topic}-partition-{number}") for number in range(4)] == ["a", "b", "c", "a"]
    consumers[1].close()
    assert [_active(stage, f"{topic}-partition-{number}") for number in range(4)] == ["b", "c", "b", "c"]


def of_a_topic_without_partitions_its_name_decides_who_is_active(stage):
    topics = [stage.topic("elects") for _ in range(6)]
    for topic in topics:
        for name in ("a", "b"):
            stage.subscribe(topic, kind=Failover, consumer_name=name)
    points = {murmur3(f"{name}{number}".encode()): name for name in "ab" for number in range(100)}
    for topic in topics:
        place = murmur3(topic.encode())
        elected = points[min((point for point in points if place <= point), default=min(points))]
        assert _active(stage, topic) == elected, topic


def a_new_active_consumer_gets_what_the_one_before_did_not_acknowledge(stage):
    topic = stage.partitioned("unacknowledged", 1)
    second = stage.subscribe(topic, kind=Failover, consumer_name="b")
    stage.publish(topic, ["a", "b", "c"])
    held = [second.receive(timeout_millis=30_000) for _ in range(3)]
    second.acknowledge(held[1])
    first = stage.subscribe(topic, kind=Failover, consumer_name="a")
    assert received(first, 2) == ["a", "c"]
    nothing_more(first)


def all_unacknowledged_messages_can_be_asked_for_again(stage):
    topic = stage.topic("asked")
    consumer = stage.subscribe(topic)
    stage.publish(topic, ["a", "b", "c"])
    held = [consumer.receive(timeout_millis=30_000) for _ in range(3)]
    consumer.acknowledge(held[1])
    consumer.redeliver_unacknowledged_messages()
    again = [consumer.receive(timeout_millis=30_000) for _ in range(2)]
    assert [(text(message), message.redelivery_count()) for message in again] == [("a", 0), ("c", 0)]


def a_cumulative_acknowledgement_covers_all_before_it(stage):
    topic = stage.topic("cumulative")
    consumer = stage.subscribe(topic)
    stage.publish(topic, ["a", "b", "c"])
    consumer.receive(timeout_millis=30_000)
    second = consumer.receive(timeout_millis=30_000)
    assert text(second) == "b"
    consumer.acknowledge_cumulative(second)
    consumer.close()
    assert received(stage.subscribe(topic), 1) == ["c"]


def _active(stage, topic):
    return stage.stats(topic)["subscriptions"]["s"]["activeConsumerName"]
