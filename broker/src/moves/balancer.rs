//! The shell around [`Balance`]: asks brokers what they carry, and moves what should be moved.
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use daemon::Drain;
use daemon::metrics::{Kind, MetricText};
use futures::future::try_join_all;
use parking_lot::Mutex;
use proto::NamespaceName;
use proto::records::BrokerRecord;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::balance::{Balance, BundleLoad, LOOK_EVERY, Proposal};
use super::{ANSWER_TIME, MoveError, Moves};
use crate::Clock;
use crate::ownership::Bundle;

/// Moves that are remembered to be shown.
const SHOWN_MAX: usize = 200;

/// What was done, for people.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Made {
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    pub(crate) bundle: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) reason: String,
    /// Why it did not happen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<String>,
}

/// What a broker knows of balance.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Shown {
    pub(crate) moves_per_min: u32,
    /// Who decides.
    pub(crate) decides: String,
    /// What each broker carries, as of the last look.
    pub(crate) loads: BTreeMap<String, f64>,
    /// The latest last.
    pub(crate) moves: VecDeque<Made>,
    /// Since this broker started.
    pub(crate) moves_made: u64,
}

/// Balances load, while this broker is the first of all. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Balancer {
    moves: Moves,
    clock: Clock,
    moves_per_min: u32,
    /// A lock and no task: written once a look, read by pages.
    shown: Arc<Mutex<Shown>>,
}

impl Balancer {
    pub(crate) fn new(moves: Moves, clock: Clock, moves_per_min: u32) -> Self {
        let shown = Shown { moves_per_min, ..Shown::default() };
        Self { moves, clock, moves_per_min, shown: Arc::new(Mutex::new(shown)) }
    }

    /// Runs until `drain`.
    pub(crate) async fn work(self, drain: Drain) {
        if self.moves_per_min == 0 {
            return;
        }
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut balance = Balance::new(self.moves_per_min);
        loop {
            tokio::select! {
                () = drain.requested() => return,
                _ = looks.tick() => {}
            }
            let brokers = self.moves.ownership.brokers();
            if !self.is_first(&brokers) || brokers.len() < 2 {
                balance = Balance::new(self.moves_per_min);
                continue;
            }
            tokio::select! {
                () = drain.requested() => return,
                () = self.look(&mut balance, &brokers) => {}
            }
        }
    }

    fn is_first(&self, brokers: &[BrokerRecord]) -> bool {
        brokers.first().is_some_and(|first| first.start == self.moves.ownership.me().start)
    }

    async fn look(&self, balance: &mut Balance, brokers: &[BrokerRecord]) {
        let seen = match self.loads(brokers).await {
            Ok(seen) => seen,
            Err(error) => return tracing::debug!(%error, "the load of all brokers is not known"),
        };
        let proposals = balance.look(&seen, Instant::now());
        {
            let mut shown = self.shown.lock();
            shown.decides = self.moves.ownership.me().http.clone();
            shown.loads = balance.loads(brokers.iter().map(|broker| broker.broker.clone()));
        }
        for proposal in proposals {
            self.carry_out(proposal, brokers).await;
        }
    }

    async fn carry_out(&self, proposal: Proposal, brokers: &[BrokerRecord]) {
        let Proposal { bundle, from, to, reason } = proposal;
        let named = |name: &str| brokers.iter().find(|broker| broker.broker == name);
        let (Some(from), Some(to)) = (named(&from), named(&to)) else { return };
        let moved = self.moves.move_between(&bundle, from, to).await;
        match &moved {
            Ok(()) => {
                tracing::info!(%bundle, from = from.broker, to = to.broker, reason, "balance: a bundle was moved")
            }
            Err(error) => tracing::warn!(%bundle, %error, reason, "balance: a bundle was not moved"),
        }
        let made = Made {
            at: self.clock.now_ms(),
            bundle: bundle.to_string(),
            from: from.broker.clone(),
            to: to.broker.clone(),
            reason,
            failed: moved.err().map(|error| error.to_string()),
        };
        let mut shown = self.shown.lock();
        shown.moves_made += u64::from(made.failed.is_none());
        shown.moves.push_back(made);
        if SHOWN_MAX < shown.moves.len() {
            shown.moves.pop_front();
        }
    }

    /// What every broker carries; an error when one does not say.
    async fn loads(&self, brokers: &[BrokerRecord]) -> Result<Vec<(String, Vec<BundleLoad>)>, MoveError> {
        try_join_all(brokers.iter().map(|broker| async move {
            let load = match broker.start == self.moves.ownership.me().start {
                true => self.moves.load().await,
                false => self.moves.load_of(broker).await?,
            };
            Ok((broker.broker.clone(), load))
        }))
        .await
    }

    /// What was done and why, as the broker knows that decides.
    pub(crate) async fn shown(&self) -> Result<Shown, MoveError> {
        let brokers = self.moves.ownership.brokers();
        match brokers.first() {
            Some(first) if !self.is_first(&brokers) => {
                self.moves.ask(first, "geminga/moves?here=true", ANSWER_TIME).await
            }
            _ => Ok(self.shown_here()),
        }
    }

    /// As this broker knows it.
    pub(crate) fn shown_here(&self) -> Shown {
        self.shown.lock().clone()
    }

    /// The bundle of a namespace with the most traffic, if there is any.
    pub(crate) async fn hottest(&self, namespace: &NamespaceName) -> Result<Option<Bundle>, MoveError> {
        let seen = self.loads(&self.moves.ownership.brokers()).await?;
        let all = seen.into_iter().flat_map(|(_, loads)| loads).filter(|load| 0.0 < load.bytes);
        let inside = all.filter_map(|load| Some((load.bundle.parse::<Bundle>().ok()?, load.bytes)));
        let inside = inside.filter(|(bundle, _)| bundle.namespace == *namespace);
        Ok(inside.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(bundle, _)| bundle))
    }

    /// `pulsar_lb_unload_bundle_total`: bundles that this broker has moved to balance load.
    pub(crate) fn render(&self, cluster: &str, page: &mut MetricText) {
        let made = self.shown.lock().moves_made;
        page.family("pulsar_lb_unload_bundle_total", Kind::Counter, "bundles moved to balance load")
            .sample(&[("cluster", cluster)], made as f64);
    }
}

impl Moves {
    /// What each bundle of this broker carries.
    pub(crate) async fn load(&self) -> Vec<BundleLoad> {
        let mut loads: BTreeMap<Bundle, BundleLoad> = BTreeMap::new();
        for bundle in self.ownership.bundles() {
            let load = BundleLoad { bundle: bundle.to_string(), topics: 0, messages: 0.0, bytes: 0.0 };
            loads.insert(bundle, load);
        }
        for topic in self.topics.loaded() {
            let Ok(cut) = self.ownership.bundles_of(topic.name().namespace()).await else { continue };
            let bundle = Bundle { namespace: topic.name().namespace().clone(), range: cut.of(topic.name()) };
            let (Some(load), Ok(stats)) = (loads.get_mut(&bundle), topic.stats().await) else { continue };
            load.topics += 1;
            load.messages += stats.msg_rate_in + stats.msg_rate_out;
            load.bytes += stats.msg_throughput_in + stats.msg_throughput_out;
        }
        loads.into_values().collect()
    }

    async fn load_of(&self, broker: &BrokerRecord) -> Result<Vec<BundleLoad>, MoveError> {
        self.ask(broker, "geminga/load", ANSWER_TIME).await
    }

    /// Has `from` hand a bundle over to `to`.
    async fn move_between(&self, bundle: &Bundle, from: &BrokerRecord, to: &BrokerRecord) -> Result<(), MoveError> {
        if from.start == self.ownership.me().start {
            return self.release(bundle, Some(to.clone())).await.map(drop);
        }
        self.ask_to_release(from, bundle, to).await
    }
}
