//! Ledger ids, taken from metadata in blocks.
use std::ops::Range;
use std::sync::Arc;

use metadata::{Error, Expect, MetadataStore, Operation, Transaction};
use parking_lot::Mutex;
use prost::Message;
use proto::records::IdBlock;
use proto::{LedgerId, keys};

use crate::Above;

/// How many ids one transaction reserves. What a process does not use is never used: there are enough.
const BLOCK: u64 = 1000;

/// Hands out ids that no ledger had before.
#[derive(Debug)]
pub(crate) struct LedgerIds {
    metadata: Arc<dyn MetadataStore>,
    /// A lock and not a task: it is held for a few instructions, and a new block is fetched outside of it.
    block: Mutex<Range<u64>>,
}

impl LedgerIds {
    pub(crate) fn new(metadata: Arc<dyn MetadataStore>) -> Self {
        Self { metadata, block: Mutex::new(0..0) }
    }

    pub(crate) async fn next(&self, above: Above) -> Result<LedgerId, Error> {
        let lowest = match above {
            Above::AllHandedOut => 0,
            Above::Ledger(ledger) => {
                let mut block = self.block.lock();
                if ledger.0 < block.start
                    && let Some(id) = block.next()
                {
                    return Ok(LedgerId(id));
                }
                ledger.0 + 1
            }
        };
        let mut fresh = self.reserve(lowest).await?;
        let id = fresh.next().expect("a fresh block is not empty");
        let mut block = self.block.lock();
        if block.start < fresh.start {
            *block = fresh; // What another call has fetched meanwhile may be higher: then that stays.
        }
        Ok(LedgerId(id))
    }

    async fn reserve(&self, lowest: u64) -> Result<Range<u64>, Error> {
        loop {
            let key = keys::LEDGER_IDS.into();
            let record = self.metadata.get(&key).await?;
            let next = match &record {
                Some(record) => {
                    IdBlock::decode(record.value.clone()).map_err(|_| Error::Corrupt { key: key.clone() })?.next
                }
                None => 1, // 0 stands for no ledger in some clients.
            };
            let start = next.max(lowest);
            let block = IdBlock { next: start + BLOCK };
            let put = Operation::put(key, block.encode_to_vec(), Expect::unchanged(record.as_ref()));
            match self.metadata.commit(Transaction::new(vec![put])).await {
                Ok(_) => return Ok(start..start + BLOCK),
                Err(Error::Conflict { .. }) => {} // Someone took this block: the next one then.
                Err(error) => return Err(error),  // An unknown outcome costs a block, nothing else.
            }
        }
    }
}
