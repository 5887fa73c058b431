//! A producer that stays with the broker it once found, as one would whose client has not noticed anything.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use daemon::Failure;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::client::{ClientError, ProducerId, Publisher};

const PAYLOAD: &[u8] = b"witness";
const EVERY: Duration = Duration::from_millis(50);

/// Publishes to a topic over one connection until that ends.
#[derive(Debug)]
pub(super) struct Witness {
    receipts: Arc<AtomicU64>,
    publishing: JoinHandle<ClientError>,
}

impl Witness {
    /// Attaches to the topic and begins.
    pub(super) async fn start(addresses: &[String], topic: &str) -> Result<Self, Failure> {
        let publisher = Publisher::open(addresses, topic).await?;
        let receipts = Arc::new(AtomicU64::new(0));
        let publishing = tokio::spawn(publish(publisher, Arc::clone(&receipts)));
        Ok(Self { receipts, publishing })
    }

    /// Receipts so far.
    pub(super) fn receipts(&self) -> u64 {
        self.receipts.load(Ordering::Relaxed)
    }

    /// Waits until its connection has ended.
    pub(super) async fn ended(self, within: Duration) -> Result<u64, Failure> {
        let ended = tokio::time::timeout(within, self.publishing).await;
        ended
            .map_err(|_| Failure::internal("a producer of the old owner was never told to go"))?
            .map_err(Failure::internal)?;
        Ok(self.receipts.load(Ordering::Relaxed))
    }
}

/// Sends whether or not receipts come: what waits in sockets is what an owner finds that wakes up.
async fn publish(mut publisher: Publisher, receipts: Arc<AtomicU64>) -> ClientError {
    let mut beat = tokio::time::interval(EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = beat.tick() => {
                publisher.publish(ProducerId(0), PAYLOAD);
                if let Err(error) = publisher.flush().await {
                    return error;
                }
            }
            outcome = publisher.receipt_without_deadline() => match outcome {
                Ok(_) => drop(receipts.fetch_add(1, Ordering::Relaxed)),
                Err(error) => return error,
            },
        }
    }
}
