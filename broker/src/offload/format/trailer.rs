//! The last bytes of an object, of fixed size: where its index lies, and whose it is.
use proto::{EntryId, LedgerId};

use super::{Content, FORMAT_VERSION, FormatError, digest, entry_at, foreign, put, u16_at, u32_at, u64_at};
use crate::offload::name::{Attempt, AttemptId, topic_hash};

const MAGIC: [u8; 8] = *b"GEMOBEND";
/// Bytes of a trailer.
pub(crate) const TRAILER_BYTES: usize = 128;

/// What an object says about itself at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) ledger: LedgerId,
    pub(crate) attempt: AttemptId,
    /// Which of the attempt's objects, from 0.
    pub(crate) number: u32,
    pub(crate) content: Content,
    /// No object of this attempt follows.
    pub(crate) last: bool,
    /// The first entry in this object.
    pub(crate) first: EntryId,
    /// The entry after the last in this object.
    pub(crate) end: EntryId,
    /// Payload bytes of the ledger before `first`.
    pub(crate) length_before: u64,
    /// Payload bytes of the ledger before `end`.
    pub(crate) length: u64,
    /// Where the index begins, which ends where the trailer begins.
    pub(crate) index_offset: u64,
    /// Rows of the index.
    pub(crate) blocks: u32,
    pub(crate) index_crc: u32,
    /// Of everything before the trailer.
    pub(crate) digest: u64,
    pub(crate) topic_hash: u64,
    pub(crate) instance_hash: u64,
    /// Where the first block begins.
    pub(crate) header_bytes: u32,
    /// Of the whole object.
    pub(crate) object_bytes: u64,
}

impl Trailer {
    pub(crate) fn encode(&self) -> [u8; TRAILER_BYTES] {
        let mut bytes = [0; TRAILER_BYTES];
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 8, &FORMAT_VERSION.to_le_bytes());
        put(&mut bytes, 16, &self.ledger.0.to_le_bytes());
        put(&mut bytes, 24, &self.attempt.0.to_le_bytes());
        put(&mut bytes, 32, &self.number.to_le_bytes());
        put(&mut bytes, 36, &self.content.code().to_le_bytes());
        put(&mut bytes, 38, &u16::from(self.last).to_le_bytes());
        put(&mut bytes, 40, &self.first.0.to_le_bytes());
        put(&mut bytes, 48, &self.end.0.to_le_bytes());
        put(&mut bytes, 56, &self.length_before.to_le_bytes());
        put(&mut bytes, 64, &self.length.to_le_bytes());
        put(&mut bytes, 72, &self.index_offset.to_le_bytes());
        put(&mut bytes, 80, &self.blocks.to_le_bytes());
        put(&mut bytes, 84, &self.index_crc.to_le_bytes());
        put(&mut bytes, 88, &self.digest.to_le_bytes());
        put(&mut bytes, 96, &self.topic_hash.to_le_bytes());
        put(&mut bytes, 104, &self.instance_hash.to_le_bytes());
        put(&mut bytes, 112, &self.header_bytes.to_le_bytes());
        put(&mut bytes, 120, &self.object_bytes.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[16..]);
        put(&mut bytes, 12, &crc.to_le_bytes());
        bytes
    }

    /// The trailer at the end of `tail`.
    pub(crate) fn decode(tail: &[u8]) -> Result<Self, FormatError> {
        let at = tail.len().checked_sub(TRAILER_BYTES).ok_or(FormatError::Truncated { what: "the trailer" })?;
        let bytes = &tail[at..];
        if bytes[..8] != MAGIC {
            return Err(FormatError::Truncated { what: "the object" }); // What ends elsewhere ends too early.
        }
        let version = u32_at(bytes, 8);
        if version != FORMAT_VERSION {
            return Err(FormatError::Version(version));
        }
        if u32_at(bytes, 12) != crc32c::crc32c(&bytes[16..]) {
            return Err(FormatError::Checksum { what: "the trailer" });
        }
        Ok(Self {
            ledger: LedgerId(u64_at(bytes, 16)),
            attempt: AttemptId(u64_at(bytes, 24)),
            number: u32_at(bytes, 32),
            content: Content::from_code(u16_at(bytes, 36))?,
            last: u16_at(bytes, 38) != 0,
            first: entry_at(bytes, 40),
            end: entry_at(bytes, 48),
            length_before: u64_at(bytes, 56),
            length: u64_at(bytes, 64),
            index_offset: u64_at(bytes, 72),
            blocks: u32_at(bytes, 80),
            index_crc: u32_at(bytes, 84),
            digest: u64_at(bytes, 88),
            topic_hash: u64_at(bytes, 96),
            instance_hash: u64_at(bytes, 104),
            header_bytes: u32_at(bytes, 112),
            object_bytes: u64_at(bytes, 120),
        })
    }

    /// That it ends exactly this object.
    pub(crate) fn check(&self, attempt: &Attempt, number: u32, object_bytes: u64) -> Result<(), FormatError> {
        foreign("the ledger", self.ledger.0, attempt.ledger.0)?;
        foreign("the attempt", self.attempt.0, attempt.id.0)?;
        foreign("the number", self.number.into(), number.into())?;
        foreign("the hash of the topic", self.topic_hash, topic_hash(&attempt.topic))?;
        foreign("the hash of the cluster", self.instance_hash, digest(attempt.instance.as_bytes()))?;
        foreign("the size", self.object_bytes, object_bytes)
    }
}
