//! CONNECT: who is there, and what both sides can do.
use std::sync::Arc;

use proto::pulsar::base_command::Type;
use proto::pulsar::{BaseCommand, CommandConnect, CommandConnected, FeatureFlags, ServerError};

use super::session::{Closed, Session};
use crate::outbox::Client;

/// The highest step of the protocol that is spoken here.
const PROTOCOL: i32 = 21;
/// A client's name for itself, cut to what anyone wants to read.
const VERSION_CHARS: usize = 200;

impl Session {
    /// The first frame.
    pub(super) fn greet(&mut self, command: BaseCommand) -> Result<(), Closed> {
        let connect = match (Type::try_from(command.r#type), command.connect) {
            (Ok(Type::Connect), Some(connect)) => connect,
            _ => return Err(Closed::Protocol("a command before CONNECT")),
        };
        if !self.is_meant(&connect) {
            self.error(u64::MAX, ServerError::ServiceNotReady, "This broker is not the one to proxy to");
            return Err(Closed::Refused("proxy_to_broker_url names another broker"));
        }
        let context = &self.house.context;
        let protocol = connect.protocol_version().clamp(0, PROTOCOL);
        self.client = Some(Arc::new(Client {
            outbox: self.outbox.clone(),
            address: format!("/{}", self.address),
            version: connect.client_version.chars().take(VERSION_CHARS).collect(),
            protocol,
            connected_since: rfc3339(context.clock.now_ms()),
        }));
        self.stranger = None;
        self.outbox.send(CommandConnected {
            server_version: concat!("Geminga ", env!("CARGO_PKG_VERSION")).into(),
            protocol_version: Some(protocol),
            max_message_size: Some(i32::try_from(self.message_bytes_max()).unwrap_or(i32::MAX)),
            feature_flags: Some(FeatureFlags {
                supports_partial_producer: Some(true),
                supports_topic_watchers: Some(true),
                supports_get_partitioned_metadata_without_auto_creation: Some(true),
                ..Default::default()
            }),
        });
        Ok(())
    }

    /// Whether a client that came through a proxy meant this broker. In standalone it can mean no other.
    fn is_meant(&self, connect: &CommandConnect) -> bool {
        let context = &self.house.context;
        match connect.proxy_to_broker_url() {
            "" => true,
            _ if context.standalone => true,
            url => url.strip_prefix("pulsar://").unwrap_or(url).trim_end_matches('/') == context.broker,
        }
    }
}

/// A time as tools print it: `2026-11-23T12:00:00.000Z`.
pub(crate) fn rfc3339(ms: u64) -> String {
    let (seconds, millis) = (ms / 1000, ms % 1000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.{millis:03}Z", second % 60)
}

/// Year, month and day of a number of days since 1970, in the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468; // Days since 0000-03-01: years that begin in March end with the leap day.
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_the_calendar_says() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_400_001), "2000-02-29T00:00:00.001Z");
        assert_eq!(rfc3339(1_763_899_619_000), "2025-11-23T12:06:59.000Z");
        assert_eq!(rfc3339(4_102_444_799_999), "2099-12-31T23:59:59.999Z");
    }
}
