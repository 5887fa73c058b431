//! What a start finds: sealed segments are believed by their footers, others are scanned, and whatever was not proven to be synced
//! is handed to the journal to be appended again.
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::scan::{Scan, Window, scan};
use super::{HEADER_END, Options, Segments};
use crate::disk::{AlignedBuffer, BLOCK, Disk, DiskFile};
use crate::error::OpenError;
use crate::format::{
    FORMAT_VERSION, Footer, Generation, HeaderError, Kind, Place, RECORD_HEADER, Record, Row, SegmentHeader, SegmentId,
};
use crate::identity::Identity;
use crate::index::{Extent, Index};

/// A store as found, and what the journal goes on with.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) segments: Arc<Segments>,
    /// Scanned ones, to get a footer once `again` is synced.
    pub(crate) to_seal: Vec<SegmentId>,
    /// For the journal to write next.
    pub(crate) segment: SegmentId,
    pub(crate) sequence: u64,
    /// What is known to be synced.
    pub(crate) synced: Place,
    /// Found whole, but not proven to be synced.
    pub(crate) again: Vec<(Record, Bytes)>,
}

#[derive(Debug)]
enum Content {
    Sealed(Footer, Vec<Row>),
    Scanned(Scan),
}

#[derive(Debug)]
struct Loaded {
    segment: SegmentId,
    generation: Generation,
    file: Arc<dyn DiskFile>,
    content: Content,
}

/// Reads a claimed directory.
pub(crate) fn open(disk: Arc<dyn Disk>, identity: &Identity, options: Options) -> Result<Recovered, OpenError> {
    let mut loaded = load_all(disk.as_ref(), identity)?;
    remove_unused(disk.as_ref(), &mut loaded)?;
    let ends = proven_ends(disk.as_ref(), &loaded)?;

    let mut index = Index::default();
    for (segment, end) in loaded.iter().zip(&ends) {
        segment.enter(*end, &mut index);
    }
    let last = loaded.last().map(|last| last.segment);
    let sequence = loaded.iter().filter_map(Loaded::sequence).max().map_or(0, |last| last + 1);
    let synced = last.zip(ends.last()).map_or(Place::default(), |(segment, end)| Place { segment, offset: *end });

    let segments = Arc::new(Segments::new(disk, identity.clone(), options, index));
    let mut again = Vec::new();
    let mut seen = HashSet::new(); // A start that lost power while it appended again leaves records twice.
    for (segment, end) in loaded.iter().zip(&ends) {
        segment.unproven(*end, &segments, &mut |record, payload| {
            if seen.insert((record.kind, record.ledger, record.entry)) {
                again.push((record, payload));
            }
        })?;
    }
    let scanned = loaded.iter().filter(|loaded| matches!(loaded.content, Content::Scanned(_)));
    let to_seal = scanned.map(|loaded| loaded.segment).collect();
    let segment = last.map_or(SegmentId::FIRST, SegmentId::next);
    Ok(Recovered { segments, to_seal, segment, sequence, synced, again })
}

fn load_all(disk: &dyn Disk, identity: &Identity) -> Result<Vec<Loaded>, OpenError> {
    let names = disk.list().map_err(|error| OpenError::disk(disk.place(), "list", error))?;
    // Sorted names are sorted ids. Segments are never removed from the middle: giving space back, when it comes, must
    // leave a durable mark of what it took.
    let ids: Vec<_> = names.iter().filter_map(|name| SegmentId::from_file_name(name)).collect();
    for (expected, found) in (SegmentId::FIRST.0..).map(SegmentId).zip(&ids) {
        if expected != *found {
            return Err(OpenError::SegmentMissing { path: disk.place().join(expected.file_name()) });
        }
    }
    let mut loaded = Vec::with_capacity(ids.len());
    for segment in &ids {
        match load(disk, identity, *segment)? {
            Some(found) => loaded.push(found),
            None if Some(segment) == ids.last() => remove(disk, *segment)?,
            None => return Err(corrupt(disk, *segment, 0, "the segment's header")),
        }
    }
    Ok(loaded)
}

/// `None` when the file was never used: its header is not whole and nothing follows it.
fn load(disk: &dyn Disk, identity: &Identity, segment: SegmentId) -> Result<Option<Loaded>, OpenError> {
    let path = disk.place().join(segment.file_name());
    let fault = |error| OpenError::disk(path.clone(), "read", error);
    let file = disk.open(&segment.file_name()).map_err(fault)?;
    // A torn tail may leave a length that is no whole block.
    let length = file.length().map_err(fault)? / BLOCK as u64 * BLOCK as u64;
    let mut window = Window::new(file.as_ref());
    let header = match SegmentHeader::decode(window.get(0, BLOCK).map_err(fault)?) {
        Ok(header) => header,
        Err(HeaderError::Version(found)) => {
            return Err(OpenError::Version { path, found, known: FORMAT_VERSION });
        }
        Err(HeaderError::Damaged) => {
            let mut at = HEADER_END;
            while at < length {
                if window.get(at, BLOCK).map_err(fault)?.iter().any(|byte| *byte != 0) {
                    return Err(corrupt(disk, segment, 0, "the segment's header"));
                }
                at += BLOCK as u64;
            }
            return Ok(None);
        }
    };
    if header.cluster != identity.cluster || header.bookie != identity.bookie {
        let of = |bookie: &str, cluster: &str| format!("{bookie} (cluster instance {cluster})");
        let found = of(header.bookie.as_str(), &header.cluster);
        return Err(OpenError::OtherBookie { path, found, expected: of(identity.bookie.as_str(), &identity.cluster) });
    }
    if header.segment != segment {
        return Err(corrupt(disk, segment, 0, "the segment's number"));
    }
    let generation = header.generation;
    let content = match sealed(file.as_ref(), segment, generation, length).map_err(fault)? {
        Some((footer, rows)) => Content::Sealed(footer, rows),
        None => Content::Scanned(scan(file.as_ref(), segment, generation, length).map_err(fault)?),
    };
    Ok(Some(Loaded { segment, generation, file, content }))
}

fn sealed(
    file: &dyn DiskFile,
    segment: SegmentId,
    generation: Generation,
    length: u64,
) -> std::io::Result<Option<(Footer, Vec<Row>)>> {
    let Some(trailer_at) = length.checked_sub(BLOCK as u64).filter(|at| HEADER_END <= *at) else { return Ok(None) };
    let mut block = AlignedBuffer::zeroed(BLOCK);
    file.read_at(trailer_at, block.bytes_mut())?;
    let Some(footer) = Footer::read(block.bytes(), segment, generation, length) else { return Ok(None) };
    // The trailer's own check has bounded the rows by the file.
    let mut window = Window::new(file);
    let rows = footer.rows(window.get(footer.rows_offset, footer.rows_bytes())?);
    if rows.is_none() {
        tracing::warn!(segment = segment.0, "a footer is damaged, the segment is scanned instead");
    }
    Ok(rows.map(|rows| (footer, rows)))
}

/// Segments that were prepared and never written to go, so that restarts leave nothing behind.
fn remove_unused(disk: &dyn Disk, loaded: &mut Vec<Loaded>) -> Result<(), OpenError> {
    let unused = |content: &Content| matches!(content, Content::Scanned(scan) if scan.batches.is_empty() && scan.clean);
    while let Some(last) = loaded.pop_if(|last| unused(&last.content)) {
        remove(disk, last.segment)?;
    }
    Ok(())
}

fn remove(disk: &dyn Disk, segment: SegmentId) -> Result<(), OpenError> {
    disk.remove(&segment.file_name())
        .map_err(|error| OpenError::disk(disk.place().join(segment.file_name()), "remove the unused", error))
}

fn corrupt(disk: &dyn Disk, segment: SegmentId, offset: u64, what: &'static str) -> OpenError {
    OpenError::Corrupt { path: disk.place().join(segment.file_name()), offset, what }
}

/// Up to where each segment is known to have been synced. Damage below is corruption, above it a torn tail.
fn proven_ends(disk: &dyn Disk, loaded: &[Loaded]) -> Result<Vec<u64>, OpenError> {
    let named: HashMap<_, _> =
        loaded.iter().filter_map(Loaded::before).map(|place| (place.segment, place.offset)).collect();
    let mut ends = Vec::with_capacity(loaded.len());
    for Loaded { segment, content, .. } in loaded {
        let named = named.get(segment).copied();
        let (whole_end, end, damage) = match content {
            Content::Sealed(footer, _) => (footer.data_end, named.unwrap_or(0).max(footer.data_end), None),
            Content::Scanned(scan) => {
                let damage = scan.batches.last().and_then(|batch| batch.damage);
                (scan.whole_end, named.unwrap_or(scan.proven), damage)
            }
        };
        if whole_end < end {
            return Err(corrupt(disk, *segment, damage.unwrap_or(whole_end), "a batch of entries"));
        }
        ends.push(end);
    }
    Ok(ends)
}

impl Loaded {
    fn before(&self) -> Option<Place> {
        match &self.content {
            Content::Sealed(footer, _) => footer.before,
            Content::Scanned(scan) => scan.before(),
        }
    }

    fn sequence(&self) -> Option<u64> {
        match &self.content {
            Content::Sealed(footer, _) => Some(footer.sequence),
            Content::Scanned(scan) => scan.batches.last().map(|batch| batch.head.sequence),
        }
    }

    /// Puts what is proven into the index.
    fn enter(&self, end: u64, index: &mut Index) {
        let extent = Extent { generation: self.generation, data_end: end };
        match &self.content {
            Content::Sealed(_, rows) => index.load(self.segment, extent, rows),
            Content::Scanned(scan) => {
                index.begin(self.segment, Extent { data_end: HEADER_END, ..extent });
                for batch in scan.batches.iter().filter(|batch| batch.head.end() <= end) {
                    let place = Place { segment: self.segment, offset: batch.head.end() };
                    let records = batch.records.iter().map(|(record, offset)| (record, *offset));
                    index.apply(place, batch.head.synced, batch.head.sequence, records);
                }
            }
        }
    }

    /// Collects what is whole but not proven, unless an earlier start has appended it again already.
    fn unproven(&self, end: u64, segments: &Segments, again: &mut dyn FnMut(Record, Bytes)) -> Result<(), OpenError> {
        let Content::Scanned(scan) = &self.content else { return Ok(()) };
        let fault = |error| OpenError::disk(segments.path(self.segment), "read", error);
        let mut window = Window::new(self.file.as_ref());
        for batch in scan.batches.iter().filter(|batch| end < batch.head.end()) {
            for (record, offset) in &batch.records {
                let index = segments.index.read();
                let flags = index.standing(record.ledger).flags;
                let known = match record.kind {
                    Kind::Fence => flags.fenced,
                    Kind::Tombstone => flags.deleted,
                    Kind::Entry => {
                        flags.deleted || segments.held(&index, record.ledger, record.entry).map_err(fault)?.is_some()
                    }
                };
                drop(index);
                if !known {
                    let at = u64::from(*offset) + RECORD_HEADER as u64;
                    let payload = window.get(at, record.size as usize).map_err(fault)?;
                    again(*record, Bytes::copy_from_slice(payload));
                }
            }
        }
        Ok(())
    }
}
