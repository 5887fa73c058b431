//! From old segments to new ones in memory, ledger by ledger, once the manifest that says so is durable.
use std::collections::{HashMap, VecDeque};

use proto::LedgerId;

use super::output::Sorted;
use super::pass::Pass;
use crate::format::{Listed, SegmentId};
use crate::index::{Prepared, Run};
use crate::segments::Segments;

/// Ledgers for which the index is locked at a time.
const LEDGERS: usize = 256;

impl Sorted {
    /// As the manifest has it.
    pub(super) fn listed(&self) -> Listed {
        Listed { segment: self.segment, generation: self.extent.generation, data_end: self.extent.data_end }
    }
}

/// Whether each ledger that is not deleted has as many entries in the new segments as in those they replace.
pub(super) fn holds_the_same(segments: &Segments, pass: &Pass) -> bool {
    let mut copied: HashMap<LedgerId, u64> = HashMap::new();
    for row in pass.sorted.iter().flat_map(|sorted| &sorted.rows) {
        *copied.entry(row.ledger).or_default() += u64::from(row.count);
    }
    pass.merge.ledgers.chunks(LEDGERS).all(|ledgers| {
        let index = segments.index.read();
        ledgers.iter().all(|ledger| {
            let held = index.entries_in(*ledger, &pass.chosen);
            held.is_none_or(|held| held == copied.get(ledger).copied().unwrap_or(0))
        })
    })
}

/// See the module.
#[derive(Debug)]
pub(super) struct Switch {
    pub(super) old: Vec<SegmentId>,
    /// Of all ledgers that had entries in the old segments, in order.
    ledgers: VecDeque<LedgerId>,
    /// In the same order.
    runs: VecDeque<(LedgerId, Run)>,
}

impl Switch {
    pub(super) fn begin(segments: &Segments, pass: Pass) -> Self {
        let old: u64 = {
            let index = segments.index.read();
            pass.chosen.iter().filter_map(|segment| index.extent(*segment)).map(|extent| extent.data_end).sum()
        };
        let new = pass.sorted.iter().map(|sorted| sorted.extent.data_end).sum();
        segments.traffic.rewritten.add(pass.chosen.len() as u64);
        segments.traffic.rewritten_bytes.add(old.saturating_sub(new));
        let mut runs = VecDeque::new();
        for sorted in pass.sorted {
            let mut prepared = Prepared::new(sorted.segment, sorted.extent, &sorted.rows);
            runs.extend(std::mem::take(&mut prepared.runs));
            segments.index.write().hold(prepared);
        }
        Self { old: pass.chosen, ledgers: pass.merge.ledgers.into(), runs }
    }

    /// Switches some ledgers. `false` once all are.
    pub(super) fn step(&mut self, segments: &Segments) -> bool {
        let mut index = segments.index.write();
        let mut new = Vec::new();
        for ledger in self.ledgers.drain(..LEDGERS.min(self.ledgers.len())) {
            new.clear();
            while let Some((_, run)) = self.runs.front().filter(|(of, _)| *of == ledger) {
                new.push(*run);
                self.runs.pop_front();
            }
            index.replace(ledger, &self.old, &new);
        }
        !self.ledgers.is_empty()
    }
}
