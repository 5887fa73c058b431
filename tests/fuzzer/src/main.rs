//! libFuzzer, on the target that `FUZZ_TARGET` names.
#![no_main] // libFuzzer's own.
use std::cell::RefCell;
use std::mem::ManuallyDrop;

use fuzzer::Run;
use libfuzzer_sys::fuzz_target;

thread_local! {
    /// Never dropped: when this thread ends, a runtime is no more what it was.
    static RUN: RefCell<ManuallyDrop<Run>> = RefCell::new(ManuallyDrop::new(Run::of_environment()));
}

fuzz_target!(init: fuzzer::sow(), |input: &[u8]| RUN.with_borrow_mut(|run| run.input(input)));
