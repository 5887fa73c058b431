//! The directory of a standalone process: who may use it, and how others learn its ports.
//!
//! ```text
//! D/lock           held while a process runs
//! D/metadata.redb  topics, subscriptions, ledgers: who owns what
//! D/bookie/        entries
//! D/ports.json     {"broker":P,"http":H}, there exactly while requests are served
//! ```
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use daemon::Failure;

/// The directory, held for this process.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    /// Locked until it is closed.
    _lock: File,
}

impl Place {
    /// Makes the directory if it is missing and takes it. Whatever a process that died left in `ports.json` goes.
    pub(crate) fn take(path: &Path) -> Result<Self, Failure> {
        let fault = |doing: &str, error: io::Error| {
            Failure::usage(format!("--data-dir: cannot {doing} {}: {error}", path.display()))
        };
        fs::create_dir_all(path).map_err(|error| fault("make", error))?;
        let path = path.canonicalize().map_err(|error| fault("find", error))?;
        let lock = File::options().create(true).truncate(false).write(true).open(path.join("lock"));
        let lock = lock.map_err(|error| fault("write to", error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let shown = path.display();
                return Err(Failure::usage(format!(
                    "--data-dir: {shown} is in use by another process; stop it, or choose another directory"
                )));
            }
            Err(TryLockError::Error(error)) => return Err(fault("lock", error)),
        }
        let place = Self { path, _lock: lock };
        place.withdraw_ports().map_err(|error| fault("write to", error))?;
        Ok(place)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn metadata(&self) -> PathBuf {
        self.path.join("metadata.redb")
    }

    pub(crate) fn bookie(&self) -> PathBuf {
        self.path.join("bookie")
    }

    /// Says where requests are served. Whoever sees the file sees all of it.
    pub(crate) fn publish_ports(&self, broker: u16, http: u16) -> Result<(), Failure> {
        let new = self.path.join("ports.json.new");
        let write = || {
            let mut file = File::create(&new)?;
            writeln!(file, "{{\"broker\":{broker},\"http\":{http}}}")?;
            fs::rename(&new, self.ports())
        };
        write().map_err(|error| Failure::internal(format!("cannot write {}: {error}", self.ports().display())))
    }

    /// Requests are served no longer.
    pub(crate) fn withdraw_ports(&self) -> io::Result<()> {
        match fs::remove_file(self.ports()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn ports(&self) -> PathBuf {
        self.path.join("ports.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_serves_one_process_at_a_time() {
        let parent = tempfile::tempdir().expect("a directory");
        let path = parent.path().join("new/data");
        let first = Place::take(&path).expect("free");
        let refused = Place::take(&path).expect_err("taken");
        assert!(
            refused.exit == daemon::Exit::Usage && refused.message.contains("in use by another process"),
            "{refused}"
        );
        drop(first);
        Place::take(&path).expect("free again");
    }

    #[test]
    fn ports_stand_in_a_file_only_while_they_are_served() {
        let parent = tempfile::tempdir().expect("a directory");
        let ports = parent.path().join("ports.json");
        fs::write(&ports, "of a process that died").expect("written");
        let place = Place::take(parent.path()).expect("free");
        assert!(!ports.exists());
        place.publish_ports(6650, 8080).expect("written");
        let text = fs::read_to_string(&ports).expect("there");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).expect("JSON"),
            serde_json::json!({"broker": 6650, "http": 8080})
        );
        place.withdraw_ports().expect("removed");
        place.withdraw_ports().expect("twice is fine");
        assert!(!ports.exists());
    }

    #[test]
    fn a_place_that_is_no_directory_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let refused = Place::take(file.path()).expect_err("a file");
        assert!(refused.message.starts_with("--data-dir: cannot make "), "{refused}");
    }
}
