//! What was answered before a crash, and what was not, as clients find it afterwards.
use futures::future::join_all;
use ledger::Ledgers;
use proto::{EntryId, LedgerId};

use super::deduplication::plain;
use super::*;

impl Storage {
    /// How many entries have reached bookies, confirmed or not.
    async fn entries(&self) -> usize {
        let read = |ledger| self.ledgers.read(ledger, EntryId::FIRST..EntryId(u64::MAX), usize::MAX);
        join_all(self.ledgers.ledgers().into_iter().map(read)).await.into_iter().map(|found| found.unwrap().len()).sum()
    }

    /// Until one more entry than `before` has.
    async fn entry_after(&self, before: usize) {
        let arrives = async {
            while self.entries().await == before {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, arrives).await.expect("an entry arrives");
    }

    /// Bookies forget what no journal had synced, which is nothing that was confirmed.
    fn cut_power(&self) {
        let all: Vec<LedgerId> = self.ledgers.ledgers();
        all.into_iter().for_each(|ledger| self.ledgers.lose_unconfirmed(ledger));
        self.ledgers.release_confirmations(); // Of ledgers yet to come.
    }
}

/// N14 (C2). Goal: what was acknowledged with a receipt does not come again, and no receipt comes before that is certain. Method: power
/// is cut behind the receipt, or while the acknowledgement is on its way to bookies; for both kinds of acknowledgement.
#[tokio::test]
async fn n14_what_a_receipt_was_sent_for_does_not_come_again_after_a_power_cut_of_all() {
    for (kind, answered, left) in [
        (AckType::Individual, true, &["m0", "m2", "m3"][..]),
        (AckType::Individual, false, &["m0", "m1", "m2", "m3"]),
        (AckType::Cumulative, true, &["m2", "m3"]),
        (AckType::Cumulative, false, &["m0", "m1", "m2", "m3"]),
    ] {
        let storage = Storage::new().await;
        let before = Broker::started(&storage, "before").await;
        let mut client = before.client().await;
        client.subscribed("s", SubType::Exclusive, 1).await;
        client.producer(TOPIC, 1).await;
        let mut ids = Vec::new();
        for number in 0..4 {
            ids.push(client.publish(1, number, &format!("m{number}")).await);
        }
        client.flow(1, 10).await;
        client.messages(4).await;

        storage.ledgers.hold_confirmations();
        let entries = storage.entries().await;
        let (request_id, message_id) = (Some(7), vec![ids[1].clone()]);
        let ack = CommandAck { consumer_id: 1, ack_type: kind.into(), message_id, request_id, ..Default::default() };
        client.send(ack).await;
        storage.entry_after(entries).await;
        client.expect_silence().await;
        if answered {
            storage.ledgers.release_confirmations();
            let response = client.expect(Type::AckResponse).await.ack_response.unwrap();
            assert_eq!((response.request_id, response.error), (request_id, None));
        }
        storage.cut_power();
        before.loses_its_lease().await;

        let after = Broker::started(&storage, "after").await;
        let mut client = after.client().await;
        client.subscribed("s", SubType::Exclusive, 1).await;
        client.flow(1, 10).await;
        assert_eq!(client.messages(left.len()).await, left, "{kind:?}, {answered}");
        client.expect_silence().await;
    }
}

/// N21 (D1). Goal: a message whose fate nobody knew is there once after its client has sent it again. Method: the append gets no answer
/// at the old broker; at the next one, which recovers the ledger, the entry is found or is not; then the client sends it again.
#[tokio::test]
async fn n21_a_message_that_timed_out_and_is_sent_again_is_there_once_whether_or_not_it_was_recovered() {
    for recovered in [true, false] {
        let storage = Storage::new().await;
        let old = Broker::started(&storage, "old").await;
        old.wants_deduplication(true).await;
        let mut left_behind = old.client().await;
        assert_eq!(left_behind.mine().await, -1);
        assert_eq!(left_behind.sends(plain(0)).await, (0, true));

        storage.ledgers.hold_confirmations();
        let entries = storage.entries().await;
        left_behind.write(&plain(1)).await;
        storage.entry_after(entries).await;
        left_behind.expect_silence().await;
        if !recovered {
            storage.ledgers.ledgers().into_iter().for_each(|ledger| storage.ledgers.lose_unconfirmed(ledger));
        }

        old.loses_its_lease().await;
        let new = Broker::started(&storage, "new").await;
        new.context.topics.open(&name(TOPIC), false).await.unwrap();
        storage.ledgers.release_confirmations(); // The old broker's ledger is sealed: it learns nothing good any more.
        let mut client = new.client().await;
        assert_eq!(client.mine().await, i64::from(recovered), "what is stored of it");
        assert_eq!(client.sends(plain(1)).await, (1, !recovered), "{recovered}");
        assert_eq!(client.sends(plain(2)).await, (2, true));
        assert_eq!(client.sends(plain(1)).await, (1, false), "and never again");
        assert_eq!(client.reads_all(3).await, ["m0", "m1", "m2"], "{recovered}");
        left_behind.expect(Type::CloseProducer).await; // And no receipt before it.
    }
}
