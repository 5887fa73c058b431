//! Section 14: more of everything than anyone sends.
use super::*;

/// Goal: a flood of one connection is answered to the last, and slows nobody down.
#[tokio::test]
async fn floods_are_answered_and_hold_nobody_up() {
    let mut scene = Scene::set().await;
    let mut raw = scene.greeted().await;
    raw.write(&frame(CommandPing {}).repeat(100_000)).await;
    scene.nobody_is_disturbed("during a flood of pings").await;
    for _ in 0..100_000 {
        raw.answer(Type::Pong).await;
    }
    raw.write(&frame(CommandPong {}).repeat(100_000)).await;
    raw.write(&frame(CommandPing {})).await;
    raw.answer(Type::Pong).await;
    scene.end().await;
}

/// Goal: connections that come and go leave nothing behind. Method: a thousand, each of which dies in another way.
#[tokio::test]
async fn a_thousand_connections_come_and_go() {
    const CONNECTIONS: usize = 1000;
    const ALLOWED_MIB: u64 = 48;
    let mut scene = Scene::set().await;
    let before = scene.resident_mib();
    for number in 0..CONNECTIONS {
        let mut raw = if number % 2 == 0 { scene.connect().await } else { scene.greeted().await };
        match number % 5 {
            0 => raw.write(&connect_frame()[..7]).await,
            1 => raw.write(&producer_frame(&format!("churn{}", number % 50), 1)).await,
            2 => raw.write(&subscribe_frame(&format!("churn{}", number % 50), 1)).await,
            3 => raw.end_of_writing().await,
            _ => {}
        }
        drop(raw); // With answers on their way, the server's next write is refused.
    }
    scene.nobody_is_disturbed("after a thousand connections").await;
    let grown = scene.resident_mib().saturating_sub(before);
    assert!(grown <= ALLOWED_MIB, "it grew by {grown} MiB");
    scene.end().await;
}

/// Goal: a consumer that never reads costs a bounded buffer. Method: it grants all permits for 64 MiB and looks away.
#[tokio::test]
async fn a_consumer_that_never_reads_costs_a_bounded_buffer() {
    const MESSAGES: u64 = 64;
    const ALLOWED_MIB: u64 = 224; // The cache of entries, the budget of publishers, and room for what is freed late.
    let mut scene = Scene::set().await;
    let mut publisher = scene.producing("public/default/deaf").await;
    let mut deaf = scene.greeted().await;
    deaf.write(&subscribe_frame("public/default/deaf", 1)).await;
    deaf.answer(Type::Success).await;
    let before = scene.resident_mib();
    deaf.write(&frame(CommandFlow { consumer_id: 1, message_permits: u32::MAX }).repeat(10)).await;
    let payload = vec![7; 1 << 20];
    for sequence_id in 0..MESSAGES {
        publisher.write(&send_frame(1, sequence_id, &payload)).await;
        publisher.answer(Type::SendReceipt).await;
    }
    scene.nobody_is_disturbed("with a consumer that does not read").await;
    let grown = scene.resident_mib().saturating_sub(before);
    assert!(grown <= ALLOWED_MIB, "it grew by {grown} MiB");
    drop(deaf);
    scene.end().await;
}

/// Goal: a client that never reads its answers is not listened to, and costs a bounded buffer.
#[tokio::test]
async fn a_client_that_never_reads_its_answers_is_not_listened_to() {
    const ALLOWED_MIB: u64 = 64;
    let mut scene = Scene::set().await;
    let before = scene.resident_mib();
    let mut deaf = scene.greeted().await;
    let pings = frame(CommandPing {}).repeat(1 << 20);
    deaf.write_until_blocked(&pings).await;
    scene.nobody_is_disturbed("with a client that does not read").await;
    let grown = scene.resident_mib().saturating_sub(before);
    assert!(grown <= ALLOWED_MIB, "it grew by {grown} MiB");
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
