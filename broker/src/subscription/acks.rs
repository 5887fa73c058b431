//! Acknowledgements as connections send them, and their receipts.
use std::sync::Arc;

use proto::pulsar::command_ack::AckType;
use proto::pulsar::{CommandAck, CommandAckResponse, ServerError};

use super::attached::Attached;
use super::task::Task;
use crate::cursor::{AckDelta, AckReceipt, Room};
use crate::outbox::{Client, Serial};

impl Task {
    pub(super) fn acknowledge(&mut self, serial: Serial, ack: CommandAck, now: u64) {
        let attached = self.attached.get_mut(&serial).expect("the caller found it");
        let receipt = Answer::wanted(&ack, attached);
        let cumulative = ack.ack_type() == AckType::Cumulative;
        let refusal = if ack.txnid_least_bits() != 0 || ack.txnid_most_bits() != 0 {
            Some("Transactions are not enabled.")
        } else if cumulative && self.dispatch.shared() {
            Some("Cumulative acknowledgement is not possible on a Shared subscription")
        } else {
            None
        };
        if let Some(text) = refusal {
            if let Some(receipt) = receipt {
                receipt.send(Some((ServerError::NotAllowedError, text.into())));
            }
            return;
        }
        attached.last_acked = now;
        attached.acked.add(ack.message_id.len() as u64, 0, now);
        self.counters.last_acked = now;
        self.counters.acked.add(ack.message_id.len() as u64, 0, now);
        let before = self.dispatch.acks().mark();
        let reader = self.reader.clone();
        let delta = reader.with_chain(|chain| {
            let mut delta: Option<AckDelta> = None;
            for id in &ack.message_id {
                let one = if cumulative {
                    self.dispatch.acknowledge_up_to(id, chain)
                } else {
                    self.dispatch.acknowledge(id, chain)
                };
                match (&mut delta, one) {
                    (Some(all), Some(one)) => all.merge(one),
                    (None, one) => delta = one,
                    (_, None) => {}
                }
            }
            delta
        });
        if before < self.dispatch.acks().mark() {
            self.counters.last_mark = now;
        }
        match (delta, receipt) {
            (None, None) => {}
            // Even what changes nothing waits its turn: what it repeats may not be durable yet.
            (delta, receipt) => self.note(delta.unwrap_or_default(), receipt),
        }
    }

    pub(super) fn note(&mut self, delta: AckDelta, receipt: Option<Answer>) {
        if !self.durable {
            if let Some(receipt) = receipt {
                receipt.send(None);
            }
            return;
        }
        let receipt = receipt.map(|answer| {
            AckReceipt::new(move |outcome| match outcome {
                Ok(()) => answer.send(None),
                Err(error) => answer.send(Some((ServerError::ServiceNotReady, error.to_string()))),
            })
        });
        self.cursor_full = self.cursor_log.acknowledge(&self.name, delta, receipt) == Room::Full;
    }
}

/// Answers an acknowledgement that asked for a receipt.
pub(super) struct Answer {
    client: Arc<Client>,
    consumer_id: u64,
    request_id: u64,
}

impl Answer {
    pub(super) fn wanted(ack: &CommandAck, attached: &Attached) -> Option<Self> {
        let (client, consumer_id) = (attached.client.clone(), attached.consumer_id);
        ack.request_id.map(|request_id| Self { client, consumer_id, request_id })
    }

    pub(super) fn send(self, error: Option<(ServerError, String)>) {
        let (error, message) = error.unzip();
        self.client.outbox.send(CommandAckResponse {
            consumer_id: self.consumer_id,
            request_id: Some(self.request_id),
            error: error.map(i32::from),
            message,
            ..Default::default()
        });
    }
}
