//! Topics that store nothing: the pages that they have in common with the others, and what is refused in Apache Pulsar's words.
use axum::extract::{Path, State};
use axum::http::StatusCode;
use proto::TopicName;

use super::about::About;
use super::routes::{Page, Routes, any, delete, get, put};
use super::topics::namespace_name;
use super::{Answer, Pages, Refusal, body, messages, partitioned, topics};
use crate::presence::{self, TopicMode};

pub(super) fn pages() -> Routes {
    let topic = Routes::new()
        .route("/", put(topics::create).delete(topics::delete).get(of_bundle))
        .route(
            "/subscription/{subscription}",
            delete(topics::unsubscribe).put(async || Refusal::new(StatusCode::BAD_REQUEST, NO_SUBSCRIPTION)),
        )
        .route("/subscription/{subscription}/properties", get(messages::properties).put(messages::set_properties))
        .merge(super::of_both_domains())
        .merge(refusals());
    Routes::new()
        .route("/non-persistent/{tenant}/{namespace}", get(topics::list))
        .route("/non-persistent/{tenant}/{namespace}/partitioned", get(partitioned::list))
        .nest("/non-persistent/{tenant}/{namespace}/{topic}", topic)
}

/// What is always answered like this.
#[derive(Debug, Clone, Copy)]
struct No(StatusCode, &'static str);

const NO_SUBSCRIPTION: &str = "Create subscription on non-persistent topic can only be done through client";
const NO_LOG: No = No(StatusCode::METHOD_NOT_ALLOWED, "not possible on a non-persistent topic");
const NOT_PERSISTENT: No = No(StatusCode::NOT_ACCEPTABLE, "Need to provide a persistent topic name");

impl No {
    fn page(self) -> Page {
        any(move || std::future::ready(Refusal::new(self.0, self.1)))
    }
}

const fn not_allowed(reason: &'static str) -> No {
    No(StatusCode::METHOD_NOT_ALLOWED, reason)
}

/// Where only a log could give an answer. Where Apache Pulsar fails with a stack trace, it is [`NO_LOG`].
fn refusals() -> Routes {
    let pages = [
        ("/lastMessageId", not_allowed("GetLastMessageId on a non-persistent topic is not allowed")),
        ("/messageid/{time}", not_allowed("Get message ID by timestamp on a non-persistent topic is not allowed")),
        ("/examinemessage", not_allowed("Examine messages on a non-persistent topic is not allowed")),
        ("/trim", not_allowed("Trim on a non-persistent topic is not allowed")),
        ("/truncate", No(StatusCode::PRECONDITION_FAILED, "unsupport truncate")),
        ("/terminate", NOT_PERSISTENT),
        ("/terminate/partitions", NOT_PERSISTENT),
        ("/properties", NOT_PERSISTENT),
        ("/offload", NO_LOG),
        ("/compaction", NO_LOG),
        ("/backlogSize", NO_LOG),
        ("/internal-info", NO_LOG),
        ("/subscription/{subscription}/analyzeBacklog", NO_LOG),
        ("/ledger/{ledger}/entry/{entry}", NO_LOG),
        ("/subscription/{subscription}/skip_all", NO_LOG),
        ("/subscription/{subscription}/skip/{entries}", NO_LOG),
        ("/subscription/{subscription}/resetcursor", NO_LOG),
        (
            "/subscription/{subscription}/position/{number}",
            not_allowed("Peek messages on a non-persistent topic is not allowed"),
        ),
        (
            "/subscription/{subscription}/expireMessages",
            not_allowed("Expire messages on a non-persistent topic is not allowed"),
        ),
        (
            "/subscription/{subscription}/expireMessages/{seconds}",
            not_allowed("Expire messages on a non-persistent topic is not allowed"),
        ),
        (
            "/all_subscription/expireMessages/{seconds}",
            not_allowed("Expire messages for all subscriptions on a non-persistent topic is not allowed"),
        ),
    ];
    pages.into_iter().fold(Routes::new(), |router, (path, no)| router.route(path, no.page()))
}

/// The name of a bundle in place of a topic's asks for the topics in it.
async fn of_bundle(State(pages): State<Pages>, about: About) -> Answer {
    let namespace = about.topic.namespace();
    let bundles = pages.context.ownership.bundles_of(namespace).await?;
    let names = presence::topics(&pages.context, namespace, TopicMode::NonPersistent).await?;
    let range = about.topic.local();
    let inside = |name: &String| name.parse::<TopicName>().is_ok_and(|topic| bundles.of(&topic).to_string() == range);
    Ok(body::json(names.into_iter().filter(inside).collect::<Vec<_>>()))
}

/// Those that this broker has, for the others.
pub(super) async fn here(State(pages): State<Pages>, Path((tenant, namespace)): Path<(String, String)>) -> Answer {
    Ok(body::json(presence::here(&pages.context, &namespace_name(&tenant, &namespace)?)))
}
