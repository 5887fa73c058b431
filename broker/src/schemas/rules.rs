//! Which schemas may follow others, as policies want it.
use serde_json::{Value, json};

use crate::policies::Effective;

/// What a new schema must keep up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    AlwaysIncompatible,
    AlwaysCompatible,
    Backward,
    Forward,
    Full,
    BackwardTransitive,
    ForwardTransitive,
    FullTransitive,
}

/// By the names that policies have today and had before.
const NAMES: [(Strategy, &str, &str); 8] = [
    (Strategy::AlwaysIncompatible, "ALWAYS_INCOMPATIBLE", "AutoUpdateDisabled"),
    (Strategy::AlwaysCompatible, "ALWAYS_COMPATIBLE", "AlwaysCompatible"),
    (Strategy::Backward, "BACKWARD", "Backward"),
    (Strategy::Forward, "FORWARD", "Forward"),
    (Strategy::Full, "FULL", "Full"),
    (Strategy::BackwardTransitive, "BACKWARD_TRANSITIVE", "BackwardTransitive"),
    (Strategy::ForwardTransitive, "FORWARD_TRANSITIVE", "ForwardTransitive"),
    (Strategy::FullTransitive, "FULL_TRANSITIVE", "FullTransitive"),
];

impl Strategy {
    pub(crate) fn name(self) -> &'static str {
        NAMES.iter().find(|(strategy, ..)| *strategy == self).map_or("FULL", |(_, name, _)| name)
    }

    /// UNDEFINED and what is not known are left to the next that has a say.
    fn named(value: &Value) -> Option<Self> {
        let value = value.as_str()?;
        NAMES.iter().find(|(_, name, older)| [*name, *older].contains(&value)).map(|(strategy, ..)| *strategy)
    }

    /// Whether all versions count, not only the latest.
    pub(super) fn is_transitive(self) -> bool {
        matches!(self, Self::BackwardTransitive | Self::ForwardTransitive | Self::FullTransitive)
    }

    /// Whether the new schema reads what was written with those before it.
    pub(super) fn looks_back(self) -> bool {
        matches!(self, Self::Backward | Self::BackwardTransitive | Self::Full | Self::FullTransitive)
    }

    /// Whether those before it read what is written with the new schema.
    pub(super) fn looks_forward(self) -> bool {
        matches!(self, Self::Forward | Self::ForwardTransitive | Self::Full | Self::FullTransitive)
    }
}

/// What counts for the schemas of one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) strategy: Strategy,
    /// Whether clients may add schemas.
    pub(crate) clients_add: bool,
    /// Whether a topic that has a schema takes no producers without one.
    pub(crate) enforced: bool,
}

impl Rules {
    pub(crate) fn of(policies: &Effective) -> Self {
        let [topic, namespace] = policies.plain_of_levels("schema_compatibility_strategy");
        let strategy = Strategy::named(&topic)
            .or_else(|| Strategy::named(&namespace))
            .or_else(|| Strategy::named(&policies.plain("schema_auto_update_compatibility_strategy")));
        Self {
            strategy: strategy.unwrap_or(Strategy::Full),
            clients_add: policies.plain("is_allow_auto_update_schema") != json!(false),
            enforced: policies.plain("schema_validation_enforced") == json!(true),
        }
    }
}
