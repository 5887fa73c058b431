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

fn index(entries: u64) -> Vec<IndexEntry> {
    (0..entries).map(|n| IndexEntry { entry: EntryId(n), offset: 7, size: 8, digest: 9 }).collect()
}

fn row(ledger: u64) -> Row {
    Row {
        ledger: LedgerId(ledger),
        first: EntryId(0),
        end: EntryId(5),
        confirmed: EntryId(4),
        offset: 0,
        count: 0,
        flags: RowFlags { fenced: ledger == 2, deleted: false },
        crc: 0,
        bytes: 280,
    }
}

fn footer() -> Footer {
    Footer {
        segment: SegmentId(3),
        generation: GENERATION,
        data_end: 16384,
        before: None,
        sequence: 5,
        rows: 0,
        rows_offset: 0,
        rows_crc: 0,
        file_length: 0,
    }
}

/// The footer, and what was written of it before the trailer.
fn encoded<'a>(length_min: u64, runs: impl Iterator<Item = (Row, &'a [IndexEntry])>) -> (EncodedFooter, Vec<u8>) {
    let mut bytes = Vec::new();
    let mut write = |offset, piece: &[u8]| {
        assert_eq!(offset, 16384 + bytes.len() as u64, "each write follows the last");
        assert!(piece.len().is_multiple_of(BLOCK) && !piece.is_empty(), "of whole blocks");
        bytes.extend_from_slice(piece);
        Ok(())
    };
    (encode_footer(footer(), length_min, runs, &mut write).expect("it can be written"), bytes)
}

#[test]
fn a_footer_reads_as_it_was_written_and_a_flipped_bit_is_found() {
    let entries = index(5);
    let runs = || [(row(1), &entries[..]), (row(2), &[])].into_iter();
    let (EncodedFooter { rows, trailer, footer }, bytes) = encoded(0, runs());
    let trailer = trailer.bytes();
    assert_eq!(footer.trailer_offset(), 16384 + bytes.len() as u64, "without a length to keep, the trailer follows");
    assert_eq!(Footer::read(trailer, SegmentId(3), GENERATION, footer.file_length), Some(footer));
    assert_eq!(Footer::read(trailer, SegmentId(3), GENERATION, footer.file_length + 4096), None, "not at the end");
    let rows_at = (footer.rows_offset - footer.data_end) as usize;
    assert_eq!(footer.rows(&bytes[rows_at..]), Some(rows.clone()));
    assert_eq!(decode_index(&bytes[..5 * INDEX_ENTRY]), entries);
    assert_eq!(run_crc(&bytes[..5 * INDEX_ENTRY], GENERATION), rows[0].crc);
    for at in 0..TRAILER_BYTES {
        let mut block = trailer.to_vec();
        block[at] ^= 1;
        let reserved = (12..16).contains(&at);
        assert_eq!(Footer::read(&block, SegmentId(3), GENERATION, footer.file_length).is_some(), reserved, "byte {at}");
    }
    let kept = encoded(1 << 20, runs()).0.footer;
    assert_eq!((kept.file_length, kept.rows_offset), (1 << 20, footer.rows_offset), "or it lies at the end of that");
}

#[test]
fn a_footer_of_many_writes_reads_as_one_of_few() {
    let entries = index(20);
    let (EncodedFooter { rows, footer, .. }, bytes) =
        encoded(0, (0..3000).map(|ledger| (row(ledger), &entries[..(ledger % 20) as usize])));
    assert!(500 << 10 < bytes.len(), "much more than one write: {}", bytes.len());
    assert_eq!(footer.rows(&bytes[(footer.rows_offset - footer.data_end) as usize..]).as_ref(), Some(&rows));
    for (row, ledger) in rows.iter().zip(0..) {
        let at = (row.offset - footer.data_end) as usize;
        let run = &bytes[at..at + row.count as usize * INDEX_ENTRY];
        assert_eq!((row.ledger, row.count), (LedgerId(ledger), (ledger % 20) as u32));
        assert_eq!((decode_index(run).len(), run_crc(run, GENERATION)), (row.count as usize, row.crc));
    }
}

#[test]
fn a_footer_that_cannot_be_written_says_so() {
    let entries = index(10_000);
    let full = &mut |_, _: &[u8]| Err(std::io::ErrorKind::StorageFull.into());
    let outcome = encode_footer(footer(), 0, [(row(1), &entries[..])].into_iter(), full);
    assert_eq!(outcome.expect_err("nothing was written").kind(), std::io::ErrorKind::StorageFull);
}

const TRAILER_BYTES: usize = 96;
