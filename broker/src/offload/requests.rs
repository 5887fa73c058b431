//! Every request to a store, counted on its way.
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartId, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::stores::Backend;

/// What is asked of a store, as its price list tells it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Objects and parts written, uploads begun and completed.
    Put,
    /// Objects and ranges read.
    Get,
    /// Asked about.
    Head,
    /// Names listed; one for each thousand.
    List,
    /// Objects deleted, uploads given up.
    Delete,
}

impl Operation {
    /// All.
    pub const ALL: [Self; 5] = [Self::Put, Self::Get, Self::Head, Self::List, Self::Delete];

    /// As metrics call it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Delete => "delete",
        }
    }
}

/// A page of a listing.
const LISTED_AT_ONCE: u64 = 1000;

/// What was asked of one store since this process began.
#[derive(Debug, Default)]
pub struct Requests {
    made: [AtomicU64; Operation::ALL.len()],
    failed: [AtomicU64; Operation::ALL.len()],
    sent: AtomicU64,
    received: AtomicU64,
}

impl Requests {
    /// Requests made, repetitions included.
    #[must_use]
    pub fn made(&self, operation: Operation) -> u64 {
        self.made[operation as usize].load(Ordering::Relaxed)
    }

    /// Of these, how many did not succeed.
    #[must_use]
    pub fn failed(&self, operation: Operation) -> u64 {
        self.failed[operation as usize].load(Ordering::Relaxed)
    }

    /// Bytes of objects sent.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes of objects received.
    #[must_use]
    pub fn bytes_received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    fn ask(&self, operation: Operation) {
        self.made[operation as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn fail(&self, operation: Operation) {
        self.failed[operation as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn outcome<T>(&self, operation: Operation, outcome: Result<T>) -> Result<T> {
        outcome.inspect_err(|_| self.fail(operation))
    }
}

/// Passes on and counts.
#[derive(Debug)]
pub(super) struct Counted {
    inner: Backend,
    requests: Arc<Requests>,
}

impl Counted {
    pub(super) fn backend(inner: Backend, requests: Arc<Requests>) -> Backend {
        let counted = Arc::new(Self { inner, requests });
        Backend { objects: counted.clone(), parts: counted }
    }

    fn send(&self, payload: &PutPayload) {
        self.requests.ask(Operation::Put);
        self.requests.sent.fetch_add(payload.content_length() as u64, Ordering::Relaxed);
    }

    /// Counts what arrives of an answer, not what was announced.
    fn receive(&self, payload: GetResultPayload, range: &Range<u64>) -> GetResultPayload {
        let requests = self.requests.clone();
        match payload {
            GetResultPayload::Stream(stream) => {
                let counted = stream.inspect(move |piece| match piece {
                    Ok(bytes) => {
                        requests.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    }
                    Err(_) => requests.fail(Operation::Get),
                });
                GetResultPayload::Stream(counted.boxed())
            }
            file @ GetResultPayload::File(..) => {
                requests.received.fetch_add(range.end - range.start, Ordering::Relaxed);
                file
            }
        }
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.objects.fmt(f)
    }
}

/// An operation that this room never asks for.
fn never(operation: &str) -> object_store::Error {
    object_store::Error::NotImplemented { operation: operation.into(), implementer: "the broker's stores".into() }
}

#[async_trait]
impl ObjectStore for Counted {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.send(&payload);
        let outcome = self.inner.objects.put_opts(location, payload, options).await;
        self.requests.outcome(Operation::Put, outcome)
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(never("put_multipart"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let operation = if options.head { Operation::Head } else { Operation::Get };
        self.requests.ask(operation);
        let outcome = self.inner.objects.get_opts(location, options).await;
        let mut result = self.requests.outcome(operation, outcome)?;
        if operation == Operation::Get {
            result.payload = self.receive(result.payload, &result.range);
        }
        Ok(result)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (asked, failed) = (self.requests.clone(), self.requests.clone());
        let locations = locations.inspect_ok(move |_| asked.ask(Operation::Delete));
        let outcome = self.inner.objects.delete_stream(locations.boxed());
        outcome.inspect_err(move |_| failed.fail(Operation::Delete)).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let requests = self.requests.clone();
        requests.ask(Operation::List);
        let mut listed = 0;
        let count = move |outcome: &Result<ObjectMeta>| match outcome {
            Ok(_) => {
                listed += 1;
                if listed % LISTED_AT_ONCE == 0 {
                    requests.ask(Operation::List);
                }
            }
            Err(_) => requests.fail(Operation::List),
        };
        let mut count = count;
        self.inner.objects.list(prefix).inspect(move |outcome| count(outcome)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.requests.ask(Operation::List);
        self.requests.outcome(Operation::List, self.inner.objects.list_with_delimiter(prefix).await)
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(never("copy"))
    }
}

#[async_trait]
impl MultipartStore for Counted {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        self.requests.ask(Operation::Put);
        self.requests.outcome(Operation::Put, self.inner.parts.create_multipart(path).await)
    }

    async fn put_part(&self, path: &Path, id: &MultipartId, part: usize, data: PutPayload) -> Result<PartId> {
        self.send(&data);
        self.requests.outcome(Operation::Put, self.inner.parts.put_part(path, id, part, data).await)
    }

    async fn complete_multipart(&self, path: &Path, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        self.requests.ask(Operation::Put);
        self.requests.outcome(Operation::Put, self.inner.parts.complete_multipart(path, id, parts).await)
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        self.requests.ask(Operation::Delete);
        self.requests.outcome(Operation::Delete, self.inner.parts.abort_multipart(path, id).await)
    }
}
