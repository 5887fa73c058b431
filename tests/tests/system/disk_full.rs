//! Disks that become full.
use tests::disk_full::{DiskFullRun, fill_disks, obstacle};

use crate::directory;

async fn run(cluster: bool, to_the_last_block: bool) {
    if let Some(obstacle) = obstacle() {
        println!("full disks are not tested here: {obstacle}");
        return;
    }
    let place = directory();
    let run = DiskFullRun { cluster, disk_mib: 200, to_the_last_block, directory: place.path().into() };
    let report = Box::pin(fill_disks(&run)).await.expect("it goes on by itself");
    println!("{report}");
    assert_eq!(report.lost, 0, "{report}");
    assert!(0 < report.read_while_full && report.read_while_full < report.kept, "{report}");
}

/// Goal: a full disk loses nothing acknowledged, is read meanwhile, and is left by deleting topics, with no human step.
#[tokio::test]
async fn a_standalone_server_outlives_its_full_disk() {
    run(false, false).await;
}

/// The same when another program takes the last block.
#[tokio::test]
async fn a_standalone_server_outlives_a_disk_that_somebody_else_has_filled() {
    run(false, true).await;
}

/// The same with three bookies, all of them full.
#[tokio::test]
async fn a_cluster_outlives_its_full_disks() {
    run(true, false).await;
}
