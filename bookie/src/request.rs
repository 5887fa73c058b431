//! Requests as they come and answers as they go.
use proto::LedgerId;
use proto::bookie::request::Body;
use proto::bookie::{Answer, Holding, Read, Request, Status};

use crate::index::Index;
use crate::journal::{Order, Verdict};
use crate::reader::Reading;

/// Who does what a request asks for.
#[derive(Debug)]
pub(crate) enum Task {
    Journal(Order, Then),
    Read(Read),
    Held,
    /// Nothing that this version knows.
    Malformed,
}

/// What an answer carries once the journal has done its part.
#[derive(Debug)]
pub(crate) enum Then {
    /// An add's: joined with its neighbours.
    Run,
    Nothing,
    Holding,
    Read(Read),
}

impl Task {
    pub(crate) fn of(request: Request) -> Self {
        let ledger = LedgerId(request.ledger);
        match request.body {
            None => Self::Malformed,
            Some(Body::Add(add)) => Self::Journal(Order::add(ledger, add), Then::Run),
            Some(Body::Fence(_)) => Self::Journal(Order::Fence(ledger), Then::Holding),
            Some(Body::Delete(_)) => Self::Journal(Order::Delete(ledger), Then::Nothing),
            Some(Body::Read(read)) if read.fence && read.first < read.end => {
                Self::Journal(Order::Fence(ledger), Then::Read(read))
            }
            Some(Body::Read(read)) => Self::Read(read),
            Some(Body::Held(_)) => Self::Held,
        }
    }
}

pub(crate) fn answer(id: u64, ledger: LedgerId, status: Status, reason: impl Into<String>) -> Answer {
    Answer { id, ledger: ledger.0, run: 1, status: status.into(), reason: reason.into(), ..Answer::default() }
}

/// Adds the answer to those before it, or to the run that the last of them is.
pub(crate) fn push_run(answers: &mut Vec<Answer>, id: u64, ledger: LedgerId, verdict: &Verdict, joins: bool) {
    if let Some(last) = answers.last_mut().filter(|_| joins) {
        let bare = last.holding.is_none() && last.entries.is_empty(); // Else it is not an add's.
        let follows = bare && last.id.checked_add(u64::from(last.run)) == Some(id) && last.ledger == ledger.0;
        if follows && last.status == i32::from(verdict.status) && last.reason == verdict.reason {
            last.run += 1;
            return;
        }
    }
    answers.push(answer(id, ledger, verdict.status, verdict.reason));
}

pub(crate) fn malformed(id: u64, ledger: LedgerId) -> Answer {
    answer(id, ledger, Status::Invalid, "the request asks for nothing that this bookie knows")
}

pub(crate) fn held(id: u64, ledger: LedgerId, index: &Index) -> Answer {
    if index.standing(ledger).flags.deleted {
        return answer(id, ledger, Status::Deleted, "the ledger is deleted");
    }
    Answer { holding: Some(index.holding(ledger)), ..answer(id, ledger, Status::Ok, "") }
}

pub(crate) fn reading(id: u64, ledger: LedgerId, reading: Reading, holding: Option<Holding>) -> Answer {
    let Reading { status, entries, reason, absent } = reading;
    Answer { entries, holding, absent, ..answer(id, ledger, status, reason) }
}
