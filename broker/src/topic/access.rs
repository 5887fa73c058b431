//! Which producers may be there at the same time: those that share a topic, or one that has it for itself.
//!
//! Whoever takes a topic for itself raises the topic's epoch, and is let in once that is written down. A producer that comes back with
//! an older epoch was followed by another, and stays out.
use std::collections::VecDeque;

use proto::pulsar::ProducerAccessMode;

use super::TopicError;
use super::producers::{AttachProducer, Producer, ProducerAttached, ProducerRefused, ProducerReply, Producers};
use crate::outbox::{Outbox, Serial, Turn};

/// Producers that may wait for a topic of their own.
const WAITING_MAX: usize = 1000;

/// Who has the topic for itself, or is about to.
#[derive(Debug, Default)]
pub(super) struct Access {
    /// Of the topic, as it is written down.
    epoch: Option<u64>,
    /// Is in, and nobody else.
    alone: Option<Serial>,
    /// Comes in once the next epoch is written down.
    claim: Option<Waiting>,
    /// Come after whoever is there, one after the other.
    queue: VecDeque<Waiting>,
}

/// A producer that is not in yet.
#[derive(Debug)]
struct Waiting {
    producer: Producer,
    topic_epoch: Option<u64>,
    /// `None`: it was told that it waits.
    reply: Option<ProducerReply>,
    last_sequence_id: Option<u64>,
}

impl Access {
    pub(super) fn new(epoch: Option<u64>) -> Self {
        Self { epoch, ..Self::default() }
    }

    /// The epoch that must be written down before whoever claims the topic is in.
    pub(super) fn wanted_epoch(&self) -> Option<u64> {
        self.claim.as_ref().map(|_| self.epoch.map_or(0, |epoch| epoch.saturating_add(1)))
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Producer> {
        self.alone = None;
        self.claim.take().into_iter().chain(std::mem::take(&mut self.queue)).map(|waiting| waiting.producer)
    }

    fn moved(&self, theirs: Option<u64>) -> Option<String> {
        let (theirs, ours) = (theirs?, self.epoch?);
        let text = || format!("Topic epoch has already moved. Current epoch: {ours}, Producer epoch: {theirs}");
        (theirs < ours).then(text)
    }
}

/// What is to be done about a producer that wants in.
enum Verdict {
    In,
    /// It has the topic for itself from now on.
    Alone,
    Waits,
    Refused(TopicError, Option<Outbox>),
}

impl Producers {
    pub(super) fn new(epoch: Option<u64>) -> Self {
        Self { access: Access::new(epoch), ..Self::default() }
    }

    /// Lets a producer in under `name`, now or later, or refuses it. One that attaches again under a name it was given replaces its
    /// former self.
    pub(super) fn attach(&mut self, name: String, attach: AttachProducer, last_sequence_id: Option<u64>) {
        let former = self.named(&name).filter(|there| there.is_succeeded_by(&attach)).map(|there| there.serial);
        let verdict = self.judge(&name, &attach, former);
        if let Verdict::Refused(error, holder) = verdict {
            let holder = holder.filter(|holder| !holder.is_same(&attach.client.outbox));
            let _ = attach.reply.send(Err(ProducerRefused { error, holder }));
            return;
        }
        if let Some(former) = former.and_then(|serial| self.take(serial)) {
            former.send_away();
            self.access.alone = self.access.alone.filter(|alone| *alone != former.serial);
        }
        let producer = Producer::new(name, &attach);
        let (topic_epoch, reply) = (attach.topic_epoch, Some(attach.reply));
        let mut waiting = Waiting { producer, topic_epoch, reply, last_sequence_id };
        match verdict {
            Verdict::In => self.admit(waiting),
            Verdict::Alone => self.claim(waiting),
            Verdict::Waits => {
                let attached = waiting.attached(None, false);
                // A connection that is gone detaches it.
                drop(waiting.reply.take().map(|reply| reply.send(Ok(attached))));
                self.access.queue.push_back(waiting);
            }
            Verdict::Refused(..) => unreachable!("answered above"),
        }
    }

    fn judge(&mut self, name: &str, attach: &AttachProducer, former: Option<Serial>) -> Verdict {
        let fenced = |text: String| Verdict::Refused(TopicError::ProducerFenced(text), None);
        let moved = self.access.moved(attach.topic_epoch);
        match attach.mode {
            ProducerAccessMode::Shared => match self.holder(former) {
                Some((text, holder)) => Verdict::Refused(TopicError::ProducerBusy(text), holder),
                None => match self.named(name).filter(|there| Some(there.serial) != former) {
                    Some(there) => {
                        let text = format!("Producer with name '{name}' is already connected to topic");
                        Verdict::Refused(TopicError::ProducerBusy(text), Some(there.client.outbox.clone()))
                    }
                    None => Verdict::In,
                },
            },
            ProducerAccessMode::Exclusive => match (self.holder(former), self.other(former), moved) {
                (Some((text, holder)), ..) => Verdict::Refused(TopicError::ProducerFenced(text), holder),
                (None, Some(other), _) => {
                    let text = "Topic has existing shared producers".into();
                    Verdict::Refused(TopicError::ProducerFenced(text), Some(other.client.outbox.clone()))
                }
                (None, None, Some(moved)) => fenced(moved),
                (None, None, None) => Verdict::Alone,
            },
            ProducerAccessMode::ExclusiveWithFencing => match moved {
                Some(moved) => fenced(moved),
                None => {
                    self.fence_everyone(former);
                    Verdict::Alone
                }
            },
            ProducerAccessMode::WaitForExclusive => match moved {
                Some(moved) => fenced(moved),
                None if self.holder(former).is_none() && self.other(former).is_none() => Verdict::Alone,
                None if self.access.queue.len() < WAITING_MAX => Verdict::Waits,
                None => {
                    Verdict::Refused(TopicError::ProducerBusy("Too many producers wait for the topic".into()), None)
                }
            },
        }
    }

    /// Who has the topic for itself, is about to, or waits for it.
    fn holder(&self, former: Option<Serial>) -> Option<(String, Option<Outbox>)> {
        let Access { alone, claim, queue, .. } = &self.access;
        let alone = alone.filter(|alone| Some(*alone) != former).and_then(|alone| self.all.get(&alone));
        let waiting = || claim.iter().chain(queue).map(|waiting| &waiting.producer).next();
        let holder = alone.or_else(waiting)?;
        let text = format!("Topic has an existing exclusive producer: {}", holder.name);
        Some((text, Some(holder.client.outbox.clone())))
    }

    fn other(&self, former: Option<Serial>) -> Option<&Producer> {
        self.all.values().find(|producer| Some(producer.serial) != former)
    }

    /// Everyone but `former` is out for good.
    fn fence_everyone(&mut self, former: Option<Serial>) {
        let Access { claim, queue, alone, .. } = &mut self.access;
        let waiting: Vec<Waiting> = claim.take().into_iter().chain(queue.drain(..)).collect();
        *alone = None;
        waiting.into_iter().for_each(|waiting| waiting.fence("Fenced out".into()));
        let all: Vec<Serial> = self.all.keys().copied().filter(|serial| Some(*serial) != former).collect();
        for serial in all {
            if let Some(producer) = self.take(serial) {
                producer.send_away();
            }
        }
    }

    /// One that comes back while nobody has followed it needs no new epoch.
    fn claim(&mut self, waiting: Waiting) {
        if waiting.topic_epoch.is_some() && waiting.topic_epoch == self.access.epoch {
            self.access.alone = Some(waiting.producer.serial);
            self.admit(waiting);
        } else {
            self.access.claim = Some(waiting);
        }
    }

    /// Whether one is in, or waits to be.
    pub(super) fn is_used(&self) -> bool {
        !self.all.is_empty() || self.access.claim.is_some() || !self.access.queue.is_empty()
    }

    /// An epoch is written down: whoever claims the topic is in.
    pub(super) fn epoch_written(&mut self, epoch: u64) {
        self.access.epoch = Some(epoch);
        match self.access.claim.take() {
            Some(waiting) => {
                self.access.alone = Some(waiting.producer.serial);
                self.admit(waiting);
            }
            None => self.promote(),
        }
    }

    /// It was not: whoever claims the topic tries again.
    pub(super) fn epoch_not_written(&mut self, error: &TopicError) {
        if let Some(mut waiting) = self.access.claim.take() {
            match waiting.reply.take() {
                Some(reply) => drop(reply.send(Err(ProducerRefused { error: error.clone(), holder: None }))),
                None => waiting.producer.send_away(),
            }
        }
        self.promote();
    }

    fn admit(&mut self, waiting: Waiting) {
        let attached = waiting.attached(self.access.epoch, true);
        let Waiting { producer, reply, last_sequence_id, .. } = waiting;
        let (serial, producer_id, outbox) = (producer.serial, producer.producer_id, producer.client.outbox.clone());
        self.insert(producer);
        match reply {
            Some(reply) => {
                if reply.send(Ok(attached)).is_err() {
                    self.remove(serial); // The connection is gone.
                }
            }
            None => {
                let topic_epoch = self.access.epoch.unwrap_or_default();
                let turn = Turn::Ready { topic_epoch, last_sequence_id };
                outbox.push(|push| push.producer_turn(producer_id, serial, turn));
            }
        }
    }

    /// Lets one go, whether it is in or waits. Its place goes to whoever waits longest.
    pub(super) fn remove(&mut self, serial: Serial) -> Option<Producer> {
        let Access { alone, claim, queue, .. } = &mut self.access;
        let claims = claim.take_if(|claim| claim.producer.serial == serial).map(|claim| claim.producer);
        let queued = queue.iter().position(|waiting| waiting.producer.serial == serial);
        let queued = queued.and_then(|at| queue.remove(at)).map(|waiting| waiting.producer);
        *alone = alone.filter(|alone| *alone != serial);
        let removed = claims.or(queued).or_else(|| self.take(serial));
        self.promote();
        removed
    }

    fn promote(&mut self) {
        while self.all.is_empty() && self.access.claim.is_none() {
            let Some(next) = self.access.queue.pop_front() else { return };
            match self.access.moved(next.topic_epoch) {
                Some(moved) => next.fence(moved),
                None => self.claim(next),
            }
        }
    }
}

impl Waiting {
    fn attached(&self, topic_epoch: Option<u64>, ready: bool) -> ProducerAttached {
        let (name, last_sequence_id) = (self.producer.name.clone(), self.last_sequence_id);
        ProducerAttached { name, topic_epoch, last_sequence_id, ready }
    }

    fn fence(mut self, text: String) {
        let Producer { serial, producer_id, client, .. } = &self.producer;
        match self.reply.take() {
            Some(reply) => {
                let error = TopicError::ProducerFenced(text);
                let _ = reply.send(Err(ProducerRefused { error, holder: None })); // It may have gone away.
            }
            None => client.outbox.push(|push| push.producer_turn(*producer_id, *serial, Turn::Fenced(text))),
        }
    }
}
