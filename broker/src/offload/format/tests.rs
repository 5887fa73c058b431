use bytes::Bytes;
use ledger::Entry;
use proptest::prelude::*;
use proto::{EntryId, LedgerId};

use super::block::{BLOCK_HEADER, ENTRY_HEADER};
use super::*;
use crate::offload::name::{Attempt, AttemptId};

/// Written by the first version that wrote objects. It must stay readable, byte for byte.
const FIXTURE: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/formats/object-v1.bin"));

fn attempt() -> Attempt {
    let topic = "persistent://public/default/orders-partition-3".parse().unwrap();
    Attempt { instance: "c0ffee".into(), topic, ledger: LedgerId(77), id: AttemptId(0x1234_5678_9abc_def0) }
}

/// The bytes of one object that holds the entries from `first` on.
fn object(first: u64, payloads: &[Vec<u8>]) -> Vec<u8> {
    let end = first + payloads.len() as u64;
    let header = Header {
        attempt: attempt(),
        number: 0,
        first: EntryId(first),
        ledger_end: EntryId(end),
        length_before: 7 * first,
        content: Content::Entries,
    };
    let (mut builder, head) = ObjectBuilder::new(header);
    let mut bytes = head.to_vec();
    for payload in payloads {
        bytes.extend(builder.push(payload).into_iter().flatten());
    }
    let (pieces, trailer) = builder.finish(true);
    bytes.extend(pieces.into_iter().flatten());
    assert_eq!(bytes.len() as u64, trailer.object_bytes);
    bytes
}

fn open(bytes: &[u8], tail: usize, object_bytes: u64) -> Result<Index, FormatError> {
    let tail = &bytes[bytes.len().saturating_sub(tail)..];
    match Tail::parse(tail, object_bytes, &attempt(), 0)? {
        Tail::Open(index) => Ok(index),
        Tail::From(offset) => {
            let from = usize::try_from(offset).unwrap();
            let rest = bytes.get(from..).ok_or(FormatError::Truncated { what: "the object" })?;
            match Tail::parse(rest, object_bytes, &attempt(), 0)? {
                Tail::Open(index) => Ok(index),
                Tail::From(_) => panic!("asked for twice"),
            }
        }
    }
}

/// Everything that a reader and the read-back look at.
fn read_all(bytes: &[u8], object_bytes: u64) -> Result<Vec<Entry>, FormatError> {
    let index = open(bytes, 4096, object_bytes)?;
    let (header, length) = Header::decode(bytes)?;
    header.check(&attempt(), 0)?;
    let mut digest = Digest::default();
    digest.update(&bytes[..length]);
    let (mut entries, mut total) = (Vec::new(), index.trailer().length_before);
    for number in 0..index.blocks() {
        let place = index.block(number);
        let range = usize::try_from(place.bytes().start).unwrap()..usize::try_from(place.bytes().end).unwrap();
        let block = Bytes::copy_from_slice(bytes.get(range).ok_or(FormatError::Truncated { what: "a block" })?);
        digest.update(&block);
        let block = Block::parse(block, &place, LedgerId(77), attempt().id)?;
        total = block.check_entries(LedgerId(77), total)?;
        assert_eq!(block.weight(), Block::weight_at(&place));
        assert_eq!(block.entry(block.end()), None);
        entries.extend((place.first.0..place.end.0).map(|entry| block.entry(EntryId(entry)).unwrap()));
        assert!((place.first.0..place.end.0).all(|entry| index.find(EntryId(entry)) == Some(number)));
    }
    digest.update(&index.encode_rows());
    if digest.value() != index.trailer().digest {
        return Err(FormatError::Checksum { what: "the object" });
    }
    Ok(entries)
}

fn payloads_of(entries: &[Entry]) -> Vec<Vec<u8>> {
    entries.iter().map(|entry| entry.payload.to_vec()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_put_in_comes_out(
        first in 0_u64..5,
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 1..60),
    ) {
        let bytes = object(first, &payloads);
        let entries = read_all(&bytes, bytes.len() as u64).unwrap();
        prop_assert_eq!(entries[0].entry, EntryId(first));
        prop_assert_eq!(payloads_of(&entries), payloads);
    }

    #[test]
    fn any_bytes_at_all_give_an_error_and_no_more(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let place = BlockPlace {
            number: 0, offset: 0, length: bytes.len() as u32, crc: 0, first: EntryId(0), end: EntryId(1),
        };
        prop_assert!(read_all(&bytes, bytes.len() as u64).is_err());
        prop_assert!(Header::decode(&bytes).is_err());
        prop_assert!(Block::parse(bytes.into(), &place, LedgerId(77), attempt().id).is_err());
    }

    /// A liar knows how to compute checksums.
    #[test]
    fn numbers_that_lie_with_right_checksums_give_an_error_or_the_entries(
        at in 16_usize..TRAILER_BYTES,
        value in prop_oneof![Just(0_u64), Just(1), Just(u64::MAX), Just(u64::from(u32::MAX)), any::<u64>()],
        width in 1_usize..=8,
        claimed in prop_oneof![Just(None), any::<u64>().prop_map(Some)],
    ) {
        let payloads = vec![vec![1; 700_000], vec![2; 700_000], vec![3; 5]];
        let mut bytes = object(0, &payloads);
        let trailer = bytes.len() - TRAILER_BYTES;
        let width = width.min(TRAILER_BYTES - at);
        put(&mut bytes, trailer + at, &value.to_le_bytes()[..width]);
        let crc = crc32c::crc32c(&bytes[trailer + 16..]);
        put(&mut bytes, trailer + 12, &crc.to_le_bytes());
        let object_bytes = claimed.unwrap_or(bytes.len() as u64);
        if let Ok(entries) = read_all(&bytes, object_bytes) {
            prop_assert_eq!(payloads_of(&entries), payloads);
        }
    }

    #[test]
    fn an_index_that_lies_with_right_checksums_gives_an_error_or_the_entries(
        at in 0_usize..48,
        value in prop_oneof![Just(0_u64), Just(u64::MAX), any::<u64>()],
        width in 1_usize..=8,
    ) {
        let payloads = vec![vec![1; 700_000], vec![2; 700_000]];
        let mut bytes = object(0, &payloads);
        let trailer = bytes.len() - TRAILER_BYTES;
        let width = width.min(48 - at);
        put(&mut bytes, trailer - 48 + at, &value.to_le_bytes()[..width]);
        let crc = crc32c::crc32c(&bytes[trailer - 48..trailer]);
        put(&mut bytes, trailer + 84, &crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[trailer + 16..]);
        put(&mut bytes, trailer + 12, &crc.to_le_bytes());
        if let Ok(entries) = read_all(&bytes, bytes.len() as u64) {
            prop_assert_eq!(payloads_of(&entries), payloads);
        }
    }

    #[test]
    fn a_block_that_lies_with_a_right_checksum_gives_an_error_or_the_entries(
        at in 8_usize..200,
        value in prop_oneof![Just(0_u64), Just(u64::MAX), any::<u64>()],
        width in 1_usize..=8,
    ) {
        let bytes = object(0, &[vec![1; 50], vec![2; 60], vec![3; 70]]);
        let mut place = open(&bytes, 4096, bytes.len() as u64).unwrap().block(0);
        let from = usize::try_from(place.offset).unwrap();
        let mut block = bytes[from..from + place.length as usize].to_vec();
        put(&mut block, at, &value.to_le_bytes()[..width]);
        place.crc = crc32c::crc32c(&block[8..]);
        put(&mut block, 4, &place.crc.to_le_bytes());
        if let Ok(block) = Block::parse(block.into(), &place, LedgerId(77), attempt().id) {
            let entries: Vec<_> = (0..3).map(|entry| block.entry(EntryId(entry)).unwrap()).collect();
            prop_assert_eq!(entries.len(), 3);
        }
    }
}

#[test]
fn an_object_that_is_cut_anywhere_is_found_out() {
    let bytes = object(0, &[b"first".to_vec(), vec![7; 300], vec![]]);
    for cut in 0..bytes.len() {
        assert!(read_all(&bytes[..cut], cut as u64).is_err(), "cut at {cut}");
        assert!(read_all(&bytes[..cut], bytes.len() as u64).is_err(), "cut at {cut} by a store that lies");
        assert!(read_all(&bytes[cut + 1..], bytes.len() as u64).is_err(), "begins after {cut}");
    }
    for short in [0, 1, TRAILER_BYTES - 1] {
        let tail = &bytes[bytes.len() - short..];
        let parsed = Tail::parse(tail, bytes.len() as u64, &attempt(), 0);
        assert_eq!(parsed.unwrap_err(), FormatError::Truncated { what: "the trailer" });
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let bytes = object(3, &[b"first".to_vec(), vec![7; 100], vec![]]);
    assert!(read_all(&bytes, bytes.len() as u64).is_ok());
    for at in 0..bytes.len() {
        for bit in [0x01, 0x80] {
            let mut changed = bytes.clone();
            changed[at] ^= bit;
            assert!(read_all(&changed, bytes.len() as u64).is_err(), "byte {at} of {}", bytes.len());
        }
    }
}

/// What a reader of one block sees: its index and the block, not the object's digest.
#[test]
fn every_flipped_bit_of_a_block_is_found_by_its_own_checksum() {
    let bytes = object(0, &[b"first".to_vec(), vec![7; 100]]);
    let place = open(&bytes, 4096, bytes.len() as u64).unwrap().block(0);
    for at in usize::try_from(place.offset).unwrap()..usize::try_from(place.bytes().end).unwrap() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x20;
        let block =
            changed[usize::try_from(place.offset).unwrap()..usize::try_from(place.bytes().end).unwrap()].to_vec();
        assert_eq!(
            Block::parse(block.into(), &place, LedgerId(77), attempt().id).unwrap_err(),
            FormatError::Checksum { what: "a block" }
        );
    }
}

#[test]
fn another_ledgers_object_is_not_taken_for_ours() {
    let bytes = object(0, &[b"entry".to_vec()]);
    let size = bytes.len() as u64;
    let topic = "persistent://public/default/other".parse().unwrap();
    let others = [
        (Attempt { ledger: LedgerId(78), ..attempt() }, 0),
        (Attempt { id: AttemptId(1), ..attempt() }, 0),
        (Attempt { instance: "beef".into(), ..attempt() }, 0),
        (Attempt { topic, ..attempt() }, 0),
        (attempt(), 1),
    ];
    for (other, number) in others {
        let tail = Tail::parse(&bytes, size, &other, number).unwrap_err();
        assert!(matches!(tail, FormatError::Foreign { .. }), "{other:?}: {tail}");
        let (header, _) = Header::decode(&bytes).unwrap();
        assert!(header.check(&other, number).is_err(), "{other:?}");
    }
    let place = open(&bytes, 4096, size).unwrap().block(0);
    let range = usize::try_from(place.offset).unwrap()..usize::try_from(place.bytes().end).unwrap();
    let block = Bytes::copy_from_slice(&bytes[range]);
    for (ledger, id) in [(78, attempt().id), (77, AttemptId(1))] {
        let parsed = Block::parse(block.clone(), &place, LedgerId(ledger), id);
        assert!(matches!(parsed.unwrap_err(), FormatError::Foreign { .. }));
    }
}

#[test]
fn a_later_version_is_named_and_not_guessed_at() {
    let mut bytes = object(0, &[b"entry".to_vec()]);
    let (size, trailer) = (bytes.len() as u64, bytes.len() - TRAILER_BYTES);
    bytes[8] = 2;
    bytes[trailer + 8] = 3;
    assert_eq!(Header::decode(&bytes).unwrap_err(), FormatError::Version(2));
    assert_eq!(open(&bytes, 4096, size).unwrap_err(), FormatError::Version(3));
    bytes[trailer + 8] = 1;
    put(&mut bytes, trailer + 36, &9_u16.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[trailer + 16..]);
    put(&mut bytes, trailer + 12, &crc.to_le_bytes());
    assert_eq!(open(&bytes, 4096, size).unwrap_err(), FormatError::Content(9));
}

#[test]
fn blocks_hold_about_a_mebibyte_and_a_larger_entry_has_one_of_its_own() {
    let sizes = [600_000, 500_000, 10, 3 << 20, 20, 30, 1 << 20, 40];
    let payloads: Vec<Vec<u8>> = sizes.iter().map(|size| vec![9; *size]).collect();
    let bytes = object(0, &payloads);
    let index = open(&bytes, 4096, bytes.len() as u64).unwrap();
    let ranges: Vec<(u64, u64)> =
        (0..index.blocks()).map(|block| index.block(block)).map(|place| (place.first.0, place.end.0)).collect();
    assert_eq!(ranges, [(0, 1), (1, 3), (3, 4), (4, 6), (6, 7), (7, 8)]);
    for block in 1..index.blocks() {
        let (one, other) = (index.block(block - 1).length, index.block(block).length);
        let next = sizes[usize::try_from(index.block(block).first.0).unwrap()];
        assert!(
            BLOCK_BYTES < one as usize + ENTRY_HEADER + next,
            "block {block} could have been longer: {one} {other}"
        );
    }
    assert_eq!(payloads_of(&read_all(&bytes, bytes.len() as u64).unwrap()), payloads);
}

#[test]
fn the_index_of_the_largest_object_lies_in_its_tail() {
    let blocks = 2 * (4_u64 << 30) / BLOCK_BYTES as u64 + 1; // Two neighbours hold more than one block's bytes.
    assert!(blocks * 24 + TRAILER_BYTES as u64 <= TAIL_BYTES);
    const { assert!(BLOCK_HEADER + ENTRY_HEADER + (64 << 20) < BLOCK_BYTES_MAX) };
}

/// The payloads of the checked-in object.
fn fixture() -> Vec<Vec<u8>> {
    vec![b"first".to_vec(), Vec::new(), (0..=255).collect(), b"the last entry".to_vec()]
}

#[test]
fn the_first_version_is_read_and_written_byte_for_byte() {
    assert_eq!(payloads_of(&read_all(FIXTURE, FIXTURE.len() as u64).unwrap()), fixture());
    assert_eq!(object(0, &fixture()), FIXTURE);
}
