"""Subscriptions and single messages over REST: made, moved, skipped, expired, shown."""

import json
import time
import urllib.request

from stage import Refused, nothing_more, page, received, refused


def _numbers(start, end):
    return [str(number) for number in range(start, end)]


def _id(message_id, **more):
    return {"ledgerId": message_id.ledger_id(), "entryId": message_id.entry_id(), **more}


def _shown(stage, topic, path):
    """The bytes of a message and what its headers say."""
    with urllib.request.urlopen(f"{stage.admin}/admin/v2/{page(topic, path)}", timeout=30) as answer:
        return answer.read().decode(), answer.headers


def _backlog(stage, topic, name="s"):
    return stage.stats(topic)["subscriptions"][name]["msgBacklog"]


def a_subscription_is_made_at_a_message_and_at_either_end(stage):
    topic = stage.topic("made")
    ids = stage.publish(topic, _numbers(0, 6))
    for name, start, backlog in [("first", "earliest", 6), ("last", "latest", 0), ("middle", _id(ids[2]), 4)]:
        stage.ask("PUT", page(topic, f"subscription/{name}"), start)
        assert _backlog(stage, topic, name) == backlog
        assert refused(Refused, stage.ask, "PUT", page(topic, f"subscription/{name}")).code == 409
    assert received(stage.subscribe(topic, "middle"), 4) == _numbers(2, 6)


def properties_of_a_subscription_are_kept(stage):
    topic = stage.topic("properties")
    stage.publish(topic, ["a"])
    where = page(topic, "subscription/s/properties")
    stage.ask("PUT", page(topic, "subscription/s"), {"ledgerId": -1, "entryId": -1, "properties": {"a": "b"}})
    assert stage.ask("GET", where) == {"a": "b"}
    stage.ask("PUT", where, {"x": "y"})
    stage.ask("PUT", page(topic, "unload"))
    assert stage.ask("GET", where) == {"x": "y"}
    assert stage.stats(topic)["subscriptions"]["s"]["subscriptionProperties"] == {"x": "y"}
    assert _backlog(stage, topic) == 1


def a_subscription_skips_messages_and_holes_are_none_of_them(stage):
    topic = stage.topic("skip")
    consumer = stage.subscribe(topic)
    ids = stage.publish(topic, _numbers(0, 6))
    consumer.acknowledge(ids[1])
    consumer.close()
    stage.ask("POST", page(topic, "subscription/s/skip/2"))
    assert _backlog(stage, topic) == 3
    assert received(stage.subscribe(topic), 3) == _numbers(3, 6)


def a_subscription_skips_everything(stage):
    topic = stage.topic("clear")
    consumer = stage.subscribe(topic)
    stage.publish(topic, _numbers(0, 6))
    stage.ask("POST", page(topic, "subscription/s/skip_all"))
    assert _backlog(stage, topic) == 0
    consumer.close()
    nothing_more(stage.subscribe(topic))


def messages_older_than_some_seconds_expire(stage):
    topic = stage.topic("expire")
    for name in ("s", "t"):
        stage.subscribe(topic, name).close()
    stage.publish(topic, ["old", "older"])
    time.sleep(2.2)
    stage.publish(topic, ["new"])
    stage.ask("POST", page(topic, "subscription/s/expireMessages/60"))
    assert _backlog(stage, topic) == 3
    stage.ask("POST", page(topic, "all_subscription/expireMessages/1"))
    stage.eventually(lambda: _backlog(stage, topic, "s") == 1 and _backlog(stage, topic, "t") == 1)
    assert received(stage.subscribe(topic), 1) == ["new"]


def messages_up_to_one_expire(stage):
    topic = stage.topic("position")
    stage.subscribe(topic).close()
    ids = stage.publish(topic, _numbers(0, 6))
    where = page(topic, "subscription/s/expireMessages")
    beyond = refused(Refused, stage.ask, "POST", where, {"ledgerId": ids[0].ledger_id(), "entryId": 99})
    assert beyond.code == 409
    stage.ask("POST", where, _id(ids[2]))
    stage.eventually(lambda: _backlog(stage, topic) == 3)
    assert received(stage.subscribe(topic), 3) == _numbers(3, 6)


def messages_that_expire_are_counted_whoever_wanted_it(stage):
    topic = stage.topic("counted")
    stage.subscribe(topic).close()
    ids = stage.publish(topic, _numbers(0, 4))
    expired = lambda: stage.stats(topic)["subscriptions"]["s"]["totalMsgExpired"]
    stage.ask("POST", page(topic, "subscription/s/expireMessages"), _id(ids[1]))
    stage.eventually(lambda: expired() == 2)
    time.sleep(1.2)
    stage.publish(topic, ["new"])
    stage.ask("POST", page(topic, "subscription/s/expireMessages/1"))
    stage.eventually(lambda: expired() == 4)
    stage.ask("POST", page(topic, "subscription/s/skip_all"))
    assert expired() == 4 and _backlog(stage, topic) == 0


def a_subscription_is_reset_to_a_time(stage):
    topic = stage.topic("time")
    consumer = stage.subscribe(topic)
    stage.publish(topic, ["before"])
    time.sleep(0.05)
    moment = int(time.time() * 1000)
    time.sleep(0.05)
    stage.publish(topic, ["a", "b"])
    assert received(consumer, 3) == ["before", "a", "b"]
    stage.ask("POST", page(topic, f"subscription/s/resetcursor/{moment}"))
    assert received(consumer, 2) == ["a", "b"]


def a_subscription_is_reset_to_a_message_to_the_next_and_into_a_batch(stage):
    topic = stage.topic("reset")
    consumer = stage.subscribe(topic)
    ids = stage.publish(topic, _numbers(0, 4))
    stage.publish_batch(topic, _numbers(4, 8))
    messages = [consumer.receive(timeout_millis=30_000) for _ in range(8)]
    consumer.close()
    where = page(topic, "subscription/s/resetcursor")
    stage.ask("POST", where, _id(ids[1]))
    consumer = stage.subscribe(topic)
    assert received(consumer, 7, acknowledge=False) == _numbers(1, 8)
    consumer.close()
    stage.ask("POST", where, _id(ids[1], excluded=True))
    consumer = stage.subscribe(topic)
    assert received(consumer, 6, acknowledge=False) == _numbers(2, 8)
    consumer.close()
    stage.ask("POST", where, _id(messages[4].message_id(), batchIndex=2))
    assert received(stage.subscribe(topic), 2) == _numbers(6, 8)


def a_message_is_shown_by_its_number_by_its_id_and_from_either_end(stage):
    topic = stage.topic("shown")
    stage.subscribe(topic).close()
    producer = stage.client.create_producer(topic, "p", batching_enabled=False)
    ids = [producer.send(b"%d" % n, properties={"n": str(n)}, partition_key="k") for n in range(4)]
    last = f"{ids[3].ledger_id()}:{ids[3].entry_id()}"
    for path in [
        "subscription/s/position/4",
        f"ledger/{ids[3].ledger_id()}/entry/{ids[3].entry_id()}",
        "examinemessage?initialPosition=latest&messagePosition=1",
        "examinemessage?initialPosition=earliest&messagePosition=4",
        "examinemessage",
    ]:
        body, headers = _shown(stage, topic, path)
        assert body == "3", path
        assert headers["X-Pulsar-Message-ID"] == last
        assert json.loads(headers["X-Pulsar-PROPERTY"]) == {"n": "3"}
        assert (headers["X-Pulsar-producer-name"], headers["X-Pulsar-partition-key"]) == ("p", "k")
        assert headers["X-Pulsar-publish-time"].startswith("20")
    for path in ["subscription/s/position/5", "ledger/999999999/entry/0"]:
        assert refused(Refused, stage.ask, "GET", page(topic, path)).code == 404
    stage.ask("POST", page(topic, "subscription/s/skip/3"))
    assert _shown(stage, topic, "subscription/s/position/1")[0] == "3"


def looking_through_a_subscription_that_nobody_made_makes_it(stage):
    topic = stage.topic("peeked")
    stage.publish(topic, _numbers(0, 3))
    assert _shown(stage, topic, "subscription/s/position/2")[0] == "1"
    assert stage.ask("GET", page(topic, "subscriptions")) == ["s"]
    assert received(stage.subscribe(topic), 3) == _numbers(0, 3)


def a_batch_is_shown_as_a_whole(stage):
    topic = stage.topic("batch")
    stage.subscribe(topic).close()
    stage.publish_batch(topic, ["a", "b", "c"])
    body, headers = _shown(stage, topic, "subscription/s/position/1")
    assert headers["X-Pulsar-num-batch-message"] == "3"
    assert body.endswith("c")


def a_backlog_is_counted_by_reading_it(stage):
    topic = stage.topic("analysis")
    consumer = stage.subscribe(topic)
    ids = stage.publish(topic, _numbers(0, 3))
    stage.publish_batch(topic, ["a", "b", "c"])
    where = page(topic, "subscription/s/analyzeBacklog")
    found = stage.ask("POST", where)
    assert (found["entries"], found["messages"], found["aborted"]) == (4, 6, False)
    assert found["filterAcceptedMessages"] == 6
    assert found["firstMessageId"] == f"{ids[0].ledger_id()}:{ids[0].entry_id()}"
    consumer.acknowledge(ids[1])
    consumer.close()
    assert stage.ask("POST", where)["messages"] == 5
    assert stage.ask("POST", where, _id(ids[2]))["messages"] == 4
    stage.ask("POST", page(topic, "subscription/s/skip_all"))
    nothing = stage.ask("POST", where)
    assert (nothing["entries"], "firstMessageId" in nothing) == (0, False)
    assert refused(Refused, stage.ask, "POST", page(topic, "subscription/none/analyzeBacklog")).code == 404


def a_message_id_is_found_by_time(stage):
    topic = stage.topic("found")
    stage.publish(topic, ["a"])
    time.sleep(0.05)
    moment = int(time.time() * 1000)
    time.sleep(0.05)
    wanted = stage.publish(topic, ["b", "c"])[0]
    found = stage.ask("GET", page(topic, f"messageid/{moment}"))
    assert (found["ledgerId"], found["entryId"]) == (wanted.ledger_id(), wanted.entry_id())


def bytes_behind_a_message_are_told(stage):
    topic = stage.topic("bytes")
    ids = stage.publish(topic, _numbers(0, 4))
    all_of_it = stage.ask("PUT", page(topic, "backlogSize"), {"ledgerId": -1, "entryId": -1})
    assert all_of_it == stage.stats(topic)["storageSize"]
    assert stage.ask("PUT", page(topic, "backlogSize"), _id(ids[1])) == all_of_it // 2
    assert stage.ask("PUT", page(topic, "backlogSize"), _id(ids[3])) == 0
