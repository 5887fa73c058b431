//! A whole bookie without a thread or a socket: for a simulation that decides what happens when.
use std::sync::Arc;
use std::time::Duration;

use proto::LedgerId;
use proto::bookie::{Answer, Request, Status};

use crate::disk::Disk;
use crate::error::{JournalError, OpenError};
use crate::identity::Identity;
use crate::journal::{BATCH_BYTES, Journal};
use crate::reader;
use crate::request::{Task, Then, answer, held, malformed, push_run, reading};
use crate::segments::{self, Keeper, Options, Recovered, Segments};
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
    /// is readable and durable.
    pub fn open(disk: Arc<dyn Disk>, identity: &Identity, options: Options) -> Result<Self, OpenError> {
        let recovered = segments::open(disk, identity, options)?;
        let Recovered { settled, next_sorted, .. } = recovered;
        let segments = recovered.segments.clone();
        let (journal, keeper) = Journal::open(recovered)?;
        let space = Space::new(segments.clone(), keeper.clone(), settled, next_sorted);
        Ok(Self { journal, keeper, segments, space })
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
