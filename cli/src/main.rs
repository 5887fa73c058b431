//! `geminga`: one process of everything, and the command line client; called by their names, also the broker and the bookie.
//!
//! The client goes through the `pulsar` crate and the Pulsar protocol only, and administration through Pulsar's HTTP pages, so that
//! both work against Apache Pulsar as well.
mod name; // Which program it is.

mod admin;

mod address; // What a command is given, then the commands.
mod client;
mod consume;
mod doctor;
mod health;
mod lines;
mod produce;
mod proxy;
mod standalone;
mod tail;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "geminga", version, about = "A Pulsar-style message system: run one, publish to it, read from it")]
struct Arguments {
    /// Where the brokers are
    #[arg(long, global = true, env = "GEMINGA_URL", default_value = "pulsar://127.0.0.1:6650", value_name = "URL")]
    #[arg(display_order = 101)] // Behind what a command takes.
    url: String,
    /// Where their HTTP side is
    #[arg(long, global = true, env = "GEMINGA_ADMIN", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    #[arg(display_order = 102)]
    admin: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process: a broker, a bookie and their metadata
    Standalone(standalone::Arguments),
    /// Publish a file or stdin to a topic
    Produce(produce::Arguments),
    /// Write the messages of a topic to stdout
    Consume(consume::Arguments),
    /// Ask a process whether it is well and serves
    Health(health::Arguments),
    /// Look whether a broker or a bookie could live here
    Doctor(doctor::Arguments),
    /// Pass clients on to brokers whose names mean nothing to them
    Proxy(proxy::Arguments),
    /// Administrate a server, in the syntax of pulsar-admin
    Admin(admin::Arguments),
}

/// The client speaks for itself; what its library logs is for `RUST_LOG`.
const CLIENT_LOG: &str = "off";

fn main() -> ExitCode {
    match name::Program::called(std::env::args_os().next().as_deref()) {
        name::Program::Broker => broker::main(),
        name::Program::Bookie => bookie::main(),
        name::Program::Geminga => geminga(),
    }
}

fn geminga() -> ExitCode {
    let Arguments { url, admin, command } = match Arguments::try_parse_from(admin::respelled(std::env::args_os())) {
        Ok(arguments) => arguments,
        Err(error) => return daemon::answer_command_line(&error),
    };
    match command {
        Command::Standalone(arguments) => daemon::supervise("geminga standalone", "info", async |drain| {
            Box::pin(standalone::run(arguments, drain)).await
        }),
        Command::Produce(arguments) => daemon::supervise("geminga produce", CLIENT_LOG, async |drain| {
            Box::pin(produce::run(arguments, &url.parse().map_err(daemon::Failure::usage)?, drain)).await
        }),
        Command::Consume(arguments) => daemon::supervise("geminga consume", CLIENT_LOG, async |drain| {
            consume::run(arguments, &url.parse().map_err(daemon::Failure::usage)?, drain).await
        }),
        Command::Health(arguments) => {
            daemon::supervise("geminga health", CLIENT_LOG, async |_| health::run(arguments, &admin).await)
        }
        Command::Doctor(arguments) => daemon::supervise("geminga doctor", CLIENT_LOG, async |_| {
            let now = std::time::Duration::from_millis(broker::Clock::system().now_ms());
            Box::pin(doctor::run(arguments, now)).await
        }),
        Command::Proxy(arguments) => {
            daemon::supervise("geminga proxy", "info", async |drain| Box::pin(proxy::run(arguments, drain)).await)
        }
        Command::Admin(arguments) => daemon::supervise("geminga admin", CLIENT_LOG, async |drain| {
            let now_ms = broker::Clock::system().now_ms();
            let mut out = std::io::stdout();
            tokio::select! {
                outcome = admin::run(arguments, &admin, now_ms, &mut out) => outcome,
                () = drain.requested() => Err(daemon::Failure::try_again("interrupted; what was asked may have been done")),
            }
        }),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::try_parse_from(line.split(' ')).map_err(|error| error.to_string())
    }

    #[test]
    fn urls_have_defaults_and_stand_before_or_after_the_command() {
        let plain = parse("geminga consume t").expect("fine");
        if std::env::var_os("GEMINGA_URL").is_none() {
            assert_eq!(plain.url, "pulsar://127.0.0.1:6650");
        }
        for line in ["geminga --url pulsar://a:1 consume t", "geminga consume t --url pulsar://a:1"] {
            assert_eq!(parse(line).expect(line).url, "pulsar://a:1");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for line in [
            "geminga",
            "geminga produce",
            "geminga produce t --file",
            "geminga consume",
            "geminga consume t -n x",
            "geminga consume t -n 0",
            "geminga consume t u",
            "geminga consume t -s ",
            "geminga listen",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
