"""Topics that store nothing: what is published goes to whoever is there, or nowhere."""

import re

import pulsar
from stage import PATIENCE_MS, Refused, eventually, nothing_more, page, received, refused, text


def _topic(stage, name):
    return stage.topic(name, domain="non-persistent")


def _producer(stage, topic, **options):
    return stage.client.create_producer(topic, batching_enabled=False, **options)


def messages_go_to_the_consumers_that_are_there_and_to_nobody_else(stage):
    topic = _topic(stage, "np-there")
    producer = _producer(stage, topic)
    producer.send(b"before anybody came")
    first = stage.subscribe(topic, "a")
    second = stage.subscribe(topic, "b")
    producer.send(b"to both")
    assert received(first, 1) == received(second, 1) == ["to both"]
    first.close()
    producer.send(b"to one")
    assert received(second, 1) == ["to one"]
    again = stage.subscribe(topic, "a")
    nothing_more(again)


def every_message_has_the_same_id(stage):
    topic = _topic(stage, "np-ids")
    producer = _producer(stage, topic)
    consumer = stage.subscribe(topic)
    for content in [b"a", b"b"]:
        sent = producer.send(content)
        got = consumer.receive(timeout_millis=PATIENCE_MS).message_id()
        assert (sent.ledger_id(), sent.entry_id()) == (got.ledger_id(), got.entry_id()) == (0, 0)


def batches_arrive_whole(stage):
    topic = _topic(stage, "np-batch")
    consumer = stage.subscribe(topic)
    stage.publish_batch(topic, ["a", "b", "c"])
    assert received(consumer, 3) == ["a", "b", "c"]


def nothing_comes_again(stage):
    """Not after a negative acknowledgement, not after a seek: there is nothing to come from."""
    topic = _topic(stage, "np-again")
    consumer = stage.subscribe(topic, kind=pulsar.ConsumerType.Shared, negative_ack_redelivery_delay_ms=100)
    _producer(stage, topic).send(b"once")
    message = consumer.receive(timeout_millis=PATIENCE_MS)
    consumer.negative_acknowledge(message)
    consumer.redeliver_unacknowledged_messages()
    consumer.seek(pulsar.MessageId.earliest)
    nothing_more(consumer)


def consumers_of_a_shared_subscription_take_turns(stage):
    topic = _topic(stage, "np-shared")
    consumers = [stage.subscribe(topic, kind=pulsar.ConsumerType.Shared) for _ in range(2)]
    producer = _producer(stage, topic)
    for number in range(20):
        producer.send(str(number).encode())
    shares = [received(consumer, 10) for consumer in consumers]
    assert sorted(map(int, shares[0] + shares[1])) == list(range(20))


def a_key_stays_with_one_consumer(stage):
    topic = _topic(stage, "np-keys")
    consumers = [stage.subscribe(topic, kind=pulsar.ConsumerType.KeyShared) for _ in range(2)]
    producer = _producer(stage, topic)
    for number in range(40):
        producer.send(str(number).encode(), partition_key=f"k{number % 8}")
    owners, left = {}, 40
    for consumer in consumers:
        while True:
            try:
                message = consumer.receive(timeout_millis=1000)
            except pulsar.Timeout:
                break
            left -= 1
            assert owners.setdefault(message.partition_key(), consumer) is consumer
    assert left == 0 and len(owners) == 8


def one_consumer_of_a_failover_subscription_is_active_and_the_next_takes_over(stage):
    topic = _topic(stage, "np-failover")
    consumers = [stage.subscribe(topic, kind=pulsar.ConsumerType.Failover, consumer_name=name) for name in "ab"]
    producer = _producer(stage, topic)
    producer.send(b"first")

    def takes(consumer):
        try:
            return text(consumer.receive(timeout_millis=500))
        except pulsar.Timeout:
            return None

    got = [takes(consumer) for consumer in consumers]
    assert sorted(map(str, got)) == ["None", "first"]
    active = got.index("first")
    consumers[active].close()
    producer.send(b"second")
    assert received(consumers[1 - active], 1) == ["second"]


def an_exclusive_subscription_has_one_consumer(stage):
    topic = _topic(stage, "np-exclusive")
    first = stage.subscribe(topic)
    refused(pulsar.ConsumerBusy, stage.subscribe, topic)
    first.close()
    stage.subscribe(topic)


def a_subscription_is_there_as_long_as_a_consumer_is(stage):
    topic = _topic(stage, "np-gone")
    consumer = stage.subscribe(topic, "s")
    assert stage.ask("GET", page(topic, "subscriptions")) == ["s"]
    consumer.close()
    eventually(lambda: stage.ask("GET", page(topic, "subscriptions")) == [])


def what_a_consumer_has_no_room_for_is_dropped_and_others_miss_nothing(stage):
    topic = _topic(stage, "np-slow")
    slow = stage.subscribe(topic, "slow", receiver_queue_size=1)
    quick = stage.subscribe(topic, "quick")
    producer = _producer(stage, topic)
    for number in range(100):
        producer.send(str(number).encode())
    assert received(quick, 100) == [str(number) for number in range(100)]
    assert received(slow, 1) == ["0"]
    stats = stage.stats(topic)
    assert stats["msgInCounter"] == 100 and "msgDropRate" in stats
    assert all("msgDropRate" in one for one in [stats["publishers"][0], stats["subscriptions"]["slow"]])
    assert stats["subscriptions"]["quick"]["msgOutCounter"] == 100
    assert stats["subscriptions"]["slow"]["msgOutCounter"] < 100
    assert stats["subscriptions"]["slow"]["msgBacklog"] == 0


def a_producer_may_have_the_topic_for_itself(stage):
    topic = _topic(stage, "np-access")
    _producer(stage, topic, access_mode=pulsar.ProducerAccessMode.Exclusive)
    refused(pulsar.ProducerBusy, _producer, stage, topic)
    refused(pulsar.ProducerFenced, _producer, stage, topic, access_mode=pulsar.ProducerAccessMode.Exclusive)


def partitions_are_known_before_they_are_used(stage):
    topic = stage.partitioned("np-partitioned", 3, domain="non-persistent")
    namespace = "non-persistent/public/default"
    assert topic in stage.ask("GET", f"{namespace}/partitioned")
    assert stage.ask("GET", page(topic, "partitions"))["partitions"] == 3
    consumer = stage.subscribe(topic)
    producer = stage.client.create_producer(
        topic, batching_enabled=False, message_routing_mode=pulsar.PartitionsRoutingMode.RoundRobinDistribution
    )
    for number in range(6):
        producer.send(str(number).encode())
    assert sorted(received(consumer, 6)) == [str(number) for number in range(6)]
    listed = stage.ask("GET", namespace)
    assert all(f"{topic}-partition-{number}" in listed for number in range(3)) and topic not in listed
    stats = stage.ask("GET", page(topic, "partitioned-stats"))
    assert (stats["msgInCounter"], stats["metadata"]["partitions"], len(stats["partitions"])) == (6, 3, 3)
    consumer.close()
    producer.close()
    stage.ask("DELETE", page(topic, "partitions"))
    assert topic not in stage.ask("GET", f"{namespace}/partitioned")


def a_stored_topic_of_the_same_name_is_another_topic(stage):
    passing = _topic(stage, "np-twin")
    stored = passing.replace("non-persistent://", "persistent://")
    consumers = [stage.subscribe(topic) for topic in [passing, stored]]
    stage.publish(stored, ["stored"])
    stage.publish(passing, ["passing"])
    assert [received(consumer, 1) for consumer in consumers] == [["passing"], ["stored"]]
    for consumer in consumers:
        nothing_more(consumer)
    everything = stage.ask("GET", "namespaces/public/default/topics?mode=ALL")
    assert passing in everything and stored in everything
    assert passing not in stage.ask("GET", "namespaces/public/default/topics")
    assert stored not in stage.ask("GET", "namespaces/public/default/topics?mode=NON_PERSISTENT")


def patterns_find_them_when_asked_to(stage):
    first = _topic(stage, "np-pattern")
    name = first.rsplit("/", 1)[1]
    stored = first.replace("non-persistent://", "persistent://") + "-stored"
    for topic in [first, stored]:
        stage.client.create_producer(topic)
    for mode, wanted in [
        (pulsar.RegexSubscriptionMode.NonPersistentOnly, {"passing"}),
        (pulsar.RegexSubscriptionMode.AllTopics, {"passing", "stored"}),
    ]:
        pattern = re.compile(f"public/default/{name}.*")
        options = {"regex_subscription_mode": mode, "initial_position": pulsar.InitialPosition.Latest}
        consumer = stage.subscribe(pattern, f"s{len(wanted)}", **options)
        stage.publish(first, ["passing"])
        stage.publish(stored, ["stored"])
        assert set(received(consumer, len(wanted))) == wanted
        nothing_more(consumer)
        consumer.close()


def a_topic_is_made_and_deleted_by_rest(stage):
    topic = _topic(stage, "np-rest")
    error = refused(Refused, stage.stats, topic)
    assert (error.code, error.reason) == (404, f"Topic {topic} not found")
    stage.ask("PUT", page(topic))
    error = refused(Refused, stage.ask, "PUT", page(topic))
    assert (error.code, error.reason) == (409, "This topic already exists")
    assert topic in stage.ask("GET", "non-persistent/public/default")
    producer = _producer(stage, topic)
    error = refused(Refused, stage.ask, "DELETE", page(topic))
    assert (error.code, error.reason) == (412, "Topic has 1 connected producers/consumers")
    producer.close()
    stage.ask("DELETE", page(topic))
    assert topic not in stage.ask("GET", "non-persistent/public/default")


def an_unload_costs_no_producer_and_no_consumer_its_place(stage):
    topic = _topic(stage, "np-unload")
    consumer = stage.subscribe(topic)
    producer = _producer(stage, topic)
    stage.ask("PUT", page(topic, "unload"))

    def is_back():
        try:
            stats = stage.stats(topic)
        except Refused:
            return False  # Nobody has made it anew yet.
        consumers = [one for subscription in stats["subscriptions"].values() for one in subscription["consumers"]]
        return any(0 < one["availablePermits"] for one in consumers)

    eventually(is_back)
    producer.send(b"after")
    assert received(consumer, 1) == ["after"]


def what_needs_a_log_is_refused(stage):
    topic = _topic(stage, "np-no-log")
    stage.ask("PUT", page(topic))
    for method, name, code, reason in [
        ("GET", "lastMessageId", 405, "GetLastMessageId on a non-persistent topic is not allowed"),
        ("GET", "messageid/0", 405, "Get message ID by timestamp on a non-persistent topic is not allowed"),
        ("POST", "trim", 405, "Trim on a non-persistent topic is not allowed"),
        ("POST", "terminate", 406, "Need to provide a persistent topic name"),
        ("GET", "properties", 406, "Need to provide a persistent topic name"),
        ("DELETE", "truncate", 412, "unsupport truncate"),
        ("GET", "subscription/s/position/1", 405, "Peek messages on a non-persistent topic is not allowed"),
        ("POST", "subscription/s/expireMessages/1", 405, "Expire messages on a non-persistent topic is not allowed"),
        (
            "PUT",
            "subscription/s",
            400,
            "Create subscription on non-persistent topic can only be done through client",
        ),
    ]:
        error = refused(Refused, stage.ask, method, page(topic, name))
        assert (error.code, error.reason) == (code, reason), (name, error)


def a_topic_has_policies_of_its_own(stage):
    topic = _topic(stage, "np-policies")
    error = refused(Refused, stage.ask, "GET", page(topic, "maxProducers"))
    assert error.code == 404
    producer = _producer(stage, topic)
    stage.ask("POST", page(topic, "maxProducers"), 1)
    eventually(lambda: stage.ask("GET", page(topic, "maxProducers")) == 1)
    twin = topic.replace("non-persistent://", "persistent://")
    stage.ask("PUT", page(twin))
    assert stage.ask("GET", page(twin, "maxProducers")) is None
    refused(pulsar.ProducerBusy, _producer, stage, topic)
    producer.close()
