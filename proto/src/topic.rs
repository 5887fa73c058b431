//! Names of topics and namespaces.
use std::fmt;
use std::str::FromStr;

/// Whether a topic is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Domain {
    /// Stored in ledgers.
    Persistent,
    /// Passed on to whoever is there.
    NonPersistent,
}

impl Domain {
    /// As it stands before `://`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Persistent => "persistent",
            Self::NonPersistent => "non-persistent",
        }
    }
}

/// `tenant/namespace`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespaceName {
    tenant: String,
    namespace: String,
}

/// A topic's full name: `persistent://tenant/namespace/topic`. Partition N of a partitioned topic is called `…-partition-N`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName {
    domain: Domain,
    namespace: NamespaceName,
    local: String,
}

/// Why a text names no topic or namespace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicNameError {
    /// Neither `topic`, `tenant/namespace/topic` nor `domain://tenant/namespace/topic`.
    #[error("invalid topic name `{0}`: expected persistent://tenant/namespace/topic or a short name")]
    Shape(String),
    /// Tenant or namespace with other characters than `[-=:.\w]`, or none.
    #[error("invalid tenant or namespace `{0}`: only letters, digits and - = : . _ are allowed")]
    Characters(String),
    /// Longer than [`TOPIC_NAME_BYTES_MAX`].
    #[error("name of {0} bytes exceeds the limit of {TOPIC_NAME_BYTES_MAX}")]
    TooLong(usize),
}

/// Longer names are refused, of namespaces too: they become keys and metric labels.
pub const TOPIC_NAME_BYTES_MAX: usize = 1024;

const PARTITION_SUFFIX: &str = "-partition-";

fn check_part(part: &str) -> Result<(), TopicNameError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '=' | ':' | '.' | '_');
    if part.is_empty() || !part.chars().all(plain) {
        return Err(TopicNameError::Characters(shorten(part)));
    }
    Ok(())
}

fn shorten(text: &str) -> String {
    text.chars().take(100).collect()
}

impl NamespaceName {
    /// Checks both parts.
    pub fn new(tenant: &str, namespace: &str) -> Result<Self, TopicNameError> {
        let length = tenant.len() + 1 + namespace.len();
        if TOPIC_NAME_BYTES_MAX < length {
            return Err(TopicNameError::TooLong(length));
        }
        check_part(tenant)?;
        check_part(namespace)?;
        Ok(Self { tenant: tenant.into(), namespace: namespace.into() })
    }

    /// The first part.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The second part.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }
}

impl fmt::Display for NamespaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.namespace)
    }
}

impl FromStr for NamespaceName {
    type Err = TopicNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((tenant, namespace)) => Self::new(tenant, namespace),
            None => Err(TopicNameError::Shape(shorten(text))),
        }
    }
}

impl TopicName {
    /// Puts a name together from its parts. `local` may hold any text but must not be empty.
    pub fn new(domain: Domain, namespace: NamespaceName, local: &str) -> Result<Self, TopicNameError> {
        if local.is_empty() || local.contains('\0') {
            return Err(TopicNameError::Shape(shorten(local)));
        }
        let name = Self { domain, namespace, local: local.into() };
        let length = name.to_string().len();
        if TOPIC_NAME_BYTES_MAX < length {
            return Err(TopicNameError::TooLong(length));
        }
        Ok(name)
    }

    /// Stored or passed on.
    #[must_use]
    pub fn domain(&self) -> Domain {
        self.domain
    }

    /// Where it belongs.
    #[must_use]
    pub fn namespace(&self) -> &NamespaceName {
        &self.namespace
    }

    /// The last part, with `-partition-N` if there.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.local
    }

    /// N of `…-partition-N`. Only the canonical form counts: no sign, no leading zero.
    #[must_use]
    pub fn partition(&self) -> Option<u32> {
        let (_, digits) = self.local.rsplit_once(PARTITION_SUFFIX)?;
        let number: u32 = digits.parse().ok()?;
        (number.to_string() == digits && number <= i32::MAX as u32).then_some(number)
    }

    /// The name without `-partition-N`: itself for a topic that is no partition.
    #[must_use]
    pub fn partitioned(&self) -> Self {
        match (self.partition(), self.local.rsplit_once(PARTITION_SUFFIX)) {
            (Some(_), Some((base, _))) if !base.is_empty() => Self { local: base.into(), ..self.clone() },
            _ => self.clone(),
        }
    }

    /// Partition `number` of this topic.
    #[must_use]
    pub fn with_partition(&self, number: u32) -> Self {
        Self { local: format!("{}{PARTITION_SUFFIX}{number}", self.local), ..self.clone() }
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/{}", self.domain.as_str(), self.namespace, self.local)
    }
}

/// Takes full names, `tenant/namespace/topic`, and `topic` for one in `public/default`.
impl FromStr for TopicName {
    type Err = TopicNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if TOPIC_NAME_BYTES_MAX < text.len() {
            return Err(TopicNameError::TooLong(text.len()));
        }
        let (domain, rest) = match text.split_once("://") {
            Some(("persistent", rest)) => (Domain::Persistent, rest),
            Some(("non-persistent", rest)) => (Domain::NonPersistent, rest),
            Some(_) => return Err(TopicNameError::Shape(shorten(text))),
            None => (Domain::Persistent, text),
        };
        let short = rest.len() == text.len();
        let parts: Vec<&str> = rest.splitn(3, '/').collect();
        match parts[..] {
            [local] if short => Self::new(domain, NamespaceName::new("public", "default")?, local),
            [tenant, namespace, local] => Self::new(domain, NamespaceName::new(tenant, namespace)?, local),
            _ => Err(TopicNameError::Shape(shorten(text))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_in_the_default_namespace() {
        let name: TopicName = "orders".parse().expect("valid");
        assert_eq!(name.to_string(), "persistent://public/default/orders");
        assert_eq!("public/default/orders".parse::<TopicName>().expect("valid"), name);
    }

    #[test]
    fn partitions_are_recognised_only_in_canonical_form() {
        let partition = |text: &str| text.parse::<TopicName>().expect("valid").partition();
        assert_eq!(partition("a-partition-12"), Some(12));
        for odd in ["a-partition-00", "a-partition--1", "a-partition-2147483648", "a-partition-+1", "a-partition-", "a"]
        {
            assert_eq!(partition(odd), None, "{odd}");
        }
        let base: TopicName = "a-partition-x-partition-3".parse().expect("valid");
        assert_eq!(base.partitioned().local(), "a-partition-x");
        assert_eq!(base.partitioned().with_partition(3), base);
    }

    #[test]
    fn names_that_name_nothing_are_refused() {
        for bad in [
            "",
            "a/b",
            "persistent://a/b",
            "http://a/b/c",
            "persistent://a b/c/d",
            "persistent:///b/c",
            "persistent://t",
        ] {
            assert!(bad.parse::<TopicName>().is_err(), "{bad}");
        }
        let long = "x".repeat(TOPIC_NAME_BYTES_MAX + 1);
        assert_eq!(long.parse::<TopicName>(), Err(TopicNameError::TooLong(long.len())));
        assert_eq!(NamespaceName::new(&long[..512], &long[512..]), Err(TopicNameError::TooLong(long.len() + 1)));
    }
}
