"""One consumer at a time: exclusive subscriptions, and failover subscriptions with others in waiting."""

import pulsar
from stage import nothing_more, received, refused, text

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
    topic = stage.topic("failover")
    active = stage.subscribe(topic, kind=Failover, consumer_name="a")
    waiting = stage.subscribe(topic, kind=Failover, consumer_name="b")
    stage.publish(topic, [str(number) for number in range(10)])
    assert received(active, 5) == [str(number) for number in range(5)]
    nothing_more(waiting)
    active.close()
    assert received(waiting, 5) == [str(number) for number in range(5, 10)]


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
