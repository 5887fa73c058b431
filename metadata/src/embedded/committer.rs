//! The thread that owns the database: takes what has queued, commits it together, answers.
use std::sync::Arc;

use bytes::Bytes;
use redb::{Database, ReadableTable, Table};
use tokio::sync::{mpsc, oneshot};

use super::{
    COUNTERS, LAYOUT, LAYOUT_KEY, Published, QUEUE_MAX, RECORDS, RESERVED_KEY, Request, Room, View, failed, read,
    storage,
};
use crate::envelope;
use crate::keyspace::{Durable, Keyspace, Readable};
use crate::store::{Error, Event, Key, Record, Version};
use crate::watch::{Watch, Watchers};

/// How many versions are reserved at once. Versions of leased records are not written down, and yet no later process may
/// give them out again.
const RESERVE: u64 = 1 << 20;

/// Makes the tables, or checks them. Returns the version after which to count.
pub(super) fn prepare(database: &Database) -> Result<Version, Error> {
    let transaction = database.begin_write().map_err(storage)?;
    let reserved = {
        let mut counters = transaction.open_table(COUNTERS).map_err(storage)?;
        let layout = counters.insert(LAYOUT_KEY, LAYOUT).map_err(storage)?.map(|layout| layout.value());
        if let Some(layout) = layout.filter(|layout| *layout != LAYOUT) {
            return Err(Error::Refused { reason: format!("layout {layout} is not known to this version") });
        }
        counters.get(RESERVED_KEY).map_err(storage)?.map_or(0, |reserved| reserved.value())
    };
    transaction.open_table(RECORDS).map_err(storage)?;
    transaction.commit().map_err(storage)?;
    Ok(Version(reserved))
}

pub(super) struct Committer {
    database: Database,
    // Behind the database: it lets go of its file first.
    room: Option<Room>,
    keyspace: Keyspace,
    reserved: Version,
    watchers: Watchers,
    view: Arc<Published>,
}

/// What happens once the group is committed, in the order of the requests.
enum Step {
    Answer { answer: oneshot::Sender<Result<Version, Error>>, outcome: Result<Version, Error> },
    Publish(Vec<Event>),
    Watch { prefix: String, answer: oneshot::Sender<Watch> },
    Ended(oneshot::Sender<()>),
}

/// How far a group came.
enum Fault {
    /// Nothing of it is in the file.
    NothingWritten(Error),
    /// The sync failed: what is in the file is known only after opening it again.
    Unknown(Error),
}

impl Committer {
    pub(super) fn new(database: Database, room: Option<Room>, keyspace: Keyspace, view: Arc<Published>) -> Self {
        let reserved = keyspace.revision();
        Self { database, room, keyspace, reserved, watchers: Watchers::default(), view }
    }

    /// Returns when every handle is gone.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        self.make_room();
        let mut group = Vec::with_capacity(QUEUE_MAX);
        while queue.blocking_recv_many(&mut group, QUEUE_MAX) != 0 {
            if !self.serve(group.drain(..)) {
                break;
            }
            self.make_room();
        }
        // After a failure: who still queues hears of it.
        while let Some(request) = queue.blocking_recv() {
            refuse(request);
        }
    }

    /// Nobody waits for it.
    fn make_room(&self) {
        if let Some(room) = &self.room {
            room.make();
        }
    }

    /// Carries a group out; false when the file has failed and nothing may be done any more.
    fn serve(&mut self, group: impl Iterator<Item = Request>) -> bool {
        let mut steps = Vec::new();
        let Err(fault) = self.commit(group, &mut steps) else {
            for step in steps {
                self.finish(step);
            }
            return true;
        };
        *self.view.0.lock() = None;
        self.watchers.end();
        let (error, known) = match fault {
            Fault::NothingWritten(error) => (error, true),
            Fault::Unknown(error) => (error, false),
        };
        tracing::error!(%error, "the metadata file has failed: nothing is read or written until a restart");
        for step in steps {
            if let Step::Answer { answer, outcome } = step {
                let unknown = outcome.is_ok() && !known;
                // A caller that is gone needs no answer.
                let _ = answer.send(Err(if unknown { Error::OutcomeUnknown } else { failed() }));
            }
        }
        false
    }

    fn commit(&mut self, group: impl Iterator<Item = Request>, steps: &mut Vec<Step>) -> Result<(), Fault> {
        let nothing = Fault::NothingWritten;
        let transaction = self.database.begin_write().map_err(|error| nothing(storage(error)))?;
        let mut durable = false;
        let leased = self.keyspace.leased().clone();
        {
            let table = transaction.open_table(RECORDS).map_err(|error| nothing(storage(error)))?;
            let mut records = Records(table);
            // The whole group is taken also when a request fails, so that each gets its answer.
            let mut fault = None;
            for request in group {
                match fault {
                    None => fault = self.carry_out(request, &mut records, steps, &mut durable).err(),
                    Some(_) => refuse(request),
                }
            }
            if let Some(error) = fault {
                return Err(nothing(error));
            }
        }
        if self.reserved < self.keyspace.revision() {
            let reserved = self.keyspace.revision().0 + RESERVE;
            let mut counters = transaction.open_table(COUNTERS).map_err(|error| nothing(storage(error)))?;
            counters.insert(RESERVED_KEY, reserved).map_err(|error| nothing(storage(error)))?;
            self.reserved = Version(reserved);
            durable = true;
        }
        if durable {
            transaction.commit().map_err(|error| Fault::Unknown(storage(error)))?;
        } else {
            transaction.abort().map_err(|error| nothing(storage(error)))?;
        }
        if durable || !Arc::ptr_eq(&leased, self.keyspace.leased()) {
            self.publish(durable).map_err(Fault::Unknown)?;
        }
        Ok(())
    }

    /// Fails only when the file does.
    fn carry_out(
        &mut self,
        request: Request,
        records: &mut Records<'_>,
        steps: &mut Vec<Step>,
        durable: &mut bool,
    ) -> Result<(), Error> {
        match request {
            Request::Commit { transaction, answer, _room } => {
                let outcome = match self.keyspace.commit(records, &transaction) {
                    Ok(outcome) => {
                        *durable |= outcome.durable;
                        steps.push(Step::Publish(outcome.events));
                        Ok(outcome.version)
                    }
                    Err(Error::Unavailable { reason }) => {
                        steps.push(Step::Answer { answer, outcome: Err(failed()) });
                        return Err(Error::Unavailable { reason });
                    }
                    Err(error) => Err(error),
                };
                steps.push(Step::Answer { answer, outcome });
            }
            Request::Watch { prefix, answer } => steps.push(Step::Watch { prefix, answer }),
            Request::Grant { answer } => {
                // A caller that is gone leaves a lease without records behind, which costs nothing.
                let _ = answer.send(self.keyspace.grant());
            }
            Request::End { lease, answer } => {
                steps.push(Step::Publish(self.keyspace.end(lease)));
                steps.push(Step::Ended(answer));
            }
        }
        Ok(())
    }

    /// Both halves at once: no reader sees a transaction by half.
    fn publish(&self, durable: bool) -> Result<(), Error> {
        let records = if durable { Arc::new(read(&self.database)?) } else { self.view.get()?.records.clone() };
        *self.view.0.lock() = Some(Arc::new(View { leased: self.keyspace.leased().clone(), records }));
        Ok(())
    }

    fn finish(&mut self, step: Step) {
        // Callers that are gone need no answer.
        match step {
            Step::Answer { answer, outcome } => drop(answer.send(outcome)),
            Step::Publish(events) => self.watchers.publish(&events),
            Step::Watch { prefix, answer } => drop(answer.send(self.watchers.add(&prefix))),
            Step::Ended(answer) => drop(answer.send(())),
        }
    }
}

/// Answers by dropping, except where that would mean that the outcome is unknown.
fn refuse(request: Request) {
    if let Request::Commit { answer, .. } = request {
        // A caller that is gone needs no answer.
        let _ = answer.send(Err(failed()));
    }
}

/// The table within a write transaction, which sees its own writes.
struct Records<'t>(Table<'t, &'static str, &'static [u8]>);

impl Readable for Records<'_> {
    fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        let stored = self.0.get(key.as_str()).map_err(storage)?;
        stored.map(|stored| envelope::open_numbered(key, &Bytes::copy_from_slice(stored.value()))).transpose()
    }
}

impl Durable for Records<'_> {
    fn put(&mut self, record: &Record) -> Result<(), Error> {
        self.0.insert(record.key.as_str(), &*envelope::seal_numbered(record)).map_err(storage)?;
        Ok(())
    }

    fn delete(&mut self, key: &Key) -> Result<(), Error> {
        self.0.remove(key.as_str()).map_err(storage)?;
        Ok(())
    }
}
