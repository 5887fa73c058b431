//! A block: entries one after the other, in one allocation that lives as long as any of them is held.
use std::ops::Range;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ledger::Entry;
use proto::digest::entry_digest;
use proto::{EntryId, LedgerId};

use super::{FormatError, entry_at, foreign, put, u32_at, u64_at};
use crate::offload::name::AttemptId;

const MAGIC: [u8; 4] = *b"GBLK";
/// Bytes of a block's header.
pub(super) const BLOCK_HEADER: usize = 40;
/// Bytes of an entry's header.
pub(super) const ENTRY_HEADER: usize = 24;

/// Where a block lies and what it must be, as the index says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockPlace {
    pub(crate) number: u32,
    pub(crate) offset: u64,
    pub(crate) length: u32,
    pub(crate) crc: u32,
    pub(crate) first: EntryId,
    /// The entry after its last.
    pub(crate) end: EntryId,
}

impl BlockPlace {
    /// In the object.
    pub(crate) fn bytes(&self) -> Range<u64> {
        self.offset..self.offset + u64::from(self.length)
    }
}

/// A block being filled.
#[derive(Debug)]
pub(super) struct BlockBuilder {
    bytes: BytesMut,
    number: u32,
    first: EntryId,
    entries: u32,
}

impl BlockBuilder {
    pub(super) fn new(number: u32, first: EntryId, capacity: usize) -> Self {
        let mut bytes = BytesMut::with_capacity(capacity);
        bytes.resize(BLOCK_HEADER, 0);
        Self { bytes, number, first, entries: 0 }
    }

    /// Bytes it would have with one more payload of this size.
    pub(super) fn length_with(&self, payload: usize) -> usize {
        self.bytes.len() + ENTRY_HEADER + payload
    }

    pub(super) fn first(&self) -> EntryId {
        self.first
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Adds an entry; `length` are the payload bytes of the ledger up to and with it.
    pub(super) fn push(&mut self, ledger: LedgerId, entry: EntryId, length: u64, payload: &[u8]) {
        let size = u32::try_from(payload.len()).expect("messages are smaller than 4 GiB");
        self.bytes.put_u64_le(entry.0);
        self.bytes.put_u64_le(length);
        self.bytes.put_u32_le(entry_digest(ledger, entry, length, payload));
        self.bytes.put_u32_le(size);
        self.bytes.extend_from_slice(payload);
        self.entries += 1;
    }

    /// The block and its checksum.
    pub(super) fn finish(mut self, ledger: LedgerId, attempt: AttemptId) -> (Bytes, u32) {
        put(&mut self.bytes, 0, &MAGIC);
        put(&mut self.bytes, 8, &ledger.0.to_le_bytes());
        put(&mut self.bytes, 16, &attempt.0.to_le_bytes());
        put(&mut self.bytes, 24, &self.number.to_le_bytes());
        put(&mut self.bytes, 28, &self.entries.to_le_bytes());
        put(&mut self.bytes, 32, &self.first.0.to_le_bytes());
        let crc = crc32c::crc32c(&self.bytes[8..]);
        put(&mut self.bytes, 4, &crc.to_le_bytes());
        (self.bytes.freeze(), crc)
    }
}

/// A block whose checksum and numbers were compared.
#[derive(Debug)]
pub(crate) struct Block {
    bytes: Bytes,
    first: EntryId,
    /// Of each entry's header, in order.
    offsets: Vec<u32>,
}

impl Block {
    /// Reads what lies at `place`.
    pub(crate) fn parse(
        bytes: Bytes,
        place: &BlockPlace,
        ledger: LedgerId,
        attempt: AttemptId,
    ) -> Result<Self, FormatError> {
        if bytes.len() != place.length as usize || bytes.len() < BLOCK_HEADER {
            return Err(FormatError::Truncated { what: "a block" });
        }
        let crc = crc32c::crc32c(&bytes[8..]);
        if bytes[..4] != MAGIC || u32_at(&bytes, 4) != crc || place.crc != crc {
            return Err(FormatError::Checksum { what: "a block" });
        }
        foreign("a block's ledger", u64_at(&bytes, 8), ledger.0)?;
        foreign("a block's attempt", u64_at(&bytes, 16), attempt.0)?;
        foreign("a block's number", u32_at(&bytes, 24).into(), place.number.into())?;
        foreign("a block's first entry", u64_at(&bytes, 32), place.first.0)?;
        let offsets = walk(&bytes, place)?;
        if offsets.len() != u32_at(&bytes, 28) as usize {
            return Err(FormatError::Inconsistent("a block has another number of entries than it says"));
        }
        Ok(Self { bytes, first: place.first, offsets })
    }

    /// Memory that the block at `place` will take: its bytes, and where each entry begins.
    pub(crate) fn weight_at(place: &BlockPlace) -> usize {
        let entries = usize::try_from(place.end.0 - place.first.0).unwrap_or(usize::MAX);
        (place.length as usize).saturating_add(entries.saturating_mul(size_of::<u32>()))
    }

    /// Memory it takes.
    pub(crate) fn weight(&self) -> usize {
        self.bytes.len() + size_of_val(self.offsets.as_slice())
    }

    /// The entry after its last.
    pub(crate) fn end(&self) -> EntryId {
        EntryId(self.first.0 + self.offsets.len() as u64)
    }

    /// One entry, as a slice of the block.
    pub(crate) fn entry(&self, entry: EntryId) -> Option<Entry> {
        let at = usize::try_from(entry.0.checked_sub(self.first.0)?).ok()?;
        let offset = *self.offsets.get(at)? as usize;
        let size = u32_at(&self.bytes, offset + 20) as usize;
        let from = offset + ENTRY_HEADER;
        Some(Entry { entry, payload: self.bytes.slice(from..from + size) })
    }

    /// Compares every entry with the digest its writer made, and its lengths with those that came before. Returns the last length.
    pub(crate) fn check_entries(&self, ledger: LedgerId, length_before: u64) -> Result<u64, FormatError> {
        let mut length = length_before;
        for (entry, offset) in (self.first.0..).zip(&self.offsets) {
            let mut head = &self.bytes[*offset as usize..];
            let (id, total, digest, size) =
                (head.get_u64_le(), head.get_u64_le(), head.get_u32_le(), head.get_u32_le());
            length = length.checked_add(size.into()).ok_or(FormatError::Inconsistent("lengths overflow"))?;
            if id != entry || total != length {
                return Err(FormatError::Inconsistent("an entry's length does not follow from the one before"));
            }
            if entry_digest(ledger, EntryId(entry), total, &head[..size as usize]) != digest {
                return Err(FormatError::Checksum { what: "an entry" });
            }
        }
        Ok(length)
    }
}

/// Finds the entries: they must fill the block, and be the ones the index says.
fn walk(bytes: &[u8], place: &BlockPlace) -> Result<Vec<u32>, FormatError> {
    const WRONG: FormatError = FormatError::Inconsistent("the entries of a block do not fill it");
    let mut offsets = Vec::new(); // Grows with what is really there.
    let (mut at, mut entry) = (BLOCK_HEADER, place.first);
    while at < bytes.len() {
        let head = bytes.get(at..).and_then(|rest| rest.get(..ENTRY_HEADER)).ok_or(WRONG)?;
        foreign("an entry", entry_at(head, 0).0, entry.0)?;
        offsets.push(u32::try_from(at).map_err(|_| WRONG)?);
        at = at.checked_add(ENTRY_HEADER + u32_at(head, 20) as usize).filter(|end| *end <= bytes.len()).ok_or(WRONG)?;
        entry = EntryId(entry.0.checked_add(1).ok_or(WRONG)?);
    }
    foreign("a block's end", entry.0, place.end.0)?;
    offsets.shrink_to_fit();
    Ok(offsets)
}
