//! Administration, lookups over HTTP, health and metrics, as Apache Pulsar's tools and clients expect them.
//!
//! Owns: nothing; every answer comes from the rooms below.
//! Promises: any broker answers any request: what only the owner of a topic knows is asked from it inside the cluster.
//! Never: says that something was done which was not.
mod about; // What a request says,
mod body;
mod refusal; // and how it is refused.

mod owner; // Asking the broker that has a topic.

mod bookies; // Pages, from the outside inwards.
mod bundles;
mod clusters;
mod compaction;
mod lookup;
mod messages;
mod names;
mod offload;
mod partitioned;
mod policies;
mod quotas;
mod schemas;
mod settings;
mod topics;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::middleware::{map_request, map_response};
use axum::response::Response;
use axum::routing::{any, delete, get, post, put};

use crate::Context;
use crate::log::LogContext;
use crate::ownership::START_HEADER;
use refusal::Refusal;

/// What every handler is given. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    pub(crate) context: Arc<Context>,
    /// Makes topics without loading them.
    pub(crate) log: LogContext,
    /// Asks other brokers.
    pub(crate) peers: reqwest::Client,
}

type Answer = Result<Response, Refusal>;

/// Everything but health and metrics, which need no context and are served before there is one.
pub(crate) fn router(pages: Pages) -> Router {
    Router::new()
        .merge(admin())
        .route("/lookup/v2/topic/{domain}/{tenant}/{namespace}/{topic}", get(lookup::owner))
        .route("/lookup/v2/topic/{domain}/{tenant}/{namespace}/{topic}/bundle", get(lookup::bundle))
        .with_state(pages)
        .fallback(async |uri: Uri| Refusal::new(StatusCode::NOT_FOUND, format!("there is no page {}", uri.path())))
        .method_not_allowed_fallback(async || {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this page does not take this method")
        })
}

/// The answer to everything before there is something to ask.
pub(crate) fn starting() -> impl axum::response::IntoResponse {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the broker is starting")
}

fn admin() -> Router<Pages> {
    let names = Router::new()
        .route("/tenants", get(names::tenants))
        .route(
            "/tenants/{tenant}",
            get(names::tenant).put(names::create_tenant).post(names::update_tenant).delete(names::delete_tenant),
        )
        .route("/namespaces/{tenant}", get(names::namespaces))
        .route(
            "/namespaces/{tenant}/{namespace}",
            get(names::namespace).put(names::create_namespace).delete(names::delete_namespace),
        )
        .route("/namespaces/{tenant}/{namespace}/topics", get(names::topics))
        .route("/namespaces/{tenant}/{namespace}/bundles", get(bundles::list))
        .route("/namespaces/{tenant}/{namespace}/unload", put(bundles::unload_all))
        .route("/namespaces/{tenant}/{namespace}/{bundle}/unload", put(bundles::unload))
        .route("/namespaces/{tenant}/{namespace}/{bundle}/split", put(bundles::split))
        .route("/namespaces/{tenant}/{namespace}/{bundle}/topicHashPositions", get(bundles::positions))
        .route(
            "/namespaces/{tenant}/{namespace}/backlogQuota",
            post(quotas::set_of_namespace).delete(quotas::clear_of_namespace),
        )
        .route(
            "/namespaces/{tenant}/{namespace}/property/{key}",
            get(quotas::show_property).delete(quotas::remove_property),
        )
        .route("/namespaces/{tenant}/{namespace}/property/{key}/{value}", put(quotas::put_property))
        .route("/namespaces/{tenant}/{namespace}/replication", get(quotas::replication).post(quotas::set_replication))
        .route("/namespaces/{tenant}/{namespace}/{bundle}", any(names::not_built))
        .route("/namespaces/{tenant}/{namespace}/{bundle}/{*feature}", any(names::not_built_below))
        .nest("/schemas/{tenant}/{namespace}/{topic}", schemas::of_topics());
    let names = names.nest("/namespaces", policies::of_namespaces());
    let ours = Router::new()
        .route("/geminga/bookies", get(bookies::list))
        .route("/geminga/bookies/audit", post(bookies::audit))
        .route("/geminga/bookies/{bookie}/decommission", post(bookies::decommission))
        .route("/geminga/bookies/{bookie}/recommission", post(bookies::recommission))
        .route("/geminga/offload/scrub", post(offload::scrub))
        .route("/geminga/offload/status", get(offload::status))
        .route("/geminga/offload/cost", get(offload::cost))
        .route("/geminga/load", get(bundles::load))
        .route("/geminga/moves", get(bundles::moves))
        .route("/geminga/bundles/{tenant}/{namespace}/{bundle}/expect", put(bundles::expect));
    let paths = Router::new()
        .merge(clusters_and_brokers())
        .merge(names)
        .merge(ours)
        .merge(persistent())
        .merge(non_persistent());
    Router::new().nest("/admin/v2", paths)
}

fn clusters_and_brokers() -> Router<Pages> {
    Router::new()
        .route("/clusters", get(clusters::list))
        .route("/clusters/{cluster}", get(clusters::read).put(clusters::create))
        .route("/brokers", get(clusters::brokers))
        .route("/brokers/health", get(clusters::health))
        .route("/brokers/ready", get(clusters::health))
        .route("/brokers/version", get(clusters::version))
        .route("/brokers/configuration", get(settings::dynamic))
        .route("/brokers/configuration/values", get(settings::changed))
        .route("/brokers/configuration/runtime", get(settings::running))
        .route("/brokers/configuration/{name}", delete(settings::forget))
        .route("/brokers/configuration/{name}/{value}", post(settings::change))
        .route("/resource-quotas", get(settings::quota))
        .route("/resourcegroups", get(settings::groups))
        .route("/resourcegroups/{group}", get(settings::group))
        .route("/clusters/{cluster}/failureDomains", get(settings::failure_domains))
        .route("/clusters/{cluster}/namespaceIsolationPolicies", get(settings::isolation))
        .route("/functions/{*rest}", any(settings::no_functions))
        .route("/worker/{*rest}", any(settings::no_functions))
        .route("/brokers/leaderBroker", get(clusters::leader))
        .route("/brokers/{cluster}", get(clusters::brokers))
        .route("/brokers/{cluster}/{broker}/ownedNamespaces", get(clusters::owned))
        .route("/bookies/all", get(bookies::all))
        .route("/bookies/racks-info", get(bookies::racks))
}

fn persistent() -> Router<Pages> {
    let topic = Router::new()
        .route("/", put(topics::create).delete(topics::delete))
        .route("/unload", put(topics::unload))
        .route("/trim", post(topics::trim))
        .route("/truncate", delete(topics::truncate))
        .route("/terminate", post(topics::terminate))
        .route("/terminate/partitions", post(partitioned::terminate))
        .route("/offload", put(offload::begin).get(offload::progress))
        .route("/compaction", put(compaction::begin).get(compaction::progress))
        .route("/stats", get(topics::stats))
        .route("/internalStats", get(topics::internal_stats))
        .route("/lastMessageId", get(topics::last_message_id))
        .route("/subscriptions", get(topics::subscriptions))
        .route("/subscription/{subscription}", put(topics::subscribe).delete(topics::unsubscribe))
        .route("/subscription/{subscription}/skip_all", post(topics::skip_all))
        .merge(messages::of_topics())
        .route("/subscription/{subscription}/resetcursor", post(topics::reset))
        .route("/subscription/{subscription}/resetcursor/{time}", post(topics::reset_to_time))
        .route(
            "/partitions",
            get(partitioned::read).put(partitioned::create).post(partitioned::grow).delete(partitioned::delete),
        )
        .route("/createMissedPartitions", post(settings::create_missed_partitions))
        .route("/partitioned-stats", get(partitioned::stats))
        .route("/partitioned-internalStats", get(partitioned::internal_stats))
        .route("/backlogQuota", post(quotas::set_of_topic).delete(quotas::clear_of_topic))
        .merge(policies::of_topics())
        .route("/{*feature}", any(topics::not_built));
    Router::new()
        .route("/persistent/{tenant}/{namespace}", get(topics::list))
        .route("/persistent/{tenant}/{namespace}/partitioned", get(partitioned::list))
        .nest("/persistent/{tenant}/{namespace}/{topic}", topic)
}

/// Lists are true: there are none. Everything else says why not.
fn non_persistent() -> Router<Pages> {
    Router::new()
        .route("/non-persistent/{tenant}/{namespace}", get(topics::list_non_persistent))
        .route("/non-persistent/{tenant}/{namespace}/partitioned", get(topics::list_non_persistent))
        .route("/non-persistent/{tenant}/{namespace}/{*topic}", any(topics::no_non_persistent))
}

/// The router as a listener serves it: paths with doubled slashes are put right, and every answer names the start of this broker.
pub(crate) fn outside(inner: Router, start: &str) -> Router {
    let start = HeaderValue::from_str(start).ok(); // An id of letters and digits.
    Router::new()
        .fallback_service(inner)
        .layer(map_request(async |mut request: Request| {
            normalise(request.uri_mut());
            request
        }))
        .layer(map_response(move |mut response: Response| {
            if let Some(start) = start.clone() {
                response.headers_mut().insert(START_HEADER, start);
            }
            std::future::ready(response)
        }))
}

/// `//admin/v2` is meant as `/admin/v2`. A slash at the end is taken away.
fn normalise(uri: &mut Uri) {
    let path = uri.path();
    if !path.contains("//") && (path == "/" || !path.ends_with('/')) {
        return;
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let mut clean = format!("/{}", parts.join("/"));
    if let Some(query) = uri.query() {
        clean.push('?');
        clean.push_str(query);
    }
    if let Ok(clean) = clean.parse() {
        *uri = clean;
    }
}
