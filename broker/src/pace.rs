//! How fast messages may come or go: token buckets, with the time passed in. Pure but for one lock.
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// So many in a period. `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Speed {
    pub(crate) messages: Option<u64>,
    pub(crate) bytes: Option<u64>,
    /// At least 1.
    pub(crate) period_ms: u64,
}

impl Default for Speed {
    fn default() -> Self {
        Self { messages: None, bytes: None, period_ms: 1000 }
    }
}

impl Speed {
    fn is_limited(&self) -> bool {
        self.messages.is_some() || self.bytes.is_some()
    }
}

/// What is left of a speed. As in Apache Pulsar, whoever finds something left may take more than that, and then all wait until the
/// debt is paid off; what is not used is kept for one period.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pace {
    speed: Speed,
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
}

/// Tokens times the period, so that each millisecond adds the rate.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    rate: i128,
    period_ms: i128,
    level: i128,
    at_ms: u64,
}

impl Bucket {
    fn full(rate: u64, period_ms: u64, now_ms: u64) -> Self {
        let (rate, period_ms) = (i128::from(rate), i128::from(period_ms.max(1)));
        Self { rate, period_ms, level: rate * period_ms, at_ms: now_ms }
    }

    fn fill(&mut self, now_ms: u64) {
        let passed = i128::from(now_ms.saturating_sub(self.at_ms));
        self.level = (self.level + passed * self.rate).min(self.rate * self.period_ms);
        self.at_ms = now_ms; // Also when the clock was set back: what was is forgotten, and time goes on from there.
    }

    /// Milliseconds until there is a whole token.
    fn wait_ms(&self) -> u64 {
        let missing = (self.period_ms - self.level).max(0);
        u64::try_from((missing + self.rate - 1) / self.rate).unwrap_or(u64::MAX)
    }
}

impl Pace {
    /// From now on so fast. What was spent counts on where the speed stays the same.
    pub(crate) fn set(&mut self, speed: Speed, now_ms: u64) {
        if speed != self.speed {
            let bucket = |rate: Option<u64>| rate.map(|rate| Bucket::full(rate, speed.period_ms, now_ms));
            *self = Self { speed, messages: bucket(speed.messages), bytes: bucket(speed.bytes) };
        }
    }

    /// How long to wait before anything may be spent. `None`: not at all.
    pub(crate) fn wait(&mut self, now_ms: u64) -> Option<Duration> {
        let wait = |bucket: &mut Option<Bucket>| {
            bucket.as_mut().map_or(0, |bucket| {
                bucket.fill(now_ms);
                bucket.wait_ms()
            })
        };
        let wait = wait(&mut self.messages).max(wait(&mut self.bytes));
        (0 < wait).then(|| Duration::from_millis(wait))
    }

    /// Takes as many, also more than there are.
    pub(crate) fn spend(&mut self, messages: u64, bytes: u64) {
        for (bucket, count) in [(&mut self.messages, messages), (&mut self.bytes, bytes)] {
            if let Some(bucket) = bucket {
                bucket.level -= i128::from(count) * bucket.period_ms;
            }
        }
    }
}

/// A pace that tasks share. A lock and not a task: it is held for a few sums, and only where there is a limit.
#[derive(Debug, Default)]
pub(crate) struct SharedPace {
    limited: AtomicBool,
    /// While there is a limit. Boxed: each topic has several, and few have limits.
    pace: Mutex<Option<Box<Pace>>>,
}

impl SharedPace {
    /// As [`Pace::set`].
    pub(crate) fn set(&self, speed: Speed, now_ms: u64) {
        let mut pace = self.pace.lock();
        match speed.is_limited() {
            true => pace.get_or_insert_default().set(speed, now_ms),
            false => *pace = None,
        }
        self.limited.store(speed.is_limited(), Ordering::Relaxed);
    }

    /// Whether there is a limit at all.
    pub(crate) fn is_limited(&self) -> bool {
        self.limited.load(Ordering::Relaxed)
    }

    /// As [`Pace::wait`].
    pub(crate) fn wait(&self, now_ms: u64) -> Option<Duration> {
        if self.is_limited() { self.pace.lock().as_mut()?.wait(now_ms) } else { None }
    }

    /// As [`Pace::spend`].
    pub(crate) fn spend(&self, messages: u64, bytes: u64) {
        if self.is_limited()
            && let Some(pace) = self.pace.lock().as_mut()
        {
            pace.spend(messages, bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pace(messages: Option<u64>, bytes: Option<u64>, period_ms: u64) -> Pace {
        let mut pace = Pace::default();
        pace.set(Speed { messages, bytes, period_ms }, 0);
        pace
    }

    #[test]
    fn a_full_bucket_goes_at_once_and_then_each_waits_for_its_token() {
        let mut pace = pace(Some(10), None, 1000);
        for _ in 0..10 {
            assert_eq!(pace.wait(0), None);
            pace.spend(1, 1_000_000);
        }
        assert_eq!(pace.wait(0), Some(Duration::from_millis(100)));
        assert_eq!(pace.wait(99), Some(Duration::from_millis(1)));
        assert_eq!(pace.wait(100), None);
        pace.spend(50, 0); // A batch: all of it goes, and is paid off.
        assert_eq!(pace.wait(100), Some(Duration::from_millis(5000)));
        assert_eq!(pace.wait(5100), None);
    }

    #[test]
    fn the_slower_of_both_counts_and_a_period_is_as_long_as_it_says() {
        let mut pace = pace(Some(1), Some(100), 10_000);
        pace.spend(1, 300);
        assert_eq!(pace.wait(0), Some(Duration::from_millis(20_100)));
        pace.set(Speed { messages: Some(1), bytes: Some(100), period_ms: 10_000 }, 5);
        assert_eq!(pace.wait(5), Some(Duration::from_millis(20_095)), "the same speed starts nothing anew");
        pace.set(Speed::default(), 6);
        assert_eq!(pace.wait(6), None);
    }

    proptest! {
        #[test]
        fn never_more_than_a_period_ahead_whatever_the_order(
            rate in 1..1000_u64,
            period_ms in 1..5000_u64,
            steps in proptest::collection::vec((0..500_u64, 1..20_u64), 1..200),
        ) {
            let mut pace = pace(Some(rate), None, period_ms);
            let (mut now, mut spent, mut last) = (0, 0, 0);
            for (passed, count) in steps {
                now += passed;
                if pace.wait(now).is_none() {
                    pace.spend(count, 0);
                    (spent, last) = (spent + count, count);
                }
                let allowed = rate + now * rate / period_ms + last;
                prop_assert!(spent <= allowed, "{spent} of {allowed} after {now} ms");
            }
        }

        #[test]
        fn who_waits_as_told_finds_something(rate in 1..5000_u64, period_ms in 1..5000_u64, count in 1..10_000_u64) {
            let mut pace = pace(Some(rate), None, period_ms);
            pace.spend(count, 0);
            if let Some(wait) = pace.wait(7) {
                let wait = u64::try_from(wait.as_millis()).unwrap();
                prop_assert!(pace.wait(7 + wait - 1).is_some());
                prop_assert!(pace.wait(7 + wait).is_none());
            }
        }
    }
}
