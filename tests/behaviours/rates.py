"""How fast messages come and go, and how many may be unacknowledged, where policies say so."""

import time

import pulsar
from stage import PATIENCE_MS, nothing_more, page, received, refused

Shared = pulsar.ConsumerType.Shared


def publishing_is_slowed_down(stage):
    _, topic = _place(stage, "publish", "publishRate", _publish_rate(20))
    _took_about(2, lambda: _publish(stage, topic, 60))


def publishing_is_slowed_down_by_bytes(stage):
    _, topic = _place(stage, "bytes", "publishRate", _publish_rate(-1, 10_000))
    _took_about(2, lambda: _publish(stage, topic, 30, b"x" * 1000))


def other_topics_of_the_connection_go_on(stage):
    _, slow = _place(stage, "slow", "publishRate", _publish_rate(10))
    fast = stage.topic("fast")
    producer = stage.client.create_producer(slow, batching_enabled=False)
    for number in range(40):
        producer.send_async(str(number).encode(), lambda result, message_id: None)
    began = time.monotonic()
    stage.publish(fast, ["a", "b", "c"])
    assert time.monotonic() - began < 8
    producer.flush()


def deliveries_of_a_topic_are_slowed_down(stage):
    _, topic = _place(stage, "dispatch", "dispatchRate", _dispatch_rate(20))
    consumer = stage.subscribe(topic)
    _publish(stage, topic, 60)
    _took_about(2, lambda: received(consumer, 60))


def deliveries_of_each_subscription_are_slowed_down(stage):
    _, topic = _place(stage, "subscription", "subscriptionDispatchRate", _dispatch_rate(20))
    consumers = [stage.subscribe(topic, name, kind=Shared) for name in ("s", "t")]
    _publish(stage, topic, 60)
    _took_about(2, lambda: [received(consumer, 60) for consumer in consumers])


def a_period_may_be_longer_than_a_second(stage):
    _, topic = _place(stage, "period", "subscriptionDispatchRate", _dispatch_rate(10, 5))
    consumer = stage.subscribe(topic)
    _publish(stage, topic, 15)
    _took_about(2.5, lambda: received(consumer, 15))


def a_rate_of_a_topic_goes_before_that_of_its_namespace(stage):
    _, topic = _place(stage, "before", "dispatchRate", _dispatch_rate(1))
    consumer = stage.subscribe(topic)
    stage.ask("POST", page(topic, "dispatchRate"), _dispatch_rate(10_000))
    _wait_until_set(stage, topic, "dispatchRate")
    _publish(stage, topic, 30)
    began = time.monotonic()
    received(consumer, 30)
    assert time.monotonic() - began < 8


def a_rate_counts_for_those_who_are_there(stage):
    topic = stage.topic("there")
    consumer = stage.subscribe(topic)
    stage.publish(topic, ["a"])
    assert received(consumer, 1) == ["a"]
    stage.ask("POST", page(topic, "dispatchRate"), _dispatch_rate(20))
    _wait_until_set(stage, topic, "dispatchRate")
    _publish(stage, topic, 60)
    _took_about(2, lambda: received(consumer, 60))


def a_consumer_that_comes_too_often_is_refused(stage):
    rate = {"subscribeThrottlingRatePerConsumer": 2, "ratePeriodInSecond": 60}
    _, topic = _place(stage, "often", "subscribeRate", rate)
    # A consumer is known by its host, its name, and its number in its client.
    clients = [stage.another_client(operation_timeout_seconds=3) for _ in range(4)]
    for client in clients[:2]:
        stage.subscribe(topic, consumer_name="c", client=client).close()
    refused(pulsar.PulsarException, stage.subscribe, topic, consumer_name="c", client=clients[2])
    stage.subscribe(topic, consumer_name="d", client=clients[3]).close()
    for client in clients:
        client.close()


def a_consumer_may_hold_so_many_unacknowledged(stage):
    namespace = stage.namespace("unacked")
    topic = stage.topic("unacked", namespace=namespace)
    stage.ask("POST", f"namespaces/{namespace}/maxUnackedMessagesPerConsumer", 4)
    consumer = stage.subscribe(topic, kind=Shared)
    stage.publish(topic, [str(number) for number in range(10)])
    held = [consumer.receive(timeout_millis=PATIENCE_MS) for _ in range(4)]
    nothing_more(consumer)
    found = stage.stats(topic)["subscriptions"]["s"]["consumers"][0]
    assert (found["unackedMessages"], found["blockedConsumerOnUnackedMsgs"]) == (4, True), found
    for message in held:
        consumer.acknowledge(message)
    assert received(consumer, 6) == ["4", "5", "6", "7", "8", "9"]


def a_subscription_may_hold_so_many_unacknowledged(stage):
    topic = stage.topic("unacked")
    stage.publish(topic, ["0"])
    stage.ask("POST", page(topic, "maxUnackedMessagesOnSubscription"), 4)
    _wait_until_set(stage, topic, "maxUnackedMessagesOnSubscription")
    first = stage.subscribe(topic, kind=Shared, receiver_queue_size=10)
    stage.publish(topic, [str(number) for number in range(1, 10)])
    held = [first.receive(timeout_millis=PATIENCE_MS) for _ in range(4)]
    second = stage.subscribe(topic, kind=Shared)
    nothing_more(second)
    assert stage.stats(topic)["subscriptions"]["s"]["blockedSubscriptionOnUnackedMsgs"]
    second.close()
    for message in held:
        first.acknowledge(message)
    assert received(first, 6) == ["4", "5", "6", "7", "8", "9"]


def no_limit_is_a_limit_of_zero(stage):
    namespace = stage.namespace("zero")
    topic = stage.topic("zero", namespace=namespace)
    stage.ask("POST", f"namespaces/{namespace}/maxUnackedMessagesPerConsumer", 2)
    stage.publish(topic, ["0"])
    stage.ask("POST", page(topic, "maxUnackedMessagesOnConsumer"), 0)
    _wait_until_set(stage, topic, "maxUnackedMessagesOnConsumer")
    consumer = stage.subscribe(topic, kind=Shared)
    stage.publish(topic, [str(number) for number in range(1, 10)])
    assert len(received(consumer, 10, acknowledge=False)) == 10


def _place(stage, name, policy, value):
    namespace = stage.namespace(name)
    stage.ask("POST", f"namespaces/{namespace}/{policy}", value)
    return namespace, stage.topic(name, namespace=namespace)


def _publish_rate(messages, in_bytes=-1):
    return {"publishThrottlingRateInMsg": messages, "publishThrottlingRateInByte": in_bytes}


def _dispatch_rate(messages, period=1):
    return {
        "dispatchThrottlingRateInMsg": messages,
        "dispatchThrottlingRateInByte": -1,
        "relativeToPublishRate": False,
        "ratePeriodInSecond": period,
    }


def _publish(stage, topic, count, content=b"x"):
    producer = stage.client.create_producer(topic, batching_enabled=False)
    for _ in range(count):
        producer.send_async(content, lambda result, message_id: None)
    producer.flush()
    producer.close()


def _took_about(seconds, work):
    """As long, give or take what is kept for the first moment; and not much longer."""
    began = time.monotonic()
    work()
    took = time.monotonic() - began
    assert seconds * 0.7 <= took < seconds + 8, took


def _wait_until_set(stage, topic, policy):
    """Apache Pulsar tells its topics after it has answered."""
    stage.eventually(lambda: stage.ask("GET", page(topic, policy)) is not None)
    time.sleep(0.5)
