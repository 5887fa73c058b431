//! What tiered storage costs, from what was counted. Pure.
use std::time::Duration;

use super::requests::{Operation, Requests};

const GB: f64 = 1e9;
const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A store's price list, in any currency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    /// For a GB kept for a month.
    pub gb_month: f64,
    /// For a thousand requests that write or list.
    pub put_thousand: f64,
    /// For a thousand requests that read or ask.
    pub get_thousand: f64,
    /// For a GB that leaves the store's network. Nothing, where brokers run beside it.
    pub egress_gb: f64,
}

impl Default for Prices {
    /// Amazon's list price for S3 Standard in us-east-1, in dollars, read within the region.
    fn default() -> Self {
        Self { gb_month: 0.023, put_thousand: 0.005, get_thousand: 0.0004, egress_gb: 0.0 }
    }
}

/// What was used, over some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Kept in the store now.
    pub stored_bytes: u64,
    /// Requests that write or list.
    pub puts: u64,
    /// Requests that read or ask.
    pub gets: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// How long requests and bytes were counted.
    pub over: Duration,
}

impl Usage {
    /// From what one process counted. Add up those of all brokers.
    #[must_use]
    pub fn of(requests: &Requests, stored_bytes: u64, over: Duration) -> Self {
        Self {
            stored_bytes,
            puts: requests.made(Operation::Put) + requests.made(Operation::List),
            gets: requests.made(Operation::Get) + requests.made(Operation::Head),
            read_bytes: requests.bytes_received(),
            over,
        }
    }
}

/// Prices of a month of 30 days that goes on like this.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Keeping.
    pub storage: f64,
    /// Writing and listing.
    pub puts: f64,
    /// Reading and asking.
    pub gets: f64,
    /// Bytes that leave the store's network.
    pub egress: f64,
}

impl Cost {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.storage + self.puts + self.gets + self.egress
    }
}

/// What a month like the time that was counted costs.
#[must_use]
pub fn monthly_cost(usage: &Usage, prices: &Prices) -> Cost {
    let months = usage.over.as_secs_f64() / MONTH.as_secs_f64();
    let monthly = |count: u64| if months <= 0.0 { 0.0 } else { count as f64 / months };
    Cost {
        storage: usage.stored_bytes as f64 / GB * prices.gb_month,
        puts: monthly(usage.puts) / 1000.0 * prices.put_thousand,
        gets: monthly(usage.gets) / 1000.0 * prices.get_thousand,
        egress: monthly(usage.read_bytes) / GB * prices.egress_gb,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terabyte_written_and_read_once_a_month_costs_what_the_price_list_says() {
        let usage = Usage {
            stored_bytes: 1_000_000_000_000,
            puts: 17_000,
            gets: 66_000,
            read_bytes: 1_000_000_000_000,
            over: MONTH / 2,
        };
        let prices = Prices { egress_gb: 0.09, ..Prices::default() };
        let cost = monthly_cost(&usage, &prices);
        let near = |value: f64, expected: f64| (value - expected).abs() < 1e-6;
        assert!(near(cost.storage, 23.0) && near(cost.puts, 0.17) && near(cost.gets, 0.0528), "{cost:?}");
        assert!(near(cost.egress, 180.0) && near(cost.total(), 203.2228), "{cost:?}");
        let nothing = monthly_cost(&Usage { over: Duration::ZERO, ..usage }, &prices);
        assert!(near(nothing.total(), 23.0), "no time, no rate");
    }
}
