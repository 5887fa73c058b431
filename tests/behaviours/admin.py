"""Pages of administration beside topics' messages and policies."""

from stage import Refused, eventually, page, received, refused


def properties_of_a_topic_are_set_one_by_one_and_removed(stage):
    topic = stage.topic("properties")
    stage.ask("PUT", page(topic), {"a": "b"})
    at = page(topic, "properties")
    assert stage.ask("GET", at) == {"a": "b"}
    stage.ask("PUT", at, {"c": "d", "a": "x"})
    assert stage.ask("GET", at) == {"a": "x", "c": "d"}
    stage.ask("DELETE", f"{at}?key=a")
    stage.ask("DELETE", f"{at}?key=unknown")
    assert stage.ask("GET", at) == {"c": "d"}
    stage.ask("PUT", page(topic, "unload"))
    eventually(lambda: stage.ask("GET", at) == {"c": "d"})


def properties_of_a_partitioned_topic_are_its_own_and_not_those_of_its_partitions(stage):
    topic = stage.partitioned("properties", 2)
    stage.ask("PUT", page(topic, "properties"), {"a": "b"})
    assert stage.ask("GET", page(topic, "properties")) == {"a": "b"}
    assert stage.ask("GET", page(f"{topic}-partition-0", "properties")) == {}
    assert stage.ask("GET", page(topic, "partitions"))["properties"] == {"a": "b"}


def a_topic_that_is_not_there_has_no_properties(stage):
    topic = stage.topic("nowhere")
    error = refused(Refused, stage.ask, "GET", page(topic, "properties"))
    assert (error.code, error.reason) == (404, f"Topic {topic} not found")


def permissions_of_a_namespace_are_noted_and_shown(stage):
    namespace = stage.namespace("permissions")
    at = f"namespaces/{namespace}/permissions"
    assert stage.ask("GET", at) == {}
    stage.ask("POST", f"{at}/clerk", ["produce", "consume"])
    assert {role: sorted(actions) for role, actions in stage.ask("GET", at).items()} == {
        "clerk": ["consume", "produce"]
    }
    assert "clerk" in stage.ask("GET", f"namespaces/{namespace}")["auth_policies"]["namespace_auth"]
    stage.ask("DELETE", f"{at}/clerk")
    assert stage.ask("GET", at) == {}


def permissions_of_a_topic_come_beside_those_of_its_namespace(stage):
    namespace = stage.namespace("permissions")
    topic = stage.topic("permissions", namespace)
    stage.ask("PUT", page(topic))
    stage.ask("POST", f"namespaces/{namespace}/permissions/clerk", ["consume"])
    stage.ask("POST", page(topic, "permissions/porter"), ["produce"])
    assert stage.ask("GET", page(topic, "permissions")) == {"clerk": ["consume"], "porter": ["produce"]}
    assert stage.ask("GET", f"namespaces/{namespace}/permissions") == {"clerk": ["consume"]}
    stage.ask("DELETE", page(topic, "permissions/porter"))
    assert stage.ask("GET", page(topic, "permissions")) == {"clerk": ["consume"]}
    error = refused(Refused, stage.ask, "GET", page(stage.topic("nowhere", namespace), "permissions"))
    assert error.code == 404


def permissions_of_subscriptions_name_roles(stage):
    at = f"namespaces/{stage.namespace('permissions')}/permissions"
    stage.ask("POST", f"{at}/subscription/s", ["clerk"])
    assert stage.ask("GET", f"{at}/subscription") == {"s": ["clerk"]}
    stage.ask("DELETE", f"{at}/s/clerk")
    assert stage.ask("GET", f"{at}/subscription").get("s", []) == []


def the_backlog_of_a_whole_namespace_is_cleared(stage):
    namespace = stage.namespace("clear")
    topics = [stage.topic(name, namespace) for name in "ab"]
    consumers = [stage.subscribe(topic, name) for topic in topics for name in ["s", "t"]]
    for consumer in consumers:
        consumer.close()
    for topic in topics:
        stage.publish(topic, ["m"])

    def backlogs(name):
        return [stage.stats(topic)["subscriptions"][name]["msgBacklog"] for topic in topics]

    stage.ask("POST", f"namespaces/{namespace}/clearBacklog/s")
    eventually(lambda: (backlogs("s"), backlogs("t")) == ([0, 0], [1, 1]))
    stage.ask("POST", f"namespaces/{namespace}/clearBacklog")
    eventually(lambda: backlogs("t") == [0, 0])
    stage.ask("POST", f"namespaces/{namespace}/unsubscribe/s")
    eventually(lambda: all(stage.ask("GET", page(topic, "subscriptions")) == ["t"] for topic in topics))


def a_broker_tells_of_the_topics_it_serves(stage):
    namespace = stage.namespace("broker-stats")
    topic = stage.topic("seen", namespace)
    passing = stage.topic("seen", namespace, domain="non-persistent")
    producers = [stage.client.create_producer(name) for name in [topic, passing]]

    def served(broker):
        bundles = stage.ask("GET", "broker-stats/topics", broker=broker).get(namespace, {}).values()
        return {name for bundle in bundles for names in bundle.values() for name in names}

    # Apache Pulsar gathers them once a minute: until then a broker tells of none of a new namespace.
    for name in [topic, passing]:
        told = served(stage.owner(name))
        assert name in told or not told
    assert isinstance(stage.ask("GET", "broker-stats/metrics"), list)
    assert isinstance(stage.ask("GET", "broker-stats/mbeans"), list)
    assert stage.ask("GET", "broker-stats/load-report")["nonPersistentTopicsEnabled"] is True
    for producer in producers:
        producer.close()


def a_cluster_has_no_peers_and_no_others_beside_it(stage):
    (cluster,) = stage.ask("GET", "clusters")
    assert stage.ask("GET", f"clusters/{cluster}/peers") is None
    assert stage.ask("GET", f"clusters/{cluster}/failureDomains") == {}
    for method, name, reason in [
        ("GET", "nowhere", "Cluster does not exist"),
        ("DELETE", "nowhere", "Cluster does not exist"),
        ("GET", f"{cluster}/failureDomains/d", f"Domain d for cluster {cluster} does not exist"),
    ]:
        error = refused(Refused, stage.ask, method, f"clusters/{name}")
        assert (error.code, error.reason) == (404, reason)


def what_a_broker_is_told_of_its_surroundings_is_shown(stage):
    assert stage.ask("GET", "brokers/internal-configuration")["metadataStoreUrl"]
    assert stage.ask("GET", "brokers/backlog-quota-check") is None


def a_subscription_is_not_replicated(stage):
    topic = stage.topic("replicated")
    consumer = stage.subscribe(topic)
    assert stage.ask("GET", page(topic, "subscription/s/replicatedSubscriptionStatus")) == {topic: False}
    consumer.close()


def what_is_kept_of_a_topic_is_shown(stage):
    topic = stage.topic("internal-info")
    stage.subscribe(topic).close()
    stage.publish(topic, ["m"])
    info = stage.ask("GET", page(topic, "internal-info"))
    assert [ledger["ledgerId"] for ledger in info["ledgers"]] and "s" in info["cursors"]
    parted = stage.partitioned("internal-info", 2)
    partitions = stage.ask("GET", page(parted, "internal-info"))["partitions"]
    assert sorted(partitions) == [f"{parted}-partition-0", f"{parted}-partition-1"]


def more_partitions_begin_with_the_subscriptions_of_the_others(stage):
    topic = stage.partitioned("more", 1)
    consumer = stage.subscribe(topic)
    error = refused(Refused, stage.ask, "POST", page(topic, "partitions"), 0)
    assert error.code in (406, 422)
    stage.ask("POST", page(topic, "partitions"), 3)
    assert stage.ask("GET", page(topic, "partitions"))["partitions"] == 3
    eventually(lambda: stage.ask("GET", page(f"{topic}-partition-2", "subscriptions")) == ["s"])
    stage.ask("POST", page(topic, "createMissedPartitions"))
    consumer.close()
    inner = stage.ask("GET", page(topic, "partitioned-internalStats"))
    assert (inner["metadata"]["partitions"], len(inner["partitions"])) == (3, 3)


def a_truncated_topic_has_nothing_left_for_anybody(stage):
    topic = stage.topic("truncated")
    stage.subscribe(topic).close()
    stage.publish(topic, ["a", "b"])
    stage.ask("DELETE", page(topic, "truncate"))
    eventually(lambda: stage.stats(topic)["subscriptions"]["s"]["msgBacklog"] == 0)
    consumer = stage.subscribe(topic)
    stage.publish(topic, ["c"])
    assert received(consumer, 1) == ["c"]
