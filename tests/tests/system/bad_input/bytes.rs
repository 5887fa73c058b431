//! Section 1 and 2: bytes that are no frames, and frames in pieces.
use super::*;

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
    let talk = [connect_frame(), producer_frame(TOPIC, 1), send_frame(1, 0, b"payload"), subscribe_frame(TOPIC, 1)];
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
    let after = [producer_frame(TOPIC, 1), send_frame(1, 0, b"payload"), subscribe_frame(TOPIC, 1)].concat();
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
