//! Batches: `repeat { [size u32][SingleMessageMetadata][payload] }` inside an entry's uncompressed payload.
//!
//! The broker never opens a batch. Tools and tests do.
use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

use crate::pulsar::SingleMessageMetadata;

/// Why a payload is no batch.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BatchError {
    /// Message `index` is cut short.
    #[error("message {index} runs past the end of its batch")]
    Truncated {
        /// Counted from 0.
        index: usize,
    },
    /// Message `index` has metadata that is not the protocol's.
    #[error("metadata of message {index} does not decode")]
    Metadata {
        /// Counted from 0.
        index: usize,
        /// Why.
        source: prost::DecodeError,
    },
}

/// Appends one message. Sets `payload_size` itself.
pub fn push(batch: &mut BytesMut, mut metadata: SingleMessageMetadata, payload: &[u8]) {
    metadata.payload_size = i32::try_from(payload.len()).expect("messages are far smaller than 2 GiB");
    let size = metadata.encoded_len();
    batch.reserve(4 + size + payload.len());
    batch.put_u32(u32::try_from(size).expect("metadata is far smaller than 4 GiB"));
    metadata.encode(batch).expect("room was reserved");
    batch.put_slice(payload);
}

/// Takes a batch of `count` messages apart.
pub fn split(mut batch: Bytes, count: usize) -> Result<Vec<(SingleMessageMetadata, Bytes)>, BatchError> {
    let mut messages = Vec::new(); // Grows with what is there: `count` is the peer's claim.
    for index in 0..count {
        let truncated = BatchError::Truncated { index };
        let size = batch.try_get_u32().map_err(|_| truncated.clone())? as usize;
        if batch.len() < size {
            return Err(truncated);
        }
        let metadata = SingleMessageMetadata::decode(batch.split_to(size))
            .map_err(|source| BatchError::Metadata { index, source })?;
        let length = usize::try_from(metadata.payload_size).map_err(|_| truncated.clone())?;
        if batch.len() < length {
            return Err(truncated);
        }
        messages.push((metadata, batch.split_to(length)));
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_batch_comes_apart_into_its_messages(payloads in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 0..50), 0..20)) {
            let mut batch = BytesMut::new();
            for payload in &payloads {
                push(&mut batch, SingleMessageMetadata { event_time: Some(1), ..Default::default() }, payload);
            }
            let whole = batch.freeze();
            let messages = split(whole.clone(), payloads.len()).expect("valid");
            for (message, payload) in messages.iter().zip(&payloads) {
                proptest::prop_assert_eq!(&message.1[..], &payload[..]);
            }
            for cut in 0..whole.len() {
                proptest::prop_assert!(split(whole.slice(..cut), payloads.len()).is_err());
            }
        }

        #[test]
        fn any_bytes_split_or_fail_without_a_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..100), count in 0..1000usize) {
            let _ = split(Bytes::from(bytes), count);
        }
    }
}
