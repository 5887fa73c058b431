//! Making good what bookies take with them: finds ledgers that are not whole, copies what is missing, and reads what there is.
//!
//! Owns: nothing. All that it knows is in ledgers' records and on bookies, so any process may begin and any may go on.
//! Promises: a member leaves a record only after its replacement holds every entry of its seat, synced; the number of whole copies
//! never falls; two at once harm nobody; any call may be dropped at any time, and the next goes on from there.
//! Never: decides who is gone, or when to look. Whoever runs it does.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use proto::{BookieId, LedgerId};
use tokio::time::Instant;

pub use self::audit::{Audit, Extent, Held};
use self::pace::Pace;
use self::plan::Task;
use self::progress::Counters;
pub use self::progress::Progress;
pub use self::standing::{Standing, StandingError, decommission, recommission, standings};
pub use self::survey::{Finding, Survey};
use crate::directory::Known;
use crate::placement::{Candidate, Condition, Wanted};
use crate::quorum_writer::Shared;
use crate::records::changes;
use crate::records::{self, Updated, Versioned};
use crate::{LedgerError, seal};

mod audit;
mod copies;
pub(crate) mod copying;
mod pace;
pub(crate) mod plan;
mod progress;
mod standing;
mod survey;
#[cfg(test)]
mod tests;

/// How hard repairs try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepairLimits {
    /// Payload that all repairs of the process together read per second.
    pub bytes_per_second: u64,
    /// How long an open ledger is left to its writer, which replaces members that are gone itself.
    pub open_grace: Duration,
}

impl Default for RepairLimits {
    fn default() -> Self {
        Self { bytes_per_second: 64 << 20, open_grace: Duration::from_secs(30) }
    }
}

/// What a bookie can do, as metadata says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// It is registered as available.
    pub there: bool,
    /// And not read-only.
    pub takes_copies: bool,
    /// It is to be left.
    pub drained: bool,
}

/// What a repair has left of a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repaired {
    /// Members that others have replaced.
    pub replaced: u32,
    /// Marked members that hold everything again.
    pub filled: u32,
    /// The ledger is open, and is left to its writer for so long: repair it again then.
    pub left_to_writer: Option<Duration>,
    /// Marked members that are away, though not gone: repair it again when they are back.
    pub waits_for: Vec<BookieId>,
}

impl Repaired {
    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.left_to_writer.is_none() && self.waits_for.is_empty()
    }
}

/// What became of one step.
enum Step {
    /// The record says it, or has changed meanwhile.
    Done,
    /// Not now.
    LeftToWriter(Duration),
    WaitsFor(BookieId),
}

/// Repairs the ledgers of a cluster. Shares links and knowledge of bookies with the [`crate::QuorumLedgers`] it comes from.
#[derive(Debug)]
pub struct Repairs {
    shared: Shared,
    limits: RepairLimits,
    pace: Pace,
    counters: Arc<Counters>,
    /// Open ledgers and since when they have been left to their writers.
    /// A lock and not a task: held for a look-up.
    open_since: Mutex<HashMap<LedgerId, Instant>>,
}

impl Repairs {
    pub(crate) fn new(shared: Shared, limits: RepairLimits) -> Self {
        let pace = Pace::new(limits.bytes_per_second);
        Self { shared, limits, pace, counters: Arc::default(), open_since: Mutex::default() }
    }

    /// What has been done since the process started.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.counters.progress()
    }

    /// Ensembles that this process chose in which some write set spans fewer zones or racks than it could.
    #[must_use]
    pub fn placement_not_adhering(&self) -> u64 {
        self.shared.placer.not_adhering()
    }

    /// The bookies that are not retired, and what each can do, now.
    pub async fn bookies(&self) -> Result<BTreeMap<BookieId, Seen>, metadata::Error> {
        let known = self.shared.placer.known().await?.candidates;
        let seen = |known: &Candidate| Seen {
            there: known.condition != Condition::Away,
            takes_copies: known.condition == Condition::Ready,
            drained: known.draining,
        };
        Ok(known.into_iter().map(|known| (known.bookie.clone(), seen(&known))).collect())
    }

    /// Ledgers that are closed, with the number of their entries, behind `after`, in the order of their ids.
    pub async fn ledgers(&self, after: Option<LedgerId>) -> Result<Vec<(LedgerId, u64)>, metadata::Error> {
        survey::closed(self.shared.metadata.as_ref(), after).await
    }

    /// Bookies that have said at their start that they may lack entries.
    pub async fn in_limbo(&self) -> Result<Vec<BookieId>, metadata::Error> {
        Ok(self.shared.placer.known().await?.in_limbo.clone())
    }

    /// Looks over all ledgers. `gone` bookies count as if they held nothing; so do those being drained, and retired ones.
    pub async fn survey(&self, gone: &BTreeSet<BookieId>) -> Result<Survey, metadata::Error> {
        let known = self.shared.placer.known().await?;
        let survey = survey::survey(self.shared.metadata.as_ref(), &known, &bad(gone, &known)).await?;
        let open: BTreeSet<LedgerId> = survey.findings.iter().map(|finding| finding.ledger).collect();
        self.open_since.lock().retain(|ledger, _| open.contains(ledger));
        Ok(survey)
    }

    /// Does for one ledger all that can be done now. `gone` is as in [`survey`](Self::survey). An error is about what could not be done;
    /// the rest has been. Cancel safe: a call that is dropped leaves nothing to undo, and the next goes on.
    pub async fn repair(&self, ledger: LedgerId, gone: &BTreeSet<BookieId>) -> Result<Repaired, LedgerError> {
        let mut repaired = Repaired::default();
        let mut failed: Vec<(Task, LedgerError)> = Vec::new();
        let mut put_off: Vec<Task> = Vec::new();
        loop {
            let record = records::read_existing(&self.shared.metadata, ledger).await?;
            let known = self.shared.placer.known().await?;
            let bad = bad(gone, &known);
            let tasks = plan::tasks(&record.record, &bad, &known.retired);
            let is_new = |task: &Task| !put_off.contains(task) && failed.iter().all(|(other, _)| other != task);
            let Some(task) = tasks.into_iter().find(is_new) else { break };
            match self.take(&record, &known, &bad, &task, &mut repaired).await {
                Ok(Step::Done) => continue,
                Ok(Step::LeftToWriter(left)) => repaired.left_to_writer = Some(left),
                Ok(Step::WaitsFor(member)) => repaired.waits_for.push(member),
                Err(LedgerError::Metadata(error)) => return Err(error.into()),
                Err(error) => {
                    failed.push((task, error));
                    continue;
                }
            }
            put_off.push(task);
        }
        let worst = failed.into_iter().map(|(_, error)| error).min_by_key(|error| match error {
            LedgerError::Lost { .. } => 0,
            LedgerError::Unreadable { .. } => 1,
            _ => 2,
        });
        worst.map_or(Ok(repaired), Err)
    }

    async fn take(
        &self,
        record: &Versioned,
        known: &Known,
        bad: &BTreeSet<BookieId>,
        task: &Task,
        repaired: &mut Repaired,
    ) -> Result<Step, LedgerError> {
        let ledger = LedgerId(record.record.ledger);
        match task {
            Task::Seal => self.seal(record, known, bad).await,
            Task::Replace { first, seat, old } => {
                repaired.replaced += u32::from(self.replace(record, known, bad, *first, *seat, old).await?);
                Ok(Step::Done)
            }
            Task::FillUp { first, seat, member } => {
                self.fill_up(record, known, bad, (*first, *seat, member), repaired).await
            }
            Task::Forget(retired) => {
                let forget = |record: &_| changes::forget_holders(record, retired);
                records::update(&self.shared.metadata, ledger, forget).await?;
                Ok(Step::Done)
            }
        }
    }

    /// Settles the end of a ledger that nobody else has settled for a while. While nobody could take the place of the members
    /// that are to go, its writer does better without them than with an end.
    async fn seal(&self, record: &Versioned, known: &Known, bad: &BTreeSet<BookieId>) -> Result<Step, LedgerError> {
        let ledger = LedgerId(record.record.ledger);
        let members = records::bookies(record.last_fragment());
        let touched = members.iter().any(|member| bad.contains(member));
        let never: Vec<BookieId> = bad.iter().cloned().collect();
        let out = (0..members.len()).filter(|seat| bad.contains(&members[*seat])).collect();
        let wanted =
            Wanted { policy: record.policy(), members: &members, out, rather: &[], never: &never, suspects: true };
        // One in limbo keeps its seat, and has fenced the writer.
        if touched && self.shared.placer.replacements_among(&known.candidates, &wanted).is_empty() {
            let gone: Vec<BookieId> = members.into_iter().filter(|member| bad.contains(member)).collect();
            return Err(no_replacement(ledger, known, &gone));
        }
        let since = *self.open_since.lock().entry(ledger).or_insert_with(Instant::now);
        let left = self.limits.open_grace.saturating_sub(since.elapsed());
        if !left.is_zero() {
            return Ok(Step::LeftToWriter(left));
        }
        seal::seal(&self.shared, ledger).await?;
        self.open_since.lock().remove(&ledger);
        Counters::one(&self.counters.ledgers_sealed);
        Ok(Step::Done)
    }

    /// Writes into the record that members which an audit has found to lack entries do, so that repairs find them.
    pub async fn mark(&self, audit: &Audit) -> Result<(), LedgerError> {
        for held in audit.members.iter().filter(|held| held.is_bad() && !held.marked) {
            let mark = |record: &_| changes::mark_member(record, held.first, &held.bookie);
            if records::update(&self.shared.metadata, audit.ledger, mark).await? == Updated::Missing {
                return Err(LedgerError::NotFound { ledger: audit.ledger });
            }
        }
        Ok(())
    }
}

/// Why copies cannot be made good.
fn no_replacement(ledger: LedgerId, known: &Known, gone: &[BookieId]) -> LedgerError {
    let gone: Vec<&str> = gone.iter().map(BookieId::as_str).collect();
    let reasons: Vec<String> = known.candidates.iter().filter_map(Candidate::reason).collect();
    let reason = format!("no bookie can take the place of {}; {}", gone.join(", "), reasons.join("; "));
    LedgerError::NoReplacement { ledger, reason }
}

/// Bookies whose copies do not count on.
fn bad(gone: &BTreeSet<BookieId>, known: &Known) -> BTreeSet<BookieId> {
    let drained = known.candidates.iter().filter(|candidate| candidate.draining).map(|candidate| &candidate.bookie);
    gone.iter().chain(drained).chain(&known.retired).cloned().collect()
}
