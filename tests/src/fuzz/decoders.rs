//! Bodies for what decodes bytes: frames, commands, entries.
use bytes::{Bytes, BytesMut};
use prost::Message;
use proto::batch::{self, BatchError};
use proto::entry::{self, EntryError, EntryHead, Parts};
use proto::frame::{self, Frame, FrameError};
use proto::pulsar::{BaseCommand, MessageMetadata};

use super::Reached;

/// The largest frame here: small, so that inputs meet it.
const FRAME_LIMIT: usize = 2048;

/// All frames of a stream that comes in pieces, and why it cannot be read on.
fn frames(pieces: &[&[u8]]) -> (Vec<Frame>, Option<FrameError>) {
    let (mut buffer, mut frames, mut refused) = (BytesMut::new(), Vec::new(), None);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match frame::decode(&mut buffer, FRAME_LIMIT) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        let room = buffer.capacity();
        assert!(room <= 2 * (FRAME_LIMIT + 4) + 2 * piece.len(), "{room} bytes are reserved for what a peer claims");
        if refused.is_some() {
            break;
        }
    }
    (frames, refused)
}

/// The first byte says where the stream is cut in two: it must not matter.
pub(super) fn frame(input: &[u8], reached: &mut Reached) {
    let Some((cut, stream)) = input.split_first() else { return };
    let whole = frames(&[stream]);
    let (before, after) = stream.split_at(usize::from(*cut).min(stream.len()));
    let pieces = frames(&[before, after]);
    assert!(pieces.0.iter().map(sent).eq(whole.0.iter().map(sent)), "cut at {cut}: {pieces:?} instead of {whole:?}");
    assert_eq!(pieces.1, whole.1, "cut at {cut}");
    match whole.1 {
        Some(FrameError::TooLarge { .. }) => reached.note("refused", "too large"),
        Some(FrameError::Truncated) => reached.note("refused", "truncated"),
        Some(FrameError::Command(_)) => reached.note("refused", "command"),
        None => reached.note("stream", "read to its end"),
    }
    if !whole.0.is_empty() {
        reached.note("input", "with a frame");
    }
    for frame in whole.0 {
        reached.note("frame", if frame.rest.is_empty() { "whole" } else { "with an entry" });
        let decoded = frame::decode(&mut sent(&frame), usize::MAX).expect("we encoded it").expect("it is whole");
        assert_eq!(sent(&decoded), sent(&frame));
        assert_eq!(decoded.rest, frame.rest);
    }
}

/// As it is sent. Frames are compared so and not by their fields, because one may be NaN, which is equal to nothing.
fn sent(frame: &Frame) -> BytesMut {
    let mut bytes = BytesMut::new();
    frame::encode_head(&frame.command, frame.rest.len(), &mut bytes);
    bytes.extend_from_slice(&frame.rest);
    bytes
}

pub(super) fn command(input: &[u8], reached: &mut Reached) {
    let Ok(command) = BaseCommand::decode(input) else { return reached.note("refused", "command") };
    reached.note("input", "decoded");
    reached.note("decoded", command.r#type().as_str_name());
    let encoded = command.encode_to_vec();
    let again = BaseCommand::decode(&encoded[..]).expect("we encoded it");
    assert_eq!(again.encode_to_vec(), encoded, "what was decoded and encoded stays as it is");
}

pub(super) fn entry(input: &[u8], reached: &mut Reached) {
    let input = Bytes::copy_from_slice(input);
    let has_checksum = 6 <= input.len() && input[..2] == [0x0e, 0x01];
    let parts = match entry::split(input.clone()) {
        Ok(parts) => parts,
        Err(error) => {
            match error {
                EntryError::Checksum { .. } => reached.note("checksum", "wrong"),
                EntryError::Truncated => reached.note("refused", "truncated"),
                EntryError::Metadata(_) | EntryError::Incomplete => panic!("it is split before it is decoded: {error}"),
            }
            return stored(&input, reached);
        }
    };
    reached.note("checksum", if has_checksum { "right" } else { "absent" });
    assert_eq!(entry::split_unchecked(input.clone()).as_ref(), Ok(&parts), "a good checksum changes nothing");
    let framing = if has_checksum { 10 } else { 4 };
    assert_eq!(parts.metadata.len() + parts.payload.len() + framing, input.len(), "no byte is lost or made up");
    let Ok(head) = parts.head() else {
        assert!(MessageMetadata::decode(parts.metadata).is_err(), "a broker reads all that clients can read");
        return reached.note("refused", "metadata");
    };
    reached.note("input", "with metadata");
    match parts.complete_head() {
        Ok(complete) => assert_eq!(complete, head),
        Err(_) => reached.note("refused", "incomplete"),
    }
    batch(&parts, &head, reached);
    stored(&input, reached);
    agrees_with_clients(&parts, head);
}

/// Bytes from a disk that may lie: nobody has looked at their checksum.
fn stored(input: &Bytes, reached: &mut Reached) {
    let head = entry::head_of_stored(input);
    reached.note("stored", if head.is_ok() { "with metadata" } else { "refused" });
    let Ok(key) = entry::key_of_stored(input) else { return };
    reached.note(
        "key",
        match (&key.ordering_key, &key.partition_key) {
            (Some(_), _) => "of bytes",
            (None, Some(_)) => "of text",
            (None, None) => "of none",
        },
    );
    assert!(key.bytes().len() <= input.len() + 21, "a key is no longer than what it was made of");
}

fn batch(parts: &Parts, head: &EntryHead, reached: &mut Reached) {
    assert!(1 <= head.messages());
    match batch::split(parts.payload.clone(), head.messages() as usize) {
        Ok(messages) => {
            assert_eq!(messages.len(), head.messages() as usize);
            let bytes: usize = messages.iter().map(|(_, payload)| 4 + payload.len()).sum();
            assert!(bytes <= parts.payload.len(), "messages overlap");
            reached.note("batch", if messages.len() == 1 { "of one" } else { "of several" });
        }
        Err(BatchError::Truncated { .. }) => reached.note("batch", "truncated"),
        Err(BatchError::Metadata { .. }) => reached.note("batch", "metadata"),
    }
}

/// What a broker reads of metadata is what clients read.
fn agrees_with_clients(parts: &Parts, head: EntryHead) {
    let Ok(metadata) = MessageMetadata::decode(parts.metadata.clone()) else { return };
    assert_eq!((&head.producer_name, head.sequence_id), (&metadata.producer_name, metadata.sequence_id));
    assert_eq!(head.num_messages_in_batch, metadata.num_messages_in_batch);
    assert_eq!((&head.uuid, head.chunk_id), (&metadata.uuid, metadata.chunk_id));
    let built = entry::split(entry::build(&metadata, &parts.payload)).expect("we built it");
    assert_eq!(built.payload, parts.payload);
    // Keys are kept as they were encoded, and encoding them again may put their fields into order.
    let without_keys = |head: EntryHead| EntryHead { encryption_keys: Vec::new(), ..head };
    assert_eq!(built.head().map(without_keys), Ok(without_keys(head)));
}
