//! The one place of this crate that asks the machine for the time and for chance; everyone else is given them.
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Birth;

#[allow(clippy::disallowed_methods)] // See above.
pub(crate) fn birth() -> Birth {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(); // Before 1970 counts as 1970.
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    Birth { now_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX), seed: high ^ low }
}
