//! What a writer knows of one member of its ensemble.
use std::collections::VecDeque;
use std::time::Duration;

use proto::EntryId;

/// One member. Entries below `front` are acknowledged, withheld, or not for this member.
#[derive(Debug)]
pub(super) struct Member {
    /// Its number among all that ever were members: what comes for another one is not for it.
    pub(super) seat: usize,
    session: Option<u64>,
    /// Since when it has no session.
    pub(super) gone_since: Option<Duration>,
    /// When it last acknowledged something, or had nothing to acknowledge.
    pub(super) heard_at: Duration,
    /// Since when it has lagged far behind the confirmed end.
    pub(super) lagging_since: Option<Duration>,
    /// Since when its disk has been full.
    pub(super) full_since: Option<Duration>,
    /// It is being replaced: its acknowledgements count no more.
    pub(super) dismissed: bool,
    /// The record says that it may lack entries of the last fragment,
    pub(super) lacking: bool,
    /// or of one that ended here.
    pub(super) lacking_below: EntryId,
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
    /// A member that holds nothing from `first` on and should.
    pub(super) fn new(seat: usize, first: EntryId, kept_max: usize, now: Duration) -> Self {
        Self {
            seat,
            session: None,
            gone_since: Some(now),
            heard_at: now,
            lagging_since: None,
            full_since: None,
            dismissed: false,
            lacking: false,
            lacking_below: EntryId::FIRST,
            sent: VecDeque::new(),
            front: first,
            next_send: first,
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
        self.gone_since = None;
        self.resend_at = None;
        self.rewind();
    }

    pub(super) fn disconnected(&mut self, session: u64, now: Duration) {
        if self.session == Some(session) {
            self.session = None;
            self.gone_since = Some(now);
            self.rewind();
        }
    }

    /// What was sent and not answered is to be sent again.
    pub(super) fn rewind(&mut self) {
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

    /// Whether the record says that `entry` may be withheld from it.
    pub(super) fn may_lack(&self, entry: EntryId) -> bool {
        self.lacking || entry < self.lacking_below
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
