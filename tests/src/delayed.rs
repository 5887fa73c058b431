//! Very many messages wait for their time: what they cost, whether one comes early, how late, and whether a kill loses one.
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use daemon::Failure;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use tokio::time::Instant;

use crate::client::{ClientError, Delivery, Event, Kind, ProducerId, Publisher, Subscriber, Subscription};
use crate::cluster::{Process, Servers};

const TOPIC: &str = "persistent://public/default/delayed";
const SUBSCRIPTION: &str = "waits";
/// Published and consumed at once before anything is measured, so that what any message costs is not counted.
const WARM_TOPIC: &str = "persistent://public/default/at-once";
const MESSAGE_WITHIN: Duration = Duration::from_secs(60);
const RETRY_EVERY: Duration = Duration::from_millis(20);
/// Messages published whose receipts are not yet there.
const WINDOW: usize = 2000;
/// Message ids in one acknowledgement.
const IDS: usize = 200;
/// Messages that are published in a second at least, unless the machine is very busy.
const PUBLISHED_PER_SECOND: u64 = 20_000;

/// How many, how long, and where.
#[derive(Debug, Clone)]
pub struct DelayedRun {
    /// Messages.
    pub messages: usize,
    /// Their times lie within so long, in random order.
    pub spread: Duration,
    /// Between the last that is published, if 20 000 are in a second, and the first that is due: for measuring and for the kill.
    pub lead: Duration,
    /// A cluster of processes, or standalone.
    pub cluster: bool,
    /// Of the random choices.
    pub seed: u64,
    /// For data and output. Must be there.
    pub directory: PathBuf,
}

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct DelayedReport {
    /// Published.
    pub messages: usize,
    /// What brokers held more, once all of them waited, than before. Standalone has its bookie in the same process.
    pub resident_growth: i64,
    /// The same, of as many messages that did not wait, published and consumed before: what any cost.
    pub resident_growth_at_once: i64,
    /// From the kill until it was ready.
    pub restart: Duration,
    /// From then until it knew of all messages again.
    pub recalled: Duration,
    /// Delivered at all.
    pub delivered: usize,
    /// Never delivered: a fault.
    pub lost: usize,
    /// Delivered before their time: a fault.
    pub early: usize,
    /// Delivered once more although they were acknowledged.
    pub again: usize,
    /// Milliseconds after their time, of half of those that were due while a consumer was there; and of 99 in 100.
    pub late_ms: [u64; 2],
    /// How many these were.
    pub on_time: usize,
}

impl fmt::Display for DelayedReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: i64| bytes as f64 / f64::from(1 << 20);
        writeln!(
            f,
            "{} messages, resident growth {:.1} MiB; of as many that did not wait, {:.1} MiB",
            self.messages,
            mib(self.resident_growth),
            mib(self.resident_growth_at_once)
        )?;
        writeln!(
            f,
            "killed: ready again after {:.2} s, all known again {:.2} s later",
            self.restart.as_secs_f64(),
            self.recalled.as_secs_f64()
        )?;
        let [half, most] = self.late_ms;
        writeln!(f, "late: p50 {half} ms, p99 {most} ms, of {}", self.on_time)?;
        write!(f, "delivered {}, lost {}, early {}, again {}", self.delivered, self.lost, self.early, self.again)
    }
}

#[allow(clippy::disallowed_methods)] // The same clock as the server's, which is a process of this machine.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Publishes, kills, and reads.
pub async fn deliver_in_time(run: &DelayedRun) -> Result<DelayedReport, Failure> {
    let start =
        async { if run.cluster { Servers::many(&run.directory).await } else { Servers::one(&run.directory).await } };
    let mut servers = Box::pin(start).await?;
    let addresses = servers.addresses();
    let mut report = DelayedReport { messages: run.messages, ..Default::default() };
    warm(run, &addresses).await?; // Fills what is filled once.
    let empty = resident(&mut servers);
    warm(run, &addresses).await?;
    let before = resident(&mut servers);
    report.resident_growth_at_once = before - empty;
    let mut subscriber = attach(&addresses).await?;
    let dues = dues(run);
    let all_wait = async {
        publish(&addresses, TOPIC, dues.iter().copied()).await?;
        until_known(&servers, run.messages).await
    };
    tokio::select! {
        waiting = all_wait => waiting?,
        came = nothing_comes(&mut subscriber) => return Err(came),
    }
    report.resident_growth = resident(&mut servers) - before;
    drop(subscriber);
    servers.processes().into_iter().for_each(Process::kill);
    let began = Instant::now();
    servers.start_again().await?;
    report.restart = began.elapsed();
    let began = Instant::now();
    let mut subscriber = attach(&addresses).await?;
    let mut book = Book { dues: &dues, since: now_ms(), seen: vec![false; dues.len()], late: Vec::new(), report };
    // What is due meanwhile is delivered meanwhile: only a check whose first message is still to come can tell.
    if book.since < dues.iter().copied().min().unwrap_or(0) {
        until_known(&servers, run.messages).await?;
        book.report.recalled = began.elapsed();
    }
    book.receive(&mut subscriber).await?;
    Ok(book.report())
}

fn resident(servers: &mut Servers) -> i64 {
    servers.brokers().iter().map(|broker| broker.spending().resident_bytes.cast_signed()).sum()
}

/// As many messages, which are consumed at once.
async fn warm(run: &DelayedRun, addresses: &[String]) -> Result<(), Failure> {
    let warm = Subscription { kind: Kind::Shared, permits: 10_000, ..Subscription::durable(WARM_TOPIC, "w") };
    let mut subscriber = Subscriber::open(addresses, &warm).await?;
    let publishing = publish(addresses, WARM_TOPIC, std::iter::repeat_n(0, run.messages));
    let receiving = async {
        let mut ids = Vec::new();
        for _ in 0..run.messages {
            if let Event::Message(message) = subscriber.next().await? {
                ids.push(message.position);
            }
            if IDS <= ids.len() || !subscriber.has_event() {
                subscriber.acknowledge(&ids);
                ids.clear();
                subscriber.flush().await?;
            }
        }
        Ok::<_, Failure>(())
    };
    tokio::try_join!(publishing, receiving)?;
    subscriber.close().await?;
    Ok(())
}

/// When each message is due: spread evenly, in random order.
fn dues(run: &DelayedRun) -> Vec<u64> {
    let (count, mut rng) = (run.messages as u64, SmallRng::seed_from_u64(run.seed));
    let first = now_ms() + 1000 * count / PUBLISHED_PER_SECOND + millis(run.lead);
    let mut dues: Vec<u64> = (0..count).map(|number| first + number * millis(run.spread) / count.max(1)).collect();
    dues.shuffle(&mut rng);
    dues
}

async fn attach(addresses: &[String]) -> Result<Subscriber, Failure> {
    let wanted = Subscription { kind: Kind::Shared, permits: 20_000, ..Subscription::durable(TOPIC, SUBSCRIPTION) };
    let (mut tries, end) = (tokio::time::interval(RETRY_EVERY), Instant::now() + MESSAGE_WITHIN);
    loop {
        tries.tick().await;
        match Subscriber::open(addresses, &wanted).await {
            Err(error) if error.passes() && Instant::now() < end => {}
            outcome => return Ok(outcome?),
        }
    }
}

/// Listens for what must not come yet.
async fn nothing_comes(subscriber: &mut Subscriber) -> Failure {
    match subscriber.next().await {
        Ok(_) => Failure::internal("a message came before all were published: more lead is needed here"),
        Err(error) => error.into(),
    }
}

async fn publish(addresses: &[String], topic: &str, dues: impl Iterator<Item = u64>) -> Result<(), Failure> {
    let mut publisher = Publisher::open(addresses, topic).await?;
    for (number, due) in dues.enumerate() {
        let payload = (number as u64).to_le_bytes();
        match due {
            0 => publisher.publish(ProducerId(0), &payload),
            due => publisher.publish_at(ProducerId(0), &payload, due),
        };
        if WINDOW <= publisher.awaited() {
            settle(&mut publisher, WINDOW / 2).await?;
        }
    }
    settle(&mut publisher, 0).await?;
    publisher.close().await?;
    Ok(())
}

async fn settle(publisher: &mut Publisher, left: usize) -> Result<(), ClientError> {
    publisher.flush().await?;
    while left < publisher.awaited() {
        publisher.receipt().await?;
    }
    Ok(())
}

/// Waits until the subscription knows that so many messages wait.
async fn until_known(servers: &Servers, messages: usize) -> Result<(), Failure> {
    let page = format!("/admin/v2/{}/stats", TOPIC.replace("://", "/"));
    let (mut asks, end) = (tokio::time::interval(RETRY_EVERY), Instant::now() + MESSAGE_WITHIN);
    loop {
        asks.tick().await;
        let stats = servers.admin().get(&page).await?;
        let known = stats["subscriptions"][SUBSCRIPTION]["msgDelayed"].as_u64().unwrap_or(0);
        if messages as u64 <= known {
            return Ok(());
        }
        if end < Instant::now() {
            return Err(Failure::internal(format!("{known} of {messages} messages are known to wait")));
        }
    }
}

struct Book<'a> {
    dues: &'a [u64],
    /// A consumer was there from then on.
    since: u64,
    seen: Vec<bool>,
    late: Vec<u64>,
    report: DelayedReport,
}

impl Book<'_> {
    async fn receive(&mut self, subscriber: &mut Subscriber) -> Result<(), Failure> {
        let last = self.dues.iter().copied().max().unwrap_or(0);
        let end = Instant::now() + Duration::from_millis(last.saturating_sub(now_ms())) + MESSAGE_WITHIN;
        let mut ids = Vec::new();
        while self.report.delivered < self.dues.len() {
            let Ok(event) = tokio::time::timeout_at(end, subscriber.next()).await else { break };
            if let Event::Message(message) = event? {
                self.note(&message)?;
                ids.push(message.position);
            }
            if IDS <= ids.len() || !subscriber.has_event() {
                subscriber.acknowledge(&ids);
                ids.clear();
                subscriber.flush().await?;
            }
        }
        Ok(())
    }

    fn note(&mut self, message: &Delivery) -> Result<(), Failure> {
        let now = now_ms();
        let bytes = message.payload[..].try_into().map_err(|_| Failure::internal("a message of another size"))?;
        let number = usize::try_from(u64::from_le_bytes(bytes)).map_err(Failure::internal)?;
        if std::mem::replace(&mut self.seen[number], true) {
            self.report.again += 1;
            return Ok(());
        }
        let due = self.dues[number];
        self.report.delivered += 1;
        self.report.early += usize::from(now < due);
        if self.since < due {
            self.late.push(now.saturating_sub(due));
        }
        Ok(())
    }

    fn report(mut self) -> DelayedReport {
        self.late.sort_unstable();
        let at = |share: usize| self.late.get(self.late.len().saturating_sub(1) * share / 100).copied().unwrap_or(0);
        self.report.late_ms = [at(50), at(99)];
        self.report.on_time = self.late.len();
        self.report.lost = self.seen.iter().filter(|seen| !**seen).count();
        self.report
    }
}
