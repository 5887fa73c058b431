use std::collections::BTreeSet;

use proptest::prelude::*;

use super::Ranges;

/// What one listing asks of etcd.
#[derive(Debug, Default)]
struct Asked {
    found: Vec<String>,
    pages: usize,
    requests: usize,
    /// Keys that etcd counts, but for the first page.
    counted: usize,
    /// Pages for which it counts more than a tenth of all.
    slow: usize,
}

/// Lists all below `prefix`, as [`list`](super::list) does it.
fn walk(keys: &BTreeSet<String>, prefix: &str, limit: usize) -> Asked {
    let (mut asked, mut after) = (Asked::default(), None::<String>);
    let keys: BTreeSet<&[u8]> = keys.iter().map(String::as_bytes).collect();
    loop {
        let mut page = Vec::new();
        let mut counted = 0;
        let mut ranges = Ranges::new(prefix, after.as_deref()).expect("a key below the prefix is not behind it");
        let more = loop {
            let (start, end) = (ranges.start(), ranges.end());
            let range = keys.range(start.as_slice()..end.as_slice());
            asked.requests += 1;
            counted += range.clone().count();
            page.extend(range.take(limit + 1 - page.len()).map(|key| String::from_utf8_lossy(key).into_owned()));
            if limit < page.len() {
                break true;
            }
            if !ranges.widen() {
                break false;
            }
        };
        if after.is_some() {
            asked.counted += counted;
            asked.slow += usize::from(keys.len() / 10 < counted);
        }
        page.truncate(limit);
        asked.pages += 1;
        after = page.last().cloned();
        asked.found.extend(page);
        if !more {
            return asked;
        }
    }
}

proptest! {
    #[test]
    fn ranges_join_without_gap_or_overlap(
        keys in proptest::collection::btree_set("[a-c\u{0}\u{e4}\u{1f600}/]{0,6}", 0..60),
        prefix in "[a-c/]{1,2}",
        limit in 1_usize..8,
    ) {
        let below: Vec<String> = keys.iter().filter(|key| key.starts_with(&prefix)).cloned().collect();
        prop_assert_eq!(walk(&keys, &prefix, limit).found, below);
    }
}

#[test]
fn nothing_lies_behind_what_is_behind_the_prefix() {
    assert!(Ranges::new("n/", Some("o")).is_none());
    assert!(Ranges::new("n/", Some("n0")).is_none());
    let ranges = Ranges::new("n/", Some("m")).expect("all of it");
    assert_eq!((ranges.start(), ranges.end()), (b"n/".to_vec(), b"n0".to_vec()));
}

#[test]
fn etcd_counts_little_for_a_page_whatever_lies_behind_it() {
    let ledgers: BTreeSet<String> = (0..100_000).map(|ledger| format!("ledgers/{ledger:020}")).collect();
    let asked = walk(&ledgers, "ledgers/", 200);
    assert_eq!((asked.found.len(), asked.pages), (100_000, 500));
    // Asked for all that is left, it counts half of all on the average, and more than a tenth for 450 pages.
    assert!(asked.counted < 5_000 * asked.pages, "{} keys for {} pages", asked.counted, asked.pages);
    assert!(asked.slow < 25, "{} pages of {}", asked.slow, asked.pages);
    assert!(asked.requests < 4 * asked.pages, "{} requests for {} pages", asked.requests, asked.pages);
}

#[test]
fn names_that_differ_early_take_no_request_for_each_byte() {
    let tail = "of-a-name-that-is-long".repeat(8);
    let topics: BTreeSet<String> = (0..2_000).map(|number| format!("topics/a/b/{number:06}-{tail}")).collect();
    let asked = walk(&topics, "topics/", 200);
    assert_eq!(asked.found.len(), topics.len());
    assert!(asked.requests < 30 * asked.pages, "{} requests for {} pages", asked.requests, asked.pages);
}
