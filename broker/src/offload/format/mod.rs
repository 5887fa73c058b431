//! The bytes of an object, drawn in `docs/formats/objects.md`. Pure: bytes in, values out.
//!
//! All numbers are little endian. Nothing is believed before its checksum was compared and its numbers fit the object's real size:
//! damaged or lying bytes give a [`FormatError`], never a panic, a large allocation or another ledger's entries.
mod block;
mod builder;
mod header;
mod index;
mod trailer;

pub(crate) use block::{Block, BlockPlace};
pub(crate) use builder::ObjectBuilder;
pub(crate) use header::Header;
pub(crate) use index::{Index, Tail};
pub(crate) use trailer::{TRAILER_BYTES, Trailer};

use proto::EntryId;

/// What this version writes, and the only one it reads.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// A block takes no more entries beyond it. An entry that does not fit gets a block of its own.
pub(crate) const BLOCK_BYTES: usize = 1 << 20;
/// No block is larger, because no message is: what an index claims beyond it is a lie.
pub(crate) const BLOCK_BYTES_MAX: usize = 96 << 20;
/// Two neighbouring blocks hold more than [`BLOCK_BYTES`] together, so the index of an object of 4 GiB lies in its last 256 KiB.
pub(crate) const TAIL_BYTES: u64 = 256 << 10;

/// What the bytes between header and index are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Blocks of entries, as they were published.
    Entries,
}

impl Content {
    fn code(self) -> u16 {
        match self {
            Self::Entries => 1,
        }
    }

    fn from_code(code: u16) -> Result<Self, FormatError> {
        match code {
            1 => Ok(Self::Entries),
            other => Err(FormatError::Content(other)),
        }
    }
}

/// Why bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Whole, but written by a later version: update this one.
    #[error("format version {0} is not known to this version")]
    Version(u32),
    /// Whole, but with a body of a kind that came later: update this one.
    #[error("content {0} is not known to this version")]
    Content(u16),
    /// Fewer bytes than there must be.
    #[error("{what} is cut off")]
    Truncated {
        /// Which part.
        what: &'static str,
    },
    /// Bytes changed, or never were what they are taken for.
    #[error("{what} does not match its checksum")]
    Checksum {
        /// Which part.
        what: &'static str,
    },
    /// Whole, but of another object.
    #[error("{what} belongs to another object: {found} instead of {expected}")]
    Foreign {
        /// Which number.
        what: &'static str,
        /// What it says.
        found: u64,
        /// What was asked for.
        expected: u64,
    },
    /// Checksums are right and numbers contradict each other.
    #[error("{0}")]
    Inconsistent(&'static str),
}

/// Two sums of 32 bits over the same bytes, by polynomials without a common factor: as good as one of 64 bits, and both are
/// computed by the processor.
#[derive(Debug, Clone, Default)]
pub(crate) struct Digest {
    castagnoli: u32,
    ieee: crc32fast::Hasher,
}

impl Digest {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.castagnoli = crc32c::crc32c_append(self.castagnoli, bytes);
        self.ieee.update(bytes);
    }

    pub(crate) fn value(&self) -> u64 {
        u64::from(self.castagnoli) << 32 | u64::from(self.ieee.clone().finalize())
    }
}

/// The [`Digest`] of bytes that are there.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    let mut digest = Digest::default();
    digest.update(bytes);
    digest.value()
}

fn foreign(what: &'static str, found: u64, expected: u64) -> Result<(), FormatError> {
    if found == expected { Ok(()) } else { Err(FormatError::Foreign { what, found, expected }) }
}

/// Numbers of a record whose length was checked before.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes were taken"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes were taken"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes were taken"))
}

fn entry_at(bytes: &[u8], at: usize) -> EntryId {
    EntryId(u64_at(bytes, at))
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

#[cfg(test)]
mod tests;
