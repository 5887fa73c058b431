//! The configuration, and a bookie's life from its start to its drain.
use std::path::PathBuf;

use daemon::config::{Sources, load};
use daemon::{Drain, HostPort};
use metadata::{Expect, MemoryStore, MetadataStore, Operation, Transaction};
use prost::Message;
use proto::keys;
use proto::records::IdBlock;

use super::*;
use crate::{Birth, Config};

#[test]
fn the_shipped_file_equals_the_defaults() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/bookie.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let loaded = load::<Config>(&Sources { file: Some(file), ..Sources::default() }).unwrap();
    assert_eq!(loaded.config, Config::default());
    let keys = serde_json::to_value(Config::default()).unwrap();
    for key in keys.as_object().unwrap().keys() {
        assert!(text.lines().any(|line| line.starts_with(&format!("{key} = "))), "{key} is not in the file");
    }
}

#[test]
fn every_fault_of_a_configuration_is_named() {
    let set = [
        "metadata=redb://x",
        "segment_bytes=1 MiB",
        "cluster=a b",
        "listen=[::]:8000",
        "rewrite_bytes_per_s=0",
        "nonsense=1",
    ];
    let sources = Sources { set: set.map(str::to_owned).to_vec(), ..Sources::default() };
    let failure = load::<Config>(&sources).unwrap_err();
    for expected in ["metadata", "segment_bytes", "cluster", "http_listen", "rewrite_bytes_per_s", "nonsense"] {
        assert!(failure.message.contains(expected), "no {expected} in {failure}");
    }
}

#[tokio::test]
async fn a_bookie_registers_serves_and_withdraws() {
    let directory = tempfile::tempdir().unwrap();
    let store = MemoryStore::default();
    let metadata: Arc<dyn MetadataStore> = Arc::new(store.clone());
    let local = HostPort { host: "127.0.0.1".into(), port: 0 };
    let data_dir = directory.path().join("bookie");
    let config = Config { listen: local.clone(), http_listen: local, data_dir, ..Config::default() };
    let mut watch = metadata.watch(keys::BOOKIES_AVAILABLE).await.unwrap();
    let drain = Drain::new();
    let serving = tokio::spawn(crate::serve(config, metadata, Birth { now_ms: 1, seed: 2 }, drain.clone()));
    let event = watch.next().await.unwrap().remove(0);
    let record = event.record.expect("it became available");
    let available = <proto::records::BookieAvailability as prost::Message>::decode(record.value).unwrap();
    assert!(available.address.starts_with("127.0.0.1:"), "{}", available.address);
    tokio::net::TcpStream::connect(available.address.as_str()).await.unwrap();
    drain.request();
    serving.await.unwrap().unwrap();
    assert!(watch.next().await.unwrap()[0].record.is_none(), "it withdrew");
}

/// Goal: metadata that were restored from an old snapshot are refused, because they would give ids of ledgers that lie here to others.
#[tokio::test]
async fn metadata_that_went_back_in_time_are_refused() {
    let (directory, metadata) = (tempfile::tempdir().unwrap(), MemoryStore::default());
    let (bookie, _) = crate::open(directory.path(), &metadata, "", options(), 1).await.unwrap();
    crate::refuse_older(&metadata, &bookie.handle()).await.expect("nothing lies here yet");
    let (session, mut answers) = bookie.handle().connect();
    session.send(vec![add(0, 5, 0, 10)]);
    answers.recv().await.unwrap();
    let refused = crate::refuse_older(&metadata, &bookie.handle()).await;
    assert!(matches!(refused, Err(crate::OpenError::MetadataOlder { next: 1, .. })), "{refused:?}");
    for (next, fine) in [(5, false), (6, true)] {
        let block = IdBlock { next }.encode_to_vec();
        let put = Operation::put(keys::LEDGER_IDS, block, Expect::Any);
        metadata.commit(Transaction::new(vec![put])).await.unwrap();
        assert_eq!(crate::refuse_older(&metadata, &bookie.handle()).await.is_ok(), fine, "{next}");
    }
}
