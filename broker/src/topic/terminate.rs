//! The end of a topic for its producers, for ever.
//!
//! What is in flight is answered first. From the request on nothing else is taken: what producers send is dropped unanswered, and they
//! are sent away once the end is written down, or was not. Then they come back and send it again, or are told that the topic has ended.
use std::sync::atomic::Ordering;

use proto::Position;
use tokio::sync::oneshot;

use super::producers::AttachProducer;
use super::publishing::What;
use super::task::Topic;
use super::{TopicError, TopicHandle};
use crate::log::LogError;
use crate::outbox::NextOwner;
use crate::subscription;

/// The last message, if there is one.
pub(super) type TerminateReply = oneshot::Sender<Result<Option<Position>, TopicError>>;

/// How far the end has come.
#[derive(Debug)]
pub(super) struct Ending {
    /// Who asked for it. Administration asks, a few at a time.
    asked: Vec<TerminateReply>,
    /// It has ended, after this message.
    over: Option<Option<Position>>,
    /// Producers are sent away without an end.
    away: bool,
}

impl Ending {
    pub(super) fn new(over: Option<Option<Position>>) -> Self {
        Self { asked: Vec::new(), over, away: false }
    }

    /// Whether nothing that is sent is taken.
    pub(super) fn is_deaf(&self) -> bool {
        self.over.is_some() || !self.asked.is_empty() || self.away
    }

    pub(super) fn send_away(&mut self) {
        self.away = self.over.is_none();
    }
}

impl Topic {
    pub(super) fn terminate(&mut self, reply: TerminateReply) {
        match self.ending.over {
            Some(last) => drop(reply.send(Ok(last))),
            None => self.ending.asked.push(reply),
        }
    }

    /// Why no producer comes in.
    pub(super) fn refuses_producers(&self, name: &str, attach: &AttachProducer) -> Option<TopicError> {
        if self.ending.over.is_some() {
            return Some(TopicError::Terminated);
        }
        if self.ending.is_deaf() {
            return Some(TopicError::Unavailable(self.shared.name.clone()));
        }
        let text = || format!("Topic '{}' reached max producers limit", self.shared.name);
        self.producers.are_too_many(name, attach).then(|| TopicError::ProducerBusy(text()))
    }

    /// Goes on with the end, once nothing is in flight.
    pub(super) fn end_for_producers(&mut self) {
        let in_flight = self.waiting.iter().any(|waiting| matches!(waiting.what, What::Append { .. }));
        if in_flight || !self.ending.is_deaf() {
            return;
        }
        if std::mem::take(&mut self.ending.away) {
            self.producers.send_everyone_away(&NextOwner::default());
        }
        if !self.ending.asked.is_empty() && !self.errands.is_writing_end() {
            self.errands.write_end(self.shared.reader.last());
        }
    }

    /// It is written down.
    pub(super) fn terminated(&mut self, last: Option<Position>) {
        self.ending.over = Some(last);
        self.shared.terminated.store(true, Ordering::Relaxed);
        self.producers.send_everyone_away(&NextOwner::default());
        if let Some(open) = self.shared.reader.with_chain(|chain| chain.open().map(|(open, ..)| open.ledger)) {
            self.log.roll(open);
        }
        for subscription in self.open_subscriptions() {
            // One with a full mailbox wakes up all the same.
            let _ = subscription.pass(subscription::Command::Terminated);
        }
        for asked in self.ending.asked.drain(..) {
            let _ = asked.send(Ok(last)); // It may have gone away.
        }
    }

    /// It was not: everything goes on.
    pub(super) fn not_terminated(&mut self, error: &LogError) {
        self.producers.send_everyone_away(&NextOwner::default());
        for asked in self.ending.asked.drain(..) {
            let _ = asked.send(Err(TopicError::from_log(error, &self.shared.name)));
        }
    }
}

impl TopicHandle {
    /// Takes no more messages, for ever. Says which is the last; once more, the same.
    pub(crate) async fn terminate(&self) -> Result<Option<Position>, TopicError> {
        self.ask(super::task::Command::Terminate).await?
    }
}
