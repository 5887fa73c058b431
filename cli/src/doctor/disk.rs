//! How quickly the disk of a bookie keeps what it is given.
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::statvfs;

use super::report::Finding;

const PROBE: &str = "doctor.probe";
const BLOCK: usize = 4096;
const SYNCS: usize = 50;
/// A disk whose syncs take longer makes every producer wait as long.
const SLOW: Duration = Duration::from_millis(20);
/// Less is used up before anyone looks.
const LITTLE: f64 = 0.1;

/// Looks at the directory of a bookie, or at the nearest one above it that exists.
pub(super) fn examine(directory: &Path) -> Vec<(&'static str, Finding)> {
    // A row of directories lies in the one above.
    let row = directory.file_name().is_some_and(|name| name.to_string_lossy().ends_with('*'));
    let directory = if row { directory.parent().unwrap_or(directory) } else { directory };
    let there = directory.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."));
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    let syncs = match measure(there) {
        Ok(took) => judge(there, &took),
        Err(error) => Finding::Bad(format!("{}: cannot write and sync: {error}", there.display())),
    };
    vec![("disk", space(there)), ("sync", syncs)]
}

fn space(directory: &Path) -> Finding {
    match statvfs(directory) {
        Err(error) => Finding::Bad(format!("{}: {error}", directory.display())),
        Ok(found) => {
            let (free, total) = (found.f_bavail as f64, found.f_blocks as f64);
            let gib = |blocks: f64| blocks * found.f_frsize as f64 / f64::from(1 << 30);
            let text = format!("{}: {:.1} of {:.1} GiB are free", directory.display(), gib(free), gib(total));
            if free < LITTLE * total { Finding::Odd(text) } else { Finding::Good(text) }
        }
    }
}

/// How long each of some syncs took, sorted.
fn measure(directory: &Path) -> io::Result<Vec<Duration>> {
    let path = directory.join(PROBE);
    let outcome = sync_often(&path);
    let removed = fs::remove_file(&path);
    let took = outcome?;
    removed.map(|()| took)
}

fn sync_often(path: &Path) -> io::Result<Vec<Duration>> {
    let mut file = File::create(path)?;
    let mut took = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let begun = Instant::now();
        file.write_all(&[1; BLOCK])?;
        file.sync_data()?;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    Ok(took)
}

fn judge(directory: &Path, took: &[Duration]) -> Finding {
    let at = |percent: usize| took.get((took.len() * percent / 100).min(took.len().saturating_sub(1))).copied();
    let (half, most) = (at(50).unwrap_or_default(), at(98).unwrap_or_default());
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let text = format!("{}: a sync takes {:.2} ms, and {:.2} ms at p98", directory.display(), ms(half), ms(most));
    match half {
        half if SLOW < half => {
            Finding::Odd(format!("{text}; every message waits for it: a disk with power-loss protection takes 0.1 ms"))
        }
        _ => Finding::Good(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_yet_is_judged_by_the_one_above() {
        let place = tempfile::tempdir().expect("a directory");
        for directory in ["bookie", "a/b/bookie", "bookie-*"] {
            let found = examine(&place.path().join(directory));
            assert!(found.iter().all(|(_, finding)| !matches!(finding, Finding::Bad(_))), "{found:?}");
        }
        assert_eq!(fs::read_dir(place.path()).expect("it is there").count(), 0, "nothing is left");
    }

    #[test]
    fn a_slow_disk_is_odd() {
        let (quick, slow) = ([Duration::from_millis(1); 50], [Duration::from_millis(30); 50]);
        assert!(matches!(judge(Path::new("d"), &quick), Finding::Good(_)));
        assert!(matches!(judge(Path::new("d"), &slow), Finding::Odd(_)));
    }

    #[test]
    fn a_place_that_takes_no_file_is_bad() {
        let found = examine(Path::new("/proc/bookie"));
        assert!(matches!(&found[1].1, Finding::Bad(reason) if reason.contains("/proc")), "{found:?}");
    }
}
