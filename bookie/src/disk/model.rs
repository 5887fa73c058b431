//! A disk in memory that loses what a real one may lose.
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Disk, DiskFile, Room};
use crate::seed::Seed;

/// What a power loss leaves or takes as a whole.
const SECTOR: usize = 512;

/// A model of a disk. Clones are the same disk, as two mounts of one machine's disk in turn.
///
/// [`SimDisk::lose_power`] throws away, tears or keeps each write since its file's last sync as the seed says, and undoes the
/// latest directory changes that were not synced. [`SimDisk::fail_after`] lets every operation fail after a number of them, to
/// lose power at each single point of a run.
#[derive(Debug, Clone, Default)]
pub struct SimDisk {
    // Shared by handles that outlive each other like file descriptors do; only held within one call.
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default, Clone)]
struct State {
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    changes: Vec<Change>,
    /// Which power cycle handles must belong to.
    cycle: u64,
    locked: bool,
    operations: u64,
    syncs: u64,
    fails_at: Option<u64>,
    lazy: bool,
    /// Bytes of all files together, at most. No limit unless one is set.
    size: Option<u64>,
    /// Somebody else's, of these.
    others: u64,
    read: u64,
    written: u64,
}

#[derive(Debug, Default, Clone)]
struct Content {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Write>,
}

#[derive(Debug, Clone)]
enum Write {
    Bytes { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Debug, Clone)]
enum Change {
    Put(String, usize),
    Rename(String, String),
    Remove(String),
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Put(name, file) => {
                names.insert(name.clone(), *file);
            }
            Self::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl Write {
    fn apply(&self, content: &mut Vec<u8>, mut keeps: impl FnMut() -> bool) {
        match self {
            Self::Length(length) if keeps() => content.resize(*length, 0),
            Self::Length(_) => {}
            Self::Bytes { offset, bytes } => {
                for (sector, part) in bytes.chunks(SECTOR).enumerate() {
                    let from = offset + sector * SECTOR;
                    if keeps() {
                        content.resize(content.len().max(from + part.len()), 0);
                        content[from..from + part.len()].copy_from_slice(part);
                    }
                }
            }
        }
    }
}

impl State {
    fn operate(&mut self, cycle: u64) -> io::Result<()> {
        if cycle != self.cycle || self.fails_at.is_some_and(|at| at <= self.operations) {
            return Err(io::Error::other("the power is off"));
        }
        self.operations += 1;
        Ok(())
    }
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Another disk that holds the same, to go on from here in more than one way. Handles of this one are not handles of it.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { state: Arc::new(Mutex::new(self.state.lock().clone())) }
    }

    /// Loses power and comes back. All handles of before are dead, the lock is free, failures are over.
    pub fn lose_power(&self, seed: u64) {
        let mut seed = Seed::new(seed);
        let mut state = self.state.lock();
        let state = &mut *state;
        for file in &mut state.files {
            for write in std::mem::take(&mut file.unsynced) {
                match seed.below(3) {
                    0 => {}
                    1 => write.apply(&mut file.durable, || true),
                    _ => write.apply(&mut file.durable, || seed.below(2) == 0),
                }
            }
            file.bytes.clone_from(&file.durable);
        }
        let kept = seed.below(state.changes.len() as u64 + 1);
        for change in state.changes.drain(..).take(usize::try_from(kept).expect("below a length")) {
            change.apply(&mut state.durable_names);
        }
        state.names.clone_from(&state.durable_names);
        state.end_cycle();
    }

    /// The process dies, the machine goes on: nothing is lost.
    pub fn kill(&self) {
        self.state.lock().end_cycle();
    }

    /// Every operation fails once `operations` more have gone through.
    pub fn fail_after(&self, operations: u64) {
        let mut state = self.state.lock();
        state.fails_at = Some(state.operations + operations);
    }

    /// From now on operations go through again, as if the disk had only been away.
    pub fn recover(&self) {
        self.state.lock().fails_at = None;
    }

    /// From now on a sync returns at once and makes nothing durable, as if answers were given before it. For showing that
    /// a check finds this.
    pub fn sync_nothing(&self) {
        self.state.lock().lazy = true;
    }

    /// How many operations have gone through, and how many of them were syncs of files.
    #[must_use]
    pub fn operations(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.operations, state.syncs)
    }

    /// Bytes that were read and written.
    #[must_use]
    pub fn traffic(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.read, state.written)
    }

    /// From now on the disk has `bytes` of room, beside what its files take already. A write beyond it stops where the room ends.
    pub fn set_room(&self, bytes: u64) {
        let mut state = self.state.lock();
        (state.size, state.others) = (Some(state.used() + bytes), 0);
    }

    /// From now on the disk holds `bytes` in all, for this directory alone.
    pub fn set_size(&self, bytes: u64) {
        let mut state = self.state.lock();
        (state.size, state.others) = (Some(bytes), 0);
    }

    /// Somebody else fills the disk, which has a size, and leaves so many bytes.
    pub fn fill(&self, left: u64) {
        let mut state = self.state.lock();
        state.others = 0;
        state.others = state.free().saturating_sub(left);
    }

    /// Changes a file's durable bytes behind everyone's back. Does nothing when there is no such file.
    pub fn tamper(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state.lock();
        if let Some(file) = state.names.get(name).copied() {
            let content = &mut state.files[file];
            change(&mut content.durable);
            content.bytes.clone_from(&content.durable);
        }
    }

    fn handle(&self, file: usize, cycle: u64) -> Arc<dyn DiskFile> {
        Arc::new(Handle { disk: self.clone(), file, cycle })
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state.lock();
        let cycle = state.cycle;
        state.operate(cycle)?;
        act(&mut state)
    }
}

impl State {
    fn end_cycle(&mut self) {
        self.cycle += 1;
        self.locked = false;
        self.fails_at = None;
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    fn used(&self) -> u64 {
        self.names.values().map(|file| self.files[*file].bytes.len() as u64).sum()
    }

    fn free(&self) -> u64 {
        self.size.map_or(u64::MAX, |size| size.saturating_sub(self.used() + self.others))
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for SimDisk {
    fn place(&self) -> PathBuf {
        PathBuf::from("model")
    }

    fn lock(&self) -> io::Result<()> {
        self.with(|state| {
            if std::mem::replace(&mut state.locked, true) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(())
        })
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.with(|state| Ok(state.names.keys().cloned().collect()))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.with(|state| {
            if state.names.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.files.push(Content::default());
            let file = state.files.len() - 1;
            state.change(Change::Put(name.into(), file));
            Ok(self.handle(file, state.cycle))
        })
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.with(|state| Ok(self.handle(state.find(name)?, state.cycle)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.with(|state| {
            state.find(from)?;
            state.change(Change::Rename(from.into(), to.into()));
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.with(|state| {
            state.find(name)?;
            state.change(Change::Remove(name.into()));
            Ok(())
        })
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.with(|state| {
            let State { changes, durable_names, .. } = state;
            changes.drain(..).for_each(|change| change.apply(durable_names));
            Ok(())
        })
    }

    fn room(&self) -> io::Result<Room> {
        self.with(|state| Ok(Room { free: state.free(), total: state.size.unwrap_or(u64::MAX) }))
    }
}

#[derive(Debug)]
struct Handle {
    disk: SimDisk,
    file: usize,
    cycle: u64,
}

impl Handle {
    fn with<T>(&self, act: impl FnOnce(&mut State, usize) -> T) -> io::Result<T> {
        let mut state = self.disk.state.lock();
        state.operate(self.cycle)?;
        Ok(act(&mut state, self.file))
    }

    fn write(&self, mut write: Write) -> io::Result<()> {
        self.with(|state, file| {
            let length = state.files[file].bytes.len() as u64;
            let (Write::Bytes { offset: end, .. } | Write::Length(end)) = &write;
            let more = if let Write::Bytes { bytes, .. } = &write { bytes.len() } else { 0 };
            let over = ((end + more) as u64).saturating_sub(length).saturating_sub(state.free());
            if let (Write::Bytes { bytes, .. }, true) = (&mut write, 0 < over) {
                let whole = (bytes.len() as u64).saturating_sub(over) / super::BLOCK as u64 * super::BLOCK as u64;
                bytes.truncate(place(whole));
            }
            let content = &mut state.files[file];
            if over == 0 || more != 0 {
                write.apply(&mut content.bytes, || true);
                if let Write::Bytes { bytes, .. } = &write {
                    state.written += bytes.len() as u64;
                }
                content.unsynced.push(write);
            }
            if over == 0 { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
        })?
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("the model's files fit into memory")
}

fn assert_aligned(offset: u64, bytes: &[u8]) {
    let aligned = offset.is_multiple_of(super::BLOCK as u64)
        && bytes.len().is_multiple_of(super::BLOCK)
        && bytes.as_ptr().align_offset(super::BLOCK) == 0;
    assert!(aligned, "direct access would refuse {} bytes at {offset}", bytes.len());
}

impl DiskFile for Handle {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        assert_aligned(offset, bytes);
        self.write(Write::Bytes { offset: place(offset), bytes: bytes.to_vec() })
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        assert_aligned(offset, bytes);
        self.with(|state, file| {
            let content = &state.files[file].bytes;
            let from = place(offset).min(content.len());
            let count = bytes.len().min(content.len() - from);
            bytes[..count].copy_from_slice(&content[from..from + count]);
            state.read += count as u64;
            count
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|state, file| {
            state.syncs += 1;
            if !state.lazy {
                let content = &mut state.files[file];
                for write in std::mem::take(&mut content.unsynced) {
                    write.apply(&mut content.durable, || true);
                }
            }
        })
    }

    fn length(&self) -> io::Result<u64> {
        self.with(|state, file| state.files[file].bytes.len() as u64)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.write(Write::Length(place(length)))
    }
}
