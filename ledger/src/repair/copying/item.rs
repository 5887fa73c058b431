//! One entry of a batch, and rows of them.
use std::ops::Range;

use proto::EntryId;
use proto::bookie::Entry;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    /// The bookie was not asked yet.
    Unknown,
    Present,
    Damaged,
    Missing,
    /// Another holder has given it.
    Found(Entry),
    /// No other holder has.
    GivenUp,
}

#[derive(Debug)]
pub(super) struct Item {
    pub(super) entry: EntryId,
    pub(super) state: State,
    /// The source to ask, of all in order. Those before it need not be asked or have been.
    pub(super) source: usize,
    /// One of those before did not say no.
    pub(super) doubted: bool,
}

impl Item {
    pub(super) fn new(entry: EntryId, state: State) -> Self {
        Self { entry, state, source: 0, doubted: false }
    }
}

/// Rows of entries that follow one another and are in the same `group`, at most `longest` each.
pub(super) fn runs<G: PartialEq + Copy>(
    batch: &[Item],
    longest: u64,
    group: impl Fn(&Item) -> Option<G>,
) -> Vec<(Range<u64>, G)> {
    let mut runs: Vec<(Range<u64>, G)> = Vec::new();
    for item in batch {
        let Some(of) = group(item) else { continue };
        let entry = item.entry.0;
        match runs.last_mut() {
            Some((run, same)) if run.end == entry && *same == of && run.end - run.start < longest => run.end += 1,
            _ => runs.push((entry..entry + 1, of)),
        }
    }
    runs
}

/// A row as rows of one.
pub(super) fn each(run: Range<u64>) -> Vec<Range<u64>> {
    run.map(|entry| entry..entry + 1).collect()
}
