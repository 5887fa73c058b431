"""Messages whose bytes follow from their numbers, published and read back by the stock Python client.

usage: tiering.py publish pulsar://HOST:PORT TOPIC FIRST COUNT SIZE
       tiering.py read pulsar://HOST:PORT TOPIC COUNT SIZE

`read` reads everything twice, by a reader from the beginning and by a new subscription, and a message in the middle by the id before it. Prints what it did. Exit code 1 when a
message is missing, out of order, or differs in any byte.
"""

import hashlib
import sys
import uuid

import pulsar

WITHIN_MS = 60_000


def payload(number, size):
    """Does not compress, and tells its number."""
    block = hashlib.sha512(str(number).encode()).digest()
    return (number.to_bytes(8, "big") + block * (size // len(block) + 1))[:size]


def publish(client, topic, first, count, size):
    producer = client.create_producer(topic, batching_enabled=False, block_if_queue_full=True, send_timeout_millis=0)
    failed = []
    for number in range(first, first + count):
        producer.send_async(payload(number, size), lambda result, _: result == pulsar.Result.Ok or failed.append(result))
    producer.flush()
    producer.close()
    assert not failed, failed


def same(message, number, size):
    data = message.data()
    assert data == payload(number, size), f"message {number} at {message.message_id()}: {len(data)} bytes {data[:8].hex()}"


def read(client, topic, count, size):
    reader = client.create_reader(topic, pulsar.MessageId.earliest)
    for number in range(count):
        same(reader.read_next(timeout_millis=WITHIN_MS), number, size)
    assert not reader.has_message_available()
    reader.close()

    name = uuid.uuid4().hex[:8]
    consumer = client.subscribe(topic, name, initial_position=pulsar.InitialPosition.Earliest)
    middle = None
    for number in range(count):
        message = consumer.receive(timeout_millis=WITHIN_MS)
        same(message, number, size)
        middle = message.message_id() if number == count // 2 else middle
    consumer.close()
    # Not unsubscribed: what one durable subscription has not acknowledged stays.

    reader = client.create_reader(topic, middle)
    same(reader.read_next(timeout_millis=WITHIN_MS), count // 2 + 1, size)
    reader.close()


def main():
    what, url, topic, *numbers = sys.argv[1:]
    client = pulsar.Client(url, logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error))
    {"publish": publish, "read": read}[what](client, topic, *map(int, numbers))
    client.close()
    print(what, topic, *numbers)


main()
