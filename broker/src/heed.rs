//! What a loaded topic heeds of its policies: shared by its task, its subscriptions and the connections of its producers.
//!
//! Owns: the terms that count now, and the paces that several tasks share.
//! Promises: older terms never replace newer ones; whoever waits for changes misses none.
//! Never: reads a policy.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::log::Replication;
use crate::pace::SharedPace;
use crate::policies::Terms;

/// Of one topic.
#[derive(Debug, Default)]
pub(crate) struct Heeded {
    terms: watch::Sender<Terms>,
    /// Also of the terms, and looked at with every message: 0 is no limit.
    message_bytes_max: AtomicU64,
    /// Also of the terms, and where the log looks.
    replication: Arc<Replication>,
    /// Of all its producers together.
    pub(crate) publish: SharedPace,
    /// Of all its subscriptions together.
    pub(crate) dispatch: SharedPace,
}

impl Heeded {
    /// Of a topic whose log looks there.
    pub(crate) fn with(replication: Arc<Replication>) -> Self {
        Self { replication, ..Self::default() }
    }

    /// From now on these count, unless newer ones do already.
    pub(crate) fn heed(&self, terms: Terms, now_ms: u64) {
        self.terms.send_if_modified(|known| {
            if terms.seen < known.seen {
                return false;
            }
            self.publish.set(terms.publish, now_ms);
            self.dispatch.set(terms.dispatch, now_ms);
            self.replication.set(terms.replication);
            self.message_bytes_max.store(terms.message_bytes_max.unwrap_or(0), Ordering::Relaxed);
            let changed = *known != Terms { seen: known.seen, ..terms };
            *known = terms;
            changed
        });
    }

    /// What counts now.
    pub(crate) fn terms(&self) -> Terms {
        *self.terms.borrow()
    }

    /// Whether policies refuse a message of so many bytes.
    pub(crate) fn is_too_large(&self, bytes: usize) -> bool {
        let max = self.message_bytes_max.load(Ordering::Relaxed);
        0 < max && max < bytes as u64
    }

    /// Tells of changes.
    pub(crate) fn changes(&self) -> watch::Receiver<Terms> {
        self.terms.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_too_large_only_beyond_what_counts_now() {
        let heeded = Heeded::default();
        assert!(!heeded.is_too_large(usize::MAX));
        heeded.heed(Terms { seen: 1, message_bytes_max: Some(7), ..Terms::default() }, 0);
        assert!(!heeded.is_too_large(7) && heeded.is_too_large(8));
        heeded.heed(Terms::default(), 0);
        assert!(heeded.is_too_large(8), "that was older");
        heeded.heed(Terms { seen: 1, ..Terms::default() }, 0);
        assert!(!heeded.is_too_large(8));
    }

    #[test]
    fn older_terms_do_not_replace_newer_ones() {
        let heeded = Heeded::default();
        let mut changes = heeded.changes();
        let new = Terms { seen: 2, unacked_of_consumer: Some(7), ..Terms::default() };
        heeded.heed(new, 0);
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        heeded.heed(Terms { seen: 1, ..Terms::default() }, 0);
        heeded.heed(Terms { seen: 3, ..new }, 0);
        assert!(!changes.has_changed().unwrap(), "one is older, the other says the same");
        assert_eq!(heeded.terms(), Terms { seen: 3, ..new });
    }
}
