"""What tools are told of topics, of who uses them, and of what waits."""

from stage import page, received


def _told(stage, topic, **wanted):
    query = "&".join(f"{name}={value}" for name, value in wanted.items())
    return stage.ask("GET", f"{page(topic, 'stats')}?{query}")


def _used(stage, topic):
    """A topic with a producer, a consumer, and three messages of which two wait."""
    consumer = stage.subscribe(topic, consumer_name="c")
    producer = stage.client.create_producer(topic, producer_name="p", batching_enabled=False)
    for number in range(3):
        producer.send(b"%d" % number)
    assert received(consumer, 1) == ["0"]
    stage.eventually(lambda: stage.stats(topic)["subscriptions"]["s"]["msgBacklog"] == 2)
    return producer, consumer


def consumers_and_producers_are_left_out_when_nobody_asks_for_them(stage):
    topic = stage.topic("left-out")
    _used(stage, topic)
    stats = stage.stats(topic)
    assert [one["producerName"] for one in stats["publishers"]] == ["p"]
    assert [one["consumerName"] for one in stats["subscriptions"]["s"]["consumers"]] == ["c"]
    stats = _told(stage, topic, excludePublishers="true", excludeConsumers="true")
    assert stats["publishers"] == []
    assert stats["subscriptions"]["s"]["consumers"] == []
    assert stats["subscriptions"]["s"]["msgBacklog"] == 2


def partitions_leave_them_out_too(stage):
    topic = stage.topic("left-out-of-partitions")
    stage.ask("PUT", page(topic, "partitions"), 2)
    consumer = stage.subscribe(topic)
    query = "excludePublishers=true&excludeConsumers=true"
    stats = stage.ask("GET", f"{page(topic, 'partitioned-stats')}?{query}")
    assert stats["subscriptions"]["s"]["consumers"] == []
    for one in stats["partitions"].values():
        assert one["subscriptions"]["s"]["consumers"] == []
    consumer.close()


def the_oldest_message_that_waits_tells_its_time_to_those_who_ask(stage):
    topic = stage.topic("oldest")
    producer, consumer = _used(stage, topic)
    assert stage.stats(topic)["subscriptions"]["s"]["earliestMsgPublishTimeInBacklog"] == 0
    first_waiting = consumer.receive(10_000)
    stats = _told(stage, topic, getEarliestTimeInBacklog="true")
    assert stats["subscriptions"]["s"]["earliestMsgPublishTimeInBacklog"] == first_waiting.publish_timestamp()
    assert stats["earliestMsgPublishTimeInBacklogs"] == first_waiting.publish_timestamp()
    consumer.acknowledge_cumulative(consumer.receive(10_000))
    stage.eventually(
        lambda: _told(stage, topic, getEarliestTimeInBacklog="true")["subscriptions"]["s"][
            "earliestMsgPublishTimeInBacklog"
        ]
        == -1
    )


def counters_have_the_types_that_clients_read(stage):
    """Clients with types of their own refuse a whole page for a number with a point."""
    topic = stage.topic("types")
    _used(stage, topic)
    stats = stage.stats(topic)
    subscription = stats["subscriptions"]["s"]
    consumer = subscription["consumers"][0]
    assert type(consumer["avgMessagesPerEntry"]) is int and consumer["avgMessagesPerEntry"] == 1
    for name in ["availablePermits", "unackedMessages", "msgOutCounter", "lastConsumedTimestamp"]:
        assert type(consumer[name]) is int, name
    assert consumer["lastConsumedTime"].endswith("Z") and consumer["lastConsumedTime"].startswith("20")
    assert (subscription["durable"], subscription["isDurable"], subscription["replicated"]) == (True, True, False)
    for name in ["msgInCounter", "storageSize", "backlogSize", "backlogQuotaLimitSize", "backlogQuotaLimitTime"]:
        assert type(stats[name]) is int, name
    for name in ["msgRateIn", "msgThroughputOut", "averageMsgSize"]:
        assert type(stats[name]) is float, name
