//! The rules of transactions, leases and listings for stores that live in this process: a state machine without I/O.
//!
//! Durable records lie behind [`Durable`]; leased ones lie here, because they end with the process. A key is in one of
//! both places at most. One counter numbers the changes of both.
use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

use crate::limits;
use crate::store::{Error, Event, Key, LeaseId, Operation, Page, Record, Transaction, Version};

/// Beyond this a page ends early, with `more` set, so that listing large values does not fill the memory.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Where records without a lease are read.
pub(crate) trait Readable {
    /// As last put, also within a commit that is not finished.
    fn get(&self, key: &Key) -> Result<Option<Record>, Error>;
}

/// Where records without a lease are kept.
pub(crate) trait Durable: Readable {
    /// Replaces what was there.
    fn put(&mut self, record: &Record) -> Result<(), Error>;
    /// Removes what may be there.
    fn delete(&mut self, key: &Key) -> Result<(), Error>;
}

impl Readable for BTreeMap<Key, Record> {
    fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        Ok(self.get(key).cloned())
    }
}

impl Durable for BTreeMap<Key, Record> {
    fn put(&mut self, record: &Record) -> Result<(), Error> {
        self.insert(record.key.clone(), record.clone());
        Ok(())
    }

    fn delete(&mut self, key: &Key) -> Result<(), Error> {
        self.remove(key);
        Ok(())
    }
}

/// Records with the lease they belong to. Shared with readers, copied when changed: there are few.
pub(crate) type Leased = BTreeMap<Key, (LeaseId, Record)>;

/// What a transaction did.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// To answer with.
    pub(crate) version: Version,
    /// To tell watches of, once the transaction counts.
    pub(crate) events: Vec<Event>,
    /// Whether a durable record changed.
    pub(crate) durable: bool,
}

/// The counter, the leases, and the records that belong to them.
#[derive(Debug, Default)]
pub(crate) struct Keyspace {
    revision: u64,
    leases: BTreeSet<LeaseId>,
    lease_last: i64,
    leased: Arc<Leased>,
}

impl Keyspace {
    /// Continues to count after `revision`.
    pub(crate) fn after(revision: Version) -> Self {
        Self { revision: revision.0, ..Self::default() }
    }

    /// Of the last change.
    pub(crate) fn revision(&self) -> Version {
        Version(self.revision)
    }

    /// For readers.
    pub(crate) fn leased(&self) -> &Arc<Leased> {
        &self.leased
    }

    /// A new lease.
    pub(crate) fn grant(&mut self) -> LeaseId {
        self.lease_last += 1;
        let lease = LeaseId(self.lease_last);
        self.leases.insert(lease);
        lease
    }

    /// The leases that have not ended.
    pub(crate) fn leases(&self) -> Vec<LeaseId> {
        self.leases.iter().copied().collect()
    }

    /// Ends a lease: its records go together.
    pub(crate) fn end(&mut self, lease: LeaseId) -> Vec<Event> {
        self.leases.remove(&lease);
        let gone: Vec<Key> =
            self.leased.iter().filter(|(_, (of, _))| *of == lease).map(|(key, _)| key.clone()).collect();
        if gone.is_empty() {
            return Vec::new();
        }
        self.revision += 1;
        let leased = Arc::make_mut(&mut self.leased);
        gone.into_iter()
            .map(|key| {
                leased.remove(&key);
                Event { key, record: None }
            })
            .collect()
    }

    /// Decides a transaction and carries it out. After an error of `durable` itself ([`Error::Unavailable`]) it may be half
    /// done, and neither side may be used again; after any other error nothing was done.
    pub(crate) fn commit(&mut self, durable: &mut impl Durable, transaction: &Transaction) -> Result<Outcome, Error> {
        limits::check_transaction(transaction)?;
        let mut found = Vec::with_capacity(transaction.operations.len());
        for operation in &transaction.operations {
            let record = get(&self.leased, durable, operation.key())?;
            let version = record.map(|record| record.version);
            if !operation.expect().is_met_by(version) {
                return Err(Error::Conflict { key: operation.key().clone() });
            }
            found.push(version.is_some());
        }
        for operation in &transaction.operations {
            if let Operation::Put { lease: Some(lease), .. } = operation
                && !self.leases.contains(lease)
            {
                return Err(Error::Refused { reason: format!("lease {} has ended", lease.0) });
            }
        }
        self.apply(durable, transaction, &found)
    }

    fn apply(
        &mut self,
        durable: &mut impl Durable,
        transaction: &Transaction,
        found: &[bool],
    ) -> Result<Outcome, Error> {
        let version = Version(self.revision + 1);
        let mut outcome = Outcome { version, events: Vec::new(), durable: false };
        for (operation, found) in transaction.operations.iter().zip(found) {
            let key = operation.key();
            match operation {
                Operation::Put { value, lease, .. } => {
                    let record = Record { key: key.clone(), value: value.clone(), version, token: transaction.token };
                    outcome.events.push(Event { key: key.clone(), record: Some(record.clone()) });
                    let was_leased = self.leased.contains_key(key);
                    if let Some(lease) = lease {
                        if *found && !was_leased {
                            durable.delete(key)?;
                            outcome.durable = true;
                        }
                        Arc::make_mut(&mut self.leased).insert(key.clone(), (*lease, record));
                    } else {
                        if was_leased {
                            Arc::make_mut(&mut self.leased).remove(key);
                        }
                        durable.put(&record)?;
                        outcome.durable = true;
                    }
                }
                Operation::Delete { .. } if *found => {
                    outcome.events.push(Event { key: key.clone(), record: None });
                    if self.leased.contains_key(key) {
                        Arc::make_mut(&mut self.leased).remove(key);
                    } else {
                        durable.delete(key)?;
                        outcome.durable = true;
                    }
                }
                Operation::Delete { .. } | Operation::Check { .. } => {}
            }
        }
        if outcome.events.is_empty() {
            outcome.version = Version(self.revision);
        } else {
            self.revision = version.0;
        }
        Ok(outcome)
    }
}

/// A record from where it is.
pub(crate) fn get(leased: &Leased, durable: &impl Readable, key: &Key) -> Result<Option<Record>, Error> {
    match leased.get(key) {
        Some((_, record)) => Ok(Some(record.clone())),
        None => durable.get(key),
    }
}

/// Where a listing starts.
pub(crate) fn start<'a>(prefix: &'a str, after: Option<&'a Key>) -> Bound<&'a str> {
    match after {
        Some(after) if prefix <= after.as_str() => Bound::Excluded(after.as_str()),
        _ => Bound::Included(prefix),
    }
}

/// One page: leased records below `prefix` merged with `durable`, which brings records from [`start`] on, in order.
pub(crate) fn page(
    leased: &Leased,
    durable: impl Iterator<Item = Result<Record, Error>>,
    prefix: &str,
    after: Option<&Key>,
    limit: usize,
) -> Result<Page, Error> {
    limits::check_limit(limit)?;
    let mut leased = leased
        .range::<str, _>((start(prefix, after), Bound::Unbounded))
        .map(|(_, (_, record))| Ok(record.clone()))
        .peekable();
    let mut durable = durable.peekable();
    let mut page = Page { records: Vec::new(), more: false };
    let mut bytes = 0;
    while let Some(record) = first(&mut leased, &mut durable) {
        let record = record?;
        if !record.key.as_str().starts_with(prefix) {
            break;
        }
        bytes += record.value.len();
        let full = page.records.len() == limit || (PAGE_BYTES_MAX < bytes && !page.records.is_empty());
        if full {
            page.more = true;
            break;
        }
        page.records.push(record);
    }
    Ok(page)
}

fn first(
    leased: &mut Peekable<impl Iterator<Item = Result<Record, Error>>>,
    durable: &mut Peekable<impl Iterator<Item = Result<Record, Error>>>,
) -> Option<Result<Record, Error>> {
    match (leased.peek(), durable.peek()) {
        (Some(Ok(here)), Some(Ok(there))) if here.key < there.key => leased.next(),
        (_, Some(_)) => durable.next(),
        (_, None) => leased.next(),
    }
}
