//! What a run found.
use std::fmt;
use std::time::Duration;

/// Counts of what was promised and of every way in which it was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Repeats the random choices of the run.
    pub seed: u64,
    /// Messages sent, with a receipt or not.
    pub sent: u64,
    /// Messages with a receipt.
    pub acknowledged: u64,
    /// Messages read back.
    pub found: u64,
    /// With a receipt and not read back.
    pub lost: u64,
    /// Read back a second time.
    pub duplicated: u64,
    /// Read back after a later one.
    pub reordered: u64,
    /// Read back elsewhere than the receipt said.
    pub moved: u64,
    /// Read back and never sent.
    pub foreign: u64,
    /// Positions that did not grow.
    pub went_back: u64,
    /// Acknowledgements with a receipt.
    pub acks: u64,
    /// Of these, sent again.
    pub acks_forgotten: u64,
    /// Not acknowledged, and not sent again to the subscription.
    pub undelivered: u64,
    /// Longest time between two receipts.
    pub longest_gap: Duration,
    /// Servers started again.
    pub restarts: u64,
}

impl Report {
    /// Broken promises of any kind.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.lost
            + self.duplicated
            + self.reordered
            + self.moved
            + self.foreign
            + self.went_back
            + self.acks_forgotten
            + self.undelivered
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed                        {}", self.seed)?;
        writeln!(f, "sent                        {}", self.sent)?;
        writeln!(f, "acknowledged                {}", self.acknowledged)?;
        writeln!(f, "read back                   {}", self.found)?;
        writeln!(f, "lost                        {}", self.lost)?;
        writeln!(f, "duplicated                  {}", self.duplicated)?;
        writeln!(f, "reordered                   {}", self.reordered)?;
        writeln!(f, "elsewhere than promised     {}", self.moved)?;
        writeln!(f, "never sent                  {}", self.foreign)?;
        writeln!(f, "positions that went back    {}", self.went_back)?;
        writeln!(f, "acks with receipt           {}", self.acks)?;
        writeln!(f, "acks forgotten              {}", self.acks_forgotten)?;
        writeln!(f, "not delivered again         {}", self.undelivered)?;
        writeln!(f, "longest gap                 {:.3} s", self.longest_gap.as_secs_f64())?;
        write!(f, "restarts                    {}", self.restarts)
    }
}
