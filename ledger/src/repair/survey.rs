//! Looking over all ledgers: which are not whole, and which bookies are still needed.
use std::collections::{BTreeMap, BTreeSet};

use metadata::{Error, MetadataStore};
use prost::Message;
use proto::records::{LedgerRecord, LedgerState};
use proto::{BookieId, LedgerId, keys};
use tokio::time::{Instant, sleep};

use super::plan;
use crate::directory::Known;
use crate::{placement, records};

/// Records read at once.
const PAGE: usize = 200;
/// How many times as long as reading a page takes, nothing is read.
const REST: u32 = 3;

/// A ledger that is not whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub ledger: LedgerId,
    /// Who lists it.
    pub owner: String,
    /// The fewest copies that any of its entries should have left, by what its record says. With 0 it may be lost already.
    pub copies: u32,
    /// How many there should be.
    pub wanted: u32,
    /// Steps to make it whole: a member to be replaced, filled up, an end to be settled.
    pub steps: usize,
}

/// What a look over all ledgers has found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    /// Ledgers that are not deleted.
    pub ledgers: u64,
    /// Those that are not whole, with the fewest copies first.
    pub findings: Vec<Finding>,
    /// Ledgers in which some write set spans fewer zones or racks than it could.
    pub not_adhering: u64,
    /// How many ledgers name a bookie as a member of a fragment. One that is not here may be retired.
    pub named: BTreeMap<BookieId, u64>,
    /// Ledgers in which a member is in limbo: entries that it had acknowledged may be missing there.
    pub in_limbo: u64,
    /// Ledgers whose end nobody could know for sure, and who lists them: an alarm each.
    pub in_doubt: Vec<(LedgerId, String)>,
    /// Keys of records that cannot be understood: an alarm each.
    pub corrupt: Vec<String>,
}

/// Looks over all ledgers. `bad` bookies are to be left.
pub(super) async fn survey(
    metadata: &dyn MetadataStore,
    known: &Known,
    bad: &BTreeSet<BookieId>,
) -> Result<Survey, Error> {
    let mut survey = Survey::default();
    let mut after = None;
    loop {
        let began = Instant::now();
        let page = metadata.list(keys::LEDGERS, after.as_ref(), PAGE).await?;
        for found in &page.records {
            match LedgerRecord::decode(found.value.clone()) {
                Ok(record) if records::is_sound(&record, LedgerId(record.ledger)) => survey.take(&record, known, bad),
                _ => survey.corrupt.push(found.key.to_string()),
            }
        }
        after = page.records.last().map(|last| last.key.clone());
        if !page.more || after.is_none() {
            survey.findings.sort_by_key(|finding| (finding.copies, finding.ledger));
            return Ok(survey);
        }
        sleep(began.elapsed() * REST).await; // Whoever loads a topic meanwhile waits for a page at most, and seldom.
    }
}

/// Of all closed ledgers behind `after`, the id and the number of entries.
pub(super) async fn closed(
    metadata: &dyn MetadataStore,
    after: Option<LedgerId>,
) -> Result<Vec<(LedgerId, u64)>, Error> {
    let mut found = Vec::new();
    let mut after = after.map(|ledger| keys::ledger(ledger).into());
    loop {
        let page = metadata.list(keys::LEDGERS, after.as_ref(), PAGE).await?;
        for record in &page.records {
            match LedgerRecord::decode(record.value.clone()) {
                Ok(record) if record.state() == LedgerState::Closed => {
                    found.push((LedgerId(record.ledger), record.end));
                }
                _ => {}
            }
        }
        after = page.records.last().map(|last| last.key.clone());
        if !page.more || after.is_none() {
            return Ok(found);
        }
    }
}

impl Survey {
    fn take(&mut self, record: &LedgerRecord, known: &Known, bad: &BTreeSet<BookieId>) {
        if record.state() == proto::records::LedgerState::Deleted {
            return;
        }
        self.ledgers += 1;
        self.in_limbo += u64::from(record.fragments.iter().any(|fragment| !fragment.limbo.is_empty()));
        if record.end_in_doubt {
            self.in_doubt.push((LedgerId(record.ledger), record.owner.clone()));
        }
        let members: BTreeSet<BookieId> = record.fragments.iter().flat_map(records::bookies).collect();
        for member in members {
            *self.named.entry(member).or_default() += 1;
        }
        let policy = records::policy(record);
        let adheres = |fragment| placement::adheres(&known.candidates, policy, &records::bookies(fragment));
        self.not_adhering += u64::from(!record.fragments.iter().all(adheres));
        let steps = plan::tasks(record, bad, &known.retired).len();
        if 0 < steps {
            self.findings.push(Finding {
                ledger: LedgerId(record.ledger),
                owner: record.owner.clone(),
                copies: plan::copies(record, bad),
                wanted: policy.write,
                steps,
            });
        }
    }
}
