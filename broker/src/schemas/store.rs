//! Where schemas are kept, one record per version, and the one way to change them.
use std::sync::Arc;

use metadata::{Error, Expect, Key, MetadataStore, Operation, Record, Transaction};
use prost::Message;
use proto::records::SchemaRecord;
use proto::{NamespaceName, TopicName, keys};

use super::history::{Decision, History};
use super::{Rules, Schema, SchemaError, Strategy, check};
use crate::Clock;

/// Registers and finds schemas. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Schemas {
    metadata: Arc<dyn MetadataStore>,
    clock: Clock,
}

/// How many records one question to the metadata brings, and one transaction deletes.
const PAGE: usize = 50;
/// A change is tried again when somebody else was quicker.
const ATTEMPTS: usize = 32;

/// A topic's versions as they were read.
struct Kept {
    history: History,
    /// Oldest first, what deletions have left included.
    records: Vec<Record>,
}

impl Kept {
    /// That the last version is still the last, for the transaction that adds one.
    fn unchanged(&self) -> Vec<Operation> {
        let last = self.records.last();
        last.map(|last| Operation::check(last.key.clone(), Expect::Version(last.version))).into_iter().collect()
    }
}

impl Schemas {
    /// Keeps schemas in `metadata`.
    pub(crate) fn new(metadata: Arc<dyn MetadataStore>, clock: Clock) -> Self {
        Self { metadata, clock }
    }

    /// All versions of a topic's schema, of which its partitions have none of their own.
    pub(crate) async fn history(&self, topic: &TopicName) -> Result<History, SchemaError> {
        Ok(self.kept(topic).await?.history)
    }

    /// The version under which a client's schema is kept, added now if the rules let it.
    pub(crate) async fn register(&self, topic: &TopicName, schema: Schema, rules: Rules) -> Result<u64, SchemaError> {
        self.add(topic, schema, rules.strategy, rules.clients_add).await
    }

    /// The same for an operator, who may always add one that fits.
    pub(crate) async fn add_by_operator(
        &self,
        topic: &TopicName,
        schema: Schema,
        strategy: Strategy,
    ) -> Result<u64, SchemaError> {
        self.add(topic, schema, strategy, true).await
    }

    async fn add(
        &self,
        topic: &TopicName,
        schema: Schema,
        strategy: Strategy,
        may_add: bool,
    ) -> Result<u64, SchemaError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let schema = schema.clone();
            let kept = self.kept(topic).await?;
            let history = kept.history.clone();
            let (schema, decision) = beside(move || {
                check::check(&schema)?;
                let decision = history.add(&schema, strategy, may_add)?;
                Ok((schema, decision))
            })
            .await?;
            let version = match decision {
                Decision::Found(version) => return Ok(version),
                Decision::Add(version) => version,
            };
            let record = SchemaRecord {
                version,
                r#type: schema.kind.into(),
                name: schema.name,
                data: schema.data,
                properties: schema.properties.into_iter().collect(),
                created_at: self.clock.now_ms(),
                deleted: false,
            };
            match self.put(topic, &kept, &record).await {
                Err(Error::Conflict { .. }) if attempts < ATTEMPTS => {}
                put => return Ok(put.map(|()| version)?),
            }
        }
    }

    async fn put(&self, topic: &TopicName, kept: &Kept, record: &SchemaRecord) -> Result<(), Error> {
        let key = keys::schema(&topic.partitioned(), record.version);
        let mut operations = kept.unchanged();
        operations.push(Operation::put(key, record.encode_to_vec(), Expect::Absent));
        self.metadata.commit(Transaction::new(operations)).await.map(drop)
    }

    /// Whether a consumer with this schema may read the topic. `None`: the topic has none.
    pub(crate) async fn admits_consumer(
        &self,
        topic: &TopicName,
        schema: Schema,
        rules: Rules,
    ) -> Result<Option<()>, SchemaError> {
        let history = self.history(topic).await?;
        beside(move || {
            check::check(&schema)?;
            history.consumer(&schema, rules).transpose()
        })
        .await
    }

    /// Whether a schema could be added.
    pub(crate) async fn admits(
        &self,
        topic: &TopicName,
        schema: Schema,
        strategy: Strategy,
    ) -> Result<(), SchemaError> {
        let history = self.history(topic).await?;
        beside(move || {
            check::check(&schema)?;
            history.admits(&schema, strategy)
        })
        .await
    }

    /// The version that is this schema, byte for byte.
    pub(crate) async fn find(&self, topic: &TopicName, schema: &Schema) -> Result<Option<u64>, SchemaError> {
        let history = self.history(topic).await?;
        let same = |record: &&SchemaRecord| record.r#type == i32::from(schema.kind) && record.data == schema.data;
        Ok(history.live().iter().find(same).map(|record| record.version))
    }

    /// Marks the schema as deleted. Gives the version of the mark.
    pub(crate) async fn mark_deleted(&self, topic: &TopicName) -> Result<u64, SchemaError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let kept = self.kept(topic).await?;
            let version = kept.history.next();
            let mark =
                SchemaRecord { version, deleted: true, created_at: self.clock.now_ms(), ..SchemaRecord::default() };
            match self.put(topic, &kept, &mark).await {
                Err(Error::Conflict { .. }) if attempts < ATTEMPTS => {}
                put => {
                    put?;
                    self.sweep(&kept.records).await?;
                    return Ok(version);
                }
            }
        }
    }

    /// Takes away what a mark has made invisible. Each record as it was read: its number may begin anew.
    async fn sweep(&self, records: &[Record]) -> Result<(), Error> {
        for some in records.chunks(PAGE) {
            let deletes = some.iter().map(|one| Operation::delete(one.key.clone(), Expect::Version(one.version)));
            match self.metadata.commit(Transaction::new(deletes.collect())).await {
                Ok(_) | Err(Error::Conflict { .. }) => {} // Somebody else sweeps too, or the next deletion will.
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Forgets all versions: the next one begins at 0, unless somebody is quicker to add one. Called when the topic, with all its
    /// partitions, is deleted.
    pub(crate) async fn delete(&self, topic: &TopicName) -> Result<(), SchemaError> {
        if self.kept(topic).await?.records.is_empty() {
            return Ok(());
        }
        let mark = self.mark_deleted(topic).await?;
        let topic = topic.partitioned();
        let Some(kept) = self.metadata.get(&Key::from(keys::schema(&topic, mark))).await? else { return Ok(()) };
        let deletes = vec![
            Operation::delete(kept.key, Expect::Version(kept.version)),
            Operation::check(keys::schema(&topic, mark + 1), Expect::Absent),
        ];
        match self.metadata.commit(Transaction::new(deletes)).await {
            Ok(_) | Err(Error::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets the schemas of a namespace that is deleted: they may be of topics that were never made.
    pub(crate) async fn delete_of_namespace(&self, namespace: &NamespaceName) -> Result<(), SchemaError> {
        let records = self.list(&keys::schemas_of_namespace(namespace)).await?;
        Ok(self.sweep(&records).await?)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Record>, Error> {
        let mut records: Vec<Record> = Vec::new();
        loop {
            let page = self.metadata.list(prefix, records.last().map(|record| &record.key), PAGE).await?;
            records.extend(page.records);
            if !page.more {
                return Ok(records);
            }
        }
    }

    async fn kept(&self, topic: &TopicName) -> Result<Kept, SchemaError> {
        let records = self.list(&keys::schemas(&topic.partitioned())).await?;
        let decoded = records.iter().map(|record| {
            SchemaRecord::decode(record.value.clone()).map_err(|_| Error::Corrupt { key: record.key.clone() })
        });
        let history = History::new(decoded.collect::<Result<_, _>>()?);
        Ok(Kept { history, records })
    }
}

/// Comparing schemas may take milliseconds, and what else a thread of the runtime serves must not wait for it.
async fn beside<T: Send + 'static>(
    decide: impl FnOnce() -> Result<T, SchemaError> + Send + 'static,
) -> Result<T, SchemaError> {
    match tokio::task::spawn_blocking(decide).await {
        Ok(decided) => decided,
        Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
        Err(_) => Err(Error::Unavailable { reason: "the broker is closing".into() }.into()),
    }
}
