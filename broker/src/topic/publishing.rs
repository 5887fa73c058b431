//! What becomes of a message that comes in: it is appended, recognised or refused, and its producer answered in order.
use proto::Position;
use proto::pulsar::{CommandSendError, CommandSendReceipt, MessageIdData, ServerError};

use super::producers::{AttachProducer, Leaving, Publish, Refusal};
use super::sequences::{Seen, Verdict};
use super::task::Topic;
use crate::outbox::{Push, Serial, no_message_id};

/// What waits for its turn to be answered.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) serial: Serial,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// An append that the log has not settled.
    Append {
        sequence_id: u64,
        highest_sequence_id: u64,
        messages: u32,
        bytes: usize,
        seen: Option<Seen>,
    },
    /// It is stored once everything before it is.
    Duplicate {
        sequence_id: u64,
        highest_sequence_id: u64,
        bytes: usize,
    },
    Refused {
        sequence_id: u64,
        bytes: usize,
        refusal: Refusal,
    },
    /// CLOSE_PRODUCER.
    Leave(Leaving),
    /// A producer of whom something is in flight.
    Attach(Box<AttachProducer>),
}

impl Topic {
    pub(super) fn publish(&mut self, publish: Publish) {
        let Publish { serial, sequence_id, highest_sequence_id, messages, bytes, stamp, entry } = publish;
        if self.ending.is_deaf() {
            return; // Its producer is about to be sent away, and sends it again.
        }
        let Some(producer) = self.producers.get_mut(serial) else { return }; // It was sent away meanwhile.
        let now = self.registry.clock.now_ms();
        let what = match entry {
            Ok(entry) => {
                producer.rate.add(u64::from(messages), entry.len() as u64, now);
                let verdict = self.sequences.as_mut().map_or(Verdict::New(None), |known| known.judge(&stamp, now));
                match verdict {
                    Verdict::New(seen) => {
                        self.log.append(entry);
                        What::Append { sequence_id, highest_sequence_id, messages, bytes, seen }
                    }
                    Verdict::Duplicate => What::Duplicate { sequence_id, highest_sequence_id, bytes },
                    Verdict::Overlaps => What::Refused { sequence_id, bytes, refusal: overlaps() },
                }
            }
            Err(refusal) => What::Refused { sequence_id, bytes, refusal },
        };
        self.waiting.push_back(Waiting { serial, what });
        self.answer_ready();
    }

    pub(super) fn confirmed(&mut self, first: Position, count: usize) {
        let mut position = first;
        let mut left = count;
        let now = self.registry.clock.now_ms();
        let (mut messages_in, mut bytes_in) = (0, 0);
        while 0 < left {
            let serial = self.waiting.front().expect("the log confirms only what was appended").serial;
            let mut take = |push: &mut Option<(&mut Push<'_>, u64)>| {
                while 0 < left
                    && let Some(Waiting { what: What::Append { .. }, .. }) =
                        self.waiting.front().filter(|waiting| waiting.serial == serial)
                {
                    let Some(Waiting { what, .. }) = self.waiting.pop_front() else { return };
                    let What::Append { sequence_id, highest_sequence_id, messages, bytes, seen } = what else { return };
                    if let (Some(seen), Some(sequences)) = (seen, &mut self.sequences) {
                        sequences.stored(seen, now);
                    }
                    messages_in += u64::from(messages);
                    bytes_in += bytes as u64;
                    left -= 1;
                    if let Some((push, producer_id)) = push {
                        let partition = self.shared.partition;
                        push.receipt(&CommandSendReceipt {
                            producer_id: *producer_id,
                            sequence_id,
                            message_id: Some(MessageIdData { partition, ..position.to_message_id() }),
                            highest_sequence_id: Some(highest_sequence_id).filter(|highest| 0 < *highest),
                        });
                        push.settled(serial, bytes);
                    }
                    position = position.next();
                }
            };
            match self.producers.get_mut(serial) {
                Some(producer) => {
                    let producer_id = producer.producer_id;
                    producer.client.outbox.push(|push| take(&mut Some((push, producer_id))));
                }
                None => take(&mut None), // Gone without waiting. Its messages stay.
            }
            if 0 < left {
                self.answer_ready();
            }
        }
        if let Some(sequences) = &mut self.sequences {
            sequences.passed(count as u64, bytes_in, position);
        }
        self.answer_ready();
        self.published.add(messages_in, bytes_in, now);
        self.last_publish = now;
    }

    /// Answers what stands in front and waits for no append.
    pub(super) fn answer_ready(&mut self) {
        while self.waiting.front().is_some_and(|front| !matches!(front.what, What::Append { .. })) {
            if let Some(waiting) = self.waiting.pop_front() {
                self.answer(waiting);
            }
        }
    }

    pub(super) fn answer(&mut self, Waiting { serial, what }: Waiting) {
        match what {
            What::Append { .. } => {} // Unanswered: the client sends it again.
            What::Attach(attach) => self.let_in(*attach),
            What::Duplicate { sequence_id, highest_sequence_id, bytes } => {
                let Some(producer) = self.producers.get_mut(serial) else { return };
                let producer_id = producer.producer_id;
                producer.client.outbox.push(|push| {
                    push.receipt(&CommandSendReceipt {
                        producer_id,
                        sequence_id,
                        message_id: Some(no_message_id()),
                        highest_sequence_id: Some(highest_sequence_id).filter(|highest| 0 < *highest),
                    });
                    push.settled(serial, bytes);
                });
            }
            What::Refused { sequence_id, bytes, refusal } => {
                let Some(producer) = self.producers.get_mut(serial) else { return };
                let producer_id = producer.producer_id;
                let Refusal { error, text: message } = refusal;
                let error = CommandSendError { producer_id, sequence_id, error: error.into(), message };
                producer.client.outbox.push(|push| {
                    push.settled(serial, bytes);
                    push.command(&error.into());
                });
            }
            What::Leave(leaving) => {
                self.producers.remove(serial);
                drop(leaving);
            }
        }
    }
}

fn overlaps() -> Refusal {
    let text = "some messages of the batch are stored already and some are not";
    Refusal { error: ServerError::NotAllowedError, text: text.into() }
}
