//! Topics and their subscriptions. What is asked of a partitioned topic is asked of each partition.
use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use proto::{Domain, NamespaceName, TopicName};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::about::About;
use super::body::{self, MessageId, done, json as json_page};
use super::owner::{Ask, is_forwarded};
use super::{Answer, Pages, Refusal};
use crate::namespaces::NamespaceError;
use crate::presence::{self, TopicMode};
use crate::topic::InternalStats;

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

impl Pages {
    /// The topic that a path below the pages of a domain names.
    pub(super) fn topic(&self, tenant: &str, namespace: &str, local: &str) -> Result<TopicName, Refusal> {
        Ok(TopicName::new(self.domain, namespace_name(tenant, namespace)?, local)?)
    }

    /// Whether there is such a topic, partitioned or not.
    pub(super) async fn is_there(&self, topic: &TopicName) -> Result<bool, Refusal> {
        let namespaces = &self.context.namespaces;
        Ok(namespaces.exists(topic).await?
            || 0 < namespaces.partitions(topic).await?
            || presence::is_passing(&self.context, topic).await?)
    }
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
    if value.is_null() { done() } else { json_page(value) }
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
        let topic = self.topic(&tenant, &namespace, &local)?;
        Ok(answer(self.ask(&topic, &ask, is_forwarded(headers)).await?))
    }
}

pub(super) async fn list(State(pages): State<Pages>, Path((tenant, namespace)): Path<(String, String)>) -> Answer {
    let namespace = namespace_name(&tenant, &namespace)?;
    let mode = match pages.domain {
        Domain::Persistent => TopicMode::Persistent,
        Domain::NonPersistent => TopicMode::NonPersistent,
    };
    let topics = presence::topics(&pages.context, &namespace, mode).await;
    Ok(json_page(topics.map_err(of_namespace)?))
}

/// Makes the topic's record. It is loaded when someone uses it.
pub(super) async fn create(
    State(pages): State<Pages>,
    Path((tenant, namespace, local)): TopicPath,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let topic = pages.topic(&tenant, &namespace, &local)?;
    let properties: BTreeMap<String, String> = body::parse(&body)?.unwrap_or_default();
    let namespaces = &pages.context.namespaces;
    if pages.is_there(&topic).await? {
        return Err(exists());
    }
    match namespaces.may_be_made(&topic).await {
        Ok(()) => {}
        Err(NamespaceError::NotAllowed(_)) => return Err(partition_of_nothing(&topic)),
        Err(error) => return Err(error.into()),
    }
    if topic.domain() == Domain::NonPersistent {
        return Ok(answer(pages.ask(&topic, &Ask::Make, is_forwarded(&headers)).await?));
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
    let topic = pages.topic(&tenant, &namespace, &local)?;
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
    pages.ask_each(&pages.topic(&tenant, &namespace, &local)?, &Ask::Unload, &headers).await
}

/// Takes out what may leave, of all partitions.
pub(super) async fn trim(
    State(pages): State<Pages>,
    Path((tenant, namespace, local)): TopicPath,
    headers: HeaderMap,
) -> Answer {
    pages.ask_each(&pages.topic(&tenant, &namespace, &local)?, &Ask::Trim, &headers).await?;
    Ok(StatusCode::OK.into_response())
}

pub(super) async fn truncate(
    State(pages): State<Pages>,
    Path((tenant, namespace, local)): TopicPath,
    headers: HeaderMap,
) -> Answer {
    pages.ask_each(&pages.topic(&tenant, &namespace, &local)?, &Ask::Truncate, &headers).await
}

/// Takes no more messages, for ever.
pub(super) async fn terminate(
    State(pages): State<Pages>,
    Path((tenant, namespace, local)): TopicPath,
    headers: HeaderMap,
) -> Answer {
    let topic = pages.topic(&tenant, &namespace, &local)?;
    if 0 < pages.context.namespaces.partitions(&topic).await? {
        let reason = "Termination of a partitioned topic is not allowed";
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, reason));
    }
    Ok(answer(pages.ask(&topic, &Ask::Terminate, is_forwarded(&headers)).await?))
}

pub(super) async fn internal_stats(State(pages): State<Pages>, path: TopicPath, headers: HeaderMap) -> Answer {
    pages.ask_one(path, Ask::InternalStats, &headers).await
}

/// What Apache Pulsar keeps of a topic in its metadata, as far as there is such a thing here.
pub(super) fn internal_info(stats: &InternalStats) -> Value {
    let ledgers = stats.ledgers.iter().map(|ledger| {
        json!({"ledgerId": ledger.ledger_id, "entries": ledger.entries, "size": ledger.size, "isOffloaded": ledger.offloaded})
    });
    let cursors = stats.cursors.iter().map(|(name, cursor)| {
        let (ledger, entry) = cursor.mark_delete_position.split_once(':').unwrap_or(("-1", "-1"));
        let number = |text: &str| text.parse::<i64>().unwrap_or(-1);
        let mark = json!({"ledgerId": number(ledger), "entryId": number(entry)});
        (name.clone(), json!({"cursorsLedgerId": cursor.cursor_ledger, "markDelete": mark}))
    });
    json!({"version": 0, "ledgers": ledgers.collect::<Vec<_>>(), "cursors": cursors.collect::<Map<String, Value>>()})
}

pub(super) async fn internal_info_page(State(pages): State<Pages>, about: About) -> Answer {
    let partitions = pages.each(&about.topic).await?;
    if partitions == [about.topic.clone()] {
        return Ok(json_page(pages.ask(&about.topic, &Ask::InternalInfo, about.forwarded).await?));
    }
    let mut all = Map::new();
    for partition in partitions {
        all.insert(partition.to_string(), pages.ask(&partition, &Ask::InternalInfo, about.forwarded).await?);
    }
    Ok(json_page(json!({"version": 0, "partitions": all})))
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
    let topic = pages.topic(&tenant, &namespace, &local)?;
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
    let topic = pages.topic(&tenant, &namespace, &local)?;
    pages.ask_each(&topic, &Ask::Subscribe { name, start }, &headers).await
}

pub(super) async fn unsubscribe(
    State(pages): State<Pages>,
    Path((tenant, namespace, local, name)): SubscriptionPath,
    Query(Force { force }): Query<Force>,
    headers: HeaderMap,
) -> Answer {
    let topic = pages.topic(&tenant, &namespace, &local)?;
    pages.ask_each(&topic, &Ask::Unsubscribe { name, force }, &headers).await
}

pub(super) async fn skip_all(
    State(pages): State<Pages>,
    Path((tenant, namespace, local, name)): SubscriptionPath,
    headers: HeaderMap,
) -> Answer {
    pages.ask_each(&pages.topic(&tenant, &namespace, &local)?, &Ask::SkipAll { name }, &headers).await
}

pub(super) async fn reset(
    State(pages): State<Pages>,
    Path((tenant, namespace, local, name)): SubscriptionPath,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let topic = pages.topic(&tenant, &namespace, &local)?;
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
    let topic = pages.topic(&tenant, &namespace, &local)?;
    pages.ask_each(&topic, &Ask::ResetToTime { name, time_ms }, &headers).await
}

/// Everything else that Apache Pulsar can do with a topic.
pub(super) async fn not_built(
    State(pages): State<Pages>,
    method: Method,
    Path((tenant, namespace, local, feature)): SubscriptionPath,
) -> Refusal {
    let found = async {
        let topic = pages.topic(&tenant, &namespace, &local)?;
        if pages.is_there(&topic).await? {
            return Ok(());
        }
        Err(Refusal::not_found(format!("Topic {topic} not found")))
    };
    match found.await {
        Ok(()) => Refusal::not_built(&format!("{method} {feature} of a topic")),
        Err(refusal) => refusal,
    }
}
