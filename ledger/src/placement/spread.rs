//! Zones and racks: how widely write sets are spread over them.
use proto::BookieId;

use super::Candidate;
use crate::QuorumPolicy;

/// Where a bookie stands, by what its `rack` says: `/zone/rack`, or one word for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label<'a> {
    pub(super) zone: &'a str,
    /// With its zone.
    pub(super) rack: &'a str,
}

impl<'a> Label<'a> {
    pub(super) fn of(rack: &'a str) -> Self {
        let rack = rack.trim_matches('/');
        Self { zone: rack.split('/').next().unwrap_or(rack), rack }
    }
}

fn distinct<'a>(places: impl Iterator<Item = &'a str>) -> usize {
    let mut places: Vec<&str> = places.collect();
    places.sort_unstable();
    places.dedup();
    places.len()
}

/// How many zones and how many racks are missing, over all write sets of `ensemble`, compared with the most that bookies standing at
/// `all` could span.
pub(super) fn shortfall(policy: QuorumPolicy, ensemble: &[Label<'_>], all: &[Label<'_>]) -> (usize, usize) {
    let most = |places: usize| places.min(policy.write as usize);
    let zones = most(distinct(all.iter().map(|label| label.zone)));
    let racks = most(distinct(all.iter().map(|label| label.rack)));
    let mut missing = (0, 0);
    for set in policy.write_sets() {
        missing.0 += zones.saturating_sub(distinct(set.iter().map(|seat| ensemble[seat].zone)));
        missing.1 += racks.saturating_sub(distinct(set.iter().map(|seat| ensemble[seat].rack)));
    }
    missing
}

/// Whether every write set spans as many zones and racks as the cluster allows.
pub(crate) fn adheres(known: &[Candidate], policy: QuorumPolicy, bookies: &[BookieId]) -> bool {
    let all: Vec<Label<'_>> = known.iter().map(|candidate| Label::of(&candidate.rack)).collect();
    let label = |bookie: &BookieId| {
        let found = known.iter().find(|candidate| candidate.bookie == *bookie);
        found.map_or(Label::of(""), |found| Label::of(&found.rack))
    };
    let ensemble: Vec<Label<'_>> = bookies.iter().map(label).collect();
    shortfall(policy, &ensemble, &all) == (0, 0)
}
