//! A store that fails on request: for tests of whoever uses stores. Deterministic for a seed.
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartId, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use tokio::time::sleep;

use super::patience::Jitter;
use super::requests::Operation;
use super::stores::Backend;

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// An internal error, before anything was done.
    Status500,
    /// Too busy, before anything was done.
    Status503,
    /// No answer, and nothing was done.
    TimeoutBefore,
    /// No answer, although it was done.
    TimeoutAfter,
    /// The connection ends in the middle: of what is written nothing stays, of what is read half has come.
    Cut,
    /// The connection ends in the middle, and half of what was written stays under the name.
    HalfWritten,
    /// 404, although the object is there.
    NotFound,
    /// Of what is read 1 KiB comes every 5 seconds.
    Drip,
    /// 403.
    Refused,
    /// 404: there is no such bucket.
    BucketGone,
    /// One bit differs, of what is written or of what is read.
    Flipped,
    /// Fewer bytes come than were announced, without an error.
    Short,
}

impl Fault {
    /// All.
    pub const ALL: [Self; 12] = [
        Self::Status500,
        Self::Status503,
        Self::TimeoutBefore,
        Self::TimeoutAfter,
        Self::Cut,
        Self::HalfWritten,
        Self::NotFound,
        Self::Drip,
        Self::Refused,
        Self::BucketGone,
        Self::Flipped,
        Self::Short,
    ];
}

/// Says what will fail. Clones share the plan.
#[derive(Debug, Clone)]
pub struct Faults {
    plan: Arc<Mutex<Plan>>,
}

#[derive(Debug)]
struct Plan {
    random: Jitter,
    scripted: VecDeque<(Operation, Option<Fault>)>,
    /// One in so many requests fails, with one of these.
    now_and_then: Option<(u64, Vec<Fault>)>,
    always: Vec<(Operation, Fault)>,
    /// Only of names that contain this.
    only: String,
    injected: u64,
}

/// Longer than anyone waits.
const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);

impl Faults {
    /// No faults yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let random = Jitter::new(seed);
        let plan = Plan {
            random,
            scripted: VecDeque::new(),
            now_and_then: None,
            always: Vec::new(),
            only: String::new(),
            injected: 0,
        };
        Self { plan: Arc::new(Mutex::new(plan)) }
    }

    /// Puts these faults before a store.
    #[must_use]
    pub fn before(&self, inner: Backend) -> Backend {
        let faulty = Arc::new(FaultStore { inner, faults: self.clone() });
        Backend { objects: faulty.clone(), parts: faulty }
    }

    /// The next `times` requests of this kind fail, after those scripted before.
    pub fn next(&self, operation: Operation, fault: Fault, times: usize) {
        self.plan.lock().scripted.extend(std::iter::repeat_n((operation, Some(fault)), times));
    }

    /// The next `times` requests of this kind do not fail, after those scripted before.
    pub fn spare(&self, operation: Operation, times: usize) {
        self.plan.lock().scripted.extend(std::iter::repeat_n((operation, None), times));
    }

    /// One in `one_in` requests fails, with any of `faults`, as the seed will have it.
    pub fn now_and_then(&self, one_in: u64, faults: &[Fault]) {
        self.plan.lock().now_and_then = Some((one_in, faults.to_vec()));
    }

    /// Every request of this kind fails.
    pub fn always(&self, operation: Operation, fault: Fault) {
        self.plan.lock().always.push((operation, fault));
    }

    /// From now on only requests for names that contain `part` fail.
    pub fn only(&self, part: &str) {
        self.plan.lock().only = part.into();
    }

    /// Nothing fails any more.
    pub fn stop(&self) {
        let mut plan = self.plan.lock();
        plan.scripted.clear();
        plan.now_and_then = None;
        plan.always.clear();
    }

    /// How many requests have failed or gone wrong.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.plan.lock().injected
    }

    fn decide(&self, operation: Operation, path: &Path) -> Option<Fault> {
        let mut plan = self.plan.lock();
        if !path.as_ref().contains(&plan.only) {
            return None;
        }
        let fault = plan.decide(operation);
        plan.injected += u64::from(fault.is_some());
        fault
    }
}

impl Plan {
    fn decide(&mut self, operation: Operation) -> Option<Fault> {
        if let Some(at) = self.scripted.iter().position(|(of, _)| *of == operation) {
            return self.scripted.remove(at).and_then(|(_, fault)| fault);
        }
        if let Some((_, fault)) = self.always.iter().find(|(of, _)| *of == operation) {
            return Some(*fault);
        }
        let (one_in, faults) = self.now_and_then.as_ref()?;
        let (hit, which) = (self.random.next(), self.random.next());
        let at = usize::try_from(which % faults.len().max(1) as u64).unwrap_or(0);
        (hit % one_in.max(&1) == 0).then(|| faults.get(at).copied()).flatten()
    }
}

/// A store behind its faults.
#[derive(Debug)]
struct FaultStore {
    inner: Backend,
    faults: Faults,
}

fn failed(text: &'static str) -> Error {
    Error::Generic { store: "faults", source: text.into() }
}

/// The error of a fault that answers at once, without any effect.
fn refusal(fault: Fault, path: &Path) -> Error {
    let path = path.to_string();
    match fault {
        Fault::Status503 => failed("503 Slow Down"),
        Fault::Cut | Fault::HalfWritten => failed("connection reset by peer"),
        Fault::NotFound => Error::NotFound { path, source: "404: <Code>NoSuchKey</Code>".into() },
        Fault::BucketGone => Error::NotFound { path, source: "404: <Code>NoSuchBucket</Code>".into() },
        Fault::Refused => Error::PermissionDenied { path, source: "403: <Code>AccessDenied</Code>".into() },
        _ => failed("500 Internal Server Error"),
    }
}

fn flip(bytes: &Bytes) -> Bytes {
    let mut bytes = BytesMut::from(&bytes[..]);
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 0x10;
    }
    bytes.freeze()
}

impl FaultStore {
    /// Carries a writing request out, or not, or not quite.
    async fn write<T, F: Future<Output = Result<T>>>(
        &self,
        operation: Operation,
        path: &Path,
        payload: PutPayload,
        write: impl FnOnce(PutPayload) -> F,
    ) -> Result<T> {
        let halved = |payload: &PutPayload| {
            let bytes: Bytes = payload.clone().into();
            PutPayload::from(bytes.slice(..bytes.len() / 2))
        };
        match self.faults.decide(operation, path) {
            None => write(payload).await,
            Some(Fault::TimeoutBefore) => {
                sleep(FOREVER).await;
                Err(failed("nobody waits so long"))
            }
            Some(Fault::TimeoutAfter) => {
                let _ = write(payload).await;
                sleep(FOREVER).await;
                Err(failed("nobody waits so long"))
            }
            Some(fault @ Fault::HalfWritten) if operation == Operation::Put => {
                let half = halved(&payload);
                let _ = write(half).await;
                Err(refusal(fault, path))
            }
            Some(Fault::Short) if operation == Operation::Put => {
                let half = halved(&payload);
                write(half).await
            }
            Some(Fault::Flipped) if operation == Operation::Put => {
                let bytes: Bytes = payload.into();
                write(flip(&bytes).into()).await
            }
            Some(fault) => Err(refusal(fault, path)),
        }
    }

    fn spoil(fault: Fault, result: GetResult) -> GetResult {
        let (range, meta, attributes, extensions) =
            (result.range.clone(), result.meta.clone(), result.attributes.clone(), result.extensions.clone());
        let length = range.end - range.start;
        let whole = async move { result.bytes().await };
        let stream = futures::stream::once(whole);
        let spoiled: BoxStream<'static, Result<Bytes>> = match fault {
            Fault::Flipped => stream.map_ok(|bytes| flip(&bytes)).boxed(),
            Fault::Short => stream.map_ok(|bytes| bytes.slice(..bytes.len() / 2)).boxed(),
            Fault::Drip => stream.map_ok(drip).try_flatten().boxed(),
            _ => {
                let half = usize::try_from(length / 2).unwrap_or(usize::MAX);
                let cut = futures::stream::once(async { Err(failed("connection reset by peer")) });
                stream.map_ok(move |bytes| bytes.slice(..half.min(bytes.len()))).chain(cut).boxed()
            }
        };
        GetResult { payload: GetResultPayload::Stream(spoiled), meta, range, attributes, extensions }
    }
}

fn drip(bytes: Bytes) -> impl futures::Stream<Item = Result<Bytes>> {
    futures::stream::unfold(bytes, |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        sleep(Duration::from_secs(5)).await;
        let next = rest.split_to(rest.len().min(1024));
        Some((Ok(next), rest))
    })
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faults before {}", self.inner.objects)
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let write = |payload| self.inner.objects.put_opts(location, payload, options);
        self.write(Operation::Put, location, payload, write).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.objects.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let operation = if options.head { Operation::Head } else { Operation::Get };
        match self.faults.decide(operation, location) {
            None => self.inner.objects.get_opts(location, options).await,
            Some(Fault::TimeoutBefore | Fault::TimeoutAfter) => {
                sleep(FOREVER).await;
                Err(failed("nobody waits so long"))
            }
            Some(fault @ (Fault::Cut | Fault::Drip | Fault::Flipped | Fault::Short)) if !options.head => {
                Ok(Self::spoil(fault, self.inner.objects.get_opts(location, options).await?))
            }
            Some(fault) => Err(refusal(fault, location)),
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = Arc::new(Self { inner: self.inner.clone(), faults: self.faults.clone() });
        let delete = move |location: Result<Path>| {
            let store = store.clone();
            async move {
                let location = location?;
                let delete = |_| store.inner.objects.delete(&location);
                store.write(Operation::Delete, &location, PutPayload::new(), delete).await?;
                Ok(location)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let path = prefix.cloned().unwrap_or_default();
        match self.faults.decide(Operation::List, &path) {
            None => self.inner.objects.list(prefix),
            Some(Fault::TimeoutBefore | Fault::TimeoutAfter) => {
                let hang = async {
                    sleep(FOREVER).await;
                    Err(failed("nobody waits so long"))
                };
                futures::stream::once(hang).boxed()
            }
            Some(fault) => futures::stream::once(async move { Err(refusal(fault, &path)) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.objects.copy_opts(from, to, options).await
    }
}

#[async_trait]
impl MultipartStore for FaultStore {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        let create = |_| self.inner.parts.create_multipart(path);
        self.write(Operation::Put, path, PutPayload::new(), create).await
    }

    async fn put_part(&self, path: &Path, id: &MultipartId, part: usize, data: PutPayload) -> Result<PartId> {
        let put = |data| self.inner.parts.put_part(path, id, part, data);
        self.write(Operation::Put, path, data, put).await
    }

    async fn complete_multipart(&self, path: &Path, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        let complete = |_| self.inner.parts.complete_multipart(path, id, parts);
        self.write(Operation::Put, path, PutPayload::new(), complete).await
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        let abort = |_| self.inner.parts.abort_multipart(path, id);
        self.write(Operation::Delete, path, PutPayload::new(), abort).await
    }
}
