//! Where each block of an object lies, and how an object is opened from its last bytes.
use proto::EntryId;

use super::block::{BLOCK_HEADER, ENTRY_HEADER};
use super::{BLOCK_BYTES_MAX, BlockPlace, FormatError, TRAILER_BYTES, Trailer, entry_at, u32_at, u64_at};
use crate::offload::name::Attempt;

/// Bytes of a row.
const ROW: usize = 24;
/// Far above what an object of the size we write needs: what claims more is not asked for.
const INDEX_BYTES_MAX: u64 = 16 << 20;

/// One block's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) offset: u64,
    pub(super) first: EntryId,
    pub(super) length: u32,
    pub(super) crc: u32,
}

impl Row {
    pub(super) fn encode(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.offset.to_le_bytes());
        into.extend_from_slice(&self.first.0.to_le_bytes());
        into.extend_from_slice(&self.length.to_le_bytes());
        into.extend_from_slice(&self.crc.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Self {
        Self { offset: u64_at(bytes, 0), first: entry_at(bytes, 8), length: u32_at(bytes, 16), crc: u32_at(bytes, 20) }
    }
}

/// The index of one object. Its rows are known to be in order, without gaps, and inside the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Index {
    trailer: Trailer,
    rows: Vec<Row>,
}

/// What the last bytes of an object tell.
#[derive(Debug)]
pub(crate) enum Tail {
    /// Everything.
    Open(Index),
    /// The index begins before them: read from here on.
    From(u64),
}

impl Tail {
    /// `tail` are the last bytes of an object of `object_bytes` bytes.
    pub(crate) fn parse(tail: &[u8], object_bytes: u64, attempt: &Attempt, number: u32) -> Result<Self, FormatError> {
        let trailer = Trailer::decode(tail)?;
        trailer.check(attempt, number, object_bytes)?;
        let rows_end =
            object_bytes.checked_sub(TRAILER_BYTES as u64).ok_or(FormatError::Truncated { what: "the object" })?;
        let rows_bytes = u64::from(trailer.blocks) * ROW as u64;
        if trailer.index_offset.checked_add(rows_bytes) != Some(rows_end) {
            return Err(FormatError::Inconsistent("the index does not lie before the trailer"));
        }
        if INDEX_BYTES_MAX < rows_bytes {
            return Err(FormatError::Inconsistent("the index is too large"));
        }
        let needed = rows_bytes + TRAILER_BYTES as u64;
        if (tail.len() as u64) < needed {
            return Ok(Self::From(trailer.index_offset));
        }
        let from = tail.len() - usize::try_from(needed).expect("not more than there is");
        let rows = &tail[from..tail.len() - TRAILER_BYTES];
        if crc32c::crc32c(rows) != trailer.index_crc {
            return Err(FormatError::Checksum { what: "the index" });
        }
        let rows = rows.chunks_exact(ROW).map(Row::decode).collect();
        let index = Index { trailer, rows };
        index.check()?;
        Ok(Self::Open(index))
    }
}

impl Index {
    /// What the object says about itself.
    pub(crate) fn trailer(&self) -> &Trailer {
        &self.trailer
    }

    /// How many there are.
    pub(crate) fn blocks(&self) -> u32 {
        self.trailer.blocks
    }

    /// The rows as they lie in the object.
    pub(crate) fn encode_rows(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.rows.len() * ROW);
        self.rows.iter().for_each(|row| row.encode(&mut bytes));
        bytes
    }

    /// Memory it takes.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + size_of_val(self.rows.as_slice())
    }

    /// One block. Panics beyond [`blocks`](Self::blocks).
    pub(crate) fn block(&self, number: u32) -> BlockPlace {
        let row = self.rows[number as usize];
        let next = self.rows.get(number as usize + 1);
        let end = next.map_or(self.trailer.end, |next| next.first);
        BlockPlace { number, offset: row.offset, length: row.length, crc: row.crc, first: row.first, end }
    }

    /// The block that holds an entry of this object.
    pub(crate) fn find(&self, entry: EntryId) -> Option<u32> {
        if entry < self.trailer.first || self.trailer.end <= entry {
            return None;
        }
        let after = self.rows.partition_point(|row| row.first <= entry);
        u32::try_from(after.checked_sub(1)?).ok()
    }

    fn check(&self) -> Result<(), FormatError> {
        const WRONG: FormatError = FormatError::Inconsistent("the blocks of the index are not in order");
        let trailer = &self.trailer;
        if trailer.end <= trailer.first || trailer.length < trailer.length_before || self.rows.is_empty() {
            return Err(FormatError::Inconsistent("the object holds no entries"));
        }
        let (mut offset, mut first) = (u64::from(trailer.header_bytes), trailer.first);
        for (at, row) in self.rows.iter().enumerate() {
            let next = self.rows.get(at + 1).map_or(trailer.end, |next| next.first);
            let entries = next.0.checked_sub(row.first.0).filter(|entries| 0 < *entries).ok_or(WRONG)?;
            let length = row.length as usize;
            if row.offset != offset || row.first != first || BLOCK_BYTES_MAX < length {
                return Err(WRONG);
            }
            // Entries take at least their headers: a row cannot claim more of them than its block has room for.
            if ((length.saturating_sub(BLOCK_HEADER) / ENTRY_HEADER) as u64) < entries {
                return Err(WRONG);
            }
            offset = offset.checked_add(row.length.into()).ok_or(WRONG)?;
            first = next;
        }
        if offset == trailer.index_offset { Ok(()) } else { Err(WRONG) }
    }
}
