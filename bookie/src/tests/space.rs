//! Tests of giving space back, on the model disk.
mod crash_points;
mod damage;
mod drops;
mod locks;
mod mixes;
mod reads;
mod recycling;
mod rewrites;

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
/// After so long all that can be rewritten is.
const LONG: Duration = Duration::from_secs(11 * 60);

/// Lets the time pass and all work be done that comes up meanwhile.
pub(super) fn pass_time(store: &mut Store, clock: &mut Duration, time: Duration) {
    let until = *clock + time;
    while *clock < until {
        if !store.turn() && !store.give_back(*clock) {
            *clock += SECOND;
        }
    }
}

/// Names of the files of a kind.
pub(super) fn files(disk: &SimDisk, kind: &str) -> Vec<String> {
    disk.list().unwrap().into_iter().filter(|name| name.starts_with(kind)).collect()
}

/// Adds entries `range` to each of the ledgers in turn, one per batch, and lets the keeper work.
pub(super) fn fill(store: &mut Store, ledgers: &[u64], range: std::ops::Range<u64>, size: usize) {
    for entry in range {
        for ledger in ledgers {
            assert_eq!(status(store, add(1, *ledger, entry, size)), Status::Ok);
            while store.turn() {}
        }
    }
}

/// All that can be asked about ledgers: what is held of each, and each entry by itself.
fn answers(store: &mut Store, ledgers: std::ops::Range<u64>, entries: u64) -> BTreeMap<(u64, u64), Answer> {
    let mut all = BTreeMap::new();
    for ledger in ledgers {
        all.insert((ledger, u64::MAX), ask(store, held(1, ledger)));
        for entry in 0..entries {
            all.insert((ledger, entry), ask(store, read(1, ledger, entry, entry + 1)));
        }
    }
    all
}

fn traffic(store: &Store) -> &crate::traffic::Traffic {
    &store.segments.traffic
}
