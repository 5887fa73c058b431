//! What a bookie's answer means to a recoverer.
use proto::bookie::{Answer, Entry, Holding, Status};
use proto::{EntryId, LedgerId, digest};

/// A bookie's answer, or that there was none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply {
    /// An add was synced.
    Done,
    /// A fence or an inventory.
    Holding(Holding),
    /// A read found these.
    Entries(Vec<Entry>),
    /// An explicit no.
    NotHeld,
    /// It is not here now, but may have been before the bookie's store was damaged: no vote.
    Absent,
    /// There is a tombstone.
    Deleted,
    /// It cannot say: an error, or a damaged copy.
    Unknown,
    /// No answer, or not now.
    Silence,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        match answer.status() {
            Status::Ok if !answer.entries.is_empty() => Self::Entries(answer.entries),
            Status::Ok => answer.holding.map_or(Self::Done, Self::Holding),
            Status::NotHeld => Self::NotHeld,
            Status::Deleted => Self::Deleted,
            Status::Unknown if answer.absent => Self::Absent,
            Status::Unknown => Self::Unknown,
            Status::Fenced | Status::Invalid | Status::Busy | Status::ReadOnly => Self::Silence,
        }
    }
}

/// Whether an entry is what was written under its name.
pub(crate) fn is_whole(ledger: LedgerId, entry: &Entry) -> bool {
    digest::entry_digest(ledger, EntryId(entry.entry), entry.length, &entry.payload) == entry.digest
}
