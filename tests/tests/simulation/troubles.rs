//! Metadata as one process reaches it: late, away, with answers that are lost and watches that say nothing.
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metadata::{DEADLINE, Error, Key, Lease, MemoryStore, MetadataStore, Page, Record, Transaction, Version, Watch};
use parking_lot::Mutex;
use tokio::time::sleep;

use crate::chance::Chance;

/// A prefix that nothing lies below.
const NOWHERE: &str = "nowhere/";

#[derive(Debug, Clone)]
pub(crate) struct Troubled {
    pub(crate) truth: MemoryStore,
    chance: Chance,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    away: bool,
    calm: bool,
}

impl Troubled {
    pub(crate) fn new(truth: MemoryStore, chance: Chance) -> Self {
        Self { truth, chance, state: Arc::default() }
    }

    pub(crate) fn set_away(&self, away: bool) {
        self.state.lock().away = away;
    }

    /// From now on nothing goes wrong.
    pub(crate) fn calm_down(&self) {
        *self.state.lock() = State { away: false, calm: true };
    }

    fn is_away(&self) -> bool {
        self.state.lock().away
    }

    fn goes_wrong(&self, odds: u64) -> bool {
        !self.state.lock().calm && self.chance.happens(odds)
    }

    async fn reach(&self) -> Result<(), Error> {
        sleep(self.chance.millis(0, 4)).await;
        if self.is_away() {
            sleep(DEADLINE).await;
            return Err(Error::Unavailable { reason: "the store is away".into() });
        }
        if self.goes_wrong(200) {
            return Err(Error::Unavailable { reason: "a connection was refused".into() });
        }
        Ok(())
    }

    /// The answer is lost: the transaction happens now, later, or never.
    async fn lose_answer(&self, transaction: Transaction) -> Error {
        self.chance.saw("transactions of unknown outcome");
        match self.chance.below(3) {
            0 => {
                let _ = self.truth.commit(transaction).await;
            }
            1 => {
                let (truth, late) = (self.truth.clone(), self.chance.millis(0, 6000));
                tokio::spawn(async move {
                    sleep(late).await;
                    let _ = truth.commit(transaction).await;
                });
            }
            _ => {}
        }
        sleep(Duration::from_millis(self.chance.below(2) * 5000)).await;
        Error::OutcomeUnknown
    }
}

#[async_trait]
impl MetadataStore for Troubled {
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        self.reach().await?;
        let found = self.truth.get(key).await;
        sleep(self.chance.millis(0, 4)).await;
        found
    }

    async fn commit(&self, transaction: Transaction) -> Result<Version, Error> {
        if self.is_away() || self.goes_wrong(25) {
            return Err(self.lose_answer(transaction).await);
        }
        self.reach().await?;
        let outcome = self.truth.commit(transaction).await;
        sleep(self.chance.millis(0, 4)).await;
        outcome
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Page, Error> {
        self.reach().await?;
        self.truth.list(prefix, after, limit).await
    }

    async fn watch(&self, prefix: &str) -> Result<Watch, Error> {
        self.reach().await?;
        if self.goes_wrong(3) {
            self.chance.saw("watches that said nothing");
            return self.truth.watch(NOWHERE).await;
        }
        self.truth.watch(prefix).await
    }

    async fn lease(&self, ttl: Duration) -> Result<Lease, Error> {
        self.reach().await?;
        self.truth.lease(ttl).await
    }
}
