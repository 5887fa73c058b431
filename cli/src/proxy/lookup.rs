//! What a proxy changes on the way back: LOOKUP answers tell the client to come through the proxy again. Pure: no socket, no clock.
use bytes::{BufMut, BytesMut};
use prost::Message;
use proto::frame::{self, FRAME_PADDING, FrameError, MESSAGE_BYTES_MAX};
use proto::pulsar::BaseCommand;

/// Moves all whole frames from `from` to `to`. Answers to LOOKUP are marked, everything else stays as it is.
pub(super) fn mark(from: &mut BytesMut, to: &mut BytesMut) -> Result<(), FrameError> {
    while let Some((command, rest)) = frame::split(from, MESSAGE_BYTES_MAX + FRAME_PADDING)? {
        let mut decoded = Box::new(BaseCommand::decode(command.clone())?);
        match &mut decoded.lookup_topic_response {
            Some(answer) => {
                answer.proxy_through_service_url = Some(true);
                frame::encode_head(&decoded, rest.len(), to);
            }
            None => {
                let size = |bytes: usize| u32::try_from(bytes).expect("frames are far smaller than 4 GiB");
                to.put_u32(size(4 + command.len() + rest.len()));
                to.put_u32(size(command.len()));
                to.extend_from_slice(&command);
            }
        }
        to.extend_from_slice(&rest);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proto::pulsar::{CommandLookupTopicResponse, CommandSuccess};

    use super::*;

    fn frames() -> BytesMut {
        let mut bytes = BytesMut::new();
        let success = CommandSuccess { request_id: 7, ..Default::default() };
        let lookup = CommandLookupTopicResponse {
            request_id: 8,
            broker_service_url: Some("pulsar://inside:6650".into()),
            proxy_through_service_url: Some(false),
            ..Default::default()
        };
        frame::encode_head(&success.clone().into(), 5, &mut bytes);
        bytes.extend_from_slice(b"entry");
        frame::encode(&lookup.into(), &mut bytes);
        frame::encode(&success.into(), &mut bytes);
        bytes
    }

    fn check(bytes: &mut BytesMut) {
        let whole = frames();
        let entry = 4 + u32::from_be_bytes(*whole.first_chunk().unwrap()) as usize;
        assert_eq!(bytes.split_to(entry), whole[..entry], "what is no lookup is not touched");
        let marked = frame::decode(bytes, 1000).unwrap().unwrap().command.lookup_topic_response.unwrap();
        assert_eq!(marked.proxy_through_service_url, Some(true));
        assert_eq!(marked.broker_service_url.as_deref(), Some("pulsar://inside:6650"));
        assert_eq!(frame::decode(bytes, 1000).unwrap().unwrap().command.success.unwrap().request_id, 7);
        assert!(bytes.is_empty());
    }

    #[test]
    fn answers_to_lookups_are_marked_wherever_the_bytes_are_cut() {
        let whole = frames();
        for cut in 0..=whole.len() {
            let (mut from, mut to) = (BytesMut::from(&whole[..cut]), BytesMut::new());
            mark(&mut from, &mut to).unwrap();
            from.extend_from_slice(&whole[cut..]);
            mark(&mut from, &mut to).unwrap();
            assert!(from.is_empty(), "cut at {cut}");
            check(&mut to);
        }
    }

    #[test]
    fn what_is_no_frame_ends_the_connection() {
        let (mut from, mut to) = (BytesMut::from(&[0xff; 16][..]), BytesMut::new());
        assert!(matches!(mark(&mut from, &mut to), Err(FrameError::TooLarge { .. })));
    }
}
