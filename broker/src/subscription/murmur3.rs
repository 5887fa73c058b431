//! Murmur3, 32 bits, seed 0: the hash by which Pulsar places keys, topics and consumers. Pure.

/// Its lower 31 bits, as Java's non-negative integers.
pub(super) fn murmur3(bytes: &[u8]) -> u32 {
    let mut hash = 0_u32;
    let blocks = bytes.chunks_exact(4);
    let tail = blocks.remainder();
    for block in blocks {
        let word = u32::from_le_bytes(block.try_into().expect("blocks have four bytes"));
        hash = (hash ^ scramble(word)).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    if !tail.is_empty() {
        let word = tail.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        hash ^= scramble(word);
    }
    hash ^= bytes.len() as u32; // Of longer inputs, the lower half: as everyone does.
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    (hash ^ hash >> 16) & 0x7fff_ffff
}

fn scramble(word: u32) -> u32 {
    word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_hash_that_everyone_calls_murmur3() {
        // Vectors that are published with the algorithm, less their top bit.
        for (text, hash) in [
            ("", 0),
            ("a", 0x3c25_69b2),
            ("aaaa", 0x7eee_d987),
            ("abc", 0xb3dd_93fa),
            ("test", 0xba6b_d213),
            ("Hello, world!", 0xc036_3e43),
            ("The quick brown fox jumps over the lazy dog", 0x2e4f_f723_u32),
        ] {
            assert_eq!(murmur3(text.as_bytes()), hash & 0x7fff_ffff, "{text}");
        }
    }
}
