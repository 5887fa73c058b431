//! Consumers come, say what they want, and go.
use proto::pulsar::command_subscribe::SubType;

use super::{AckSet, Consumer, Dispatch, KeyPolicy, KeyTerms, Keys, RangeConflict, Seat, Serial, Slots, Terms};

impl Dispatch {
    /// Lets a consumer in. The caller has checked that there is room for it; the kind may change while nobody is there.
    pub(crate) fn attach(&mut self, kind: SubType, terms: &KeyTerms, consumer: Consumer) {
        if self.consumers.is_empty() && self.differs(kind, terms.policy) {
            self.kind = kind;
            self.keys = (kind == SubType::KeyShared).then(|| Keys::new(terms.policy));
            self.rewind();
            self.redelivered.clear();
        }
        assert!(!self.differs(kind, terms.policy), "a consumer of another kind must be refused before");
        assert!(
            kind != SubType::Exclusive || self.consumers.is_empty(),
            "one consumer holds an Exclusive subscription"
        );
        self.slots_wanted = (kind == SubType::Exclusive && !terms.ranges.is_empty())
            .then(|| Slots::new(KeyPolicy { sticky: true, ..terms.policy }));
        if let Some(keys) = &mut self.keys {
            keys.join(consumer.serial, &consumer.name, &terms.ranges);
        } else if let Some(wanted) = &mut self.slots_wanted {
            wanted.add(consumer.serial, &consumer.name, &terms.ranges);
        }
        self.consumers.add(consumer);
    }

    fn differs(&self, kind: SubType, policy: KeyPolicy) -> bool {
        kind != self.kind || (kind == SubType::KeyShared && self.keys.as_ref().map(Keys::policy) != Some(policy))
    }

    /// What the consumers of a Key_Shared subscription agree on.
    pub(crate) fn keys(&self) -> Option<&Keys> {
        self.keys.as_ref()
    }

    /// Why a consumer cannot have the slots that it names. Its policy is that of the others, if there are any.
    pub(crate) fn conflict(&self, terms: &KeyTerms) -> Option<RangeConflict> {
        match self.keys.as_ref().filter(|_| !self.consumers.is_empty()) {
            Some(keys) => keys.slots().conflict(&terms.ranges),
            None => Slots::new(terms.policy).conflict(&terms.ranges),
        }
    }

    /// Lets a consumer go. What it held unacknowledged is delivered again.
    pub(crate) fn detach(&mut self, serial: Serial) {
        if self.consumers.remove(serial).is_none() {
            return;
        }
        if self.shared() {
            self.requeue(serial, false);
            let freed = self.chunks.leave(serial);
            self.let_go(freed);
        } else if self.consumers.active() == Some(serial) {
            self.consumers.set_active(None);
            self.rewind();
        }
        if let Some(keys) = &mut self.keys {
            keys.leave(serial);
        }
        if self.consumers.is_empty() {
            self.ahead.restart(self.next);
        }
    }

    /// Picks who receives from a subscription with a single active consumer; `true` if that changed. `seat` spreads
    /// topics over consumers of equal priority.
    pub(crate) fn elect(&mut self, seat: Seat) -> bool {
        if self.shared() {
            return false;
        }
        let elected = self.consumers.elect(seat);
        let changed = elected != self.consumers.active();
        if changed {
            self.consumers.set_active(elected);
            self.rewind();
        }
        changed
    }

    /// Holds deliveries back, or lets them go on with what is unacknowledged then.
    pub(crate) fn hold(&mut self, held: bool) {
        if self.held && !held {
            self.rewind();
        }
        self.held = held;
    }

    /// What counts from now on.
    pub(crate) fn heed(&mut self, terms: &Terms) {
        self.set_delays(terms.delays);
        self.consumers.limit(terms.unacked_of_consumer, terms.unacked_of_subscription);
    }

    /// Adds permits. They never wrap, however many a client grants.
    pub(crate) fn flow(&mut self, serial: Serial, permits: u32) {
        if let Some(consumer) = self.consumers.get_mut(serial) {
            consumer.grant(permits);
        }
    }

    /// Whether deliveries to a consumer may be pushed.
    pub(crate) fn set_room(&mut self, serial: Serial, room: bool) {
        if let Some(consumer) = self.consumers.get_mut(serial) {
            consumer.room = room;
        }
    }

    /// Starts over from `acks`: nothing is pending, nothing was delivered before. Only while no consumer is there.
    pub(crate) fn reset(&mut self, acks: AckSet) {
        assert!(self.consumers.is_empty(), "consumers are closed before a subscription is moved");
        self.acks = acks;
        self.redelivered.clear();
        self.rewind();
    }
}
