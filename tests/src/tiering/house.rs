//! Servers with a store beside them: moving everything, waiting until no bookie has it, and what was asked of the store meanwhile.
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use broker::offload::Backend;
use daemon::Failure;
use futures::StreamExt;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use serde_json::{Value, json};

use crate::cluster::{Admin, S3, Servers, s3_server};
use crate::deadline::eventually;

/// Even GBs move by then, on a slow disk.
const MOVED_WITHIN: Duration = Duration::from_secs(1800);
/// The deletion lag, the intents, and a bookie's look at its segments.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(180);

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum StoreKind {
    /// SeaweedFS as a process of its own.
    S3,
    /// A local directory.
    Directory,
}

/// A store that is there.
#[derive(Debug)]
pub enum Target {
    /// A process.
    S3(Box<S3>),
    /// Made if it was not there.
    Directory(PathBuf),
}

impl Target {
    /// Starts it with its data in `directory`.
    pub async fn start(kind: StoreKind, directory: &Path) -> Result<Self, Failure> {
        match kind {
            StoreKind::S3 => {
                let program = s3_server().or_say_so().ok_or_else(|| Failure::usage("there is no S3 server"))?;
                Ok(Self::S3(Box::new(S3::start(&program, directory).await?)))
            }
            StoreKind::Directory => {
                let objects = directory.join("objects");
                fs::create_dir_all(&objects).map_err(Failure::internal)?;
                Ok(Self::Directory(objects))
            }
        }
    }

    /// As `--offload` takes it.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::S3(server) => server.url(),
            Self::Directory(path) => format!("file://{}", path.display()),
        }
    }

    /// Its credentials.
    fn environment(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::S3(server) => server.environment(),
            Self::Directory(_) => Vec::new(),
        }
    }

    /// What reads and writes there without credentials in the environment. A directory needs nothing of the kind.
    pub fn backend(&self) -> Result<Option<Backend>, Failure> {
        let Self::S3(server) = self else { return Ok(None) };
        let client = Arc::new(server.client()?);
        Ok(Some(Backend { objects: client.clone(), parts: client }))
    }

    /// The same store without a broker.
    pub(super) fn objects(&self) -> Result<Arc<dyn ObjectStore>, Failure> {
        Ok(match self {
            Self::S3(server) => Arc::new(server.client()?),
            Self::Directory(path) => Arc::new(LocalFileSystem::new_with_prefix(path).map_err(Failure::internal)?),
        })
    }
}

/// What brokers asked of stores since they were started.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    pub(super) puts: u64,
    pub(super) gets: u64,
    pub(super) received_bytes: u64,
}

/// Servers and their store. Dropped in this order.
#[derive(Debug)]
pub(super) struct House {
    pub(super) servers: Servers,
    pub(super) target: Target,
    directory: PathBuf,
}

impl House {
    /// Starts all of it with its data in `directory`.
    pub(super) async fn start(cluster: bool, kind: StoreKind, directory: &Path) -> Result<Self, Failure> {
        let target = Target::start(kind, directory).await?;
        let environment = target.environment();
        let environment: Vec<_> = environment.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let servers = Box::pin(Servers::offloading(cluster, directory, &target.url(), &environment)).await?;
        Ok(Self { servers, target, directory: directory.into() })
    }

    /// Moves all that was published to `topics` (`tenant/namespace/topic`), open ledgers too, to the store.
    pub(super) async fn move_all(&self, topics: &[String]) -> Result<(), Failure> {
        let admin = self.servers.admin();
        for topic in topics {
            eventually(&format!("all of {topic} is in the store"), MOVED_WITHIN, async || {
                moved(&admin, topic).await.transpose()
            })
            .await??;
        }
        Ok(())
    }

    /// Waits until no bookie has anything of `payload_bytes` any more, nor a segment that holds it.
    pub(super) async fn forgotten(&self, payload_bytes: u64, copies: u64) -> Result<(), Failure> {
        let admin = self.servers.admin();
        eventually("records say that bookies may forget all of it", FORGOTTEN_WITHIN, async || {
            let status = admin.get("/admin/v2/geminga/offload/status").await.ok()?;
            let bytes = |name: &str| status[name].as_u64().unwrap_or(0);
            let all = payload_bytes <= bytes("coldBytes") && copies * payload_bytes <= bytes("savedBytes");
            (all && bytes("hotBytes") == 0).then_some(())
        })
        .await?;
        for bookie in self.servers.bookies() {
            eventually("a bookie has forgotten all of it, and gives its segments back", FORGOTTEN_WITHIN, async || {
                let ledgers = bookie.metric("bookie_ledgers_count").await.ok()?;
                let bytes = bookie.metric("bookie_ACTIVE_ENTRY_LOG_SPACE_BYTES").await.ok()?;
                (ledgers == 0.0 && bytes == 0.0).then_some(())
            })
            .await?;
        }
        Ok(())
    }

    /// Bytes on the bookies' disks, and those of them in freed files that are kept for the journal.
    pub(super) async fn bookie_bytes(&self) -> Result<(u64, u64), Failure> {
        let mut spare = 0;
        for bookie in self.servers.bookies() {
            spare += bookie.metric("bookie_spare_segment_bytes").await? as u64;
        }
        let places = ["data", "bookie-0", "bookie-1", "bookie-2"].map(|name| self.directory.join(name));
        let used = places.iter().filter(|place| place.is_dir()).map(|place| stored(place));
        Ok((used.sum(), spare))
    }

    /// Bytes and number of the objects, as the store lists them.
    pub(super) async fn objects(&self) -> Result<(u64, u64), Failure> {
        let mut listed = self.target.objects()?.list(None);
        let (mut bytes, mut count) = (0, 0);
        while let Some(object) = listed.next().await {
            bytes += object.map_err(Failure::internal)?.size;
            count += 1;
        }
        Ok((bytes, count))
    }

    /// Of all brokers since they were started.
    pub(super) async fn asked(&self) -> Result<Asked, Failure> {
        let cost = self.servers.admin().get("/admin/v2/geminga/offload/cost").await?;
        let stores = cost["stores"].as_object().into_iter().flatten();
        Ok(stores.fold(Asked::default(), |mut asked, (_, store)| {
            let count = |name: &str| store[name].as_u64().unwrap_or(0);
            asked.puts += count("put");
            asked.gets += count("get");
            asked.received_bytes += count("receivedBytes");
            asked
        }))
    }

    /// The most memory that each process took since it was started, the store's too.
    pub(super) fn resident(&mut self) -> Vec<(String, u64)> {
        let mut processes = self.servers.processes();
        if let Target::S3(server) = &mut self.target {
            processes.push(server.process());
        }
        processes.iter().map(|process| (process.name().to_owned(), process.spending().resident_bytes_max)).collect()
    }

    /// Fails unless every object is as the records say, and no other is there.
    pub(super) async fn is_sound(&self) -> Result<(), Failure> {
        let scrubbed = self.servers.admin().ask("/admin/v2/geminga/offload/scrub").await?;
        let stores = scrubbed["stores"].as_array().cloned().unwrap_or_default();
        let wrong = ["missing", "wrongSize", "orphans", "surplus", "unknown"];
        let sound = |store: &Value| wrong.iter().all(|name| store[name] == json!([])) && store["sound"] != 0;
        if stores.len() == 1 && stores.iter().all(sound) {
            return Ok(());
        }
        Err(Failure::internal(format!("the store is not as the records say: {scrubbed}")))
    }
}

/// Asks for what is not in the store yet. `None` while that is under way.
async fn moved(admin: &Admin, topic: &str) -> Result<Option<()>, Failure> {
    let page = format!("/admin/v2/persistent/{topic}");
    let progress = admin.get(&format!("{page}/offload")).await?;
    if progress["status"] == "RUNNING" {
        return Ok(None);
    }
    if progress["status"] == "ERROR" {
        return Err(Failure::internal(format!("{topic} was not offloaded: {progress}")));
    }
    let internal = admin.get(&format!("{page}/internalStats")).await?;
    let ledgers = internal["ledgers"].as_array().cloned().unwrap_or_default();
    let is_here = |ledger: &&Value| ledger["offloaded"] != true && ledger["entries"] != 0;
    // The last of the list may be open: it has no count of entries yet, and is closed by being asked for.
    let Some(last) = ledgers.iter().rfind(is_here) else { return Ok(Some(())) };
    let before = json!({"ledgerId": last["ledgerId"], "entryId": 0, "partitionIndex": -1});
    match admin.put(&format!("{page}/offload"), Some(before)).await {
        Err(failure) if !failure.message.contains("already in progress") => Err(failure),
        _ => Ok(None),
    }
}

/// Bytes that all files below a directory take on its disk.
fn stored(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => stored(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0, // Deleted meanwhile.
    });
    bytes.sum()
}
