//! Faults that happen to processes.
use std::time::Duration;

use daemon::Failure;

use super::report::Outcome;
use super::scene::{Scene, TOPIC};
use super::{Fault, FaultsRun};
use crate::deadline::{eventually, under_load_for};

const NAMESPACE: &str = "public/default";
const MOVED_WITHIN: Duration = Duration::from_secs(30);
const DRAINED_WITHIN: Duration = Duration::from_secs(60);

impl Scene {
    /// Does what is no fault of the network.
    pub(super) async fn strike(&mut self, fault: Fault, run: &FaultsRun) -> Result<Outcome, Failure> {
        match fault {
            Fault::BookieKilled => self.bookie_killed(run.pause).await?,
            Fault::BrokerKilled => self.broker_killed().await?,
            Fault::BookieStandsStill => {
                self.begin();
                self.cluster.bookies[1].process().stand_still()?;
                under_load_for(run.pause).await;
                self.cluster.bookies[1].process().go_on()?;
            }
            Fault::BrokerStandsStill => return self.broker_stands_still(run.pause).await,
            Fault::EtcdLeaderKilled => {
                self.begin();
                self.cluster.etcd.leader().await?.kill();
                under_load_for(run.pause).await;
                self.cluster.etcd.restart().await?;
            }
            Fault::EtcdStopped => {
                self.begin();
                self.cluster.etcd.process().kill();
                under_load_for(run.etcd_pause).await;
                self.cluster.etcd.restart().await?;
            }
            Fault::RollingRestart => self.rolling_restart().await?,
            Fault::Moves => return self.moves(run.moves).await,
            other => return Err(Failure::internal(format!("{other:?} is a fault of the network"))),
        }
        Ok(Outcome::default())
    }

    async fn bookie_killed(&mut self, pause: Duration) -> Result<(), Failure> {
        self.begin();
        self.cluster.bookies[1].process().kill();
        under_load_for(pause).await;
        self.cluster.bookies[1].restart().await?;
        self.load.restarted();
        Ok(())
    }

    async fn broker_killed(&mut self) -> Result<(), Failure> {
        let owner = self.owner(TOPIC).await?;
        self.begin();
        self.cluster.brokers[owner].process().kill();
        self.receipts("while the broker that served is away").await?;
        self.cluster.brokers[owner].restart().await?;
        self.load.restarted();
        Ok(())
    }

    async fn broker_stands_still(&mut self, pause: Duration) -> Result<Outcome, Failure> {
        let owner = self.owner(TOPIC).await?;
        let (topic, witness) = self.witness(owner).await?;
        self.begin();
        self.cluster.brokers[owner].process().stand_still()?;
        let pausing = under_load_for(pause);
        self.taken_over(&topic, owner).await?;
        self.receipts("while the broker that served stands still").await?;
        let before = witness.receipts();
        pausing.await;
        self.cluster.brokers[owner].process().go_on()?;
        Self::late(witness, before).await
    }

    async fn rolling_restart(&mut self) -> Result<(), Failure> {
        self.begin();
        for broker in &mut self.cluster.brokers {
            broker.process().drain(DRAINED_WITHIN).await?;
            broker.restart().await?;
            self.load.restarted();
            self.load.receipts_grow_by(1000, "after a broker has started again").await?;
        }
        for bookie in &mut self.cluster.bookies {
            bookie.process().drain(DRAINED_WITHIN).await?;
            bookie.restart().await?;
            self.load.restarted();
            self.load.receipts_grow_by(1000, "after a bookie has started again").await?;
        }
        Ok(())
    }

    async fn moves(&mut self, times: u32) -> Result<Outcome, Failure> {
        let admin = self.cluster.brokers[0].admin();
        let bundle = admin.bundle(TOPIC).await?;
        self.begin();
        let mut gaps = Vec::new();
        for time in 0..times {
            let (_, from) = admin.owner(TOPIC).await?;
            let to = admin.brokers().await?.into_iter().find(|broker| *broker != from);
            let to = to.ok_or_else(|| Failure::internal(format!("there is no broker beside {from}")))?;
            self.load.take_gap();
            admin.move_bundle(NAMESPACE, &bundle, &to).await?;
            let there = async || admin.owner(TOPIC).await.is_ok_and(|(_, owner)| owner == to).then_some(());
            eventually("the bundle is where it was sent", MOVED_WITHIN, there).await?;
            self.load.receipts_grow_by(50, &format!("after move {time}")).await?;
            gaps.push(self.load.take_gap());
        }
        Ok(Outcome { gaps, ..Outcome::default() })
    }
}
