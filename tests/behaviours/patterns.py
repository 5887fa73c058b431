"""Consumers of a pattern, and the lists they come from.

The Python client looks for new topics once a minute, which is too long for a behaviour: what it would be told is shown to the
connection's own tests.
"""

import re
import time

from stage import Refused, page, refused, text


def _name(topic):
    return topic.split("/")[-1]


def _of_pattern(stage, namespace, pattern):
    return stage.subscribe(re.compile(f"persistent://{namespace}/{pattern}"))


def _texts(consumer, count):
    found = []
    for _ in range(count):
        message = consumer.receive(timeout_millis=30_000)
        consumer.acknowledge(message)
        found.append(text(message))
    return sorted(found)


def a_pattern_consumer_gets_what_matches_and_nothing_else(stage):
    namespace = stage.namespace("patterns")
    wanted = [stage.topic(name, namespace) for name in ("foo-a", "foo-b")]
    other = stage.topic("bar", namespace)
    for topic in [*wanted, other]:
        stage.ask("PUT", page(topic))
    consumer = _of_pattern(stage, namespace, "foo-.*")
    for topic in [*wanted, other]:
        stage.publish(topic, [_name(topic)])
    assert _texts(consumer, 2) == sorted(_name(topic) for topic in wanted)


def a_listing_names_partitions_one_by_one_as_soon_as_they_are_made(stage):
    namespace = stage.namespace("patterns")
    parted = stage.partitioned("parted", 2, namespace=namespace)
    plain = stage.topic("plain", namespace)
    stage.ask("PUT", page(plain))
    expected = sorted([f"{parted}-partition-0", f"{parted}-partition-1", plain])
    assert sorted(stage.ask("GET", f"namespaces/{namespace}/topics")) == expected
    assert sorted(stage.ask("GET", f"persistent/{namespace}")) == expected
    assert stage.ask("GET", f"persistent/{namespace}/partitioned") == [parted]
    assert stage.ask("GET", f"namespaces/{namespace}/topics?mode=NON_PERSISTENT") == []


def a_namespace_that_does_not_exist_is_not_found_over_rest(stage):
    error = refused(Refused, stage.ask, "GET", "namespaces/public/nowhere-at-all/topics")
    assert (error.code, error.reason) == (404, "Namespace does not exist")


def a_deleted_topic_leaves_the_listing_at_once(stage):
    namespace = stage.namespace("patterns")
    topic = stage.topic("short-lived", namespace)
    stage.ask("PUT", page(topic))
    stage.ask("DELETE", page(topic))
    deadline = time.monotonic() + 5
    while stage.ask("GET", f"namespaces/{namespace}/topics") and time.monotonic() < deadline:
        pass  # Apache Pulsar's caches may lag.
    assert stage.ask("GET", f"namespaces/{namespace}/topics") == []
