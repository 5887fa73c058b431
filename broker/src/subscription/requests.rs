//! Requests to a subscription that get an answer each.
use proto::Position;

use super::task::{Next, Task};
use super::{Command, Properties, SubscribeAt, SubscriptionError};
use crate::cursor::AckReceipt;
use crate::log::LogError;
use crate::outbox::{NextOwner, Serial};

impl Task {
    pub(super) async fn request(&mut self, command: Command) -> Next {
        match command {
            Command::Unsubscribe { serial, force, reply } => {
                let allowed = self.may_unsubscribe(serial, force);
                if allowed.is_ok() {
                    self.attached.remove(&serial); // It knows, and is not sent away.
                    self.dispatch.detach(serial);
                }
                return self.remove(allowed, reply).await;
            }
            Command::Delete { force, reply } => {
                let allowed =
                    if force || self.attached.is_empty() { Ok(()) } else { Err(SubscriptionError::ActiveConsumers) };
                return self.remove(allowed, reply).await;
            }
            Command::DeleteUnused { before_ms, reply } => {
                let used = !self.attached.is_empty() || before_ms <= self.unused_since.max(self.counters.last_acked);
                return self.remove(if used { Err(SubscriptionError::ActiveConsumers) } else { Ok(()) }, reply).await;
            }
            Command::Close(to, reply) => return self.close(&to, reply),
            Command::SkipAll(reply) => self.skip_below(self.reader.end(), reply),
            Command::CompactedTo(position, reply) => self.skip_below(position, reply),
            Command::Skip(entries, reply) => {
                let end = self.unacknowledged_after(entries).unwrap_or_else(|| self.reader.end());
                self.skip_below(end, reply);
            }
            Command::Peek(before, reply) => drop(reply.send(Ok(self.unacknowledged_after(before)))),
            Command::Unacknowledged { from, entries_max, reply } => {
                let _ = reply.send(Ok(self.unacknowledged_from(from, entries_max)));
            }
            Command::Properties(reply) => drop(reply.send(Ok(self.properties.clone()))),
            Command::SetProperties(properties, reply) => {
                let _ = reply.send(self.set_properties(properties).await);
            }
            Command::Reset(to, reply) => {
                let _ = reply.send(self.reset(&to).await);
            }
            Command::Seek { serial, to, reply } => {
                let there = self.attached.contains_key(&serial);
                let gone = SubscriptionError::Refused("Consumer not found"); // Sent away by another seek, as likely as not.
                let _ = reply.send(if there { self.reset(&to).await } else { Err(gone) });
            }
            Command::ExpireBefore(below, reply) => self.expire_before(below, reply),
            Command::Terminated => {} // Waking up was enough.
            // What left the chain is still there for who reads what compaction has left.
            Command::Trimmed if self.dispatch.reads_compacted() => {}
            Command::Trimmed => self.reader.clone().with_chain(|chain| self.dispatch.trimmed(chain)),
            Command::MarkDelete(serial, reply) => {
                let known = self.attached.contains_key(&serial);
                let position = self.reader.with_chain(|chain| self.dispatch.acks().mark_delete(chain));
                let _ = reply.send(if known { Ok(position) } else { Err(SubscriptionError::Closed) });
            }
            Command::ConsumerStats(serial, reply) => {
                let _ = reply.send(self.consumer_stats(serial).map(Box::new));
            }
            Command::Stats(reply) => {
                let _ = reply.send(Ok(Box::new(self.stats())));
            }
            Command::Cursor(reply) => {
                let _ = reply.send(Ok(Box::new(self.cursor_stats())));
            }
            Command::Attach(_) | Command::Events(_) | Command::Detach(..) => unreachable!("handled by the caller"),
        }
        Next::GoOn
    }

    fn may_unsubscribe(&self, serial: Serial, force: bool) -> Result<(), SubscriptionError> {
        let alone = self.attached.len() == 1 && self.attached.contains_key(&serial);
        if alone || (force && self.attached.contains_key(&serial)) {
            Ok(())
        } else {
            Err(SubscriptionError::Refused("Unconnected or shared consumer attempting to unsubscribe"))
        }
    }

    fn close(&mut self, to: &NextOwner, reply: super::Reply<()>) -> Next {
        self.keep_delays();
        self.send_everyone_away(to);
        let _ = reply.send(Ok(()));
        Next::End
    }

    /// Ends the subscription for good, when `allowed`: its name is free once that is answered.
    async fn remove(&mut self, allowed: Result<(), SubscriptionError>, reply: super::Reply<()>) -> Next {
        if let Err(error) = allowed {
            let _ = reply.send(Err(error));
            return Next::GoOn;
        }
        self.send_everyone_away(&NextOwner::default());
        if self.durable
            && let Err(error) = self.cursor_log.remove(&self.name).await
        {
            let _ = reply.send(Err(error.into()));
            return Next::GoOn;
        }
        self.finished = Some(reply);
        Next::End
    }

    fn unacknowledged_after(&self, entries: u64) -> Option<Position> {
        self.reader.with_chain(|chain| self.dispatch.acks().unacknowledged_after(entries, chain))
    }

    fn unacknowledged_from(&self, from: Position, entries_max: usize) -> Vec<Position> {
        self.reader.with_chain(|chain| self.dispatch.acks().unacknowledged_from(from, entries_max, chain))
    }

    async fn set_properties(&mut self, properties: Properties) -> Result<(), SubscriptionError> {
        if self.durable {
            self.cursor_log.put(&self.name, self.dispatch.acks().clone(), properties.clone()).await?;
        }
        self.properties = properties;
        Ok(())
    }

    /// Acknowledges all that lies below a position. Consumers stay.
    fn skip_below(&mut self, end: Position, reply: super::Reply<()>) {
        self.unused_since = self.clock.now_ms();
        let reader = self.reader.clone();
        let delta = reader.with_chain(|chain| self.dispatch.cumulative(end, chain)).unwrap_or_default();
        let answer = move |outcome: Result<(), LogError>| drop(reply.send(outcome.map_err(Into::into)));
        if self.durable {
            self.cursor_log.acknowledge(&self.name, delta, Some(AckReceipt::new(answer)));
        } else {
            answer(Ok(()));
        }
    }

    /// Consumers are told first: none may take what it is sent from the new place for a message from the old one.
    async fn reset(&mut self, to: &SubscribeAt) -> Result<(), SubscriptionError> {
        let acks = to.resolve(&self.reader, self.dispatch.reads_compacted()).await?;
        self.send_everyone_away(&NextOwner::default());
        self.await_reader();
        if self.durable {
            self.cursor_log.put(&self.name, acks.clone(), self.properties.clone()).await?;
        }
        self.dispatch.reset(acks);
        Ok(())
    }
}
