//! Messages that were delivered and are not acknowledged, and whether they are too many. Pure.

/// Chunks that count for no limit, because their message may not be complete: until it is, no client can acknowledge it (ADR 22). Beyond,
/// they count, so that messages which are never completed end somewhere.
const PARTS_MAX: u64 = 100_000;

/// What somebody holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Unacked {
    messages: u64,
    /// Of these, chunks that are not the last of their message.
    parts: u64,
    /// How many may be held.
    max: Option<u64>,
    /// They are too many, or were and half of them are not acknowledged yet.
    blocked: bool,
}

impl Unacked {
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// Whether nothing more may be delivered.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    pub(super) fn limit(&mut self, max: Option<u64>) {
        self.max = max;
        self.judge();
    }

    /// More are held. `part`: chunks, and not the last of their message.
    pub(super) fn charge(&mut self, messages: u64, part: bool) {
        self.messages += messages;
        self.parts += if part { messages } else { 0 };
        self.judge();
    }

    /// Some of them are held no more.
    pub(super) fn settle(&mut self, messages: u64, part: bool) {
        assert!(messages <= self.messages, "only what is held is settled");
        self.messages -= messages;
        self.parts -= if part { messages } else { 0 };
        self.judge();
    }

    fn judge(&mut self) {
        let counted = self.messages - self.parts.min(PARTS_MAX);
        self.blocked = self.max.is_some_and(|max| if self.blocked { max / 2 < counted } else { max <= counted });
    }

    /// Messages, and how many of them are parts.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.messages, self.parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(max: u64) -> Unacked {
        let mut unacked = Unacked::default();
        unacked.limit(Some(max));
        unacked
    }

    #[test]
    fn too_many_block_until_half_of_what_may_be_held_is_left() {
        let mut unacked = limited(4);
        unacked.charge(3, false);
        assert!(!unacked.is_blocked());
        unacked.charge(20, false);
        assert!(unacked.is_blocked(), "a batch is never cut");
        unacked.settle(20, false);
        assert!(unacked.is_blocked(), "three are more than half");
        unacked.limit(Some(4));
        assert!(unacked.is_blocked(), "however often that is said");
        unacked.settle(1, false);
        assert!(!unacked.is_blocked());
        unacked.limit(Some(2));
        assert!(unacked.is_blocked());
        unacked.limit(None);
        assert!(!unacked.is_blocked() && unacked.messages() == 2);
    }

    #[test]
    fn a_limit_of_one_lets_go() {
        let mut unacked = limited(1);
        unacked.charge(1, false);
        assert!(unacked.is_blocked());
        unacked.settle(1, false);
        assert!(!unacked.is_blocked());
    }

    #[test]
    fn parts_of_messages_count_only_when_there_are_very_many() {
        let mut unacked = limited(2);
        unacked.charge(PARTS_MAX, true);
        unacked.charge(1, false);
        assert!(!unacked.is_blocked());
        unacked.charge(1, true);
        assert!(unacked.is_blocked());
        unacked.settle(1, true);
        assert_eq!((unacked.is_blocked(), unacked.counts()), (false, (PARTS_MAX + 1, PARTS_MAX)));
    }
}
