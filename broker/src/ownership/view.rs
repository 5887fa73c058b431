//! What is known of brokers and bundles, and what follows from it. No I/O: events in, decisions out.
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use metadata::{Expect, Version};
use proto::records::{BrokerRecord, BundleOwner};
use proto::{NamespaceName, TopicName};
use tokio::time::Instant;

use super::bundles::{Bundle, BundleRange, Bundles};

/// After its lease ended, an owner that may be alive has this long to put its key back.
pub(crate) const GRACE: Duration = Duration::from_secs(5);
/// A proof that a broker refuses connections is good for so long.
const REFUSAL_LASTS: Duration = Duration::from_secs(10);

/// Everything this broker knows about who serves what.
#[derive(Debug)]
pub(crate) struct View {
    /// This broker and this start of it.
    me: BrokerRecord,
    /// Whether this broker takes bundles: not before it is registered, not once it drains.
    serving: bool,
    brokers: BTreeMap<String, BrokerRecord>,
    bundles: HashMap<Bundle, Held>,
    /// How each is cut, and the version of the record that says so.
    namespaces: HashMap<NamespaceName, (Version, Arc<Bundles>)>,
    /// Starts that were seen to refuse connections, and when.
    refusing: HashMap<String, Instant>,
}

/// What is known of one bundle.
#[derive(Debug, Default)]
struct Held {
    key: Option<(BundleOwner, Version)>,
    /// The highest version seen: older news comes late.
    seen: Option<Version>,
    /// The owner whose key went without a word, and when.
    gone: Option<(BundleOwner, Instant)>,
    /// Until when the owner may be about to hand it over to this broker, and the version of its key while it has not.
    coming: Option<(Instant, Version)>,
    ours: Ours,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Ours {
    #[default]
    No,
    Yes,
    /// It is served, and about to become several.
    Splitting,
    /// Its topics are being unloaded, nobody is let in.
    Releasing,
}

/// What to do about a bundle.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Decision {
    /// It is ours.
    Here,
    /// It is this broker's.
    At(BrokerRecord),
    /// It is for us to take.
    Take(Expect),
    /// It is free, and this broker should take it.
    Nominate(String, Expect),
    /// Someone has it who may be about to return or to give it up.
    Wait,
}

impl View {
    /// Knows nothing but itself.
    pub(crate) fn new(me: BrokerRecord) -> Self {
        Self {
            me,
            serving: false,
            brokers: BTreeMap::new(),
            bundles: HashMap::new(),
            namespaces: HashMap::new(),
            refusing: HashMap::new(),
        }
    }

    pub(crate) fn set_serving(&mut self, serving: bool) {
        self.serving = serving;
    }

    pub(crate) fn serving(&self) -> bool {
        self.serving
    }

    pub(crate) fn brokers(&self) -> Vec<BrokerRecord> {
        self.brokers.values().cloned().collect()
    }

    pub(crate) fn broker(&self, address: &str) -> Option<&BrokerRecord> {
        self.brokers.get(address)
    }

    pub(crate) fn set_broker(&mut self, address: &str, record: Option<BrokerRecord>) {
        match record {
            Some(record) => self.brokers.insert(address.into(), record),
            None => self.brokers.remove(address),
        };
    }

    pub(crate) fn broker_addresses(&self) -> Vec<String> {
        self.brokers.keys().cloned().collect()
    }

    pub(crate) fn bundles_of(&self, namespace: &NamespaceName) -> Option<Arc<Bundles>> {
        self.namespaces.get(namespace).map(|(_, cut)| Arc::clone(cut))
    }

    /// News of how a namespace is cut, or that it went. What is older than what is known says nothing.
    pub(crate) fn set_bundles_of(&mut self, namespace: &NamespaceName, cut: Option<(Bundles, Version)>) {
        let Some((cut, version)) = cut else {
            self.namespaces.remove(namespace);
            return;
        };
        if self.namespaces.get(namespace).is_some_and(|(known, _)| version < *known) {
            return;
        }
        let there: HashSet<BundleRange> = cut.ranges().collect();
        let stays = |bundle: &Bundle, held: &Held| {
            bundle.namespace != *namespace || there.contains(&bundle.range) || held.ours == Ours::Splitting
        };
        self.bundles.retain(|bundle, held| stays(bundle, held));
        self.namespaces.insert(namespace.clone(), (version, Arc::new(cut)));
    }

    pub(crate) fn namespaces(&self) -> Vec<NamespaceName> {
        self.namespaces.keys().cloned().collect()
    }

    pub(crate) fn owns(&self, topic: &TopicName) -> bool {
        let Some((_, bundles)) = self.namespaces.get(topic.namespace()) else { return false };
        let bundle = Bundle { namespace: topic.namespace().clone(), range: bundles.of(topic) };
        self.bundles.get(&bundle).is_some_and(|held| matches!(held.ours, Ours::Yes | Ours::Splitting))
    }

    /// Bundles of ours, those that are being released too.
    pub(crate) fn ours(&self) -> Vec<Bundle> {
        let ours = |(bundle, held): (&Bundle, &Held)| (held.ours != Ours::No).then(|| bundle.clone());
        self.bundles.iter().filter_map(ours).collect()
    }

    /// Bundles whose key is known.
    pub(crate) fn known(&self) -> Vec<Bundle> {
        self.bundles.iter().filter(|(_, held)| held.key.is_some()).map(|(bundle, _)| bundle.clone()).collect()
    }

    /// Bundles that a broker has, in order.
    pub(crate) fn bundles_at(&self, broker: &BrokerRecord) -> Vec<Bundle> {
        let has = |held: &Held| held.key.as_ref().is_some_and(|(owner, _)| owner.start == broker.start);
        let mut bundles: Vec<Bundle> =
            self.bundles.iter().filter(|(_, held)| has(held)).map(|(bundle, _)| bundle.clone()).collect();
        bundles.sort();
        bundles
    }

    /// Who has a bundle, when someone has.
    pub(crate) fn owner(&self, bundle: &Bundle) -> Option<&BundleOwner> {
        let (owner, _) = self.bundles.get(bundle)?.key.as_ref()?;
        (!owner.broker.is_empty()).then_some(owner)
    }

    /// What the key of a bundle is like, for compare-and-set.
    pub(crate) fn expect(&self, bundle: &Bundle) -> Expect {
        let key = self.bundles.get(bundle).and_then(|held| held.key.as_ref());
        key.map_or(Expect::Absent, |(_, version)| Expect::Version(*version))
    }

    /// From now on nobody is let into its topics. False when it is not ours.
    pub(crate) fn begin_release(&mut self, bundle: &Bundle) -> bool {
        match self.bundles.get_mut(bundle) {
            Some(held) if held.ours == Ours::Yes => {
                held.ours = Ours::Releasing;
                true
            }
            _ => false,
        }
    }

    /// Its owner has announced that it hands it over to this broker. Until then, nobody is sent back to that owner.
    pub(crate) fn set_coming(&mut self, bundle: &Bundle, at: Version, until: Instant) {
        self.bundles.entry(bundle.clone()).or_default().coming = Some((until, at));
    }

    /// It stays ours after all.
    pub(crate) fn cancel_release(&mut self, bundle: &Bundle) {
        if let Some(held) = self.bundles.get_mut(bundle)
            && held.ours == Ours::Releasing
        {
            held.ours = Ours::Yes;
        }
    }

    /// From now on it cannot be released. False when it is not ours, or when something is being done with it.
    pub(crate) fn begin_split(&mut self, bundle: &Bundle) -> bool {
        match self.bundles.get_mut(bundle) {
            Some(held) if held.ours == Ours::Yes => {
                held.ours = Ours::Splitting;
                true
            }
            _ => false,
        }
    }

    /// It was split, or not: whatever the keys say from now on.
    pub(crate) fn end_split(&mut self, bundle: &Bundle) {
        if let Some(held) = self.bundles.get_mut(bundle)
            && held.ours == Ours::Splitting
        {
            held.ours = Ours::Yes;
        }
    }

    /// A bundle of ours has become `parts`, whose keys have been put for us at `version`.
    pub(crate) fn split(
        &mut self,
        bundle: &Bundle,
        cut: Bundles,
        parts: &[Bundle],
        me: &BundleOwner,
        version: Version,
    ) {
        for part in parts {
            let held = self.bundles.entry(part.clone()).or_default();
            if held.seen.is_none_or(|seen| seen <= version) {
                *held =
                    Held { key: Some((me.clone(), version)), seen: Some(version), ours: Ours::Yes, ..Held::default() };
            }
        }
        self.bundles.remove(bundle);
        self.set_bundles_of(&bundle.namespace, Some((cut, version)));
    }

    /// It is ours no longer, whatever its key says.
    pub(crate) fn drop_ours(&mut self, bundle: &Bundle) {
        if let Some(held) = self.bundles.get_mut(bundle) {
            held.ours = Ours::No;
        }
    }

    fn is_me(&self, owner: &BundleOwner) -> bool {
        owner.broker == self.me.broker && owner.start == self.me.start
    }

    /// News of a bundle's key: what it is now, or that it went at `now`. True when another has what was ours.
    pub(crate) fn apply(&mut self, bundle: &Bundle, key: Option<(BundleOwner, Version)>, now: Instant) -> bool {
        let me = key.as_ref().is_some_and(|(owner, _)| self.is_me(owner));
        // Late news of a bundle whose namespace went must not bring it back.
        let exists =
            self.namespaces.get(&bundle.namespace).is_some_and(|(_, cut)| cut.ranges().any(|one| one == bundle.range));
        let held = self.bundles.entry(bundle.clone()).or_default();
        let Some((owner, version)) = key else {
            if let Some((owner, _)) = held.key.take()
                && !owner.broker.is_empty()
            {
                held.gone = Some((owner, now));
            }
            return false;
        };
        if held.seen.is_some_and(|seen| version < seen) {
            return false;
        }
        if held.coming.is_some_and(|(_, before)| before < version) {
            held.coming = None;
        }
        held.seen = Some(version);
        held.gone = None;
        held.key = Some((owner, version));
        let was = held.ours;
        held.ours = match (me, was) {
            (true, Ours::No) if exists => Ours::Yes,
            (true, was) => was,
            (false, _) => Ours::No,
        };
        !me && was != Ours::No
    }

    /// Bundles of ours whose key is not there: look, and put it back.
    pub(crate) fn missing(&self) -> Vec<Bundle> {
        let missing = |(_, held): &(&Bundle, &Held)| held.ours == Ours::Yes && held.key.is_none();
        self.bundles.iter().filter(missing).map(|(bundle, _)| bundle.clone()).collect()
    }

    /// Bundles that this broker was asked to take, and what their keys must be like for that.
    pub(crate) fn reserved(&self) -> Vec<(Bundle, Expect)> {
        let reserved = |(bundle, held): (&Bundle, &Held)| match &held.key {
            Some((owner, version))
                if owner.broker.is_empty() && owner.reserved_for == self.me.broker && self.serving =>
            {
                Some((bundle.clone(), Expect::Version(*version)))
            }
            _ => None,
        };
        self.bundles.iter().filter_map(reserved).collect()
    }

    /// Who is in the way of a bundle that is waited for.
    pub(crate) fn suspect(&self, bundle: &Bundle) -> Option<BrokerRecord> {
        let held = self.bundles.get(bundle)?;
        let owner = held.key.as_ref().map(|(owner, _)| owner).or(held.gone.as_ref().map(|(owner, _)| owner))?;
        let other = !owner.broker.is_empty() && owner.broker != self.me.broker;
        let BundleOwner { broker, http, start, .. } = owner.clone();
        other.then(|| BrokerRecord { broker, http, start, ..Default::default() })
    }

    /// `start` was seen to refuse connections, or to be there.
    pub(crate) fn set_refusing(&mut self, start: &str, refuses: bool, now: Instant) {
        self.refusing.retain(|_, since| now < *since + REFUSAL_LASTS);
        if refuses {
            self.refusing.insert(start.into(), now);
        } else {
            self.refusing.remove(start);
        }
    }

    fn refuses(&self, start: &str, now: Instant) -> bool {
        self.refusing.get(start).is_some_and(|since| now < *since + REFUSAL_LASTS)
    }

    /// A start is dead when it refuses, or when another start registered under its identity.
    fn is_dead(&self, owner: &BundleOwner, now: Instant) -> bool {
        let replaced = self.brokers.get(&owner.broker).is_some_and(|broker| broker.start != owner.start);
        replaced || owner.broker == self.me.broker || self.refuses(&owner.start, now)
    }

    /// What to do about a bundle at this moment.
    pub(crate) fn decide(&self, bundle: &Bundle, now: Instant, now_ms: u64) -> Decision {
        let Some(held) = self.bundles.get(bundle) else { return self.elect(bundle, Expect::Absent, "", now) };
        match held.ours {
            Ours::Yes | Ours::Splitting => return Decision::Here,
            Ours::Releasing => return Decision::Wait,
            Ours::No => {}
        }
        match &held.key {
            Some((owner, version)) if owner.broker.is_empty() => self.decide_free(bundle, owner, *version, now, now_ms),
            Some((owner, version)) if self.is_dead(owner, now) => {
                self.elect(bundle, Expect::Version(*version), "", now)
            }
            Some(_) if held.coming.is_some_and(|(until, _)| now < until) => Decision::Wait,
            Some((owner, _)) => match self.brokers.get(&owner.broker) {
                Some(broker) => Decision::At(broker.clone()),
                None => Decision::Wait, // Its lease is ending, or it withdrew and is about to give the bundle up.
            },
            None => match &held.gone {
                Some((owner, since)) if now < *since + GRACE && !self.is_dead(owner, now) => Decision::Wait,
                _ => self.elect(bundle, Expect::Absent, "", now),
            },
        }
    }

    fn decide_free(
        &self,
        bundle: &Bundle,
        free: &BundleOwner,
        version: Version,
        now: Instant,
        now_ms: u64,
    ) -> Decision {
        let expect = Expect::Version(version);
        let reserved = &free.reserved_for;
        if reserved.is_empty() {
            self.elect(bundle, expect, "", now)
        } else if free.reserved_until <= now_ms || !self.brokers.contains_key(reserved) {
            self.elect(bundle, expect, reserved, now) // Whoever did not come is not asked again.
        } else if *reserved == self.me.broker && self.serving {
            Decision::Take(expect)
        } else {
            Decision::Wait
        }
    }

    /// Who takes a bundle that nobody has.
    fn elect(&self, bundle: &Bundle, expect: Expect, but: &str, now: Instant) -> Decision {
        match self.successor(bundle, but, now) {
            Some(broker) if broker.broker != self.me.broker => Decision::Nominate(broker.broker.clone(), expect),
            _ if self.serving => Decision::Take(expect),
            _ => Decision::Wait,
        }
    }

    /// The live broker with the highest score for a bundle, `but` left out.
    pub(crate) fn successor(&self, bundle: &Bundle, but: &str, now: Instant) -> Option<&BrokerRecord> {
        let text = bundle.to_string();
        let candidates = self.brokers.values().filter(|broker| {
            let me = broker.broker == self.me.broker;
            if me { self.serving } else { broker.broker != but && !self.refuses(&broker.start, now) }
        });
        candidates.max_by_key(|broker| (score(&broker.broker, &text), &broker.broker))
    }
}

/// A rendezvous hash: the same on every broker and every machine, and independent for each pair.
fn score(broker: &str, bundle: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in broker.bytes().chain([0]).chain(bundle.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    // Names that differ in their last letters only must differ in the high bits as well.
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests;
