//! Reading entries: found in the index, taken from a window of a segment, checked, copied out.
use bytes::Bytes;
use proto::bookie::{Entry, Read, Status};
use proto::{EntryId, LedgerId};

use crate::cache::{Near, WINDOW};
use crate::format::{IndexEntry, Kind, RECORD_HEADER, Record, SegmentId};
use crate::index::{Extent, Found, without_gap};
use crate::segments::Segments;

/// The most that one answer carries, whatever was asked for; one entry may exceed it.
pub(crate) const READ_BYTES_MAX: usize = 4 << 20;
/// Entries located at a time.
const LOCATED_MAX: usize = 1024;

/// What a read found.
#[derive(Debug, PartialEq)]
pub(crate) struct Reading {
    pub(crate) status: Status,
    pub(crate) entries: Vec<Entry>,
    pub(crate) reason: String,
    /// The entry is not here now, whatever was.
    pub(crate) absent: bool,
}

impl Reading {
    pub(crate) fn refused(status: Status, reason: impl Into<String>) -> Self {
        Self { status, entries: Vec::new(), reason: reason.into(), absent: false }
    }

    fn of(entries: Vec<Entry>) -> Self {
        Self { status: Status::Ok, entries, reason: String::new(), absent: false }
    }
}

/// Why an entry that is held could not be given. Another copy may be whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadFault {
    #[error("{segment} at {offset}: {source}")]
    Disk { segment: SegmentId, offset: u32, source: std::io::Error },
    #[error("{segment} at {offset}: the entry's bytes have changed since they were synced")]
    Damaged { segment: SegmentId, offset: u32 },
    #[error("{0}")]
    Index(#[from] std::io::Error),
}

/// Reads from `read.first` on, until a gap, the end, or the bounds of an answer. A fence that was asked for is not done here.
pub(crate) fn read(segments: &Segments, ledger: LedgerId, read: &Read) -> Reading {
    if read.end <= read.first {
        return Reading::refused(Status::Invalid, "the range is empty");
    }
    if segments.index.read().standing(ledger).flags.deleted {
        return Reading::refused(Status::Deleted, "the ledger is deleted");
    }
    let bytes_max = (read.bytes_max as usize).min(READ_BYTES_MAX);
    let mut entries: Vec<Entry> = Vec::new();
    let mut bytes = 0;
    let mut scratch = Vec::new();
    'all: while let Some(next) = read.first.checked_add(entries.len() as u64).filter(|next| *next < read.end) {
        let wanted = usize::try_from(read.end - next).unwrap_or(usize::MAX).min(LOCATED_MAX);
        let located = match locate(segments, ledger, EntryId(next), wanted) {
            Ok(Some(located)) => located,
            Ok(None) => break,
            Err(fault) => return stopped(ledger, EntryId(next), entries, &fault),
        };
        let (segment, extent, places) = located;
        for (at, place) in places.iter().enumerate() {
            let near = near(segment, &places[at..]);
            if !entries.is_empty() && bytes_max < bytes + place.size as usize {
                break 'all;
            }
            match fetch(segments, ledger, (segment, &extent), *place, &near, &mut scratch) {
                Ok(entry) => {
                    bytes += entry.payload.len();
                    entries.push(entry);
                }
                Err(fault) => return stopped(ledger, place.entry, entries, &fault),
            }
        }
    }
    if entries.is_empty() {
        // It may have been deleted since, and then nothing is known of what it held.
        let index = segments.index.read();
        if index.standing(ledger).flags.deleted {
            return Reading::refused(Status::Deleted, "the ledger is deleted");
        }
        if index.limbo.contains(&ledger) {
            let absent = Reading::refused(Status::Unknown, "the ledger is in limbo here: the entry may have been lost");
            return Reading { absent: true, ..absent };
        }
        return Reading::refused(Status::NotHeld, "");
    }
    Reading::of(entries)
}

/// A fault is never a no. What was found before it is given; whoever asks from there on is told.
fn stopped(ledger: LedgerId, entry: EntryId, entries: Vec<Entry>, fault: &ReadFault) -> Reading {
    tracing::error!(ledger = ledger.0, entry = entry.0, %fault, "cannot read an entry");
    if entries.is_empty() {
        return Reading::refused(Status::Unknown, fault.to_string());
    }
    Reading::of(entries)
}

pub(crate) type Located = (SegmentId, Extent, Vec<IndexEntry>);

/// Where an entry is, with up to `wanted` that follow it there.
pub(crate) fn locate(
    segments: &Segments,
    ledger: LedgerId,
    entry: EntryId,
    wanted: usize,
) -> Result<Option<Located>, ReadFault> {
    let found = segments.index.read().find(ledger, entry, wanted);
    match found {
        Found::Nowhere => Ok(None),
        Found::Open(segment, extent, entries) => Ok(Some((segment, extent, entries))),
        Found::Sealed(runs) => {
            for (run, extent) in runs {
                let entries = without_gap(&segments.run(&extent, &run)?, entry, wanted);
                if !entries.is_empty() {
                    return Ok(Some((run.segment, extent, entries)));
                }
            }
            Ok(None)
        }
    }
}

/// What else will be read around the first place. In a sorted segment that is known to the byte.
fn near(segment: SegmentId, places: &[IndexEntry]) -> Near {
    if is_sparse(places) {
        return Near::Nothing;
    }
    match places {
        [first, .., last] if segment.is_sorted() => {
            Near::Run(u64::from(first.offset)..u64::from(last.offset) + last.bytes())
        }
        _ => Near::All,
    }
}

/// Whether less than an eighth of the window from the first place on is wanted.
fn is_sparse(places: &[IndexEntry]) -> bool {
    let Some(first) = places.first() else { return true };
    let mut wanted = 0;
    for place in places {
        let near = place.offset.checked_sub(first.offset).is_some_and(|distance| u64::from(distance) < WINDOW);
        wanted += u64::from(place.size);
        if !near || WINDOW / 8 <= wanted {
            return !near;
        }
    }
    true
}

fn fetch(
    segments: &Segments,
    ledger: LedgerId,
    (segment, extent): (SegmentId, &Extent),
    place: IndexEntry,
    near: &Near,
    scratch: &mut Vec<u8>,
) -> Result<Entry, ReadFault> {
    scratch.clear();
    let length = RECORD_HEADER + place.size as usize;
    segments
        .read(segment, extent.data_end, (u64::from(place.offset), length), near, scratch)
        .map_err(|source| ReadFault::Disk { segment, offset: place.offset, source })?;
    let damaged = || ReadFault::Damaged { segment, offset: place.offset };
    let record = Record::read(scratch, extent.generation).ok_or_else(damaged)?;
    let named = record.kind == Kind::Entry && record.ledger == ledger && record.entry == place.entry;
    let payload = scratch.get(RECORD_HEADER..length).ok_or_else(damaged)?;
    if !named || record.digest != place.digest || !record.holds(payload) {
        return Err(damaged());
    }
    Ok(Entry {
        entry: record.entry.0,
        length: record.length,
        digest: record.digest,
        payload: Bytes::copy_from_slice(payload),
        confirmed: record.confirmed.0,
    })
}
