//! What a bookie tells about itself, under the names that BookKeeper's dashboards know.
//!
//! `bookie_SERVER_STATUS` (1 takes entries, 0 is read-only or has failed) · `bookie_ledger_writable_dirs` (1 or 0) ·
//! `bookie_ledger_dir_free_bytes`, `bookie_ledger_dir_total_bytes` (of the file system) · `bookie_reserve_bytes` (kept for a full disk) · `bookie_WRITE_BYTES` (bytes of synced batches), `bookie_READ_BYTES` (payload bytes) ·
//! `bookkeeper_server_ADD_ENTRY`, `bookkeeper_server_READ_ENTRY` (seconds; labels `success`, `quantile`) ·
//! `bookie_journal_JOURNAL_SYNC` (seconds; label `quantile`) ·
//! `bookie_journal_JOURNAL_QUEUE_SIZE` (submissions) · `bookie_journal_JOURNAL_QUEUE_BYTES` (bytes) ·
//! `bookie_ledgers_count`, `bookie_entries_count` · `bookie_read_cache_size` (bytes), `bookie_read_cache_hits`,
//! `bookie_read_cache_misses` (windows) · `bookie_index_bytes` (bytes in memory) ·
//! `bookie_ACTIVE_ENTRY_LOG_COUNT` (sealed segments), `bookie_ACTIVE_ENTRY_LOG_SPACE_BYTES`, `bookie_segment_live_bytes`,
//! `bookie_segment_dead_bytes` (of these) · `bookie_spare_segments`, `bookie_spare_segment_bytes` (files kept to be used again) ·
//! `bookie_DELETED_LEDGER_TOTAL` (tombstones) ·
//! `bookie_RECLAIMED_DELETION_SPACE_BYTES`, `bookie_RECLAIMED_COMPACTION_SPACE_BYTES` (freed by dropping and by rewriting) ·
//! `bookie_MAJOR_COMPACTION_TOTAL`, `bookie_MINOR_COMPACTION_TOTAL` (passes) · `bookie_segments_dropped_total`,
//! `bookie_segments_rewritten_total`, `bookie_segments_recycled_total` · `bookie_zero_ahead_bytes_total`,
//! `bookie_rewrite_read_bytes_total`, `bookie_rewrite_written_bytes_total`, `bookie_segment_upkeep_bytes_total` (headers, footers,
//! manifests) · `bookie_limbo_ledgers` (of which entries may be missing here: an alarm unless it falls). No labels but those named.
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use daemon::metrics::{Kind, MetricText};
use proto::bookie::Status;

use crate::fullness::Capacity;
use crate::handle::{Handle, QUEUE_BYTES_MAX};
use crate::index::Usage;
use crate::journal::Verdict;
use crate::reader::Reading;

/// How long something took: doubling buckets of microseconds.
#[derive(Debug, Default)]
struct Times {
    buckets: [AtomicU64; 32],
    micros: AtomicU64,
}

impl Times {
    fn note(&self, took: Duration, times: u64) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - micros.leading_zeros()).min(31) as usize;
        self.buckets[bucket].fetch_add(times, Ordering::Relaxed);
        self.micros.fetch_add(micros.saturating_mul(times), Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// The upper end of the bucket, in seconds.
    fn quantile(&self, quantile: f64) -> f64 {
        let rank = (self.count() as f64 * quantile).ceil() as u64;
        let mut below = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            below += count.load(Ordering::Relaxed);
            if rank <= below && 0 < below {
                return (1u64 << bucket) as f64 / 1e6;
            }
        }
        f64::NAN
    }
}

/// Counted where it happens, by threads that must not wait for each other.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    adds: Times,
    refused_adds: Times,
    reads: Times,
    failed_reads: Times,
    syncs: Times,
    written: AtomicU64,
    read_bytes: AtomicU64,
}

impl Counters {
    /// A step of the journal; `written` is the journal's total.
    pub(crate) fn synced(&self, took: Duration, verdicts: &[Verdict], written: u64) {
        let done = verdicts.iter().filter(|verdict| verdict.status == Status::Ok).count() as u64;
        self.adds.note(took, done);
        self.refused_adds.note(took, verdicts.len() as u64 - done);
        if self.written.swap(written, Ordering::Relaxed) != written {
            self.syncs.note(took, 1);
        }
    }

    pub(crate) fn read(&self, took: Duration, reading: &Reading) {
        let times = if reading.status == Status::Ok { &self.reads } else { &self.failed_reads };
        times.note(took, 1);
        let bytes: usize = reading.entries.iter().map(|entry| entry.payload.len()).sum();
        self.read_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

fn summary(page: &mut MetricText, name: &str, help: &str, series: &[(&[(&str, &str)], &Times)]) {
    let mut family = page.family(name, Kind::Summary, help);
    for (labels, times) in series {
        for (text, quantile) in [("0.5", 0.5), ("0.95", 0.95), ("0.99", 0.99), ("0.999", 0.999), ("1.0", 1.0)] {
            let labels: Vec<_> = labels.iter().copied().chain([("quantile", text)]).collect();
            family.sample(&labels, times.quantile(quantile));
        }
        family.suffixed("_sum", labels, times.micros.load(Ordering::Relaxed) as f64 / 1e6);
        family.suffixed("_count", labels, times.count());
    }
}

impl Handle {
    /// Writes the bookie's metrics.
    pub fn write_metrics(&self, page: &mut MetricText) {
        let shared = &self.shared;
        let (Counters { adds, refused_adds, reads, failed_reads, syncs, .. }, caches) =
            (&shared.counters, &shared.segments.caches);
        let (ledgers, entries) = shared.segments.index.read().counts();
        let Capacity { read_only, room } = self.capacity();
        let serving = self.has_failed().is_none() && !read_only;
        page.single("bookie_SERVER_STATUS", Kind::Gauge, "1 takes entries, 0 is read-only or has failed", serving);
        page.single("bookie_ledger_writable_dirs", Kind::Gauge, "0 while it is read-only", !read_only);
        page.single("bookie_ledger_dir_free_bytes", Kind::Gauge, "Bytes free in the file system", room.free);
        page.single("bookie_ledger_dir_total_bytes", Kind::Gauge, "Bytes of the file system", room.total);
        let reserve = shared.segments.reserve.length();
        page.single("bookie_reserve_bytes", Kind::Gauge, "Bytes kept for a full disk", reserve);
        let count = |value: &AtomicU64| value.load(Ordering::Relaxed);
        page.single("bookie_READ_BYTES", Kind::Counter, "Payload bytes read", count(&shared.counters.read_bytes));
        let written = count(&shared.counters.written);
        page.single("bookie_WRITE_BYTES", Kind::Counter, "Bytes of synced batches", written);
        let (good, bad): (&[_], &[_]) = (&[("success", "true")], &[("success", "false")]);
        let series: [(&[(&str, &str)], &Times); 2] = [(good, adds), (bad, refused_adds)];
        summary(page, "bookkeeper_server_ADD_ENTRY", "Adds, fences and deletes in the journal, in seconds", &series);
        let series: [(&[(&str, &str)], &Times); 2] = [(good, reads), (bad, failed_reads)];
        summary(page, "bookkeeper_server_READ_ENTRY", "Reads, in seconds", &series);
        summary(page, "bookie_journal_JOURNAL_SYNC", "Batches with their sync, in seconds", &[(&[], syncs)]);
        let queued = shared.journal.len();
        page.single("bookie_journal_JOURNAL_QUEUE_SIZE", Kind::Gauge, "Submissions that wait", queued);
        let bytes = QUEUE_BYTES_MAX - shared.room.available_permits().min(QUEUE_BYTES_MAX);
        page.single("bookie_journal_JOURNAL_QUEUE_BYTES", Kind::Gauge, "Bytes not yet synced", bytes);
        page.single("bookie_ledgers_count", Kind::Gauge, "Ledgers held", ledgers);
        page.single("bookie_entries_count", Kind::Gauge, "Entries held", entries);
        page.single("bookie_read_cache_size", Kind::Gauge, "Bytes of windows held", caches.bytes());
        page.single("bookie_read_cache_hits", Kind::Counter, "Windows found", count(&caches.hits));
        page.single("bookie_read_cache_misses", Kind::Counter, "Windows read", count(&caches.misses));
        let retained = shared.segments.index.read().retained_bytes();
        page.single("bookie_index_bytes", Kind::Gauge, "Bytes of the index in memory", retained);
        let limbo = shared.segments.index.read().limbo.len();
        let help = "Ledgers of which entries may be missing here";
        page.single("bookie_limbo_ledgers", Kind::Gauge, help, limbo);
        self.write_space_metrics(page);
    }

    /// How much is held, what was given back, and what that cost.
    fn write_space_metrics(&self, page: &mut MetricText) {
        let (usages, deleted): (Vec<Usage>, u64) = {
            let index = self.shared.segments.index.read();
            (index.usages().collect(), index.marks().deleted())
        };
        let sum = |bytes: fn(&Usage) -> u64| usages.iter().map(bytes).sum::<u64>();
        page.single("bookie_ACTIVE_ENTRY_LOG_COUNT", Kind::Gauge, "Sealed segments", usages.len());
        let bytes = sum(|usage| usage.data_end);
        page.single("bookie_ACTIVE_ENTRY_LOG_SPACE_BYTES", Kind::Gauge, "Bytes of sealed segments", bytes);
        let live = sum(|usage| usage.live_bytes);
        page.single("bookie_segment_live_bytes", Kind::Gauge, "Bytes of records in sealed segments", live);
        let dead = sum(|usage| usage.bytes - usage.live_bytes);
        page.single("bookie_segment_dead_bytes", Kind::Gauge, "Bytes of deleted ledgers in sealed segments", dead);
        let (spares, bytes) = self.shared.segments.spares.counts();
        page.single("bookie_spare_segments", Kind::Gauge, "Files kept to be used again", spares);
        page.single("bookie_spare_segment_bytes", Kind::Gauge, "Bytes of these files", bytes);
        let traffic = &self.shared.segments.traffic;
        let counters: [(&str, &str, u64); 12] = [
            ("bookie_DELETED_LEDGER_TOTAL", "Ledgers deleted here", deleted),
            ("bookie_RECLAIMED_DELETION_SPACE_BYTES", "Bytes freed by dropping", traffic.dropped_bytes.get()),
            ("bookie_RECLAIMED_COMPACTION_SPACE_BYTES", "Bytes freed by rewriting", traffic.rewritten_bytes.get()),
            ("bookie_MAJOR_COMPACTION_TOTAL", "Passes over old segments", traffic.major_passes.get()),
            ("bookie_MINOR_COMPACTION_TOTAL", "Passes over mostly dead segments", traffic.minor_passes.get()),
            ("bookie_segments_dropped_total", "Segments dropped", traffic.dropped.get()),
            ("bookie_segments_rewritten_total", "Segments rewritten", traffic.rewritten.get()),
            ("bookie_segments_recycled_total", "Segments begun in used files", traffic.recycled.get()),
            ("bookie_zero_ahead_bytes_total", "Zeros written ahead of the journal", traffic.zeros.get()),
            ("bookie_rewrite_read_bytes_total", "Bytes read to rewrite", traffic.rewrite_read.get()),
            ("bookie_rewrite_written_bytes_total", "Bytes written to rewrite", traffic.rewrite_written.get()),
            ("bookie_segment_upkeep_bytes_total", "Headers, footers and manifests", traffic.upkeep.get()),
        ];
        for (name, help, value) in counters {
            page.single(name, Kind::Counter, help, value);
        }
    }
}
