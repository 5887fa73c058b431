//! Ports for programs that cannot choose one themselves.
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::TcpListener;
use std::path::Path;

use daemon::Failure;

/// Below the ports that kernels give to outgoing connections, which come and go all the time.
const LOWEST: u16 = 12_000;
const ROWS: u16 = 2_000;
/// How many ports one server gets.
pub(super) const ROW: u16 = 5;
/// Some programs take the port this far above each of theirs as well.
pub(super) const TWIN: u16 = 10_000;

/// The first of [`ROW`] ports of loopback that were free a moment ago, and so were their twins. `program` in `directory` begins to
/// look at a place of its own, so that two that start at once seldom meet, and none takes the ports of one that will start again.
pub(crate) fn free_row(program: &str, directory: &Path) -> Result<u16, Failure> {
    let mut hasher = DefaultHasher::new();
    (program, directory).hash(&mut hasher);
    let begin = u16::try_from(hasher.finish() % u64::from(ROWS)).expect("smaller than ROWS");
    let rows = (0..ROWS).map(|step| LOWEST + (begin + step) % ROWS * ROW);
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let free = rows.into_iter().find(|row| (*row..row + ROW).all(|port| is_free(port) && is_free(port + TWIN)));
    free.ok_or_else(|| Failure::try_again(format!("no {ROW} free ports in a row")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_in_use_is_not_given_again() {
        let directory = Path::new("somewhere");
        let row = free_row("one", directory).expect("there are free ports");
        for taken in [row, row + ROW - 1, row + TWIN] {
            let _held = TcpListener::bind(("127.0.0.1", taken)).expect("it is free");
            assert_ne!(free_row("one", directory).expect("there are more"), row, "{taken} is taken");
        }
    }

    #[test]
    fn programs_of_one_directory_have_rows_of_their_own() {
        let directory = Path::new("somewhere");
        let rows = ["one", "other"].map(|program| free_row(program, directory).expect("there are free ports"));
        assert_ne!(rows[0], rows[1]);
    }
}
