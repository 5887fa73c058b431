//! Permissions, kept as the JSON that a namespace shows of them.
use std::collections::BTreeSet;

use proto::TopicName;
use proto::records::PoliciesRecord;
use serde_json::{Map, Value, json};

use super::{PolicyError, plain};

pub(super) const KEY: &str = "auth_policies";
const OF_NAMESPACE: &str = "namespace_auth";
const OF_TOPICS: &str = "destination_auth";
const OF_SUBSCRIPTIONS: &str = "subscription_auth_roles";
const ACTIONS: [&str; 6] = ["consume", "functions", "packages", "produce", "sinks", "sources"];

/// What permissions are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Grant {
    /// All topics of the namespace, by role.
    Namespace,
    /// One topic, by role, beside what counts for all.
    Topic(TopicName),
    /// Subscriptions of the namespace, by their names.
    Subscriptions,
    /// One of them, by role.
    Subscription(String),
}

/// As a page shows it.
pub(crate) fn permissions(record: &PoliciesRecord, of: &Grant) -> Value {
    let all = plain::get(record, KEY);
    let object = |value: &Value| value.as_object().cloned().unwrap_or_default();
    match of {
        Grant::Namespace => Value::Object(object(&all[OF_NAMESPACE])),
        Grant::Subscriptions | Grant::Subscription(_) => Value::Object(object(&all[OF_SUBSCRIPTIONS])),
        Grant::Topic(topic) => {
            let mut shown = object(&all[OF_NAMESPACE]);
            for name in [topic.partitioned().to_string(), topic.to_string()] {
                for (role, actions) in object(&all[OF_TOPICS][&name]) {
                    let both = [shown.get(&role).unwrap_or(&Value::Null), &actions].map(texts).concat();
                    shown.insert(role, sorted(both));
                }
            }
            Value::Object(shown)
        }
    }
}

/// Notes what `who` may do, or with `None` nothing any more. What is no action is left out, as in Apache Pulsar.
pub(crate) fn grant(
    record: &mut PoliciesRecord,
    to: &Grant,
    who: &str,
    what: Option<&Value>,
) -> Result<(), PolicyError> {
    let malformed = || PolicyError::Malformed("expected a list of names".into());
    let given = match what {
        Some(list) => Some(texts(list.as_array().map(|_| list).ok_or_else(malformed)?)),
        None => None,
    };
    let actions = |given: Vec<String>| {
        sorted(given.into_iter().filter(|one| ACTIONS.contains(&one.as_str())).collect::<Vec<_>>())
    };
    let mut all = plain::get(record, KEY);
    if all.is_null() {
        all = none();
    }
    match (to, given) {
        (Grant::Namespace, Some(given)) => all[OF_NAMESPACE][who] = actions(given),
        (Grant::Topic(topic), Some(given)) => all[OF_TOPICS][topic.to_string()][who] = actions(given),
        (Grant::Subscriptions | Grant::Subscription(_), Some(given)) => all[OF_SUBSCRIPTIONS][who] = sorted(given),
        (Grant::Namespace, None) => forget(&mut all[OF_NAMESPACE], who),
        (Grant::Subscriptions, None) => forget(&mut all[OF_SUBSCRIPTIONS], who),
        (Grant::Topic(topic), None) => {
            let name = topic.to_string();
            forget(&mut all[OF_TOPICS][&name], who);
            if all[OF_TOPICS][&name].as_object().is_none_or(Map::is_empty) {
                forget(&mut all[OF_TOPICS], &name);
            }
        }
        (Grant::Subscription(name), None) => {
            let left = texts(&all[OF_SUBSCRIPTIONS][name]).into_iter().filter(|role| role != who);
            all[OF_SUBSCRIPTIONS][name] = sorted(left.collect());
        }
    }
    plain::put(record, KEY, &if all == none() { Value::Null } else { all });
    Ok(())
}

/// What a namespace shows without any.
fn none() -> Value {
    json!({OF_NAMESPACE: {}, OF_TOPICS: {}, OF_SUBSCRIPTIONS: {}})
}

/// As a namespace is made with.
pub(super) fn read(value: &Value) -> Result<Value, PolicyError> {
    let Value::Object(given) = value else { return Ok(Value::Null) };
    let mut read = none();
    for (name, value) in given.iter().filter(|(_, value)| value.is_object()) {
        if read.get(name).is_some() {
            read[name] = value.clone();
        }
    }
    Ok(if read == none() { Value::Null } else { read })
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn sorted(names: Vec<String>) -> Value {
    let names: BTreeSet<String> = names.into_iter().collect();
    names.into_iter().collect()
}

fn forget(object: &mut Value, name: &str) {
    if let Some(members) = object.as_object_mut() {
        members.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_granted_is_shown_until_it_is_revoked_and_then_nothing_is_kept() {
        let mut record = PoliciesRecord::default();
        let topic = Grant::Topic("persistent://t/n/a".parse().unwrap());
        let part = Grant::Topic("persistent://t/n/a-partition-0".parse().unwrap());
        grant(&mut record, &Grant::Namespace, "r", Some(&json!(["produce", "bad", "consume", "consume"]))).unwrap();
        grant(&mut record, &topic, "r", Some(&json!(["functions"]))).unwrap();
        grant(&mut record, &topic, "q", Some(&json!(["sinks"]))).unwrap();
        assert_eq!(permissions(&record, &Grant::Namespace), json!({"r": ["consume", "produce"]}));
        let both = json!({"q": ["sinks"], "r": ["consume", "functions", "produce"]});
        assert_eq!(permissions(&record, &topic), both);
        assert_eq!(permissions(&record, &part), both, "a partition has those of its topic");
        grant(&mut record, &Grant::Subscriptions, "s", Some(&json!(["b", "a"]))).unwrap();
        grant(&mut record, &Grant::Subscription("s".into()), "b", None).unwrap();
        assert_eq!(permissions(&record, &Grant::Subscriptions), json!({"s": ["a"]}));
        for (to, who) in
            [(&Grant::Namespace, "r"), (&topic, "r"), (&topic, "q"), (&topic, "z"), (&Grant::Subscriptions, "s")]
        {
            grant(&mut record, to, who, None).unwrap();
        }
        assert_eq!(record, PoliciesRecord::default());
        assert!(grant(&mut record, &topic, "r", Some(&json!("produce"))).is_err());
    }
}
