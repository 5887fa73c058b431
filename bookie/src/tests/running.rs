//! Tests of the threads, on a real directory.
use tokio::sync::mpsc::Receiver;

use super::*;
use crate::{Bookie, Directory};

fn running(directory: &std::path::Path) -> Bookie {
    let disk: Arc<dyn Disk> = Arc::new(Directory::create(directory).unwrap());
    if Identity::claim(disk.as_ref()).unwrap().is_none() {
        identity().store(disk.as_ref()).unwrap();
    }
    Bookie::open(disk, &identity(), Options { segment_bytes: 4 << 20, ..options() }).unwrap()
}

async fn answers(receiver: &mut Receiver<Vec<Answer>>, count: u32) -> Vec<Answer> {
    let mut all = Vec::new();
    while all.iter().map(|answer: &Answer| answer.run).sum::<u32>() < count {
        all.extend(receiver.recv().await.expect("the session goes on"));
    }
    all
}

#[tokio::test]
async fn a_session_in_process_adds_and_reads_and_a_restart_finds_all() {
    let directory = tempfile::tempdir().unwrap();
    let bookie = running(directory.path());
    let (session, mut receiver) = bookie.handle().connect();
    assert!(session.send((0..5000).map(|n| add(n, 7, n, 1000)).collect()));
    let added = answers(&mut receiver, 5000).await;
    assert!(added.iter().all(|answer| answer.status() == Status::Ok));
    assert!(added.len() < 100, "runs are answered as one: {}", added.len());
    assert!(session.send(vec![read(5000, 7, 4990, 5000), held(5001, 7)]));
    let mut read_back = answers(&mut receiver, 2).await;
    read_back.sort_by_key(|answer| answer.id);
    assert_eq!(read_back[0].entries.len(), 10);
    assert_eq!(read_back[1].holding.unwrap().entries, 5000);
    drop(session);
    assert_eq!(receiver.recv().await, None, "a session that was let go ends");
    tokio::task::spawn_blocking(move || bookie.stop()).await.unwrap();

    let bookie = running(directory.path());
    let (session, mut receiver) = bookie.handle().connect();
    for first in (0..5000).step_by(500) {
        assert!(session.send(vec![read(first, 7, first, first + 500)]));
        let found = answers(&mut receiver, 1).await.remove(0);
        assert_eq!(found.entries.len(), 500);
        assert_eq!(found.entries[499].payload, payload(7, first + 499, 1000));
    }
    drop(bookie);
    assert_eq!(receiver.recv().await, None, "a bookie that stops ends its sessions");
    assert!(!session.send(vec![read(1, 7, 0, 1)]));
}

#[tokio::test]
async fn a_bookie_that_was_not_stopped_starts_again() {
    let directory = tempfile::tempdir().unwrap();
    for life in 0..4 {
        let bookie = running(directory.path());
        let (session, mut receiver) = bookie.handle().connect();
        session.send((0..50).map(|n| add(n, 1, life * 50 + n, 10_000)).collect());
        assert!(answers(&mut receiver, 50).await.iter().all(|answer| answer.status() == Status::Ok));
        session.send(vec![held(99, 1)]);
        assert_eq!(answers(&mut receiver, 1).await[0].holding.unwrap().entries, (life + 1) * 50);
        drop(bookie); // Without sealing.
    }
}

#[tokio::test]
async fn adds_beyond_the_queue_are_busy_and_in_their_turn() {
    let directory = tempfile::tempdir().unwrap();
    let bookie = running(directory.path());
    let (session, mut receiver) = bookie.handle().connect();
    let room = bookie.handle().shared.room.clone();
    let taken = room.clone().try_acquire_many_owned(crate::handle::QUEUE_BYTES_MAX as u32).unwrap();
    session.send(vec![add(0, 1, 0, 100), add(1, 1, 1, 100), fence(2, 1)]);
    let refused = answers(&mut receiver, 3).await;
    assert_eq!((refused[0].status(), refused[0].run), (Status::Busy, 2));
    assert_eq!(refused[1].status(), Status::Ok, "what carries no payload needs no room");
    drop(taken);
    session.send(vec![recovery_add(3, 1, 0, 100)]);
    assert_eq!(answers(&mut receiver, 1).await[0].status(), Status::Ok);
    while room.available_permits() < crate::handle::QUEUE_BYTES_MAX {
        tokio::task::yield_now().await; // Room comes back right after the answer.
    }
}

#[tokio::test]
async fn a_failed_disk_ends_every_session_and_says_so() {
    let disk = SimDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    Identity::claim(shared.as_ref()).unwrap();
    identity().store(shared.as_ref()).unwrap();
    let bookie = Bookie::open(shared, &identity(), options()).unwrap();
    let (session, mut receiver) = bookie.handle().connect();
    disk.fail_after(0);
    session.send(vec![add(0, 1, 0, 100)]);
    assert_eq!(receiver.recv().await, None, "nothing is answered after a failure");
    let error = bookie.handle().failed().await;
    assert!(error.to_string().contains("segment-"), "{error}");
    let (session, mut receiver) = bookie.handle().connect();
    assert!(!session.send(vec![add(0, 1, 0, 100)]));
    assert_eq!(receiver.recv().await, None);
}

/// Goal: threads that read while segments are dropped, rewritten and used again get every entry that is held.
/// Method: most ledgers are deleted, so that a pass begins at once; one is read over and over until it is done.
#[tokio::test]
async fn readers_and_writers_go_on_while_space_is_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let bookie = running(directory.path());
    let (session, mut receiver) = bookie.handle().connect();
    for round in 0..40 {
        session.send((0..400).map(|n| add(n, 1 + n % 10, round * 40 + n / 10, 1000)).collect());
        answers(&mut receiver, 400).await;
    }
    session.send((1..=8).map(|ledger| delete(ledger, ledger)).collect());
    answers(&mut receiver, 8).await;
    let segments = bookie.handle().shared.segments.clone();
    let done = || 0 < segments.traffic.rewritten.get();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let (mut next, mut reads_left) = (1600, 50);
    while 0 < reads_left {
        assert!(std::time::Instant::now() < deadline, "nothing was rewritten");
        reads_left -= u32::from(done());
        for first in (0..1600).step_by(400) {
            session.send(vec![read(1, 9, first, first + 400), read(2, 10, first, first + 400), add(3, 9, next, 100)]);
            next += 1;
            for answer in answers(&mut receiver, 3).await {
                assert_eq!(answer.status(), Status::Ok, "{answer:?}");
                assert!(answer.entries.is_empty() || answer.entries.len() == 400);
                let expected = |entry: u64| payload(answer.ledger, entry, 1000);
                assert!(answer.entries.iter().all(|entry| entry.payload == expected(entry.entry)));
            }
        }
    }
    let names = std::fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().file_name());
    assert!(names.into_iter().any(|name| name.to_string_lossy().starts_with("sorted-")));
    let mut page = daemon::metrics::MetricText::new();
    bookie.handle().write_metrics(&mut page);
    let page = page.finish();
    assert!(page.lines().any(|line| line == "bookie_DELETED_LEDGER_TOTAL 8"), "{page}");
    assert!(page.lines().any(|line| line == "bookie_MAJOR_COMPACTION_TOTAL 0"), "{page}");
    assert!(page.lines().any(|line| line.starts_with("bookie_spare_segments ") && !line.ends_with(" 0")), "{page}");
    drop((session, segments)); // The directory's lock goes with its last holder.
    tokio::task::spawn_blocking(move || bookie.stop()).await.unwrap();
    let bookie = running(directory.path());
    let (session, mut receiver) = bookie.handle().connect();
    session.send(vec![read(1, 9, 0, 400), read(2, 1, 0, 1)]);
    let mut found = answers(&mut receiver, 2).await;
    found.sort_by_key(|answer| answer.id);
    assert_eq!((found[0].entries.len(), found[1].status()), (400, Status::Deleted));
}
