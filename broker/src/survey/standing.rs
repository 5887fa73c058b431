//! What is where, from the records alone.
use proto::NamespaceName;
use proto::records::TopicRecord;

use super::pages::{Status, TopicStanding};
use super::{Survey, SurveyError};
use crate::log::{Chain, chain_of, offload_due};
use crate::policies::{OfNamespace, Policies};
use crate::upkeep::Tiering;

impl Survey {
    /// Adds up all topics. `copies` are those of a new ledger.
    pub(crate) async fn status(
        &self,
        policies: &Policies,
        tiering: &Tiering,
        copies: u64,
    ) -> Result<Status, SurveyError> {
        let instance = self.tier.instance().await?;
        let now_ms = self.clock.now_ms();
        let mut chains = Vec::new();
        self.each_topic(|topic, record| {
            if record.ledgers.iter().any(|listed| listed.sealed_at != 0) {
                let corrupt = |_| metadata::Error::Corrupt { key: proto::keys::topic(topic).into() };
                chains.push((topic.clone(), chain_of(topic, record, &instance).map_err(corrupt)?));
            }
            Ok(())
        })
        .await?;
        let mut status = Status::default();
        let mut of_namespace: Option<(NamespaceName, OfNamespace)> = None;
        for (topic, chain) in chains {
            let read = match of_namespace.take() {
                Some((namespace, read)) if namespace == *topic.namespace() => read,
                _ => policies.of_namespace(topic.namespace()).await?,
            };
            let moving = tiering.wanted(&read.effective(&topic)?).moving;
            of_namespace = Some((topic.namespace().clone(), read));
            let due = offload_due(&chain, &moving, now_ms);
            let standing = status.add(&chain, &due, copies, now_ms);
            if standing != TopicStanding::default() {
                status.topics.push(TopicStanding { topic: topic.to_string(), ..standing });
            }
        }
        Ok(status)
    }

    /// Bytes that stores keep, by the records.
    pub(crate) async fn stored_bytes(&self) -> Result<u64, SurveyError> {
        let mut bytes = 0;
        let of = |record: &TopicRecord| -> u64 {
            record.ledgers.iter().filter_map(|listed| listed.offloaded.as_ref()).map(|offloaded| offloaded.bytes).sum()
        };
        self.each_topic(|_, record| {
            bytes += of(record);
            Ok(())
        })
        .await?;
        Ok(bytes)
    }
}

impl Status {
    fn add(&mut self, chain: &Chain, due: &[proto::LedgerId], copies: u64, now_ms: u64) -> TopicStanding {
        let mut standing = TopicStanding::default();
        for listed in chain.ledgers() {
            let Some(sealed_at) = listed.sealed_at else { continue };
            if listed.objects.is_some() {
                standing.offloaded_ledgers += 1;
                standing.offloaded_bytes += listed.bytes;
                self.cold_bytes += listed.bytes;
            }
            if listed.bookies_freed {
                self.saved_bytes += copies * listed.bytes;
            } else {
                self.hot_bytes += listed.bytes;
                standing.both_bytes += if listed.objects.is_some() { listed.bytes } else { 0 };
            }
            if due.contains(&listed.ledger) {
                standing.waiting_ledgers += 1;
                standing.waiting_bytes += listed.bytes;
                self.lag_seconds = self.lag_seconds.max(now_ms.saturating_sub(sealed_at) / 1000);
            }
        }
        standing
    }
}
