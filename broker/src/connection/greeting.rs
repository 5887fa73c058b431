//! CONNECT: who is there, and what both sides can do.
use std::sync::Arc;

use proto::pulsar::base_command::Type;
use proto::pulsar::{BaseCommand, CommandConnect, CommandConnected, FeatureFlags, ServerError};

use super::session::{Closed, Session};
use crate::clock::rfc3339;
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
