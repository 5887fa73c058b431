//! Whose directory it is: the file `identity`, drawn in `docs/formats/segments.md`.
use proto::BookieId;

use crate::disk::{AlignedBuffer, BLOCK, Disk};
use crate::error::OpenError;
use crate::format::{name_at, put_name};
use crate::segments;

pub(crate) const NAME: &str = "identity";
const NEW: &str = "identity.new";
const MAGIC: [u8; 8] = *b"GEMBOOKI";
const VERSION: u32 = 1;
const BOOKIE_AT: usize = 32;
const CLUSTER_AT: usize = 100;
/// Not of a bookie's data: the lock, a half-made identity, and what a fresh file system holds.
const IGNORED: [&str; 3] = ["lock", NEW, "lost+found"];

/// A bookie's name for life and the cluster it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Drawn at the first start.
    pub bookie: BookieId,
    /// The cluster's instance id.
    pub cluster: String,
    /// Milliseconds since 1970.
    pub created_at: u64,
}

impl Identity {
    /// Takes the directory for this process and reads whose it is: `None` when it is empty.
    pub fn claim(disk: &dyn Disk) -> Result<Option<Self>, OpenError> {
        let place = disk.place();
        match disk.lock() {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Err(OpenError::InUse { place }),
            outcome => outcome.map_err(|error| OpenError::disk(place.join("lock"), "lock", error))?,
        }
        let names = disk.list().map_err(|error| OpenError::disk(place.clone(), "list", error))?;
        if names.iter().any(|name| name == NAME) {
            return Self::load(disk).map(Some);
        }
        match names.into_iter().find(|name| !IGNORED.contains(&name.as_str())) {
            Some(found) => Err(OpenError::IdentityMissing { path: place.join(NAME), found }),
            None => Ok(None),
        }
    }

    /// The identity that manifest and segments name, if all of them name the same. Nothing, if they do not or there is none.
    pub(crate) fn found_in(disk: &dyn Disk) -> std::io::Result<Option<Self>> {
        let mut found: Vec<Self> = Vec::new();
        for name in disk.list()? {
            let Some((bookie, cluster)) = segments::named_in(disk, &name)? else { continue };
            let identity = Self { bookie, cluster, created_at: 0 };
            if !found.contains(&identity) {
                found.push(identity);
            }
        }
        Ok(if found.len() == 1 { found.pop() } else { None })
    }

    /// Makes an empty directory this bookie's. Durable when it returns.
    pub fn store(&self, disk: &dyn Disk) -> Result<(), OpenError> {
        let fault = |error| OpenError::disk(disk.place().join(NAME), "write", error);
        if disk.list().map_err(fault)?.iter().any(|name| name == NEW) {
            disk.remove(NEW).map_err(fault)?;
        }
        let file = disk.create(NEW).map_err(fault)?;
        file.write_at(0, self.encode().bytes()).map_err(fault)?;
        file.sync().map_err(fault)?;
        disk.rename(NEW, NAME).map_err(fault)?;
        disk.sync_directory().map_err(fault)
    }

    fn load(disk: &dyn Disk) -> Result<Self, OpenError> {
        let path = disk.place().join(NAME);
        let fault = |error| OpenError::disk(path.clone(), "read", error);
        let mut buffer = AlignedBuffer::zeroed(BLOCK);
        let count = disk.open(NAME).map_err(fault)?.read_at(0, buffer.bytes_mut()).map_err(fault)?;
        Self::decode(&buffer.bytes()[..count]).map_err(|version| match version {
            Some(found) => OpenError::Version { path: path.clone(), found, known: VERSION },
            None => OpenError::Corrupt { path: path.clone(), offset: 0, what: "the bookie's identity" },
        })
    }

    fn encode(&self) -> AlignedBuffer {
        let mut buffer = AlignedBuffer::zeroed(BLOCK);
        let block = buffer.bytes_mut();
        block[..8].copy_from_slice(&MAGIC);
        block[8..12].copy_from_slice(&VERSION.to_le_bytes());
        block[16..24].copy_from_slice(&self.created_at.to_le_bytes());
        put_name(block, BOOKIE_AT, self.bookie.as_str());
        put_name(block, CLUSTER_AT, &self.cluster);
        let crc = crc32c::crc32c(&block[16..]);
        block[12..16].copy_from_slice(&crc.to_le_bytes());
        buffer
    }

    /// `Err(Some(version))` when it is whole but of another version.
    fn decode(block: &[u8]) -> Result<Self, Option<u32>> {
        let number = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().expect("four bytes were taken"));
        if block.len() < BLOCK || block[..8] != MAGIC || number(12) != crc32c::crc32c(&block[16..]) {
            return Err(None);
        }
        if number(8) != VERSION {
            return Err(Some(number(8)));
        }
        let bookie = name_at(block, BOOKIE_AT).and_then(|name| name.parse().ok()).ok_or(None)?;
        let cluster = name_at(block, CLUSTER_AT).ok_or(None)?.to_string();
        let created_at = u64::from_le_bytes(block[16..24].try_into().expect("eight bytes were taken"));
        Ok(Self { bookie, cluster, created_at })
    }
}
