//! What the members of an entry's write set have said about it.
use proto::bookie::Entry;

use crate::quorum::Members;

#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) found: Option<Entry>,
    /// Explicit noes of bookies that are fenced.
    pub(super) no: Members,
    /// Neither yes nor no.
    pub(super) unknown: Members,
}
