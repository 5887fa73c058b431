use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;
use crate::keyspace::{Keyspace, Readable};
use crate::store::{DEADLINE, Key, Record};

/// What becomes of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    AnswerLost,
    RequestLost,
    /// Arrives just before the attempt after the next, or when the test ends.
    Late,
    NotSent,
}

/// A store in memory with a bad line to it.
#[derive(Default)]
struct Faulty {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keyspace: Keyspace,
    records: BTreeMap<Key, Record>,
    faults: VecDeque<Fault>,
    /// Somebody else puts this key before the attempt of that number.
    rivals: Vec<(usize, &'static str)>,
    attempts: usize,
    late: VecDeque<(usize, Transaction)>,
    /// How often each transaction was carried out.
    done: Vec<Token>,
}

impl State {
    fn carry_out(&mut self, guarded: &Transaction) -> Result<Version, Error> {
        let outcome = self.keyspace.commit(&mut self.records, guarded)?;
        if !outcome.events.is_empty() {
            self.done.push(guarded.token);
        }
        Ok(outcome.version)
    }

    fn arrivals(&mut self, until: usize) {
        while self.late.front().is_some_and(|(at, _)| *at <= until) {
            if let Some((_, guarded)) = self.late.pop_front() {
                let _ = self.carry_out(&guarded);
            }
        }
    }
}

fn guarded(transaction: &Transaction, guards: &[Expect]) -> Transaction {
    let mut guarded = transaction.clone();
    for (operation, guard) in guarded.operations.iter_mut().zip(guards) {
        match operation {
            Operation::Put { expect, .. } | Operation::Delete { expect, .. } | Operation::Check { expect, .. } => {
                *expect = *guard;
            }
        }
    }
    guarded
}

impl Attempts for Faulty {
    async fn attempt(&self, transaction: &Transaction, guards: &[Expect], with_tokens: bool) -> Answer {
        let mut state = self.state.lock();
        state.attempts += 1;
        let attempts = state.attempts;
        state.arrivals(attempts);
        for (_, key) in state.rivals.clone().into_iter().filter(|(at, _)| *at == attempts) {
            let put = Transaction::new(vec![Operation::put(key, "rival", Expect::Any)]);
            state.carry_out(&put).unwrap();
        }
        let guarded = guarded(transaction, guards);
        match state.faults.pop_front().unwrap_or(Fault::None) {
            Fault::NotSent => return Answer::NotDone("not sent".into()),
            Fault::RequestLost => return Answer::Lost("request lost".into()),
            Fault::Late => {
                state.late.push_back((attempts + 2, guarded));
                return Answer::Lost("late".into());
            }
            Fault::AnswerLost => {
                let _ = state.carry_out(&guarded);
                return Answer::Lost("answer lost".into());
            }
            Fault::None => {}
        }
        match state.carry_out(&guarded) {
            Ok(version) => Answer::Done(version),
            Err(Error::Conflict { .. }) => {
                let seen = transaction.operations.iter().map(|operation| {
                    let record = Readable::get(&state.records, operation.key()).unwrap()?;
                    Some(Seen { version: record.version, token: with_tokens.then_some(record.token) })
                });
                Answer::Differs { at: state.keyspace.revision(), seen: seen.collect() }
            }
            Err(error) => Answer::Refused(error),
        }
    }

    async fn versions(&self, transaction: &Transaction) -> Result<Vec<Option<Version>>, Error> {
        let state = self.state.lock();
        let versions = transaction
            .operations
            .iter()
            .map(|operation| Ok(Readable::get(&state.records, operation.key())?.map(|record| record.version)));
        versions.collect()
    }
}

impl Faulty {
    fn new(faults: &[Fault]) -> Self {
        let store = Self::default();
        store.state.lock().faults = faults.iter().copied().collect();
        store
    }

    fn put(&self, key: &str) -> Version {
        let put = Transaction::new(vec![Operation::put(key, "old", Expect::Any)]);
        self.state.lock().carry_out(&put).unwrap()
    }

    async fn settle(&self, transaction: &Transaction) -> Result<Version, Error> {
        settle(self, transaction, Instant::now() + DEADLINE).await
    }

    /// How often it was carried out, once all that was late has arrived.
    fn done(&self, transaction: &Transaction) -> usize {
        let mut state = self.state.lock();
        state.arrivals(usize::MAX);
        state.done.iter().filter(|token| **token == transaction.token).count()
    }
}

fn put(key: &str, expect: Expect) -> Transaction {
    Transaction::new(vec![Operation::put(key, "new", expect)])
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_lost_its_answer_is_recognised() {
    for old in [true, false] {
        let store = Faulty::new(&[Fault::AnswerLost]);
        let expect = if old { Expect::Version(store.put("a")) } else { Expect::Absent };
        let transaction = put("a", expect);
        let version = store.settle(&transaction).await.unwrap();
        assert_eq!(store.done(&transaction), 1);
        assert_eq!(store.state.lock().records[&Key::from("a")].version, version);
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_was_lost_is_repeated() {
    let store = Faulty::new(&[Fault::RequestLost, Fault::RequestLost, Fault::NotSent]);
    let transaction = put("a", Expect::Version(store.put("a")));
    store.settle(&transaction).await.unwrap();
    assert_eq!(store.done(&transaction), 1);
    assert_eq!(store.state.lock().attempts, 4);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_arrives_late_happens_once() {
    for repetition in [Fault::None, Fault::RequestLost] {
        let store = Faulty::new(&[Fault::Late, repetition]);
        let transaction = put("a", Expect::Version(store.put("a")));
        store.settle(&transaction).await.unwrap();
        assert_eq!(store.done(&transaction), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_write_that_expected_nothing_does_not_undo_what_came_after() {
    let store = Faulty::new(&[Fault::Late]);
    store.put("a");
    let transaction = put("a", Expect::Any);
    store.settle(&transaction).await.unwrap();
    let after = store.put("a");
    assert_eq!(store.done(&transaction), 1);
    assert_eq!(store.state.lock().records[&Key::from("a")].version, after);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_expects_nothing_never_conflicts() {
    let store = Faulty::new(&[]);
    store.state.lock().rivals = vec![(1, "a"), (2, "a")];
    let transaction = put("a", Expect::Any);
    store.settle(&transaction).await.unwrap();
    assert_eq!(store.done(&transaction), 1);
}

#[tokio::test(start_paused = true)]
async fn work_of_others_over_a_lost_commit_leaves_its_outcome_unknown() {
    for lost in [Fault::AnswerLost, Fault::RequestLost] {
        let store = Faulty::new(&[lost]);
        let transaction = put("a", Expect::Version(store.put("a")));
        store.state.lock().rivals = vec![(2, "a")];
        assert_eq!(store.settle(&transaction).await, Err(Error::OutcomeUnknown));
    }
}

#[tokio::test(start_paused = true)]
async fn one_record_with_our_token_is_enough() {
    let store = Faulty::new(&[Fault::AnswerLost]);
    let operations = ["a", "b"].map(|key| Operation::put(key, "new", Expect::Absent)).to_vec();
    let transaction = Transaction::new(operations);
    store.state.lock().rivals = vec![(2, "a")];
    store.settle(&transaction).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lost_commit_that_can_never_happen_is_a_conflict() {
    let store = Faulty::new(&[Fault::RequestLost]);
    let operations = ["a", "b"].map(|key| Operation::put(key, "new", Expect::Version(store.put(key)))).to_vec();
    let transaction = Transaction::new(operations);
    store.state.lock().rivals = vec![(2, "a")];
    assert_eq!(store.settle(&transaction).await, Err(Error::Conflict { key: "a".into() }));
    assert_eq!(store.done(&transaction), 0);
}

/// Goal: a record that was in the way may go again, and then a late attempt still goes through. Nobody may call that a conflict.
#[tokio::test(start_paused = true)]
async fn a_lost_commit_that_may_yet_happen_is_no_conflict() {
    let store = Faulty::new(&[Fault::Late]);
    let operations =
        vec![Operation::put("a", "new", Expect::Version(store.put("a"))), Operation::check("b", Expect::Absent)];
    let transaction = Transaction::new(operations);
    store.state.lock().rivals = vec![(2, "b")];
    assert_eq!(store.settle(&transaction).await, Err(Error::OutcomeUnknown));
    let gone = Transaction::new(vec![Operation::delete("b", Expect::Any)]);
    store.state.lock().carry_out(&gone).unwrap();
    assert_eq!(store.done(&transaction), 1, "it was only late");
}

#[tokio::test(start_paused = true)]
async fn deletes_that_are_done_count_as_done() {
    let store = Faulty::new(&[Fault::AnswerLost]);
    let transaction = Transaction::new(vec![Operation::delete("a", Expect::Version(store.put("a")))]);
    store.settle(&transaction).await.unwrap();
    assert_eq!(store.done(&transaction), 1);
}

#[tokio::test(start_paused = true)]
async fn checks_write_nothing_so_losing_their_answer_leaves_no_doubt() {
    let store = Faulty::new(&[Fault::AnswerLost]);
    let transaction = Transaction::new(vec![Operation::check("a", Expect::Version(store.put("a")))]);
    store.state.lock().rivals = vec![(2, "a")];
    assert_eq!(store.settle(&transaction).await, Err(Error::Conflict { key: "a".into() }));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stays_away_is_unavailable_or_leaves_the_outcome_unknown() {
    for (fault, known) in [(Fault::NotSent, true), (Fault::RequestLost, false)] {
        let store = Faulty::new(&[fault; 1000]);
        let start = Instant::now();
        let error = store.settle(&put("a", Expect::Absent)).await.unwrap_err();
        assert!(start.elapsed() <= DEADLINE);
        assert_eq!(matches!(error, Error::Unavailable { .. }), known, "{error:?}");
        assert_eq!(error == Error::OutcomeUnknown, !known, "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_a_lost_attempt_does_not_say_that_nothing_happened() {
    let late = Operation::put_leased("a", "new", Expect::Absent, crate::LeaseId(7));
    let transaction = Transaction::new(vec![late]);
    let store = Faulty::new(&[Fault::RequestLost]);
    assert_eq!(store.settle(&transaction).await, Err(Error::OutcomeUnknown));
    let store = Faulty::new(&[]);
    assert!(matches!(store.settle(&transaction).await, Err(Error::Refused { .. })));
}

fn a_fault() -> impl Strategy<Value = Fault> {
    prop::sample::select(vec![Fault::None, Fault::AnswerLost, Fault::RequestLost, Fault::Late, Fault::NotSent])
}

fn an_operation(key: &'static str) -> impl Strategy<Value = (u8, bool, &'static str)> {
    (0..3_u8, any::<bool>(), Just(key))
}

proptest! {
    /// Goal: whatever is lost, late, or written by others, an answer is true, and stays true when all has arrived.
    #[test]
    fn an_answer_is_true(
        faults in prop::collection::vec(a_fault(), 0..6),
        rivals in prop::collection::vec((1..6_usize, prop::sample::select(vec!["a", "b", "c"])), 0..3),
        operations in (an_operation("a"), an_operation("b"), an_operation("c")),
        there in prop::collection::vec(any::<bool>(), 3),
    ) {
        let store = Faulty::new(&faults);
        let operations = [operations.0, operations.1, operations.2].into_iter().zip(there).map(|((kind, pins, key), there)| {
            let version = there.then(|| store.put(key));
            let expect = if pins { version.map_or(Expect::Absent, Expect::Version) } else { Expect::Any };
            match kind {
                0 => Operation::put(key, "new", expect),
                1 => Operation::delete(key, expect),
                _ => Operation::check(key, expect),
            }
        });
        let transaction = Transaction::new(operations.collect());
        let puts = transaction.operations.iter().any(|operation| matches!(operation, Operation::Put { .. }));
        store.state.lock().rivals = rivals;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let outcome = runtime.unwrap().block_on(store.settle(&transaction));
        let done = store.done(&transaction);
        prop_assert!(done <= 1, "carried out {} times", done);
        match outcome {
            Ok(_) => prop_assert!(!puts || done == 1, "answered Ok, carried out {} times", done),
            Err(Error::Conflict { .. } | Error::Unavailable { .. }) => prop_assert_eq!(done, 0),
            Err(Error::OutcomeUnknown) => {}
            Err(error) => prop_assert!(false, "{error:?}"),
        }
    }
}
