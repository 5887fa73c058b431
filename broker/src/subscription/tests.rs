mod rates;

use std::collections::HashMap;
use std::sync::Arc;

use proto::Position;
use proto::pulsar::command_subscribe::SubType;
use tokio_util::task::TaskTracker;

use super::{Command, Seat, Setup, Start, SubscribeAt, SubscriptionError, SubscriptionHandle, spawn};
use crate::cursor::AckSet;
use crate::log::rig::{Rig, publish};
use crate::log::{Loaded, LogError, create, load};

async fn loaded(rig: &Rig) -> (Loaded, Vec<Position>) {
    let context = rig.context("a", 1000);
    create(&context, &rig.topic, HashMap::new()).await.unwrap();
    let mut loaded = load(&context, &rig.topic).await.unwrap();
    let positions = publish(&mut loaded.log, 0, 10).await;
    (loaded, positions)
}

async fn subscribed(rig: &Rig, topic: &Loaded) -> SubscriptionHandle {
    let setup = Setup {
        name: "s".into(),
        durable: true,
        kind: SubType::Shared,
        partition: None,
        seat: Seat::of(&rig.topic),
        terminated: Arc::default(),
        attendance: super::Attendance::default(),
        heeded: Arc::default(),
        start: Start::New(SubscribeAt::Earliest, false),
        properties: HashMap::new(),
        reader: topic.log.reader(),
        cursor_log: topic.cursor_log.clone(),
        clock: rig.context("a", 1000).clock,
    };
    let handle = spawn(setup, &TaskTracker::new());
    handle.ask(Command::Cursor).await.unwrap();
    handle
}

/// What the next owner finds after a crash.
async fn found(rig: &Rig) -> AckSet {
    let topic = load(&rig.context("b", 1000), &rig.topic).await.unwrap();
    topic.cursors.iter().find(|cursor| &*cursor.name == "s").expect("it is there").acks.clone()
}

#[tokio::test(start_paused = true)]
async fn a_move_that_was_answered_survives_a_crash_right_after_it() {
    let rig = Rig::new();
    let (topic, positions) = loaded(&rig).await;
    let subscription = subscribed(&rig, &topic).await;
    for at in [7, 2, 5] {
        let to = SubscribeAt::Inside(positions[at], Arc::new([0b100]));
        subscription.ask(|reply| Command::Reset(to, reply)).await.unwrap();
    }
    drop((subscription, topic));
    let acks = found(&rig).await;
    assert_eq!((acks.mark(), acks.partial(positions[5])), (positions[5], Some(&[0b100][..])));
}

#[tokio::test(start_paused = true)]
async fn a_move_that_cannot_be_written_is_not_answered_with_success() {
    let rig = Rig::new();
    let (topic, positions) = loaded(&rig).await;
    let subscription = subscribed(&rig, &topic).await;
    let next = load(&rig.context("b", 1000), &rig.topic).await.unwrap(); // Another owner: nothing is written here any more.
    let moved = subscription.ask(|reply| Command::Reset(SubscribeAt::Position(positions[7]), reply)).await;
    assert!(matches!(moved, Err(SubscriptionError::Log(LogError::Fenced { .. }))), "{moved:?}");
    assert_eq!(next.cursors[0].acks.mark(), positions[0]);
}
