//! How a namespace's topics are cut into bundles, which move between brokers as one.
use std::fmt;
use std::str::FromStr;

use proto::{NamespaceName, TopicName};

/// Of a new namespace, unless it says otherwise.
pub(crate) const BUNDLES_DEFAULT: u32 = 4;
/// More are refused: each is a key that may be written every time a broker goes.
pub(crate) const BUNDLES_MAX: u32 = 1024;

/// Where a topic lies on its namespace's ring: the CRC32 of its full name.
pub(crate) fn hash(topic: &TopicName) -> u32 {
    crc32fast::hash(topic.to_string().as_bytes())
}

/// Hashes from `lower` to before `upper`; the last one of a namespace has its upper boundary too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BundleRange {
    lower: u32,
    upper: u32,
}

/// As Pulsar writes it: `0x00000000_0x40000000`.
impl fmt::Display for BundleRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}_{:#010x}", self.lower, self.upper)
    }
}

/// The text is no range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Invalid bundle range")]
pub(crate) struct BundleRangeError;

impl BundleRange {
    /// Between its boundaries; `None` when nothing is.
    pub(crate) fn middle(self) -> Option<u32> {
        let middle = self.lower + (self.upper - self.lower) / 2;
        (self.lower < middle).then_some(middle)
    }

    /// Whether all of its hashes are in `other`.
    pub(crate) fn is_within(self, other: Self) -> bool {
        other.lower <= self.lower && self.upper <= other.upper
    }

    /// Whether a hash lies in it.
    pub(crate) fn contains(self, hash: u32) -> bool {
        self.lower <= hash && (hash < self.upper || (hash == u32::MAX && self.upper == u32::MAX))
    }

    /// Whether a boundary there leaves something on both sides.
    pub(crate) fn is_cut_by(self, boundary: u32) -> bool {
        self.lower < boundary && boundary < self.upper
    }

    /// How many hashes.
    pub(crate) fn size(self) -> u32 {
        self.upper - self.lower
    }
}

impl FromStr for BundleRange {
    type Err = BundleRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let boundary = |text: &str| {
            let digits = text.strip_prefix("0x").filter(|digits| (1..=8).contains(&digits.len()))?;
            u32::from_str_radix(digits, 16).ok()
        };
        let (lower, upper) = text.split_once('_').ok_or(BundleRangeError)?;
        match (boundary(lower), boundary(upper)) {
            (Some(lower), Some(upper)) if lower < upper => Ok(Self { lower, upper }),
            _ => Err(BundleRangeError),
        }
    }
}

/// One bundle of one namespace: what is owned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Bundle {
    /// Whose topics.
    pub(crate) namespace: NamespaceName,
    /// Which of them.
    pub(crate) range: BundleRange,
}

impl fmt::Display for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.range)
    }
}

impl FromStr for Bundle {
    type Err = BundleRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, range) = text.rsplit_once('/').ok_or(BundleRangeError)?;
        Ok(Self { namespace: namespace.parse().map_err(|_| BundleRangeError)?, range: range.parse()? })
    }
}

/// All bundles of a namespace: boundaries from 0 to 0xffffffff, rising.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bundles {
    boundaries: Vec<u32>,
}

impl Bundles {
    /// `count` bundles of the same size; at least one, at most [`BUNDLES_MAX`].
    pub(crate) fn even(count: u32) -> Self {
        let count = count.clamp(1, BUNDLES_MAX);
        let size = (1_u64 << 32) / u64::from(count);
        let inner = (0..count).map(|number| (u64::from(number) * size) as u32);
        Self { boundaries: inner.chain([u32::MAX]).collect() }
    }

    /// From boundaries in any order: duplicates count once, the ends are added. `None` for too many.
    pub(crate) fn with_boundaries(boundaries: &[u32]) -> Option<Self> {
        let mut boundaries: Vec<u32> = boundaries.iter().copied().chain([0, u32::MAX]).collect();
        boundaries.sort_unstable();
        boundaries.dedup();
        (boundaries.len() <= BUNDLES_MAX as usize + 1).then_some(Self { boundaries })
    }

    /// With one of them cut at boundaries inside it. `None` when there are none, one is not inside, or there would be too many.
    pub(crate) fn split(&self, range: BundleRange, at: &[u32]) -> Option<Self> {
        let there = self.ranges().any(|one| one == range);
        let inside = !at.is_empty() && at.iter().all(|boundary| range.is_cut_by(*boundary));
        let all = [self.boundaries.as_slice(), at].concat();
        Self::with_boundaries(&all).filter(|_| there && inside)
    }

    /// Rising, one more than there are bundles.
    pub(crate) fn boundaries(&self) -> &[u32] {
        &self.boundaries
    }

    /// In order.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = BundleRange> + '_ {
        self.boundaries.windows(2).map(|pair| BundleRange { lower: pair[0], upper: pair[1] })
    }

    /// Where a topic belongs.
    pub(crate) fn of(&self, topic: &TopicName) -> BundleRange {
        self.at(hash(topic))
    }

    fn at(&self, hash: u32) -> BundleRange {
        let above = self.boundaries.partition_point(|boundary| *boundary <= hash);
        let upper = above.min(self.boundaries.len() - 1); // Only the very last hash is above all boundaries.
        BundleRange { lower: self.boundaries[upper - 1], upper: self.boundaries[upper] }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn four_bundles_are_written_as_pulsar_writes_them() {
        let ranges: Vec<String> = Bundles::even(4).ranges().map(|range| range.to_string()).collect();
        let expected =
            ["0x00000000_0x40000000", "0x40000000_0x80000000", "0x80000000_0xc0000000", "0xc0000000_0xffffffff"];
        assert_eq!(ranges, expected);
        assert_eq!(Bundles::even(0), Bundles::even(1));
        assert_eq!(Bundles::even(1).ranges().count(), 1);
    }

    #[test]
    fn a_topic_lies_where_pulsar_puts_it() {
        let topic: TopicName = "persistent://public/default/x".parse().unwrap();
        assert_eq!(Bundles::even(4).of(&topic).to_string(), "0x80000000_0xc0000000"); // Apache Pulsar 4.0.8 says so.
    }

    #[test]
    fn boundaries_belong_to_the_bundle_above_and_the_very_last_to_the_last() {
        let bundles = Bundles::even(4);
        for (hash, expected) in [
            (0, "0x00000000_0x40000000"),
            (0x3fff_ffff, "0x00000000_0x40000000"),
            (0x4000_0000, "0x40000000_0x80000000"),
            (0xffff_fffe, "0xc0000000_0xffffffff"),
            (0xffff_ffff, "0xc0000000_0xffffffff"),
        ] {
            assert_eq!(bundles.at(hash).to_string(), expected, "{hash:#x}");
        }
    }

    #[test]
    fn ranges_that_are_none_are_refused() {
        for bad in ["", "garbage", "0x0_", "0x4_0x3", "0x3_0x3", "1_2", "0x000000000_0x1", "0x-1_0x2", "0x0_0x1_0x2"] {
            assert!(bad.parse::<BundleRange>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_hash_lies_in_exactly_one_bundle(boundaries in prop::collection::vec(any::<u32>(), 0..20), hash: u32) {
            let bundles = Bundles::with_boundaries(&boundaries).unwrap();
            let holds = |range: &BundleRange| {
                range.lower <= hash && (hash < range.upper || (hash == u32::MAX && range.upper == u32::MAX))
            };
            let holding: Vec<_> = bundles.ranges().filter(holds).collect();
            prop_assert_eq!(holding, vec![bundles.at(hash)]);
        }

        #[test]
        fn a_bundle_reads_as_it_is_written(lower: u32, upper: u32) {
            prop_assume!(lower < upper);
            let bundle = Bundle { namespace: "t/n".parse().unwrap(), range: BundleRange { lower, upper } };
            prop_assert_eq!(bundle.to_string().parse::<Bundle>().unwrap(), bundle);
        }
    }
}
