//! Files whose content is not wanted any more, kept to be written again: their blocks are there already.
use std::io;

use parking_lot::Mutex;

use crate::disk::Disk;

/// What is kept at most: a burst of the journal while no segment becomes free.
pub(crate) const SPARES_MAX: usize = 8;

/// Names of files. Whoever has taken one alone touches it.
#[derive(Debug)]
pub(crate) struct Spares {
    /// Files much shorter or longer than a segment are no use.
    segment_bytes: u64,
    // Filled by whoever gives space back, emptied by whoever prepares a segment: a few instructions, no I/O inside.
    state: Mutex<State>,
}

#[derive(Debug)]
struct Spare {
    name: String,
    length: u64,
}

#[derive(Debug)]
struct State {
    kept: Vec<Spare>,
    /// Of the next file's name.
    number: u64,
}

impl Spares {
    pub(super) fn new(segment_bytes: u64) -> Self {
        Self { segment_bytes, state: Mutex::new(State { kept: Vec::new(), number: 1 }) }
    }

    /// Takes in the spares among the files that were there at start.
    pub(super) fn find(&self, disk: &dyn Disk, names: &[String]) -> io::Result<()> {
        for name in names.iter().filter(|name| is_spare(name)) {
            let length = disk.open(name)?.length()?;
            if !self.wants(length) {
                disk.remove(name)?;
                continue;
            }
            let mut state = self.state.lock();
            state.number = state.number.max(number(name).unwrap_or(0) + 1);
            state.kept.push(Spare { name: name.clone(), length });
        }
        Ok(())
    }

    /// Keeps the file, if it `may` be kept, or removes it. The directory is not synced: should the old name come back, a start frees the
    /// file again.
    pub(crate) fn free(&self, disk: &dyn Disk, name: &str, may: bool) -> io::Result<()> {
        let length = disk.open(name)?.length()?;
        if !may || !self.wants(length) {
            return disk.remove(name);
        }
        let spare = {
            let mut state = self.state.lock();
            state.number += 1;
            format!("{PREFIX}{:020}", state.number - 1)
        };
        disk.rename(name, &spare)?;
        self.state.lock().kept.push(Spare { name: spare, length });
        Ok(())
    }

    /// A file to write again.
    pub(super) fn take(&self) -> Option<String> {
        self.state.lock().kept.pop().map(|spare| spare.name)
    }

    /// Gives all of them back to the disk. `false`: there were none.
    pub(super) fn remove_all(&self, disk: &dyn Disk) -> io::Result<bool> {
        let mut any = false;
        while let Some(name) = self.take() {
            disk.remove(&name)?;
            any = true;
        }
        Ok(any)
    }

    /// How many files are kept, and their bytes.
    pub(crate) fn counts(&self) -> (usize, u64) {
        let state = self.state.lock();
        (state.kept.len(), state.kept.iter().map(|spare| spare.length).sum())
    }

    fn wants(&self, length: u64) -> bool {
        let fits = self.segment_bytes / 2 <= length && length <= 2 * self.segment_bytes;
        fits && self.state.lock().kept.len() < SPARES_MAX
    }
}

const PREFIX: &str = "spare-";

fn number(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// Whether a file of this name is a spare.
pub(super) fn is_spare(name: &str) -> bool {
    number(name).is_some()
}
