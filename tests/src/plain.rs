//! Reading objects by plain requests: what our own reading is compared with.
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use daemon::Failure;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

const RANGE_BYTES: u64 = 16 << 20;

/// Requests per GB are judged from here on: what each ledger needs once weighs too much in less.
pub const SMALLEST: u64 = 1_000_000_000;

/// What was read with so many requests at once, over all rounds.
#[derive(Debug, Clone, Default)]
pub struct Plain {
    rows: Vec<(usize, u64, Duration)>,
}

impl Plain {
    /// Adds one round.
    pub fn note(&mut self, at_once: usize, bytes: u64, took: Duration) {
        match self.rows.iter_mut().find(|(seen, ..)| *seen == at_once) {
            Some((_, sum, time)) => (*sum, *time) = (*sum + bytes, *time + took),
            None => self.rows.push((at_once, bytes, took)),
        }
    }

    /// MB/s of the quickest way.
    #[must_use]
    pub fn best(&self) -> f64 {
        self.rows.iter().map(rate).fold(0.0, f64::max)
    }
}

fn rate((_, bytes, took): &(usize, u64, Duration)) -> f64 {
    *bytes as f64 / 1e6 / took.as_secs_f64()
}

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            let what = format!("plain GETs of 16 MiB, {} at once", row.0);
            writeln!(f, "{what:<40} {:>7.0} MB/s", rate(row))?;
        }
        Ok(())
    }
}

/// Reads `objects`, given with their sizes, in ranges of 16 MiB, so many at once. Returns the bytes.
pub async fn read_ranges(
    store: &Arc<dyn ObjectStore>,
    objects: &[(Path, u64)],
    at_once: usize,
) -> Result<u64, Failure> {
    let ranges: Vec<_> = objects
        .iter()
        .flat_map(|(path, size)| {
            let starts = (0..*size).step_by(RANGE_BYTES as usize);
            starts.map(|start| (path.clone(), start..(start + RANGE_BYTES).min(*size)))
        })
        .collect();
    let read = |(path, range)| {
        let store = Arc::clone(store);
        async move { store.get_range(&path, range).await }
    };
    let read = stream::iter(ranges).map(read).buffered(at_once);
    read.try_fold(0, async |sum, bytes| Ok(sum + bytes.len() as u64)).await.map_err(Failure::internal)
}
