//! Properties of topics: what people have noted with them.
use std::collections::{BTreeMap, HashMap};

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::about::About;
use super::body::{self, done};
use super::owner::{Ask, encode};
use super::{Answer, Pages};

/// What becomes of the properties of a topic.
#[derive(Debug, Clone)]
pub(super) enum PropertyChange {
    Set(BTreeMap<String, String>),
    Remove(String),
}

impl PropertyChange {
    /// As a request to another broker: what stands after the topic's path.
    pub(super) fn request(&self) -> (Method, String, Option<Value>) {
        match self {
            Self::Set(given) => (Method::PUT, "/properties".into(), Some(json!(given))),
            Self::Remove(key) => (Method::DELETE, format!("/properties?key={}", encode(key)), None),
        }
    }

    pub(super) fn apply(&self, properties: &mut HashMap<String, String>) {
        match self {
            Self::Set(given) => properties.extend(given.clone()),
            Self::Remove(key) => drop(properties.remove(key)),
        }
    }
}

/// Of a partitioned topic, its own: a partition has others.
pub(super) async fn show(State(pages): State<Pages>, about: About) -> Answer {
    if let Some(record) = pages.context.namespaces.partitioned(&about.topic).await? {
        return Ok(body::json(record.properties.into_iter().collect::<BTreeMap<_, _>>()));
    }
    Ok(body::json(pages.ask(&about.topic, &Ask::Properties, about.forwarded).await?))
}

/// Sets those that are given, and leaves the others.
pub(super) async fn set(State(pages): State<Pages>, about: About, body: Bytes) -> Answer {
    let given: BTreeMap<String, String> = body::parse(&body)?.unwrap_or_default();
    change(&pages, &about, PropertyChange::Set(given)).await
}

#[derive(Debug, Deserialize)]
pub(super) struct Key {
    key: Option<String>,
}

pub(super) async fn remove(State(pages): State<Pages>, about: About, Query(Key { key }): Query<Key>) -> Answer {
    let key = key.ok_or_else(|| body::bad("the parameter `key` is missing"))?; // Apache Pulsar never answers.
    change(&pages, &about, PropertyChange::Remove(key)).await
}

async fn change(pages: &Pages, about: &About, change: PropertyChange) -> Answer {
    if 0 < pages.context.namespaces.partitions(&about.topic).await? {
        let edit = |properties: &mut HashMap<String, String>| change.apply(properties);
        pages.context.namespaces.change_properties(&about.topic, edit).await?;
        return Ok(done());
    }
    pages.ask(&about.topic, &Ask::ChangeProperties(change), about.forwarded).await?;
    Ok(done())
}
