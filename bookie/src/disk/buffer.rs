//! Bytes at an address that direct access accepts.
use std::fmt;

use super::BLOCK;

/// A growing run of bytes whose first one lies at a multiple of [`BLOCK`]. Meant to be kept and used again: first touch of
/// memory costs ten times what copying into it does.
pub struct AlignedBuffer {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    /// An empty buffer with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = super::whole_blocks(capacity.max(BLOCK));
        let memory = vec![0; capacity + BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK);
        assert!(start <= BLOCK, "an address can always be rounded up to a block");
        Self { memory, start, length: 0 }
    }

    /// A buffer of `length` zeros.
    #[must_use]
    pub fn zeroed(length: usize) -> Self {
        let mut buffer = Self::with_capacity(length);
        buffer.length = length;
        buffer
    }

    /// How many bytes it can take before it must move.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.memory.len() - BLOCK
    }

    /// How many bytes are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }

    /// The bytes, to change.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }

    /// Forgets the bytes and keeps the memory.
    pub fn clear(&mut self) {
        self.length = 0;
    }

    /// Cuts off, or appends zeros.
    pub fn resize(&mut self, length: usize) {
        self.reserve(length);
        if self.length < length {
            let (from, to) = (self.start + self.length, self.start + length);
            self.memory[from..to].fill(0);
        }
        self.length = length;
    }

    /// Appends.
    pub fn extend(&mut self, bytes: &[u8]) {
        let length = self.length + bytes.len();
        self.reserve(length);
        let (from, to) = (self.start + self.length, self.start + length);
        self.memory[from..to].copy_from_slice(bytes);
        self.length = length;
    }

    fn reserve(&mut self, length: usize) {
        if self.capacity() < length {
            let mut larger = Self::with_capacity(length.max(self.capacity() * 2));
            larger.length = self.length;
            larger.bytes_mut().copy_from_slice(self.bytes());
            *self = larger;
        }
    }
}

impl fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuffer").field("length", &self.length).finish_non_exhaustive()
    }
}
