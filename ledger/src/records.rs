//! A ledger's record in metadata: reading it, and changing it by compare-and-set only.
use std::sync::Arc;
use std::time::Duration;

use metadata::{Error, Expect, Key, MetadataStore, Operation, Transaction, Version};
use prost::Message;
use proto::records::{Fragment, Intent, LedgerRecord, LedgerState, intent};
use proto::{BookieId, EntryId, LedgerId, keys};

use tokio::time::sleep;

use crate::quorum::Members;
use crate::{LedgerError, QuorumPolicy, Sealed};

pub(crate) mod changes;

/// Between attempts to change a record whose store does not answer.
const PAUSE: Duration = Duration::from_millis(200);

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

    /// Every bookie that may hold entries, each once.
    pub(crate) fn all_bookies(&self) -> Vec<BookieId> {
        let mut all: Vec<BookieId> = self.record.fragments.iter().flat_map(bookies).collect();
        all.extend(may_hold(&self.record));
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

/// The bookies that may hold entries beside what fragments say.
pub(crate) fn may_hold(record: &LedgerRecord) -> Vec<BookieId> {
    record.may_hold.iter().map(|bookie| bookie.parse().expect("checked when decoded")).collect()
}

/// Adds `names` that are not there yet. Says whether there was one.
fn add_names<'a>(to: &mut Vec<String>, names: impl IntoIterator<Item = &'a BookieId>) -> bool {
    let before = to.len();
    for name in names {
        if !to.iter().any(|there| there == name.as_str()) {
            to.push(name.as_str().to_owned());
        }
    }
    to.sort();
    before < to.len()
}

/// Whether a record can be what this version writes: L10, and more.
pub(crate) fn is_sound(record: &LedgerRecord, ledger: LedgerId) -> bool {
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
        && record.may_hold.iter().all(|name| name.parse::<BookieId>().is_ok())
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

/// What a change makes of a record as it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Decision {
    /// Write this.
    Write(Box<LedgerRecord>),
    /// It says so already: this change was made before, or needs none.
    Already,
    /// It is not the record that this change was meant for.
    Refused,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Updated {
    /// The record says it now.
    Done(Versioned),
    /// The record as it is does not allow it.
    Refused(Versioned),
    /// There is no record.
    Missing,
}

/// Changes a record by compare-and-set, deciding anew whenever somebody else was faster. An error that may be retried means that
/// nothing was written, now or later: an attempt whose outcome is not known is followed until it is, however long that takes.
pub(crate) async fn update(
    metadata: &Arc<dyn MetadataStore>,
    ledger: LedgerId,
    decide: impl Fn(&LedgerRecord) -> Decision,
) -> Result<Updated, Error> {
    let mut unknown = false;
    loop {
        let attempt = update_once(metadata, ledger, &decide).await;
        match attempt {
            Ok(updated) => return Ok(updated),
            Err(Error::Conflict { .. }) => continue,
            Err(Error::OutcomeUnknown) => unknown = true,
            Err(error) if !unknown || error.retry() == metadata::Retry::Never => return Err(error),
            Err(error) => {
                tracing::warn!(%ledger, %error, "it is not known yet whether the ledger's record was changed")
            }
        }
        sleep(PAUSE).await;
    }
}

async fn update_once(
    metadata: &Arc<dyn MetadataStore>,
    ledger: LedgerId,
    decide: &impl Fn(&LedgerRecord) -> Decision,
) -> Result<Updated, Error> {
    let Some(found) = read(metadata, ledger).await? else { return Ok(Updated::Missing) };
    match decide(&found.record) {
        Decision::Write(record) => Ok(Updated::Done(replace(metadata, *record, found.version).await?)),
        Decision::Already => Ok(Updated::Done(found)),
        Decision::Refused => Ok(Updated::Refused(found)),
    }
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
    add_names(&mut fragment.lacking, lacking);
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

/// The members of a fragment that are marked, or in limbo.
pub(crate) fn lacking(fragment: &Fragment) -> Members {
    (0..fragment.bookies.len()).filter(|index| may_lack(fragment, &fragment.bookies[*index])).collect()
}

/// Whether a fragment's member is marked, or in limbo.
pub(crate) fn may_lack(fragment: &Fragment, name: &String) -> bool {
    fragment.lacking.contains(name) || fragment.limbo.contains(name)
}
