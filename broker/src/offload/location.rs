//! Where objects lie: a URL without credentials.
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

/// A place in an object store, as records name it. Credentials come from the environment and are never part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Location {
    /// `s3://bucket[/prefix][?endpoint=URL][&region=NAME]`. Without an endpoint: Amazon's.
    S3 {
        /// Of that name.
        bucket: String,
        /// Before all names, without slashes at its ends. May be empty.
        prefix: String,
        /// Of a store that is not Amazon's. `http://` is allowed.
        endpoint: Option<String>,
        /// Without it: what the environment says, else `us-east-1`.
        region: Option<String>,
    },
    /// `gs://bucket[/prefix][?endpoint=URL]`.
    Google {
        /// Of that name.
        bucket: String,
        /// Before all names.
        prefix: String,
        /// Of an emulator.
        endpoint: Option<String>,
    },
    /// `az://container[/prefix][?endpoint=URL]`. The account comes from the environment.
    Azure {
        /// Of that name.
        container: String,
        /// Before all names.
        prefix: String,
        /// Of an emulator or a national cloud.
        endpoint: Option<String>,
    },
    /// `file:///directory`: a directory that every broker sees, like a network file system. It must exist.
    Directory {
        /// Absolute.
        path: PathBuf,
    },
    /// `memory:///name`: gone with the process. For tests.
    Memory {
        /// Tells several apart.
        name: String,
    },
}

/// What Apache Pulsar calls a place for objects: four of its offload policies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Driver {
    /// `aws-s3`, `S3`, `google-cloud-storage`, `azureblob`, `filesystem`.
    pub name: String,
    /// Bucket or container, with a prefix behind a slash if there is one. Of `filesystem`: the directory.
    pub bucket: String,
    /// Empty: not set.
    pub region: String,
    /// Empty: not set.
    pub endpoint: String,
}

/// Why a text or a driver names no place for objects. Nothing of what could be a credential is repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Not a URL at all.
    #[error("a location is a URL like s3://bucket?endpoint=http://host:port, and this is none: {0}")]
    NotAUrl(String),
    /// Another scheme.
    #[error("`{0}://` names no object store: use s3://, gs://, az:// or file://")]
    Scheme(String),
    /// A user or a password in the URL.
    #[error(
        "the location contains a user or a password: credentials come from the environment, for instance AWS_ACCESS_KEY_ID"
    )]
    Credentials,
    /// No bucket, or one that no store has.
    #[error("`{0}` is no bucket: 1 to 255 letters, digits and . - _")]
    Bucket(String),
    /// A prefix that cannot stand before names.
    #[error("`{0}` cannot stand before names of objects")]
    Prefix(String),
    /// A parameter behind `?` that this kind of store does not have.
    #[error("`{scheme}://` has no parameter `{name}`")]
    Parameter {
        /// Of the location.
        scheme: &'static str,
        /// Unknown.
        name: String,
    },
    /// An endpoint that is no plain URL.
    #[error("`{0}` is no endpoint: http://host:port or https://host[:port]")]
    Endpoint(String),
    /// Not absolute, or absent.
    #[error("`{0}` is no directory: name one that exists, from / on")]
    Directory(String),
    /// A driver of Pulsar that has no counterpart here.
    #[error("offload driver `{0}` is not supported: use aws-s3, S3, google-cloud-storage, azureblob or filesystem")]
    Driver(String),
    /// A kind of store that this process does not use.
    #[error("`{0}://` is not allowed in this process")]
    NotAllowed(&'static str),
    /// What the environment says about the store contradicts itself.
    #[error("the store cannot be used with what the environment says: {0}")]
    Environment(String),
}

impl Location {
    /// Reads a URL.
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        let url = Url::parse(text).map_err(|error| LocationError::NotAUrl(error.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(LocationError::Credentials);
        }
        if url.fragment().is_some() || url.port().is_some() {
            return Err(LocationError::NotAUrl("it has a port or a fragment".into()));
        }
        match url.scheme() {
            "s3" => {
                let [endpoint, region] = parameters(&url, "s3", ["endpoint", "region"])?;
                let (bucket, prefix) = (bucket(&url)?, prefix(&url)?);
                Ok(Self::S3 { bucket, prefix, endpoint: checked(endpoint)?, region })
            }
            "gs" => {
                let [endpoint] = parameters(&url, "gs", ["endpoint"])?;
                Ok(Self::Google { bucket: bucket(&url)?, prefix: prefix(&url)?, endpoint: checked(endpoint)? })
            }
            "az" => {
                let [endpoint] = parameters(&url, "az", ["endpoint"])?;
                Ok(Self::Azure { container: bucket(&url)?, prefix: prefix(&url)?, endpoint: checked(endpoint)? })
            }
            "file" => {
                let [] = parameters(&url, "file", [])?;
                let path = url.to_file_path().ok().filter(|path| path.is_absolute());
                Ok(Self::Directory { path: path.ok_or_else(|| LocationError::Directory(shorten(url.path())))? })
            }
            "memory" => Ok(Self::Memory { name: url.path().trim_matches('/').into() }),
            other => Err(LocationError::Scheme(shorten(other))),
        }
    }

    /// From Pulsar's names.
    pub fn of_driver(driver: &Driver) -> Result<Self, LocationError> {
        let set = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let (bucket, prefix) = driver.bucket.split_once('/').unwrap_or((&driver.bucket, ""));
        let (bucket, prefix) = (bucket.to_owned(), prefix.trim_matches('/').to_owned());
        let (endpoint, region) = (set(&driver.endpoint), set(&driver.region));
        let location = match driver.name.to_ascii_lowercase().as_str() {
            "aws-s3" | "s3" => Self::S3 { bucket, prefix, endpoint, region },
            "google-cloud-storage" => Self::Google { bucket, prefix, endpoint },
            "azureblob" => Self::Azure { container: bucket, prefix, endpoint },
            "filesystem" if driver.endpoint.starts_with("file:") => return Self::parse(&driver.endpoint),
            "filesystem" => {
                let path = PathBuf::from(&driver.bucket);
                return if path.is_absolute() {
                    Ok(Self::Directory { path })
                } else {
                    Err(LocationError::Directory(shorten(&driver.bucket)))
                };
            }
            _ => return Err(LocationError::Driver(shorten(&driver.name))),
        };
        // The one place that checks.
        Self::parse(&location.to_string()).map_err(|error| match error {
            LocationError::NotAUrl(_) => LocationError::Bucket(shorten(&driver.bucket)),
            other => other,
        })
    }

    /// In Pulsar's names.
    #[must_use]
    pub fn driver(&self) -> Driver {
        let joined = |bucket: &String, prefix: &String| match prefix.as_str() {
            "" => bucket.clone(),
            prefix => format!("{bucket}/{prefix}"),
        };
        let (name, bucket, region, endpoint) = match self {
            Self::S3 { bucket, prefix, endpoint: None, region } => ("aws-s3", joined(bucket, prefix), region, &None),
            Self::S3 { bucket, prefix, endpoint, region } => ("S3", joined(bucket, prefix), region, endpoint),
            Self::Google { bucket, prefix, endpoint } => {
                ("google-cloud-storage", joined(bucket, prefix), &None, endpoint)
            }
            Self::Azure { container, prefix, endpoint } => ("azureblob", joined(container, prefix), &None, endpoint),
            Self::Directory { path } => ("filesystem", path.to_string_lossy().into_owned(), &None, &None),
            Self::Memory { name } => ("memory", name.clone(), &None, &None),
        };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Driver { name: name.into(), bucket, region: text(region), endpoint: text(endpoint) }
    }

    /// Before all names of objects in the store.
    #[must_use]
    pub fn prefix(&self) -> &str {
        match self {
            Self::S3 { prefix, .. } | Self::Google { prefix, .. } | Self::Azure { prefix, .. } => prefix,
            Self::Directory { .. } | Self::Memory { .. } => "",
        }
    }

    /// The URL up to where names of objects begin, for messages.
    #[must_use]
    pub fn root(&self) -> String {
        match self {
            Self::S3 { bucket, .. } => format!("s3://{bucket}"),
            Self::Google { bucket, .. } => format!("gs://{bucket}"),
            Self::Azure { container, .. } => format!("az://{container}"),
            Self::Directory { path } => match Url::from_file_path(path) {
                Ok(url) => url.to_string(),
                Err(()) => format!("file://{}", path.display()),
            },
            Self::Memory { name } => format!("memory:///{name}"),
        }
    }
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// The URL, the same for the same place.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.root())?;
        if !self.prefix().is_empty() {
            write!(f, "/{}", self.prefix())?;
        }
        let parameters = match self {
            Self::S3 { endpoint, region, .. } => [("endpoint", endpoint), ("region", region)],
            Self::Google { endpoint, .. } | Self::Azure { endpoint, .. } => [("endpoint", endpoint), ("", &None)],
            Self::Directory { .. } | Self::Memory { .. } => return Ok(()),
        };
        let mut mark = '?';
        for (name, value) in parameters {
            if let Some(value) = value {
                // Readable: of what an endpoint or a region may contain, nothing else needs it.
                let value = value.replace('%', "%25").replace('&', "%26").replace('#', "%23").replace('+', "%2B");
                write!(f, "{mark}{name}={value}")?;
                mark = '&';
            }
        }
        Ok(())
    }
}

fn bucket(url: &Url) -> Result<String, LocationError> {
    let bucket = url.host_str().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if (1..=255).contains(&bucket.len()) && bucket.chars().all(plain) {
        Ok(bucket.into())
    } else {
        Err(LocationError::Bucket(shorten(bucket)))
    }
}

fn prefix(url: &Url) -> Result<String, LocationError> {
    let prefix = url.path().trim_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '=' | '/');
    let parts =
        |mut parts: std::str::Split<'_, char>| parts.all(|part| !part.is_empty() && part != "." && part != "..");
    if prefix.is_empty() || (prefix.len() <= 512 && prefix.chars().all(plain) && parts(prefix.split('/'))) {
        Ok(prefix.into())
    } else {
        Err(LocationError::Prefix(shorten(prefix)))
    }
}

/// The values of the parameters with these names. Empty values count as not given.
fn parameters<const N: usize>(
    url: &Url,
    scheme: &'static str,
    names: [&str; N],
) -> Result<[Option<String>; N], LocationError> {
    let mut values = [const { None }; N];
    for (name, value) in url.query_pairs() {
        let Some(at) = names.iter().position(|known| *known == name) else {
            return Err(LocationError::Parameter { scheme, name: shorten(&name) });
        };
        values[at] = Some(value.into_owned()).filter(|value| !value.is_empty());
    }
    Ok(values)
}

fn checked(endpoint: Option<String>) -> Result<Option<String>, LocationError> {
    let Some(text) = endpoint else { return Ok(None) };
    let wrong = || LocationError::Endpoint(shorten(text.rsplit('@').next().unwrap_or_default()));
    let url = Url::parse(&text).map_err(|_| wrong())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(LocationError::Credentials);
    }
    let plain = matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none();
    if plain && url.fragment().is_none() { Ok(Some(text.trim_end_matches('/').into())) } else { Err(wrong()) }
}

fn shorten(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_read_as_they_are_written() {
        for text in [
            "s3://bucket",
            "s3://bucket/some/prefix?endpoint=http://127.0.0.1:9000&region=eu-west-1",
            "s3://my.bucket-1?region=us-east-2",
            "gs://bucket/prefix",
            "az://container?endpoint=http://127.0.0.1:10000/account",
            "file:///var/lib/geminga/objects",
            "memory:///x",
        ] {
            let location = Location::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(location.to_string(), text);
            assert_eq!(Location::parse(&location.to_string()), Ok(location));
        }
        let sloppy = Location::parse("s3://bucket/a/?region=&endpoint=https://host/").unwrap();
        assert_eq!(sloppy.to_string(), "s3://bucket/a?endpoint=https://host");
    }

    #[test]
    fn what_is_wrong_with_a_location_is_named() {
        let error = |text: &str| Location::parse(text).unwrap_err();
        assert!(matches!(error("bucket"), LocationError::NotAUrl(_)));
        assert_eq!(error("http://host/bucket"), LocationError::Scheme("http".into()));
        assert_eq!(error("s3://key:secret@bucket"), LocationError::Credentials);
        assert_eq!(error("s3://bucket?endpoint=http://key:secret@host"), LocationError::Credentials);
        assert_eq!(error("s3:///prefix"), LocationError::Bucket(String::new()));
        assert_eq!(error("s3://buc%20ket"), LocationError::Bucket("buc%20ket".into()));
        assert_eq!(error("gs://bucket/a//b"), LocationError::Prefix("a//b".into()));
        assert_eq!(error("gs://bucket?region=x"), LocationError::Parameter { scheme: "gs", name: "region".into() });
        assert_eq!(error("s3://bucket?endpoint=host:80"), LocationError::Endpoint("host:80".into()));
        assert_eq!(error("s3://bucket?endpoint=http://host?x=y"), LocationError::Endpoint("http://host?x=y".into()));
        assert!(matches!(error("s3://bucket:80"), LocationError::NotAUrl(_)));
        for text in ["s3://key:secret@bucket", "s3://b?endpoint=http://key:secret@host", "s3://b?secret=secret"] {
            assert!(!error(text).to_string().contains(":secret"), "{text}");
        }
    }

    fn driver(name: &str, bucket: &str, region: &str, endpoint: &str) -> Driver {
        Driver { name: name.into(), bucket: bucket.into(), region: region.into(), endpoint: endpoint.into() }
    }

    #[test]
    fn drivers_of_pulsar_become_locations_and_come_back() {
        for (driver, url) in [
            (driver("aws-s3", "bucket", "eu-west-3", ""), "s3://bucket?region=eu-west-3"),
            (driver("S3", "bucket/a", "", "http://localhost:9000"), "s3://bucket/a?endpoint=http://localhost:9000"),
            (driver("google-cloud-storage", "bucket", "", ""), "gs://bucket"),
            (driver("azureblob", "box", "", ""), "az://box"),
            (driver("filesystem", "/mnt/nfs", "", ""), "file:///mnt/nfs"),
        ] {
            let location = Location::of_driver(&driver).unwrap();
            assert_eq!(location.to_string(), url);
            assert_eq!(location.driver(), driver);
        }
        let of_endpoint = Location::of_driver(&driver("filesystem", "", "", "file:///mnt/nfs")).unwrap();
        assert_eq!(of_endpoint.to_string(), "file:///mnt/nfs");
    }

    #[test]
    fn drivers_without_a_counterpart_are_refused_by_name() {
        let error = |it: Driver| Location::of_driver(&it).unwrap_err();
        assert_eq!(error(driver("aliyun-oss", "b", "", "")), LocationError::Driver("aliyun-oss".into()));
        assert_eq!(error(driver("S3", "", "", "")), LocationError::Bucket(String::new()));
        assert_eq!(error(driver("S3", "b", "", "nowhere")), LocationError::Endpoint("nowhere".into()));
        assert_eq!(error(driver("filesystem", "relative", "", "")), LocationError::Directory("relative".into()));
        assert_eq!(error(driver("S3", "a@b", "", "")), LocationError::Credentials);
    }
}
