"""The stock Python client against a running server: what real programs do, each as a function that says what it shows.

usage: check.py pulsar://HOST:PORT http://HOST:PORT

Prints a line for each check. Exit code 1 when one of them fails. The second address makes partitioned topics.
"""

import json
import random
import sys
import time
import traceback
import urllib.request
import uuid

import pulsar

TIMEOUT_MS = 30_000
MESSAGE_BYTES_MAX = 5 * 1024 * 1024
METADATA_BYTES = 256  # This client counts a message's metadata into its size.


class Server:
    """A connected client and the ways to make topics that nobody has used."""

    def __init__(self, url, admin):
        self.admin = admin
        logger = pulsar.ConsoleLogger(pulsar.LoggerLevel.Error)
        self.client = pulsar.Client(url, operation_timeout_seconds=30, logger=logger)

    def topic(self, name):
        return f"persistent://public/default/python-{name}-{uuid.uuid4().hex[:8]}"

    def partitioned(self, name, partitions):
        topic = self.topic(name)
        path = topic.replace("://", "/")
        body = json.dumps(partitions).encode()
        request = urllib.request.Request(f"{self.admin}/admin/v2/{path}/partitions", data=body, method="PUT")
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 204, answer.status
        return topic

    def subscribe(self, topic, name="s", kind=pulsar.ConsumerType.Exclusive, **options):
        options.setdefault("initial_position", pulsar.InitialPosition.Earliest)
        return self.client.subscribe(topic, name, consumer_type=kind, **options)


def received(consumer, count):
    """The next `count` messages, acknowledged."""
    messages = []
    for _ in range(count):
        message = consumer.receive(timeout_millis=TIMEOUT_MS)
        consumer.acknowledge(message)
        messages.append(message)
    return messages


def nothing_more(consumer):
    """Nothing is under way: the next receive runs into a short timeout."""
    try:
        message = consumer.receive(timeout_millis=300)
    except pulsar.Timeout:
        return
    raise AssertionError(f"a message too many: {message.message_id()}")


def bytes_of(count, size, seed=1):
    source = random.Random(seed)
    return [source.randbytes(size) for _ in range(count)]


def single_messages_come_back_in_order(server):
    topic = server.topic("single")
    consumer = server.subscribe(topic)
    producer = server.client.create_producer(topic, batching_enabled=False)
    sent = bytes_of(50, 100) + [b"", b"\x00", "grüße".encode()]
    ids = [producer.send(data) for data in sent]
    got = received(consumer, len(sent))
    assert [message.data() for message in got] == sent
    assert [message.message_id().entry_id() for message in got] == [id.entry_id() for id in ids]
    positions = [(id.ledger_id(), id.entry_id()) for id in ids]
    assert positions == sorted(set(positions)), positions
    nothing_more(consumer)


def batched_messages_come_back_in_order(server):
    topic = server.topic("batched")
    consumer = server.subscribe(topic)
    producer = server.client.create_producer(
        topic, batching_enabled=True, batching_max_messages=100, batching_max_publish_delay_ms=20
    )
    sent = bytes_of(1000, 64)
    outcomes = []
    for data in sent:
        producer.send_async(data, lambda result, _: outcomes.append(result))
    producer.flush()
    assert outcomes == [pulsar.Result.Ok] * len(sent), set(outcomes)
    got = received(consumer, len(sent))
    assert [message.data() for message in got] == sent
    assert len({message.message_id().batch_index() for message in got}) > 1, "the client made no batches"
    nothing_more(consumer)


def keys_and_properties_are_kept(server):
    topic = server.topic("properties")
    consumer = server.subscribe(topic)
    properties = {"colour": "red", "empty": ""}
    for batching in (False, True):
        producer = server.client.create_producer(topic, batching_enabled=batching)
        producer.send(b"body", properties, partition_key="key-1", ordering_key="order-1", event_timestamp=1234567)
        (message,) = received(consumer, 1)
        assert message.properties() == properties, message.properties()
        assert message.partition_key() == "key-1"
        assert message.ordering_key() == "order-1"
        assert message.event_timestamp() == 1234567
        producer.close()


def a_message_of_five_mebibytes_passes_and_a_larger_one_does_not(server):
    topic = server.topic("large")
    consumer = server.subscribe(topic)
    producer = server.client.create_producer(topic, batching_enabled=False)
    (largest,) = bytes_of(1, MESSAGE_BYTES_MAX - METADATA_BYTES)
    producer.send(largest)
    (message,) = received(consumer, 1)
    assert message.data() == largest
    try:
        producer.send(largest + bytes(METADATA_BYTES))
    except pulsar.MessageTooBig:
        pass
    else:
        raise AssertionError("a message above the limit was taken")
    producer.send(b"small again")
    assert received(consumer, 1)[0].data() == b"small again"


def every_compression_passes_through(server):
    kinds = pulsar.CompressionType
    for kind in (kinds.LZ4, kinds.ZLib, kinds.ZSTD, kinds.SNAPPY):
        for batching in (False, True):
            topic = server.topic(f"compressed-{kind.name.lower()}")
            consumer = server.subscribe(topic)
            producer = server.client.create_producer(topic, compression_type=kind, batching_enabled=batching)
            sent = [bytes([number % 7]) * 5000 for number in range(20)] + bytes_of(5, 3000)
            for data in sent:
                producer.send_async(data, None)
            producer.flush()
            got = [message.data() for message in received(consumer, len(sent))]
            assert got == sent, (kind, batching)


def a_partitioned_topic_keeps_the_order_of_each_key(server):
    topic = server.partitioned("partitioned", 4)
    assert len(server.client.get_topic_partitions(topic)) == 4
    consumer = server.subscribe(topic)
    routing = pulsar.PartitionsRoutingMode.RoundRobinDistribution
    producer = server.client.create_producer(topic, batching_enabled=False, message_routing_mode=routing)
    sent = [(f"key-{number % 10}", f"{number}".encode()) for number in range(200)]
    for key, data in sent:
        producer.send_async(data, None, partition_key=key)
    producer.flush()
    got = [(message.partition_key(), message.data(), message.topic_name()) for message in received(consumer, len(sent))]
    for key in {key for key, _ in sent}:
        mine = [(data, partition) for owner, data, partition in got if owner == key]
        assert [data for data, _ in mine] == [data for owner, data in sent if owner == key], key
        assert len({partition for _, partition in mine}) == 1, "a key lives in one partition"
    assert len({partition for _, _, partition in got}) > 1, "everything went to one partition"
    nothing_more(consumer)


def subscriptions_of_three_types_each_get_everything(server):
    topic = server.topic("types")
    exclusive = server.subscribe(topic, "exclusive", pulsar.ConsumerType.Exclusive)
    failover = [server.subscribe(topic, "failover", pulsar.ConsumerType.Failover, consumer_name=name) for name in "ab"]
    shared = [server.subscribe(topic, "shared", pulsar.ConsumerType.Shared, receiver_queue_size=5) for _ in range(2)]
    try:
        server.client.subscribe(topic, "exclusive")
    except pulsar.ConsumerBusy:
        pass
    else:
        raise AssertionError("an Exclusive subscription took a second consumer")
    producer = server.client.create_producer(topic, batching_enabled=False)
    sent = [f"{number}".encode() for number in range(100)]
    for data in sent:
        producer.send_async(data, None)
    producer.flush()
    assert [message.data() for message in received(exclusive, 100)] == sent
    assert by_anyone(failover, 100) == sent, "one consumer of a Failover subscription is active"
    assert sorted(by_anyone(shared, 100)) == sorted(sent)


def by_anyone(consumers, count):
    """What these consumers get together, in the order in which it is seen."""
    got, end = [], time.monotonic() + TIMEOUT_MS / 1000
    while len(got) < count and time.monotonic() < end:
        for consumer in consumers:
            try:
                message = consumer.receive(timeout_millis=20)
            except pulsar.Timeout:
                continue
            consumer.acknowledge(message)
            got.append(message.data())
    return got


def messages_that_were_not_acknowledged_come_again(server):
    topic = server.topic("redelivery")
    producer = server.client.create_producer(topic, batching_enabled=False)
    consumer = server.subscribe(topic, kind=pulsar.ConsumerType.Shared, negative_ack_redelivery_delay_ms=100)
    for number in range(10):
        producer.send(f"{number}".encode())
    for message in [consumer.receive(timeout_millis=TIMEOUT_MS) for _ in range(10)]:
        if message.data() in (b"3", b"7"):
            consumer.negative_acknowledge(message)
        else:
            consumer.acknowledge(message)
    again = received(consumer, 2)
    assert sorted(message.data() for message in again) == [b"3", b"7"]
    assert all(message.redelivery_count() == 1 for message in again)
    consumer.close()
    nothing_more(server.subscribe(topic, kind=pulsar.ConsumerType.Shared))


def a_cumulative_acknowledgement_covers_all_before_it(server):
    topic = server.topic("cumulative")
    producer = server.client.create_producer(topic, batching_enabled=False)
    consumer = server.subscribe(topic)
    for number in range(10):
        producer.send(f"{number}".encode())
    messages = [consumer.receive(timeout_millis=TIMEOUT_MS) for _ in range(10)]
    consumer.acknowledge_cumulative(messages[6])
    consumer.close()
    again = server.subscribe(topic)
    assert [message.data() for message in received(again, 3)] == [b"7", b"8", b"9"]
    nothing_more(again)


def a_string_schema_is_kept(server):
    topic = server.topic("schema")
    schema = pulsar.schema.StringSchema()
    consumer = server.subscribe(topic, schema=schema)
    producer = server.client.create_producer(topic, schema=schema)
    for text in ("plain", "", "grüße \u2603"):
        producer.send(text)
    assert [message.value() for message in received(consumer, 3)] == ["plain", "", "grüße \u2603"]


def a_reader_begins_at_the_earliest_message(server):
    topic = server.topic("reader")
    producer = server.client.create_producer(topic, batching_enabled=False)
    sent = bytes_of(100, 200)
    for data in sent:
        producer.send(data)
    reader = server.client.create_reader(topic, pulsar.MessageId.earliest)
    got = []
    while reader.has_message_available():
        got.append(reader.read_next(timeout_millis=TIMEOUT_MS).data())
    assert got == sent


def a_subscription_outlives_its_consumer(server):
    topic = server.topic("durable")
    server.subscribe(topic).close()
    producer = server.client.create_producer(topic)
    producer.send(b"while nobody listened")
    assert received(server.subscribe(topic), 1)[0].data() == b"while nobody listened"


CHECKS = [
    single_messages_come_back_in_order,
    batched_messages_come_back_in_order,
    keys_and_properties_are_kept,
    a_message_of_five_mebibytes_passes_and_a_larger_one_does_not,
    every_compression_passes_through,
    a_partitioned_topic_keeps_the_order_of_each_key,
    subscriptions_of_three_types_each_get_everything,
    messages_that_were_not_acknowledged_come_again,
    a_cumulative_acknowledgement_covers_all_before_it,
    a_string_schema_is_kept,
    a_reader_begins_at_the_earliest_message,
    a_subscription_outlives_its_consumer,
]


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    server, failed = Server(*sys.argv[1:]), 0
    for check in CHECKS:
        began = time.monotonic()
        try:
            check(server)
            outcome = "ok    "
        except Exception:
            traceback.print_exc()
            outcome, failed = "FAILED", failed + 1
        print(f"{outcome} {check.__name__} ({time.monotonic() - began:.2f} s)", flush=True)
    server.client.close()
    sys.exit(1 if failed else 0)


main()
