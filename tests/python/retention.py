"""What becomes of consumed messages, as the stock Python client and scripts see it. For ledgers of 10 entries.

usage: retention.py pulsar://HOST:PORT http://HOST:PORT

Prints the ids of the ledgers that left their topics, as JSON. Exit code 1 when something is not as it should be.
"""

import json
import sys
import time
import urllib.request
import uuid

import pulsar

MESSAGES = 35
WITHIN_S = 60


class Topic:
    """A topic that nobody has used, and its pages."""

    def __init__(self, client, admin, name):
        self.client = client
        self.name = f"persistent://public/default/{name}-{uuid.uuid4().hex[:8]}"
        self.page = f"{admin}/admin/v2/{self.name.replace('://', '/')}"

    def ask(self, method, page, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.page}/{page}", data=data, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def ledgers(self):
        """Without the one that is yet to come, which stands for itself where there is no other."""
        listed = self.ask("GET", "internalStats")["ledgers"]
        return [one["ledgerId"] for one in listed if one["ledgerId"] != -1]

    def publish(self, first, count):
        producer = self.client.create_producer(self.name, batching_enabled=False)
        for number in range(first, first + count):
            producer.send(str(number).encode())
        producer.close()

    def subscribe(self):
        return self.client.subscribe(self.name, "s", initial_position=pulsar.InitialPosition.Earliest)

    def read_all(self):
        reader = self.client.create_reader(self.name, pulsar.MessageId.earliest)
        found = []
        while reader.has_message_available():
            found.append(int(reader.read_next(timeout_millis=WITHIN_S * 1000).data()))
        reader.close()
        return found

    def trim_to(self, ledgers):
        """Asks until no more than so many ledgers are left: what was acknowledged just now is durable a little later."""
        deadline = time.monotonic() + WITHIN_S
        while ledgers < len(self.ledgers()):
            assert time.monotonic() < deadline, self.ledgers()
            self.ask("POST", "trim")


def receive(consumer, first, count):
    for number in range(first, first + count):
        message = consumer.receive(timeout_millis=WITHIN_S * 1000)
        assert int(message.data()) == number, (message.data(), number)
        consumer.acknowledge(message)


def nothing_more(consumer):
    try:
        message = consumer.receive(timeout_millis=300)
    except pulsar.Timeout:
        return
    raise AssertionError(f"{message.data()} was delivered again")


def consumed_messages_make_room_and_do_not_come_again(topic):
    consumer = topic.subscribe()
    topic.publish(0, MESSAGES)
    receive(consumer, 0, MESSAGES)
    before = topic.ledgers()
    assert len(before) == 4, before
    size = topic.ask("GET", "stats")["storageSize"]
    topic.trim_to(1)
    assert topic.ask("GET", "stats")["storageSize"] < size
    topic.publish(MESSAGES, 5)
    receive(consumer, MESSAGES, 5)
    nothing_more(consumer)
    consumer.close()
    consumer = topic.subscribe()
    nothing_more(consumer)
    consumer.close()
    return before[:3]


def a_newcomer_finds_what_was_published_before(topic):
    topic.publish(0, MESSAGES)
    topic.ask("POST", "trim")
    assert len(topic.ledgers()) == 4
    consumer = topic.subscribe()
    receive(consumer, 0, MESSAGES)
    nothing_more(consumer)
    consumer.close()
    return []


def retention_keeps_what_was_consumed_for_readers(topic):
    consumer = topic.subscribe()
    topic.publish(0, MESSAGES)
    topic.ask("POST", "retention", {"retentionTimeInMinutes": -1, "retentionSizeInMB": -1})
    receive(consumer, 0, MESSAGES)
    consumer.close()
    topic.ask("PUT", "unload")  # Every acknowledgement is written down by then.
    before = topic.ledgers()
    topic.ask("POST", "trim")
    assert topic.ledgers() == before and len(before) == 4
    assert topic.read_all() == list(range(MESSAGES))
    topic.ask("DELETE", "retention")
    topic.ask("POST", "trim")
    assert topic.ledgers() == [] and topic.read_all() == []
    last = topic.ask("GET", "lastMessageId")
    assert (last["ledgerId"], last["entryId"]) == (-1, -1), last
    topic.publish(100, 3)
    assert topic.read_all() == [100, 101, 102]
    consumer = topic.subscribe()
    receive(consumer, 100, 3)
    nothing_more(consumer)
    consumer.close()
    return before


def truncating_leaves_the_open_ledger_only(topic):
    consumer = topic.subscribe()
    topic.publish(0, MESSAGES)
    consumer.close()
    before = topic.ledgers()
    topic.ask("DELETE", "truncate")
    assert topic.ledgers() == before[3:]
    assert topic.ask("GET", "stats")["subscriptions"]["s"]["msgBacklog"] == 0
    return before[:3]


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    url, admin = sys.argv[1:]
    logger = pulsar.ConsoleLogger(pulsar.LoggerLevel.Error)
    client = pulsar.Client(url, operation_timeout_seconds=30, logger=logger)
    gone = []
    checks = [
        consumed_messages_make_room_and_do_not_come_again,
        a_newcomer_finds_what_was_published_before,
        retention_keeps_what_was_consumed_for_readers,
        truncating_leaves_the_open_ledger_only,
    ]
    for number, check in enumerate(checks):
        gone += check(Topic(client, admin, f"retention-{number}"))
        print(f"ok     {check.__name__}", file=sys.stderr, flush=True)
    client.close()
    print(json.dumps(gone))


main()
