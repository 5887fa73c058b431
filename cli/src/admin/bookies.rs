//! Bookies: Pulsar's own lists, and our commands for taking them out of service and for reading what they hold.
use daemon::Failure;
use serde::Deserialize;
use serde_json::Value;

use super::given::Given;
use super::show::{bytes, table};
use super::value::Kind;
use super::verb::{Argument, Resource, Shows, Verb, Way, flag, get, positional, post, switch};

pub(super) const BOOKIES: Resource =
    Resource { name: "bookies", about: "Bookies, and what they hold", verbs: &[VERBS] };

const BOOKIE: Argument = positional("bookie", Kind::Text("BOOKIE"), "Its name, the beginning of it, or its HOST:PORT");

const VERBS: &[Verb] = &[
    get("list", "geminga/bookies", "All bookies, what they do, and how full they are").shows(Shows::Text(shown)),
    get("list-bookies", "bookies/all", "Bookies that are there, as Pulsar lists them"),
    get("racks-placement", "bookies/racks-info", "In which racks bookies stand"),
    post(
        "decommission",
        "geminga/bookies/{bookie}/decommission",
        "Move everything a bookie holds to others; once nothing is left, ask again and it is retired for good",
    )
    .takes(&[BOOKIE, switch("wait", "-w --wait", "Until it is retired")])
    .way(Way::UntilDone)
    .shows(Shows::Text(gone)),
    post("recommission", "geminga/bookies/{bookie}/recommission", "Take a bookie back that is being drained")
        .takes(&[BOOKIE])
        .shows(Shows::Text(gone)),
    post("audit", "geminga/bookies/audit", "Read what bookies hold, and have made good what is missing or damaged")
        .takes(&[
            flag("sample", "--sample", Kind::Count, "Percent of each ledger's entries").or("100").query("sample"),
            flag("after", "--after", Kind::Text("LEDGER"), "Go on after this ledger").query("after"),
        ])
        .way(Way::EachPart)
        .shows(Shows::Text(audited))
        .alarm(unwell),
];

fn read<'a, T: Deserialize<'a>>(answer: &'a Value) -> Result<T, Failure> {
    T::deserialize(answer)
        .map_err(|error| Failure::internal(format!("the server's answer is another than expected: {error}")))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bookie {
    bookie: String,
    address: String,
    rack: String,
    state: String,
    free_bytes: Option<u64>,
    total_bytes: Option<u64>,
    ledgers: u64,
}

fn shown(_: &Given, answer: &Value) -> Result<String, Failure> {
    let size = |told: Option<u64>| told.map_or_else(|| "-".into(), bytes);
    let row = |bookie: Bookie| {
        let Bookie { bookie, address, rack, state, free_bytes, total_bytes, ledgers } = bookie;
        vec![bookie, state, address, rack, size(free_bytes), size(total_bytes), ledgers.to_string()]
    };
    let rows: Vec<_> = read::<Vec<Bookie>>(answer)?.into_iter().map(row).collect();
    Ok(table(&["bookie", "state", "address", "rack", "free", "of", "ledgers"], &rows))
}

fn gone(_: &Given, answer: &Value) -> Result<String, Failure> {
    let Bookie { bookie, state, ledgers, .. } = read(answer)?;
    Ok(match state.as_str() {
        "retired" => format!("{bookie} is retired: it may be switched off, and never starts again\n"),
        state if state.starts_with("draining") => {
            format!("{bookie} is being drained: {ledgers} ledgers are still to be moved\n")
        }
        state => format!("{bookie} is {state}\n"),
    })
}

#[derive(Debug, Deserialize)]
struct Audit {
    ledgers: u64,
    whole: u64,
    found: Vec<Found>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    ledger: u64,
    fragment: u64,
    bookie: String,
    answered: bool,
    missing: u64,
    damaged: u64,
    first_bad: Option<u64>,
}

fn audited(_: &Given, answer: &Value) -> Result<String, Failure> {
    let Audit { ledgers, whole, found } = read(answer)?;
    let row = |found: &Found| {
        let Found { ledger, fragment, bookie, answered, missing, damaged, first_bad } = found;
        let first = first_bad.map_or_else(|| "-".into(), |entry| entry.to_string());
        let said = if *answered { "yes" } else { "no" };
        let numbers = [ledger, fragment].map(u64::to_string);
        numbers
            .into_iter()
            .chain([bookie.clone(), said.into(), missing.to_string(), damaged.to_string(), first])
            .collect()
    };
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    let found = table(&["ledger", "fragment", "bookie", "answered", "missing", "damaged", "first"], &rows);
    Ok(format!("{found}{ledgers} ledgers were read, {whole} copies of entries are whole\n"))
}

/// What was found is being made good, and somebody should look why it was so.
fn unwell(answer: &Value) -> Option<Failure> {
    let found = answer.get("found").and_then(Value::as_array).map_or(0, Vec::len);
    (0 < found)
        .then(|| Failure::internal(format!("{found} members of ledgers lack or spoil entries, or did not answer")))
}
