//! Two processes over the same bookies and metadata, for tests of what they do to a ledger.
use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use metadata::{Expect, MemoryStore, MetadataStore, Operation, Transaction};
use prost::Message;
use proto::records::{BookieRecord, BookieStanding, LedgerRecord};
use proto::{BookieId, EntryId, LedgerId, keys};

use crate::fake_bookies::FakeBookies;
use crate::{Above, LedgerWriter, Ledgers, QuorumLedgers, QuorumPolicy, WallClock, records};

pub(crate) const POLICY: QuorumPolicy = QuorumPolicy { ensemble: 3, write: 3, ack: 2 };

#[derive(Debug)]
pub(crate) struct House {
    pub(crate) store: MemoryStore,
    pub(crate) metadata: Arc<dyn MetadataStore>,
    pub(crate) bookies: FakeBookies,
    pub(crate) ledgers: Arc<QuorumLedgers>,
    pub(crate) other: Arc<QuorumLedgers>,
}

pub(crate) async fn house(count: usize) -> House {
    let store = MemoryStore::default();
    let metadata: Arc<dyn MetadataStore> = Arc::new(store.clone());
    let bookies = FakeBookies::new(count);
    bookies.register(&metadata).await;
    let process = |seed| {
        let clock = WallClock::new(|| 7);
        let ledgers = QuorumLedgers::new(metadata.clone(), Arc::new(bookies.clone()), clock, seed);
        Arc::new(ledgers.keep_for_absent_members(10_000))
    };
    let (ledgers, other) = (process(1), process(2));
    House { store, metadata, bookies, ledgers, other }
}

/// The number of a bookie.
pub(crate) fn index(name: &str) -> usize {
    name.strip_prefix("fake-").and_then(|number| number.parse().ok()).expect("a fake one")
}

fn indexes(names: &[String]) -> Vec<usize> {
    names.iter().map(|name| index(name)).collect()
}

pub(crate) fn ids(indexes: &[usize]) -> BTreeSet<BookieId> {
    indexes.iter().copied().map(FakeBookies::id).collect()
}

impl House {
    pub(crate) async fn create(&self) -> Box<dyn LedgerWriter> {
        let id = self.ledgers.next_id(Above::AllHandedOut).await.expect("ids");
        self.ledgers.create(id, POLICY, "topic/t", Vec::new()).await.expect("a live quorum")
    }

    pub(crate) async fn record(&self, ledger: LedgerId) -> LedgerRecord {
        records::read(&self.metadata, ledger).await.expect("metadata").expect("exists").record
    }

    /// The numbers of the bookies that the record says lack entries of the first fragment.
    pub(crate) async fn marked(&self, ledger: LedgerId) -> Vec<usize> {
        indexes(&self.record(ledger).await.fragments[0].lacking)
    }

    /// The members of each fragment.
    pub(crate) async fn members(&self, ledger: LedgerId) -> Vec<Vec<usize>> {
        self.record(ledger).await.fragments.iter().map(|fragment| indexes(&fragment.bookies)).collect()
    }

    /// Whether a bookie holds all entries of a range.
    pub(crate) fn holds(&self, bookie: usize, ledger: LedgerId, entries: std::ops::Range<u64>) -> bool {
        let held = self.bookies.with(bookie, |bookie| bookie.entries(ledger));
        entries.into_iter().all(|entry| held.contains(&EntryId(entry)))
    }

    pub(crate) async fn stand(&self, bookie: usize, standing: BookieStanding) {
        let bookie = FakeBookies::id(bookie);
        let mut record = BookieRecord { bookie: bookie.to_string(), ..BookieRecord::default() };
        record.set_standing(standing);
        let put = Operation::put(keys::bookie(&bookie), record.encode_to_vec(), Expect::Any);
        self.metadata.commit(Transaction::new(vec![put])).await.expect("metadata");
    }
}

/// Appends `count` entries of `size` bytes and waits until they are confirmed.
pub(crate) async fn publish(writer: &mut dyn LedgerWriter, count: usize, size: usize) -> EntryId {
    let mut end = EntryId::FIRST;
    for _ in 0..count {
        let payload = Bytes::from(vec![b'x'; size]);
        end = writer.append(payload).expect("no failure").next();
    }
    writer.flush();
    while writer.confirmed().await.expect("an ack quorum lives") < end {}
    end
}
