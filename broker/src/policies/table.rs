//! All policies: one row each. Pages, the JSON of a namespace and what is refused follow from it.
use proto::records::PoliciesRecord;
use serde_json::{Map, Value, json};

use super::lenient::{LONG, truth};
use super::{Effective, PolicyError, offload, retention};

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
enum Member {
    /// Shown, and taken when a namespace is made.
    Shown(&'static str),
    /// Only taken, because tools still send it. -1 is what they send for nothing.
    Older(&'static str),
}

impl Member {
    fn name(self) -> &'static str {
        match self {
            Self::Shown(name) | Self::Older(name) => name,
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
    member: Member,
    /// Reads a value, refuses what is impossible, and notes it. `null` may mean a value or none.
    set: fn(&mut PoliciesRecord, &Value) -> Result<(), PolicyError>,
    /// What besides is refused when a page changes a policy.
    check: fn(&PoliciesRecord) -> Result<(), PolicyError>,
    clear: fn(&mut PoliciesRecord),
    /// As its page shows it. `Null`: not set.
    show: fn(&PoliciesRecord) -> Value,
    /// As it counts for a topic.
    show_applied: fn(&Effective) -> Value,
}

impl Policy {
    /// Notes what a page was sent.
    pub(crate) fn set(&self, record: &mut PoliciesRecord, value: &Value) -> Result<(), PolicyError> {
        (self.set)(record, value)?;
        (self.check)(record)
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

const USUAL: LevelPage =
    LevelPage { verb: Verb::Post, done: 204, remove_at: None, body_optional: true, missing: Missing::Namespace };

const THRESHOLD: LevelPage =
    LevelPage { verb: Verb::Put, done: 204, remove_at: None, body_optional: false, missing: Missing::Namespace };

fn nothing_more(_: &PoliciesRecord) -> Result<(), PolicyError> {
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

/// Deduplication has a page of another name at each level.
const DEDUPLICATION: Policy = Policy {
    page: "deduplication",
    of_namespace: None,
    of_topic: None,
    member: Member::Older("deduplicationEnabled"),
    set: |record, value| {
        record.deduplication = truth(value)?;
        Ok(())
    },
    check: nothing_more,
    clear: |record| record.deduplication = None,
    show: |record| record.deduplication.map_or(Value::Null, |set| json!(set)),
    show_applied: |effective| json!(effective.deduplication()),
};

/// In the order in which they are taken from the JSON of a new namespace.
pub(crate) static TABLE: [Policy; 8] = [
    Policy {
        page: "retention",
        of_namespace: Some(LevelPage { remove_at: Some("retention"), missing: Missing::Policies, ..USUAL }),
        of_topic: Some(LevelPage { remove_at: Some("retention"), ..USUAL }),
        member: Member::Shown("retention_policies"),
        set: |record, value| {
            record.retention = if value.is_null() { None } else { Some(retention::read(value)?) };
            Ok(())
        },
        check: nothing_more,
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
        check: |record| record.offload.as_ref().map_or(Ok(()), offload::check),
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
    Policy {
        of_namespace: Some(LevelPage { remove_at: Some("deduplication"), ..USUAL }),
        member: Member::Shown("deduplicationEnabled"),
        ..DEDUPLICATION
    },
    Policy {
        page: "deduplicationEnabled",
        of_topic: Some(LevelPage { remove_at: Some("deduplicationEnabled"), ..USUAL }),
        ..DEDUPLICATION
    },
    Policy {
        page: "encryptionRequired",
        of_namespace: Some(USUAL),
        of_topic: None,
        member: Member::Shown("encryption_required"),
        set: |record, value| {
            record.encryption_required = truth(value)?.filter(|required| *required);
            Ok(())
        },
        check: nothing_more,
        clear: |record| record.encryption_required = None,
        show: |record| json!(record.encryption_required.unwrap_or(false)),
        show_applied: |effective| json!(effective.encryption_required()),
    },
];

/// Larger JSON without a place of its own is not kept.
const UNBUILT_BYTES_MAX: usize = 64 * 1024;

/// What a namespace is made with, under the names of its JSON. What no row knows is kept to be shown.
pub(crate) fn of_new_namespace(mut members: Map<String, Value>) -> Result<PoliciesRecord, PolicyError> {
    let mut record = PoliciesRecord::default();
    for policy in &TABLE {
        let given = members.remove(policy.member.name()).filter(|value| !value.is_null());
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

/// The members that policies add to the JSON of a namespace.
pub(crate) fn shown_of_namespace(record: &PoliciesRecord) -> Map<String, Value> {
    let mut members: Map<String, Value> = serde_json::from_str(&record.unbuilt).unwrap_or_default();
    for policy in &TABLE {
        let value = policy.show(record);
        if let (Member::Shown(name), false) = (policy.member, value.is_null()) {
            members.insert(name.into(), value);
        }
    }
    members
}
