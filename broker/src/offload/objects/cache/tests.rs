use std::time::Duration;

use bytes::Bytes;
use proto::EntryId;

use super::*;
use crate::offload::format::{Content, Header, ObjectBuilder, Tail};
use crate::offload::rig::{LEDGER, attempt};

const MIB: usize = 1 << 20;

fn object(number: u32) -> ObjectKey {
    object_in(0, number)
}

fn object_in(store: u32, number: u32) -> ObjectKey {
    ObjectKey { store, ledger: LEDGER, attempt: AttemptId(1), number }
}

fn key(number: u32, block: u32) -> BlockKey {
    BlockKey { object: object(number), block }
}

/// A block of one entry that weighs a mebibyte.
fn block() -> Arc<Block> {
    let header = Header {
        attempt: attempt(1),
        number: 0,
        first: EntryId(0),
        ledger_end: EntryId(1),
        length_before: 0,
        content: Content::Entries,
    };
    let (mut builder, head) = ObjectBuilder::new(header);
    assert!(builder.push(&vec![1; MIB - 68]).is_none());
    let (pieces, trailer) = builder.finish(true);
    let bytes: Vec<u8> = [head].into_iter().chain(pieces).flatten().collect();
    let Ok(Tail::Open(index)) = Tail::parse(&bytes, trailer.object_bytes, &attempt(1), 0) else { panic!("whole") };
    let place = index.block(0);
    let range = usize::try_from(place.bytes().start).unwrap()..usize::try_from(place.bytes().end).unwrap();
    let block = Block::parse(Bytes::copy_from_slice(&bytes[range]), &place, LEDGER, AttemptId(1)).unwrap();
    assert_eq!(block.weight(), MIB);
    Arc::new(block)
}

fn blocks(range: std::ops::Range<u32>) -> Vec<(u32, usize)> {
    range.map(|block| (block, MIB)).collect()
}

fn error() -> ObjectError {
    ObjectError::Unavailable { object: "a".into(), reason: "b".into() }
}

#[tokio::test]
async fn room_is_taken_before_a_request_and_never_beyond_the_bound() {
    let (mut cache, now) = (BlockCache::new(16 * MIB), Instant::now());
    assert_eq!(cache.share(), 4 * MIB);
    assert_eq!(cache.reserve(object(0), &blocks(0..9), true, now).unwrap().len(), 8, "half for one object");
    assert!(cache.reserve(object(0), &blocks(8..9), true, now).is_none());
    assert!(cache.reserve(object(1), &blocks(0..5), false, now).is_none(), "all ahead or nothing");
    assert_eq!(cache.reserve(object(1), &blocks(0..4), false, now).unwrap().len(), 4);
    assert!(cache.reserve(object(2), &blocks(0..1), true, now).is_none(), "three quarters for one store");
    assert_eq!(cache.reserve(object_in(1, 0), &blocks(0..5), true, now).unwrap().len(), 4);
    assert_eq!((cache.bytes(), cache.share()), (16 * MIB, 0));
    assert!(cache.reserve(object_in(2, 0), &blocks(0..1), true, now).is_none(), "everything is coming");
    cache.failed(key(1, 0), error());
    assert_eq!(cache.reserve(object(9), &blocks(0..3), true, now).unwrap().len(), 1);
    assert_eq!(cache.bytes(), 16 * MIB);
}

#[tokio::test]
async fn whoever_waits_gets_the_block_or_the_reason() {
    let (mut cache, now) = (BlockCache::new(16 * MIB), Instant::now());
    let slots = cache.reserve(object(0), &blocks(0..2), true, now).unwrap();
    assert!(slots.iter().all(|slot| slot.borrow().is_none()));
    cache.arrived(key(0, 0), block(), now);
    cache.failed(key(0, 1), error());
    assert!(matches!(&*slots[0].borrow(), Some(Ok(_))));
    assert!(matches!(&*slots[1].borrow(), Some(Err(ObjectError::Unavailable { .. }))));
    assert!(cache.contains(key(0, 0)) && !cache.contains(key(0, 1)), "the next reader may try again");
    assert_eq!(cache.bytes(), MIB);
}

#[tokio::test(start_paused = true)]
async fn what_was_read_goes_first_and_what_was_not_is_kept_for_a_while() {
    let (mut cache, now) = (BlockCache::new(8 * MIB), Instant::now());
    for number in 0..8 {
        cache.reserve(object(number), &blocks(0..1), true, now).unwrap();
        cache.arrived(key(number, 0), block(), now);
    }
    assert!(cache.reserve(object(8), &blocks(0..1), true, now).is_none(), "nobody has read any");
    cache.consumed(key(5, 0));
    cache.consumed(key(2, 0));
    assert!(cache.reserve(object(8), &blocks(0..1), false, now).is_some());
    assert!(!cache.contains(key(5, 0)) && cache.contains(key(2, 0)), "the one that was read first");
    let later = now + Duration::from_secs(5);
    assert!(cache.reserve(object(9), &blocks(0..1), false, later).is_some(), "the other that was read");
    assert!(cache.reserve(object(10), &blocks(0..1), false, later).is_none(), "reading ahead takes nothing away");
    assert!(cache.reserve(object(10), &blocks(0..1), true, later).is_some());
    assert!(!cache.contains(key(0, 0)) && cache.contains(key(1, 0)), "the oldest that was forgotten");
    assert_eq!(cache.bytes(), 8 * MIB);
}

#[tokio::test]
async fn what_came_ahead_goes_before_what_is_wanted_but_only_for_somebody_who_waits() {
    let (mut cache, now) = (BlockCache::new(8 * MIB), Instant::now());
    for number in 0..4 {
        cache.reserve(object(number), &blocks(0..2), true, now).unwrap();
        cache.arrived(key(number, 0), block(), now);
        cache.arrived(key(number, 1), block(), now);
    }
    assert!(cache.get(key(0, 1)).is_some(), "now somebody wants it");
    assert!(cache.reserve(object(8), &blocks(0..1), false, now).is_none());
    assert_eq!(cache.reserve(object(8), &blocks(0..2), true, now).unwrap().len(), 2);
    let held: Vec<_> = (0..4).map(|number| cache.contains(key(number, 1))).collect();
    assert_eq!(held, [true, false, false, true], "the oldest that nobody wanted");
    assert!((0..4).all(|number| cache.contains(key(number, 0))));
    assert_eq!(cache.bytes(), 8 * MIB);
}

#[tokio::test]
async fn ranges_shrink_when_much_is_coming_or_waits_to_be_read() {
    let (mut cache, now) = (BlockCache::new(64 * MIB), Instant::now());
    let mut shares = Vec::new();
    for number in 0..12 {
        let share = cache.share();
        shares.push(share / MIB);
        let wanted = u32::try_from((share / MIB).clamp(1, 16)).unwrap();
        cache.reserve(object_in(number, 0), &blocks(0..wanted), true, now);
        assert!(cache.bytes() <= 64 * MIB);
    }
    assert!(shares.is_sorted_by(|one, next| one >= next), "{shares:?}");
    assert_eq!((shares[0], shares[2], shares[3], shares[11]), (16, 16, 8, 0));
}

#[tokio::test]
async fn a_block_larger_than_the_cache_comes_alone_and_is_not_kept() {
    let (mut cache, now) = (BlockCache::new(MIB / 2), Instant::now());
    let slots = cache.reserve(object(0), &blocks(0..2), true, now).unwrap();
    assert_eq!(slots.len(), 1);
    assert!(cache.reserve(object(1), &blocks(0..1), true, now).is_none());
    cache.arrived(key(0, 0), block(), now);
    assert!(matches!(&*slots[0].borrow(), Some(Ok(_))));
    assert_eq!(cache.bytes(), 0);
}
