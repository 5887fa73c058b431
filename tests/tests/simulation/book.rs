//! What was appended and what was promised, and the checks that can be made at any time.
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ledger::{Entry, Sealed};
use metadata::{MemoryStore, MetadataStore};
use parking_lot::Mutex;
use prost::Message;
use proto::records::{LedgerRecord, LedgerState};
use proto::{EntryId, LedgerId, keys};

/// One ledger as its only writer and everybody else were told of it.
#[derive(Debug, Default)]
struct Told {
    appended: Vec<Bytes>,
    confirmed: EntryId,
    sealed: Option<Sealed>,
    deleted: bool,
}

/// Of all ledgers.
#[derive(Debug, Clone)]
pub(crate) struct Book {
    truth: MemoryStore,
    told: Arc<Mutex<BTreeMap<LedgerId, Told>>>,
}

/// The bytes of an entry, which no other has.
pub(crate) fn payload(ledger: LedgerId, entry: u64, size: usize) -> Bytes {
    let head = [ledger.0.to_be_bytes(), entry.to_be_bytes()].concat();
    head.into_iter().chain((0..size).map(|at| at as u8)).collect::<Vec<u8>>().into()
}

impl Book {
    pub(crate) fn new(truth: MemoryStore) -> Self {
        Self { truth, told: Arc::default() }
    }

    /// Somebody has made itself the writer.
    pub(crate) fn begin(&self, ledger: LedgerId) {
        let before = self.told.lock().insert(ledger, Told::default());
        assert!(before.is_none(), "ledger {ledger} has one writer");
    }

    pub(crate) fn append(&self, ledger: LedgerId, size: usize) -> Bytes {
        let mut told = self.told.lock();
        let appended = &mut told.get_mut(&ledger).expect("it was begun").appended;
        let payload = payload(ledger, appended.len() as u64, size);
        appended.push(payload.clone());
        payload
    }

    pub(crate) fn deleted(&self, ledger: LedgerId) {
        self.told.lock().entry(ledger).or_default().deleted = true;
    }

    pub(crate) fn is_deleted(&self, ledger: LedgerId) -> bool {
        self.told.lock().get(&ledger).is_some_and(|told| told.deleted)
    }

    pub(crate) fn confirmed_end(&self, ledger: LedgerId) -> EntryId {
        self.told.lock().get(&ledger).map_or(EntryId::FIRST, |told| told.confirmed)
    }

    pub(crate) fn confirmed_entries(&self) -> u64 {
        self.told.lock().values().map(|told| told.confirmed.0).sum()
    }

    pub(crate) fn ledgers(&self) -> Vec<LedgerId> {
        self.told.lock().keys().copied().collect()
    }

    pub(crate) async fn record(&self, ledger: LedgerId) -> Option<LedgerRecord> {
        let found = self.truth.get(&keys::ledger(ledger).into()).await.expect("the truth is never away")?;
        Some(LedgerRecord::decode(found.value).expect("a record"))
    }

    /// L1, L4, L7: confirmations rise, and never beyond an end that is decided.
    pub(crate) async fn confirmed(&self, ledger: LedgerId, end: EntryId) {
        {
            let mut told = self.told.lock();
            let told = told.get_mut(&ledger).expect("it was begun");
            assert!(told.confirmed < end, "L4: {end} of {ledger} after {}", told.confirmed);
            assert!(end.0 <= told.appended.len() as u64, "L4: only what was appended");
            told.confirmed = end;
        }
        if let Some(record) = self.record(ledger).await
            && record.state() == LedgerState::Closed
        {
            assert!(end.0 <= record.end, "L1, L7: {end} of {ledger} is confirmed, but it ends at {}", record.end);
        }
    }

    /// L1, L6: everybody is told the same end, which covers what was confirmed.
    pub(crate) fn sealed(&self, ledger: LedgerId, sealed: Sealed) {
        let mut told = self.told.lock();
        let told = told.entry(ledger).or_default();
        assert!(
            told.confirmed <= sealed.end,
            "L1: {} of {ledger} is confirmed, it ends at {}",
            told.confirmed,
            sealed.end
        );
        let before = *told.sealed.get_or_insert(sealed);
        assert_eq!(before, sealed, "L6: ledger {ledger} ends once");
        let entries = told.appended.get(..sealed.end.0 as usize).expect("L6: no end beyond what was appended");
        assert_eq!(sealed.length, entries.iter().map(|payload| payload.len() as u64).sum::<u64>(), "L12: {ledger}");
    }

    /// L3: what is read is what was appended.
    pub(crate) fn read(&self, ledger: LedgerId, first: EntryId, entries: &[Entry]) {
        let told = self.told.lock();
        let told = told.get(&ledger).expect("only what was appended is read");
        assert!(!entries.is_empty(), "one entry at least");
        for (entry, number) in entries.iter().zip(first.0..) {
            assert_eq!(entry.entry, EntryId(number), "L3: in order");
            assert_eq!(Some(&entry.payload), told.appended.get(number as usize), "L3: entry {number} of {ledger}");
        }
    }

    /// What was appended, up to the end.
    pub(crate) fn entries(&self, ledger: LedgerId, end: EntryId) -> Vec<Bytes> {
        let told = self.told.lock();
        told.get(&ledger).map_or_else(Vec::new, |told| told.appended[..end.0 as usize].to_vec())
    }
}
