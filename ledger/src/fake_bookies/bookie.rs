//! What one bookie answers: the semantics of `bookie.proto` over maps in memory.
use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use proto::bookie::{Add, Answer, Entry, Holding, Read, Request, Status, request};
use proto::{EntryId, LedgerId, digest};

/// One bookie without a network. What it holds survives its restarts.
#[derive(Debug, Default)]
pub struct FakeBookie {
    ledgers: HashMap<u64, Ledger>,
    corrupt: HashSet<(u64, u64)>,
    adds_refused: Option<Status>,
    reads_unknown: bool,
    read_only: bool,
}

#[derive(Debug, Default)]
struct Ledger {
    entries: BTreeMap<u64, Entry>,
    confirmed: u64,
    fenced: bool,
    deleted: bool,
    limbo: bool,
}

impl Ledger {
    fn holding(&self) -> Holding {
        Holding {
            confirmed: self.confirmed,
            entries: self.entries.len() as u64,
            end: self.entries.last_key_value().map_or(0, |(entry, _)| entry + 1),
            fenced: self.fenced,
            limbo: self.limbo,
        }
    }
}

impl FakeBookie {
    /// Does what is asked at once, as if it were synced.
    pub fn handle(&mut self, request: Request) -> Answer {
        let ledger = self.ledgers.entry(request.ledger).or_default();
        let mut answer = Answer { id: request.id, ledger: request.ledger, run: 1, ..Answer::default() };
        match request.body {
            Some(request::Body::Delete(_)) => {
                *ledger = Ledger { deleted: true, ..Ledger::default() };
            }
            Some(_) if ledger.deleted => answer.set_status(Status::Deleted),
            Some(request::Body::Add(add)) => {
                let status = match self.adds_refused {
                    Some(refused) => refused,
                    None if self.read_only && !add.urgent && (add.recovery || !ledger.fenced) => Status::ReadOnly,
                    None => Self::add(ledger, request.ledger, add),
                };
                answer.set_status(status);
            }
            Some(request::Body::Read(_)) if self.reads_unknown => answer.set_status(Status::Unknown),
            Some(request::Body::Read(read)) => {
                let corrupt = |entry: u64| self.corrupt.contains(&(request.ledger, entry));
                Self::read(ledger, &read, corrupt, &mut answer);
            }
            Some(request::Body::Fence(_)) => {
                ledger.fenced = true;
                answer.holding = Some(ledger.holding());
            }
            Some(request::Body::Held(_)) if self.reads_unknown => answer.set_status(Status::Unknown),
            Some(request::Body::Held(_)) => answer.holding = Some(ledger.holding()),
            None => answer.set_status(Status::Invalid),
        }
        answer
    }

    fn add(ledger: &mut Ledger, id: u64, add: Add) -> Status {
        if digest::entry_digest(LedgerId(id), EntryId(add.entry), add.length, &add.payload) != add.digest {
            return Status::Invalid;
        }
        if ledger.fenced && !add.recovery {
            return Status::Fenced;
        }
        let Add { entry, confirmed, length, digest, payload, .. } = add;
        // What is held is not looked at again, whatever has become of it.
        let held = ledger.entries.entry(entry).or_insert(Entry { entry, length, digest, payload, confirmed });
        if held.digest != digest {
            return Status::Invalid;
        }
        ledger.confirmed = ledger.confirmed.max(confirmed);
        Status::Ok
    }

    fn read(ledger: &mut Ledger, read: &Read, corrupt: impl Fn(u64) -> bool, answer: &mut Answer) {
        if read.fence {
            ledger.fenced = true;
            answer.holding = Some(ledger.holding());
        }
        let mut room = read.bytes_max as usize;
        for entry in read.first..read.end {
            let Some(found) = ledger.entries.get(&entry) else { break };
            if !answer.entries.is_empty() && room < found.payload.len() {
                break;
            }
            room = room.saturating_sub(found.payload.len());
            let mut found = found.clone();
            if corrupt(entry) {
                found.payload = Bytes::from_static(b"other bytes than were written");
            }
            answer.entries.push(found);
        }
        if answer.entries.is_empty() {
            answer.set_status(if ledger.limbo { Status::Unknown } else { Status::NotHeld });
            answer.absent = ledger.limbo;
        }
    }

    /// Reads of the entry bring other bytes than were written.
    pub fn corrupt(&mut self, ledger: LedgerId, entry: EntryId) {
        self.corrupt.insert((ledger.0, entry.0));
    }

    /// Adds are answered with `status` and not done, until `None`.
    pub fn refuse_adds(&mut self, status: Option<Status>) {
        self.adds_refused = status;
    }

    /// Only urgent adds are taken.
    pub fn be_read_only(&mut self, read_only: bool) {
        self.read_only = read_only;
    }

    /// Reads are answered with neither yes nor no, as after a disk was lost.
    pub fn answer_reads_unknown(&mut self, unknown: bool) {
        self.reads_unknown = unknown;
    }

    /// Forgets an entry and says so.
    pub fn lose(&mut self, ledger: LedgerId, entry: EntryId) {
        if let Some(ledger) = self.ledgers.get_mut(&ledger.0) {
            ledger.entries.remove(&entry.0);
        }
    }

    /// Starts with a damaged store: what it does not hold it may have held.
    pub fn enter_limbo(&mut self, ledger: LedgerId) {
        let ledger = self.ledgers.entry(ledger.0).or_default();
        (ledger.limbo, ledger.fenced) = (true, true);
    }

    /// The entries it holds of a ledger.
    #[must_use]
    pub fn entries(&self, ledger: LedgerId) -> Vec<EntryId> {
        self.ledgers.get(&ledger.0).map_or_else(Vec::new, |held| held.entries.keys().copied().map(EntryId).collect())
    }

    /// The bytes of an entry.
    #[must_use]
    pub fn payload(&self, ledger: LedgerId, entry: EntryId) -> Option<Bytes> {
        Some(self.ledgers.get(&ledger.0)?.entries.get(&entry.0)?.payload.clone())
    }

    /// Whether it refuses a writer's adds.
    #[must_use]
    pub fn is_fenced(&self, ledger: LedgerId) -> bool {
        self.ledgers.get(&ledger.0).is_some_and(|held| held.fenced)
    }

    /// Whether it keeps a tombstone.
    #[must_use]
    pub fn is_deleted(&self, ledger: LedgerId) -> bool {
        self.ledgers.get(&ledger.0).is_some_and(|held| held.deleted)
    }
}
