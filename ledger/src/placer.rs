//! Finds places for ledgers: what metadata says of bookies, what this process thinks of them, and a choice between them.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metadata::{Error, MetadataStore};
use parking_lot::Mutex;
use proto::BookieId;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::directory::{Directory, Known};
use crate::links::Links;
use crate::placement::{self, Candidate, Ensemble, Wanted};
use crate::{LedgerError, QuorumPolicy};

/// Ledgers of this process whose records are changed at once when a bookie goes: a burst must not keep metadata from others.
const CHANGES_AT_ONCE: usize = 16;

/// One for a process.
#[derive(Debug)]
pub(crate) struct Placer {
    directory: Directory,
    links: Arc<Links>,
    /// A lock and not a task: held for a few instructions.
    random: Mutex<SmallRng>,
    changing: Semaphore,
    not_adhering: AtomicU64,
}

impl Placer {
    pub(crate) fn new(metadata: Arc<dyn MetadataStore>, links: Arc<Links>, seed: u64) -> Self {
        Self {
            directory: Directory::spawn(metadata),
            links,
            random: Mutex::new(SmallRng::seed_from_u64(seed)),
            changing: Semaphore::new(CHANGES_AT_ONCE),
            not_adhering: AtomicU64::new(0),
        }
    }

    /// The members of a new ledger. An `urgent` one may lie on bookies that are read-only.
    pub(crate) async fn ensemble(&self, policy: QuorumPolicy, urgent: bool) -> Result<Ensemble, LedgerError> {
        let open = |mut known: Vec<Candidate>| {
            known.iter_mut().filter(|_| urgent).for_each(Candidate::take_urgent);
            known
        };
        let known = open(self.judged(&*self.directory.known().await?));
        let mut chosen = placement::choose(&known, policy, &mut self.random.lock());
        if !chosen.as_ref().is_ok_and(|ensemble| ensemble.away.is_empty()) {
            // Before settling for less, look at the truth.
            let known = open(self.known().await?.candidates);
            chosen = placement::choose(&known, policy, &mut self.random.lock());
        }
        if chosen.as_ref().is_ok_and(|ensemble| !ensemble.adheres) {
            self.not_adhering.fetch_add(1, Ordering::Relaxed);
        }
        chosen
    }

    /// Who can take seats in an ensemble, as far as was seen lately: for as many of those that are wanted as possible.
    pub(crate) async fn replacements(&self, wanted: &Wanted<'_>) -> Result<Vec<(usize, BookieId)>, Error> {
        let known = self.judged(&*self.directory.known().await?);
        Ok(self.replacements_among(&known, wanted))
    }

    /// Who of `known` can take seats in an ensemble.
    pub(crate) fn replacements_among(&self, known: &[Candidate], wanted: &Wanted<'_>) -> Vec<(usize, BookieId)> {
        placement::replace(known, wanted, &mut self.random.lock())
    }

    /// Counts the ensemble that `replacements` would make, if it is not spread as it could be.
    pub(crate) async fn note_spread(
        &self,
        wanted: &Wanted<'_>,
        replacements: &[(usize, BookieId)],
    ) -> Result<(), Error> {
        let known = self.directory.known().await?;
        let mut members = wanted.members.to_vec();
        replacements.iter().for_each(|(seat, bookie)| members[*seat] = bookie.clone());
        if !replacements.is_empty() && !placement::adheres(&known.candidates, wanted.policy, &members) {
            self.not_adhering.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// What metadata says now, and what this process thinks.
    pub(crate) async fn known(&self) -> Result<Known, Error> {
        let known = self.directory.read().await?;
        Ok(Known { candidates: self.judged(&known), retired: known.retired, in_limbo: known.in_limbo })
    }

    fn judged(&self, known: &Known) -> Vec<Candidate> {
        let (suspects, now) = (self.links.suspects(), Instant::now());
        let judge =
            |candidate: &Candidate| Candidate { suspect: suspects.reason(&candidate.bookie, now), ..candidate.clone() };
        known.candidates.iter().map(judge).collect()
    }

    /// Waits for the turn to change a ledger's ensemble.
    pub(crate) async fn turn_to_change(&self) -> SemaphorePermit<'_> {
        self.changing.acquire().await.expect("it is never closed")
    }

    /// Ensembles chosen by this process in which some write set spans fewer zones or racks than it could.
    pub(crate) fn not_adhering(&self) -> u64 {
        self.not_adhering.load(Ordering::Relaxed)
    }

    /// A number below `below`, which is not 0.
    pub(crate) fn pick(&self, below: u64) -> u64 {
        self.random.lock().random_range(0..below)
    }

    /// A name that nobody else takes.
    pub(crate) fn fresh_name(&self) -> String {
        format!("{:016x}", self.random.lock().random::<u64>())
    }
}
