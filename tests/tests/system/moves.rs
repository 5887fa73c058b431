//! Bundles that move while their topics are used: a small version of `geminga-check moves`.
use std::time::Duration;

use tests::moves::{MovesRun, move_under_load};

use crate::directory;

/// The goal is 200 ms on a quiet machine; here others may build meanwhile. A client that is not told where to go waits for 100 ms alone.
const GAP_MAX: Duration = Duration::from_millis(1000);

#[tokio::test]
async fn planned_moves_and_drains_lose_nothing_change_no_order_and_are_short() {
    let place = directory();
    let run = MovesRun { moves: 12, drains: 2, topics: 4, seed: 12, directory: place.path().into() };
    let report = Box::pin(move_under_load(&run)).await.expect("the bundle is served throughout");
    println!("{report}");
    assert_eq!((report.lost, report.misordered), (0, 0), "{report}");
    assert_eq!((report.named.len(), report.unnamed.len(), report.drained.len()), (32, 16, 8));
    assert!(report.p99() <= GAP_MAX, "{report}");
}
