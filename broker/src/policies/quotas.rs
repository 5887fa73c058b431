//! How much of a topic may wait for its subscriptions: by size, and by age.
use proto::records::PoliciesRecord;
use serde_json::{Value, json};

use super::lenient::{INT, LONG, object, text};
use super::{Level, PolicyError, plain};

/// Under which name both are kept.
pub(super) const KEY: &str = "backlog_quota_map";
const POLICIES: [&str; 3] = ["producer_request_hold", "producer_exception", "consumer_backlog_eviction"];

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QuotaKind {
    /// Bytes.
    Size,
    /// Age of the oldest message that waits.
    Age,
}

impl QuotaKind {
    /// By the name that requests have for it; the first when they name none.
    pub(crate) fn of(name: Option<&str>) -> Option<Self> {
        match name {
            None | Some("" | "destination_storage") => Some(Self::Size),
            Some("message_age") => Some(Self::Age),
            Some(_) => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Size => "destination_storage",
            Self::Age => "message_age",
        }
    }
}

/// What happens when more waits than may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QuotaAction {
    /// Producers stay out until less waits.
    Hold,
    /// They are told that nothing is taken.
    Refuse,
    /// The oldest counts as acknowledged.
    Evict,
}

/// How much may wait: bytes, or seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) limit: u64,
    pub(crate) action: QuotaAction,
}

/// What counts for a topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Quotas {
    pub(crate) size: Option<Quota>,
    pub(crate) age: Option<Quota>,
}

impl Quotas {
    /// The first of `levels` that says something of a kind counts. Limits below 0 are none, and no age is too old in 0 seconds.
    pub(super) fn of(levels: [&PoliciesRecord; 2]) -> Self {
        let quota = |kind: QuotaKind, member: &str, least: u64| {
            let both = levels.map(|record| plain::get(record, KEY));
            let set = both.iter().map(|both| &both[kind.name()]).find(|set| !set.is_null())?;
            let action = [QuotaAction::Hold, QuotaAction::Refuse, QuotaAction::Evict];
            let at = POLICIES.iter().position(|policy| set["policy"] == json!(policy))?;
            let limit = set[member].as_u64().filter(|limit| least <= *limit)?;
            Some(Quota { limit, action: action[at] })
        };
        Self { size: quota(QuotaKind::Size, "limitSize", 0), age: quota(QuotaKind::Age, "limitTime", 1) }
    }
}

fn read(value: &Value) -> Result<Value, PolicyError> {
    let members = object(value, "backlog quota")?;
    let member = |name: &str| members.get(name).unwrap_or(&Value::Null);
    let size = match LONG.read(member("limitSize"))? {
        None => LONG.read(member("limit"))?, // As older tools say it.
        size => size,
    };
    let (size, time) = (size.unwrap_or(0), INT.read(member("limitTime"))?.unwrap_or(0));
    let policy = text(member("policy"))?.filter(|policy| POLICIES.contains(&policy.as_str()));
    let missing = || PolicyError::Malformed("the attribute policy cannot be null".into());
    let policy = policy.ok_or_else(missing)?;
    Ok(json!({"limit": size, "limitSize": size, "limitTime": time, "policy": policy}))
}

/// Both at once, as the JSON of a namespace holds them.
pub(super) fn read_both(value: &Value) -> Result<Value, PolicyError> {
    let mut both = json!({});
    for kind in [QuotaKind::Size, QuotaKind::Age] {
        if let Some(quota) = object(value, "backlog quota")?.get(kind.name()).filter(|quota| !quota.is_null()) {
            both[kind.name()] = read(quota)?;
        }
    }
    Ok(if both == json!({}) { Value::Null } else { both })
}

/// What counts where nothing is set.
pub(super) fn none() -> Value {
    let none = json!({"limit": -1, "limitSize": -1, "limitTime": -1, "policy": POLICIES[0]});
    json!({"destination_storage": none, "message_age": none})
}

/// Sets one of the two; `null` takes it away.
pub(crate) fn set_quota(
    record: &mut PoliciesRecord,
    level: &Level,
    kind: QuotaKind,
    value: &Value,
) -> Result<(), PolicyError> {
    let mut both = match plain::get(record, KEY) {
        Value::Null => json!({}),
        both => both,
    };
    if let (true, Some(members)) = (value.is_null(), both.as_object_mut()) {
        members.remove(kind.name());
    } else {
        both[kind.name()] = read(value).map_err(|error| {
            let namespace = match level {
                Level::Namespace(namespace) => namespace,
                Level::Topic(topic) => topic.namespace(),
            };
            PolicyError::Malformed(format!(
                "Set namespace[{namespace}] backlog quota failed because the data validation failed. {error}"
            ))
        })?;
    }
    let both = if both == json!({}) { Value::Null } else { both };
    plain::put(record, KEY, &both);
    if !fits(record) {
        let text =
            "Backlog Quota exceeds configured retention quota for namespace. Please increase retention quota and retry";
        return Err(PolicyError::Refused(text.into()));
    }
    Ok(())
}

/// Whether what is kept after it was acknowledged may be more than what may wait.
pub(super) fn fits(record: &PoliciesRecord) -> bool {
    let Some(retention) = record.retention.filter(|retention| 0 < retention.mebibytes) else { return true };
    let size = plain::get(record, KEY)[QuotaKind::Size.name()]["limitSize"].as_i64().unwrap_or(-1);
    size < retention.mebibytes.saturating_mul(1 << 20)
}

#[cfg(test)]
mod tests {
    use proto::records::Retention;

    use super::*;

    /// What Apache Pulsar 4.0.8 stored for these; `None`: it answered 400.
    #[test]
    fn quotas_are_read_as_old_and_new_tools_write_them() {
        let quota = |size, time, policy| json!({"limit": size, "limitSize": size, "limitTime": time, "policy": policy});
        let rows = [
            (json!({"limitSize": 10240, "limitTime": -1, "policy": POLICIES[1]}), Some(quota(10240, -1, POLICIES[1]))),
            (json!({"limit": "10240", "policy": POLICIES[0]}), Some(quota(10240, 0, POLICIES[0]))),
            (json!({"limitTime": 10, "policy": POLICIES[2]}), Some(quota(0, 10, POLICIES[2]))),
            (json!({"policy": "bad", "limitSize": 1}), None),
            (json!({"limitSize": 5}), None),
            (json!({"limitSize": 1e20, "policy": POLICIES[0]}), None),
        ];
        for (given, expected) in rows {
            assert_eq!(read(&given).ok(), expected, "{given}");
        }
    }

    #[test]
    fn one_goes_and_the_other_stays_and_none_exceeds_the_retention() {
        let level = Level::Namespace("a/b".parse().unwrap());
        let mut record = PoliciesRecord::default();
        let quota = |size: i64| json!({"limitSize": size, "policy": POLICIES[1]});
        set_quota(&mut record, &level, QuotaKind::Size, &quota(5)).unwrap();
        set_quota(&mut record, &level, QuotaKind::Age, &quota(6)).unwrap();
        set_quota(&mut record, &level, QuotaKind::Size, &Value::Null).unwrap();
        assert_eq!(plain::get(&record, KEY)["message_age"]["limitSize"], json!(6));
        assert_eq!(plain::get(&record, KEY).as_object().unwrap().len(), 1);
        set_quota(&mut record, &level, QuotaKind::Age, &Value::Null).unwrap();
        assert_eq!(record, PoliciesRecord::default());
        record.retention = Some(Retention { minutes: 1, mebibytes: 2 });
        assert!(set_quota(&mut record.clone(), &level, QuotaKind::Size, &quota(2 << 20)).is_err());
        assert!(set_quota(&mut record, &level, QuotaKind::Size, &quota(1 << 20)).is_ok());
    }
}
