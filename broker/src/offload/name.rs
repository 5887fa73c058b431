//! What objects are called, and where among a store's objects they lie.
use std::fmt;
use std::sync::Arc;

use object_store::path::Path;
use proto::{LedgerId, TopicName};

use super::format::digest;
use super::patience::Jitter;

/// Before all objects of all clusters in a store.
const ROOT: &str = "geminga";

/// Names one attempt to copy a ledger into objects. Random, and never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub u64);

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Names attempts, from a seed that no other start of any broker has.
#[derive(Debug)]
pub struct AttemptIds(Jitter);

impl AttemptIds {
    /// Give it as many random bits as there are.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Jitter::new(seed))
    }

    /// One that was not used before.
    #[must_use]
    pub fn next(&self) -> AttemptId {
        AttemptId(self.0.next())
    }
}

/// One attempt to copy a ledger into objects: what its objects are called, and what each says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// The cluster's instance id, so that clusters may share a store.
    pub instance: Arc<str>,
    /// Whose ledger.
    pub topic: TopicName,
    /// Which ledger.
    pub ledger: LedgerId,
    /// Which attempt.
    pub id: AttemptId,
}

impl Attempt {
    /// Before all objects of this attempt.
    #[must_use]
    pub fn prefix(&self) -> Path {
        let topic = format!("{:016x}", topic_hash(&self.topic));
        let ledger = format!("{:020}", self.ledger.0);
        Path::from_iter([ROOT, &*self.instance, &*topic, &*ledger, &*self.id.to_string()])
    }

    /// One of its objects. They are numbered from 0.
    #[must_use]
    pub fn object(&self, number: u32) -> Path {
        self.prefix().join(format!("{number:05}"))
    }
}

/// Before all objects of a cluster.
#[must_use]
pub(super) fn instance_prefix(instance: &str) -> Path {
    Path::from_iter([ROOT, instance])
}

/// Spreads topics over a store's names. Of the whole name, `-partition-N` included.
#[must_use]
pub fn topic_hash(topic: &TopicName) -> u64 {
    digest(topic.to_string().as_bytes())
}

/// A seed out of a name that was never used before.
#[must_use]
pub fn seed(unique: &str) -> u64 {
    digest(unique.as_bytes())
}

/// What an object's name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Of the topic.
    pub topic_hash: u64,
    /// Which ledger.
    pub ledger: LedgerId,
    /// Which attempt.
    pub attempt: AttemptId,
    /// Which of the attempt's objects.
    pub number: u32,
}

impl ObjectName {
    /// Reads a name below the prefix of `instance`. `None`: nothing that this version writes.
    #[must_use]
    pub fn parse(path: &Path, instance: &str) -> Option<Self> {
        let mut parts = path.prefix_match(&instance_prefix(instance))?;
        let mut next = |length: usize| parts.next().filter(|part| part.as_ref().len() == length);
        let (topic, ledger, attempt, number) = (next(16)?, next(20)?, next(16)?, next(5)?);
        let name = Self {
            topic_hash: u64::from_str_radix(topic.as_ref(), 16).ok()?,
            ledger: LedgerId(ledger.as_ref().parse().ok()?),
            attempt: AttemptId(u64::from_str_radix(attempt.as_ref(), 16).ok()?),
            number: number.as_ref().parse().ok()?,
        };
        (parts.next().is_none() && name.path(instance) == *path).then_some(name)
    }

    /// The name it was read from.
    #[must_use]
    pub fn path(&self, instance: &str) -> Path {
        let (topic, ledger) = (format!("{:016x}", self.topic_hash), format!("{:020}", self.ledger.0));
        let number = format!("{:05}", self.number);
        Path::from_iter([ROOT, instance, &*topic, &*ledger, &*self.attempt.to_string(), &*number])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt() -> Attempt {
        let topic = "persistent://public/default/a/b".parse().unwrap();
        Attempt { instance: "5f7c".into(), topic, ledger: LedgerId(77), id: AttemptId(0xabc) }
    }

    #[test]
    fn a_name_says_what_the_object_holds_and_reads_back() {
        let path = attempt().object(3);
        let hash = topic_hash(&attempt().topic);
        let text = format!("geminga/5f7c/{hash:016x}/00000000000000000077/0000000000000abc/00003");
        assert_eq!(path.as_ref(), text);
        let name = ObjectName::parse(&path, "5f7c").unwrap();
        assert_eq!(
            (name.topic_hash, name.ledger, name.attempt, name.number),
            (hash, LedgerId(77), AttemptId(0xabc), 3)
        );
        assert_eq!(name.path("5f7c"), path);
    }

    #[test]
    fn names_that_we_do_not_write_are_not_ours() {
        let path = attempt().object(3).to_string();
        for other in [
            path.replace("5f7c", "5f7d"),
            path.replace("00003", "0003"),
            path.replace("00003", "+0003"),
            path.replace("abc", "ABC"),
            path.replace("/0000000000000abc", ""),
            format!("{path}/x"),
            "geminga/5f7c".into(),
            "somebody/else".into(),
        ] {
            assert_eq!(ObjectName::parse(&Path::from(other.clone()), "5f7c"), None, "{other}");
        }
    }
}
