//! What an entry says of its messages: keys, and which are empty.
use std::hash::{DefaultHasher, Hasher};

use bytes::Bytes;
use prost::Message;
use proto::entry::{EntryError, Parts, split_unchecked};
use proto::pulsar::{CompressionType, MessageMetadata, SingleMessageMetadata};

use super::codec;

/// A key, by 128 bits of its hash.
pub(super) type KeyHash = [u64; 2];

/// What a message means for its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The key's latest value, unless a later one comes.
    Value(KeyHash),
    /// The key has no value any more.
    Gone(KeyHash),
    /// It has no key, or was taken out by an earlier compaction: `true`.
    Nothing(bool),
}

/// One entry.
#[derive(Debug, PartialEq)]
pub(super) enum Contents {
    /// One message.
    One(Meaning),
    /// A part of a message: which message, which part, of how many, and of which key.
    Chunk { of: KeyHash, number: u32, count: u32, key: Option<KeyHash> },
    /// Several, in order.
    Batch(Box<Batch>),
    /// A control entry, that no consumer must see.
    Marker,
    /// It cannot be looked into.
    Sealed,
}

/// A batch, taken apart.
#[derive(Debug, PartialEq)]
pub(super) struct Batch {
    pub(super) metadata: MessageMetadata,
    pub(super) messages: Vec<(SingleMessageMetadata, Bytes)>,
    pub(super) meanings: Vec<Meaning>,
}

/// Reads entries; keys are hashed with a seed of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    seed: u64,
}

impl Reading {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed }
    }

    pub(super) fn hash(self, of: &[&[u8]]) -> KeyHash {
        [0_u8, 1].map(|half| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(self.seed);
            hasher.write_u8(half);
            for part in of {
                hasher.write_usize(part.len());
                hasher.write(part);
            }
            hasher.finish()
        })
    }

    /// What an entry holds.
    pub(super) fn read(self, entry: &Bytes) -> Contents {
        self.look_into(entry).unwrap_or(Contents::Sealed)
    }

    fn look_into(self, entry: &Bytes) -> Result<Contents, EntryError> {
        let Parts { metadata, payload } = split_unchecked(entry.clone())?;
        let metadata = MessageMetadata::decode(metadata)?;
        if metadata.marker_type.is_some() {
            return Ok(Contents::Marker);
        }
        let Some(count) = metadata.num_messages_in_batch else { return Ok(self.single(&metadata, &payload)) };
        let encrypted = !metadata.encryption_keys.is_empty();
        let plain = if encrypted { None } else { codec::decompress(&metadata, payload) };
        let count = usize::try_from(count).ok().filter(|count| 0 < *count);
        let messages = plain.zip(count).and_then(|(plain, count)| proto::batch::split(plain, count).ok());
        Ok(messages.map_or(Contents::Sealed, |messages| {
            let meanings = messages.iter().map(|(metadata, payload)| self.in_batch(metadata, payload)).collect();
            Contents::Batch(Box::new(Batch { metadata, messages, meanings }))
        }))
    }

    fn single(self, metadata: &MessageMetadata, payload: &Bytes) -> Contents {
        let key = metadata.partition_key.as_ref().map(|key| self.hash(&[key.as_bytes()]));
        if let (Some(uuid), Some(number), Some(count)) =
            (&metadata.uuid, metadata.chunk_id, metadata.num_chunks_from_msg)
            && 1 < count
        {
            let of = self.hash(&[metadata.producer_name.as_bytes(), uuid.as_bytes()]);
            let [number, count] = [number, count].map(|number| u32::try_from(number).unwrap_or(u32::MAX));
            return Contents::Chunk { of, number, count, key };
        }
        // What is packed is empty when it was so before.
        let packed = metadata.compression() != CompressionType::None || !metadata.encryption_keys.is_empty();
        let was_empty = packed && metadata.uncompressed_size == Some(0);
        Contents::One(meaning(key, metadata.null_value() || payload.is_empty() || was_empty))
    }

    fn in_batch(self, metadata: &SingleMessageMetadata, payload: &Bytes) -> Meaning {
        if metadata.compacted_out() {
            return Meaning::Nothing(true);
        }
        let key = metadata.partition_key.as_ref().map(|key| self.hash(&[key.as_bytes()]));
        meaning(key, metadata.null_value() || payload.is_empty())
    }
}

fn meaning(key: Option<KeyHash>, empty: bool) -> Meaning {
    match key {
        Some(key) if empty => Meaning::Gone(key),
        Some(key) => Meaning::Value(key),
        None => Meaning::Nothing(false),
    }
}
