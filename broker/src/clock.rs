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

/// A time as tools print it: `2026-11-23T12:00:00.000Z`.
pub(crate) fn rfc3339(ms: u64) -> String {
    let (seconds, millis) = (ms / 1000, ms % 1000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.{millis:03}Z", second % 60)
}

/// Year, month and day of a number of days since 1970, in the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468; // Days since 0000-03-01: years that begin in March end with the leap day.
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_the_calendar_says() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_400_001), "2000-02-29T00:00:00.001Z");
        assert_eq!(rfc3339(1_763_899_619_000), "2025-11-23T12:06:59.000Z");
        assert_eq!(rfc3339(4_102_444_799_999), "2099-12-31T23:59:59.999Z");
    }
}
