//! One connection through the proxy: two directions, each a reader and a writer with a queue between them, so that a delay
//! takes no throughput.
use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::{Faults, Flow, Shared, Weather};

/// What one read takes at most.
const CHUNK_BYTES: usize = 64 << 10;
/// What may be under way in one direction: 4 MiB.
const CHUNKS_UNDER_WAY: usize = 64;
/// What is slowed down passes in pieces this long.
const PIECES_PER_SECOND: u64 = 20;

/// Why a direction ended before its end.
enum Broken {
    /// As the faults wanted it.
    Cut,
    /// By one of the two sides.
    Lost,
}

impl From<std::io::Error> for Broken {
    fn from(_: std::io::Error) -> Self {
        Self::Lost
    }
}

/// Carries bytes both ways until both sides have ended, or resets both.
pub(super) async fn carry(mut client: TcpStream, number: u64, shared: Shared) {
    let Ok(mut server) = TcpStream::connect(&shared.target).await else {
        let _ = client.set_zero_linger();
        return;
    };
    let draws =
        |part: u64| SmallRng::seed_from_u64(shared.seed ^ (3 * number + part).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let allowance = Allowance { state: Mutex::new((0, None, draws(0))) };
    let counters = &shared.counters;
    let whole = {
        let (client_reads, client_writes) = client.split();
        let (server_reads, server_writes) = server.split();
        let pump = |faults, part, counter| Pump {
            flow: faults,
            weather: shared.weather.clone(),
            draws: draws(part),
            counter,
            allowance: &allowance,
        };
        let there = pump(|faults| &faults.to_server, 1, &counters.to_server).run(client_reads, server_writes);
        let back = pump(|faults| &faults.to_client, 2, &counters.to_client).run(server_reads, client_writes);
        tokio::select! {
            ended = async { tokio::try_join!(there, back) } => ended.is_ok(),
            () = cut(shared.weather.clone()) => false,
        }
    };
    if !whole {
        // Closing with a reset. A side that has gone already does not mind.
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

/// Returns when all connections are to be reset.
async fn cut(mut weather: watch::Receiver<Weather>) {
    let before = weather.borrow().cuts;
    if weather.wait_for(|weather| weather.cuts != before).await.is_err() {
        std::future::pending::<()>().await; // The proxy is being dropped, and this with it.
    }
}

/// What may still pass before the connection is reset. A lock, because both directions take from it; held for no await.
struct Allowance {
    /// Of which change of the faults it is, what is left, and what draws the next one.
    state: Mutex<(u64, Option<u64>, SmallRng)>,
}

impl Allowance {
    /// Takes at most `wanted`, and says whether anything may pass after that.
    fn take(&self, wanted: usize, change: u64, cut_after: Option<&RangeInclusive<u64>>) -> (usize, bool) {
        let mut state = self.state.lock().expect("nobody panics while holding it");
        let (drawn_at, left, draws) = &mut *state;
        if *drawn_at != change {
            *drawn_at = change;
            *left = cut_after.map(|range| draws.random_range(range.clone()));
        }
        let Some(left) = left else { return (wanted, true) };
        let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(wanted);
        *left -= taken as u64;
        (taken, 0 < *left)
    }
}

/// One direction.
struct Pump<'a> {
    flow: fn(&Faults) -> &Flow,
    weather: watch::Receiver<Weather>,
    draws: SmallRng,
    counter: &'a AtomicU64,
    allowance: &'a Allowance,
}

impl Pump<'_> {
    async fn run(self, from: ReadHalf<'_>, to: WriteHalf<'_>) -> Result<(), Broken> {
        let Self { flow, weather, draws, counter, allowance } = self;
        let (queue, chunks) = mpsc::channel(CHUNKS_UNDER_WAY);
        let reads = read(from, queue, flow, weather.clone(), draws);
        let writes = write(to, chunks, flow, weather, counter, allowance);
        tokio::try_join!(reads, writes).map(|_| ())
    }
}

type Chunk = (Instant, Bytes);

async fn read(
    mut from: ReadHalf<'_>,
    queue: mpsc::Sender<Chunk>,
    flow: fn(&Faults) -> &Flow,
    weather: watch::Receiver<Weather>,
    mut draws: SmallRng,
) -> Result<(), Broken> {
    let mut due = Instant::now();
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK_BYTES);
        if from.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        let latency = flow(&weather.borrow().faults).latency.clone();
        let delay = latency.map_or(Duration::ZERO, |range| draws.random_range(range));
        due = due.max(Instant::now() + delay); // Later bytes never pass earlier ones.
        if queue.send((due, buffer.split().freeze())).await.is_err() {
            return Ok(()); // The writer has ended, and says why.
        }
    }
}

async fn write(
    mut to: WriteHalf<'_>,
    mut chunks: mpsc::Receiver<Chunk>,
    flow: fn(&Faults) -> &Flow,
    mut weather: watch::Receiver<Weather>,
    counter: &AtomicU64,
    allowance: &Allowance,
) -> Result<(), Broken> {
    while let Some((due, mut bytes)) = chunks.recv().await {
        sleep_until(due).await;
        while !bytes.is_empty() {
            let (speed, (passes, goes_on)) = {
                let moving = weather.wait_for(|weather| !flow(&weather.faults).stalled).await;
                let moving = moving.map_err(|_| Broken::Lost)?; // The proxy is being dropped.
                let speed = flow(&moving.faults).bytes_per_second;
                let piece = speed.map_or(bytes.len(), |speed| piece(speed).min(bytes.len()));
                (speed, allowance.take(piece, moving.changes, moving.faults.cut_after.as_ref()))
            };
            let began = Instant::now();
            to.write_all(&bytes.split_to(passes)).await?;
            counter.fetch_add(passes as u64, Ordering::Relaxed);
            if !goes_on {
                return Err(Broken::Cut);
            }
            if let Some(speed) = speed {
                sleep_until(began + Duration::from_secs_f64(passes as f64 / speed.max(1) as f64)).await;
            }
        }
    }
    Ok(to.shutdown().await?)
}

fn piece(bytes_per_second: u64) -> usize {
    usize::try_from(bytes_per_second / PIECES_PER_SECOND).unwrap_or(usize::MAX).max(1)
}
