//! The clusters of namespaces and topics. There is one, and everything is in it: that may be said, and nothing else.
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::body::{self, done};
use super::policies::{Asked, READING, change_of_topic, namespace_level, of_namespace, set_for_topic};
use super::{Answer, Pages, Refusal};
use crate::policies::{clusters, set_clusters};

type NamespaceParts = Path<(String, String)>;
type TopicParts = Path<(String, String, String)>;

fn refused(reason: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::PRECONDITION_FAILED, reason)
}

impl Pages {
    fn clusters(&self, body: &Bytes) -> Result<Vec<String>, Refusal> {
        let clusters: Vec<String> = body::parse(body)?.unwrap_or_default();
        match clusters.is_empty() {
            true => Err(refused("ClusterIds should not be null or empty")),
            false => Ok(clusters),
        }
    }

    fn all_here(&self, clusters: &[String]) -> Result<(), Refusal> {
        match clusters.iter().find(|cluster| **cluster != self.context.config.cluster) {
            Some(other) => Err(Refusal::new(StatusCode::FORBIDDEN, format!("Invalid cluster id: {other}"))),
            None => Ok(()),
        }
    }
}

pub(super) async fn of_a_namespace(State(pages): State<Pages>, Path(path): NamespaceParts) -> Answer {
    let found = pages.context.policies.set_at(&namespace_level(&path)?).await;
    found.map_err(|error| of_namespace(error, READING))?;
    Ok(body::json([&pages.context.config.cluster]))
}

pub(super) async fn set_for_a_namespace(State(pages): State<Pages>, Path(path): NamespaceParts, body: Bytes) -> Answer {
    let found = pages.context.policies.set_at(&namespace_level(&path)?).await;
    found.map_err(|error| of_namespace(error, READING))?;
    pages.all_here(&pages.clusters(&body)?)?;
    Ok(StatusCode::OK.into_response())
}

/// What is set for the topic itself, or what counts.
pub(super) async fn of_a_topic(State(pages): State<Pages>, Path(path): TopicParts, asked: Query<Asked>) -> Answer {
    let record = set_for_topic(&pages, &path).await?;
    Ok(match clusters(&record) {
        _ if asked.applied() => body::json([&pages.context.config.cluster]),
        Value::Null => StatusCode::OK.into_response(),
        set => body::json(set),
    })
}

pub(super) async fn set_for_a_topic(
    State(pages): State<Pages>,
    Path(path): TopicParts,
    asked: Query<Asked>,
    body: Bytes,
) -> Answer {
    let clusters = pages.clusters(&body)?;
    if !clusters.contains(&pages.context.config.cluster) {
        return Err(refused("Can not remove local cluster from the local topic-level replication clusters policy"));
    }
    pages.all_here(&clusters)?;
    changed(&pages, &path, &asked, Some(&clusters)).await
}

pub(super) async fn forget_of_a_topic(
    State(pages): State<Pages>,
    Path(path): TopicParts,
    asked: Query<Asked>,
) -> Answer {
    changed(&pages, &path, &asked, None).await
}

async fn changed(
    pages: &Pages,
    path: &(String, String, String),
    asked: &Asked,
    clusters: Option<&[String]>,
) -> Result<Response, Refusal> {
    let set = |record: &mut _| {
        set_clusters(record, clusters);
        Ok(())
    };
    change_of_topic(pages, path, asked, set).await?;
    Ok(done())
}
