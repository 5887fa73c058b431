//! The answers, as `geminga admin offload` and scripts read them.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::offload::{Cost, Prices, Requests, Store, Usage};

/// Of one scrub.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Scrubbed {
    pub(crate) stores: Vec<ScrubbedStore>,
}

/// How one store and the records compare.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ScrubbedStore {
    pub(crate) store: String,
    pub(crate) sound: u64,
    pub(crate) sound_bytes: u64,
    pub(crate) intended: u64,
    pub(crate) missing: Vec<MissingObject>,
    pub(crate) wrong_size: Vec<WrongSize>,
    pub(crate) orphans: Vec<OrphanObject>,
    pub(crate) surplus: Vec<String>,
    pub(crate) unknown: Vec<String>,
}

/// An alarm.
#[derive(Debug, Serialize)]
pub(crate) struct MissingObject {
    pub(crate) topic: String,
    pub(crate) ledger: u64,
    pub(crate) object: String,
}

/// An alarm.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WrongSize {
    pub(crate) topic: String,
    pub(crate) ledger: u64,
    pub(crate) recorded_bytes: u64,
    pub(crate) found_bytes: u64,
}

/// An object that nobody refers to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrphanObject {
    pub(crate) object: String,
    pub(crate) bytes: u64,
    pub(crate) age_seconds: u64,
    pub(crate) removable: bool,
    pub(crate) removed: bool,
    /// Why it is kept although it is old: it may be all that is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kept_because: Option<&'static str>,
}

/// Where everything stands. Bytes are of payload.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    pub(crate) uploads: Vec<UploadShown>,
    pub(crate) topics: Vec<TopicStanding>,
    /// Sealed and on bookies.
    pub(crate) hot_bytes: u64,
    /// In objects.
    pub(crate) cold_bytes: u64,
    /// On disks of bookies, if what lies in objects only were still there with as many copies as new ledgers have.
    pub(crate) saved_bytes: u64,
    /// How long the oldest ledger that should have moved has been sealed.
    pub(crate) lag_seconds: u64,
}

/// What one broker knows and no record says.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LocalStatus {
    pub(crate) uploads: Vec<UploadShown>,
    /// By topic, why the last ledger that should have moved did not.
    pub(crate) errors: BTreeMap<String, String>,
}

/// What a broker is uploading.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct UploadShown {
    pub(crate) broker: String,
    pub(crate) topic: String,
    pub(crate) ledger: u64,
    pub(crate) bytes: u64,
    pub(crate) uploaded_bytes: u64,
}

/// A topic that has something in objects or ready to go there.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TopicStanding {
    pub(crate) topic: String,
    pub(crate) offloaded_ledgers: u64,
    pub(crate) offloaded_bytes: u64,
    pub(crate) waiting_ledgers: u64,
    pub(crate) waiting_bytes: u64,
    pub(crate) both_bytes: u64,
    pub(crate) last_error: Option<String>,
}

/// What was asked of stores by one broker since it started.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LocalUsage {
    pub(crate) over_seconds: u64,
    pub(crate) stores: BTreeMap<String, StoreUsage>,
}

/// Requests to one store, as price lists tell them apart, and bytes of objects.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct StoreUsage {
    pub(crate) put: u64,
    pub(crate) get: u64,
    pub(crate) head: u64,
    pub(crate) list: u64,
    pub(crate) delete: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
}

impl StoreUsage {
    pub(crate) fn of(store: &Store) -> Self {
        use crate::offload::Operation::{Delete, Get, Head, List, Put};
        let requests: &Requests = store.requests();
        let made = |operation| requests.made(operation);
        Self {
            put: made(Put),
            get: made(Get),
            head: made(Head),
            list: made(List),
            delete: made(Delete),
            sent_bytes: requests.bytes_sent(),
            received_bytes: requests.bytes_received(),
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.put += other.put;
        self.get += other.get;
        self.head += other.head;
        self.list += other.list;
        self.delete += other.delete;
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
    }
}

/// What a month costs that goes on as it did.
#[derive(Debug, Serialize)]
pub(crate) struct CostPage {
    pub(crate) usage: UsageShown,
    pub(crate) prices: PricesAsked,
    pub(crate) monthly: MonthlyShown,
    pub(crate) stores: BTreeMap<String, StoreUsage>,
}

/// What was used.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UsageShown {
    pub(crate) stored_bytes: u64,
    pub(crate) puts: u64,
    pub(crate) gets: u64,
    pub(crate) read_bytes: u64,
    pub(crate) over_seconds: u64,
}

impl From<Usage> for UsageShown {
    fn from(usage: Usage) -> Self {
        let Usage { stored_bytes, puts, gets, read_bytes, over } = usage;
        Self { stored_bytes, puts, gets, read_bytes, over_seconds: over.as_secs() }
    }
}

/// Prices, as a query gives them and the answer repeats them.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PricesAsked {
    pub(crate) storage_gb_month: f64,
    pub(crate) put1000: f64,
    pub(crate) get1000: f64,
    pub(crate) egress_gb: f64,
}

impl Default for PricesAsked {
    fn default() -> Self {
        let Prices { gb_month, put_thousand, get_thousand, egress_gb } = Prices::default();
        Self { storage_gb_month: gb_month, put1000: put_thousand, get1000: get_thousand, egress_gb }
    }
}

impl From<PricesAsked> for Prices {
    fn from(asked: PricesAsked) -> Self {
        let PricesAsked { storage_gb_month, put1000, get1000, egress_gb } = asked;
        Self { gb_month: storage_gb_month, put_thousand: put1000, get_thousand: get1000, egress_gb }
    }
}

/// What a month costs.
#[derive(Debug, Serialize)]
pub(crate) struct MonthlyShown {
    pub(crate) storage: f64,
    pub(crate) puts: f64,
    pub(crate) gets: f64,
    pub(crate) egress: f64,
    pub(crate) total: f64,
}

impl From<Cost> for MonthlyShown {
    fn from(cost: Cost) -> Self {
        let Cost { storage, puts, gets, egress } = cost;
        Self { storage, puts, gets, egress, total: cost.total() }
    }
}
