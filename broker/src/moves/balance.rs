//! Which bundles should go where, and why, as a value without I/O.
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::ownership::Bundle;

/// How often loads are looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A broker that carries so much more than the mean is too busy,
const TOO_BUSY: f64 = 1.25;
/// and one that carries so much less has too little to do.
const TOO_IDLE: f64 = 0.75;
/// At so many looks in a row, before anything is moved.
const LOOKS: u32 = 6;
/// Of what is moved: by how much the larger of the two loads must become smaller. What is left is too little for a move back.
const GAIN_MIN: f64 = 0.5;
/// A bundle that was moved stays for so long.
const STAYS: Duration = Duration::from_secs(600);
/// Where a bundle has just arrived, its counters begin anew: what it weighed elsewhere counts.
const ARRIVING: Duration = Duration::from_secs(60);
/// The share of the newest look in a weight.
const NEWEST: f64 = 0.3;

/// What one bundle carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BundleLoad {
    /// `tenant/namespace/range`.
    pub(crate) bundle: String,
    /// Loaded topics.
    pub(crate) topics: u64,
    /// Per second, in and out.
    pub(crate) messages: f64,
    /// Per second, in and out.
    pub(crate) bytes: f64,
}

impl BundleLoad {
    fn weight(&self) -> f64 {
        1.0 + self.topics as f64 + self.messages / 10.0 + self.bytes / 10_240.0
    }
}

/// A bundle that should go, and why.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Proposal {
    pub(crate) bundle: Bundle,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) reason: String,
}

#[derive(Debug)]
struct Weight {
    broker: String,
    since: Option<Instant>, // When it came there, if it came from elsewhere.
    value: f64,
}

/// Remembers what was seen and moved.
#[derive(Debug)]
pub(crate) struct Balance {
    moves_per_min: u32,
    weights: HashMap<Bundle, Weight>,
    /// Looks in a row at which something should have been moved.
    uneven: u32,
    moved: HashMap<Bundle, Instant>,
    recent: VecDeque<Instant>,
}

type Carried = BTreeMap<String, (f64, Vec<(Bundle, f64)>)>;

impl Balance {
    /// Moves nothing when `moves_per_min` is 0.
    pub(crate) fn new(moves_per_min: u32) -> Self {
        Self { moves_per_min, weights: HashMap::new(), uneven: 0, moved: HashMap::new(), recent: VecDeque::new() }
    }

    /// What each broker carries, as of the last look.
    pub(crate) fn loads(&self, brokers: impl Iterator<Item = String>) -> BTreeMap<String, f64> {
        let mut loads: BTreeMap<String, f64> = brokers.map(|broker| (broker, 0.0)).collect();
        for weight in self.weights.values() {
            *loads.entry(weight.broker.clone()).or_default() += weight.value;
        }
        loads
    }

    /// What should be moved now that all brokers, with their bundles, are seen like this.
    pub(crate) fn look(&mut self, brokers: &[(String, Vec<BundleLoad>)], now: Instant) -> Vec<Proposal> {
        let mut carried = self.weigh(brokers, now);
        self.recent.retain(|moved| now < *moved + Duration::from_secs(60));
        self.moved.retain(|_, moved| now < *moved + STAYS);
        let Some(first) = self.propose(&carried) else {
            self.uneven = 0;
            return Vec::new();
        };
        self.uneven += 1;
        if self.uneven < LOOKS {
            return Vec::new();
        }
        let left = (self.moves_per_min as usize).saturating_sub(self.recent.len());
        let looks_per_min = (60 / LOOK_EVERY.as_secs()) as usize;
        let at_once = left.min((self.moves_per_min as usize).div_ceil(looks_per_min));
        let (mut proposals, mut next) = (Vec::new(), Some(first));
        while let Some(proposal) = next.filter(|_| proposals.len() < at_once) {
            self.moved.insert(proposal.bundle.clone(), now);
            self.recent.push_back(now);
            apply(&mut carried, &proposal);
            proposals.push(proposal);
            next = self.propose(&carried);
        }
        proposals
    }

    fn weigh(&mut self, brokers: &[(String, Vec<BundleLoad>)], now: Instant) -> Carried {
        let mut before = std::mem::take(&mut self.weights);
        for (broker, loads) in brokers {
            for load in loads {
                let Ok(bundle) = load.bundle.parse::<Bundle>() else { continue };
                let newest = load.weight();
                let weight = match before.remove(&bundle) {
                    None => Weight { broker: broker.clone(), since: None, value: newest },
                    Some(known) => {
                        let since = if known.broker == *broker { known.since } else { Some(now) };
                        let arriving = since.is_some_and(|since| now < since + ARRIVING);
                        let smooth = known.value + (newest - known.value) * NEWEST;
                        let value = if arriving { known.value.max(smooth) } else { smooth };
                        Weight { broker: broker.clone(), since, value }
                    }
                };
                self.weights.insert(bundle, weight);
            }
        }
        let mut carried: Carried = brokers.iter().map(|(broker, _)| (broker.clone(), (0.0, Vec::new()))).collect();
        for (bundle, weight) in &self.weights {
            let (load, bundles) = carried.entry(weight.broker.clone()).or_default();
            *load += weight.value;
            bundles.push((bundle.clone(), weight.value));
        }
        carried
    }

    /// The move that gains most, from the busiest broker that has one to gain from.
    fn propose(&self, carried: &Carried) -> Option<Proposal> {
        let total: f64 = carried.values().map(|(load, _)| load).sum();
        let mean = total / carried.len().max(1) as f64;
        let (to, (idle, _)) = carried.iter().min_by(|a, b| a.1.0.total_cmp(&b.1.0))?;
        let limit = if *idle < mean * TOO_IDLE { mean } else { mean * TOO_BUSY };
        let mut busy: Vec<_> = carried.iter().filter(|(_, (load, _))| limit < *load).collect();
        busy.sort_by(|a, b| b.1.0.total_cmp(&a.1.0));
        busy.into_iter().find_map(|(from, (load, bundles))| {
            let gain = |weight: f64| load - (load - weight).max(idle + weight);
            let free = bundles.iter().filter(|(bundle, _)| !self.moved.contains_key(bundle));
            let best = free.max_by(|a, b| gain(a.1).total_cmp(&gain(b.1)).then_with(|| b.0.cmp(&a.0)));
            let (bundle, weight) = best.filter(|(_, weight)| weight * GAIN_MIN <= gain(*weight))?;
            let percent = load / mean * 100.0;
            let reason = format!(
                "{from} carries {load:.0}, {percent:.0} % of the mean {mean:.0}; {to} carries {idle:.0}; this bundle {weight:.0}"
            );
            Some(Proposal { bundle: bundle.clone(), from: from.clone(), to: to.clone(), reason })
        })
    }
}

fn apply(carried: &mut Carried, proposal: &Proposal) {
    let Some((load, bundles)) = carried.get_mut(&proposal.from) else { return };
    let Some(at) = bundles.iter().position(|(bundle, _)| *bundle == proposal.bundle) else { return };
    let (bundle, weight) = bundles.swap_remove(at);
    *load -= weight;
    if let Some((load, bundles)) = carried.get_mut(&proposal.to) {
        *load += weight;
        bundles.push((bundle, weight));
    }
}

#[cfg(test)]
mod tests;
