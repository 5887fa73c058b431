//! Why a bookie does not start, and why it ends.
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use daemon::Failure;
use proto::LedgerId;

/// Why a directory is not opened. Nothing in it was changed that could not be found again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// Two bookies on one directory would destroy it.
    #[error("{}: another process uses this directory; stop it, or choose another `data_dir`", .place.display())]
    InUse {
        /// The directory.
        place: PathBuf,
    },
    /// Data without a name: a lost file, or not a bookie's directory at all.
    #[error("{}: missing, but the directory is not empty (it holds `{found}`); if this is a bookie's directory, restore the \
             file or the whole directory from where it was; to start a new bookie, choose an empty `data_dir`", .path.display())]
    IdentityMissing {
        /// The file that should be there.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// The data of another cluster.
    #[error("{}: belongs to cluster instance {found}, but `metadata` holds {expected}; correct `metadata` or \
             `data_dir`", .place.display())]
    OtherCluster {
        /// The directory.
        place: PathBuf,
        /// On disk.
        found: String,
        /// In metadata.
        expected: String,
    },
    /// A file of another bookie among this one's.
    #[error("{}: belongs to bookie {found}, but the directory is of {expected}; put the file back where it came from", .path.display())]
    OtherBookie {
        /// The file.
        path: PathBuf,
        /// In the file.
        found: String,
        /// In the directory's identity.
        expected: String,
    },
    /// Metadata was wiped or restored.
    #[error("{}: bookie {bookie} holds data, but the cluster's metadata does not know it; restore the metadata it was \
             registered in; nothing was deleted", .place.display())]
    Forgotten {
        /// The directory.
        place: PathBuf,
        /// Its identity.
        bookie: String,
    },
    /// An operator has taken it out of service for good: others hold what it held.
    #[error("{}: bookie {bookie} is retired and never starts again; its entries are on other bookies; to start a new bookie, choose an \
             empty `data_dir`", .place.display())]
    Retired {
        /// The directory.
        place: PathBuf,
        /// Its identity.
        bookie: String,
    },
    /// Written by a version of this program that this one does not read.
    #[error("{}: format version {found}, but this program reads version {known}; start a newer program", .path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// In the file.
        found: u32,
        /// What is read.
        known: u32,
    },
    /// A file has gone without which nobody knows which others count.
    #[error("{}: missing, but the directory holds `{found}`; others have copies of what it told of, and this bookie goes on in limbo", .path.display())]
    ManifestMissing {
        /// The file that should be there.
        path: PathBuf,
        /// What is only there beside it.
        found: String,
    },
    /// A file has gone that must be there.
    #[error("{}: missing, but the manifest or later segments say that it was there; others have copies of what it told of, and this bookie goes on in limbo", .path.display())]
    SegmentMissing {
        /// The file.
        path: PathBuf,
    },
    /// Bytes that were synced have changed.
    #[error("{}: {what} is damaged at byte {offset}, where everything had been synced; restore the file, or retire this \
             bookie and start with an empty `data_dir` so that its entries are copied from other bookies", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Of the first damaged byte's structure.
        offset: u64,
        /// Which.
        what: &'static str,
    },
    /// An earlier start has found that something is lost.
    #[error("{}: something was lost here, and the ledgers' records must be asked before anybody is served", .place.display())]
    InLimbo {
        /// The directory.
        place: PathBuf,
    },
    /// What is asked about ledgers would be answered as it was some time ago.
    #[error(
        "ledger {ledger} lies here, but the metadata have given out ids below {next} only: they were restored from a snapshot that \
             is older than this bookie's data. Serving would give the same ids to other ledgers; restore a newer snapshot"
    )]
    MetadataOlder {
        /// The highest that lies here.
        ledger: LedgerId,
        /// As the metadata have it.
        next: u64,
    },
    /// The operating system refuses.
    #[error("{}: cannot {doing}: {source}", .path.display())]
    Disk {
        /// The file or directory.
        path: PathBuf,
        /// A verb.
        doing: &'static str,
        /// Why.
        source: Arc<io::Error>,
    },
    /// The metadata store is away or refuses.
    #[error("metadata: {0}")]
    Metadata(#[from] metadata::Error),
}

impl OpenError {
    /// Whether something is lost that was acknowledged: then [`crate::Damaged`] goes on with the rest.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        // No `_` arm: a new variant must decide.
        match self {
            Self::ManifestMissing { .. }
            | Self::SegmentMissing { .. }
            | Self::Corrupt { .. }
            | Self::InLimbo { .. } => true,
            Self::InUse { .. }
            | Self::IdentityMissing { .. }
            | Self::OtherCluster { .. }
            | Self::OtherBookie { .. }
            | Self::Forgotten { .. }
            | Self::Retired { .. }
            | Self::MetadataOlder { .. }
            | Self::Version { .. }
            | Self::Disk { .. }
            | Self::Metadata(_) => false,
        }
    }

    pub(crate) fn disk(path: PathBuf, doing: &'static str, source: io::Error) -> Self {
        Self::Disk { path, doing, source: Arc::new(source) }
    }
}

impl From<OpenError> for Failure {
    /// No `_` arm: a new variant must decide.
    fn from(error: OpenError) -> Self {
        match &error {
            OpenError::InUse { .. }
            | OpenError::IdentityMissing { .. }
            | OpenError::OtherCluster { .. }
            | OpenError::OtherBookie { .. }
            | OpenError::Forgotten { .. }
            | OpenError::Retired { .. }
            | OpenError::MetadataOlder { .. }
            | OpenError::Version { .. } => Self::usage(error),
            OpenError::ManifestMissing { .. }
            | OpenError::SegmentMissing { .. }
            | OpenError::Corrupt { .. }
            | OpenError::InLimbo { .. } => Self::internal(error),
            OpenError::Disk { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory | io::ErrorKind::ReadOnlyFilesystem => {
                    Self::usage(error)
                }
                _ => Self::internal(error),
            },
            OpenError::Metadata(source) => match source.retry() {
                metadata::Retry::Later | metadata::Retry::AfterReading => Self::try_again(error),
                metadata::Retry::Never => Self::internal(error),
            },
        }
    }
}

/// The disk failed under the journal. Nothing was answered since, and nothing will be: only a new start knows what is durable.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}: cannot {doing}: {source}; the bookie ends, and its next start settles what is durable", .path.display())]
pub struct JournalError {
    /// The file.
    pub path: PathBuf,
    /// A verb.
    pub doing: &'static str,
    /// Why.
    pub source: Arc<io::Error>,
}

impl JournalError {
    /// There was no room, by itself or because of a quota.
    pub(crate) fn is_full(&self) -> bool {
        crate::disk::is_full(&self.source)
    }
}

impl From<JournalError> for OpenError {
    fn from(JournalError { path, doing, source }: JournalError) -> Self {
        Self::Disk { path, doing, source }
    }
}
