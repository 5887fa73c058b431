//! The first block of a segment file.
use proto::BookieId;

use super::{Generation, SegmentId, put, u32_at, u64_at};
use crate::disk::{AlignedBuffer, BLOCK};

const MAGIC: [u8; 8] = *b"GEMSEGMT";
/// What this version writes.
pub(crate) const FORMAT_VERSION: u32 = 2;
/// The first that it reads.
const FORMAT_VERSION_MIN: u32 = 1;
/// From this on a directory had a manifest before it had a segment.
pub(crate) const VERSION_WITH_MANIFEST: u32 = 2;
const NAME_BYTES_MAX: usize = 64;
const BOOKIE_AT: usize = 32;
const CLUSTER_AT: usize = 100;

/// Whose file it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) segment: SegmentId,
    pub(crate) generation: Generation,
    pub(crate) bookie: BookieId,
    pub(crate) cluster: String,
}

/// Why a block is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// Not written, or changed since.
    Damaged,
    /// Whole, but of another version.
    Version(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> AlignedBuffer {
        let mut buffer = AlignedBuffer::zeroed(BLOCK);
        let block = buffer.bytes_mut();
        put(block, 0, &MAGIC);
        put(block, 8, &FORMAT_VERSION.to_le_bytes());
        put(block, 16, &self.segment.0.to_le_bytes());
        put(block, 24, &self.generation.0.to_le_bytes());
        put_name(block, BOOKIE_AT, self.bookie.as_str());
        put_name(block, CLUSTER_AT, &self.cluster);
        let crc = crc32c::crc32c(&block[16..]);
        put(block, 12, &crc.to_le_bytes());
        buffer
    }

    /// Of a whole header of any version.
    pub(crate) fn version(block: &[u8]) -> Option<u32> {
        match Self::decode(block) {
            Ok(_) => Some(u32_at(block, 8)),
            Err(HeaderError::Version(version)) => Some(version),
            Err(HeaderError::Damaged) => None,
        }
    }

    pub(crate) fn decode(block: &[u8]) -> Result<Self, HeaderError> {
        if block.len() < BLOCK || block[..8] != MAGIC || u32_at(block, 12) != crc32c::crc32c(&block[16..BLOCK]) {
            return Err(HeaderError::Damaged);
        }
        let version = u32_at(block, 8);
        if !(FORMAT_VERSION_MIN..=FORMAT_VERSION).contains(&version) {
            return Err(HeaderError::Version(version));
        }
        let bookie = name_at(block, BOOKIE_AT).and_then(|name| name.parse().ok());
        let cluster = name_at(block, CLUSTER_AT);
        let (Some(bookie), Some(cluster)) = (bookie, cluster) else {
            return Err(HeaderError::Damaged);
        };
        Ok(Self {
            segment: SegmentId(u64_at(block, 16)),
            generation: Generation(u64_at(block, 24)),
            bookie,
            cluster: cluster.into(),
        })
    }
}

/// `[length u32][64 bytes]`
pub(crate) fn put_name(block: &mut [u8], at: usize, name: &str) {
    assert!(name.len() <= NAME_BYTES_MAX, "names are checked where they come in");
    let length = u32::try_from(name.len()).expect("at most 64");
    put(block, at, &length.to_le_bytes());
    put(block, at + 4, name.as_bytes());
}

pub(crate) fn name_at(block: &[u8], at: usize) -> Option<&str> {
    let length = u32_at(block, at) as usize;
    if NAME_BYTES_MAX < length {
        return None;
    }
    std::str::from_utf8(&block[at + 4..at + 4 + length]).ok()
}
