//! Schemas of topics. They are metadata: any broker answers, also for a topic that is not there yet.
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use proto::TopicName;
use proto::pulsar::schema::Type;
use proto::records::SchemaRecord;
use serde::Deserialize;
use serde_json::{Value, json};

use super::routes::{Routes, get, post};
use super::topics::{Force, TopicPath, persistent};
use super::{Answer, Pages, Refusal, body};
use crate::schemas::{self, Rules, Schema, SchemaError};

/// Below a topic.
pub(super) fn of_topics() -> Routes {
    Routes::new()
        .route("/schema", get(latest).post(add).delete(delete))
        .route("/schema/{version}", get(version))
        .route("/schemas", get(all))
        .route("/metadata", get(metadata))
        .route("/version", post(find))
        .route("/compatibility", post(compatibility))
}

fn not_found() -> Refusal {
    Refusal::not_found("Schema not found")
}

async fn latest(State(pages): State<Pages>, Path((tenant, namespace, local)): TopicPath) -> Answer {
    let topic = persistent(&tenant, &namespace, &local)?;
    let history = pages.context.schemas.history(&topic).await?;
    Ok(body::json(show(history.live().last().ok_or_else(not_found)?)))
}

async fn version(
    State(pages): State<Pages>,
    Path((tenant, namespace, local, version)): Path<(String, String, String, String)>,
) -> Answer {
    let topic = persistent(&tenant, &namespace, &local)?;
    let number: i64 =
        version.parse().map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, format!("`{version}` is no version")))?;
    let history = pages.context.schemas.history(&topic).await?;
    let found = history.live().iter().find(|record| u64::try_from(number) == Ok(record.version));
    Ok(body::json(show(found.ok_or_else(not_found)?)))
}

async fn all(State(pages): State<Pages>, Path((tenant, namespace, local)): TopicPath) -> Answer {
    let topic = persistent(&tenant, &namespace, &local)?;
    let history = pages.context.schemas.history(&topic).await?;
    Ok(body::json(json!({"getSchemaResponses": history.live().iter().map(show).collect::<Vec<_>>()})))
}

/// Where versions lie: not in ledgers.
async fn metadata(State(pages): State<Pages>, Path((tenant, namespace, local)): TopicPath) -> Answer {
    let topic = persistent(&tenant, &namespace, &local)?;
    let history = pages.context.schemas.history(&topic).await?;
    let Some(last) = history.last() else { return Ok(StatusCode::OK.into_response()) };
    let place = |record: &SchemaRecord| json!({"ledgerId": -1, "entryId": -1, "version": record.version});
    let marked = Some(last).filter(|last| last.deleted);
    let index: Vec<Value> = history.live().iter().chain(marked).map(place).collect();
    Ok(body::json(json!({"info": place(last), "index": index})))
}

async fn delete(
    State(pages): State<Pages>,
    Path((tenant, namespace, local)): TopicPath,
    Query(Force { force }): Query<Force>,
) -> Answer {
    let topic = persistent(&tenant, &namespace, &local)?;
    let schemas = &pages.context.schemas;
    if force {
        schemas.delete(&topic).await?;
        return Ok(body::json(json!({"version": -1})));
    }
    Ok(body::json(json!({"version": schemas.mark_deleted(&topic).await?})))
}

/// A schema as tools send it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Payload {
    r#type: Option<String>,
    schema: Option<String>,
    properties: Option<std::collections::BTreeMap<String, String>>,
}

/// What a request is about, and the rules that count there.
struct Asked {
    topic: TopicName,
    schema: Schema,
    rules: Rules,
}

async fn read(pages: &Pages, Path((tenant, namespace, local)): TopicPath, body: &Bytes) -> Result<Asked, Refusal> {
    let topic = persistent(&tenant, &namespace, &local)?;
    pages.context.namespaces.namespace(topic.namespace()).await?;
    let lacks = |what: &str| Refusal::new(StatusCode::BAD_REQUEST, format!("the body has no `{what}`"));
    let payload: Payload = body::parse(body)?.unwrap_or_default();
    let text = payload.schema.ok_or_else(|| lacks("schema"))?;
    let name = payload.r#type.ok_or_else(|| lacks("type"))?;
    if let Some(reason) = schemas::client_side(&name) {
        return Err(SchemaError::Invalid(reason).into());
    }
    let unknown = || Refusal::new(StatusCode::BAD_REQUEST, format!("there is no schema type `{name}`"));
    let kind = schemas::named(&name).ok_or_else(unknown)?;
    let data = match kind {
        Type::KeyValue => schemas::key_value_from_json(&text)
            .ok_or_else(|| body::bad("a schema of keys and values is JSON of `key` and `value`"))?,
        _ => text.into(),
    };
    let rules = Rules::of(&pages.context.policies.effective(&topic).await?);
    let schema = Schema { kind, name: String::new(), data, properties: payload.properties.unwrap_or_default() };
    Ok(Asked { topic, schema, rules })
}

async fn add(State(pages): State<Pages>, path: TopicPath, body: Bytes) -> Answer {
    let Asked { topic, schema, rules } = read(&pages, path, &body).await?;
    let version = pages.context.schemas.add_by_operator(&topic, schema, rules.strategy).await?;
    Ok(body::json(json!({"version": {"version": version}})))
}

async fn find(State(pages): State<Pages>, path: TopicPath, body: Bytes) -> Answer {
    let Asked { topic, schema, .. } = read(&pages, path, &body).await?;
    let version = pages.context.schemas.find(&topic, &schema).await?;
    Ok(body::json(json!({"version": version.map_or(-1, u64::cast_signed)})))
}

async fn compatibility(State(pages): State<Pages>, path: TopicPath, body: Bytes) -> Answer {
    let Asked { topic, schema, rules } = read(&pages, path, &body).await?;
    let compatible = match pages.context.schemas.admits(&topic, schema, rules.strategy).await {
        Ok(()) => true,
        Err(SchemaError::Incompatible(_)) => false,
        Err(error) => return Err(error.into()),
    };
    let answer = json!({"compatibility": compatible, "schemaCompatibilityStrategy": rules.strategy.name()});
    Ok((StatusCode::ACCEPTED, axum::Json(answer)).into_response())
}

fn show(record: &SchemaRecord) -> Value {
    let kind = Type::try_from(record.r#type).unwrap_or(Type::None);
    let data = match kind {
        Type::KeyValue => schemas::key_value_to_json(&record.data).unwrap_or_default(),
        _ => String::from_utf8_lossy(&record.data).into_owned(),
    };
    json!({
        "version": record.version, "type": schemas::name(kind), "timestamp": record.created_at,
        "data": data, "properties": record.properties,
    })
}
