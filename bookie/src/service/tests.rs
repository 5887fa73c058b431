use std::sync::Arc;
use std::time::Duration;

use daemon::Drain;
use metadata::{MemoryStore, MetadataStore};
use prost::Message;
use proto::bookie::bookie_client::BookieClient;
use proto::bookie::request::Body;
use proto::bookie::{Answer, Read, Request, Requests, Status};
use proto::records::{BookieRecord, BookieStanding};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::tests::{add, fence, held, payload, read};

struct Client {
    requests: mpsc::Sender<Requests>,
    answers: tonic::Streaming<proto::bookie::Answers>,
}

impl Client {
    async fn send(&self, requests: Vec<Request>) {
        self.requests.send(Requests { requests }).await.unwrap();
    }

    async fn answers(&mut self, count: u32) -> Vec<Answer> {
        let mut all: Vec<Answer> = Vec::new();
        while all.iter().map(|answer| answer.run).sum::<u32>() < count {
            all.extend(self.answers.message().await.unwrap().expect("the stream goes on").answers);
        }
        all
    }
}

struct Server {
    port: u16,
    drain: Drain,
    task: tokio::task::JoinHandle<Result<(), tonic::transport::Error>>,
    bookie: crate::Bookie,
    _directory: tempfile::TempDir,
}

async fn server() -> Server {
    let directory = tempfile::tempdir().unwrap();
    let metadata = MemoryStore::default();
    let options = crate::Options { seed: 3, ..crate::Options::default() };
    let (bookie, _) = crate::open(directory.path(), &metadata, "", options, 1).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, drain) = (listener.local_addr().unwrap().port(), Drain::new());
    let task = tokio::spawn(super::serve(listener, bookie.handle(), drain.clone()));
    Server { port, drain, task, bookie, _directory: directory }
}

impl Server {
    async fn client(&self) -> Client {
        let client = BookieClient::connect(format!("http://127.0.0.1:{}", self.port)).await.unwrap();
        let (requests, stream) = mpsc::channel(16);
        let mut client = client.max_decoding_message_size(64 << 20).max_encoding_message_size(80 << 20);
        let answers = client.exchange(ReceiverStream::new(stream)).await.unwrap().into_inner();
        Client { requests, answers }
    }
}

#[tokio::test]
async fn many_entries_of_one_message_are_answered_as_runs_and_read_back() {
    let server = server().await;
    let mut client = server.client().await;
    client.send((0..2000).map(|n| add(n, 1, n, 1000)).collect()).await;
    let added = client.answers(2000).await;
    assert!(added.iter().all(|answer| answer.status() == Status::Ok && answer.ledger == 1));
    assert!(added.len() < 50, "{} answers", added.len());
    client.send(vec![read(2000, 1, 100, 400)]).await;
    let found = client.answers(1).await.remove(0);
    assert_eq!((found.id, found.entries.len()), (2000, 300));
    assert!(found.entries.iter().all(|entry| entry.payload == payload(1, entry.entry, 1000)));
    let mut other = server.client().await;
    other.send(vec![fence(0, 1), held(1, 1)]).await;
    other.answers(2).await;
    client.send(vec![add(2001, 1, 2000, 10)]).await;
    assert_eq!(client.answers(1).await[0].status(), Status::Fenced);
}

#[tokio::test]
async fn bad_requests_are_answered_or_end_their_stream_and_nothing_else() {
    let server = server().await;
    let mut client = server.client().await;
    let mut forged = add(2, 1, 0, 10);
    if let Some(Body::Add(add)) = &mut forged.body {
        add.digest ^= 1;
    }
    let everything = Read { first: 0, end: u64::MAX, bytes_max: u32::MAX, fence: false };
    let everything = Request { id: 3, ledger: 1, body: Some(Body::Read(everything)) };
    client.send(vec![Request { id: 1, ledger: 1, body: None }, forged, everything]).await;
    let mut answers = client.answers(3).await;
    answers.sort_by_key(|answer| answer.id);
    let statuses: Vec<_> = answers.iter().map(Answer::status).collect();
    assert_eq!(statuses, [Status::Invalid, Status::Invalid, Status::NotHeld]);
    let mut large = server.client().await;
    large.send((0..9).map(|n| add(n, 2, n, 8 << 20)).collect()).await;
    assert!(large.answers.message().await.is_ok_and(|end| end.is_none()), "a message above the limit ends the stream");
    client.send(vec![add(4, 1, 0, 10)]).await;
    assert_eq!(client.answers(1).await[0].status(), Status::Ok, "others go on");
}

#[tokio::test]
async fn a_drain_answers_what_was_taken_and_ends_the_streams() {
    let Server { drain, task, bookie, port, .. } = {
        let server = server().await;
        let mut client = server.client().await;
        client.send((0..100).map(|n| add(n, 1, n, 100)).collect()).await;
        client.answers(1).await;
        server.drain.request();
        while client.answers.message().await.unwrap().is_some() {}
        server
    };
    assert!(drain.is_requested());
    tokio::time::timeout(Duration::from_secs(20), task).await.unwrap().unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err());
    tokio::task::spawn_blocking(move || bookie.stop()).await.unwrap();
}

/// Each read may take 4 MiB, and only 32 may be on their way.
#[tokio::test]
async fn more_reads_in_one_message_than_there_is_room_for_are_all_answered() {
    let server = server().await;
    let mut client = server.client().await;
    client.send(vec![add(0, 1, 0, 1000)]).await;
    client.answers(1).await;
    let whole = Read { first: 0, end: 1, bytes_max: u32::MAX, fence: false };
    client.send((1..100).map(|id| Request { id, ledger: 1, body: Some(Body::Read(whole)) }).collect()).await;
    let answers =
        tokio::time::timeout(Duration::from_secs(20), client.answers(99)).await.expect("nothing waits for itself");
    assert!(answers.iter().all(|answer| answer.entries.len() == 1));
}

#[tokio::test]
async fn a_client_that_does_not_read_disturbs_nobody() {
    let server = server().await;
    let mut client = server.client().await;
    client.send((0..8).map(|n| add(n, 1, n, 4 << 20)).collect()).await;
    client.answers(8).await;
    let lazy = server.client().await;
    for id in 0..40 {
        let whole = Read { first: id % 8, end: 8, bytes_max: u32::MAX, fence: false };
        let request = Request { id, ledger: 1, body: Some(Body::Read(whole)) };
        if lazy.requests.try_send(Requests { requests: vec![request] }).is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    client.send(vec![held(9, 1)]).await;
    assert_eq!(client.answers(1).await[0].holding.unwrap().entries, 8, "others are served meanwhile");
}

#[tokio::test]
async fn an_identity_is_registered_once_and_a_wiped_or_other_metadata_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let options = crate::Options { seed: 3, ..crate::Options::default() };
    let metadata: Arc<dyn MetadataStore> = Arc::new(MemoryStore::default());
    let open = |metadata: Arc<dyn MetadataStore>| {
        let (path, options) = (directory.path().to_owned(), options.clone());
        async move { crate::open(&path, metadata.as_ref(), "r", options, 1).await }
    };
    let (bookie, first) = open(metadata.clone()).await.unwrap();
    let (session, mut answers) = bookie.handle().connect();
    session.send(vec![add(0, 1, 0, 10)]);
    answers.recv().await.unwrap();
    drop((session, bookie));
    let (bookie, second) = open(metadata.clone()).await.unwrap();
    assert_eq!(first, second, "a restart keeps the identity");
    drop(bookie);

    let stand = async |standing: BookieStanding| {
        let mut record = BookieRecord { bookie: first.bookie.to_string(), ..BookieRecord::default() };
        record.set_standing(standing);
        let key = proto::keys::bookie(&first.bookie);
        let put = metadata::Operation::put(key, record.encode_to_vec(), metadata::Expect::Any);
        metadata.commit(metadata::Transaction::new(vec![put])).await.unwrap();
    };
    stand(BookieStanding::Draining).await;
    drop(open(metadata.clone()).await.unwrap());
    stand(BookieStanding::Retired).await;
    assert!(matches!(open(metadata.clone()).await, Err(crate::OpenError::Retired { .. })));

    let wiped: Arc<dyn MetadataStore> = Arc::new(MemoryStore::default());
    assert!(matches!(open(wiped.clone()).await, Err(crate::OpenError::Forgotten { .. })));
    let elsewhere = tempfile::tempdir().unwrap();
    crate::open(elsewhere.path(), wiped.as_ref(), "r", options.clone(), 1).await.unwrap();
    assert!(matches!(open(wiped).await, Err(crate::OpenError::OtherCluster { .. })));

    let forgotten = metadata::Operation::delete(proto::keys::bookie(&first.bookie), metadata::Expect::Any);
    metadata.commit(metadata::Transaction::new(vec![forgotten])).await.unwrap();
    assert!(matches!(open(metadata).await, Err(crate::OpenError::Forgotten { .. })));
}
