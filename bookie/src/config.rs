//! What an operator may choose.
use std::path::PathBuf;
use std::time::Duration;

use daemon::{ByteSize, HostPort, Problems, Settings};
use serde::{Deserialize, Serialize};

use crate::segments::Options;

/// The bookie's configuration. The file `deploy/bookie.toml` equals the defaults, so deleting it changes nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The cluster's name: the prefix of its metadata. All processes of a cluster use the same.
    pub cluster: String,
    /// Where the metadata is: `etcd://HOST:PORT[,HOST:PORT…]`. Name all members, so that one may be away.
    pub metadata: String,
    /// Where brokers connect. The host `[::]` takes IPv4 and IPv6; port 0 picks a free one.
    pub listen: HostPort,
    /// Where health and metrics are served.
    pub http_listen: HostPort,
    /// `HOST` or `HOST:PORT` under which brokers reach this bookie. Empty: the listen host, or this machine's name when that
    /// is a wildcard. It may change: a bookie is known by the identity in its directory.
    pub advertised_address: String,
    /// One directory on one disk; more disks, more bookies. It is made if it is missing. A `*` at its end stands for the first
    /// number from 1 on whose directory no other bookie holds.
    pub data_dir: PathBuf,
    /// Bookies with the same text fail together: the name of a rack, a zone, a machine. Copies are spread over different ones.
    pub rack: String,
    /// A segment file is sealed at this size. Larger means fewer files, and more to scan after a crash.
    pub segment_bytes: ByteSize,
    /// Memory for windows read from segments. Readers that keep up are served by brokers; size it for those that lag, 256 KiB each.
    pub cache_bytes: ByteSize,
    /// Seconds until a sealed segment whose entries are still wanted is rewritten, sorted by ledger. Longer spares writes where much
    /// is deleted while it is young; shorter lets readers that lag behind read in large pieces sooner.
    pub rewrite_after_s: u64,
    /// Bytes read and written per second to rewrite segments, at most. About a quarter of what the disk can move: less delays what is
    /// sorted and given back, more is felt by publishers.
    pub rewrite_bytes_per_s: ByteSize,
    /// Percent of the file system in use, from which on the bookie is read-only: it takes no entries, while everything else goes on. It
    /// takes them again once 5 percent more are free. Lower gives an operator more time to act.
    pub read_only_percent: u8,
}

impl Default for Config {
    fn default() -> Self {
        let any = |port| HostPort { host: "::".into(), port };
        Self {
            cluster: "geminga".into(),
            metadata: "etcd://localhost:2379".into(),
            listen: any(3181),
            http_listen: any(8000),
            advertised_address: String::new(),
            data_dir: "data/bookie".into(),
            rack: String::new(),
            segment_bytes: ByteSize::mib(64),
            cache_bytes: ByteSize::mib(32),
            rewrite_after_s: 300,
            rewrite_bytes_per_s: ByteSize::mib(64),
            read_only_percent: 98,
        }
    }
}

impl Config {
    /// Sizes for a store, and where the generations of its files are drawn from.
    #[must_use]
    pub fn options(&self, seed: u64) -> Options {
        let cache_bytes = usize::try_from(self.cache_bytes.0).unwrap_or(usize::MAX);
        Options {
            segment_bytes: self.segment_bytes.0,
            cache_bytes,
            rewrite_after: Duration::from_secs(self.rewrite_after_s),
            rewrite_rate: self.rewrite_bytes_per_s.0,
            read_only_percent: self.read_only_percent,
            seed,
            ..Options::default()
        }
    }
}

impl Settings for Config {
    fn problems(&self, problems: &mut Problems) {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '=' | ':' | '.' | '_');
        let named = !self.cluster.is_empty() && self.cluster.chars().all(plain);
        problems.unless(named, "cluster", "must be a name of letters, digits and - = : . _");
        match metadata::Url::parse(&self.metadata) {
            Ok(url) => {
                let problem = "is for one process; a bookie of a cluster needs etcd://HOST:PORT[,HOST:PORT]";
                problems.unless(url.is_for_clusters(), "metadata", problem);
            }
            Err(error) => problems.unless(false, "metadata", error),
        }
        let distinct = self.listen.port == 0 || self.listen.port != self.http_listen.port;
        problems.unless(distinct, "http_listen", format!("port {} is that of `listen`", self.listen.port));
        problems.unless(!self.data_dir.as_os_str().is_empty(), "data_dir", "must name a directory");
        problems.unless(ByteSize::mib(16) <= self.segment_bytes, "segment_bytes", "must be at least 16 MiB");
        problems.unless(self.segment_bytes <= ByteSize::mib(1024), "segment_bytes", "must be at most 1 GiB");
        problems.unless(ByteSize::mib(1) <= self.cache_bytes, "cache_bytes", "must be at least 1 MiB");
        problems.unless(self.rewrite_after_s <= 7 * 86_400, "rewrite_after_s", "must be at most a week, 604800");
        let percent = (1..=99).contains(&self.read_only_percent);
        problems.unless(percent, "read_only_percent", "must be between 1 and 99");
        let paced = ByteSize::mib(1) <= self.rewrite_bytes_per_s;
        problems.unless(paced, "rewrite_bytes_per_s", "must be at least 1 MiB, else no space comes back");
    }
}
