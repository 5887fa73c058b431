//! The producer and the consumer of a run. Both connect again whenever a connection ends, for as long as the run lasts.
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use daemon::Failure;
use proto::Position;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{History, Keeping, ReadBack, Report, number_of, payload};
use crate::client::{ClientError, Event, ProducerId, Publisher, Subscriber, Subscription};
use crate::cluster::Admin;
use crate::deadline::eventually;

/// Where the load goes.
const TOPIC: &str = "persistent://public/default/crash";
const SUBSCRIPTION: &str = "acknowledges";
/// So many messages go at once where there is a pace.
const BURST: usize = 8;
const BEAT: Duration = Duration::from_millis(4);
const RETRY_EVERY: Duration = Duration::from_millis(20);
/// Covers a takeover by another broker (5 s after a lease of 2 s) on a busy machine.
const RECEIPTS_WITHIN: Duration = Duration::from_secs(60);
const MESSAGE_WITHIN: Duration = Duration::from_secs(30);
/// When nothing came for so long, nothing is owed.
const QUIET: Duration = Duration::from_millis(500);

/// A lock and no task: both sides only note numbers, and the run looks at them in between.
type Shared = Arc<Mutex<History>>;

/// A producer and a consumer at work.
#[derive(Debug)]
pub struct Load {
    addresses: Vec<String>,
    history: Shared,
    seed: u64,
    stop: CancellationToken,
    publishing: JoinHandle<Result<(), ClientError>>,
    acknowledging: JoinHandle<Result<(), ClientError>>,
}

fn lock(history: &Shared) -> MutexGuard<'_, History> {
    history.lock().expect("whoever notes a number does not panic")
}

impl Load {
    /// Tells the server what to keep, and starts both against the brokers at `addresses`.
    pub async fn start(addresses: Vec<String>, admin: &Admin, keeping: Keeping, seed: u64) -> Result<Self, Failure> {
        if keeping == Keeping::Everything {
            keep_for_ever(admin).await?;
        }
        Ok(Self::over(addresses, keeping, seed))
    }

    /// As [`Load::start`], and everything is kept, at about 2000 messages a second: for runs of many minutes, and to tell how long nothing went.
    pub async fn start_at_pace(addresses: Vec<String>, admin: &Admin, seed: u64) -> Result<Self, Failure> {
        keep_for_ever(admin).await?;
        Ok(Self::begin(addresses, Keeping::Everything, seed, Some(BEAT)))
    }

    /// Starts both against the brokers at `addresses`, which keep what `keeping` says.
    #[must_use]
    pub fn over(addresses: Vec<String>, keeping: Keeping, seed: u64) -> Self {
        Self::begin(addresses, keeping, seed, None)
    }

    fn begin(addresses: Vec<String>, keeping: Keeping, seed: u64, beat: Option<Duration>) -> Self {
        let (history, stop) = (Arc::new(Mutex::new(History::of(keeping))), CancellationToken::new());
        // Every hole keeps its ledger: with too many, none would ever leave.
        let skips = if keeping == Keeping::Everything { 8 } else { 256 };
        let side = |stream| {
            let rng = SmallRng::seed_from_u64(seed ^ stream);
            Side { addresses: addresses.clone(), history: history.clone(), stop: stop.clone(), skips, beat, rng }
        };
        let (publishing, acknowledging) = (side(1), side(2));
        let (publishing, acknowledging) =
            (tokio::spawn(publishing.publish()), tokio::spawn(acknowledging.acknowledge()));
        Self { addresses, history, seed, stop, publishing, acknowledging }
    }

    /// Waits until that many more receipts have come.
    pub async fn receipts_grow_by(&self, count: u64, why: &str) -> Result<(), Failure> {
        let goal = lock(&self.history).receipts() + count;
        let what = format!("{count} more receipts {why}");
        eventually(&what, RECEIPTS_WITHIN, async || {
            let ended = self.publishing.is_finished();
            (ended || goal <= lock(&self.history).receipts()).then_some(())
        })
        .await
    }

    /// Receipts so far.
    #[must_use]
    pub fn receipts(&self) -> u64 {
        lock(&self.history).receipts()
    }

    /// As [`History::take_gap`].
    pub fn take_gap(&self) -> Duration {
        lock(&self.history).take_gap()
    }

    /// As [`History::silent`].
    #[must_use]
    pub fn silent(&self) -> Duration {
        lock(&self.history).silent()
    }

    /// Notes that a server started again.
    pub fn restarted(&self) {
        lock(&self.history).restarted();
    }

    /// Stops the load, reads everything back and judges.
    pub async fn finish(self) -> Result<Report, Failure> {
        self.finish_after(async { Ok(()) }).await
    }

    /// The same, and does something else before it reads.
    pub async fn finish_after(self, work: impl Future<Output = Result<(), Failure>>) -> Result<Report, Failure> {
        self.stop.cancel();
        self.publishing.await.map_err(Failure::internal)??;
        self.acknowledging.await.map_err(Failure::internal)??;
        work.await?;
        let found = read_back(&self.addresses).await?;
        let undelivered = drain(&self.addresses, &self.history, &found).await?;
        Ok(lock(&self.history).judge(self.seed, &found, undelivered))
    }
}

/// One side of the load.
struct Side {
    addresses: Vec<String>,
    history: Shared,
    stop: CancellationToken,
    /// One message in so many is not acknowledged.
    skips: u32,
    /// How often a few messages go, or as fast as receipts come.
    beat: Option<Duration>,
    rng: SmallRng,
}

impl Side {
    /// How the work ends, or `None` when it must go on over another connection.
    fn end(&mut self, outcome: Result<(), ClientError>) -> Option<Result<(), ClientError>> {
        match outcome {
            Err(error) if error.passes() => {
                self.addresses.rotate_left(1); // As other clients do, which go round the hosts of their URL.
                self.stop.is_cancelled().then_some(Ok(()))
            }
            other => Some(other),
        }
    }

    async fn publish(mut self) -> Result<(), ClientError> {
        let mut tries = tokio::time::interval(RETRY_EVERY);
        loop {
            tries.tick().await;
            let outcome = self.publish_over_one_connection().await;
            if let Some(end) = self.end(outcome) {
                return end;
            }
        }
    }

    async fn publish_over_one_connection(&mut self) -> Result<(), ClientError> {
        let mut publisher = Publisher::open(&self.addresses, TOPIC).await?;
        let window = if self.beat.is_some() { BURST } else { self.rng.random_range(1..=128) };
        let mut beat = self.beat.map(tokio::time::interval);
        beat.iter_mut().for_each(|beat| beat.set_missed_tick_behavior(MissedTickBehavior::Skip));
        let mut under_way = VecDeque::new();
        loop {
            let fills = beat.is_none() || under_way.is_empty();
            if let Some(beat) = beat.as_mut().filter(|_| fills) {
                beat.tick().await;
            }
            while fills && !self.stop.is_cancelled() && publisher.awaited() < window {
                let number = lock(&self.history).next_number();
                publisher.publish(ProducerId(0), &payload(number));
                under_way.push_back(number);
            }
            if under_way.is_empty() {
                return Ok(());
            }
            publisher.flush().await?;
            let receipt = publisher.receipt().await?;
            let number = under_way.pop_front().expect("receipts are matched to sends");
            lock(&self.history).receipt(number, receipt.position, Instant::now());
        }
    }

    async fn acknowledge(mut self) -> Result<(), ClientError> {
        let mut tries = tokio::time::interval(RETRY_EVERY);
        loop {
            tries.tick().await;
            let outcome = self.acknowledge_over_one_connection().await;
            if let Some(end) = self.end(outcome) {
                return end;
            }
        }
    }

    async fn acknowledge_over_one_connection(&mut self) -> Result<(), ClientError> {
        let subscription = Subscription::durable(TOPIC, SUBSCRIPTION);
        let mut subscriber = Subscriber::open(&self.addresses, &subscription).await?;
        let mut batch = Vec::new();
        while !self.stop.is_cancelled() || 0 < subscriber.awaited() {
            let event = tokio::select! {
                event = tokio::time::timeout(MESSAGE_WITHIN, subscriber.next()) => event,
                () = self.stop.cancelled(), if subscriber.awaited() == 0 => break,
            };
            match event.unwrap_or(Err(ClientError::Silent(MESSAGE_WITHIN.as_secs())))? {
                Event::Acknowledged(positions) => lock(&self.history).answer(positions),
                Event::Message(message) => {
                    lock(&self.history).delivered(message.position);
                    // The others stay holes until the next connection.
                    if self.rng.random_ratio(self.skips - 1, self.skips) && !self.stop.is_cancelled() {
                        lock(&self.history).ask(message.position);
                        batch.push(message.position);
                    }
                }
            }
            if !batch.is_empty() && (!subscriber.has_event() || 100 <= batch.len()) {
                subscriber.acknowledge_with_receipt(std::mem::take(&mut batch));
                subscriber.flush().await?;
            }
        }
        subscriber.close().await.map(drop)
    }
}

async fn keep_for_ever(admin: &Admin) -> Result<(), Failure> {
    let for_ever = json!({"retentionTimeInMinutes": -1, "retentionSizeInMB": -1});
    admin.post("/admin/v2/namespaces/public/default/retention", Some(for_ever)).await
}

/// Reads all that lies in the topic of every load, from the start again where its bundle moves meanwhile.
pub async fn read_back(addresses: &[String]) -> Result<Vec<ReadBack>, Failure> {
    let (mut reader, last) = loop {
        let mut reader = attach(addresses, &Subscription::reader(TOPIC)).await?;
        match reader.last().await {
            Err(ClientError::Moved) => {}
            last => break (reader, last?),
        }
    };
    let mut found: Vec<ReadBack> = Vec::new();
    while found.last().map(|message| message.position) < last {
        let event = tokio::time::timeout(MESSAGE_WITHIN, reader.next()).await;
        let event = event.map_err(|_| {
            Failure::internal(format!("reading back stopped at {:?} before the last, {last:?}", found.last()))
        })?;
        match event {
            Ok(Event::Message(message)) => {
                found.push(ReadBack { position: message.position, number: number_of(&message.payload) });
            }
            Ok(Event::Acknowledged(_)) => {}
            Err(ClientError::Moved) => {
                reader = attach(addresses, &Subscription::reader(TOPIC)).await?;
                found.clear();
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

/// Attaches, when not at once then soon: a bundle may be on its way.
async fn attach(addresses: &[String], subscription: &Subscription<'_>) -> Result<Subscriber, Failure> {
    let (mut tries, end) = (tokio::time::interval(RETRY_EVERY), Instant::now() + MESSAGE_WITHIN);
    loop {
        tries.tick().await;
        match Subscriber::open(addresses, subscription).await {
            Err(error) if error.passes() && Instant::now() < end => {}
            outcome => return Ok(outcome?),
        }
    }
}

/// Reads what the subscription still has, and counts what it should have had.
async fn drain(addresses: &[String], history: &Shared, found: &[ReadBack]) -> Result<u64, Failure> {
    let owed = |message: &ReadBack| lock(history).is_owed(message.position).then_some(message.position);
    let mut owed: HashSet<Position> = found.iter().filter_map(owed).collect();
    let mut subscriber = attach(addresses, &Subscription::durable(TOPIC, SUBSCRIPTION)).await?;
    loop {
        let patience = if owed.is_empty() { QUIET } else { MESSAGE_WITHIN };
        match tokio::time::timeout(patience, subscriber.next()).await {
            Err(_) => return Ok(owed.len() as u64),
            Ok(Ok(Event::Message(message))) => {
                lock(history).delivered(message.position);
                owed.remove(&message.position);
            }
            Ok(Ok(Event::Acknowledged(_))) => {}
            Ok(Err(ClientError::Moved)) => {
                subscriber = attach(addresses, &Subscription::durable(TOPIC, SUBSCRIPTION)).await?;
            }
            Ok(Err(error)) => return Err(error.into()),
        }
    }
}
