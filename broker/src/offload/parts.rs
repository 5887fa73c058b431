//! Uploads in parts for stores that only take them one after the other, like a directory.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    Error, MultipartId, MultipartUpload, ObjectStore, PutMultipartOptions, PutPayload, PutResult, Result,
};
use tokio::sync::Mutex;

/// Gives any store parts with numbers, as long as they come in order. A part that is put again is not written twice.
#[derive(Debug)]
pub(super) struct PartsInOrder {
    store: Arc<dyn ObjectStore>,
    names: AtomicU64,
    /// A lock held across writing a part: parts of one upload come one after the other anyway, and each upload has its own.
    uploads: parking_lot::Mutex<HashMap<MultipartId, Arc<Mutex<Upload>>>>,
}

#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    written: usize,
    /// Why a part was not written whole: what the store has is of no use any more.
    broken: Option<String>,
}

impl PartsInOrder {
    pub(super) fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, names: AtomicU64::new(0), uploads: parking_lot::Mutex::default() }
    }

    fn upload(&self, path: &Path, id: &MultipartId) -> Result<Arc<Mutex<Upload>>> {
        let found = self.uploads.lock().get(id).cloned();
        found.ok_or_else(|| Error::NotFound { path: path.to_string(), source: "no such upload".into() })
    }
}

impl Upload {
    /// Whether exactly so many parts are there.
    fn check(&self, written: usize) -> Result<()> {
        let wrong =
            |reason: &str| Err(Error::NotSupported { source: format!("a part was not written: {reason}").into() });
        match &self.broken {
            Some(reason) => wrong(reason),
            None if self.written == written => Ok(()),
            None => wrong("it was never put"),
        }
    }
}

#[async_trait]
impl MultipartStore for PartsInOrder {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        let inner = self.store.put_multipart_opts(path, PutMultipartOptions::default()).await?;
        let id = self.names.fetch_add(1, Ordering::Relaxed).to_string();
        let upload = Upload { inner, written: 0, broken: None };
        self.uploads.lock().insert(id.clone(), Arc::new(Mutex::new(upload)));
        Ok(id)
    }

    async fn put_part(&self, path: &Path, id: &MultipartId, part: usize, data: PutPayload) -> Result<PartId> {
        let upload = self.upload(path, id)?;
        let mut upload = upload.lock().await;
        if part < upload.written {
            return Ok(PartId { content_id: part.to_string() }); // Its answer was lost.
        }
        upload.check(part)?;
        upload.broken = Some("the writer went away".into()); // Unless it returns.
        let outcome = upload.inner.put_part(data).await;
        upload.broken = outcome.as_ref().err().map(ToString::to_string);
        outcome?;
        upload.written += 1;
        Ok(PartId { content_id: part.to_string() })
    }

    async fn complete_multipart(&self, path: &Path, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        let upload = self.upload(path, id)?;
        let mut upload = upload.lock().await;
        upload.check(parts.len())?;
        let result = upload.inner.complete().await?;
        self.uploads.lock().remove(id);
        Ok(result)
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        let upload = self.upload(path, id)?;
        self.uploads.lock().remove(id);
        upload.lock().await.inner.abort().await
    }
}
