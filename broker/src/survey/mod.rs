//! What lies in objects, over the whole cluster: compared with the records, added up, and priced.
//!
//! Owns: nothing; it reads records and asks stores.
//! Promises: a store is listed before the records are read, so that nothing under way looks like an orphan; what cannot be read ends the
//! survey before anything is removed; an object that may be the only copy of something is never removed.
//! Never: changes a record.
mod pages; // As JSON.
mod scrub; // Stores against records.
mod standing; // Records alone.

use std::sync::Arc;

use ledger::Ledgers;
use metadata::{Key, MetadataStore, Record};
use prost::Message;
use proto::records::TopicRecord;
use proto::{TopicName, keys};

use crate::Clock;
use crate::log::ObjectTier;
use crate::offload::{LocationError, ObjectError};

pub(crate) use pages::*;
pub(crate) use scrub::ScrubWanted;

/// Topics' records read at once: one may be large.
const PAGE: usize = 50;

/// Reads what there is. Cheap to make.
#[derive(Debug, Clone)]
pub(crate) struct Survey {
    pub(crate) metadata: Arc<dyn MetadataStore>,
    pub(crate) ledgers: Arc<dyn Ledgers>,
    pub(crate) tier: ObjectTier,
    pub(crate) clock: Clock,
}

/// Why a survey ended without a result, and without having removed anything more.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum SurveyError {
    /// Ask again later, or mend the record that it names.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
    /// Of a store.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// What was asked for names no store.
    #[error(transparent)]
    Location(#[from] LocationError),
}

impl Survey {
    /// Hands each topic's record to `visit`, page by page.
    async fn each_topic(
        &self,
        mut visit: impl FnMut(&TopicName, &TopicRecord) -> Result<(), SurveyError>,
    ) -> Result<(), SurveyError> {
        let mut after: Option<Key> = None;
        loop {
            let page = self.metadata.list(keys::TOPICS, after.as_ref(), PAGE).await?;
            for found in &page.records {
                let (topic, record) = decode(found)?;
                visit(&topic, &record)?;
            }
            after = page.records.last().map(|last| last.key.clone());
            if !page.more || after.is_none() {
                return Ok(());
            }
        }
    }
}

fn decode(found: &Record) -> Result<(TopicName, TopicRecord), metadata::Error> {
    let corrupt = || metadata::Error::Corrupt { key: found.key.clone() };
    let record = TopicRecord::decode(found.value.clone()).map_err(|_| corrupt())?;
    let topic = record.topic.parse().map_err(|_| corrupt())?;
    Ok((topic, record))
}

#[cfg(test)]
mod tests;
