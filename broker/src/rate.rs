//! Rates over a window.

/// At least this long, so that a single burst does not read as a rate.
const WINDOW_MS: u64 = 10_000;

/// Counts messages and bytes, and how many of each came per second lately.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rate {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    window: Option<Window>,
    last: (f64, f64),
}

#[derive(Debug, Clone, Copy)]
struct Window {
    since_ms: u64,
    messages: u64,
    bytes: u64,
}

impl Rate {
    /// Counts.
    pub(crate) fn add(&mut self, messages: u64, bytes: u64, now_ms: u64) {
        self.turn(now_ms);
        self.messages += messages;
        self.bytes += bytes;
    }

    /// Messages and bytes per second: over the window that runs, once it is long enough to tell, else over the one before.
    pub(crate) fn per_second(&mut self, now_ms: u64) -> (f64, f64) {
        self.turn(now_ms);
        match self.window {
            Some(window) if 1000 <= now_ms.saturating_sub(window.since_ms) => self.over(window, now_ms),
            _ => self.last,
        }
    }

    fn turn(&mut self, now_ms: u64) {
        let fresh = Window { since_ms: now_ms, messages: self.messages, bytes: self.bytes };
        match self.window {
            None => self.window = Some(fresh),
            Some(window) if WINDOW_MS <= now_ms.saturating_sub(window.since_ms) => {
                self.last = self.over(window, now_ms);
                self.window = Some(fresh);
            }
            Some(_) => {}
        }
    }

    fn over(&self, window: Window, now_ms: u64) -> (f64, f64) {
        let seconds = now_ms.saturating_sub(window.since_ms).max(1) as f64 / 1000.0;
        ((self.messages - window.messages) as f64 / seconds, (self.bytes - window.bytes) as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_came_in_the_window_and_ends_with_silence() {
        let mut rate = Rate::default();
        rate.add(100, 1000, 0);
        assert_eq!(rate.per_second(2000), (50.0, 500.0));
        assert_eq!(rate.per_second(10_000), (10.0, 100.0), "the window that just ended");
        assert_eq!(rate.per_second(12_000), (0.0, 0.0), "nothing came since");
        assert_eq!((rate.messages, rate.bytes), (100, 1000));
    }
}
