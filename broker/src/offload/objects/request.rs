//! One request for blocks that lie one after the other.
use std::sync::Arc;

use tokio::time::Instant;

use super::cache::{BlockCache, BlockKey, Slot};
use super::{Opened, Shared, stopped};
use crate::offload::error::ObjectError;
use crate::offload::fetch::{Run, read_run};
use crate::offload::format::Block;

/// Which blocks to ask for.
#[derive(Debug)]
pub(super) struct Request<'a> {
    object: &'a Opened,
    /// Number of each, and the memory it will take.
    blocks: Vec<(u32, usize)>,
}

impl<'a> Request<'a> {
    /// From block `first` on, up to `window` bytes or the cache's share, but `first` in any case; not beyond a block that is there.
    pub(super) fn new(cache: &BlockCache, object: &'a Opened, first: u32, window: usize) -> Self {
        let mut room = window.min(cache.share());
        let mut blocks = Vec::new();
        for block in first..object.index.blocks() {
            let place = object.index.block(block);
            let weight = Block::weight_at(&place);
            let taken = !blocks.is_empty();
            if taken && (room < weight || cache.contains(BlockKey { object: object.key, block })) {
                break;
            }
            room = room.saturating_sub(weight);
            blocks.push((block, weight));
        }
        Self { object, blocks }
    }

    /// Takes room, as far as there is some. Gives the slot of the first block, and what is to be spawned once the lock is released:
    /// it takes the lock itself when it is dropped.
    pub(super) fn begin(self, shared: &Arc<Shared>, cache: &mut BlockCache, wanted: bool) -> Option<(Slot, UnderWay)> {
        let slots = cache.reserve(self.object.key, &self.blocks, wanted, Instant::now())?;
        let first = slots.first()?.clone();
        let blocks: Vec<u32> = self.blocks.iter().map(|(block, _)| *block).take(slots.len()).collect();
        Some((first, UnderWay { shared: shared.clone(), object: self.object.clone(), blocks, done: 0 }))
    }
}

/// A request that is to be sent or was. When it ends, however it ends, everyone who waits for one of its blocks has an answer.
pub(super) struct UnderWay {
    shared: Arc<Shared>,
    object: Opened,
    blocks: Vec<u32>,
    done: usize,
}

impl UnderWay {
    /// Reads.
    pub(super) async fn run(mut self) {
        let (object, end) = (self.object.clone(), self.shared.end.clone());
        let began = Instant::now();
        let outcome = tokio::select! {
            outcome = self.read(&object) => outcome,
            () = end.cancelled() => Err(stopped(text(&object))),
        };
        self.shared.stores.offloading().fetched(&object.attempt.topic, began.elapsed());
        if let Err(error) = outcome {
            self.fail(&error);
        }
    }

    async fn read(&mut self, object: &Opened) -> Result<(), ObjectError> {
        let _turn = object.store.turn().await;
        let place = |block: u32| object.index.block(block);
        let run = Run {
            path: object.store.path(&object.attempt.object(object.key.number)),
            object_bytes: object.index.trailer().object_bytes,
            offset: place(self.blocks[0]).offset,
            lengths: self.blocks.iter().map(|block| place(*block).length as usize).collect(),
        };
        let blocks = self.blocks.clone();
        let take = |at: usize, bytes| {
            let number: u32 = blocks[at];
            let block = Block::parse(bytes, &place(number), object.attempt.ledger, object.attempt.id)?;
            let key = BlockKey { object: object.key, block: number };
            self.shared.state.lock().blocks.arrived(key, Arc::new(block), Instant::now());
            self.done = at + 1;
            self.shared.room.notify_waiters();
            Ok(())
        };
        read_run(&object.store, &run, take).await
    }

    /// Tells those who wait for what has not come.
    fn fail(&mut self, error: &ObjectError) {
        {
            let mut state = self.shared.state.lock();
            for block in self.blocks.drain(..).skip(self.done) {
                state.blocks.failed(BlockKey { object: self.object.key, block }, error.clone());
            }
        }
        self.shared.room.notify_waiters();
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.done < self.blocks.len() {
            let error = stopped(text(&self.object));
            self.fail(&error);
        }
    }
}

fn text(object: &Opened) -> String {
    object.store.text(&object.store.path(&object.attempt.object(object.key.number)))
}
