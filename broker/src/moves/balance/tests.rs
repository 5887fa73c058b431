use super::*;
use crate::ownership::Bundles;

/// Brokers with bundles, each with a load that the test sets, driven as the runner does.
struct House {
    balance: Balance,
    now: Instant,
    brokers: BTreeMap<String, Vec<(Bundle, f64)>>,
    moves: Vec<Proposal>,
}

/// Numbers from 0 to 1.
fn random(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn bundles(count: u32) -> Vec<Bundle> {
    let namespace: proto::NamespaceName = "t/n".parse().unwrap();
    Bundles::even(count).ranges().map(|range| Bundle { namespace: namespace.clone(), range }).collect()
}

impl House {
    fn new(moves_per_min: u32, brokers: &[&[f64]]) -> Self {
        let mut names = bundles(brokers.iter().map(|loads| loads.len() as u32).sum()).into_iter();
        let mut all = BTreeMap::new();
        for (number, loads) in brokers.iter().enumerate() {
            let held = loads.iter().map(|load| (names.next().unwrap(), *load)).collect();
            all.insert(format!("broker-{number}"), held);
        }
        Self { balance: Balance::new(moves_per_min), now: Instant::now(), brokers: all, moves: Vec::new() }
    }

    /// One look; what it proposes happens. `messages` says what a bundle is seen to carry.
    fn look_with(&mut self, mut messages: impl FnMut(f64) -> f64) -> Vec<Proposal> {
        let seen: Vec<(String, Vec<BundleLoad>)> = self
            .brokers
            .iter()
            .map(|(broker, held)| {
                let load = |(bundle, load): &(Bundle, f64)| BundleLoad {
                    bundle: bundle.to_string(),
                    topics: 0,
                    messages: messages(*load),
                    bytes: 0.0,
                };
                (broker.clone(), held.iter().map(load).collect())
            })
            .collect();
        let proposals = self.balance.look(&seen, self.now);
        for Proposal { bundle, from, to, .. } in &proposals {
            let held = self.brokers.get_mut(from).unwrap();
            let moved = held.remove(held.iter().position(|(one, _)| one == bundle).unwrap());
            self.brokers.get_mut(to).unwrap().push(moved);
        }
        self.now += LOOK_EVERY;
        self.moves.extend(proposals.clone());
        proposals
    }

    fn looks(&mut self, count: usize) -> usize {
        (0..count).map(|_| self.look_with(|load| load).len()).sum()
    }

    fn counts(&self) -> Vec<usize> {
        self.brokers.values().map(Vec::len).collect()
    }

    fn sums(&self) -> Vec<f64> {
        self.brokers.values().map(|held| held.iter().map(|(_, load)| load).sum()).collect()
    }
}

#[test]
fn a_broker_that_joins_gets_its_share_and_then_nothing_moves() {
    let mut house = House::new(60, &[&[0.0; 12], &[0.0; 12], &[]]);
    assert_eq!(house.looks(5), 0, "a few looks are no proof");
    assert!(0 < house.looks(10));
    assert_eq!(house.counts(), [9, 9, 6], "within a quarter of the mean");
    assert_eq!(house.looks(500), 0);
}

#[test]
fn a_broker_that_is_too_busy_gives_something_to_the_least_busy_and_says_why() {
    let mut house = House::new(60, &[&[500.0, 400.0, 300.0], &[200.0, 100.0], &[400.0]]);
    house.looks(100);
    assert!((1..=2).contains(&house.moves.len()), "{:?}", house.moves);
    let first = &house.moves[0];
    assert_eq!((&*first.from, &*first.to), ("broker-0", "broker-1"));
    for word in ["broker-0", "broker-1", "mean", "%"] {
        assert!(first.reason.contains(word), "{}", first.reason);
    }
    let sums = house.sums();
    assert!(sums.iter().all(|sum| *sum <= 800.0), "{sums:?}");
}

#[test]
fn a_peak_that_passes_moves_nothing() {
    let mut house = House::new(60, &[&[100.0; 4], &[100.0; 4]]);
    for look in 0..60 {
        let mut bundle = 0;
        house.look_with(|load| {
            bundle += 1;
            if look % 20 < 2 && bundle <= 2 { load * 5.0 } else { load }
        });
    }
    assert_eq!(house.moves, []);
}

#[test]
fn one_bundle_heavier_than_all_else_is_left_alone() {
    let mut house = House::new(60, &[&[10_000.0], &[10.0, 10.0], &[10.0]]);
    assert_eq!(house.looks(200), 0, "{:?}", house.moves);
}

#[test]
fn no_more_moves_a_minute_than_are_allowed_and_none_when_it_is_off() {
    let mut off = House::new(0, &[&[10.0; 40], &[]]);
    assert_eq!(off.looks(100), 0);
    let mut house = House::new(6, &[&[10.0; 40], &[]]);
    let mut made: Vec<usize> = Vec::new();
    for _ in 0..60 {
        made.push(house.look_with(|load| load).len());
    }
    let looks = (60 / LOOK_EVERY.as_secs()) as usize;
    assert!(made.windows(looks).all(|minute| minute.iter().sum::<usize>() <= 6), "{made:?}");
    assert!(made.iter().all(|at_once| *at_once <= 1), "spread over the minute: {made:?}");
    assert!(15 <= house.counts()[1], "{:?}", house.counts());
}

#[test]
fn a_bundle_that_arrives_with_fresh_counters_draws_no_others_after_it() {
    let mut house = House::new(600, &[&[100.0; 8], &[]]);
    let mut fresh: HashMap<String, u32> = HashMap::new();
    for _ in 0..40 {
        let made = house.look_with(|load| load);
        fresh.extend(made.iter().map(|proposal| (proposal.bundle.to_string(), 4)));
        // What has moved is seen as idle for some looks.
        let seen: Vec<(String, Vec<BundleLoad>)> = house
            .brokers
            .iter()
            .map(|(broker, held)| {
                let load = |(bundle, load): &(Bundle, f64)| {
                    let messages = if fresh.contains_key(&bundle.to_string()) { 0.0 } else { *load };
                    BundleLoad { bundle: bundle.to_string(), topics: 0, messages, bytes: 0.0 }
                };
                (broker.clone(), held.iter().map(load).collect())
            })
            .collect();
        let more = house.balance.look(&seen, house.now);
        assert!(made.is_empty() || more.is_empty(), "{more:?}");
        house.now += LOOK_EVERY;
        fresh.values_mut().for_each(|looks| *looks -= 1);
        fresh.retain(|_, looks| 0 < *looks);
    }
    assert_eq!(house.counts()[1], 3, "{:?}", house.moves);
}

#[test]
fn noise_never_moves_a_bundle_twice_within_its_stay() {
    for seed in 0..20 {
        let mut rng = random(seed);
        let loads: Vec<Vec<f64>> = (0..4).map(|_| (0..12).map(|_| rng() * 400.0).collect()).collect();
        let loads: Vec<&[f64]> = loads.iter().map(Vec::as_slice).collect();
        let mut house = House::new(60, &loads);
        let hour = (3600 / LOOK_EVERY.as_secs()) as usize;
        for _ in 0..hour {
            house.look_with(|load| load * (0.6 + 0.8 * rng()));
        }
        let mut seen = HashMap::new();
        for proposal in &house.moves {
            *seen.entry(proposal.bundle.to_string()).or_insert(0) += 1;
        }
        assert!(house.moves.len() <= 16, "seed {seed}: {:?}", house.moves);
        assert!(seen.values().all(|count| *count <= 2), "seed {seed}: {seen:?}");
    }
}
