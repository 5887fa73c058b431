//! A text file goes through `geminga produce --lines` and comes back through `geminga consume --end`, byte for byte.
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use daemon::Failure;
use tokio::process::Command;

use crate::cluster::binary;

/// What goes where.
#[derive(Debug, Clone)]
pub struct LinesRun {
    /// Any bytes.
    pub file: PathBuf,
    /// Of the server, ours or another.
    pub url: String,
    /// A topic that nobody has used.
    pub topic: String,
    /// For what comes back. Must be there.
    pub directory: PathBuf,
    /// Longer than this is a fault.
    pub within: Duration,
}

/// How fast it went. That it returns says that the bytes are equal.
#[derive(Debug, Clone, Copy)]
pub struct LinesReport {
    /// Of the file.
    pub bytes: u64,
    /// Messages.
    pub lines: u64,
    /// Of `geminga produce`.
    pub produced_in: Duration,
    /// Of `geminga consume`.
    pub consumed_in: Duration,
}

impl std::fmt::Display for LinesReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mib = self.bytes as f64 / f64::from(1 << 20);
        let rate = |time: Duration| (self.lines as f64 / time.as_secs_f64(), mib / time.as_secs_f64());
        let ((produced, produced_mib), (consumed, consumed_mib)) = (rate(self.produced_in), rate(self.consumed_in));
        writeln!(f, "{} lines, {mib:.1} MiB: came back equal", self.lines)?;
        writeln!(
            f,
            "produce  {:.2} s, {produced:.0} lines/s, {produced_mib:.1} MiB/s",
            self.produced_in.as_secs_f64()
        )?;
        write!(f, "consume  {:.2} s, {consumed:.0} lines/s, {consumed_mib:.1} MiB/s", self.consumed_in.as_secs_f64())
    }
}

/// Sends the file, reads it back, compares.
pub async fn round_trip(run: &LinesRun) -> Result<LinesReport, Failure> {
    let (bytes, lines) = measure(&run.file)?;
    let back = run.directory.join("came-back");
    let file = text(&run.file);
    let produced_in = geminga(run, &["produce", &run.topic, "--lines", "--file", file], Stdio::null()).await?;
    let output = File::create(&back).map_err(Failure::internal)?;
    let consumed_in = geminga(run, &["consume", &run.topic, "--earliest", "--end"], output.into()).await?;
    compare(&run.file, &back)?;
    std::fs::remove_file(&back).map_err(Failure::internal)?;
    Ok(LinesReport { bytes, lines, produced_in, consumed_in })
}

fn text(path: &Path) -> &str {
    path.to_str().expect("test directories have plain names")
}

async fn geminga(run: &LinesRun, arguments: &[&str], output: Stdio) -> Result<Duration, Failure> {
    let began = Instant::now();
    let name = format!("geminga {}", arguments.join(" "));
    let mut command = Command::new(binary("geminga")?);
    command.args(arguments).env("GEMINGA_URL", &run.url).stdin(Stdio::null()).stdout(output).stderr(Stdio::piped());
    let child = command.kill_on_drop(true).spawn().map_err(|error| Failure::internal(format!("{name}: {error}")))?;
    let ended = tokio::time::timeout(run.within, child.wait_with_output()).await;
    let ended = ended.map_err(|_| Failure::internal(format!("{name}: not within {:?}", run.within)))?;
    let ended = ended.map_err(|error| Failure::internal(format!("{name}: {error}")))?;
    if ended.status.success() {
        Ok(began.elapsed())
    } else {
        let said = String::from_utf8_lossy(&ended.stderr);
        Err(Failure::internal(format!("{name}: {}: {said}", ended.status)))
    }
}

fn measure(file: &Path) -> Result<(u64, u64), Failure> {
    let mut reader = BufReader::new(File::open(file).map_err(Failure::internal)?);
    let (mut bytes, mut lines, mut line) = (0, 0, Vec::new());
    while 0 < reader.read_until(b'\n', &mut line).map_err(Failure::internal)? {
        bytes += line.len() as u64;
        lines += 1;
        line.clear();
    }
    Ok((bytes, lines))
}

/// What comes back ends in a newline in any case: a message does not know whether its line had one.
fn compare(sent: &Path, back: &Path) -> Result<(), Failure> {
    let open = |path: &Path| File::open(path).map(BufReader::new).map_err(Failure::internal);
    let (mut sent, mut back) = (open(sent)?, open(back)?);
    let (mut number, mut expected, mut found) = (0_u64, Vec::new(), Vec::new());
    loop {
        expected.clear();
        found.clear();
        number += 1;
        let more = 0 < sent.read_until(b'\n', &mut expected).map_err(Failure::internal)?;
        back.read_until(b'\n', &mut found).map_err(Failure::internal)?;
        if !more {
            let rest = back.read_to_end(&mut found).map_err(Failure::internal)?;
            let surplus =
                || Failure::internal(format!("{} bytes more came back than were sent", found.len().max(rest)));
            return if found.is_empty() { Ok(()) } else { Err(surplus()) };
        }
        if expected.last() != Some(&b'\n') {
            expected.push(b'\n');
        }
        if expected != found {
            return Err(Failure::internal(format!("line {number} came back different")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(sent: &[u8], back: &[u8]) -> Result<(), Failure> {
        let directory = tempfile::tempdir().expect("a directory");
        let (one, other) = (directory.path().join("sent"), directory.path().join("back"));
        std::fs::write(&one, sent).expect("written");
        std::fs::write(&other, back).expect("written");
        compare(&one, &other)
    }

    #[test]
    fn only_equal_bytes_are_equal() {
        assert_eq!(compared(b"a\r\n\n\xff", b"a\r\n\n\xff\n"), Ok(()));
        assert_eq!(compared(b"", b""), Ok(()));
        assert!(compared(b"a\nb\n", b"a\nc\n").expect_err("changed").message.contains("line 2"));
        assert!(compared(b"a\nb\n", b"a\n").is_err(), "lost");
        assert!(compared(b"a\n", b"a\nb\n").is_err(), "surplus");
        assert!(compared(b"a\n", b"a\n\n").is_err(), "surplus empty line");
    }
}
