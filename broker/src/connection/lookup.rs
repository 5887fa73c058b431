//! Who serves a topic, and how many partitions it has.
use std::sync::Arc;

use proto::TopicName;
use proto::pulsar::{
    BaseCommand, CommandLookupTopic, CommandLookupTopicResponse, CommandPartitionedTopicMetadata,
    CommandPartitionedTopicMetadataResponse, ServerError, command_lookup_topic_response,
    command_partitioned_topic_metadata_response,
};

use super::errors::{Answer, Fault, answer_to_lookup};
use super::session::{Done, Session};
use crate::Context;
use crate::namespaces::NamespaceError;
use crate::ownership::Owner;
use crate::presence;

pub(super) fn done(command: impl Into<BaseCommand>) -> Done {
    Done::Answer(Box::new(command.into()))
}

impl Session {
    pub(super) fn client(&self) -> Arc<crate::outbox::Client> {
        self.client.clone().expect("no command is handled before CONNECT")
    }

    pub(super) fn lookup(&mut self, lookup: CommandLookupTopic) {
        let (context, client) = (self.house.context.clone(), self.client());
        self.request(lookup.request_id, async move {
            let found = owner(&context, &lookup).await.map_err(|fault| match fault {
                Refused::Fault(fault) => answer_to_lookup(fault, &client),
                Refused::Answer(answer) => answer,
            });
            done(match found {
                Ok((url, proxied)) => CommandLookupTopicResponse {
                    broker_service_url: Some(url),
                    response: Some(command_lookup_topic_response::LookupType::Connect.into()),
                    request_id: lookup.request_id,
                    authoritative: Some(true),
                    proxy_through_service_url: Some(proxied),
                    ..Default::default()
                },
                Err((error, message)) => CommandLookupTopicResponse {
                    response: Some(command_lookup_topic_response::LookupType::Failed.into()),
                    request_id: lookup.request_id,
                    error: Some(error.into()),
                    message: Some(message),
                    ..Default::default()
                },
            })
        });
    }

    pub(super) fn partition_metadata(&mut self, asked: CommandPartitionedTopicMetadata) {
        let (context, client) = (self.house.context.clone(), self.client());
        self.request(asked.request_id, async move {
            let count = async {
                let name: TopicName = asked.topic.parse()?;
                let create = asked.metadata_auto_creation_enabled();
                match context.namespaces.partition_metadata(&name, create).await {
                    Err(NamespaceError::TopicNotFound(_)) if presence::is_passing(&context, &name).await? => Ok(0),
                    found => Ok::<_, Fault>(found?),
                }
            };
            use command_partitioned_topic_metadata_response::LookupType;
            let request_id = asked.request_id;
            done(match count.await.map_err(|fault| answer_to_lookup(fault, &client)) {
                Ok(partitions) => CommandPartitionedTopicMetadataResponse {
                    partitions: Some(partitions),
                    request_id,
                    response: Some(LookupType::Success.into()),
                    ..Default::default()
                },
                Err((error, message)) => CommandPartitionedTopicMetadataResponse {
                    request_id,
                    response: Some(LookupType::Failed.into()),
                    error: Some(error.into()),
                    message: Some(message),
                    ..Default::default()
                },
            })
        });
    }
}

enum Refused {
    Fault(Fault),
    Answer(Answer),
}

impl<E: Into<Fault>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

/// The URL of the broker that serves a topic, and whether the client should rather come back the way it came.
async fn owner(context: &Context, lookup: &CommandLookupTopic) -> Result<(String, bool), Refused> {
    let name: TopicName = lookup.topic.parse()?;
    let owner = context.ownership.lookup(&name).await?;
    let listener = lookup.advertised_listener_name();
    if !listener.is_empty() {
        let record = match &owner {
            Owner::Here => context.ownership.me(),
            Owner::At(record) => record,
        };
        // Clients compare this text.
        let unknown =
            || Refused::Answer((ServerError::ServiceNotReady, format!("the broker do not have {listener} listener")));
        return Ok((format!("pulsar://{}", record.listeners.get(listener).ok_or_else(unknown)?), false));
    }
    let (broker, proxied) = match owner {
        // Reachable under whatever name and port the client used: it knows them, the broker does not.
        Owner::Here => (context.broker.clone(), context.standalone && context.config.advertised_address.is_empty()),
        Owner::At(record) => (record.broker, false),
    };
    Ok((format!("pulsar://{broker}"), proxied))
}
