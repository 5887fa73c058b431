//! Which messages are the last of their keys, in memory that does not grow with the number of keys.
use std::collections::{HashMap, VecDeque};

use roaring::RoaringTreemap;

use super::contents::{KeyHash, Meaning};

/// Messages in chunks that may be on their way at once. Their producers send the chunks one behind the other, so there are as many as there
/// are such producers; the oldest is one that was given up.
const IN_CHUNKS_MAX: usize = 1000;

/// The hashes that begin with certain bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slice {
    bits: u32,
    first: u64,
}

impl Slice {
    const ALL: Self = Self { bits: 0, first: 0 };

    fn contains(self, key: &KeyHash) -> bool {
        // A shift by all 64 bits is none at all.
        key[0].checked_shr(u64::BITS - self.bits).unwrap_or(0) == self.first
    }

    fn halves(self) -> [Self; 2] {
        [0, 1].map(|half| Self { bits: self.bits + 1, first: self.first << 1 | half })
    }
}

/// Chunks of one message, as far as they have come.
#[derive(Debug)]
struct InChunks {
    of: KeyHash,
    /// The numbers of its chunks in the pass.
    chunks: Vec<u64>,
}

/// Finds the last message of each key by looking at all messages in order: once, or, when there are too many keys, once for each slice of them.
#[derive(Debug)]
pub(super) struct Latest {
    keys_max: usize,
    slice: Slice,
    /// Slices that another look is for.
    left: Vec<Slice>,
    /// The last message of each key of the slice.
    last: HashMap<KeyHash, u64>,
    /// The other chunks of those that came in chunks.
    chunks: HashMap<u64, Vec<u64>>,
    in_chunks: VecDeque<InChunks>,
    stays: RoaringTreemap,
}

impl Latest {
    pub(super) fn new(keys_max: usize) -> Self {
        Self {
            keys_max: keys_max.max(1),
            slice: Slice::ALL,
            left: Vec::new(),
            last: HashMap::new(),
            chunks: HashMap::new(),
            in_chunks: VecDeque::new(),
            stays: RoaringTreemap::new(),
        }
    }

    /// The next message. Numbers rise.
    pub(super) fn message(&mut self, number: u64, meaning: Meaning) {
        match meaning {
            Meaning::Value(key) => self.value(key, number, Vec::new()),
            Meaning::Gone(key) => self.take(&key),
            Meaning::Nothing(_) => {}
        }
    }

    /// The next is a part of a message.
    pub(super) fn chunk(&mut self, number: u64, of: KeyHash, at: u32, count: u32, key: Option<KeyHash>) {
        let known = self.in_chunks.iter().position(|known| known.of == of);
        match known {
            // It begins anew: what came of it before is of no use to anybody.
            Some(known) if at == 0 => self.in_chunks[known].chunks = vec![number],
            // A chunk that came twice is the one that is there already, for every consumer.
            Some(known) if self.in_chunks[known].chunks.len() == at as usize => {
                self.in_chunks[known].chunks.push(number);
            }
            None if at == 0 => {
                if self.in_chunks.len() == IN_CHUNKS_MAX {
                    self.in_chunks.pop_front();
                }
                self.in_chunks.push_back(InChunks { of, chunks: vec![number] });
            }
            _ => return,
        }
        if at.checked_add(1) != Some(count) {
            return;
        }
        let whole = self.in_chunks.iter().position(|known| known.of == of);
        let Some(InChunks { mut chunks, .. }) = whole.and_then(|known| self.in_chunks.remove(known)) else { return };
        if let (Some(key), Some(last)) = (key, chunks.pop()) {
            self.value(key, last, chunks);
        }
    }

    /// What stays whatever its key.
    pub(super) fn keep(&mut self, number: u64) {
        self.stays.insert(number);
    }

    fn value(&mut self, key: KeyHash, number: u64, chunks: Vec<u64>) {
        if !self.slice.contains(&key) {
            return;
        }
        self.take(&key);
        while self.last.len() == self.keys_max {
            let [half, other] = self.slice.halves();
            self.left.push(other);
            self.slice = half;
            let gone = self.last.extract_if(|key, _| !half.contains(key));
            for (_, number) in gone {
                self.chunks.remove(&number);
            }
            if !half.contains(&key) {
                return;
            }
        }
        self.last.insert(key, number);
        if !chunks.is_empty() {
            self.chunks.insert(number, chunks);
        }
    }

    fn take(&mut self, key: &KeyHash) {
        if let Some(number) = self.last.remove(key) {
            self.chunks.remove(&number);
        }
    }

    /// All messages were looked at. `false`: once more, for other keys.
    pub(super) fn all_seen(&mut self) -> bool {
        for number in self.last.drain().map(|(_, number)| number) {
            self.stays.insert(number);
            self.stays.extend(self.chunks.remove(&number).into_iter().flatten());
        }
        // The rest is still to come: consumers need what is there.
        self.stays.extend(self.in_chunks.drain(..).flat_map(|message| message.chunks));
        match self.left.pop() {
            Some(slice) => {
                self.slice = slice;
                false
            }
            None => {
                self.last.shrink_to_fit();
                true
            }
        }
    }

    /// Whether a message stays. Once all were seen.
    pub(super) fn stays(&self, number: u64) -> bool {
        self.stays.contains(number)
    }
}
