//! Goal: a scrub finds what is wrong, removes what nobody needs, and never the only copy. Method: a topic with ledgers in objects in memory, and
//! hands that change store and records behind its back.
use std::collections::HashMap;
use std::future::pending;

use metadata::{Expect, MetadataStoreExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use proto::LedgerId;
use proto::records::IdBlock;

use super::*;
use crate::log::rig::{Rig, publish};
use crate::log::{Loaded, Moving, create, load};
use crate::offload::{Location, Store};
use crate::policies::Policies;
use crate::upkeep::{Defaults, Tiering};
use std::time::Duration;

struct Surveyed {
    rig: Rig,
    loaded: Loaded,
    store: Arc<Store>,
    survey: Survey,
}

fn place() -> Location {
    Location::Memory { name: "survey".into() }
}

impl Surveyed {
    /// Three closed ledgers of two entries: one in objects only, one on both, one on bookies.
    async fn new() -> Self {
        let rig = Rig::new();
        let context = rig.context("a", 2);
        create(&context, &rig.topic, HashMap::new()).await.unwrap();
        let mut loaded = load(&context, &rig.topic).await.unwrap();
        publish(&mut loaded.log, 0, 7).await;
        let store = rig.stores.open(&place()).unwrap();
        let ledgers: Vec<LedgerId> = loaded.log.reader().chain().iter().map(|listed| listed.ledger).collect();
        for ledger in &ledgers[..2] {
            assert!(loaded.offloader.offload(*ledger, &store, |_| (), pending()).await.unwrap());
        }
        loaded.offloader.free(ledgers[0], pending()).await.unwrap();
        let survey = Survey {
            metadata: rig.mortal.clone(),
            ledgers: context.ledgers.clone(),
            tier: context.tier.clone(),
            clock: context.clock.clone(),
        };
        Self { rig, loaded, store, survey }
    }

    async fn scrub(&self, remove: bool) -> ScrubbedStore {
        let wanted = ScrubWanted { remove, grace: Duration::ZERO, store: None, default: Some(place()) };
        let mut scrubbed = self.survey.scrub(&wanted).await.unwrap();
        assert_eq!(scrubbed.stores.len(), 1);
        scrubbed.stores.remove(0)
    }

    /// An object of an attempt that nobody knows of.
    async fn stray(&self, ledger: LedgerId) -> Path {
        let name = format!("geminga/rig/{:016x}/{:020}/{:016x}/00000", 1, ledger.0, 77);
        self.store.objects().put(&Path::from(name.as_str()), "stray".into()).await.unwrap();
        Path::from(name)
    }

    fn ledger(&self, at: usize) -> LedgerId {
        self.loaded.log.reader().chain()[at].ledger
    }
}

#[tokio::test]
async fn what_is_as_recorded_is_sound() {
    let surveyed = Surveyed::new().await;
    let one = surveyed.scrub(true).await;
    assert_eq!((one.sound, one.store.as_str()), (2, "memory:///survey"));
    assert!(one.missing.is_empty() && one.wrong_size.is_empty() && one.orphans.is_empty() && one.unknown.is_empty());
    let elsewhere = Some(Location::Memory { name: "other".into() });
    let wanted = ScrubWanted { remove: true, grace: Duration::ZERO, store: elsewhere, default: None };
    assert!(surveyed.survey.scrub(&wanted).await.unwrap().stores.is_empty(), "only the store that was asked for");
}

#[tokio::test]
async fn an_object_that_nobody_knows_of_is_removed_when_asked_and_no_other() {
    let surveyed = Surveyed::new().await;
    let stray = surveyed.stray(surveyed.ledger(0)).await;
    let told = surveyed.scrub(false).await;
    assert_eq!((told.orphans.len(), told.orphans[0].removable, told.orphans[0].removed), (1, false, false), "not old");
    // Its age is by the store's clock, and the rig's stands in 1970.
    let survey = Survey { clock: Clock::fixed(u64::MAX / 2), ..surveyed.survey.clone() };
    let surveyed = Surveyed { survey, ..surveyed };
    let told = surveyed.scrub(false).await;
    assert!(told.orphans[0].removable && !told.orphans[0].removed && told.orphans[0].object == stray.as_ref());
    assert!(surveyed.scrub(true).await.orphans[0].removed);
    let after = surveyed.scrub(true).await;
    assert_eq!((after.orphans.len(), after.sound), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_missing_object_is_an_alarm_until_nobody_refers_to_it() {
    let surveyed = Surveyed::new().await;
    let chain = surveyed.loaded.log.reader().chain();
    let copy = &chain[0].objects.as_ref().unwrap().copy;
    surveyed.store.objects().delete(&copy.attempt.object(0)).await.unwrap();
    let told = surveyed.scrub(true).await;
    assert_eq!((told.missing.len(), told.sound), (1, 1));
    assert_eq!(
        (told.missing[0].ledger, told.missing[0].object.as_str()),
        (chain[0].ledger.0, copy.attempt.object(0).as_ref())
    );
    let context = surveyed.rig.context("a", 2);
    crate::log::delete(&context, &surveyed.rig.topic, Vec::new()).await.unwrap();
    let told = surveyed.scrub(true).await;
    assert_eq!((told.missing.len(), told.intended), (0, 1));
}

/// The metadata is older than the store: what it does not know, or knows as being on bookies, may be all there is.
#[tokio::test]
async fn a_scrub_with_restored_metadata_removes_no_only_copy() {
    let surveyed = Surveyed::new().await;
    let survey = Survey { clock: Clock::fixed(u64::MAX / 2), ..surveyed.survey.clone() };
    let surveyed = Surveyed { survey, ..surveyed };
    surveyed.stray(surveyed.ledger(2)).await; // Listed, and on bookies: a leftover.
    assert!(surveyed.scrub(true).await.orphans[0].removed);
    surveyed.stray(surveyed.ledger(2)).await;
    surveyed.survey.ledgers.delete(surveyed.ledger(2)).await.unwrap(); // Listed, and bookies have forgotten it.
    let told = surveyed.scrub(true).await;
    assert!(!told.orphans[0].removed && told.orphans[0].kept_because.is_some());

    let next = IdBlock { next: surveyed.ledger(2).0 + 1 }.encode_to_vec();
    surveyed.rig.store.put(keys::LEDGER_IDS, next, Expect::Any).await.unwrap();
    surveyed.stray(LedgerId(surveyed.ledger(2).0 + 1)).await;
    let told = surveyed.scrub(true).await;
    assert!(told.orphans.iter().all(|orphan| !orphan.removed && orphan.kept_because.is_some()));
    assert_eq!(told.orphans.len(), 2);
}

#[tokio::test]
async fn the_objects_of_a_topic_whose_record_is_lost_stay_and_are_told() {
    let surveyed = Surveyed::new().await;
    let survey = Survey { clock: Clock::fixed(u64::MAX / 2), ..surveyed.survey.clone() };
    let surveyed = Surveyed { survey, ..surveyed };
    surveyed.rig.work_off().await; // Bookies have forgotten the first.
    surveyed.rig.store.delete(keys::topic(&surveyed.rig.topic), Expect::Any).await.unwrap();
    let told = surveyed.scrub(true).await;
    assert_eq!(told.orphans.len(), 2, "in objects only, and in both");
    assert!(told.orphans.iter().all(|orphan| !orphan.removed && orphan.kept_because.is_some()), "{told:?}");
}

#[tokio::test]
async fn what_comes_after_its_topic_was_deleted_is_removed() {
    let surveyed = Surveyed::new().await;
    let survey = Survey { clock: Clock::fixed(u64::MAX / 2), ..surveyed.survey.clone() };
    let surveyed = Surveyed { survey, ..surveyed };
    surveyed.rig.work_off().await;
    crate::log::delete(&surveyed.rig.context("a", 2), &surveyed.rig.topic, Vec::new()).await.unwrap();
    surveyed.rig.work_off().await;
    assert!(surveyed.rig.store.list_all(keys::COLD_LEDGERS).await.unwrap().is_empty());
    surveyed.stray(surveyed.ledger(0)).await;
    assert!(surveyed.scrub(true).await.orphans[0].removed);
}

#[tokio::test]
async fn what_cannot_be_read_ends_a_scrub_before_anything_is_removed() {
    let surveyed = Surveyed::new().await;
    let survey = Survey { clock: Clock::fixed(u64::MAX / 2), ..surveyed.survey.clone() };
    let surveyed = Surveyed { survey, ..surveyed };
    let stray = surveyed.stray(surveyed.ledger(0)).await;
    let other = keys::topic(&"damaged".parse().unwrap());
    surveyed.rig.store.put(other, "\u{7}\u{7}", Expect::Absent).await.unwrap();
    let wanted = ScrubWanted { remove: true, grace: Duration::ZERO, store: None, default: Some(place()) };
    assert!(matches!(surveyed.survey.scrub(&wanted).await, Err(SurveyError::Metadata(_))));
    surveyed.store.objects().head(&stray).await.unwrap();
}

#[tokio::test]
async fn the_status_adds_up_what_is_where() {
    let surveyed = Surveyed::new().await;
    let policies = Policies::new(surveyed.rig.mortal.clone(), crate::Config::default().of_broker());
    let moving = Moving { bytes: Some(0), age: None, lag: None };
    let defaults = Defaults { store: Some(place()), moving };
    let tiering = Tiering::new(surveyed.survey.tier.clone(), policies.clone(), defaults, surveyed.survey.clock.clone());
    let status = surveyed.survey.status(&policies, &tiering, 3).await.unwrap();
    // Each ledger holds two texts of one digit.
    assert_eq!((status.hot_bytes, status.cold_bytes, status.saved_bytes), (4, 4, 6));
    let [topic] = &status.topics[..] else { panic!("{status:?}") };
    let expected = TopicStanding {
        topic: surveyed.rig.topic.to_string(),
        offloaded_ledgers: 2,
        offloaded_bytes: 4,
        waiting_ledgers: 1,
        waiting_bytes: 2,
        both_bytes: 2,
        last_error: None,
    };
    assert_eq!(*topic, expected);
    let objects: u64 =
        surveyed.loaded.log.reader().chain().iter().filter_map(|one| Some(one.objects.as_ref()?.copy.bytes)).sum();
    assert_eq!(surveyed.survey.stored_bytes().await.unwrap(), objects);
}
