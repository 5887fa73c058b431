//! Makes good what bookies that stay away have taken with them, and what others missed that are back.
//!
//! Owns: since when which bookie has been away, as far as this broker has looked.
//! Promises: a bookie is given up only when it was away at every look for as long as is configured; of all brokers the first repairs, the
//! next goes on when that one goes, and two at once only do the same work twice.
//! Never: takes a copy from anywhere, or keeps anything that a restart would miss.
mod absence; // In the order of a look: who is away, whether that is worth a round.
mod rounds;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use daemon::Drain;
use daemon::metrics::{Kind, MetricText};
use ledger::LedgerError;
use ledger::repair::{Progress, Repaired, Repairs, Seen};
use proto::{BookieId, LedgerId};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use self::absence::Absences;
use self::rounds::{Round, Rounds};
use crate::ownership::Ownership;

/// How often it is looked who is there: two short lists of metadata.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Repairs ledgers until the broker ends.
#[derive(Debug)]
pub(crate) struct Repairer {
    repairs: Arc<Repairs>,
    absences: Absences,
    rounds: Rounds,
    looked: Instant,
}

/// What a round has come across.
#[derive(Debug, Default)]
struct Tally {
    replaced: u32,
    filled: u32,
    /// Ledgers that wait for a bookie that could take copies.
    without_replacement: u32,
    /// Ledgers that wait for something else.
    left: u32,
}

impl Repairer {
    /// A bookie is given up after it has been away for `after`.
    pub(crate) fn new(repairs: Arc<Repairs>, after: Duration) -> Self {
        Self { repairs, absences: Absences::new(after), rounds: Rounds::default(), looked: Instant::now() }
    }

    /// Runs until `drain`. What is left half way is taken up by whoever comes next.
    pub(crate) async fn work(mut self, ownership: Ownership, drain: Drain) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = drain.requested() => return,
                _ = looks.tick() => {}
            }
            let is_first = ownership.brokers().first().is_some_and(|first| first.start == ownership.me().start);
            tokio::select! {
                () = drain.requested() => return,
                () = self.step(is_first) => {}
            }
        }
    }

    /// Everybody looks, so that whoever becomes the first knows how long a bookie has been away.
    async fn step(&mut self, is_first: bool) {
        let (bookies, gone) = match self.look().await {
            Ok(seen) => seen,
            Err(error) => return tracing::debug!(%error, "it cannot be seen which bookies are there"),
        };
        match self.repairs.in_limbo().await {
            Ok(in_limbo) => self.rounds.look_at_limbo(&in_limbo),
            Err(error) => return tracing::debug!(%error, "it cannot be seen which bookies are in limbo"),
        }
        if is_first && self.rounds.is_due(&bookies, &gone, Instant::now()) {
            let round = self.round(&gone).await;
            self.rounds.ended(round, Instant::now());
        }
    }

    async fn look(&mut self) -> Result<(BTreeMap<BookieId, Seen>, BTreeSet<BookieId>), metadata::Error> {
        self.looked = Instant::now();
        let bookies = self.repairs.bookies().await?;
        let there = bookies.iter().map(|(bookie, seen)| (bookie.clone(), seen.there)).collect();
        let gone = self.absences.look(&there, Instant::now());
        Ok((bookies, gone))
    }

    /// Repairs one ledger and goes on looking meanwhile. Nothing, when others are gone now.
    #[tracing::instrument(target = "geminga", name = "ledger.repair", skip_all, fields(%ledger))]
    async fn repair(&mut self, ledger: LedgerId, gone: &BTreeSet<BookieId>) -> Option<Result<Repaired, LedgerError>> {
        let repairs = Arc::clone(&self.repairs);
        let mut repair = pin!(repairs.repair(ledger, gone));
        loop {
            tokio::select! {
                biased; // Many short repairs must not keep it from looking.
                () = sleep_until(self.looked + LOOK_EVERY) => match self.look().await {
                    Ok((_, now)) if now != *gone => return None,
                    Ok(_) | Err(_) => {} // What metadata being away means for the repair, the repair says.
                },
                outcome = &mut repair => return Some(outcome),
            }
        }
    }

    /// Looks over all ledgers and does for each that is not whole what can be done now, those with the fewest copies first.
    async fn round(&mut self, gone: &BTreeSet<BookieId>) -> Round {
        let began = Instant::now();
        let survey = match self.repairs.survey(gone).await {
            Ok(survey) => survey,
            Err(error) => {
                tracing::warn!(%error, "the ledgers cannot be looked over");
                return Round::Left;
            }
        };
        self.rounds.has_looked(began.elapsed());
        survey.corrupt.iter().for_each(|key| tracing::error!(key, "the record of a ledger cannot be understood"));
        for (ledger, owner) in &survey.in_doubt {
            tracing::error!(%ledger, owner, "the end of a ledger is in doubt: its only copy was damaged before it was settled");
        }
        if 0 < survey.in_limbo {
            tracing::warn!(ledgers = survey.in_limbo, "bookies are in limbo about entries that they had acknowledged");
        }
        if survey.findings.is_empty() {
            return Round::Done;
        }
        tracing::info!(ledgers = survey.findings.len(), ?gone, "ledgers are not whole");
        let mut tally = Tally::default();
        for finding in survey.findings {
            let Some(outcome) = self.repair(finding.ledger, gone).await else { return Round::Overtaken };
            if let Err(LedgerError::Metadata(error)) = &outcome {
                tracing::warn!(%error, "ledgers cannot be repaired now");
                return Round::Left;
            }
            tally.note(&finding.owner, outcome);
        }
        tracing::info!(?tally, "ledgers were repaired as far as they can be now");
        if tally.left == 0 && survey.in_limbo == 0 { Round::Done } else { Round::Left }
    }
}

impl Tally {
    fn note(&mut self, owner: &str, outcome: Result<Repaired, LedgerError>) {
        match outcome {
            Ok(repaired) => {
                self.replaced += repaired.replaced;
                self.filled += repaired.filled;
                self.left += u32::from(repaired.left_to_writer.is_some());
            }
            Err(LedgerError::NotFound { .. }) => {} // Deleted meanwhile.
            Err(error @ LedgerError::NoReplacement { .. }) => {
                tracing::debug!(owner, %error);
                self.without_replacement += 1;
            }
            Err(error @ LedgerError::Lost { .. }) => {
                tracing::error!(owner, %error, "no bookie that may hold an entry has it");
                self.left += 1;
            }
            Err(error) => {
                tracing::warn!(owner, %error, "a ledger cannot be repaired now");
                self.left += 1;
            }
        }
    }
}

type Value = fn(&Progress) -> u64;

/// What repairs of this broker have done, and how it has placed ledgers.
pub(crate) fn render(repairs: &Repairs, cluster: &str, page: &mut MetricText) {
    let progress = repairs.progress();
    let families: [(&str, &str, Value); 8] = [
        ("ledger_repair_entries_copied_total", "entries that bookies have got", |made| made.entries_copied),
        ("ledger_repair_bytes_copied_total", "their payload", |made| made.bytes_copied),
        ("ledger_repair_entries_checked_total", "entries that were there and are whole", |made| made.entries_checked),
        ("ledger_repair_members_replaced_total", "members of fragments whose place others took", |made| {
            made.members_replaced
        }),
        ("ledger_repair_members_filled_total", "members that hold everything again", |made| made.members_filled),
        ("ledger_repair_ledgers_sealed_total", "ledgers whose end nobody else had settled", |made| made.ledgers_sealed),
        ("ledger_repair_entries_lost_total", "entries that every holder denied, each time", |made| made.entries_lost),
        ("ledger_repair_copies_damaged_total", "copies found damaged, each time", |made| made.copies_damaged),
    ];
    for (name, help, value) in families {
        page.family(name, Kind::Counter, help).sample(&[("cluster", cluster)], value(&progress));
    }
    let help = "ensembles chosen that span fewer zones or racks than they could";
    let not_adhering = repairs.placement_not_adhering();
    page.family("ledger_placement_not_adhering_total", Kind::Counter, help)
        .sample(&[("cluster", cluster)], not_adhering);
}
