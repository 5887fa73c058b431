//! Single questions: a few requests, and one reply to each in time or none.
use std::sync::Arc;
use std::time::Duration;

use proto::LedgerId;
use proto::bookie::{Request, request};
use tokio::time::{Instant, timeout_at};

use super::{Event, Inbox, Link, Sent};
use crate::recovery::Reply;

/// How long to wait when too much is unanswered.
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// Gives its place in the session up when nobody waits for the answers any more.
struct Asked<'a> {
    link: &'a Link,
    session: u64,
    first: u64,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.link.forget(self.session, self.first);
    }
}

impl Link {
    /// Sends `bodies` and waits for the replies, at most for `patience` with connecting. What got no answer is [`Reply::Silence`].
    pub(crate) async fn ask(&self, ledger: LedgerId, bodies: Vec<request::Body>, patience: Duration) -> Vec<Reply> {
        let deadline = Instant::now() + patience;
        let mut replies = vec![Reply::Silence; bodies.len()];
        if timeout_at(deadline, self.ask_into(ledger, bodies, &mut replies)).await.is_err() {
            self.suspect("does not answer");
        }
        replies
    }

    async fn ask_into(&self, ledger: LedgerId, bodies: Vec<request::Body>, replies: &mut [Reply]) {
        let inbox = Arc::new(Inbox::default());
        let (session, first) = loop {
            let Some(session) = self.session().await else { return };
            let build = |first, _room| {
                let number = |(offset, body)| Request { id: first + offset as u64, ledger: ledger.0, body: Some(body) };
                bodies.iter().cloned().enumerate().map(number).collect()
            };
            match self.send(session, &inbox, 0, build) {
                Sent::From(first) => break (session, first),
                Sent::Full => tokio::time::sleep(FULL_PAUSE).await,
                Sent::Gone => self.session_over(session).await, // It took nothing: the next one may.
            }
        };
        let _asked = Asked { link: self, session, first };
        let mut missing = replies.len() as u64;
        let mut events = Vec::new();
        while missing > 0 {
            inbox.filled().await;
            inbox.take(&mut events);
            for event in events.drain(..) {
                let Event::Answered { answer, .. } = event else { return };
                let run = u64::from(answer.run);
                let at = usize::try_from(answer.id - first).unwrap_or(usize::MAX);
                missing = missing.saturating_sub(run);
                let reply = Reply::from(answer);
                replies
                    .iter_mut()
                    .skip(at)
                    .take(usize::try_from(run).unwrap_or(usize::MAX))
                    .for_each(|slot| *slot = reply.clone());
            }
        }
    }

    async fn session_over(&self, session: u64) {
        self.status(|now| now.session != Some(session)).await;
    }

    /// The present session, or the one of an attempt to connect that ends after this call.
    async fn session(&self) -> Option<u64> {
        let before = *self.status.lock();
        if before.session.is_some() {
            return before.session;
        }
        self.wanted.notify_one();
        self.status(|now| now.session.is_some() || before.failed < now.failed).await.session
    }
}
