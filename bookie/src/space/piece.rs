//! One batch of a sorted segment: entries that lie next to each other there, collected from where they lie now.
use proto::LedgerId;

use super::fault::Fault;
use super::merge::{Next, Source};
use crate::disk::{AlignedBuffer, BLOCK};
use crate::format::{BATCH_HEADER, Generation, IndexEntry, Kind, RECORD_HEADER, Record};

/// Of one read.
pub(super) const READ_BYTES: usize = 1 << 20;
/// What is not wanted between two entries is read if it is less than this: quicker than another read.
const GAP: u64 = 16 << 10;

/// An entry on its way.
#[derive(Debug)]
struct Slot {
    source: usize,
    ledger: LedgerId,
    entry: IndexEntry,
    /// Where its record goes in the batch.
    at: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Piece {
    slots: Vec<Slot>,
    /// Of header and records.
    pub(super) length: usize,
    /// The slots as they lie in their segments. Set when reading begins.
    order: Vec<u32>,
    /// How many of `order` are whole, and how much of the next one is.
    whole: usize,
    copied: usize,
}

impl Piece {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), length: BATCH_HEADER, order: Vec::new(), whole: 0, copied: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether this was the last entry that was added.
    pub(super) fn ends_with(&self, next: &Next) -> bool {
        self.slots.last().is_some_and(|slot| (slot.ledger, slot.entry.entry) == (next.ledger, next.entry.entry))
    }

    pub(super) fn push(&mut self, next: &Next) {
        let Next { source, ledger, entry } = *next;
        self.slots.push(Slot { source, ledger, entry, at: self.length });
        self.length += RECORD_HEADER + entry.size as usize;
    }

    /// Nothing more is added: from now on the entries are read into `batch`.
    pub(super) fn close(&mut self, batch: &mut AlignedBuffer) {
        batch.clear();
        batch.resize(self.length.next_multiple_of(BLOCK));
        let count = u32::try_from(self.slots.len()).expect("a piece has few entries");
        self.order = (0..count).collect();
        let slots = &self.slots;
        self.order.sort_unstable_by_key(|slot| {
            let slot = &slots[*slot as usize];
            (slot.source, slot.entry.offset)
        });
    }

    /// Whether all is there.
    pub(super) fn is_whole(&self) -> bool {
        self.whole == self.slots.len()
    }

    /// Reads once, copies what is wanted to its place, and puts `generation` into its header. Says how much was read. Only while
    /// not all is there.
    pub(super) fn fill(
        &mut self,
        sources: &[Source],
        generation: Generation,
        scratch: &mut AlignedBuffer,
        batch: &mut AlignedBuffer,
    ) -> Result<u64, Fault> {
        let (source, from, to) = self.next_read();
        let source = &sources[source];
        scratch.clear();
        scratch.resize(usize::try_from(to - from).expect("reads are small"));
        let count = source.file.read_at(from, scratch.bytes_mut()).map_err(|error| source.damaged(from, error))?;
        let read = &scratch.bytes()[..count];
        while let Some(slot) = self.order.get(self.whole).map(|slot| &self.slots[*slot as usize]) {
            let (length, offset) = (RECORD_HEADER + slot.entry.size as usize, u64::from(slot.entry.offset));
            let begin = offset + self.copied as u64;
            if sources[slot.source].segment != source.segment || to <= begin {
                break;
            }
            let bytes = &read[usize::try_from(begin - from).expect("inside of the read").min(count)..];
            let bytes = &bytes[..bytes.len().min(length - self.copied)];
            if bytes.is_empty() {
                return Err(source.damaged(begin, "the file ends before an entry does"));
            }
            let target = &mut batch.bytes_mut()[slot.at..slot.at + length];
            target[self.copied..self.copied + bytes.len()].copy_from_slice(bytes);
            self.copied += bytes.len();
            if self.copied < length {
                break;
            }
            renew(target, slot, source, generation)?;
            self.whole += 1;
            self.copied = 0;
        }
        Ok(count as u64)
    }

    /// The records in order, each with its place in the batch. Only once all is there.
    pub(super) fn records<'a>(
        &'a self,
        generation: Generation,
        batch: &'a AlignedBuffer,
    ) -> impl Iterator<Item = (Record, usize)> {
        self.slots.iter().map(move |slot| {
            let record = Record::read(&batch.bytes()[slot.at..], generation).expect("it was just written");
            (record, slot.at)
        })
    }

    /// Where to read next: what is left of an entry, and all behind it that is near enough.
    fn next_read(&self) -> (usize, u64, u64) {
        let mut slots = self.order[self.whole..].iter().map(|slot| &self.slots[*slot as usize]);
        let first = slots.next().expect("what is whole is not read");
        let from = (u64::from(first.entry.offset) + self.copied as u64) / BLOCK as u64 * BLOCK as u64;
        let limit = from + READ_BYTES as u64;
        let end = |slot: &Slot| (u64::from(slot.entry.offset) + slot.entry.bytes()).next_multiple_of(BLOCK as u64);
        let mut to = end(first).min(limit);
        for slot in slots {
            let near = slot.source == first.source && u64::from(slot.entry.offset) < to + GAP;
            if !near || limit < end(slot) {
                break;
            }
            to = to.max(end(slot));
        }
        (first.source, from, to)
    }
}

/// Checks a record as every reader does, and gives it a header for its new file.
fn renew(target: &mut [u8], slot: &Slot, source: &Source, generation: Generation) -> Result<(), Fault> {
    let record = Record::read(target, source.generation).filter(|record| {
        let named = record.kind == Kind::Entry && record.ledger == slot.ledger && record.entry == slot.entry.entry;
        named && record.digest == slot.entry.digest && record.holds(&target[RECORD_HEADER..])
    });
    let Some(record) = record else {
        let what = format!("entry {} of ledger {} is damaged", slot.entry.entry.0, slot.ledger.0);
        return Err(source.damaged(slot.entry.offset.into(), what));
    };
    target[..RECORD_HEADER].copy_from_slice(&record.header(generation));
    Ok(())
}
