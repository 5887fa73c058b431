//! The pages of policies. Which there are, and what they take, stands in one table.
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use proto::Domain;
use proto::records::PoliciesRecord;
use serde::Deserialize;
use serde_json::Value;

use super::body::{self, done, json};
use super::routes::{Page, Routes, delete, get, post, put};
use super::topics::namespace_name;
use super::{Answer, Pages, Refusal};
use crate::policies::{Level, LevelPage, PoliciesError, Policy, PolicyError, Unset, Verb, table};

type NamespaceParts = (String, String);
type TopicParts = (String, String, String);

/// Below `/namespaces`.
pub(super) fn of_namespaces() -> Routes {
    let mut router = Routes::new();
    for policy in table() {
        let Some(page) = policy.of_namespace else { continue };
        let show = move |State(pages): State<Pages>, Path(path): Path<NamespaceParts>| async move {
            let record = pages.context.policies.set_at(&namespace_level(&path)?).await;
            Ok::<_, Refusal>(shown(&page, policy.show(&record.map_err(|error| of_namespace(error, READING))?)))
        };
        let set = move |State(pages): State<Pages>, Path(path): Path<NamespaceParts>, body: Bytes| async move {
            let value = given(&page, &body)?;
            let level = namespace_level(&path)?;
            let policies = &pages.context.policies;
            let changed = policies.change(&level, |record| policy.set(record, &value, policies.of_broker())).await;
            changed.map_err(|error| of_namespace(error, page.missing.text()))?;
            Ok::<_, Refusal>(changed_as(&page))
        };
        let clear = move |State(pages): State<Pages>, Path(path): Path<NamespaceParts>| async move {
            let level = namespace_level(&path)?;
            let changed = pages.context.policies.change(&level, |record| cleared(policy, record)).await;
            changed.map_err(|error| of_namespace(error, page.missing.text()))?;
            Ok::<_, Refusal>(done())
        };
        router = routes(
            router,
            "/{tenant}/{namespace}",
            policy,
            &page,
            get(show),
            by(&page, post(set), put(set)),
            delete(clear),
        );
    }
    router
}

/// Below a topic.
pub(super) fn of_topics() -> Routes {
    let mut router = Routes::new();
    for policy in table() {
        let Some(page) = policy.of_topic else { continue };
        let show = move |State(pages): State<Pages>, Path(path): Path<TopicParts>, query: Query<Asked>| async move {
            show_of_topic(&pages, policy, &page, &path, &query).await
        };
        let set = move |State(pages): State<Pages>,
                        Path(path): Path<TopicParts>,
                        query: Query<Asked>,
                        uri: Uri,
                        body: Bytes| async move {
            let value = match page.parameter {
                Some(name) => parameter(&uri, name),
                None => given(&page, &body)?,
            };
            let of_broker = pages.context.policies.of_broker();
            change_of_topic(&pages, &path, &query, |record| policy.set(record, &value, of_broker)).await?;
            Ok::<_, Refusal>(changed_as(&page))
        };
        let clear = move |State(pages): State<Pages>, Path(path): Path<TopicParts>, query: Query<Asked>| async move {
            change_of_topic(&pages, &path, &query, |record| cleared(policy, record)).await?;
            Ok::<_, Refusal>(done())
        };
        router = routes(router, "", policy, &page, get(show), by(&page, post(set), put(set)), delete(clear));
    }
    router
}

fn by(page: &LevelPage, by_post: Page, by_put: Page) -> Page {
    match page.verb {
        Verb::Post => by_post,
        Verb::Put => by_put,
    }
}

fn routes(router: Routes, base: &str, policy: &Policy, page: &LevelPage, show: Page, set: Page, clear: Page) -> Routes {
    let path = |name: &str| format!("{base}/{name}");
    let router = router.route(&path(policy.page), show.merge(set));
    match page.remove_at {
        Some(name) => router.route(&path(name), clear),
        None => router,
    }
}

/// How a topic's policy is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Asked {
    /// What counts, instead of what is set.
    applied: Option<String>,
    /// Of all clusters, instead of this one.
    is_global: Option<String>,
}

impl Asked {
    /// Whether the question is what counts.
    pub(super) fn applied(&self) -> bool {
        is_true(self.applied.as_ref())
    }
}

/// As Apache Pulsar reads a parameter: anything else is false.
pub(super) fn is_true(text: Option<&String>) -> bool {
    text.is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

async fn show_of_topic(pages: &Pages, policy: &Policy, page: &LevelPage, path: &TopicParts, asked: &Asked) -> Answer {
    let record = set_for_topic(pages, path).await?;
    if asked.applied() {
        let topic = pages.topic(&path.0, &path.1, &path.2)?;
        return Ok(shown(page, policy.show_applied(&pages.context.policies.effective(&topic).await?)));
    }
    // There is one cluster: nothing is set for several.
    Ok(shown(page, if is_true(asked.is_global.as_ref()) { Value::Null } else { policy.show(&record) }))
}

/// What is set for a topic itself.
pub(super) async fn set_for_topic(pages: &Pages, path: &TopicParts) -> Result<PoliciesRecord, Refusal> {
    let level = topic_level(pages, path).await?;
    match pages.context.policies.set_at(&level).await {
        Ok(record) => Ok(record),
        Err(error) => Err(of_topic(pages, &level, error).await),
    }
}

pub(super) async fn change_of_topic(
    pages: &Pages,
    path: &TopicParts,
    asked: &Asked,
    edit: impl Fn(&mut PoliciesRecord) -> Result<(), PolicyError>,
) -> Result<(), Refusal> {
    let level = topic_level(pages, path).await?;
    if is_true(asked.is_global.as_ref()) {
        return Err(Refusal::not_built("a policy of a topic over several clusters"));
    }
    match pages.context.policies.change(&level, edit).await {
        Ok(()) => Ok(()),
        Err(error) => Err(of_topic(pages, &level, error).await),
    }
}

fn shown(page: &LevelPage, value: Value) -> Response {
    match page.unset {
        _ if !value.is_null() => json(value),
        Unset::Empty => StatusCode::OK.into_response(),
        Unset::NoContent => done(),
        Unset::Json(text) => json(serde_json::from_str::<Value>(text).unwrap_or_default()),
    }
}

fn changed_as(page: &LevelPage) -> Response {
    StatusCode::from_u16(page.done).unwrap_or(StatusCode::NO_CONTENT).into_response()
}

fn cleared(policy: &Policy, record: &mut PoliciesRecord) -> Result<(), PolicyError> {
    policy.clear(record);
    Ok(())
}

/// The body's value. No body at all is like `null` where that may be.
fn given(page: &LevelPage, body: &Bytes) -> Result<Value, Refusal> {
    if body.trim_ascii().is_empty() && !page.body_optional {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "The request entity cannot be empty."));
    }
    Ok(body::parse(body)?.unwrap_or(Value::Null))
}

/// What the query says; nothing is like `null`.
fn parameter(uri: &Uri, name: &str) -> Value {
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let mut found = pairs.filter(|(key, _)| *key == name);
    found.next().map_or(Value::Null, |(_, value)| Value::from(value))
}

pub(super) fn namespace_level((tenant, namespace): &NamespaceParts) -> Result<Level, Refusal> {
    Ok(Level::Namespace(namespace_name(tenant, namespace)?))
}

/// The topic must be there: of one that is not stored, no record says so.
pub(super) async fn topic_level(pages: &Pages, (tenant, namespace, local): &TopicParts) -> Result<Level, Refusal> {
    let topic = pages.topic(tenant, namespace, local)?;
    if topic.partition().is_some() {
        let reason = "Not allowed to set/get topic policy for a partition";
        return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, reason));
    }
    if topic.domain() == Domain::NonPersistent && !pages.is_there(&topic).await? {
        return Err(Refusal::not_found(format!("Topic {topic} not found")));
    }
    Ok(Level::Topic(topic))
}

/// What is said when a policy of no namespace is read.
pub(super) const READING: &str = "Namespace does not exist";

pub(super) fn of_namespace(error: PoliciesError, missing: &str) -> Refusal {
    match error {
        PoliciesError::NotFound => Refusal::not_found(missing),
        error => error.into(),
    }
}

pub(super) async fn of_topic(pages: &Pages, level: &Level, error: PoliciesError) -> Refusal {
    let (PoliciesError::NotFound, Level::Topic(topic)) = (&error, level) else { return error.into() };
    match pages.context.namespaces.namespace(topic.namespace()).await {
        Ok(_) => Refusal::not_found(format!("Topic {topic} not found")),
        Err(_) => Refusal::not_found("Namespace not found"),
    }
}

impl From<PolicyError> for Refusal {
    fn from(error: PolicyError) -> Self {
        let status = match &error {
            PolicyError::Malformed(_) => StatusCode::BAD_REQUEST,
            PolicyError::Refused(_) => StatusCode::PRECONDITION_FAILED,
        };
        Self::new(status, error.to_string())
    }
}

impl From<PoliciesError> for Refusal {
    fn from(error: PoliciesError) -> Self {
        match error {
            PoliciesError::NotFound => Self::not_found(error.to_string()),
            PoliciesError::Value(error) => error.into(),
            PoliciesError::Metadata(error) => error.into(),
        }
    }
}
