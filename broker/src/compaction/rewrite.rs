//! A batch from which some messages have gone.
use bytes::{Bytes, BytesMut};
use proto::pulsar::{CompressionType, SingleMessageMetadata};

use super::codec;
use super::contents::Batch;

/// Larger entries than clients may publish are none they may be sent.
const ENTRY_BYTES_MAX: usize = 5 << 20;

/// The entry with the messages that stay at their old places. `None`: it would be too large.
pub(super) fn without(batch: Batch, stays: &[bool]) -> Option<Bytes> {
    let Batch { mut metadata, messages, .. } = batch;
    let mut plain = BytesMut::new();
    for ((message, payload), stays) in messages.into_iter().zip(stays) {
        if *stays {
            proto::batch::push(&mut plain, message, &payload);
        } else {
            let out = SingleMessageMetadata { compacted_out: Some(true), ..Default::default() };
            proto::batch::push(&mut plain, out, b"");
        }
    }
    let kept = (0..).zip(stays).filter(|(_, stays)| **stays).map(|(index, _)| index);
    metadata.compacted_batch_indexes = kept.collect();
    let entry = if metadata.compression() == CompressionType::None {
        metadata.uncompressed_size = Some(u32::try_from(plain.len()).ok()?);
        proto::entry::build(&metadata, &plain)
    } else {
        let packed = codec::compress(&mut metadata, &plain)?;
        proto::entry::build(&metadata, &packed)
    };
    (entry.len() <= ENTRY_BYTES_MAX).then_some(entry)
}
