//! Which topics a pattern means: regular expressions as Java clients write them.
use fancy_regex::{Regex, RegexBuilder};
use proto::TopicName;

/// Longer patterns are not evaluated here, as by Apache Pulsar: whoever sends one applies it itself.
pub(crate) const PATTERN_CHARS_MAX: usize = 50;
/// Steps that one name may take: patterns that look around could take for ever otherwise.
const STEPS_MAX: usize = 100_000;
/// Bytes that a compiled pattern may take.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// A pattern that topics match or not.
#[derive(Debug, Clone)]
pub(crate) struct TopicsPattern(Regex);

/// Why a pattern means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct PatternError(String);

impl TopicsPattern {
    /// Reads a pattern, with or without `persistent://` in front.
    pub(crate) fn new(text: &str) -> Result<Self, PatternError> {
        let pattern = text.split_once("://").map_or(text, |(_, rest)| rest);
        let built = RegexBuilder::new(&format!(r"\A(?:{})\z", unquoted(pattern)))
            .backtrack_limit(STEPS_MAX)
            .delegate_size_limit(COMPILED_BYTES_MAX)
            .build();
        built.map(Self).map_err(|error| PatternError(error.to_string()))
    }

    /// Whether a topic is meant. All partitions of a topic are, or none.
    pub(crate) fn is_match(&self, topic: &str) -> bool {
        let Ok(topic) = topic.parse::<TopicName>() else { return false };
        let topic = topic.partitioned();
        // One that takes too many steps matches nothing.
        self.0.is_match(&format!("{}/{}", topic.namespace(), topic.local())).unwrap_or(false)
    }
}

/// Java writes `\Q…\E` around what stands for itself.
fn unquoted(pattern: &str) -> String {
    let mut plain = String::new();
    let mut rest = pattern;
    while let Some((before, quoted)) = rest.split_once(r"\Q") {
        let (inside, after) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
        plain.push_str(before);
        plain.push_str(&fancy_regex::escape(inside));
        rest = after;
    }
    plain.push_str(rest);
    plain
}

/// As clients compute it: CRC32C of the sorted names, printed byte by byte from the lowest.
pub(crate) fn topics_hash<'a>(sorted: impl IntoIterator<Item = &'a String>) -> String {
    let mut names = sorted.into_iter();
    let first = names.next().map_or(0, |first| crc32c::crc32c(first.as_bytes()));
    let hash =
        names.fold(first, |hash, name| crc32c::crc32c_append(crc32c::crc32c_append(hash, b","), name.as_bytes()));
    hash.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_topics_has_its_lowest_byte_first() {
        assert_eq!(topics_hash(&[]), "00000000");
        let value = crc32c::crc32c(b"a,b");
        let expected = format!("{:08x}", value.swap_bytes());
        assert_eq!(topics_hash(&["a".into(), "b".into()]), expected);
        // What Apache Pulsar 4.0.8 said of these two.
        let partitions = ["persistent://public/w1795681181796/foo-1", "persistent://public/w1795681181796/foo-2"];
        assert_eq!(topics_hash(&partitions.map(str::to_owned)), "f37b6884");
    }

    /// What Apache Pulsar 4.0.8 found for these.
    #[test]
    fn patterns_mean_what_they_mean_in_java() {
        let topics = ["bar", "foo-1", "foo-2", "foo-p-partition-0", "foo-p-partition-1"];
        let found = |pattern: &str| -> Vec<&str> {
            let pattern = TopicsPattern::new(pattern).unwrap();
            topics.into_iter().filter(|topic| pattern.is_match(&format!("persistent://public/w/{topic}"))).collect()
        };
        assert_eq!(found("persistent://public/w/foo-.*"), topics[1..]);
        assert_eq!(found("public/w/foo-[12]"), topics[1..3]);
        assert_eq!(found("foo"), [""; 0]);
        assert_eq!(found("persistent://public/w/foo-p"), topics[3..]);
        assert_eq!(found("public/w/foo-(?!1).*"), topics[2..]);
        assert_eq!(found(r"public/w/\Qfoo-1\E"), topics[1..2]);
        assert_eq!(found(r"public/w/\Qfoo-.\E.*"), [""; 0]);
        assert_eq!(found("public/w/bar|public/w/foo-1"), topics[..2]);
        assert!(TopicsPattern::new("public/w/foo-(").is_err());
    }

    /// One that would take longer than the universe lasts.
    #[test]
    fn a_pattern_that_takes_too_long_matches_nothing() {
        let pattern = TopicsPattern::new(r"a/b/(?=(x+)+$)(x+x+)+\1y").unwrap();
        assert!(!pattern.is_match(&format!("persistent://a/b/{}", "x".repeat(200))));
    }
}
