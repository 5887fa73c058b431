//! Why a store did not give or take an object, named by what the caller does next.
use object_store::Error as StoreError;

use super::format::FormatError;

/// Why an object could not be read, written or removed. Each names the object in full.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// The store says that it has no such object: an alarm for whoever refers to it.
    #[error("{object} does not exist")]
    NotFound {
        /// URL and name.
        object: String,
    },
    /// What the store gives is not what was written: an alarm. The bookies may have the ledger still.
    #[error("{object} is damaged: {reason}")]
    Corrupt {
        /// URL and name.
        object: String,
        /// Where.
        reason: FormatError,
    },
    /// The store did not answer in time, or failed. Later it may.
    #[error("{object} cannot be reached now: {reason}")]
    Unavailable {
        /// URL and name.
        object: String,
        /// What the store said last, for people.
        reason: String,
    },
    /// The store refuses this broker, or the bucket is gone: a person must change something.
    #[error("the store refuses {object}: {reason}")]
    Refused {
        /// URL and name.
        object: String,
        /// What the store said, for people.
        reason: String,
    },
}

/// What to do after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It will not help: tell people, and read the other copy if there is one.
    Alarm,
    /// The same call later.
    Later,
    /// The same call much later, and tell people.
    AfterRepair,
}

impl ObjectError {
    /// No `_` arm: a new variant must decide.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::NotFound { .. } | Self::Corrupt { .. } => Retry::Alarm,
            Self::Unavailable { .. } => Retry::Later,
            Self::Refused { .. } => Retry::AfterRepair,
        }
    }

    /// Which object.
    #[must_use]
    pub fn object(&self) -> &str {
        match self {
            Self::NotFound { object }
            | Self::Corrupt { object, .. }
            | Self::Unavailable { object, .. }
            | Self::Refused { object, .. } => object,
        }
    }
}

/// What one answer of a store means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// There is no such object, or not yet.
    Missing,
    /// There is one of that name already.
    Exists,
    /// Not with these credentials, not in this bucket, not by this store.
    Refused,
    /// The request may or may not have been carried out.
    Unclear,
}

impl Answer {
    pub(crate) fn of(error: &StoreError) -> Self {
        match error {
            // A store without the bucket answers 404 too.
            StoreError::NotFound { source, .. } if names_bucket(&source.to_string()) => Self::Refused,
            StoreError::NotFound { .. } => Self::Missing,
            StoreError::AlreadyExists { .. } | StoreError::Precondition { .. } => Self::Exists,
            StoreError::PermissionDenied { .. }
            | StoreError::Unauthenticated { .. }
            | StoreError::NotSupported { .. }
            | StoreError::NotImplemented { .. }
            | StoreError::InvalidPath { .. }
            | StoreError::UnknownConfigurationKey { .. } => Self::Refused,
            _ => Self::Unclear, // Not ours to list: the crate adds variants.
        }
    }
}

/// The words by which stores say that not the object but its bucket or container is missing.
fn names_bucket(text: &str) -> bool {
    ["NoSuchBucket", "ContainerNotFound", "specified bucket does not exist"].iter().any(|words| text.contains(words))
}

/// An answer's text for people: short, and without what stands behind a `?`, where some stores carry signatures.
pub(crate) fn reason(error: &StoreError) -> String {
    let mut text = String::new();
    for word in error.to_string().split_whitespace() {
        let plain = word.split('?').next().unwrap_or_default();
        if 300 < text.len() + plain.len() {
            return text + " …";
        }
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(plain);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn not_found(text: &str) -> StoreError {
        StoreError::NotFound { path: "a".into(), source: text.into() }
    }

    #[test]
    fn a_missing_bucket_is_no_missing_object() {
        assert_eq!(Answer::of(&not_found("404: <Code>NoSuchKey</Code>")), Answer::Missing);
        assert_eq!(Answer::of(&not_found("404: <Code>NoSuchBucket</Code>")), Answer::Refused);
    }

    #[test]
    fn no_signature_and_no_long_page_gets_into_messages() {
        let text = format!("GET https://a/b?sig=secret failed {}", "x ".repeat(1000));
        let error = StoreError::Generic { store: "s", source: text.into() };
        let reason = reason(&error);
        assert!(reason.contains("https://a/b failed") && !reason.contains("secret"), "{reason}");
        assert!(reason.len() < 310);
    }
}
