//! All policies: one row each. Pages, the JSON of a namespace and what is refused follow from it.
use proto::records::PoliciesRecord;
use serde_json::{Map, Value, json};

use super::lenient::LONG;
use super::{Effective, OfBroker, PolicyError, offload, quotas, retention, rows};

/// How a page is asked to change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// As most are.
    Post,
    /// As the older ones are.
    Put,
}

/// The page of a policy at one level.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LevelPage {
    /// That sets it.
    pub(crate) verb: Verb,
    /// The status once it is set.
    pub(crate) done: u16,
    /// Where a DELETE removes it.
    pub(crate) remove_at: Option<&'static str>,
    /// Whether no body at all is taken, like `null`.
    pub(crate) body_optional: bool,
    /// The text of a change when there is no such namespace.
    pub(crate) missing: Missing,
    /// What is shown while nothing is set.
    pub(crate) unset: Unset,
    /// The parameter of the request that holds the value, where it is not the body.
    pub(crate) parameter: Option<&'static str>,
}

/// What a page shows while nothing is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unset {
    /// An empty answer, with 200.
    Empty,
    /// The same with 204.
    NoContent,
    /// JSON.
    Json(&'static str),
}

/// What is said when a policy of no namespace is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// By some pages.
    Namespace,
    /// By others.
    Policies,
}

impl Missing {
    /// In Apache Pulsar's words.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace does not exist",
            Self::Policies => "Namespace policies does not exist",
        }
    }
}

/// Where a policy stands in the JSON of a namespace.
#[derive(Debug, Clone, Copy)]
pub(super) enum Member {
    /// Shown, and taken when a namespace is made.
    Shown(&'static str),
    /// The same, below the name of each cluster.
    ByCluster(&'static str),
    /// Nowhere.
    Apart,
    /// Only taken, because tools still send it. -1 is what they send for nothing.
    Older(&'static str),
}

impl Member {
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Shown(name) | Self::ByCluster(name) | Self::Older(name) => Some(name),
            Self::Apart => None,
        }
    }
}

/// One policy.
pub(crate) struct Policy {
    /// The last part of its page, at whichever level it has one.
    pub(crate) page: &'static str,
    /// Of a namespace.
    pub(crate) of_namespace: Option<LevelPage>,
    /// Of a topic.
    pub(crate) of_topic: Option<LevelPage>,
    pub(super) member: Member,
    /// Reads a value, refuses what is impossible, and notes it. `null` may mean a value or none.
    pub(super) set: fn(&mut PoliciesRecord, &Value) -> Result<(), PolicyError>,
    /// What besides is refused when a page changes a policy.
    pub(super) check: fn(&PoliciesRecord, OfBroker) -> Result<(), PolicyError>,
    pub(super) clear: fn(&mut PoliciesRecord),
    /// As its page shows it. `Null`: not set.
    pub(super) show: fn(&PoliciesRecord) -> Value,
    /// As it counts for a topic.
    pub(super) show_applied: fn(&Effective) -> Value,
}

impl Policy {
    /// Notes what a page was sent.
    pub(crate) fn set(
        &self,
        record: &mut PoliciesRecord,
        value: &Value,
        of_broker: OfBroker,
    ) -> Result<(), PolicyError> {
        (self.set)(record, value)?;
        (self.check)(record, of_broker)
    }

    /// Leaves it to the level above.
    pub(crate) fn clear(&self, record: &mut PoliciesRecord) {
        (self.clear)(record);
    }

    /// As its page shows it. `Null`: not set.
    pub(crate) fn show(&self, record: &PoliciesRecord) -> Value {
        (self.show)(record)
    }

    /// As it counts for a topic. `Null`: nothing does.
    pub(crate) fn show_applied(&self, effective: &Effective) -> Value {
        (self.show_applied)(effective)
    }
}

pub(super) const USUAL: LevelPage = LevelPage {
    verb: Verb::Post,
    done: 204,
    remove_at: None,
    body_optional: true,
    missing: Missing::Namespace,
    unset: Unset::Empty,
    parameter: None,
};

const THRESHOLD: LevelPage = LevelPage { verb: Verb::Put, body_optional: false, ..USUAL };

pub(super) fn nothing_more(_: &PoliciesRecord, _: OfBroker) -> Result<(), PolicyError> {
    Ok(())
}

/// A number within the offload policy that has a page of its own; `$unset` is shown when it is not set.
macro_rules! offload_number {
    ($page:literal, $member:literal, $field:ident, $of_namespace:expr, $unset:expr) => {
        Policy {
            page: $page,
            of_namespace: Some($of_namespace),
            of_topic: None,
            member: Member::Older($member),
            set: |record, value| {
                record.offload.get_or_insert_default().$field = Some(LONG.read(value)?.unwrap_or_default());
                Ok(())
            },
            check: nothing_more,
            clear: |record| {
                if let Some(offload) = &mut record.offload {
                    offload.$field = None;
                }
            },
            show: |record| record.offload.as_ref().and_then(|offload| offload.$field).map_or($unset, |set| json!(set)),
            show_applied: |effective| {
                effective.offload().and_then(|offload| offload.$field).map_or($unset, |set| json!(set))
            },
        }
    };
}

/// All policies, in the order in which they are taken from the JSON of a new namespace.
pub(crate) fn table() -> impl Iterator<Item = &'static Policy> {
    WITH_FIELDS.iter().chain(&rows::PLAIN).chain(&rows::APART)
}

/// Those with more to them than a value.
static WITH_FIELDS: [Policy; 5] = [
    Policy {
        page: "retention",
        of_namespace: Some(LevelPage { remove_at: Some("retention"), missing: Missing::Policies, ..USUAL }),
        of_topic: Some(LevelPage { remove_at: Some("retention"), ..USUAL }),
        member: Member::Shown("retention_policies"),
        set: |record, value| {
            record.retention = if value.is_null() { None } else { Some(retention::read(value)?) };
            Ok(())
        },
        check: |record, _| {
            let text = "Retention Quota must exceed configured backlog quota for namespace.";
            if quotas::fits(record) { Ok(()) } else { Err(PolicyError::Refused(text.into())) }
        },
        clear: |record| record.retention = None,
        show: |record| record.retention.as_ref().map_or(Value::Null, retention::show),
        show_applied: |effective| retention::show(&effective.retention_record()),
    },
    Policy {
        page: "offloadPolicies",
        of_namespace: Some(LevelPage { remove_at: Some("removeOffloadPolicies"), ..USUAL }),
        of_topic: Some(LevelPage { remove_at: Some("offloadPolicies"), ..USUAL }),
        member: Member::Shown("offload_policies"),
        set: |record, value| {
            if value.is_null() {
                let text = "The offloadPolicies must be specified for namespace offload.";
                return Err(PolicyError::Refused(text.into()));
            }
            let policy = offload::read(value)?;
            offload::check_endpoint(&policy)?;
            record.offload = Some(policy);
            Ok(())
        },
        check: |record, _| record.offload.as_ref().map_or(Ok(()), offload::check),
        clear: |record| record.offload = None,
        show: |record| record.offload.as_ref().map_or(Value::Null, offload::show),
        show_applied: |effective| effective.offload().as_ref().map_or(Value::Null, offload::show),
    },
    offload_number!("offloadThreshold", "offload_threshold", threshold_bytes, THRESHOLD, json!(-1)),
    offload_number!(
        "offloadThresholdInSeconds",
        "offload_threshold_in_seconds",
        threshold_seconds,
        LevelPage { done: 200, ..THRESHOLD },
        json!(-1)
    ),
    offload_number!(
        "offloadDeletionLagMs",
        "offload_deletion_lag_ms",
        deletion_lag_ms,
        LevelPage { remove_at: Some("offloadDeletionLagMs"), ..THRESHOLD },
        Value::Null
    ),
];

/// Larger JSON without a place of its own is not kept.
const UNBUILT_BYTES_MAX: usize = 64 * 1024;

/// What a namespace is made with, under the names of its JSON. What no row knows is kept to be shown.
pub(crate) fn of_new_namespace(mut members: Map<String, Value>) -> Result<PoliciesRecord, PolicyError> {
    let mut record = PoliciesRecord::default();
    for policy in table() {
        let given = policy.member.name().and_then(|name| members.remove(name)).filter(|value| !value.is_null());
        let given = match (policy.member, given) {
            (Member::ByCluster(_), Some(by_cluster)) => {
                by_cluster.as_object().and_then(|all| all.values().next().cloned())
            }
            (_, given) => given,
        };
        let nothing = |value: &Value| matches!(policy.member, Member::Older(_)) && *value == json!(-1);
        if let Some(value) = given.filter(|value| !nothing(value)) {
            (policy.set)(&mut record, &value)?;
        }
    }
    members.retain(|_, value| !value.is_null());
    if !members.is_empty() {
        record.unbuilt = Value::Object(members).to_string();
    }
    if UNBUILT_BYTES_MAX < record.unbuilt.len() {
        return Err(PolicyError::Malformed(format!("policies of more than {UNBUILT_BYTES_MAX} bytes")));
    }
    Ok(record)
}

/// The members that policies add to the JSON of a namespace in `cluster`.
pub(crate) fn shown_of_namespace(record: &PoliciesRecord, cluster: &str) -> Map<String, Value> {
    let mut members: Map<String, Value> = serde_json::from_str(&record.unbuilt).unwrap_or_default();
    for policy in table() {
        let value = policy.show(record);
        match policy.member {
            Member::Shown(name) if !value.is_null() => drop(members.insert(name.into(), value)),
            Member::ByCluster(name) if !value.is_null() => drop(members.insert(name.into(), json!({cluster: value}))),
            Member::Shown(_) | Member::ByCluster(_) | Member::Older(_) | Member::Apart => {}
        }
    }
    members
}
