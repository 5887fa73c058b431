//! Starting with a store that has lost something: what is whole is kept, ledgers' records are told what may be missing, and where an
//! entry may have been no answer is a no. See `docs/adr/0011-limbo.md`.
//!
//! Owns: the file `limbo`, and which ledgers are in limbo.
//! Promises: no entry that was ever acknowledged is denied in a vote; nothing damaged is removed; a crash at any point repeats the rest.
//! Never: begins after a mere crash, or ends before a ledger's record says that nothing of it is missing here.
mod held;
mod judge;
mod note; // In the order in which they need each other, last to first.
mod review;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use metadata::{Error, Expect, Key, MetadataStore, Operation, Record, Transaction};
use prost::Message;
use proto::bookie::Status;
use proto::records::LedgerRecord;
use proto::{BookieId, LedgerId, keys};

pub(crate) use self::note::{Note, load as load_note, store as store_note};
pub use self::review::{Limbo, leave_limbo};
use crate::disk::Disk;
use crate::error::OpenError;
use crate::format::SegmentId;
use crate::identity::Identity;
use crate::journal::Order;
use crate::segments::{self, Losses, Options};
use crate::store::Store;

/// Records read at once.
const PAGE: usize = 500;
/// Records changed at once.
const CHANGES: usize = 32;
/// Fences and tombstones of one sync.
const ORDERS: usize = 4096;

/// A store that has lost something and may not serve yet.
#[derive(Debug)]
pub struct Damaged {
    store: Store,
    note: Note,
    /// Journal segments from here on were begun after all that was lost had been written.
    after: SegmentId,
    /// Ledgers of which this start has appended entries again that are older than that.
    repeated: HashSet<LedgerId>,
}

impl Damaged {
    /// Opens what is there. Call it for a directory that [`Store::open`] has refused with a [loss](OpenError::is_loss).
    pub fn open(disk: Arc<dyn Disk>, identity: &Identity, options: Options) -> Result<Self, OpenError> {
        let noted = load_note(disk.as_ref())?;
        if noted == Some(Note::Marked) {
            match segments::open(disk.clone(), identity, options.clone(), &mut Losses::refused()) {
                Ok(found) => {
                    let after = SegmentId::FIRST;
                    return Ok(Self { store: Store::of(found)?, note: Note::Marked, after, repeated: HashSet::new() });
                }
                Err(error) if error.is_loss() => {}
                Err(error) => return Err(error),
            }
        }
        store_note(disk.as_ref(), Note::Unmarked)?;
        let mut losses = Losses::tolerated();
        let mut found = segments::open(disk, identity, options, &mut losses)?;
        let repeated = std::mem::take(&mut found.repeated);
        losses.found.iter().for_each(|loss| tracing::error!(%loss, "something that was acknowledged may be lost"));
        // What an earlier start has found is not seen any more.
        let after = if noted == Some(Note::Unmarked) { SegmentId::NEVER } else { losses.after };
        Ok(Self { store: Store::of_damaged(found)?, note: Note::Unmarked, after, repeated })
    }

    /// Tells ledgers' records what may be missing here. The store that it returns may serve.
    pub async fn enter(self, metadata: &dyn MetadataStore) -> Result<Store, OpenError> {
        let Self { mut store, note, after, repeated } = self;
        let me = store.segments.identity.bookie.clone();
        let mut unlisted: BTreeSet<LedgerId> = store.segments.index.read().ledgers().into_iter().collect();
        let mut page_after = None;
        loop {
            let page = metadata.list(keys::LEDGERS, page_after.as_ref(), PAGE).await?;
            let records = page.records.iter().map(decode).collect::<Result<Vec<_>, _>>()?;
            for record in &records {
                unlisted.remove(&LedgerId(record.ledger));
            }
            if note == Note::Marked {
                let named = records.iter().filter(|record| judge::names(record, &me));
                store.segments.index.write().limbo.extend(named.map(|record| LedgerId(record.ledger)));
            } else {
                enter_some(&mut store, metadata, &me, (after, &repeated), records).await?;
            }
            page_after = page.records.last().map(|last| last.key.clone());
            if !page.more || page_after.is_none() {
                break;
            }
        }
        if note == Note::Unmarked {
            for ledger in &unlisted {
                tracing::error!(%ledger, "the record of a ledger is missing that this bookie holds entries of; it is fenced");
            }
            order(&mut store, unlisted.into_iter().map(Order::Fence).collect())?;
            store_note(store.segments.disk.as_ref(), Note::Marked)?;
        }
        let ledgers = store.segments.index.read().limbo.len();
        tracing::warn!(ledgers, "this bookie serves, and is in limbo about ledgers of which it may lack entries");
        Ok(store)
    }
}

fn decode(record: &Record) -> Result<LedgerRecord, Error> {
    let corrupt = || Error::Corrupt { key: record.key.clone() };
    let decoded = LedgerRecord::decode(record.value.clone()).map_err(|_| corrupt())?;
    if decoded.fragments.is_empty() { Err(corrupt()) } else { Ok(decoded) }
}

async fn enter_some(
    store: &mut Store,
    metadata: &dyn MetadataStore,
    me: &BookieId,
    (after, repeated): (SegmentId, &HashSet<LedgerId>),
    records: Vec<LedgerRecord>,
) -> Result<(), OpenError> {
    let segments = store.segments.clone();
    let held = held::Index { segments: &segments, after, repeated };
    let mut orders = Vec::new();
    let mut to_mark = Vec::new();
    for record in records {
        let Some(judged) = judge::judge(&record, me, &held) else { continue };
        let ledger = LedgerId(record.ledger);
        if judged.delete {
            orders.push(Order::Delete(ledger));
        }
        if judged.fence {
            orders.push(Order::Fence(ledger));
        }
        if judged.is_limbo() {
            alarm(&record, &judged);
            segments.index.write().limbo.insert(ledger);
        }
        if judged.is_loss() {
            to_mark.push(ledger);
        }
    }
    order(store, orders)?;
    let marks = futures::stream::iter(to_mark).map(|ledger| mark(metadata, ledger, me, &held));
    Ok(marks.buffer_unordered(CHANGES).try_collect::<()>().await?)
}

fn alarm(record: &LedgerRecord, judged: &judge::Judged) {
    let (ledger, owner) = (record.ledger, &record.owner);
    let first_missing = judged.first_missing.map(|entry| entry.0);
    if record.write_quorum == 1 {
        tracing::error!(
            ledger,
            owner,
            first_missing,
            "the only copy of a ledger was damaged; what is intact stays readable"
        );
    } else {
        tracing::warn!(
            ledger,
            owner,
            first_missing,
            "entries of a ledger may be missing here; other bookies hold copies"
        );
    }
}

/// Does what must be durable before anybody is served.
fn order(store: &mut Store, orders: Vec<Order>) -> Result<(), OpenError> {
    let mut orders = orders.into_iter().peekable();
    while orders.peek().is_some() {
        let verdicts = store.journal.step(orders.by_ref().take(ORDERS).collect())?;
        // A ledger with a tombstone needs no fence.
        assert!(verdicts.iter().all(|verdict| matches!(verdict.status, Status::Ok | Status::Deleted)), "{verdicts:?}");
    }
    Ok(())
}

/// Tells a ledger's record of the loss, judging anew whenever somebody else has changed it.
async fn mark(
    metadata: &dyn MetadataStore,
    ledger: LedgerId,
    me: &BookieId,
    held: &held::Index<'_>,
) -> Result<(), Error> {
    change(metadata, ledger, |record| {
        let judged = judge::judge(record, me, held).unwrap_or_default();
        judge::marked(record, me, &judged)
    })
    .await
    .map(drop)
}

/// Changes a ledger's record by compare-and-set, and gives it as it is then. A change whose outcome is not known is decided again on what is
/// there: it may be made twice.
async fn change(
    metadata: &dyn MetadataStore,
    ledger: LedgerId,
    decide: impl Fn(&LedgerRecord) -> Option<LedgerRecord>,
) -> Result<Option<LedgerRecord>, Error> {
    let key = Key::from(keys::ledger(ledger));
    loop {
        let Some(found) = metadata.get(&key).await? else { return Ok(None) };
        let record = decode(&found)?;
        let Some(next) = decide(&record) else { return Ok(Some(record)) };
        let put = Operation::put(key.clone(), next.encode_to_vec(), Expect::Version(found.version));
        match metadata.commit(Transaction::new(vec![put])).await {
            Ok(_) => return Ok(Some(next)),
            Err(Error::Conflict { .. } | Error::OutcomeUnknown) => {}
            Err(error) => return Err(error),
        }
    }
}
