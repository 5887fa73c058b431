//! From the one line in a configuration file to a store.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::embedded::RedbStore;
use crate::etcd::EtcdStore;
use crate::memory::MemoryStore;
use crate::store::{Error, MetadataStore, Retry};

/// Where metadata is kept, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Url {
    /// `etcd://host:port[,host:port]`: a cluster's.
    Etcd {
        /// Each `host:port`.
        endpoints: Vec<String>,
    },
    /// `redb://PATH`: in one file, for one process.
    Redb {
        /// Of the file.
        path: PathBuf,
    },
    /// `memory://`: gone with the process, for tests.
    Memory,
}

/// Why a text is no [`Url`]. Correct it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` names no metadata store: {problem}; write `etcd://host:port[,host:port]`, or for one process `redb://PATH`"
)]
pub struct UrlError {
    text: String,
    problem: &'static str,
}

impl Url {
    /// Reads a configured text.
    ///
    /// # Errors
    /// Says what to write instead.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let error = |problem| UrlError { text: text.to_owned(), problem };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| error("there is no `://`"))?;
        match scheme {
            "etcd" => {
                let endpoints: Vec<String> = rest.trim_end_matches('/').split(',').map(str::to_owned).collect();
                if !endpoints.iter().all(|endpoint| is_host_and_port(endpoint)) {
                    return Err(error("each address must be `host:port`"));
                }
                Ok(Self::Etcd { endpoints })
            }
            "redb" if rest.is_empty() => Err(error("there is no path after `redb://`")),
            "redb" => Ok(Self::Redb { path: rest.into() }),
            "memory" if rest.is_empty() => Ok(Self::Memory),
            "memory" => Err(error("nothing may follow `memory://`")),
            _ => Err(error("the scheme is unknown")),
        }
    }

    /// Whether several processes can share it. Those of a cluster refuse to start with any other.
    #[must_use]
    pub fn is_for_clusters(&self) -> bool {
        match self {
            Self::Etcd { .. } => true,
            Self::Redb { .. } | Self::Memory => false,
        }
    }
}

fn is_host_and_port(endpoint: &str) -> bool {
    let Some((host, port)) = endpoint.rsplit_once(':') else { return false };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let good_host = if bracketed { host.len() > 2 } else { !host.is_empty() && host.chars().all(plain) };
    good_host && port.parse::<u16>().is_ok_and(|port| port != 0)
}

/// Why there is no store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Correct the configuration.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// [`Error::Unavailable`]: it is away, try later. [`Error::Refused`]: it cannot be used.
    #[error(transparent)]
    Store(#[from] Error),
}

impl ConnectError {
    /// No `_` arm: a new variant must decide.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Url(_) => Retry::Never,
            Self::Store(error) => error.retry(),
        }
    }
}

/// Opens the store that `url` names. `cluster` keeps several clusters in one etcd apart; the other stores have one only.
///
/// # Errors
/// One attempt is made: a caller that wants to wait for etcd asks again while [`ConnectError::retry`] says [`Retry::Later`].
pub async fn connect(url: &str, cluster: &str) -> Result<Arc<dyn MetadataStore>, ConnectError> {
    Ok(match Url::parse(url)? {
        Url::Etcd { endpoints } => Arc::new(EtcdStore::connect(&endpoints, cluster).await?),
        Url::Redb { path } => Arc::new(open(path).await?),
        Url::Memory => Arc::new(MemoryStore::default()),
    })
}

/// Opening syncs, and after a crash reads the whole file.
async fn open(path: PathBuf) -> Result<RedbStore, Error> {
    let opened = tokio::task::spawn_blocking(move || RedbStore::open(Path::new(&path))).await;
    opened.map_err(|error| Error::Refused { reason: error.to_string() })?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        let etcd = |endpoints: &[&str]| Url::Etcd { endpoints: endpoints.iter().map(|&e| e.to_owned()).collect() };
        for (text, url, for_clusters) in [
            ("etcd://127.0.0.1:2379", etcd(&["127.0.0.1:2379"]), true),
            ("etcd://a:1,b.example:2,[::1]:3", etcd(&["a:1", "b.example:2", "[::1]:3"]), true),
            (
                "redb:///var/lib/geminga/metadata.redb",
                Url::Redb { path: "/var/lib/geminga/metadata.redb".into() },
                false,
            ),
            ("redb://here.redb", Url::Redb { path: "here.redb".into() }, false),
            ("memory://", Url::Memory, false),
        ] {
            assert_eq!(Url::parse(text), Ok(url.clone()), "{text}");
            assert_eq!(url.is_for_clusters(), for_clusters, "{text}");
        }
    }

    #[test]
    fn a_wrong_url_is_answered_with_what_to_write() {
        for text in [
            "",
            "localhost:2379",
            "zk://a:1",
            "etcd://",
            "etcd://a",
            "etcd://a:",
            "etcd://a:0",
            "etcd://a:1,,b:2",
            "etcd://a:1/b",
            "etcd://http://a:1",
            "redb://",
            "memory://x",
        ] {
            let error = Url::parse(text).unwrap_err().to_string();
            assert!(error.contains("write `etcd://host:port"), "{error}");
        }
    }

    #[tokio::test]
    async fn each_kind_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        connect("memory://", "test").await.unwrap();
        connect(&format!("redb://{}/metadata.redb", folder.path().display()), "test").await.unwrap();
        let nowhere = connect(&format!("redb://{}/none/metadata.redb", folder.path().display()), "test").await;
        assert_eq!(nowhere.unwrap_err().retry(), Retry::Never);
        let away = connect("etcd://127.0.0.1:1", "test").await;
        assert_eq!(away.unwrap_err().retry(), Retry::Later);
    }
}
