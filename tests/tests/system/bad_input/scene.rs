//! A server under attack, a neighbour, and the tables of cases.
use tempfile::TempDir;
use tests::cluster::Standalone;

use super::*;
use crate::directory;

pub(super) const TOPIC: &str = "persistent://public/default/victim";
/// What a neighbour may feel at most.
const DISTURBED_AT_MOST: Duration = Duration::from_secs(1);

/// A server, and a neighbour who was there before and publishes after each attack.
pub(super) struct Scene {
    server: Option<(Standalone, TempDir)>,
    neighbour: Publisher,
    pub(super) address: String,
    pub(super) http: String,
}

/// One row of a table: what is said to a server that has got as far as the section says, and what comes of it.
#[derive(Clone)]
pub(super) struct Case {
    name: String,
    said: Vec<u8>,
    /// As [`Raw::outcome`] writes it; ends with `*` where more may follow.
    expected: &'static str,
}

pub(super) fn case(name: impl Into<String>, said: impl Into<Vec<u8>>, expected: &'static str) -> Case {
    Case { name: name.into(), said: said.into(), expected }
}

impl Scene {
    pub(super) async fn set() -> Self {
        let (server, address, http) = match std::env::var("BAD_INPUT_AT") {
            Ok(at) => {
                let (address, http) = at.split_once(',').expect("BAD_INPUT_AT=HOST:PORT,HOST:PORT");
                (None, address.to_owned(), http.to_owned())
            }
            Err(_) => {
                let place = directory();
                let server = Standalone::start(place.path()).await.expect("standalone starts");
                let http = server.admin().base().trim_start_matches("http://").to_owned();
                let address = server.address();
                (Some((server, place)), address, http)
            }
        };
        let neighbour = Publisher::open(std::slice::from_ref(&address), TOPIC).await.expect("a producer attaches");
        let mut scene = Self { server, neighbour, address, http };
        scene.nobody_is_disturbed("before the attack").await;
        scene
    }

    /// Whether it ends with the test, so that nobody else needs its memory.
    pub(super) fn is_ours(&self) -> bool {
        self.server.is_some()
    }

    pub(super) async fn connect(&self) -> Raw {
        Raw::connect(&self.address).await
    }

    pub(super) async fn greeted(&self) -> Raw {
        Raw::greeted(&self.address).await
    }

    /// A producer 1 on `topic`.
    pub(super) async fn producing(&self, topic: &str) -> Raw {
        let mut raw = self.greeted().await;
        let lookup = CommandLookupTopic { topic: topic.into(), request_id: 1, ..Default::default() };
        raw.write(&frame(lookup)).await;
        raw.answer(Type::LookupResponse).await;
        raw.write(&producer_frame(topic, 1)).await;
        raw.answer(Type::ProducerSuccess).await;
        raw
    }

    /// A producer 1 and a shared consumer 1 on `topic`, on which there are three messages.
    pub(super) async fn consuming(&self, topic: &str) -> Raw {
        let mut raw = self.producing(topic).await;
        raw.write(&subscribe_frame(topic, 1)).await;
        raw.answer(Type::Success).await;
        for sequence_id in 0..3 {
            raw.write(&send_frame(1, sequence_id, b"payload")).await;
            raw.answer(Type::SendReceipt).await;
        }
        raw
    }

    pub(super) async fn nobody_is_disturbed(&mut self, after: &str) {
        let began = Instant::now();
        self.neighbour.publish(ProducerId(0), b"still here");
        self.neighbour.flush().await.expect("the neighbour's connection lives");
        self.neighbour.receipt().await.unwrap_or_else(|error| panic!("{after}: the neighbour got no receipt: {error}"));
        assert!(began.elapsed() < DISTURBED_AT_MOST, "{after}: the neighbour waited {:?}", began.elapsed());
    }

    /// Plays a table: each case on a connection of its own, as `prepared` makes it for the case's number. Names all that failed.
    pub(super) async fn plays(&mut self, cases: Vec<Case>, prepared: impl AsyncFn(&Self, usize) -> Raw) {
        let mut failed = Vec::new();
        for (number, Case { name, said, expected }) in cases.into_iter().enumerate() {
            let mut raw = prepared(&*self, number).await;
            raw.write(&said).await;
            let outcome = raw.outcome(expected).await;
            let as_expected = match expected.strip_suffix('*') {
                Some(begin) => outcome.starts_with(begin),
                None => outcome == expected,
            };
            if !as_expected {
                failed.push(format!("{name}: `{outcome}` instead of `{expected}`"));
            }
            self.nobody_is_disturbed(&name).await;
        }
        assert!(failed.is_empty(), "{} cases:\n{}\n", failed.len(), failed.join("\n"));
    }

    pub(super) async fn end(mut self) {
        self.nobody_is_disturbed("at the end").await;
        let Some((server, _place)) = &mut self.server else { return };
        assert!(server.process().runs(), "the server ended");
        let printed = server.process().printed();
        assert!(!printed.contains("panicked"), "the server panicked:\n{printed}");
    }

    pub(super) fn resident_mib(&mut self) -> u64 {
        let Some((server, _place)) = &mut self.server else { return 0 };
        server.process().spending().resident_bytes >> 20
    }
}
