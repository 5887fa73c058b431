//! Ledgers move to a real store, bookies forget them, and clients read them as if nothing had happened.
mod house; // Servers with a store, and what must have happened before reading proves anything.
mod reading; // How quickly consumers read from the store.
mod three_commands; // What README tells a newcomer.
mod whole; // Everything comes back.

pub use house::{StoreKind, Target};
pub use reading::{ReadingReport, ReadingRun, read_as_consumers};
pub use three_commands::{ThreeCommandsReport, ThreeCommandsRun, follow_readme};
pub use whole::{TieringReport, TieringRun, move_and_read_back};
