//! Goal: an append never waits for a disk operation of somebody else.
//! Method: a disk that tries the locks an append takes at each operation that is not the journal's own: while the keeper works, space
//! is given back, and entries are read.
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::*;
use crate::DiskFile;
use crate::segments::{Keeper, Segments};

/// What an append locks, while others than the journal work.
#[derive(Debug, Default)]
struct Watch {
    locks: Mutex<Option<(Arc<Segments>, Arc<Keeper>)>>,
    operations: AtomicU64,
}

impl Watch {
    fn look(&self) {
        if let Some((segments, keeper)) = &*self.locks.lock() {
            self.operations.fetch_add(1, Ordering::Relaxed);
            assert!(segments.index.try_write().is_some(), "the index is locked during a disk operation");
            assert!(keeper.is_free(), "the keeper's state is locked during a disk operation");
        }
    }
}

#[derive(Debug)]
struct Watched<T>(T, Arc<Watch>);

impl<T> Watched<T> {
    fn of(&self) -> &T {
        self.1.look();
        &self.0
    }

    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(Watched(file, self.1.clone()))
    }
}

impl Disk for Watched<SimDisk> {
    fn place(&self) -> PathBuf {
        self.0.place()
    }

    fn lock(&self) -> std::io::Result<()> {
        self.of().lock()
    }

    fn list(&self) -> std::io::Result<Vec<String>> {
        self.of().list()
    }

    fn create(&self, name: &str) -> std::io::Result<Arc<dyn DiskFile>> {
        self.of().create(name).map(|file| self.file(file))
    }

    fn open(&self, name: &str) -> std::io::Result<Arc<dyn DiskFile>> {
        self.of().open(name).map(|file| self.file(file))
    }

    fn rename(&self, from: &str, to: &str) -> std::io::Result<()> {
        self.of().rename(from, to)
    }

    fn remove(&self, name: &str) -> std::io::Result<()> {
        self.of().remove(name)
    }

    fn sync_directory(&self) -> std::io::Result<()> {
        self.of().sync_directory()
    }

    fn room(&self) -> std::io::Result<crate::Room> {
        self.of().room()
    }
}

impl DiskFile for Watched<Arc<dyn DiskFile>> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.of().write_at(offset, bytes)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> std::io::Result<usize> {
        self.of().read_at(offset, bytes)
    }

    fn sync(&self) -> std::io::Result<()> {
        self.of().sync()
    }

    fn length(&self) -> std::io::Result<u64> {
        self.of().length()
    }

    fn set_length(&self, length: u64) -> std::io::Result<()> {
        self.of().set_length(length)
    }
}

impl Watch {
    fn over<T>(&self, store: &mut Store, work: impl FnOnce(&mut Store) -> T) -> T {
        *self.locks.lock() = Some((store.segments.clone(), store.keeper.clone()));
        let outcome = work(store);
        *self.locks.lock() = None;
        outcome
    }

    fn fill(&self, store: &mut Store, ledgers: &[u64], size: usize) {
        for entry in 0..40 {
            for ledger in ledgers {
                assert_eq!(status(store, add(1, *ledger, entry, size)), Status::Ok);
                self.over(store, |store| while store.turn() {});
            }
        }
    }
}

#[test]
fn no_lock_of_an_append_is_held_while_a_disk_works() {
    let watch = Arc::new(Watch::default());
    let model = SimDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(Watched(model.clone(), watch.clone()));
    assert!(Identity::claim(disk.as_ref()).unwrap().is_none());
    identity().store(disk.as_ref()).unwrap();
    let mut store = Store::open(disk, &identity(), options()).unwrap();
    let mut clock = Duration::ZERO;
    watch.fill(&mut store, &[1], 3900);
    watch.fill(&mut store, &[2, 3, 4], 2000);
    assert_eq!(status(&mut store, delete(1, 1)), Status::Ok);
    watch.over(&mut store, |store| pass_time(store, &mut clock, LONG));
    watch.fill(&mut store, &[5], 3900);
    for ledger in 2..=4 {
        let found = watch.over(&mut store, |store| ask(store, read(1, ledger, 0, 40)));
        assert_eq!(found.entries.len(), 40);
    }
    let traffic = traffic(&store);
    let all = [&traffic.dropped, &traffic.rewritten, &traffic.recycled, &traffic.zeros];
    assert!(all.iter().all(|count| 0 < count.get()), "nothing was shown: {traffic:?}");
    assert!(100 < watch.operations.load(Ordering::Relaxed));
}
