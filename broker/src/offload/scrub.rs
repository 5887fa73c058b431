//! Comparing what a store holds with what records say. Pure, but for the listing and the removal.
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use proto::{LedgerId, TopicName};
use tokio::time::timeout;

use super::error::{Answer, ObjectError, reason};
use super::fetch;
use super::name::{AttemptId, ObjectName, instance_prefix, topic_hash};
use super::patience::{Failed, SMALL, persist};
use super::stores::Store;

/// An object that a store lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What its name says; `Err` with the name: nothing that this version writes.
    pub name: Result<ObjectName, String>,
    /// Its size.
    pub bytes: u64,
    /// When it was written, in milliseconds since 1970, by the store's clock.
    pub modified_ms: u64,
}

/// What a topic's record says about one ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referred {
    /// Whose.
    pub topic: TopicName,
    /// Which ledger.
    pub ledger: LedgerId,
    /// Which attempt.
    pub attempt: AttemptId,
    /// How many objects.
    pub objects: u32,
    /// Of all of them.
    pub bytes: u64,
}

/// An object that must be there and is not listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// By which record.
    pub referred: Referred,
    /// Which of its objects.
    pub number: u32,
}

/// An object that nobody refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Which.
    pub name: ObjectName,
    /// Its size.
    pub bytes: u64,
    /// Since it was written.
    pub age: Duration,
    /// Old enough that nobody can be about to refer to it.
    pub removable: bool,
}

/// How a store and the records compare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// An alarm each. What was written after the listing looks missing too: see [`still_missing`].
    pub missing: Vec<Missing>,
    /// An alarm each: all objects are listed, with so many bytes instead of those recorded.
    pub wrong_size: Vec<(Referred, u64)>,
    /// Objects of attempts that neither a record nor an intent names.
    pub orphans: Vec<Orphan>,
    /// Objects of a referred attempt beyond the number recorded. Never removed by a scrub.
    pub surplus: Vec<ObjectName>,
    /// Names below ours that this version does not write. Never removed by a scrub.
    pub unknown: Vec<String>,
    /// Objects that are as recorded.
    pub sound: u64,
    /// Bytes of these.
    pub sound_bytes: u64,
    /// Objects that an intent will remove.
    pub intended: u64,
}

/// Lists all objects of a cluster in a store.
///
/// List first, then read the intents, then the records: an upload has its intent before its first object and is referred to in the
/// transaction that ends the intent, so that in this order none of its objects can look like an orphan.
pub async fn list(store: &Store, instance: &str) -> Result<Vec<Listed>, ObjectError> {
    let prefix = store.path(&instance_prefix(instance));
    let listed = |meta: ObjectMeta| Listed {
        name: store
            .name(&meta.location)
            .and_then(|name| ObjectName::parse(&name, instance))
            .ok_or_else(|| meta.location.to_string()),
        bytes: meta.size,
        modified_ms: u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or(0),
    };
    let unavailable = |reason: String| ObjectError::Unavailable { object: store.text(&prefix), reason };
    let (mut found, mut names) = (Vec::new(), store.objects().list(Some(&prefix)));
    loop {
        // Without a deadline for the whole: a million names take their time, and each page of them has its own.
        let next = timeout(SMALL.one, names.try_next()).await;
        match next.map_err(|_| unavailable(format!("no answer within {} s", SMALL.one.as_secs())))? {
            Ok(Some(meta)) => found.push(listed(meta)),
            Ok(None) => return Ok(found),
            Err(error) if Answer::of(&error) == Answer::Refused => {
                return Err(ObjectError::Refused { object: store.text(&prefix), reason: reason(&error) });
            }
            // A 404 too: where nothing is, a store answers with an empty list.
            Err(error) => return Err(unavailable(reason(&error))),
        }
    }
}

/// Compares. `intents` are the attempts that an intent names, whoever may work it off. Orphans may be removed once they are older
/// than `grace`.
pub fn scrub(
    listed: &[Listed],
    intents: impl IntoIterator<Item = (LedgerId, AttemptId)>,
    referred: impl IntoIterator<Item = Referred>,
    now_ms: u64,
    grace: Duration,
) -> Findings {
    let mut findings = Findings::default();
    let mut attempts: HashMap<(LedgerId, AttemptId), Vec<(ObjectName, &Listed)>> = HashMap::new();
    for object in listed {
        match &object.name {
            Ok(name) => attempts.entry((name.ledger, name.attempt)).or_default().push((*name, object)),
            Err(name) => findings.unknown.push(name.clone()),
        }
    }
    let intents: HashSet<(LedgerId, AttemptId)> = intents.into_iter().collect();
    for referred in referred {
        let found = attempts.remove(&(referred.ledger, referred.attempt)).unwrap_or_default();
        findings.compare(referred, &found);
    }
    for (attempt, objects) in attempts {
        if intents.contains(&attempt) {
            findings.intended += objects.len() as u64;
            continue;
        }
        findings.orphans.extend(objects.into_iter().map(|(name, object)| {
            // One that is newer than now has no age: clocks differ, and nothing is removed on a guess.
            let age = Duration::from_millis(now_ms.saturating_sub(object.modified_ms));
            Orphan { name, bytes: object.bytes, age, removable: grace < age }
        }));
    }
    findings.orphans.sort_by_key(|orphan| orphan.name);
    findings
}

impl Findings {
    fn compare(&mut self, referred: Referred, found: &[(ObjectName, &Listed)]) {
        let hash = topic_hash(&referred.topic);
        let there: HashMap<u32, u64> = found
            .iter()
            .filter(|(name, _)| name.topic_hash == hash && name.number < referred.objects)
            .map(|(name, object)| (name.number, object.bytes))
            .collect();
        let foreign = found.iter().filter(|(name, _)| name.topic_hash != hash || referred.objects <= name.number);
        self.surplus.extend(foreign.map(|(name, _)| *name));
        let missing: Vec<u32> = (0..referred.objects).filter(|number| !there.contains_key(number)).collect();
        let bytes = there.values().sum();
        if !missing.is_empty() {
            let missing = missing.into_iter().map(|number| Missing { referred: referred.clone(), number });
            self.missing.extend(missing);
        } else if bytes != referred.bytes {
            self.wrong_size.push((referred, bytes));
        } else {
            self.sound += u64::from(referred.objects);
            self.sound_bytes += bytes;
        }
    }
}

/// Asks for each object that was not listed, and returns those that are really not there.
pub async fn still_missing(store: &Store, instance: &str, missing: Vec<Missing>) -> Result<Vec<Missing>, ObjectError> {
    let mut gone = Vec::new();
    for one in missing {
        let (Referred { topic, ledger, attempt, .. }, number) = (&one.referred, one.number);
        let name = ObjectName { topic_hash: topic_hash(topic), ledger: *ledger, attempt: *attempt, number };
        match fetch::size(store, &store.path(&name.path(instance))).await {
            Ok(_) => {}
            Err(ObjectError::NotFound { .. }) => gone.push(one),
            Err(error) => return Err(error),
        }
    }
    Ok(gone)
}

/// Removes the orphans that may be, and returns how many there were.
pub async fn remove_orphans(store: &Store, instance: &str, orphans: &[Orphan]) -> Result<u64, ObjectError> {
    let mut removed = 0;
    for orphan in orphans.iter().filter(|orphan| orphan.removable) {
        let path: Path = store.path(&orphan.name.path(instance));
        match persist(SMALL, store.jitter(), || store.objects().delete(&path)).await {
            Ok(()) | Err(Failed::Missing) => removed += 1,
            Err(failed) => return Err(failed.of(store.text(&path))),
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests;
