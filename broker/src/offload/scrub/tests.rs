use super::*;
use crate::offload::faults::Fault;
use crate::offload::rig::{self, ONE_OBJECT, attempt, location};
use crate::offload::stores::{Kinds, Stores};
use crate::offload::{Operation, Retry, delete};

const GRACE: Duration = Duration::from_secs(3600);
const NOW: u64 = 10_000_000_000;

fn topic() -> TopicName {
    attempt(1).topic
}

fn name(ledger: u64, attempt: u64, number: u32) -> ObjectName {
    let (ledger, attempt) = (LedgerId(ledger), AttemptId(attempt));
    ObjectName { topic_hash: topic_hash(&topic()), ledger, attempt, number }
}

fn listed(name: ObjectName, bytes: u64, age_s: u64) -> Listed {
    Listed { name: Ok(name), bytes, modified_ms: NOW - 1000 * age_s }
}

fn referred(ledger: u64, attempt: u64, objects: u32, bytes: u64) -> Referred {
    Referred { topic: topic(), ledger: LedgerId(ledger), attempt: AttemptId(attempt), objects, bytes }
}

#[test]
fn what_is_recorded_and_listed_is_sound() {
    let objects = [listed(name(1, 1, 0), 70, 5), listed(name(1, 1, 1), 30, 5), listed(name(2, 9, 0), 50, 5)];
    let records = [referred(1, 1, 2, 100), referred(2, 9, 1, 50)];
    let findings = scrub(&objects, [], records, NOW, GRACE);
    assert_eq!(findings, Findings { sound: 3, sound_bytes: 150, ..Findings::default() });
}

#[test]
fn what_is_recorded_and_not_listed_is_missing() {
    let objects = [listed(name(1, 1, 1), 30, 5), listed(name(2, 9, 0), 49, 5)];
    let records = [referred(1, 1, 3, 100), referred(2, 9, 1, 50), referred(3, 1, 1, 7)];
    let findings = scrub(&objects, [], records.clone(), NOW, GRACE);
    let missing: Vec<_> = findings.missing.iter().map(|one| (one.referred.ledger.0, one.number)).collect();
    assert_eq!(missing, [(1, 0), (1, 2), (3, 0)]);
    assert_eq!(findings.wrong_size, [(records[1].clone(), 49)]);
    assert_eq!((findings.orphans.len(), findings.sound), (0, 0));
}

#[test]
fn only_old_objects_that_no_record_and_no_intent_names_may_be_removed() {
    let old = GRACE.as_secs() + 1;
    let objects = [
        listed(name(1, 1, 0), 10, old), // Recorded.
        listed(name(1, 2, 0), 10, old), // An attempt that is under way or was given up: an intent has it.
        listed(name(1, 3, 0), 10, old), // Nobody's.
        listed(name(1, 4, 0), 10, GRACE.as_secs()),
        listed(name(1, 1, 1), 10, old), // More than recorded.
        Listed { modified_ms: NOW + 5, ..listed(name(1, 5, 0), 10, 0) },
        Listed { name: Err("geminga/x/y".into()), bytes: 1, modified_ms: 0 },
    ];
    let intents = [(LedgerId(1), AttemptId(2))];
    let findings = scrub(&objects, intents, [referred(1, 1, 1, 10)], NOW, GRACE);
    let orphans: Vec<_> = findings.orphans.iter().map(|one| (one.name.attempt.0, one.removable)).collect();
    assert_eq!(orphans, [(3, true), (4, false), (5, false)]);
    assert_eq!((findings.sound, findings.intended), (1, 1));
    assert_eq!(findings.surplus, [name(1, 1, 1)]);
    assert_eq!(findings.unknown, ["geminga/x/y"]);
}

#[test]
fn an_object_of_another_topic_does_not_stand_in_for_a_missing_one() {
    let foreign = ObjectName { topic_hash: 5, ..name(1, 1, 0) };
    let findings = scrub(&[listed(foreign, 10, 0)], [], [referred(1, 1, 1, 10)], NOW, GRACE);
    assert_eq!((findings.missing.len(), findings.surplus.as_slice()), (1, &[foreign][..]));
}

#[tokio::test]
async fn a_scrub_finds_what_a_store_holds_and_removes_what_it_may() {
    let stores = Stores::new(1, Kinds::All);
    let store = stores.open(&location()).unwrap();
    let payloads: Vec<_> = (0..5).map(|number| rig::payload(number, 100)).collect();
    let kept = rig::offloaded(&store, 1, &payloads, ONE_OBJECT).await;
    rig::offloaded(&store, 2, &payloads, ONE_OBJECT).await;
    let objects = list(&store, "c0ffee").await.unwrap();
    assert_eq!(objects.len(), 2);
    assert!(list(&store, "other").await.unwrap().is_empty(), "another cluster's objects are not ours");
    let record = referred(rig::LEDGER.0, 1, 1, kept.bytes);
    let later = objects[0].modified_ms + 2 * 3_600_000;
    let findings = scrub(&objects, [], [record.clone(), referred(8, 1, 1, 5)], later, GRACE);
    assert_eq!((findings.sound, findings.orphans.len(), findings.missing.len()), (1, 1, 1));
    assert_eq!(remove_orphans(&store, "c0ffee", &findings.orphans).await.unwrap(), 1);
    assert_eq!(rig::names(&store).await, [attempt(1).object(0).to_string()]);
    let there = Missing { referred: record, number: 0 };
    let gone = findings.missing[0].clone();
    assert_eq!(still_missing(&store, "c0ffee", vec![there, gone.clone()]).await.unwrap(), [gone]);
}

/// Goal: what a store does not say is not taken for said. Method: lists that hang, and lists that are answered with 404.
#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_list_has_not_said_that_it_is_empty() {
    let faults = [
        (Fault::TimeoutBefore, Retry::Later),
        (Fault::NotFound, Retry::Later),
        (Fault::BucketGone, Retry::AfterRepair),
    ];
    for (fault, retry) in faults {
        let (store, plan) = rig::faulty();
        store.objects().put(&attempt(1).object(0), "there".into()).await.unwrap();
        plan.always(Operation::List, fault);
        let within = Duration::from_secs(300);
        let listed = tokio::time::timeout(within, list(&store, "c0ffee")).await.expect("it ends in time");
        assert_eq!(listed.unwrap_err().retry(), retry, "{fault:?}");
        let deleted = tokio::time::timeout(within, delete(&store, &attempt(1))).await.expect("it ends in time");
        assert_eq!(deleted.unwrap_err().retry(), retry, "{fault:?}");
        plan.stop();
        assert_eq!(list(&store, "c0ffee").await.unwrap().len(), 1, "{fault:?}");
    }
}
