//! What giving space back costs, on a real disk and small.
use std::time::Duration;

use tests::space::{SpaceRun, measure};

use crate::directory;

#[tokio::test]
async fn used_files_cost_no_zeros_and_sorted_ledgers_are_read_by_themselves() {
    let place = directory();
    let run = SpaceRun {
        flood_bytes: 12 << 20,
        segment_bytes: 4 << 20,
        ledgers: 64,
        entries: 256,
        readers: 8,
        rewrite_after: Duration::from_secs(1),
        directory: place.path().join("bookie"),
    };
    let report = measure(&run).await.expect("measured");
    assert!(report.keeps_its_goals(), "{report}");
}
