//! Brings a transaction to a known end although answers get lost.
//!
//! Every write is guarded by the version its record had, so that carrying out the same transaction twice is impossible: a write that
//! expects nothing is first pinned to the version that is there. An attempt whose answer was lost is therefore simply
//! repeated, with the same token and the same guards. Either it goes through, or the guards differ and the records of that
//! moment show whose work they are: our token means it had happened. A record that still has the old version decides
//! nothing, because the lost attempt may arrive later.
//!
//! One hole stays open: a transaction guarded only by absence, whose lost attempt arrives after its records were created
//! by a repetition and deleted again by somebody else, creates them once more. Attempts live for seconds.
use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::store::{Error, Expect, Operation, Token, Transaction, Version};

const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);
const LATE: &str = "the deadline has passed";

/// A record as an attempt found it. The token is there only when it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) version: Version,
    pub(crate) token: Option<Token>,
}

/// What a store says to one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It has happened.
    Done(Version),
    /// A guard did not hold, so this attempt did nothing. The records of all operations at that moment.
    Differs { at: Version, seen: Vec<Option<Seen>> },
    /// It did nothing and may be repeated.
    NotDone(String),
    /// Nobody knows.
    Lost(String),
    /// It did nothing and never will.
    Refused(Error),
}

/// A store whose answers get lost.
pub(crate) trait Attempts: Sync {
    /// One try, within a bound of its own: carry out the operations if every record is as its guard says.
    fn attempt(
        &self,
        transaction: &Transaction,
        guards: &[Expect],
        with_tokens: bool,
    ) -> impl Future<Output = Answer> + Send;

    /// The versions of the records of all operations. [`Error::Unavailable`] when it may be repeated.
    fn versions(&self, transaction: &Transaction) -> impl Future<Output = Result<Vec<Option<Version>>, Error>> + Send;
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Return(Result<Version, Error>),
    Repeat,
    RepeatLater(String),
}

/// What is known about one transaction. Pure.
struct Settlement<'t> {
    transaction: &'t Transaction,
    guards: Vec<Expect>,
    writes: bool,
    pinned: bool,
    /// An attempt is lost that may have happened, or may yet happen.
    lost: bool,
}

impl<'t> Settlement<'t> {
    fn new(transaction: &'t Transaction) -> Self {
        let operations = &transaction.operations;
        let guards = operations.iter().map(Operation::expect).collect();
        let pinned = !operations.iter().any(|operation| is_write(operation) && operation.expect() == Expect::Any);
        Self { transaction, guards, writes: operations.iter().any(is_write), pinned, lost: false }
    }

    /// Ties writes that expect nothing to what is there.
    fn pin(&mut self, versions: impl Iterator<Item = Option<Version>>) {
        for ((operation, guard), version) in self.transaction.operations.iter().zip(&mut self.guards).zip(versions) {
            if is_write(operation) && operation.expect() == Expect::Any {
                *guard = version.map_or(Expect::Absent, Expect::Version);
            }
        }
        self.pinned = true;
    }

    fn after(&mut self, answer: Answer) -> Step {
        match answer {
            Answer::Done(version) => Step::Return(Ok(version)),
            Answer::NotDone(reason) => Step::RepeatLater(reason),
            Answer::Lost(reason) => {
                self.lost |= self.writes;
                Step::RepeatLater(reason)
            }
            Answer::Refused(error) => Step::Return(Err(if self.lost { Error::OutcomeUnknown } else { error })),
            Answer::Differs { at, seen } if self.lost => self.recognise(at, &seen),
            Answer::Differs { seen, .. } => self.conflict(&seen),
        }
    }

    /// Nothing has happened: either the caller's expectation differs, or only a pin does.
    fn conflict(&mut self, seen: &[Option<Seen>]) -> Step {
        let version = |seen: &Option<Seen>| seen.map(|seen| seen.version);
        let differs = self.transaction.operations.iter().zip(seen).find(|(o, s)| !o.expect().is_met_by(version(s)));
        if let Some((operation, _)) = differs {
            return Step::Return(Err(Error::Conflict { key: operation.key().clone() }));
        }
        self.pin(seen.iter().map(version));
        Step::Repeat
    }

    /// The guards differ after an attempt was lost: did that one happen?
    fn recognise(&mut self, at: Version, seen: &[Option<Seen>]) -> Step {
        let operations = || self.transaction.operations.iter().zip(&self.guards).zip(seen);
        let ours = operations().find_map(|((operation, _), seen)| match (operation, seen) {
            (Operation::Put { .. }, Some(seen)) if seen.token == Some(self.transaction.token) => Some(seen.version),
            _ => None,
        });
        if let Some(version) = ours {
            return Step::Return(Ok(version));
        }
        let puts = operations().any(|((operation, _), _)| matches!(operation, Operation::Put { .. }));
        let deletes_done =
            operations().all(|((operation, _), seen)| !matches!(operation, Operation::Delete { .. }) || seen.is_none());
        if !puts && deletes_done {
            return Step::Return(Ok(at));
        }
        // Versions never come back. So a record that the transaction writes and that still has its old version proves that
        // the transaction has not happened, and any other record that has left its old version proves that it never will.
        let version = |seen: &Option<Seen>| seen.map(|seen| seen.version);
        let not_yet = operations().any(|((operation, guard), seen)| {
            is_write(operation) && matches!(guard, Expect::Version(_)) && guard.is_met_by(version(seen))
        });
        let never = operations()
            .any(|((_, guard), seen)| matches!(guard, Expect::Version(_)) && !guard.is_met_by(version(seen)));
        if not_yet && never {
            self.lost = false;
            return self.conflict(seen);
        }
        Step::Return(Err(Error::OutcomeUnknown))
    }

    fn out_of_time(&self, reason: String) -> Error {
        if self.lost { Error::OutcomeUnknown } else { Error::Unavailable { reason } }
    }
}

fn is_write(operation: &Operation) -> bool {
    match operation {
        Operation::Put { .. } | Operation::Delete { .. } => true,
        Operation::Check { .. } => false,
    }
}

/// Repeats the transaction until it is known what happened, or `deadline` passes.
pub(crate) async fn settle(
    store: &impl Attempts,
    transaction: &Transaction,
    deadline: Instant,
) -> Result<Version, Error> {
    let mut settlement = Settlement::new(transaction);
    let mut pause = PAUSE_MIN;
    loop {
        let step = match timeout_at(deadline, attempt(store, &mut settlement)).await {
            Ok(Ok(answer)) => settlement.after(answer),
            Ok(Err(Error::Unavailable { reason })) => Step::RepeatLater(reason),
            Ok(Err(error)) => Step::Return(Err(error)),
            Err(_) if !settlement.pinned => Step::RepeatLater(LATE.into()),
            Err(_) => settlement.after(Answer::Lost(LATE.into())),
        };
        match step {
            Step::Return(outcome) => return outcome,
            Step::Repeat => {}
            Step::RepeatLater(reason) => {
                if deadline < Instant::now() + pause {
                    return Err(settlement.out_of_time(reason));
                }
                sleep(pause).await;
                pause = (2 * pause).min(PAUSE_MAX);
            }
        }
        if deadline < Instant::now() {
            return Err(settlement.out_of_time("the records change too fast".into()));
        }
    }
}

async fn attempt(store: &impl Attempts, settlement: &mut Settlement<'_>) -> Result<Answer, Error> {
    if !settlement.pinned {
        let versions = store.versions(settlement.transaction).await?;
        settlement.pin(versions.into_iter());
    }
    Ok(store.attempt(settlement.transaction, &settlement.guards, settlement.lost).await)
}

#[cfg(test)]
mod tests;
