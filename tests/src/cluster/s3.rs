//! An S3 server as a process: SeaweedFS.
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::Failure;
use object_store::ClientOptions;
use object_store::aws::{AmazonS3, AmazonS3Builder};

use super::Process;
use super::ports::{ROW, TWIN, free_row};
use crate::deadline::eventually;

const READY_WITHIN: Duration = Duration::from_secs(60);

/// The bucket that is there from the start.
pub const BUCKET: &str = "tests";
const KEY: &str = "test";
const SECRET: &str = "testtest";

/// What it is made of. Each part listens on a port of the row, and on that port's twin.
const PARTS: [&str; ROW as usize] = ["s3", "filer", "master", "volume", "admin"];

/// One S3 server with its bucket.
#[derive(Debug)]
pub struct S3 {
    process: Process,
    program: PathBuf,
    directory: PathBuf,
    row: u16,
}

impl S3 {
    /// Starts `program` (see [`super::s3_server`]) with its data in `directory/s3`, and makes the bucket.
    pub async fn start(program: &Path, directory: &Path) -> Result<Self, Failure> {
        let row = free_row("s3", directory)?;
        let process = launch(program, directory, row)?;
        let mut server = Self { process, program: program.into(), directory: directory.into(), row };
        server.ready().await?;
        Ok(server)
    }

    /// Starts again after a kill, on the same data and ports.
    pub async fn restart(&mut self) -> Result<(), Failure> {
        self.process = launch(&self.program, &self.directory, self.row)?;
        self.ready().await
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// `host:port`, for a proxy in front of it.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.row)
    }

    /// What a client needs in its environment to reach the bucket as `s3://tests`.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        Self::environment_through(&self.address())
    }

    /// The same through a proxy at `address`.
    #[must_use]
    pub fn environment_through(address: &str) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ACCESS_KEY_ID", KEY.into()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.into()),
            ("AWS_REGION", "us-east-1".into()),
            ("AWS_ENDPOINT_URL", format!("http://{address}")),
            ("AWS_ALLOW_HTTP", "true".into()),
        ]
    }

    /// A client of the bucket that needs no environment.
    pub fn client(&self) -> Result<AmazonS3, Failure> {
        // The client wants to know how TLS would be done, even where none is. Another part may have said so before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = ClientOptions::new().with_timeout_disabled().with_allow_http(true);
        let builder = AmazonS3Builder::new().with_bucket_name(BUCKET).with_client_options(options);
        let set = |builder: AmazonS3Builder, (key, value): (&str, String)| {
            let key = key.to_lowercase().parse().map_err(Failure::internal)?;
            Ok::<_, Failure>(builder.with_config(key, value))
        };
        self.environment().into_iter().try_fold(builder, set)?.build().map_err(Failure::internal)
    }

    /// The same bucket as a broker names it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("s3://{BUCKET}?endpoint=http://{}", self.address())
    }

    /// The S3 side answers early. The bucket is there once all parts have found each other.
    async fn ready(&mut self) -> Result<(), Failure> {
        let pages = [
            format!("http://{}/healthz", self.address()),
            format!("http://127.0.0.1:{}/buckets/{BUCKET}/", self.row + 1),
        ];
        let process = &mut self.process;
        let outcome = eventually("the S3 server has its bucket", READY_WITHIN, async || {
            for page in &pages {
                let answer = reqwest::get(page).await;
                if !answer.is_ok_and(|answer| answer.status().is_success()) {
                    return (!process.runs()).then_some(false);
                }
            }
            Some(true)
        })
        .await;
        let failed = |why: &str| Failure::internal(format!("{why}; it printed:\n{}", self.process.printed()));
        match outcome {
            Ok(true) => Ok(()),
            Ok(false) => Err(failed("the S3 server ended")),
            Err(failure) => Err(failed(&failure.message)),
        }
    }
}

impl Drop for S3 {
    /// It keeps sockets in a place that it does not let us choose, and leaves them there when it is killed.
    fn drop(&mut self) {
        if self.process.runs() {
            self.process.kill();
        }
        let row = self.row..self.row + ROW;
        for entry in fs::read_dir("/tmp").into_iter().flatten().flatten() {
            let name = entry.file_name();
            let port = name.to_str().and_then(|name| {
                name.strip_prefix("seaweedfs-")?.strip_suffix(".sock")?.rsplit_once('-')?.1.parse::<u16>().ok()
            });
            if port.is_some_and(|port| row.contains(&port) || row.contains(&port.saturating_sub(TWIN))) {
                let _ = fs::remove_file(entry.path()); // What stays costs nothing.
            }
        }
    }
}

fn launch(program: &Path, directory: &Path, row: u16) -> Result<Process, Failure> {
    let data = directory.join("s3");
    fs::create_dir_all(&data).map_err(Failure::internal)?;
    let data = data.display().to_string();
    let mut arguments = vec!["mini".to_owned(), format!("-dir={data}"), format!("-bucket={BUCKET}")];
    let without = ["-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0"];
    let here = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"];
    arguments.extend(without.into_iter().chain(here).map(str::to_owned));
    arguments.extend(PARTS.iter().zip(row..).map(|(part, port)| format!("-{part}.port={port}")));
    // Its logs go to TMPDIR.
    let environment = [("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", SECRET), ("TMPDIR", data.as_str())];
    Process::start("s3-server", program, &arguments, &environment, directory)
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;
    use object_store::aws::{AmazonS3, AmazonS3Builder};
    use object_store::path::Path as Name;

    use hyper::{Method, StatusCode};

    use super::*;
    use crate::cluster::{Effect, Fate, HttpProxy, Rule, s3_server};

    fn client(environment: Vec<(&'static str, String)>) -> AmazonS3 {
        // The client wants to know how TLS would be done, even where none is. Another test may have said so before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = AmazonS3Builder::new().with_bucket_name(BUCKET);
        let set = |builder: AmazonS3Builder, (key, value): (&str, String)| {
            builder.with_config(key.to_lowercase().parse().expect("a key that clients know"), value)
        };
        environment.into_iter().fold(builder, set).build().expect("it is complete")
    }

    async fn kept(store: &AmazonS3, name: &str) -> Option<Vec<u8>> {
        let found = store.get(&Name::from(name)).await.ok()?;
        found.bytes().await.ok().map(|bytes| bytes.to_vec())
    }

    #[tokio::test]
    async fn an_object_outlives_the_kill_of_the_server() {
        let Some(program) = s3_server().or_say_so() else { return };
        let directory = tempfile::tempdir().expect("a directory");
        let mut server = S3::start(&program, directory.path()).await.expect("it starts");
        let store = client(server.environment());
        store.put(&Name::from("a/b"), "hello".into()).await.expect("it is taken");
        assert_eq!(kept(&store, "a/b").await.as_deref(), Some(&b"hello"[..]));
        server.process().kill();
        assert_eq!(kept(&store, "a/b").await, None);
        server.restart().await.expect("it starts again");
        let again = eventually("it reads again", READY_WITHIN, async || kept(&store, "a/b").await).await;
        assert_eq!(again, Ok(b"hello".to_vec()));
    }

    #[tokio::test]
    async fn two_servers_stand_side_by_side_and_refuse_strangers() {
        let Some(program) = s3_server().or_say_so() else { return };
        let directories = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        let [one, other] = directories.each_ref().map(|directory| S3::start(&program, directory.path()));
        let (one, other) = tokio::join!(one, other);
        let (one, other) = (one.expect("it starts"), other.expect("it starts beside the first"));
        let mine = client(one.environment());
        mine.put(&Name::from("mine"), "1".into()).await.expect("it is taken");
        assert_eq!(kept(&client(other.environment()), "mine").await, None);
        let mut stranger = one.environment();
        stranger.retain(|(key, _)| *key != "AWS_SECRET_ACCESS_KEY");
        stranger.push(("AWS_SECRET_ACCESS_KEY", "guessed".into()));
        let refused = client(stranger).put(&Name::from("theirs"), "2".into()).await.expect_err("a wrong secret");
        assert!(matches!(refused, object_store::Error::PermissionDenied { .. }), "{refused:?}");
    }

    /// Goal: requests pass the proxy with their signatures, and what the proxy does to one reaches the client.
    #[tokio::test]
    async fn objects_pass_a_proxy_that_loses_and_damages_answers() {
        let Some(program) = s3_server().or_say_so() else { return };
        let directory = tempfile::tempdir().expect("a directory");
        let server = S3::start(&program, directory.path()).await.expect("it starts");
        let proxy = HttpProxy::to(server.address(), 1).await.expect("it listens");
        let store = client(S3::environment_through(&proxy.address().to_string()));
        let lost = Fate::Answered(StatusCode::SERVICE_UNAVAILABLE, Effect::Done);
        proxy.set(vec![Rule::once(Method::PUT, "a%20name", lost), Rule::once(Method::GET, "", Fate::BitFlipped(0))]);
        store.put(&Name::from("a name"), "hello".into()).await.expect("the client tries again");
        assert_eq!(kept(&store, "a name").await.as_deref(), Some(&b"iello"[..]));
        assert_eq!(store.get_range(&Name::from("a name"), 1..3).await.expect("it reads"), "el");
        assert_eq!(store.head(&Name::from("a name")).await.expect("it is there").size, 5);
        let seen: Vec<_> =
            proxy.seen().into_iter().map(|seen| (seen.method, seen.range, seen.fate.is_some())).collect();
        let range = Some("bytes=1-2".to_owned());
        let expected = [
            (Method::PUT, None, true),
            (Method::PUT, None, false),
            (Method::GET, None, true),
            (Method::GET, range, false),
            (Method::HEAD, None, false),
        ];
        assert_eq!(seen, expected);
    }

    #[tokio::test]
    async fn a_dropped_server_leaves_nothing_behind() {
        let Some(program) = s3_server().or_say_so() else { return };
        let directory = tempfile::tempdir().expect("a directory");
        let server = S3::start(&program, directory.path()).await.expect("it starts");
        let row = server.row;
        let sockets = || {
            let names = fs::read_dir("/tmp").expect("readable").flatten().map(|entry| entry.file_name());
            names.filter(|name| name.to_string_lossy().ends_with(&format!("-{row}.sock"))).count()
        };
        assert!(0 < sockets());
        drop(server);
        assert_eq!(sockets(), 0);
        assert!(std::net::TcpListener::bind(("127.0.0.1", row)).is_ok(), "its port is free again");
    }
}
