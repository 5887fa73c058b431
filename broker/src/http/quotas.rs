//! Pages of policies that are more than one value each: backlog quotas and properties.
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::Value;

use super::body::{self, done};
use super::policies::{READING, namespace_level, of_namespace, of_topic, topic_level};
use super::{Answer, Pages, Refusal};
use crate::policies::{Level, QuotaKind, property, set_property, set_quota};

type NamespaceParts = Path<(String, String)>;
type TopicParts = Path<(String, String, String)>;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Asked {
    backlog_quota_type: Option<String>,
}

impl Asked {
    fn kind(&self) -> Result<QuotaKind, Refusal> {
        let unknown = || Refusal::not_found("there is no such type of backlog quota");
        QuotaKind::of(self.backlog_quota_type.as_deref()).ok_or_else(unknown)
    }
}

impl Pages {
    async fn set_quota(&self, level: Level, asked: &Asked, value: Value) -> Answer {
        let kind = asked.kind()?;
        let changed = self.context.policies.change(&level, |record| set_quota(record, &level, kind, &value)).await;
        match (changed, &level) {
            (Ok(()), _) => Ok(done()),
            (Err(error), Level::Namespace(_)) => Err(of_namespace(error, READING)),
            (Err(error), Level::Topic(_)) => Err(of_topic(self, &level, error).await),
        }
    }
}

pub(super) async fn set_of_namespace(
    State(pages): State<Pages>,
    Path(path): NamespaceParts,
    Query(asked): Query<Asked>,
    body: Bytes,
) -> Answer {
    let missing = || Refusal::new(StatusCode::BAD_REQUEST, "The request entity cannot be empty.");
    let value: Value = body::parse(&body)?.ok_or_else(missing)?;
    pages.set_quota(namespace_level(&path)?, &asked, value).await
}

pub(super) async fn clear_of_namespace(
    State(pages): State<Pages>,
    Path(path): NamespaceParts,
    Query(asked): Query<Asked>,
) -> Answer {
    pages.set_quota(namespace_level(&path)?, &asked, Value::Null).await
}

pub(super) async fn set_of_topic(
    State(pages): State<Pages>,
    Path(path): TopicParts,
    Query(asked): Query<Asked>,
    body: Bytes,
) -> Answer {
    pages.set_quota(topic_level(&pages, &path).await?, &asked, body::parse(&body)?.unwrap_or_default()).await
}

pub(super) async fn clear_of_topic(
    State(pages): State<Pages>,
    Path(path): TopicParts,
    Query(asked): Query<Asked>,
) -> Answer {
    pages.set_quota(topic_level(&pages, &path).await?, &asked, Value::Null).await
}

/// One property of a namespace, as text.
pub(super) async fn show_property(
    State(pages): State<Pages>,
    Path((tenant, namespace, key)): Path<(String, String, String)>,
) -> Answer {
    let record = pages.context.policies.set_at(&namespace_level(&(tenant, namespace))?).await;
    let record = record.map_err(|error| of_namespace(error, READING))?;
    Ok(property(&record, &key).unwrap_or_default().into_response())
}

pub(super) async fn put_property(
    State(pages): State<Pages>,
    Path((tenant, namespace, key, value)): Path<(String, String, String, String)>,
) -> Answer {
    let level = namespace_level(&(tenant, namespace))?;
    let changed = pages.context.policies.change(&level, |record| {
        set_property(record, &key, Some(&value));
        Ok(())
    });
    changed.await.map_err(|error| of_namespace(error, READING))?;
    Ok(done())
}

/// Answers with what it was.
pub(super) async fn remove_property(
    State(pages): State<Pages>,
    Path((tenant, namespace, key)): Path<(String, String, String)>,
) -> Answer {
    let level = namespace_level(&(tenant, namespace))?;
    let before = pages.context.policies.set_at(&level).await.map_err(|error| of_namespace(error, READING))?;
    let changed = pages.context.policies.change(&level, |record| {
        set_property(record, &key, None);
        Ok(())
    });
    changed.await.map_err(|error| of_namespace(error, READING))?;
    Ok(property(&before, &key).unwrap_or_default().into_response())
}
