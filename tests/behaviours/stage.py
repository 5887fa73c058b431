"""What a behaviour is shown on: a client of its own, topics that nobody has used, and the REST pages of the server."""

import json
import time
import urllib.error
import urllib.request
import uuid

import pulsar

PATIENCE_MS = 30_000
# So long nothing must come before it is believed that nothing comes.
SILENCE_MS = 500


class Refused(Exception):
    """A page that answered with anything but 2xx."""

    def __init__(self, code, reason):
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class Stage:
    """Made for one behaviour and ended with it."""

    def __init__(self, url, admin):
        self.url = url
        self.admin = admin.rstrip("/")
        self.client = self.another_client()

    def another_client(self, **options):
        options.setdefault("operation_timeout_seconds", 30)
        return pulsar.Client(self.url, logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error), **options)

    def end(self):
        self.client.close()

    # Topics.

    def topic(self, name, namespace="public/default", domain="persistent"):
        return f"{domain}://{namespace}/{name}-{uuid.uuid4().hex[:8]}"

    def partitioned(self, name, partitions, **where):
        topic = self.topic(name, **where)
        self.ask("PUT", page(topic, "partitions"), partitions)
        return topic

    def namespace(self, name, **policies):
        """A namespace of its own for behaviours that set policies."""
        namespace = f"public/{name}-{uuid.uuid4().hex[:8]}"
        self.ask("PUT", f"namespaces/{namespace}", policies or None)
        return namespace

    # REST.

    def ask(self, method, path, body=None, broker=None, below="admin/v2"):
        """What a page answers, of any broker or of one: JSON as Python values, anything else as text, nothing as None."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{broker or self.admin}/{below}/{path}", data=data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            try:
                text = json.loads(text).get("reason", text)
            except ValueError:
                pass
            raise Refused(error.code, text) from None
        try:
            return json.loads(text) if text else None
        except ValueError:
            return text.decode(errors="replace")

    def owner(self, topic):
        """Where the broker that serves a topic answers requests."""
        found = self.ask("GET", topic.replace("://", "/"), below="lookup/v2/topic")
        return found["httpUrl"].rstrip("/")

    def stats(self, topic):
        return self.ask("GET", page(topic, "stats"))

    # Consumers and producers, with the patience of this suite.

    def subscribe(self, topic, name="s", kind=pulsar.ConsumerType.Exclusive, **options):
        options.setdefault("initial_position", pulsar.InitialPosition.Earliest)
        client = options.pop("client", self.client)
        return client.subscribe(topic, name, consumer_type=kind, **options)

    def publish(self, topic, contents, **options):
        """Publishes texts one by one, without batches unless asked, and gives their ids."""
        options.setdefault("batching_enabled", False)
        producer = self.client.create_producer(topic, **options)
        ids = [producer.send(content.encode()) for content in contents]
        producer.close()
        return ids

    def publish_batch(self, topic, contents):
        """Publishes texts as one batch."""
        options = {"batching_enabled": True, "batching_max_publish_delay_ms": 10_000}
        producer = self.client.create_producer(topic, batching_max_messages=len(contents) + 1, **options)
        for content in contents:
            producer.send_async(content.encode(), lambda result, message_id: None)
        producer.flush()
        producer.close()

    def eventually(self, holds):
        """Waits until something is so, of which no client is told."""
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while not holds():
            assert time.monotonic() < deadline, "it did not come to pass"
            time.sleep(0.05)


def page(topic, name=""):
    """The REST page of a topic, below /admin/v2."""
    return f"{topic.replace('://', '/')}/{name}".rstrip("/")


def text(message):
    return message.data().decode()


def received(consumer, count, acknowledge=True):
    """The next `count` texts."""
    texts = []
    for _ in range(count):
        message = consumer.receive(timeout_millis=PATIENCE_MS)
        if acknowledge:
            consumer.acknowledge(message)
        texts.append(text(message))
    return texts


def nothing_more(consumer, silence_ms=SILENCE_MS):
    """Nothing is under way."""
    try:
        message = consumer.receive(timeout_millis=silence_ms)
    except pulsar.Timeout:
        return
    raise AssertionError(f"{message.data()} {message.message_id()} was delivered")


def eventually(holds):
    """Waits until something holds that nobody tells of."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not holds():
        assert time.monotonic() < deadline, "it does not become true"
        time.sleep(0.05)


def refused(kind, operation, *arguments, **options):
    """Does what must fail in one way, and gives the error."""
    try:
        operation(*arguments, **options)
    except kind as error:
        return error
    raise AssertionError(f"{operation.__name__} was not refused with {kind.__name__}")


def murmur3(data):
    """Murmur3, 32 bits, seed 0, without its sign."""

    def scrambled(word):
        word = word * 0xCC9E2D51 & 0xFFFFFFFF
        return (word << 15 | word >> 17) * 0x1B873593 & 0xFFFFFFFF

    value, whole = 0, len(data) // 4 * 4
    for at in range(0, whole, 4):
        value ^= scrambled(int.from_bytes(data[at : at + 4], "little"))
        value = ((value << 13 | value >> 19) & 0xFFFFFFFF) * 5 + 0xE6546B64 & 0xFFFFFFFF
    value ^= scrambled(int.from_bytes(data[whole:], "little")) ^ len(data)
    value = (value ^ value >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    value = (value ^ value >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return (value ^ value >> 16) & 0x7FFFFFFF
