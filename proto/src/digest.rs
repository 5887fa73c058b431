//! The checksum that travels with an entry from its writer to the disk and back to its reader.
use crate::{EntryId, LedgerId};

/// CRC32C over ledger, entry and length (each u64, little endian) and the payload, so that bytes which ended up
/// under another entry's name are found out like bytes that changed.
#[must_use]
pub fn entry_digest(ledger: LedgerId, entry: EntryId, length: u64, payload: &[u8]) -> u32 {
    let mut head = [0; 24];
    head[..8].copy_from_slice(&ledger.0.to_le_bytes());
    head[8..16].copy_from_slice(&entry.0.to_le_bytes());
    head[16..].copy_from_slice(&length.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&head), payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_changes_the_digest() {
        let base = entry_digest(LedgerId(1), EntryId(2), 3, b"four");
        assert_ne!(base, entry_digest(LedgerId(2), EntryId(2), 3, b"four"));
        assert_ne!(base, entry_digest(LedgerId(1), EntryId(3), 3, b"four"));
        assert_ne!(base, entry_digest(LedgerId(1), EntryId(2), 4, b"four"));
        assert_ne!(base, entry_digest(LedgerId(1), EntryId(2), 3, b"fouR"));
    }
}
