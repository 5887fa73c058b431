//! The contract of [`Ledgers`] as checks that every implementation runs.
//!
//! A check panics with a sentence when the contract is broken. `Subject::other` stands for a second process that
//! shares nothing with the first but the metadata and the bookies.
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use metadata::{Expect, Key, MetadataStore, Operation, Transaction};
use proto::{EntryId, LedgerId, keys};

use crate::{Above, LedgerError, LedgerWriter, Ledgers, QuorumPolicy, Sealed, delete_intent};

/// What is checked.
#[derive(Debug, Clone)]
pub struct Subject {
    /// As one process has it.
    pub ledgers: Arc<dyn Ledgers>,
    /// As another process has it.
    pub other: Arc<dyn Ledgers>,
    /// Where both keep their records.
    pub metadata: Arc<dyn MetadataStore>,
    /// What ledgers are created with.
    pub policy: QuorumPolicy,
}

/// Runs every check.
pub async fn run(subject: &Subject) {
    run_without_deletion(subject).await;
    deleting_removes_record_and_intent_and_may_be_repeated(subject).await;
    an_open_ledger_can_be_deleted(subject).await;
}

/// Runs the checks that hold as well while an ack quorum of bookies is all there is.
pub async fn run_without_deletion(subject: &Subject) {
    ids_grow_and_are_never_given_twice(subject).await;
    what_was_confirmed_is_read_back(subject).await;
    reads_stop_at_the_limit_but_give_one_entry(subject).await;
    confirmations_only_rise(subject).await;
    a_closed_ledger_reports_its_end_to_everyone(subject).await;
    an_empty_ledger_seals_at_zero(subject).await;
    sealing_fences_the_writer_and_is_final(subject).await;
    two_processes_sealing_at_once_agree(subject).await;
    creating_happens_together_with_what_lists_it(subject).await;
    a_conflict_leaves_nothing(subject).await;
    a_missing_ledger_is_not_found(subject).await;
    waiting_for_confirmations_is_cancel_safe(subject).await;
}

async fn create(subject: &Subject) -> Box<dyn LedgerWriter> {
    let id = subject.ledgers.next_id(Above::Ledger(LedgerId(0))).await.expect("ids are to be had");
    subject.ledgers.create(id, subject.policy, "topic/conformance", Vec::new()).await.expect("all bookies are there")
}

async fn publish(writer: &mut dyn LedgerWriter, payloads: &[Bytes]) {
    let end = append(writer, payloads);
    writer.flush();
    while writer.confirmed().await.expect("nothing is in the way") < end {}
}

fn append(writer: &mut dyn LedgerWriter, payloads: &[Bytes]) -> EntryId {
    let mut end = EntryId::FIRST;
    for payload in payloads {
        end = writer.append(payload.clone()).expect("nothing is in the way").next();
    }
    end
}

fn payloads(count: usize) -> Vec<Bytes> {
    (0..count).map(|number| Bytes::from(format!("payload {number}"))).collect()
}

async fn read_all(ledgers: &Arc<dyn Ledgers>, ledger: LedgerId, end: EntryId) -> Vec<Bytes> {
    let mut found = Vec::new();
    while (found.len() as u64) < end.0 {
        let next = EntryId(found.len() as u64);
        for entry in ledgers.read(ledger, next..end, 100).await.expect("confirmed entries are readable") {
            assert_eq!(entry.entry.0, found.len() as u64, "entries are read without gaps");
            found.push(entry.payload);
        }
    }
    found
}

fn length(payloads: &[Bytes]) -> u64 {
    payloads.iter().map(|payload| payload.len() as u64).sum()
}

async fn ids_grow_and_are_never_given_twice(subject: &Subject) {
    let mut all = Vec::new();
    for ledgers in [&subject.ledgers, &subject.other, &subject.ledgers, &subject.other] {
        let fresh = ledgers.next_id(Above::AllHandedOut).await.expect("ids are to be had");
        assert!(all.iter().all(|earlier| *earlier < fresh), "{fresh} does not exceed all of {all:?}");
        let above = ledgers.next_id(Above::Ledger(fresh)).await.expect("ids are to be had");
        assert!(fresh < above, "{above} does not exceed {fresh}");
        assert!(!all.contains(&above), "{above} was given twice");
        all.extend([fresh, above]);
    }
    let far = LedgerId(all.iter().map(|id| id.0).max().unwrap_or(0) + 1_000_000);
    let above = subject.ledgers.next_id(Above::Ledger(far)).await.expect("ids are to be had");
    assert!(far < above, "an id above any ledger can be had");
}

async fn what_was_confirmed_is_read_back(subject: &Subject) {
    let mut writer = create(subject).await;
    let mut written = payloads(50);
    written[7] = Bytes::new();
    publish(writer.as_mut(), &written).await;
    assert_eq!(writer.unconfirmed_bytes(), 0, "nothing is unconfirmed");
    for ledgers in [&subject.ledgers, &subject.other] {
        assert_eq!(read_all(ledgers, writer.ledger(), EntryId(50)).await, written, "also while it is open");
    }
}

async fn reads_stop_at_the_limit_but_give_one_entry(subject: &Subject) {
    let mut writer = create(subject).await;
    publish(writer.as_mut(), &payloads(10)).await;
    let read = async |first, end, bytes_max| {
        let found = subject.ledgers.read(writer.ledger(), EntryId(first)..EntryId(end), bytes_max).await;
        found.expect("confirmed entries are readable").len()
    };
    assert_eq!(read(2, 10, 0).await, 1, "one entry even beyond the limit");
    assert_eq!(read(3, 4, 1000).await, 1, "no more than asked for");
    assert!(read(0, 10, 25).await <= 2, "no more than the limit");
}

async fn confirmations_only_rise(subject: &Subject) {
    let mut writer = create(subject).await;
    let mut last = EntryId::FIRST;
    for round in 0..20u64 {
        let end = append(writer.as_mut(), &payloads(5));
        assert_eq!(end, EntryId((round + 1) * 5), "ids have no holes");
        writer.flush();
        while last < end {
            let confirmed = writer.confirmed().await.expect("nothing is in the way");
            assert!(last < confirmed && confirmed <= end, "{last} then {confirmed} of {end}");
            last = confirmed;
        }
    }
}

async fn a_closed_ledger_reports_its_end_to_everyone(subject: &Subject) {
    let mut writer = create(subject).await;
    let written = payloads(9);
    append(writer.as_mut(), &written);
    writer.flush();
    let sealed = writer.close().await.expect("nothing is in the way");
    assert_eq!(sealed, Sealed { end: EntryId(9), length: length(&written) });
    for ledgers in [&subject.ledgers, &subject.other] {
        assert_eq!(ledgers.seal(writer.ledger()).await.expect("it is closed"), sealed);
        assert_eq!(read_all(ledgers, writer.ledger(), sealed.end).await, written);
    }
}

async fn an_empty_ledger_seals_at_zero(subject: &Subject) {
    let mut closed = create(subject).await;
    assert_eq!(closed.close().await.expect("nothing is in the way"), Sealed { end: EntryId(0), length: 0 });
    let abandoned = create(subject).await;
    let sealed = subject.other.seal(abandoned.ledger()).await.expect("all bookies are there");
    assert_eq!(sealed, Sealed { end: EntryId(0), length: 0 });
}

async fn sealing_fences_the_writer_and_is_final(subject: &Subject) {
    let mut writer = create(subject).await;
    let written = payloads(20);
    publish(writer.as_mut(), &written).await;
    let sealed = subject.other.seal(writer.ledger()).await.expect("all bookies are there");
    assert_eq!(sealed, Sealed { end: EntryId(20), length: length(&written) });
    let late = writer.append(Bytes::from_static(b"late"));
    writer.flush();
    if late.is_ok() {
        let outcome = writer.confirmed().await;
        assert!(matches!(outcome, Err(LedgerError::Fenced { .. })), "{outcome:?}");
    }
    let outcome = writer.append(Bytes::from_static(b"later"));
    assert!(matches!(outcome, Err(LedgerError::Fenced { .. })), "{outcome:?}");
    assert_eq!(subject.ledgers.seal(writer.ledger()).await.expect("it is sealed"), sealed, "twice the same end");
    assert_eq!(read_all(&subject.ledgers, writer.ledger(), sealed.end).await, written);
}

async fn two_processes_sealing_at_once_agree(subject: &Subject) {
    for round in 0..5 {
        let mut writer = create(subject).await;
        let written = payloads(30);
        publish(writer.as_mut(), &written[..10 + round]).await;
        append(writer.as_mut(), &written[10 + round..]);
        writer.flush(); // These are in flight while both seal.
        let id = writer.ledger();
        let (one, two) = tokio::join!(subject.ledgers.seal(id), subject.other.seal(id));
        let (one, two) = (one.expect("all bookies are there"), two.expect("all bookies are there"));
        assert_eq!(one, two, "there is one end");
        assert!(EntryId(10 + round as u64) <= one.end, "the end covers what was confirmed");
        let read = read_all(&subject.ledgers, id, one.end).await;
        assert_eq!(read, written[..read.len()], "what is inside is what was appended");
        assert_eq!(one.length, length(&read));
    }
}

async fn creating_happens_together_with_what_lists_it(subject: &Subject) {
    let id = subject.ledgers.next_id(Above::AllHandedOut).await.expect("ids are to be had");
    let key: Key = format!("conformance/{id}").into();
    let list = Operation::put(key.clone(), "listed", Expect::Absent);
    subject.ledgers.create(id, subject.policy, "topic/conformance", vec![list]).await.expect("all bookies are there");
    assert!(subject.metadata.get(&key).await.expect("metadata answers").is_some());
    assert!(subject.metadata.get(&keys::ledger(id).into()).await.expect("metadata answers").is_some());
}

async fn a_conflict_leaves_nothing(subject: &Subject) {
    let id = subject.ledgers.next_id(Above::AllHandedOut).await.expect("ids are to be had");
    let key: Key = format!("conformance/{id}").into();
    let first = Operation::put(key.clone(), "someone else's", Expect::Any);
    subject.metadata.commit(Transaction::new(vec![first])).await.expect("metadata answers");
    let list = Operation::put(key, "mine", Expect::Absent);
    let outcome = subject.ledgers.create(id, subject.policy, "topic/conformance", vec![list]).await;
    assert!(
        matches!(outcome, Err(LedgerError::Metadata(metadata::Error::Conflict { .. }))),
        "a conflict is told as such"
    );
    assert_eq!(subject.metadata.get(&keys::ledger(id).into()).await.expect("metadata answers"), None);
}

async fn deleting_removes_record_and_intent_and_may_be_repeated(subject: &Subject) {
    let mut writer = create(subject).await;
    publish(writer.as_mut(), &payloads(5)).await;
    writer.close().await.expect("nothing is in the way");
    let id = writer.ledger();
    let intent = Transaction::new(vec![delete_intent(id, 1)]);
    subject.metadata.commit(intent).await.expect("metadata answers");
    for ledgers in [&subject.ledgers, &subject.other, &subject.ledgers] {
        ledgers.delete(id).await.expect("all bookies are there");
    }
    for key in [keys::ledger(id), keys::delete_ledger(id)] {
        assert_eq!(subject.metadata.get(&key.into()).await.expect("metadata answers"), None);
    }
    for ledgers in [&subject.ledgers, &subject.other] {
        let outcome = ledgers.read(id, EntryId(0)..EntryId(1), 100).await;
        assert!(matches!(outcome, Err(LedgerError::NotFound { .. })), "{outcome:?}");
    }
}

async fn an_open_ledger_can_be_deleted(subject: &Subject) {
    let mut writer = create(subject).await;
    publish(writer.as_mut(), &payloads(5)).await;
    subject.other.delete(writer.ledger()).await.expect("all bookies are there");
    let late = writer.append(Bytes::from_static(b"late"));
    writer.flush();
    if late.is_ok() {
        let outcome = writer.confirmed().await;
        assert!(matches!(outcome, Err(LedgerError::Fenced { .. })), "{outcome:?}");
    }
    let outcome = writer.close().await;
    assert!(outcome.is_err(), "{outcome:?}");
}

async fn a_missing_ledger_is_not_found(subject: &Subject) {
    let id = subject.ledgers.next_id(Above::AllHandedOut).await.expect("ids are to be had");
    let read = subject.ledgers.read(id, EntryId(0)..EntryId(1), 100).await;
    assert!(matches!(read, Err(LedgerError::NotFound { .. })), "{read:?}");
    let seal = subject.ledgers.seal(id).await;
    assert!(matches!(seal, Err(LedgerError::NotFound { .. })), "{seal:?}");
    subject.ledgers.delete(id).await.expect("a ledger without a record is done");
}

async fn waiting_for_confirmations_is_cancel_safe(subject: &Subject) {
    let mut writer = create(subject).await;
    let mut last = EntryId::FIRST;
    let end = append(writer.as_mut(), &payloads(20));
    writer.flush();
    while last < end {
        // The first wait is dropped wherever it has got to, the second is not.
        last = match writer.confirmed().now_or_never() {
            Some(confirmed) => confirmed.expect("nothing is in the way"),
            None => writer.confirmed().await.expect("nothing is in the way"),
        };
    }
    assert_eq!(last, end, "no confirmation was lost with a dropped wait");
}
