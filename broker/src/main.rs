//! Runs one broker of a cluster. Everything worth reading is in the library.
use std::process::ExitCode;

fn main() -> ExitCode {
    broker::main()
}
