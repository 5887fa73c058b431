//! A directory of the operating system.
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::OFlags;

use super::{Disk, DiskFile, Room};

const LOCK: &str = "lock";

/// One directory on `std::fs`. Files are opened for direct access where the file system allows it.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    // Only here so that the lock is let go with the directory. Set once.
    lock: Mutex<Option<File>>,
}

impl Directory {
    /// Makes the directory, and those above it, if they are missing.
    pub fn create(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        Ok(Self { path: path.into(), lock: Mutex::new(None) })
    }

    fn open_with(&self, name: &str, options: &mut OpenOptions) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path.join(name);
        let direct = i32::try_from(OFlags::DIRECT.bits()).expect("a flag of open(2) is an int");
        let file = match options.custom_flags(direct).open(&path) {
            // Some file systems, tmpfs for one, know no direct access.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
                // The failed attempt may have created the file already.
                options.create_new(false).custom_flags(0).open(&path)?
            }
            outcome => outcome?,
        };
        Ok(Arc::new(Opened { file }))
    }
}

impl Disk for Directory {
    fn place(&self) -> PathBuf {
        self.path.clone()
    }

    fn lock(&self) -> io::Result<()> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(self.path.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => *self.lock.lock() = Some(file),
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        // `create` beside `create_new`, so that the buffered second attempt opens what the first one made.
        if self.path.join(name).symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.open_with(name, OpenOptions::new().read(true).write(true).create(true).create_new(true))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.open_with(name, OpenOptions::new().read(true).write(true))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn room(&self) -> io::Result<Room> {
        let numbers = rustix::fs::statvfs(&self.path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(numbers.f_frsize);
        Ok(Room { free: bytes(numbers.f_bavail), total: bytes(numbers.f_blocks) })
    }
}

#[derive(Debug)]
struct Opened {
    file: File,
}

impl DiskFile for Opened {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < bytes.len() {
            match self.file.read_at(&mut bytes[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if !done.is_multiple_of(super::BLOCK) {
                break; // Only the end of a file is no whole block, and direct access could not go on from there.
            }
        }
        Ok(done)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }
}
