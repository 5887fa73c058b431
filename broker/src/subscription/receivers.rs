//! Who gets an entry that is not stored: a state machine without I/O.
use bytes::Bytes;
use proto::pulsar::command_subscribe::SubType;

use super::KeyTerms;
use super::consumers::{Consumer, Consumers, Seat};
use super::keys::Keys;
use crate::outbox::Serial;

/// After each entry the next consumer has its turn, as in Apache Pulsar: nothing is read ahead that could be gathered for one.
const TURN_MESSAGES: u32 = 1;

/// The consumers of a subscription that has no cursor.
#[derive(Debug)]
pub(super) struct Receivers {
    pub(super) kind: SubType,
    pub(super) consumers: Consumers,
    /// Key_Shared only. Nothing ever waits in it.
    pub(super) keys: Option<Keys>,
}

impl Receivers {
    pub(super) fn new(kind: SubType) -> Self {
        Self { kind, consumers: Consumers::default(), keys: None }
    }

    fn shared(&self) -> bool {
        matches!(self.kind, SubType::Shared | SubType::KeyShared)
    }

    /// Lets a consumer in. The caller has checked that there is room for it; the kind may change while nobody is there.
    pub(super) fn attach(&mut self, kind: SubType, terms: &KeyTerms, consumer: Consumer) {
        if self.consumers.is_empty() {
            self.kind = kind;
            self.keys = (kind == SubType::KeyShared).then(|| Keys::new(terms.policy));
        }
        assert!(kind == self.kind, "a consumer of another kind must be refused before");
        if let Some(keys) = &mut self.keys {
            keys.join(consumer.serial, &consumer.name, &terms.ranges);
        }
        self.consumers.add(consumer);
    }

    pub(super) fn detach(&mut self, serial: Serial) {
        if self.consumers.remove(serial).is_none() {
            return;
        }
        if self.consumers.active() == Some(serial) {
            self.consumers.set_active(None);
        }
        if let Some(keys) = &mut self.keys {
            keys.leave(serial);
        }
    }

    /// Picks who receives where one does; `true` if that changed.
    pub(super) fn elect(&mut self, seat: Seat) -> bool {
        if self.shared() {
            return false;
        }
        let elected = self.consumers.elect(seat);
        let changed = elected != self.consumers.active();
        self.consumers.set_active(elected);
        changed
    }

    /// Who gets this entry. `None`: nobody can take it now, and it is lost to this subscription.
    pub(super) fn receiver(&mut self, entry: &Bytes, messages: u32) -> Option<Serial> {
        let serial = match &self.keys {
            Some(keys) => {
                let owner = keys.receiver(keys.slots().slot_of(entry))?;
                Some(owner).filter(|owner| self.consumers.get(*owner).is_some_and(Consumer::takes))
            }
            None => self.consumers.pick_in_turns(self.shared(), TURN_MESSAGES),
        }?;
        let consumer = self.consumers.get_mut(serial).expect("it was picked just now");
        consumer.delivered(messages, entry.len());
        Some(serial)
    }
}

#[cfg(test)]
mod tests {
    use proto::pulsar::MessageMetadata;

    use super::*;

    const CONSUMERS: [Serial; 2] = [Serial(1), Serial(2)];

    /// Two consumers with two permits each.
    fn receivers(kind: SubType) -> Receivers {
        let mut receivers = Receivers::new(kind);
        for serial in CONSUMERS {
            let mut consumer = Consumer::new(serial, format!("c{}", serial.0), 0, None);
            consumer.grant(2);
            receivers.attach(kind, &KeyTerms::default(), consumer);
        }
        receivers.elect(Seat::Partition(0));
        receivers
    }

    fn keyed(key: &str) -> Bytes {
        let metadata = MessageMetadata { partition_key: Some(key.into()), ..Default::default() };
        proto::entry::build(&metadata, b"m")
    }

    #[test]
    fn what_its_receiver_cannot_take_is_lost_and_given_to_no_other() {
        for (kind, taken) in [(SubType::Shared, 4), (SubType::Failover, 2), (SubType::KeyShared, 2)] {
            let mut receivers = receivers(kind);
            let got: Vec<_> = (0..6).map_while(|_| receivers.receiver(&keyed("k"), 1)).collect();
            assert_eq!(got.len(), taken, "{kind:?}");
            assert!(kind == SubType::Shared || got.iter().all(|serial| *serial == got[0]), "{kind:?}: {got:?}");
            let consumer = receivers.consumers.get_mut(got[0]).unwrap();
            consumer.grant(1);
            consumer.room = false;
            assert_eq!(receivers.receiver(&keyed("k"), 1), None, "{kind:?}: its connection is full");
            receivers.consumers.get_mut(got[0]).unwrap().room = true;
            assert_eq!(receivers.receiver(&keyed("k"), 1), Some(got[0]), "{kind:?}");
        }
    }

    #[test]
    fn who_leaves_is_followed_by_the_next() {
        for kind in [SubType::Failover, SubType::KeyShared] {
            let mut receivers = receivers(kind);
            let first = receivers.receiver(&keyed("k"), 1).unwrap();
            receivers.detach(first);
            receivers.elect(Seat::Partition(0));
            let next = CONSUMERS.into_iter().find(|serial| *serial != first);
            assert_eq!(receivers.receiver(&keyed("k"), 1), next, "{kind:?}");
            receivers.detach(next.unwrap());
            receivers.elect(Seat::Partition(0));
            assert_eq!(receivers.receiver(&keyed("k"), 1), None, "{kind:?}");
        }
    }
}
