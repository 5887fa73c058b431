//! Which segments count, and every mark: the one file that is replaced as a whole.
use proto::BookieId;

use super::header::{name_at, put_name};
use super::{Generation, HeaderError, SegmentId, put, u32_at, u64_at};
use crate::disk::{AlignedBuffer, BLOCK};
use crate::marks::Marks;

const MAGIC: [u8; 8] = *b"GEMMANIF";
/// What this program writes and reads.
pub(crate) const MANIFEST_VERSION: u32 = 1;
const BOOKIE_AT: usize = 64;
const CLUSTER_AT: usize = 132;
const LISTED: usize = 24;

/// A segment that must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) segment: SegmentId,
    pub(crate) generation: Generation,
    /// Everything before it was synced.
    pub(crate) data_end: u64,
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Manifest {
    pub(crate) bookie: BookieId,
    pub(crate) cluster: String,
    /// Segments of the journal from here on follow each other; before it, those count that are listed, and no others.
    pub(crate) next: SegmentId,
    /// No batch that follows has a lower one.
    pub(crate) sequence: u64,
    pub(crate) segments: Vec<Listed>,
    /// All that were synced when this was written, whatever segment they lie in.
    pub(crate) marks: Marks,
}

impl Manifest {
    /// Of a store without any segment.
    pub(crate) fn empty(bookie: BookieId, cluster: String) -> Self {
        let (next, sequence, segments, marks) = (SegmentId::FIRST, 0, Vec::new(), Marks::default());
        Self { bookie, cluster, next, sequence, segments, marks }
    }

    pub(crate) fn encode(&self) -> AlignedBuffer {
        let marks = self.marks.encode();
        let mut buffer = AlignedBuffer::zeroed(BLOCK);
        for listed in &self.segments {
            for number in [listed.segment.0, listed.generation.0, listed.data_end] {
                buffer.extend(&number.to_le_bytes());
            }
        }
        marks.iter().for_each(|set| buffer.extend(set));
        buffer.resize(buffer.len().next_multiple_of(BLOCK));
        let length = buffer.len() as u64;
        let bytes = buffer.bytes_mut();
        put(bytes, 0, &MAGIC);
        put(bytes, 8, &MANIFEST_VERSION.to_le_bytes());
        let counts = [self.segments.len(), marks[0].len(), marks[1].len()].map(|count| count as u64);
        for (number, at) in [length, self.next.0, self.sequence].into_iter().chain(counts).zip((16..).step_by(8)) {
            put(bytes, at, &number.to_le_bytes());
        }
        put_name(bytes, BOOKIE_AT, self.bookie.as_str());
        put_name(bytes, CLUSTER_AT, &self.cluster);
        let crc = crc32c::crc32c(&bytes[16..]);
        put(bytes, 12, &crc.to_le_bytes());
        buffer
    }

    /// Of a whole file.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        if bytes.len() < BLOCK || bytes[..8] != MAGIC || u32_at(bytes, 12) != crc32c::crc32c(&bytes[16..]) {
            return Err(HeaderError::Damaged);
        }
        let version = u32_at(bytes, 8);
        if version != MANIFEST_VERSION {
            return Err(HeaderError::Version(version));
        }
        Self::of_whole(bytes).ok_or(HeaderError::Damaged)
    }

    fn of_whole(bytes: &[u8]) -> Option<Self> {
        let number = |at| usize::try_from(u64_at(bytes, at)).ok();
        let mut rest = bytes.get(BLOCK..)?;
        let mut take = |length: usize| {
            let (taken, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(taken)
        };
        let listed = take(number(40)?.checked_mul(LISTED)?)?;
        let sets = [take(number(48)?)?, take(number(56)?)?];
        let segments = listed.chunks_exact(LISTED).map(|bytes| Listed {
            segment: SegmentId(u64_at(bytes, 0)),
            generation: Generation(u64_at(bytes, 8)),
            data_end: u64_at(bytes, 16),
        });
        Some(Self {
            bookie: name_at(bytes, BOOKIE_AT)?.parse().ok()?,
            cluster: name_at(bytes, CLUSTER_AT)?.into(),
            next: SegmentId(u64_at(bytes, 24)),
            sequence: u64_at(bytes, 32),
            segments: segments.collect(),
            marks: Marks::decode(sets)?,
        })
        .filter(|_| u64_at(bytes, 16) == bytes.len() as u64)
    }
}
