//! REACHED_END_OF_TOPIC.
use std::sync::atomic::Ordering;

use proto::pulsar::CommandReachedEndOfTopic;

use super::task::Task;
use crate::outbox::Client;

/// Clients from this step of the protocol on know the command.
const PROTOCOL: i32 = 9;
/// Clients of these names say that they do, and close their connection over it.
const STRANGERS: [&str; 2] = ["Pulsar-CPP", "Pulsar Go"];

impl Task {
    /// Tells consumers once that nothing more will come: the topic takes no more messages, and all of it is acknowledged.
    pub(super) fn tell_end(&mut self) {
        if !self.terminated.load(Ordering::Relaxed)
            || 0 < self.reader.with_chain(|chain| self.dispatch.acks().unacknowledged(chain))
        {
            return;
        }
        for attached in self.attached.values_mut().filter(|attached| attached.announced && !attached.knows_end) {
            attached.knows_end = true;
            if understands(&attached.client) {
                attached.client.outbox.send(CommandReachedEndOfTopic { consumer_id: attached.consumer_id });
            }
        }
    }
}

fn understands(client: &Client) -> bool {
    PROTOCOL <= client.protocol && !STRANGERS.iter().any(|name| client.version.starts_with(name))
}
