//! The head of an object: whose it is. For people and for repair; readers start from the tail.
use proto::{EntryId, LedgerId};

use super::{Content, FORMAT_VERSION, FormatError, entry_at, foreign, put, u16_at, u32_at, u64_at};
use crate::offload::name::{Attempt, AttemptId};

const MAGIC: [u8; 8] = *b"GEMOBJCT";
const FIXED: usize = 80;
const INSTANCE_BYTES_MAX: usize = 64;
/// The longest name as written in full: [`proto`] bounds it.
const TOPIC_BYTES_MAX: usize = 2048;
/// No header is longer.
const HEADER_BYTES_MAX: usize = FIXED + INSTANCE_BYTES_MAX + TOPIC_BYTES_MAX;

/// What an object says about itself at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// Whose objects these are.
    pub(crate) attempt: Attempt,
    /// Which of them, from 0.
    pub(crate) number: u32,
    /// The first entry in this object.
    pub(crate) first: EntryId,
    /// The entry after the last of the whole ledger.
    pub(crate) ledger_end: EntryId,
    /// Payload bytes of the ledger before `first`.
    pub(crate) length_before: u64,
    /// What follows.
    pub(crate) content: Content,
}

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (instance, topic) = (self.attempt.instance.as_bytes(), self.attempt.topic.to_string());
        assert!(instance.len() <= INSTANCE_BYTES_MAX, "instance ids are checked where they come in");
        assert!(topic.len() <= TOPIC_BYTES_MAX, "names of topics are checked where they come in");
        let names = FIXED + instance.len() + topic.len();
        let mut bytes = vec![0; names.next_multiple_of(8)];
        let length = u32::try_from(bytes.len()).expect("names are short");
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 8, &FORMAT_VERSION.to_le_bytes());
        put(&mut bytes, 16, &length.to_le_bytes());
        put(&mut bytes, 20, &self.content.code().to_le_bytes());
        put(&mut bytes, 24, &self.attempt.ledger.0.to_le_bytes());
        put(&mut bytes, 32, &self.attempt.id.0.to_le_bytes());
        put(&mut bytes, 40, &self.number.to_le_bytes());
        put(&mut bytes, 48, &self.first.0.to_le_bytes());
        put(&mut bytes, 56, &self.ledger_end.0.to_le_bytes());
        put(&mut bytes, 64, &self.length_before.to_le_bytes());
        put(&mut bytes, 72, &(instance.len() as u32).to_le_bytes());
        put(&mut bytes, 76, &(topic.len() as u32).to_le_bytes());
        put(&mut bytes, FIXED, instance);
        put(&mut bytes, FIXED + instance.len(), topic.as_bytes());
        let crc = crc32c::crc32c(&bytes[16..]);
        put(&mut bytes, 12, &crc.to_le_bytes());
        bytes
    }

    /// The header at the start of `bytes`, and its length.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, usize), FormatError> {
        let cut = FormatError::Truncated { what: "the header" };
        let fixed = bytes.get(..FIXED).ok_or(cut.clone())?;
        if fixed[..8] != MAGIC {
            return Err(FormatError::Checksum { what: "the header" });
        }
        let version = u32_at(fixed, 8);
        if version != FORMAT_VERSION {
            return Err(FormatError::Version(version));
        }
        let length = u32_at(fixed, 16) as usize;
        if !(FIXED..=HEADER_BYTES_MAX).contains(&length) {
            return Err(FormatError::Inconsistent("the header's length is out of bounds"));
        }
        let bytes = bytes.get(..length).ok_or(cut)?;
        if u32_at(bytes, 12) != crc32c::crc32c(&bytes[16..]) {
            return Err(FormatError::Checksum { what: "the header" });
        }
        let (instance, topic) = (u32_at(bytes, 72) as usize, u32_at(bytes, 76) as usize);
        let text = |from: usize, length: usize| {
            let text = from.checked_add(length).and_then(|end| bytes.get(from..end));
            text.and_then(|text| std::str::from_utf8(text).ok())
        };
        let names = FormatError::Inconsistent("the header's names are none");
        let instance_text = text(FIXED, instance).ok_or(names.clone())?;
        let topic = text(FIXED + instance_text.len(), topic).and_then(|topic| topic.parse().ok()).ok_or(names)?;
        let header = Self {
            attempt: Attempt {
                instance: instance_text.into(),
                topic,
                ledger: LedgerId(u64_at(bytes, 24)),
                id: AttemptId(u64_at(bytes, 32)),
            },
            number: u32_at(bytes, 40),
            first: entry_at(bytes, 48),
            ledger_end: entry_at(bytes, 56),
            length_before: u64_at(bytes, 64),
            content: Content::from_code(u16_at(bytes, 20))?,
        };
        Ok((header, length))
    }

    /// That it is the head of exactly this object.
    pub(crate) fn check(&self, attempt: &Attempt, number: u32) -> Result<(), FormatError> {
        foreign("the header's ledger", self.attempt.ledger.0, attempt.ledger.0)?;
        foreign("the header's attempt", self.attempt.id.0, attempt.id.0)?;
        foreign("the header's number", self.number.into(), number.into())?;
        if self.attempt != *attempt {
            return Err(FormatError::Inconsistent("the header names another cluster or topic"));
        }
        Ok(())
    }
}
