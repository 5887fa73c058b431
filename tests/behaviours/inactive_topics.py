"""Topics and subscriptions that nobody uses: what is wanted of them. That they go takes minutes, and is shown to the upkeep's own tests."""

from stage import Refused, eventually, page, refused

NEVER = {
    "inactiveTopicDeleteMode": "delete_when_no_subscriptions",
    "maxInactiveDurationSeconds": 60,
    "deleteWhileInactive": False,
}
CAUGHT_UP = {
    "inactiveTopicDeleteMode": "delete_when_subscriptions_caught_up",
    "maxInactiveDurationSeconds": 3600,
    "deleteWhileInactive": True,
}


def a_topic_stays_unless_somebody_says_otherwise(stage):
    topic = stage.topic("inactive")
    stage.ask("PUT", page(topic))
    assert stage.ask("GET", page(topic, "inactiveTopicPolicies")) is None
    assert stage.ask("GET", page(topic, "inactiveTopicPolicies?applied=true")) == NEVER


def a_topics_own_policy_counts_before_that_of_its_namespace(stage):
    namespace = stage.namespace("inactive")
    topic = stage.topic("inactive", namespace)
    stage.ask("PUT", page(topic))
    of_namespace = {**CAUGHT_UP, "inactiveTopicDeleteMode": "delete_when_no_subscriptions"}
    there, here = f"namespaces/{namespace}/inactiveTopicPolicies", page(topic, "inactiveTopicPolicies")
    stage.ask("POST", there, of_namespace)
    eventually(lambda: stage.ask("GET", f"{here}?applied=true") == of_namespace)
    stage.ask("POST", here, CAUGHT_UP)
    eventually(lambda: stage.ask("GET", here) == CAUGHT_UP)
    eventually(lambda: stage.ask("GET", f"{here}?applied=true") == CAUGHT_UP)
    stage.ask("DELETE", here)
    eventually(lambda: stage.ask("GET", f"{here}?applied=true") == of_namespace)
    stage.ask("DELETE", there)
    eventually(lambda: stage.ask("GET", f"{here}?applied=true") == NEVER)


def a_namespace_says_when_subscriptions_expire(stage):
    there = f"namespaces/{stage.namespace('inactive')}/subscriptionExpirationTime"
    assert stage.ask("GET", there) is None
    stage.ask("POST", there, 90)
    assert stage.ask("GET", there) == 90
    error = refused(Refused, stage.ask, "POST", there, -1)
    assert (error.code, error.reason) == (412, "Invalid value for subscription expiration time")
    stage.ask("DELETE", there)
    assert stage.ask("GET", there) is None


def a_topic_in_use_is_not_deleted_without_force(stage):
    topic = stage.topic("in-use")
    producer = stage.client.create_producer(topic)
    error = refused(Refused, stage.ask, "DELETE", page(topic))
    assert error.code == 412
    producer.close()
    consumer = stage.subscribe(topic)
    assert refused(Refused, stage.ask, "DELETE", page(topic)).code == 412
    consumer.unsubscribe()
    stage.ask("DELETE", page(topic))
    assert refused(Refused, stage.stats, topic).code == 404
