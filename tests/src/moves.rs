//! Moves bundles between brokers while their topics are published to: how long a producer waits, and whether anything is lost or
//! changes its order.
use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use daemon::Failure;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::client::{ClientError, Event, ProducerId, Publisher, Route, Subscriber, Subscription};
use crate::cluster::{Admin, Cluster, Shape};
use crate::crash::{number_of, payload};
use crate::deadline::eventually;

const NAMESPACE: &str = "public/default";
/// One message is sent so often: gaps are seen with this precision.
const SEND_EVERY: Duration = Duration::from_millis(2);
/// Clients of others wait so long before they look a topic up again, at first, and each time twice as long.
const BACK_OFF: Duration = Duration::from_millis(100);
/// Under way at most, of each producer.
const WINDOW: usize = 500;
/// Receipts of each topic between two moves.
const SETTLED: u64 = 50;
const WITHIN: Duration = Duration::from_secs(60);

/// How many moves of what.
#[derive(Debug, Clone)]
pub struct MovesRun {
    /// How often the bundle goes.
    pub moves: usize,
    /// How often the broker that has it ends (SIGTERM) and starts again.
    pub drains: usize,
    /// Topics in the bundle, each with a producer on a connection of its own.
    pub topics: usize,
    /// Of the random choices.
    pub seed: u64,
    /// For data and output. Must be there.
    pub directory: PathBuf,
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// To the other broker.
    Named,
    /// To whichever broker the system chooses, which may be the same.
    Unnamed,
    /// By the end of the broker that has it.
    Drained,
}

/// What a run saw.
#[derive(Debug, Clone, Default)]
pub struct MovesReport {
    /// Longest silence of each topic around each move to a named broker, sorted.
    pub named: Vec<Duration>,
    /// The same of those to any broker.
    pub unnamed: Vec<Duration>,
    /// The same of those because a broker ended.
    pub drained: Vec<Duration>,
    /// Messages with a receipt.
    pub acknowledged: u64,
    /// With a receipt and not read back.
    pub lost: u64,
    /// Read back for the first time after a later one.
    pub misordered: u64,
    /// Read back again.
    pub duplicated: u64,
}

/// The value that a share of `sorted` does not exceed.
fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let index = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(index.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or_default()
}

impl MovesReport {
    /// Of all gaps.
    #[must_use]
    pub fn p99(&self) -> Duration {
        let mut all = [&self.named[..], &self.unnamed[..], &self.drained[..]].concat();
        all.sort_unstable();
        percentile(&all, 0.99)
    }
}

impl fmt::Display for MovesReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds =
            [("to a named broker", &self.named), ("to any broker", &self.unnamed), ("at drains", &self.drained)];
        for (what, gaps) in kinds {
            let ms = |share| percentile(gaps, share).as_secs_f64() * 1000.0;
            let (p50, p90, p99, max) = (ms(0.5), ms(0.9), ms(0.99), ms(1.0));
            let count = gaps.len();
            writeln!(f, "gaps {what:<18} {count}, ms: p50 {p50:.0}, p90 {p90:.0}, p99 {p99:.0}, longest {max:.0}")?;
        }
        writeln!(f, "acknowledged            {}", self.acknowledged)?;
        writeln!(f, "lost                    {}", self.lost)?;
        writeln!(f, "misordered              {}", self.misordered)?;
        write!(f, "duplicated              {}", self.duplicated)
    }
}

/// Receipts of one topic.
#[derive(Debug)]
struct Receipts {
    last: Instant,
    longest: Duration,
    count: u64,
}

#[derive(Debug, Clone)]
struct Watched(Arc<Mutex<Receipts>>);

impl Watched {
    fn lock(&self) -> MutexGuard<'_, Receipts> {
        self.0.lock().expect("whoever notes a receipt does not panic")
    }

    fn note(&self) {
        let mut receipts = self.lock();
        let now = Instant::now();
        receipts.longest = receipts.longest.max(now - receipts.last);
        (receipts.last, receipts.count) = (now, receipts.count + 1);
    }
}

/// A producer that sends again what has no receipt, in order, as clients of others do.
struct Producing {
    addresses: Vec<String>,
    topic: String,
    watched: Watched,
    stop: CancellationToken,
    next: u64,
    under_way: VecDeque<u64>,
}

impl Producing {
    /// How many were acknowledged.
    async fn run(mut self) -> Result<(String, u64), ClientError> {
        let (mut pause, mut next_owner) = (BACK_OFF, None);
        loop {
            let before = self.watched.lock().count;
            match self.over_one_connection(&mut next_owner).await {
                Ok(()) => return Ok((self.topic, self.next)),
                Err(error) if !error.passes() => return Err(error),
                Err(_) => {}
            }
            if self.watched.lock().count != before {
                pause = BACK_OFF;
            }
            if next_owner.is_none() {
                tokio::time::interval_at(tokio::time::Instant::now() + pause, pause).tick().await;
                pause *= 2;
            }
        }
    }

    async fn over_one_connection(&mut self, next_owner: &mut Option<String>) -> Result<(), ClientError> {
        let mut publisher = match next_owner.take() {
            Some(url) => {
                let mut publisher = Publisher::over(Route::straight(&url)?.connect().await?);
                publisher.attach(&self.topic).await?;
                publisher
            }
            None => Publisher::open(&self.addresses, &self.topic).await?,
        };
        for number in &self.under_way {
            publisher.publish(ProducerId(0), &payload(*number));
        }
        publisher.flush().await?;
        let mut sends = tokio::time::interval(SEND_EVERY);
        loop {
            tokio::select! {
                receipt = publisher.receipt(), if 0 < publisher.awaited() => match receipt {
                    Ok(_) => {
                        self.under_way.pop_front();
                        self.watched.note();
                    }
                    Err(error) => {
                        *next_owner = publisher.next_owner().map(str::to_owned);
                        return Err(error);
                    }
                },
                _ = sends.tick(), if self.under_way.len() < WINDOW => {
                    if !self.stop.is_cancelled() {
                        publisher.publish(ProducerId(0), &payload(self.next));
                        self.under_way.push_back(self.next);
                        self.next += 1;
                        publisher.flush().await?;
                    } else if self.under_way.is_empty() {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Topics that lie in one bundle, and that bundle.
async fn topics(admin: &Admin, count: usize) -> Result<(String, Vec<String>), Failure> {
    let (mut bundle, mut found) = (None, Vec::new());
    for number in 0.. {
        if found.len() == count {
            break;
        }
        let topic = format!("{NAMESPACE}/moves-{number}");
        let its = admin.bundle(&topic).await?;
        if *bundle.get_or_insert_with(|| its.clone()) == its {
            found.push(format!("persistent://{topic}"));
        }
    }
    Ok((bundle.unwrap_or_default(), found))
}

/// Moves a bundle again and again while all of its topics are published to, and reads everything back.
pub async fn move_under_load(run: &MovesRun) -> Result<MovesReport, Failure> {
    let mut shape = Shape::default();
    shape.broker_settings.extend(run_settings());
    let mut cluster = Cluster::start(&run.directory, &shape).await?;
    let admin = cluster.brokers[0].admin();
    let for_ever = json!({"retentionTimeInMinutes": -1, "retentionSizeInMB": -1});
    admin.post(&format!("/admin/v2/namespaces/{NAMESPACE}/retention"), Some(for_ever)).await?;
    let (bundle, topics) = topics(&admin, run.topics).await?;
    let (stop, mut producing, mut watched) = (CancellationToken::new(), JoinSet::new(), Vec::new());
    for topic in &topics {
        let receipts = Receipts { last: Instant::now(), longest: Duration::ZERO, count: 0 };
        watched.push(Watched(Arc::new(Mutex::new(receipts))));
        let producer = Producing {
            addresses: cluster.addresses(),
            topic: topic.clone(),
            watched: watched[watched.len() - 1].clone(),
            stop: stop.clone(),
            next: 0,
            under_way: VecDeque::new(),
        };
        producing.spawn(producer.run());
    }
    settled(&watched).await?;
    let mut report = MovesReport::default();
    let mut rng = SmallRng::seed_from_u64(run.seed);
    let mut ways: Vec<Way> = (0..run.moves).map(|n| if n % 3 == 2 { Way::Unnamed } else { Way::Named }).collect();
    ways.extend(vec![Way::Drained; run.drains]);
    ways.shuffle(&mut rng);
    for (number, way) in ways.into_iter().enumerate() {
        watched.iter().for_each(|topic| topic.lock().longest = Duration::ZERO);
        let at = rng.random_range(0..cluster.brokers.len());
        strike(&mut cluster, at, &topics[0], &bundle, way).await?;
        settled(&watched).await.map_err(|error| Failure::internal(format!("after move {number}, {way:?}: {error}")))?;
        let gaps = match way {
            Way::Named => &mut report.named,
            Way::Unnamed => &mut report.unnamed,
            Way::Drained => &mut report.drained,
        };
        gaps.extend(watched.iter().map(|topic| topic.lock().longest));
    }
    [&mut report.named, &mut report.unnamed, &mut report.drained].into_iter().for_each(|gaps| gaps.sort_unstable());
    stop.cancel();
    while let Some(produced) = producing.join_next().await {
        let (topic, acknowledged) = produced.map_err(Failure::internal)??;
        report.acknowledged += acknowledged;
        judge(&read_back(&cluster.addresses(), &topic).await?, acknowledged, &mut report);
    }
    Ok(report)
}

/// So that nothing else moves bundles meanwhile.
fn run_settings() -> Vec<String> {
    vec!["balance_moves_per_min=0".into()]
}

/// Asks the broker `at` for a move, or ends the one that has the bundle.
async fn strike(cluster: &mut Cluster, at: usize, topic: &str, bundle: &str, way: Way) -> Result<(), Failure> {
    let path = format!("/admin/v2/namespaces/{NAMESPACE}/{bundle}/unload");
    let at = cluster.brokers[at].admin();
    let (owner, from) = at.owner(topic.trim_start_matches("persistent://")).await?;
    match way {
        Way::Unnamed => at.put(&path, None).await,
        Way::Drained => {
            let owner = cluster.brokers.iter_mut().find(|broker| broker.address() == owner);
            let owner = owner.ok_or_else(|| Failure::internal("the bundle is with none of the brokers"))?;
            owner.process().drain(WITHIN).await?;
            owner.restart().await
        }
        Way::Named => {
            let to = at.brokers().await?.into_iter().find(|broker| *broker != from);
            let to = to.ok_or_else(|| Failure::internal(format!("there is no broker beside {from}")))?;
            at.put(&format!("{path}?destinationBroker={to}"), None).await
        }
    }
}

/// Waits for more receipts of every topic.
async fn settled(watched: &[Watched]) -> Result<(), Failure> {
    let goals: Vec<u64> = watched.iter().map(|topic| topic.lock().count + SETTLED).collect();
    eventually("receipts of all topics", WITHIN, async || {
        watched.iter().zip(&goals).all(|(topic, goal)| *goal <= topic.lock().count).then_some(())
    })
    .await
}

/// The numbers of all messages of a topic, in the order in which they lie there.
async fn read_back(addresses: &[String], topic: &str) -> Result<Vec<u64>, Failure> {
    let mut reader = Subscriber::open(addresses, &Subscription::reader(topic)).await?;
    let last = reader.last().await?;
    let (mut numbers, mut position) = (Vec::new(), None);
    while position < last {
        let event = tokio::time::timeout(WITHIN, reader.next()).await;
        let event = event.map_err(|_| Failure::internal(format!("{topic}: reading stopped at {position:?}")))?;
        if let Event::Message(message) = event? {
            let number = number_of(&message.payload);
            numbers.push(number.ok_or_else(|| Failure::internal(format!("{topic}: bytes that nobody sent")))?);
            position = Some(message.position);
        }
    }
    Ok(numbers)
}

/// All of `acknowledged` must be there, first in their order.
fn judge(numbers: &[u64], acknowledged: u64, report: &mut MovesReport) {
    let mut seen = HashSet::new();
    let mut highest = None;
    for number in numbers {
        if !seen.insert(*number) {
            report.duplicated += 1;
        } else {
            report.misordered += u64::from(Some(*number) < highest);
            highest = highest.max(Some(*number));
        }
    }
    report.lost += (0..acknowledged).filter(|number| !seen.contains(number)).count() as u64;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_late_or_there_twice_is_counted() {
        let mut report = MovesReport::default();
        judge(&[0, 1, 2, 3], 4, &mut report);
        assert_eq!((report.lost, report.misordered, report.duplicated), (0, 0, 0));
        judge(&[0, 2, 1, 2, 4], 5, &mut report);
        assert_eq!((report.lost, report.misordered, report.duplicated), (1, 1, 1));
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let ms = Duration::from_millis;
        let values: Vec<Duration> = (1..=200).map(ms).collect();
        assert_eq!([0.5, 0.99, 1.0].map(|share| percentile(&values, share)), [ms(100), ms(198), ms(200)]);
        assert_eq!(percentile(&[], 0.5), Duration::ZERO);
    }
}
