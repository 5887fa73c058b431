//! The bodies of crate `tests` for libFuzzer.
//!
//! They stand there, so that the test run has them too; they are taken in by their path, because all else that crate needs would have
//! to be built once more.
#[path = "../../src/fuzz/mod.rs"]
pub mod fuzz;

use std::path::Path;

use fuzz::{Body, Reached, Target};

/// One target and its body.
pub struct Run {
    body: Body,
    reached: Reached,
}

impl Run {
    /// Of the target that `FUZZ_TARGET` names.
    pub fn of_environment() -> Self {
        Self { body: target().body(), reached: Reached::default() }
    }

    /// Gives one input to the body, which panics when it finds a defect.
    pub fn input(&mut self, input: &[u8]) {
        (self.body)(input, &mut self.reached);
    }
}

fn target() -> Target {
    let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
    let found = Target::ALL.into_iter().find(|target| target.name() == name);
    found.unwrap_or_else(|| panic!("FUZZ_TARGET is {name:?}, which is none of {:?}", Target::ALL.map(Target::name)))
}

/// Puts the seeds of the target where `FUZZ_CORPUS` says, before libFuzzer reads from there.
pub fn sow() {
    let Some(directory) = std::env::var_os("FUZZ_CORPUS") else { return };
    for (number, seed) in target().seeds().iter().enumerate() {
        let path = Path::new(&directory).join(format!("seed-{number}"));
        std::fs::write(path, seed).expect("the corpus can be written to");
    }
}
