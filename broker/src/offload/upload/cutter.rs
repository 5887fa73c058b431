//! Turns a ledger's entries into objects, and objects into parts. Pure: entries in, pieces to send out.
use std::collections::VecDeque;

use bytes::Bytes;
use ledger::{Entry, Sealed};
use object_store::PutPayload;
use proto::EntryId;

use super::UploadError;
use crate::offload::format::{Content, Header, ObjectBuilder, Trailer};
use crate::offload::name::Attempt;

/// Where to cut.
#[derive(Debug, Clone, Copy)]
pub(in crate::offload) struct Limits {
    /// An object that would grow beyond it ends, and the next begins.
    pub(in crate::offload) object_bytes: u64,
    /// Every part but the last of an object has exactly so many bytes, as some stores demand.
    pub(in crate::offload) part_bytes: usize,
}

impl Limits {
    /// 4 GiB: the index of an object lies in its last 256 KiB. 64 MiB: 16 requests for a GB.
    pub(in crate::offload) const DEFAULT: Self = Self { object_bytes: 4 << 30, part_bytes: 64 << 20 };
}

/// What to send next.
#[derive(Debug)]
pub(super) enum Piece {
    /// A part of an object that has more of them.
    Part { object: u32, part: usize, payload: PutPayload },
    /// The last part of an object, or all of it when `part` is 0.
    Last { object: u32, part: usize, payload: PutPayload, trailer: Box<Trailer> },
}

/// Cuts one ledger.
#[derive(Debug)]
pub(super) struct Cutter {
    attempt: Attempt,
    sealed: Sealed,
    limits: Limits,
    object: ObjectBuilder,
    number: u32,
    part: usize,
    /// Bytes of the object that belong to no piece yet: less than a part, but for the last push.
    rest: VecDeque<Bytes>,
    rest_bytes: usize,
    pieces: VecDeque<Piece>,
}

impl Cutter {
    pub(super) fn new(attempt: &Attempt, sealed: Sealed, limits: Limits) -> Self {
        let (object, header) = begin(attempt, sealed, 0, EntryId::FIRST, 0);
        let mut cutter = Self {
            attempt: attempt.clone(),
            sealed,
            limits,
            object,
            number: 0,
            part: 0,
            rest: VecDeque::new(),
            rest_bytes: 0,
            pieces: VecDeque::new(),
        };
        cutter.add(header);
        cutter
    }

    /// Adds the next entry. It must be the next, and not beyond the ledger's end.
    pub(super) fn push(&mut self, entry: &Entry) -> Result<(), UploadError> {
        let expected = self.object.next();
        if entry.entry != expected || self.sealed.end <= entry.entry {
            return Err(self.differs(format!("entry {} came instead of {expected}", entry.entry)));
        }
        if !self.object.is_empty() && self.limits.object_bytes < self.object.bytes_with(entry.payload.len()) {
            self.next_object();
        }
        if let Some(block) = self.object.push(&entry.payload) {
            self.add(block);
        }
        Ok(())
    }

    /// Ends the last object. All entries must have come, with the bytes the ledger was sealed with.
    pub(super) fn finish(&mut self) -> Result<(), UploadError> {
        let (next, length) = (self.object.next(), self.object.length());
        if next != self.sealed.end || length != self.sealed.length || next == EntryId::FIRST {
            let Sealed { end, length: sealed } = self.sealed;
            return Err(self.differs(format!("{next} entries of {length} bytes came, {end} of {sealed} were sealed")));
        }
        self.end_object(true);
        Ok(())
    }

    /// What is ready to be sent, in order.
    pub(super) fn take(&mut self) -> Option<Piece> {
        self.pieces.pop_front()
    }

    fn next_object(&mut self) {
        self.end_object(false);
        let (first, length) = (self.object.next(), self.object.length());
        self.number += 1;
        self.part = 0;
        let (object, header) = begin(&self.attempt, self.sealed, self.number, first, length);
        self.object = object;
        self.add(header);
    }

    fn end_object(&mut self, last: bool) {
        let (pieces, trailer) = self.object.finish(last);
        pieces.into_iter().for_each(|piece| self.add(piece));
        let payload = self.rest.drain(..).collect();
        self.rest_bytes = 0;
        self.pieces.push_back(Piece::Last {
            object: self.number,
            part: self.part,
            payload,
            trailer: Box::new(trailer),
        });
    }

    /// Adds bytes of the object, and cuts parts off. One full part is held back, so that the last is never empty.
    fn add(&mut self, bytes: Bytes) {
        self.rest_bytes += bytes.len();
        self.rest.push_back(bytes);
        while self.limits.part_bytes < self.rest_bytes {
            let payload = self.cut(self.limits.part_bytes);
            self.pieces.push_back(Piece::Part { object: self.number, part: self.part, payload });
            self.part += 1;
        }
    }

    fn cut(&mut self, length: usize) -> PutPayload {
        self.rest_bytes -= length;
        let (mut missing, mut taken) = (length, Vec::new());
        while 0 < missing {
            let mut piece = self.rest.pop_front().expect("as many bytes as were counted");
            if missing < piece.len() {
                self.rest.push_front(piece.split_off(missing));
            }
            missing -= piece.len();
            taken.push(piece);
        }
        taken.into_iter().collect()
    }

    fn differs(&self, reason: String) -> UploadError {
        UploadError::SourceDiffers { ledger: self.attempt.ledger, reason }
    }
}

fn begin(attempt: &Attempt, sealed: Sealed, number: u32, first: EntryId, length: u64) -> (ObjectBuilder, Bytes) {
    let header = Header {
        attempt: attempt.clone(),
        number,
        first,
        ledger_end: sealed.end,
        length_before: length,
        content: Content::Entries,
    };
    ObjectBuilder::new(header)
}
