//! This broker's own key among the live brokers.
use metadata::{Error, Expect, Key, LeaseId, Operation, Record, Transaction};
use prost::Message;
use proto::keys;
use proto::records::BrokerRecord;
use std::time::Duration;
use tokio::time::{Instant, sleep};

use super::probe::Presence;
use super::{LEASE, Shared};

/// A key of someone who is gone goes within this time: the lease and what a store may add to it.
const VANISH_TIME: Duration = LEASE.saturating_add(Duration::from_secs(3));
const PAUSE: Duration = Duration::from_millis(200);

/// Why this broker is not registered.
#[derive(Debug, thiserror::Error)]
pub(super) enum RegistrationError {
    /// This process must end: it would fight with the other over every key.
    #[error(
        "another live broker has the address {} (its start is {}, since {}): set `advertised_address`, or stop the other",
        .0.broker, .0.start, .0.started_at
    )]
    Taken(BrokerRecord),
    /// Try again.
    #[error("metadata: {0}")]
    Metadata(#[from] Error),
}

/// Puts the key of this broker under `lease`. A key that an earlier start has left is replaced at once.
pub(super) async fn register(shared: &Shared, lease: LeaseId) -> Result<(), RegistrationError> {
    let deadline = Instant::now() + VANISH_TIME;
    loop {
        let found = shared.metadata.get(&key(shared)).await?;
        if let Some(record) = &found {
            let other = decode(record)?;
            if other.start != shared.me.start {
                match shared.probe.http(&other).await {
                    Presence::Start(start) if start == other.start => return Err(RegistrationError::Taken(other)),
                    Presence::Start(_) | Presence::Refused => {}
                    Presence::Unclear if Instant::now() < deadline => {
                        sleep(PAUSE).await;
                        continue;
                    }
                    Presence::Unclear => return Err(RegistrationError::Taken(other)), // Someone keeps it alive.
                }
            }
        }
        let expect = Expect::unchanged(found.as_ref());
        let put = Operation::put_leased(key(shared), shared.me.encode_to_vec(), expect, lease);
        match shared.metadata.commit(Transaction::new(vec![put])).await {
            Ok(_) => {
                shared.view.write().set_broker(&shared.me.broker, Some(shared.me.clone()));
                shared.wake();
                return Ok(());
            }
            Err(Error::Conflict { .. } | Error::OutcomeUnknown) => {} // Look again.
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes the key of this broker, if it is its own.
pub(super) async fn withdraw(shared: &Shared) -> Result<(), Error> {
    let Some(record) = shared.metadata.get(&key(shared)).await? else { return Ok(()) };
    if decode(&record)?.start == shared.me.start {
        let delete = Operation::delete(record.key.clone(), Expect::Version(record.version));
        shared.metadata.commit(Transaction::new(vec![delete])).await?;
    }
    Ok(())
}

fn key(shared: &Shared) -> Key {
    Key::from(keys::broker(&shared.me.broker))
}

pub(super) fn decode(record: &Record) -> Result<BrokerRecord, Error> {
    BrokerRecord::decode(record.value.clone()).map_err(|_| Error::Corrupt { key: record.key.clone() })
}
