//! `geminga admin`: administration over HTTP, in the syntax of Pulsar's own tool.
//!
//! Owns: the table of commands, what people and scripts see of the answers, and the exit codes.
//! Promises: every command is one row of a table; a refusal is shown in the server's words, and its exit code says who may mend it.
//! Never: speaks to metadata, bookies or object stores itself. What a server does not offer, it says.
mod value; // What may be given,
mod verb; // what a row of a table is,

mod bookies; // the tables,
mod clusters;
mod daily;
mod messages;
mod namespaces;
mod offload;
mod plain;
mod policies;
mod topics;

mod given; // and from the command line to what is shown.
mod line;
mod request;
mod server;
mod show;
mod steps;

#[cfg(test)]
mod tests;

use std::io::{ErrorKind, Write};

use clap::builder::EnumValueParser;
use clap::error::ErrorKind as Wrong;
use clap::{Arg, ArgMatches, Command, FromArgMatches, ValueEnum};
use daemon::Failure;
use serde_json::Value;

use given::Given;
pub(crate) use line::respelled;
use server::Server;
use verb::{Resource, Shows, Verb};

/// Everything there is, in the order of the help.
const TABLES: [Resource; 11] = [
    topics::TOPICS,
    policies::TOPIC_POLICIES,
    namespaces::NAMESPACES,
    clusters::TENANTS,
    clusters::CLUSTERS,
    clusters::BROKERS,
    daily::BROKER_STATS,
    bookies::BOOKIES,
    clusters::SCHEMAS,
    topics::LOOKUP,
    offload::OFFLOAD,
];

/// How answers are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// The server's answer, for scripts
    Json,
}

/// One command of the tables.
#[derive(Debug, Clone)]
pub(crate) struct Arguments {
    resource: &'static str,
    verb: Verb,
    given: Given,
    output: Output,
}

impl clap::Args for Arguments {
    fn augment_args(command: Command) -> Command {
        let output = Arg::new("output").short('o').long("output").global(true).display_order(100);
        let output = output.value_parser(EnumValueParser::<Output>::new()).hide_possible_values(true);
        let output = output.value_name("FORMAT").default_value("table");
        let output = output.help("`table` for people, or `json`: the server's answer, for scripts");
        command
            .subcommand_required(true)
            .arg_required_else_help(true)
            .arg(output)
            .subcommands(TABLES.iter().map(line::command))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Arguments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let output = matches.get_one("output").copied().unwrap_or(Output::Table);
        let chosen = matches.subcommand().and_then(|(name, matches)| {
            let resource = TABLES.iter().find(|resource| resource.name == name)?;
            let (name, matches) = matches.subcommand()?;
            let verb = *resource.verbs().find(|verb| verb.name == name)?;
            Some(Self { resource: resource.name, verb, given: Given::of(&verb, matches), output })
        });
        chosen.ok_or_else(|| clap::Error::new(Wrong::MissingSubcommand))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Asks the server at `url` and writes what it answers to `out`. `now_ms` is the time.
pub(crate) async fn run(arguments: Arguments, url: &str, now_ms: u64, out: &mut impl Write) -> Result<(), Failure> {
    let Arguments { resource, verb, given, output } = arguments;
    let named = |failure: Failure| Failure { message: format!("{resource} {}: {failure}", verb.name), ..failure };
    let server = Server::at(url)?;
    let answer = steps::run(&server, &verb, given.clone(), now_ms).await.map_err(named)?;
    let text = match output {
        Output::Json => json(&answer),
        Output::Table => table(&verb, &given, &answer).map_err(named)?,
    };
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            return Err(Failure::internal(format!("cannot write the answer: {error}")));
        }
        _ => {} // Whoever read had enough.
    }
    verb.alarm.and_then(|alarm| alarm(&answer)).map_or(Ok(()), |failure| Err(named(failure)))
}

/// What was only done has nothing to say.
fn json(answer: &Value) -> String {
    if answer.is_null() { String::new() } else { format!("{answer:#}\n") }
}

fn table(verb: &Verb, given: &Given, answer: &Value) -> Result<String, Failure> {
    match verb.shows {
        Shows::Shape => Ok(show::shape(answer)),
        Shows::Parts(parts) => Ok(show::parts(parts, answer)),
        Shows::Text(text) => text(given, answer),
    }
}
