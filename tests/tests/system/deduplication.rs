//! Producers that send everything again after a crash.
use proto::{EntryId, LedgerId};
use serde_json::json;
use tests::client::{Event, ProducerId, Publisher, Subscriber, Subscription, connect_to_owner};
use tests::cluster::Standalone;

use crate::directory;

const TOPIC: &str = "persistent://public/default/again";
/// More than one snapshot of what was published, so that some is read from one and some from entries.
const MESSAGES: u64 = 3_000;

/// Goal: each message is there exactly once, in order, although its producer sends all of them again after every kill -9.
/// Method: each round sends everything from the first, and ends with a kill while the new part is under way; receipts of what is there
/// already name no place.
#[tokio::test]
async fn a_producer_that_sends_everything_again_after_each_crash_stores_it_once() {
    let place = directory();
    let mut server = Standalone::start(place.path()).await.expect("it starts");
    server
        .admin()
        .post("/admin/v2/namespaces/public/default/deduplication", Some(json!(true)))
        .await
        .expect("it is set");
    let none = (LedgerId(u64::MAX), EntryId(u64::MAX));
    let (mut confirmed, mut twice) = (0, 0);
    for round in 1..=4 {
        let connection = connect_to_owner(&[server.address()], TOPIC).await.expect("it serves");
        let mut publisher = Publisher::over(connection);
        let id = publisher.attach_as(TOPIC, Some("mine")).await.expect("the name is free");
        assert_eq!(id, ProducerId(0));
        for number in 0..MESSAGES {
            assert_eq!(publisher.publish(id, &number.to_be_bytes()), number);
        }
        let wanted = MESSAGES * round / 4;
        let sending = async {
            publisher.flush().await.expect("it reads");
            while publisher.awaited() as u64 > MESSAGES - wanted {
                let receipt = publisher.receipt().await.expect("it serves");
                let is_new = (receipt.position.ledger, receipt.position.entry) != none;
                assert!(
                    confirmed <= receipt.sequence || !is_new,
                    "{} was confirmed and is stored again",
                    receipt.sequence
                );
                twice += u64::from(!is_new);
            }
        };
        sending.await;
        confirmed = wanted;
        server.process().kill();
        server.restart().await.expect("it starts again");
    }
    assert!(MESSAGES / 4 < twice, "{twice} came twice: nothing was shown");
    let mut reader = Subscriber::open(&[server.address()], &Subscription::reader(TOPIC)).await.expect("it serves");
    let last = reader.last().await.expect("it answers").expect("there are messages");
    let mut next = 0u64;
    loop {
        let Event::Message(message) = reader.next().await.expect("it serves") else {
            panic!("nothing was acknowledged")
        };
        assert_eq!(message.payload[..], next.to_be_bytes(), "message {next}");
        next += 1;
        if message.position == last {
            break;
        }
    }
    assert_eq!(next, MESSAGES, "each is there once");
}
