//! Stores against records, both ways.
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use ledger::LedgerError;
use metadata::MetadataStoreExt;
use prost::Message;
use proto::records::{ColdLedger, DeleteObjects, IdBlock, Intent, LedgerRecord, LedgerState, intent::Subject};
use proto::{EntryId, LedgerId, TopicName, keys};

use super::pages::{MissingObject, OrphanObject, Scrubbed, ScrubbedStore, WrongSize};
use super::{Survey, SurveyError, decode};
use crate::log::{Fate, fate};
use crate::offload::{self, AttemptId, Findings, Listed, Location, Missing, ObjectName, Orphan, Referred, Store};

/// What a scrub is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScrubWanted {
    /// Remove orphans.
    pub(crate) remove: bool,
    /// That are older than this.
    pub(crate) grace: Duration,
    /// Only this store.
    pub(crate) store: Option<Location>,
    /// The store that ledgers move to by default: looked at even if nothing is in it.
    pub(crate) default: Option<Location>,
}

/// What the metadata says.
#[derive(Debug, Default)]
struct Said {
    /// By URL of the store.
    referred: HashMap<String, Vec<Referred>>,
    intents: HashSet<(LedgerId, AttemptId)>,
    /// Sealed ledgers that are listed without a copy in objects, and how many entries they have.
    on_bookies: HashMap<LedgerId, u64>,
    /// Those that are listed with one.
    in_objects: HashSet<LedgerId>,
    stores: BTreeSet<String>,
}

const TOO_NEW: &str = "its ledger is newer than the metadata, which may be a restored one";
const ONLY_COPY: &str = "its ledger is listed, and bookies do not have it";
const NO_TOPIC: &str = "no topic lists its ledger, and nobody has deleted it: a record may be lost";
const UNSURE: &str = "its ledger is listed, and bookies cannot be asked for it now";

impl Survey {
    /// Compares each store with the records.
    pub(crate) async fn scrub(&self, wanted: &ScrubWanted) -> Result<Scrubbed, SurveyError> {
        let instance = self.tier.instance().await?;
        let mut stores = self.said().await?.stores;
        stores.extend(wanted.default.iter().map(ToString::to_string));
        let mut listings = Vec::new();
        for url in stores {
            let location: Location = url.parse()?;
            if wanted.store.as_ref().is_none_or(|only| *only == location) {
                let store = self.tier.open(&location)?;
                let listed = offload::list(&store, &instance).await?;
                listings.push((url, store, listed));
            }
        }
        // Only now, and intents before records: an attempt has an intent before its first object, and is referred to when that goes.
        let mut said = self.said().await?;
        let mut scrubbed = Scrubbed::default();
        for (url, store, listed) in listings {
            if wanted.remove {
                offload::remove_probes(&store, self.clock.now_ms(), wanted.grace).await?;
            }
            let findings = self.compare(&listed, &mut said, &url, wanted.grace);
            let one = self.settle(&store, url, &instance, findings, &said, wanted.remove).await?;
            scrubbed.stores.push(one);
        }
        Ok(scrubbed)
    }

    fn compare(&self, listed: &[Listed], said: &mut Said, url: &str, grace: Duration) -> Findings {
        let referred = said.referred.remove(url).unwrap_or_default();
        offload::scrub(listed, said.intents.iter().copied(), referred, self.clock.now_ms(), grace)
    }

    async fn said(&self) -> Result<Said, SurveyError> {
        let mut said = Said::default();
        for found in self.metadata.list_all(keys::OBJECT_INTENTS).await? {
            let intent = Intent::decode(found.value).map(|intent| intent.subject);
            let Ok(Some(Subject::DeleteObjects(objects))) = intent else {
                return Err(metadata::Error::Corrupt { key: found.key }.into());
            };
            said.intents.insert((LedgerId(objects.ledger), AttemptId(objects.attempt)));
            said.stores.insert(objects.store);
        }
        self.each_topic(|topic, record| {
            for listed in &record.ledgers {
                let Some(offloaded) = &listed.offloaded else {
                    said.on_bookies.insert(LedgerId(listed.ledger), listed.entries);
                    continue;
                };
                said.in_objects.insert(LedgerId(listed.ledger));
                let corrupt = || metadata::Error::Corrupt { key: keys::topic(topic).into() };
                let store = record.stores.get(offloaded.store as usize).ok_or_else(corrupt)?;
                said.stores.insert(store.clone());
                said.referred.entry(store.clone()).or_default().push(Referred {
                    topic: topic.clone(),
                    ledger: LedgerId(listed.ledger),
                    attempt: AttemptId(offloaded.attempt),
                    objects: offloaded.objects,
                    bytes: offloaded.bytes,
                });
            }
            Ok(())
        })
        .await?;
        Ok(said)
    }

    async fn settle(
        &self,
        store: &Store,
        url: String,
        instance: &str,
        mut findings: Findings,
        said: &Said,
        remove: bool,
    ) -> Result<ScrubbedStore, SurveyError> {
        let missing = offload::still_missing(store, instance, std::mem::take(&mut findings.missing)).await?;
        let missing = self.still_referred(missing).await?;
        let kept = self.kept(&findings.orphans, said).await?;
        for orphan in &mut findings.orphans {
            orphan.removable &= !kept.contains_key(&orphan.name.ledger);
        }
        if remove {
            offload::remove_orphans(store, instance, &findings.orphans).await?;
        }
        let name = |name: &ObjectName| name.path(instance).to_string();
        let orphan = |orphan: &Orphan| OrphanObject {
            object: name(&orphan.name),
            bytes: orphan.bytes,
            age_seconds: orphan.age.as_secs(),
            removable: orphan.removable,
            removed: remove && orphan.removable,
            kept_because: kept.get(&orphan.name.ledger).copied(),
        };
        let wrong_size = |(referred, found_bytes): &(Referred, u64)| WrongSize {
            topic: referred.topic.to_string(),
            ledger: referred.ledger.0,
            recorded_bytes: referred.bytes,
            found_bytes: *found_bytes,
        };
        Ok(ScrubbedStore {
            store: url,
            sound: findings.sound,
            sound_bytes: findings.sound_bytes,
            intended: findings.intended,
            missing: missing.iter().map(|missing| missing_object(missing, instance)).collect(),
            wrong_size: findings.wrong_size.iter().map(wrong_size).collect(),
            orphans: findings.orphans.iter().map(orphan).collect(),
            surplus: findings.surplus.iter().map(name).collect(),
            unknown: findings.unknown,
        })
    }

    /// Topics are deleted and trimmed meanwhile: what nobody refers to any more is not missed.
    async fn still_referred(&self, missing: Vec<Missing>) -> Result<Vec<Missing>, SurveyError> {
        let mut missed = Vec::new();
        for one in missing {
            let Referred { topic, ledger, attempt, .. } = &one.referred;
            let found = self.metadata.get(&keys::topic(topic).into()).await?;
            let record = found.map(|found| decode(&found)).transpose()?.map(|(_, record)| record);
            let objects = DeleteObjects { ledger: ledger.0, attempt: attempt.0, ..DeleteObjects::default() };
            if fate(record.as_ref(), &objects) == Fate::Needed {
                tracing::error!(%topic, %ledger, object = one.number, "an object that a record refers to is missing");
                missed.push(one);
            }
        }
        Ok(missed)
    }

    /// The ledgers of orphans that stay, and why: metadata that was restored from an older state lists such ledgers as if they were on
    /// bookies, or does not know them yet.
    async fn kept(&self, orphans: &[Orphan], said: &Said) -> Result<HashMap<LedgerId, &'static str>, SurveyError> {
        let ledgers: BTreeSet<LedgerId> = orphans.iter().map(|orphan| orphan.name.ledger).collect();
        let mut kept = HashMap::new();
        if ledgers.is_empty() {
            return Ok(kept);
        }
        let handed_out = match self.metadata.get(&keys::LEDGER_IDS.into()).await? {
            Some(found) => {
                IdBlock::decode(found.value)
                    .map_err(|_| metadata::Error::Corrupt { key: keys::LEDGER_IDS.into() })?
                    .next
            }
            None => 0,
        };
        for ledger in ledgers {
            let why = match said.on_bookies.get(&ledger) {
                _ if handed_out <= ledger.0 => Some(TOO_NEW),
                Some(entries) => self.lacking(ledger, *entries).await,
                None if said.in_objects.contains(&ledger) => None,
                None => self.without_topic(ledger).await?,
            };
            kept.extend(why.map(|why| (ledger, why)));
        }
        Ok(kept)
    }

    /// A ledger that no topic lists has gone with its topic or by trim, and has left nothing: or it is a record that is missing.
    async fn without_topic(&self, ledger: LedgerId) -> Result<Option<&'static str>, metadata::Error> {
        if let Some(found) = self.metadata.get(&keys::cold_ledger(ledger).into()).await? {
            let topic = ColdLedger::decode(found.value).map(|cold| cold.topic).unwrap_or_default();
            tracing::error!(topic, %ledger, "a ledger that lies in objects only is in no record: was one lost?");
            return Ok(Some(NO_TOPIC));
        }
        let Some(found) = self.metadata.get(&keys::ledger(ledger).into()).await? else { return Ok(None) };
        let deleted = LedgerRecord::decode(found.value).is_ok_and(|record| record.state() == LedgerState::Deleted);
        if deleted || self.metadata.get(&keys::delete_ledger(ledger).into()).await?.is_some() {
            return Ok(None);
        }
        tracing::error!(%ledger, "a ledger on bookies is in no record: was one lost?");
        Ok(Some(NO_TOPIC))
    }

    async fn lacking(&self, ledger: LedgerId, entries: u64) -> Option<&'static str> {
        let last = EntryId(entries.checked_sub(1)?);
        for entry in [EntryId::FIRST, last] {
            match self.ledgers.read(ledger, entry..entry.next(), 1).await {
                Ok(_) => {}
                Err(LedgerError::NotFound { .. } | LedgerError::Lost { .. }) => return Some(ONLY_COPY),
                Err(_) => return Some(UNSURE),
            }
        }
        None
    }
}

fn missing_object(missing: &Missing, instance: &str) -> MissingObject {
    let Referred { topic, ledger, attempt, .. } = &missing.referred;
    let topic: &TopicName = topic;
    let name = ObjectName {
        topic_hash: offload::topic_hash(topic),
        ledger: *ledger,
        attempt: *attempt,
        number: missing.number,
    };
    MissingObject { topic: topic.to_string(), ledger: ledger.0, object: name.path(instance).to_string() }
}
