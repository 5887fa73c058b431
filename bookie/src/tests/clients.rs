//! Clients that send what comes to their mind and remember what they were promised.
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::*;
use crate::seed::Seed;

/// What clients were told, and what they ever sent.
pub(super) struct Clients {
    /// The ledgers that requests are for.
    pub(super) active: Range<u64>,
    may_delete: fn(u64) -> bool,
    promised: BTreeMap<(u64, u64), usize>,
    sent: BTreeMap<(u64, u64), usize>,
    fenced: BTreeSet<u64>,
    fence_sent: BTreeSet<u64>,
    deleted: BTreeSet<u64>,
    delete_sent: BTreeSet<u64>,
    next: BTreeMap<u64, u64>,
}

impl Clients {
    /// `may_delete` says which ledgers are deleted now and then.
    pub(super) fn new(active: Range<u64>, may_delete: fn(u64) -> bool) -> Self {
        Self {
            active,
            may_delete,
            promised: BTreeMap::new(),
            sent: BTreeMap::new(),
            fenced: BTreeSet::new(),
            fence_sent: BTreeSet::new(),
            deleted: BTreeSet::new(),
            delete_sent: BTreeSet::new(),
            next: BTreeMap::new(),
        }
    }

    pub(super) fn request(&mut self, id: u64, seed: &mut Seed) -> Request {
        let ledger = self.active.start + seed.below(self.active.end - self.active.start);
        match seed.below(40) {
            0 => {
                self.fence_sent.insert(ledger);
                fence(id, ledger)
            }
            1 => {
                self.fence_sent.insert(ledger);
                fencing_read(id, ledger, 0, 5)
            }
            2 if (self.may_delete)(ledger) => {
                self.delete_sent.insert(ledger);
                delete(id, ledger)
            }
            3 | 4 => read(id, ledger, 0, 10),
            choice => {
                let next = self.next.entry(ledger).or_default();
                let again = choice == 5 && 0 < *next;
                let entry = if again { seed.below(*next) } else { *next + seed.below(8) / 7 };
                *next = (*next).max(entry + 1);
                let size = *self.sent.entry((ledger, entry)).or_insert_with(|| sizes(seed));
                if choice < 8 { recovery_add(id, ledger, entry, size) } else { add(id, ledger, entry, size) }
            }
        }
    }

    pub(super) fn hear(&mut self, requests: &[Request], answers: &[Answer]) {
        for answer in answers.iter().filter(|answer| answer.status() == Status::Ok) {
            for request in
                requests.iter().filter(|request| (answer.id..answer.id + u64::from(answer.run)).contains(&request.id))
            {
                match request.body.as_ref().unwrap() {
                    Body::Add(add) => drop(self.promised.insert((request.ledger, add.entry), add.payload.len())),
                    Body::Fence(_) => drop(self.fenced.insert(request.ledger)),
                    Body::Read(read) if read.fence => drop(self.fenced.insert(request.ledger)),
                    Body::Delete(_) => drop(self.deleted.insert(request.ledger)),
                    _ => {}
                }
            }
        }
        // A fencing read that finds nothing has fenced all the same.
        for answer in answers.iter().filter(|answer| answer.status() == Status::NotHeld && answer.holding.is_some()) {
            self.fenced.insert(answer.ledger);
        }
    }

    /// What is wrong with a bookie that has started again.
    pub(super) fn fault(&self, store: &mut Store) -> Option<String> {
        for (&(ledger, entry), size) in &self.promised {
            if self.delete_sent.contains(&ledger) {
                continue;
            }
            let answer = ask(store, read(1, ledger, entry, entry + 1));
            let found = answer.entries.first().map(|entry| entry.payload.clone());
            if found != Some(payload(ledger, entry, *size)) {
                return Some(format!("entry {ledger}:{entry} of {size} bytes was promised and is lost: {answer:?}"));
            }
        }
        for ledger in 0..self.active.end {
            if let Some(fault) = self.ledger_fault(store, ledger) {
                return Some(fault);
            }
        }
        None
    }

    fn ledger_fault(&self, store: &mut Store, ledger: u64) -> Option<String> {
        let answer = ask(store, held(1, ledger));
        if answer.status() == Status::Deleted {
            let late = status(store, recovery_add(1, ledger, 1 << 40, 1));
            let refused = late == Status::Deleted && status(store, read(1, ledger, 0, 1)) == Status::Deleted;
            let known = self.delete_sent.contains(&ledger);
            return (!refused || !known)
                .then(|| format!("{ledger} was deleted by somebody: {known}, and answers {late:?}"));
        }
        let holding = answer.holding.unwrap();
        if self.deleted.contains(&ledger) {
            return Some(format!("the tombstone of {ledger} is lost"));
        }
        if self.fenced.contains(&ledger) && !holding.fenced {
            return Some(format!("the fence of {ledger} is lost"));
        }
        if self.fenced.contains(&ledger) && status(store, add(1, ledger, 1 << 40, 1)) != Status::Fenced {
            return Some(format!("an add got past the fence of {ledger}"));
        }
        if holding.fenced && !self.fence_sent.contains(&ledger) {
            return Some(format!("nobody fenced {ledger}"));
        }
        let mut count = 0;
        for entry in 0..holding.end {
            let answer = ask(store, read(1, ledger, entry, entry + 1));
            match (answer.status(), self.sent.get(&(ledger, entry))) {
                (Status::NotHeld, _) => {}
                (Status::Ok, Some(size)) if answer.entries[0].payload == payload(ledger, entry, *size) => count += 1,
                _ => return Some(format!("entry {ledger}:{entry} is not what was sent: {answer:?}")),
            }
        }
        (count != holding.entries).then(|| format!("{count} entries of {ledger} are counted as {}", holding.entries))
    }
}

fn sizes(seed: &mut Seed) -> usize {
    let class = [0, 10, 300, 5000, 20_000][seed.below(5) as usize];
    class + seed.below(40) as usize
}
