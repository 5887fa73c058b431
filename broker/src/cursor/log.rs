//! The cursor log of a topic.
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::{AckDelta, AckSet};
use crate::log::LogError;

/// Answered once what it stands for is durable, or with the error; when it is dropped, with [`LogError::Closed`].
pub(crate) struct AckReceipt {
    answer: Option<Box<dyn FnOnce(Result<(), LogError>) + Send>>,
}

impl AckReceipt {
    /// `answer` is called exactly once and must not block.
    pub(crate) fn new(answer: impl FnOnce(Result<(), LogError>) + Send + 'static) -> Self {
        Self { answer: Some(Box::new(answer)) }
    }

    pub(super) fn answer(mut self, outcome: Result<(), LogError>) {
        if let Some(answer) = self.answer.take() {
            answer(outcome);
        }
    }
}

impl Drop for AckReceipt {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            answer(Err(LogError::Closed));
        }
    }
}

impl fmt::Debug for AckReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AckReceipt")
    }
}

/// Whether the cursor log keeps up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// Go on.
    Enough,
    /// What was given is kept, but too much waits to be written: pause dispatch until a flush has gone through.
    Full,
}

/// Talks to the one cursor task of a topic, which starts at the first change. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct CursorLog {}

impl CursorLog {
    /// Makes or replaces a subscription. Durable when it returns.
    pub(crate) async fn put(
        &self,
        name: &Arc<str>,
        acks: AckSet,
        properties: HashMap<String, String>,
    ) -> Result<(), LogError> {
        let _ = (name, acks, properties);
        unreachable!("not built yet")
    }

    /// Removes a subscription. Durable when it returns. No error when there is none.
    pub(crate) async fn remove(&self, name: &Arc<str>) -> Result<(), LogError> {
        let _ = name;
        unreachable!("not built yet")
    }

    /// Notes acknowledgements; never blocks. With a receipt they are written at once, else within 50 ms.
    pub(crate) fn acknowledge(&self, name: &Arc<str>, delta: AckDelta, receipt: Option<AckReceipt>) -> Room {
        let _ = (name, delta, receipt);
        unreachable!("not built yet")
    }

    /// Whether what waits to be written is within its bound.
    pub(crate) fn room(&self) -> Room {
        unreachable!("not built yet")
    }

    /// Returns once there is room again.
    pub(crate) async fn roomy(&self) {
        unreachable!("not built yet")
    }
}
