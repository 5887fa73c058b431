//! Which topics are compacted, and when it is their turn.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Semaphore;

use super::Upkeep;
use crate::policies::Effective;
use crate::topic::{TopicError, TopicHandle};

/// Passes that run at once: each may hold [`KEYS_MAX`](crate::compaction::KEYS_MAX) keys.
const AT_ONCE: usize = 2;

/// Whose turn it is.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    turn: Arc<Semaphore>,
    /// What keys are hashed with: each pass has another.
    seeds: Arc<AtomicU64>,
}

impl Turns {
    pub(super) fn new(seed: u64) -> Self {
        Self { turn: Arc::new(Semaphore::new(AT_ONCE)), seeds: Arc::new(AtomicU64::new(seed)) }
    }
}

impl Upkeep {
    /// Compacts a topic when its turn comes. `false`: it is being done already.
    pub(crate) fn compact(&self, topic: &TopicHandle) -> bool {
        if !topic.begin_compaction() {
            return false;
        }
        let (this, topic) = (self.clone(), topic.clone());
        self.asked.spawn(async move {
            let turn = tokio::select! {
                turn = this.turns.turn.acquire() => turn,
                () = topic.closing() => return,
            };
            let Ok(_turn) = turn else { return };
            let seed = this.turns.seeds.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            // It may be loaded without anybody who brought them.
            let terms = this.policies.effective(topic.name()).await.map(|wanted| wanted.terms());
            topic.compact(terms, seed, || this.clock.now_ms()).await;
        });
        true
    }

    /// Compacts it when policies want that, and too much has come since.
    pub(super) async fn consider_compaction(&self, topic: &TopicHandle, wanted: &Effective) {
        let Some(threshold) = wanted.compaction_threshold() else { return };
        let held: Result<(), TopicError> = topic.hold_for_compaction().await;
        if let Err(error) = held {
            tracing::info!(topic = %topic.name(), %error, "topic is not compacted for now");
        } else if threshold < topic.uncompacted_bytes() {
            self.compact(topic);
        }
    }
}
