//! Faults of the network.
use std::time::Duration;

use daemon::Failure;

use super::Fault;
use super::report::Outcome;
use super::scene::{Scene, TOPIC};
use crate::cluster::{Bookie, Broker, Host};
use crate::deadline::under_load_for;

impl Scene {
    /// Cuts, waits, and mends.
    pub(super) async fn cut(&mut self, fault: Fault, pause: Duration) -> Result<Outcome, Failure> {
        match fault {
            Fault::BrokerCutOff | Fault::BrokerDeaf | Fault::BrokerMute => self.cut_broker(fault, pause).await,
            _ => {
                self.begin();
                match fault {
                    Fault::Bridge => self.cut_in_halves()?,
                    _ => self.cut_one(host(self.cluster.bookies[1].host())?, fault)?,
                }
                under_load_for(pause).await;
                self.mend()?;
                Ok(Outcome::default())
            }
        }
    }

    async fn cut_broker(&mut self, fault: Fault, pause: Duration) -> Result<Outcome, Failure> {
        let owner = self.owner(TOPIC).await?;
        let (topic, witness) = self.witness(owner).await?;
        self.begin();
        self.cut_one(host(self.cluster.brokers[owner].host())?, fault)?;
        let pausing = under_load_for(pause);
        self.taken_over(&topic, owner).await?;
        self.receipts("while the broker that served is cut off").await?;
        let before = witness.receipts();
        pausing.await;
        self.mend()?;
        Self::late(witness, before).await
    }

    fn cut_one(&self, one: &Host, fault: Fault) -> Result<(), Failure> {
        if matches!(fault, Fault::BookieMute | Fault::BookieCutOff | Fault::BrokerMute | Fault::BrokerCutOff) {
            for other in self.hosts().filter(|other| other.address() != one.address()) {
                other.ignore(one)?;
            }
        }
        if matches!(fault, Fault::BookieDeaf | Fault::BookieCutOff | Fault::BrokerDeaf | Fault::BrokerCutOff) {
            one.ignore_all()?;
        }
        Ok(())
    }

    fn cut_in_halves(&self) -> Result<(), Failure> {
        let half = |number: usize| -> Result<[&Host; 2], Failure> {
            Ok([host(self.cluster.brokers[number].host())?, host(self.cluster.bookies[number].host())?])
        };
        for one in half(0)? {
            for other in half(1)? {
                one.ignore(other)?;
                other.ignore(one)?;
            }
        }
        Ok(())
    }

    fn mend(&self) -> Result<(), Failure> {
        self.hosts().try_for_each(Host::hear_all)
    }

    fn hosts(&self) -> impl Iterator<Item = &Host> {
        let brokers = self.cluster.brokers.iter().filter_map(Broker::host);
        brokers.chain(self.cluster.bookies.iter().filter_map(Bookie::host)).chain(self.cluster.etcd.hosts())
    }
}

fn host(host: Option<&Host>) -> Result<&Host, Failure> {
    host.ok_or_else(|| Failure::internal("this cluster has no network of its own"))
}
