//! What an operator may choose.
use std::time::Duration;

use daemon::{ByteSize, HostPort, Problems, Settings};
use ledger::QuorumPolicy;
use ledger::repair::RepairLimits;
use serde::{Deserialize, Serialize};

use crate::log::Moving;
use crate::offload::Location;
use crate::policies::OfBroker;
use crate::upkeep::Defaults;

/// The broker's configuration. The file `deploy/broker.toml` equals the defaults, so deleting it changes nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The cluster's name: the prefix of its metadata, and what clients see. All processes of a cluster use the same.
    pub cluster: String,
    /// Where the metadata is: `etcd://HOST:PORT[,HOST:PORT…]`. Name all members, so that one may be away.
    pub metadata: String,
    /// Where clients connect. The host `[::]` takes IPv4 and IPv6; port 0 picks a free one.
    pub listen: HostPort,
    /// Where administration, lookups over HTTP, health and metrics are served.
    pub http_listen: HostPort,
    /// `HOST` or `HOST:PORT` under which clients and other brokers reach this broker. Empty: the listen host, or this
    /// machine's name when that is a wildcard. Set it when that name means nothing to clients.
    pub advertised_address: String,
    /// More addresses of this broker, for clients that come another way and ask by name: `NAME:pulsar://HOST:PORT[,…]`. Clients
    /// that name none get `advertised_address`.
    pub advertised_listeners: String,
    /// Bookies that share a ledger. More than `write_quorum` spreads reads of one topic over more disks.
    pub ensemble_size: u32,
    /// Copies of each entry.
    pub write_quorum: u32,
    /// Copies that are synced before a producer gets its receipt. `write_quorum` − `ack_quorum` bookies may be slow or away
    /// without anyone waiting; `ack_quorum` − 1 disks may be lost without losing an acknowledged message.
    pub ack_quorum: u32,
    /// Entries after which a topic starts its next ledger. Smaller frees space in smaller steps and costs metadata.
    pub ledger_entries_max: u64,
    /// Bytes after which a topic starts its next ledger.
    pub ledger_bytes_max: ByteSize,
    /// Seconds after which a topic closes its ledger, written to or not.
    pub ledger_age_max_s: u64,
    /// Seconds for which a topic without a durable subscription keeps everything, whatever retention says: so long may pass between the
    /// first message and the first subscriber. Make it short where topics are written that nobody reads.
    pub retention_without_subscription_s: u64,
    /// Memory for entries that were just published or read, over all topics. Consumers that keep up read from it.
    pub cache_bytes: ByteSize,
    /// Where sealed ledgers move when no policy names a bucket: `s3://BUCKET[/PREFIX][?endpoint=URL][&region=NAME]`, `gs://BUCKET`,
    /// `az://CONTAINER` or `file:///DIRECTORY`. Empty: nowhere. Credentials come from the environment, as AWS_ACCESS_KEY_ID. Policies
    /// choose buckets and times; endpoints and directories are chosen here only.
    pub offload: String,
    /// Bytes of a topic that may be on bookies only, beside its open ledger: the oldest beyond them move. -1: never by size; 0: at once.
    pub offload_threshold_bytes: i64,
    /// Seconds after which a sealed ledger moves. -1: never by age.
    pub offload_threshold_s: i64,
    /// Seconds for which bookies keep what has moved: so long reads stay quick, and a store that loses objects loses nothing. -1: for ever.
    pub offload_deletion_lag_s: i64,
    /// Memory for what was read from objects, over all topics; at least 8 MiB. Readers of a topic that are within it of each other share
    /// what is read; those far apart want 16 MiB each.
    pub offload_cache_bytes: ByteSize,
    /// Memory for messages that producers sent and bookies have not confirmed, over all topics. When it is full, the broker
    /// stops reading from producers. Size it as (publish bandwidth) × (latency of a sync).
    pub publish_bytes_max: ByteSize,
    /// The largest message that is accepted. Clients learn it when they connect.
    pub message_bytes_max: ByteSize,
    /// Seconds for which a bookie may be away before others get copies of what it held. Longer than a restart takes, or each one moves
    /// all its bytes; for a long maintenance raise it on all brokers.
    pub repair_after_s: u64,
    /// Payload read per second to make copies good, at most. About a quarter of what a disk and the network can move: less leaves
    /// messages on two disks for longer, more is felt by publishers.
    pub repair_bytes_per_s: ByteSize,
    /// Bundles that may be moved per minute so that brokers carry equally much; each move interrupts its topics for some hundredths of
    /// a second. 0: none. All brokers must say the same; the first of them decides.
    pub balance_moves_per_min: u32,
    /// Whether a topic comes into being when a client first uses it.
    pub auto_create_topics: bool,
}

impl Default for Config {
    fn default() -> Self {
        let any = |port| HostPort { host: "::".into(), port };
        Self {
            cluster: "geminga".into(),
            metadata: "etcd://localhost:2379".into(),
            listen: any(6650),
            http_listen: any(8080),
            advertised_address: String::new(),
            advertised_listeners: String::new(),
            ensemble_size: 3,
            write_quorum: 3,
            ack_quorum: 2,
            ledger_entries_max: 50_000,
            ledger_bytes_max: ByteSize::mib(2048),
            ledger_age_max_s: 4 * 60 * 60,
            retention_without_subscription_s: 60 * 60,
            cache_bytes: ByteSize::mib(64),
            offload: String::new(),
            offload_threshold_bytes: -1,
            offload_threshold_s: -1,
            offload_deletion_lag_s: 4 * 60 * 60,
            offload_cache_bytes: ByteSize::mib(128),
            publish_bytes_max: ByteSize::mib(64),
            message_bytes_max: ByteSize::mib(5),
            repair_after_s: 60,
            repair_bytes_per_s: ByteSize::mib(32),
            balance_moves_per_min: 20,
            auto_create_topics: true,
        }
    }
}

impl Config {
    /// How entries are spread.
    #[must_use]
    pub fn quorum(&self) -> QuorumPolicy {
        QuorumPolicy { ensemble: self.ensemble_size, write: self.write_quorum, ack: self.ack_quorum }
    }

    /// How hard copies are made good.
    #[must_use]
    pub fn repairs(&self) -> RepairLimits {
        RepairLimits { bytes_per_second: self.repair_bytes_per_s.0, ..RepairLimits::default() }
    }

    /// What bounds policies, and counts where they say nothing.
    pub(crate) fn of_broker(&self) -> OfBroker {
        OfBroker { message_bytes_max: self.message_bytes_max.0, quorum: self.quorum() }
    }

    /// Where ledgers move, and when, unless a policy says something else.
    pub(crate) fn offload(&self) -> Defaults {
        let number = |number: i64| u64::try_from(number).ok(); // Below 0 is never.
        let moving = Moving {
            bytes: number(self.offload_threshold_bytes),
            age: number(self.offload_threshold_s).map(Duration::from_secs),
            lag: number(self.offload_deletion_lag_s).map(Duration::from_secs),
        };
        Defaults { store: self.offload.parse().ok(), moving }
    }
}

impl Settings for Config {
    fn problems(&self, problems: &mut Problems) {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '=' | ':' | '.' | '_');
        problems.unless(
            !self.cluster.is_empty() && self.cluster.chars().all(plain),
            "cluster",
            "must be a name of letters, digits and - = : . _",
        );
        problems.unless(!self.metadata.is_empty(), "metadata", "must say where the metadata is: etcd://HOST:PORT");
        if let Err(error) = crate::listeners::parse(&self.advertised_listeners) {
            problems.unless(false, "advertised_listeners", error.to_string());
        }
        problems.unless(
            1 <= self.ack_quorum,
            "ack_quorum",
            "must be at least 1, or nothing is stored before a receipt",
        );
        problems.unless(
            self.ack_quorum <= self.write_quorum,
            "ack_quorum",
            format!("{} is more than write_quorum {}", self.ack_quorum, self.write_quorum),
        );
        problems.unless(
            self.write_quorum <= self.ensemble_size,
            "write_quorum",
            format!("{} is more than ensemble_size {}", self.write_quorum, self.ensemble_size),
        );
        problems.unless(self.ensemble_size <= 32, "ensemble_size", "must be at most 32");
        problems.unless(
            self.listen.port == 0 || self.listen.port != self.http_listen.port,
            "http_listen",
            format!("port {} is that of `listen`", self.listen.port),
        );
        problems.unless(1 <= self.ledger_entries_max, "ledger_entries_max", "must be at least 1");
        problems.unless(
            self.ledger_entries_max <= u64::from(u32::MAX),
            "ledger_entries_max",
            format!("must be at most {}", u32::MAX),
        );
        problems.unless(1 <= self.ledger_age_max_s, "ledger_age_max_s", "must be at least 1");
        let message = self.message_bytes_max;
        problems.unless(ByteSize::kib(1) <= message, "message_bytes_max", "must be at least 1 KiB");
        problems.unless(message <= ByteSize::mib(64), "message_bytes_max", "must be at most 64 MiB");
        problems.unless(message <= self.ledger_bytes_max, "ledger_bytes_max", "holds no message of message_bytes_max");
        problems.unless(message <= self.cache_bytes, "cache_bytes", "holds no message of message_bytes_max");
        let days = 7 * 86_400;
        problems.unless(10 <= self.repair_after_s, "repair_after_s", "must be at least 10: a lease lasts 5 s");
        problems.unless(self.repair_after_s <= days, "repair_after_s", "must be at most a week, 604800");
        let paced = ByteSize::mib(1) <= self.repair_bytes_per_s;
        problems.unless(paced, "repair_bytes_per_s", "must be at least 1 MiB, else copies stay few");
        if !self.offload.is_empty()
            && let Err(error) = self.offload.parse::<Location>()
        {
            problems.unless(false, "offload", error.to_string());
        }
        problems.unless(ByteSize::mib(8) <= self.offload_cache_bytes, "offload_cache_bytes", "must be at least 8 MiB");
        problems.unless(
            message <= self.publish_bytes_max,
            "publish_bytes_max",
            "holds no message of message_bytes_max",
        );
    }
}

#[cfg(test)]
mod tests {
    use daemon::config::{Sources, load};

    use super::*;

    #[test]
    fn the_file_we_ship_says_what_the_defaults_are() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/broker.toml");
        let loaded = load::<Config>(&Sources { file: Some(file.into()), ..Sources::default() }).unwrap();
        assert_eq!((loaded.config, loaded.warnings), (Config::default(), vec![]));
        let shipped = std::fs::read_to_string(file).unwrap();
        let keys = serde_json::to_value(Config::default()).unwrap();
        let keys: Vec<&String> = keys.as_object().unwrap().keys().collect();
        assert!(keys.len() <= 25);
        let missing: Vec<_> = keys.iter().filter(|key| !shipped.contains(&format!("\n{key} = "))).collect();
        assert!(missing.is_empty(), "not in the file: {missing:?}");
    }

    #[test]
    fn all_faults_are_named_at_once() {
        let wrong = Config {
            cluster: "a b".into(),
            ack_quorum: 4,
            ensemble_size: 2,
            http_listen: Config::default().listen,
            ledger_entries_max: 0,
            cache_bytes: ByteSize(1),
            offload: "s3://key:secret@bucket".into(),
            offload_cache_bytes: ByteSize(1),
            ..Config::default()
        };
        let mut problems = Problems::default();
        wrong.problems(&mut problems);
        let found = problems.found().join("\n");
        let keys =
            ["cluster", "ack_quorum", "write_quorum", "http_listen", "ledger_entries_max", "cache_bytes", "offload"];
        for key in keys.into_iter().chain(["offload_cache_bytes"]) {
            assert!(found.contains(&format!("{key}: ")), "{key} in {found}");
        }
        assert!(!found.contains("secret"), "{found}");
        let mut none = Problems::default();
        Config::default().problems(&mut none);
        assert!(none.found().is_empty(), "{none:?}");
    }
}
