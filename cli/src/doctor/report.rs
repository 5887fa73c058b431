//! What was found.
use std::fmt;

use serde_json::{Value, json};

/// One look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// As it should be.
    Good(String),
    /// It works, and may not be what is meant.
    Odd(String),
    /// A process would not serve.
    Bad(String),
}

impl Finding {
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Good(text) => ("ok", text),
            Self::Odd(text) => ("odd", text),
            Self::Bad(text) => ("failing", text),
        }
    }
}

/// All looks, by process.
#[derive(Debug, Default)]
pub(super) struct Report {
    process: &'static str,
    found: Vec<(&'static str, &'static str, Finding)>,
}

impl Report {
    /// What comes from now on is about this process.
    pub(super) fn begin(&mut self, process: &'static str) {
        self.process = process;
    }

    /// Adds a look at `what`.
    pub(super) fn note(&mut self, what: &'static str, finding: Finding) {
        self.found.push((self.process, what, finding));
    }

    /// How much is bad.
    pub(super) fn bad(&self) -> usize {
        self.found.iter().filter(|(_, _, finding)| matches!(finding, Finding::Bad(_))).count()
    }

    /// For scripts.
    pub(super) fn json(&self) -> Value {
        let one = |(process, what, finding): &(&str, &str, Finding)| {
            let (status, text) = finding.parts();
            json!({"process": process, "check": what, "status": status, "reason": text})
        };
        self.found.iter().map(one).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut process = "";
        for (of, what, finding) in &self.found {
            if *of != process {
                writeln!(f, "{of}")?;
                process = of;
            }
            let (status, text) = finding.parts();
            writeln!(f, "  {status:<8} {what:<12} {text}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_of_each_process_what_was_found() {
        let mut report = Report::default();
        report.begin("broker");
        report.note("listen", Finding::Good("port 1 is free".into()));
        report.note("clock", Finding::Odd("3 s behind".into()));
        report.begin("bookie");
        report.note("disk", Finding::Bad("read-only".into()));
        let text = "broker\n  ok       listen       port 1 is free\n  odd      clock        3 s behind\nbookie\n  failing  disk         read-only\n";
        assert_eq!((report.to_string().as_str(), report.bad()), (text, 1));
        assert_eq!(
            report.json()[2],
            json!({"process": "bookie", "check": "disk", "status": "failing", "reason": "read-only"})
        );
    }
}
