//! Goal: whatever goes wrong at whatever moment of a ledger's way into objects, nothing is lost, spoiled, deleted early or left over. Method:
//! a matrix of phases and faults. In each cell the process dies at once, after a random while, or not at all; the fault lasts on beyond
//! its death or not; then another process takes the topic over, intents are worked off, and a scrub removes what nobody needs. All
//! moments are from seeds, and what is there is judged by its bytes. `--nocapture` prints the table.
mod bench;
mod cell; // What happens in one cell.

use std::fmt;

use crate::offload::faults::Fault;
use bench::Bench;

/// Where a ledger is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    IntentWritten,
    UploadBegun,
    InMidUpload,
    /// And nothing of it read back.
    Uploaded,
    /// And the record does not say so.
    Verified,
    Official,
    FreedInRecord,
    ForgottenByBookies,
    Reading,
    TopicDeleted,
    DeletedInMidUpload,
}

impl Phase {
    const ALL: [Self; 11] = [
        Self::IntentWritten,
        Self::UploadBegun,
        Self::InMidUpload,
        Self::Uploaded,
        Self::Verified,
        Self::Official,
        Self::FreedInRecord,
        Self::ForgottenByBookies,
        Self::Reading,
        Self::TopicDeleted,
        Self::DeletedInMidUpload,
    ];

    fn is_deletion(self) -> bool {
        matches!(self, Self::TopicDeleted | Self::DeletedInMidUpload)
    }
}

/// What goes wrong there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// The process dies, and nothing else.
    Crash,
    /// The store answers every request so.
    Store(Fault),
    /// Another load of the topic does the same meanwhile.
    TwoOffloaders,
    /// The topic's record is gone.
    RecordMissing,
    /// And a client made a topic of the same name.
    RecordMadeAnew,
    /// The metadata is what it was then, after everything has moved.
    OlderSnapshot,
}

impl Wrong {
    fn all() -> Vec<Self> {
        let stores = Fault::ALL.map(Self::Store);
        let rest = [Self::TwoOffloaders, Self::RecordMissing, Self::RecordMadeAnew, Self::OlderSnapshot];
        [&[Self::Crash], &stores[..], &rest].concat()
    }

    fn is_of_metadata(self) -> bool {
        matches!(self, Self::RecordMissing | Self::RecordMadeAnew | Self::OlderSnapshot)
    }

    /// Of a topic that was deleted no record can be missed.
    fn can_happen(self, phase: Phase) -> bool {
        !(self.is_of_metadata() && phase.is_deletion())
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash => f.pad("crash alone"),
            Self::Store(fault) => f.pad(&format!("{fault:?}")),
            other => f.pad(&format!("{other:?}")),
        }
    }
}

/// When the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    AtOnce,
    Later,
    Never,
}

/// Of each cell and ending. A debug build takes some seconds for all.
const SEEDS: u64 = 8;
const ENDINGS: [Ending; 3] = [Ending::AtOnce, Ending::Later, Ending::Never];

/// What was seen. All but the first two must stay 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    runs: u64,
    /// Told of metadata that cannot be true: a topic that does not load, an intent that stays, an object that a scrub keeps or misses.
    alarms: u64,
    /// Entries without a whole copy, or that a reader does not get once all is well.
    lost: u64,
    /// Entries that were read and are not what was published.
    mismatching: u64,
    /// Ledgers whose copy went before the other was official and whole.
    early: u64,
    /// Objects of which neither a record nor an intent knew, before anything arrived late.
    unaccounted: u64,
    /// What is left after a scrub: objects, ledgers on bookies, intents.
    orphans: u64,
    /// Runs in which something never ended, or failed although nothing was wrong any more.
    stuck: u64,
    /// Runs in which metadata that cannot be true went unnoticed.
    untold: u64,
}

impl Tally {
    fn faults(&self) -> [(&'static str, u64); 7] {
        let Self { lost, mismatching, early, unaccounted, orphans, stuck, untold, .. } = *self;
        [
            ("lost", lost),
            ("mismatching", mismatching),
            ("early", early),
            ("unaccounted", unaccounted),
            ("orphans", orphans),
            ("stuck", stuck),
            ("untold", untold),
        ]
    }

    fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.alarms += other.alarms;
        self.lost += other.lost;
        self.mismatching += other.mismatching;
        self.early += other.early;
        self.unaccounted += other.unaccounted;
        self.orphans += other.orphans;
        self.stuck += other.stuck;
        self.untold += other.untold;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wrong: Vec<String> = self
            .faults()
            .iter()
            .filter(|(_, count)| 0 < *count)
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        if wrong.is_empty() { f.pad(&format!("ok {}", self.runs)) } else { f.pad(&wrong.join(" ")) }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_spoiled_deleted_early_or_left_over_in_any_cell() {
    let one = Bench::requests_of_a_ledger().await;
    assert!(8 <= one.puts && 4 <= one.gets && 2 <= one.heads, "several objects of several parts: {one:?}");
    let mut sum = Tally::default();
    print!("{:<16}", "");
    Phase::ALL.iter().for_each(|phase| print!("{:<20}", format!("{phase:?}")));
    println!();
    for wrong in Wrong::all() {
        print!("{wrong:<16}");
        for phase in Phase::ALL {
            let mut tally = Tally::default();
            if wrong.can_happen(phase) {
                for seed in 0..SEEDS {
                    for ending in ENDINGS {
                        tally.add(&cell::run(cell::Cell { phase, wrong, ending, seed }, one).await);
                    }
                }
            }
            if 0 < tally.runs {
                print!("{tally:<20}")
            } else {
                print!("{:<20}", "-")
            }
            sum.add(&tally);
        }
        println!();
    }
    print!("{} runs, {} alarms told", sum.runs, sum.alarms);
    sum.faults().iter().for_each(|(what, count)| print!(", {what} {count}"));
    println!();
    assert!(sum.faults().iter().all(|(_, count)| *count == 0), "{sum}");
}
