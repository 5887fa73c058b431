//! How long acknowledged messages stay.
use std::time::Duration;

use proto::records;
use serde_json::{Value, json};

use super::PolicyError;
use super::lenient::{INT, LONG, object, within};

const TIME: &str = "retentionTimeInMinutes";
const SIZE: &str = "retentionSizeInMB";

/// What of a topic's acknowledged messages stays: what is younger than `age`, as long as it is within `bytes`. `None`: without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retention {
    /// Since a ledger took its last message.
    pub(crate) age: Option<Duration>,
    /// Of what is acknowledged.
    pub(crate) bytes: Option<u64>,
}

impl From<records::Retention> for Retention {
    /// Numbers that no clock and no disk will reach stand for themselves: nothing overflows.
    fn from(record: records::Retention) -> Self {
        let minutes = u64::try_from(record.minutes).ok();
        let mebibytes = u64::try_from(record.mebibytes).ok();
        Self {
            age: minutes.map(|minutes| Duration::from_secs(minutes.saturating_mul(60))),
            bytes: mebibytes.map(|mebibytes| mebibytes.saturating_mul(1 << 20)),
        }
    }
}

pub(super) fn read(value: &Value) -> Result<records::Retention, PolicyError> {
    let members = object(value, "retention")?;
    let number = |name: &str, of: super::lenient::Whole| {
        let read = of.read(members.get(name).unwrap_or(&Value::Null));
        read.map(Option::unwrap_or_default).map_err(|error| within(name, error))
    };
    let record = records::Retention { minutes: number(TIME, INT)?, mebibytes: number(SIZE, LONG)? };
    check(record)?;
    Ok(record)
}

fn check(record: records::Retention) -> Result<(), PolicyError> {
    let problem = match (record.minutes, record.mebibytes) {
        (minutes, _) if minutes < -1 => "time limit must be >= -1",
        (_, mebibytes) if mebibytes < -1 => "size limit must be >= -1",
        (0, 0) => return Ok(()),
        (0, _) | (_, 0) => {
            "Setting a single time or size limit to 0 is invalid when one of the limits has a non-zero value. Use the value \
             of -1 instead of 0 to ignore a specific limit. To disable retention both limits must be set to 0."
        }
        _ => return Ok(()),
    };
    Err(PolicyError::Malformed(format!("Invalid retention policy: {problem}")))
}

pub(super) fn show(record: &records::Retention) -> Value {
    json!({TIME: record.minutes, SIZE: record.mebibytes})
}
