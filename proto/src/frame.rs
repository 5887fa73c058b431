//! Pulsar frames: `[total u32][command size u32][command][rest…]`, big endian; `total` excludes itself.
//!
//! `rest` is the entry of a SEND or a MESSAGE (see [`crate::entry`]), else empty. It is never copied.
use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

use crate::pulsar::BaseCommand;
use crate::pulsar::base_command::Type;

/// The largest entry payload by default, as in Apache Pulsar.
pub const MESSAGE_BYTES_MAX: usize = 5 * 1024 * 1024;
/// What a frame may exceed its message by: command and metadata.
pub const FRAME_PADDING: usize = 10 * 1024;
/// The largest frame of a client that has not been greeted yet.
pub const FRAME_BYTES_BEFORE_CONNECT: usize = 64 * 1024;

/// One command, and the entry that came with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// The decoded command.
    pub command: BaseCommand,
    /// Checksum, metadata and payload, or empty.
    pub rest: Bytes,
}

/// Why bytes are no frame. The stream cannot be read on after any of these.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FrameError {
    /// Refused before any memory is reserved for it.
    #[error("frame of {total} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// What the peer announced.
        total: usize,
        /// What is allowed now.
        limit: usize,
    },
    /// Shorter than its own fields.
    #[error("command runs past the end of its frame")]
    Truncated,
    /// Not the protocol's protobuf.
    #[error("command does not decode")]
    Command(#[from] prost::DecodeError),
}

/// Takes one frame off the front of `buffer`, or returns `None` when more bytes are needed.
pub fn decode(buffer: &mut BytesMut, limit: usize) -> Result<Option<Frame>, FrameError> {
    let Some((command, rest)) = split(buffer, limit)? else { return Ok(None) };
    Ok(Some(Frame { command: BaseCommand::decode(command)?, rest }))
}

/// As [`decode`], but leaves the command encoded: [`BaseCommand`] is wide, and who expects few kinds decodes those alone.
pub fn split(buffer: &mut BytesMut, limit: usize) -> Result<Option<(Bytes, Bytes)>, FrameError> {
    let Some(head) = buffer.first_chunk::<4>() else { return Ok(None) };
    let total = u32::from_be_bytes(*head) as usize;
    if limit < total {
        return Err(FrameError::TooLarge { total, limit });
    }
    if buffer.len() < 4 + total {
        buffer.reserve(4 + total - buffer.len());
        return Ok(None);
    }
    buffer.advance(4);
    let mut frame = buffer.split_to(total).freeze();
    let size = frame.try_get_u32().map_err(|_| FrameError::Truncated)? as usize;
    if frame.len() < size {
        return Err(FrameError::Truncated);
    }
    let command = frame.split_to(size);
    Ok(Some((command, frame)))
}

/// Appends a command that carries no entry.
pub fn encode(command: &BaseCommand, buffer: &mut BytesMut) {
    encode_head(command, 0, buffer);
}

/// Appends a command and the two sizes of a frame whose entry of `rest` bytes the caller sends next.
pub fn encode_head(command: &BaseCommand, rest: usize, buffer: &mut BytesMut) {
    let size = command.encoded_len();
    buffer.reserve(8 + size);
    buffer.put_u32(u32::try_from(4 + size + rest).expect("frames are far smaller than 4 GiB"));
    buffer.put_u32(u32::try_from(size).expect("commands are far smaller than 4 GiB"));
    command.encode(buffer).expect("room was reserved");
}

macro_rules! envelope {
    ($($kind:ident $field:ident $payload:ident),* $(,)?) => {
        $(impl From<crate::pulsar::$payload> for BaseCommand {
            fn from(command: crate::pulsar::$payload) -> Self {
                Self { r#type: Type::$kind as i32, $field: Some(command), ..Self::default() }
            }
        })*
    };
}

envelope! {
    Connect connect CommandConnect,
    Connected connected CommandConnected,
    Subscribe subscribe CommandSubscribe,
    Producer producer CommandProducer,
    Send send CommandSend,
    SendReceipt send_receipt CommandSendReceipt,
    SendError send_error CommandSendError,
    Message message CommandMessage,
    Ack ack CommandAck,
    Flow flow CommandFlow,
    Unsubscribe unsubscribe CommandUnsubscribe,
    Success success CommandSuccess,
    Error error CommandError,
    CloseProducer close_producer CommandCloseProducer,
    CloseConsumer close_consumer CommandCloseConsumer,
    ProducerSuccess producer_success CommandProducerSuccess,
    Ping ping CommandPing,
    Pong pong CommandPong,
    RedeliverUnacknowledgedMessages redeliver_unacknowledged_messages CommandRedeliverUnacknowledgedMessages,
    PartitionedMetadata partition_metadata CommandPartitionedTopicMetadata,
    PartitionedMetadataResponse partition_metadata_response CommandPartitionedTopicMetadataResponse,
    Lookup lookup_topic CommandLookupTopic,
    LookupResponse lookup_topic_response CommandLookupTopicResponse,
    ConsumerStats consumer_stats CommandConsumerStats,
    ConsumerStatsResponse consumer_stats_response CommandConsumerStatsResponse,
    Seek seek CommandSeek,
    GetLastMessageId get_last_message_id CommandGetLastMessageId,
    GetLastMessageIdResponse get_last_message_id_response CommandGetLastMessageIdResponse,
    ActiveConsumerChange active_consumer_change CommandActiveConsumerChange,
    ReachedEndOfTopic reached_end_of_topic CommandReachedEndOfTopic,
    GetTopicsOfNamespace get_topics_of_namespace CommandGetTopicsOfNamespace,
    GetTopicsOfNamespaceResponse get_topics_of_namespace_response CommandGetTopicsOfNamespaceResponse,
    GetSchema get_schema CommandGetSchema,
    GetSchemaResponse get_schema_response CommandGetSchemaResponse,
    AckResponse ack_response CommandAckResponse,
    GetOrCreateSchema get_or_create_schema CommandGetOrCreateSchema,
    GetOrCreateSchemaResponse get_or_create_schema_response CommandGetOrCreateSchemaResponse,
    NewTxn new_txn CommandNewTxn,
    NewTxnResponse new_txn_response CommandNewTxnResponse,
    AddPartitionToTxnResponse add_partition_to_txn_response CommandAddPartitionToTxnResponse,
    AddSubscriptionToTxnResponse add_subscription_to_txn_response CommandAddSubscriptionToTxnResponse,
    EndTxnResponse end_txn_response CommandEndTxnResponse,
    EndTxnOnPartitionResponse end_txn_on_partition_response CommandEndTxnOnPartitionResponse,
    EndTxnOnSubscriptionResponse end_txn_on_subscription_response CommandEndTxnOnSubscriptionResponse,
    TcClientConnectResponse tc_client_connect_response CommandTcClientConnectResponse,
    WatchTopicList watch_topic_list CommandWatchTopicList,
    WatchTopicListSuccess watch_topic_list_success CommandWatchTopicListSuccess,
    WatchTopicUpdate watch_topic_update CommandWatchTopicUpdate,
    WatchTopicListClose watch_topic_list_close CommandWatchTopicListClose,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pulsar::CommandSend;

    const LIMIT: usize = MESSAGE_BYTES_MAX + FRAME_PADDING;

    fn send_frame() -> (Frame, Vec<u8>) {
        let command = BaseCommand::from(CommandSend { producer_id: 3, sequence_id: 7, ..Default::default() });
        let rest = Bytes::from_static(b"entry bytes");
        let mut whole = BytesMut::new();
        encode_head(&command, rest.len(), &mut whole);
        whole.extend_from_slice(&rest);
        (Frame { command, rest }, whole.to_vec())
    }

    #[test]
    fn a_frame_cut_anywhere_waits_for_its_rest() {
        let (frame, whole) = send_frame();
        for cut in 0..whole.len() {
            let mut buffer = BytesMut::from(&whole[..cut]);
            assert_eq!(decode(&mut buffer, LIMIT), Ok(None), "cut at {cut}");
            buffer.extend_from_slice(&whole[cut..]);
            assert_eq!(decode(&mut buffer, LIMIT), Ok(Some(frame.clone())), "cut at {cut}");
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn a_size_above_the_limit_is_refused_before_memory_is_reserved() {
        for total in [LIMIT as u32 + 1, 0x7fff_ffff, u32::MAX, u32::from_be_bytes(*b"GET ")] {
            let mut buffer = BytesMut::from(&total.to_be_bytes()[..]);
            let capacity = buffer.capacity();
            assert!(matches!(decode(&mut buffer, LIMIT), Err(FrameError::TooLarge { .. })));
            assert_eq!(buffer.capacity(), capacity);
        }
    }

    #[test]
    fn sizes_that_contradict_each_other_are_errors() {
        for bytes in
            [&[0, 0, 0, 0][..], &[0, 0, 0, 3, 1, 2, 3], &[0, 0, 0, 4, 0, 0, 0, 1], &[0, 0, 0, 6, 0, 0, 0, 9, 1, 2]]
        {
            assert_eq!(decode(&mut BytesMut::from(bytes), LIMIT), Err(FrameError::Truncated), "{bytes:?}");
        }
        let not_protobuf = [0, 0, 0, 6, 0, 0, 0, 2, 0xff, 0xff];
        assert!(matches!(decode(&mut BytesMut::from(&not_protobuf[..]), LIMIT), Err(FrameError::Command(_))));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_decode_or_fail_without_a_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = decode(&mut buffer, 1000) {}
        }

        #[test]
        fn what_was_encoded_decodes_to_the_same(producer_id: u64, sequence_id: u64, rest in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let command = BaseCommand::from(CommandSend { producer_id, sequence_id, ..Default::default() });
            let mut buffer = BytesMut::new();
            encode_head(&command, rest.len(), &mut buffer);
            buffer.extend_from_slice(&rest);
            let frame = decode(&mut buffer, LIMIT).expect("valid").expect("whole");
            proptest::prop_assert_eq!(frame, Frame { command, rest: rest.into() });
        }
    }
}
