//! Where a bundle is cut.
use proto::TopicName;

use super::Moves;
use crate::ownership::{Bundle, BundleRange, SplitError, hash};

/// How the place is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SplitAt {
    /// Both halves have the same share of hashes.
    Middle,
    /// Both have the same number of topics.
    TopicCount,
    /// Wherever somebody says.
    Boundaries(Vec<u32>),
}

impl SplitAt {
    /// Boundaries for `range`, of whose namespace these are the topics. None: there is nothing to cut.
    fn boundaries(&self, range: BundleRange, topics: &[TopicName]) -> Vec<u32> {
        match self {
            Self::Middle => range.middle().into_iter().collect(),
            Self::Boundaries(boundaries) => {
                boundaries.iter().copied().filter(|boundary| range.is_cut_by(*boundary)).collect()
            }
            Self::TopicCount => {
                let mut hashes: Vec<u32> = topics.iter().map(hash).filter(|hash| range.contains(*hash)).collect();
                hashes.sort_unstable();
                let (below, above) = (hashes.len() / 2, hashes.get(hashes.len() / 2));
                let below = below.checked_sub(1).and_then(|below| hashes.get(below));
                // As Apache Pulsar does: half way between the two topics in the middle.
                let between = below.zip(above).map(|(below, above)| below + (above - below).div_ceil(2));
                between.filter(|boundary| range.is_cut_by(*boundary)).into_iter().collect()
            }
        }
    }
}

impl Moves {
    /// Cuts a bundle that this broker has. `topics` are those of its namespace. Gives the parts; none when there is nothing to cut.
    pub(crate) async fn split(
        &self,
        bundle: &Bundle,
        at: &SplitAt,
        topics: &[TopicName],
    ) -> Result<Vec<Bundle>, SplitError> {
        let boundaries = at.boundaries(bundle.range, topics);
        if boundaries.is_empty() {
            return Ok(Vec::new());
        }
        let (ownership, whole) = (self.ownership.clone(), bundle.clone());
        // Whoever asked may go: half a split is not a thing.
        let split = tokio::spawn(async move { ownership.split(&whole, &boundaries).await });
        let parts = split.await.unwrap_or_else(|_| Err(SplitError::Overtaken(bundle.clone())))?;
        tracing::info!(%bundle, parts = parts.len(), "a bundle was split");
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::Bundles;

    #[test]
    fn topics_are_shared_out_in_halves() {
        let topics: Vec<TopicName> = (0..101).map(|number| format!("t/n/{number}").parse().unwrap()).collect();
        let whole = Bundles::even(1).ranges().next().unwrap();
        let at = SplitAt::TopicCount.boundaries(whole, &topics);
        let below = topics.iter().filter(|topic| hash(topic) < at[0]).count();
        assert_eq!((at.len(), below), (1, 50));
        assert_eq!(SplitAt::Middle.boundaries(whole, &topics), [0x7fff_ffff]);
        assert!(SplitAt::TopicCount.boundaries(whole, &topics[..1]).is_empty());
        assert!(SplitAt::TopicCount.boundaries(whole, &[]).is_empty());
        let two = [topics[0].clone(), topics[0].clone()];
        assert!(SplitAt::TopicCount.boundaries(whole, &two).len() <= 1, "two at one place are no reason to fail");
    }
}
