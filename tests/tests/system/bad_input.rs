//! Bytes that no client sends. Each case: a typed error or a closed connection, no panic, and others are not disturbed.
mod raw;

use std::time::{Duration, Instant};

use proto::frame::FRAME_BYTES_BEFORE_CONNECT;
use proto::pulsar::base_command::Type;
use proto::pulsar::*;
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use tests::client::{ProducerId, Publisher};
use tests::cluster::Standalone;

use crate::directory;
use raw::{Raw, connect_frame, frame, send_frame};

const TOPIC: &str = "persistent://public/default/victim";
/// What a neighbour may feel at most.
const DISTURBED_AT_MOST: Duration = Duration::from_secs(1);
const SEED: u64 = 5;

/// A server, and a neighbour who was there before and publishes after each attack.
struct Scene {
    server: Standalone,
    neighbour: Publisher,
    _place: tempfile::TempDir,
}

impl Scene {
    async fn set() -> Self {
        let place = directory();
        let server = Standalone::start(place.path()).await.expect("standalone starts");
        let neighbour = Publisher::open(&[server.address()], TOPIC).await.expect("a producer attaches");
        let mut scene = Self { server, neighbour, _place: place };
        scene.nobody_is_disturbed("before the attack").await;
        scene
    }

    async fn connect(&self) -> Raw {
        Raw::connect(&self.server.address()).await
    }

    async fn greeted(&self) -> Raw {
        Raw::greeted(&self.server.address()).await
    }

    async fn nobody_is_disturbed(&mut self, after: &str) {
        let began = Instant::now();
        self.neighbour.publish(ProducerId(0), b"still here");
        self.neighbour.flush().await.expect("the neighbour's connection lives");
        self.neighbour.receipt().await.unwrap_or_else(|error| panic!("{after}: the neighbour got no receipt: {error}"));
        assert!(began.elapsed() < DISTURBED_AT_MOST, "{after}: the neighbour waited {:?}", began.elapsed());
    }

    async fn end(mut self) {
        self.nobody_is_disturbed("at the end").await;
        assert!(self.server.process().runs(), "the server ended");
        let printed = self.server.process().printed();
        assert!(!printed.contains("panicked"), "the server panicked:\n{printed}");
    }

    fn resident_mib(&mut self) -> u64 {
        self.server.process().spending().resident_bytes >> 20
    }
}

fn other_protocols() -> Vec<(&'static str, Vec<u8>)> {
    let tls_hello = [&[0x16, 3, 1, 0, 0xc8, 1, 0, 0, 0xc4, 3, 3][..], &[7; 196]].concat();
    vec![
        ("an HTTP request", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("an HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("a TLS hello", tls_hello),
        ("an SSH banner", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
    ]
}

#[tokio::test]
async fn other_protocols_are_hung_up_on() {
    let mut scene = Scene::set().await;
    for (name, bytes) in other_protocols() {
        let mut raw = scene.connect().await;
        raw.write(&bytes).await;
        raw.is_refused(name).await;
        scene.nobody_is_disturbed(name).await;
    }
    scene.end().await;
}

#[tokio::test]
async fn sizes_that_cannot_be_are_hung_up_on_at_once() {
    let mut scene = Scene::set().await;
    let sizes: [(&str, &[u8]); 7] = [
        ("a frame of 0 bytes", &[0, 0, 0, 0]),
        ("a frame of 3 bytes", &[0, 0, 0, 3, 1, 2, 3]),
        ("a frame of 4 GiB", &[0xff, 0xff, 0xff, 0xff]),
        ("a frame of 2 GiB", &[0x7f, 0xff, 0xff, 0xff]),
        ("a command longer than its frame", &[0, 0, 0, 8, 0, 0, 0, 9, 1, 2, 3, 4]),
        ("an empty command", &[0, 0, 0, 4, 0, 0, 0, 0]),
        ("a command that is no protobuf", &[0, 0, 0, 8, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff]),
    ];
    for (name, bytes) in sizes {
        for greeted in [false, true] {
            let mut raw = if greeted { scene.greeted().await } else { scene.connect().await };
            raw.write(bytes).await;
            raw.is_refused(&format!("{name}, greeted: {greeted}")).await;
        }
    }
    scene.nobody_is_disturbed("after wrong sizes").await;
    scene.end().await;
}

/// Goal: no random bytes hurt. Method: bytes from a seed, first without and then with a greeting before them.
#[tokio::test]
async fn garbage_hurts_nobody() {
    let scene = Scene::set().await;
    let mut rng = SmallRng::seed_from_u64(SEED);
    for case in 0..200 {
        let mut bytes = vec![0; rng.random_range(1..2000)];
        rng.fill_bytes(&mut bytes);
        let mut raw = if case % 2 == 0 { scene.connect().await } else { scene.greeted().await };
        raw.write(&bytes).await;
        raw.end_of_writing().await;
        raw.ends(&format!("garbage {case} of seed {SEED}")).await;
    }
    scene.end().await;
}

/// Goal: no change of one bit in a valid exchange hurts. Whatever the server answers, it must end the connection in good
/// order once we have.
#[tokio::test]
async fn one_flipped_bit_hurts_nobody() {
    let scene = Scene::set().await;
    let mut rng = SmallRng::seed_from_u64(SEED);
    let talk =
        [connect_frame(), raw::producer_frame(TOPIC, 1), send_frame(1, 0, b"payload"), raw::subscribe_frame(TOPIC, 1)];
    let talk = talk.concat();
    for case in 0..300 {
        let mut bytes = talk.clone();
        let at = rng.random_range(0..bytes.len());
        bytes[at] ^= 1 << rng.random_range(0..8);
        let mut raw = scene.connect().await;
        raw.write(&bytes).await;
        raw.end_of_writing().await;
        raw.ends(&format!("case {case}: a bit of byte {at}")).await;
    }
    scene.end().await;
}

#[tokio::test]
async fn frames_cut_at_every_byte_hurt_nobody() {
    let scene = Scene::set().await;
    let greeting = connect_frame();
    let after = [raw::producer_frame(TOPIC, 1), send_frame(1, 0, b"payload"), raw::subscribe_frame(TOPIC, 1)].concat();
    for cut in 0..greeting.len() {
        let mut raw = scene.connect().await;
        raw.write(&greeting[..cut]).await;
        raw.end_of_writing().await;
        let answers = raw.ends(&format!("a greeting cut at {cut}")).await;
        assert!(answers.iter().all(|answer| answer.r#type() == Type::Error), "cut at {cut}: {answers:?}");
    }
    for cut in 0..after.len() {
        let mut raw = scene.greeted().await;
        raw.write(&after[..cut]).await;
        raw.end_of_writing().await;
        raw.ends(&format!("commands cut at {cut}")).await;
    }
    scene.end().await;
}

#[tokio::test]
async fn commands_before_the_greeting_are_refused() {
    let scene = Scene::set().await;
    let lookup = CommandLookupTopic { topic: TOPIC.into(), request_id: 1, ..Default::default() };
    let early = [
        ("LOOKUP", frame(lookup)),
        ("PRODUCER", raw::producer_frame(TOPIC, 1)),
        ("SUBSCRIBE", raw::subscribe_frame(TOPIC, 1)),
        ("SEND", send_frame(1, 0, b"payload")),
        ("FLOW", frame(CommandFlow { consumer_id: 1, message_permits: 1 })),
    ];
    for (name, bytes) in early {
        let mut raw = scene.connect().await;
        raw.write(&bytes).await;
        raw.is_refused(&format!("{name} before CONNECT")).await;
    }
    scene.end().await;
}

#[tokio::test]
async fn what_only_servers_say_is_refused() {
    let scene = Scene::set().await;
    let from_servers = [
        ("CONNECTED", frame(CommandConnected { server_version: "x".into(), ..Default::default() })),
        ("SEND_RECEIPT", frame(CommandSendReceipt { producer_id: 1, sequence_id: 1, ..Default::default() })),
        ("MESSAGE", frame(CommandMessage { consumer_id: 1, ..Default::default() })),
        ("a second CONNECT", connect_frame()),
    ];
    for (name, bytes) in from_servers {
        let mut raw = scene.greeted().await;
        raw.write(&bytes).await;
        raw.is_refused(name).await;
    }
    scene.end().await;
}

#[tokio::test]
async fn a_wrong_checksum_is_refused_by_name_and_nothing_is_stored() {
    let scene = Scene::set().await;
    let topic = "persistent://public/default/checksum";
    let mut raw = scene.greeted().await;
    raw.write(&raw::producer_frame(topic, 1)).await;
    raw.answer(Type::ProducerSuccess).await;
    let mut changed = send_frame(1, 0, b"payload");
    *changed.last_mut().expect("never empty") ^= 1;
    raw.write(&changed).await;
    let error = raw.answer(Type::SendError).await.send_error.expect("of this type");
    assert_eq!((error.error(), error.sequence_id), (ServerError::ChecksumError, 0), "{error:?}");
    let mut publisher = Publisher::open(&[scene.server.address()], topic).await.expect("a producer attaches");
    publisher.publish(ProducerId(0), b"whole");
    publisher.flush().await.expect("sent");
    let first = publisher.receipt().await.expect("a receipt").position;
    assert_eq!(first.entry.0, 0, "the changed message took a place");
    scene.end().await;
}

#[tokio::test]
async fn unknown_ids_are_answered_or_ignored_but_never_believed() {
    let scene = Scene::set().await;
    let (id, request_id) = (u64::MAX, 7);
    let mut raw = scene.greeted().await;
    let none = MessageIdData { ledger_id: 1 << 60, entry_id: 3, ..Default::default() };
    raw.write(&frame(CommandFlow { consumer_id: id, message_permits: u32::MAX })).await;
    raw.write(&frame(CommandAck { consumer_id: id, message_id: vec![none.clone(); 1000], ..Default::default() })).await;
    raw.write(&frame(CommandRedeliverUnacknowledgedMessages { consumer_id: id, ..Default::default() })).await;
    raw.write(&frame(CommandPing {})).await;
    raw.answer(Type::Pong).await;
    raw.write(&frame(CommandCloseProducer { producer_id: id, request_id, ..Default::default() })).await;
    assert_eq!(raw.answer(Type::Success).await.success.expect("of this type").request_id, request_id);
    raw.write(&frame(CommandCloseConsumer { consumer_id: id, request_id, ..Default::default() })).await;
    assert_eq!(raw.answer(Type::Success).await.success.expect("of this type").request_id, request_id);
    raw.write(&frame(CommandUnsubscribe { consumer_id: id, request_id, ..Default::default() })).await;
    assert_eq!(raw.answer(Type::Error).await.error.expect("of this type").request_id, request_id);
    raw.write(&frame(CommandGetLastMessageId { consumer_id: id, request_id })).await;
    assert_eq!(raw.answer(Type::Error).await.error.expect("of this type").request_id, request_id);
    raw.write(&send_frame(id, 0, b"payload")).await;
    raw.is_refused("SEND of an unknown producer").await;
    scene.end().await;
}

#[tokio::test]
async fn commands_that_are_not_built_get_a_clean_error() {
    let scene = Scene::set().await;
    let mut raw = scene.greeted().await;
    raw.write(&raw::subscribe_frame(TOPIC, 1)).await;
    raw.answer(Type::Success).await;
    raw.write(&frame(CommandSeek { consumer_id: 1, request_id: 8, ..Default::default() })).await;
    assert_eq!(raw.answer(Type::Error).await.error.expect("of this type").request_id, 8);
    raw.write(&frame(CommandNewTxn { request_id: 9, ..Default::default() })).await;
    let refused = raw.next_answer().await;
    assert!(matches!(refused.r#type(), Type::Error | Type::NewTxnResponse), "{refused:?}");
    raw.write(&frame(CommandPing {})).await;
    raw.answer(Type::Pong).await;
    scene.end().await;
}

#[tokio::test]
async fn names_that_name_nothing_are_refused_by_name() {
    let scene = Scene::set().await;
    let long = "x".repeat(60_000);
    let names = ["", "persistent://a/b", "http://a/b/c", "persistent://public/none/x", "a b/c/d", "\0", &long];
    let mut raw = scene.greeted().await;
    for (number, name) in (1_u64..).zip(names) {
        raw.write(&raw::producer_frame(name, number)).await;
        let error = raw.answer(Type::Error).await.error.expect("of this type");
        assert_eq!(error.request_id, number, "{name:.40}: {error:?}");
    }
    scene.end().await;
}

/// Goal: a stranger cannot make the server take memory. Method: many connections that each announce the largest frame and
/// send all of it but its last byte.
#[tokio::test]
async fn memory_before_the_greeting_is_bounded() {
    const CONNECTIONS: usize = 300;
    const ELSE_MIB: u64 = 32;
    let mut scene = Scene::set().await;
    let before = scene.resident_mib();
    let announced = u32::try_from(FRAME_BYTES_BEFORE_CONNECT).expect("small");
    let body = [&announced.to_be_bytes()[..], &vec![1; FRAME_BYTES_BEFORE_CONNECT - 1]].concat();
    let mut strangers = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut raw = scene.connect().await;
        raw.write(&body).await;
        strangers.push(raw);
    }
    scene.nobody_is_disturbed("with strangers at the door").await;
    let allowed = ((2 * CONNECTIONS * FRAME_BYTES_BEFORE_CONNECT) >> 20) as u64 + ELSE_MIB;
    let grown = scene.resident_mib().saturating_sub(before);
    assert!(grown <= allowed, "{CONNECTIONS} strangers made it grow by {grown} MiB");
    drop(strangers);
    for _ in 0..CONNECTIONS {
        let mut raw = scene.connect().await;
        raw.write(&[0xff, 0xff, 0xff, 0xff, 1, 1, 1, 1]).await;
        raw.is_refused("a frame of 4 GiB").await;
    }
    let grown = scene.resident_mib().saturating_sub(before);
    assert!(grown <= allowed, "announcements of 4 GiB made it grow by {grown} MiB");
    scene.end().await;
}
