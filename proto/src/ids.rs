//! Newtypes for every number that names something.
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::pulsar::MessageIdData;

/// Names a ledger. Never reused; of one topic, ids only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LedgerId(pub u64);

/// Names an entry within its ledger. The first is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntryId(pub u64);

impl EntryId {
    /// The first entry of every ledger.
    pub const FIRST: Self = Self(0);

    /// The entry after this one. Panics at the end of the number space, which no ledger reaches.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("a ledger has fewer than 2^64 entries"))
    }
}

/// Where an entry of a topic lies. Ordered as the topic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// The ledger of the chain.
    pub ledger: LedgerId,
    /// The entry in it.
    pub entry: EntryId,
}

impl Position {
    /// Before every entry of every topic.
    pub const EARLIEST: Self = Self { ledger: LedgerId(0), entry: EntryId(0) };

    /// Makes a position from bare numbers.
    #[must_use]
    pub fn new(ledger: u64, entry: u64) -> Self {
        Self { ledger: LedgerId(ledger), entry: EntryId(entry) }
    }

    /// The position after this one in the same ledger.
    #[must_use]
    pub fn next(self) -> Self {
        Self { ledger: self.ledger, entry: self.entry.next() }
    }

    /// As a message id of the protocol, with partition and batch index left at their defaults.
    #[must_use]
    pub fn to_message_id(self) -> MessageIdData {
        MessageIdData { ledger_id: self.ledger.0, entry_id: self.entry.0, ..Default::default() }
    }
}

impl fmt::Display for LedgerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// As Pulsar's tools write it: `ledger:entry`.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.ledger, self.entry)
    }
}

/// A bookie's stored identity: it stays when address or disk mount change. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BookieId(Arc<str>);

/// A bookie id has 1 to 64 characters out of `[0-9a-zA-Z_.-]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a bookie id: 1 to 64 characters out of 0-9 a-z A-Z _ . -")]
pub struct BookieIdError(String);

impl FromStr for BookieId {
    type Err = BookieIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if (1..=64).contains(&text.len()) && text.chars().all(plain) {
            Ok(Self(text.into()))
        } else {
            Err(BookieIdError(text.chars().take(80).collect()))
        }
    }
}

impl BookieId {
    /// The text it was made from.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BookieId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
