//! Policies that are a number, a flag, a name or a small object: kept as the JSON that their page shows, under the name that they have
//! in the JSON of a namespace.
use proto::records::PoliciesRecord;
use serde_json::{Map, Value, json};

use super::PolicyError;
use super::lenient::{INT, LONG, Whole, object, text, within};

/// What is kept under `key`. `Null`: nothing.
pub(super) fn get(record: &PoliciesRecord, key: &str) -> Value {
    record.plain.get(key).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Whether all that is kept can be read, so that nobody takes what cannot for nothing.
pub(super) fn is_readable(record: &PoliciesRecord) -> bool {
    record.plain.values().all(|text| serde_json::from_str::<Value>(text).is_ok())
}

/// Keeps `value`; `Null` is nothing.
pub(super) fn put(record: &mut PoliciesRecord, key: &str, value: &Value) {
    if value.is_null() {
        record.plain.remove(key);
    } else {
        record.plain.insert(key.into(), value.to_string());
    }
}

fn refused<T>(text: &str) -> Result<T, PolicyError> {
    Err(PolicyError::Refused(text.into()))
}

/// A number of at least `min`; else refused with `text`.
pub(super) fn whole(value: &Value, of: Whole, min: i64, text: &str) -> Result<Value, PolicyError> {
    match of.read(value)? {
        Some(number) if number < min => refused(text),
        number => Ok(json!(number)),
    }
}

/// `true`, `"TRUE"` and the like.
pub(super) fn flag(value: &Value) -> Result<Value, PolicyError> {
    match value {
        Value::Null | Value::Bool(_) => Ok(value.clone()),
        Value::String(text) => match text.trim() {
            "true" | "True" | "TRUE" => Ok(json!(true)),
            "false" | "False" | "FALSE" => Ok(json!(false)),
            _ => Err(PolicyError::Malformed("only \"true\" and \"false\" are recognised".into())),
        },
        Value::Number(number) => Ok(json!(number.as_f64() != Some(0.0))),
        _ => Err(PolicyError::Malformed("expected true or false".into())),
    }
}

/// One of `names`; anything else is nothing, as in Apache Pulsar.
pub(super) fn one_of(value: &Value, names: &[&str]) -> Result<Value, PolicyError> {
    Ok(text(value)?.filter(|text| names.contains(&text.as_str())).map_or(Value::Null, Value::from))
}

/// Any text.
pub(super) fn name(value: &Value) -> Result<Value, PolicyError> {
    Ok(text(value)?.map_or(Value::Null, Value::from))
}

/// A member of a small object.
pub(super) enum Field {
    /// 32 bits, and what it is when it is not given.
    Int(&'static str, i64),
    /// 64 bits.
    Long(&'static str, i64),
    /// With a fraction.
    Fraction(&'static str, f64),
    Flag(&'static str, bool),
    /// One of some names, left out when it is none.
    OneOf(&'static str, &'static [&'static str]),
    /// 32 bits, left out when not given.
    Perhaps(&'static str),
    /// Any text, left out when not given.
    Text(&'static str),
}

/// The members that are known. `Null` stays `Null`.
pub(super) fn members(value: &Value, policy: &str, fields: &[Field]) -> Result<Value, PolicyError> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    let given = object(value, policy)?;
    let mut read = Map::new();
    for field in fields {
        let (name, value) = member(given, field)?;
        if !value.is_null() {
            read.insert(name.into(), value);
        }
    }
    Ok(Value::Object(read))
}

fn member(given: &Map<String, Value>, field: &Field) -> Result<(&'static str, Value), PolicyError> {
    let of = |name: &str| given.get(name).unwrap_or(&Value::Null);
    let read = match field {
        Field::Int(name, or) => (name, INT.read(of(name)).map(|number| json!(number.unwrap_or(*or)))),
        Field::Long(name, or) => (name, LONG.read(of(name)).map(|number| json!(number.unwrap_or(*or)))),
        Field::Fraction(name, or) => (name, Ok(json!(of(name).as_f64().unwrap_or(*or)))),
        Field::Flag(name, or) => (name, flag(of(name)).map(|flag| if flag.is_null() { json!(*or) } else { flag })),
        Field::OneOf(name, names) => (name, one_of(of(name), names)),
        Field::Perhaps(name) => (name, INT.read(of(name)).map(|number| json!(number))),
        Field::Text(name) => (name, self::name(of(name))),
    };
    let (name, value) = read;
    Ok((*name, value.map_err(|error| within(name, error))?))
}

/// How many messages and bytes may leave in a period.
pub(super) fn dispatch_rate(value: &Value) -> Result<Value, PolicyError> {
    let fields = [
        Field::Int("dispatchThrottlingRateInMsg", 0),
        Field::Long("dispatchThrottlingRateInByte", 0),
        Field::Flag("relativeToPublishRate", false),
        Field::Int("ratePeriodInSecond", 0),
    ];
    members(value, "dispatch rate", &fields)
}

/// What counts where no rate is set.
pub(super) fn no_dispatch_rate() -> Value {
    json!({"dispatchThrottlingRateInMsg": 0, "dispatchThrottlingRateInByte": 0, "relativeToPublishRate": false,
           "ratePeriodInSecond": 1})
}

pub(super) fn publish_rate(value: &Value) -> Result<Value, PolicyError> {
    let fields = [Field::Int("publishThrottlingRateInMsg", -1), Field::Long("publishThrottlingRateInByte", -1)];
    members(value, "publish rate", &fields)
}

pub(super) fn subscribe_rate(value: &Value) -> Result<Value, PolicyError> {
    let fields = [Field::Int("subscribeThrottlingRatePerConsumer", -1), Field::Int("ratePeriodInSecond", 30)];
    members(value, "subscribe rate", &fields)
}

pub(super) fn delayed_delivery(value: &Value) -> Result<Value, PolicyError> {
    let fields = [Field::Long("tickTime", 0), Field::Flag("active", false), Field::Long("maxDeliveryDelayInMillis", 0)];
    members(value, "delayed delivery", &fields)
}

pub(super) fn inactive_topics(value: &Value) -> Result<Value, PolicyError> {
    const MODES: [&str; 2] = ["delete_when_no_subscriptions", "delete_when_subscriptions_caught_up"];
    let fields = [
        Field::OneOf("inactiveTopicDeleteMode", &MODES),
        Field::Int("maxInactiveDurationSeconds", 0),
        Field::Flag("deleteWhileInactive", false),
    ];
    members(value, "inactive topic", &fields)
}

pub(super) fn auto_subscriptions(value: &Value) -> Result<Value, PolicyError> {
    members(value, "auto subscription creation", &[Field::Flag("allowAutoSubscriptionCreation", false)])
}

pub(super) fn auto_topics(value: &Value) -> Result<Value, PolicyError> {
    let fields = [
        Field::Flag("allowAutoTopicCreation", false),
        Field::Text("topicType"),
        Field::Perhaps("defaultNumPartitions"),
    ];
    let read = members(value, "auto topic creation", &fields)?;
    let count = read.get("defaultNumPartitions").and_then(Value::as_i64);
    let problem = match read.get("topicType").and_then(Value::as_str) {
        _ if read.get("allowAutoTopicCreation") != Some(&json!(true)) => return Ok(read),
        Some("partitioned") => match count {
            None => "[defaultNumPartitions] cannot be null when the type is partitioned.".to_owned(),
            Some(count) if count < 1 => "[defaultNumPartitions] cannot be less than 1 for partition type.".to_owned(),
            Some(_) => return Ok(read),
        },
        Some("non-partitioned") if count.is_none() => return Ok(read),
        Some("non-partitioned") => {
            "[defaultNumPartitions] is not allowed to be set when the type is non-partition.".to_owned()
        }
        other => format!("Unknown topic type [{}]", other.unwrap_or("null")),
    };
    refused(&format!("Invalid configuration for autoTopicCreationOverride. the detail is {problem}"))
}

/// As in Apache Pulsar.
const COPIES_MAX: i64 = 5;

pub(super) fn persistence(value: &Value) -> Result<Value, PolicyError> {
    let malformed = |text: String| Err(PolicyError::Malformed(text));
    let fields = [
        Field::Int("bookkeeperEnsemble", 2),
        Field::Int("bookkeeperWriteQuorum", 2),
        Field::Int("bookkeeperAckQuorum", 2),
        Field::Fraction("managedLedgerMaxMarkDeleteRate", 0.0),
    ];
    let read = members(value, "persistence", &fields)?;
    if read.is_null() {
        return malformed("persistence policies should not be null".into());
    }
    let number = |name: &str| read[name].as_i64().unwrap_or(0);
    let (ensemble, write, ack) =
        (number("bookkeeperEnsemble"), number("bookkeeperWriteQuorum"), number("bookkeeperAckQuorum"));
    for (name, number) in [("Ensemble", ensemble), ("WriteQuorum", write), ("AckQuorum", ack)] {
        if !(1..=COPIES_MAX).contains(&number) {
            return malformed(format!("Bookkeeper-{name} must be <= {COPIES_MAX} and > 0."));
        }
    }
    if ensemble < write || write < ack {
        return malformed(format!("Bookkeeper Ensemble ({ensemble}) >= WriteQuorum ({write}) >= AckQuorum ({ack})"));
    }
    Ok(read)
}

/// Sorted; unknown ones are refused.
pub(super) fn subscription_types(value: &Value) -> Result<Value, PolicyError> {
    const TYPES: [&str; 4] = ["Exclusive", "Failover", "Key_Shared", "Shared"];
    let wrong = || PolicyError::Malformed(format!("expected a list of {}", TYPES.join(", ")));
    let given = value.as_array().ok_or_else(wrong)?;
    let known = |one: &&str| given.contains(&json!(*one));
    if !given.iter().all(|one| one.as_str().is_some_and(|one| TYPES.contains(&one))) {
        return Err(wrong());
    }
    let types: Vec<&str> = TYPES.iter().copied().filter(|one| known(one)).collect();
    Ok(if types.is_empty() { Value::Null } else { json!(types) })
}

const PROPERTIES: &str = "properties";

/// Adds properties to those that are there.
pub(super) fn add_properties(record: &mut PoliciesRecord, value: &Value) -> Result<(), PolicyError> {
    for (key, value) in object(value, "properties")? {
        set_property(record, key, text(value).map_err(|error| within(key, error))?.as_deref());
    }
    Ok(())
}

/// A property of a namespace.
pub(crate) fn property(record: &PoliciesRecord, key: &str) -> Option<String> {
    get(record, PROPERTIES)[key].as_str().map(str::to_owned)
}

/// Sets a property of a namespace, or takes it away.
pub(crate) fn set_property(record: &mut PoliciesRecord, key: &str, value: Option<&str>) {
    let mut all = get(record, PROPERTIES).as_object().cloned().unwrap_or_default();
    match value {
        Some(value) => drop(all.insert(key.into(), value.into())),
        None => drop(all.remove(key)),
    }
    let all = if all.is_empty() { Value::Null } else { Value::Object(all) };
    put(record, PROPERTIES, &all);
}

/// The groups of bookies that a namespace is to lie on.
pub(super) fn affinity(value: &Value) -> Result<Value, PolicyError> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    let members = object(value, "bookie affinity")?;
    let mut kept = Map::new();
    for name in ["bookkeeperAffinityGroupPrimary", "bookkeeperAffinityGroupSecondary"] {
        let group = members.get(name).map_or(Ok(None), text).map_err(|error| within(name, error))?;
        kept.insert(name.into(), json!(group));
    }
    Ok(Value::Object(kept))
}

const CLUSTERS: &str = "replication_clusters";

/// The clusters that are set for a topic: a list, or nothing.
pub(crate) fn clusters(record: &PoliciesRecord) -> Value {
    get(record, CLUSTERS)
}

/// Sets them, or takes them away.
pub(crate) fn set_clusters(record: &mut PoliciesRecord, clusters: Option<&[String]>) {
    put(record, CLUSTERS, &json!(clusters));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_objects_get_pulsars_defaults_and_lose_what_is_unknown() {
        let rate = publish_rate(&json!({"publishThrottlingRateInMsg": "7", "x": 1})).unwrap();
        assert_eq!(rate, json!({"publishThrottlingRateInMsg": 7, "publishThrottlingRateInByte": -1}));
        let none = json!({"active": false, "tickTime": 0, "maxDeliveryDelayInMillis": 0});
        assert_eq!(delayed_delivery(&json!({})), Ok(none));
        let inactive = json!({"inactiveTopicDeleteMode": "x", "maxInactiveDurationSeconds": 60});
        let read = json!({"maxInactiveDurationSeconds": 60, "deleteWhileInactive": false});
        assert_eq!(inactive_topics(&inactive), Ok(read));
        assert_eq!(subscribe_rate(&Value::Null), Ok(Value::Null));
        assert!(publish_rate(&json!([])).is_err());
    }

    #[test]
    fn flags_and_types_are_read_kindly_but_not_blindly() {
        assert_eq!(flag(&json!("TRUE")), Ok(json!(true)));
        assert_eq!(flag(&json!(0)), Ok(json!(false)));
        assert!(flag(&json!("x")).is_err() && flag(&json!([])).is_err());
        assert_eq!(subscription_types(&json!(["Shared", "Exclusive"])), Ok(json!(["Exclusive", "Shared"])));
        assert_eq!(subscription_types(&json!([])), Ok(Value::Null));
        assert!(subscription_types(&json!(["bad"])).is_err() && subscription_types(&Value::Null).is_err());
    }
}
