//! What fuzzers call: one body per target, each for any bytes at all, and the inputs they start from.
//!
//! Owns: the bodies, the seeds, and a small generator that needs no instrumented build.
//! Promises: a body panics when it finds a defect and never otherwise; the same input means the same to it in every run; what inputs
//! led to is counted.
//! Never: reaches into the broker. It serves here as `geminga` starts it, with its ledgers and metadata in memory.
//!
//! Two callers share this module: the test `fuzz`, which runs each body for ten seconds on stable Rust, and the command
//! `tests/fuzz`, which gives them to a fuzzer that sees what code an input has reached.
mod admin; // Pages that sessions ask for.
mod decoders;
mod generator;
mod goals;
mod neighbour;
mod reached;
mod script;
mod seeds;
mod sessions;
mod talk;

pub use generator::Generator;
pub use goals::Goals;
pub use reached::{Event, Reached};
use sessions::Sessions;

/// Takes one input after the other, and notes what each leads to.
pub type Body = Box<dyn FnMut(&[u8], &mut Reached)>;

/// What is fuzzed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A stream of bytes is cut into frames.
    Frame,
    /// The bytes of one command are decoded.
    Command,
    /// An entry is taken apart: checksum, metadata, batch.
    Entry,
    /// Whole sessions of clients with a broker.
    Session,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Frame, Self::Command, Self::Entry, Self::Session];

    /// As commands and directories call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Frame => "frame",
            Self::Command => "command",
            Self::Entry => "entry",
            Self::Session => "session",
        }
    }

    /// Valid inputs, from which a fuzzer finds its way to others.
    #[must_use]
    pub fn seeds(self) -> Vec<Vec<u8>> {
        match self {
            Self::Frame => seeds::frames(),
            Self::Command => seeds::commands(),
            Self::Entry => seeds::entries(),
            Self::Session => seeds::sessions(),
        }
    }

    /// What a run must lead to.
    #[must_use]
    pub fn goals(self) -> &'static Goals {
        match self {
            Self::Frame => &goals::FRAME,
            Self::Command => &goals::COMMAND,
            Self::Entry => &goals::ENTRY,
            Self::Session => &goals::SESSION,
        }
    }

    /// What its inputs are given to.
    #[must_use]
    pub fn body(self) -> Body {
        match self {
            Self::Frame => Box::new(decoders::frame),
            Self::Command => Box::new(decoders::command),
            Self::Entry => Box::new(decoders::entry),
            Self::Session => {
                let mut sessions = Sessions::start();
                Box::new(move |input, reached| sessions.run(input, reached))
            }
        }
    }
}
