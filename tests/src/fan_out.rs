//! Many subscriptions of one topic, one of them slow: whether the others wait for it.
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemon::Failure;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::client::{ClientError, Event, ProducerId, Publisher, Start, Subscriber, Subscription};
use crate::cluster::Standalone;
use crate::deadline::{eventually, under_load_for};

const TOPIC: &str = "persistent://public/default/fan-out";
const MESSAGE_BYTES: usize = 1024;
/// Messages on their way to a subscription that keeps up.
const PERMITS: u32 = 1000;
/// To the slow one, which takes one of them so often.
const SLOW_PERMITS: u32 = 10;
const SLOW_EVERY: Duration = Duration::from_millis(100);
/// After a phase everything must have come within this.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(60);

/// How many, how fast and for how long.
#[derive(Debug, Clone)]
pub struct FanOutRun {
    /// Subscriptions, each with a consumer on a connection of its own. One of them is slow.
    pub subscriptions: usize,
    /// Messages a second.
    pub rate: u32,
    /// Pairs of phases: all keep up, then one is slow.
    pub rounds: usize,
    /// How long a phase lasts.
    pub phase: Duration,
    /// For data and output. Must be there.
    pub directory: PathBuf,
}

/// From before a message was sent until a consumer had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// Of all messages to all subscriptions but the slow one.
    pub median: Duration,
    /// The same.
    pub p99: Duration,
}

impl Latency {
    fn of(mut taken: Vec<Duration>) -> Option<Self> {
        taken.sort_unstable();
        Some(Self { median: *taken.get(taken.len() / 2)?, p99: *taken.get(taken.len() * 99 / 100)? })
    }
}

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct FanOutReport {
    /// By round: while all kept up, and while one was slow.
    pub rounds: Vec<(Latency, Latency)>,
    /// Messages to subscriptions that keep up.
    pub delivered: usize,
    /// Messages that the slow one took.
    pub slow_took: usize,
    /// Messages published while it was attached.
    pub slow_owed: usize,
}

impl FanOutReport {
    /// How many times longer it took while one was slow: the median of the rounds.
    #[must_use]
    pub fn ratio(&self, of: impl Fn(&Latency) -> Duration) -> f64 {
        let ratio = |(alone, slow): &(Latency, Latency)| of(slow).as_secs_f64() / of(alone).as_secs_f64();
        let mut ratios: Vec<f64> = self.rounds.iter().map(ratio).collect();
        ratios.sort_by(f64::total_cmp);
        ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

impl fmt::Display for FanOutReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { delivered, slow_took, slow_owed, .. } = self;
        writeln!(f, "{delivered} messages came to those who keep up; the slow one took {slow_took} of {slow_owed}")?;
        for (alone, slow) in &self.rounds {
            writeln!(
                f,
                "all keep up: {:.2?}, p99 {:.2?}; one is slow: {:.2?}, p99 {:.2?}",
                alone.median, alone.p99, slow.median, slow.p99
            )?;
        }
        let (median, p99) = (self.ratio(|latency| latency.median), self.ratio(|latency| latency.p99));
        write!(f, "one slow / none slow, median of the rounds: {median:.2} of the median, {p99:.2} of p99")
    }
}

/// What consumers note, together.
struct Taken {
    began: Instant,
    latencies: Mutex<Vec<Duration>>, // Pushed to by tasks that do nothing else with it.
}

impl Taken {
    fn note(&self, sent: Duration) {
        self.latencies.lock().push(self.began.elapsed().saturating_sub(sent));
    }
}

/// Lets all keep up, then one be slow, in turn.
pub async fn keep_up(run: &FanOutRun) -> Result<FanOutReport, Failure> {
    let server = Standalone::start(&run.directory).await?;
    let addresses = [server.address()];
    let taken = Arc::new(Taken { began: Instant::now(), latencies: Mutex::default() });
    let mut publisher = Publisher::open(&addresses, TOPIC).await?;
    let mut consumers = JoinSet::new();
    for number in 1..run.subscriptions {
        let name = format!("keeps-up-{number}");
        let start = Start::Latest;
        let subscription = Subscription { start, permits: PERMITS, ..Subscription::durable(TOPIC, &name) };
        let subscriber = Subscriber::open(&addresses, &subscription).await?;
        consumers.spawn(keep_taking(subscriber, taken.clone()));
    }
    let slow = Subscription { permits: SLOW_PERMITS, ..Subscription::durable(TOPIC, "slow") };
    Subscriber::open(&addresses, &slow).await?.close().await?;
    let mut report = FanOutReport::default();
    for _ in 0..run.rounds {
        let alone = publish(run, &mut publisher, &taken, &mut report).await?;
        let subscriber = Subscriber::open(&addresses, &slow).await?;
        let dawdling = tokio::spawn(dawdle(subscriber, run.phase));
        let beside = publish(run, &mut publisher, &taken, &mut report).await?;
        report.slow_took += dawdling.await.map_err(Failure::internal)??;
        report.slow_owed = report.delivered / (run.subscriptions - 1);
        report.rounds.push((alone, beside));
        if let Some(ended) = consumers.try_join_next() {
            return Err(ended.map_err(Failure::internal)?.into());
        }
    }
    Ok(report)
}

/// Until the connection ends.
async fn keep_taking(mut subscriber: Subscriber, taken: Arc<Taken>) -> ClientError {
    loop {
        let message = match subscriber.next().await {
            Ok(Event::Message(message)) => message,
            Ok(Event::Acknowledged(_)) => continue,
            Err(error) => return error,
        };
        if let Some(sent) = message.payload.first_chunk() {
            taken.note(Duration::from_nanos(u64::from_le_bytes(*sent)));
        }
        subscriber.acknowledge_up_to(message.position);
        if let Err(error) = subscriber.flush().await {
            return error;
        }
    }
}

/// Takes one message now and then, and acknowledges none. How many it took.
async fn dawdle(mut subscriber: Subscriber, time: Duration) -> Result<usize, Failure> {
    let (end, mut count) = (Instant::now() + time, 0);
    while Instant::now() < end {
        under_load_for(SLOW_EVERY).await;
        if matches!(tokio::time::timeout_at(end.into(), subscriber.next()).await, Ok(Ok(Event::Message(_)))) {
            count += 1;
        }
    }
    subscriber.close().await?;
    Ok(count)
}

/// One phase: publishes at the rate, waits until all have everything.
async fn publish(
    run: &FanOutRun,
    publisher: &mut Publisher,
    taken: &Taken,
    report: &mut FanOutReport,
) -> Result<Latency, Failure> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / run.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (end, mut messages) = (Instant::now() + run.phase, 0);
    while Instant::now() < end {
        ticks.tick().await;
        let mut payload = vec![0; MESSAGE_BYTES];
        let now = u64::try_from(taken.began.elapsed().as_nanos()).map_err(Failure::internal)?;
        payload[..8].copy_from_slice(&now.to_le_bytes());
        publisher.publish(ProducerId(0), &payload);
        publisher.flush().await?;
        publisher.receipt().await?;
        messages += 1;
    }
    let owed = messages * (run.subscriptions - 1);
    let all_came = async || (taken.latencies.lock().len() == owed).then_some(());
    eventually("every message came to every subscription once", CAUGHT_UP_WITHIN, all_came).await?;
    report.delivered += owed;
    Latency::of(std::mem::take(&mut *taken.latencies.lock())).ok_or_else(|| Failure::internal("nothing was published"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_that_of_the_middle_round() {
        let latency = |ms| Latency { median: Duration::from_millis(ms), p99: Duration::from_millis(2 * ms) };
        let rounds = vec![(latency(10), latency(11)), (latency(10), latency(90)), (latency(20), latency(24))];
        let report = FanOutReport { rounds, ..FanOutReport::default() };
        assert!((report.ratio(|latency| latency.median) - 1.2).abs() < 1e-9, "{report}");
        let taken = (1..=200).rev().map(Duration::from_millis).collect();
        let of = Latency::of(taken).expect("200 were taken");
        assert_eq!((of.median, of.p99), (Duration::from_millis(101), Duration::from_millis(199)));
    }
}
