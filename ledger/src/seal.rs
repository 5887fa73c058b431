//! Sealing: becomes the recoverer by compare-and-set, carries the recovery's asks, and writes its verdict by compare-and-set.
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use metadata::{Error, MetadataStore};
use proto::records::LedgerState;
use proto::{BookieId, EntryId, LedgerId};
use tokio::time::{Instant, sleep, sleep_until};

use crate::links::{Link, Links};
use crate::records::{self, Versioned};
use crate::recovery::{Recovery, Scope, Verdict};
use crate::{LedgerError, Sealed};

/// How long one bookie may take for one ask.
const ASK_PATIENCE: Duration = Duration::from_secs(5);
/// How long members that are not needed may take to show what they hold.
const GRACE: Duration = Duration::from_secs(1);
/// How long the loser of a race waits for the winner's end.
const LOSER_PATIENCE: Duration = Duration::from_secs(10);
const LOSER_PAUSE: Duration = Duration::from_millis(50);

pub(crate) async fn seal(
    metadata: &Arc<dyn MetadataStore>,
    links: &Links,
    ledger: LedgerId,
    recoverer: &str,
) -> Result<Sealed, LedgerError> {
    loop {
        let mut found = records::read_existing(metadata, ledger).await?;
        if let Some(sealed) = found.sealed() {
            return Ok(sealed);
        }
        found.record.set_state(LedgerState::InRecovery);
        found.record.recovery_epoch += 1;
        recoverer.clone_into(&mut found.record.recoverer);
        let mine = match records::replace(metadata, found.record, found.version).await {
            Ok(mine) => mine,
            Err(Error::Conflict { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        tracing::info!(%ledger, epoch = mine.record.recovery_epoch, "settling the end of a ledger");
        return match recover(links, &mine).await {
            Verdict::Ended(sealed, lacking) => {
                let members = records::bookies(mine.last_fragment());
                let lacking: Vec<BookieId> = lacking.iter().map(|index| members[index].clone()).collect();
                close(metadata, mine, sealed, &lacking).await
            }
            Verdict::Unsettled(reason) => Err(LedgerError::Unsettled { ledger, reason }),
            Verdict::Deleted => Err(LedgerError::NotFound { ledger }),
        };
    }
}

async fn close(
    metadata: &Arc<dyn MetadataStore>,
    mine: Versioned,
    sealed: Sealed,
    lacking: &[BookieId],
) -> Result<Sealed, LedgerError> {
    let (ledger, version) = (LedgerId(mine.record.ledger), mine.version);
    // The version is the proof that the epoch is still this recoverer's: every other start of a recovery changes it.
    match records::replace(metadata, records::closed(mine.record, sealed, lacking), version).await {
        Ok(_) => Ok(sealed),
        Err(Error::Conflict { .. }) => accept_other(metadata, ledger).await,
        Err(error) => Err(error.into()),
    }
}

/// Another recoverer started later: what it decides counts.
async fn accept_other(metadata: &Arc<dyn MetadataStore>, ledger: LedgerId) -> Result<Sealed, LedgerError> {
    let deadline = Instant::now() + LOSER_PATIENCE;
    while Instant::now() < deadline {
        if let Some(sealed) = records::read_existing(metadata, ledger).await?.sealed() {
            return Ok(sealed);
        }
        sleep(LOSER_PAUSE).await;
    }
    Err(LedgerError::Unsettled { ledger, reason: "another recovery has not ended yet".into() })
}

fn scope(mine: &Versioned) -> Scope {
    let last = mine.last_fragment();
    let fragments = &mine.record.fragments;
    let policy = mine.policy();
    let earlier = |name: &String| {
        let held = |pair: &[proto::records::Fragment]| {
            let index = pair[0].bookies.iter().position(|bookie| bookie == name)?;
            Some(policy.share(index, EntryId(pair[0].first), EntryId(pair[1].first)).0)
        };
        fragments.windows(2).filter_map(held).sum()
    };
    Scope {
        ledger: LedgerId(mine.record.ledger),
        policy,
        first: EntryId(last.first),
        length_before: last.length_before,
        earlier: last.bookies.iter().map(earlier).collect(),
    }
}

async fn recover(links: &Links, mine: &Versioned) -> Verdict {
    let ledger = LedgerId(mine.record.ledger);
    let members: Vec<Arc<Link>> =
        records::bookies(mine.last_fragment()).iter().map(|bookie| links.to(bookie)).collect();
    let mut machine = Recovery::new(scope(mine));
    let mut asked = FuturesUnordered::new();
    let mut grace: Option<Instant> = None;
    loop {
        for ask in machine.asks() {
            let link = members[ask.member].clone();
            asked.push(async move {
                let replies = link.ask(ledger, ask.bodies.clone(), ASK_PATIENCE).await;
                (ask, replies)
            });
        }
        if let Some(verdict) = machine.verdict() {
            return verdict.clone();
        }
        if machine.may_finish() {
            grace.get_or_insert_with(|| Instant::now() + GRACE);
        }
        tokio::select! {
            biased;
            Some((ask, replies)) = asked.next() => machine.answered(&ask, replies),
            () = async { match grace { Some(end) => sleep_until(end).await, None => std::future::pending().await } } => {
                machine.finish();
            }
        }
    }
}
