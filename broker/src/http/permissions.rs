//! Who may do what with a namespace or a topic. It is noted and shown; nobody is kept from anything by it while brokers do not ask who
//! their clients are.
use axum::body::Bytes;
use axum::extract::{Path, State};
use serde_json::Value;

use super::about::About;
use super::body::{self, done};
use super::policies::{READING, namespace_level, of_namespace};
use super::{Answer, Pages, Refusal};
use crate::policies::{Grant, Level, grant, permissions};

type NamespaceParts = (String, String);
type RoleParts = (String, String, String);

impl Pages {
    async fn permissions(&self, level: &Level, of: &Grant) -> Answer {
        let record = self.context.policies.set_at(level).await.map_err(|error| of_namespace(error, READING))?;
        Ok(body::json(permissions(&record, of)))
    }

    async fn grant(&self, level: &Level, to: &Grant, role: &str, actions: Option<Value>) -> Answer {
        let changed = self.context.policies.change(level, |record| grant(record, to, role, actions.as_ref()));
        changed.await.map_err(|error| of_namespace(error, READING))?;
        Ok(done())
    }

    /// Of a topic, permissions stand with its namespace, as in Apache Pulsar: they outlive the topic.
    async fn level_of(&self, about: &About) -> Result<Level, Refusal> {
        if !self.is_there(&about.topic).await? {
            return Err(Refusal::not_found(format!("Topic {} not found", about.topic)));
        }
        Ok(Level::Namespace(about.topic.namespace().clone()))
    }
}

pub(super) async fn of_namespace_page(State(pages): State<Pages>, Path(path): Path<NamespaceParts>) -> Answer {
    pages.permissions(&namespace_level(&path)?, &Grant::Namespace).await
}

pub(super) async fn grant_on_namespace(
    State(pages): State<Pages>,
    Path((tenant, namespace, role)): Path<RoleParts>,
    body: Bytes,
) -> Answer {
    let actions = body::parse(&body)?.unwrap_or_default();
    pages.grant(&namespace_level(&(tenant, namespace))?, &Grant::Namespace, &role, Some(actions)).await
}

pub(super) async fn revoke_on_namespace(
    State(pages): State<Pages>,
    Path((tenant, namespace, role)): Path<RoleParts>,
) -> Answer {
    pages.grant(&namespace_level(&(tenant, namespace))?, &Grant::Namespace, &role, None).await
}

pub(super) async fn of_subscriptions(State(pages): State<Pages>, Path(path): Path<NamespaceParts>) -> Answer {
    pages.permissions(&namespace_level(&path)?, &Grant::Subscriptions).await
}

/// The body names all roles that may use a subscription.
pub(super) async fn grant_on_subscription(
    State(pages): State<Pages>,
    Path((tenant, namespace, subscription)): Path<RoleParts>,
    body: Bytes,
) -> Answer {
    let roles = body::parse(&body)?.unwrap_or_default();
    pages.grant(&namespace_level(&(tenant, namespace))?, &Grant::Subscriptions, &subscription, Some(roles)).await
}

pub(super) async fn revoke_on_subscription(
    State(pages): State<Pages>,
    Path((tenant, namespace, subscription, role)): Path<(String, String, String, String)>,
) -> Answer {
    pages.grant(&namespace_level(&(tenant, namespace))?, &Grant::Subscription(subscription), &role, None).await
}

/// Of a subscription that is called `subscription`, whose page is that of others too.
pub(super) async fn revoke_on_its_namesake(
    State(pages): State<Pages>,
    Path((tenant, namespace, role)): Path<RoleParts>,
) -> Answer {
    let of = Grant::Subscription("subscription".into());
    pages.grant(&namespace_level(&(tenant, namespace))?, &of, &role, None).await
}

pub(super) async fn of_topic(State(pages): State<Pages>, about: About) -> Answer {
    let level = pages.level_of(&about).await?;
    pages.permissions(&level, &Grant::Topic(about.topic)).await
}

pub(super) async fn grant_on_topic(State(pages): State<Pages>, about: About, body: Bytes) -> Answer {
    let (level, actions) = (pages.level_of(&about).await?, body::parse(&body)?.unwrap_or_default());
    let role = about.part("role").to_owned();
    pages.grant(&level, &Grant::Topic(about.topic), &role, Some(actions)).await
}

pub(super) async fn revoke_on_topic(State(pages): State<Pages>, about: About) -> Answer {
    let level = pages.level_of(&about).await?;
    let role = about.part("role").to_owned();
    pages.grant(&level, &Grant::Topic(about.topic), &role, None).await
}
