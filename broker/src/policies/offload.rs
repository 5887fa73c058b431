//! When sealed ledgers move to objects, and where. Names, defaults and texts are those of Apache Pulsar.
use proto::records::OffloadPolicy;
use serde_json::{Value, json};

use super::PolicyError;
use super::lenient::{LONG, object, text, within};

const DRIVER: &str = "managedLedgerOffloadDriver";
const BUCKET: &str = "managedLedgerOffloadBucket";
const REGION: &str = "managedLedgerOffloadRegion";
const ENDPOINT: &str = "managedLedgerOffloadServiceEndpoint";
const THRESHOLD_BYTES: &str = "managedLedgerOffloadThresholdInBytes";
const THRESHOLD_SECONDS: &str = "managedLedgerOffloadThresholdInSeconds";
const DELETION_LAG_MS: &str = "managedLedgerOffloadDeletionLagInMillis";

/// Names that tools give to the same, beside the one that is shown.
const BUCKETS: [&str; 3] = [BUCKET, "s3ManagedLedgerOffloadBucket", "gcsManagedLedgerOffloadBucket"];
const REGIONS: [&str; 3] = [REGION, "s3ManagedLedgerOffloadRegion", "gcsManagedLedgerOffloadRegion"];
const ENDPOINTS: [&str; 3] = [ENDPOINT, "s3ManagedLedgerOffloadServiceEndpoint", "fileSystemURI"];
/// Beside the names of a driver above, what is kept to be shown again, and changes nothing here.
const SHOWN_TEXTS: [&str; 3] =
    ["offloadersDirectory", "s3ManagedLedgerOffloadRoleSessionName", "fileSystemProfilePath"];
const SHOWN_NUMBERS: [&str; 9] = [
    "managedLedgerOffloadMaxThreads",
    "managedLedgerOffloadReadThreads",
    "managedLedgerOffloadPrefetchRounds",
    "managedLedgerOffloadMaxBlockSizeInBytes",
    "managedLedgerOffloadReadBufferSizeInBytes",
    "s3ManagedLedgerOffloadMaxBlockSizeInBytes",
    "s3ManagedLedgerOffloadReadBufferSizeInBytes",
    "gcsManagedLedgerOffloadMaxBlockSizeInBytes",
    "gcsManagedLedgerOffloadReadBufferSizeInBytes",
];
/// Secrets would stand readable in the metadata, and everyone who may read policies would see them.
const SECRETS: [&str; 4] = [
    "s3ManagedLedgerOffloadCredentialId",
    "s3ManagedLedgerOffloadCredentialSecret",
    "s3ManagedLedgerOffloadRole",
    "gcsManagedLedgerOffloadServiceAccountKeyFile",
];

const S3: [&str; 2] = ["S3", "aws-s3"];
const GOOGLE: [&str; 1] = ["google-cloud-storage"];
const FILE_SYSTEM: [&str; 1] = ["filesystem"];
const AZURE: [&str; 1] = ["azureblob"];

fn is_one_of(driver: &str, names: &[&str]) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case(driver))
}

pub(super) fn read(value: &Value) -> Result<OffloadPolicy, PolicyError> {
    let members = object(value, "offload")?;
    let given = |names: &[&'static str]| {
        let found = names.iter().filter_map(|name| members.get(*name).map(|value| (*name, value)));
        let mut texts = found.map(|(name, value)| text(value).map_err(|error| within(name, error)));
        texts.find_map(Result::transpose).transpose()
    };
    let number = |name: &str| LONG.read(members.get(name).unwrap_or(&Value::Null)).map_err(|error| within(name, error));
    if let Some(secret) = SECRETS.iter().find(|name| members.get(**name).is_some_and(|value| !value.is_null())) {
        tracing::warn!(
            member = secret,
            "credentials are not kept in policies: brokers take them from their environment"
        );
    }
    let (defaults, mut shown) = (defaults(), Vec::new());
    for name in [BUCKETS, REGIONS, ENDPOINTS].iter().flat_map(|names| &names[1..]).chain(&SHOWN_TEXTS) {
        let text = members.get(*name).map(text).transpose().map_err(|error| within(name, error))?.flatten();
        shown.extend(text.map(|text| (*name, json!(text))));
    }
    for name in SHOWN_NUMBERS {
        shown.extend(number(name)?.map(|number| (name, json!(number))));
    }
    let shown = shown.into_iter().filter(|(name, value)| defaults[*name] != *value);
    Ok(OffloadPolicy {
        driver: given(&[DRIVER])?,
        bucket: given(&BUCKETS)?,
        region: given(&REGIONS)?,
        endpoint: given(&ENDPOINTS)?,
        threshold_bytes: number(THRESHOLD_BYTES)?,
        threshold_seconds: number(THRESHOLD_SECONDS)?,
        deletion_lag_ms: number(DELETION_LAG_MS)?,
        shown: shown.map(|(name, value)| (name.to_owned(), value.to_string())).collect(),
    })
}

/// What must be so for a policy that is set as a whole.
pub(super) fn check(policy: &OffloadPolicy) -> Result<(), PolicyError> {
    let refused = |text: &str| Err(PolicyError::Refused(text.into()));
    let driver = policy.driver.as_deref().unwrap_or_default();
    if ![&S3[..], &GOOGLE, &FILE_SYSTEM, &AZURE].iter().any(|names| is_one_of(driver, names)) {
        return refused(
            "The driver is not supported, support value: S3,aws-s3,google-cloud-storage,filesystem,azureblob",
        );
    }
    if !is_one_of(driver, &FILE_SYSTEM) && policy.bucket.as_deref().unwrap_or_default().is_empty() {
        return refused("The bucket must be specified for namespace offload.");
    }
    check_endpoint(policy)
}

/// Credentials in an address would be shown to everyone who reads the policy.
pub(super) fn check_endpoint(policy: &OffloadPolicy) -> Result<(), PolicyError> {
    let authority =
        |url: &str| url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next().map(str::to_owned);
    let shown = ENDPOINTS.iter().filter_map(|name| policy.shown.get(*name));
    let mut all = policy.endpoint.iter().chain(shown);
    if all.any(|url| authority(url).is_some_and(|authority| authority.contains('@'))) {
        let text = "The endpoint must not contain credentials: brokers take them from their environment.";
        return Err(PolicyError::Refused(text.into()));
    }
    Ok(())
}

/// What Apache Pulsar shows of every policy. They are not settings: nothing here depends on them.
fn defaults() -> Value {
    json!({
        "offloadersDirectory": "./offloaders", "managedLedgerOffloadMaxThreads": 2,
        "managedLedgerOffloadReadThreads": 2, "managedLedgerOffloadPrefetchRounds": 1,
        "managedLedgerExtraConfigurations": {}, "s3ManagedLedgerOffloadMaxBlockSizeInBytes": 67_108_864,
        "s3ManagedLedgerOffloadReadBufferSizeInBytes": 1_048_576,
        "s3ManagedLedgerOffloadRoleSessionName": "pulsar-s3-offload",
        "gcsManagedLedgerOffloadMaxBlockSizeInBytes": 134_217_728,
        "gcsManagedLedgerOffloadReadBufferSizeInBytes": 1_048_576,
    })
}

pub(super) fn show(policy: &OffloadPolicy) -> Value {
    let driver = policy.driver.as_deref().unwrap_or_default();
    let mut shown = defaults();
    let drivers = [("s3Driver", &S3[..]), ("gcsDriver", &GOOGLE), ("fileSystemDriver", &FILE_SYSTEM)];
    drivers.iter().for_each(|(name, names)| shown[*name] = json!(is_one_of(driver, names)));
    for (name, value) in &policy.shown {
        shown[name] = serde_json::from_str(value).unwrap_or_default();
    }
    let texts = [
        (&[DRIVER][..], &policy.driver),
        (&BUCKETS, &policy.bucket),
        (&REGIONS, &policy.region),
        (&ENDPOINTS, &policy.endpoint),
    ];
    for (names, text) in texts {
        // Under the name it was given.
        if let Some(text) = text.as_ref().filter(|_| names.iter().all(|name| !policy.shown.contains_key(*name))) {
            shown[names[0]] = json!(text);
        }
    }
    let numbers = [
        (THRESHOLD_BYTES, policy.threshold_bytes),
        (THRESHOLD_SECONDS, policy.threshold_seconds),
        (DELETION_LAG_MS, policy.deletion_lag_ms),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            shown[name] = json!(number);
        }
    }
    shown
}

/// Field by field: what is set for the topic, else what is set for the namespace.
pub(super) fn over(topic: Option<&OffloadPolicy>, namespace: Option<&OffloadPolicy>) -> Option<OffloadPolicy> {
    let (topic, mut namespace) = match (topic, namespace) {
        (None, one) | (one, None) => return one.cloned(),
        (Some(topic), Some(namespace)) => (topic.clone(), namespace.clone()),
    };
    namespace.shown.extend(topic.shown);
    Some(OffloadPolicy {
        driver: topic.driver.or(namespace.driver),
        bucket: topic.bucket.or(namespace.bucket),
        region: topic.region.or(namespace.region),
        endpoint: topic.endpoint.or(namespace.endpoint),
        threshold_bytes: topic.threshold_bytes.or(namespace.threshold_bytes),
        threshold_seconds: topic.threshold_seconds.or(namespace.threshold_seconds),
        deletion_lag_ms: topic.deletion_lag_ms.or(namespace.deletion_lag_ms),
        shown: namespace.shown,
    })
}
