//! Small versions of the checks: the same code as `geminga-check` runs at full size.
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tests::backlog::{BacklogRun, fill_and_read_back};
use tests::cluster::Servers;
use tests::crash::{ClusterRun, Keeping, Report, StandaloneRun, crash_cluster, crash_standalone};
use tests::delayed::{DelayedRun, deliver_in_time};
use tests::fan_out::{FanOutRun, keep_up};
use tests::holes::{HolesRun, keep_holes};
use tests::lines::{LinesRun, round_trip};

use crate::directory;

/// Printed with each report. Change it to see other moments; `geminga-check` draws one for each run.
const SEED: u64 = 20;

fn holds(report: &Report) {
    println!("{report}");
    assert_eq!(report.faults(), 0, "promises were not kept:\n{report}");
    assert!(100 < report.acknowledged && 0 < report.acks, "nothing was promised, so nothing was shown:\n{report}");
}

#[tokio::test]
async fn nothing_is_lost_when_standalone_is_killed() {
    let place = directory();
    let run = StandaloneRun { times: 3, keeping: Keeping::Everything, seed: SEED, directory: place.path().into() };
    let report = crash_standalone(&run).await.expect("it starts again each time");
    holds(&report);
    assert_eq!(report.restarts, 3);
}

#[tokio::test]
async fn nothing_that_is_needed_is_lost_when_standalone_is_killed_while_consumed_ledgers_leave() {
    let place = directory();
    let run = StandaloneRun { times: 4, keeping: Keeping::WhatIsNeeded, seed: SEED, directory: place.path().into() };
    let report = crash_standalone(&run).await.expect("it starts again each time");
    holds(&report);
    assert!(report.found < report.acknowledged, "nothing left, so nothing was shown:\n{report}");
}

#[tokio::test]
async fn nothing_is_lost_when_a_bookie_or_a_broker_is_killed_or_a_bundle_moves() {
    let place = directory();
    let run = ClusterRun {
        bookie_kills: 1,
        broker_kills: 1,
        moves: 2,
        ledger_entries_max: 200,
        keeping: Keeping::Everything,
        seed: SEED,
        directory: place.path().into(),
    };
    let report = Box::pin(crash_cluster(&run)).await.expect("the cluster serves throughout");
    holds(&report);
    assert_eq!(report.restarts, 2);
}

/// The last kill comes in any case: one more came in between.
async fn holes_outlive_kills(messages: usize, kill_every: Duration, by_position: bool) {
    let place = directory();
    let run = HolesRun {
        messages,
        holes: messages / 10,
        kill_every,
        by_position,
        seed: SEED,
        directory: place.path().into(),
    };
    let report = Box::pin(keep_holes(&run)).await.expect("it starts again each time");
    println!("{report}");
    assert_eq!(report.faults(), 0, "promises were not kept:\n{report}");
    assert!(messages / 11 < report.holes && 0 < report.receipts && 0 < report.plain && 1 < report.kills, "{report}");
}

#[tokio::test]
async fn holes_between_acknowledgements_outlive_kills() {
    holes_outlive_kills(100_000, Duration::from_millis(250), false).await;
}

#[tokio::test]
async fn holes_between_acknowledgements_of_what_was_not_delivered_outlive_kills() {
    holes_outlive_kills(300_000, Duration::from_millis(100), true).await;
}

/// The ratios are printed; what is asserted is that the slow one is slow and that nobody misses anything: a machine that tests at the same
/// time makes any latency long.
#[tokio::test]
async fn no_subscription_waits_for_a_slow_one() {
    let place = directory();
    let (rounds, phase, directory) = (2, Duration::from_secs(1), place.path().into());
    let run = FanOutRun { subscriptions: 100, rate: 50, rounds, phase, directory };
    let report = Box::pin(keep_up(&run)).await.expect("every message comes to everybody who keeps up");
    println!("{report}");
    assert!(0 < report.slow_took && report.slow_took < report.slow_owed / 2, "{report}");
}

#[tokio::test]
async fn messages_that_wait_for_their_time_outlive_a_kill_and_none_is_early() {
    let place = directory();
    let (messages, spread, lead) = (20_000, Duration::from_secs(3), Duration::from_secs(4));
    let run = DelayedRun { messages, spread, lead, cluster: false, seed: SEED, directory: place.path().into() };
    let report = Box::pin(deliver_in_time(&run)).await.expect("it starts again");
    println!("{report}");
    assert_eq!((report.delivered, report.lost, report.early), (messages, 0, 0), "{report}");
    assert!(0 < report.on_time, "{report}");
}

#[tokio::test]
async fn a_backlog_does_not_live_in_memory() {
    let place = directory();
    let run = BacklogRun {
        topics: 40,
        messages: 500,
        message_bytes: 1024,
        resident_bytes_max: 256 << 20,
        cluster: false,
        sorted: false,
        at_once: 4,
        directory: place.path().into(),
    };
    println!("{}", Box::pin(fill_and_read_back(&run)).await.expect("all comes back"));
}

/// Words, numbers and bytes that are no text, in lines of very different lengths.
fn text(bytes: usize) -> Vec<u8> {
    let mut rng = SmallRng::seed_from_u64(SEED);
    let mut text = Vec::with_capacity(bytes + 4096);
    while text.len() < bytes {
        let longest = if rng.random_ratio(1, 50) { 4096 } else { 120 };
        let length = rng.random_range(0..longest);
        text.extend((0..length).map(|_| match rng.random::<u8>() {
            b'\n' => b' ',
            other => other,
        }));
        text.extend_from_slice(if rng.random_ratio(1, 10) { b"\r\n" } else { b"\n" });
    }
    text
}

async fn come_back_equal(servers: &Servers, name: &str, text: &[u8]) {
    let place = directory();
    let file = place.path().join("text");
    std::fs::write(&file, text).expect("written");
    let topic = format!("persistent://public/default/lines-{name}");
    let (url, within) = (format!("pulsar://{}", servers.addresses()[0]), Duration::from_secs(120));
    let run = LinesRun { file, url, topic, directory: place.path().into(), within };
    println!("{}", round_trip(&run).await.unwrap_or_else(|failure| panic!("{name}: {failure}")));
}

#[tokio::test]
async fn lines_of_a_text_come_back_byte_for_byte_from_standalone() {
    let place = directory();
    let servers = Servers::one(place.path()).await.expect("standalone starts");
    come_back_equal(&servers, "odd", b"\n\nplain\r\n\r\n\xff\xfe\x00 no text\n\tindented  \n\nno newline at the end")
        .await;
    come_back_equal(&servers, "one", b"\n").await;
    come_back_equal(&servers, "many", &text(5_000_000)).await;
}

#[tokio::test]
async fn lines_of_a_text_come_back_byte_for_byte_from_a_cluster() {
    let place = directory();
    let servers = Servers::many(place.path()).await.expect("the cluster starts");
    come_back_equal(&servers, "many", &text(1_000_000)).await;
}
