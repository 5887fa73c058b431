//! A real Prometheus as a process.
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use daemon::Failure;
use serde_json::Value;

use crate::cluster::{Process, free_row};
use crate::deadline::eventually;

const READY_WITHIN: Duration = Duration::from_secs(30);

/// Processes of one kind.
#[derive(Debug, Clone)]
pub struct Job {
    /// What dashboards call them.
    pub name: &'static str,
    /// `host:port` of each one's HTTP interface.
    pub targets: Vec<String>,
}

/// Scrapes once a second.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    base: String,
    client: reqwest::Client,
}

impl Prometheus {
    /// Starts `program` with its data and output in `directory`, and waits until it answers.
    pub async fn start(program: &Path, directory: &Path, jobs: &[Job]) -> Result<Self, Failure> {
        let file = directory.join("prometheus.yml");
        std::fs::write(&file, configuration(jobs)).map_err(Failure::internal)?;
        let port = free_row("prometheus", directory)?;
        let arguments = [
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", directory.join("prometheus").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ];
        let process = Process::start("prometheus-server", program, &arguments, &[], directory)?;
        let client = reqwest::Client::builder().no_proxy().build().map_err(Failure::internal)?;
        let started = Self { process, base: format!("http://127.0.0.1:{port}"), client };
        eventually("Prometheus is ready", READY_WITHIN, async || {
            let answer = started.client.get(format!("{}/-/ready", started.base)).send().await;
            answer.is_ok_and(|answer| answer.status().is_success()).then_some(())
        })
        .await
        .map_err(|failure| Failure::internal(format!("{failure}; it printed:\n{}", started.process.printed())))?;
        Ok(started)
    }

    /// What `expression` gives now: the values that are numbers. A query that Prometheus refuses is a failure.
    pub async fn ask(&self, expression: &str) -> Result<Vec<f64>, Failure> {
        let asked = self.client.get(format!("{}/api/v1/query", self.base)).query(&[("query", expression)]).send();
        let answer: Value = asked.await.map_err(Failure::internal)?.json().await.map_err(Failure::internal)?;
        if answer["status"] != "success" {
            return Err(Failure::usage(format!("`{expression}`: {}", answer["error"])));
        }
        let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let value = |one: &Value| one["value"][1].as_str()?.parse::<f64>().ok().filter(|number| !number.is_nan());
        Ok(series.iter().filter_map(value).collect())
    }
}

fn configuration(jobs: &[Job]) -> String {
    let mut text = String::from("global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n");
    for Job { name, targets } in jobs {
        let line = format!("- {{job_name: {name}, static_configs: [{{targets: {targets:?}}}]}}");
        let _ = writeln!(text, "{line}"); // Texts take all that is written.
    }
    text
}
