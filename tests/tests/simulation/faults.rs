//! What goes wrong, one thing after the other and several at once.
use std::sync::Arc;
use std::time::Duration;

use proto::records::BookieStanding;
use tokio::time::sleep;

use crate::wires::Way;
use crate::world::World;

impl World {
    /// Lets things go wrong for so long. Each is over after a while of its own.
    pub(crate) async fn suffer(self: &Arc<Self>, time: Duration) {
        let start = tokio::time::Instant::now();
        while start.elapsed() < time {
            sleep(self.chance.millis(50, 3000)).await;
            let (world, node) = (self.clone(), self.chance.index(self.nodes.len()));
            match self.chance.below(12) {
                0 | 1 => drop(tokio::spawn(async move { world.power_fails(node).await })),
                2 => drop(tokio::spawn(async move { world.bookie_is_killed(node).await })),
                3 => drop(tokio::spawn(async move { world.bookie_stands_still(node).await })),
                4 | 5 => drop(tokio::spawn(async move { world.network_parts(node).await })),
                6 => drop(tokio::spawn(async move { world.bookie_is_slow(node).await })),
                7 => drop(tokio::spawn(async move { world.metadata_is_away().await })),
                8 => {
                    self.chance.saw("leases that ended although their bookie lived");
                    self.nodes[node].announce(false).await;
                    tokio::spawn(async move { world.announce_again(node).await });
                }
                9 => {
                    let process = self.process();
                    self.chance.saw("processes that stood still");
                    process.pause(self.chance.millis(1000, 60_000));
                }
                10 => self.process_restarts().await,
                _ => {
                    let process = self.chance.index(self.count());
                    self.chance.saw("connections that broke");
                    self.network.break_wires(process, node);
                }
            }
        }
    }

    async fn power_fails(self: Arc<Self>, node: usize) {
        let node = &self.nodes[node];
        self.chance.saw("bookies without power");
        if self.chance.happens(2) {
            node.end_within(self.chance.below(6));
            sleep(self.chance.millis(1, 2000)).await;
        }
        node.end(true);
        self.come_back(node.number).await;
    }

    async fn bookie_is_killed(self: Arc<Self>, node: usize) {
        self.chance.saw("bookies killed");
        self.nodes[node].end(false);
        self.come_back(node).await;
    }

    /// Its lease ends after a while, and then it starts again.
    pub(crate) async fn come_back(&self, node: usize) {
        let away = self.chance.millis(50, if self.chance.happens(4) { 60_000 } else { 4000 });
        if Duration::from_secs(2) < away {
            sleep(Duration::from_secs(2)).await;
            if !self.nodes[node].is_up() {
                self.nodes[node].announce(false).await;
            }
        }
        sleep(away.saturating_sub(Duration::from_secs(2))).await;
        self.nodes[node].start().await;
    }

    async fn bookie_stands_still(self: Arc<Self>, node: usize) {
        self.chance.saw("bookies that stood still");
        self.nodes[node].pause(true);
        sleep(self.chance.millis(500, 60_000)).await;
        self.nodes[node].pause(false);
    }

    async fn bookie_is_slow(self: Arc<Self>, node: usize) {
        self.chance.saw("slow bookies");
        self.nodes[node].slow_down(50);
        sleep(self.chance.millis(500, 20_000)).await;
        self.nodes[node].slow_down(1);
    }

    async fn network_parts(self: Arc<Self>, node: usize) {
        self.chance.saw("partitions");
        let process = self.chance.index(self.count());
        let ways: &[Way] = match self.chance.below(3) {
            0 => &[Way::ToBookie],
            1 => &[Way::FromBookie],
            _ => &[Way::ToBookie, Way::FromBookie],
        };
        ways.iter().for_each(|way| self.network.cut(process, node, *way));
        sleep(self.chance.millis(200, 30_000)).await;
        if self.chance.happens(2) {
            self.network.break_wires(process, node);
        }
        ways.iter().for_each(|way| self.network.mend(process, node, *way));
    }

    async fn metadata_is_away(self: Arc<Self>) {
        self.chance.saw("processes without metadata");
        let process = self.process();
        process.metadata.set_away(true);
        sleep(self.chance.millis(500, 15_000)).await;
        process.metadata.set_away(false);
    }

    async fn announce_again(self: Arc<Self>, node: usize) {
        sleep(self.chance.millis(100, 5000)).await;
        if self.nodes[node].is_up() {
            self.nodes[node].announce(true).await;
        }
    }

    /// One bookie's disk is gone for good. An operator says so after a while.
    pub(crate) async fn lose_a_bookie(self: &Arc<Self>) {
        let node = self.nodes[self.chance.index(self.nodes.len())].clone();
        self.chance.saw("bookies lost for good");
        node.lose();
        sleep(Duration::from_secs(2)).await;
        node.announce(false).await;
        sleep(self.chance.millis(5000, 60_000)).await;
        self.gone.lock().insert(node.identity.bookie.clone());
        node.write_standing(BookieStanding::Retired).await;
    }
}
