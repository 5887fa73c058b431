//! Getting ranges of objects: with deadlines, again where it may help, and piece by piece as the bytes come.
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, GetResultPayload, ObjectStoreExt};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::error::{Answer, ObjectError, reason};
use super::format::FormatError;
use super::patience::{RANGE, RANGE_TRIES, SMALL, STALL, pause, persist};
use super::stores::Store;

/// A piece that does not match its checksum is read once more: the store's copy may be whole.
const DAMAGED_TRIES: u32 = 2;

/// The last bytes of an object, or all of it.
#[derive(Debug)]
pub(super) struct TailBytes {
    pub(super) bytes: Bytes,
    pub(super) object_bytes: u64,
}

/// Reads the last `length` bytes with one request. `object_bytes`: its size, if it is known.
pub(super) async fn read_tail(
    store: &Store,
    path: &Path,
    object_bytes: Option<u64>,
    length: u64,
) -> Result<TailBytes, ObjectError> {
    let object_bytes = match object_bytes {
        Some(bytes) => Some(bytes),
        None if store.reads_suffixes() => None,
        None => Some(size(store, path).await?),
    };
    let range = match object_bytes {
        Some(bytes) => GetRange::Bounded(bytes.saturating_sub(length)..bytes),
        None => GetRange::Suffix(length),
    };
    let ask = || async {
        let options = GetOptions { range: Some(range.clone()), ..GetOptions::default() };
        let result = store.objects().get_opts(path, options).await?;
        let object_bytes = result.meta.size;
        Ok((object_bytes, result.bytes().await?))
    };
    let (found, bytes) = match persist(SMALL, store.jitter(), ask).await {
        Ok(read) => read,
        Err(failed) => return Err(explain(store, path, object_bytes, failed.of(store.text(path))).await),
    };
    let short = (bytes.len() as u64) < length.min(found);
    if short || object_bytes.is_some_and(|expected| expected != found) {
        let reason = FormatError::Truncated { what: "the object" };
        return Err(ObjectError::Corrupt { object: store.text(path), reason });
    }
    Ok(TailBytes { bytes, object_bytes: found })
}

/// Asks for an object's size.
pub(super) async fn size(store: &Store, path: &Path) -> Result<u64, ObjectError> {
    let meta = persist(SMALL, store.jitter(), || store.objects().head(path)).await;
    Ok(meta.map_err(|failed| failed.of(store.text(path)))?.size)
}

/// A range that cannot be read although the store answers may not be there: some say so with an error like any other.
async fn explain(store: &Store, path: &Path, expected: Option<u64>, error: ObjectError) -> ObjectError {
    let (ObjectError::Unavailable { object, .. }, Some(expected)) = (&error, expected) else { return error };
    match timeout(SMALL.one, store.objects().head(path)).await {
        Ok(Ok(meta)) if meta.size != expected => {
            ObjectError::Corrupt { object: object.clone(), reason: FormatError::Truncated { what: "the object" } }
        }
        _ => error,
    }
}

/// Pieces of an object that lie one after the other.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) path: Path,
    /// Of the whole object.
    pub(super) object_bytes: u64,
    /// Of the first piece.
    pub(super) offset: u64,
    pub(super) lengths: Vec<usize>,
}

impl Run {
    fn range_from(&self, piece: usize) -> Range<u64> {
        let before: u64 = self.lengths[..piece].iter().map(|length| *length as u64).sum();
        let rest: u64 = self.lengths[piece..].iter().map(|length| *length as u64).sum();
        self.offset + before..self.offset + before + rest
    }
}

/// Why a try of a run ended before its end.
enum Broken {
    Store(Answer, String),
    Damaged(FormatError),
}

/// Reads a run and hands over each piece, in order and once, as soon as it is there. `take` may refuse one that is damaged.
/// What has come stays when a request fails: only the rest is asked for again.
pub(super) async fn read_run(
    store: &Store,
    run: &Run,
    mut take: impl FnMut(usize, Bytes) -> Result<(), FormatError>,
) -> Result<(), ObjectError> {
    let (mut done, mut tries, mut damaged) = (0, 0, 0);
    while done < run.lengths.len() {
        let before = done;
        let broken = match read_once(store, run, &mut done, &mut take).await {
            Ok(()) => break,
            Err(broken) => broken,
        };
        tries = if before < done { 1 } else { tries + 1 };
        let object = store.text(&run.path);
        let error = match broken {
            Broken::Damaged(reason) => {
                damaged += 1;
                tracing::warn!(%object, %reason, "a piece of an object is damaged");
                if DAMAGED_TRIES <= damaged {
                    return Err(ObjectError::Corrupt { object, reason });
                }
                continue;
            }
            Broken::Store(Answer::Refused, reason) => return Err(ObjectError::Refused { object, reason }),
            Broken::Store(Answer::Missing, _) => ObjectError::NotFound { object },
            Broken::Store(Answer::Exists | Answer::Unclear, reason) => ObjectError::Unavailable { object, reason },
        };
        if RANGE_TRIES <= tries {
            return Err(explain(store, &run.path, Some(run.object_bytes), error).await);
        }
        sleep(pause(tries, store.jitter().next())).await;
    }
    Ok(())
}

async fn read_once(
    store: &Store,
    run: &Run,
    done: &mut usize,
    take: &mut impl FnMut(usize, Bytes) -> Result<(), FormatError>,
) -> Result<(), Broken> {
    let range = run.range_from(*done);
    let until = Instant::now() + RANGE;
    let unclear = |text: &str| Broken::Store(Answer::Unclear, text.into());
    let options = GetOptions::new().with_range(Some(range.clone()));
    let asked = timeout(STALL, store.objects().get_opts(&run.path, options)).await;
    let result = asked.map_err(|_| unclear("no answer within 10 s"))?.map_err(|error| store_says(&error))?;
    if result.range != range || result.meta.size != run.object_bytes {
        // A store that gives another range gives what was not asked for; one of another size has another object.
        return Err(Broken::Damaged(FormatError::Truncated { what: "the range the store gave" }));
    }
    let GetResult { payload, .. } = result;
    match payload {
        GetResultPayload::File(file, _) => from_file(file, range.start, run, done, take).await,
        GetResultPayload::Stream(mut stream) => {
            let mut cut = Cut::new(run.lengths[*done]);
            while *done < run.lengths.len() {
                let wait = until.min(Instant::now() + STALL);
                let next = timeout_at(wait, stream.next()).await.map_err(|_| unclear("bytes stopped coming"))?;
                let mut chunk = match next {
                    Some(Ok(chunk)) => chunk,
                    Some(Err(error)) => return Err(store_says(&error)),
                    None => return Err(unclear("the answer ended too early")),
                };
                while let Some(piece) = cut.push(&mut chunk) {
                    take(*done, piece).map_err(Broken::Damaged)?;
                    *done += 1;
                    let Some(length) = run.lengths.get(*done) else { break };
                    cut = Cut::new(*length);
                }
            }
            Ok(())
        }
    }
}

fn store_says(error: &object_store::Error) -> Broken {
    Broken::Store(Answer::of(error), reason(error))
}

/// A piece being put together, in an allocation of its own: what is cut from it pins nothing else.
struct Cut {
    bytes: BytesMut,
    length: usize,
}

impl Cut {
    fn new(length: usize) -> Self {
        Self { bytes: BytesMut::with_capacity(length), length }
    }

    /// Takes from the front of `chunk`. Gives the piece once it is whole; call again then with the rest, for the next piece.
    fn push(&mut self, chunk: &mut Bytes) -> Option<Bytes> {
        let wanted = self.length - self.bytes.len();
        self.bytes.extend_from_slice(&chunk.split_to(wanted.min(chunk.len())));
        let whole = self.bytes.len() == self.length;
        whole.then(|| std::mem::take(&mut self.bytes).freeze())
    }
}

/// Reads whole pieces on the threads for blocking work: a stream of a file comes in steps of 8 KiB.
async fn from_file(
    mut file: std::fs::File,
    from: u64,
    run: &Run,
    done: &mut usize,
    take: &mut impl FnMut(usize, Bytes) -> Result<(), FormatError>,
) -> Result<(), Broken> {
    let failed = |error: &dyn std::fmt::Display| Broken::Store(Answer::Unclear, error.to_string());
    let mut seek = Some(from);
    while *done < run.lengths.len() {
        let length = run.lengths[*done];
        let start = seek.take();
        let read = tokio::task::spawn_blocking(move || {
            if let Some(start) = start {
                file.seek(SeekFrom::Start(start))?;
            }
            let mut bytes = Vec::with_capacity(length);
            file.by_ref().take(length as u64).read_to_end(&mut bytes)?;
            Ok::<_, std::io::Error>((file, bytes))
        });
        let read = timeout(STALL, read).await.map_err(|_| failed(&"the file system does not answer"))?;
        let (back, bytes) = read.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        file = back;
        if bytes.len() < length {
            return Err(failed(&"the file ends too early"));
        }
        take(*done, bytes.into()).map_err(Broken::Damaged)?;
        *done += 1;
    }
    Ok(())
}
