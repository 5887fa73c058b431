//! Carries the asks of a reading: one replica first, another when it fails or takes long.
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use proto::{EntryId, LedgerId};
use tokio::time::sleep;

use crate::links::{Link, Links};
use crate::reader::{Failure, Holder, Reading};
use crate::records::{self, Versioned};
use crate::recovery::Reply;
use crate::{Entry, LedgerError};

/// How long one replica may take in all.
const REPLICA_PATIENCE: Duration = Duration::from_secs(3);
/// How long one replica is asked alone. Longer than a disk that is busy takes, for the second read costs as much as the first.
const ALONE: Duration = Duration::from_millis(300);

/// Reads with what `record` says, which may be old: only the caller knows whether a failure is true.
pub(super) async fn read(
    links: &Links,
    record: &Versioned,
    entries: &Range<EntryId>,
    bytes_max: usize,
) -> Result<Vec<Entry>, LedgerError> {
    let ledger = LedgerId(record.record.ledger);
    let (entry, mut end) = (entries.start, entries.end);
    if let Some(sealed) = record.sealed() {
        end = end.min(sealed.end); // Bookies may hold more than the ledger does.
    }
    if let Some(border) = record.fragment_end(entry) {
        end = end.min(border);
    }
    if end <= entry {
        return Err(LedgerError::Unreadable { ledger, entry, reason: "it lies beyond the ledger's end".into() });
    }
    let (links, holders): (Vec<Arc<Link>>, Vec<Holder>) = holders(links, record, entry).into_iter().unzip();
    let mut reading = Reading::new(ledger, record.policy(), entry..end, bytes_max, holders);
    let mut asked = FuturesUnordered::new();
    loop {
        if let Some((holder, body)) = reading.next() {
            let link = &links[holder];
            asked.push(async move { (link, link.ask(ledger, vec![body], REPLICA_PATIENCE).await.pop()) });
        }
        match reading.failure() {
            None => {}
            Some(Failure::Lost) => return Err(LedgerError::Lost { ledger, entry }),
            Some(Failure::Unreadable(reason)) => return Err(LedgerError::Unreadable { ledger, entry, reason }),
        }
        tokio::select! {
            biased;
            Some((link, reply)) = asked.next() => {
                let found = reading.answered(link.bookie().as_str(), reply.unwrap_or(Reply::Silence));
                if let Some(found) = found {
                    return Ok(found);
                }
            }
            () = sleep(ALONE) => {}
        }
    }
}

/// Who may hold `entry`: the members of its fragment, and those of whom the record says so besides.
fn holders(links: &Links, record: &Versioned, entry: EntryId) -> Vec<(Arc<Link>, Holder)> {
    let fragment = record.fragment(entry);
    let lacking = records::lacking(fragment);
    let members = records::bookies(fragment);
    let beside = records::may_hold(&record.record).into_iter().filter(|bookie| !members.contains(bookie));
    let seated = members.iter().cloned().enumerate().map(|(seat, bookie)| (bookie, Some(seat)));
    seated
        .chain(beside.map(|bookie| (bookie, None)))
        .map(|(bookie, seat)| {
            let link = links.to(&bookie);
            let lacking = seat.is_some_and(|seat| lacking.contains(seat));
            let doubtful = !link.is_trusted();
            (link, Holder { seat, lacking, doubtful })
        })
        .collect()
}
