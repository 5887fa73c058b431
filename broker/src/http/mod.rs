//! Administration, lookups over HTTP, health and metrics, as Apache Pulsar's tools and clients expect them.
//!
//! Owns: nothing; every answer comes from the rooms below.
//! Promises: any broker answers any request: what only the owner of a topic knows is asked from it inside the cluster.
//! Never: says that something was done which was not.
mod about; // What a request says,
mod body;
mod refusal; // and how it is refused.
mod routes;

mod owner; // Asking the broker that has a topic.

mod openapi; // All pages in one,

mod bookies; // and each, from the outside inwards.
mod broker_stats;
mod bundles;
mod clearing;
mod clusters;
mod compaction;
mod lookup;
mod messages;
mod names;
mod non_persistent;
mod offload;
mod partitioned;
mod permissions;
mod policies;
mod properties;
mod quotas;
mod replication;
mod schemas;
mod settings;
mod stats;
mod topics;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::middleware::{map_request, map_response};
use axum::response::Response;

use proto::Domain;

use crate::Context;
use crate::log::LogContext;
use crate::ownership::START_HEADER;
use refusal::Refusal;
use routes::{Listed, Routes, any, delete, get, post, put};

/// What every handler is given. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    pub(crate) context: Arc<Context>,
    /// Makes topics without loading them.
    pub(crate) log: LogContext,
    /// Asks other brokers.
    pub(crate) peers: reqwest::Client,
    /// Of the topics that a path names.
    pub(crate) domain: Domain,
}

type Answer = Result<Response, Refusal>;

/// Everything but health and metrics, which need no context and are served before there is one.
pub(crate) fn router(pages: Pages) -> Router {
    let routes = all(&pages);
    // Made when somebody asks: it is megabytes.
    let listed: Arc<[Listed]> = routes.listed().into();
    let document = move || std::future::ready(body::json(openapi::document(&listed)));
    routes
        .into_router()
        .route(&format!("/admin/v2{DOCUMENT}"), axum::routing::get(document))
        .with_state(pages)
        .fallback(async |uri: Uri| Refusal::new(StatusCode::NOT_FOUND, format!("there is no page {}", uri.path())))
        .method_not_allowed_fallback(async || {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this page does not take this method")
        })
}

/// Where the pages are listed.
const DOCUMENT: &str = "/geminga/openapi";

fn all(pages: &Pages) -> Routes {
    Routes::new()
        .merge(admin(Pages { domain: Domain::NonPersistent, ..pages.clone() }))
        .route("/lookup/v2/topic/{domain}/{tenant}/{namespace}/{topic}", get(lookup::owner))
        .route("/lookup/v2/topic/{domain}/{tenant}/{namespace}/{topic}/bundle", get(lookup::bundle))
}

/// The answer to everything before there is something to ask.
pub(crate) fn starting() -> impl axum::response::IntoResponse {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the broker is starting")
}

/// `passing`: as `State` of the pages of topics that are not stored.
fn admin(passing: Pages) -> Routes {
    let names = Routes::new()
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
        .route(
            "/namespaces/{tenant}/{namespace}/replication",
            get(replication::of_a_namespace).post(replication::set_for_a_namespace),
        )
        .merge(of_all_topics())
        .merge(permissions_of_namespaces())
        .route("/namespaces/{tenant}/{namespace}/{bundle}", any(names::not_built))
        .route("/namespaces/{tenant}/{namespace}/{bundle}/{*feature}", any(names::not_built_below))
        .nest("/schemas/{tenant}/{namespace}/{topic}", schemas::of_topics());
    let names = names.nest("/namespaces", policies::of_namespaces());
    let ours = Routes::new()
        .route("/geminga/bookies", get(bookies::list))
        .route("/geminga/bookies/audit", post(bookies::audit))
        .route("/geminga/bookies/{bookie}/decommission", post(bookies::decommission))
        .route("/geminga/bookies/{bookie}/recommission", post(bookies::recommission))
        .route("/geminga/offload/scrub", post(offload::scrub))
        .route("/geminga/offload/status", get(offload::status))
        .route("/geminga/offload/cost", get(offload::cost))
        .route("/geminga/passing/{tenant}/{namespace}", get(non_persistent::here))
        .route("/geminga/load", get(bundles::load))
        .route("/geminga/moves", get(bundles::moves))
        .route("/geminga/bundles/{tenant}/{namespace}/{bundle}/expect", put(bundles::expect));
    let paths = Routes::new()
        .merge(clusters_and_brokers())
        .merge(names)
        .merge(ours)
        .merge(persistent())
        .merge(non_persistent::pages().about(&passing));
    Routes::new().nest("/admin/v2", paths)
}

/// What is done for all topics of a namespace or bundle.
fn of_all_topics() -> Routes {
    Routes::new()
        .route("/namespaces/{tenant}/{namespace}/clearBacklog", post(clearing::clear))
        .route("/namespaces/{tenant}/{namespace}/clearBacklog/{subscription}", post(clearing::clear))
        .route("/namespaces/{tenant}/{namespace}/{bundle}/clearBacklog", post(clearing::clear))
        .route("/namespaces/{tenant}/{namespace}/{bundle}/clearBacklog/{subscription}", post(clearing::clear))
        .route("/namespaces/{tenant}/{namespace}/unsubscribe/{subscription}", post(clearing::unsubscribe))
        .route("/namespaces/{tenant}/{namespace}/{bundle}/unsubscribe/{subscription}", post(clearing::unsubscribe))
}

/// And what nobody sets here.
fn permissions_of_namespaces() -> Routes {
    Routes::new()
        .route("/namespaces/{tenant}/{namespace}/permissions", get(permissions::of_namespace_page))
        .route(
            "/namespaces/{tenant}/{namespace}/permissions/{name}",
            post(permissions::grant_on_namespace).delete(permissions::revoke_on_namespace),
        )
        .route("/namespaces/{tenant}/{namespace}/permissions/subscription", get(permissions::of_subscriptions))
        .route(
            "/namespaces/{tenant}/{namespace}/permissions/subscription/{subscription}",
            post(permissions::grant_on_subscription).delete(permissions::revoke_on_its_namesake),
        )
        .route(
            "/namespaces/{tenant}/{namespace}/permissions/{name}/{role}",
            delete(permissions::revoke_on_subscription),
        )
        .route("/namespaces/{tenant}/{namespace}/entryFilters", settings::fixed(settings::unset))
        .route("/namespaces/{tenant}/{namespace}/resourcegroup", settings::fixed(settings::unset))
        .route("/namespaces/{tenant}/{namespace}/dispatcherPauseOnAckStatePersistent", settings::fixed(settings::off))
        .route("/namespaces/{tenant}/{namespace}/allowedClusters", settings::fixed(settings::none))
}

fn clusters_and_brokers() -> Routes {
    Routes::new()
        .route("/clusters", get(clusters::list))
        .route(
            "/clusters/{cluster}",
            get(clusters::read).put(clusters::create).post(clusters::change).delete(clusters::delete),
        )
        .route("/clusters/{cluster}/peers", get(clusters::peers).post(clusters::set_peers))
        .route("/clusters/{cluster}/failureDomains", get(clusters::failure_domains))
        .route(
            "/clusters/{cluster}/failureDomains/{failure_domain}",
            get(clusters::failure_domain).post(clusters::set_failure_domain).delete(clusters::delete_failure_domain),
        )
        .route("/clusters/{cluster}/namespaceIsolationPolicies/{policy}", settings::fixed(settings::isolation))
        .route("/clusters/{cluster}/namespaceIsolationPolicies/brokers", get(settings::isolation))
        .route("/brokers/internal-configuration", get(settings::internal))
        .route("/brokers/backlog-quota-check", get(settings::check_backlogs))
        .route("/broker-stats/topics", get(broker_stats::topics))
        .route("/broker-stats/metrics", get(broker_stats::metrics))
        .route("/broker-stats/mbeans", get(broker_stats::mbeans))
        .route("/broker-stats/load-report", get(broker_stats::load_report))
        .route("/broker-stats/allocator-stats/{allocator}", get(broker_stats::allocator))
        .route("/broker-stats/broker-resource-availability/{tenant}/{namespace}", get(broker_stats::availability))
        .route("/brokers", get(clusters::brokers))
        .route("/brokers/health", get(clusters::health))
        .route("/brokers/ready", get(clusters::health))
        .route("/brokers/version", get(clusters::version))
        .route("/brokers/configuration", get(settings::dynamic))
        .route("/brokers/configuration/values", get(settings::changed))
        .route("/brokers/configuration/runtime", get(settings::running))
        .route("/brokers/configuration/{name}", delete(settings::forget))
        .route("/brokers/configuration/{name}/{value}", post(settings::change))
        .route("/resource-quotas", get(settings::quota).post(settings::set_quota))
        .route(
            "/resource-quotas/{tenant}/{namespace}/{bundle}",
            get(settings::quota_of_bundle).post(settings::set_quota).delete(settings::set_quota),
        )
        .route("/resourcegroups", get(settings::groups))
        .route("/resourcegroups/{group}", get(settings::group))
        .route("/clusters/{cluster}/namespaceIsolationPolicies", get(settings::isolation))
        .route("/functions/{*rest}", any(settings::no_functions))
        .route("/worker/{*rest}", any(settings::no_functions))
        .route("/brokers/leaderBroker", get(clusters::leader))
        .route("/brokers/{cluster}", get(clusters::brokers))
        .route("/brokers/{cluster}/{broker}/ownedNamespaces", get(clusters::owned))
        .route("/bookies/all", get(bookies::all))
        .route("/bookies/racks-info", get(bookies::racks))
}

fn persistent() -> Routes {
    let topic = Routes::new()
        .route("/", put(topics::create).delete(topics::delete))
        .route("/trim", post(topics::trim))
        .route("/truncate", delete(topics::truncate))
        .route("/terminate", post(topics::terminate))
        .route("/terminate/partitions", post(partitioned::terminate))
        .route("/offload", put(offload::begin).get(offload::progress))
        .route("/compaction", put(compaction::begin).get(compaction::progress))
        .route("/internal-info", get(topics::internal_info_page))
        .route("/properties", get(properties::show).put(properties::set).delete(properties::remove))
        .route(
            "/subscription/{subscription}/replicatedSubscriptionStatus",
            get(settings::replicated).post(settings::set_replicated),
        )
        .route(
            "/replication",
            get(replication::of_a_topic).post(replication::set_for_a_topic).delete(replication::forget_of_a_topic),
        )
        .route("/shadowTopics", settings::fixed(settings::unset))
        .route("/dispatcherPauseOnAckStatePersistent", settings::fixed(settings::off))
        .route("/lastMessageId", get(topics::last_message_id))
        .route("/subscription/{subscription}", put(topics::subscribe).delete(topics::unsubscribe))
        .route("/subscription/{subscription}/skip_all", post(topics::skip_all))
        .merge(messages::of_topics())
        .route("/subscription/{subscription}/resetcursor", post(topics::reset))
        .merge(of_both_domains());
    Routes::new()
        .route("/persistent/{tenant}/{namespace}", get(topics::list))
        .route("/persistent/{tenant}/{namespace}/partitioned", get(partitioned::list))
        .nest("/persistent/{tenant}/{namespace}/{topic}", topic)
}

/// Pages of a topic, whether it is stored or not.
fn of_both_domains() -> Routes {
    Routes::new()
        .route("/unload", put(topics::unload))
        .route("/stats", get(stats::of_one))
        .route("/internalStats", get(topics::internal_stats))
        .route("/permissions", get(permissions::of_topic))
        .route("/permissions/{role}", post(permissions::grant_on_topic).delete(permissions::revoke_on_topic))
        .route("/entryFilters", settings::fixed(settings::unset))
        .route("/subscriptions", get(topics::subscriptions))
        .route("/subscription/{subscription}/resetcursor/{time}", post(topics::reset_to_time))
        .route(
            "/partitions",
            get(partitioned::read).put(partitioned::create).post(partitioned::grow).delete(partitioned::delete),
        )
        .route("/createMissedPartitions", post(settings::create_missed_partitions))
        .route("/partitioned-stats", get(stats::of_partitions))
        .route("/partitioned-internalStats", get(partitioned::internal_stats))
        .route("/backlogQuota", post(quotas::set_of_topic).delete(quotas::clear_of_topic))
        .merge(policies::of_topics())
        .route("/{*feature}", any(topics::not_built))
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
