//! Which replica to ask for an entry, as a value without I/O.
//!
//! Promises: what is returned is what was written; an entry is called lost only when every bookie that should hold it said no.
use std::collections::VecDeque;
use std::ops::Range;

use proto::bookie::{Read, request};
use proto::{EntryId, LedgerId};

use crate::recovery::{Reply, is_whole};
use crate::{Entry, QuorumPolicy};

/// A bookie that may hold the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Where it sits in the fragment's ensemble; nowhere, if it only may hold entries beside what the record says.
    pub(crate) seat: Option<usize>,
    /// It is marked as lacking entries.
    pub(crate) lacking: bool,
    /// It is away, or ill was heard of it.
    pub(crate) doubtful: bool,
}

/// Why nothing could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Every bookie that may hold the first entry has explicitly said that it is not there.
    Lost,
    /// Nobody could tell, for these reasons.
    Unreadable(String),
}

/// One reading of entries from the start of a range. The caller asks one replica, and the next when that one has failed or takes long.
#[derive(Debug)]
pub(crate) struct Reading {
    ledger: LedgerId,
    policy: QuorumPolicy,
    /// Within one fragment.
    entries: Range<EntryId>,
    bytes_max: usize,
    holders: Vec<Holder>,
    /// Not asked yet.
    order: VecDeque<usize>,
    unanswered: usize,
    denied: usize,
    reasons: Vec<String>,
}

impl Reading {
    /// Of `holders`, those that sit in the write set of the first entry are asked, then those that sit nowhere.
    pub(crate) fn new(
        ledger: LedgerId,
        policy: QuorumPolicy,
        entries: Range<EntryId>,
        bytes_max: usize,
        holders: Vec<Holder>,
    ) -> Self {
        // Readers of one ledger go to one bookie, where the next entries lie in its cache; ledgers spread over all.
        let ensemble = policy.ensemble as usize;
        let start = (ledger.0 % u64::from(policy.ensemble)) as usize;
        let set = policy.write_set(entries.start);
        let may_hold = |index: &usize| holders[*index].seat.is_none_or(|seat| set.contains(seat));
        let mut order: Vec<usize> = (0..holders.len()).filter(may_hold).collect();
        order.sort_by_key(|index| {
            let Holder { seat, lacking, doubtful } = holders[*index];
            (seat.is_none(), lacking, doubtful, seat.map(|seat| (seat + ensemble - start) % ensemble))
        });
        Self {
            ledger,
            policy,
            entries,
            bytes_max,
            holders,
            order: order.into(),
            unanswered: 0,
            denied: 0,
            reasons: Vec::new(),
        }
    }

    /// The holder to ask next, or nothing if all have been.
    pub(crate) fn next(&mut self) -> Option<(usize, request::Body)> {
        let holder = self.order.pop_front()?;
        self.unanswered += 1;
        let Range { start, end } = self.entries;
        let holds = |entry: u64| self.holders[holder].seat.is_none_or(|seat| self.policy.holds(seat, EntryId(entry)));
        let held_to = (start.0..end.0.min(start.0 + u64::from(self.policy.ensemble)))
            .find(|entry| !holds(*entry))
            .unwrap_or(end.0); // A member that holds a whole round holds every entry.
        let bytes_max = u32::try_from(self.bytes_max).unwrap_or(u32::MAX);
        let end = held_to.max(start.0 + 1);
        Some((holder, request::Body::Read(Read { first: start.0, end, bytes_max, fence: false })))
    }

    /// Why there is nothing, once all have answered.
    pub(crate) fn failure(&self) -> Option<Failure> {
        if !self.order.is_empty() || self.unanswered != 0 {
            return None;
        }
        let all_denied = self.denied == self.reasons.len();
        Some(if all_denied { Failure::Lost } else { Failure::Unreadable(self.reasons.join("; ")) })
    }

    /// What a holder said; `name` is what people call it. Returns entries from the start of the range, or nothing.
    pub(crate) fn answered(&mut self, name: &str, reply: Reply) -> Option<Vec<Entry>> {
        self.unanswered -= 1;
        let reason = match reply {
            Reply::Entries(found) => {
                let whole = self.whole(found);
                if !whole.is_empty() {
                    return Some(whole);
                }
                tracing::error!(ledger = %self.ledger, entry = %self.entries.start, bookie = name, "a replica is corrupt");
                "corrupt"
            }
            Reply::NotHeld => {
                self.denied += 1;
                "not held"
            }
            Reply::Absent => {
                self.denied += 1;
                "lost"
            }
            Reply::Deleted => "deleted",
            _ => "no answer",
        };
        self.reasons.push(format!("{name}: {reason}"));
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

    fn holders(ensemble: usize, lacking: &[usize]) -> Vec<Holder> {
        let member = |seat| Holder { seat: Some(seat), lacking: lacking.contains(&seat), doubtful: false };
        (0..ensemble).map(member).collect()
    }

    fn reading(lacking: &[usize]) -> Reading {
        Reading::new(LedgerId(3), POLICY, EntryId(5)..EntryId(9), 1000, holders(3, lacking))
    }

    fn entry(id: u64) -> proto::bookie::Entry {
        let payload = Bytes::from_static(b"bytes");
        let digest = entry_digest(LedgerId(3), EntryId(id), 50, &payload);
        proto::bookie::Entry { entry: id, length: 50, digest, payload, confirmed: 0 }
    }

    fn asked(reading: &mut Reading) -> Option<usize> {
        reading.next().map(|(holder, _)| holder)
    }

    #[test]
    fn members_that_lack_entries_are_asked_last_and_those_that_left_after_all() {
        let mut holders = holders(3, &[0]);
        holders[1].doubtful = true;
        holders.insert(0, Holder { seat: None, lacking: false, doubtful: false });
        let mut reading = Reading::new(LedgerId(3), POLICY, EntryId(5)..EntryId(9), 1000, holders);
        let order: Vec<usize> = std::iter::from_fn(|| asked(&mut reading)).collect();
        assert_eq!(order, [3, 2, 1, 0]);
    }

    #[test]
    fn a_corrupt_replica_is_passed_over() {
        let mut reading = reading(&[]);
        let mut bad = entry(5);
        bad.payload = Bytes::from_static(b"BYTES");
        assert_eq!(asked(&mut reading), Some(0));
        assert_eq!(reading.answered("a", Reply::Entries(vec![bad])), None);
        assert_eq!(asked(&mut reading), Some(1));
        let mut later = entry(6);
        later.digest ^= 1;
        let found = reading.answered("b", Reply::Entries(vec![entry(5), later, entry(7)]));
        assert_eq!(found.map(|entries| entries.len()), Some(1), "what stands before the corrupt one is good");
    }

    #[test]
    fn an_entry_under_another_name_is_no_entry() {
        let mut reading = reading(&[]);
        assert_eq!(asked(&mut reading), Some(0));
        assert_eq!(reading.answered("a", Reply::Entries(vec![entry(6)])), None);
    }

    #[test]
    fn one_that_takes_long_is_not_waited_for_and_may_still_answer() {
        let mut reading = reading(&[]);
        assert_eq!((asked(&mut reading), asked(&mut reading)), (Some(0), Some(1)));
        assert_eq!(reading.answered("b", Reply::NotHeld), None);
        assert_eq!((asked(&mut reading), asked(&mut reading)), (Some(2), None));
        assert_eq!(reading.answered("c", Reply::NotHeld), None);
        assert_eq!(reading.failure(), None, "one has not answered yet");
        assert_eq!(reading.answered("a", Reply::Entries(vec![entry(5)])).map(|entries| entries.len()), Some(1));
    }

    #[test]
    fn an_entry_is_lost_only_if_every_bookie_says_so() {
        let mut all_say_no = reading(&[]);
        while asked(&mut all_say_no).is_some() {
            assert_eq!(all_say_no.answered("x", Reply::NotHeld), None);
        }
        assert_eq!(all_say_no.failure(), Some(Failure::Lost));
        let mut one_has_lost_it = reading(&[]);
        while let Some(holder) = asked(&mut one_has_lost_it) {
            let reply = if holder == 2 { Reply::Absent } else { Reply::NotHeld };
            assert_eq!(one_has_lost_it.answered("x", reply), None);
        }
        assert_eq!(one_has_lost_it.failure(), Some(Failure::Lost), "it is as surely not there");

        for doubt in [Reply::Unknown, Reply::Silence, Reply::Deleted, Reply::Entries(vec![])] {
            let mut one_does_not = reading(&[]);
            while let Some(holder) = asked(&mut one_does_not) {
                let reply = if holder == 2 { doubt.clone() } else { Reply::NotHeld };
                assert_eq!(one_does_not.answered("x", reply), None);
            }
            assert!(matches!(one_does_not.failure(), Some(Failure::Unreadable(_))), "{doubt:?}");
        }
    }

    #[test]
    fn a_striped_member_is_asked_only_for_its_run() {
        let policy = QuorumPolicy { ensemble: 5, write: 3, ack: 2 };
        let mut reading = Reading::new(LedgerId(5), policy, EntryId(0)..EntryId(100), 1000, holders(5, &[]));
        let Some((0, request::Body::Read(read))) = reading.next() else { panic!("member 0 holds entry 0") };
        assert_eq!((read.first, read.end), (0, 1));
        let Some((1, request::Body::Read(read))) = reading.next() else { panic!("member 1 holds entry 0") };
        assert_eq!((read.first, read.end), (0, 2));
    }
}
