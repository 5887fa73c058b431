//! Whether a process is well, and whether it will serve: two questions with their reasons.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

/// What is known, in named checks. Cheap to clone; whoever sees a part fail says so here.
///
/// A mutex and no task: every call is one small change of a map, and reports come from threads as well as tasks.
#[derive(Debug, Clone)]
pub struct Health {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// Why each check fails; `None` when it does not.
    checks: BTreeMap<&'static str, Option<String>>,
    /// Why requests will not be served; `None` when they will.
    not_ready: Option<String>,
}

impl Default for Health {
    fn default() -> Self {
        let state = State { checks: BTreeMap::new(), not_ready: Some("starting".into()) };
        Self { state: Arc::new(Mutex::new(state)) }
    }
}

impl Health {
    /// Nothing checked yet, and not ready because it is starting.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The check `name` passes.
    pub fn ok(&self, name: &'static str) {
        self.with(|state| state.checks.insert(name, None));
    }

    /// The check `name` fails: what and where, for people.
    pub fn failing(&self, name: &'static str, reason: impl Into<String>) {
        self.with(|state| state.checks.insert(name, Some(reason.into())));
    }

    /// Requests will be served from now on.
    pub fn ready(&self) {
        self.with(|state| state.not_ready = None);
    }

    /// Requests will not be served.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.with(|state| state.not_ready = Some(reason.into()));
    }

    /// Whether requests will be served.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.with(|state| state.not_ready.is_none())
    }

    /// Whether no check fails, and all of them as JSON.
    pub(crate) fn health(&self) -> (bool, Value) {
        self.with(|state| {
            let check = |reason: &Option<String>| match reason {
                None => json!({"status": "ok"}),
                Some(reason) => json!({"status": "failing", "reason": reason}),
            };
            let well = state.checks.values().all(Option::is_none);
            let checks: BTreeMap<&str, Value> =
                state.checks.iter().map(|(name, reason)| (*name, check(reason))).collect();
            (well, json!({"status": if well { "ok" } else { "failing" }, "checks": checks}))
        })
    }

    /// Whether requests will be served, and if not, why, as JSON.
    pub(crate) fn readiness(&self) -> (bool, Value) {
        self.with(|state| match &state.not_ready {
            None => (true, json!({"ready": true})),
            Some(reason) => {
                let checks = state.checks.iter().filter_map(|(name, why)| Some(format!("{name}: {}", why.as_ref()?)));
                let reasons: Vec<String> = std::iter::once(reason.clone()).chain(checks).collect();
                (false, json!({"ready": false, "reasons": reasons}))
            }
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner)) // A map is whole after every step.
    }
}
