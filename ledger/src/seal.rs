//! Sealing: becomes the recoverer by compare-and-set, carries the recovery's asks, and writes its verdict by compare-and-set.
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use proto::records::LedgerRecord;
use proto::{BookieId, EntryId, LedgerId};
use tokio::time::{Instant, sleep, sleep_until};

use crate::defects::Planted;
use crate::links::Link;
use crate::placement::Wanted;
use crate::quorum::Members;
use crate::quorum_writer::Shared;
use crate::records::changes::{self, Ended};
use crate::records::{self, Updated, Versioned};
use crate::recovery::{Part, Recovery, Scope, Verdict};
use crate::{LedgerError, QuorumPolicy, Sealed};

/// How long one bookie may take for one ask.
const ASK_PATIENCE: Duration = Duration::from_secs(5);
/// How long members that are not needed may take to show what they hold.
const GRACE: Duration = Duration::from_secs(1);
/// How long the loser of a race waits for the winner's end.
const LOSER_PATIENCE: Duration = Duration::from_secs(10);
const LOSER_PAUSE: Duration = Duration::from_millis(50);

pub(crate) async fn seal(shared: &Shared, ledger: LedgerId) -> Result<Sealed, LedgerError> {
    let recoverer = shared.placer.fresh_name();
    let begin = |record: &_| changes::begin_recovery(record, &recoverer);
    let mine = match records::update(&shared.metadata, ledger, begin).await? {
        Updated::Done(mine) => mine,
        Updated::Refused(found) => return found.sealed().ok_or(LedgerError::NotFound { ledger }),
        Updated::Missing => return Err(LedgerError::NotFound { ledger }),
    };
    tracing::info!(%ledger, epoch = mine.record.recovery_epoch, "settling the end of a ledger");
    let mut carried = Carried::new(shared, &mine);
    match carried.run().await? {
        Verdict::Ended(sealed, parts) => {
            let in_doubt = carried.machine.end_is_in_doubt();
            if in_doubt {
                let owner = &mine.record.owner;
                tracing::error!(%ledger, owner, end = %sealed.end, "the only copy of a ledger was damaged: its end is in doubt");
            }
            let ended = ended(&parts, |number| carried.members[number].bookie().clone());
            close(shared, ledger, &recoverer, sealed, &ended, in_doubt).await
        }
        Verdict::Unsettled(reason) => Err(LedgerError::Unsettled { ledger, reason }),
        Verdict::Deleted => Err(LedgerError::NotFound { ledger }),
    }
}

async fn close(
    shared: &Shared,
    ledger: LedgerId,
    recoverer: &str,
    sealed: Sealed,
    ended: &[Ended],
    in_doubt: bool,
) -> Result<Sealed, LedgerError> {
    // A repair may have changed earlier fragments meanwhile. That nobody else has started a recovery is what counts.
    let close = |record: &_| changes::close_recovered(record, recoverer, sealed, ended, in_doubt);
    match records::update(&shared.metadata, ledger, close).await? {
        Updated::Done(_) => Ok(sealed),
        Updated::Refused(found) if found.is_deleted() => Err(LedgerError::NotFound { ledger }),
        Updated::Refused(_) => accept_other(shared, ledger).await,
        Updated::Missing => Err(LedgerError::NotFound { ledger }),
    }
}

/// Another recoverer started later: what it decides counts.
async fn accept_other(shared: &Shared, ledger: LedgerId) -> Result<Sealed, LedgerError> {
    let deadline = Instant::now() + LOSER_PATIENCE;
    while Instant::now() < deadline {
        if let Some(sealed) = records::read_existing(&shared.metadata, ledger).await?.sealed() {
            return Ok(sealed);
        }
        sleep(LOSER_PAUSE).await;
    }
    Err(LedgerError::Unsettled { ledger, reason: "another recovery has not ended yet".into() })
}

/// What a recovery must know of a ledger's record.
pub(crate) fn scope(record: &LedgerRecord, planted: Planted) -> Scope {
    let last = record.fragments.last().expect("checked when decoded");
    let seats = last.bookies.iter().enumerate();
    Scope {
        ledger: LedgerId(record.ledger),
        policy: records::policy(record),
        first: EntryId(last.first),
        length_before: last.length_before,
        earlier: seats.map(|(seat, name)| held_before(record, seat, name)).collect(),
        planted,
    }
}

/// How many entries a member of the last fragment should hold of the fragments before it. Nothing, if it may hold entries of which
/// the record does not tell: it sat elsewhere, left and came back, or was copied to.
fn held_before(record: &LedgerRecord, seat: usize, name: &String) -> Option<u64> {
    if record.may_hold.contains(name) {
        return None;
    }
    let (mut held, mut left) = (0, false);
    for pair in record.fragments.windows(2).rev() {
        match pair[0].bookies.iter().position(|other| other == name) {
            Some(before) if before == seat && !left => {
                held += records::policy(record).share(seat, EntryId(pair[0].first), EntryId(pair[1].first)).0;
            }
            Some(_) => return None,
            None => left = true,
        }
    }
    Some(held)
}

/// A recovery with the links to its members.
struct Carried<'a> {
    shared: &'a Shared,
    ledger: LedgerId,
    policy: QuorumPolicy,
    machine: Recovery,
    /// By number: the ensemble first, then replacements.
    members: Vec<Arc<Link>>,
    /// Who sits where.
    current: Vec<BookieId>,
}

impl<'a> Carried<'a> {
    fn new(shared: &'a Shared, mine: &Versioned) -> Self {
        let current = records::bookies(mine.last_fragment());
        let members = current.iter().map(|bookie| shared.links.to(bookie)).collect();
        let machine = Recovery::new(scope(&mine.record, shared.limits.planted));
        Self { shared, ledger: LedgerId(mine.record.ledger), policy: mine.policy(), machine, members, current }
    }

    async fn run(&mut self) -> Result<Verdict, LedgerError> {
        let ledger = self.ledger;
        let mut asked = FuturesUnordered::new();
        let mut grace: Option<Instant> = None;
        loop {
            for ask in self.machine.asks() {
                let link = self.members[ask.member].clone();
                asked.push(async move {
                    let replies = link.ask(ledger, ask.bodies.clone(), ASK_PATIENCE).await;
                    (ask, replies)
                });
            }
            if let Some(verdict) = self.machine.verdict() {
                return Ok(verdict.clone());
            }
            let wanted = self.machine.replacements_wanted();
            if !wanted.is_empty() {
                self.replace(wanted).await?;
                continue;
            }
            if self.machine.may_finish() {
                grace.get_or_insert_with(|| Instant::now() + GRACE);
            }
            tokio::select! {
                biased;
                Some((ask, replies)) = asked.next() => self.machine.answered(&ask, replies),
                () = async { match grace { Some(end) => sleep_until(end).await, None => std::future::pending().await } } => {
                    self.machine.finish();
                }
            }
        }
    }

    /// Puts others on seats without which no ack quorum can be reached.
    async fn replace(&mut self, out: Members) -> Result<(), LedgerError> {
        let tried: Vec<BookieId> = self.members.iter().map(|link| link.bookie().clone()).collect();
        let known = self.shared.placer.known().await?.candidates;
        let (policy, members) = (self.policy, &self.current[..]);
        let wanted = Wanted { policy, members, out, rather: &[], never: &tried, suspects: true };
        let found = self.shared.placer.replacements_among(&known, &wanted);
        if found.is_empty() {
            self.machine.cannot_replace("too few bookies take it, and there is no other");
            return Ok(());
        }
        let names: Vec<BookieId> = found.iter().map(|(_, bookie)| bookie.clone()).collect();
        let note = |record: &_| changes::note_holders(record, &names);
        if !matches!(records::update(&self.shared.metadata, self.ledger, note).await?, Updated::Done(_)) {
            return Err(LedgerError::NotFound { ledger: self.ledger });
        }
        tracing::info!(ledger = %self.ledger, ?found, "the end of a ledger is written to other bookies");
        let mut seats = Members::default();
        for (seat, bookie) in found {
            seats.insert(seat);
            self.members.push(self.shared.links.to(&bookie));
            self.current[seat] = bookie;
        }
        self.machine.replaced(seats);
        Ok(())
    }
}

/// The fragments with the names of their members, which a recovery knows by number.
pub(crate) fn ended(parts: &[Part], name: impl Fn(usize) -> BookieId) -> Vec<Ended> {
    let ended = |part: &Part| Ended {
        first: part.first,
        length_before: part.length_before,
        bookies: part.seats.iter().map(|number| name(*number)).collect(),
        lacking: part.lacking.iter().map(|seat| name(part.seats[seat])).collect(),
    };
    parts.iter().map(ended).collect()
}
