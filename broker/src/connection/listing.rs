//! What a namespace holds, and watchers of it.
use std::collections::BTreeSet;
use std::sync::Arc;

use proto::NamespaceName;
use proto::pulsar::command_get_topics_of_namespace::Mode;
use proto::pulsar::{
    CommandError, CommandGetTopicsOfNamespace, CommandGetTopicsOfNamespaceResponse, CommandWatchTopicList,
    CommandWatchTopicListClose, CommandWatchTopicListSuccess, CommandWatchTopicUpdate, ServerError,
};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::errors::{Answer, Fault, answer};
use super::lookup::done;
use super::session::{Done, Session};
use crate::Context;
use crate::namespaces::{Listing, NamespaceError, PATTERN_CHARS_MAX, TopicsPattern, is_system_topic, topics_hash};
use crate::outbox::Outbox;
use crate::presence::{self, TopicMode};

/// Watchers of one connection. A client has one for each consumer with a pattern.
const WATCHERS_MAX: usize = 1000;

/// What a client calls by a watcher id.
pub(super) enum WatcherSlot {
    /// The topics are being listed.
    Opening,
    /// Its task tells the client until the slot goes.
    Open { _task: AbortOnDropHandle<()> },
}

/// What became of a WATCH_TOPIC_LIST.
pub(super) struct WatcherOpened {
    watcher_id: u64,
    request_id: u64,
    /// The hash of what the client knows already.
    known: Option<String>,
    outcome: Result<(Listing, TopicsPattern), Answer>,
}

impl Session {
    pub(super) fn topics_of_namespace(&mut self, asked: CommandGetTopicsOfNamespace) {
        let context = self.house.context.clone();
        self.request(asked.request_id, async move {
            let request_id = asked.request_id;
            match topics(&context, &asked).await {
                Ok((topics, filtered)) => {
                    let hash = topics_hash(&topics);
                    let changed = asked.topics_hash.as_ref() != Some(&hash);
                    done(CommandGetTopicsOfNamespaceResponse {
                        request_id,
                        topics: if changed { topics } else { Vec::new() },
                        filtered: Some(filtered),
                        topics_hash: Some(hash),
                        changed: Some(changed),
                    })
                }
                Err((error, message)) => done(CommandError { request_id, error: error.into(), message }),
            }
        });
    }

    pub(super) fn watch_topics(&mut self, asked: CommandWatchTopicList) {
        let CommandWatchTopicList { request_id, watcher_id, namespace, topics_pattern, topics_hash: known } = asked;
        if matches!(self.watchers.get(&watcher_id), Some(WatcherSlot::Opening)) {
            let text = "Topic list watcher is already being created on this connection";
            return self.error(request_id, ServerError::ServiceNotReady, text);
        }
        if PATTERN_CHARS_MAX < topics_pattern.chars().count() {
            let text = format!("Unable to create topic list watcher: Pattern longer than maximum: {PATTERN_CHARS_MAX}");
            return self.error(request_id, ServerError::NotAllowedError, text);
        }
        if WATCHERS_MAX <= self.watchers.len() {
            return self.error(request_id, ServerError::TooManyRequests, "Too many topic list watchers");
        }
        self.watchers.insert(watcher_id, WatcherSlot::Opening);
        let context = self.house.context.clone();
        let opening = async move {
            let listing = async {
                let pattern = TopicsPattern::new(&topics_pattern)
                    .map_err(|error| (ServerError::InvalidTopicName, format!("Invalid topics pattern: {error}")))?;
                let namespace: NamespaceName = namespace.parse().map_err(|error| answer(Fault::Name(error)))?;
                let listing = context.namespaces.watch_topics(&namespace).await;
                Ok((listing.map_err(|error| answer(error.into()))?, pattern))
            };
            Done::Watcher(WatcherOpened { watcher_id, request_id, known, outcome: listing.await })
        };
        if !self.request(request_id, opening) {
            self.watchers.remove(&watcher_id);
        }
    }

    pub(super) fn watcher_opened(&mut self, opened: WatcherOpened) {
        let WatcherOpened { watcher_id, request_id, known, outcome } = opened;
        if self.watchers.remove(&watcher_id).is_none() {
            return self.error(
                request_id,
                ServerError::ServiceNotReady,
                "The watcher was closed before it was created",
            );
        }
        let (mut listing, pattern) = match outcome {
            Ok(found) => found,
            Err((error, text)) => return self.error(request_id, error, text),
        };
        let matching = listing.all(|name| is_wanted(&pattern, name));
        let hash = topics_hash(&matching);
        let topic = if known.as_ref() == Some(&hash) { Vec::new() } else { matching.iter().cloned().collect() };
        self.outbox.send(CommandWatchTopicListSuccess { request_id, watcher_id, topic, topics_hash: hash });
        let told = Told { watcher_id, pattern, matching, outbox: self.outbox.clone() };
        let task = AbortOnDropHandle::new(tokio::spawn(told.go_on(listing)));
        self.watchers.insert(watcher_id, WatcherSlot::Open { _task: task });
    }

    pub(super) fn close_watcher(&mut self, asked: &CommandWatchTopicListClose) {
        self.watchers.remove(&asked.watcher_id);
        self.succeed(asked.request_id);
    }
}

fn is_wanted(pattern: &TopicsPattern, topic: &str) -> bool {
    !is_system_topic(topic) && pattern.is_match(topic)
}

/// What a watcher's client has been told.
struct Told {
    watcher_id: u64,
    pattern: TopicsPattern,
    matching: BTreeSet<String>,
    outbox: Outbox,
}

impl Told {
    async fn go_on(mut self, mut listing: Listing) {
        let room = Arc::new(Notify::new());
        loop {
            // Whoever does not read is told later, and all at once.
            while !self.outbox.has_room(&room) {
                room.notified().await;
            }
            let (mut came, mut went) = (Vec::new(), Vec::new());
            match listing.next().await {
                Some(changes) => {
                    for (name, is_there) in changes {
                        if is_there && is_wanted(&self.pattern, &name) && self.matching.insert(name.clone()) {
                            came.push(name);
                        } else if !is_there && self.matching.remove(&name) {
                            went.push(name);
                        }
                    }
                }
                None => {
                    let now = listing.all(|name| is_wanted(&self.pattern, name));
                    went.extend(self.matching.difference(&now).cloned());
                    came.extend(now.difference(&self.matching).cloned());
                    self.matching = now;
                }
            }
            if !came.is_empty() || !went.is_empty() {
                self.outbox.send(CommandWatchTopicUpdate {
                    watcher_id: self.watcher_id,
                    new_topics: came,
                    deleted_topics: went,
                    topics_hash: topics_hash(&self.matching),
                });
            }
        }
    }
}

/// Sorted, without those that belong to the system, and whether the pattern was applied. A namespace that does not exist has none.
async fn topics(context: &Context, asked: &CommandGetTopicsOfNamespace) -> Result<(Vec<String>, bool), Answer> {
    let namespace: NamespaceName = asked.namespace.parse().map_err(|error| answer(Fault::Name(error)))?;
    let mode = match asked.mode() {
        Mode::Persistent => TopicMode::Persistent,
        Mode::NonPersistent => TopicMode::NonPersistent,
        Mode::All => TopicMode::All,
    };
    let mut topics = match presence::topics(context, &namespace, mode).await {
        Err(NamespaceError::NamespaceNotFound) => Vec::new(),
        topics => topics.map_err(|error| answer(error.into()))?,
    };
    topics.retain(|topic| !is_system_topic(topic));
    topics.sort();
    let pattern = asked.topics_pattern.as_ref().filter(|pattern| pattern.chars().count() <= PATTERN_CHARS_MAX);
    let Some(pattern) = pattern else { return Ok((topics, false)) }; // It is the client's to apply.
    let pattern = TopicsPattern::new(pattern).map_err(|error| (ServerError::MetadataError, error.to_string()))?;
    topics.retain(|topic| pattern.is_match(topic));
    Ok((topics, true))
}
