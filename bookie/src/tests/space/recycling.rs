//! Files that are used again.
use super::*;
use crate::disk::{AlignedBuffer, BLOCK};
use crate::format::{BATCH_HEADER, Generation, Kind, RECORD_HEADER, Record, SegmentHeader, SegmentId};

/// Spares, and a ledger whose entries are still in them.
fn with_spares() -> (SimDisk, Store, Duration) {
    let disk = SimDisk::new();
    let (mut store, mut clock) = (open(&disk, 1).unwrap(), Duration::ZERO);
    fill(&mut store, &[1], 0..80, 4000);
    assert_eq!(status(&mut store, delete(1, 1)), Status::Ok);
    pass_time(&mut store, &mut clock, 5 * SECOND);
    assert!(3 <= files(&disk, "spare-").len());
    (disk, store, clock)
}

/// Goal: once there are spares, the journal's bytes are all that is written.
/// Method: entries that fill whole blocks, one by one with the keeper at work; the model counts.
#[test]
fn in_used_files_a_byte_is_written_once() {
    let (disk, mut store, _) = with_spares();
    fill(&mut store, &[2], 0..15, 4096 - 64 - 48); // What is left of the segment that was begun before.
    let (zeros, recycled) = (traffic(&store).zeros.get(), traffic(&store).recycled.get());
    let (journal, (_, before)) = (store.journal.bytes_written, disk.traffic());
    fill(&mut store, &[2], 15..50, 4096 - 64 - 48);
    let (journal, written) = (store.journal.bytes_written - journal, disk.traffic().1 - before);
    assert_eq!(traffic(&store).zeros.get(), zeros, "no zeros go ahead");
    assert!(2 <= traffic(&store).recycled.get() - recycled);
    let per_byte = written as f64 / journal as f64;
    assert!(per_byte < 1.35, "{per_byte}: headers and footers of segments of 64 KiB, and nothing else");
}

#[test]
fn a_used_file_keeps_its_length_and_begins_with_a_new_header() {
    let (disk, mut store, _) = with_spares();
    let spares = files(&disk, "spare-");
    let lengths: Vec<_> = spares.iter().map(|name| disk.open(name).unwrap().length().unwrap()).collect();
    assert!(lengths.iter().all(|length| 60 << 10 <= *length), "{lengths:?}");
    let mut generations = std::collections::BTreeSet::new();
    let mut header = |name: &str| {
        let mut block = AlignedBuffer::zeroed(BLOCK);
        disk.open(name).unwrap().read_at(0, block.bytes_mut()).unwrap();
        let header = SegmentHeader::decode(block.bytes()).unwrap();
        assert!(generations.insert(header.generation.0), "each life of a file has a generation of its own");
        header
    };
    spares.iter().for_each(|name| drop(header(name)));
    fill(&mut store, &[2], 0..60, 4000);
    let segments = files(&disk, "segment-");
    for name in &segments {
        assert_eq!(header(name).segment.file_name(), *name);
        assert!(60 << 10 <= disk.open(name).unwrap().length().unwrap());
    }
    assert!(3 <= segments.len());
}

/// Goal: a torn batch over an old one of the same shape never brings the old one's records to life.
/// Method: the records of old and new batches begin at the same bytes, each at a sector; of the new batch only its first sector
/// reaches the disk. Under the old generation the rest would pass for records of the new batch.
#[test]
fn old_records_under_a_torn_batch_stay_dead() {
    let disk = SimDisk::new();
    let (mut store, mut clock) = (open(&disk, 1).unwrap(), Duration::ZERO);
    let first = 512 - BATCH_HEADER - RECORD_HEADER;
    let shape = |ledger: u64, from: u64| -> Vec<_> {
        let size = |entry: u64| if entry == from { first } else { 512 - RECORD_HEADER };
        (from..from + 8).map(|entry| add(entry, ledger, entry, size(entry))).collect()
    };
    for from in (0..15 * 16).step_by(8) {
        store.step(shape(1, from)).unwrap();
        while store.turn() {}
    }
    assert_eq!(status(&mut store, delete(1, 1)), Status::Ok);
    pass_time(&mut store, &mut clock, 5 * SECOND);
    let spares = files(&disk, "spare-").len();
    assert_ne!(spares, 0);
    // The rest of the active segment and of the one after it, then two batches in the one that was used before.
    let mut from = 0;
    let (mut recycled, mut place) = (String::new(), 0);
    while place != 3 * BLOCK {
        store.step(shape(2, from)).unwrap();
        from += 8;
        while store.turn() {}
        if recycled.is_empty() && files(&disk, "spare-").len() < spares {
            recycled = files(&disk, "segment-").pop().unwrap();
        }
        let extent =
            SegmentId::from_file_name(&recycled).and_then(|segment| store.segments.index.read().extent(segment));
        place = extent.map_or(0, |extent| extent.data_end as usize);
    }
    let old = bytes_of(&disk, &recycled);
    store.step(shape(2, from)).unwrap();
    let new = bytes_of(&disk, &recycled);
    drop(store);
    disk.kill();
    let (changed, kept) = (place..place + 512, place + 512..place + 2 * 4096);
    assert!(
        old[changed.clone()] != new[changed] && old[kept.clone()] != new[kept],
        "the batch went where it was expected"
    );
    disk.tamper(&recycled, |bytes| {
        *bytes = old.clone();
        bytes[place..place + 512].copy_from_slice(&new[place..place + 512]);
    });
    let generation = SegmentHeader::decode(&old[..BLOCK]).unwrap().generation;
    let passes = |generation: Generation| {
        let sectors = (0..8).map(|sector| place + if sector == 0 { BATCH_HEADER } else { 512 * sector });
        sectors
            .filter(|at| Record::read(&old[*at..], generation).is_some_and(|record| record.kind == Kind::Entry))
            .count()
    };
    assert_eq!(passes(generation), 0, "old records are none of this life");
    let mut store = open(&disk, 7).unwrap();
    assert_eq!(status(&mut store, read(1, 1, 0, 1)), Status::Deleted);
    let holding = ask(&mut store, held(1, 2)).holding.unwrap();
    assert_eq!(holding.entries, from + 1, "one record of the torn batch is whole");
}

fn bytes_of(disk: &SimDisk, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    disk.tamper(name, |content| bytes = content.clone());
    bytes
}

/// A file that was prepared from a spare and not used is not known to be unused: it is sealed without an entry, and dropped.
#[test]
fn restarts_leave_nothing_behind() {
    let (disk, mut store, mut clock) = with_spares();
    for life in 2..30 {
        assert_eq!(status(&mut store, add(1, 2, life, 3000)), Status::Ok);
        while store.turn() {}
        drop(store);
        disk.lose_power(life);
        store = open(&disk, life).unwrap();
        pass_time(&mut store, &mut clock, 5 * SECOND);
        pass_time(&mut store, &mut clock, LONG);
        let all = disk.list().unwrap();
        assert!(all.len() <= 20, "{all:?}");
    }
    for life in 2..30 {
        assert_eq!(status(&mut store, read(1, 2, life, life + 1)), Status::Ok);
    }
}

#[test]
fn few_spares_are_kept_and_a_short_file_is_none() {
    let disk = SimDisk::new();
    let (mut store, mut clock) = (open(&disk, 1).unwrap(), Duration::ZERO);
    fill(&mut store, &[1], 0..300, 4000);
    fill(&mut store, &[2], 0..1, 100);
    store.close();
    disk.kill();
    let mut store = open(&disk, 2).unwrap();
    assert_eq!(status(&mut store, delete(1, 1)), Status::Ok);
    assert_eq!(status(&mut store, delete(1, 2)), Status::Ok);
    pass_time(&mut store, &mut clock, LONG);
    assert_eq!(files(&disk, "spare-").len(), 8);
    drop(store);
    disk.kill();
    // Of a bookie whose segments are of another size now they are none.
    open_sized(&disk, 3, 1 << 20).unwrap();
    assert!(files(&disk, "spare-").is_empty());
}
