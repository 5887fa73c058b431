"""Schemas: kept per topic with a version for each, checked against those before, carried by messages, and shown over REST."""

import base64
import html
import json
import re

import _pulsar
import pulsar
from pulsar.schema import AvroSchema, Integer, JsonSchema, Record, String
from stage import PATIENCE_MS, Refused, page, refused

NUMBER = {"name": "a", "type": "int"}
ANOTHER = {"name": "b", "type": "int"}
WITH_DEFAULT = {"name": "b", "type": "int", "default": 7}


class Order(Record):
    item = String(required=True)


class LargerOrder(Record):
    item = String(required=True)
    pieces = Integer(required_default=True)


LargerOrder.__name__ = "Order"  # Another state of the same record.


class Bytes(pulsar.schema.Schema):
    """Any schema, for contents that are bytes already."""

    def __init__(self, kind, definition):
        super().__init__(bytes, kind, None, "bytes")
        text = definition if isinstance(definition, str) else json.dumps(definition)
        self._schema_info = _pulsar.SchemaInfo(kind, "bytes", text)

    def encode(self, obj):
        return obj

    def decode(self, data):
        return data


def _record(*fields, name="A"):
    return {"type": "record", "name": name, "fields": list(fields)}


def _avro(*fields):
    return Bytes(pulsar.schema.schema_avro._pulsar.SchemaType.AVRO, _record(*fields))


def _json(*fields):
    return Bytes(_pulsar.SchemaType.JSON, _record(*fields))


def _string():
    return Bytes(_pulsar.SchemaType.STRING, "")


def _below(topic, rest):
    return f"schemas/{topic.split('://')[1]}/{rest}"


def _payload(kind, definition, **properties):
    text = definition if isinstance(definition, str) else json.dumps(definition)
    return {"type": kind, "schema": text, "properties": properties}


def _versions(stage, topic):
    return [one["version"] for one in stage.ask("GET", _below(topic, "schemas"))["getSchemaResponses"]]


def _attach(stage, topic, schema):
    """A producer with a schema comes and goes."""
    stage.client.create_producer(topic, schema=schema).close()


def _admitted(stage, topic, schema):
    try:
        _attach(stage, topic, schema)
    except pulsar.IncompatibleSchema:
        return False
    return True


def _may_read(stage, topic, schema, **options):
    try:
        stage.subscribe(topic, f"s{id(schema)}", schema=schema, **options).close()
    except pulsar.IncompatibleSchema:
        return False
    return True


def _reason(code, stage, *request):
    refusal = refused(Refused, stage.ask, *request)
    assert refusal.code == code, refusal
    # Apache Pulsar puts some reasons into the title of a web page.
    title = re.search(r"<title>Error \d+ (.*)</title>", refusal.reason, re.DOTALL)
    return html.unescape(title[1]) if title else refusal.reason


def objects_travel_as_json_and_their_schema_is_kept(stage):
    topic = stage.topic("json")
    consumer = stage.subscribe(topic, schema=JsonSchema(Order))
    stage.client.create_producer(topic, schema=JsonSchema(Order)).send(Order(item="apple"))
    message = consumer.receive(timeout_millis=PATIENCE_MS)
    assert message.value().item == "apple"
    assert message.schema_version() == "\0" * 8
    shown = stage.ask("GET", _below(topic, "schema"))
    assert shown.pop("timestamp") > 0
    assert json.loads(shown.pop("data")) == Order.schema()
    assert shown == {"version": 0, "type": "JSON", "properties": {}}


def objects_travel_as_avro_and_are_read_with_the_schema_they_were_written_with(stage):
    topic = stage.topic("avro")
    namespace_wide = stage.subscribe(topic, schema=AvroSchema(Order))
    stage.client.create_producer(topic, schema=AvroSchema(Order)).send(Order(item="apple"))
    stage.client.create_producer(topic, schema=AvroSchema(LargerOrder)).send(LargerOrder(item="pear", pieces=3))
    later = stage.subscribe(topic, "later", schema=AvroSchema(LargerOrder))
    for consumer, expected in ((namespace_wide, [("apple", None), ("pear", None)]), (later, [("apple", None), ("pear", 3)])):
        messages = [consumer.receive(timeout_millis=PATIENCE_MS) for _ in range(2)]
        values = [message.value() for message in messages]
        assert [(value.item, getattr(value, "pieces", None)) for value in values] == expected
        assert [message.schema_version() for message in messages] == ["\0" * 8, "\0" * 7 + "\1"]


def equal_schemas_have_one_version(stage):
    topic = stage.topic("equal")
    first = _record(NUMBER)
    for definition in (first, json.dumps(first, indent=3), {**first, "doc": "described"}, {**first, "aliases": ["B"]}):
        _attach(stage, topic, Bytes(_pulsar.SchemaType.AVRO, definition))
    assert _versions(stage, topic) == [0]
    _attach(stage, topic, Bytes(_pulsar.SchemaType.AVRO, {**first, "attribute": 1}))
    _attach(stage, topic, _avro(NUMBER, WITH_DEFAULT))
    assert _versions(stage, topic) == [0, 1, 2]
    _attach(stage, topic, _avro(NUMBER))
    assert _versions(stage, topic) == [0, 1, 2]


def clients_get_each_version_of_a_schema(stage):
    topic = stage.topic("versions")
    client = stage.client._client
    refused(_pulsar.TopicNotFound, client.get_schema_info, topic, 0)
    _attach(stage, topic, _avro(NUMBER))
    _attach(stage, topic, _avro(NUMBER, WITH_DEFAULT))
    for version, fields in ((0, [NUMBER]), (1, [NUMBER, WITH_DEFAULT])):
        assert json.loads(client.get_schema_info(topic, version).schema()) == _record(*fields)
    refused(_pulsar.TopicNotFound, client.get_schema_info, topic, 2)


def partitions_share_the_schema_of_their_topic(stage):
    topic = stage.partitioned("shared", 2)
    _attach(stage, f"{topic}-partition-0", _avro(NUMBER))
    _attach(stage, f"{topic}-partition-1", _avro(NUMBER, WITH_DEFAULT))
    assert _versions(stage, topic) == _versions(stage, f"{topic}-partition-1") == [0, 1]
    stage.ask("DELETE", page(topic, "partitions?force=true"))
    assert _versions(stage, topic) == []


def what_may_follow_a_schema_is_for_its_namespace_to_say(stage):
    news = [_avro(NUMBER, WITH_DEFAULT), _avro(NUMBER, ANOTHER), _avro(WITH_DEFAULT), _string()]
    expected = {
        "ALWAYS_INCOMPATIBLE": [False, False, False, False],
        "ALWAYS_COMPATIBLE": [True, True, True, True],
        "BACKWARD": [True, True, True, False],
        "FORWARD": [True, True, False, False],
        "FULL": [True, True, False, False],
        "BACKWARD_TRANSITIVE": [True, False, True, False],
        "FORWARD_TRANSITIVE": [True, True, False, False],
        "FULL_TRANSITIVE": [True, False, False, False],
        "UNDEFINED": [True, True, False, False],
    }
    for strategy, outcomes in expected.items():
        namespace = stage.namespace("strategies")
        stage.ask("PUT", f"namespaces/{namespace}/schemaCompatibilityStrategy", strategy)
        topic = stage.topic("t", namespace)
        _attach(stage, topic, _avro(NUMBER))
        assert [_admitted(stage, topic, new) for new in news] == outcomes, strategy


def a_topics_own_strategy_counts_before_its_namespaces(stage):
    namespace = stage.namespace("strategies")
    stage.ask("PUT", f"namespaces/{namespace}/schemaCompatibilityStrategy", "FULL")
    topic = stage.topic("t", namespace)
    _attach(stage, topic, _avro(NUMBER))
    assert not _admitted(stage, topic, _avro())
    strategy = page(topic, "schemaCompatibilityStrategy")
    assert stage.ask("GET", strategy) is None
    assert stage.ask("GET", f"{strategy}?applied=true") == "FULL"
    stage.ask("PUT", strategy, "BACKWARD")
    stage.eventually(lambda: stage.ask("GET", strategy) == "BACKWARD")
    stage.eventually(lambda: _admitted(stage, topic, _avro()))


def the_older_policy_counts_where_no_strategy_is_set(stage):
    for older, strategy, admitted in (
        ("AutoUpdateDisabled", "ALWAYS_INCOMPATIBLE", [False, False]),
        ("Backward", "BACKWARD", [True, True]),
        ("Full", "FULL", [True, False]),
        ("AlwaysCompatible", "ALWAYS_COMPATIBLE", [True, True]),
    ):
        namespace = stage.namespace("older")
        stage.ask("PUT", f"namespaces/{namespace}/schemaAutoUpdateCompatibilityStrategy", older)
        topic = stage.topic("t", namespace)
        _attach(stage, topic, _avro(NUMBER))
        assert [_admitted(stage, topic, new) for new in (_avro(NUMBER, WITH_DEFAULT), _avro(WITH_DEFAULT))] == admitted
        assert stage.ask("GET", page(topic, "schemaCompatibilityStrategy?applied=true")) == strategy


def avro_and_json_are_resolved_as_avro_resolves_them(stage):
    namespace = stage.namespace("resolved")
    stage.ask("PUT", f"namespaces/{namespace}/schemaCompatibilityStrategy", "BACKWARD")

    def one(kind):
        return _record({"name": "a", "type": kind})

    enum = {"type": "enum", "name": "E", "symbols": ["x", "y"]}
    inner = _record({"name": "i", "type": "int"}, name="I")
    for kind, definition in (("AVRO", _pulsar.SchemaType.AVRO), ("JSON", _pulsar.SchemaType.JSON)):
        for before, after, admitted in (
            (one("int"), one("long"), True),
            (one("long"), one("int"), False),
            (one("string"), one("bytes"), True),
            (one("int"), one(["null", "int"]), True),
            (one(["null", "int"]), one("int"), False),
            (one(enum), one({**enum, "symbols": ["x"]}), True),
            (one(enum), one({**enum, "name": "F"}), False),
            (one(["null", inner]), one(["null", {**inner, "name": "J"}]), True),
            (one(inner), one({**inner, "fields": inner["fields"] + [ANOTHER]}), False),
            (one("int"), _record({"name": "b", "type": "int", "aliases": ["a"]}), True),
            (one(["null", "A"]), _record({"name": "a", "type": ["null", "A"]}, ANOTHER), False),
        ):
            topic = stage.topic("t", namespace)
            stage.ask("POST", _below(topic, "schema"), _payload(kind, before))
            assert _admitted(stage, topic, Bytes(definition, after)) == admitted, (before, after)


def the_kind_of_a_schema_changes_only_where_anything_may_follow(stage):
    topic = stage.topic("kinds")
    _attach(stage, topic, _avro(NUMBER))
    assert not _admitted(stage, topic, _json(NUMBER))
    assert not _admitted(stage, topic, _string())
    assert _reason(409, stage, "POST", _below(topic, "schema"), _payload("STRING", "")) == (
        "Incompatible schema: exists schema type AVRO, new schema type STRING"
    )


def a_consumers_schema_becomes_that_of_a_topic_which_nobody_has_used(stage):
    topic = stage.topic("first")
    stage.subscribe(topic, schema=_avro(NUMBER))
    assert _versions(stage, topic) == [0]


def a_topic_in_use_without_a_schema_takes_no_consumers_with_one(stage):
    for use in (
        lambda topic: stage.client.create_producer(topic),
        lambda topic: stage.subscribe(topic),
        lambda topic: stage.publish(topic, ["bytes"]),
    ):
        topic = stage.topic("used")
        used = use(topic)
        assert not _may_read(stage, topic, _avro(NUMBER))
        assert _versions(stage, topic) == []
        assert _admitted(stage, topic, _avro(NUMBER)), "a producer brings one"
        del used


def a_consumer_must_read_what_the_topic_holds(stage):
    for strategy, expected in {
        "FULL": [True, True, False, False],
        "FORWARD": [True, True, False, False],
        "FULL_TRANSITIVE": [True, False, False, False],
        "ALWAYS_COMPATIBLE": [True, True, True, True],
        "ALWAYS_INCOMPATIBLE": [False, False, False, False],
    }.items():
        namespace = stage.namespace("readers")
        stage.ask("PUT", f"namespaces/{namespace}/schemaCompatibilityStrategy", strategy)
        topic = stage.topic("t", namespace)
        _attach(stage, topic, _avro(NUMBER))
        _admitted(stage, topic, _avro(NUMBER, WITH_DEFAULT))
        readers = [_avro(NUMBER), _avro(NUMBER, ANOTHER), _avro({"name": "c", "type": "int"}), _string()]
        assert [_may_read(stage, topic, schema) for schema in readers] == expected, strategy
        stage.subscribe(topic, "bytes").close()
        assert len(_versions(stage, topic)) <= 2, "consumers add none to those that are there"


def producers_without_a_schema_are_refused_where_that_is_wanted(stage):
    namespace = stage.namespace("enforced")
    stage.ask("POST", f"namespaces/{namespace}/schemaValidationEnforced", True)
    topic = stage.topic("t", namespace)
    stage.publish(topic, ["before there is a schema"])
    _attach(stage, topic, _avro(NUMBER))
    refused(pulsar.IncompatibleSchema, stage.client.create_producer, topic)
    stage.subscribe(topic, "bytes").close()

    lenient = stage.topic("lenient")
    _attach(stage, lenient, _avro(NUMBER))
    stage.publish(lenient, ["without a schema"])
    stage.ask("POST", page(lenient, "schemaValidationEnforced"), True)

    def refuses():
        try:
            stage.client.create_producer(lenient).close()
        except pulsar.IncompatibleSchema:
            return True
        return False

    stage.eventually(refuses)


def clients_add_no_schema_where_only_operators_may(stage):
    namespace = stage.namespace("operators")
    stage.ask("POST", f"namespaces/{namespace}/isAllowAutoUpdateSchema", False)
    topic = stage.topic("t", namespace)
    assert not _admitted(stage, topic, _avro(NUMBER))
    assert not _may_read(stage, topic, _avro(NUMBER))
    stage.ask("POST", _below(topic, "schema"), _payload("AVRO", _record(NUMBER)))
    assert _admitted(stage, topic, _avro(NUMBER))
    assert not _admitted(stage, topic, _avro(NUMBER, WITH_DEFAULT))
    assert _may_read(stage, topic, _avro(NUMBER, WITH_DEFAULT)), "it reads what is there and adds nothing"
    assert _versions(stage, topic) == [0]


def malformed_schemas_are_refused(stage):
    topic = stage.topic("malformed")
    for kind, definition in (
        (_pulsar.SchemaType.AVRO, "{"),
        (_pulsar.SchemaType.AVRO, ""),
        (_pulsar.SchemaType.AVRO, '["null", "int"]'),
        (_pulsar.SchemaType.AVRO, '{"type": "record", "name": "1", "fields": []}'),
        (_pulsar.SchemaType.JSON, "x"),
        (_pulsar.SchemaType.PROTOBUF_NATIVE, "{}"),
    ):
        assert not _admitted(stage, topic, Bytes(kind, definition)), definition
    for kind, definition, reason in (
        ("AVRO", "{", "Invalid schema definition data for AVRO schema"),
        ("AUTO_CONSUME", "", "Schema AUTO_CONSUME is a client-side schema type"),
        ("AUTO_PUBLISH", "", "Schema AUTO_PUBLISH is a client-side schema type"),
        ("STRING", "x", "Invalid schema definition data for string schema : 'x'"),
    ):
        assert _reason(422, stage, "POST", _below(topic, "schema"), _payload(kind, definition)).find(reason) != -1
    assert _versions(stage, topic) == []


def consumers_with_malformed_schemas_are_refused(stage):
    for definition in ("{", "", '["null", "int"]'):
        assert not _may_read(stage, stage.topic("malformed"), Bytes(_pulsar.SchemaType.AVRO, definition)), definition


def every_kind_of_schema_is_kept(stage):
    kinds = "NONE STRING BOOLEAN INT8 INT16 INT32 INT64 FLOAT DOUBLE DATE TIME TIMESTAMP INSTANT LOCAL_DATE LOCAL_TIME"
    for kind in kinds.split() + ["LOCAL_DATE_TIME"]:
        topic = stage.topic("kinds")
        assert stage.ask("POST", _below(topic, "schema"), _payload(kind, "")) == {"version": {"version": 0}}
        assert stage.ask("GET", _below(topic, "schema"))["type"] == kind
    for kind in ("AVRO", "JSON", "PROTOBUF"):
        topic = stage.topic("kinds")
        stage.ask("POST", _below(topic, "schema"), _payload(kind, _record(NUMBER), owner="me"))
        shown = stage.ask("GET", _below(topic, "schema/0"))
        assert (shown["type"], json.loads(shown["data"]), shown["properties"]) == (kind, _record(NUMBER), {"owner": "me"})


def _descriptors(root):
    """A file `f.proto` of package `p` with the messages `M` and `N`."""
    text = b"\n\x07f.proto\x12\x01p\"\x03\n\x01M\"\x03\n\x01N"
    files = base64.b64encode(b"\n" + bytes([len(text)]) + text).decode()
    return {"fileDescriptorSet": files, "rootMessageTypeName": root, "rootFileDescriptorName": "f.proto"}


def a_protobuf_schema_keeps_its_root_message(stage):
    topic = stage.topic("protobuf")
    there = _below(topic, "schema")
    assert stage.ask("POST", there, _payload("PROTOBUF_NATIVE", _descriptors("p.M")))["version"] == {"version": 0}
    reason = _reason(409, stage, "POST", there, _payload("PROTOBUF_NATIVE", _descriptors("p.N")))
    assert reason == (
        "Protobuf root message change is not allowed under the 'FULL' strategy. Original message name: 'p.M', "
        "new message name: 'p.N'."
    )
    assert _reason(422, stage, "POST", there, _payload("PROTOBUF_NATIVE", _descriptors("p.X"))).startswith(
        "deserialize ProtobufNative Schema failed"
    )


def _key_value(key, value, kinds=("AVRO", "AVRO")):
    properties = {}
    for half, kind in zip(("key", "value"), kinds):
        properties |= {f"{half}.schema.type": kind, f"{half}.schema.name": "", f"{half}.schema.properties": "{}"}
    return _payload("KEY_VALUE", {"key": key, "value": value}, **properties, **{"kv.encoding.type": "INLINE"})


def keys_and_values_have_schemas_of_their_own(stage):
    topic = stage.topic("pairs")
    there = _below(topic, "schema")
    first = _key_value(_record(NUMBER), _record(NUMBER))
    assert stage.ask("POST", there, first)["version"] == {"version": 0}
    shown = stage.ask("GET", there)
    assert json.loads(shown["data"]) == json.loads(first["schema"])
    assert (shown["type"], shown["properties"]) == ("KEY_VALUE", first["properties"])
    grown = _key_value(_record(NUMBER), _record(NUMBER, WITH_DEFAULT))
    assert stage.ask("POST", there, grown)["version"] == {"version": 1}
    assert "Unable to read schema" in _reason(409, stage, "POST", there, _key_value(_record(ANOTHER), _record(NUMBER)))
    reason = _reason(409, stage, "POST", there, _key_value(_record(NUMBER), "", ("AVRO", "STRING")))
    assert reason == (
        "Key schemas or Value schemas are different schema type, from key schema type is AVRO and to key schema is AVRO, "
        "from value schema is AVRO and to value schema is STRING"
    )


def a_deleted_schema_leaves_its_number(stage):
    topic = stage.topic("deleted")
    there = _below(topic, "schema")
    for fields in ([NUMBER], [NUMBER, WITH_DEFAULT]):
        stage.ask("POST", there, _payload("AVRO", _record(*fields)))
    assert stage.ask("DELETE", there) == {"version": 2}
    assert _reason(404, stage, "GET", there) == "Schema not found"
    assert _reason(404, stage, "GET", f"{there}/0") == "Schema not found"
    assert _versions(stage, topic) == []
    refused(_pulsar.TopicNotFound, stage.client._client.get_schema_info, topic, 0)
    _attach(stage, topic, _string())  # Whatever was there, it is no more.
    assert _versions(stage, topic) == [3]
    assert stage.ask("DELETE", f"{there}?force=true") == {"version": -1}
    _attach(stage, topic, _avro(NUMBER))
    assert _versions(stage, topic) == [0]


def a_schema_is_deleted_with_its_topic(stage):
    topic = stage.topic("deleted")
    _attach(stage, topic, _avro(NUMBER))
    stage.ask("DELETE", page(topic))
    assert _versions(stage, topic) == []
    _attach(stage, topic, _string())
    assert _versions(stage, topic) == [0]


def tools_ask_which_version_a_schema_is_and_whether_it_may_follow(stage):
    topic = stage.topic("asked")
    first, second = _payload("AVRO", _record(NUMBER)), _payload("AVRO", _record(NUMBER, WITH_DEFAULT))
    assert stage.ask("POST", _below(topic, "version"), first) == {"version": -1}
    compatible = {"compatibility": True, "schemaCompatibilityStrategy": "FULL"}
    assert stage.ask("POST", _below(topic, "compatibility"), first) == compatible
    assert _reason(404, stage, "GET", _below(topic, "schema")) == "Schema not found"
    assert stage.ask("POST", _below(topic, "schema"), first) == {"version": {"version": 0}}
    assert stage.ask("POST", _below(topic, "schema"), first) == {"version": {"version": 0}}
    assert stage.ask("POST", _below(topic, "version"), first) == {"version": 0}
    assert stage.ask("POST", _below(topic, "compatibility"), second) == compatible
    assert stage.ask("POST", _below(topic, "version"), second) == {"version": -1}
    reason = _reason(409, stage, "POST", _below(topic, "schema"), _payload("AVRO", _record(NUMBER, ANOTHER)))
    assert reason.startswith("Error during schema compatibility check with strategy FULL: ")
    assert "Unable to read schema: \n{\n  \"type\" : \"record\",\n  \"name\" : \"A\"" in reason
    assert [one["version"] for one in stage.ask("GET", _below(topic, "metadata"))["index"]] == [0]
    unknown = "schemas/public/nowhere/t/schema"
    assert _reason(404, stage, "POST", unknown, first) == "Namespace does not exist"


def tools_are_told_what_may_not_follow(stage):
    topic = stage.topic("told")
    stage.ask("POST", _below(topic, "schema"), _payload("AVRO", _record(NUMBER)))
    asked = stage.ask("POST", _below(topic, "compatibility"), _payload("AVRO", _record(NUMBER, ANOTHER)))
    assert asked == {"compatibility": False, "schemaCompatibilityStrategy": "FULL"}
