//! Replacing members: looks for others, writes the change to the record, and gives them their seats.
use std::sync::Arc;

use metadata::{MetadataStore, Retry};
use proto::records::LedgerState;
use proto::{BookieId, LedgerId};
use tokio_util::task::AbortOnDropHandle;

use super::{QuorumWriter, Seat, Shared};
use crate::links::{Changed, Event};
use crate::placement::Wanted;
use crate::quorum::Members;
use crate::records::changes::{self, Change};
use crate::records::{self, Updated};
use crate::{LedgerError, QuorumPolicy};

/// A change of the ensemble, as far as it is.
#[derive(Debug, Default)]
pub(super) struct Changing {
    /// Looks for others, or writes the record. Awaited through the inbox; ends with the writer.
    task: Option<AbortOnDropHandle<()>>,
    /// Who is to take which seat.
    replacements: Vec<(usize, BookieId)>,
}

impl QuorumWriter {
    fn ensemble(&self) -> Vec<BookieId> {
        self.seats.iter().map(|seat| seat.link.bookie().clone()).collect()
    }

    pub(super) fn look_for_replacements(&mut self, out: Members) {
        let (shared, ledger, policy) = (self.shared.clone(), self.ledger, self.policy);
        let (members, inbox) = (self.ensemble(), self.inbox.clone());
        self.changing.task = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let found = find(&shared, ledger, policy, &members, out).await;
            let found =
                found.inspect_err(|error| tracing::debug!(%ledger, %error, "cannot look for other bookies now"));
            inbox.put(Event::Found(found.unwrap_or_default()));
        })));
    }

    pub(super) fn begin_change(&mut self, mut replacements: Vec<(usize, BookieId)>) {
        let now = self.now();
        if replacements.is_empty() {
            return self.machine.nobody_to_change_to(now);
        }
        let seats = replacements.iter().map(|(seat, _)| *seat).collect();
        let Some(begun) = self.machine.begin_change(seats, now) else { return };
        replacements.retain(|(seat, _)| begun.out.contains(*seat));
        replacements.sort_by_key(|(seat, _)| *seat);
        let from = self.ensemble();
        let mut to = from.clone();
        replacements.iter().for_each(|(seat, bookie)| to[*seat] = bookie.clone());
        let behind = self.names(begun.behind);
        let change = Change { first: begun.first, length_before: begun.length_before, from, to, behind };
        tracing::info!(ledger = %self.ledger, first = %begun.first, ?replacements, "replacing members that do not acknowledge");
        self.changing.replacements = replacements;
        let (metadata, ledger, inbox) = (self.shared.metadata.clone(), self.ledger, self.inbox.clone());
        self.changing.task = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let outcome = write(&metadata, ledger, &change).await;
            inbox.put(Event::Changed(outcome));
        })));
    }

    pub(super) fn finish_change(&mut self, outcome: Changed) {
        let now = self.now();
        match outcome {
            Changed::Refused => self.machine.change_refused(),
            Changed::NotWritten => self.machine.change_not_written(now),
            Changed::Written => self.take_seats(),
        }
        self.changing = Changing::default();
    }

    fn take_seats(&mut self) {
        let mut numbers = Vec::new();
        for (seat, bookie) in std::mem::take(&mut self.changing.replacements) {
            let (number, link) = (self.seated, self.shared.links.to(&bookie));
            self.seated += 1;
            numbers.push(number);
            let gone = std::mem::replace(&mut self.seats[seat], Seat { number, link, kept: 0 });
            gone.link.unsubscribe(&self.inbox, gone.number);
            gone.link.keep(gone.kept, 0);
            gone.link.suspect("did not acknowledge in time and was replaced");
        }
        self.machine.changed(&numbers, self.now());
        for number in numbers {
            if let Some(seat) = self.seats.iter().find(|seat| seat.number == number) {
                seat.link.subscribe(&self.inbox, number);
            }
        }
    }
}

/// Who can take the seats. Asks metadata for the ledger's record as well: while that does not answer, no change is begun.
async fn find(
    shared: &Shared,
    ledger: LedgerId,
    policy: QuorumPolicy,
    members: &[BookieId],
    out: Members,
) -> Result<Vec<(usize, BookieId)>, LedgerError> {
    let wanted = Wanted { policy, members, out, rather: &[], never: &[], suspects: false };
    if shared.placer.replacements(&wanted).await?.is_empty() {
        return Ok(Vec::new());
    }
    // When a bookie goes, all ledgers come here at once.
    let _turn = shared.placer.turn_to_change().await;
    let found = records::read_existing(&shared.metadata, ledger).await?;
    if found.record.state() != LedgerState::Open {
        return Ok(Vec::new());
    }
    let replacements = shared.placer.replacements(&wanted).await?;
    shared.placer.note_spread(&wanted, &replacements).await?;
    Ok(replacements)
}

async fn write(metadata: &Arc<dyn MetadataStore>, ledger: LedgerId, change: &Change) -> Changed {
    match records::update(metadata, ledger, |record| changes::change(record, change)).await {
        Ok(Updated::Done(_)) => Changed::Written,
        Ok(Updated::Refused(_) | Updated::Missing) => Changed::Refused,
        Err(error) if error.retry() == Retry::Never => Changed::Refused,
        Err(error) => {
            tracing::warn!(%ledger, %error, "the ledger's ensemble cannot be changed now");
            Changed::NotWritten
        }
    }
}
