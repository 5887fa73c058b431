//! The time of day, as a value that is passed in.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Tells milliseconds since 1970. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Runtime { start_ms: u64, start: Instant },
    Set(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// Stands at `start_ms` now and moves with the runtime's time, which tests can pause and advance.
    #[must_use]
    pub fn runtime(start_ms: u64) -> Self {
        Self(Source::Runtime { start_ms, start: Instant::now() })
    }

    /// Stands still until [`set`](Self::set).
    #[must_use]
    pub fn fixed(now_ms: u64) -> Self {
        Self(Source::Set(Arc::new(AtomicU64::new(now_ms))))
    }

    /// Moves a fixed clock and all its clones. No other clock can be moved.
    pub fn set(&self, now_ms: u64) {
        if let Source::Set(now) = &self.0 {
            now.store(now_ms, Ordering::Relaxed);
        }
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        match &self.0 {
            Source::System => system_ms(),
            Source::Runtime { start_ms, start } => start_ms + u64::try_from(start.elapsed().as_millis()).unwrap_or(0),
            Source::Set(now) => now.load(Ordering::Relaxed),
        }
    }
}

#[allow(clippy::disallowed_methods)] // The one place that asks the machine.
fn system_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(); // Before 1970 counts as 1970.
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
