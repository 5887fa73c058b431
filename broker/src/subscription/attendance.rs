//! How many consumers all subscriptions of a topic have together.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::SubscriptionError;

/// Counts them. A number and not a task: it is looked at when a consumer comes, by whichever subscription that is. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attendance(Arc<AtomicUsize>);

/// One of them, for as long as it is there.
#[derive(Debug)]
pub(super) struct Present(Arc<AtomicUsize>);

impl Attendance {
    /// Whether one more may come in.
    pub(crate) fn has_room(&self, max: Option<usize>) -> Result<(), SubscriptionError> {
        if max.is_some_and(|max| max <= self.0.load(Ordering::Relaxed)) { Err(full()) } else { Ok(()) }
    }

    /// Whether nobody is there.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// Lets one in.
    pub(super) fn enter(&self, max: Option<usize>) -> Result<Present, SubscriptionError> {
        let one_more = |there: usize| max.is_none_or(|max| there < max).then_some(there + 1);
        let entered = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        entered.map(|_| Present(self.0.clone())).map_err(|_| full())
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn full() -> SubscriptionError {
    SubscriptionError::Busy { text: "Topic reached max consumers limit".into(), holder: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_makes_room() {
        let attendance = Attendance::default();
        let first = attendance.enter(Some(1)).unwrap();
        assert!(attendance.enter(Some(1)).is_err() && attendance.has_room(Some(1)).is_err());
        let second = attendance.enter(None).unwrap();
        drop((first, second));
        assert!(attendance.has_room(Some(1)).is_ok());
        attendance.enter(Some(1)).unwrap();
    }
}
