//! Reading an object back: every byte of it, compared with what was sent.
use crate::offload::error::ObjectError;
use crate::offload::fetch::{Run, read_run, read_tail};
use crate::offload::format::{Block, BlockPlace, Digest, FormatError, Header, Index, TAIL_BYTES, Tail, Trailer};
use crate::offload::name::Attempt;
use crate::offload::stores::Store;

/// Asked of the store at once.
const RANGE_BYTES: usize = 16 << 20;

/// Reads an object from its end as a reader would, then all its bytes, and compares them with the trailer that was sent.
pub(super) async fn verify(store: &Store, attempt: &Attempt, sent: &Trailer) -> Result<(), ObjectError> {
    let path = store.path(&attempt.object(sent.number));
    let corrupt = |reason| ObjectError::Corrupt { object: store.text(&path), reason };
    let mut length = TAIL_BYTES;
    let index = loop {
        let tail = read_tail(store, &path, Some(sent.object_bytes), length).await?;
        match Tail::parse(&tail.bytes, tail.object_bytes, attempt, sent.number).map_err(corrupt)? {
            Tail::Open(index) => break index,
            Tail::From(offset) => length = tail.object_bytes - offset,
        }
    };
    if index.trailer() != sent {
        return Err(corrupt(FormatError::Inconsistent("its end is not the one that was sent")));
    }
    let mut check = Check { attempt, index: &index, digest: Digest::default(), length: sent.length_before };
    let mut pieces = Vec::new(); // The header first.
    let (mut offset, mut first) = (0, 0);
    pieces.push(sent.header_bytes as usize);
    for number in 0..=index.blocks() {
        let next = (number < index.blocks()).then(|| index.block(number).length as usize);
        let full = RANGE_BYTES < pieces.iter().sum::<usize>() + next.unwrap_or(0);
        if next.is_none() || (full && !pieces.is_empty()) {
            let run = Run { path: path.clone(), object_bytes: sent.object_bytes, offset, lengths: pieces.split_off(0) };
            read_run(store, &run, |at, bytes| check.piece(first + at, bytes)).await?;
            offset += run.lengths.iter().map(|length| *length as u64).sum::<u64>();
            first += run.lengths.len();
        }
        pieces.extend(next);
    }
    check.end(sent).map_err(corrupt)
}

/// What has been read so far.
struct Check<'a> {
    attempt: &'a Attempt,
    index: &'a Index,
    digest: Digest,
    length: u64,
}

impl Check<'_> {
    /// Piece 0 is the header, the others are blocks.
    fn piece(&mut self, at: usize, bytes: bytes::Bytes) -> Result<(), FormatError> {
        let Some(number) = at.checked_sub(1) else {
            let (header, length) = Header::decode(&bytes)?;
            header.check(self.attempt, self.index.trailer().number)?;
            if length != bytes.len() {
                return Err(FormatError::Inconsistent("the header has another length"));
            }
            self.digest.update(&bytes);
            return Ok(());
        };
        let place: BlockPlace = self.index.block(u32::try_from(number).expect("as many as the index has"));
        let block = Block::parse(bytes.clone(), &place, self.attempt.ledger, self.attempt.id)?;
        self.length = block.check_entries(self.attempt.ledger, self.length)?;
        self.digest.update(&bytes); // After the checks: a damaged piece comes again.
        Ok(())
    }

    fn end(mut self, sent: &Trailer) -> Result<(), FormatError> {
        self.digest.update(&self.index.encode_rows());
        if self.digest.value() != sent.digest {
            return Err(FormatError::Checksum { what: "the object" });
        }
        if self.length != sent.length {
            return Err(FormatError::Inconsistent("its lengths do not add up"));
        }
        Ok(())
    }
}
