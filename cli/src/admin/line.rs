//! The command line of the tables, in the syntax of Pulsar's own tool.
use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgGroup, Command};

use super::TABLES;
use super::value::Kind;
use super::verb::{Argument, Resource, Verb};

/// Where there are both, one of them is given.
const EITHER: [&str; 2] = ["enable", "disable"];

pub(super) fn command(resource: &Resource) -> Command {
    let verbs = resource.verbs().map(of_verb);
    Command::new(resource.name)
        .about(resource.about)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(verbs)
}

fn of_verb(verb: &Verb) -> Command {
    let command = Command::new(verb.name).about(verb.about).args(verb.takes.iter().map(of_argument));
    if EITHER.iter().all(|name| verb.takes.iter().any(|argument| argument.name == *name)) {
        return command.group(ArgGroup::new("either").args(EITHER).required(true));
    }
    command
}

fn of_argument(argument: &Argument) -> Arg {
    let kind = argument.kind;
    let mut arg = Arg::new(argument.name)
        .help(argument.help)
        .required(argument.needed)
        .value_name(kind.placeholder())
        .value_parser(move |text: &str| kind.read(text))
        .allow_negative_numbers(kind != Kind::Switch)
        .hide(matches!(kind, Kind::Refused(_)));
    if let Some(default) = argument.default {
        arg = arg.default_value(default);
    }
    if kind.gathers() {
        arg = arg.action(ArgAction::Append);
    }
    if kind == Kind::Switch {
        arg = arg.action(ArgAction::SetTrue);
    }
    argument.flags.split_terminator(' ').fold(arg, spelled)
}

/// With one more spelling. The first long and the first short one are shown.
fn spelled(arg: Arg, flag: &'static str) -> Arg {
    let letters = flag.trim_start_matches('-');
    let short = letters.chars().next().filter(|_| letters.len() == 1);
    match short {
        Some(letter) if arg.get_short().is_none() => arg.short(letter),
        Some(letter) => arg.short_alias(letter),
        None if flag.starts_with("--") && arg.get_long().is_none() => arg.long(letters),
        None => arg.alias(letters),
    }
}

/// Pulsar's tool has flags of several letters after one dash (`-td`), which are read here as if they had two.
pub(crate) fn respelled(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let words: Vec<OsString> = words.collect();
    let mut values = false;
    let mut begin = words.iter().skip(1).skip_while(|word| {
        let is_value = std::mem::replace(&mut values, false);
        values = *word == "--url" || *word == "--admin";
        is_value || word.to_string_lossy().starts_with("--")
    });
    if begin.next().is_none_or(|word| word != "admin") {
        return words;
    }
    let arguments = || TABLES.iter().flat_map(Resource::verbs).flat_map(|verb| verb.takes);
    let is_known = |word: &str| {
        let flag = word.split('=').next().unwrap_or(word);
        let single = flag.starts_with('-') && !flag.starts_with("--") && 2 < flag.len();
        single && arguments().any(|argument| argument.flags.split(' ').any(|known| known == flag))
    };
    let respell = |word: OsString| match word.to_str() {
        Some(text) if is_known(text) => format!("-{text}").into(),
        _ => word,
    };
    words.into_iter().map(respell).collect()
}
