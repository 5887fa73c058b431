//! Processes that write: each owns topics for a while, takes them over from others, reads what was confirmed, deletes what is old, and
//! repairs what bookies took with them.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ledger::repair::{RepairLimits, Repairs};
use ledger::{Above, LedgerError, LedgerWriter, Ledgers, QuorumLedgers, QuorumPolicy, WallClock, delete_intent};
use metadata::{Expect, MetadataStore, Operation, Record, Transaction};
use parking_lot::Mutex;
use proto::{BookieId, EntryId, LedgerId};
use tokio::time::{sleep, timeout};

use crate::book::Book;
use crate::chance::Chance;
use crate::defects::Defect;
use crate::troubles::Troubled;
use crate::wires::Network;

/// What all processes know.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) chance: Chance,
    pub(crate) book: Book,
    pub(crate) policy: QuorumPolicy,
    pub(crate) defect: Option<Defect>,
    /// Bookies that were declared gone.
    pub(crate) gone: Arc<Mutex<BTreeSet<BookieId>>>,
    /// Writing is over.
    pub(crate) over: Arc<Mutex<bool>>,
}

/// One process as it is now: what it knows ends with it.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) number: usize,
    pub(crate) metadata: Troubled,
    pub(crate) ledgers: QuorumLedgers,
    pub(crate) repairs: Repairs,
    shared: Shared,
    paused: Mutex<Duration>,
}

/// A topic's ledgers, as listed by compare-and-set.
struct Chain {
    key: String,
    record: Option<Record>,
    ledgers: Vec<LedgerId>,
}

impl Chain {
    fn text(ledgers: &[LedgerId]) -> Vec<u8> {
        ledgers.iter().flat_map(|ledger| ledger.0.to_be_bytes()).collect()
    }

    fn put(&self, ledgers: &[LedgerId]) -> Operation {
        Operation::put(self.key.as_str(), Self::text(ledgers), Expect::unchanged(self.record.as_ref()))
    }
}

impl Process {
    pub(crate) fn new(number: usize, metadata: Troubled, network: &Arc<Network>, shared: Shared) -> Arc<Self> {
        let seed = shared.chance.below(u64::MAX);
        let clock = WallClock::new(|| 1);
        let ledgers = QuorumLedgers::new(Arc::new(metadata.clone()), network.door(number), clock, seed)
            .keep_for_absent_members(4000);
        let ledgers = match shared.defect {
            Some(defect) => defect.plant_in_process(ledgers),
            None => ledgers,
        };
        let limits = RepairLimits { bytes_per_second: 100_000, open_grace: Duration::from_secs(10) };
        let repairs = ledgers.repairs(limits);
        Arc::new(Self { number, metadata, ledgers, repairs, shared, paused: Mutex::default() })
    }

    /// Stands still for so long, as far as its own decisions go; what others send it waits.
    pub(crate) fn pause(&self, time: Duration) {
        *self.paused.lock() = time;
    }

    async fn breathe(&self) {
        let time = std::mem::take(&mut *self.paused.lock());
        if !time.is_zero() {
            sleep(time).await;
        }
    }

    fn is_over(&self) -> bool {
        *self.shared.over.lock()
    }

    async fn chain(&self, topic: usize) -> Result<Chain, LedgerError> {
        let key = format!("chains/{topic}");
        let record = self.metadata.get(&key.as_str().into()).await?;
        let bytes = record.as_ref().map_or_else(Vec::new, |record| record.value.to_vec());
        let number = |bytes: &[u8]| LedgerId(u64::from_be_bytes(bytes.try_into().expect("eight bytes")));
        Ok(Chain { key, record, ledgers: bytes.chunks(8).map(number).collect() })
    }

    /// Fights for a topic until writing is over.
    pub(crate) async fn own(self: Arc<Self>, topic: usize) {
        while !self.is_over() {
            sleep(self.shared.chance.millis(1, 8000)).await;
            if let Err(error) = self.own_once(topic).await {
                self.shared.chance.note(format_args!("{} loses topic {topic}: {error}", self.number));
            }
        }
    }

    /// Takes a topic over and writes until something goes wrong.
    async fn own_once(&self, topic: usize) -> Result<(), LedgerError> {
        let mut chain = self.chain(topic).await?;
        let mut last = chain.ledgers.last().copied();
        while !self.is_over() {
            if let Some(ledger) = last {
                self.seal(ledger).await?;
                self.read_some(ledger).await?;
            }
            let above = last.map_or(Above::AllHandedOut, Above::Ledger);
            let ledger = self.ledgers.next_id(above).await?;
            let mut listed = chain.ledgers.clone();
            listed.push(ledger);
            let owner = format!("topic/{topic}");
            let writer = self.ledgers.create(ledger, self.shared.policy, &owner, vec![chain.put(&listed)]).await?;
            self.shared.book.begin(ledger);
            self.shared.chance.note(format_args!("{} writes ledger {ledger} of topic {topic}", self.number));
            self.write(writer).await;
            chain = self.chain(topic).await?;
            if chain.ledgers.last() != Some(&ledger) {
                self.shared.chance.saw("topics taken over while their owner lived");
                return Ok(()); // Somebody else has it.
            }
            last = Some(ledger);
            self.trim(&mut chain).await?;
        }
        Ok(())
    }

    pub(crate) async fn seal(&self, ledger: LedgerId) -> Result<(), LedgerError> {
        let sealed = self.ledgers.seal(ledger).await?;
        self.shared.chance.note(format_args!("{} finds ledger {ledger} ends at {}", self.number, sealed.end));
        self.shared.book.sealed(ledger, sealed);
        Ok(())
    }

    /// Writes until the ledger is long enough or has failed; then leaves it to itself or closes it.
    async fn write(&self, mut writer: Box<dyn LedgerWriter>) {
        let (chance, book, ledger) = (&self.shared.chance, &self.shared.book, writer.ledger());
        for _ in 0..chance.below(60) {
            self.breathe().await;
            for _ in 0..chance.below(6) {
                let payload = book.append(ledger, chance.index(400));
                if writer.append(payload).is_err() {
                    return;
                }
            }
            writer.flush();
            let patience = chance.millis(1, if chance.happens(10) { 20_000 } else { 300 });
            match timeout(patience, self.listen(&mut *writer)).await {
                Err(_) => {}
                Ok(error) => {
                    chance.note(format_args!("{}: {error}", self.number));
                    match error {
                        LedgerError::Fenced { .. } => chance.saw("writers that were fenced"),
                        LedgerError::OutcomeUnknown { .. } => chance.saw("entries of unknown outcome"),
                        other => panic!("a writer fails otherwise: {other}"),
                    }
                    return;
                }
            }
            if self.is_over() {
                break;
            }
        }
        if chance.happens(2) {
            return;
        }
        if let Ok(sealed) = writer.close().await {
            chance.saw("ledgers closed by their writers");
            chance.note(format_args!("{} closes ledger {ledger} at {}", self.number, sealed.end));
            book.sealed(ledger, sealed);
        }
    }

    /// Until the writer fails.
    async fn listen(&self, writer: &mut dyn LedgerWriter) -> LedgerError {
        loop {
            match writer.confirmed().await {
                Ok(end) => {
                    self.shared.chance.note(format_args!("{end} of ledger {} is confirmed", writer.ledger()));
                    self.shared.book.confirmed(writer.ledger(), end).await;
                }
                Err(error) => return error,
            }
        }
    }

    /// Reads somewhere below what was confirmed.
    async fn read_some(&self, ledger: LedgerId) -> Result<(), LedgerError> {
        let (chance, book) = (&self.shared.chance, &self.shared.book);
        let end = book.confirmed_end(ledger);
        if end == EntryId::FIRST {
            return Ok(());
        }
        let first = EntryId(chance.below(end.0));
        match self.ledgers.read(ledger, first..end, 1000).await {
            Ok(entries) => book.read(ledger, first, &entries),
            Err(error @ LedgerError::Lost { .. }) => panic!("L2: {error}"),
            Err(error) => chance.note(format_args!("{}: {error}", self.number)),
        }
        Ok(())
    }

    /// Takes the oldest ledgers off a long chain.
    async fn trim(&self, chain: &mut Chain) -> Result<(), LedgerError> {
        if chain.ledgers.len() < 6 {
            return Ok(());
        }
        let oldest = chain.ledgers.remove(0);
        self.shared.book.deleted(oldest); // Also if it turns out otherwise: nothing is promised of it any more.
        let operations = vec![chain.put(&chain.ledgers), delete_intent(oldest, 1)];
        let version = self.metadata.commit(Transaction::new(operations)).await?;
        if let Some(record) = &mut chain.record {
            record.version = version;
        }
        self.shared.chance.saw("ledgers given up for deletion");
        self.shared.chance.note(format_args!("{} gives ledger {oldest} up", self.number));
        Ok(())
    }

    /// Looks after the cluster until writing is over.
    pub(crate) async fn heal(self: Arc<Self>) {
        while !self.is_over() {
            sleep(self.shared.chance.millis(5000, 20_000)).await;
            self.heal_once().await;
            let _ = self.ledgers.work_off_intents().await;
        }
    }

    /// One look over all ledgers. Whether nothing is left to do.
    pub(crate) async fn heal_once(&self) -> bool {
        let gone = self.shared.gone.lock().clone();
        let Ok(survey) = self.repairs.survey(&gone).await else { return false };
        assert!(survey.corrupt.is_empty(), "L10: {survey:?}");
        let mut whole = true;
        for finding in survey.findings {
            match self.repairs.repair(finding.ledger, &gone).await {
                Ok(repaired) => {
                    let (chance, ledger) = (&self.shared.chance, finding.ledger);
                    chance.note(format_args!("{} repairs ledger {ledger}: {repaired:?}", self.number));
                    whole &= repaired.is_whole();
                    if 0 < repaired.replaced {
                        self.shared.chance.saw("members replaced by repair");
                    }
                    if 0 < repaired.filled {
                        self.shared.chance.saw("members filled up by repair");
                    }
                }
                Err(error @ LedgerError::Lost { .. }) => panic!("L2, L13: {error}"),
                Err(error) => {
                    self.shared.chance.note(format_args!("{} cannot repair: {error}", self.number));
                    whole = false;
                }
            }
        }
        whole
    }
}
