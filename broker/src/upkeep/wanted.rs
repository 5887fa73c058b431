//! Where the ledgers of a topic move, and when: its policies, and the broker's configuration where they say nothing. Pure.
use std::time::Duration;

use proto::records::OffloadPolicy;

use crate::log::Moving;
use crate::offload::{Driver, Location, LocationError};

/// What the broker's configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Defaults {
    pub(crate) store: Option<Location>,
    pub(crate) moving: Moving,
}

/// What is wanted of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) store: Result<Location, Nowhere>,
    pub(crate) moving: Moving,
}

/// Why there is no store that ledgers may move to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Nowhere {
    /// Neither a policy nor the broker names one.
    #[error("no object store is set: set `offload` of the broker, or an offload policy")]
    NotSet,
    /// What the policy says names none.
    #[error("the offload policy names no store that can be used: {0}")]
    Location(#[from] LocationError),
    /// Policies choose buckets. Where requests with the broker's credentials are sent is for whoever configures the broker.
    #[error("the offload policy names the endpoint {0}, and only `offload` of the broker may")]
    Endpoint(String),
    /// The same of directories.
    #[error("the offload policy names the directory {0}, and only `offload` of the broker may")]
    Directory(String),
}

impl Defaults {
    /// Field by field: what the policy says, else the broker's.
    pub(crate) fn with(&self, policy: Option<&OffloadPolicy>) -> Wanted {
        let Some(policy) = policy else {
            return Wanted { store: self.store.clone().ok_or(Nowhere::NotSet), moving: self.moving };
        };
        // Numbers below 0 are never.
        let number = |set: Option<i64>, default: Option<u64>| set.map_or(default, |set| u64::try_from(set).ok());
        let seconds = self.moving.age.map(|age| age.as_secs());
        let lag_ms = self.moving.lag.map(|lag| u64::try_from(lag.as_millis()).unwrap_or(u64::MAX));
        let moving = Moving {
            bytes: number(policy.threshold_bytes, self.moving.bytes),
            age: number(policy.threshold_seconds, seconds).map(Duration::from_secs),
            lag: number(policy.deletion_lag_ms, lag_ms).map(Duration::from_millis),
        };
        Wanted { store: self.store(policy), moving }
    }

    fn store(&self, policy: &OffloadPolicy) -> Result<Location, Nowhere> {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let name = text(&policy.driver);
        if name.is_empty() {
            return self.store.clone().ok_or(Nowhere::NotSet);
        }
        let own = self.store.as_ref().map(Location::driver).unwrap_or_default();
        let same_kind = kind(&name) == kind(&own.name);
        let endpoint = match text(&policy.endpoint) {
            given if given.is_empty() && same_kind => own.endpoint.clone(),
            given => given,
        };
        let region = match text(&policy.region) {
            given if given.is_empty() && same_kind => own.region.clone(),
            given => given,
        };
        let bucket = match text(&policy.bucket) {
            given if given.is_empty() && same_kind => own.bucket.clone(),
            given => given,
        };
        let location = Location::of_driver(&Driver { name, bucket, region, endpoint })?;
        match &location {
            Location::Directory { .. } if self.store.as_ref() != Some(&location) => {
                Err(Nowhere::Directory(location.root()))
            }
            Location::S3 { endpoint: Some(endpoint), .. }
            | Location::Google { endpoint: Some(endpoint), .. }
            | Location::Azure { endpoint: Some(endpoint), .. }
                if !same_kind || *endpoint != own.endpoint =>
            {
                Err(Nowhere::Endpoint(endpoint.clone()))
            }
            _ => Ok(location),
        }
    }
}

/// Two names of the same kind of store.
fn kind(driver: &str) -> String {
    let driver = driver.to_ascii_lowercase();
    if driver == "s3" { "aws-s3".into() } else { driver }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults(store: &str) -> Defaults {
        let store = (!store.is_empty()).then(|| store.parse().unwrap());
        Defaults { store, moving: Moving { bytes: None, age: None, lag: Some(Duration::from_secs(4 * 3600)) } }
    }

    fn policy(driver: &str, bucket: &str, endpoint: &str) -> OffloadPolicy {
        let set = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        OffloadPolicy { driver: set(driver), bucket: set(bucket), endpoint: set(endpoint), ..Default::default() }
    }

    fn store(defaults: &Defaults, policy: &OffloadPolicy) -> Result<String, Nowhere> {
        defaults.with(Some(policy)).store.map(|location| location.to_string())
    }

    #[test]
    fn policies_choose_the_bucket_and_the_broker_the_endpoint() {
        let own = defaults("s3://own?endpoint=http://localhost:9000&region=r");
        let go = |driver, bucket, endpoint| store(&own, &policy(driver, bucket, endpoint));
        let at = |bucket| Ok(format!("s3://{bucket}?endpoint=http://localhost:9000&region=r"));
        assert_eq!(own.with(None).store.map(|location| location.to_string()), at("own"));
        assert_eq!(go("", "", ""), at("own"), "a policy of thresholds only");
        assert_eq!(go("S3", "other", ""), at("other"));
        assert_eq!(go("aws-s3", "other", "http://localhost:9000"), at("other"));
        assert_eq!(go("S3", "other", "http://evil:1"), Err(Nowhere::Endpoint("http://evil:1".into())));
        assert_eq!(go("google-cloud-storage", "other", ""), Ok("gs://other".into()));
        let foreign = go("google-cloud-storage", "other", "http://localhost:9000");
        assert_eq!(foreign, Err(Nowhere::Endpoint("http://localhost:9000".into())));
        assert_eq!(
            store(&defaults(""), &policy("S3", "b", "")),
            Ok("s3://b".into()),
            "with the environment's endpoint"
        );
        assert_eq!(store(&defaults(""), &policy("", "", "")), Err(Nowhere::NotSet));
        assert!(matches!(go("aliyun-oss", "b", ""), Err(Nowhere::Location(LocationError::Driver(_)))));
    }

    #[test]
    fn a_policy_names_no_directory_that_the_broker_does_not() {
        let own = defaults("file:///srv/objects");
        assert_eq!(store(&own, &policy("filesystem", "", "")), Ok("file:///srv/objects".into()));
        assert_eq!(store(&own, &policy("filesystem", "/srv/objects", "")), Ok("file:///srv/objects".into()));
        assert!(matches!(store(&own, &policy("filesystem", "/etc", "")), Err(Nowhere::Directory(_))));
        assert!(matches!(store(&own, &policy("filesystem", "", "file:///etc")), Err(Nowhere::Directory(_))));
    }

    #[test]
    fn numbers_are_taken_one_by_one_and_those_below_zero_are_never() {
        let own = defaults("");
        let moving = |bytes, seconds, lag| {
            let policy = OffloadPolicy {
                threshold_bytes: bytes,
                threshold_seconds: seconds,
                deletion_lag_ms: lag,
                ..Default::default()
            };
            own.with(Some(&policy)).moving
        };
        assert_eq!(moving(None, None, None), own.moving);
        let (age, lag) = (Some(Duration::from_secs(7)), Some(Duration::ZERO));
        assert_eq!(moving(Some(0), Some(7), Some(0)), Moving { bytes: Some(0), age, lag });
        assert_eq!(moving(Some(-1), Some(-1), Some(-1)), Moving { bytes: None, age: None, lag: None });
        assert_eq!(moving(Some(i64::MAX), None, None).bytes, Some(i64::MAX as u64));
    }
}
