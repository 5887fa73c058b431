//! One run of one cell: a phase is reached, something goes wrong, the process dies or does not, and others go on.
use std::collections::HashMap;
use std::future::pending;
use std::time::Duration;

use metadata::{Expect, MetadataStore, MetadataStoreExt};
use proto::keys;
use tokio::time::timeout;

use super::bench::{Bench, HOURS, Requests};
use super::{Ending, Phase, Tally, Wrong};
use crate::log::{LogError, OffloadError, create, delete as delete_topic};
use crate::offload::faults::Fault;
use crate::offload::{Attempt, AttemptIds};

/// Nothing but a fault makes time pass.
const AT_ONCE: Duration = Duration::from_millis(1);
/// Longer than one try, shorter than all.
const LATER_MS: u64 = 200_000;

#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    pub(super) phase: Phase,
    pub(super) wrong: Wrong,
    pub(super) ending: Ending,
    pub(super) seed: u64,
}

impl Cell {
    /// The fault of the store. A process that is only to die there waits for an answer meanwhile.
    fn fault(&self) -> Fault {
        match self.wrong {
            Wrong::Store(fault) => fault,
            _ if self.seed.is_multiple_of(2) => Fault::TimeoutBefore,
            _ => Fault::TimeoutAfter,
        }
    }

    fn moment(&self) -> Duration {
        let number = ((self.phase as u64) << 32) | ((self.fault() as u64) << 16) | self.seed;
        match self.ending {
            Ending::AtOnce => AT_ONCE,
            Ending::Later => Duration::from_millis(AttemptIds::new(number).next().0 % LATER_MS),
            Ending::Never => HOURS,
        }
    }

    /// What of the first ledger passes before the phase is reached, and at which half of which commit the process dies in it.
    fn reach(&self, one: Requests) -> (Requests, Option<i64>) {
        let (none, sent) = (Requests::default(), Requests { gets: 0, heads: 0, ..one });
        let verified = Requests { heads: 0, ..one };
        match self.phase {
            Phase::IntentWritten => (none, Some(1)),
            Phase::UploadBegun => (Requests { puts: 1, ..none }, None),
            Phase::InMidUpload | Phase::DeletedInMidUpload => (Requests { puts: one.puts / 2, ..none }, None),
            Phase::Uploaded => (sent, None),
            Phase::Verified => (verified, Some(2)),
            Phase::Official => (verified, Some(3)),
            Phase::FreedInRecord => (one, Some(5)),
            Phase::ForgottenByBookies | Phase::Reading | Phase::TopicDeleted => (none, None),
        }
    }
}

pub(super) async fn run(cell: Cell, one: Requests) -> Tally {
    let mut run = Run { bench: Bench::new(cell.seed).await, cell, one, tally: Tally { runs: 1, ..Tally::default() } };
    match cell.wrong {
        _ if cell.phase == Phase::TopicDeleted => run.deleted().await,
        _ if cell.phase == Phase::DeletedInMidUpload => run.deleted_in_mid_upload().await,
        Wrong::Crash | Wrong::Store(_) => run.stores().await,
        Wrong::TwoOffloaders => run.two_offloaders().await,
        Wrong::RecordMissing | Wrong::RecordMadeAnew => run.record_missing().await,
        Wrong::OlderSnapshot => run.older_snapshot().await,
    }
    run.tally
}

/// Returns once every other task waits: the clock goes on only then.
async fn all_wait() {
    let _ = timeout(AT_ONCE, pending::<()>()).await;
}

struct Run {
    bench: Bench,
    cell: Cell,
    one: Requests,
    tally: Tally,
}

impl Run {
    /// Comes to the phase; there the store begins to fail, and the process dies at its moment.
    async fn reach(&mut self, ending: Ending) {
        let cell = Cell { ending, ..self.cell };
        let (spared, dies_at) = cell.reach(self.one);
        let moment = cell.moment();
        let ended = match cell.phase {
            Phase::ForgottenByBookies | Phase::Reading => {
                self.bench.move_and_free().await.unwrap();
                self.bench.rig.work_off().await;
                self.bench.load().await.unwrap();
                self.bench.fail_after(spared, cell.fault());
                if cell.phase == Phase::Reading {
                    let mut seen = Tally::default();
                    let ended = self.bench.until(moment, self.bench.read(&mut seen, false)).await.is_some();
                    self.tally.add(&seen);
                    ended
                } else {
                    self.bench.until(moment, self.bench.rig.work_off()).await.is_some()
                }
            }
            _ => {
                self.bench.fail_after(spared, cell.fault());
                if let Some(half) = dies_at.filter(|_| ending == Ending::AtOnce) {
                    self.bench.rig.mortal.die_after(half);
                }
                self.bench.until(moment, self.bench.move_and_free()).await.is_some()
            }
        };
        self.tally.stuck += u64::from(!ended && ending == Ending::Never);
        self.bench.rig.mortal.live();
    }

    async fn stores(&mut self) {
        self.reach(self.cell.ending).await;
        self.bench.look(&mut self.tally).await;
        let attempts = self.bench.intended().await;
        if self.cell.seed.is_multiple_of(2) {
            // The store goes on failing while others take over.
            self.bench.load().await.unwrap();
            let worked = timeout(HOURS, self.bench.rig.work_off()).await;
            let scrubbed = timeout(HOURS, self.bench.scrub(true)).await;
            self.tally.stuck += u64::from(worked.is_err()) + u64::from(scrubbed.is_err());
            self.bench.look(&mut self.tally).await;
            self.bench.read(&mut self.tally, false).await;
        }
        self.bench.faults.stop();
        self.take_over().await;
        self.finish(&attempts).await;
    }

    /// All is well again: another process loads the topic.
    async fn take_over(&mut self) {
        self.bench.load().await.unwrap();
        self.bench.look(&mut self.tally).await;
        self.bench.rig.work_off().await;
        self.bench.look(&mut self.tally).await;
        self.bench.read(&mut self.tally, true).await;
    }

    /// Everything moves, what comes late comes, and a scrub leaves what belongs somewhere. Of `attempts` objects may come late.
    async fn finish(&mut self, attempts: &[Attempt]) {
        self.tally.unaccounted += self.findings().await;
        for attempt in attempts {
            self.bench.arrive_late(attempt).await;
        }
        if let Err(error) = self.bench.move_and_free().await {
            println!("{:?}: {error}", self.cell);
            self.tally.stuck += 1;
        }
        self.bench.rig.work_off().await;
        self.bench.look(&mut self.tally).await;
        self.bench.read(&mut self.tally, true).await;
        self.end().await;
        self.bench.look(&mut self.tally).await;
        self.bench.load().await.unwrap();
        self.bench.read(&mut self.tally, true).await;
    }

    async fn end(&mut self) {
        self.tally.stuck += u64::from(self.bench.scrub(true).await.is_err());
        self.tally.orphans += self.findings().await + self.bench.count_orphans().await;
    }

    /// What a scrub tells, besides what is sound or intended.
    async fn findings(&self) -> u64 {
        let Ok(found) = self.bench.scrub(false).await else { return 1 };
        let counts = [
            found.orphans.len(),
            found.missing.len(),
            found.wrong_size.len(),
            found.surplus.len(),
            found.unknown.len(),
        ];
        counts.iter().sum::<usize>() as u64
    }

    async fn two_offloaders(&mut self) {
        let (spared, dies_at) = self.cell.reach(self.one);
        let alone = self.bench.load_beside().await.unwrap(); // Of the process that is first.
        let (offloader, store, sealed) = (alone.offloader.clone(), self.bench.store.clone(), self.bench.sealed.clone());
        if matches!(self.cell.phase, Phase::ForgottenByBookies | Phase::Reading) {
            self.bench.loaded = alone;
            self.bench.move_and_free().await.unwrap();
            self.bench.rig.work_off().await;
        } else if dies_at.is_none() || self.cell.phase == Phase::IntentWritten {
            // One request of the first hangs; those of the second do not.
            self.stall(spared);
        } else {
            let ledger = sealed[0];
            offloader.offload(ledger, &store, |_| (), pending()).await.unwrap();
            if self.cell.phase == Phase::FreedInRecord {
                offloader.free(ledger, pending()).await.unwrap();
            }
        }
        let first = tokio::spawn(async move {
            for ledger in sealed {
                offloader.offload(ledger, &store, |_| (), pending()).await?;
                offloader.free(ledger, pending()).await?;
            }
            Ok::<_, OffloadError>(())
        });
        all_wait().await;
        let attempts = self.bench.intended().await;
        self.bench.load().await.unwrap();
        self.bench.rig.work_off().await;
        self.bench.look(&mut self.tally).await;
        if self.cell.ending == Ending::AtOnce {
            let _ = self.bench.move_and_free().await;
            self.bench.rig.work_off().await;
        }
        self.bench.look(&mut self.tally).await;
        let ended = timeout(HOURS, first).await;
        self.tally.stuck += u64::from(ended.is_err());
        self.bench.faults.stop();
        self.take_over().await;
        self.finish(&attempts).await;
    }

    fn stall(&self, spared: Requests) {
        use crate::offload::Operation::{Get, Put};
        let (faults, fault) = (&self.bench.faults, self.cell.fault());
        faults.spare(Put, spared.puts);
        let stalled = if self.one.puts <= spared.puts { Get } else { Put };
        faults.next(stalled, fault, 1);
    }

    async fn record_missing(&mut self) {
        self.reach(self.cell.ending).await;
        self.bench.faults.stop();
        let attempts = self.bench.intended().await;
        let key = keys::topic(&self.bench.rig.topic);
        let record = self.bench.rig.store.get(&key.as_str().into()).await.unwrap().unwrap();
        self.bench.rig.store.delete(key, Expect::Any).await.unwrap();
        if self.cell.wrong == Wrong::RecordMadeAnew {
            let context = self.bench.rig.context("anew", 4);
            create(&context, &self.bench.rig.topic, HashMap::new()).await.unwrap();
            self.bench.load().await.unwrap();
        } else {
            let found = self.bench.load().await;
            assert!(matches!(found, Err(LogError::NotFound { .. })), "{found:?}");
        }
        self.live_with_wrong_metadata().await;
        self.bench.rig.store.put(record.key, record.value, Expect::Any).await.unwrap(); // Somebody had a copy.
        self.take_over().await;
        self.finish(&attempts).await;
    }

    async fn older_snapshot(&mut self) {
        self.reach(self.cell.ending).await;
        self.bench.faults.stop();
        let older = self.bench.metadata().await;
        self.bench.load().await.unwrap();
        self.bench.rig.work_off().await;
        self.bench.move_and_free().await.unwrap();
        self.bench.rig.work_off().await;
        let last = self.bench.metadata().await;
        self.bench.restore(&older).await;
        self.bench.load().await.unwrap();
        self.live_with_wrong_metadata().await;
        self.bench.restore(&last).await;
        self.take_over().await;
        self.finish(&[]).await;
    }

    /// Whoever works now knows nothing of what was lost, and must do no harm, and somebody must be told.
    async fn live_with_wrong_metadata(&mut self) {
        for _ in 0..2 {
            self.bench.rig.work_off().await;
            let _ = self.bench.move_and_free().await;
            let Ok(scrubbed) = self.bench.scrub(true).await else {
                self.tally.stuck += 1;
                continue;
            };
            let kept = scrubbed.orphans.iter().filter(|orphan| orphan.kept_because.is_some()).count();
            let told = kept as u64 + scrubbed.intended + scrubbed.missing.len() as u64;
            self.tally.alarms += told;
            self.tally.untold += u64::from(told == 0 && self.bench.has_unknown_only_copy().await);
            // Only copies are judged: what the metadata refers to cannot be expected to be right.
            let mut seen = Tally::default();
            self.bench.look(&mut seen).await;
            self.tally.lost += seen.lost;
        }
    }

    async fn deleted(&mut self) {
        self.bench.offload(0).await.unwrap();
        self.bench.loaded.offloader.free(self.bench.sealed[0], pending()).await.unwrap();
        self.bench.rig.work_off().await;
        self.bench.offload(1).await.unwrap();
        self.delete_topic().await;
        let moment = self.cell.moment();
        if self.cell.wrong == Wrong::TwoOffloaders {
            tokio::join!(self.bench.rig.work_off(), self.bench.rig.work_off());
        } else {
            self.bench.fail_after(Requests::default(), self.cell.fault());
            let worked = self.bench.until(moment, self.bench.rig.work_off()).await;
            self.tally.stuck += u64::from(worked.is_none() && self.cell.ending == Ending::Never);
        }
        self.bench.faults.stop();
        self.nothing_is_left(&[]).await;
    }

    async fn deleted_in_mid_upload(&mut self) {
        self.bench.offload(0).await.unwrap();
        self.bench.loaded.offloader.free(self.bench.sealed[0], pending()).await.unwrap();
        self.bench.rig.work_off().await;
        if self.cell.wrong == Wrong::TwoOffloaders {
            self.stall(self.cell.reach(self.one).0);
        } else {
            self.bench.fail_after(self.cell.reach(self.one).0, self.cell.fault());
        }
        let (offloader, store) = (self.bench.loaded.offloader.clone(), self.bench.store.clone());
        let ledger = self.bench.sealed[1];
        let upload = async move { offloader.offload(ledger, &store, |_| (), pending()).await };
        let upload = tokio::spawn(upload);
        all_wait().await;
        if self.cell.wrong == Wrong::TwoOffloaders {
            self.bench.load().await.unwrap();
            let _ = self.bench.offload(2).await;
        }
        let attempts = self.bench.intended().await;
        self.delete_topic().await;
        let worked = timeout(HOURS, self.bench.rig.work_off()).await;
        self.tally.stuck += u64::from(worked.is_err());
        let moment = self.cell.moment();
        let abort = upload.abort_handle();
        if timeout(moment, upload).await.is_err() {
            self.tally.stuck += u64::from(self.cell.ending == Ending::Never);
            abort.abort();
        }
        self.bench.faults.stop();
        self.nothing_is_left(&attempts).await;
    }

    async fn delete_topic(&self) {
        let context = self.bench.rig.context("deleter", 4);
        delete_topic(&context, &self.bench.rig.topic, Vec::new()).await.unwrap();
    }

    async fn nothing_is_left(&mut self, attempts: &[Attempt]) {
        self.bench.rig.work_off().await;
        for attempt in attempts {
            self.bench.arrive_late(attempt).await;
        }
        self.bench.rig.work_off().await;
        self.end().await;
    }
}
