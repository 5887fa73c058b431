//! Giving space back: segments that nobody wants are dropped, others are rewritten once, sorted by ledger.
//!
//! Owns: the manifest, and with it which segments count.
//! Promises: at every step all that was acknowledged is durable and found, and marks are never lost.
//! Never: frees a byte without a durable tombstone of its ledger, asks metadata, or hurries while the journal is busy.
//!
//! [`Space::turn`] does one piece of work; a thread calls it in production, a simulation calls it between steps.
mod choice;
mod fault;
mod merge;
mod output;
mod pace;
mod pass;
mod piece;
mod switch; // In the order of their use, but for what they share.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use self::choice::{Candidate, Choice, Room, choose};
use self::fault::Fault;
use self::output::Sorted;
use self::pace::Pace;
use self::pass::{Pass, Step};
use self::switch::Switch;
use crate::disk::is_full;
use crate::format::{Generation, Manifest, SegmentId};
use crate::index::{Extent, Usage};
use crate::seed::Seed;
use crate::segments::{Keeper, NotStored, Segments, read_footer, store};
use crate::traffic::Traffic;

/// How often it is looked for work.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two pieces of the reserve, so that nobody feels it.
const GROW_EVERY: Duration = Duration::from_millis(250);
/// Of the thread, while the reserve cannot be grown.
const WAIT_MIN: Duration = Duration::from_millis(100);
/// After a failure.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// What a turn came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Worked,
    /// There is nothing to do for so long.
    Wait(Duration),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Space {
    segments: Arc<Segments>,
    keeper: Arc<Keeper>,
    generations: Seed,
    /// As the manifest has it: the journal's segments before it count only if they are listed.
    settled: SegmentId,
    /// Of the next sorted segment.
    next: SegmentId,
    /// When each sealed segment was first seen.
    seen: HashMap<SegmentId, Duration>,
    /// What cannot be copied whole is not tried again before the next start.
    not_rewritten: HashSet<SegmentId>,
    /// Nor is what does not say itself that it is dead.
    not_dropped: HashSet<SegmentId>,
    pass: Option<Pass>,
    switch: Option<Switch>,
    /// They count no more and wait for their last readers.
    retired: Vec<(SegmentId, Extent)>,
    pace: Pace,
    look_at: Duration,
    rewrite_at: Duration,
    /// The reserve is complete, or cannot be grown, until then.
    grow_at: Duration,
    /// Nobody knows which manifest counts: nothing is changed any more.
    unsettled: bool,
}

impl Space {
    /// For a store as it was found: `settled` is what its manifest says, and sorted segments from `next` on do not exist.
    pub(crate) fn new(segments: Arc<Segments>, keeper: Arc<Keeper>, settled: SegmentId, next: SegmentId) -> Self {
        let generations = Seed::new(!segments.options.seed); // Others than the keeper draws.
        let pace = Pace::new(segments.options.rewrite_rate);
        Self {
            segments,
            keeper,
            generations,
            settled,
            next,
            seen: HashMap::new(),
            not_rewritten: HashSet::new(),
            not_dropped: HashSet::new(),
            pass: None,
            switch: None,
            retired: Vec::new(),
            pace,
            look_at: Duration::ZERO,
            rewrite_at: Duration::ZERO,
            grow_at: Duration::ZERO,
            unsettled: false,
        }
    }

    /// One piece of work, if there is any. `now` only grows.
    pub(crate) fn turn(&mut self, now: Duration) -> Turn {
        if self.free_one() || self.switch_some() {
            return Turn::Worked;
        }
        if self.unsettled {
            return Turn::Wait(TRY_AGAIN);
        }
        if self.look_at <= now {
            self.look_at = now + LOOK_EVERY;
            self.segments.measure();
            self.segments.fullness.reconsider(now);
            if self.segments.fullness.is_read_only() {
                self.keeper.seal_again(); // What is not sealed cannot be given back.
            }
            if self.look(now) {
                return Turn::Worked;
            }
        }
        if self.pass.is_some() {
            if let Some(wait) = self.pace.wait(now, self.keeper.pressure()) {
                return Turn::Wait(wait);
            }
            self.advance(now);
            return Turn::Worked;
        }
        if self.grow_reserve(now) {
            return Turn::Worked;
        }
        Turn::Wait(self.look_at.min(self.grow_at).saturating_sub(now).max(WAIT_MIN))
    }

    /// One piece, while there is room for more than this.
    fn grow_reserve(&mut self, now: Duration) -> bool {
        let Segments { disk, reserve, fullness, .. } = &*self.segments;
        if now < self.grow_at || fullness.is_read_only() {
            return false;
        }
        let (grown, wait) = match reserve.grow(disk.as_ref(), fullness.room()) {
            Ok(true) => (true, GROW_EVERY),
            Ok(false) => (false, LOOK_EVERY),
            Err(error) => {
                tracing::warn!(%error, "the reserve for a full disk cannot be made");
                (false, TRY_AGAIN)
            }
        };
        self.grow_at = now + wait;
        grown
    }

    /// Drops what is dead, and begins a pass if it is time for one.
    fn look(&mut self, now: Duration) -> bool {
        let usages: Vec<Usage> = self.segments.index.read().usages().collect();
        let there: HashSet<_> = usages.iter().map(|usage| usage.segment).collect();
        self.seen.retain(|segment, _| there.contains(segment));
        for segment in there {
            self.seen.entry(segment).or_insert(now);
        }
        let in_pass = |segment: &SegmentId| self.pass.as_ref().is_some_and(|pass| pass.chosen.contains(segment));
        let settled = self.segments.index.read().settled(self.settled);
        let counts = |segment: SegmentId| segment.is_sorted() || segment < settled;
        let free = usages.into_iter().filter(|usage| counts(usage.segment) && !in_pass(&usage.segment));
        let (mut dead, mut others): (Vec<_>, Vec<_>) = free.partition(|usage| usage.dead);
        dead.retain(|usage| !self.not_dropped.contains(&usage.segment));
        others.retain(|usage| !self.not_rewritten.contains(&usage.segment));
        let dropped = !dead.is_empty() && self.drop_dead(&dead, now);
        let begun = self.pass.is_none() && self.rewrite_at <= now && self.begin(&others, now);
        dropped || begun
    }

    /// Takes segments out of the manifest in which only deleted ledgers have entries.
    fn drop_dead(&mut self, dead: &[Usage], now: Duration) -> bool {
        let mut manifest = self.manifest();
        let mut sure = Vec::new();
        for usage in dead {
            match self.is_dead(usage.segment, &manifest) {
                Ok(true) => sure.push(*usage),
                Ok(false) => {
                    tracing::error!(segment = %usage.segment, "counted as dead, but its directory says otherwise");
                    self.not_dropped.insert(usage.segment);
                }
                Err(error) => {
                    tracing::error!(segment = %usage.segment, %error, "cannot tell whether it is dead; it is kept");
                    self.not_dropped.insert(usage.segment);
                }
            }
        }
        if sure.is_empty() {
            return false;
        }
        manifest.segments.retain(|listed| sure.iter().all(|usage| usage.segment != listed.segment));
        if !self.store(&manifest) {
            self.look_at = now + TRY_AGAIN;
            return false;
        }
        self.segments.traffic.dropped.add(sure.len() as u64);
        self.segments.traffic.dropped_bytes.add(sure.iter().map(|usage| usage.data_end).sum());
        self.retire(sure.iter().map(|usage| usage.segment));
        true
    }

    /// What decides is the directory in the file, held against the tombstones of the manifest that would do without the file.
    fn is_dead(&self, segment: SegmentId, manifest: &Manifest) -> std::io::Result<bool> {
        let generation = self.segments.index.read().extent(segment).map(|extent| extent.generation);
        let generation = generation.ok_or(std::io::ErrorKind::NotFound)?;
        let found = read_footer(&self.segments.file(segment)?, segment, generation)?;
        let (_, rows) = found.ok_or_else(|| std::io::Error::other("its footer is damaged"))?;
        Ok(rows.iter().all(|row| row.count == 0 || manifest.marks.is_deleted(row.ledger)))
    }

    fn begin(&mut self, usages: &[Usage], now: Duration) -> bool {
        let candidates = usages.iter().map(|usage| Candidate {
            usage: *usage,
            age: now.saturating_sub(self.seen.get(&usage.segment).copied().unwrap_or(now)),
        });
        let candidates: Vec<_> = candidates.collect();
        let fullness = &self.segments.fullness;
        let room = Room {
            usable: fullness.room().free.saturating_sub(fullness.kept_from_passes()),
            pressed: fullness.is_read_only(),
        };
        let Some(Choice { segments, major }) = self.choose(&candidates, room) else { return false };
        match Pass::begin(&self.segments, segments, self.next) {
            Ok(pass) => {
                let Traffic { minor_passes, major_passes, .. } = &self.segments.traffic;
                if major { major_passes } else { minor_passes }.add(1);
                self.pass = Some(pass);
            }
            Err(fault) => self.note(&fault, now),
        }
        true
    }

    /// On a full disk at the expense of the reserve, if there is nothing else: a pass gives back more than it takes.
    fn choose(&self, candidates: &[Candidate], room: Room) -> Option<Choice> {
        let Segments { options, reserve, .. } = &*self.segments;
        let chosen = choose(candidates, room, options);
        if chosen.is_some() || !room.pressed {
            return chosen;
        }
        let usable = room.usable.saturating_add(reserve.length());
        let chosen = choose(candidates, Room { usable, ..room }, options)?;
        while reserve.release() {}
        Some(chosen)
    }

    fn advance(&mut self, now: Duration) {
        let Some(mut pass) = self.pass.take() else { return };
        let generations = &mut self.generations;
        match pass.step(&mut || Generation(generations.next())) {
            Ok(Step::Moved(bytes)) => {
                self.pace.spent(now, bytes);
                self.pass = Some(pass);
            }
            Ok(Step::Done) => self.complete(pass, now),
            Err(fault) => {
                self.note(&fault, now);
                self.abandon(pass);
            }
        }
    }

    /// All entries are in the new segments and durable: with the next manifest these count instead of the old ones.
    fn complete(&mut self, pass: Pass, now: Duration) {
        if !switch::holds_the_same(&self.segments, &pass) {
            tracing::error!(segments = ?pass.chosen, "entries are missing in what was rewritten; the files are kept");
            self.not_rewritten.extend(&pass.chosen);
            return self.abandon(pass);
        }
        let mut manifest = self.manifest();
        manifest.segments.retain(|listed| !pass.chosen.contains(&listed.segment));
        manifest.segments.extend(pass.sorted.iter().map(Sorted::listed));
        if self.store(&manifest) {
            self.next = pass.next();
            self.switch = Some(Switch::begin(&self.segments, pass));
        } else if !self.unsettled {
            // Else either may count, and both need their files.
            self.rewrite_at = now + TRY_AGAIN;
            self.abandon(pass);
        }
    }

    fn switch_some(&mut self) -> bool {
        let Some(switch) = &mut self.switch else { return false };
        if !switch.step(&self.segments)
            && let Some(switch) = self.switch.take()
        {
            self.retire(switch.old.into_iter());
        }
        true
    }

    fn abandon(&mut self, pass: Pass) {
        let first = std::mem::replace(&mut self.next, pass.next());
        pass.abandon(first);
    }

    fn note(&mut self, fault: &Fault, now: Duration) {
        match fault {
            Fault::Damaged { segment, .. } => {
                tracing::error!(%fault, "cannot rewrite a segment");
                self.not_rewritten.insert(*segment);
            }
            Fault::Disk { .. } => {
                tracing::warn!(%fault, "segments are not rewritten now");
                self.rewrite_at = now + TRY_AGAIN;
            }
        }
    }

    fn retire(&mut self, segments: impl Iterator<Item = SegmentId>) {
        let mut index = self.segments.index.write();
        self.retired.extend(segments.map(|segment| (segment, index.retire(segment))));
    }

    /// Frees one file that nobody reads any more.
    fn free_one(&mut self) -> bool {
        let unread = self.retired.iter().position(|(_, extent)| !extent.is_shared());
        let Some((segment, _)) = unread.map(|at| self.retired.swap_remove(at)) else { return false };
        self.segments.close(segment);
        if let Err(error) = self.segments.free(segment) {
            tracing::warn!(%segment, %error, "cannot free a segment; the next start does");
        }
        true
    }

    fn manifest(&self) -> Manifest {
        self.segments.index.read().manifest(&self.segments.identity, self.settled)
    }

    /// At the expense of the reserve.
    fn store_for_sure(&self, manifest: &Manifest) -> Result<u64, NotStored> {
        loop {
            match store(self.segments.disk.as_ref(), manifest) {
                Err(NotStored::OldCounts(error)) if is_full(&error) && self.segments.reserve.release() => {}
                outcome => return outcome,
            }
        }
    }

    fn store(&mut self, manifest: &Manifest) -> bool {
        match self.store_for_sure(manifest) {
            Ok(length) => {
                self.settled = manifest.next;
                self.segments.traffic.upkeep.add(length);
                true
            }
            Err(error @ NotStored::OldCounts(_)) => {
                tracing::warn!(%error, "no space is given back now");
                false
            }
            Err(error @ NotStored::Unknown(_)) => {
                tracing::error!(%error, "no space is given back until the next start");
                self.unsettled = true;
                false
            }
        }
    }
}
