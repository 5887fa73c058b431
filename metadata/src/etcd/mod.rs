//! The store of a cluster: etcd, shared by all its processes.
//!
//! Keys stand below `/geminga/CLUSTER/`; a record's version is etcd's `mod_revision`. The client connects again by itself.
mod failure;
mod keeper;
mod listing;
mod server;
mod transaction;
mod watching;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use etcd_client::{Client, ConnectOptions, KeyValue, KvClient};
use tokio::time::{Instant, sleep, timeout_at};

use crate::lease::{Lease, lease};
use crate::settle::settle;
use crate::store::{DEADLINE, Error, Key, LeaseId, MetadataStore, Page, Record, Transaction, Version};
use crate::watch::Watch;
use crate::{envelope, limits};
use failure::{Failure, failure};

/// One attempt waits this long, so that a call has several: a member that is stuck must not use up the whole deadline.
const ATTEMPT: Duration = Duration::from_secs(3);
/// Between two attempts, at first.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// A dead connection with a request on it is noticed after these two. Etcd forbids pings more often than every 5 s.
const PING_INTERVAL: Duration = Duration::from_secs(6);
const PING_WAIT: Duration = Duration::from_secs(3);
const CONNECT_WAIT: Duration = Duration::from_secs(2);
/// A hundred records of the largest size, and what stands around them.
const ANSWER_BYTES_MAX: usize = 112 * 1024 * 1024;
/// Cluster names stand in every key.
const CLUSTER_BYTES_MAX: usize = 100;

/// Records in etcd.
#[derive(Clone)]
pub struct EtcdStore {
    client: Client,
    prefix: String,
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl EtcdStore {
    /// A store for the keys of `cluster`, after looking at the versions of those `endpoints` (`host:port`) that answer.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when none answers, [`Error::Refused`] when one is of a version that may lose data, or for a name
    /// of a cluster that cannot stand in a key.
    pub async fn connect(endpoints: &[String], cluster: &str) -> Result<Self, Error> {
        check_cluster(cluster)?;
        server::check_versions(endpoints).await?;
        let client = client(endpoints).await?;
        Ok(Self { client, prefix: format!("/geminga/{cluster}/") })
    }

    fn kv(&self) -> KvClient {
        self.client.kv_client().max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// As etcd knows it.
    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn key(&self, full: &[u8]) -> Result<Key, Error> {
        let key = std::str::from_utf8(full).ok().and_then(|full| full.strip_prefix(&self.prefix));
        key.map(Key::from).ok_or_else(|| Error::Corrupt { key: String::from_utf8_lossy(full).into_owned().into() })
    }

    fn record(&self, pair: KeyValue) -> Result<Record, Error> {
        let version = version(pair.mod_revision());
        let (full, stored) = pair.into_key_value();
        let key = self.key(&full)?;
        let (token, value) = envelope::open(&key, &Bytes::from(stored))?;
        Ok(Record { key, value, version, token })
    }
}

/// Connects when it is first used.
async fn client(endpoints: &[String]) -> Result<Client, Error> {
    let options = ConnectOptions::new()
        .with_connect_timeout(CONNECT_WAIT)
        .with_keep_alive(PING_INTERVAL, PING_WAIT)
        .with_keep_alive_while_idle(false)
        .with_require_leader(true);
    Client::connect(endpoints, Some(options)).await.map_err(|error| failure(error).into_error())
}

fn check_cluster(cluster: &str) -> Result<(), Error> {
    let good = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    if cluster.is_empty() || CLUSTER_BYTES_MAX < cluster.len() || !cluster.chars().all(good) {
        let reason = format!(
            "`{cluster}` as the name of a cluster: up to {CLUSTER_BYTES_MAX} letters, digits, `-`, `_` and `.`"
        );
        return Err(Error::Refused { reason });
    }
    Ok(())
}

/// Etcd counts from 1.
fn version(revision: i64) -> Version {
    Version(u64::try_from(revision).unwrap_or(0))
}

/// The first key after all those that start with `full`, a beginning of UTF-8: it is never empty and never ends with the last byte.
fn end_of(full: &[u8]) -> Vec<u8> {
    let mut end = full.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// Repeats what may be repeated until it succeeds, is refused, or the deadline passes.
async fn until<T, F>(deadline: Instant, mut attempt: impl FnMut() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, etcd_client::Error>>,
{
    let mut pause = PAUSE_MIN;
    loop {
        let wait = deadline.min(Instant::now() + ATTEMPT);
        let failure = match timeout_at(wait, attempt()).await {
            Ok(Ok(outcome)) => return Ok(outcome),
            Ok(Err(error)) => failure(error),
            Err(_) => Failure::Lost(format!("no answer from etcd within {ATTEMPT:?}")),
        };
        let repeats = matches!(failure, Failure::NotDone(_) | Failure::Lost(_));
        if !repeats || deadline < Instant::now() + pause {
            return Err(failure);
        }
        sleep(pause).await;
        pause = (2 * pause).min(PAUSE_MAX);
    }
}

#[async_trait]
impl MetadataStore for EtcdStore {
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        limits::check_key(key)?;
        let full = self.full(key.as_str());
        let mut answer = until(Instant::now() + DEADLINE, || {
            let (mut kv, full) = (self.kv(), full.clone());
            async move { kv.get(full, None).await }
        })
        .await
        .map_err(Failure::into_error)?;
        answer.take_kvs().into_iter().next().map(|pair| self.record(pair)).transpose()
    }

    async fn commit(&self, transaction: Transaction) -> Result<Version, Error> {
        limits::check_transaction(&transaction)?;
        settle(self, &transaction, Instant::now() + DEADLINE).await
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Page, Error> {
        limits::check_limit(limit)?;
        listing::list(self, prefix, after, limit).await
    }

    async fn watch(&self, prefix: &str) -> Result<Watch, Error> {
        watching::watch(self, prefix).await
    }

    async fn lease(&self, ttl: Duration) -> Result<Lease, Error> {
        limits::check_ttl(ttl)?;
        // Etcd counts in seconds, and grants two at least.
        let seconds = i64::try_from(ttl.as_millis().div_ceil(1000))
            .map_err(|_| Error::Refused { reason: format!("a lease of {ttl:?}") })?;
        // An attempt whose answer was lost leaves a lease without records, which runs out.
        let granted = until(Instant::now() + DEADLINE, || {
            let mut leases = self.client.lease_client();
            async move { leases.grant(seconds, None).await }
        });
        let id = granted.await.map_err(Failure::into_error)?.id();
        let (lease, keeper) = lease(LeaseId(id));
        tokio::spawn(keeper::keep(self.client.lease_client(), keeper, id, ttl));
        Ok(lease)
    }
}
