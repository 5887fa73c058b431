"""Policies: set for a namespace or a topic, read back, overridden, and cleared."""

import time

import pulsar
from stage import Refused, page, refused

# Page at a namespace, page at a topic, a value.
AT_BOTH_LEVELS = [
    ("maxProducersPerTopic", "maxProducers", 5),
    ("maxConsumersPerTopic", "maxConsumers", 6),
    ("maxConsumersPerSubscription", "maxConsumersPerSubscription", 7),
    ("maxSubscriptionsPerTopic", "maxSubscriptionsPerTopic", 8),
    ("maxUnackedMessagesPerConsumer", "maxUnackedMessagesOnConsumer", 9),
    ("maxUnackedMessagesPerSubscription", "maxUnackedMessagesOnSubscription", 10),
    ("deduplication", "deduplicationEnabled", True),
    ("publishRate", "publishRate", {"publishThrottlingRateInMsg": 10, "publishThrottlingRateInByte": 20}),
    ("subscribeRate", "subscribeRate", {"subscribeThrottlingRatePerConsumer": 10, "ratePeriodInSecond": 30}),
    ("delayedDelivery", "delayedDelivery", {"tickTime": 2000, "active": True, "maxDeliveryDelayInMillis": 0}),
    ("autoSubscriptionCreation", "autoSubscriptionCreation", {"allowAutoSubscriptionCreation": True}),
]
QUOTA = {"limitSize": 10240, "limitTime": -1, "policy": "producer_exception"}


def _comes_to_be(read, expected):
    """Apache Pulsar reads policies of topics from a topic, so a change takes a moment."""
    deadline = time.monotonic() + 10
    while read() != expected:
        assert time.monotonic() < deadline, f"{read()} instead of {expected}"


def a_namespaces_policy_counts_for_a_topic_until_the_topic_has_its_own(stage):
    namespace = stage.namespace("policies")
    topic = stage.topic("t", namespace)
    stage.ask("PUT", page(topic))
    for of_namespace, of_topic, value in AT_BOTH_LEVELS:
        there, here = f"namespaces/{namespace}/{of_namespace}", page(topic, of_topic)
        stage.ask("POST", there, value)
        _comes_to_be(lambda there=there: stage.ask("GET", there), value)
        assert stage.ask("GET", here) is None, here
        own = value if not isinstance(value, int) or value is True else value + 100
        stage.ask("POST", here, own)
        _comes_to_be(lambda here=here: stage.ask("GET", here), own)
        _comes_to_be(lambda here=here: stage.ask("GET", f"{here}?applied=true"), own)
        stage.ask("DELETE", here)
        _comes_to_be(lambda here=here: stage.ask("GET", here), None)
        stage.ask("DELETE", there)
        assert stage.ask("GET", there) is None, there


def what_is_impossible_is_refused_with_a_reason(stage):
    namespace = stage.namespace("policies")
    rows = [
        ("messageTTL", -1, 412, "Invalid value for message TTL, message TTL must >= 0"),
        ("maxTopicsPerNamespace", -1, 412, "maxTopicsPerNamespace must be 0 or more"),
        ("subscriptionExpirationTime", -1, 412, "Invalid value for subscription expiration time"),
        (
            "persistence",
            {"bookkeeperEnsemble": 2, "bookkeeperWriteQuorum": 5, "bookkeeperAckQuorum": 2},
            400,
            "Bookkeeper Ensemble (2) >= WriteQuorum (5) >= AckQuorum (2)",
        ),
        (
            "persistence",
            {"bookkeeperEnsemble": 6, "bookkeeperWriteQuorum": 2, "bookkeeperAckQuorum": 2},
            400,
            "Bookkeeper-Ensemble must be <= 5 and > 0.",
        ),
        (
            "autoTopicCreation",
            {"allowAutoTopicCreation": True, "topicType": "partitioned"},
            412,
            "Invalid configuration for autoTopicCreationOverride. the detail is [defaultNumPartitions] cannot be null when "
            "the type is partitioned.",
        ),
    ]
    for name, value, code, reason in rows:
        error = refused(Refused, stage.ask, "POST", f"namespaces/{namespace}/{name}", value)
        assert (error.code, error.reason) == (code, reason), error
    error = refused(Refused, stage.ask, "POST", "namespaces/public/nowhere-at-all/messageTTL", 5)
    assert (error.code, error.reason) == (404, "Namespace does not exist")


def backlog_quotas_are_one_by_size_and_one_by_age(stage):
    namespace = stage.namespace("policies")
    quota, both = f"namespaces/{namespace}/backlogQuota", f"namespaces/{namespace}/backlogQuotaMap"
    assert stage.ask("GET", both) == {}
    stage.ask("POST", quota, QUOTA)
    stage.ask("POST", f"{quota}?backlogQuotaType=message_age", {"limit": "7", "limitTime": 60, "policy": "producer_request_hold"})
    assert stage.ask("GET", both) == {
        "destination_storage": {"limit": 10240, **QUOTA},
        "message_age": {"limit": 7, "limitSize": 7, "limitTime": 60, "policy": "producer_request_hold"},
    }
    stage.ask("DELETE", quota)
    stage.ask("DELETE", f"{quota}?backlogQuotaType=message_age")
    assert stage.ask("GET", both) == {}


def a_namespace_has_properties(stage):
    namespace = stage.namespace("policies")
    properties = f"namespaces/{namespace}/properties"
    stage.ask("PUT", properties, {"a": "b"})
    stage.ask("PUT", f"namespaces/{namespace}/property/k/v")
    assert stage.ask("GET", properties) == {"a": "b", "k": "v"}
    assert stage.ask("DELETE", f"namespaces/{namespace}/property/k") == "v"
    assert stage.ask("GET", properties) == {"a": "b"}
    stage.ask("DELETE", properties)
    assert stage.ask("GET", properties) == {}


def a_namespace_shows_its_policies_under_their_names_in_its_json(stage):
    namespace = stage.namespace("policies", message_ttl_in_seconds=30, max_producers_per_topic=3)
    assert stage.ask("GET", f"namespaces/{namespace}/messageTTL") == 30
    shown = stage.ask("GET", f"namespaces/{namespace}")
    assert (shown["message_ttl_in_seconds"], shown["max_producers_per_topic"]) == (30, 3)


def a_namespace_has_no_more_topics_than_it_says(stage):
    namespace = stage.namespace("policies")
    stage.ask("POST", f"namespaces/{namespace}/maxTopicsPerNamespace", 3)
    plain = stage.topic("plain", namespace)
    stage.ask("PUT", page(plain))
    parted = stage.partitioned("parted", 2, namespace=namespace)
    for name, count, code in [("", None, 409), ("partitions", 1, 412)]:
        error = refused(Refused, stage.ask, "PUT", page(stage.topic("more", namespace), name), count)
        assert (error.code, error.reason) == (code, "Exceed maximum number of topics in namespace."), error
    more = stage.topic("more", namespace)
    refused(pulsar.NotAllowedError, stage.client.create_producer, more)
    refused(pulsar.NotAllowedError, stage.subscribe, more)
    for there in (plain, parted, stage.topic("not-counted", namespace, domain="non-persistent")):
        stage.client.create_producer(there).close()
    stage.ask("DELETE", page(plain))
    stage.client.create_producer(more).close()


def messages_are_kept_as_often_as_their_namespace_says_or_not_at_all(stage):
    """Wherever this is shown, there are fewer than five bookies."""
    namespace = stage.namespace("policies")
    topic, copies = stage.topic("copies", namespace), f"namespaces/{namespace}/persistence"
    names = ("bookkeeperEnsemble", "bookkeeperWriteQuorum", "bookkeeperAckQuorum")
    stage.ask("POST", copies, {name: 5 for name in names})

    def publish():
        producer = stage.client.create_producer(topic, batching_enabled=False, send_timeout_millis=3000)
        producer.send(b"x")

    client = stage.another_client(operation_timeout_seconds=3)
    stage.client.close()
    stage.client = client
    refused(pulsar.Timeout, publish)
    stage.ask("POST", copies, {name: 1 for name in names})
    stage.eventually(lambda: _does(publish))


def _does(work):
    try:
        work()
    except pulsar.PulsarException:
        return False
    return True


def a_namespace_says_what_becomes_of_topics_that_nobody_made(stage):
    namespace = stage.namespace("policies")
    rule = f"namespaces/{namespace}/autoTopicCreation"
    stage.ask("POST", rule, {"allowAutoTopicCreation": True, "topicType": "partitioned", "defaultNumPartitions": 3})
    parted = stage.topic("parted", namespace)
    stage.publish(parted, ["x"])
    assert stage.ask("GET", page(parted, "partitions"))["partitions"] == 3
    stage.ask("POST", rule, {"allowAutoTopicCreation": False})
    refused(pulsar.PulsarException, stage.publish, stage.topic("nobody-made-me", namespace), ["x"])
    stage.ask("DELETE", rule)
    stage.publish(stage.topic("plain", namespace), ["x"])
