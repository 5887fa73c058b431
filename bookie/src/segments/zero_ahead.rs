//! Which part of a file may be zeroed now. A value without I/O.
//!
//! A sync into bytes that were written before is several times quicker than one that grows the file, so zeros are written ahead
//! of the journal, and never over it.
use std::ops::Range;

/// Bytes zeroed as one.
pub(crate) const CHUNK: u64 = 1 << 20;
/// How far ahead of the append position zeros may reach.
pub(crate) const AHEAD: u64 = 16 << 20;

/// One file's zeros.
#[derive(Debug, Clone)]
pub(crate) struct ZeroAhead {
    /// Beyond it nothing is zeroed.
    limit: u64,
    /// The journal has taken everything below.
    appended: u64,
    /// Everything below is written or zeroed.
    zeroed: u64,
    zeroing: Option<Range<u64>>,
}

impl ZeroAhead {
    /// For a file that the journal has taken up to `appended`, whose blocks were written up to `written`, be it in an earlier life, and
    /// that will not grow beyond `limit`.
    pub(crate) fn new(appended: u64, written: u64, limit: u64) -> Self {
        Self { limit, appended, zeroed: appended.max(written), zeroing: None }
    }

    /// The journal is about to write up to `end`. `false`: a chunk in its way is being zeroed, ask again when that has finished.
    pub(crate) fn claim(&mut self, end: u64) -> bool {
        if self.zeroing.as_ref().is_some_and(|range| range.start < end) {
            return false;
        }
        assert!(self.appended <= end, "a journal only grows");
        self.appended = end;
        self.zeroed = self.zeroed.max(end);
        true
    }

    /// What was claimed last was not written, and everything from `offset` on may be claimed again.
    pub(crate) fn unclaim(&mut self, offset: u64) {
        assert!(offset <= self.appended, "only what was claimed");
        self.appended = offset;
    }

    /// The next chunk to zero, at most up to `ahead` beyond the append position. It must be [finished](Self::finish).
    pub(crate) fn begin(&mut self, ahead: u64) -> Option<Range<u64>> {
        if !self.lags(ahead) {
            return None;
        }
        let chunk = self.zeroed..self.target(ahead).min(self.zeroed + CHUNK);
        self.zeroing = Some(chunk.clone());
        Some(chunk)
    }

    /// Whether there is a chunk to begin. Only whole ones are, and what is left at the end: not a sliver for each append.
    pub(crate) fn lags(&self, ahead: u64) -> bool {
        let target = self.target(ahead);
        self.zeroing.is_none() && self.zeroed < target && (self.zeroed + CHUNK <= target || target == self.limit)
    }

    fn target(&self, ahead: u64) -> u64 {
        (self.appended + ahead.min(AHEAD)).min(self.limit)
    }

    /// The chunk that was begun is zeroed, or has failed: then no other is begun.
    pub(crate) fn finish(&mut self, zeroed: bool) {
        match self.zeroing.take() {
            Some(range) if zeroed => self.zeroed = range.end,
            _ => self.limit = 0,
        }
    }

    /// How much room there is below the limit.
    pub(crate) fn rest(&self) -> u64 {
        self.limit.saturating_sub(self.appended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn zeros_stay_within_reach_and_below_the_limit() {
        let mut zeros = ZeroAhead::new(4096, 0, 64 << 20);
        let mut reached = 4096;
        while let Some(chunk) = zeros.begin(AHEAD) {
            assert_eq!(chunk.start, reached, "chunks leave no hole");
            reached = chunk.end;
            zeros.finish(true);
        }
        assert_eq!(reached, 4096 + AHEAD);
        assert!(zeros.claim(64 << 20));
        assert_eq!(zeros.begin(AHEAD), None, "nothing beyond the limit");
    }

    #[test]
    fn the_journal_waits_for_a_begun_chunk_in_its_way_and_for_no_other() {
        let mut zeros = ZeroAhead::new(0, 0, 64 << 20);
        assert_eq!(zeros.begin(AHEAD), Some(0..CHUNK));
        assert_eq!(zeros.begin(AHEAD), None, "one at a time");
        assert!(!zeros.claim(4096));
        zeros.finish(true);
        assert!(zeros.claim(3 * CHUNK), "chunks that were not begun are no obstacle");
        assert_eq!(zeros.begin(AHEAD), Some(3 * CHUNK..4 * CHUNK), "and are never zeroed once taken");
        zeros.finish(true);
        assert_eq!(zeros.begin(AHEAD), Some(4 * CHUNK..5 * CHUNK));
        assert!(zeros.claim(4 * CHUNK), "a chunk further on is no obstacle either");
    }

    #[test]
    fn blocks_of_an_earlier_life_need_no_zeros() {
        let mut zeros = ZeroAhead::new(4096, 64 << 20, 64 << 20);
        assert_eq!(zeros.begin(AHEAD), None);
        let mut shorter = ZeroAhead::new(4096, 8 << 20, 64 << 20);
        assert_eq!(shorter.begin(AHEAD), Some(8 << 20..(8 << 20) + CHUNK), "where it ends they go on");
        assert!(zeros.claim(63 << 20) && zeros.begin(AHEAD).is_none());
    }

    #[test]
    fn after_a_failure_nothing_more_is_zeroed() {
        let mut zeros = ZeroAhead::new(0, 0, 64 << 20);
        zeros.begin(AHEAD).unwrap();
        zeros.finish(false);
        assert!(zeros.claim(4096));
        assert_eq!(zeros.begin(AHEAD), None);
    }

    #[test]
    fn zeros_and_appends_never_overlap() {
        let mut seed = Seed::new(1);
        let (mut zeros, mut taken, mut begun) = (ZeroAhead::new(0, 0, 32 << 20), 0, None::<Range<u64>>);
        for _ in 0..10_000 {
            if seed.below(2) == 0 {
                let end = taken + seed.below(CHUNK);
                if zeros.claim(end) {
                    assert!(begun.as_ref().is_none_or(|range| end <= range.start));
                    taken = end;
                }
            } else if begun.take().is_some() {
                zeros.finish(true);
            } else {
                begun = zeros.begin(AHEAD);
                assert!(begun.as_ref().is_none_or(|range| taken <= range.start && range.end <= taken + AHEAD));
            }
        }
    }
}
