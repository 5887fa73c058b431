//! Payloads of batches, unpacked and packed. Pure.
use std::io::Read;

use bytes::Bytes;
use proto::pulsar::{CompressionType, MessageMetadata};

/// What a batch may be when it is unpacked. No honest one is larger: producers fill 5 MiB before they compress, and what compresses well says so.
const PLAIN_BYTES_MAX: usize = 64 << 20;

/// The payload as it was before it was compressed. `None`: that cannot be told.
pub(super) fn decompress(metadata: &MessageMetadata, payload: Bytes) -> Option<Bytes> {
    let size = metadata.uncompressed_size() as usize;
    if metadata.compression == Some(CompressionType::None.into()) || metadata.compression.is_none() {
        return Some(payload);
    }
    if PLAIN_BYTES_MAX < size {
        return None;
    }
    let plain = match CompressionType::try_from(metadata.compression?).ok()? {
        CompressionType::None => return Some(payload),
        CompressionType::Lz4 => lz4_flex::block::decompress(&payload, size).ok()?,
        CompressionType::Zlib => all_of(flate2::read::ZlibDecoder::new(&payload[..]), size)?,
        CompressionType::Zstd => all_of(ruzstd::decoding::StreamingDecoder::new(&payload[..]).ok()?, size)?,
        CompressionType::Snappy => {
            // Its own claim comes before any memory.
            let claimed = snap::raw::decompress_len(&payload).ok().filter(|claimed| *claimed <= PLAIN_BYTES_MAX)?;
            let mut plain = vec![0; claimed];
            let length = snap::raw::Decoder::new().decompress(&payload, &mut plain).ok()?;
            plain.truncate(length);
            plain
        }
    };
    (plain.len() == size).then(|| plain.into())
}

/// Everything a decoder gives, which must be `size` bytes.
fn all_of(decoder: impl Read, size: usize) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    decoder.take(size as u64 + 1).read_to_end(&mut plain).ok()?;
    Some(plain)
}

/// Packs a payload as LZ4, and says so. `None`: it is too large to be told.
pub(super) fn compress(metadata: &mut MessageMetadata, plain: &[u8]) -> Option<Vec<u8>> {
    metadata.set_compression(CompressionType::Lz4);
    metadata.uncompressed_size = Some(u32::try_from(plain.len()).ok()?);
    Some(lz4_flex::block::compress(plain))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(kind: CompressionType, plain: &[u8]) -> (MessageMetadata, Bytes) {
        let bytes = match kind {
            CompressionType::None => plain.to_vec(),
            CompressionType::Lz4 => lz4_flex::block::compress(plain),
            CompressionType::Zlib => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(plain).expect("memory");
                encoder.finish().expect("memory")
            }
            CompressionType::Zstd => {
                ruzstd::encoding::compress_to_vec(plain, ruzstd::encoding::CompressionLevel::Fastest)
            }
            CompressionType::Snappy => snap::raw::Encoder::new().compress_vec(plain).expect("memory"),
        };
        let size = u32::try_from(plain.len()).expect("small");
        let metadata =
            MessageMetadata { compression: Some(kind.into()), uncompressed_size: Some(size), ..Default::default() };
        (metadata, bytes.into())
    }

    const KINDS: [CompressionType; 5] = [
        CompressionType::None,
        CompressionType::Lz4,
        CompressionType::Zlib,
        CompressionType::Zstd,
        CompressionType::Snappy,
    ];

    #[test]
    fn what_clients_compress_is_read() {
        let plain: Vec<u8> = (0..20_000_u32).flat_map(|number| (number / 100).to_be_bytes()).collect();
        for kind in KINDS {
            let (metadata, payload) = packed(kind, &plain);
            assert_eq!(decompress(&metadata, payload).as_deref(), Some(&plain[..]), "{kind:?}");
        }
    }

    #[test]
    fn a_lie_about_the_size_is_no_batch() {
        for kind in &KINDS[1..] {
            let (mut metadata, payload) = packed(*kind, b"a plain text, a plain text, a plain text");
            for claim in [0, 39, 41, u32::MAX] {
                metadata.uncompressed_size = Some(claim);
                assert_eq!(decompress(&metadata, payload.clone()), None, "{kind:?} {claim}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_unpack_or_fail_without_a_panic(kind in 0..6, size in 0..100_u32, bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..100)) {
            let metadata = MessageMetadata { compression: Some(kind), uncompressed_size: Some(size), ..Default::default() };
            let _ = decompress(&metadata, bytes.into());
        }
    }
}
