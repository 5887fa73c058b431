//! The etcd store against a real etcd server, whole and failing.
mod server;

use std::sync::Arc;
use std::time::Duration;

use etcd_client::Client;
use metadata::{
    DEADLINE, Error, Expect, MetadataStore, MetadataStoreExt, Operation, Transaction, conformance, connect,
};
use rustix::process::Signal;
use server::EtcdServer;
use tokio::time::{Instant, timeout};

/// What a call may take beyond its deadline on a busy machine.
const SLACK: Duration = Duration::from_secs(2);
const TTL: Duration = Duration::from_secs(2);

#[tokio::test]
async fn it_keeps_the_contract() {
    let server = EtcdServer::start().await;
    conformance::check(async |cluster: &str| Arc::new(server.store(cluster).await) as Arc<dyn MetadataStore>).await;
}

#[tokio::test]
async fn clusters_in_one_etcd_do_not_see_each_other() {
    let server = EtcdServer::start().await;
    let url = format!("etcd://{}", server.endpoint());
    let one = connect(&url, "one").await.unwrap();
    // The name of one is the beginning of the other's.
    let two = connect(&url, "one2").await.unwrap();
    one.put("a", "of one", Expect::Absent).await.unwrap();
    two.put("a", "of two", Expect::Absent).await.unwrap();
    assert_eq!(one.list_all("").await.unwrap().len(), 1);
    assert_eq!(one.get(&"a".into()).await.unwrap().unwrap().value, "of one");
    let mut raw = Client::connect([server.endpoint()], None).await.unwrap();
    assert_eq!(raw.get("/geminga/one2/a", None).await.unwrap().kvs().len(), 1);
    for bad in ["", "a/b", "a b", &"x".repeat(101)] {
        assert!(matches!(connect(&url, bad).await.unwrap_err().retry(), metadata::Retry::Never), "`{bad}`");
    }
}

#[tokio::test]
async fn what_others_wrote_is_corrupt() {
    let server = EtcdServer::start().await;
    let store = server.store("test").await;
    let mut watch = store.watch("").await.unwrap();
    let mut raw = Client::connect([server.endpoint()], None).await.unwrap();
    raw.put("/geminga/test/a", "written by hand", None).await.unwrap();
    let corrupt = Error::Corrupt { key: "a".into() };
    assert_eq!(store.get(&"a".into()).await, Err(corrupt.clone()));
    assert_eq!(store.list_all("").await, Err(corrupt.clone()));
    assert_eq!(watch.next().await, Err(corrupt));
    store.put("a", "repaired", Expect::Any).await.unwrap();
    assert_eq!(store.get(&"a".into()).await.unwrap().unwrap().value, "repaired");
}

/// Goal: a dead etcd costs each call its deadline at most, and nothing more once it is back.
#[tokio::test]
async fn while_etcd_is_dead_calls_fail_in_time_and_then_work_again() {
    let mut server = EtcdServer::start().await;
    let store = server.store("test").await;
    let version = store.put("a", "before", Expect::Absent).await.unwrap();
    let mut watch = store.watch("").await.unwrap();
    server.kill();

    let ended = timeout(DEADLINE + SLACK, watch.next()).await.expect("a watch of a dead etcd ends");
    assert!(matches!(ended, Err(Error::Unavailable { .. })), "{ended:?}");
    let start = Instant::now();
    let key = "a".into();
    let (get, put, list, watch, lease) = futures::join!(
        store.get(&key),
        store.put("a", "never", Expect::Version(version)),
        store.list("", None, 10),
        store.watch(""),
        store.lease(TTL),
    );
    assert!(start.elapsed() < DEADLINE + SLACK, "{:?}", start.elapsed());
    let away = |error: &Error| matches!(error, Error::Unavailable { .. });
    assert!(
        away(&get.unwrap_err()) && away(&list.unwrap_err()) && away(&watch.unwrap_err()) && away(&lease.unwrap_err())
    );
    let put = put.unwrap_err();
    assert!(away(&put), "no connection, so nothing was written: {put:?}");
    let nobody = metadata::EtcdStore::connect(&[server.endpoint()], "test").await;
    assert!(away(&nobody.unwrap_err()));

    server.restart().await;
    assert_eq!(store.get(&"a".into()).await.unwrap().unwrap().value, "before");
    let mut watch = store.watch("").await.unwrap();
    store.put("a", "after", Expect::Version(version)).await.unwrap();
    let seen = watch.next().await.unwrap();
    assert_eq!(seen[0].record, store.get(&"a".into()).await.unwrap());
}

#[tokio::test]
async fn calls_outlast_a_quick_restart() {
    let mut server = EtcdServer::start().await;
    let store = server.store("test").await;
    store.put("a", "0", Expect::Absent).await.unwrap();
    server.kill();
    let calls = futures::future::join(store.put("a", "1", Expect::Any), store.list_all(""));
    server.spawn();
    let (put, list) = calls.await;
    put.unwrap();
    assert_eq!(list.unwrap().len(), 1);
}

/// Goal: a commit whose answer is lost happens once.
/// Method: etcd stands still, so that it has the request but answers only after the attempt was given up.
#[tokio::test]
async fn a_commit_to_a_stalled_etcd_is_settled() {
    let server = EtcdServer::start().await;
    let store = server.store("test").await;
    let first = store.put("a", "0", Expect::Absent).await.unwrap();
    server.signal(Signal::STOP);
    let transaction = Transaction::new(vec![Operation::put("a", "1", Expect::Version(first))]);
    let token = transaction.token;
    let commit = store.commit(transaction);
    let resume = async {
        // Longer than an attempt.
        tokio::time::sleep(Duration::from_secs(4)).await;
        server.signal(Signal::CONT);
    };
    let (outcome, ()) = futures::join!(commit, resume);
    let version = outcome.unwrap();
    let record = store.get(&"a".into()).await.unwrap().unwrap();
    assert_eq!((record.version, record.token), (version, token));
    let mut raw = Client::connect([server.endpoint()], None).await.unwrap();
    let raw = raw.get("/geminga/test/a", None).await.unwrap();
    assert_eq!(raw.kvs()[0].version(), 2, "written twice in all: once before, once by the commit");
}

#[tokio::test]
async fn a_commit_to_an_etcd_that_stays_stalled_has_an_unknown_outcome() {
    let server = EtcdServer::start().await;
    let store = server.store("test").await;
    let mut watch = store.watch("").await.unwrap();
    server.signal(Signal::STOP);
    let start = Instant::now();
    let key = "a".into();
    let ended = timeout(DEADLINE + SLACK, watch.next());
    let (put, get, ended) = futures::join!(store.put("a", "1", Expect::Absent), store.get(&key), ended);
    assert!(start.elapsed() < DEADLINE + SLACK, "{:?}", start.elapsed());
    let ended = ended.expect("a watch notices that nobody answers any more");
    assert!(matches!(ended, Err(Error::Unavailable { .. })), "{ended:?}");
    assert_eq!(put, Err(Error::OutcomeUnknown));
    assert!(matches!(get, Err(Error::Unavailable { .. })));
    server.signal(Signal::CONT);
    store.put("b", "goes on", Expect::Any).await.unwrap();
}

#[tokio::test]
async fn a_lease_outlasts_a_restart_of_etcd() {
    let mut server = EtcdServer::start().await;
    let store = server.store("test").await;
    let mut lease = store.lease(TTL).await.unwrap();
    let put = Operation::put_leased("a", "mine", Expect::Absent, lease.id());
    let version = store.commit(Transaction::new(vec![put])).await.unwrap();
    server.kill();
    server.restart().await;
    timeout(3 * TTL, lease.lost()).await.expect_err("the lease is kept");
    assert_eq!(store.get(&"a".into()).await.unwrap().map(|record| record.version), Some(version));
    lease.revoke().await;
    assert_eq!(store.get(&"a".into()).await.unwrap(), None);
}

#[tokio::test]
async fn a_lease_that_etcd_has_ended_is_lost() {
    let server = EtcdServer::start().await;
    let store = server.store("test").await;
    let mut lease = store.lease(TTL).await.unwrap();
    let mut raw = Client::connect([server.endpoint()], None).await.unwrap();
    raw.lease_revoke(lease.id().0).await.unwrap();
    timeout(DEADLINE, lease.lost()).await.expect("the holder hears of it");
    lease.revoke().await;
}
