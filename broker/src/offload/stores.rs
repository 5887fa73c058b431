//! Object stores, opened by their locations.
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use parking_lot::Mutex;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use super::error::ObjectError;
use super::location::{Location, LocationError};
use super::metrics::Offloading;
use super::parts::PartsInOrder;
use super::patience::Jitter;
use super::probe::{self, Abilities};
use super::requests::{Counted, Requests};
use super::upload::Limits;

/// For a connection to be made; everything else has deadlines of its own.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Ranges asked of one store at once.
const RANGES_AT_ONCE: usize = 64;

/// A store as this room needs it: whole objects, and parts that can be put again under their numbers.
#[derive(Clone)]
pub struct Backend {
    /// Whole objects and ranges.
    pub objects: Arc<dyn ObjectStore>,
    /// The same store's parts.
    pub parts: Arc<dyn MultipartStore>,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("objects", &self.objects).finish_non_exhaustive()
    }
}

impl Backend {
    /// In memory.
    #[must_use]
    pub fn memory() -> Self {
        let store = Arc::new(InMemory::new());
        Self { objects: store.clone(), parts: store }
    }
}

/// Which kinds of stores a process uses. Whoever sets an offload policy chooses among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinds {
    /// Stores in the network: the broker has no disk.
    Network,
    /// Directories too.
    Directories,
    /// Directories and memory, for tests.
    All,
}

/// All stores of a broker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stores {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    kinds: Kinds,
    jitter: Arc<Jitter>,
    offloading: Offloading,
    /// A lock and not a task: a store is looked up here and never waited for.
    opened: Mutex<HashMap<Location, Arc<Store>>>,
    next_number: AtomicU32,
}

impl Stores {
    /// None opened yet. The seed is for the lengths of pauses and the names of probes.
    #[must_use]
    pub fn new(seed: u64, kinds: Kinds) -> Self {
        // The crate that speaks HTTP asks the process for its cryptography. Another part may have chosen before: that is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (jitter, offloading) = (Arc::new(Jitter::new(seed)), Offloading::default());
        Self {
            shared: Arc::new(Shared {
                kinds,
                jitter,
                offloading,
                opened: Mutex::default(),
                next_number: AtomicU32::new(0),
            }),
        }
    }

    /// The store at a location: the same one each time. No request is made.
    pub fn open(&self, location: &Location) -> Result<Arc<Store>, LocationError> {
        let mut opened = self.shared.opened.lock();
        if let Some(store) = opened.get(location) {
            return Ok(store.clone());
        }
        let store = Arc::new(Store::new(location, self.backend(location)?, &self.shared, Limits::DEFAULT));
        opened.insert(location.clone(), store.clone());
        Ok(store)
    }

    /// Puts `backend` in the place of a location, for tests.
    pub fn put(&self, location: &Location, backend: Backend) -> Arc<Store> {
        self.put_cut(location, backend, Limits::DEFAULT)
    }

    /// The same, with small cuts, so that a small ledger has several objects of several parts.
    #[cfg(test)]
    pub(crate) fn put_small(&self, location: &Location, backend: Backend) -> Arc<Store> {
        self.put_cut(location, backend, Limits { object_bytes: 2048, part_bytes: 512 })
    }

    fn put_cut(&self, location: &Location, backend: Backend, limits: Limits) -> Arc<Store> {
        let store = Arc::new(Store::new(location, backend, &self.shared, limits));
        self.shared.opened.lock().insert(location.clone(), store.clone());
        store
    }

    /// All that were opened.
    #[must_use]
    pub fn opened(&self) -> Vec<Arc<Store>> {
        self.shared.opened.lock().values().cloned().collect()
    }

    /// What was offloaded and read, of all stores.
    #[must_use]
    pub fn offloading(&self) -> &Offloading {
        &self.shared.offloading
    }

    fn backend(&self, location: &Location) -> Result<Backend, LocationError> {
        let both = |kinds: &[Kinds]| kinds.contains(&self.shared.kinds);
        match location {
            Location::S3 { bucket, endpoint, region, .. } => s3(bucket, endpoint.as_deref(), region.as_deref()),
            Location::Google { bucket, endpoint, .. } => google(bucket, endpoint.as_deref()),
            Location::Azure { container, endpoint, .. } => azure(container, endpoint.as_deref()),
            Location::Directory { path } if both(&[Kinds::Directories, Kinds::All]) => directory(path),
            Location::Memory { .. } if both(&[Kinds::All]) => Ok(Backend::memory()),
            Location::Directory { .. } => Err(LocationError::NotAllowed("file")),
            Location::Memory { .. } => Err(LocationError::NotAllowed("memory")),
        }
    }
}

/// One store.
#[derive(Debug)]
pub struct Store {
    number: u32,
    location: Location,
    prefix: Path,
    backend: Backend,
    requests: Arc<Requests>,
    jitter: Arc<Jitter>,
    offloading: Offloading,
    abilities: OnceCell<Abilities>,
    turns: Semaphore,
    limits: Limits,
}

impl Store {
    fn new(location: &Location, backend: Backend, shared: &Shared, limits: Limits) -> Self {
        let requests = Arc::new(Requests::default());
        let backend = Counted::backend(backend, requests.clone());
        let prefix = Path::from(location.prefix());
        let (abilities, turns) = (OnceCell::new(), Semaphore::new(RANGES_AT_ONCE));
        let (location, jitter) = (location.clone(), shared.jitter.clone());
        let offloading = shared.offloading.clone();
        let number = shared.next_number.fetch_add(1, Ordering::Relaxed);
        Self { number, location, prefix, backend, requests, jitter, offloading, abilities, turns, limits }
    }

    /// Where it is.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Which of those that this process has opened.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// What was asked of it.
    #[must_use]
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// What it can do, found out by trying when it is asked first. An error is not kept.
    pub async fn probe(&self) -> Result<Abilities, ObjectError> {
        self.abilities.get_or_try_init(|| probe::run(self)).await.copied()
    }

    /// A name behind the location's prefix.
    #[must_use]
    pub fn path(&self, name: &Path) -> Path {
        if self.prefix.is_root() { name.clone() } else { self.prefix.parts().chain(name.parts()).collect() }
    }

    /// Without the location's prefix.
    pub(crate) fn name(&self, path: &Path) -> Option<Path> {
        Some(path.prefix_match(&self.prefix)?.collect())
    }

    /// What messages call an object.
    pub(crate) fn text(&self, path: &Path) -> String {
        format!("{}/{path}", self.location.root())
    }

    /// Whether it gives the last bytes of an object without being told its size.
    pub(crate) fn reads_suffixes(&self) -> bool {
        !matches!(self.location, Location::Azure { .. })
    }

    /// Waits for its turn: so many requests for ranges are made at once of one store, and readers of others do not wait for them.
    pub(crate) async fn turn(&self) -> SemaphorePermit<'_> {
        self.turns.acquire().await.expect("never closed")
    }

    /// The store itself; what is asked of it is counted.
    #[must_use]
    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.backend.objects
    }

    pub(crate) fn parts(&self) -> &Arc<dyn MultipartStore> {
        &self.backend.parts
    }

    pub(crate) fn offloading(&self) -> &Offloading {
        &self.offloading
    }

    pub(crate) fn jitter(&self) -> &Jitter {
        &self.jitter
    }

    /// Where ledgers are cut that are written here.
    pub(super) fn limits(&self) -> Limits {
        self.limits
    }
}

/// No repetition below this room: it counts every request and gives each a deadline.
fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, retry_timeout: Duration::ZERO, ..RetryConfig::default() }
}

fn client(endpoint: Option<&str>) -> ClientOptions {
    let plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    ClientOptions::new().with_timeout_disabled().with_connect_timeout(CONNECT_WITHIN).with_allow_http(plain)
}

fn environment(error: object_store::Error) -> LocationError {
    LocationError::Environment(super::error::reason(&error))
}

fn s3(bucket: &str, endpoint: Option<&str>, region: Option<&str>) -> Result<Backend, LocationError> {
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_retry(no_retries())
        // One by one: many stores that speak this protocol do not know the other way, and an attempt has few objects.
        .with_disable_bulk_delete(true);
    if let Some(endpoint) = endpoint {
        builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
    }
    if let Some(region) = region {
        builder = builder.with_region(region);
    }
    // The environment may name one too, and whoever can set that may let requests go without TLS.
    let of_environment = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];
    let endpoint = of_environment.iter().find_map(|key| builder.get_config_value(key));
    let builder = builder.with_client_options(client(endpoint.as_deref()));
    let store = Arc::new(builder.build().map_err(environment)?);
    Ok(Backend { objects: store.clone(), parts: store })
}

fn google(bucket: &str, endpoint: Option<&str>) -> Result<Backend, LocationError> {
    let mut builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(bucket)
        .with_client_options(client(endpoint))
        .with_retry(no_retries());
    if let Some(endpoint) = endpoint {
        builder = builder.with_base_url(endpoint);
    }
    let store = Arc::new(builder.build().map_err(environment)?);
    Ok(Backend { objects: store.clone(), parts: store })
}

fn azure(container: &str, endpoint: Option<&str>) -> Result<Backend, LocationError> {
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_container_name(container)
        .with_client_options(client(endpoint))
        .with_retry(no_retries());
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint.into());
    }
    let store = Arc::new(builder.build().map_err(environment)?);
    Ok(Backend { objects: store.clone(), parts: store })
}

fn directory(path: &std::path::Path) -> Result<Backend, LocationError> {
    let absent = |_| LocationError::Directory(path.display().to_string());
    // What was answered as written survives a loss of power: bookies delete their copy because of it.
    let store = LocalFileSystem::new_with_prefix(path).map_err(absent)?.with_fsync(true).with_automatic_cleanup(true);
    let objects: Arc<dyn ObjectStore> = Arc::new(store);
    Ok(Backend { objects: objects.clone(), parts: Arc::new(PartsInOrder::new(objects)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(text: &str) -> Location {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_location_is_opened_once() {
        let stores = Stores::new(1, Kinds::All);
        let (one, other) =
            (stores.open(&location("memory:///a")).unwrap(), stores.open(&location("memory:///a")).unwrap());
        assert!(Arc::ptr_eq(&one, &other));
        assert!(!Arc::ptr_eq(&one, &stores.open(&location("memory:///b")).unwrap()));
        assert_eq!(stores.opened().len(), 2);
    }

    #[test]
    fn a_process_uses_only_the_kinds_it_was_given() {
        let file = location("file:///");
        let refused = |kinds, location: &Location| Stores::new(1, kinds).open(location).unwrap_err();
        assert_eq!(refused(Kinds::Network, &file), LocationError::NotAllowed("file"));
        assert_eq!(refused(Kinds::Directories, &location("memory:///a")), LocationError::NotAllowed("memory"));
        assert!(Stores::new(1, Kinds::Directories).open(&file).is_ok());
    }

    #[test]
    fn a_directory_must_exist() {
        let directory = tempfile::tempdir().unwrap();
        let absent = Location::Directory { path: directory.path().join("absent") };
        assert!(matches!(Stores::new(1, Kinds::All).open(&absent), Err(LocationError::Directory(_))));
    }

    #[test]
    fn stores_in_the_network_are_opened_without_asking_them() {
        let stores = Stores::new(1, Kinds::Network);
        for text in ["s3://bucket/prefix?endpoint=http://127.0.0.1:1&region=x", "s3://bucket", "gs://bucket"] {
            stores.open(&location(text)).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
        let store = stores.open(&location("s3://bucket/a/b")).unwrap();
        let name = Path::from("geminga/x");
        assert_eq!(store.path(&name).as_ref(), "a/b/geminga/x");
        assert_eq!(store.name(&store.path(&name)), Some(name.clone()));
        assert_eq!(store.text(&store.path(&name)), "s3://bucket/a/b/geminga/x");
    }
}
