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
struct State {
    names: Vec<String>,
    /// Of the next file's name.
    number: u64,
}

impl Spares {
    pub(super) fn new(segment_bytes: u64) -> Self {
        Self { segment_bytes, state: Mutex::new(State { names: Vec::new(), number: 1 }) }
    }

    /// Takes in the spares among the files that were there at start.
    pub(super) fn find(&self, disk: &dyn Disk, names: &[String]) -> io::Result<()> {
        for name in names.iter().filter(|name| is_spare(name)) {
            let wanted = self.wants(disk.open(name)?.length()?);
            if !wanted {
                disk.remove(name)?;
                continue;
            }
            let mut state = self.state.lock();
            state.number = state.number.max(number(name).unwrap_or(0) + 1);
            state.names.push(name.clone());
        }
        Ok(())
    }

    /// Keeps the file or removes it. The directory is not synced: should the old name come back, a start frees the file again.
    pub(crate) fn free(&self, disk: &dyn Disk, name: &str) -> io::Result<()> {
        if !self.wants(disk.open(name)?.length()?) {
            return disk.remove(name);
        }
        let spare = {
            let mut state = self.state.lock();
            state.number += 1;
            format!("{PREFIX}{:020}", state.number - 1)
        };
        disk.rename(name, &spare)?;
        self.state.lock().names.push(spare);
        Ok(())
    }

    /// A file to write again.
    pub(super) fn take(&self) -> Option<String> {
        self.state.lock().names.pop()
    }

    fn wants(&self, length: u64) -> bool {
        let fits = self.segment_bytes / 2 <= length && length <= 2 * self.segment_bytes;
        fits && self.state.lock().names.len() < SPARES_MAX
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
