//! What a run found.
use std::fmt;
use std::time::Duration;

use super::Fault;
use crate::crash::Report;

/// A line of the table.
#[derive(Debug, Clone)]
pub struct Row {
    /// What happened.
    pub fault: Fault,
    /// From the beginning of the fault until all was well again.
    pub took: Duration,
    /// Of that, times in which no receipt came for more than 0.1 s.
    pub silent: Duration,
    /// Longest time without a receipt from the fault on.
    pub gap: Duration,
    /// What only this fault tells.
    pub more: Outcome,
    /// What was promised and kept.
    pub report: Report,
}

/// What only some faults tell.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Receipts that a broker gave after another had sealed its ledger.
    pub late_receipts: Option<u64>,
    /// Longest time without a receipt, of each move.
    pub gaps: Vec<Duration>,
}

impl Row {
    /// Over the columns.
    pub const HEAD: &str =
        "fault                acknowledged  lost  duplicated  misordered  acks forgotten  longest gap  served";

    /// Broken promises.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.report.faults() + self.more.late_receipts.unwrap_or(0)
    }

    /// The share of the time since the fault began in which the topic served, in percent.
    #[must_use]
    pub fn served(&self) -> f64 {
        100.0 * (1.0 - self.silent.as_secs_f64() / self.took.as_secs_f64().max(f64::MIN_POSITIVE))
    }

    /// The gap that 99 of 100 moves do not exceed.
    #[must_use]
    pub fn gap_p99(&self) -> Option<Duration> {
        let mut gaps = self.more.gaps.clone();
        gaps.sort_unstable();
        gaps.get((gaps.len() * 99).div_ceil(100).checked_sub(1)?).copied()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { acknowledged, lost, duplicated, acks_forgotten, .. } = self.report;
        let misordered = self.report.reordered + self.report.went_back + self.report.moved;
        let (name, gap, served) = (format!("{:?}", self.fault), self.gap.as_secs_f64(), self.served());
        write!(f, "{name:<20} {acknowledged:>12} {lost:>5} {duplicated:>11} {misordered:>11} {acks_forgotten:>15}")?;
        write!(f, " {gap:>10.3} s {served:>6.2}%")?;
        if let Some(late) = self.more.late_receipts {
            write!(f, "  receipts after the seal {late}")?;
        }
        if let Some(p99) = self.gap_p99() {
            write!(f, "  {} moves, p99 {:.3} s", self.more.gaps.len(), p99.as_secs_f64())?;
        }
        let other = self.report.foreign + self.report.undelivered;
        if 0 < other { write!(f, "  never sent or not delivered: {other}") } else { Ok(()) }
    }
}

/// The table.
#[derive(Debug, Clone, Default)]
pub struct FaultReport {
    /// In the order of the run.
    pub rows: Vec<Row>,
}

impl FaultReport {
    /// Broken promises of all rows.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.rows.iter().map(Row::faults).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::{History, Keeping};

    fn row(gaps: &[u64]) -> Row {
        let report = History::of(Keeping::Everything).judge(1, &[], 0);
        let gaps = gaps.iter().copied().map(Duration::from_millis).collect();
        let more = Outcome { late_receipts: Some(2), gaps };
        let (took, silent) = (Duration::from_secs(10), Duration::from_secs(1));
        Row { fault: Fault::Moves, took, silent, gap: Duration::ZERO, more, report }
    }

    #[test]
    fn a_late_receipt_is_a_broken_promise() {
        assert_eq!(row(&[]).faults(), 2);
        assert!((row(&[]).served() - 90.0).abs() < 1e-9);
    }

    #[test]
    fn one_move_in_a_hundred_may_be_slow() {
        let gaps: Vec<u64> = (1..=100).collect();
        assert_eq!(row(&gaps).gap_p99(), Some(Duration::from_millis(99)));
        assert_eq!(row(&[7]).gap_p99(), Some(Duration::from_millis(7)));
        assert_eq!(row(&[]).gap_p99(), None);
    }
}
