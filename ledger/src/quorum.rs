//! Which members of an ensemble hold an entry, and when enough of them have answered.
use proto::EntryId;

use crate::QuorumPolicy;

/// The most members of an ensemble: a set of them is one word.
pub const ENSEMBLE_MAX: u32 = 64;

/// A set of indexes into an ensemble, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Members(u64);

impl Members {
    pub(crate) fn insert(&mut self, member: usize) {
        self.0 |= 1 << member;
    }

    pub(crate) fn contains(self, member: usize) -> bool {
        self.0 & (1 << member) != 0
    }

    pub(crate) fn len(self) -> u32 {
        self.0.count_ones()
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        (0..64).filter(move |member| self.contains(*member))
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl FromIterator<usize> for Members {
    fn from_iter<I: IntoIterator<Item = usize>>(members: I) -> Self {
        let mut set = Self::default();
        members.into_iter().for_each(|member| set.insert(member));
        set
    }
}

impl QuorumPolicy {
    /// Whether the numbers make sense together: 1 ≤ ack ≤ write ≤ ensemble ≤ [`ENSEMBLE_MAX`].
    #[must_use]
    pub fn is_valid(&self) -> bool {
        1 <= self.ack && self.ack <= self.write && self.write <= self.ensemble && self.ensemble <= ENSEMBLE_MAX
    }

    /// Whether member `member` is among those that `entry` is sent to.
    pub(crate) fn holds(&self, member: usize, entry: EntryId) -> bool {
        let ensemble = u64::from(self.ensemble);
        (member as u64 + ensemble - entry.0 % ensemble) % ensemble < u64::from(self.write)
    }

    /// Who `entry` is sent to.
    pub(crate) fn write_set(&self, entry: EntryId) -> Members {
        self.write_set_from((entry.0 % u64::from(self.ensemble)) as usize)
    }

    fn write_set_from(&self, start: usize) -> Members {
        let ensemble = self.ensemble as usize;
        (0..self.write as usize).map(|offset| (start + offset) % ensemble).collect()
    }

    /// Whether every possible ack quorum of every write set has one of `answered` in it.
    pub(crate) fn covered(&self, answered: Members) -> bool {
        self.write_sets().all(|set| set.without(answered).len() < self.ack)
    }

    /// Whether `live` has an ack quorum of every write set in it.
    pub(crate) fn can_confirm(&self, live: Members) -> bool {
        self.missing(live) == 0
    }

    /// How many members `live` would need more to have an ack quorum of every write set in it, summed over the sets.
    pub(crate) fn missing(&self, live: Members) -> u32 {
        self.write_sets().map(|set| self.ack.saturating_sub(set.len() - set.without(live).len())).sum()
    }

    /// Every set of members that some entry is sent to.
    pub(crate) fn write_sets(&self) -> impl Iterator<Item = Members> {
        let sets = if self.write == self.ensemble { 1 } else { self.ensemble as usize };
        (0..sets).map(|start| self.write_set_from(start))
    }

    /// The members that share a write set with `member`.
    pub(crate) fn near(&self, member: usize) -> impl Iterator<Item = usize> {
        let sharing = self.write_sets().filter(|set| set.contains(member)).fold(Members::default(), Members::union);
        sharing.iter().filter(move |other| *other != member)
    }

    /// How many explicit noes prove that an entry never reached an ack quorum.
    pub(crate) fn noes_needed(&self) -> u32 {
        self.write - self.ack + 1
    }

    /// How many of the entries from `first` to before `end` member `member` should hold, and the entry after the last of them.
    pub(crate) fn share(&self, member: usize, first: EntryId, end: EntryId) -> (u64, EntryId) {
        let length = end.0.saturating_sub(first.0);
        let cycles = length / u64::from(self.ensemble);
        let rest = end.0 - length % u64::from(self.ensemble);
        let in_rest = (rest..end.0).filter(|entry| self.holds(member, EntryId(*entry))).count() as u64;
        let last =
            (first.0..end.0).rev().take(self.ensemble as usize).find(|entry| self.holds(member, EntryId(*entry)));
        (cycles * u64::from(self.write) + in_rest, last.map_or(EntryId::FIRST, |entry| EntryId(entry).next()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRIPED: QuorumPolicy = QuorumPolicy { ensemble: 5, write: 3, ack: 2 };
    const PLAIN: QuorumPolicy = QuorumPolicy { ensemble: 3, write: 3, ack: 2 };

    fn set(members: &[usize]) -> Members {
        members.iter().copied().collect()
    }

    #[test]
    fn entries_go_round_the_ensemble() {
        assert_eq!(STRIPED.write_set(EntryId(4)), set(&[4, 0, 1]));
        for entry in (0..20).map(EntryId) {
            let holders: Members = (0..5).filter(|member| STRIPED.holds(*member, entry)).collect();
            assert_eq!(holders, STRIPED.write_set(entry), "{entry}");
        }
    }

    #[test]
    fn coverage_leaves_no_ack_quorum_unasked() {
        assert!(PLAIN.covered(set(&[0, 1])) && !PLAIN.covered(set(&[2])));
        assert!(STRIPED.covered(set(&[0, 1, 2, 3])), "one unasked member is no ack quorum");
        assert!(!STRIPED.covered(set(&[0, 1, 2])), "3 and 4 may have confirmed entry 3");
        assert!(STRIPED.covered(set(&[0, 2, 3])) == STRIPED.write_set(EntryId(4)).without(set(&[0])).len().lt(&2));
    }

    #[test]
    fn a_quorum_can_confirm_while_enough_of_each_write_set_live() {
        assert!(PLAIN.can_confirm(set(&[0, 2])) && !PLAIN.can_confirm(set(&[0])));
        assert!(STRIPED.can_confirm(set(&[0, 1, 2, 3])) && !STRIPED.can_confirm(set(&[0, 1, 2])));
    }

    #[test]
    fn a_share_counts_what_a_member_should_hold() {
        for policy in [PLAIN, STRIPED, QuorumPolicy { ensemble: 4, write: 2, ack: 2 }] {
            for (first, end) in [(0, 0), (0, 1), (0, 13), (3, 4), (7, 30), (5, 5)] {
                for member in 0..policy.ensemble as usize {
                    let held: Vec<u64> = (first..end).filter(|entry| policy.holds(member, EntryId(*entry))).collect();
                    let expected = (held.len() as u64, EntryId(held.last().map_or(0, |last| last + 1)));
                    assert_eq!(
                        policy.share(member, EntryId(first), EntryId(end)),
                        expected,
                        "{policy:?} {first}..{end}"
                    );
                }
            }
        }
    }
}
