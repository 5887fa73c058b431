use super::*;

const HOUR: u64 = 3600 * 1000;

fn stamp(producer: &str, first: u64, last: u64) -> Stamp {
    Stamp { producer: producer.into(), first, last, part: Part::Whole }
}

fn chunk(id: i32, sequence_id: u64) -> Stamp {
    let (chunk_id, num_chunks_from_msg) = (Some(id), Some(3));
    EntryHead { producer_name: "p".into(), sequence_id, chunk_id, num_chunks_from_msg, ..Default::default() }.into()
}

fn at(entry: u64) -> Position {
    Position::new(1, entry)
}

fn store(all: &mut Sequences, stamp: &Stamp, now_ms: u64) {
    let Verdict::New(seen) = all.judge(stamp, now_ms) else { panic!("{stamp:?} is new") };
    if let Some(seen) = seen {
        all.stored(seen, now_ms);
    }
    let next = Position { entry: all.end.entry.next(), ..all.end };
    all.passed(1, 100, next);
}

#[test]
fn what_was_taken_is_not_taken_again() {
    let mut all = Sequences::new(at(0));
    store(&mut all, &stamp("p", 3, 3), 0);
    store(&mut all, &stamp("p", 4, 9), 0);
    for (first, last, verdict) in [(3, 3, Verdict::Duplicate), (4, 9, Verdict::Duplicate), (8, 12, Verdict::Overlaps)] {
        assert_eq!(all.judge(&stamp("p", first, last), 0), verdict);
    }
    assert!(matches!(all.judge(&stamp("q", 3, 3), 0), Verdict::New(Some(_))), "another producer has its own numbers");
    assert!(matches!(all.judge(&stamp("p", 10, 10), 0), Verdict::New(Some(_))));
}

#[test]
fn what_is_in_flight_is_not_told_and_not_written_down() {
    let mut all = Sequences::new(at(0));
    store(&mut all, &stamp("p", 1, 1), 0);
    let Verdict::New(Some(seen)) = all.judge(&stamp("p", 2, 2), 0) else { panic!("it is new") };
    assert_eq!((all.last("p"), all.is_settled("p")), (Some(1), false));
    let (end, written) = all.snapshot(0, |_| true);
    assert_eq!((end, written["p"].as_str()), (at(1), "1 0"));
    let mut again = Sequences::restored(end, &written);
    assert!(matches!(again.judge(&stamp("p", 2, 2), 0), Verdict::New(_)), "its append failed: it was never seen");
    all.stored(seen, 0);
    assert_eq!((all.last("p"), all.is_settled("p")), (Some(2), true));
}

#[test]
fn a_message_in_chunks_is_there_with_its_last() {
    let mut all = Sequences::new(at(0));
    for id in [0, 1, 0, 1] {
        store(&mut all, &chunk(id, 7), 0); // Begun anew after a reconnect: nobody has the message yet.
    }
    assert_eq!(all.last("p"), None);
    store(&mut all, &chunk(2, 7), 0);
    for id in 0..3 {
        assert_eq!(all.judge(&chunk(id, 7), 0), Verdict::Duplicate);
    }
    assert!(matches!(all.judge(&chunk(0, 8), 0), Verdict::New(None)));
}

#[test]
fn markers_are_of_no_producer() {
    let mut all = Sequences::new(at(0));
    let marker = Stamp::from(EntryHead { producer_name: "p".into(), marker_type: Some(1), ..Default::default() });
    store(&mut all, &marker, 0);
    store(&mut all, &marker, 0);
    assert_eq!(all.last("p"), None);
}

#[test]
fn who_is_away_for_six_hours_is_forgotten_and_who_is_here_is_not() {
    let mut all = Sequences::new(at(0));
    store(&mut all, &stamp("away", 1, 1), 0);
    store(&mut all, &stamp("here", 1, 1), 0);
    store(&mut all, &stamp("lately", 1, 1), HOUR);
    assert_eq!(all.snapshot(6 * HOUR, |name| name == "here").1.len(), 3);
    let (_, written) = all.snapshot(6 * HOUR + 1, |name| name == "here");
    let mut names: Vec<_> = written.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["here", "lately"]);
}

#[test]
fn too_many_names_push_out_the_one_that_was_silent_longest() {
    let mut all = Sequences::new(at(0));
    for number in 0..NAMES_MAX {
        store(&mut all, &stamp(&number.to_string(), 1, 1), number as u64);
    }
    let Verdict::New(Some(_)) = all.judge(&stamp("0", 2, 2), 0) else { panic!("it is new") };
    store(&mut all, &stamp("one more", 1, 1), HOUR);
    assert_eq!((all.last("0"), all.last("1"), all.last("2")), (Some(1), None, Some(1)), "what is in flight stays");
    let (_, written) = all.snapshot(0, |_| true);
    assert_eq!(written.len(), NAMES_MAX);
}

proptest::proptest! {
    /// A snapshot anywhere, and the entries since, lead to what all entries lead to.
    #[test]
    fn a_snapshot_and_what_came_since_say_what_all_says(
        sent in proptest::collection::vec((0..3u8, 0..40u64, 0..4u64), 1..60),
        cut in 0..60usize,
    ) {
        let mut live = Sequences::new(at(0));
        let mut log = Vec::new();
        let mut kept = (at(0), HashMap::new());
        for (index, (producer, first, more)) in sent.into_iter().enumerate() {
            if index == cut {
                kept = live.snapshot(0, |_| true);
            }
            let stamp = stamp(&producer.to_string(), first, first + more);
            if let Verdict::New(Some(seen)) = live.judge(&stamp, 0) {
                live.stored(seen, 0);
                log.push(stamp);
                live.passed(1, 1, at(log.len() as u64));
            }
        }
        let mut again = Sequences::restored(kept.0, &kept.1);
        let from = usize::try_from(kept.0.entry.0).unwrap();
        for (index, stamp) in log.iter().enumerate().skip(from) {
            again.replayed(stamp, 1, at(index as u64 + 1), 0);
        }
        for producer in ["0", "1", "2"] {
            proptest::prop_assert_eq!(again.last(producer), live.last(producer));
        }
    }
}
