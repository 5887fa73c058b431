//! The bundles of namespaces: what there is, and who has them.
use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use futures::{StreamExt, TryStreamExt};
use proto::TopicName;
use proto::records::BrokerRecord;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{self, done};
use super::names::NamespacePath;
use super::owner::{FORWARDED, is_forwarded};
use super::topics::{namespace_name, of_namespace};
use super::{Answer, Pages, Refusal};
use crate::moves::{Announced, SplitAt};
use crate::ownership::{Bundle, BundleRange, BundleRangeError, Owner, hash};

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

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Split {
    unload: bool,
    split_algorithm_name: Option<String>,
}

impl Split {
    fn at(&self, body: &Bytes) -> Result<SplitAt, Refusal> {
        match self.split_algorithm_name.as_deref() {
            None | Some("" | "range_equally_divide") => Ok(SplitAt::Middle),
            Some("topic_count_equally_divide") => Ok(SplitAt::TopicCount),
            Some("specified_positions_divide") => {
                let texts: Vec<Value> = body::parse(body)?.unwrap_or_default();
                let boundaries: Option<Vec<u32>> = texts.iter().map(boundary).collect();
                Ok(SplitAt::Boundaries(boundaries.ok_or_else(|| body::bad("a boundary is a number of 32 bits"))?))
            }
            Some(_) => {
                let reason = "Unsupported namespace bundle split algorithm, supported algorithms are \
                              [range_equally_divide, topic_count_equally_divide, specified_positions_divide]";
                Err(Refusal::new(StatusCode::PRECONDITION_FAILED, reason))
            }
        }
    }
}

/// `1200000000`, `"1200000000"` or `"0x47868c00"`.
fn boundary(value: &Value) -> Option<u32> {
    match value {
        Value::Number(number) => u32::try_from(number.as_u64()?).ok(),
        Value::String(text) => match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        },
        _ => None,
    }
}

/// Only the owner of a bundle can split it without its topics noticing.
pub(super) async fn split(
    State(pages): State<Pages>,
    Path((tenant, namespace, range)): BundlePath,
    Query(query): Query<Split>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let at = query.at(&body)?;
    let name = namespace_name(&tenant, &namespace)?;
    let cut = pages.context.ownership.bundles_of(&name).await?;
    let listed = pages.context.namespaces.topics(&name).await.map_err(of_namespace)?;
    let topics: Vec<TopicName> = listed.iter().filter_map(|topic| topic.parse().ok()).collect();
    let bundle = match range.as_str() {
        "LARGEST" => {
            let count = |range: &BundleRange| topics.iter().filter(|topic| cut.of(topic) == *range).count();
            // Of those with as many topics, the one with the most hashes, and of these the first.
            let largest = cut.ranges().max_by_key(|range| (count(range), range.size(), std::cmp::Reverse(*range)));
            let range = largest.ok_or_else(|| Refusal::not_found("Bundle range LARGEST not found"))?;
            Bundle { namespace: name, range }
        }
        "HOT" => {
            let hottest = pages.context.balance.hottest(&name);
            hottest.await?.ok_or_else(|| Refusal::not_found("Bundle range HOT not found"))?
        }
        _ => pages.bundle((tenant, namespace, range)).await?,
    };
    match pages.context.ownership.lookup_bundle(&bundle).await? {
        Owner::Here => {}
        Owner::At(_) if is_forwarded(&headers) => return Err(being_unloaded(&bundle)),
        Owner::At(owner) => {
            let algorithm = query.split_algorithm_name.as_deref().unwrap_or_default();
            let query = format!("unload={}&splitAlgorithmName={}", query.unload, super::owner::encode(algorithm));
            pages.change_bundle_at(&owner, &bundle, &format!("split?{query}"), body).await?;
            return Ok(done());
        }
    }
    let parts = pages.context.moves.split(&bundle, &at, &topics).await?;
    if query.unload {
        for part in parts {
            pages.context.moves.release(&part, None).await?;
        }
    }
    Ok(done())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Positions {
    topics: Option<String>,
}

/// Where topics lie on the ring: what boundaries are chosen from.
pub(super) async fn positions(
    State(pages): State<Pages>,
    Path(path): BundlePath,
    Query(query): Query<Positions>,
) -> Answer {
    let bundle = pages.bundle(path).await?;
    let listed = pages.context.namespaces.topics(&bundle.namespace).await;
    let wanted = query.topics.unwrap_or_default();
    let wanted: Vec<TopicName> = wanted.split(',').filter_map(|topic| topic.trim().parse().ok()).collect();
    let topics = listed.map_err(of_namespace)?.into_iter().filter_map(|topic| topic.parse::<TopicName>().ok());
    let inside = topics.filter(|topic| bundle.range.contains(hash(topic)));
    let asked = inside.filter(|topic| wanted.is_empty() || wanted.contains(topic));
    let positions: BTreeMap<String, u32> = asked.map(|topic| (topic.to_string(), hash(&topic))).collect();
    let (namespace, range) = (bundle.namespace.to_string(), bundle.range.to_string());
    Ok(body::json(json!({"namespace": namespace, "bundle": range, "topicHashPositions": positions})))
}

/// What the bundles of this broker carry. Asked by the broker that decides.
pub(super) async fn load(State(pages): State<Pages>) -> Answer {
    Ok(body::json(pages.context.moves.load().await))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    here: bool,
}

/// Which bundles were moved to balance load, and why.
pub(super) async fn moves(State(pages): State<Pages>, Query(Asked { here }): Query<Asked>) -> Answer {
    let balance = &pages.context.balance;
    Ok(body::json(if here { balance.shown_here() } else { balance.shown().await? }))
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
        let range: BundleRange = range.parse().map_err(|error: BundleRangeError| invalid(error.to_string()))?;
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
                self.change_bundle_at(&owner, bundle, &format!("unload{query}"), Bytes::new()).await
            }
            (None, Some(to)) => Ok(ownership.reserve(bundle, to).await?),
            (None, None) => Ok(()),
        }
    }

    /// Has the owner of a bundle do it.
    async fn change_bundle_at(
        &self,
        owner: &BrokerRecord,
        bundle: &Bundle,
        change: &str,
        body: Bytes,
    ) -> Result<(), Refusal> {
        let url = format!("http://{}/admin/v2/namespaces/{bundle}/{change}", owner.http);
        let request = self.peers.put(url).header(FORWARDED, &self.context.start).body(body).timeout(PEER_TIME);
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
