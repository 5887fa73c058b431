//! What a start finds: the manifest says which segments count, sealed ones are believed by their footers, others are scanned, and
//! whatever was not proven to be synced is handed to the journal to be appended again.
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use proto::LedgerId;

use super::scan::{Scan, Window, scan};
use super::seal::read_footer;
use super::{HEADER_END, Losses, Options, Reserve, Segments, Spares, manifest, rescue};
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
    /// Ledgers with entries among these that were first written before something that is lost.
    pub(crate) repeated: HashSet<LedgerId>,
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
    /// Damage was found, and passed over.
    rescued: bool,
}

/// A disk holds so many segments at least, unless they would be smaller than [`SMALL_SEGMENT`]: what stays of one must fit into the reserve.
const SEGMENTS_MIN: u64 = 16;
const SMALL_SEGMENT: u64 = 16 << 20;

/// Reads a claimed directory.
pub(crate) fn open(
    disk: Arc<dyn Disk>,
    identity: &Identity,
    mut options: Options,
    losses: &mut Losses,
) -> Result<Recovered, OpenError> {
    let room = disk.room().map_err(|error| OpenError::disk(disk.place(), "measure", error))?;
    options.segment_bytes = options.segment_bytes.min(SMALL_SEGMENT.max(room.total / SEGMENTS_MIN));
    let names = disk.list().map_err(|error| OpenError::disk(disk.place(), "list", error))?;
    let manifest = manifest::load(disk.as_ref(), identity, &names, losses)?;
    let spares = sweep(disk.as_ref(), manifest.as_ref(), &names, options.segment_bytes)
        .map_err(|error| OpenError::disk(disk.place(), "clear the leftovers in", error))?;
    let reserve = Reserve::find(disk.as_ref(), &names, options.reserve_bytes)
        .map_err(|error| OpenError::disk(disk.place(), "find the reserve in", error))?;
    let mut loaded = Finder { disk: disk.as_ref(), identity, losses }.load_all(manifest.as_ref(), &names)?;
    remove_unused(disk.as_ref(), &mut loaded)?;
    let manifest = manifest.unwrap_or_else(|| Manifest::empty(identity.bookie.clone(), identity.cluster.clone()));
    let ends = proven_ends(disk.as_ref(), &mut loaded, manifest.next, losses)?;

    let Manifest { next, sequence, marks, .. } = manifest;
    // Nothing is numbered like a file that was set aside.
    let settled = if losses.found.is_empty() { next } else { next.max(after_all(&names)) };
    let mut index = Index::new(marks, settled, sequence);
    for (segment, end) in loaded.iter().zip(&ends) {
        segment.enter(*end, &mut index);
    }
    // The journal's segments come last, in order.
    let last = loaded.last().zip(ends.last()).filter(|(last, _)| !last.segment.is_sorted());
    let synced = last.map_or(Place::default(), |(last, end)| Place { segment: last.segment, offset: *end });
    let (segment, sequence) = (index.next_segment(), index.next_sequence());

    let segments = Arc::new(Segments::new(disk, identity.clone(), options, index, (spares, reserve)));
    let (mut again, mut repeated) = (Vec::new(), HashSet::new());
    let mut seen = HashSet::new(); // A start that lost power while it appended again leaves records twice.
    for (segment, end) in loaded.iter().zip(&ends) {
        segment.unproven(*end, &segments, &mut |record, payload| {
            if segment.segment < losses.after {
                repeated.insert(record.ledger);
            }
            if seen.insert((record.kind, record.ledger, record.entry)) {
                again.push((record, payload));
            }
        })?;
    }
    let sorted = names.iter().filter_map(|name| SegmentId::from_file_name(name)).filter(|segment| segment.is_sorted());
    let next_sorted = sorted.max().map_or(SegmentId::FIRST_SORTED, SegmentId::next);
    let scanned = loaded.iter().filter(|loaded| matches!(loaded.content, Content::Scanned(_)));
    let to_seal = scanned.map(|loaded| loaded.segment).collect();
    Ok(Recovered { segments, to_seal, segment, sequence, synced, again, repeated, settled, next_sorted })
}

/// The number after those of all the journal's segments.
fn after_all(names: &[String]) -> SegmentId {
    let ids = names.iter().filter_map(|name| SegmentId::from_file_name(name));
    ids.filter(|id| !id.is_sorted()).max().map_or(SegmentId::FIRST, SegmentId::next)
}

/// Puts away what does not count: segments that a manifest has replaced, or that were made for one that was never written.
/// Without a manifest all of them may count.
fn sweep(
    disk: &dyn Disk,
    manifest: Option<&Manifest>,
    names: &[String],
    segment_bytes: u64,
) -> std::io::Result<Spares> {
    let spares = Spares::new(segment_bytes);
    spares.find(disk, names)?;
    let Some(manifest) = manifest else { return Ok(spares) };
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

/// Looks for the segments that count.
struct Finder<'a> {
    disk: &'a dyn Disk,
    identity: &'a Identity,
    losses: &'a mut Losses,
}

impl Finder<'_> {
    /// Sorted ones, then the journal's in order.
    fn load_all(&mut self, manifest: Option<&Manifest>, names: &[String]) -> Result<Vec<Loaded>, OpenError> {
        let mut loaded = Vec::new();
        let there: HashSet<&str> = names.iter().map(String::as_str).collect();
        let mut listed = manifest.map_or_else(Vec::new, |manifest| manifest.segments.clone());
        listed.sort_unstable_by_key(|listed| (!listed.segment.is_sorted(), listed.segment));
        let next = manifest.map_or(SegmentId::FIRST, |manifest| manifest.next);
        for listed in listed {
            // What is sorted lay in segments before the next one when the manifest was written.
            let after = if listed.segment.is_sorted() { next } else { listed.segment.next() };
            if !there.contains(listed.segment.file_name().as_str()) {
                self.losses.take(missing(self.disk, listed.segment), after)?;
                continue;
            }
            let found = match load(self.disk, self.identity, listed.segment) {
                Ok(found) => found.filter(|found| found.generation == listed.generation),
                Err(OpenError::Corrupt { .. }) => None,
                Err(error) => return Err(error),
            };
            let found = match found {
                Some(found) => Some(found),
                None => self.rescue(listed.segment, Some(listed.generation), after)?,
            };
            loaded.extend(found.map(|found| Loaded { listed: Some(listed), ..found }));
        }
        // Sorted names are sorted ids.
        let ids = names.iter().filter_map(|name| SegmentId::from_file_name(name));
        let (sorted, ids): (Vec<_>, Vec<_>) = ids.partition(|id| id.is_sorted());
        let ids: Vec<_> = ids.into_iter().filter(|id| next <= *id).collect();
        if manifest.is_some() {
            self.find_gaps(next, &ids)?;
        } else {
            for segment in sorted {
                loaded.extend(self.load_unlisted(segment, false)?);
            }
        }
        for segment in &ids {
            loaded.extend(self.load_unlisted(*segment, Some(segment) == ids.last())?);
        }
        Ok(loaded)
    }

    fn find_gaps(&mut self, next: SegmentId, ids: &[SegmentId]) -> Result<(), OpenError> {
        let mut expected = next;
        for found in ids {
            if expected != *found {
                self.losses.take(missing(self.disk, expected), *found)?;
            }
            expected = found.next();
        }
        Ok(())
    }

    fn load_unlisted(&mut self, segment: SegmentId, last: bool) -> Result<Option<Loaded>, OpenError> {
        match load(self.disk, self.identity, segment) {
            Ok(None) if last => remove(self.disk, segment).map(|()| None),
            Ok(None) | Err(OpenError::Corrupt { .. }) => self.rescue(segment, None, segment.next()),
            loaded => loaded,
        }
    }

    fn rescue(
        &mut self,
        segment: SegmentId,
        generation: Option<Generation>,
        after: SegmentId,
    ) -> Result<Option<Loaded>, OpenError> {
        self.losses.take(corrupt(self.disk, segment, 0, "the segment's header"), after)?;
        let fault = |error| OpenError::disk(self.disk.place().join(segment.file_name()), "rescue", error);
        let rescued = rescue::rescue(self.disk, self.identity, segment, generation).map_err(fault)?;
        Ok(rescued.map(|rescue::Rescued { file, generation, scan }| Loaded {
            segment,
            generation,
            file,
            content: Content::Scanned(scan),
            listed: None,
            rescued: true,
        }))
    }
}

fn missing(disk: &dyn Disk, segment: SegmentId) -> OpenError {
    OpenError::SegmentMissing { path: disk.place().join(segment.file_name()) }
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
    Ok(Some(Loaded { segment, generation, file, content, listed: None, rescued: false }))
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
/// What is sorted lay in segments before `next` when it was.
fn proven_ends(
    disk: &dyn Disk,
    loaded: &mut [Loaded],
    next: SegmentId,
    losses: &mut Losses,
) -> Result<Vec<u64>, OpenError> {
    let others = loaded.iter().filter_map(|loaded| loaded.before().filter(|place| place.segment != loaded.segment));
    let named: HashMap<_, _> = others.map(|place| (place.segment, place.offset)).collect();
    let mut ends = Vec::with_capacity(loaded.len());
    for found in loaded {
        let Loaded { segment, content, listed, rescued, .. } = &*found;
        let named = listed.map(|listed| listed.data_end).or_else(|| named.get(segment).copied());
        let (whole_end, end, damage) = match content {
            Content::Sealed(footer, _) => (footer.data_end, named.unwrap_or(0).max(footer.data_end), None),
            Content::Scanned(scan) => {
                let damage = scan.batches.last().and_then(|batch| batch.damage);
                (scan.whole_end, named.unwrap_or(scan.proven), damage)
            }
        };
        if whole_end < end && !rescued {
            let after = if segment.is_sorted() { next } else { segment.next() };
            losses.take(corrupt(disk, *segment, damage.unwrap_or(whole_end), "a batch of entries"), after)?;
            found.salvage(disk)?;
        }
        // A footer that says less than was known before stands for what an earlier start could save.
        ends.push(if matches!(found.content, Content::Sealed(..)) { whole_end } else { end });
    }
    Ok(ends)
}

impl Loaded {
    /// Finds what is whole behind the damage.
    fn salvage(&mut self, disk: &dyn Disk) -> Result<(), OpenError> {
        let name = self.segment.file_name();
        let fault = |error| OpenError::disk(disk.place().join(&name), "rescue", error);
        let Content::Scanned(scan) = &mut self.content else { return Ok(()) };
        rescue::keep_copy(disk, &name).map_err(fault)?;
        let length = self.file.length().map_err(fault)? / BLOCK as u64 * BLOCK as u64;
        *scan = rescue::salvage(&self.file, self.segment, self.generation, length).map_err(fault)?;
        self.rescued = true;
        Ok(())
    }

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
