//! Who this bookie is to the cluster: an identity for life, and an availability for as long as it serves.
use std::sync::Arc;
use std::time::Duration;

use daemon::{Drain, Health};
use metadata::{Error, Expect, Key, MetadataStore, Operation, Transaction};
use prost::Message;
use proto::keys;
use proto::records::{BookieAvailability, BookieRecord, BookieStanding, ClusterRecord, IdBlock};

use crate::disk::Disk;
use crate::error::OpenError;
use crate::format::SegmentId;
use crate::fullness::Capacity;
use crate::handle::Handle;
use crate::identity::{self, Identity};
use crate::limbo::{self, Note};
use crate::segments::set_aside;

/// Long enough for a pause of the process, short enough that new ledgers soon avoid a dead bookie.
const LEASE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(1);
/// Names that are stored on disk are bounded.
const INSTANCE_BYTES_MAX: usize = 64;

/// Claims the directory for this process and settles whose it is. An empty one gets a new identity, which is durable before it is
/// registered; one with data is refused unless this cluster's metadata knows it.
pub async fn identify(
    metadata: &dyn MetadataStore,
    disk: &Arc<dyn Disk>,
    rack: &str,
    now_ms: u64,
) -> Result<Identity, OpenError> {
    let place = disk.place();
    let known = get::<ClusterRecord>(metadata, keys::CLUSTER.into()).await?;
    let stored = claim(disk.as_ref())?;
    let identity = match (stored, known) {
        (Some(identity), Some(cluster)) if identity.cluster == cluster.instance => identity,
        (Some(identity), Some(cluster)) => {
            return Err(OpenError::OtherCluster { place, found: identity.cluster, expected: cluster.instance });
        }
        // Metadata without a cluster was wiped, or is the wrong one: this bookie must not be the one to begin a new cluster in it.
        (Some(identity), None) => {
            return Err(OpenError::Forgotten { place, bookie: identity.bookie.to_string() });
        }
        (None, known) => {
            let cluster = match known {
                Some(cluster) => cluster,
                None => begin_cluster(metadata, now_ms).await?,
            };
            let bookie = uuid::Uuid::new_v4().to_string().parse().expect("a UUID is a bookie id");
            let identity = Identity { bookie, cluster: cluster.instance, created_at: now_ms };
            identity.store(disk.as_ref())?;
            identity
        }
    };
    let key = Key::from(keys::bookie(&identity.bookie));
    let known = get::<BookieRecord>(metadata, key.clone()).await?;
    if known.as_ref().is_some_and(|record| record.standing() == BookieStanding::Retired) {
        return Err(OpenError::Retired { place, bookie: identity.bookie.to_string() });
    }
    if known.is_none() {
        let names = disk.list().map_err(|error| OpenError::disk(place.clone(), "list", error))?;
        // Without data it is a first start that was cut short before it had registered.
        if names.iter().any(|name| SegmentId::from_file_name(name).is_some()) {
            return Err(OpenError::Forgotten { place, bookie: identity.bookie.to_string() });
        }
        let bookie = identity.bookie.to_string();
        let record =
            BookieRecord { bookie, created_at: identity.created_at, rack: rack.into(), ..BookieRecord::default() };
        let put = Operation::put(key, record.encode_to_vec(), Expect::Absent);
        metadata.commit(Transaction::new(vec![put])).await?;
    }
    Ok(identity)
}

/// Takes the directory for this process. Where only the name is lost, what it held says whose it is; more may be lost with it.
fn claim(disk: &dyn Disk) -> Result<Option<Identity>, OpenError> {
    let error = match Identity::claim(disk) {
        Err(error @ (OpenError::IdentityMissing { .. } | OpenError::Corrupt { .. })) => error,
        claimed => return claimed,
    };
    let fault = |error| OpenError::disk(disk.place().join(identity::NAME), "restore", error);
    let Some(found) = Identity::found_in(disk).map_err(fault)? else { return Err(error) };
    tracing::error!(%error, bookie = %found.bookie, "all files that name a bookie name the same: it is this one");
    limbo::store_note(disk, Note::Unmarked)?;
    if matches!(error, OpenError::Corrupt { .. }) {
        set_aside(disk, identity::NAME).map_err(fault)?;
    }
    found.store(disk)?;
    Ok(Some(found))
}

/// The first process of a cluster makes its instance id; all others find it.
async fn begin_cluster(metadata: &dyn MetadataStore, now_ms: u64) -> Result<ClusterRecord, Error> {
    let record = ClusterRecord { instance: uuid::Uuid::new_v4().to_string(), created_at: now_ms };
    let put = Operation::put(keys::CLUSTER, record.encode_to_vec(), Expect::Absent);
    match metadata.commit(Transaction::new(vec![put])).await {
        Ok(_) | Err(Error::Conflict { .. }) => {}
        Err(error) => return Err(error),
    }
    let found = get::<ClusterRecord>(metadata, keys::CLUSTER.into()).await?;
    found.ok_or(Error::Conflict { key: keys::CLUSTER.into() })
}

/// Records are read with the bounds that a file's header has.
async fn get<M: Message + Default>(metadata: &dyn MetadataStore, key: Key) -> Result<Option<M>, Error> {
    let Some(record) = metadata.get(&key).await? else { return Ok(None) };
    match M::decode(record.value.clone()) {
        Ok(decoded) if key.as_str() != keys::CLUSTER || record.value.len() < 2 * INSTANCE_BYTES_MAX => {
            Ok(Some(decoded))
        }
        _ => Err(Error::Corrupt { key }),
    }
}

/// Refuses metadata that have not given out the ids of all ledgers that lie here. Ids are given out in blocks, so a snapshot that is
/// older than the newest block but for nothing else passes.
pub async fn refuse_older(metadata: &dyn MetadataStore, handle: &Handle) -> Result<(), OpenError> {
    let Some(ledger) = handle.highest_ledger() else { return Ok(()) };
    let given_out = get::<IdBlock>(metadata, keys::LEDGER_IDS.into()).await?;
    let next = given_out.map_or(1, |block| block.next);
    if ledger.0 < next { Ok(()) } else { Err(OpenError::MetadataOlder { ledger, next }) }
}

/// Keeps the bookie available until the drain is asked for, then withdraws it. A lost lease is taken again, unless the metadata have
/// become [older](refuse_older) meanwhile, and what the disk allows is told when it changes notably.
pub async fn keep_available(
    metadata: Arc<dyn MetadataStore>,
    identity: Identity,
    mut availability: BookieAvailability,
    handle: Handle,
    health: Health,
    drain: Drain,
) {
    let mut announced = false;
    while !drain.is_requested() {
        let mut told = handle.capacity();
        let announced_now = async {
            refuse_older(metadata.as_ref(), &handle).await?;
            let lease = metadata.lease(LEASE).await?;
            announce(metadata.as_ref(), &identity, &mut availability, told, &lease).await?;
            Ok::<_, OpenError>(lease)
        };
        let mut lease = match announced_now.await {
            Ok(lease) => lease,
            Err(error) => {
                tracing::warn!(%error, "cannot register as available");
                health.failing("registration", error.to_string());
                tokio::select! {
                    () = drain.requested() => return,
                    () = tokio::time::sleep(PAUSE) => continue,
                }
            }
        };
        health.ok("registration");
        if !announced {
            announced = true;
            tracing::info!(bookie = %identity.bookie, address = availability.address, "registered");
        }
        loop {
            tokio::select! {
                () = drain.requested() => {
                    lease.revoke().await;
                    return;
                }
                () = lease.lost() => {
                    health.failing("registration", "the lease was lost");
                    break;
                }
                () = tokio::time::sleep(PAUSE) => {}
            }
            let now = handle.capacity();
            if now.is_news_after(&told) {
                match announce(metadata.as_ref(), &identity, &mut availability, now, &lease).await {
                    Ok(()) => told = now,
                    Err(error) => tracing::warn!(%error, "cannot tell how full the disk is"), // Else the lease's end tells.
                }
            }
        }
    }
}

async fn announce(
    metadata: &dyn MetadataStore,
    identity: &Identity,
    availability: &mut BookieAvailability,
    capacity: Capacity,
    lease: &metadata::Lease,
) -> Result<(), Error> {
    let Capacity { read_only, room } = capacity;
    (availability.read_only, availability.free_bytes, availability.total_bytes) = (read_only, room.free, room.total);
    let put = Operation::Put {
        key: keys::bookie_available(&identity.bookie).into(),
        value: availability.encode_to_vec().into(),
        // The directory's lock has decided who this identity is; what is there is this bookie's own, of an earlier start.
        expect: Expect::Any,
        lease: Some(lease.id()),
    };
    metadata.commit(Transaction::new(vec![put])).await?;
    Ok(())
}
