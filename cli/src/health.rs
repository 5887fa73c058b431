//! `geminga health`: asks a process whether it is well and serves, and says why not.
//!
//! Made for people and for health checks of containers, which have nothing else inside that could ask.
use std::fmt::Write;
use std::time::Duration;

use daemon::{Failure, HostPort};
use serde_json::Value;

/// A process that is alive answers in milliseconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Where a broker, a proxy and standalone serve HTTP, and where a bookie does.
const USUAL_PORTS: [u16; 2] = [8080, 8000];
/// Moves the HTTP port of brokers and bookies.
const HTTP_LISTEN: &str = "GEMINGA_HTTP_LISTEN";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Ask the process of this machine instead of --admin: at the port of GEMINGA_HTTP_LISTEN, else at 8080, else at 8000
    #[arg(long)]
    local: bool,
}

/// What a process said of itself.
#[derive(Debug, PartialEq, Eq)]
struct Condition {
    /// Whether it serves and no check fails.
    good: bool,
    /// Lines for people.
    report: String,
}

/// Prints what is found. Anything but a process that serves and is well is the exit code 75.
pub(crate) async fn run(arguments: Arguments, admin: &str) -> Result<(), Failure> {
    let places = if arguments.local { local(std::env::var(HTTP_LISTEN).ok())? } else { vec![admin.to_owned()] };
    let client = reqwest::Client::builder().timeout(ANSWER_WITHIN).no_proxy().build().map_err(Failure::internal)?;
    let mut away = Vec::new();
    for place in places {
        match ask(&client, &place).await {
            Ok(condition) => {
                print!("{}", condition.report);
                let bad = || Failure::try_again(format!("{place} is not well, see above"));
                return if condition.good { Ok(()) } else { Err(bad()) };
            }
            Err(reason) => away.push(format!("{place}: {reason}")),
        }
    }
    Err(Failure::try_again(format!("nobody answers: {}", away.join("; "))))
}

/// The addresses where a process of this machine may be. `listen` is what moved it, if anything did.
fn local(listen: Option<String>) -> Result<Vec<String>, Failure> {
    let at = |port: u16| format!("http://127.0.0.1:{port}");
    let Some(listen) = listen else { return Ok(USUAL_PORTS.map(at).to_vec()) };
    let address: HostPort = listen.parse().map_err(|error| Failure::usage(format!("{HTTP_LISTEN}: {error}")))?;
    let anywhere = address.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    Ok(vec![if anywhere { at(address.port) } else { format!("http://{address}") }])
}

async fn ask(client: &reqwest::Client, place: &str) -> Result<Condition, String> {
    let page = async |path: &str| {
        let answer = client.get(format!("{}/{path}", place.trim_end_matches('/'))).send().await.map_err(reason)?;
        let (fine, body) = (answer.status().is_success(), answer.text().await.map_err(reason)?);
        serde_json::from_str(&body).map(|body| (fine, body)).map_err(|_| format!("/{path} is no page of Geminga"))
    };
    let (readiness, health) = (page("readyz").await?, page("healthz").await?);
    Ok(judge(place, readiness, health))
}

/// The innermost cause: the outer ones repeat the address.
fn reason(error: reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn judge(place: &str, (ready, readiness): (bool, Value), (well, health): (bool, Value)) -> Condition {
    let mut report = format!("{place} {}\n", if ready { "serves" } else { "does not serve" });
    for reason in readiness["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let _ = writeln!(report, "  not ready  {reason}"); // Texts take all that is written.
    }
    for (name, check) in health["checks"].as_object().into_iter().flatten() {
        let line = match check["reason"].as_str() {
            None => format!("  ok         {name}"),
            Some(reason) => format!("  failing    {name}: {reason}"),
        };
        let _ = writeln!(report, "{line}"); // As above.
    }
    Condition { good: ready && well, report }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_process_that_serves_and_is_well_is_good() {
        let health = json!({"status": "ok", "checks": {"journal": {"status": "ok"}}});
        let found = judge("http://a:1", (true, json!({"ready": true})), (true, health));
        assert_eq!(found, Condition { good: true, report: "http://a:1 serves\n  ok         journal\n".into() });
    }

    #[test]
    fn whatever_is_wrong_is_said_and_is_not_good() {
        let failing = json!({"status": "failing", "checks": {"journal": {"status": "failing", "reason": "disk full"}}});
        let found = judge("http://a:1", (true, json!({"ready": true})), (false, failing));
        assert!(!found.good && found.report.contains("failing    journal: disk full"), "{found:?}");
        let draining = json!({"ready": false, "reasons": ["draining"]});
        let found = judge("http://a:1", (false, draining), (true, json!({"checks": {}})));
        assert!(!found.good && found.report.contains("does not serve\n  not ready  draining"), "{found:?}");
    }

    #[test]
    fn the_process_of_this_machine_is_looked_for_where_it_listens() {
        let at = |listen: &str| local(Some(listen.into())).map_err(|failure| failure.message);
        assert_eq!(local(None).unwrap(), ["http://127.0.0.1:8080", "http://127.0.0.1:8000"]);
        assert_eq!(at("[::]:9000").unwrap(), ["http://127.0.0.1:9000"]);
        assert_eq!(at("0.0.0.0:9000").unwrap(), ["http://127.0.0.1:9000"]);
        assert_eq!(at("10.0.0.1:9000").unwrap(), ["http://10.0.0.1:9000"]);
        assert!(at("nowhere").is_err());
    }

    #[tokio::test]
    async fn nobody_there_says_try_again() {
        let failure = run(Arguments { local: false }, "http://127.0.0.1:1").await.expect_err("nobody listens");
        assert_eq!(failure.exit, daemon::Exit::TryAgain);
        assert!(failure.message.contains("http://127.0.0.1:1: "), "{failure}");
    }
}
