//! How fast repairs may go: payload bytes per second, over all of a process.
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

/// Whoever takes bytes makes the next one wait for as long as they last.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_second: u64,
    /// A lock and not a task: held for an addition.
    free_at: Mutex<Option<Instant>>,
}

impl Pace {
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), free_at: Mutex::default() }
    }

    /// Waits for its turn. Cancel safe: what was taken stays taken.
    pub(crate) async fn take(&self, bytes: u64) {
        let now = Instant::now();
        let turn = {
            let mut free_at = self.free_at.lock();
            let turn = free_at.unwrap_or(now).max(now);
            *free_at = Some(turn + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64));
            turn
        };
        if now < turn {
            sleep_until(turn).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn over_time_no_more_bytes_go_than_were_allowed() {
        let (pace, start) = (Pace::new(1000), Instant::now());
        for _ in 0..5 {
            pace.take(500).await;
        }
        assert_eq!(start.elapsed().as_millis(), 2000, "the fifth waits for the four before it");
        sleep_until(start + Duration::from_secs(60)).await;
        pace.take(10_000).await;
        assert_eq!(start.elapsed().as_secs(), 60, "what was not used before makes nobody wait");
    }
}
