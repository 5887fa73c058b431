//! What must hold once everything is well again.
use std::collections::BTreeSet;
use std::time::Duration;

use ledger::Ledgers;
use metadata::MetadataStoreExt;
use prost::Message;
use proto::bookie::{Held, Request, request};
use proto::records::{LedgerRecord, LedgerState};
use proto::{EntryId, LedgerId, keys};
use tokio::time::sleep;

use crate::world::World;

/// How often something is tried that must succeed once everything is well: L17.
const ATTEMPTS: usize = 60;

impl World {
    /// Settles all ledgers, lets repairs finish, and looks at every copy.
    pub(crate) async fn check(&self) {
        let process = self.new_process();
        process.metadata.calm_down();
        for ledger in self.all_ledgers().await {
            let Some(record) = self.book.record(ledger).await else { continue };
            if record.state() == LedgerState::Deleted || self.book.is_deleted(ledger) {
                continue;
            }
            self.chance.saw_if("recoveries that took over from another", 1 < record.recovery_epoch);
            for attempt in 0.. {
                match process.seal(ledger).await {
                    Ok(()) => break,
                    Err(error) => assert!(attempt < ATTEMPTS, "L17: ledger {ledger} does not settle: {error}"),
                }
                sleep(Duration::from_secs(5)).await;
            }
        }
        for attempt in 0.. {
            let whole =
                process.heal_once().await && process.ledgers.work_off_intents().await.is_ok_and(|left| left == 0);
            if whole {
                break;
            }
            assert!(attempt < ATTEMPTS, "L17: repairs and deletions do not end");
            sleep(Duration::from_secs(5)).await;
        }
        for attempt in 0.. {
            if !self.nodes.iter().any(|node| !node.is_lost() && node.is_in_limbo()) {
                break;
            }
            assert!(attempt < ATTEMPTS, "L17: limbo does not end");
            sleep(Duration::from_secs(5)).await;
        }
        for ledger in self.all_ledgers().await {
            let Some(record) = self.book.record(ledger).await else { continue };
            if record.state() == LedgerState::Closed && !self.book.is_deleted(ledger) {
                self.check_ledger(&record);
                self.read_all(&process, ledger, EntryId(record.end)).await;
            }
        }
        for ledger in self.book.ledgers() {
            let listed = self.book.record(ledger).await.is_some();
            assert!(listed || self.book.is_deleted(ledger), "L14: the record of {ledger} is gone");
        }
    }

    async fn all_ledgers(&self) -> Vec<LedgerId> {
        let records = self.truth.list_all(keys::LEDGERS).await.expect("the truth is never away");
        let number = |value: bytes::Bytes| LedgerId(LedgerRecord::decode(value).expect("a record").ledger);
        records.into_iter().map(|record| number(record.value)).collect()
    }

    /// L2, L3, L10, L11 on one ledger's copies.
    fn check_ledger(&self, record: &LedgerRecord) {
        let ledger = LedgerId(record.ledger);
        let fragments = &record.fragments;
        assert!(fragments.windows(2).all(|pair| pair[0].first < pair[1].first), "L10: {record:?}");
        self.chance.saw_if("ensembles that changed", 1 < fragments.len());
        for fragment in fragments {
            let distinct: BTreeSet<&String> = fragment.bookies.iter().collect();
            assert_eq!(distinct.len(), record.ensemble_size as usize, "L10: {record:?}");
            let good = fragment.lacking.is_empty() && fragment.limbo.is_empty();
            assert!(good, "repairs have made all good: {record:?}");
        }
        let entries = self.book.entries(ledger, EntryId(record.end));
        for (payload, entry) in entries.iter().zip(0..) {
            let fragment = fragments.iter().rfind(|fragment| fragment.first <= entry).expect("one begins at 0");
            for offset in 0..u64::from(record.write_quorum) {
                let seat = ((entry + offset) % u64::from(record.ensemble_size)) as usize;
                let name = &fragment.bookies[seat];
                let node = self.nodes.iter().find(|node| node.identity.bookie.as_str() == name).expect("known");
                let held = node.payload(ledger.0, entry);
                assert_eq!(held.as_ref(), Some(payload), "L2, L3: entry {entry} of {ledger} on {name}: {record:?}");
            }
        }
        for node in &self.nodes {
            let held = Request { id: 1, ledger: ledger.0, body: Some(request::Body::Held(Held {})) };
            let confirmed = node.ask(held).and_then(|answer| answer.holding).map_or(0, |holding| holding.confirmed);
            assert!(confirmed <= record.end, "L11: {} tells of {confirmed}: {record:?}", node.identity.bookie);
        }
    }

    async fn read_all(&self, process: &crate::processes::Process, ledger: LedgerId, end: EntryId) {
        let mut first = EntryId::FIRST;
        while first < end {
            let found = process.ledgers.read(ledger, first..end, 4000).await;
            let entries = found.unwrap_or_else(|error| panic!("L2: {error}"));
            self.book.read(ledger, first, &entries);
            first = EntryId(first.0 + entries.len() as u64);
        }
    }
}
