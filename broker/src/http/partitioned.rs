//! Partitioned topics.
use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use futures::{StreamExt, TryStreamExt};
use proto::{Domain, TopicName};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{self, MessageId, done};
use super::owner::{Ask, is_forwarded};
use super::topics::{Force, TopicPath, namespace_name, of_namespace};
use super::{Answer, Pages, Refusal};
use crate::namespaces::NamespaceError;
use crate::presence;

/// Partitions that are asked at once.
const AT_ONCE: usize = 16;

pub(super) async fn list(State(pages): State<Pages>, Path((tenant, namespace)): Path<(String, String)>) -> Answer {
    let namespace = namespace_name(&tenant, &namespace)?;
    let topics = pages.context.namespaces.partitioned_topics(&namespace, pages.domain).await.map_err(of_namespace)?;
    Ok(body::json(topics.iter().map(ToString::to_string).collect::<Vec<_>>()))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    check_allow_auto_creation: bool,
}

pub(super) async fn read(
    State(pages): State<Pages>,
    Path((tenant, namespace, local)): TopicPath,
    Query(query): Query<Metadata>,
) -> Answer {
    let topic = pages.topic(&tenant, &namespace, &local)?;
    let namespaces = &pages.context.namespaces;
    if let Some(record) = namespaces.partitioned(&topic).await? {
        let mut answer = json!({"partitions": record.partitions, "deleted": false});
        if !record.properties.is_empty() {
            answer["properties"] = json!(record.properties);
        }
        return Ok(body::json(answer));
    }
    match namespaces.partition_metadata(&topic, query.check_allow_auto_creation).await {
        Err(NamespaceError::TopicNotFound(_)) if presence::is_passing(&pages.context, &topic).await? => 0,
        found => found?,
    };
    Ok(body::json(json!({"partitions": 0, "deleted": false})))
}

pub(super) async fn create(
    State(pages): State<Pages>,
    Path((tenant, namespace, local)): TopicPath,
    body: Bytes,
) -> Answer {
    let topic = pages.topic(&tenant, &namespace, &local)?;
    let asked = body::partitions(&body)?;
    if presence::is_passing(&pages.context, &topic).await? {
        return Err(Refusal::new(StatusCode::CONFLICT, "This topic already exists"));
    }
    pages.context.namespaces.create_partitioned(&topic, asked.count, asked.properties).await?;
    pages.create_partitions(&topic, 0..asked.count).await?;
    Ok(done())
}

/// New partitions get the subscriptions that the others have.
pub(super) async fn grow(
    State(pages): State<Pages>,
    Path((tenant, namespace, local)): TopicPath,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let topic = pages.topic(&tenant, &namespace, &local)?;
    let asked = body::partitions(&body)?;
    let before = pages.context.namespaces.grow_partitioned(&topic, asked.count).await?;
    pages.create_partitions(&topic, 0..asked.count).await?; // Earlier ones too: perhaps their maker was interrupted.
    if before == asked.count || topic.domain() == Domain::NonPersistent {
        return Ok(done());
    }
    let forwarded = is_forwarded(&headers);
    let names = pages.ask(&topic.with_partition(0), &Ask::Subscriptions, forwarded).await?;
    for name in names.as_array().into_iter().flatten().filter_map(Value::as_str) {
        let subscribe = Ask::Subscribe { name: name.into(), start: MessageId::earliest() };
        for number in before..asked.count {
            match pages.ask(&topic.with_partition(number), &subscribe, forwarded).await {
                Err(refusal) if refusal.status == StatusCode::CONFLICT => {} // A consumer was quicker.
                asked => drop(asked?),
            }
        }
    }
    Ok(done())
}

pub(super) async fn delete(
    State(pages): State<Pages>,
    Path((tenant, namespace, local)): TopicPath,
    Query(Force { force }): Query<Force>,
    headers: HeaderMap,
) -> Answer {
    let topic = pages.topic(&tenant, &namespace, &local)?;
    let namespaces = &pages.context.namespaces;
    if namespaces.partitions(&topic).await? == 0 {
        if !pages.is_there(&topic).await? {
            return Err(Refusal::not_found(format!("Topic {topic} not found.")));
        }
        let reason = format!(
            "{topic} is a non-partitioned topic. Instead of calling delete-partitioned-topic please call delete."
        );
        return Err(Refusal::new(StatusCode::CONFLICT, reason));
    }
    pages.delete_partitioned(&topic, force, is_forwarded(&headers)).await?;
    Ok(done())
}

pub(super) async fn internal_stats(
    State(pages): State<Pages>,
    Path((tenant, namespace, local)): TopicPath,
    headers: HeaderMap,
) -> Answer {
    let topic = pages.topic(&tenant, &namespace, &local)?;
    let (partitions, all) = pages.ask_partitions(&topic, &Ask::InternalStats, is_forwarded(&headers)).await?;
    Ok(body::json(json!({"metadata": {"partitions": partitions, "deleted": false}, "partitions": all})))
}

/// Of all partitions; each with its number and its last message.
pub(super) async fn terminate(
    State(pages): State<Pages>,
    Path((tenant, namespace, local)): TopicPath,
    headers: HeaderMap,
) -> Answer {
    let topic = pages.topic(&tenant, &namespace, &local)?;
    if pages.context.namespaces.partitions(&topic).await? == 0 {
        let reason = "Termination of a non-partitioned topic is not allowed using partitioned-terminate, please use terminate commands";
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, reason));
    }
    let (partitions, all) = pages.ask_partitions(&topic, &Ask::Terminate, is_forwarded(&headers)).await?;
    let last = |number: u32| all.get(&topic.with_partition(number).to_string()).cloned().unwrap_or_default();
    Ok(body::json((0..partitions).map(|number| (number.to_string(), last(number))).collect::<BTreeMap<_, _>>()))
}

impl Pages {
    pub(super) async fn create_partitions(
        &self,
        topic: &TopicName,
        numbers: std::ops::Range<u32>,
    ) -> Result<(), Refusal> {
        if topic.domain() == Domain::NonPersistent {
            return Ok(()); // They come with whoever asks for them.
        }
        let made = futures::stream::iter(numbers).map(|number| async move {
            crate::log::create(&self.log, &topic.with_partition(number), Default::default()).await
        });
        made.buffer_unordered(AT_ONCE).try_for_each(|_new| async { Ok(()) }).await?;
        Ok(())
    }

    pub(super) async fn ask_partitions(
        &self,
        topic: &TopicName,
        ask: &Ask,
        forwarded: bool,
    ) -> Result<(u32, BTreeMap<String, Value>), Refusal> {
        let partitions = self.context.namespaces.partitions(topic).await?;
        if partitions == 0 {
            return Err(Refusal::not_found(format!("Partitioned Topic {topic} not found")));
        }
        let asked = futures::stream::iter(0..partitions).map(|number| async move {
            let partition = topic.with_partition(number);
            let value = self.ask(&partition, ask, forwarded).await?;
            Ok::<_, Refusal>((partition.to_string(), value))
        });
        Ok((partitions, asked.buffer_unordered(AT_ONCE).try_collect().await?))
    }

    /// Deletes partitions, then the parent. Without `force`, users of any partition are in the way before the first is deleted.
    pub(super) async fn delete_partitioned(
        &self,
        topic: &TopicName,
        force: bool,
        forwarded: bool,
    ) -> Result<(), Refusal> {
        let partitions = self.each(topic).await?;
        let mut there = vec![];
        for partition in &partitions {
            if self.is_there(partition).await? {
                there.push(partition);
            }
        }
        if !force {
            for partition in &there {
                if is_used(&self.ask(partition, &Ask::Stats { ages: false }, forwarded).await?) {
                    let reason = "Topic has active producers/subscriptions";
                    return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, reason));
                }
            }
        }
        for partition in there {
            self.delete_if_there(partition, force, forwarded).await?;
        }
        self.context.namespaces.delete_partitioned(topic).await?;
        for partition in &partitions {
            if self.is_there(partition).await? {
                self.delete_if_there(partition, true, forwarded).await?; // A client was quicker than the parent's end.
            }
        }
        if topic.domain() == Domain::Persistent {
            self.context.schemas.delete(topic).await?;
        }
        Ok(())
    }

    async fn delete_if_there(&self, topic: &TopicName, force: bool, forwarded: bool) -> Result<(), Refusal> {
        match self.ask(topic, &Ask::Delete { force }, forwarded).await {
            Err(refusal) if refusal.status == StatusCode::NOT_FOUND => Ok(()),
            asked => asked.map(drop),
        }
    }
}

fn is_used(stats: &Value) -> bool {
    let some = |list: &Value| list.as_array().is_some_and(|list| !list.is_empty());
    let subscriptions = stats["subscriptions"].as_object();
    some(&stats["publishers"]) || subscriptions.is_some_and(|all| all.values().any(|one| some(&one["consumers"])))
}
