//! The entry: what follows the command in a SEND or MESSAGE frame, stored as it came.
//!
//! ```text
//! [0x0e01 u16][crc32c u32]   optional together; the checksum covers all that follows
//! [metadata size u32][MessageMetadata][payload]
//! ```
//! A broker may put `[0x0e02 u16][size u32][BrokerEntryMetadata]` in front for clients that read it; a client never does.
use std::borrow::Cow;

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::pulsar::MessageMetadata;

const CHECKSUM_MAGIC: u16 = 0x0e01;

/// The few fields of [`MessageMetadata`] that a broker acts on. Others are skipped, not copied.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EntryHead {
    /// Who published it.
    #[prost(string, required, tag = "1")]
    pub producer_name: String,
    /// Of the first message.
    #[prost(uint64, required, tag = "2")]
    pub sequence_id: u64,
    /// Milliseconds since 1970 on the producer's clock.
    #[prost(uint64, required, tag = "3")]
    pub publish_time: u64,
    /// Present if and only if the payload is a batch.
    #[prost(int32, optional, tag = "11")]
    pub num_messages_in_batch: Option<i32>,
    /// Keys to the payload, each encrypted for one reader. None: the payload is plain.
    #[prost(bytes = "bytes", repeated, tag = "13")]
    pub encryption_keys: Vec<Bytes>,
    /// Milliseconds since 1970 before which it is not to be delivered, where subscriptions heed that.
    #[prost(int64, optional, tag = "19")]
    pub deliver_at_time: Option<i64>,
    /// Set on control entries that no consumer must see.
    #[prost(int32, optional, tag = "20")]
    pub marker_type: Option<i32>,
    /// Of the last message of a batch.
    #[prost(uint64, optional, tag = "24")]
    pub highest_sequence_id: Option<u64>,
    /// Of a message that was cut into chunks: the same in all of them.
    #[prost(string, optional, tag = "26")]
    pub uuid: Option<String>,
    /// How many there are.
    #[prost(int32, optional, tag = "27")]
    pub num_chunks_from_msg: Option<i32>,
    /// Which one this is, counted from 0.
    #[prost(int32, optional, tag = "29")]
    pub chunk_id: Option<i32>,
    /// Of a batch from which compaction has taken messages: those that are left.
    #[prost(int32, repeated, tag = "31")]
    pub compacted_batch_indexes: Vec<i32>,
}

impl EntryHead {
    /// Of a batch, the index of its last message.
    #[must_use]
    pub fn last_index(&self) -> Option<i32> {
        let count = self.num_messages_in_batch?;
        Some(self.compacted_batch_indexes.last().copied().unwrap_or(count.max(1) - 1))
    }

    /// How many permits and how much backlog the entry counts for. At least 1, whatever the producer wrote.
    #[must_use]
    pub fn messages(&self) -> u32 {
        self.num_messages_in_batch.and_then(|count| u32::try_from(count).ok()).unwrap_or(1).max(1)
    }

    /// Milliseconds since 1970 before which it is not to be delivered. Times before 1970 have passed.
    #[must_use]
    pub fn due(&self) -> Option<u64> {
        self.deliver_at_time.and_then(|time| u64::try_from(time).ok())
    }
}

/// What of [`MessageMetadata`] decides which consumer of a Key_Shared subscription gets an entry. Of a batch, its producer
/// saw to it that all messages have the same.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EntryKey {
    /// Who published it.
    #[prost(string, required, tag = "1")]
    pub producer_name: String,
    /// Of the first message.
    #[prost(uint64, required, tag = "2")]
    pub sequence_id: u64,
    /// The message's key, as text.
    #[prost(string, optional, tag = "6")]
    pub partition_key: Option<String>,
    /// The text is the key's bytes in base64.
    #[prost(bool, optional, tag = "17")]
    pub partition_key_b64_encoded: Option<bool>,
    /// Goes before the key where both are set.
    #[prost(bytes = "bytes", optional, tag = "18")]
    pub ordering_key: Option<Bytes>,
}

impl EntryKey {
    /// The bytes that are hashed. A message without key has one of its own, so that such messages spread over consumers.
    #[must_use]
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        if let Some(key) = &self.ordering_key {
            return Cow::Borrowed(key);
        }
        let Some(key) = &self.partition_key else {
            return Cow::Owned(format!("{}-{}", self.producer_name, self.sequence_id).into_bytes());
        };
        let decoded = self.partition_key_b64_encoded().then(|| BASE64.decode(key).ok()).flatten();
        decoded.map_or(Cow::Borrowed(key.as_bytes()), Cow::Owned) // What claims to be base64 and is not is still a key.
    }
}

/// As Java's decoder: with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An entry taken apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    /// The encoded [`MessageMetadata`].
    pub metadata: Bytes,
    /// Compressed, encrypted, batched, or plain: not for a broker to know.
    pub payload: Bytes,
}

/// Why bytes are no entry.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EntryError {
    /// The bytes are not those the producer summed.
    #[error("checksum failed: entry says {expected:#010x}, bytes give {found:#010x}")]
    Checksum {
        /// In the entry.
        expected: u32,
        /// Of the bytes.
        found: u32,
    },
    /// Shorter than its own fields.
    #[error("metadata runs past the end of the entry")]
    Truncated,
    /// Not the protocol's protobuf.
    #[error("message metadata does not decode")]
    Metadata(#[from] prost::DecodeError),
    /// Consumers would refuse it, however often it came.
    #[error("message metadata lacks a field that it must have")]
    Incomplete,
}

/// Checks the checksum if there is one, and finds the parts.
pub fn split(mut entry: Bytes) -> Result<Parts, EntryError> {
    if entry.len() >= 6 && entry[..2] == CHECKSUM_MAGIC.to_be_bytes() {
        entry.advance(2);
        let expected = entry.get_u32();
        let found = crc32c::crc32c(&entry);
        if expected != found {
            return Err(EntryError::Checksum { expected, found });
        }
    }
    parts(entry)
}

/// Finds the parts of an entry whose checksum was checked before it was stored.
pub fn split_unchecked(mut entry: Bytes) -> Result<Parts, EntryError> {
    if entry.len() >= 6 && entry[..2] == CHECKSUM_MAGIC.to_be_bytes() {
        entry.advance(6);
    }
    parts(entry)
}

fn parts(mut entry: Bytes) -> Result<Parts, EntryError> {
    let size = entry.try_get_u32().map_err(|_| EntryError::Truncated)? as usize;
    if entry.len() < size {
        return Err(EntryError::Truncated);
    }
    let metadata = entry.split_to(size);
    Ok(Parts { metadata, payload: entry })
}

impl Parts {
    /// What a broker acts on.
    pub fn head(&self) -> Result<EntryHead, EntryError> {
        Ok(EntryHead::decode(self.metadata.clone())?)
    }

    /// The same, of metadata that every client can read. Decoders of clients insist on required fields, which ours does not: an entry
    /// without them would end each consumer's connection anew.
    pub fn complete_head(&self) -> Result<EntryHead, EntryError> {
        let head = self.head()?;
        if has_required(&self.metadata, METADATA)? { Ok(head) } else { Err(EntryError::Incomplete) }
    }
}

/// Which fields a message must have, as bits by their tags, and which of its fields are messages that must have some.
struct Required {
    fields: u32,
    inside: &'static [(u32, &'static Required)],
}

const METADATA: &Required = &Required { fields: 0b1110, inside: &[(4, PAIR), (13, ENCRYPTION_KEYS)] };
const PAIR: &Required = &Required { fields: 0b110, inside: &[] };
const ENCRYPTION_KEYS: &Required = &Required { fields: 0b110, inside: &[(3, PAIR)] };

fn has_required(mut message: &[u8], required: &Required) -> Result<bool, prost::DecodeError> {
    let mut there = 0_u32;
    while !message.is_empty() {
        let (tag, wire) = decode_key(&mut message)?;
        there |= 1_u32.checked_shl(tag).unwrap_or(0);
        match required.inside.iter().find(|(inside, _)| *inside == tag && wire == WireType::LengthDelimited) {
            Some((_, required)) => {
                let size = usize::try_from(decode_varint(&mut message)?).unwrap_or(usize::MAX);
                let Some((inner, rest)) = message.split_at_checked(size) else { return Ok(false) };
                if !has_required(inner, required)? {
                    return Ok(false);
                }
                message = rest;
            }
            None => skip_field(wire, tag, &mut message, DecodeContext::default())?,
        }
    }
    Ok(there & required.fields == required.fields)
}

/// What a broker acts on, of an entry that was stored.
pub fn head_of_stored(entry: &Bytes) -> Result<EntryHead, EntryError> {
    split_unchecked(entry.clone())?.head()
}

/// The key of an entry that was stored.
pub fn key_of_stored(entry: &Bytes) -> Result<EntryKey, EntryError> {
    Ok(EntryKey::decode(split_unchecked(entry.clone())?.metadata)?)
}

/// Puts an entry together, with its checksum, as clients do.
#[must_use]
pub fn build(metadata: &MessageMetadata, payload: &[u8]) -> Bytes {
    let size = metadata.encoded_len();
    let mut entry = BytesMut::with_capacity(10 + size + payload.len());
    entry.put_u16(CHECKSUM_MAGIC);
    entry.put_u32(0);
    entry.put_u32(u32::try_from(size).expect("metadata is far smaller than 4 GiB"));
    metadata.encode(&mut entry).expect("room was reserved");
    entry.put_slice(payload);
    let checksum = crc32c::crc32c(&entry[6..]);
    entry[2..6].copy_from_slice(&checksum.to_be_bytes());
    entry.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> MessageMetadata {
        MessageMetadata {
            producer_name: "p".into(),
            sequence_id: 5,
            publish_time: 9,
            num_messages_in_batch: Some(3),
            ..Default::default()
        }
    }

    #[test]
    fn an_entry_comes_apart_into_what_it_was_built_from() {
        let parts = split(build(&metadata(), b"payload")).expect("valid");
        assert_eq!(MessageMetadata::decode(parts.metadata.clone()), Ok(metadata()));
        assert_eq!(&parts.payload[..], b"payload");
        let head = parts.head().expect("valid");
        assert_eq!((head.sequence_id, head.publish_time, head.messages()), (5, 9, 3));
    }

    #[test]
    fn a_flipped_bit_anywhere_is_found() {
        let whole = build(&metadata(), b"payload");
        for at in 2..whole.len() {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 1;
            assert!(matches!(split(bytes.into()), Err(EntryError::Checksum { .. })), "byte {at}");
        }
    }

    #[test]
    fn an_entry_without_checksum_is_accepted() {
        let whole = build(&metadata(), b"payload");
        assert_eq!(split(whole.slice(6..)), split(whole));
    }

    #[test]
    fn an_entry_cut_anywhere_is_an_error() {
        let whole = build(&metadata(), b"").slice(6..);
        for cut in 0..whole.len() {
            assert_eq!(split(whole.slice(..cut)), Err(EntryError::Truncated), "cut at {cut}");
        }
    }

    #[test]
    fn metadata_that_clients_cannot_read_is_incomplete() {
        let head = |metadata: &[u8]| {
            Parts { metadata: Bytes::copy_from_slice(metadata), payload: Bytes::new() }.complete_head().map(drop)
        };
        let pair = crate::pulsar::KeyValue { key: "k".into(), value: "v".into() };
        let keys = crate::pulsar::EncryptionKeys { metadata: vec![pair.clone()], ..Default::default() };
        let (properties, encryption_keys) = (vec![pair.clone(), pair], vec![keys]);
        let whole = MessageMetadata { properties, encryption_keys, ..metadata() }.encode_to_vec();
        assert_eq!(head(&whole), Ok(()));
        let required = [10, 1, b'p', 16, 5, 24, 9];
        assert_eq!(head(&required), Ok(()), "these three are enough");
        for (lacking, bytes) in [
            ("all", &[][..]),
            ("the name", &required[3..]),
            ("the sequence", &[10, 1, b'p', 24, 9]),
            ("the time", &required[..5]),
            ("a property's value", &[10, 1, b'p', 16, 5, 24, 9, 34, 3, 10, 1, b'k']),
            ("a property's key", &[10, 1, b'p', 16, 5, 24, 9, 34, 0]),
            ("an encryption key", &[10, 1, b'p', 16, 5, 24, 9, 106, 2, 18, 0]),
        ] {
            assert_eq!(head(bytes), Err(EntryError::Incomplete), "without {lacking}");
        }
    }

    #[test]
    fn a_count_that_makes_no_sense_counts_as_one() {
        for count in [None, Some(0), Some(-5), Some(i32::MIN)] {
            let head = EntryHead { num_messages_in_batch: count, ..Default::default() };
            assert_eq!(head.messages(), 1);
        }
    }

    #[test]
    fn the_key_of_an_entry_is_its_ordering_key_or_its_key_or_its_own_name() {
        let key =
            |metadata: &MessageMetadata| key_of_stored(&build(metadata, b"")).expect("valid").bytes().into_owned();
        let mut metadata = metadata();
        assert_eq!(key(&metadata), b"p-5");
        metadata.partition_key = Some("a2V5".into());
        assert_eq!(key(&metadata), b"a2V5");
        metadata.partition_key_b64_encoded = Some(true);
        assert_eq!(key(&metadata), b"key");
        metadata.partition_key = Some("a2V5cw".into());
        assert_eq!(key(&metadata), b"keys", "padding may be left out");
        metadata.partition_key = Some("not base64".into());
        assert_eq!(key(&metadata), b"not base64");
        metadata.ordering_key = Some(Bytes::from_static(&[0, 1]));
        assert_eq!(key(&metadata), [0, 1]);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_split_or_fail_without_a_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..100)) {
            if let Ok(parts) = split(Bytes::from(bytes)) {
                let _ = parts.head();
            }
        }
    }
}
