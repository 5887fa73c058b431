//! The commands that make more than the one request which the table describes.
use std::time::Duration;

use daemon::Failure;
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::given::Given;
use super::messages;
use super::request::Request;
use super::server::Server;
use super::verb::{Method, Verb, Way};

/// How often work that runs is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Does what a command is for, and returns the answer that is shown. `now_ms` is the time.
pub(super) async fn run(server: &Server, verb: &Verb, mut given: Given, now_ms: u64) -> Result<Value, Failure> {
    let read = |given: &Given, path: &str| Request::to(Method::Get, verb, given, path);
    match verb.way {
        Way::One => server.ask(&Request::of(verb, &given)).await,
        Way::UntilDone => until_done(server, verb, &given).await,
        Way::EachPart => each_part(server, verb, given).await,
        Way::EachDomain => each_domain(server, verb, given).await,
        Way::NewTenant => {
            if !given.has("clusters") {
                given.set("clusters", server.ask(&read(&given, "clusters")).await?);
            }
            server.ask(&Request::of(verb, &given)).await
        }
        Way::ChangedTenant => {
            let before = server.ask(&read(&given, verb.path)).await?;
            for (name, field) in [("clusters", "allowedClusters"), ("roles", "adminRoles")] {
                if !given.has(name) {
                    given.set(name, before.get(field).cloned().unwrap_or_else(|| json!([])));
                }
            }
            server.ask(&Request::of(verb, &given)).await
        }
        Way::ResetCursor => server.ask(&reset(verb, given, now_ms)?).await,
        Way::Messages => messages::read(server, verb, given).await,
        Way::Schemas if given.has("all") => server.ask(&read(&given, "schemas/{topic}/schemas")).await,
        Way::Schemas => server.ask(&Request::of(verb, &given)).await,
        Way::Offload => offload(server, verb, &given).await,
        Way::Threshold => {
            let answer = server.ask(&Request::of(verb, &given)).await?;
            if let Some(time) = given.get("time") {
                let request = Request::to(verb.method, verb, &given, THRESHOLD_IN_SECONDS);
                server.ask(&request.with(time.clone())).await?;
            }
            Ok(answer)
        }
        Way::BothThresholds => {
            let bytes = server.ask(&Request::of(verb, &given)).await?;
            let seconds = server.ask(&read(&given, THRESHOLD_IN_SECONDS)).await?;
            Ok(json!({"offloadThresholdInBytes": bytes, "offloadThresholdInSeconds": seconds}))
        }
    }
}

const THRESHOLD_IN_SECONDS: &str = "namespaces/{namespace}/offloadThresholdInSeconds";

async fn until_done(server: &Server, verb: &Verb, given: &Given) -> Result<Value, Failure> {
    loop {
        let answer = server.ask(&Request::of(verb, given)).await?;
        let is_running = answer.get("status").and_then(Value::as_str) == Some("RUNNING");
        if !is_running || !given.has("wait") {
            return Ok(answer);
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn each_part(server: &Server, verb: &Verb, mut given: Given) -> Result<Value, Failure> {
    let mut all = Map::new();
    loop {
        let Value::Object(mut part) = server.ask(&Request::of(verb, &given)).await? else {
            return Err(Failure::internal("the server's answer is another than expected"));
        };
        let after = part.remove("after");
        for (name, value) in part {
            join(all.entry(name).or_insert(Value::Null), value);
        }
        match after {
            Some(after) => given.set("after", after),
            None => return Ok(Value::Object(all)),
        }
    }
}

/// Numbers are added, lists appended.
fn join(to: &mut Value, more: Value) {
    match (&mut *to, more) {
        (Value::Array(all), Value::Array(more)) => all.extend(more),
        (Value::Number(sum), Value::Number(more)) => {
            *to = (sum.as_u64().unwrap_or(0) + more.as_u64().unwrap_or(0)).into();
        }
        (_, more) => *to = more,
    }
}

async fn each_domain(server: &Server, verb: &Verb, mut given: Given) -> Result<Value, Failure> {
    let domains = match given.text("domain") {
        "PERSISTENT" => &["persistent"][..],
        "NON_PERSISTENT" => &["non-persistent"],
        _ => &["persistent", "non-persistent"],
    };
    let mut all = Vec::new();
    for domain in domains {
        given.set("domain", (*domain).into());
        match server.ask(&Request::of(verb, &given)).await? {
            Value::Array(topics) => all.extend(topics),
            other => return Err(Failure::internal(format!("expected a list of topics, not {other}"))),
        }
    }
    Ok(Value::Array(all))
}

fn reset(verb: &Verb, mut given: Given, now_ms: u64) -> Result<Request, Failure> {
    match (given.has("position"), given.get("time").and_then(Value::as_i64)) {
        (true, None) => Ok(Request::of(verb, &given)),
        (false, Some(back_ms)) => {
            let time = i64::try_from(now_ms).unwrap_or(i64::MAX).saturating_sub(back_ms).max(0);
            given.set("timestamp", time.into());
            Ok(Request::to(verb.method, verb, &given, &format!("{}/{{timestamp}}", verb.path)))
        }
        _ => Err(Failure::usage("give either --messageId or --time")),
    }
}

/// The position before which messages move is found as Pulsar's own tool finds it: from the end of the topic backwards, ledgers
/// stay as long as they are no larger together than what is to be kept. The last ledger stays, be it written to or not, because a
/// position behind it is none.
async fn offload(server: &Server, verb: &Verb, given: &Given) -> Result<Value, Failure> {
    let stats = server.ask(&Request::to(Method::Get, verb, given, "{topic}/internalStats")).await?;
    let ledgers = stats.get("ledgers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_i64).unwrap_or(0);
    let mut sizes: Vec<(i64, i64)> =
        ledgers.iter().map(|ledger| (number(ledger, "ledgerId"), number(ledger, "size"))).collect();
    if let Some((_, size)) = sizes.last_mut() {
        // While it is written to, Apache Pulsar lists it without a size; once it is sealed, there is no current one.
        *size = number(&stats, "currentLedgerSize").max(*size);
    }
    let keep = given.get("keep").and_then(Value::as_i64).unwrap_or(i64::MAX);
    let Some(first_kept) = first_kept(&sizes, keep) else { return Ok(Value::Null) };
    let before = json!({"ledgerId": first_kept, "entryId": 0, "partitionIndex": -1});
    server.ask(&Request::of(verb, given).with(before.clone())).await?;
    Ok(before)
}

/// Of `(ledger, size)`, the first ledger that stays, the last one always among them. `None`: all stay.
fn first_kept(ledgers: &[(i64, i64)], keep: i64) -> Option<i64> {
    let mut kept = 0;
    let mut first = ledgers.last()?.0;
    for (ledger, size) in ledgers.iter().rev() {
        kept += size;
        if keep < kept {
            return Some(first);
        }
        first = *ledger;
    }
    None
}
