//! What a writer knows of one member of its ensemble.
use std::collections::VecDeque;
use std::time::Duration;

use proto::EntryId;

/// One member. Entries below `front` are acknowledged, withheld, or not for this member.
#[derive(Debug)]
pub(super) struct Member {
    session: Option<u64>,
    /// The record says that it may lack entries.
    pub(super) lacking: bool,
    /// What was sent in this session and not answered: request and entry, both rising.
    pub(super) sent: VecDeque<(u64, EntryId)>,
    pub(super) front: EntryId,
    pub(super) next_send: EntryId,
    /// Payload bytes of entries that it should hold, from `front` on, that it has not acknowledged.
    pub(super) kept_bytes: usize,
    pub(super) kept_max: usize,
    /// Nothing is sent before, after a refusal.
    pub(super) resend_at: Option<Duration>,
}

impl Member {
    pub(super) fn new(lacking: bool, kept_max: usize) -> Self {
        Self {
            session: None,
            lacking,
            sent: VecDeque::new(),
            front: EntryId::FIRST,
            next_send: EntryId::FIRST,
            kept_bytes: 0,
            kept_max,
            resend_at: None,
        }
    }

    pub(super) fn session(&self) -> Option<u64> {
        self.session
    }

    pub(super) fn appended(&mut self, entry: EntryId, holds: bool, size: usize) {
        if holds {
            self.kept_bytes += size;
        } else if self.front == entry {
            self.front = entry.next();
            self.next_send = self.next_send.max(self.front);
        }
    }

    pub(super) fn connected(&mut self, session: u64) {
        self.session = Some(session);
        self.resend_at = None;
        self.rewind();
    }

    pub(super) fn disconnected(&mut self, session: u64) {
        if self.session == Some(session) {
            self.session = None;
            self.rewind();
        }
    }

    fn rewind(&mut self) {
        self.sent.clear();
        self.next_send = self.front;
    }

    /// Goes back to the refused entry and sends from there on later, so that entries reach a member in rising order.
    pub(super) fn refused(&mut self, session: u64, request: u64, again: Duration) {
        if self.session != Some(session) {
            return;
        }
        let at = self.sent.partition_point(|(id, _)| *id < request);
        if let Some((id, entry)) = self.sent.get(at).copied()
            && id == request
        {
            self.sent.truncate(at); // Their answers are ignored: they are sent and answered again.
            self.next_send = entry.max(self.front);
            self.resend_at = Some(again);
        }
    }

    pub(super) fn is_over_bound(&self) -> bool {
        self.kept_max < self.kept_bytes
    }

    pub(super) fn is_far_over_bound(&self) -> bool {
        self.kept_max.saturating_mul(2) < self.kept_bytes
    }

    pub(super) fn forget(&mut self) {
        self.sent.clear();
        self.kept_bytes = 0;
    }
}
