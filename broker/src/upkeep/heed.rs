//! Telling loaded topics what has changed of their policies, on whichever broker that was.
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use daemon::Drain;
use metadata::Error;
use proto::{NamespaceName, keys};

use super::Upkeep;
use crate::topic::TopicHandle;

/// Before a watch that ended is taken anew.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

impl Upkeep {
    /// Runs until `drain`.
    pub(super) async fn tell_changes(&self, drain: &Drain) {
        loop {
            let ended = tokio::select! {
                () = drain.requested() => return,
                ended = self.tell_until_the_watch_ends() => ended,
            };
            if let Err(error) = ended {
                tracing::info!(%error, "policies of loaded topics are read again");
            }
            tokio::select! {
                () = drain.requested() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    async fn tell_until_the_watch_ends(&self) -> Result<(), Error> {
        let mut watch = self.policies.watch().await?;
        self.tell(self.topics.loaded()).await?; // What changed before is not told again.
        loop {
            let changed: HashSet<String> =
                watch.next().await?.iter().map(|event| event.key.as_str().to_owned()).collect();
            let concerned = |topic: &TopicHandle| {
                let name = topic.name();
                changed.contains(&keys::namespace_policies(name.namespace()))
                    || changed.contains(&keys::topic_policies(&name.partitioned()))
            };
            self.policies.note_change();
            self.tell(self.topics.loaded().into_iter().filter(concerned).collect()).await?;
        }
    }

    async fn tell(&self, topics: Vec<TopicHandle>) -> Result<(), Error> {
        let mut by_namespace: BTreeMap<NamespaceName, Vec<TopicHandle>> = BTreeMap::new();
        for topic in topics {
            by_namespace.entry(topic.name().namespace().clone()).or_default().push(topic);
        }
        for (namespace, topics) in by_namespace {
            let policies = self.policies.of_namespace(&namespace).await?;
            for topic in topics {
                match policies.effective(topic.name()) {
                    Ok(wanted) => topic.heed(wanted.terms(), self.clock.now_ms()),
                    Err(error) => tracing::warn!(topic = %topic.name(), %error, "policies cannot be read"),
                }
            }
        }
        Ok(())
    }
}
