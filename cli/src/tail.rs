//! Where a reader stands in one topic: what it has seen, what it may acknowledge, and whether it is at the end. Pure.
use pulsar::proto::MessageIdData;

/// A message's place: ledger, entry, index in its batch (-1 without one). Clients compare these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    ledger: u64,
    entry: u64,
    index: i32,
}

impl Position {
    /// `None` for what a broker says of a topic without messages: an entry of -1.
    pub(crate) fn of(id: &MessageIdData) -> Option<Self> {
        let present = id.entry_id <= i64::MAX as u64;
        present.then(|| Self { ledger: id.ledger_id, entry: id.entry_id, index: id.batch_index.unwrap_or(-1) })
    }

    fn place(self) -> (u64, u64) {
        (self.ledger, self.entry)
    }
}

/// What to do with a message that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Write it.
    Write,
    /// It came before: the connection was made anew, and the broker sent again what was not acknowledged.
    Again,
    /// It lies beyond the end, and so does all that follows.
    Beyond,
}

/// One topic, or one partition.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    last: Option<Position>,
    end: Option<Position>,
    at_end: bool,
    /// The last entry of which everything was taken, unless it is in `acknowledged`.
    whole: Option<MessageIdData>,
    acknowledged: Option<MessageIdData>,
    /// Nobody stores these messages: all come with the same id, none comes again, and there is nothing to acknowledge.
    passing: bool,
}

impl Tail {
    /// Of a topic that stores nothing.
    pub(crate) fn passing() -> Self {
        Self { passing: true, ..Self::default() }
    }

    /// Starts after `last`.
    pub(crate) fn after(last: Option<Position>) -> Self {
        Self { last, ..Self::default() }
    }

    /// Reading stops with the message at `end`; at once when there is none.
    pub(crate) fn stop_at(&mut self, end: Option<Position>) {
        self.end = end;
        self.at_end = end.is_none_or(|end| self.last.is_some_and(|last| end <= last));
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at_end
    }

    /// Nothing more can come.
    pub(crate) fn exhaust(&mut self) {
        self.at_end = true;
    }

    /// Decides about the message `id`, one of `batch_size` in its batch.
    pub(crate) fn take(&mut self, id: &MessageIdData, batch_size: Option<i32>) -> Verdict {
        let Some(position) = Position::of(id).filter(|_| !self.passing) else { return Verdict::Write };
        if self.at_end || self.end.is_some_and(|end| end.place() < position.place()) {
            self.at_end = true;
            return Verdict::Beyond;
        }
        let last_of_entry = batch_size.is_none_or(|size| size <= position.index + 1);
        if last_of_entry {
            self.whole = Some(MessageIdData {
                ledger_id: id.ledger_id,
                entry_id: id.entry_id,
                partition: id.partition,
                ..MessageIdData::default()
            });
        }
        if let Some(end) = self.end {
            let reached = 0 <= end.index && end.index <= position.index;
            self.at_end = end.place() == position.place() && (last_of_entry || reached);
        }
        if self.last.is_some_and(|last| position <= last) {
            return Verdict::Again;
        }
        self.last = Some(position);
        Verdict::Write
    }

    /// What may be acknowledged, everything before included, once what was taken so far is written. Says it once.
    /// A batch of which only a part was taken is not in it: a broker knows entries.
    pub(crate) fn take_acknowledgement(&mut self) -> Option<MessageIdData> {
        let whole = self.whole.take()?;
        self.acknowledged = Some(whole.clone());
        Some(whole)
    }

    /// The last that was said.
    pub(crate) fn acknowledged(&self) -> Option<&MessageIdData> {
        self.acknowledged.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ledger_id: u64, entry_id: i64, batch_index: Option<i32>) -> MessageIdData {
        MessageIdData { ledger_id, entry_id: entry_id as u64, batch_index, ..MessageIdData::default() }
    }

    fn position(ledger: u64, entry: i64, index: Option<i32>) -> Option<Position> {
        Position::of(&id(ledger, entry, index))
    }

    #[test]
    fn reading_stops_with_the_last_message_of_the_last_batch() {
        let mut tail = Tail::default();
        tail.stop_at(position(5, 1, Some(1)));
        for (message, size, at_end) in
            [(id(5, 0, None), None, false), (id(5, 1, Some(0)), Some(2), false), (id(5, 1, Some(1)), Some(2), true)]
        {
            assert_eq!(tail.take(&message, size), Verdict::Write);
            assert_eq!(tail.is_at_end(), at_end);
        }
        assert_eq!(tail.take(&id(5, 2, None), None), Verdict::Beyond);
        assert_eq!(tail.take_acknowledgement(), Some(id(5, 1, None)));
    }

    #[test]
    fn a_last_position_without_an_index_means_the_whole_batch() {
        let mut tail = Tail::default();
        tail.stop_at(position(5, 1, None));
        tail.take(&id(5, 1, Some(0)), Some(2));
        assert!(!tail.is_at_end());
        tail.take(&id(5, 1, Some(1)), Some(2));
        assert!(tail.is_at_end());
    }

    #[test]
    fn an_empty_topic_is_at_its_end() {
        let mut tail = Tail::default();
        tail.stop_at(position(u64::MAX, -1, None));
        assert!(tail.is_at_end());
        let mut latest = Tail::after(position(5, 1, None));
        latest.stop_at(position(5, 1, None));
        assert!(latest.is_at_end());
    }

    #[test]
    fn an_end_that_is_gone_is_passed_without_writing() {
        let mut tail = Tail::default();
        tail.stop_at(position(5, 7, None));
        assert_eq!(tail.take(&id(6, 0, None), None), Verdict::Beyond);
        assert!(tail.is_at_end());
        assert_eq!(tail.take_acknowledgement(), None, "what was not written is not acknowledged");
    }

    #[test]
    fn messages_that_nobody_stores_are_all_written() {
        let mut tail = Tail::passing();
        assert!(
            [tail.take(&id(0, 0, None), None), tail.take(&id(0, 0, None), None)].iter().all(|is| *is == Verdict::Write)
        );
        assert_eq!(tail.take_acknowledgement(), None);
    }

    #[test]
    fn what_comes_again_is_not_written_again() {
        let mut tail = Tail::default();
        for _ in 0..2 {
            let verdicts = [id(1, 0, Some(0)), id(1, 0, Some(1))].map(|id| tail.take(&id, Some(2)));
            assert!(verdicts == [Verdict::Write; 2] || verdicts == [Verdict::Again; 2], "{verdicts:?}");
        }
        assert_eq!(tail.take(&id(1, 1, None), None), Verdict::Write);
    }

    #[test]
    fn half_a_batch_is_not_acknowledged() {
        let mut tail = Tail::default();
        tail.take(&id(1, 0, None), None);
        tail.take(&id(1, 1, Some(0)), Some(3));
        assert_eq!(tail.take_acknowledgement(), Some(id(1, 0, None)));
        assert_eq!(tail.take_acknowledgement(), None);
        assert_eq!(tail.acknowledged(), Some(&id(1, 0, None)));
    }
}
