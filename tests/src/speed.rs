//! What the server spends on a load that pulsar-perf makes: rate, latency, CPU, bytes written, memory.
//!
//! Never: measures the load generator. All figures but latency come from `/proc` of the server's processes and from the
//! server's own count of messages, over a window that begins after the warm-up. Percentiles above the median are what
//! pulsar-perf printed for its intervals of ten seconds that lie wholly within that window, so that nobody's start is in them;
//! the median, which a start hardly moves, is of the whole run, because a consumer's intervals have whole milliseconds only.
use std::fmt;
use std::ops::Range;
use std::process::Stdio;
use std::time::{Duration, Instant};

use daemon::Failure;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::cluster::{Admin, Spending, spending_of};
use crate::deadline::{eventually, under_load_for};

/// What pulsar-perf prints covers this long.
const INTERVAL: Duration = Duration::from_secs(10);
/// Java takes its time on a busy machine.
const STARTED_WITHIN: Duration = Duration::from_secs(60);
const ENDED_WITHIN: Duration = Duration::from_secs(120);

/// A server to measure, ours or another.
#[derive(Debug, Clone)]
pub struct SpeedRun {
    /// Of its brokers.
    pub url: String,
    /// `http://host:port` of its admin interface, which counts messages.
    pub admin: String,
    /// All its processes.
    pub pids: Vec<u32>,
    /// pulsar-perf: a program and its first arguments, separated by spaces.
    pub perf: String,
    /// Measured time of each workload.
    pub measure: Duration,
    /// Time before it.
    pub warm_up: Duration,
    /// Only workloads whose name contains this.
    pub only: String,
    /// How often a byte is stored.
    pub copies: u32,
    /// HTTP interfaces of its bookies, if it counts what their journals write.
    pub bookies: Vec<String>,
}

/// A load: pulsar-perf's options.
#[derive(Debug, Clone, Copy)]
struct Workload {
    name: &'static str,
    message_bytes: u64,
    produce: &'static str,
    consume: bool,
}

const WORKLOADS: [Workload; 9] = [
    Workload { name: "1 KiB, one in flight", message_bytes: 1024, produce: "-r 200 -o 1 -p 1 -db", consume: false },
    Workload {
        name: "1 KiB, 64 in flight, 5 000/s",
        message_bytes: 1024,
        produce: "-r 5000 -o 64 -p 64 -db",
        consume: false,
    },
    Workload {
        name: "100 B batched, 50 000/s + consumer",
        message_bytes: 100,
        produce: "-r 50000 -bm 1000 -bb 131072 -b 1 -o 20000 -p 20000",
        consume: true,
    },
    Workload {
        name: "100 B batched, 200 000/s + consumer",
        message_bytes: 100,
        produce: "-r 200000 -bm 1000 -bb 131072 -b 1 -o 20000 -p 20000",
        consume: true,
    },
    Workload {
        name: "100 B batched, flood",
        message_bytes: 100,
        produce: "-r 1000000 -bm 1000 -bb 131072 -b 1 -o 20000 -p 20000",
        consume: false,
    },
    Workload {
        name: "1 KiB batched, 20 000/s + consumer",
        message_bytes: 1024,
        produce: "-r 20000 -bm 1000 -bb 131072 -b 1 -o 20000 -p 20000",
        consume: true,
    },
    Workload {
        name: "1 KiB batched, flood",
        message_bytes: 1024,
        produce: "-r 400000 -bm 128 -bb 131072 -b 1 -o 20000 -p 20000",
        consume: false,
    },
    Workload {
        name: "1 KiB unbatched, 512 in flight",
        message_bytes: 1024,
        produce: "-r 400000 -o 512 -p 512 -db",
        consume: false,
    },
    Workload {
        name: "1 KiB unbatched, 5 000/s",
        message_bytes: 1024,
        produce: "-r 5000 -o 512 -p 512 -db",
        consume: false,
    },
];

/// One row of the table.
#[derive(Debug, Clone)]
struct Row {
    name: &'static str,
    rate: f64,
    publish: String,
    end_to_end: String,
    cpu_per_million: f64,
    written_per_byte: f64,
    /// Of that, what journals wrote: all there is on segments that were zeroed before.
    journal_per_byte: f64,
    resident_mib: f64,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "| {} | {:.0} | {} | {} | {:.2} | {:.2} | {:.2} | {:.0} |",
            self.name,
            self.rate,
            self.publish,
            self.end_to_end,
            self.cpu_per_million,
            self.written_per_byte,
            self.journal_per_byte,
            self.resident_mib
        )
    }
}

/// Runs each workload and prints its row as it is there.
pub async fn measure(run: &SpeedRun) -> Result<(), Failure> {
    if run.measure < 2 * INTERVAL {
        return Err(Failure::usage("--seconds below 20 holds no whole interval of pulsar-perf"));
    }
    println!(
        "| workload | messages/s | publish p50 / p99 / worst p99 ms | end to end, the same | CPU s per million | bytes written per byte and copy | of them by journals | resident MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for workload in WORKLOADS.iter().filter(|workload| workload.name.contains(&run.only)) {
        println!("{}", row(run, workload).await?);
    }
    Ok(())
}

async fn row(run: &SpeedRun, workload: &Workload) -> Result<Row, Failure> {
    let admin = Admin::at(&run.admin);
    let topic = format!("speed-{}", workload.name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
    let seconds = (run.warm_up + run.measure).as_secs() + 5;
    let consumer = match workload.consume {
        true => Some(Perf::start(run, &["consume", &topic, "-ss", "s", "-sp", "Earliest", "-q", "1000"], seconds + 5)?),
        false => None,
    };
    let size = workload.message_bytes.to_string();
    let mut produce = vec!["produce", &topic, "-s", &size, "-threads", "1", "-n", "1"];
    produce.extend(workload.produce.split_whitespace());
    let producer = Perf::start(run, &produce, seconds)?;
    let first = published(&admin, &topic).await.unwrap_or(0);
    eventually("pulsar-perf publishes", STARTED_WITHIN, async || {
        published(&admin, &topic).await.filter(|count| first < *count).map(drop)
    })
    .await?;
    under_load_for(run.warm_up).await;
    let journaled = journaled(run).await?;
    let (began, count, spent) = (Instant::now(), published(&admin, &topic).await.unwrap_or(0), spending(run));
    under_load_for(run.measure).await;
    let (time, count_after, spent_after) =
        (began.elapsed(), published(&admin, &topic).await.unwrap_or(0), spending(run));
    let journaled = self::journaled(run).await?.saturating_sub(journaled) as f64;
    let window = began..began + time;
    let publish = producer.latency(&window).await?;
    let end_to_end = match consumer {
        Some(consumer) => consumer.latency(&window).await?,
        None => "–".into(),
    };
    let messages = (count_after.saturating_sub(count)).max(1) as f64;
    let written = (spent_after.written_bytes - spent.written_bytes) as f64;
    let per_byte = |bytes: f64| bytes / (messages * workload.message_bytes as f64) / f64::from(run.copies);
    Ok(Row {
        name: workload.name,
        rate: messages / time.as_secs_f64(),
        publish,
        end_to_end,
        cpu_per_million: (spent_after.cpu - spent.cpu).as_secs_f64() * 1e6 / messages,
        written_per_byte: per_byte(written),
        journal_per_byte: per_byte(journaled),
        resident_mib: spent_after.resident_bytes as f64 / f64::from(1 << 20),
    })
}

/// pulsar-perf at work.
struct Perf {
    tool: Child,
    /// What it prints, each line with when it came.
    printed: JoinHandle<Vec<(Instant, String)>>,
}

impl Perf {
    fn start(run: &SpeedRun, arguments: &[&str], seconds: u64) -> Result<Self, Failure> {
        let mut words = run.perf.split_whitespace();
        let program = words.next().ok_or_else(|| Failure::usage("--perf names no program"))?;
        let mut command = Command::new(program);
        command.args(words).args(arguments).args(["-u", &run.url, "-time", &seconds.to_string(), "-i", "1"]);
        command.env("PULSAR_URL", &run.url).env("ADMIN_URL", &run.admin);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut tool = command.spawn().map_err(|error| Failure::usage(format!("{}: {error}", run.perf)))?;
        let mut lines = BufReader::new(tool.stdout.take().expect("it is piped")).lines();
        // Ends with the tool.
        let printed = tokio::spawn(async move {
            let mut printed = Vec::new();
            while let Ok(Some(line)) = lines.next_line().await {
                printed.push((Instant::now(), line));
            }
            printed
        });
        Ok(Self { tool, printed })
    }

    /// Waits for the tool to end. The p50 of all, the median interval's p99 and the worst one's of those within `window`.
    async fn latency(mut self, window: &Range<Instant>) -> Result<String, Failure> {
        let ended = tokio::time::timeout(ENDED_WITHIN, self.tool.wait()).await;
        ended.map_err(|_| Failure::internal("pulsar-perf did not end"))?.map_err(Failure::internal)?;
        let printed = self.printed.await.map_err(Failure::internal)?;
        let intervals =
            printed.iter().filter(|(when, _)| window.contains(when) && window.contains(&(*when - INTERVAL)));
        let intervals = intervals.filter_map(|(_, line)| percentiles(line)).map(|(_, p99)| p99).collect();
        let all = printed.iter().rev().find(|(_, line)| line.contains("Aggregated latency stats"));
        let p50 = all.and_then(|(_, line)| percentiles(line)).map(|(p50, _)| p50);
        p50.and_then(|p50| summary(p50, intervals)).ok_or_else(|| {
            let lines: Vec<&str> = printed.iter().map(|(_, line)| line.as_str()).collect();
            Failure::internal(format!("pulsar-perf printed no latency:\n{}", lines.join("\n")))
        })
    }
}

fn summary(p50: f64, mut p99: Vec<f64>) -> Option<String> {
    p99.sort_by(f64::total_cmp);
    Some(format!("{p50:.2} / {:.0} / {:.0}", p99.get(p99.len() / 2)?, p99.last()?))
}

/// p50 and p99 of `… med:   9.950 ms - 95pct: … - 99pct:  73.142 - …`, in milliseconds.
fn percentiles(line: &str) -> Option<(f64, f64)> {
    let after = |key: &str| line.split_once(key)?.1.split_whitespace().next()?.parse().ok();
    Some((after("med:")?, after(" 99pct:")?))
}

async fn published(admin: &Admin, topic: &str) -> Option<u64> {
    let stats = admin.get(&format!("/admin/v2/persistent/public/default/{topic}/stats")).await.ok()?;
    stats["msgInCounter"].as_u64()
}

/// Bytes of synced batches, of all bookies that tell.
async fn journaled(run: &SpeedRun) -> Result<u64, Failure> {
    let mut sum = 0;
    for bookie in &run.bookies {
        let page = Admin::at(bookie).get("/metrics").await?;
        let line =
            page.as_str().and_then(|page| page.lines().find_map(|line| line.strip_prefix("bookie_WRITE_BYTES ")));
        let bytes = line.and_then(|number| number.trim().parse::<f64>().ok());
        sum += bytes.ok_or_else(|| Failure::usage(format!("{bookie}/metrics has no bookie_WRITE_BYTES")))? as u64;
    }
    Ok(sum)
}

fn spending(run: &SpeedRun) -> Spending {
    let each = run.pids.iter().filter_map(|pid| spending_of(*pid));
    each.fold(Spending::default(), |sum, one| Spending {
        cpu: sum.cpu + one.cpu,
        written_bytes: sum.written_bytes + one.written_bytes,
        read_bytes: sum.read_bytes + one.read_bytes,
        resident_bytes: sum.resident_bytes + one.resident_bytes,
        resident_bytes_max: sum.resident_bytes_max + one.resident_bytes_max,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_found_in_what_pulsar_perf_prints() {
        let line =
            "x --- Latency: mean:  14.521 ms - med:   9.950 - 95pct:  36.680 - 99pct:  73.142 - 99.9pct: 164.564";
        assert_eq!(percentiles(line), Some((9.95, 73.142)));
        assert_eq!(percentiles("nothing"), None);
    }

    #[test]
    fn a_summary_is_of_the_median_interval_and_the_worst() {
        assert_eq!(summary(0.912, vec![30.0, 500.0, 20.0]).as_deref(), Some("0.91 / 30 / 500"));
        assert_eq!(summary(0.912, Vec::new()), None);
    }
}
