//! What follows from the versions that a topic has. A value: what it is read from, and what is done with it, is for others.
use proto::records::SchemaRecord;

use super::{Rules, Schema, SchemaError, Strategy, check, compatible};

/// More versions are refused: whoever adds so many has a schema that never ends.
pub(super) const VERSIONS_MAX: u64 = 1000;
/// All of them are read whenever somebody attaches.
pub(super) const HISTORY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The versions of a topic's schema.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    /// Those after the last mark of a deletion, oldest first.
    live: Vec<SchemaRecord>,
    /// The highest version, also if it is a mark.
    last: Option<SchemaRecord>,
}

/// What becomes of a schema that somebody attaches with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is there.
    Found(u64),
    /// It becomes this version.
    Add(u64),
}

impl History {
    /// From all records, oldest first.
    pub(super) fn new(mut records: Vec<SchemaRecord>) -> Self {
        let last = records.last().cloned();
        if let Some(mark) = records.iter().rposition(|record| record.deleted) {
            records.drain(..=mark);
        }
        Self { live: records, last }
    }

    /// Versions that can be asked for, oldest first.
    pub(crate) fn live(&self) -> &[SchemaRecord] {
        &self.live
    }

    /// The latest, which may be the mark of a deletion.
    pub(crate) fn last(&self) -> Option<&SchemaRecord> {
        self.last.as_ref()
    }

    /// The version after the last.
    pub(super) fn next(&self) -> u64 {
        self.last.as_ref().map_or(0, |last| last.version + 1)
    }

    /// The version that is the same schema.
    pub(super) fn find(&self, schema: &Schema) -> Option<u64> {
        let live = || self.live.iter().map(|record| (record.version, Schema::of_record(record)));
        // Bytes first: that needs no parsing.
        let equal = live().find(|(_, there)| there.kind == schema.kind && there.data == schema.data);
        let same = || live().find(|(_, there)| compatible::is_same(there, schema));
        equal.or_else(same).map(|(version, _)| version)
    }

    /// Whether a schema may follow, as `strategy` wants it. The first always may.
    pub(super) fn admits(&self, schema: &Schema, strategy: Strategy) -> Result<(), SchemaError> {
        let live: Vec<Schema> = self.live.iter().map(Schema::of_record).collect();
        match live.last() {
            None => Ok(()),
            Some(_) if strategy.is_transitive() => {
                compatible::with_all(&live.iter().collect::<Vec<_>>(), schema, strategy)
            }
            Some(latest) => compatible::with_latest(latest, schema, strategy),
        }
    }

    /// What becomes of the schema of a producer, or of one that an operator gives. Only clients need leave to add one.
    pub(super) fn add(&self, schema: &Schema, strategy: Strategy, may_add: bool) -> Result<Decision, SchemaError> {
        if let Some(version) = self.find(schema) {
            return Ok(Decision::Found(version));
        }
        if !may_add {
            let text = "Schema not found and schema auto updating is disabled.";
            return Err(SchemaError::Incompatible(text.into()));
        }
        self.admits(schema, strategy)?;
        let bytes: usize = self.live.iter().map(|record| check::size(&Schema::of_record(record))).sum();
        if VERSIONS_MAX <= self.live.len() as u64 || HISTORY_BYTES_MAX < bytes + check::size(schema) {
            let text = format!(
                "the topic has {} versions of its schema in {bytes} bytes, of which {VERSIONS_MAX} in {HISTORY_BYTES_MAX} bytes \
                 are allowed",
                self.live.len()
            );
            return Err(SchemaError::Incompatible(text));
        }
        Ok(Decision::Add(self.next()))
    }

    /// Whether a consumer with this schema may read the topic. `None`: there is nothing to compare with.
    pub(super) fn consumer(&self, schema: &Schema, rules: Rules) -> Option<Result<(), SchemaError>> {
        let live: Vec<Schema> = self.live.iter().map(Schema::of_record).collect();
        let latest = live.last()?;
        Some(match rules.strategy {
            Strategy::Backward | Strategy::Forward | Strategy::ForwardTransitive | Strategy::Full => {
                compatible::with_latest(latest, schema, Strategy::Backward)
            }
            strategy => compatible::with_all(&live.iter().collect::<Vec<_>>(), schema, strategy),
        })
    }
}
