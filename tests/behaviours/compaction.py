"""Compaction: of each key the last message, for those who ask for it."""

import pulsar
from stage import PATIENCE_MS, Refused, page, received, refused, text

earliest, latest = pulsar.MessageId.earliest, pulsar.MessageId.latest


def _publish(stage, topic, pairs, **options):
    """Publishes (key, text) one by one, without batches unless asked, and gives their ids."""
    options.setdefault("batching_enabled", False)
    producer = stage.client.create_producer(topic, **options)
    ids = [producer.send(content.encode(), **({"partition_key": key} if key else {})) for key, content in pairs]
    producer.close()
    return ids


def _publish_batch(stage, topic, pairs, **options):
    options |= {"batching_enabled": True, "batching_max_publish_delay_ms": 10_000}
    producer = stage.client.create_producer(topic, batching_max_messages=len(pairs) + 1, **options)
    for key, content in pairs:
        producer.send_async(content.encode(), lambda result, message_id: None, partition_key=key)
    producer.flush()
    producer.close()


def _status(stage, topic):
    return stage.ask("GET", page(topic, "compaction"))


def _compact(stage, topic):
    stage.ask("PUT", page(topic, "compaction"))
    stage.eventually(lambda: _status(stage, topic)["status"] != "RUNNING")
    assert _status(stage, topic) == {"status": "SUCCESS", "lastError": ""}


def _reader(stage, topic, start=earliest, **options):
    return stage.client.create_reader(topic, start, is_read_compacted=True, **options)


def _rest(reader):
    """All there is from here on, as (key, text). What was taken out of a batch comes as an empty message without key."""
    pairs = []
    while reader.has_message_available():
        message = reader.read_next(timeout_millis=PATIENCE_MS)
        if message.data():
            pairs.append((message.partition_key(), text(message)))
    return pairs


def _versions(count):
    return [(f"k{number % 3}", f"v{number}") for number in range(count)]


def the_last_message_of_each_key_stays_for_those_who_ask_for_it(stage):
    topic = stage.topic("last")
    ids = _publish(stage, topic, _versions(9))
    assert _rest(_reader(stage, topic)) == _versions(9), "nothing was compacted yet"
    _compact(stage, topic)
    reader = _reader(stage, topic)
    first = reader.read_next(timeout_millis=PATIENCE_MS)
    assert (text(first), first.message_id().entry_id()) == ("v6", ids[6].entry_id())
    assert _rest(reader) == [("k1", "v7"), ("k2", "v8")]
    assert _rest(stage.client.create_reader(topic, earliest)) == _versions(9)


def what_comes_after_a_compaction_is_read_behind_it(stage):
    topic = stage.topic("after")
    _publish(stage, topic, _versions(6))
    _compact(stage, topic)
    reader = _reader(stage, topic)
    _publish(stage, topic, [("k0", "new"), ("k0", "newer")])
    assert _rest(reader) == [("k0", "v3"), ("k1", "v4"), ("k2", "v5"), ("k0", "new"), ("k0", "newer")]
    _compact(stage, topic)
    assert _rest(_reader(stage, topic)) == [("k1", "v4"), ("k2", "v5"), ("k0", "newer")]


def an_empty_message_takes_its_key_away(stage):
    topic = stage.topic("tombstone")
    _publish_batch(stage, topic, [("a", "1"), ("b", "2"), ("a", "")])
    _publish_batch(stage, topic, [("c", "3")])
    _compact(stage, topic)
    assert _rest(_reader(stage, topic)) == [("b", "2"), ("c", "3")]


def messages_without_key_go(stage):
    topic = stage.topic("keyless")
    _publish(stage, topic, [("a", "1"), (None, "nobody's"), ("b", "2"), (None, "nobody's")])
    _compact(stage, topic)
    assert _rest(_reader(stage, topic)) == [("a", "1"), ("b", "2")]


def what_is_left_of_a_batch_keeps_its_places(stage):
    kinds = pulsar.CompressionType
    for compression in (kinds.NONE, kinds.LZ4, kinds.ZLib, kinds.ZSTD, kinds.SNAPPY):
        topic = stage.topic("batch")
        old = [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("b", "5" * 1000), ("a", "6")]
        _publish_batch(stage, topic, old, compression_type=compression)
        _publish_batch(stage, topic, [("c", "7")], compression_type=compression)
        _compact(stage, topic)
        reader = _reader(stage, topic)
        kept = []
        while reader.has_message_available():
            message = reader.read_next(timeout_millis=PATIENCE_MS)
            if message.data():
                kept.append((message.message_id().batch_index(), message.partition_key(), text(message)))
        assert kept == [(4, "b", "5" * 1000), (5, "a", "6"), (0, "c", "7")], compression
        reader.close()


def the_last_message_is_the_last_that_is_left(stage):
    topic = stage.topic("last-id")
    _publish_batch(stage, topic, [("a", "1"), ("b", "2"), ("c", "")])
    _publish(stage, topic, [(None, "nobody's")])
    _compact(stage, topic)
    consumer = stage.subscribe(topic, is_read_compacted=True)
    assert consumer.get_last_message_id().batch_index() == 1
    plain = stage.subscribe(topic, "plain")
    assert plain.get_last_message_id().entry_id() == consumer.get_last_message_id().entry_id() + 1


def of_a_topic_without_keys_nothing_is_left(stage):
    topic = stage.topic("nothing")
    _publish(stage, topic, [(None, "nobody's")])
    _compact(stage, topic)
    reader = _reader(stage, topic)
    assert not reader.has_message_available()
    _publish(stage, topic, [("a", "1")])
    assert _rest(reader) == [("a", "1")]


def what_retention_has_taken_is_still_there_compacted(stage):
    namespace = stage.namespace("compacted")
    stage.ask("POST", f"namespaces/{namespace}/retention", {"retentionTimeInMinutes": 0, "retentionSizeInMB": 0})
    topic = stage.topic("retained", namespace=namespace)
    consumer = stage.subscribe(topic, "reads-all")
    ids = _publish(stage, topic, _versions(6))
    consumer.acknowledge_cumulative([consumer.receive(timeout_millis=PATIENCE_MS) for _ in ids][-1])
    stage.eventually(lambda: stage.stats(topic)["subscriptions"]["reads-all"]["msgBacklog"] == 0)
    _compact(stage, topic)
    stage.ask("PUT", page(topic, "unload"))
    _publish(stage, topic, [("k9", "later")])
    assert received(consumer, 1) == ["later"]

    def trimmed():
        stage.ask("POST", page(topic, "trim"))
        return stage.ask("GET", page(topic, "internalStats"))["numberOfEntries"] == 1

    stage.eventually(trimmed)
    kept = [("k0", "v3"), ("k1", "v4"), ("k2", "v5"), ("k9", "later")]
    assert _rest(stage.client.create_reader(topic, earliest)) == [("k9", "later")]
    reader = _reader(stage, topic)
    assert _rest(reader) == kept
    reader.seek(ids[4])
    assert _rest(reader) == kept[2:]
    reader.seek(earliest)
    assert _rest(reader) == kept
    assert _rest(_reader(stage, topic, ids[4])) == kept[2:]
    assert _rest(_reader(stage, topic, ids[4], start_message_id_inclusive=True)) == kept[1:]
    assert _rest(_reader(stage, topic, ids[0])) == kept, "which is left behind the message that it names"
    durable = stage.subscribe(topic, "durable", is_read_compacted=True)
    assert received(durable, 4) == ["v3", "v4", "v5", "later"]
    durable.close()
    _publish(stage, topic, [("k0", "v0")])
    _compact(stage, topic)
    assert _rest(_reader(stage, topic)) == kept[1:] + [("k0", "v0")]
    assert received(stage.subscribe(topic, "durable", is_read_compacted=True), 1) == ["v0"]


def a_reader_from_the_end_gets_nothing_that_is_compacted(stage):
    topic = stage.topic("from-the-end")
    _publish(stage, topic, _versions(6))
    _compact(stage, topic)
    reader = _reader(stage, topic, latest)
    assert _rest(reader) == []
    _publish(stage, topic, [("k0", "new")])
    assert _rest(reader) == [("k0", "new")]


def a_failover_consumer_reads_compacted_and_goes_on_where_it_was(stage):
    topic = stage.topic("failover")
    _publish(stage, topic, _versions(6))
    _compact(stage, topic)
    options = {"kind": pulsar.ConsumerType.Failover, "is_read_compacted": True}
    consumer = stage.subscribe(topic, **options)
    messages = [consumer.receive(timeout_millis=PATIENCE_MS) for _ in range(3)]
    assert [text(message) for message in messages] == ["v3", "v4", "v5"]
    consumer.acknowledge_cumulative(messages[1])
    consumer.close()
    assert received(stage.subscribe(topic, **options), 1) == ["v5"]


def a_compaction_tells_how_it_went(stage):
    topic = stage.topic("status")
    missing = refused(Refused, stage.ask, "PUT", page(topic, "compaction"))
    assert (missing.code, missing.reason) == (404, f"Topic {topic} not found")
    _publish(stage, topic, _versions(9))
    assert _status(stage, topic) == {"status": "NOT_RUN", "lastError": ""}
    _compact(stage, topic)
    told = stage.stats(topic)["compaction"]
    assert told["lastCompactionRemovedEventCount"] == 6
    assert told["lastCompactionSucceedTimestamp"] > 0 and told["lastCompactionFailedTimestamp"] == 0
    assert told["lastCompactionDurationTimeInMills"] >= 0
    inside = stage.ask("GET", page(topic, "internalStats"))
    ledger = inside["compactedLedger"]
    assert (ledger["entries"], ledger["offloaded"]) == (3, False) and ledger["size"] > 0
    cursor = inside["cursors"]["__compaction"]
    assert cursor["properties"] == {"CompactedTopicLedger": ledger["ledgerId"]}
    assert cursor["markDeletePosition"] == inside["lastConfirmedEntry"]
    stage.ask("PUT", page(topic, "unload"))
    assert stage.ask("GET", page(topic, "internalStats"))["compactedLedger"] == ledger
    assert _status(stage, topic)["status"] == "NOT_RUN"


def without_the_subscription_of_compaction_nothing_is_compacted_any_more(stage):
    topic = stage.topic("removed")
    _publish(stage, topic, _versions(6))
    _compact(stage, topic)
    stage.ask("DELETE", page(topic, "subscription/__compaction"))
    assert stage.ask("GET", page(topic, "internalStats"))["compactedLedger"]["ledgerId"] == -1
    assert _rest(_reader(stage, topic)) == _versions(6)
    _compact(stage, topic)


def partitions_are_compacted_together_and_tell_each_for_itself(stage):
    topic = stage.partitioned("partitioned", 2)
    _publish(stage, topic, _versions(9))
    stage.ask("PUT", page(topic, "compaction"))
    assert refused(Refused, stage.ask, "GET", page(topic, "compaction")).code == 404
    for number in range(2):
        stage.eventually(lambda: _status(stage, f"{topic}-partition-{number}")["status"] == "SUCCESS")


def a_topic_without_messages_and_one_that_has_ended_are_compacted(stage):
    topic = stage.topic("empty")
    stage.client.create_producer(topic).close()
    _compact(stage, topic)
    assert _rest(_reader(stage, topic)) == []
    topic = stage.topic("ended")
    _publish(stage, topic, _versions(4))
    stage.ask("POST", page(topic, "terminate"))
    _compact(stage, topic)
    assert _rest(_reader(stage, topic)) == [("k1", "v1"), ("k2", "v2"), ("k0", "v3")]


def what_was_not_compacted_is_the_backlog_of_compaction(stage):
    topic = stage.topic("backlog")
    backlog = lambda: stage.stats(topic)["subscriptions"]["__compaction"]["msgBacklog"]
    _publish(stage, topic, [("a", "1")])
    _compact(stage, topic)
    assert backlog() == 0
    _publish(stage, topic, [("a", "2")])
    assert backlog() == 1
    _compact(stage, topic)
    assert backlog() == 0
