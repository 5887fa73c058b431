//! Runs one bookie. Everything worth reading is in the library.
use std::process::ExitCode;

fn main() -> ExitCode {
    bookie::main()
}
