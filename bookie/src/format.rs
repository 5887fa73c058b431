//! The bytes of a segment file, drawn in `docs/formats/segments.md`. Pure: bytes in, values out.
//!
//! All numbers are little endian. Every header carries a CRC32C over itself and over the generation of its file, a number drawn
//! at random when the file began, so that bytes a file held in an earlier life can never be taken for its own.
mod batch;
mod footer;
mod header;
mod manifest;

pub(crate) use batch::{BATCH_HEADER, BatchHead, Kind, RECORD_HEADER, Record};
pub(crate) use footer::{EncodedFooter, Footer, INDEX_ENTRY, Row, RowFlags, decode_index, encode_footer, run_crc};

pub(crate) use header::{FORMAT_VERSION, HeaderError, SegmentHeader, VERSION_WITH_MANIFEST, name_at, put_name};
pub(crate) use manifest::{Listed, MANIFEST_VERSION, Manifest};

use proto::EntryId;

/// Names a segment file. The journal's are counted from 1, those that a rewrite has sorted from 2^63 + 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct SegmentId(pub(crate) u64);

impl SegmentId {
    pub(crate) const FIRST: Self = Self(1);
    const SORTED: u64 = 1 << 63;
    /// Above every segment.
    pub(crate) const NEVER: Self = Self(u64::MAX);
    pub(crate) const FIRST_SORTED: Self = Self(Self::SORTED + 1);

    /// Whether a rewrite has made it, not the journal.
    pub(crate) fn is_sorted(self) -> bool {
        self.0 & Self::SORTED != 0
    }

    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    pub(crate) fn file_name(self) -> String {
        let kind = if self.is_sorted() { "sorted" } else { "segment" };
        format!("{kind}-{:020}", self.0 & !Self::SORTED)
    }

    /// Of a name that [`file_name`](Self::file_name) made.
    pub(crate) fn from_file_name(name: &str) -> Option<Self> {
        let (number, kind) = match name.strip_prefix("sorted-") {
            Some(number) => (number, Self::SORTED),
            None => (name.strip_prefix("segment-")?, 0),
        };
        let number = number.parse::<u64>().ok().filter(|number| 0 < *number)?;
        let id = Self(number | kind);
        (id.file_name() == name).then_some(id)
    }
}

impl std::fmt::Display for SegmentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.file_name())
    }
}

/// Tells a file's present life from earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Generation(pub(crate) u64);

/// A place in the whole store: up to where all was synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Place {
    pub(crate) segment: SegmentId,
    pub(crate) offset: u64,
}

/// Where an entry lies in its segment, and what it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub(crate) entry: EntryId,
    /// Of the record's header.
    pub(crate) offset: u32,
    /// Of the payload.
    pub(crate) size: u32,
    pub(crate) digest: u32,
}

impl IndexEntry {
    /// Of the record: header and payload.
    pub(crate) fn bytes(&self) -> u64 {
        RECORD_HEADER as u64 + u64::from(self.size)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes were taken"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes were taken"))
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

#[cfg(test)]
mod tests;
