//! Everything in memory, for tests: as exact as the others, and gone with the process.
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::keyspace::{self, Keyspace};
use crate::lease::{Lease, keep_in_process, lease};
use crate::limits;
use crate::store::{Error, Key, LeaseId, MetadataStore, Page, Record, Transaction, Version};
use crate::watch::{Watch, Watchers};

/// Records in memory. Clones share them. Leases run on tokio's clock, so a test with paused time need not wait for them.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    // A lock and no task: every call is one short step without waiting, and a store can be made outside a runtime.
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    away: bool,
    keyspace: Keyspace,
    durable: BTreeMap<Key, Record>,
    watchers: Watchers,
    lost: BTreeMap<LeaseId, watch::Sender<bool>>,
}

impl State {
    fn present(&mut self) -> Result<&mut Self, Error> {
        if self.away {
            return Err(Error::Unavailable { reason: "the store is away, as the test asked".into() });
        }
        Ok(self)
    }

    fn end(&mut self, lease: LeaseId) {
        let events = self.keyspace.end(lease);
        self.watchers.publish(&events);
        if let Some(lost) = self.lost.remove(&lease) {
            lost.send_replace(true);
        }
    }
}

impl MemoryStore {
    /// A fault for tests: while `away`, every call fails with [`Error::Unavailable`] and does nothing, and watches end.
    pub fn set_away(&self, away: bool) {
        let mut state = self.state.lock();
        state.away = away;
        if away {
            state.watchers.end();
        }
    }

    /// A fault for tests: every lease ends now, although its holder lives.
    pub fn end_leases(&self) {
        let mut state = self.state.lock();
        for lease in state.keyspace.leases() {
            state.end(lease);
        }
    }
}

#[async_trait]
impl MetadataStore for MemoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        limits::check_key(key)?;
        let mut state = self.state.lock();
        let state = state.present()?;
        keyspace::get(state.keyspace.leased(), &state.durable, key)
    }

    async fn commit(&self, transaction: Transaction) -> Result<Version, Error> {
        let mut state = self.state.lock();
        let state = state.present()?;
        let outcome = state.keyspace.commit(&mut state.durable, &transaction)?;
        state.watchers.publish(&outcome.events);
        Ok(outcome.version)
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Page, Error> {
        let mut state = self.state.lock();
        let state = state.present()?;
        let durable = state
            .durable
            .range::<str, _>((keyspace::start(prefix, after), Bound::Unbounded))
            .map(|(_, record)| Ok(record.clone()));
        keyspace::page(state.keyspace.leased(), durable, prefix, after, limit)
    }

    async fn watch(&self, prefix: &str) -> Result<Watch, Error> {
        Ok(self.state.lock().present()?.watchers.add(prefix))
    }

    async fn lease(&self, ttl: Duration) -> Result<Lease, Error> {
        limits::check_ttl(ttl)?;
        let (lease, keeper) = {
            let mut state = self.state.lock();
            let state = state.present()?;
            let id = state.keyspace.grant();
            let (lease, keeper) = lease(id);
            state.lost.insert(id, keeper.lost.clone());
            (lease, keeper)
        };
        let state = Arc::downgrade(&self.state);
        let id = lease.id();
        tokio::spawn(keep_in_process(keeper, ttl, async move || {
            if let Some(state) = state.upgrade() {
                state.lock().end(id);
            }
        }));
        Ok(lease)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Expect, Operation, conformance};

    #[tokio::test(start_paused = true)]
    async fn it_keeps_the_contract() {
        conformance::check(async |_: &str| Arc::new(MemoryStore::default()) as Arc<dyn MetadataStore>).await;
    }

    #[tokio::test(start_paused = true)]
    async fn while_away_nothing_is_written_and_watches_end() {
        let store = MemoryStore::default();
        let mut watch = store.watch("").await.unwrap();
        store.set_away(true);
        let put = Transaction::new(vec![Operation::put("a", "1", Expect::Any)]);
        assert!(matches!(store.commit(put).await, Err(Error::Unavailable { .. })));
        assert!(matches!(watch.next().await, Err(Error::Unavailable { .. })));
        store.set_away(false);
        assert_eq!(store.get(&"a".into()).await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_hears_that_its_lease_has_ended() {
        let store = MemoryStore::default();
        let mut lease = store.lease(Duration::from_secs(2)).await.unwrap();
        let put = Operation::put_leased("a", "1", Expect::Absent, lease.id());
        store.commit(Transaction::new(vec![put])).await.unwrap();
        store.end_leases();
        lease.lost().await;
        assert_eq!(store.get(&"a".into()).await.unwrap(), None);
    }
}
