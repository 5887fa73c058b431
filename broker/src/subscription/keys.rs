//! Key_Shared: which slots are in use, and which entries wait for theirs (ADR 13). Pure.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use proto::Position;

use super::slots::{KeyPolicy, Slot, SlotRange, Slots};
use crate::outbox::Serial;

/// The state of all slots. Entries that nobody has and that do not wait are unknown to it.
#[derive(Debug)]
pub(super) struct Keys {
    policy: KeyPolicy,
    slots: Slots,
    used: HashMap<Slot, Use>,
    /// Of those that wait: what the owner can have as soon as it has permits.
    ready: BTreeMap<Serial, BTreeSet<Position>>,
    /// Slots that a consumer has drained.
    drained: HashMap<Serial, u64>,
}

/// A slot of which entries are pending or wait.
#[derive(Debug, Default)]
struct Use {
    /// Who has the pending ones.
    holder: Option<Serial>,
    pending: u32,
    waiting: BTreeSet<Position>,
}

/// A slot whose new owner waits until its old one has nothing left of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Draining {
    pub(crate) slot: Slot,
    pub(crate) pending: u32,
    pub(crate) waiting: usize,
}

impl Keys {
    pub(super) fn new(policy: KeyPolicy) -> Self {
        let slots = Slots::new(policy);
        Self { policy, slots, used: HashMap::new(), ready: BTreeMap::new(), drained: HashMap::new() }
    }

    pub(super) fn policy(&self) -> KeyPolicy {
        self.policy
    }

    pub(super) fn slots(&self) -> &Slots {
        &self.slots
    }

    pub(super) fn join(&mut self, serial: Serial, name: &str, ranges: &[SlotRange]) {
        self.slots.add(serial, name, ranges);
        self.sort_out();
    }

    pub(super) fn leave(&mut self, serial: Serial) {
        self.slots.remove(serial);
        self.drained.remove(&serial);
        self.sort_out();
    }

    /// Finds anew what is ready, once owners have changed.
    fn sort_out(&mut self) {
        self.ready.clear();
        for (slot, usage) in &self.used {
            if let Some(owner) = self.slots.owner(*slot)
                && !self.drains(usage, owner)
                && !usage.waiting.is_empty()
            {
                self.ready.entry(owner).or_default().extend(&usage.waiting);
            }
        }
    }

    fn drains(&self, usage: &Use, owner: Serial) -> bool {
        !self.policy.out_of_order && usage.holder.is_some_and(|holder| holder != owner)
    }

    /// Who may have an entry of that slot now, if it has permits.
    pub(super) fn receiver(&self, slot: Slot) -> Option<Serial> {
        let owner = self.slots.owner(slot)?;
        let Some(usage) = self.used.get(&slot).filter(|_| !self.policy.out_of_order) else { return Some(owner) };
        (usage.waiting.is_empty() && !self.drains(usage, owner)).then_some(owner)
    }

    /// An entry is delivered to a consumer.
    pub(super) fn hold(&mut self, slot: Slot, serial: Serial) {
        let usage = self.used.entry(slot).or_default();
        let alone = usage.pending == 0 || usage.holder == Some(serial);
        assert!(alone || self.policy.out_of_order, "a key is at one consumer (K1)");
        usage.holder = Some(serial);
        usage.pending += 1;
    }

    /// An entry is no longer at a consumer.
    pub(super) fn release(&mut self, slot: Slot) {
        let usage = self.used.get_mut(&slot).expect("a slot with a pending entry is in use");
        usage.pending -= 1;
        if 0 < usage.pending {
            return;
        }
        let holder = usage.holder.take();
        let owner = self.slots.owner(slot);
        if holder != owner && !self.policy.out_of_order {
            if let Some(holder) = holder {
                *self.drained.entry(holder).or_default() += 1;
            }
            if let Some(owner) = owner.filter(|_| !usage.waiting.is_empty()) {
                self.ready.entry(owner).or_default().extend(&usage.waiting);
            }
        }
        if usage.waiting.is_empty() {
            self.used.remove(&slot);
        }
    }

    /// An entry waits: it will be delivered later.
    pub(super) fn wait(&mut self, position: Position, slot: Slot) {
        self.used.entry(slot).or_default().waiting.insert(position);
        let owner = self.slots.owner(slot).filter(|owner| !self.drains(&self.used[&slot], *owner));
        if let Some(owner) = owner {
            self.ready.entry(owner).or_default().insert(position);
        }
    }

    /// An entry waits no more.
    pub(super) fn wait_no_more(&mut self, position: Position, slot: Slot) {
        let usage = self.used.get_mut(&slot).expect("a slot of which entries wait is in use");
        usage.waiting.remove(&position);
        if usage.waiting.is_empty() && usage.pending == 0 {
            self.used.remove(&slot);
        }
        if let Some(owner) = self.slots.owner(slot)
            && let Some(ready) = self.ready.get_mut(&owner)
        {
            ready.remove(&position);
            if ready.is_empty() {
                self.ready.remove(&owner);
            }
        }
    }

    /// Nothing is pending, nothing waits.
    pub(super) fn forget_entries(&mut self) {
        self.used.clear();
        self.ready.clear();
    }

    /// The first entry that waits for each consumer that could have it.
    pub(super) fn ready(&self) -> impl Iterator<Item = (Serial, Position)> {
        self.ready.iter().filter_map(|(owner, ready)| Some((*owner, *ready.first()?)))
    }

    /// The same of one consumer.
    pub(super) fn first_ready(&self, serial: Serial) -> Option<Position> {
        self.ready.get(&serial)?.first().copied()
    }

    /// Slots that a consumer must drain.
    pub(super) fn draining(&self, serial: Serial) -> Vec<Draining> {
        let held = self.used.iter().filter(|(slot, usage)| {
            usage.holder == Some(serial) && self.slots.owner(**slot).is_some_and(|owner| self.drains(usage, owner))
        });
        let mut draining: Vec<Draining> = held
            .map(|(slot, usage)| Draining { slot: *slot, pending: usage.pending, waiting: usage.waiting.len() })
            .collect();
        draining.sort_by_key(|draining| draining.slot);
        draining
    }

    /// Slots that a consumer has drained since it came.
    pub(super) fn drained(&self, serial: Serial) -> u64 {
        self.drained.get(&serial).copied().unwrap_or(0)
    }
}
