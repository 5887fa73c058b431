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
    blocks: Mutex<Blocks>,
    /// Held while a block is fetched. Whoever waits for it gets an id of the next block, so that many new topics share one.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Blocks {
    left: Range<u64>,
    /// Attempts to fetch that have begun, and the last of them that ended: its number, and why it failed if it did.
    begun: u64,
    ended: Option<(u64, Option<Error>)>,
}

impl Blocks {
    /// What an attempt gave that began when `asked` others had begun before.
    fn since(&mut self, asked: u64, lowest: u64) -> Option<Result<LedgerId, Error>> {
        match &self.ended {
            Some((number, Some(error))) if asked <= *number => Some(Err(error.clone())),
            Some((number, None)) if asked <= *number && lowest <= self.left.start => {
                self.left.next().map(|id| Ok(LedgerId(id)))
            }
            _ => None,
        }
    }
}

impl LedgerIds {
    pub(crate) fn new(metadata: Arc<dyn MetadataStore>) -> Self {
        Self { metadata, blocks: Mutex::default(), fetching: tokio::sync::Mutex::default() }
    }

    pub(crate) async fn next(&self, above: Above) -> Result<LedgerId, Error> {
        let (lowest, asked) = {
            let mut blocks = self.blocks.lock();
            match above {
                Above::AllHandedOut => (0, blocks.begun),
                Above::Ledger(ledger) => {
                    if ledger.0 < blocks.left.start
                        && let Some(id) = blocks.left.next()
                    {
                        return Ok(LedgerId(id));
                    }
                    (ledger.0 + 1, blocks.begun)
                }
            }
        };
        let _turn = self.fetching.lock().await;
        let number = {
            let mut blocks = self.blocks.lock();
            if let Some(outcome) = blocks.since(asked, lowest) {
                return outcome;
            }
            blocks.begun += 1;
            blocks.begun - 1
        };
        let fresh = self.reserve(lowest).await;
        let mut blocks = self.blocks.lock();
        blocks.ended = Some((number, fresh.as_ref().err().cloned()));
        blocks.left = fresh?;
        Ok(LedgerId(blocks.left.next().expect("a fresh block is not empty")))
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures::future::join_all;
    use metadata::MemoryStore;

    use super::*;

    /// Goal: creating many topics at once is not a row of transactions.
    #[tokio::test]
    async fn those_who_wait_for_a_block_share_one() {
        let ids = LedgerIds::new(Arc::new(MemoryStore::default()));
        let earlier = ids.next(Above::AllHandedOut).await.expect("the store answers");
        let turn = ids.fetching.lock().await;
        let (waiting, fetched) = (join_all((0..64).map(|_| ids.next(Above::AllHandedOut))), async {
            tokio::task::yield_now().await; // By now all 64 wait.
            drop(turn);
        });
        let (taken, ()) = tokio::join!(waiting, fetched);
        let taken: BTreeSet<LedgerId> = taken.into_iter().map(|id| id.expect("the store answers")).collect();
        assert_eq!(taken.len(), 64, "no id is given twice");
        assert!(taken.iter().all(|id| earlier.0 + BLOCK <= id.0), "they are above all that was handed out before");
        assert!(taken.iter().all(|id| id.0 < earlier.0 + 2 * BLOCK), "one block is enough: {taken:?}");
    }

    /// Goal: while metadata are away, those who wait are told at once what the one before them was told.
    #[tokio::test]
    async fn a_failure_is_shared_too() {
        let mut blocks = Blocks { begun: 3, ended: Some((2, Some(Error::OutcomeUnknown))), ..Blocks::default() };
        assert!(matches!(blocks.since(2, 0), Some(Err(Error::OutcomeUnknown))));
        assert!(blocks.since(3, 0).is_none(), "that one asked after it had failed");
    }

    #[tokio::test]
    async fn an_id_is_above_the_one_that_was_named() {
        let ids = LedgerIds::new(Arc::new(MemoryStore::default()));
        let first = ids.next(Above::Ledger(LedgerId(5000))).await.expect("the store answers");
        assert_eq!(first, LedgerId(5001));
        assert_eq!(ids.next(Above::Ledger(first)).await.expect("the store answers"), LedgerId(5002));
        let far = ids.next(Above::Ledger(LedgerId(9000))).await.expect("the store answers");
        assert_eq!(far, LedgerId(9001));
    }
}
