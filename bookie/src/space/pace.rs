//! How quickly segments are rewritten: the journal goes first. A value without I/O.
use std::time::Duration;

use crate::segments::Pressure;

/// How long the journal must have written only small batches.
const CALM: Duration = Duration::from_secs(1);
/// How long large batches may hold everything up. Then it goes on slowly, since a store that is only ever filled runs full.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
const SLOWER: u32 = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes read and written per second.
    rate: u64,
    /// What was done so far is paid for then.
    ready_at: Duration,
    batches: u64,
    flood: Option<Flood>,
}

#[derive(Debug)]
struct Flood {
    began: Duration,
    seen: Duration,
}

impl Pace {
    /// For so many bytes per second.
    pub(super) fn new(rate: u64) -> Self {
        Self { rate: rate.max(1), ready_at: Duration::ZERO, batches: 0, flood: None }
    }

    /// How long to wait before more is done, if at all.
    pub(super) fn wait(&mut self, now: Duration, pressure: Pressure) -> Option<Duration> {
        let batches = std::mem::replace(&mut self.batches, pressure.batches);
        let flooded = pressure.flood && batches != pressure.batches;
        self.flood = match self.flood.take() {
            Some(flood) if flooded => Some(Flood { seen: now, ..flood }),
            None if flooded => Some(Flood { began: now, seen: now }),
            held => held.filter(|flood| now < flood.seen + CALM),
        };
        match &self.flood {
            Some(flood) if now < flood.began + PATIENCE => Some(CALM / 10),
            _ => self.ready_at.checked_sub(now).filter(|wait| !wait.is_zero()),
        }
    }

    /// So much was read and written.
    pub(super) fn spent(&mut self, now: Duration, bytes: u64) {
        let slower = if self.flood.is_some() { SLOWER } else { 1 };
        let price = Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / self.rate) * slower;
        self.ready_at = self.ready_at.max(now) + price;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const RATE: u64 = 64 << 20;

    fn calm() -> Pressure {
        Pressure { batches: 0, flood: false }
    }

    /// Bytes moved in `seconds`, in pieces of 1 MiB, while `pressure` is as it says at each time.
    fn moved(pace: &mut Pace, from: Duration, seconds: u32, pressure: impl Fn(Duration) -> Pressure) -> u64 {
        let (mut now, mut bytes) = (from, 0);
        while now < from + seconds * SECOND {
            match pace.wait(now, pressure(now)) {
                Some(wait) => now += wait,
                None => {
                    pace.spent(now, 1 << 20);
                    bytes += 1 << 20;
                }
            }
        }
        bytes
    }

    #[test]
    fn no_more_than_the_rate_is_moved() {
        let bytes = moved(&mut Pace::new(RATE), SECOND, 10, |_| calm());
        assert!((10 * RATE - (2 << 20)..=10 * RATE + (1 << 20)).contains(&bytes), "{bytes}");
    }

    #[test]
    fn nothing_is_moved_while_a_flood_runs_and_it_goes_on_behind_it() {
        let mut pace = Pace::new(RATE);
        let flood = |now: Duration| Pressure { batches: now.as_millis() as u64, flood: true };
        assert_eq!(moved(&mut pace, SECOND, 60, flood), 0);
        // The last batch was a large one, and none has come since.
        let over = |_| Pressure { batches: 61_000, flood: true };
        let bytes = moved(&mut pace, 61 * SECOND, 11, over);
        assert!(9 * RATE < bytes, "{bytes}");
    }

    #[test]
    fn a_flood_without_end_slows_it_down_to_an_eighth() {
        let mut pace = Pace::new(RATE);
        let flood = |now: Duration| Pressure { batches: now.as_millis() as u64, flood: true };
        moved(&mut pace, SECOND, 600, flood);
        let bytes = moved(&mut pace, 601 * SECOND, 80, flood);
        assert!((9 * RATE..=11 * RATE).contains(&bytes), "{bytes}");
    }
}
