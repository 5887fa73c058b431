//! What each producer has published, so that a message which comes twice is stored once. A value without I/O.
//!
//! Owns: per name, the highest sequence id that was taken, and the highest of those that are stored.
//! Promises: only what is stored is told, and written down: a message whose append failed was never seen.
//! Never: learns anything from elsewhere than the metadata of entries, so that reading them again leads to the same.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use proto::Position;
use proto::entry::EntryHead;

/// Names that are remembered. Beyond it, the one that was silent longest is forgotten.
const NAMES_MAX: usize = 10_000;
/// Names weigh something, too: what is written down must fit into one entry.
const NAME_BYTES_MAX: usize = 1 << 20;
/// How long a producer may be away and still be recognised.
const INACTIVE: Duration = Duration::from_secs(6 * 3600);
/// Entries after which they are written down, when few names are known.
const ENTRIES: u64 = 1000;
/// Entries more for each name: what is written then weighs little beside what was published.
const ENTRIES_PER_NAME: u64 = 4;
/// Bytes after which they are written down: a load reads so much again.
const BYTES: u64 = 64 << 20;

/// What an entry says of its origin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    producer: String,
    first: u64,
    last: u64,
    part: Part,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Whole,
    /// A chunk with others of its message to follow: only the last tells that the message is there.
    Chunk,
    /// Of no producer.
    Marker,
}

impl From<EntryHead> for Stamp {
    fn from(head: EntryHead) -> Self {
        let followed = |(id, count): (i32, i32)| id + 1 < count;
        let part = if head.marker_type.is_some() {
            Part::Marker
        } else if head.chunk_id.zip(head.num_chunks_from_msg).is_some_and(followed) {
            Part::Chunk
        } else {
            Part::Whole
        };
        let last = head.highest_sequence_id.unwrap_or(0).max(head.sequence_id);
        Self { producer: head.producer_name, first: head.sequence_id, last, part }
    }
}

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Store it, and say so with [`Sequences::stored`] afterwards.
    New(Option<Seen>),
    /// All of it was taken before: answer once what was taken before is stored.
    Duplicate,
    /// A batch of which some was taken before and some was not.
    Overlaps,
}

/// What to say once an entry is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    producer: Arc<str>,
    last: u64,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    /// The highest id that was taken; it may be in flight.
    taken: Option<u64>,
    stored: Option<u64>,
    /// When something of it was stored last, in milliseconds since 1970.
    active_at: u64,
}

impl Known {
    fn is_settled(&self) -> bool {
        self.taken == self.stored
    }
}

/// All producers of a topic that are remembered.
#[derive(Debug)]
pub(super) struct Sequences {
    names: HashMap<Arc<str>, Known>,
    name_bytes: usize,
    /// After the last entry that is stored.
    end: Position,
    entries: u64,
    bytes: u64,
}

impl Sequences {
    /// Nothing is known of what lies before `end`.
    pub(super) fn new(end: Position) -> Self {
        Self { names: HashMap::new(), name_bytes: 0, end, entries: 0, bytes: 0 }
    }

    /// As [`snapshot`](Self::snapshot) wrote them. What does not read is nothing that it wrote.
    pub(super) fn restored(end: Position, written: &HashMap<String, String>) -> Self {
        let mut all = Self::new(end);
        for (name, value) in written {
            let numbers = value.split_once(' ').and_then(|(last, at)| last.parse().ok().zip(at.parse().ok()));
            if let Some((last, active_at)) = numbers {
                all.add(name, Known { taken: Some(last), stored: Some(last), active_at });
            }
        }
        all
    }

    /// An entry that is stored was read again.
    pub(super) fn replayed(&mut self, stamp: &Stamp, bytes: usize, end: Position, now_ms: u64) {
        if stamp.part == Part::Whole {
            let known = self.known(&stamp.producer, now_ms);
            known.taken = known.taken.max(Some(stamp.last));
            (known.stored, known.active_at) = (known.taken, now_ms);
        }
        self.passed(1, bytes as u64, end);
    }

    /// Decides about a message that is about to be appended.
    pub(super) fn judge(&mut self, stamp: &Stamp, now_ms: u64) -> Verdict {
        if stamp.part == Part::Marker {
            return Verdict::New(None);
        }
        match self.names.get(stamp.producer.as_str()).and_then(|known| known.taken) {
            Some(taken) if stamp.last <= taken => Verdict::Duplicate,
            Some(taken) if stamp.first <= taken => Verdict::Overlaps,
            _ if stamp.part == Part::Chunk => Verdict::New(None),
            _ => {
                self.known(&stamp.producer, now_ms).taken = Some(stamp.last);
                let name = self.names.get_key_value(stamp.producer.as_str()).expect("it was just added").0;
                Verdict::New(Some(Seen { producer: name.clone(), last: stamp.last }))
            }
        }
    }

    /// What [`judge`](Self::judge) let pass is stored.
    pub(super) fn stored(&mut self, seen: Seen, now_ms: u64) {
        if let Some(known) = self.names.get_mut(&seen.producer) {
            (known.stored, known.active_at) = (known.stored.max(Some(seen.last)), now_ms);
        }
    }

    /// So many entries are stored, up to `end`.
    pub(super) fn passed(&mut self, entries: u64, bytes: u64, end: Position) {
        self.entries += entries;
        self.bytes += bytes;
        self.end = end;
    }

    /// The highest id that is stored of a producer.
    pub(super) fn last(&self, producer: &str) -> Option<u64> {
        self.names.get(producer)?.stored
    }

    /// Whether nothing of a producer is in flight.
    pub(super) fn is_settled(&self, producer: &str) -> bool {
        self.names.get(producer).is_none_or(Known::is_settled)
    }

    /// Whether enough was stored since they were written down.
    pub(super) fn is_due(&self) -> bool {
        ENTRIES + ENTRIES_PER_NAME * self.names.len() as u64 <= self.entries || BYTES <= self.bytes
    }

    /// Whether anything was stored since.
    pub(super) fn is_behind(&self) -> bool {
        0 < self.entries
    }

    /// What is to be written down, and where reading again then starts. Forgets who has been away for too long.
    pub(super) fn snapshot(
        &mut self,
        now_ms: u64,
        is_here: impl Fn(&str) -> bool,
    ) -> (Position, HashMap<String, String>) {
        let limit = now_ms.saturating_sub(u64::try_from(INACTIVE.as_millis()).unwrap_or(u64::MAX));
        let away = |name: &str, known: &Known| known.active_at < limit && known.is_settled() && !is_here(name);
        self.names.retain(|name, known| !away(name, known));
        self.name_bytes = self.names.keys().map(|name| name.len()).sum();
        (self.entries, self.bytes) = (0, 0);
        let written = |(name, known): (&Arc<str>, &Known)| {
            let stored = known.stored?;
            Some((name.to_string(), format!("{stored} {}", known.active_at)))
        };
        (self.end, self.names.iter().filter_map(written).collect())
    }

    fn known(&mut self, name: &str, now_ms: u64) -> &mut Known {
        if !self.names.contains_key(name) {
            self.add(name, Known { taken: None, stored: None, active_at: now_ms });
        }
        self.names.get_mut(name).expect("it is there, or was just added")
    }

    fn add(&mut self, name: &str, known: Known) {
        while NAMES_MAX <= self.names.len() || (!self.names.is_empty() && NAME_BYTES_MAX < self.name_bytes + name.len())
        {
            let settled = self.names.iter().filter(|(_, known)| known.is_settled());
            let Some(oldest) = settled.min_by_key(|(_, known)| known.active_at).map(|(name, _)| name.clone()) else {
                break;
            };
            self.names.remove(&oldest);
            self.name_bytes -= oldest.len();
        }
        self.name_bytes += name.len();
        self.names.insert(name.into(), known);
    }
}

#[cfg(test)]
mod tests;
