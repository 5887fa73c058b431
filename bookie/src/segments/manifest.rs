//! The file `manifest`: read at start, replaced by renaming another over it.
use std::io;

use proto::BookieId;

use super::Losses;
use super::rescue::set_aside;
use super::spares::is_spare;
use crate::disk::{AlignedBuffer, BLOCK, Disk};
use crate::error::OpenError;
use crate::format::{HeaderError, MANIFEST_VERSION, Manifest, SegmentHeader, SegmentId, VERSION_WITH_MANIFEST};
use crate::identity::Identity;

const NAME: &str = "manifest";
/// Being written.
const NEW: &str = "manifest.new";

/// A manifest that was not replaced, by what is known of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotStored {
    /// The old one counts.
    #[error("cannot write a manifest: {0}")]
    OldCounts(io::Error),
    /// Only a start can tell which one counts.
    #[error("cannot put a manifest in its place: {0}")]
    Unknown(io::Error),
}

/// The manifest of a directory with these files. A directory that has none gets one, unless it holds what only one with a manifest
/// can hold: a manifest that is gone must not pass for one that lists nothing, nor its tombstones for marks that never were.
///
/// `None`: it is lost, and that is tolerated.
pub(super) fn load(
    disk: &dyn Disk,
    identity: &Identity,
    names: &[String],
    losses: &mut Losses,
) -> Result<Option<Manifest>, OpenError> {
    let path = disk.place().join(NAME);
    if !names.iter().any(|name| name == NAME) {
        for name in names {
            let had_one =
                needs_manifest(disk, name).map_err(|error| OpenError::disk(disk.place().join(name), "read", error))?;
            if had_one {
                losses.take(OpenError::ManifestMissing { path, found: name.clone() }, SegmentId::NEVER)?;
                return Ok(None);
            }
        }
        let manifest = Manifest::empty(identity.bookie.clone(), identity.cluster.clone());
        store(disk, &manifest).map_err(|error| match error {
            NotStored::OldCounts(error) | NotStored::Unknown(error) => OpenError::disk(path, "write", error),
        })?;
        return Ok(Some(manifest));
    }
    if names.iter().any(|name| name == NEW) {
        disk.remove(NEW).map_err(|error| OpenError::disk(disk.place().join(NEW), "remove", error))?;
    }
    let bytes = read(disk).map_err(|error| OpenError::disk(path.clone(), "read", error))?;
    match Manifest::decode(bytes.bytes()) {
        Ok(manifest) if manifest.bookie == identity.bookie && manifest.cluster == identity.cluster => {
            Ok(Some(manifest))
        }
        Ok(other) => {
            let of = |bookie: &str, cluster: &str| format!("{bookie} (cluster instance {cluster})");
            let found = of(other.bookie.as_str(), &other.cluster);
            Err(OpenError::OtherBookie { path, found, expected: of(identity.bookie.as_str(), &identity.cluster) })
        }
        Err(HeaderError::Version(found)) => Err(OpenError::Version { path, found, known: MANIFEST_VERSION }),
        Err(HeaderError::Damaged) => {
            let fault = |error| OpenError::disk(path.clone(), "set aside", error);
            losses
                .take(OpenError::Corrupt { path: path.clone(), offset: 0, what: "the manifest" }, SegmentId::NEVER)?;
            set_aside(disk, NAME).map_err(fault)?;
            Ok(None)
        }
    }
}

/// Whether a file of this name shows that there was a manifest.
fn needs_manifest(disk: &dyn Disk, name: &str) -> io::Result<bool> {
    match SegmentId::from_file_name(name) {
        Some(segment) if !segment.is_sorted() => {
            let mut block = AlignedBuffer::zeroed(BLOCK);
            let count = disk.open(name)?.read_at(0, block.bytes_mut())?;
            let version = SegmentHeader::version(&block.bytes()[..count]);
            Ok(version.is_some_and(|version| VERSION_WITH_MANIFEST <= version))
        }
        Some(_) => Ok(true),
        None => Ok(is_spare(name)),
    }
}

/// Whose the file of this name says it is, if it is a whole manifest or has a segment's whole header.
pub(crate) fn named_in(disk: &dyn Disk, name: &str) -> io::Result<Option<(BookieId, String)>> {
    if name == NAME {
        let manifest = Manifest::decode(read(disk)?.bytes()).ok();
        return Ok(manifest.map(|manifest| (manifest.bookie, manifest.cluster)));
    }
    if SegmentId::from_file_name(name).is_none() {
        return Ok(None);
    }
    let mut block = AlignedBuffer::zeroed(BLOCK);
    let count = disk.open(name)?.read_at(0, block.bytes_mut())?;
    let header = SegmentHeader::decode(&block.bytes()[..count]).ok();
    Ok(header.map(|header| (header.bookie, header.cluster)))
}

fn read(disk: &dyn Disk) -> io::Result<AlignedBuffer> {
    let file = disk.open(NAME)?;
    let length = usize::try_from(file.length()?).map_err(io::Error::other)?;
    let mut buffer = AlignedBuffer::zeroed(length.next_multiple_of(BLOCK));
    let count = file.read_at(0, buffer.bytes_mut())?;
    buffer.resize(count);
    Ok(buffer)
}

/// Replaces the manifest, and says how long it is. When this returns, the new one counts whatever happens.
pub(crate) fn store(disk: &dyn Disk, manifest: &Manifest) -> Result<u64, NotStored> {
    let length = write(disk, manifest).map_err(NotStored::OldCounts)?;
    disk.rename(NEW, NAME).and_then(|()| disk.sync_directory()).map_err(NotStored::Unknown)?;
    Ok(length)
}

fn write(disk: &dyn Disk, manifest: &Manifest) -> io::Result<u64> {
    match disk.remove(NEW) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {} // Of an attempt that failed.
    }
    let file = disk.create(NEW)?;
    let bytes = manifest.encode();
    file.write_at(0, bytes.bytes())?;
    file.sync()?;
    Ok(bytes.len() as u64)
}
