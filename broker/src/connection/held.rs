//! Messages that came faster than policies let their topics take them.
//!
//! They wait here, while the connection is read on for its other topics, its consumers and its pings. Only when too much waits is reading
//! stopped, as Apache Pulsar does at once.
use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::inbound::Burst;
use crate::Clock;
use crate::outbox::Serial;
use crate::topic::{Publish, TopicHandle};

/// Beyond it, nothing more is read. What one read brings may be added.
const HELD_BYTES_MAX: usize = 256 * 1024;
/// The longest wait without a look at what policies say by now.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// By topic, in the order in which they came.
#[derive(Default)]
pub(super) struct Held {
    topics: Vec<(TopicHandle, VecDeque<Publish>)>,
    bytes: usize,
    due: Option<Instant>,
}

impl Held {
    /// Whether so much waits that nothing more should be read.
    pub(super) fn is_full(&self) -> bool {
        HELD_BYTES_MAX <= self.bytes
    }

    /// When to look again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Passes a message on if its topic takes it now, else keeps it.
    pub(super) fn pass(&mut self, topic: &TopicHandle, publish: Publish, clock: &Clock, burst: &mut Burst) {
        if self.topics.is_empty() && !topic.heeded().publish.is_limited() {
            return burst.publish(topic, publish); // As nearly always: no look at the time.
        }
        let waiting = self.topics.iter_mut().find(|(there, _)| there.is_same(topic));
        let pace = &topic.heeded().publish;
        match (waiting, pace.wait(clock.now_ms())) {
            (None, None) => send(topic, publish, burst),
            (Some((_, queue)), _) => {
                self.bytes += publish.bytes;
                queue.push_back(publish);
            }
            (None, Some(wait)) => {
                self.bytes += publish.bytes;
                self.topics.push((topic.clone(), VecDeque::from([publish])));
                self.note_due(wait);
            }
        }
    }

    fn note_due(&mut self, wait: Duration) {
        let due = Instant::now() + wait.min(LOOK_AGAIN);
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
    }

    /// Passes on what topics take by now.
    pub(super) fn release(&mut self, now_ms: u64, burst: &mut Burst) {
        self.due = None;
        let mut topics = std::mem::take(&mut self.topics);
        for (topic, queue) in &mut topics {
            while let Some(first) = queue.pop_front() {
                if let Some(wait) = topic.heeded().publish.wait(now_ms) {
                    queue.push_front(first);
                    self.note_due(wait);
                    break;
                }
                self.bytes -= first.bytes;
                send(topic, first, burst);
            }
        }
        topics.retain(|(_, queue)| !queue.is_empty());
        self.topics = topics;
    }

    /// Passes on all that a producer has sent: it is about to leave, and its topic may wait for the next.
    pub(super) fn let_go(&mut self, producer: Serial, burst: &mut Burst) {
        self.take_of(producer, |topic, publish| send(topic, publish, burst));
    }

    /// Forgets what a producer has sent that was closed: it sends it again.
    pub(super) fn forget(&mut self, producer: Serial) {
        self.take_of(producer, |_, _| {});
    }

    fn take_of(&mut self, producer: Serial, mut take: impl FnMut(&TopicHandle, Publish)) {
        for (topic, queue) in &mut self.topics {
            let (of, others) = std::mem::take(queue).into_iter().partition(|publish| publish.serial == producer);
            *queue = others;
            let of: VecDeque<Publish> = of;
            for publish in of {
                self.bytes -= publish.bytes;
                take(topic, publish);
            }
        }
        self.topics.retain(|(_, queue)| !queue.is_empty());
    }
}

fn send(topic: &TopicHandle, publish: Publish, burst: &mut Burst) {
    topic.heeded().publish.spend(u64::from(publish.messages), publish.bytes as u64);
    burst.publish(topic, publish);
}
