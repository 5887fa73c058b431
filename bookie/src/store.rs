//! A whole bookie without a thread or a socket: for a simulation that decides what happens when.
use std::sync::Arc;
use std::time::Duration;

use proto::LedgerId;
use proto::bookie::{Answer, Request, Status};

use crate::disk::Disk;
use crate::error::{JournalError, OpenError};
use crate::identity::Identity;
use crate::journal::{BATCH_BYTES, Journal};
use crate::limbo::{self, Limbo};
use crate::reader;
use crate::request::{Task, Then, answer, held, malformed, push_run, reading};
use crate::segments::{self, Keeper, Losses, NotStored, Options, Recovered, Segments};
use crate::space::{Space, Turn};

/// The entries of one bookie, driven by its caller. [`crate::Bookie`] drives the same parts with threads.
#[derive(Debug)]
pub struct Store {
    pub(crate) journal: Journal,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) segments: Arc<Segments>,
    pub(crate) space: Space,
}

impl Store {
    /// Opens a directory that was [claimed](Identity::claim) for `identity`. When it returns, all that was ever answered with OK
    /// is readable and durable. One that has [lost](OpenError::is_loss) something is refused and stays as it is: see [`crate::Damaged`].
    pub fn open(disk: Arc<dyn Disk>, identity: &Identity, options: Options) -> Result<Self, OpenError> {
        if limbo::load_note(disk.as_ref())?.is_some() {
            return Err(OpenError::InLimbo { place: disk.place() });
        }
        Self::of(segments::open(disk, identity, options, &mut Losses::refused())?)
    }

    /// Goes on with what was found.
    pub(crate) fn of(recovered: Recovered) -> Result<Self, OpenError> {
        let Recovered { settled, next_sorted, .. } = recovered;
        let segments = recovered.segments.clone();
        let (journal, keeper) = Journal::open(recovered)?;
        let space = Space::new(segments.clone(), keeper.clone(), settled, next_sorted);
        Ok(Self { journal, keeper, segments, space })
    }

    /// Goes on with what was found, and lists it: the next start must not miss what this one has missed.
    pub(crate) fn of_damaged(recovered: Recovered) -> Result<Self, OpenError> {
        let Recovered { settled, next_sorted, .. } = recovered;
        let (segments, to_seal) = (recovered.segments.clone(), recovered.to_seal.clone());
        let (journal, keeper) = Journal::open(recovered)?;
        for segment in to_seal {
            segments::seal(&segments, segment)
                .map_err(|error| OpenError::disk(segments.path(segment), "seal", error))?;
        }
        let manifest = segments.index.read().manifest(&segments.identity, settled);
        segments::store(segments.disk.as_ref(), &manifest).map_err(|error| match error {
            NotStored::OldCounts(error) | NotStored::Unknown(error) => {
                OpenError::disk(segments.disk.place(), "write a manifest in", error)
            }
        })?;
        let space = Space::new(segments.clone(), keeper.clone(), manifest.next, next_sorted);
        Ok(Self { journal, keeper, segments, space })
    }

    /// What this store is in limbo about.
    #[must_use]
    pub fn limbo(&self) -> Limbo {
        Limbo::of(self.segments.clone())
    }

    /// Puts a defect in that the simulation must find.
    #[cfg(feature = "defects")]
    pub fn plant(&mut self, defect: crate::Defect) {
        if defect == crate::Defect::LossesAreDenied {
            self.segments.index.write().limbo.clear();
        }
        self.journal.planted.defect = Some(defect);
    }

    /// Does all of the requests, in order, and answers them. After an error nothing is known about them, and the store is over.
    pub fn step(&mut self, requests: Vec<Request>) -> Result<Vec<Answer>, JournalError> {
        let mut answers = Vec::new();
        let mut orders = Vec::new();
        let mut marks = Vec::new();
        let mut bytes = 0;
        for request in requests {
            let (id, ledger) = (request.id, LedgerId(request.ledger));
            match Task::of(request) {
                Task::Journal(order, then) => {
                    bytes += order.bytes();
                    orders.push(order);
                    marks.push((id, ledger, then));
                }
                other => {
                    self.settle(std::mem::take(&mut orders), std::mem::take(&mut marks), &mut answers)?;
                    bytes = 0;
                    answers.push(self.look(id, ledger, &other));
                }
            }
            if BATCH_BYTES <= bytes {
                self.settle(std::mem::take(&mut orders), std::mem::take(&mut marks), &mut answers)?;
                bytes = 0;
            }
        }
        self.settle(orders, marks, &mut answers)?;
        Ok(answers)
    }

    /// Does one piece of the work that goes on in the background, if there is any.
    pub fn turn(&self) -> bool {
        self.keeper.turn()
    }

    /// Does one piece of giving space back, if there is any at this time since the start. `now` only grows.
    pub fn give_back(&mut self, now: Duration) -> bool {
        self.space.turn(now) == Turn::Worked
    }

    /// Seals all, so that the next start has nothing to scan.
    pub fn close(self) {
        self.keeper.seal_all();
    }

    fn look(&self, id: u64, ledger: LedgerId, task: &Task) -> Answer {
        match task {
            Task::Read(read) => reading(id, ledger, reader::read(&self.segments, ledger, read), None),
            Task::Held => held(id, ledger, &self.segments.index.read()),
            Task::Journal(..) | Task::Malformed => malformed(id, ledger),
        }
    }

    fn settle(
        &mut self,
        orders: Vec<crate::journal::Order>,
        marks: Vec<(u64, LedgerId, Then)>,
        answers: &mut Vec<Answer>,
    ) -> Result<(), JournalError> {
        let verdicts = self.journal.step(orders)?;
        for ((id, ledger, then), verdict) in marks.into_iter().zip(verdicts) {
            if verdict.status != Status::Ok {
                push_run(answers, id, ledger, &verdict, matches!(then, Then::Run));
                continue;
            }
            match then {
                Then::Run => push_run(answers, id, ledger, &verdict, true),
                Then::Nothing => answers.push(answer(id, ledger, Status::Ok, "")),
                Then::Holding => answers.push(held(id, ledger, &self.segments.index.read())),
                Then::Read(read) => {
                    let found = reader::read(&self.segments, ledger, &read);
                    let holding = self.segments.index.read().holding(ledger);
                    answers.push(reading(id, ledger, found, Some(holding)));
                }
            }
        }
        Ok(())
    }
}
