//! A cluster loses a bookie and a broker and moves a bundle, all under load.
use std::path::PathBuf;
use std::time::Duration;

use daemon::Failure;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::{Keeping, Load, Report};
use crate::cluster::{Admin, Cluster, Shape};
use crate::deadline::{eventually, under_load_for};

const NAMESPACE: &str = "public/default";
const TOPIC: &str = "public/default/crash";
const MOVED_WITHIN: Duration = Duration::from_secs(30);

/// How often and where.
#[derive(Debug, Clone)]
pub struct ClusterRun {
    /// Bookies killed and started again.
    pub bookie_kills: usize,
    /// Owning brokers killed and started again.
    pub broker_kills: usize,
    /// Moves of the topic's bundle from broker to broker.
    pub moves: usize,
    /// Entries of a ledger before the next begins.
    pub ledger_entries_max: u64,
    /// Whether consumed ledgers stay.
    pub keeping: Keeping,
    /// Of the random moments.
    pub seed: u64,
    /// For data and output. Must be there.
    pub directory: PathBuf,
}

#[derive(Debug, Clone, Copy)]
enum Blow {
    Bookie,
    Broker,
    Move,
}

/// Strikes in random order while messages are published and acknowledged.
pub async fn crash_cluster(run: &ClusterRun) -> Result<Report, Failure> {
    let mut rng = SmallRng::seed_from_u64(run.seed);
    let mut shape = Shape::default();
    shape.broker_settings.push(format!("ledger_entries_max={}", run.ledger_entries_max));
    let mut cluster = Cluster::start(&run.directory, &shape).await?;
    let load = Load::start(cluster.addresses(), &cluster.brokers[0].admin(), run.keeping, run.seed).await?;
    let mut blows = vec![Blow::Bookie; run.bookie_kills];
    blows.extend(vec![Blow::Broker; run.broker_kills]);
    blows.extend(vec![Blow::Move; run.moves]);
    blows.shuffle(&mut rng);
    for (index, blow) in blows.iter().enumerate() {
        load.receipts_grow_by(200, &format!("before blow {}", index + 1)).await?;
        under_load_for(Duration::from_millis(rng.random_range(0..1000))).await;
        let done = match blow {
            Blow::Bookie => {
                let victim = rng.random_range(0..cluster.bookies.len());
                kill_bookie(&mut cluster, victim, &load).await?
            }
            Blow::Broker => kill_owner(&mut cluster, &load).await?,
            Blow::Move => move_bundle(&cluster.brokers[rng.random_range(0..cluster.brokers.len())].admin()).await?,
        };
        println!("blow {} of {}: {done}", index + 1, blows.len());
    }
    load.receipts_grow_by(200, "at the end").await?;
    load.finish().await
}

/// Two of three bookies are enough: receipts must come while the third is away.
async fn kill_bookie(cluster: &mut Cluster, victim: usize, load: &Load) -> Result<String, Failure> {
    cluster.bookies[victim].process().kill();
    load.receipts_grow_by(500, "while a bookie is away").await?;
    cluster.bookies[victim].restart().await?;
    load.restarted();
    Ok(format!("bookie {victim} killed and started again"))
}

async fn kill_owner(cluster: &mut Cluster, load: &Load) -> Result<String, Failure> {
    let (owner, _) = cluster.brokers[0].admin().owner(TOPIC).await?;
    let victim = cluster.brokers.iter().position(|broker| broker.address() == owner);
    let victim =
        victim.ok_or_else(|| Failure::internal(format!("{owner} owns the topic and is none of the brokers")))?;
    cluster.brokers[victim].process().kill();
    load.receipts_grow_by(500, "while the owning broker is away").await?;
    cluster.brokers[victim].restart().await?;
    load.restarted();
    Ok(format!("broker {victim} killed and started again"))
}

async fn move_bundle(admin: &Admin) -> Result<String, Failure> {
    let (_, from) = admin.owner(TOPIC).await?;
    let to = admin.brokers().await?.into_iter().find(|broker| *broker != from);
    let to = to.ok_or_else(|| Failure::internal(format!("there is no broker beside {from}")))?;
    let bundle = admin.bundle(TOPIC).await?;
    admin.move_bundle(NAMESPACE, &bundle, &to).await?;
    let what = format!("bundle {bundle} is at {to}");
    eventually(&what, MOVED_WITHIN, async || {
        admin.owner(TOPIC).await.is_ok_and(|(_, owner)| owner == to).then_some(())
    })
    .await?;
    Ok(format!("{what}, was at {from}"))
}
