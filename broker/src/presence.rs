//! Which topics there are when some are not stored: those are known only where they are loaded.
//!
//! Owns: nothing.
//! Promises: a broker that does not answer in time is passed over, so a list may lack what that one has.
//! Never: loads a topic.
use std::time::Duration;

use futures::StreamExt;
use proto::{Domain, NamespaceName, TopicName};

use crate::Context;
use crate::namespaces::NamespaceError;
use crate::ownership::{Owner, OwnershipError};

/// Brokers that are asked at once.
const AT_ONCE: usize = 16;
/// For each to answer.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// Which topics of a namespace are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopicMode {
    /// Stored ones.
    Persistent,
    /// Those that are only passed on.
    NonPersistent,
    /// Both.
    All,
}

/// Full names of a namespace's topics, partitions one by one: each domain sorted.
pub(crate) async fn topics(
    context: &Context,
    namespace: &NamespaceName,
    mode: TopicMode,
) -> Result<Vec<String>, NamespaceError> {
    let mut names = context.namespaces.topics(namespace).await?; // Also says whether there is such a namespace.
    if mode == TopicMode::NonPersistent {
        names.clear();
    }
    if mode != TopicMode::Persistent {
        names.extend(everywhere(context, namespace).await);
    }
    Ok(names)
}

/// Full names of non-persistent topics of a namespace that this broker has loaded, sorted.
pub(crate) fn here(context: &Context, namespace: &NamespaceName) -> Vec<String> {
    let wanted = |name: &TopicName| name.domain() == Domain::NonPersistent && name.namespace() == namespace;
    let mut names: Vec<String> = context.topics.names_where(wanted).iter().map(ToString::to_string).collect();
    names.sort();
    names
}

async fn everywhere(context: &Context, namespace: &NamespaceName) -> Vec<String> {
    let me = context.ownership.me();
    let others = context.ownership.brokers().into_iter().filter(|broker| broker.broker != me.broker);
    let asked = futures::stream::iter(others).map(|broker| async move {
        let url = format!("http://{}/admin/v2/geminga/passing/{namespace}", broker.http);
        let response = context.moves.peers.get(url).timeout(ANSWER_TIME).send().await?.error_for_status()?;
        response.json::<Vec<String>>().await.inspect_err(|error| {
            tracing::debug!(broker = broker.broker, %error, "its non-persistent topics are not known");
        })
    });
    let answers: Vec<Result<Vec<String>, reqwest::Error>> = asked.buffer_unordered(AT_ONCE).collect().await;
    let mut names = here(context, namespace);
    names.extend(answers.into_iter().flatten().flatten());
    names.sort();
    names.dedup();
    names
}

/// Whether a topic that is not stored is loaded, at whichever broker has its bundle.
pub(crate) async fn is_passing(context: &Context, topic: &TopicName) -> Result<bool, OwnershipError> {
    if topic.domain() != Domain::NonPersistent {
        return Ok(false);
    }
    Ok(match context.ownership.lookup(topic).await? {
        Owner::Here => context.topics.get(topic).is_some(),
        Owner::At(_) => everywhere(context, topic.namespace()).await.contains(&topic.to_string()),
    })
}
