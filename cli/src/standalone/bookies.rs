//! The way to the one bookie of a standalone process: no socket, no copy.
use std::fmt;

use async_trait::async_trait;
use ledger::{Bookies, ConnectError, RequestSink, Session};
use proto::BookieId;
use proto::bookie::Request;

/// Opens sessions within this process.
#[derive(Clone)]
pub(crate) struct OwnBookie {
    id: BookieId,
    handle: bookie::Handle,
}

impl OwnBookie {
    pub(crate) fn new(id: BookieId, handle: bookie::Handle) -> Self {
        Self { id, handle }
    }
}

impl fmt::Debug for OwnBookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnBookie").field("id", &self.id).finish_non_exhaustive()
    }
}

#[async_trait]
impl Bookies for OwnBookie {
    async fn connect(&self, bookie: &BookieId) -> Result<Session, ConnectError> {
        if *bookie != self.id {
            return Err(ConnectError::Unknown { bookie: bookie.clone() });
        }
        let (requests, answers) = self.handle.connect();
        Ok(Session { requests: Box::new(Requests(requests)), answers })
    }
}

#[derive(Debug)]
struct Requests(bookie::Session);

impl RequestSink for Requests {
    fn send(&self, requests: Vec<Request>) -> bool {
        self.0.send(requests)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bookie::{Bookie, Identity, Options, SimDisk};
    use proto::bookie::request::Body;
    use proto::bookie::{Add, Status};

    use super::*;

    fn open() -> (OwnBookie, Bookie) {
        let id: BookieId = "one".parse().expect("an identity");
        let identity = Identity { bookie: id.clone(), cluster: "instance".into(), created_at: 1 };
        let bookie = Bookie::open(Arc::new(SimDisk::new()), &identity, Options::default()).expect("an empty disk");
        (OwnBookie::new(id, bookie.handle()), bookie)
    }

    #[tokio::test]
    async fn an_entry_goes_in_and_its_answer_comes_back() {
        let (own, _bookie) = open();
        let mut session = own.connect(&"one".parse().expect("an identity")).await.expect("a session");
        let digest = proto::digest::entry_digest(proto::LedgerId(3), proto::EntryId(0), 5, b"entry");
        let add = Add { payload: "entry".into(), length: 5, digest, ..Add::default() };
        assert!(session.requests.send(vec![Request { id: 7, ledger: 3, body: Some(Body::Add(add)) }]));
        let answers = session.answers.recv().await.expect("an answer");
        assert_eq!((answers[0].id, answers[0].status()), (7, Status::Ok), "{answers:?}");
    }

    #[tokio::test]
    async fn another_bookie_is_not_known_here() {
        let (own, _bookie) = open();
        let refused = own.connect(&"two".parse().expect("an identity")).await.expect_err("there is one only");
        assert!(matches!(refused, ConnectError::Unknown { .. }), "{refused}");
    }

    #[tokio::test]
    async fn a_bookie_that_stops_ends_its_sessions() {
        let (own, bookie) = open();
        let mut session = own.connect(&"one".parse().expect("an identity")).await.expect("a session");
        tokio::task::spawn_blocking(move || bookie.stop()).await.expect("stopped");
        assert!(session.answers.recv().await.is_none());
        assert!(!session.requests.send(vec![]), "the session is over");
    }
}
