//! Ledgers as objects: how they are written to an object store, read back, and removed.
//!
//! Owns: the format of objects, the requests to stores, the one cache of blocks read from them.
//! Promises: an upload that returned was read back whole and is what the bookies gave; a read gives the bytes that were published
//! or an error that names the object; nothing is held beyond the bounds given to the constructors.
//! Never: knows a topic's record, or decides what is offloaded or deleted.
//!
//! ```text
//! // Where objects lie. A location is a URL without credentials; these come from the environment.
//! Location::parse(url: &str) -> Result<Location, LocationError>            // s3:// gs:// az:// file:// (memory:// in tests)
//! Location::of_driver(&Driver { name, bucket, region, endpoint }) -> Result<Location, LocationError>  // Pulsar's names
//! Location::driver(&self) -> Driver
//! Stores::new(seed: u64) -> Stores                                          // one per broker, cheap to clone
//! Stores::open(&self, location: &Location) -> Result<Arc<Store>, LocationError>  // no request is made; the same store each time
//! Store::probe(&self) -> Result<Abilities, ObjectError>                     // once per store; the answer is kept
//!
//! // What objects are called. `AttemptId` is random and never used twice.
//! Attempt { instance: Arc<str>, topic: TopicName, ledger: LedgerId, id: AttemptId }
//!
//! // Writing: one ledger at a time per broker, about one part of 64 MiB in memory. Returns once everything was read back.
//! upload(store: &Store, attempt: &Attempt, sealed: Sealed, entries: impl Stream<Item = Result<Vec<Entry>, LedgerError>>)
//!     -> Result<Uploaded { objects: u32, bytes: u64, entries: u64, payload_bytes: u64 }, UploadError>
//! ledger_entries(ledgers: Arc<dyn Ledgers>, ledger: LedgerId, end: EntryId) -> impl Stream<…>    // what `upload` reads from
//! delete(store: &Store, attempt: &Attempt) -> Result<Deleted { objects, bytes }, ObjectError>    // repeat until it succeeds
//!
//! // Reading. The caller keeps the `OffloadedLedger` beside its chain, and one `Sequence` per sequential reader.
//! OffloadedLedger { store: Location, attempt: Attempt, objects: u32, bytes: u64 }
//! Objects::new(stores: Stores, cache_bytes: usize) -> Objects               // one per broker, cheap to clone
//! Objects::read(&self, ledger: &OffloadedLedger, entries: Range<EntryId>, bytes_max: usize, sequence: &mut Sequence)
//!     -> Result<Vec<Entry>, ObjectError>       // like Ledgers::read: at most bytes_max but at least one entry, no gaps
//! Objects::stop(&self)                         // waits for the reads under way
//! ObjectError::{NotFound, Corrupt, Unavailable, Refused}, each with the object's name; .retry() -> Retry
//!
//! // Comparing what stores hold with what records say.
//! list(store: &Store, instance: &str) -> Result<Vec<Listed>, ObjectError>
//! scrub(listed, referred, intents, now_ms, grace) -> Findings { missing, wrong_size, orphans, … }
//! monthly_cost(&Usage, &Prices) -> Cost
//! metrics::render(&Stores, &Objects, cluster, page)
//! ```
