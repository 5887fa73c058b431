//! The clusters of namespaces and topics. Which they are to be in is kept and told; nothing goes to another than this one yet.
use std::collections::BTreeSet;
use std::fmt::Display;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::body::{self, done};
use super::policies::{Asked, READING, change_of_topic, namespace_level, of_namespace, set_for_topic};
use super::{Answer, Pages, Refusal};
use crate::policies::{clusters, set_clusters};

type NamespaceParts = Path<(String, String)>;
type TopicParts = Path<(String, String, String)>;

fn refused(reason: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::PRECONDITION_FAILED, reason)
}

/// Those that a body names, sorted.
fn named(body: &Bytes) -> Result<Vec<String>, Refusal> {
    let clusters: BTreeSet<String> = body::parse(body)?.unwrap_or_default();
    if clusters.is_empty() {
        return Err(refused("ClusterIds should not be null or empty"));
    }
    if clusters.contains("global") {
        return Err(refused("Cannot specify global in the list of replication clusters"));
    }
    Ok(Vec::from_iter(clusters))
}

impl Pages {
    async fn all_exist(&self, clusters: &[String]) -> Result<(), Refusal> {
        match self.context.namespaces.unknown_cluster(clusters).await? {
            Some(unknown) => Err(Refusal::new(StatusCode::FORBIDDEN, format!("Invalid cluster id: {unknown}"))),
            None => Ok(()),
        }
    }

    /// Those that are set. Everything is here unless something else is said.
    fn or_here(&self, set: Value) -> Response {
        body::json(if set.is_null() { json!([self.context.config.cluster]) } else { set })
    }

    /// Whoever asks for copies elsewhere must not believe that there are any.
    pub(super) fn warn_of_replication(&self, of: &dyn Display, clusters: &[String]) {
        if clusters.iter().any(|cluster| *cluster != self.context.config.cluster) {
            tracing::warn!(%of, ?clusters, "messages do not go to other clusters yet: this is only kept");
        }
    }
}

pub(super) async fn of_a_namespace(State(pages): State<Pages>, Path(path): NamespaceParts) -> Answer {
    let found = pages.context.policies.set_at(&namespace_level(&path)?).await;
    Ok(pages.or_here(clusters(&found.map_err(|error| of_namespace(error, READING))?)))
}

pub(super) async fn set_for_a_namespace(State(pages): State<Pages>, Path(path): NamespaceParts, body: Bytes) -> Answer {
    let level = namespace_level(&path)?;
    let found = pages.context.policies.set_at(&level).await;
    found.map_err(|error| of_namespace(error, READING))?;
    let clusters = named(&body)?;
    pages.all_exist(&clusters).await?;
    pages.context.namespaces.must_be_allowed(&path.0, &clusters).await?;
    let set = |record: &mut _| {
        set_clusters(record, Some(&clusters));
        Ok(())
    };
    pages.context.policies.change(&level, set).await.map_err(|error| of_namespace(error, READING))?;
    pages.warn_of_replication(&format!("{}/{}", path.0, path.1), &clusters);
    Ok(StatusCode::OK.into_response())
}

/// What is set for the topic itself, or what counts.
pub(super) async fn of_a_topic(State(pages): State<Pages>, Path(path): TopicParts, asked: Query<Asked>) -> Answer {
    let record = set_for_topic(&pages, &path).await?;
    Ok(match clusters(&record) {
        _ if asked.applied() => {
            let topic = pages.topic(&path.0, &path.1, &path.2)?;
            pages.or_here(pages.context.policies.effective(&topic).await?.clusters())
        }
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
    let clusters = named(&body)?;
    if !clusters.contains(&pages.context.config.cluster) {
        return Err(refused("Can not remove local cluster from the local topic-level replication clusters policy"));
    }
    pages.all_exist(&clusters).await?;
    let answer = changed(&pages, &path, &asked, Some(&clusters)).await?;
    pages.warn_of_replication(&format!("{}/{}/{}", path.0, path.1, path.2), &clusters);
    Ok(answer)
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
