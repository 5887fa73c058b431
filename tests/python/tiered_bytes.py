"""Random messages that anyone with the seed can tell, published and read back by the stock Python client.

usage: tiered_bytes.py publish pulsar://HOST:PORT TOPIC SEED COUNT SIZE
       tiered_bytes.py read pulsar://HOST:PORT TOPIC SEED COUNT SIZE

Sizes lie around SIZE. Topics with an even seed are published in batches. `read` compares every message with what was published, in
order, and that nothing follows. Both print JSON: messages, bytes, and a hash over all of them. Exit code 1 when anything differs.
"""

import hashlib
import json
import random
import sys

import pulsar

WITHIN_MS = 120_000


def payload(seed, number, size):
    """Its number, and bytes that do not compress and are in no other message."""
    source = random.Random(f"{seed}-{number}")
    return number.to_bytes(8, "big") + source.randbytes(size // 2 + source.randrange(size))


class Seen:
    """What passed by."""

    def __init__(self):
        self.messages, self.bytes, self.hash = 0, 0, hashlib.blake2b(digest_size=16)

    def note(self, data):
        self.messages, self.bytes = self.messages + 1, self.bytes + len(data)
        self.hash.update(data)


def publish(client, topic, seed, count, size, seen):
    batched = {"batching_enabled": seed % 2 == 0, "batching_max_allowed_size_in_bytes": 128 * 1024}
    producer = client.create_producer(
        topic, block_if_queue_full=True, max_pending_messages=200, send_timeout_millis=0, **batched
    )
    failed = []
    for number in range(count):
        data = payload(seed, number, size)
        seen.note(data)
        producer.send_async(data, lambda result, _: result == pulsar.Result.Ok or failed.append(result))
    producer.flush()
    producer.close()
    assert not failed, failed


def read(client, topic, seed, count, size, seen):
    reader = client.create_reader(topic, pulsar.MessageId.earliest, receiver_queue_size=200)
    for number in range(count):
        message = reader.read_next(timeout_millis=WITHIN_MS)
        data = message.data()
        place = message.message_id()
        assert data == payload(seed, number, size), f"message {number} of {topic} at {place}: {len(data)} bytes {data[:8].hex()}"
        seen.note(data)
    assert not reader.has_message_available(), f"{topic} has more than {count} messages"
    reader.close()


def main():
    what, url, topic, *numbers = sys.argv[1:]
    client = pulsar.Client(url, logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error))
    seen = Seen()
    {"publish": publish, "read": read}[what](client, topic, *map(int, numbers), seen)
    client.close()
    print(json.dumps({"messages": seen.messages, "bytes": seen.bytes, "hash": seen.hash.hexdigest()}))


main()
