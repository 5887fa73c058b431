//! The bundles of namespaces: what there is, and who has them.
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use futures::{StreamExt, TryStreamExt};
use proto::records::BrokerRecord;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{self, done};
use super::names::NamespacePath;
use super::owner::{FORWARDED, is_forwarded};
use super::topics::namespace_name;
use super::{Answer, Pages, Refusal};
use crate::moves::Announced;
use crate::ownership::{Bundle, BundleRange, Owner};

pub(super) type BundlePath = Path<(String, String, String)>;

/// Bundles of one namespace that are unloaded side by side.
const AT_ONCE: usize = 16;
const PEER_TIME: Duration = Duration::from_secs(30);

pub(super) fn bundles_json(boundaries: &[u32]) -> Value {
    let texts: Vec<String> = boundaries.iter().map(|boundary| format!("{boundary:#010x}")).collect();
    json!({"boundaries": texts, "numBundles": boundaries.len().saturating_sub(1)})
}

pub(super) async fn list(State(pages): State<Pages>, Path((tenant, namespace)): NamespacePath) -> Answer {
    let record = pages.context.namespaces.namespace(&namespace_name(&tenant, &namespace)?).await?;
    Ok(body::json(bundles_json(&record.boundaries)))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Destination {
    destination_broker: Option<String>,
}

pub(super) async fn unload_all(
    State(pages): State<Pages>,
    Path((tenant, namespace)): NamespacePath,
    headers: HeaderMap,
) -> Answer {
    let namespace = namespace_name(&tenant, &namespace)?;
    let bundles = pages.context.ownership.bundles_of(&namespace).await?;
    let bundles = bundles.ranges().map(|range| Bundle { namespace: namespace.clone(), range });
    let unloads = bundles.map(|bundle| {
        let (pages, headers) = (&pages, &headers);
        async move { pages.unload_bundle(&bundle, None, headers).await }
    });
    futures::stream::iter(unloads).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
    Ok(done())
}

pub(super) async fn unload(
    State(pages): State<Pages>,
    Path(path): BundlePath,
    Query(query): Query<Destination>,
    headers: HeaderMap,
) -> Answer {
    let bundle = pages.bundle(path).await?;
    let to = match query.destination_broker.filter(|broker| !broker.is_empty()) {
        Some(broker) => Some(pages.live_broker(&broker)?),
        None => None,
    };
    pages.unload_bundle(&bundle, to.as_ref(), &headers).await?;
    Ok(done())
}

/// Asked by the owner of a bundle, which is about to hand it over to this broker.
pub(super) async fn expect(State(pages): State<Pages>, Path(path): BundlePath, body: Bytes) -> Answer {
    let bundle = pages.bundle(path).await?;
    let announced: Announced = body::parse(&body)?.unwrap_or_default();
    let busy = || Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "this broker takes no bundles now");
    Ok(body::json(pages.context.moves.expect(bundle, announced).await?.ok_or_else(busy)?))
}

impl Pages {
    /// A bundle that is there.
    async fn bundle(&self, (tenant, namespace, range): (String, String, String)) -> Result<Bundle, Refusal> {
        let invalid = |reason: String| Refusal::new(StatusCode::PRECONDITION_FAILED, reason);
        let namespace = namespace_name(&tenant, &namespace)?;
        let bundles = self.context.ownership.bundles_of(&namespace).await?;
        let range: BundleRange = range.parse().map_err(|error| invalid(format!("{error}")))?;
        if !bundles.ranges().any(|one| one == range) {
            return Err(invalid(format!("Invalid upper boundary for bundle {namespace}/{range}")));
        }
        Ok(Bundle { namespace, range })
    }

    /// Brokers are named by their HTTP address, as `GET /brokers` lists them, or by that of the binary protocol.
    fn live_broker(&self, name: &str) -> Result<BrokerRecord, Refusal> {
        let name = name.trim_start_matches("http://").trim_start_matches("pulsar://").trim_end_matches('/');
        let brokers = self.context.ownership.brokers();
        let found = brokers.into_iter().find(|broker| broker.http == name || broker.broker == name);
        found.ok_or_else(|| crate::ownership::OwnershipError::DestinationNotFound.into())
    }

    async fn unload_bundle(
        &self,
        bundle: &Bundle,
        to: Option<&BrokerRecord>,
        headers: &HeaderMap,
    ) -> Result<(), Refusal> {
        let ownership = &self.context.ownership;
        match (ownership.owner_of(bundle), to) {
            (Some(Owner::Here), Some(to)) if to.broker == ownership.me().broker => Ok(()), // It is where it should be.
            (Some(Owner::Here), to) => {
                self.context.moves.release(bundle, to.cloned()).await?;
                Ok(())
            }
            (Some(Owner::At(_)), _) if is_forwarded(headers) => Err(being_unloaded(bundle)),
            (Some(Owner::At(owner)), Some(to)) if owner.broker == to.broker => Ok(()),
            (Some(Owner::At(owner)), to) => {
                let query =
                    to.map(|to| format!("?destinationBroker={}", super::owner::encode(&to.http))).unwrap_or_default();
                self.change_bundle_at(&owner, bundle, &format!("unload{query}")).await
            }
            (None, Some(to)) => Ok(ownership.reserve(bundle, to).await?),
            (None, None) => Ok(()),
        }
    }

    /// Has the owner of a bundle do it.
    async fn change_bundle_at(&self, owner: &BrokerRecord, bundle: &Bundle, change: &str) -> Result<(), Refusal> {
        let url = format!("http://{}/admin/v2/namespaces/{bundle}/{change}", owner.http);
        let request = self.peers.put(url).header(FORWARDED, &self.context.start).timeout(PEER_TIME);
        let response = request.send().await.map_err(|error| {
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, format!("broker {} does not answer: {error}", owner.broker))
        })?;
        if response.status().is_success() {
            return Ok(());
        }
        let status = response.status();
        let text = response.text().await.unwrap_or_default();
        let value: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        Err(Refusal::new(status, value["reason"].as_str().unwrap_or("no reason given")))
    }
}

fn being_unloaded(bundle: &Bundle) -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, format!("Namespace bundle {bundle} is being unloaded"))
}
