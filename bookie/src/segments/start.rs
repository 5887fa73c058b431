//! What a start finds: the manifest says which segments count, sealed ones are believed by their footers, others are scanned, and
//! whatever was not proven to be synced is handed to the journal to be appended again.
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::scan::{Scan, Window, scan};
use super::seal::read_footer;
use super::{HEADER_END, Options, Reserve, Segments, Spares, manifest};
use crate::disk::{BLOCK, Disk, DiskFile};
use crate::error::OpenError;
use crate::format::{
    FORMAT_VERSION, Footer, Generation, HeaderError, Kind, Listed, Manifest, Place, RECORD_HEADER, Record, Row,
    SegmentHeader, SegmentId,
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
    /// What the manifest says of the journal's segments: those before it count only if they are listed.
    pub(crate) settled: SegmentId,
    /// The first number that no sorted segment has.
    pub(crate) next_sorted: SegmentId,
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
    /// As the manifest has it.
    listed: Option<Listed>,
}

/// Reads a claimed directory.
pub(crate) fn open(disk: Arc<dyn Disk>, identity: &Identity, options: Options) -> Result<Recovered, OpenError> {
    let names = disk.list().map_err(|error| OpenError::disk(disk.place(), "list", error))?;
    let manifest = manifest::load(disk.as_ref(), identity, &names)?;
    let spares = sweep(disk.as_ref(), &manifest, &names, options.segment_bytes)
        .map_err(|error| OpenError::disk(disk.place(), "clear the leftovers in", error))?;
    let reserve = Reserve::find(disk.as_ref(), &names, options.reserve_bytes)
        .map_err(|error| OpenError::disk(disk.place(), "find the reserve in", error))?;
    let mut loaded = load_all(disk.as_ref(), identity, &manifest, &names)?;
    remove_unused(disk.as_ref(), &mut loaded)?;
    let ends = proven_ends(disk.as_ref(), &loaded)?;

    let Manifest { next: settled, sequence, marks, .. } = manifest;
    let mut index = Index::new(marks, settled, sequence);
    for (segment, end) in loaded.iter().zip(&ends) {
        segment.enter(*end, &mut index);
    }
    // The journal's segments come last, in order.
    let last = loaded.last().zip(ends.last()).filter(|(last, _)| !last.segment.is_sorted());
    let synced = last.map_or(Place::default(), |(last, end)| Place { segment: last.segment, offset: *end });
    let (segment, sequence) = (index.next_segment(), index.next_sequence());

    let segments = Arc::new(Segments::new(disk, identity.clone(), options, index, (spares, reserve)));
    let mut again = Vec::new();
    let mut seen = HashSet::new(); // A start that lost power while it appended again leaves records twice.
    for (segment, end) in loaded.iter().zip(&ends) {
        segment.unproven(*end, &segments, &mut |record, payload| {
            if seen.insert((record.kind, record.ledger, record.entry)) {
                again.push((record, payload));
            }
        })?;
    }
    let sorted = names.iter().filter_map(|name| SegmentId::from_file_name(name)).filter(|segment| segment.is_sorted());
    let next_sorted = sorted.max().map_or(SegmentId::FIRST_SORTED, SegmentId::next);
    let scanned = loaded.iter().filter(|loaded| matches!(loaded.content, Content::Scanned(_)));
    let to_seal = scanned.map(|loaded| loaded.segment).collect();
    Ok(Recovered { segments, to_seal, segment, sequence, synced, again, settled, next_sorted })
}

/// Puts away what does not count: segments that a manifest has replaced, or that were made for one that was never written.
fn sweep(disk: &dyn Disk, manifest: &Manifest, names: &[String], segment_bytes: u64) -> std::io::Result<Spares> {
    let spares = Spares::new(segment_bytes);
    spares.find(disk, names)?;
    let listed: HashSet<_> = manifest.segments.iter().map(|listed| listed.segment).collect();
    for name in names {
        let Some(segment) = SegmentId::from_file_name(name) else { continue };
        let follows = !segment.is_sorted() && manifest.next <= segment;
        if !follows && !listed.contains(&segment) {
            spares.free(disk, name, true)?;
        }
    }
    Ok(spares)
}

/// The segments that count: sorted ones, then the journal's in order.
fn load_all(
    disk: &dyn Disk,
    identity: &Identity,
    manifest: &Manifest,
    names: &[String],
) -> Result<Vec<Loaded>, OpenError> {
    let mut loaded = Vec::new();
    let missing = |segment: SegmentId| OpenError::SegmentMissing { path: disk.place().join(segment.file_name()) };
    let there: HashSet<&str> = names.iter().map(String::as_str).collect();
    let mut listed = manifest.segments.clone();
    listed.sort_unstable_by_key(|listed| (!listed.segment.is_sorted(), listed.segment));
    for listed in listed {
        if !there.contains(listed.segment.file_name().as_str()) {
            return Err(missing(listed.segment));
        }
        match load(disk, identity, listed.segment)? {
            Some(found) if found.generation == listed.generation => {
                loaded.push(Loaded { listed: Some(listed), ..found });
            }
            _ => return Err(corrupt(disk, listed.segment, 0, "the segment's header")),
        }
    }
    // Sorted names are sorted ids.
    let ids = names.iter().filter_map(|name| SegmentId::from_file_name(name));
    let ids: Vec<_> = ids.filter(|id| !id.is_sorted() && manifest.next <= *id).collect();
    for (expected, found) in (manifest.next.0..).map(SegmentId).zip(&ids) {
        if expected != *found {
            return Err(missing(expected));
        }
    }
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
    let mut window = Window::new(file.clone());
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
    let content = match read_footer(&file, segment, generation).map_err(fault)? {
        Some((footer, rows)) => Content::Sealed(footer, rows),
        None => Content::Scanned(scan(&file, segment, generation, length).map_err(fault)?),
    };
    Ok(Some(Loaded { segment, generation, file, content, listed: None }))
}

/// Segments that were prepared and never written to go, so that restarts leave nothing behind. A file that was used before is
/// not known to be one: it is sealed without an entry, and dropped.
fn remove_unused(disk: &dyn Disk, loaded: &mut Vec<Loaded>) -> Result<(), OpenError> {
    let unused = |content: &Content| matches!(content, Content::Scanned(scan) if scan.batches.is_empty() && scan.clean);
    while let Some(last) = loaded.pop_if(|last| last.listed.is_none() && unused(&last.content)) {
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
    for Loaded { segment, content, listed, .. } in loaded {
        let named = listed.map(|listed| listed.data_end).or_else(|| named.get(segment).copied());
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

    /// Puts what is proven into the index.
    fn enter(&self, end: u64, index: &mut Index) {
        match &self.content {
            Content::Sealed(footer, rows) => {
                index.load(self.segment, Extent::new(self.generation, end), footer.sequence, rows);
            }
            Content::Scanned(scan) => {
                index.begin(self.segment, Extent::new(self.generation, HEADER_END));
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
        let mut window = Window::new(self.file.clone());
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
