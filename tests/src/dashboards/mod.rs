//! The dashboards that are shipped: their queries, and what a real Prometheus answers to them.
mod prometheus; // Who is asked,
mod queries; // what,
mod selectors; // and which series that reads.

pub use prometheus::{Job, Prometheus};
pub use queries::{Query, queries};
pub use selectors::{Selector, not_shown, selectors};
