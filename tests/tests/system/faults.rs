//! Small versions of `geminga-check faults`: a cluster keeps its promises whatever happens to one of its processes or to the network.
use std::time::Duration;

use tests::cluster::networks;
use tests::faults::{Fault, FaultsRun, Row, strike};

use crate::directory;

/// Longer than a broker is waited for (5 s after a lease of 2 s), so that another takes over.
const PAUSE: Duration = Duration::from_secs(12);

async fn rows(faults: &[Fault]) -> Vec<Row> {
    let place = directory();
    let directory = place.path().into();
    let run = FaultsRun { faults: faults.to_vec(), pause: PAUSE, etcd_pause: PAUSE, moves: 20, seed: 5, directory };
    let report = strike(&run).await.expect("the topic is served again after each fault");
    assert_eq!(report.faults(), 0, "promises were not kept: {report:?}");
    assert_eq!(report.rows.len(), faults.len());
    report.rows
}

/// A bookie that is killed with exactly three, a broker that is killed, and all restarted one after the other.
#[tokio::test]
async fn processes_that_end_lose_nothing() {
    let rows = rows(&[Fault::BookieKilled, Fault::BrokerKilled, Fault::RollingRestart]).await;
    // The goals are 1 s and 3 s on a machine that does nothing else.
    assert!(rows.iter().all(|row| row.gap < Duration::from_secs(10)), "{rows:?}");
}

/// An owner that stands still and wakes up after another has taken over confirms nothing any more.
#[tokio::test]
async fn a_broker_that_wakes_up_confirms_nothing_that_its_successor_does_not_have() {
    let rows = rows(&[Fault::BookieStandsStill, Fault::BrokerStandsStill]).await;
    assert_eq!(rows[1].more.late_receipts, Some(0));
}

/// Goal: topics that are loaded are served as if nothing had happened while etcd is away.
#[tokio::test]
async fn loaded_topics_are_served_while_etcd_is_away() {
    let rows = rows(&[Fault::EtcdLeaderKilled, Fault::EtcdStopped]).await;
    assert!(rows.iter().all(|row| 90.0 < row.served()), "{rows:?}");
}

#[tokio::test]
async fn a_bundle_that_moves_again_and_again_loses_nothing() {
    let rows = rows(&[Fault::Moves]).await;
    assert_eq!(rows[0].more.gaps.len(), 20);
}

/// Needs root; the summary of `tests/run` says so where it does not run.
#[tokio::test]
async fn networks_that_are_cut_lose_nothing() {
    let Some(_) = networks().or_say_so() else { return };
    let rows = rows(&[Fault::BookieDeaf, Fault::BrokerCutOff, Fault::Bridge]).await;
    assert_eq!(rows[1].more.late_receipts, Some(0));
}
