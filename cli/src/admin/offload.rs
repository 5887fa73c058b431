//! Our own group of commands: what objects hold, whether it is what the records say, and what it costs. The shapes of the answers
//! are drawn in `docs/operations/tiered-storage.md`.
use std::fmt::Write;

use daemon::Failure;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::show::{bytes, table};
use super::value::Kind;
use super::verb::{Resource, Shows, Verb, flag, get, post, switch};

pub(super) const OFFLOAD: Resource =
    Resource { name: "offload", about: "What object stores hold, and what it costs", verbs: &[VERBS] };

const VERBS: &[Verb] = &[
    post("scrub", "geminga/offload/scrub", "Compare what stores hold with what records say")
        .takes(&[
            switch("remove", "--remove", "Remove objects that nobody refers to").query("remove"),
            flag("grace", "--grace", Kind::Seconds, "Leave objects alone that are younger")
                .or("24h")
                .query("graceSeconds"),
            flag("store", "--store", Kind::Text("STORE"), "Only this store, by the name that a scrub shows")
                .query("store"),
        ])
        .shows(Shows::Text(|_, answer| read::<Scrub>(answer).map(|scrub| scrub.shown())))
        .alarm(lost),
    get("status", "geminga/offload/status", "What is in objects, what waits to go there, and what is under way")
        .shows(Shows::Text(|_, answer| read::<Status>(answer).map(|status| status.shown()))),
    get(
        "cost",
        "geminga/offload/cost",
        "What a month like the time that was counted costs, at the server's prices or those given",
    )
    .takes(&[
        flag("storage", "--storage-gb-month", Kind::Price, "A GB kept for a month").query("storageGbMonth"),
        flag("put", "--put-1000", Kind::Price, "A thousand requests that write or list").query("put1000"),
        flag("get", "--get-1000", Kind::Price, "A thousand requests that read or ask").query("get1000"),
        flag("egress", "--egress-gb", Kind::Price, "A GB that leaves the store's network").query("egressGb"),
    ])
    .shows(Shows::Text(|_, answer| read::<Cost>(answer).map(|cost| cost.shown()))),
];

fn read<T: DeserializeOwned>(answer: &Value) -> Result<T, Failure> {
    T::deserialize(answer)
        .map_err(|error| Failure::internal(format!("the server's answer is another than expected: {error}")))
}

/// Of one scrub.
#[derive(Debug, Deserialize)]
struct Scrub {
    stores: Vec<ScrubbedStore>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScrubbedStore {
    store: String,
    /// Objects that are as recorded, and their bytes.
    sound: u64,
    sound_bytes: u64,
    /// Objects that an intent will remove.
    intended: u64,
    missing: Vec<Missing>,
    wrong_size: Vec<WrongSize>,
    orphans: Vec<Orphan>,
    /// Objects of a referred attempt beyond the number recorded.
    surplus: Vec<String>,
    /// Names that this version does not write.
    unknown: Vec<String>,
}

/// A record refers to an object that is not there.
#[derive(Debug, Deserialize)]
struct Missing {
    topic: String,
    ledger: u64,
    object: String,
}

/// All objects of a ledger are there, with other bytes than recorded.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrongSize {
    topic: String,
    ledger: u64,
    recorded_bytes: u64,
    found_bytes: u64,
}

/// An object that nobody refers to.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Orphan {
    object: String,
    bytes: u64,
    age_seconds: u64,
    /// Older than the grace.
    removable: bool,
    removed: bool,
}

impl Scrub {
    fn shown(&self) -> String {
        let row = |store: &ScrubbedStore| {
            let counts = [
                store.sound,
                store.missing.len() as u64,
                store.wrong_size.len() as u64,
                store.orphans.len() as u64,
                store.intended,
                store.surplus.len() as u64,
                store.unknown.len() as u64,
            ];
            let mut row = vec![store.store.clone()];
            row.extend(counts.map(|count| count.to_string()));
            row.insert(2, bytes(store.sound_bytes));
            row
        };
        let headings =
            ["store", "sound", "bytes", "missing", "wrong size", "orphans", "to be removed", "surplus", "unknown"];
        let mut text = table(&headings, &self.stores.iter().map(row).collect::<Vec<_>>());
        if text.is_empty() {
            return "no store is in use\n".into();
        }
        for store in &self.stores {
            store.details(&mut text);
        }
        text
    }
}

impl ScrubbedStore {
    fn details(&self, text: &mut String) {
        let mut line = |what: String| writeln!(text, "{what}").expect("a text can be written to");
        for Missing { topic, ledger, object } in &self.missing {
            line(format!("MISSING     {object}, of ledger {ledger} of {topic}"));
        }
        for WrongSize { topic, ledger, recorded_bytes, found_bytes } in &self.wrong_size {
            line(format!("WRONG SIZE  ledger {ledger} of {topic}: {found_bytes} bytes instead of {recorded_bytes}"));
        }
        for orphan in &self.orphans {
            let fate = match (orphan.removed, orphan.removable) {
                (true, _) => "removed",
                (false, true) => "may be removed",
                (false, false) => "too young to be removed",
            };
            let Orphan { object, age_seconds, .. } = orphan;
            line(format!("orphan      {object}, {}, {age_seconds} s old: {fate}", bytes(orphan.bytes)));
        }
        for object in &self.surplus {
            line(format!("surplus     {object}"));
        }
        for object in &self.unknown {
            line(format!("unknown     {object}"));
        }
    }
}

/// Data that a record promises and a store does not have.
fn lost(answer: &Value) -> Option<Failure> {
    let scrub = match read::<Scrub>(answer) {
        Ok(scrub) => scrub,
        Err(failure) => return Some(failure), // What cannot be read is no all-clear, whichever way it is shown.
    };
    let count = |of: fn(&ScrubbedStore) -> usize| scrub.stores.iter().map(of).sum::<usize>();
    let (missing, wrong_size) = (count(|store| store.missing.len()), count(|store| store.wrong_size.len()));
    (0 < missing + wrong_size)
        .then(|| Failure::internal(format!("{missing} objects are missing and {wrong_size} ledgers have a wrong size")))
}

/// Of all brokers.
#[derive(Debug, Deserialize)]
struct Status {
    uploads: Vec<Upload>,
    topics: Vec<OffloadedTopic>,
}

/// What a broker is uploading.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Upload {
    broker: String,
    topic: String,
    ledger: u64,
    bytes: u64,
    uploaded_bytes: u64,
}

/// A topic that has something in objects or ready to go there.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OffloadedTopic {
    topic: String,
    offloaded_ledgers: u64,
    offloaded_bytes: u64,
    /// Sealed, to be moved by what is set, and not moved yet.
    waiting_ledgers: u64,
    waiting_bytes: u64,
    /// In objects and still on bookies.
    both_bytes: u64,
    last_error: Option<String>,
}

impl Status {
    fn shown(&self) -> String {
        let upload = |upload: &Upload| {
            let done = 100 * u128::from(upload.uploaded_bytes) / u128::from(upload.bytes.max(1));
            vec![
                upload.broker.clone(),
                upload.topic.clone(),
                upload.ledger.to_string(),
                bytes(upload.bytes),
                format!("{done} %"),
            ]
        };
        let topic = |topic: &OffloadedTopic| {
            vec![
                topic.topic.clone(),
                topic.offloaded_ledgers.to_string(),
                bytes(topic.offloaded_bytes),
                topic.waiting_ledgers.to_string(),
                bytes(topic.waiting_bytes),
                bytes(topic.both_bytes),
                topic.last_error.clone().unwrap_or_else(|| "-".into()),
            ]
        };
        let topics = ["topic", "in objects", "bytes", "waiting", "bytes", "on both", "last error"];
        let topics = table(&topics, &self.topics.iter().map(topic).collect::<Vec<_>>());
        let uploads = ["broker uploads", "topic", "ledger", "size", "done"];
        let uploads = table(&uploads, &self.uploads.iter().map(upload).collect::<Vec<_>>());
        match (topics.is_empty(), uploads.is_empty()) {
            (true, true) => "nothing is in objects, and nothing waits to go there\n".into(),
            (false, false) => format!("{topics}\n{uploads}"),
            _ => topics + &uploads,
        }
    }
}

/// What was used, at which prices, and what a month of it costs.
#[derive(Debug, Deserialize)]
struct Cost {
    usage: Usage,
    prices: Prices,
    monthly: Monthly,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    stored_bytes: u64,
    /// Requests that write or list, and those that read or ask.
    puts: u64,
    gets: u64,
    read_bytes: u64,
    /// How long these were counted.
    over_seconds: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Prices {
    storage_gb_month: f64,
    put1000: f64,
    get1000: f64,
    egress_gb: f64,
}

#[derive(Debug, Deserialize)]
struct Monthly {
    storage: f64,
    puts: f64,
    gets: f64,
    egress: f64,
    total: f64,
}

impl Cost {
    fn shown(&self) -> String {
        let Self { usage, prices, monthly } = self;
        let money = |amount: f64| format!("{amount:.2}");
        let row = |what: &str, used: String, price: f64, unit: &str, cost: f64| {
            vec![what.into(), used, format!("{price} per {unit}"), money(cost)]
        };
        let rows = [
            row("storage", bytes(usage.stored_bytes), prices.storage_gb_month, "GB and month", monthly.storage),
            row("writes", usage.puts.to_string(), prices.put1000, "1000", monthly.puts),
            row("reads", usage.gets.to_string(), prices.get1000, "1000", monthly.gets),
            row("bytes read", bytes(usage.read_bytes), prices.egress_gb, "GB", monthly.egress),
            vec!["total".into(), String::new(), String::new(), money(monthly.total)],
        ];
        let hours = usage.over_seconds as f64 / 3600.0;
        let counted = format!("requests and bytes read were counted over {hours:.1} h\n");
        table(&["what", "used", "price", "$ a month"], &rows) + &counted
    }
}
