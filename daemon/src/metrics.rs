//! Prometheus text, and what every process tells about itself.
//!
//! `process_cpu_seconds_total` (seconds), `process_resident_memory_bytes`, `process_open_fds`: no labels.
use std::fmt::{self, Write};
use std::fs;

/// What a family's values mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Quantiles, with `_sum` and `_count`.
    Summary,
    /// Cumulative buckets, with `_sum` and `_count`.
    Histogram,
}

/// A number as a sample shows it.
#[derive(Debug, Clone, Copy)]
pub enum Number {
    /// Whole.
    Whole(i128),
    /// Any other.
    Float(f64),
}

macro_rules! number_from {
    ($($whole:ty),*) => {
        $(impl From<$whole> for Number {
            fn from(value: $whole) -> Self {
                Self::Whole(value as i128)
            }
        })*
    };
}

number_from!(u8, u16, u32, u64, usize, i32, i64, bool);

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => write!(f, "{value}"),
            Self::Float(value) if value.is_nan() => f.write_str("NaN"),
            Self::Float(value) if value.is_infinite() => f.write_str(if *value < 0.0 { "-Inf" } else { "+Inf" }),
            Self::Float(value) => write!(f, "{value}"),
        }
    }
}

/// A page of metrics being written. Each family stands once, with all its samples.
#[derive(Debug, Default)]
pub struct MetricText {
    text: String,
}

impl MetricText {
    /// An empty page.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a family.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Summary => "summary",
            Kind::Histogram => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        Family { text: &mut self.text, name: name.to_owned() }
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Into<Number>) {
        self.family(name, kind, help).sample(&[], value);
    }

    /// The page.
    #[must_use]
    pub fn finish(self) -> String {
        self.text
    }
}

/// Takes the samples of one family.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut String,
    name: String,
}

impl Family<'_> {
    /// One sample.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Into<Number>) -> &mut Self {
        self.suffixed("", labels, value)
    }

    /// One sample whose name ends in `suffix`: `_sum`, `_count`, `_bucket`.
    pub fn suffixed(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Into<Number>) -> &mut Self {
        self.text.push_str(&self.name);
        self.text.push_str(suffix);
        for (index, (name, content)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(content, self.text);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {}", value.into()); // Writing to a string does not fail.
        self
    }
}

fn escape(content: &str, text: &mut String) {
    for character in content.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

/// What the kernel says about this process. What it does not say is left out.
pub fn process(page: &mut MetricText) {
    let resident = fs::read_to_string("/proc/self/status").ok().and_then(|status| resident_bytes(&status));
    if let Some(bytes) = resident {
        page.single("process_resident_memory_bytes", Kind::Gauge, "Memory held, in bytes", bytes);
    }
    let seconds = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| cpu_seconds(&stat));
    if let Some(seconds) = seconds {
        page.single("process_cpu_seconds_total", Kind::Counter, "Processor time used, in seconds", seconds);
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        let open = entries.count().saturating_sub(1); // Without the one that reads them.
        page.single("process_open_fds", Kind::Gauge, "Open file descriptors", open);
    }
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// The kernel counts ticks of 10 ms here, whatever its own clock does.
const TICKS_PER_SECOND: f64 = 100.0;

fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?; // The name in parentheses may hold spaces.
    let ticks = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<f64>().ok());
    ticks.sum::<Option<f64>>().map(|ticks| ticks / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_reads_as_prometheus_wants_it() {
        let mut page = MetricText::new();
        page.family("a_total", Kind::Counter, "one\nline").sample(&[("topic", "a\"b\\c\nd"), ("n", "1")], u64::MAX);
        page.family("b", Kind::Summary, "b").sample(&[("quantile", "0.5")], 0.25).suffixed("_count", &[], 3u32);
        page.single("c", Kind::Gauge, "c", f64::INFINITY);
        let expected = "# HELP a_total one\\nline\n# TYPE a_total counter\n\
            a_total{topic=\"a\\\"b\\\\c\\nd\",n=\"1\"} 18446744073709551615\n\
            # HELP b b\n# TYPE b summary\nb{quantile=\"0.5\"} 0.25\nb_count 3\n\
            # HELP c c\n# TYPE c gauge\nc +Inf\n";
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn the_kernel_is_understood() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t   12 kB\n"), Some(12 << 10));
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 4 0 100 1 1";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!((resident_bytes(""), cpu_seconds("7")), (None, None));
    }
}
