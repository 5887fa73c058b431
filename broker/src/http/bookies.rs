//! Bookies: as Apache Pulsar's tools list them, and our own pages for taking them out of service and for reading what they hold.
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use ledger::LedgerError;
use ledger::repair::{self, Extent, Held, Repairs, Standing, StandingError};
use proto::LedgerId;
use proto::records::{BookieAvailability, BookieStanding};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Answer, Pages, Refusal, body};

/// An audit answers after this long, and says where to go on.
const AUDIT_FOR: Duration = Duration::from_secs(10);
/// Pulsar's tools know groups of bookies. There is one here.
const GROUP: &str = "default";

pub(super) async fn all(State(pages): State<Pages>) -> Answer {
    let bookies = repair::standings(&pages.context.metadata).await?;
    let there = bookies.iter().filter(|bookie| bookie.available.is_some());
    let shown: Vec<Value> = there.map(|bookie| json!({"bookieId": address(bookie)})).collect();
    Ok(body::json(json!({"bookies": shown})))
}

/// A bookie's rack is part of its configuration.
pub(super) async fn racks(State(pages): State<Pages>) -> Answer {
    let bookies = repair::standings(&pages.context.metadata).await?;
    let placed = bookies.iter().filter(|bookie| bookie.available.is_some() && !rack(bookie).is_empty());
    let shown: serde_json::Map<String, Value> =
        placed.map(|bookie| (address(bookie), json!({"rack": rack(bookie), "hostname": null}))).collect();
    let shown = if shown.is_empty() { json!({}) } else { json!({ GROUP: shown }) };
    Ok(body::json(shown))
}

fn address(bookie: &Standing) -> String {
    bookie.available.as_ref().map_or_else(String::new, |available| available.address.clone())
}

fn rack(bookie: &Standing) -> &str {
    let told = bookie.available.as_ref().map_or("", |available| &available.rack);
    if told.is_empty() { &bookie.record.rack } else { told }
}

/// A bookie as our own pages show it. The shape is part of the administration's documentation.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    bookie: String,
    address: String,
    rack: String,
    state: &'static str,
    free_bytes: Option<u64>,
    total_bytes: Option<u64>,
    ledgers: u64,
    /// `RUNNING` while it is being drained, `DONE` otherwise.
    status: &'static str,
}

impl From<&Standing> for Shown {
    fn from(bookie: &Standing) -> Self {
        let standing = bookie.record.standing();
        let state = match (standing, &bookie.available) {
            (BookieStanding::Retired, _) => "retired",
            (BookieStanding::Draining, Some(_)) => "draining",
            (BookieStanding::Draining, None) => "draining, away",
            (BookieStanding::InService, None) => "away",
            (BookieStanding::InService, Some(available)) if available.read_only => "read-only",
            (BookieStanding::InService, Some(_)) => "available",
        };
        let told = bookie.available.as_ref().filter(|available| available.total_bytes != 0);
        let told = |bytes: fn(&BookieAvailability) -> u64| told.map(bytes);
        Self {
            bookie: bookie.bookie.to_string(),
            address: address(bookie),
            rack: rack(bookie).into(),
            state,
            free_bytes: told(|available| available.free_bytes),
            total_bytes: told(|available| available.total_bytes),
            ledgers: bookie.ledgers,
            status: if standing == BookieStanding::Draining { "RUNNING" } else { "DONE" },
        }
    }
}

pub(super) async fn list(State(pages): State<Pages>) -> Answer {
    let bookies = repair::standings(&pages.context.metadata).await?;
    Ok(body::json(bookies.iter().map(Shown::from).collect::<Vec<_>>()))
}

pub(super) async fn decommission(State(pages): State<Pages>, Path(bookie): Path<String>) -> Answer {
    let ensemble = pages.context.config.ensemble_size;
    let standing = repair::decommission(&pages.context.metadata, &bookie, ensemble).await?;
    Ok(body::json(Shown::from(&standing)))
}

pub(super) async fn recommission(State(pages): State<Pages>, Path(bookie): Path<String>) -> Answer {
    let standing = repair::recommission(&pages.context.metadata, &bookie).await?;
    Ok(body::json(Shown::from(&standing)))
}

impl From<StandingError> for Refusal {
    fn from(error: StandingError) -> Self {
        let status = match error {
            StandingError::NotFound(_) => StatusCode::NOT_FOUND,
            StandingError::Ambiguous(_) => StatusCode::BAD_REQUEST,
            StandingError::Retired(_) | StandingError::TooFewOthers { .. } => StatusCode::PRECONDITION_FAILED,
            StandingError::Metadata(error) => return error.into(),
        };
        Self::new(status, error.to_string())
    }
}

#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct AuditAsked {
    /// Percent of each ledger's entries.
    sample: u32,
    /// The last ledger that was read.
    after: Option<u64>,
}

impl Default for AuditAsked {
    fn default() -> Self {
        Self { sample: 100, after: None }
    }
}

/// What a part of an audit has found.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct AuditPart {
    /// Ledgers that were read.
    ledgers: u64,
    /// Copies of entries that are whole.
    whole: u64,
    /// Members that lack or spoil something, or did not answer.
    found: Vec<Value>,
    /// Where to go on. Absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<u64>,
}

/// Reads what bookies hold of ledgers, for a while, and marks what is not as it should be, so that it is made good. The pace is that of
/// repairs.
pub(super) async fn audit(State(pages): State<Pages>, Query(asked): Query<AuditAsked>) -> Answer {
    if !(1..=100).contains(&asked.sample) {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "sample is a percentage from 1 to 100"));
    }
    let alone = || Refusal::new(StatusCode::PRECONDITION_FAILED, "a single bookie has no copies to compare");
    let repairs = pages.context.repairs.as_ref().ok_or_else(alone)?;
    let began = Instant::now();
    let mut part = AuditPart::default();
    for (ledger, entries) in repairs.ledgers(asked.after.map(LedgerId)).await? {
        let sampled = entries.saturating_mul(u64::from(asked.sample)).div_ceil(100);
        let extent = match asked.sample {
            100 => Extent::All,
            _ => Extent::Sample(u32::try_from(sampled).unwrap_or(u32::MAX)),
        };
        audit_one(repairs, ledger, extent, &mut part).await?;
        if AUDIT_FOR < began.elapsed() {
            part.after = Some(ledger.0);
            break;
        }
    }
    Ok(body::json(part))
}

async fn audit_one(repairs: &Repairs, ledger: LedgerId, extent: Extent, part: &mut AuditPart) -> Result<(), Refusal> {
    let audit = match repairs.audit(ledger, extent).await {
        Err(LedgerError::NotFound { .. }) => return Ok(()), // Deleted meanwhile.
        Err(LedgerError::Metadata(error)) => return Err(error.into()),
        outcome => outcome.map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?,
    };
    part.ledgers += 1;
    part.whole += audit.members.iter().map(|held| held.whole).sum::<u64>();
    let bad = audit.members.iter().filter(|held| held.is_bad() || !held.answered);
    part.found.extend(bad.map(|held| finding(ledger, held)));
    match repairs.mark(&audit).await {
        Ok(()) | Err(LedgerError::NotFound { .. }) => Ok(()),
        Err(error) => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
    }
}

fn finding(ledger: LedgerId, held: &Held) -> Value {
    json!({
        "ledger": ledger.0,
        "fragment": held.first.0,
        "bookie": held.bookie.as_str(),
        "answered": held.answered,
        "missing": held.missing,
        "damaged": held.damaged,
        "firstBad": held.first_bad.map(|entry| entry.0),
        "marked": held.marked || held.is_bad(),
    })
}
