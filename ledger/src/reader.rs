//! Which replica to ask for an entry, as a value without I/O.
//!
//! Promises: what is returned is what was written; an entry is called lost only when every bookie that should hold it said no.
use std::collections::VecDeque;
use std::ops::Range;

use proto::bookie::{Read, request};
use proto::{EntryId, LedgerId};

use crate::quorum::Members;
use crate::recovery::{Reply, is_whole};
use crate::{Entry, QuorumPolicy};

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Ask this member.
    Ask(usize, request::Body),
    /// Every member of the write set has explicitly said no.
    Lost,
    /// Nobody could tell, for these reasons.
    Unreadable(String),
}

/// One reading of entries from the start of a range.
#[derive(Debug)]
pub(crate) struct Reading {
    ledger: LedgerId,
    policy: QuorumPolicy,
    /// Within one fragment.
    entries: Range<EntryId>,
    bytes_max: usize,
    order: VecDeque<usize>,
    not_held: Members,
    reasons: Vec<String>,
}

impl Reading {
    /// `lacking` members are asked last, `away` ones after the others of their kind.
    pub(crate) fn new(
        ledger: LedgerId,
        policy: QuorumPolicy,
        entries: Range<EntryId>,
        bytes_max: usize,
        lacking: Members,
        away: Members,
    ) -> Self {
        // Readers of one ledger go to one bookie, where the next entries lie in its cache; ledgers spread over all.
        let ensemble = policy.ensemble as usize;
        let start = (ledger.0 % u64::from(policy.ensemble)) as usize;
        let mut order: Vec<usize> = policy.write_set(entries.start).iter().collect();
        order.sort_by_key(|member| {
            (lacking.contains(*member), away.contains(*member), (member + ensemble - start) % ensemble)
        });
        Self {
            ledger,
            policy,
            entries,
            bytes_max,
            order: order.into(),
            not_held: Members::default(),
            reasons: Vec::new(),
        }
    }

    /// What to do next.
    pub(crate) fn step(&mut self) -> Step {
        let Some(member) = self.order.pop_front() else {
            if self.policy.write_set(self.entries.start).without(self.not_held).is_empty() {
                return Step::Lost;
            }
            return Step::Unreadable(self.reasons.join("; "));
        };
        let Range { start, end } = self.entries;
        let held_to = (start.0..end.0.min(start.0 + u64::from(self.policy.ensemble)))
            .find(|entry| !self.policy.holds(member, EntryId(*entry)))
            .unwrap_or(end.0); // A member that holds a whole round holds every entry.
        let bytes_max = u32::try_from(self.bytes_max).unwrap_or(u32::MAX);
        Step::Ask(
            member,
            request::Body::Read(Read { first: start.0, end: held_to.max(start.0 + 1), bytes_max, fence: false }),
        )
    }

    /// What a member said; `name` is what people call it. Returns entries from the start of the range, or nothing: take the next step.
    pub(crate) fn answered(&mut self, member: usize, name: &str, reply: Reply) -> Option<Vec<Entry>> {
        match reply {
            Reply::Entries(found) => {
                let whole = self.whole(found);
                if !whole.is_empty() {
                    return Some(whole);
                }
                tracing::error!(ledger = %self.ledger, entry = %self.entries.start, bookie = name, "a replica is corrupt");
                self.reasons.push(format!("{name}: corrupt"));
            }
            Reply::NotHeld => {
                self.not_held.insert(member);
                self.reasons.push(format!("{name}: not held"));
            }
            Reply::Deleted => self.reasons.push(format!("{name}: deleted")),
            _ => self.reasons.push(format!("{name}: no answer")),
        }
        None
    }

    /// The entries up to the first that is not what was asked for or not what was written.
    fn whole(&self, found: Vec<proto::bookie::Entry>) -> Vec<Entry> {
        let asked = self.entries.start.0..self.entries.end.0;
        let right =
            |(entry, found): &(u64, proto::bookie::Entry)| found.entry == *entry && is_whole(self.ledger, found);
        let as_read =
            |(_, found): (u64, proto::bookie::Entry)| Entry { entry: EntryId(found.entry), payload: found.payload };
        asked.zip(found).take_while(right).map(as_read).collect()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proto::digest::entry_digest;

    use super::*;

    const POLICY: QuorumPolicy = QuorumPolicy { ensemble: 3, write: 3, ack: 2 };

    fn reading(lacking: &[usize]) -> Reading {
        let lacking = lacking.iter().copied().collect();
        Reading::new(LedgerId(3), POLICY, EntryId(5)..EntryId(9), 1000, lacking, Members::default())
    }

    fn entry(id: u64) -> proto::bookie::Entry {
        let payload = Bytes::from_static(b"bytes");
        let digest = entry_digest(LedgerId(3), EntryId(id), 50, &payload);
        proto::bookie::Entry { entry: id, length: 50, digest, payload, confirmed: 0 }
    }

    fn asked(reading: &mut Reading) -> Option<usize> {
        match reading.step() {
            Step::Ask(member, _) => Some(member),
            _ => None,
        }
    }

    #[test]
    fn members_that_lack_entries_are_asked_last() {
        let mut reading = reading(&[0, 2]);
        assert_eq!(asked(&mut reading), Some(1));
        assert_eq!(asked(&mut reading), Some(0));
        assert_eq!(asked(&mut reading), Some(2));
    }

    #[test]
    fn a_corrupt_replica_is_passed_over() {
        let mut reading = reading(&[]);
        let mut bad = entry(5);
        bad.payload = Bytes::from_static(b"BYTES");
        assert_eq!(asked(&mut reading), Some(0));
        assert_eq!(reading.answered(0, "a", Reply::Entries(vec![bad])), None);
        assert_eq!(asked(&mut reading), Some(1));
        let mut later = entry(6);
        later.digest ^= 1;
        let found = reading.answered(1, "b", Reply::Entries(vec![entry(5), later, entry(7)]));
        assert_eq!(found.map(|entries| entries.len()), Some(1), "what stands before the corrupt one is good");
    }

    #[test]
    fn an_entry_under_another_name_is_no_entry() {
        let mut reading = reading(&[]);
        assert_eq!(asked(&mut reading), Some(0));
        assert_eq!(reading.answered(0, "a", Reply::Entries(vec![entry(6)])), None);
    }

    #[test]
    fn an_entry_is_lost_only_if_every_bookie_says_so() {
        let mut all_say_no = reading(&[]);
        while let Some(member) = asked(&mut all_say_no) {
            assert_eq!(all_say_no.answered(member, "x", Reply::NotHeld), None);
        }
        assert_eq!(all_say_no.step(), Step::Lost);

        for doubt in [Reply::Unknown, Reply::Deleted, Reply::Entries(vec![])] {
            let mut one_does_not = reading(&[]);
            while let Some(member) = asked(&mut one_does_not) {
                let reply = if member == 2 { doubt.clone() } else { Reply::NotHeld };
                assert_eq!(one_does_not.answered(member, "x", reply), None);
            }
            assert!(matches!(one_does_not.step(), Step::Unreadable(_)), "{doubt:?}");
        }
    }

    #[test]
    fn a_striped_member_is_asked_only_for_its_run() {
        let policy = QuorumPolicy { ensemble: 5, write: 3, ack: 2 };
        let none = Members::default();
        let mut reading = Reading::new(LedgerId(5), policy, EntryId(0)..EntryId(100), 1000, none, none);
        let Step::Ask(0, request::Body::Read(read)) = reading.step() else { panic!("member 0 holds entry 0") };
        assert_eq!((read.first, read.end), (0, 1));
        let Step::Ask(1, request::Body::Read(read)) = reading.step() else { panic!("member 1 holds entry 0") };
        assert_eq!((read.first, read.end), (0, 2));
    }
}
