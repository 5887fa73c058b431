//! Puts pieces into a store, each until it is there or patience ends.
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{MultipartId, PutMode, PutOptions, PutPayload};

use super::cutter::Piece;
use crate::offload::error::ObjectError;
use crate::offload::fetch;
use crate::offload::format::Trailer;
use crate::offload::name::Attempt;
use crate::offload::patience::{Failed, PART, SMALL, persist};
use crate::offload::stores::Store;

/// Sends the pieces of one attempt, in order.
#[derive(Debug)]
pub(super) struct Sender<'a> {
    store: &'a Store,
    attempt: &'a Attempt,
    conditional: bool,
    /// The object whose parts are being sent.
    open: Option<Open>,
    finished: Vec<Trailer>,
}

#[derive(Debug)]
struct Open {
    path: Path,
    id: MultipartId,
    parts: Vec<PartId>,
}

impl<'a> Sender<'a> {
    /// Learns first what the store can do.
    pub(super) async fn new(store: &'a Store, attempt: &'a Attempt) -> Result<Self, ObjectError> {
        let conditional = store.probe().await?.conditional_create;
        Ok(Self { store, attempt, conditional, open: None, finished: Vec::new() })
    }

    /// Returns once the store has said that it has the piece.
    pub(super) async fn send(&mut self, piece: Piece) -> Result<(), ObjectError> {
        match piece {
            Piece::Part { object, part, payload } => self.part(object, part, payload).await,
            Piece::Last { object, part: 0, payload, trailer } => {
                self.whole(object, payload).await?;
                self.finished.push(*trailer);
                Ok(())
            }
            Piece::Last { object, part, payload, trailer } => {
                self.part(object, part, payload).await?;
                self.complete(trailer.object_bytes).await?;
                self.finished.push(*trailer);
                Ok(())
            }
        }
    }

    /// What the objects say at their ends, in order.
    pub(super) fn finished(self) -> Vec<Trailer> {
        self.finished
    }

    /// Gives up an object that is half sent, so that its parts cost nothing.
    pub(super) async fn abort(&mut self) {
        let Some(Open { path, id, .. }) = self.open.take() else { return };
        let aborted = persist(SMALL, self.store.jitter(), || self.store.parts().abort_multipart(&path, &id)).await;
        match aborted {
            Ok(()) | Err(Failed::Missing) => {}
            Err(failed) => tracing::warn!(object = self.store.text(&path), ?failed, "parts of an upload are left"),
        }
    }

    /// One request, under the condition that the name is free where stores know such a condition.
    async fn whole(&mut self, object: u32, payload: PutPayload) -> Result<(), ObjectError> {
        let path = self.path(object);
        let mode = if self.conditional { PutMode::Create } else { PutMode::Overwrite };
        let put = || {
            let options = PutOptions { mode: mode.clone(), ..PutOptions::default() };
            self.store.objects().put_opts(&path, payload.clone(), options)
        };
        match persist(PART, self.store.jitter(), put).await {
            Ok(_) => Ok(()),
            // An earlier try of ours was carried out after all, and only its answer was lost. Reading back tells.
            Err(Failed::Exists { repeated: true }) => Ok(()),
            Err(failed) => Err(failed.of(self.store.text(&path))),
        }
    }

    async fn part(&mut self, object: u32, part: usize, payload: PutPayload) -> Result<(), ObjectError> {
        if part == 0 {
            let path = self.path(object);
            let begun = persist(SMALL, self.store.jitter(), || self.store.parts().create_multipart(&path)).await;
            let id = begun.map_err(|failed| failed.of(self.store.text(&path)))?;
            self.open = Some(Open { path, id, parts: Vec::new() });
        }
        let open = self.open.as_mut().expect("begun with the first part");
        // The same number again: whatever an unclear try has left is written over.
        let put = || self.store.parts().put_part(&open.path, &open.id, part, payload.clone());
        let put = persist(PART, self.store.jitter(), put).await;
        open.parts.push(put.map_err(|failed| failed.of(self.store.text(&open.path)))?);
        Ok(())
    }

    async fn complete(&mut self, object_bytes: u64) -> Result<(), ObjectError> {
        let open = self.open.as_ref().expect("begun with the first part");
        let complete = || self.store.parts().complete_multipart(&open.path, &open.id, open.parts.clone());
        let completed = persist(SMALL, self.store.jitter(), complete).await;
        if let Err(failed) = completed {
            // Stores forget an upload that is complete: the answer to a repetition says nothing, only the object does.
            let there = !matches!(failed, Failed::Refused(_))
                && fetch::size(self.store, &open.path).await.is_ok_and(|size| size == object_bytes);
            if !there {
                return Err(failed.of(self.store.text(&open.path)));
            }
        }
        self.open = None;
        Ok(())
    }

    fn path(&self, object: u32) -> Path {
        self.store.path(&self.attempt.object(object))
    }
}
