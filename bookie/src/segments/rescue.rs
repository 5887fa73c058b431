//! What is whole of a damaged segment. The file as it was is kept beside it first, and never touched again.
use std::io;
use std::sync::Arc;

use super::HEADER_END;
use super::scan::{Scan, ScannedBatch, Window};
use crate::disk::{AlignedBuffer, BLOCK, Disk, DiskFile};
use crate::format::{BATCH_HEADER, BatchHead, Generation, RECORD_HEADER, Record, SegmentHeader, SegmentId};
use crate::identity::Identity;

/// Before the name of a damaged file.
const KEPT: &str = "damaged-";
const COPIED_AT_ONCE: usize = 1 << 20;

/// Copies a file that will be written to, unless an earlier start has.
pub(crate) fn keep_copy(disk: &dyn Disk, name: &str) -> io::Result<()> {
    let (kept, new) = (format!("{KEPT}{name}"), format!("{KEPT}{name}.new"));
    let names = disk.list()?;
    if names.contains(&kept) {
        return Ok(());
    }
    if names.contains(&new) {
        disk.remove(&new)?;
    }
    let (from, to) = (disk.open(name)?, disk.create(&new)?);
    let mut buffer = AlignedBuffer::zeroed(COPIED_AT_ONCE);
    let mut at = 0;
    loop {
        let count = from.read_at(at, buffer.bytes_mut())?.next_multiple_of(BLOCK);
        if count == 0 {
            break;
        }
        to.write_at(at, &buffer.bytes()[..count])?;
        at += count as u64;
    }
    to.sync()?;
    disk.rename(&new, &kept)?;
    disk.sync_directory()
}

/// Puts a file away of which nothing can be used.
pub(crate) fn set_aside(disk: &dyn Disk, name: &str) -> io::Result<()> {
    let taken = disk.list()?;
    let mut kept = format!("{KEPT}{name}");
    while taken.contains(&kept) {
        kept.push('+'); // Of an earlier time.
    }
    disk.rename(name, &kept)?;
    disk.sync_directory()
}

/// A segment whose header is damaged, or another's.
#[derive(Debug)]
pub(super) struct Rescued {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) generation: Generation,
    pub(super) scan: Scan,
}

/// Finds the batches of a segment without believing its header, and gives it a new one. Without a single batch the file is set aside.
pub(super) fn rescue(
    disk: &dyn Disk,
    identity: &Identity,
    segment: SegmentId,
    generation: Option<Generation>,
) -> io::Result<Option<Rescued>> {
    let name = segment.file_name();
    let file = disk.open(&name)?;
    let length = file.length()? / BLOCK as u64 * BLOCK as u64;
    let found = match generation {
        Some(generation) => Some(generation),
        None => generation_in(&file, segment, length)?,
    };
    if let Some(generation) = found {
        let scan = salvage(&file, segment, generation, length)?;
        if !scan.batches.is_empty() {
            keep_copy(disk, &name)?;
            let Identity { bookie, cluster, .. } = identity.clone();
            file.write_at(0, SegmentHeader { segment, generation, bookie, cluster }.encode().bytes())?;
            file.sync()?;
            return Ok(Some(Rescued { file, generation, scan }));
        }
    }
    set_aside(disk, &name)?;
    Ok(None)
}

/// A segment's number is never given twice, so whichever batch bears it is of this segment's life.
fn generation_in(file: &Arc<dyn DiskFile>, segment: SegmentId, length: u64) -> io::Result<Option<Generation>> {
    let mut window = Window::new(file.clone());
    let mut at = HEADER_END;
    while at < length {
        let head = BatchHead::read_anywhere(window.get(at, BATCH_HEADER)?);
        if let Some(head) = head.filter(|head| head.segment == segment && head.offset == at) {
            return Ok(Some(head.generation));
        }
        at += BLOCK as u64;
    }
    Ok(None)
}

/// Like [`scan`](super::scan::scan), but goes on behind damage at the next head that is whole.
pub(super) fn salvage(
    file: &Arc<dyn DiskFile>,
    segment: SegmentId,
    generation: Generation,
    length: u64,
) -> io::Result<Scan> {
    let mut window = Window::new(file.clone());
    let mut found = Scan { batches: Vec::new(), whole_end: HEADER_END, proven: HEADER_END, clean: false };
    let mut at = HEADER_END;
    while at < length {
        let head = BatchHead::read(window.get(at, BATCH_HEADER)?, segment, generation, at);
        let Some(head) = head.filter(|head| head.end() <= length) else {
            at += BLOCK as u64;
            continue;
        };
        found.prove(&head);
        let records = whole_records(&mut window, &head)?;
        at = head.end();
        found.whole_end = at;
        found.batches.push(ScannedBatch { head, records, damage: None });
    }
    Ok(found)
}

/// The records of a batch that are whole, up to the first whose header is not.
fn whole_records(window: &mut Window, head: &BatchHead) -> io::Result<Vec<(Record, u32)>> {
    let end = head.offset + u64::from(head.length);
    let mut at = head.offset + BATCH_HEADER as u64;
    let mut records = Vec::new();
    for _ in 0..head.records {
        let record = Record::read(window.get(at, RECORD_HEADER)?, head.generation);
        let Some(record) = record.filter(|record| at + record.bytes() as u64 <= end) else { break };
        if record.holds(window.get(at + RECORD_HEADER as u64, record.size as usize)?) {
            records.push((record, u32::try_from(at).expect("segments are below 4 GiB")));
        }
        at += record.bytes() as u64;
    }
    Ok(records)
}
