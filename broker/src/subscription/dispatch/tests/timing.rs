//! Entries that wait for their time.
use super::*;
use crate::cursor::Run;
use crate::policies::DelayTerms;

fn run(due: u64, position: Position) -> Run {
    Run::pack([(due, position)].into_iter()).expect("it holds one")
}

#[test]
fn only_what_an_entry_says_itself_lets_it_go() {
    for kind in [SubType::Shared, SubType::KeyShared] {
        let mut bench = Bench::new(kind);
        let [early, late] = [100_000, 200_000].map(|due| bench.publish_delayed(due, "k"));
        bench.dispatch.know(vec![run(10, early), run(900_000, late)]);
        bench.attach(1, 0);
        bench.flow(1, 10);
        bench.at(99_000);
        assert_eq!(bench.drain(), [], "it was said to be due");
        assert_eq!((bench.dispatch.delayed(), bench.dispatch.next_due()), (2, Some(100_000)));
        bench.at(100_000);
        assert_eq!(positions(&bench.drain()), [early]);
        bench.at(900_000);
        assert_eq!(positions(&bench.drain()), [late]);
    }
}

#[test]
fn what_is_known_to_wait_is_not_read_before_its_time() {
    let mut bench = Bench::new(SubType::Shared);
    let waiting = bench.publish_delayed(100_000, "k");
    bench.dispatch.know(vec![run(100_000, waiting)]);
    bench.attach(1, 0); // As often as its kind changes, runs are looked at again.
    bench.flow(1, 10);
    assert_eq!(bench.dispatch.next(), None);
    assert_eq!(bench.dispatch.wanted(bench.chain.end()), None);
    let now = bench.publish(None);
    let read = |bench: &Bench| bench.dispatch.wanted(bench.chain.end()).map(|fetch| fetch.from);
    assert_eq!(read(&bench), Some(now));
    assert_eq!(positions(&bench.drain()), [now]);
    assert_eq!(bench.dispatch.next_due(), Some(98_000), "with others for a second,");
    bench.at(98_000);
    assert_eq!((bench.dispatch.next(), read(&bench), bench.dispatch.next_due()), (None, None, Some(99_000)));
    bench.at(99_000);
    assert_eq!((bench.dispatch.next(), read(&bench)), (None, Some(waiting)));
    assert_eq!((bench.drain(), bench.dispatch.next_due()), (Vec::new(), Some(100_000)));
    bench.at(100_000);
    assert_eq!(bench.dispatch.next().map(|delivery| delivery.position), Some(waiting), "without another read");
}

/// Goal: whatever the order of times, a log is not read at random.
/// Method: four seconds full of entries in any order; how often reading goes back.
#[test]
fn what_is_due_soon_is_read_in_sweeps() {
    let mut bench = Bench::new(SubType::Shared);
    let count = 4000;
    for number in 0..count {
        bench.publish_delayed(10_000 + number * 2741 % count, "k");
    }
    bench.attach(1, 0);
    bench.flow(1, 10_000);
    bench.drain();
    let (mut delivered, mut turns, mut last) = (0, 0, Position::new(0, 0));
    for now in (0..15_000).step_by(10) {
        bench.at(now);
        loop {
            while let Some(delivery) = bench.dispatch.next() {
                let due = bench.dues[&delivery.position];
                assert!((now - 10..=now).contains(&due), "{due} at {now}");
                delivered += 1;
            }
            let Some(fetch) = bench.dispatch.wanted(bench.chain.end()) else { break };
            let found = bench.entries.range(fetch.from..).take(fetch.entries_max);
            let found = found.map(|(at, bytes)| StoredEntry { position: *at, bytes: bytes.clone() }).collect();
            bench.dispatch.supply(&fetch, found, &bench.chain);
            turns += u32::from(fetch.from < last);
            last = fetch.from;
        }
    }
    assert_eq!(delivered, count);
    assert!(turns < 10, "{turns} times");
}

/// N24 (P#26230). Goal: a message that becomes due while it is read comes once, whenever its consumers leave and come back meanwhile.
/// Method: they do so before the read, while it is under way, once the time has come, and when it has ended.
#[test]
fn n24_a_message_that_is_due_while_it_is_read_and_its_consumers_come_and_go_comes_once() {
    for (kind, moment) in
        [SubType::Shared, SubType::KeyShared].into_iter().flat_map(|kind| (0..4).map(move |at| (kind, at)))
    {
        let mut bench = Bench::new(kind);
        let waiting = bench.publish_delayed(100_000, "k");
        bench.attach(1, 0);
        bench.flow(1, 10);
        assert_eq!(bench.drain(), []);
        let come_and_go = |bench: &mut Bench, now: u32| {
            if now == moment {
                bench.detach(1);
                bench.attach(2, 0);
                bench.flow(2, 10);
            }
        };
        bench.at(99_500);
        assert_eq!(bench.dispatch.next(), None);
        come_and_go(&mut bench, 0);
        let fetch = bench.dispatch.wanted(bench.chain.end()).expect("it is due soon");
        come_and_go(&mut bench, 1);
        bench.at(100_000);
        come_and_go(&mut bench, 2);
        let entry = StoredEntry { position: waiting, bytes: bench.entries[&waiting].clone() };
        bench.dispatch.supply(&fetch, vec![entry], &bench.chain);
        come_and_go(&mut bench, 3);
        assert_eq!(positions(&bench.drain()), [waiting], "{kind:?} {moment}");
        assert_eq!(bench.drain(), []);
    }
}

#[test]
fn times_are_gathered_as_long_as_policies_say() {
    let mut bench = Bench::new(SubType::Shared);
    bench.publish_delayed(101, "k");
    bench.attach(1, 0);
    bench.flow(1, 10);
    bench.drain();
    for (tick_ms, due) in [(0, 101), (1, 101), (50, 150), (101, 101)] {
        bench.dispatch.heed(&Terms { delays: DelayTerms { tick_ms, ..Default::default() }, ..Default::default() });
        assert_eq!(bench.dispatch.next_due(), Some(due), "{tick_ms}");
    }
}

#[test]
fn runs_that_are_far_away_are_told_once_to_be_written_down() {
    let mut bench = Bench::new(SubType::Shared);
    for due in [3000, 10_000] {
        bench.publish_delayed(due, "k");
    }
    bench.attach(1, 0);
    bench.flow(1, 10);
    bench.drain();
    bench.dispatch.pack_delays(3);
    assert_eq!(bench.dispatch.take_runs(100), [], "there are too few");
    bench.dispatch.pack_delays(2);
    assert_eq!(bench.dispatch.take_runs(5000), [run(10_000, Position::new(1, 1))]);
    assert_eq!(bench.dispatch.take_runs(0), []);
}
