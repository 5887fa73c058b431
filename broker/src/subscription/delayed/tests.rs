use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn at(entry: u64) -> Position {
    Position::new(1 + entry / 100, entry % 100)
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u64, Due),
    Remove(u64),
    RemoveBelow(u64),
    PopDue(Due),
    Pack,
    /// Everything but the runs is forgotten, and told again.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..300_u64, 0..1000_u64).prop_map(|(entry, due)| Step::Insert(entry, due)),
        2 => (0..300_u64).prop_map(Step::Remove),
        1 => (0..300_u64).prop_map(Step::RemoveBelow),
        3 => (0..1000_u64).prop_map(Step::PopDue),
        2 => Just(Step::Pack),
        1 => Just(Step::Restart),
    ]
}

/// What is delayed, and when each is due. An entry's time never changes, whatever becomes of the entry.
#[derive(Debug, Default)]
struct Model {
    dues: BTreeMap<Position, Due>,
    delayed: BTreeMap<Position, Due>,
    runs: Vec<Run>,
    /// The highest time that was looked for.
    now: Due,
}

impl Model {
    fn take(&mut self, delayed: &mut Delayed, step: Step) {
        match step {
            Step::Insert(entry, due) => {
                let due = *self.dues.entry(at(entry)).or_insert(due);
                let run = delayed.insert(at(entry), due, self.now);
                assert_eq!(run, None, "there are too few for one");
                self.delayed.insert(at(entry), due);
            }
            Step::Remove(entry) => {
                assert_eq!(delayed.remove(at(entry)), self.delayed.remove(&at(entry)).is_some());
            }
            Step::RemoveBelow(entry) => {
                delayed.remove_below(at(entry));
                self.delayed = self.delayed.split_off(&at(entry));
            }
            Step::PopDue(now) => {
                self.now = self.now.max(now);
                let mut expected: Vec<_> = self.delayed.iter().filter(|(_, due)| **due <= now).collect();
                expected.sort_by_key(|(position, due)| (**due, **position));
                let expected: Vec<(Due, Position)> =
                    expected.into_iter().map(|(position, due)| (*due, *position)).collect();
                let found: Vec<(Due, Position)> = std::iter::from_fn(|| delayed.pop_due(now)).collect();
                assert_eq!(found, expected, "in the order of their times");
                self.delayed.retain(|_, due| now < *due);
                assert!(delayed.first_due().is_none_or(|due| now < due));
            }
            Step::Pack => {
                self.runs.extend(delayed.pack_young(self.now));
                assert_eq!(delayed.young(), 0);
            }
            Step::Restart => {
                *delayed = Delayed::default();
                let wanted = &self.delayed;
                for run in &self.runs {
                    delayed.insert_run(run, |due, position| wanted.get(&position) == Some(&due));
                }
                for (position, due) in &self.delayed {
                    delayed.insert(*position, *due, self.now);
                }
            }
        }
    }

    fn check(&self, delayed: &Delayed) {
        assert_eq!(delayed.len(), self.delayed.len() as u64);
        for entry in 0..300 {
            assert_eq!(delayed.contains(at(entry)), self.delayed.contains_key(&at(entry)));
        }
        assert_eq!(delayed.len_below(at(150)), self.delayed.range(..at(150)).count() as u64);
        let first = self.delayed.values().min();
        assert!(first.is_none_or(|first| delayed.first_due().is_some_and(|due| due <= *first)), "never too late");
        let others: RoaringTreemap = [3, 4, 7].into_iter().collect();
        let known = |entry: &u64| self.delayed.contains_key(&Position::new(1, *entry)) || others.contains(*entry);
        for from in 0..20 {
            let unknown = (from..).find(|entry| !known(entry)).unwrap();
            assert_eq!(delayed.first_unknown(Position::new(1, from), Some(&others)), Position::new(1, unknown));
        }
    }
}

proptest! {
    #[test]
    fn it_does_what_a_map_sorted_by_time_would(steps in proptest::collection::vec(step(), 0..200)) {
        let (mut delayed, mut model) = (Delayed::default(), Model::default());
        for step in steps {
            model.take(&mut delayed, step);
            model.check(&delayed);
        }
    }
}

/// Goal: a million entries take a few MiB, whatever the order of their times.
#[test]
fn a_million_take_a_few_bytes_each() {
    let (count, now) = (1_000_000, 1_800_000_000_000);
    for (order, bytes_each) in [(1, 4), (7919, 6)] {
        let mut delayed = Delayed::default();
        let mut bytes = 0;
        for number in 0..count {
            let due = now + number * order % count / 16;
            bytes += delayed.insert(Position::new(9, number), due, now).map_or(0, |run| run.bytes().len());
        }
        assert!(bytes < count as usize * bytes_each, "{bytes} bytes");
        assert_eq!(delayed.len(), count);
        let (mut before, mut popped) = (0, 0);
        while let Some(due) = delayed.first_due() {
            assert!(before <= due);
            before = due;
            assert!(delayed.pop_due(due).is_some());
            popped += 1;
        }
        assert_eq!(popped, count);
    }
}

/// Goal: few entries that wait for long do not keep what was said of many that did not.
/// Method: for each that waits a day, 99 that wait ten minutes, a hundred a second, for almost three hours.
#[test]
fn runs_go_with_what_they_tell_of() {
    let (second, minute, day) = (1000, 60_000, 86_400_000);
    let (mut delayed, mut runs) = (Delayed::default(), Vec::<Run>::new());
    for number in 0..1_000_000 {
        let now = number * 10; // A hundred a second.
        let wait = if number % 100 == 0 { day } else { 10 * minute };
        if let Some(run) = delayed.insert(Position::new(9, number), now + wait, now) {
            runs.retain(|run| run.tells(Position::new(0, 0), now));
            runs.push(run);
        }
        if now % second == 0 {
            while delayed.pop_due(now).is_some() {}
        }
    }
    let bytes: usize = runs.iter().map(|run| run.bytes().len()).sum();
    let waiting = usize::try_from(delayed.len()).unwrap();
    assert!(60_000 < waiting && bytes < 12 * waiting, "{bytes} bytes for {waiting}");
}

#[test]
fn runs_below_what_is_acknowledged_are_let_go() {
    let mut delayed = Delayed::default();
    (0..100).for_each(|entry| drop(delayed.insert(Position::new(1, entry), 1000 + entry, 0)));
    let low = delayed.pack_young(0);
    (0..100).for_each(|entry| drop(delayed.insert(Position::new(2, entry), 1000 + entry, 0)));
    let high = delayed.pack_young(0);
    assert_eq!((low.len(), high.len(), delayed.runs.len()), (2, 2, 4), "below and from 1024 ms on");
    let mark = Position::new(2, 50);
    delayed.remove_below(mark);
    delayed.forget_runs_below(mark);
    assert_eq!((delayed.runs.len(), delayed.len()), (1, 50), "the lower of the second ledger ends with entry 23");
    assert!(low.iter().all(|run| !run.tells(mark, 0)) && high.iter().any(|run| run.tells(mark, 0)));
    assert_eq!(std::iter::from_fn(|| delayed.pop_due(1099)).count(), 50);
}
