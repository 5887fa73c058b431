//! SEEK: a consumer moves its subscription.
use std::sync::Arc;

use proto::Position;
use proto::pulsar::{CommandError, CommandSeek, CommandSuccess, MessageIdData, ServerError};

use super::consumer::{OpenConsumer, at_message, done};
use super::errors::answer;
use super::session::Session;
use crate::subscription::{Command, SubscribeAt};
use crate::topic::TopicError;

impl Session {
    /// Every consumer of the subscription, the one that asks too, is closed before SUCCESS: what a client got before is from the old
    /// place, what it gets after it has subscribed again is from the new one.
    pub(super) fn seek(&mut self, command: &CommandSeek) {
        let request_id = command.request_id;
        let to = match (&command.message_id, command.message_publish_time) {
            (Some(id), _) => place(id),
            (None, Some(time)) => SubscribeAt::Time(time),
            (None, None) => {
                let text = "Message id and message publish time were not present";
                return self.error(request_id, ServerError::MetadataError, text);
            }
        };
        let Some(OpenConsumer { handle, topic, .. }) = self.open_consumer(command.consumer_id) else {
            return self.error(request_id, ServerError::MetadataError, "Consumer not found");
        };
        let serial = handle.serial;
        self.request(request_id, async move {
            let moved = handle.subscription.ask(|reply| Command::Seek { serial, to, reply }).await;
            match moved.map_err(|error| answer(TopicError::from_subscription(&error, topic.name()).into())) {
                Ok(()) => done(CommandSuccess { request_id, schema: None }),
                Err((error, message)) => done(CommandError { request_id, error: error.into(), message }),
            }
        });
    }
}

/// A client that stands inside a batch says which of its messages it still wants.
fn place(id: &MessageIdData) -> SubscribeAt {
    match at_message(id) {
        SubscribeAt::Position(position)
            if !id.ack_set.is_empty() && position == Position::new(id.ledger_id, id.entry_id) =>
        {
            let left: Arc<[u64]> = id.ack_set.iter().map(|word| word.cast_unsigned()).collect();
            SubscribeAt::Inside(position, left)
        }
        place => place,
    }
}
