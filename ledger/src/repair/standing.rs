//! What an operator decides about bookies, and what follows from it: who is there, who is to go, and who may.
//!
//! Promises: a bookie is retired only when no ledger names it as a member, each of whose copies another has taken.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use metadata::{Error, Expect, MetadataStore, MetadataStoreExt, Operation, Transaction};
use prost::Message;
use proto::records::{BookieAvailability, BookieRecord, BookieStanding};
use proto::{BookieId, keys};

use super::survey;
use crate::directory;

/// Shorter beginnings of an identity name nobody.
const BEGINNING_MIN: usize = 4;

/// What is known of a bookie.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Which.
    pub bookie: BookieId,
    /// What was decided about it.
    pub record: BookieRecord,
    /// While it is registered.
    pub available: Option<BookieAvailability>,
    /// Ledgers that name it as a member. Of one that is to go, those are left to move.
    pub ledgers: u64,
}

impl Standing {
    /// Whether new ledgers may choose it.
    fn takes_ledgers(&self) -> bool {
        let writable = self.available.as_ref().is_some_and(|available| !available.read_only);
        self.record.standing() == BookieStanding::InService && writable
    }
}

/// Why a standing is not changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StandingError {
    /// Nobody is called so.
    #[error("there is no bookie `{0}`; `bookies list` shows those there are")]
    NotFound(String),
    /// Several are.
    #[error("`{0}` is the beginning of more than one bookie's name")]
    Ambiguous(String),
    /// It never comes back.
    #[error("bookie {0} is retired: its data are gone for good")]
    Retired(BookieId),
    /// Its ledgers would have nowhere to go.
    #[error(
        "without bookie {bookie} there are {left} that take entries, and a ledger needs {needed}: start another bookie first"
    )]
    TooFewOthers {
        /// That was to go.
        bookie: BookieId,
        /// Bookies in service that take entries.
        left: usize,
        /// Of an ensemble.
        needed: u32,
    },
    /// Metadata did not do it.
    #[error(transparent)]
    Metadata(#[from] Error),
}

/// All bookies, retired ones too, and how many ledgers name each.
pub async fn standings(metadata: &Arc<dyn MetadataStore>) -> Result<Vec<Standing>, Error> {
    let known = directory::read(metadata).await?;
    let survey = survey::survey(metadata.as_ref(), &known, &BTreeSet::new()).await?;
    let available: BTreeMap<String, BookieAvailability> = metadata
        .list_all(keys::BOOKIES_AVAILABLE)
        .await?
        .into_iter()
        .filter_map(|found| BookieAvailability::decode(found.value).ok())
        .map(|available| (available.bookie.clone(), available))
        .collect();
    let standing = |record: BookieRecord| {
        let bookie: BookieId = record.bookie.parse().ok()?;
        let ledgers = survey.named.get(&bookie).copied().unwrap_or(0);
        Some(Standing { available: available.get(&record.bookie).cloned(), bookie, record, ledgers })
    };
    let records = metadata.list_all(keys::BOOKIES).await?;
    Ok(records.into_iter().filter_map(|found| BookieRecord::decode(found.value).ok()).filter_map(standing).collect())
}

/// The one that is meant: by its identity, the beginning of it, or its address.
fn find<'a>(standings: &'a [Standing], name: &str) -> Result<&'a Standing, StandingError> {
    let is_at = |standing: &&Standing| standing.available.as_ref().is_some_and(|available| available.address == name);
    if let Some(found) = standings.iter().find(|standing| standing.bookie.as_str() == name || is_at(standing)) {
        return Ok(found);
    }
    let begins = |standing: &&Standing| BEGINNING_MIN <= name.len() && standing.bookie.as_str().starts_with(name);
    let mut found = standings.iter().filter(begins);
    match (found.next(), found.next()) {
        (Some(found), None) => Ok(found),
        (Some(_), Some(_)) => Err(StandingError::Ambiguous(name.into())),
        (None, _) => Err(StandingError::NotFound(name.into())),
    }
}

/// Goes as far with taking a bookie out of service as can be gone now: it is to be drained, and once no ledger names it any more, it is
/// retired. Repairs move what it holds. Repeat it until the answer says that it is retired. Refused while a ledger of `ensemble`
/// bookies could not do without it.
pub async fn decommission(
    metadata: &Arc<dyn MetadataStore>,
    name: &str,
    ensemble: u32,
) -> Result<Standing, StandingError> {
    let all = standings(metadata).await?;
    let found = find(&all, name)?;
    match found.record.standing() {
        BookieStanding::Retired => Ok(found.clone()),
        BookieStanding::InService => {
            let left = all.iter().filter(|other| other.bookie != found.bookie && other.takes_ledgers()).count();
            if left < ensemble as usize {
                return Err(StandingError::TooFewOthers { bookie: found.bookie.clone(), left, needed: ensemble });
            }
            // Not retired at once, even if it is empty: what is being created may name it, and is seen next time.
            set(metadata, found, BookieStanding::Draining).await
        }
        BookieStanding::Draining if 0 < found.ledgers => Ok(found.clone()),
        BookieStanding::Draining => set(metadata, found, BookieStanding::Retired).await,
    }
}

/// Takes a bookie that is being drained back into service.
pub async fn recommission(metadata: &Arc<dyn MetadataStore>, name: &str) -> Result<Standing, StandingError> {
    let all = standings(metadata).await?;
    let found = find(&all, name)?;
    match found.record.standing() {
        BookieStanding::Retired => Err(StandingError::Retired(found.bookie.clone())),
        BookieStanding::InService => Ok(found.clone()),
        BookieStanding::Draining => set(metadata, found, BookieStanding::InService).await,
    }
}

/// Only if nobody has decided otherwise meanwhile.
async fn set(
    metadata: &Arc<dyn MetadataStore>,
    found: &Standing,
    standing: BookieStanding,
) -> Result<Standing, StandingError> {
    let key = metadata::Key::from(keys::bookie(&found.bookie));
    let missing = || StandingError::NotFound(found.bookie.to_string());
    let stored = metadata.get(&key).await?.ok_or_else(missing)?;
    if BookieRecord::decode(stored.value.clone()).ok().as_ref() != Some(&found.record) {
        return Err(Error::Conflict { key }.into());
    }
    let mut record = found.record.clone();
    record.set_standing(standing);
    let put = Operation::put(key, record.encode_to_vec(), Expect::Version(stored.version));
    metadata.commit(Transaction::new(vec![put])).await?;
    tracing::info!(bookie = %found.bookie, ?standing, "what is wanted of a bookie has changed");
    Ok(Standing { record, ..found.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_bookies::FakeBookies;
    use crate::rig::{House, house, publish};

    async fn go(house: &House, bookie: usize) -> Result<(BookieStanding, u64), StandingError> {
        let standing = decommission(&house.metadata, FakeBookies::id(bookie).as_str(), 3).await?;
        Ok((standing.record.standing(), standing.ledgers))
    }

    async fn repair(house: &House) {
        let repairs = house.ledgers.repairs(crate::repair::RepairLimits::default());
        for finding in repairs.survey(&BTreeSet::new()).await.expect("metadata").findings {
            repairs.repair(finding.ledger, &BTreeSet::new()).await.expect("there is a spare");
        }
    }

    /// Goal: whoever is told that a bookie is retired may throw its disk away.
    #[tokio::test(start_paused = true)]
    async fn a_bookie_is_retired_once_every_ledger_has_left_it_and_not_before() {
        let house = house(4).await;
        let mut writer = house.create().await;
        publish(writer.as_mut(), 5, 100).await;
        writer.close().await.expect("all live");
        let ledger = writer.ledger();
        let member = house.members(ledger).await[0][0];
        assert_eq!(go(&house, member).await.unwrap(), (BookieStanding::Draining, 1));
        assert_eq!(go(&house, member).await.unwrap(), (BookieStanding::Draining, 1), "nobody has moved it");
        repair(&house).await;
        let now = house.members(ledger).await.remove(0);
        assert!(!now.contains(&member) && now.iter().all(|bookie| house.holds(*bookie, ledger, 0..5)), "{now:?}");
        assert_eq!(go(&house, member).await.unwrap(), (BookieStanding::Retired, 0));
        assert_eq!(go(&house, member).await.unwrap(), (BookieStanding::Retired, 0), "again is no fault");
        let back = recommission(&house.metadata, FakeBookies::id(member).as_str()).await;
        assert!(matches!(back, Err(StandingError::Retired(_))), "{back:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_an_ensemble_cannot_do_without_is_refused() {
        let house = house(4).await;
        house.bookies.set_read_only(&house.metadata, 3, true).await;
        let refused = go(&house, 0).await;
        assert!(matches!(refused, Err(StandingError::TooFewOthers { left: 2, needed: 3, .. })), "{refused:?}");
        house.bookies.set_read_only(&house.metadata, 3, false).await;
        assert_eq!(go(&house, 0).await.unwrap().0, BookieStanding::Draining);
        let refused = go(&house, 1).await;
        assert!(matches!(refused, Err(StandingError::TooFewOthers { left: 2, needed: 3, .. })), "{refused:?}");
        let back = recommission(&house.metadata, FakeBookies::id(0).as_str()).await.unwrap();
        assert_eq!(back.record.standing(), BookieStanding::InService);
        assert_eq!(go(&house, 1).await.unwrap().0, BookieStanding::Draining, "now another may go");
    }

    #[tokio::test(start_paused = true)]
    async fn a_bookie_is_named_by_what_is_unmistakable() {
        let house = house(3).await;
        let all = standings(&house.metadata).await.unwrap();
        assert_eq!(find(&all, "fake-1").unwrap().bookie, FakeBookies::id(1));
        assert!(matches!(find(&all, "fake-"), Err(StandingError::Ambiguous(_))));
        assert!(matches!(find(&all, "fak"), Err(StandingError::NotFound(_))), "too short");
        assert!(matches!(find(&all, "other"), Err(StandingError::NotFound(_))));
    }
}
