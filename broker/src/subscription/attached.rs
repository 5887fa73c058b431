//! Consumers of a subscription as connections know them: coming, going, and being told who is active.
use std::sync::Arc;
use std::time::Duration;

use proto::pulsar::CommandActiveConsumerChange;
use proto::pulsar::command_subscribe::SubType;
use tokio::time::Instant;

use super::Attach;
use super::attendance::Present;
use super::task::{Next, Task};
use crate::outbox::{Client, NextOwner, Serial};
use crate::rate::Rate;

/// How long a new active consumer of a Failover subscription waits for acknowledgements of the one before, as in Apache Pulsar.
const HAND_OVER: Duration = Duration::from_secs(1);
/// How long a reader that was sent away because it moved may take to come back. Beyond the longest pause of any client.
const READER_AWAY_MAX: Duration = Duration::from_secs(120);
/// Clients from this step of the protocol on know ACTIVE_CONSUMER_CHANGE.
const ACTIVE_CHANGE_PROTOCOL: i32 = 12;

/// What is known of a consumer besides what [`Dispatch`](super::dispatch::Dispatch) decides by.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) consumer_id: u64,
    pub(super) client: Arc<Client>,
    pub(super) metadata: std::collections::BTreeMap<String, String>,
    pub(super) takes_any_schema: bool,
    pub(super) announced: bool,
    /// That nothing more will ever come.
    pub(super) knows_end: bool,
    _present: Present,
    pub(super) out: Rate,
    pub(super) acked: Rate,
    pub(super) redelivered: Rate,
    pub(super) last_flow: u64,
    pub(super) last_acked: u64,
    pub(super) last_consumed: u64,
}

impl Attached {
    pub(super) fn new(attach: &Attach, present: Present) -> Self {
        Self {
            consumer_id: attach.consumer_id,
            client: attach.client.clone(),
            metadata: attach.metadata.clone(),
            takes_any_schema: attach.takes_any_schema,
            announced: false,
            knows_end: false,
            _present: present,
            out: Rate::default(),
            acked: Rate::default(),
            redelivered: Rate::default(),
            last_flow: 0,
            last_acked: 0,
            last_consumed: 0,
        }
    }

    /// ACTIVE_CONSUMER_CHANGE, once the client knows that it is attached.
    pub(super) fn tell_active(&self, kind: SubType, is_active: bool) {
        let told = self.announced && ACTIVE_CHANGE_PROTOCOL <= self.client.protocol;
        if told && kind == SubType::Failover {
            let (consumer_id, is_active) = (self.consumer_id, Some(is_active));
            self.client.outbox.send(CommandActiveConsumerChange { consumer_id, is_active });
        }
    }
}

impl Task {
    pub(super) fn attach(&mut self, attach: Attach) {
        let reply = self.admit(&attach).and_then(|handle| {
            self.let_in(&attach, self.attendance.enter(attach.limits.consumers)?);
            Ok(handle)
        });
        let attached = reply.is_ok();
        if attach.reply.send(reply).is_err() && attached {
            self.detach(attach.serial); // The connection is gone.
        }
    }

    fn let_in(&mut self, attach: &Attach, present: Present) {
        let mut consumer =
            super::consumers::Consumer::new(attach.serial, attach.name.clone(), attach.priority, attach.epoch);
        consumer.read_compacted = attach.read_compacted;
        self.dispatch.attach(attach.kind, &attach.keys, consumer);
        self.attached.insert(attach.serial, Attached::new(attach, present));
        self.reader_expected_until = None;
        self.elect();
    }

    pub(super) fn detach(&mut self, serial: Serial) -> Next {
        if self.attached.remove(&serial).is_some() {
            self.dispatch.detach(serial);
            self.elect();
            self.unused_since = self.clock.now_ms();
            if !self.durable && self.attached.is_empty() {
                return Next::End;
            }
        }
        Next::GoOn
    }

    pub(super) fn elect(&mut self) {
        let before = self.dispatch.consumers().active();
        if !self.dispatch.elect(self.seat) {
            return;
        }
        if before.is_some_and(|before| self.attached.contains_key(&before)) {
            self.dispatch.hold(true);
            self.hold_until = Some(Instant::now() + HAND_OVER);
        }
        let everyone: Vec<Serial> = self.attached.keys().copied().collect();
        everyone.into_iter().for_each(|serial| self.tell_active(serial));
    }

    pub(super) fn tell_active(&self, serial: Serial) {
        let is_active = self.dispatch.consumers().active() == Some(serial);
        self.attached[&serial].tell_active(self.dispatch.kind(), is_active);
    }

    /// What is not durable ends with its last consumer, but not with one that is about to come back.
    pub(super) fn await_reader(&mut self) {
        self.reader_expected_until = (!self.durable).then(|| Instant::now() + READER_AWAY_MAX);
    }

    /// Consumers subscribe again, at the next owner.
    pub(super) fn send_everyone_away(&mut self, to: &NextOwner) {
        for (serial, attached) in self.attached.drain() {
            self.dispatch.detach(serial);
            attached.client.outbox.push(|push| push.send_consumer_away(attached.consumer_id, serial, to));
        }
        self.unused_since = self.clock.now_ms();
        self.elect();
    }
}
