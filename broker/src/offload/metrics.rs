//! What `/metrics` tells of tiered storage.
//!
//! Of each namespace that offloaded or read objects since this broker started, with `cluster` and `namespace`, under the names of
//! Apache Pulsar: `brk_ledgeroffloader_offload_rate`, `brk_ledgeroffloader_read_offload_rate` (bytes per second since the last time
//! they were asked for), `brk_ledgeroffloader_offload_error_total`, `brk_ledgeroffloader_write_storage_error_total`,
//! `brk_ledgeroffloader_read_offload_error_total`, `brk_ledgeroffloader_delete_offload_ops_total` (`status`: `succeed`, `failed`), and
//! as summaries in microseconds `brk_ledgeroffloader_read_ledger_latency`, `brk_ledgeroffloader_read_offload_index_latency`,
//! `brk_ledgeroffloader_read_offload_data_latency`. Of each store, with `cluster` and `store`: `geminga_object_requests_total`,
//! `geminga_object_request_errors_total` (`operation`: `put`, `get`, `head`, `list`, `delete`), `geminga_object_bytes_total`
//! (`direction`: `sent`, `received`). Of this broker: `geminga_object_cache_bytes`, `geminga_object_index_bytes`,
//! `geminga_object_cache_hits_total`, `geminga_object_cache_misses_total`.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use daemon::metrics::{Kind, MetricText};
use parking_lot::Mutex;
use proto::{NamespaceName, TopicName};

use super::objects::Objects;
use super::requests::Operation;
use super::stores::{Store, Stores};
use crate::rate::Rate;

/// Counts what was offloaded and read, by namespace. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Offloading {
    /// A lock and not a task: counted under it, a few times for each MiB.
    namespaces: Arc<Mutex<BTreeMap<NamespaceName, Numbers>>>,
}

#[derive(Debug, Clone, Default)]
struct Numbers {
    offloaded: u64,
    offload_errors: u64,
    write_errors: u64,
    read: u64,
    read_errors: u64,
    deleted: u64,
    delete_errors: u64,
    ledger_reads: Latency,
    index_reads: Latency,
    data_reads: Latency,
    offload_rate: Rate,
    read_rate: Rate,
}

#[derive(Debug, Clone, Copy, Default)]
struct Latency {
    count: u64,
    sum: Duration,
}

impl Latency {
    fn add(&mut self, took: Duration) {
        self.count += 1;
        self.sum += took;
    }
}

/// How an upload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// With so many bytes of payload.
    Done(u64),
    /// Something failed before the store did.
    Failed,
    /// The store failed.
    StoreFailed,
}

impl Offloading {
    pub(super) fn uploaded(&self, topic: &TopicName, outcome: Outcome) {
        self.count(topic, |numbers| match outcome {
            Outcome::Done(bytes) => numbers.offloaded += bytes,
            Outcome::Failed => numbers.offload_errors += 1,
            Outcome::StoreFailed => {
                numbers.offload_errors += 1;
                numbers.write_errors += 1;
            }
        });
    }

    pub(super) fn ledger_read(&self, topic: &TopicName, took: Duration) {
        self.count(topic, |numbers| numbers.ledger_reads.add(took));
    }

    pub(super) fn opened(&self, topic: &TopicName, took: Duration) {
        self.count(topic, |numbers| numbers.index_reads.add(took));
    }

    pub(super) fn fetched(&self, topic: &TopicName, took: Duration) {
        self.count(topic, |numbers| numbers.data_reads.add(took));
    }

    /// `None`: it failed.
    pub(super) fn read(&self, topic: &TopicName, bytes: Option<usize>) {
        self.count(topic, |numbers| match bytes {
            Some(bytes) => numbers.read += bytes as u64,
            None => numbers.read_errors += 1,
        });
    }

    pub(super) fn deleted(&self, topic: &TopicName, done: bool) {
        self.count(topic, |numbers| *(if done { &mut numbers.deleted } else { &mut numbers.delete_errors }) += 1);
    }

    fn count(&self, topic: &TopicName, change: impl FnOnce(&mut Numbers)) {
        let mut namespaces = self.namespaces.lock();
        match namespaces.get_mut(topic.namespace()) {
            Some(numbers) => change(numbers),
            None => change(namespaces.entry(topic.namespace().clone()).or_default()),
        }
    }

    /// All numbers, with rates up to now.
    fn snapshot(&self, now_ms: u64) -> Vec<Shown> {
        let mut namespaces = self.namespaces.lock();
        let rates = |(name, numbers): (&NamespaceName, &mut Numbers)| {
            let up_to_now = |rate: &mut Rate, total: u64| {
                rate.add(0, total - rate.bytes, now_ms);
                rate.per_second(now_ms).1
            };
            let offload_rate = up_to_now(&mut numbers.offload_rate, numbers.offloaded);
            let read_rate = up_to_now(&mut numbers.read_rate, numbers.read);
            Shown { namespace: name.to_string(), numbers: numbers.clone(), offload_rate, read_rate }
        };
        namespaces.iter_mut().map(rates).collect()
    }
}

/// What a page shows of one namespace.
struct Shown {
    namespace: String,
    numbers: Numbers,
    offload_rate: f64,
    read_rate: f64,
}

/// Writes the page's part about objects.
pub fn render(stores: &Stores, objects: &Objects, cluster: &str, now_ms: u64, page: &mut MetricText) {
    namespaces(&stores.offloading().snapshot(now_ms), cluster, page);
    let mut opened = stores.opened();
    opened.sort_by_key(|store| store.location().to_string());
    requests(&opened, cluster, page);
    let numbers = objects.cache();
    let labels = [("cluster", cluster)];
    page.family(
        "geminga_object_cache_bytes",
        Kind::Gauge,
        "blocks of objects in memory, held and on their way, in bytes",
    )
    .sample(&labels, numbers.bytes);
    page.family("geminga_object_index_bytes", Kind::Gauge, "indexes of objects in memory, in bytes")
        .sample(&labels, numbers.index_bytes);
    page.family("geminga_object_cache_hits_total", Kind::Counter, "blocks that were there when a reader wanted them")
        .sample(&labels, numbers.hits);
    page.family("geminga_object_cache_misses_total", Kind::Counter, "blocks that a reader had to wait for")
        .sample(&labels, numbers.misses);
}

fn namespaces(found: &[Shown], cluster: &str, page: &mut MetricText) {
    type Rate = (&'static str, &'static str, fn(&Shown) -> f64);
    let rates: [Rate; 2] = [
        ("brk_ledgeroffloader_offload_rate", "payload offloaded, in bytes per second", |shown| shown.offload_rate),
        ("brk_ledgeroffloader_read_offload_rate", "payload read from objects, in bytes per second", |shown| {
            shown.read_rate
        }),
    ];
    for (name, help, rate) in rates {
        let mut family = page.family(name, Kind::Gauge, help);
        for shown in found {
            family.sample(&[("cluster", cluster), ("namespace", &shown.namespace)], rate(shown));
        }
    }
    type Count = (&'static str, &'static str, fn(&Numbers) -> u64);
    let counts: [Count; 3] = [
        ("brk_ledgeroffloader_offload_error_total", "attempts to offload that failed", |n| n.offload_errors),
        ("brk_ledgeroffloader_write_storage_error_total", "attempts that failed because of the store", |n| {
            n.write_errors
        }),
        ("brk_ledgeroffloader_read_offload_error_total", "reads from objects that failed", |n| n.read_errors),
    ];
    for (name, help, count) in counts {
        let mut family = page.family(name, Kind::Counter, help);
        for shown in found {
            family.sample(&[("cluster", cluster), ("namespace", &shown.namespace)], count(&shown.numbers));
        }
    }
    let help = "attempts whose objects were deleted, and those whose were not yet";
    let mut family = page.family("brk_ledgeroffloader_delete_offload_ops_total", Kind::Counter, help);
    for Shown { namespace, numbers, .. } in found {
        let labels = |status| [("cluster", cluster), ("namespace", &**namespace), ("status", status)];
        family.sample(&labels("succeed"), numbers.deleted).sample(&labels("failed"), numbers.delete_errors);
    }
    latencies(found, cluster, page);
}

fn latencies(found: &[Shown], cluster: &str, page: &mut MetricText) {
    type Part = (&'static str, &'static str, fn(&Numbers) -> Latency);
    let latencies: [Part; 3] = [
        ("brk_ledgeroffloader_read_ledger_latency", "reading a batch from bookies, in microseconds", |n| {
            n.ledger_reads
        }),
        ("brk_ledgeroffloader_read_offload_index_latency", "opening an object, in microseconds", |n| n.index_reads),
        ("brk_ledgeroffloader_read_offload_data_latency", "reading a range, in microseconds", |n| n.data_reads),
    ];
    for (name, help, latency) in latencies {
        let mut family = page.family(name, Kind::Summary, help);
        for Shown { namespace, numbers, .. } in found {
            let (labels, latency) = ([("cluster", cluster), ("namespace", &**namespace)], latency(numbers));
            family.suffixed("_sum", &labels, latency.sum.as_micros() as f64).suffixed("_count", &labels, latency.count);
        }
    }
}

fn requests(stores: &[Arc<Store>], cluster: &str, page: &mut MetricText) {
    let mut operations = |name: &str, help: &str, value: &dyn Fn(&Store, Operation) -> u64| {
        let mut family = page.family(name, Kind::Counter, help);
        for store in stores {
            for operation in Operation::ALL {
                let location = store.location().to_string();
                let labels = [("cluster", cluster), ("store", &*location), ("operation", operation.as_str())];
                family.sample(&labels, value(store, operation));
            }
        }
    };
    operations("geminga_object_requests_total", "requests to the store", &|store, one| store.requests().made(one));
    let errors = "requests to the store that failed";
    operations("geminga_object_request_errors_total", errors, &|store, one| store.requests().failed(one));
    let mut family = page.family("geminga_object_bytes_total", Kind::Counter, "bytes of objects sent and received");
    for store in stores {
        let location = store.location().to_string();
        let labels = |direction| [("cluster", cluster), ("store", &*location), ("direction", direction)];
        family.sample(&labels("sent"), store.requests().bytes_sent());
        family.sample(&labels("received"), store.requests().bytes_received());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offload::objects::Sequence;
    use crate::offload::rig::{self, ONE_OBJECT};
    use crate::offload::stores::Kinds;
    use proto::EntryId;

    #[tokio::test]
    async fn the_page_tells_what_was_offloaded_and_asked_for() {
        let stores = Stores::new(1, Kinds::All);
        let store = stores.open(&rig::location()).unwrap();
        let objects = Objects::new(stores.clone(), 8 << 20);
        let payloads: Vec<_> = (0..10).map(|number| rig::payload(number, 1000)).collect();
        let ledger = rig::offloaded(&store, 1, &payloads, ONE_OBJECT).await;
        let read = objects.read(&ledger, EntryId(0)..EntryId(10), 1 << 20, &mut Sequence::default()).await;
        assert_eq!(read.unwrap().len(), 10);
        crate::offload::delete(&store, &ledger.attempt).await.unwrap();
        let gone = crate::offload::OffloadedLedger { attempt: rig::attempt(2), ..ledger };
        objects.read(&gone, EntryId(0)..EntryId(1), 1, &mut Sequence::default()).await.unwrap_err();
        stores.offloading().snapshot(1000);
        let mut page = MetricText::new();
        render(&stores, &objects, "c", 3000, &mut page);
        let page = page.finish();
        let of = "cluster=\"c\",namespace=\"public/default\"";
        for line in [
            format!("brk_ledgeroffloader_read_offload_error_total{{{of}}} 1"),
            format!("brk_ledgeroffloader_delete_offload_ops_total{{{of},status=\"succeed\"}} 1"),
            format!("brk_ledgeroffloader_read_offload_index_latency_count{{{of}}} 2"),
            format!("brk_ledgeroffloader_offload_error_total{{{of}}} 0"),
            "geminga_object_requests_total{cluster=\"c\",store=\"memory:///rig\",operation=\"delete\"} 2".into(),
            "geminga_object_cache_hits_total{cluster=\"c\"} 1".into(),
        ] {
            assert!(page.lines().any(|found| found == line), "{line} in\n{page}");
        }
    }
}
