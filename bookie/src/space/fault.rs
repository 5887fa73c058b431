//! Why segments could not be rewritten.
use std::io;
use std::path::PathBuf;

use crate::format::SegmentId;

/// By what is done next.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// What is in the segment cannot be copied. It stays as it is, the others are rewritten without it.
    #[error("{}: {what} at byte {offset}; the file is kept as it is", .path.display())]
    Damaged { segment: SegmentId, path: PathBuf, offset: u64, what: String },
    /// Nothing is wrong with what is held. It is tried again later.
    #[error("{}: cannot {doing}: {source}", .path.display())]
    Disk { path: PathBuf, doing: &'static str, source: io::Error },
}
