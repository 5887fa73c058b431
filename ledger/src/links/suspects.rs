//! Bookies of whom ill was heard lately. A preference for whoever chooses, never a verdict.
use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use proto::BookieId;
use tokio::time::Instant;

/// Longer than a restart takes, and short enough that a cluster which was cut off as a whole soon looks as before.
const FOR: Duration = Duration::from_secs(30);

/// What was heard last of each, and until when it counts.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    /// A lock and not a task: held for a look-up. As many as there are bookies at most.
    known: Mutex<HashMap<BookieId, (Instant, &'static str)>>,
}

impl Suspects {
    pub(crate) fn add(&self, bookie: &BookieId, reason: &'static str, now: Instant) {
        self.known.lock().insert(bookie.clone(), (now + FOR, reason));
    }

    /// Why `bookie` is suspect, if it is.
    pub(crate) fn reason(&self, bookie: &BookieId, now: Instant) -> Option<&'static str> {
        self.known.lock().get(bookie).filter(|(until, _)| now < *until).map(|(_, reason)| *reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn suspicion_passes_unless_it_is_renewed() {
        let (suspects, bookie, start) = (Suspects::default(), "b".parse().expect("valid"), Instant::now());
        assert_eq!(suspects.reason(&bookie, start), None);
        suspects.add(&bookie, "does not answer", start);
        assert_eq!(suspects.reason(&bookie, start + FOR / 2), Some("does not answer"));
        suspects.add(&bookie, "takes no session", start + FOR / 2);
        assert_eq!(suspects.reason(&bookie, start + FOR), Some("takes no session"));
        assert_eq!(suspects.reason(&bookie, start + FOR * 2), None);
    }
}
