//! What people have noted with a topic.
use std::collections::HashMap;

use super::task::Command;
use super::{TopicError, TopicHandle};
use crate::log::LogError;

impl TopicHandle {
    /// All of it.
    pub(crate) async fn topic_properties(&self) -> Result<HashMap<String, String>, TopicError> {
        Ok(self.stored()?.record.record().await.properties)
    }

    /// Changes it.
    pub(crate) async fn change_topic_properties(
        &self,
        edit: impl FnOnce(&mut HashMap<String, String>),
    ) -> Result<(), TopicError> {
        let changed = self.stored()?.record.change(&[], |record| edit(&mut record.properties)).await;
        if let Err(error @ LogError::Fenced { .. }) = &changed {
            let _ = self.mailbox.send(Command::GiveUp(Box::new(error.clone()))).await;
        }
        changed.map_err(|error| self.log_error(&error))
    }
}
