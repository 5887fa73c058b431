//! Goal: of each key the last message stays, whatever messages are packed in, however few keys fit into memory, and whatever was compacted before.
//! Method: random topics, the pass, and a model of three lines.
use std::collections::BTreeMap;

use bytes::BytesMut;
use proptest::prelude::*;
use proto::pulsar::{CompressionType, EncryptionKeys, MessageMetadata, SingleMessageMetadata};

use super::*;
use crate::compaction::codec;

type Topic = Vec<(Position, Bytes)>;

/// A message: which key, and its text. An empty one takes its key away.
type Said = (Option<u8>, Vec<u8>);

/// Where, its place in a batch, of which key, and its text. What cannot be looked into has none.
type Told = (Position, usize, Option<u8>, Option<Vec<u8>>);

#[derive(Debug, Clone)]
enum Packed {
    Alone(Said),
    Together(Vec<Said>, bool),
    Marker,
    Encrypted,
}

fn said() -> impl Strategy<Value = Said> {
    let text = prop_oneof![1 => Just(Vec::new()), 3 => proptest::collection::vec(any::<u8>(), 1..20)];
    (prop_oneof![1 => Just(None), 6 => (0..12_u8).prop_map(Some)], text)
}

fn packed() -> impl Strategy<Value = Packed> {
    prop_oneof![
        4 => said().prop_map(Packed::Alone),
        3 => (proptest::collection::vec(said(), 1..8), any::<bool>()).prop_map(|(all, small)| Packed::Together(all, small)),
        1 => Just(Packed::Marker),
        1 => Just(Packed::Encrypted),
    ]
}

fn metadata() -> MessageMetadata {
    MessageMetadata { producer_name: "p".into(), ..Default::default() }
}

fn key_text(key: Option<u8>) -> Option<String> {
    key.map(|key| format!("key-{key}"))
}

fn batch(all: &[Said], compressed: bool) -> Bytes {
    let mut plain = BytesMut::new();
    for (key, text) in all {
        let message = SingleMessageMetadata { partition_key: key_text(*key), ..Default::default() };
        proto::batch::push(&mut plain, message, text);
    }
    let count = i32::try_from(all.len()).unwrap();
    let mut metadata = MessageMetadata { num_messages_in_batch: Some(count), ..metadata() };
    if !compressed {
        return proto::entry::build(&metadata, &plain);
    }
    let bytes = codec::compress(&mut metadata, &plain).unwrap();
    proto::entry::build(&metadata, &bytes)
}

fn alone(key: Option<u8>, text: &[u8]) -> Bytes {
    proto::entry::build(&MessageMetadata { partition_key: key_text(key), ..metadata() }, text)
}

fn entry(packed: &Packed) -> Bytes {
    match packed {
        Packed::Alone((key, text)) => alone(*key, text),
        Packed::Together(all, compressed) => batch(all, *compressed),
        Packed::Marker => proto::entry::build(&MessageMetadata { marker_type: Some(1), ..metadata() }, b""),
        Packed::Encrypted => {
            let keys = vec![EncryptionKeys { key: "k".into(), ..Default::default() }];
            let sealed = MessageMetadata { num_messages_in_batch: Some(3), encryption_keys: keys, ..metadata() };
            proto::entry::build(&sealed, b"nobody knows")
        }
    }
}

/// Three entries to a ledger.
fn at(number: usize) -> Position {
    Position::new(10 + number as u64 / 3, number as u64 % 3)
}

fn topic(all: &[Packed]) -> Topic {
    all.iter().enumerate().map(|(number, packed)| (at(number), entry(packed))).collect()
}

/// What is in a topic, in order: what cannot be looked into, and what has a key or none.
fn told(topic: &Topic) -> Vec<Told> {
    let mut all = Vec::new();
    for (position, bytes) in topic {
        let parts = proto::entry::split(bytes.clone()).expect("the checksum is right");
        let metadata = <MessageMetadata as prost::Message>::decode(parts.metadata).unwrap();
        let number = |key: &Option<String>| key.as_ref().map(|key| key[4..].parse().unwrap());
        if !metadata.encryption_keys.is_empty() {
            all.push((*position, 0, None, None));
        } else if let Some(count) = metadata.num_messages_in_batch {
            let plain = codec::decompress(&metadata, parts.payload).unwrap();
            for (index, (message, text)) in proto::batch::split(plain, count as usize).unwrap().into_iter().enumerate()
            {
                if !message.compacted_out() {
                    all.push((*position, index, number(&message.partition_key), Some(text.to_vec())));
                }
            }
        } else if metadata.marker_type.is_none() {
            all.push((*position, 0, number(&metadata.partition_key), Some(parts.payload.to_vec())));
        }
    }
    all
}

/// The model.
fn expected(topic: &Topic) -> Vec<Told> {
    let all = told(topic);
    let last: BTreeMap<u8, (Position, usize)> =
        all.iter().filter_map(|(position, index, key, _)| Some(((*key)?, (*position, *index)))).collect();
    let stays = |(position, index, key, text): &Told| match (key, text) {
        (_, None) => true,
        (None, _) => false,
        (Some(key), Some(text)) => last[key] == (*position, *index) && !text.is_empty(),
    };
    all.into_iter().filter(stays).collect()
}

fn run(topic: &Topic, keys_max: usize) -> (Topic, Outcome, u32) {
    let mut pass = Pass::new(7, keys_max);
    let mut written = Vec::new();
    for looks in 1.. {
        for (position, bytes) in topic {
            let kept = pass.entry(*position, bytes).unwrap();
            written.extend(kept.map(|kept| (*position, kept)));
        }
        if let Then::Done(outcome) = pass.all_given() {
            return (written, outcome, looks);
        }
    }
    unreachable!("it ends")
}

proptest! {
    #[test]
    fn the_last_of_each_key_stays_however_few_keys_fit(all in proptest::collection::vec(packed(), 0..60), keys_max in 1..20_usize) {
        let topic = topic(&all);
        let (kept, outcome, _) = run(&topic, keys_max);
        prop_assert_eq!(told(&kept), expected(&topic));
        let (before, after) = (told(&topic).len(), told(&kept).len());
        prop_assert_eq!((outcome.kept, outcome.removed), (after as u64, (before - after + all.iter().filter(|one| matches!(one, Packed::Marker)).count()) as u64));
    }

    #[test]
    fn compacting_what_was_compacted_and_what_came_since_is_compacting_all(
        all in proptest::collection::vec(packed(), 0..60), cut in 0..60_usize
    ) {
        let whole = topic(&all);
        let cut = cut.min(whole.len());
        let (mut kept, ..) = run(&whole[..cut].to_vec(), 100);
        kept.extend_from_slice(&whole[cut..]);
        let (kept, ..) = run(&kept, 100);
        prop_assert_eq!(told(&kept), told(&run(&whole, 100).0));
        let (again, outcome, _) = run(&kept, 100);
        prop_assert_eq!((again, outcome.removed), (kept, 0), "what is compacted is written again byte by byte");
    }

    #[test]
    fn ledgers_that_leave_between_two_looks_shift_nothing(all in proptest::collection::vec(packed(), 1..60), gone in 0..20_u64) {
        let topic = topic(&all);
        let mut pass = Pass::new(7, 100);
        topic.iter().for_each(|(position, bytes)| assert_eq!(pass.entry(*position, bytes).unwrap(), None));
        prop_assert_eq!(pass.all_given(), Then::Again);
        let left: Topic = topic.iter().filter(|(position, _)| 10 + gone <= position.ledger.0).cloned().collect();
        let mut written = Topic::new();
        for (position, bytes) in &left {
            written.extend(pass.entry(*position, bytes).unwrap().map(|kept| (*position, kept)));
        }
        let still: Vec<_> = expected(&topic).into_iter().filter(|(position, ..)| 10 + gone <= position.ledger.0).collect();
        prop_assert_eq!(told(&written), still);
    }
}

#[test]
fn memory_holds_as_many_keys_as_were_allowed_and_looks_more_often() {
    let topic: Topic = (0..200_u8).map(|key| (at(usize::from(key)), alone(Some(key), b"x"))).collect();
    let (kept, outcome, looks) = run(&topic, 200);
    assert_eq!((kept.len(), outcome.kept, looks), (200, 200, 2));
    let (kept, _, looks) = run(&topic, 20);
    assert_eq!(kept, topic);
    assert!((11..40).contains(&looks), "{looks} looks for 200 keys, 20 at a time");
}

#[test]
fn an_entry_that_was_not_there_at_the_first_look_ends_the_pass() {
    let mut pass = Pass::new(7, 100);
    pass.entry(at(0), &alone(Some(1), b"x")).unwrap();
    assert_eq!(pass.all_given(), Then::Again);
    assert_eq!(pass.entry(at(1), &alone(Some(1), b"x")), Err(PassError::Unseen(at(1))));
    assert_eq!(pass.entry(at(9), &alone(Some(1), b"x")), Err(PassError::Unseen(at(9))));
}

#[test]
fn a_batch_keeps_its_places_and_tells_which_are_left() {
    let all = [(Some(1), b"old".to_vec()), (Some(2), b"b".to_vec()), (None, b"n".to_vec()), (Some(1), b"new".to_vec())];
    for compressed in [false, true] {
        let (kept, outcome, _) = run(&vec![(at(0), batch(&all, compressed))], 100);
        assert_eq!((outcome.kept, outcome.removed), (2, 2));
        let parts = proto::entry::split(kept[0].1.clone()).unwrap();
        let metadata = <MessageMetadata as prost::Message>::decode(parts.metadata).unwrap();
        assert_eq!((metadata.num_messages_in_batch, &metadata.compacted_batch_indexes[..]), (Some(4), &[1, 3][..]));
        let kind = if compressed { CompressionType::Lz4 } else { CompressionType::None };
        assert_eq!(metadata.compression(), kind);
        let messages = proto::batch::split(codec::decompress(&metadata, parts.payload).unwrap(), 4).unwrap();
        let out: Vec<bool> = messages.iter().map(|(message, _)| message.compacted_out()).collect();
        assert_eq!(out, [true, false, true, false]);
    }
}

fn chunk(uuid: &str, number: i32, count: i32, key: u8) -> Bytes {
    let metadata = MessageMetadata {
        uuid: Some(uuid.into()),
        chunk_id: Some(number),
        num_chunks_from_msg: Some(count),
        partition_key: key_text(Some(key)),
        ..metadata()
    };
    proto::entry::build(&metadata, b"part")
}

fn kept_of(entries: &[Bytes]) -> Vec<usize> {
    let topic: Topic = entries.iter().enumerate().map(|(number, bytes)| (at(number), bytes.clone())).collect();
    let (kept, ..) = run(&topic, 100);
    (0..entries.len()).filter(|number| kept.iter().any(|(position, _)| *position == at(*number))).collect()
}

#[test]
fn a_message_in_chunks_stays_or_goes_as_a_whole() {
    let of = |key| [chunk("a", 0, 2, key), alone(Some(9), b"x"), chunk("a", 1, 2, key)];
    assert_eq!(kept_of(&of(1)), [0, 1, 2]);
    assert_eq!(kept_of(&[&of(1)[..], &[alone(Some(1), b"later")]].concat()), [1, 3]);
    assert_eq!(kept_of(&[&of(1)[..], &[alone(Some(1), b"")]].concat()), [1]);
    assert_eq!(kept_of(&[&[alone(Some(1), b"earlier")], &of(1)[..]].concat()), [1, 2, 3]);
}

#[test]
fn chunks_whose_rest_is_to_come_stay_and_take_nothing_with_them() {
    let all = [alone(Some(1), b"whole"), chunk("a", 0, 3, 1), chunk("b", 0, 2, 1), chunk("a", 1, 3, 1)];
    assert_eq!(kept_of(&all), [0, 1, 2, 3]);
    let rest = [chunk("a", 2, 3, 1)];
    assert_eq!(kept_of(&[&all[..], &rest].concat()), [1, 2, 3, 4]);
    // Begun anew: what came first is of no use.
    assert_eq!(kept_of(&[chunk("a", 0, 2, 1), chunk("a", 0, 2, 1), chunk("a", 1, 2, 1)]), [1, 2]);
}

#[test]
fn what_was_packed_empty_is_empty() {
    let mut metadata = MessageMetadata { partition_key: key_text(Some(1)), ..metadata() };
    let empty = codec::compress(&mut metadata, b"").unwrap();
    assert_eq!(kept_of(&[alone(Some(1), b"x"), proto::entry::build(&metadata, &empty)]), [0_usize; 0]);
    let null = MessageMetadata { null_value: Some(true), partition_key: key_text(Some(1)), ..super::tests::metadata() };
    assert_eq!(kept_of(&[alone(Some(1), b"x"), proto::entry::build(&null, b"")]), [0_usize; 0]);
}
