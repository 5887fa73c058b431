use proto::digest::entry_digest;

use super::*;
use crate::disk::{AlignedBuffer, BLOCK};
use proto::{BookieId, LedgerId};

const GENERATION: Generation = Generation(77);

fn header() -> SegmentHeader {
    let bookie: BookieId = "bookie-1".parse().unwrap();
    SegmentHeader { segment: SegmentId(3), generation: GENERATION, bookie, cluster: "instance".into() }
}

#[test]
fn names_of_segments_read_as_they_are_written() {
    for id in [SegmentId(12), SegmentId::FIRST_SORTED, SegmentId(u64::MAX)] {
        assert_eq!(SegmentId::from_file_name(&id.file_name()), Some(id));
    }
    assert_eq!(SegmentId::FIRST_SORTED.file_name(), "sorted-00000000000000000001");
    for other in ["segment-12", "segment-00000000000000000000", "segment-+0000000000000000012", "lock"] {
        assert_eq!(SegmentId::from_file_name(other), None, "{other}");
    }
}

#[test]
fn a_segment_header_reads_as_it_was_written_and_every_flipped_bit_is_found() {
    let block = header().encode();
    assert_eq!(SegmentHeader::decode(block.bytes()), Ok(header()));
    for at in (0..140).chain([BLOCK - 1]) {
        let mut bytes = block.bytes().to_vec();
        bytes[at] ^= 4;
        let found = SegmentHeader::decode(&bytes);
        let version = (8..12).contains(&at); // Outside of the CRC, so that a later version may move it.
        assert!(if version {
            matches!(found, Err(HeaderError::Version(version)) if 2 < version)
        } else {
            found == Err(HeaderError::Damaged)
        });
    }
    assert_eq!(SegmentHeader::decode(&[]), Err(HeaderError::Damaged));
}

fn head() -> BatchHead {
    BatchHead {
        segment: SegmentId(3),
        generation: GENERATION,
        sequence: 9,
        offset: 8192,
        synced: Place { segment: SegmentId(2), offset: 4096 },
        length: 5000,
        records: 2,
    }
}

#[test]
fn a_batch_head_counts_only_where_it_was_meant_to_lie() {
    let mut bytes = [0; BATCH_HEADER];
    head().write(&mut bytes);
    assert_eq!(BatchHead::read(&bytes, SegmentId(3), GENERATION, 8192), Some(head()));
    assert_eq!(head().end(), 8192 + 8192);
    assert_eq!(BatchHead::read(&bytes, SegmentId(4), GENERATION, 8192), None, "another segment's");
    assert_eq!(BatchHead::read(&bytes, SegmentId(3), Generation(78), 8192), None, "an earlier life's");
    assert_eq!(BatchHead::read(&bytes, SegmentId(3), GENERATION, 4096), None, "a misdirected write's");
    for at in 0..BATCH_HEADER {
        let mut bytes = bytes;
        bytes[at] ^= 1;
        assert_eq!(BatchHead::read_anywhere(&bytes), None, "byte {at}");
    }
}

#[test]
fn a_record_of_an_earlier_life_is_no_record() {
    let digest = entry_digest(LedgerId(1), EntryId(2), 7, b"payload");
    let (ledger, entry, confirmed) = (LedgerId(1), EntryId(2), EntryId(1));
    let record = Record { kind: Kind::Entry, ledger, entry, confirmed, length: 7, digest, size: 7 };
    let mut buffer = AlignedBuffer::with_capacity(BLOCK);
    record.append(GENERATION, &mut buffer);
    assert_eq!(Record::read(buffer.bytes(), GENERATION), Some(record));
    assert!(record.holds(b"payload") && !record.holds(b"Payload") && !record.holds(b""));
    assert_eq!(Record::read(buffer.bytes(), Generation(78)), None);
    for at in 0..RECORD_HEADER {
        let mut bytes = buffer.bytes().to_vec();
        bytes[at] ^= 1;
        assert_eq!(Record::read(&bytes, GENERATION), None, "byte {at}");
    }
}

#[test]
fn a_footer_reads_as_it_was_written_and_a_flipped_bit_is_found() {
    let entries: Vec<_> = (0..5).map(|n| IndexEntry { entry: EntryId(n), offset: 7, size: 8, digest: 9 }).collect();
    let row = |ledger| Row {
        ledger: LedgerId(ledger),
        first: EntryId(0),
        end: EntryId(5),
        confirmed: EntryId(4),
        offset: 0,
        count: 0,
        flags: RowFlags { fenced: ledger == 2, deleted: false },
        crc: 0,
        bytes: 280,
    };
    let mut runs = vec![(row(1), entries.clone()), (row(2), vec![])];
    let footer = Footer {
        segment: SegmentId(3),
        generation: GENERATION,
        data_end: 16384,
        before: None,
        sequence: 5,
        rows: 0,
        rows_offset: 0,
        rows_crc: 0,
        file_length: 0,
    };
    let EncodedFooter { body, trailer, footer } = encode_footer(footer, 0, &mut runs);
    let (bytes, trailer) = (body.bytes(), trailer.bytes());
    assert_eq!(footer.trailer_offset(), 16384 + bytes.len() as u64, "without a length to keep, the trailer follows");
    assert_eq!(Footer::read(trailer, SegmentId(3), GENERATION, footer.file_length), Some(footer));
    assert_eq!(Footer::read(trailer, SegmentId(3), GENERATION, footer.file_length + 4096), None, "not at the end");
    let rows_at = (footer.rows_offset - footer.data_end) as usize;
    assert_eq!(footer.rows(&bytes[rows_at..]), Some(vec![runs[0].0, runs[1].0]));
    assert_eq!(decode_index(&bytes[..5 * INDEX_ENTRY]), entries);
    assert_eq!(run_crc(&bytes[..5 * INDEX_ENTRY], GENERATION), runs[0].0.crc);
    for at in 0..TRAILER_BYTES {
        let mut block = trailer.to_vec();
        block[at] ^= 1;
        let reserved = (12..16).contains(&at);
        assert_eq!(Footer::read(&block, SegmentId(3), GENERATION, footer.file_length).is_some(), reserved, "byte {at}");
    }
    let kept = encode_footer(footer, 1 << 20, &mut runs).footer;
    assert_eq!((kept.file_length, kept.rows_offset), (1 << 20, footer.rows_offset), "or it lies at the end of that");
}

const TRAILER_BYTES: usize = 96;
