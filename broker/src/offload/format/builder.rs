//! Turns entries into the bytes of one object, block by block.
use bytes::Bytes;
use proto::{EntryId, LedgerId};

use super::block::{BLOCK_HEADER, BlockBuilder, ENTRY_HEADER};
use super::index::Row;
use super::{BLOCK_BYTES, Content, Digest, Header, TRAILER_BYTES, Trailer, digest};
use crate::offload::name::{AttemptId, topic_hash};

/// An object being written. Bytes come out in order; each block is one allocation.
#[derive(Debug)]
pub(crate) struct ObjectBuilder {
    header: Header,
    header_bytes: u32,
    rows: Vec<Row>,
    digest: Digest,
    /// Bytes given out so far.
    offset: u64,
    length: u64,
    next: EntryId,
    block: BlockBuilder,
}

impl ObjectBuilder {
    /// Begins an object, and gives the bytes of its header.
    pub(crate) fn new(header: Header) -> (Self, Bytes) {
        let bytes = Bytes::from(header.encode());
        let mut digest = Digest::default();
        digest.update(&bytes);
        let header_bytes = u32::try_from(bytes.len()).expect("headers are short");
        let (offset, length, next) = (bytes.len() as u64, header.length_before, header.first);
        let block = BlockBuilder::new(0, next, BLOCK_BYTES);
        (Self { header, header_bytes, rows: Vec::new(), digest, offset, length, next, block }, bytes)
    }

    /// Bytes the object would have if it ended after one more payload of this size.
    pub(crate) fn bytes_with(&self, payload: usize) -> u64 {
        let rows = (self.rows.len() + 2) * size_of::<[u64; 3]>();
        self.offset + (self.block.length_with(payload) + BLOCK_HEADER + rows + TRAILER_BYTES) as u64
    }

    /// The entry that comes next.
    pub(crate) fn next(&self) -> EntryId {
        self.next
    }

    /// Payload bytes of the ledger so far.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Whether it holds no entry yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.next == self.header.first
    }

    /// Adds the next entry. Gives the block before it, if that is full.
    pub(crate) fn push(&mut self, payload: &[u8]) -> Option<Bytes> {
        let full = !self.block.is_empty() && BLOCK_BYTES < self.block.length_with(payload.len());
        let finished = full.then(|| self.finish_block(BLOCK_HEADER + ENTRY_HEADER + payload.len()));
        self.length += payload.len() as u64;
        self.block.push(self.ledger(), self.next, self.length, payload);
        self.next = self.next.next();
        finished
    }

    /// Ends the object: its last block, its index, and its trailer. Nothing may be added after it.
    pub(crate) fn finish(&mut self, last: bool) -> (Vec<Bytes>, Trailer) {
        let mut pieces = Vec::new();
        if !self.block.is_empty() {
            pieces.push(self.finish_block(0));
        }
        let mut index = Vec::with_capacity(self.rows.len() * size_of::<[u64; 3]>());
        self.rows.iter().for_each(|row| row.encode(&mut index));
        self.digest.update(&index);
        let trailer = Trailer {
            ledger: self.ledger(),
            attempt: self.attempt(),
            number: self.header.number,
            content: Content::Entries,
            last,
            first: self.header.first,
            end: self.next,
            length_before: self.header.length_before,
            length: self.length,
            index_offset: self.offset,
            blocks: u32::try_from(self.rows.len()).expect("objects are cut long before"),
            index_crc: crc32c::crc32c(&index),
            digest: self.digest.value(),
            topic_hash: topic_hash(&self.header.attempt.topic),
            instance_hash: digest(self.header.attempt.instance.as_bytes()),
            header_bytes: self.header_bytes,
            object_bytes: self.offset + (index.len() + TRAILER_BYTES) as u64,
        };
        index.extend_from_slice(&trailer.encode());
        pieces.push(index.into());
        (pieces, trailer)
    }

    fn finish_block(&mut self, next_bytes: usize) -> Bytes {
        let number = u32::try_from(self.rows.len() + 1).expect("objects are cut long before");
        let capacity = if next_bytes == 0 { 0 } else { BLOCK_BYTES.max(next_bytes) };
        let block = std::mem::replace(&mut self.block, BlockBuilder::new(number, self.next, capacity));
        let first = block.first();
        let (bytes, crc) = block.finish(self.ledger(), self.attempt());
        let length = u32::try_from(bytes.len()).expect("messages are smaller than 4 GiB");
        self.rows.push(Row { offset: self.offset, first, length, crc });
        self.offset += u64::from(length);
        self.digest.update(&bytes);
        bytes
    }

    fn ledger(&self) -> LedgerId {
        self.header.attempt.ledger
    }

    fn attempt(&self) -> AttemptId {
        self.header.attempt.id
    }
}
