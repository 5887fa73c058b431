//! A ledger's record in metadata: reading it, and changing it by compare-and-set only.
use std::sync::Arc;

use metadata::{Error, Expect, Key, MetadataStore, Operation, Transaction, Version};
use prost::Message;
use proto::records::{Fragment, Intent, LedgerRecord, LedgerState, intent};
use proto::{BookieId, EntryId, LedgerId, keys};

use crate::quorum::Members;
use crate::{LedgerError, QuorumPolicy, Sealed};

/// A record as it was read, with what is needed to change it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Versioned {
    pub(crate) record: LedgerRecord,
    pub(crate) version: Version,
}

impl Versioned {
    pub(crate) fn policy(&self) -> QuorumPolicy {
        policy(&self.record)
    }

    /// How the ledger ended, if it is closed.
    pub(crate) fn sealed(&self) -> Option<Sealed> {
        (self.record.state() == LedgerState::Closed)
            .then_some(Sealed { end: EntryId(self.record.end), length: self.record.length })
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.record.state() == LedgerState::Deleted
    }

    /// The fragment that holds `entry`. Every ledger has one that starts at 0.
    pub(crate) fn fragment(&self, entry: EntryId) -> &Fragment {
        let after = self.record.fragments.partition_point(|fragment| fragment.first <= entry.0);
        &self.record.fragments[after - 1]
    }

    /// The entry after the last of the fragment that holds `entry`, or `None` for the last fragment.
    pub(crate) fn fragment_end(&self, entry: EntryId) -> Option<EntryId> {
        let after = self.record.fragments.partition_point(|fragment| fragment.first <= entry.0);
        self.record.fragments.get(after).map(|next| EntryId(next.first))
    }

    pub(crate) fn last_fragment(&self) -> &Fragment {
        self.record.fragments.last().expect("checked when decoded")
    }

    /// Every bookie that any fragment names, each once.
    pub(crate) fn all_bookies(&self) -> Vec<BookieId> {
        let mut all: Vec<BookieId> = self.record.fragments.iter().flat_map(bookies).collect();
        all.sort();
        all.dedup();
        all
    }
}

pub(crate) fn policy(record: &LedgerRecord) -> QuorumPolicy {
    QuorumPolicy { ensemble: record.ensemble_size, write: record.write_quorum, ack: record.ack_quorum }
}

/// The members of a fragment, in order.
pub(crate) fn bookies(fragment: &Fragment) -> Vec<BookieId> {
    fragment.bookies.iter().map(|bookie| bookie.parse().expect("checked when decoded")).collect()
}

/// Adds `names` to the members that may lack entries. Says whether that changed anything.
pub(crate) fn mark_lacking(fragment: &mut Fragment, names: &[BookieId]) -> bool {
    let before = fragment.lacking.len();
    for name in names {
        if !fragment.lacking.iter().any(|marked| marked == name.as_str()) {
            fragment.lacking.push(name.as_str().to_owned());
        }
    }
    fragment.lacking.sort();
    before < fragment.lacking.len()
}

fn is_sound(record: &LedgerRecord, ledger: LedgerId) -> bool {
    let fragments = &record.fragments;
    let distinct = |fragment: &Fragment| {
        let mut names = fragment.bookies.clone();
        names.sort();
        names.dedup();
        names.len() == record.ensemble_size as usize
            && fragment.bookies.len() == names.len()
            && names.iter().all(|name| name.parse::<BookieId>().is_ok())
    };
    record.ledger == ledger.0
        && policy(record).is_valid()
        && LedgerState::try_from(record.state).is_ok()
        && fragments.first().is_some_and(|fragment| fragment.first == 0)
        && fragments.windows(2).all(|pair| pair[0].first < pair[1].first)
        && fragments.iter().all(distinct)
}

/// Reads a ledger's record.
pub(crate) async fn read(metadata: &Arc<dyn MetadataStore>, ledger: LedgerId) -> Result<Option<Versioned>, Error> {
    let key: Key = keys::ledger(ledger).into();
    let Some(found) = metadata.get(&key).await? else { return Ok(None) };
    match LedgerRecord::decode(found.value) {
        Ok(record) if is_sound(&record, ledger) => Ok(Some(Versioned { record, version: found.version })),
        _ => Err(Error::Corrupt { key }),
    }
}

/// Reads the record of a ledger that must exist.
pub(crate) async fn read_existing(
    metadata: &Arc<dyn MetadataStore>,
    ledger: LedgerId,
) -> Result<Versioned, LedgerError> {
    match read(metadata, ledger).await? {
        Some(found) if !found.is_deleted() => Ok(found),
        _ => Err(LedgerError::NotFound { ledger }),
    }
}

/// Replaces the record that was read at `version`.
pub(crate) async fn replace(
    metadata: &Arc<dyn MetadataStore>,
    record: LedgerRecord,
    version: Version,
) -> Result<Versioned, Error> {
    let operation = put(&record, Expect::Version(version));
    let version = metadata.commit(Transaction::new(vec![operation])).await?;
    Ok(Versioned { record, version })
}

/// The operation that writes a record.
pub(crate) fn put(record: &LedgerRecord, expect: Expect) -> Operation {
    Operation::put(keys::ledger(LedgerId(record.ledger)), record.encode_to_vec(), expect)
}

/// The record of a new ledger.
pub(crate) fn new_record(
    ledger: LedgerId,
    policy: QuorumPolicy,
    owner: &str,
    members: &[BookieId],
    lacking: &[BookieId],
    created_at: u64,
) -> LedgerRecord {
    let mut fragment =
        Fragment { bookies: members.iter().map(|member| member.as_str().to_owned()).collect(), ..Fragment::default() };
    mark_lacking(&mut fragment, lacking);
    LedgerRecord {
        ledger: ledger.0,
        ensemble_size: policy.ensemble,
        write_quorum: policy.write,
        ack_quorum: policy.ack,
        fragments: vec![fragment],
        created_at,
        owner: owner.to_owned(),
        ..LedgerRecord::default()
    }
}

/// The record of `found` once it is closed.
pub(crate) fn closed(mut record: LedgerRecord, sealed: Sealed, lacking: &[BookieId]) -> LedgerRecord {
    record.set_state(LedgerState::Closed);
    record.end = sealed.end.0;
    record.length = sealed.length;
    let last = record.fragments.last_mut().expect("checked when decoded");
    last.lacking = lacking.iter().map(|name| name.as_str().to_owned()).collect();
    last.lacking.sort();
    record
}

/// The intent to delete a ledger: put it in the transaction that stops referring to the ledger.
/// `now` is milliseconds since 1970.
#[must_use]
pub fn delete_intent(ledger: LedgerId, now: u64) -> Operation {
    let intent = Intent { subject: Some(intent::Subject::DeleteLedger(ledger.0)), created_at: now };
    Operation::put(keys::delete_ledger(ledger), intent.encode_to_vec(), Expect::Any)
}

/// The operations that end a deletion: record and intent go together.
pub(crate) fn forget(ledger: LedgerId, version: Version) -> Vec<Operation> {
    vec![
        Operation::delete(keys::ledger(ledger), Expect::Version(version)),
        Operation::delete(keys::delete_ledger(ledger), Expect::Any),
    ]
}

/// The members of a fragment that are marked.
pub(crate) fn lacking(fragment: &Fragment) -> Members {
    (0..fragment.bookies.len()).filter(|index| fragment.lacking.contains(&fragment.bookies[*index])).collect()
}
