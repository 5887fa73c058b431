"""The end of a topic, and how much and how many a topic takes."""

import time

import pulsar
from stage import Refused, nothing_more, page, received, refused

Kind = pulsar.ConsumerType
# What Apache Pulsar takes to hear of a policy.
HEARD_S = 1.0


def _limited(stage, **policies):
    """A topic in a namespace with these policies."""
    namespace = stage.namespace("limits")
    topic = stage.topic("t", namespace)
    stage.ask("PUT", page(topic))
    for policy, value in policies.items():
        stage.ask("POST", f"namespaces/{namespace}/{policy}", value)
    time.sleep(HEARD_S)
    return topic


def _counts(stage, topic):
    return {name: one["msgBacklog"] for name, one in stage.stats(topic)["subscriptions"].items()}


def a_terminated_topic_takes_no_message_and_gives_all_it_has(stage):
    topic = stage.topic("ended")
    early = stage.subscribe(topic, "early")
    producer = stage.client.create_producer(topic, batching_enabled=False)
    ids = [producer.send(text) for text in (b"a", b"b", b"c")]
    ended = stage.ask("POST", page(topic, "terminate"))
    assert (ended["ledgerId"], ended["entryId"]) == (ids[-1].ledger_id(), ids[-1].entry_id()), ended
    refused(pulsar.TopicTerminated, producer.send, b"d")
    refused(pulsar.TopicTerminated, stage.client.create_producer, topic)
    assert received(early, 3) == ["a", "b", "c"]
    assert received(stage.subscribe(topic, "late"), 3) == ["a", "b", "c"]
    assert stage.ask("GET", page(topic, "internalStats"))["state"] == "Terminated"


def a_topic_stays_terminated(stage):
    topic = stage.topic("ended")
    stage.publish(topic, ["a"])
    ended = stage.ask("POST", page(topic, "terminate"))
    assert stage.ask("POST", page(topic, "terminate")) == ended
    stage.ask("PUT", page(topic, "unload"))
    assert stage.ask("POST", page(topic, "terminate")) == ended
    refused(pulsar.TopicTerminated, stage.client.create_producer, topic)
    assert received(stage.subscribe(topic), 1) == ["a"]


def a_partitioned_topic_is_terminated_partition_by_partition(stage):
    topic = stage.partitioned("parted", 2)
    error = refused(Refused, stage.ask, "POST", page(topic, "terminate"))
    assert (error.code, error.reason) == (405, "Termination of a partitioned topic is not allowed")
    stage.publish(f"{topic}-partition-1", ["a"])
    ended = stage.ask("POST", page(topic, "terminate/partitions"))
    assert ended.keys() == {"0", "1"} and [ended[number]["entryId"] for number in "01"] == [-1, 0], ended
    refused(pulsar.TopicTerminated, stage.client.create_producer, topic)
    plain = stage.topic("plain")
    stage.publish(plain, ["a"])
    error = refused(Refused, stage.ask, "POST", page(plain, "terminate/partitions"))
    assert error.code == 405, error
    error = refused(Refused, stage.ask, "POST", page(stage.topic("nowhere"), "terminate"))
    assert error.code == 404, error


def a_topic_has_no_more_producers_than_it_may(stage):
    topic = _limited(stage, maxProducersPerTopic=1)
    first = stage.client.create_producer(topic)
    refused(pulsar.ProducerBusy, stage.client.create_producer, topic)
    first.close()
    stage.client.create_producer(topic).send(b"a")


def a_subscription_and_a_topic_have_no_more_consumers_than_they_may(stage):
    topic = _limited(stage, maxConsumersPerTopic=3, maxConsumersPerSubscription=2)
    stage.subscribe(topic, "s", Kind.Shared)
    second = stage.subscribe(topic, "s", Kind.Shared)
    refused(pulsar.ConsumerBusy, stage.subscribe, topic, "s", Kind.Shared)
    other = stage.subscribe(topic, "other", Kind.Shared)
    refused(pulsar.ConsumerBusy, stage.subscribe, topic, "other", Kind.Shared)
    refused(pulsar.ConsumerBusy, stage.subscribe, topic, "third")
    assert _counts(stage, topic).keys() == {"s", "other"}, "who is refused leaves no subscription"
    other.close()
    refused(pulsar.ConsumerBusy, stage.subscribe, topic, "s", Kind.Shared)
    second.close()
    stage.subscribe(topic, "s", Kind.Shared)


def a_topic_has_no_more_subscriptions_than_it_may(stage):
    topic = _limited(stage, maxSubscriptionsPerTopic=1)
    first = stage.subscribe(topic, "s")
    refused(pulsar.NotAllowedError, stage.subscribe, topic, "other")
    refused(pulsar.NotAllowedError, stage.client.create_reader, topic, pulsar.MessageId.earliest)
    first.close()
    stage.subscribe(topic, "s").unsubscribe()
    stage.subscribe(topic, "other")


def a_namespace_says_which_types_of_subscriptions_there_are(stage):
    topic = _limited(stage, subscriptionTypesEnabled=["Exclusive", "Failover"])
    for kind in (Kind.Shared, Kind.KeyShared):
        refused(pulsar.NotAllowedError, stage.subscribe, topic, "s", kind)
    stage.subscribe(topic, "s", Kind.Failover)
    stage.subscribe(topic, "other")


def subscriptions_come_to_be_only_where_they_may(stage):
    topic = _limited(stage, autoSubscriptionCreation={"allowAutoSubscriptionCreation": False})
    hasty = stage.another_client(operation_timeout_seconds=1)
    refused(pulsar.Timeout, stage.subscribe, topic, "s", client=hasty)
    hasty.close()
    stage.client.create_reader(topic, pulsar.MessageId.earliest).close()
    stage.ask("PUT", page(topic, "subscription/s"))
    stage.publish(topic, ["a"])
    assert received(stage.subscribe(topic, "s"), 1) == ["a"]


def a_backlog_that_is_too_large_keeps_producers_out_until_it_is_consumed(stage):
    policies = [
        ("producer_request_hold", pulsar.ProducerBlockedQuotaExceededError),
        ("producer_exception", pulsar.ProducerBlockedQuotaExceededException),
    ]
    for policy, error in policies:
        topic = _limited(stage, backlogQuota={"limitSize": 500, "limitTime": -1, "policy": policy})
        consumer = stage.subscribe(topic)
        stage.publish(topic, ["x" * 100] * 5)
        hasty = stage.another_client(operation_timeout_seconds=1)
        refused(error, hasty.create_producer, topic)
        hasty.close()
        received(consumer, 5)
        nothing_more(consumer)
        stage.publish(topic, ["y"])


def a_backlog_without_a_subscription_keeps_nobody_out(stage):
    topic = _limited(stage, backlogQuota={"limitSize": 500, "limitTime": -1, "policy": "producer_exception"})
    for _ in range(2):
        stage.publish(topic, ["x" * 100] * 6)
