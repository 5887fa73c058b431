//! Topics and their subscriptions. What is asked of a partitioned topic is asked of each partition.
use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use proto::{Domain, NamespaceName, TopicName};
use serde::Deserialize;
use serde_json::Value;

use super::body::{self, MessageId, done, json};
use super::owner::{Ask, is_forwarded};
use super::{Answer, Pages, Refusal};
use crate::namespaces::{NamespaceError, TopicMode};

pub(super) type TopicPath = Path<(String, String, String)>;
pub(super) type SubscriptionPath = Path<(String, String, String, String)>;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Force {
    pub(super) force: bool,
}

pub(super) fn persistent(tenant: &str, namespace: &str, local: &str) -> Result<TopicName, Refusal> {
    Ok(TopicName::new(Domain::Persistent, namespace_name(tenant, namespace)?, local)?)
}

pub(super) fn namespace_name(tenant: &str, namespace: &str) -> Result<NamespaceName, Refusal> {
    let invalid = |_| Refusal::new(StatusCode::PRECONDITION_FAILED, "Namespace name is not valid");
    NamespaceName::new(tenant, namespace).map_err(invalid)
}

/// Where the path's namespace is what is asked for, its absence has another text than where a topic in it is.
pub(super) fn of_namespace(error: NamespaceError) -> Refusal {
    match error {
        NamespaceError::NamespaceNotFound => Refusal::not_found("Namespace does not exist"),
        error => error.into(),
    }
}

fn answer(value: Value) -> Response {
    if value.is_null() { done() } else { json(value) }
}

impl Pages {
    /// The partitions of a partitioned topic, or the topic itself.
    pub(super) async fn each(&self, topic: &TopicName) -> Result<Vec<TopicName>, Refusal> {
        Ok(match self.context.namespaces.partitions(topic).await? {
            0 => vec![topic.clone()],
            partitions => (0..partitions).map(|number| topic.with_partition(number)).collect(),
        })
    }

    pub(super) async fn ask_each(&self, topic: &TopicName, ask: &Ask, headers: &HeaderMap) -> Answer {
        self.ask_each_of(topic, ask, is_forwarded(headers)).await
    }

    pub(super) async fn ask_each_of(&self, topic: &TopicName, ask: &Ask, forwarded: bool) -> Answer {
        let partitions = self.each(topic).await?;
        for (index, partition) in partitions.iter().enumerate() {
            match self.ask(partition, ask, forwarded).await {
                // What an earlier attempt has done on some partitions is finished on the others.
                Err(refusal) if 0 < index && matches!(refusal.status, StatusCode::CONFLICT | StatusCode::NOT_FOUND) => {
                }
                asked => drop(asked?),
            }
        }
        Ok(done())
    }

    pub(super) async fn ask_one(&self, path: TopicPath, ask: Ask, headers: &HeaderMap) -> Answer {
        let Path((tenant, namespace, local)) = path;
        let topic = persistent(&tenant, &namespace, &local)?;
        Ok(answer(self.ask(&topic, &ask, is_forwarded(headers)).await?))
    }
}

pub(super) async fn list(State(pages): State<Pages>, Path((tenant, namespace)): Path<(String, String)>) -> Answer {
    let namespace = namespace_name(&tenant, &namespace)?;
    let topics = pages.context.namespaces.topics(&namespace, TopicMode::Persistent).await;
    Ok(json(topics.map_err(of_namespace)?))
}

pub(super) async fn list_non_persistent(
    State(pages): State<Pages>,
    Path((tenant, namespace)): Path<(String, String)>,
) -> Answer {
    let namespace = namespace_name(&tenant, &namespace)?;
    let topics = pages.context.namespaces.topics(&namespace, TopicMode::NonPersistent).await;
    Ok(json(topics.map_err(of_namespace)?))
}

pub(super) async fn no_non_persistent() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "non-persistent topics are not supported by this broker yet")
}

/// Makes the topic's record. It is loaded when someone uses it.
pub(super) async fn create(
    State(pages): State<Pages>,
    Path((tenant, namespace, local)): TopicPath,
    body: Bytes,
) -> Answer {
    let topic = persistent(&tenant, &namespace, &local)?;
    let properties: BTreeMap<String, String> = body::parse(&body)?.unwrap_or_default();
    let namespaces = &pages.context.namespaces;
    if 0 < namespaces.partitions(&topic).await? || namespaces.exists(&topic).await? {
        return Err(exists());
    }
    match namespaces.may_create(&topic).await {
        Ok(()) | Err(NamespaceError::TopicNotFound(_)) => {} // The latter: not by itself, but this is no such case.
        Err(NamespaceError::NotAllowed(_)) => return Err(partition_of_nothing(&topic)),
        Err(error) => return Err(error.into()),
    }
    if crate::log::create(&pages.log, &topic, properties.into_iter().collect()).await? {
        Ok(done())
    } else {
        Err(exists())
    }
}

fn exists() -> Refusal {
    Refusal::new(StatusCode::CONFLICT, "This topic already exists")
}

fn partition_of_nothing(topic: &TopicName) -> Refusal {
    let reason = format!(
        "Can't create topic {} with \"-partition-\" followed by numeric value if there isn't a partitioned topic {} created.",
        topic.local(),
        topic.partitioned().local()
    );
    Refusal::new(StatusCode::PRECONDITION_FAILED, reason)
}

pub(super) async fn delete(
    State(pages): State<Pages>,
    Path((tenant, namespace, local)): TopicPath,
    Query(Force { force }): Query<Force>,
    headers: HeaderMap,
) -> Answer {
    let topic = persistent(&tenant, &namespace, &local)?;
    if 0 < pages.context.namespaces.partitions(&topic).await? {
        let reason = format!(
            "{topic} is a partitioned topic, instead of calling delete topic, please call delete-partitioned-topic."
        );
        return Err(Refusal::new(StatusCode::CONFLICT, reason));
    }
    Ok(answer(pages.ask(&topic, &Ask::Delete { force }, is_forwarded(&headers)).await?))
}

pub(super) async fn unload(
    State(pages): State<Pages>,
    Path((tenant, namespace, local)): TopicPath,
    headers: HeaderMap,
) -> Answer {
    pages.ask_each(&persistent(&tenant, &namespace, &local)?, &Ask::Unload, &headers).await
}

/// Takes out what may leave, of all partitions.
pub(super) async fn trim(
    State(pages): State<Pages>,
    Path((tenant, namespace, local)): TopicPath,
    headers: HeaderMap,
) -> Answer {
    pages.ask_each(&persistent(&tenant, &namespace, &local)?, &Ask::Trim, &headers).await?;
    Ok(StatusCode::OK.into_response())
}

pub(super) async fn truncate(
    State(pages): State<Pages>,
    Path((tenant, namespace, local)): TopicPath,
    headers: HeaderMap,
) -> Answer {
    pages.ask_each(&persistent(&tenant, &namespace, &local)?, &Ask::Truncate, &headers).await
}

/// Takes no more messages, for ever.
pub(super) async fn terminate(
    State(pages): State<Pages>,
    Path((tenant, namespace, local)): TopicPath,
    headers: HeaderMap,
) -> Answer {
    let topic = persistent(&tenant, &namespace, &local)?;
    if 0 < pages.context.namespaces.partitions(&topic).await? {
        let reason = "Termination of a partitioned topic is not allowed";
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, reason));
    }
    Ok(answer(pages.ask(&topic, &Ask::Terminate, is_forwarded(&headers)).await?))
}

pub(super) async fn stats(State(pages): State<Pages>, path: TopicPath, headers: HeaderMap) -> Answer {
    pages.ask_one(path, Ask::Stats, &headers).await
}

pub(super) async fn internal_stats(State(pages): State<Pages>, path: TopicPath, headers: HeaderMap) -> Answer {
    pages.ask_one(path, Ask::InternalStats, &headers).await
}

pub(super) async fn last_message_id(State(pages): State<Pages>, path: TopicPath, headers: HeaderMap) -> Answer {
    pages.ask_one(path, Ask::LastMessageId, &headers).await
}

/// Of a partitioned topic, those of its first partition: all have the same.
pub(super) async fn subscriptions(
    State(pages): State<Pages>,
    Path((tenant, namespace, local)): TopicPath,
    headers: HeaderMap,
) -> Answer {
    let topic = persistent(&tenant, &namespace, &local)?;
    let partitions = pages.each(&topic).await?;
    Ok(answer(pages.ask(&partitions[0], &Ask::Subscriptions, is_forwarded(&headers)).await?))
}

pub(super) async fn subscribe(
    State(pages): State<Pages>,
    Path((tenant, namespace, local, name)): SubscriptionPath,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let start = body::message_id(&body)?.unwrap_or_else(MessageId::latest);
    let topic = persistent(&tenant, &namespace, &local)?;
    pages.ask_each(&topic, &Ask::Subscribe { name, start }, &headers).await
}

pub(super) async fn unsubscribe(
    State(pages): State<Pages>,
    Path((tenant, namespace, local, name)): SubscriptionPath,
    Query(Force { force }): Query<Force>,
    headers: HeaderMap,
) -> Answer {
    let topic = persistent(&tenant, &namespace, &local)?;
    pages.ask_each(&topic, &Ask::Unsubscribe { name, force }, &headers).await
}

pub(super) async fn skip_all(
    State(pages): State<Pages>,
    Path((tenant, namespace, local, name)): SubscriptionPath,
    headers: HeaderMap,
) -> Answer {
    pages.ask_each(&persistent(&tenant, &namespace, &local)?, &Ask::SkipAll { name }, &headers).await
}

pub(super) async fn reset(
    State(pages): State<Pages>,
    Path((tenant, namespace, local, name)): SubscriptionPath,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let topic = persistent(&tenant, &namespace, &local)?;
    let to = body::message_id(&body)?.ok_or_else(|| body::bad("a message id is missing"))?;
    if 0 < pages.context.namespaces.partitions(&topic).await? {
        let reason = "Reset-cursor at position is not allowed for partitioned-topic";
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, reason));
    }
    pages.ask_each(&topic, &Ask::Reset { name, to }, &headers).await
}

pub(super) async fn reset_to_time(
    State(pages): State<Pages>,
    Path((tenant, namespace, local, name, time)): Path<(String, String, String, String, String)>,
    headers: HeaderMap,
) -> Answer {
    let time_ms =
        time.parse().map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, format!("`{time}` is no timestamp")))?;
    let topic = persistent(&tenant, &namespace, &local)?;
    pages.ask_each(&topic, &Ask::ResetToTime { name, time_ms }, &headers).await
}

/// Everything else that Apache Pulsar can do with a topic.
pub(super) async fn not_built(
    State(pages): State<Pages>,
    method: Method,
    Path((tenant, namespace, local, feature)): SubscriptionPath,
) -> Refusal {
    let found = async {
        let topic = persistent(&tenant, &namespace, &local)?;
        let namespaces = &pages.context.namespaces;
        if namespaces.exists(&topic).await? || 0 < namespaces.partitions(&topic).await? {
            return Ok(());
        }
        Err(Refusal::not_found(format!("Topic {topic} not found")))
    };
    match found.await {
        Ok(()) => Refusal::not_built(&format!("{method} {feature} of a topic")),
        Err(refusal) => refusal,
    }
}
