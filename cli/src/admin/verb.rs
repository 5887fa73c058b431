//! What a command of the table is made of. The tables themselves read as sentences: see [`super::topics`].
use serde_json::Value;

use super::given::Given;
use super::show::Part;
use super::value::Kind;
use daemon::Failure;

/// A group of commands: the first word after `admin`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resource {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// In groups, in the order of the help.
    pub(super) verbs: &'static [&'static [Verb]],
}

impl Resource {
    pub(super) fn verbs(&self) -> impl Iterator<Item = &'static Verb> {
        self.verbs.iter().flat_map(|group| group.iter())
    }
}

/// One command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verb {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) method: Method,
    /// With `{argument}` for an argument, and `{/argument}` for one that is a part of the path only when given.
    pub(super) path: &'static str,
    pub(super) takes: &'static [Argument],
    pub(super) way: Way,
    pub(super) shows: Shows,
    /// What in an answer is a failure nevertheless.
    pub(super) alarm: Option<fn(&Value) -> Option<Failure>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Put,
    Post,
    Delete,
}

/// How many requests a command makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The one that the table describes.
    One,
    /// The same as long as the work runs, if that is wanted.
    UntilDone,
    /// Again behind what the last answer ended with, as long as it says so; what was found is joined.
    EachPart,
    /// For each domain of topics that was not left out; the lists are joined.
    EachDomain,
    /// With the clusters there are for those that were not given.
    NewTenant,
    /// With what stands there for what was not given.
    ChangedTenant,
    /// To a message, or to the time that lies so far back.
    ResetCursor,
    /// One version, the latest, or all of them.
    Schemas,
    /// With the position that keeps so many bytes, which is found first.
    Offload,
    /// The second with the time, if one was given.
    Threshold,
    /// The second for the time.
    BothThresholds,
    /// For each of so many messages; they are told apart where they lie in batches.
    Messages,
}

/// What people see of an answer. Scripts (`-o json`) always see the answer itself.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shows {
    /// What its shape suggests: lines, a table, or names with values.
    Shape,
    /// Chosen parts of it.
    Parts(&'static [Part]),
    /// A text made of it.
    Text(fn(&Given, &Value) -> Result<String, Failure>),
}

/// Something that a command takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Argument {
    pub(super) name: &'static str,
    /// `-s --size-threshold`; several letters after one dash are written as Pulsar's tools write them. Without flags it is told
    /// by its place.
    pub(super) flags: &'static str,
    pub(super) kind: Kind,
    pub(super) goes: Goes,
    pub(super) needed: bool,
    pub(super) default: Option<&'static str>,
    pub(super) help: &'static str,
}

/// Where in the request it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goes {
    /// Where its name stands in the path, or wherever the command's way puts it.
    Path,
    Query(&'static str),
    /// It is the body. Beside fields, an object takes them in and anything else becomes one of them, by its own name.
    Body,
    /// Into the object that is the body.
    Field(&'static str),
}

const fn verb(method: Method, name: &'static str, path: &'static str, about: &'static str) -> Verb {
    Verb { name, about, method, path, takes: &[], way: Way::One, shows: Shows::Shape, alarm: None }
}

pub(super) const fn get(name: &'static str, path: &'static str, about: &'static str) -> Verb {
    verb(Method::Get, name, path, about)
}

pub(super) const fn put(name: &'static str, path: &'static str, about: &'static str) -> Verb {
    verb(Method::Put, name, path, about)
}

pub(super) const fn post(name: &'static str, path: &'static str, about: &'static str) -> Verb {
    verb(Method::Post, name, path, about)
}

pub(super) const fn delete(name: &'static str, path: &'static str, about: &'static str) -> Verb {
    verb(Method::Delete, name, path, about)
}

impl Verb {
    pub(super) const fn takes(self, takes: &'static [Argument]) -> Self {
        Self { takes, ..self }
    }

    pub(super) const fn way(self, way: Way) -> Self {
        Self { way, ..self }
    }

    pub(super) const fn shows(self, shows: Shows) -> Self {
        Self { shows, ..self }
    }

    pub(super) const fn alarm(self, alarm: fn(&Value) -> Option<Failure>) -> Self {
        Self { alarm: Some(alarm), ..self }
    }
}

/// Told by its place, part of the path.
pub(super) const fn positional(name: &'static str, kind: Kind, help: &'static str) -> Argument {
    Argument { name, flags: "", kind, goes: Goes::Path, needed: true, default: None, help }
}

pub(super) const fn flag(name: &'static str, flags: &'static str, kind: Kind, help: &'static str) -> Argument {
    Argument { name, flags, kind, goes: Goes::Path, needed: false, default: None, help }
}

/// Given or not.
pub(super) const fn switch(name: &'static str, flags: &'static str, help: &'static str) -> Argument {
    flag(name, flags, Kind::Switch, help)
}

/// `first`, then `rest`.
pub(super) const fn before<const N: usize, const ALL: usize>(first: Argument, rest: [Argument; N]) -> [Argument; ALL] {
    assert!(ALL == N + 1, "one more than the rest");
    let mut all = [first; ALL];
    let mut at = 0;
    while at < N {
        all[at + 1] = rest[at];
        at += 1;
    }
    all
}

impl Argument {
    pub(super) const fn needed(self) -> Self {
        Self { needed: true, ..self }
    }

    pub(super) const fn optional(self) -> Self {
        Self { needed: false, ..self }
    }

    pub(super) const fn or(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    pub(super) const fn query(self, name: &'static str) -> Self {
        Self { goes: Goes::Query(name), ..self }
    }

    pub(super) const fn body(self) -> Self {
        Self { goes: Goes::Body, ..self }
    }

    pub(super) const fn field(self, name: &'static str) -> Self {
        Self { goes: Goes::Field(name), ..self }
    }
}
