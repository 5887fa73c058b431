//! What was promised, and whether it was kept. Pure: no socket, no clock.
use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use proto::Position;

use super::Report;

/// A longer time without a receipt counts as one in which the topic did not serve.
const SILENCE: Duration = Duration::from_millis(100);

/// What a server was told to do with messages that were acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keeping {
    /// To keep them, so that all can be read back.
    #[default]
    Everything,
    /// Nothing, so that ledgers leave under the load: what was acknowledged is not missed.
    WhatIsNeeded,
}

/// All that a run saw.
#[derive(Debug, Default)]
pub struct History {
    keeping: Keeping,
    numbers: u64,
    receipts: BTreeMap<u64, Position>,
    last: Option<(Position, Instant)>,
    went_back: u64,
    longest_gap: Duration,
    gap_of_part: Duration,
    silent: Duration,
    asked: HashSet<Position>,
    answered: HashSet<Position>,
    forgotten: HashSet<Position>,
    restarts: u64,
}

/// One message that a reader found. Without a number its bytes are not those of any message that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadBack {
    /// Where.
    pub position: Position,
    /// Which.
    pub number: Option<u64>,
}

/// The bytes of message `number`, of a size that varies.
#[must_use]
pub fn payload(number: u64) -> Vec<u8> {
    let size = 8 + (number.wrapping_mul(7919) % 1017) as usize;
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(size, number as u8);
    bytes
}

/// Which message these bytes are, every one of them checked.
#[must_use]
pub fn number_of(bytes: &[u8]) -> Option<u64> {
    let number = u64::from_be_bytes(*bytes.first_chunk()?);
    (payload(number) == bytes).then_some(number)
}

impl History {
    /// Of a server that keeps what `keeping` says.
    #[must_use]
    pub fn of(keeping: Keeping) -> Self {
        Self { keeping, ..Self::default() }
    }

    /// A number that no message has had.
    pub fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers - 1
    }

    /// Receipts so far.
    #[must_use]
    pub fn receipts(&self) -> u64 {
        self.receipts.len() as u64
    }

    /// A server started again.
    pub fn restarted(&mut self) {
        self.restarts += 1;
    }

    /// Message `number` was promised to lie at `position`.
    pub fn receipt(&mut self, number: u64, position: Position, now: Instant) {
        if let Some((last, at)) = self.last {
            self.went_back += u64::from(position <= last);
            let gap = now - at;
            self.longest_gap = self.longest_gap.max(gap);
            self.gap_of_part = self.gap_of_part.max(gap);
            if SILENCE < gap {
                self.silent += gap;
            }
        }
        self.last = Some((position, now));
        self.receipts.insert(number, position);
    }

    /// The longest time between two receipts of which the second came since this was asked last.
    pub fn take_gap(&mut self) -> Duration {
        std::mem::take(&mut self.gap_of_part)
    }

    /// All times between two receipts that were longer than 0.1 s.
    #[must_use]
    pub fn silent(&self) -> Duration {
        self.silent
    }

    /// An acknowledgement was sent.
    pub fn ask(&mut self, position: Position) {
        self.asked.insert(position);
    }

    /// These acknowledgements were promised to last.
    pub fn answer(&mut self, positions: impl IntoIterator<Item = Position>) {
        self.answered.extend(positions);
    }

    /// The subscription was sent this message.
    pub fn delivered(&mut self, position: Position) {
        if self.answered.contains(&position) {
            self.forgotten.insert(position);
        }
    }

    /// Whether the subscription still owes this message to its consumer, for certain.
    #[must_use]
    pub fn is_owed(&self, position: Position) -> bool {
        !self.asked.contains(&position)
    }

    /// Compares promises with what a reader found, and with what was owed to the subscription and did not come.
    #[must_use]
    pub fn judge(&self, seed: u64, found: &[ReadBack], undelivered: u64) -> Report {
        let mut at = BTreeMap::new();
        let (mut duplicated, mut foreign) = (0, 0);
        for ReadBack { position, number } in found {
            match number {
                Some(number) => duplicated += u64::from(at.insert(*number, *position).is_some()),
                None => foreign += 1,
            }
        }
        let missed = |position: &Position| self.keeping == Keeping::Everything || self.is_owed(*position);
        let lost = self.receipts.iter().filter(|(number, position)| !at.contains_key(number) && missed(position));
        let lost = lost.count() as u64;
        let elsewhere = |(number, position): (&u64, &Position)| at.get(number).is_some_and(|found| found != position);
        let moved = self.receipts.iter().filter(|receipt| elsewhere(*receipt)).count() as u64;
        let numbers: Vec<u64> = found.iter().filter_map(|message| message.number).collect();
        let reordered = numbers.windows(2).filter(|pair| pair[1] < pair[0]).count() as u64;
        let backwards = found.windows(2).filter(|pair| pair[1].position <= pair[0].position).count() as u64;
        Report {
            seed,
            sent: self.numbers,
            acknowledged: self.receipts(),
            found: found.len() as u64,
            lost,
            duplicated,
            reordered,
            moved,
            foreign,
            went_back: self.went_back + backwards,
            acks: self.answered.len() as u64,
            acks_forgotten: self.forgotten.len() as u64,
            undelivered,
            longest_gap: self.longest_gap,
            restarts: self.restarts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(entry: u64) -> Position {
        Position::new(1, entry)
    }

    fn found(messages: &[(u64, u64)]) -> Vec<ReadBack> {
        messages.iter().map(|&(entry, number)| ReadBack { position: at(entry), number: Some(number) }).collect()
    }

    /// Three messages, all with receipts, at positions 0, 1 and 2.
    fn three() -> History {
        let mut history = History::default();
        let now = Instant::now();
        for entry in 0..3 {
            let number = history.next_number();
            history.receipt(number, at(entry), now + Duration::from_millis(10 * entry));
        }
        history
    }

    #[test]
    fn a_kept_promise_has_no_faults() {
        let report = three().judge(1, &found(&[(0, 0), (1, 1), (2, 2)]), 0);
        assert_eq!((report.faults(), report.acknowledged), (0, 3), "{report}");
        assert_eq!(report.longest_gap, Duration::from_millis(10));
    }

    #[test]
    fn each_broken_promise_is_counted_under_its_name() {
        let history = three();
        assert_eq!(history.judge(1, &found(&[(0, 0), (2, 2)]), 0).lost, 1);
        assert_eq!(history.judge(1, &found(&[(0, 0), (1, 1), (2, 2), (3, 1)]), 0).duplicated, 1);
        assert_eq!(history.judge(1, &found(&[(0, 0), (1, 2), (2, 1)]), 0).reordered, 1);
        assert_eq!(history.judge(1, &found(&[(0, 0), (1, 1), (3, 2)]), 0).moved, 1);
        assert_eq!(history.judge(1, &found(&[(0, 0), (2, 1), (1, 2)]), 0).went_back, 1);
        let foreign = ReadBack { position: at(3), number: None };
        let mut messages = found(&[(0, 0), (1, 1), (2, 2)]);
        messages.push(foreign);
        assert_eq!(history.judge(1, &messages, 0).foreign, 1);
        assert_eq!(history.judge(1, &messages[..3], 4).undelivered, 4);
    }

    #[test]
    fn what_was_acknowledged_may_be_missing_where_only_the_needed_is_kept() {
        let mut history = History { keeping: Keeping::WhatIsNeeded, ..three() };
        history.ask(at(0));
        assert_eq!(history.judge(1, &found(&[(1, 1), (2, 2)]), 0).lost, 0);
        assert_eq!(history.judge(1, &found(&[(2, 2)]), 0).lost, 1);
        history.keeping = Keeping::Everything;
        assert_eq!(history.judge(1, &found(&[(1, 1), (2, 2)]), 0).lost, 1);
    }

    #[test]
    fn a_receipt_behind_the_last_one_went_back() {
        let mut history = three();
        let number = history.next_number();
        history.receipt(number, at(2), Instant::now());
        assert_eq!(history.judge(1, &[], 0).went_back, 1);
    }

    #[test]
    fn silences_are_summed_and_the_longest_of_each_part_is_told() {
        let (mut history, begin) = (History::default(), Instant::now());
        for (entry, ms) in [(0, 0), (1, 50), (2, 350)] {
            history.receipt(entry, at(entry), begin + Duration::from_millis(ms));
        }
        assert_eq!(history.take_gap(), Duration::from_millis(300));
        assert_eq!(history.take_gap(), Duration::ZERO);
        history.receipt(3, at(3), begin + Duration::from_millis(500));
        assert_eq!(history.take_gap(), Duration::from_millis(150));
        assert_eq!(history.silent(), Duration::from_millis(450));
    }

    #[test]
    fn an_acknowledged_message_that_comes_again_was_forgotten() {
        let mut history = three();
        history.ask(at(0));
        history.delivered(at(0));
        assert_eq!(history.judge(1, &[], 0).acks_forgotten, 0, "nobody promised yet");
        history.answer([at(0)]);
        history.delivered(at(0));
        assert_eq!(history.judge(1, &[], 0).acks_forgotten, 1);
        assert!(history.is_owed(at(1)) && !history.is_owed(at(0)));
    }

    #[test]
    fn changed_bytes_are_no_message() {
        for number in [0, 1, 255, 1_000_000] {
            let mut bytes = payload(number);
            assert_eq!(number_of(&bytes), Some(number));
            *bytes.last_mut().expect("never empty") ^= 1;
            assert_ne!(number_of(&bytes), Some(number));
        }
    }
}
