"""Key_Shared: many consumers, and for each key one at a time, in order."""

import pulsar
from stage import PATIENCE_MS, eventually, murmur3, nothing_more, refused, text

KeyShared = pulsar.ConsumerType.KeyShared
SLOTS = 65_536


def a_key_is_at_one_consumer_and_in_order(stage):
    topic = stage.topic("keys")
    consumers = [_subscribe(stage, topic, name) for name in ("a", "b", "c")]
    _publish(stage, topic, [(f"k{number % 20}", str(number)) for number in range(200)])
    by_key = {}
    for consumer in consumers:
        for message in _all_of(consumer):
            by_key.setdefault(message.partition_key(), []).append((consumer.consumer_name(), int(text(message))))
    assert len(by_key) == 20
    for key, deliveries in by_key.items():
        assert len({consumer for consumer, _ in deliveries}) == 1, f"{key} is at two consumers"
        numbers = [number for _, number in deliveries]
        assert numbers == sorted(numbers) and len(numbers) == 10, f"{key}: {numbers}"
    assert len({deliveries[0][0] for deliveries in by_key.values()}) == 3, "everybody has some keys"


def messages_without_a_key_are_spread(stage):
    topic = stage.topic("keyless")
    consumers = [_subscribe(stage, topic, name) for name in ("a", "b")]
    stage.publish(topic, [str(number) for number in range(60)])
    counts = [len(_all_of(consumer)) for consumer in consumers]
    assert sum(counts) == 60 and min(counts) > 0, counts


def an_ordering_key_goes_before_the_key(stage):
    topic = stage.topic("ordering")
    low = _subscribe(stage, topic, "low", ranges=[(0, 32_767)])
    high = _subscribe(stage, topic, "high", ranges=[(32_768, 65_535)])
    to_low, to_high = _key_in(0, 32_767), _key_in(32_768, 65_535)
    producer = stage.client.create_producer(topic, batching_enabled=False)
    producer.send(b"first", partition_key=to_high, ordering_key=to_low)
    producer.send(b"second", partition_key=to_low, ordering_key=to_high)
    assert [text(message) for message in _all_of(low, 1)] == ["first"]
    assert [text(message) for message in _all_of(high, 1)] == ["second"]


def sticky_consumers_get_the_keys_of_their_ranges(stage):
    topic = stage.topic("sticky")
    low = _subscribe(stage, topic, "low", ranges=[(0, 20_000), (60_000, 65_535)])
    high = _subscribe(stage, topic, "high", ranges=[(20_001, 59_999)])
    keys = [f"k{number}" for number in range(50)]
    _publish(stage, topic, [(key, key) for key in keys])
    inside = [key for key in keys if 20_001 <= _slot(key) <= 59_999]
    assert [text(message) for message in _all_of(high)] == inside
    assert [text(message) for message in _all_of(low)] == [key for key in keys if key not in inside]
    ranges = {one["consumerName"]: one["keyHashRangeArrays"] for one in _stats(stage, topic)["consumers"]}
    assert ranges == {"low": [[0, 20_000], [60_000, 65_535]], "high": [[20_001, 59_999]]}


def sticky_ranges_must_not_overlap(stage):
    topic = stage.topic("overlap")
    first = _subscribe(stage, topic, "first", ranges=[(0, 100), (200, 300)])
    refused(pulsar.ConsumerAssignError, _subscribe, stage, topic, "second", ranges=[(50, 150)])
    _subscribe(stage, topic, "third", ranges=[(101, 199)])
    first.close()
    _subscribe(stage, topic, "fourth", ranges=[(50, 100)])


def a_slot_that_nobody_has_waits_for_somebody(stage):
    topic = stage.topic("nobody")
    low = _subscribe(stage, topic, "low", ranges=[(0, 32_767)])
    _publish(stage, topic, [(_key_in(32_768, 65_535), "high"), (_key_in(0, 32_767), "low")])
    assert [text(message) for message in _all_of(low, 1)] == ["low"]
    high = _subscribe(stage, topic, "high", ranges=[(32_768, 65_535)])
    assert [text(message) for message in _all_of(high, 1)] == ["high"]


def all_consumers_must_want_the_same(stage):
    topic = stage.topic("same")
    first = _subscribe(stage, topic, "first")
    refused(pulsar.ConsumerBusy, _subscribe, stage, topic, "sticky", ranges=[(0, SLOTS - 1)])
    refused(pulsar.ConsumerBusy, _subscribe, stage, topic, "loose", out_of_order=True)
    refused(pulsar.ConsumerBusy, stage.subscribe, topic, "s", pulsar.ConsumerType.Shared)
    first.close()
    _subscribe(stage, topic, "loose", out_of_order=True)
    assert _stats(stage, topic)["allowOutOfOrderDelivery"] is True


def a_key_stays_where_it_is_unacknowledged_when_another_consumer_joins(stage):
    topic = stage.topic("joins")
    old = _subscribe(stage, topic, "old")
    keys = [f"k{number}" for number in range(40)]
    _publish(stage, topic, [(key, "first") for key in keys])
    held = {message.partition_key(): message for message in _all_of(old, 40, acknowledge=False)}
    new = _subscribe(stage, topic, "new")
    _publish(stage, topic, [(key, "second") for key in keys])
    stayed = {message.partition_key() for message in _all_of(old)}
    assert 0 < len(stayed) < 40, "some keys stay, others move"
    nothing_more(new)
    draining = _stats(stage, topic)["drainingHashesCount"]
    assert draining == 40 - len(stayed), f"{draining} slots wait for the old consumer"
    moved = [key for key in keys if key not in stayed]
    old.acknowledge(held[moved[0]])
    assert [message.partition_key() for message in _all_of(new, 1)] == moved[:1], "that key is free, the others are not"
    nothing_more(new)
    for message in held.values():
        old.acknowledge(message)
    later = {message.partition_key(): text(message) for message in _all_of(new, len(moved) - 1)}
    assert later == {key: "second" for key in moved[1:]}
    eventually(lambda: _stats(stage, topic)["drainingHashesCount"] == 0)


def what_a_consumer_leaves_goes_to_others_before_what_came_later(stage):
    topic = stage.topic("leaves")
    old, new = _subscribe(stage, topic, "old"), _subscribe(stage, topic, "new")
    keys = [f"k{number}" for number in range(30)]
    _publish(stage, topic, [(key, "first") for key in keys])
    held = {message.partition_key() for message in _all_of(old, acknowledge=False)}
    _all_of(new)
    assert 0 < len(held) < 30
    _publish(stage, topic, [(key, "second") for key in keys])
    old.close()
    by_key = {}
    for message in _all_of(new, 30 + len(held)):
        by_key.setdefault(message.partition_key(), []).append(text(message))
    assert by_key == {key: ["first", "second"] if key in held else ["second"] for key in keys}


def without_order_a_key_moves_at_once(stage):
    topic = stage.topic("loose")
    old = _subscribe(stage, topic, "old", out_of_order=True)
    keys = [f"k{number}" for number in range(40)]
    _publish(stage, topic, [(key, "first") for key in keys])
    _all_of(old, 40, acknowledge=False)
    new = _subscribe(stage, topic, "new", out_of_order=True)
    _publish(stage, topic, [(key, "second") for key in keys])
    assert len(_all_of(new)) + len(_all_of(old)) == 40
    assert _stats(stage, topic)["drainingHashesCount"] == 0


def a_message_given_back_comes_again_before_later_ones_of_its_key(stage):
    topic = stage.topic("back")
    consumer = _subscribe(stage, topic, "a", receiver_queue_size=1, negative_ack_redelivery_delay_ms=100)
    _publish(stage, topic, [("k", str(number)) for number in range(4)])
    first = consumer.receive(timeout_millis=PATIENCE_MS)
    consumer.negative_acknowledge(first)
    texts = []
    while len(texts) < 4:
        message = consumer.receive(timeout_millis=PATIENCE_MS)
        texts.append((text(message), message.redelivery_count()))
        consumer.acknowledge(message)
    assert ("0", 1) in texts and len(set(texts)) == 4, texts
    assert [one for one, _ in texts if one != "0"] == ["1", "2", "3"], texts


def batches_by_key_keep_keys_together(stage):
    topic = stage.topic("batches")
    consumers = [_subscribe(stage, topic, name) for name in ("a", "b")]
    producer = stage.client.create_producer(
        topic, batching_enabled=True, batching_max_publish_delay_ms=50, batching_type=pulsar.BatchingType.KeyBased
    )
    for number in range(100):
        producer.send_async(str(number).encode(), None, partition_key=f"k{number % 10}")
    producer.flush()
    by_key = {}
    for consumer in consumers:
        for message in _all_of(consumer):
            by_key.setdefault(message.partition_key(), []).append((consumer.consumer_name(), int(text(message))))
    assert len(by_key) == 10
    for key, deliveries in by_key.items():
        assert len({name for name, _ in deliveries}) == 1, f"{key} is at two consumers"
        assert [number for _, number in deliveries] == list(range(int(key[1:]), 100, 10))


def stats_tell_the_mode_and_the_ranges(stage):
    topic = stage.topic("told")
    for name in ("a", "b"):
        _subscribe(stage, topic, name)
    stats = _stats(stage, topic)
    told = (stats["type"], stats["keySharedMode"], stats["allowOutOfOrderDelivery"])
    assert told == ("Key_Shared", "AUTO_SPLIT", False)
    ranges = sorted(one for consumer in stats["consumers"] for one in consumer["keyHashRangeArrays"])
    assert ranges[0][0] == 1 and ranges[-1][1] == SLOTS - 1, "slot 0 is not used"
    assert all(before[1] + 1 == after[0] for before, after in zip(ranges, ranges[1:])), "without gaps"


def _subscribe(stage, topic, name, ranges=None, out_of_order=False, **options):
    mode = pulsar.KeySharedMode.Sticky if ranges else pulsar.KeySharedMode.AutoSplit
    policy = pulsar.ConsumerKeySharedPolicy(mode, out_of_order, ranges)
    return stage.subscribe(topic, kind=KeyShared, consumer_name=name, key_shared_policy=policy, **options)


def _publish(stage, topic, messages):
    producer = stage.client.create_producer(topic, batching_enabled=False)
    for key, content in messages:
        producer.send_async(content.encode(), None, partition_key=key)
    producer.flush()
    producer.close()


def _all_of(consumer, count=None, acknowledge=True):
    """So many messages, or all that come before it is silent for a while."""
    messages = []
    while count is None or len(messages) < count:
        try:
            message = consumer.receive(timeout_millis=700 if count is None else PATIENCE_MS)
        except pulsar.Timeout:
            if count is None:
                return messages
            raise
        messages.append(message)
        if acknowledge:
            consumer.acknowledge(message)
    return messages


def _stats(stage, topic):
    return stage.stats(topic)["subscriptions"]["s"]


def _key_in(start, end):
    return next(key for key in map("key-{}".format, range(1000)) if start <= _slot(key) <= end)


def _slot(key):
    """The slot of a key among those of sticky consumers."""
    return murmur3(key.encode()) % SLOTS
