//! Which bookies a ledger goes to, as functions of what is known of them.
//!
//! Promises: creating is possible whenever enough bookies are known and every write set keeps a live ack quorum; everything else, from
//! suspicion to racks, is preference.
use std::collections::HashMap;

use proto::BookieId;
use rand::Rng;
use rand::rngs::SmallRng;

pub(crate) use self::candidate::{Candidate, Condition};
pub(crate) use self::spread::adheres;
use self::spread::{Label, shortfall};
use crate::quorum::Members;
use crate::{LedgerError, QuorumPolicy};

mod candidate;
mod spread;
#[cfg(test)]
mod tests;

/// The members of a new ensemble, and those of them that are away and so lack entries from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ensemble {
    pub(crate) bookies: Vec<BookieId>,
    pub(crate) away: Members,
    /// Every write set spans as many zones and racks as it could.
    pub(crate) adheres: bool,
}

/// Chooses the members of a new ensemble: the most preferred first, from as many zones and racks as there are, at random by free
/// space otherwise. Bookies that take no writes fill up an ensemble as long as every write set keeps a live ack quorum.
pub(crate) fn choose(
    known: &[Candidate],
    policy: QuorumPolicy,
    random: &mut SmallRng,
) -> Result<Ensemble, LedgerError> {
    let needed = policy.ensemble as usize;
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    if known.len() < needed {
        return Err(LedgerError::TooFewBookies { needed: policy.ensemble, known: count(known.len()) });
    }
    let chosen = pick(known, needed, random);
    let (live, away): (Vec<&Candidate>, Vec<&Candidate>) = chosen.into_iter().partition(|chosen| chosen.is_live());
    let mut ensemble = interleave(live, away, random.random_range(0..needed));
    arrange(&mut ensemble, policy);
    let live: Members = (0..needed).filter(|index| ensemble[*index].is_live()).collect();
    if !policy.can_confirm(live) {
        let live = known.iter().filter(|candidate| candidate.is_live()).count();
        let reasons: Vec<String> = known.iter().filter_map(Candidate::reason).collect();
        let (live, known) = (count(live), count(known.len()));
        return Err(LedgerError::NoLiveQuorum { live, known, needed: policy.ack, reasons: reasons.join("; ") });
    }
    let bookies: Vec<BookieId> = ensemble.iter().map(|candidate| candidate.bookie.clone()).collect();
    let away = (0..needed).filter(|index| !ensemble[*index].is_live()).collect();
    let adheres = adheres(known, policy, &bookies);
    Ok(Ensemble { bookies, away, adheres })
}

/// Smallest first, this is a random order in which more weight comes earlier more often.
fn turn(weight: f64, random: &mut SmallRng) -> f64 {
    -random.random::<f64>().max(f64::MIN_POSITIVE).ln() / weight.max(f64::MIN_POSITIVE)
}

/// What a candidate's free space counts. Where it is not told, as much as the others have on average.
fn weights(candidates: &[&Candidate]) -> Vec<f64> {
    let told: Vec<f64> =
        candidates.iter().filter_map(|candidate| candidate.free_bytes).map(|free| free as f64).collect();
    let average = if told.is_empty() { 1.0 } else { told.iter().sum::<f64>() / told.len() as f64 };
    candidates.iter().map(|candidate| candidate.free_bytes.map_or(average, |free| free as f64)).collect()
}

/// Takes `count`, each time from the zone and the rack that was taken from least.
fn pick<'a>(known: &'a [Candidate], count: usize, random: &mut SmallRng) -> Vec<&'a Candidate> {
    let candidates: Vec<&Candidate> = known.iter().collect();
    let weights = weights(&candidates);
    let mut from: Vec<(&Candidate, f64)> =
        candidates.into_iter().zip(weights).map(|(candidate, weight)| (candidate, turn(weight, random))).collect();
    let (mut zones, mut racks) = (HashMap::new(), HashMap::new());
    let mut chosen = Vec::new();
    while chosen.len() < count {
        let key = |(candidate, turn): &(&'a Candidate, f64)| {
            let Label { zone, rack } = Label::of(&candidate.rack);
            let used = |places: &HashMap<&str, usize>, place| places.get(place).copied().unwrap_or(0);
            (candidate.preference(), used(&zones, zone), used(&racks, rack), *turn)
        };
        let Some(at) = (0..from.len())
            .min_by(|left, right| key(&from[*left]).partial_cmp(&key(&from[*right])).expect("a turn is a number"))
        else {
            break;
        };
        let (candidate, _) = from.swap_remove(at);
        let Label { zone, rack } = Label::of(&candidate.rack);
        *zones.entry(zone).or_default() += 1;
        *racks.entry(rack).or_default() += 1;
        chosen.push(candidate);
    }
    chosen
}

/// Puts those that are away as far from one another as can be, so that no write set has more of them than it must.
fn interleave<'a>(live: Vec<&'a Candidate>, away: Vec<&'a Candidate>, turn: usize) -> Vec<&'a Candidate> {
    let total = live.len() + away.len();
    let (mut live, mut away) = (live.into_iter(), away.into_iter());
    let gaps = away.len();
    let mut ensemble: Vec<&Candidate> = (0..total)
        .filter_map(|at| {
            let is_gap = at * gaps / total != (at + 1) * gaps / total;
            if is_gap { away.next() } else { live.next() }
        })
        .collect();
    ensemble.rotate_left(turn);
    ensemble
}

/// Exchanges seats as long as that spreads some write set more widely.
fn arrange(ensemble: &mut [&Candidate], policy: QuorumPolicy) {
    if policy.write == policy.ensemble {
        return; // There is one write set.
    }
    let score = |ensemble: &[&Candidate]| {
        let live: Members = (0..ensemble.len()).filter(|index| ensemble[*index].is_live()).collect();
        let labels: Vec<Label<'_>> = ensemble.iter().map(|candidate| Label::of(&candidate.rack)).collect();
        (policy.missing(live), shortfall(policy, &labels, &labels))
    };
    let mut best = score(ensemble);
    let mut improved = true;
    while improved && best != (0, (0, 0)) {
        improved = false;
        for (left, right) in (0..ensemble.len()).flat_map(|left| (0..left).map(move |right| (left, right))) {
            ensemble.swap(left, right);
            let now = score(ensemble);
            if now < best {
                (best, improved) = (now, true);
            } else {
                ensemble.swap(left, right);
            }
        }
    }
}

/// Who replaces whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) policy: QuorumPolicy,
    pub(crate) members: &'a [BookieId],
    /// Those whose seats are to be taken.
    pub(crate) out: Members,
    /// Taken before others that are as good: they hold entries already.
    pub(crate) rather: &'a [BookieId],
    /// Never taken.
    pub(crate) never: &'a [BookieId],
    /// Whether one that is suspect is better than none.
    pub(crate) suspects: bool,
}

/// Chooses replacements for as many seats as can be had, each away from the zones and racks of those it shares write sets with.
pub(crate) fn replace(known: &[Candidate], wanted: &Wanted<'_>, random: &mut SmallRng) -> Vec<(usize, BookieId)> {
    let fits = |candidate: &&Candidate| {
        candidate.preference() <= u8::from(wanted.suspects)
            && !wanted.members.contains(&candidate.bookie)
            && !wanted.never.contains(&candidate.bookie)
    };
    let mut spares: Vec<&Candidate> = known.iter().filter(fits).collect();
    let weights = weights(&spares);
    let mut turns: HashMap<&BookieId, f64> = HashMap::new();
    for (spare, weight) in spares.iter().zip(weights) {
        turns.insert(&spare.bookie, turn(weight, random));
    }
    let find = |bookie: &BookieId| known.iter().find(|candidate| candidate.bookie == *bookie);
    let labels = wanted.members.iter().map(|member| find(member).map(|found| Label::of(&found.rack)));
    let mut seats: Vec<Option<Label<'_>>> = labels.collect();
    wanted.out.iter().for_each(|seat| seats[seat] = None);
    let mut replacements = Vec::new();
    for seat in wanted.out.iter() {
        let near: Vec<Label<'_>> = wanted.policy.near(seat).filter_map(|near| seats[near]).collect();
        let key = |spare: &Candidate| {
            let label = Label::of(&spare.rack);
            let zone = near.iter().filter(|other| other.zone == label.zone).count();
            let rack = near.iter().filter(|other| other.rack == label.rack).count();
            let strange = !wanted.rather.contains(&spare.bookie);
            (spare.preference(), strange, zone, rack, turns[&spare.bookie])
        };
        let best = (0..spares.len())
            .min_by(|left, right| key(spares[*left]).partial_cmp(&key(spares[*right])).expect("a turn is a number"));
        let Some(best) = best else { break };
        let spare = spares.swap_remove(best);
        seats[seat] = Some(Label::of(&spare.rack));
        replacements.push((seat, spare.bookie.clone()));
    }
    replacements
}
