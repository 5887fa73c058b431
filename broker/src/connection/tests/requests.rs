use super::*;

#[tokio::test]
async fn a_lookup_leads_back_the_way_the_client_came_in_standalone() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.send(CommandLookupTopic { topic: TOPIC.into(), request_id: 1, ..Default::default() }).await;
    let found = client.expect(Type::LookupResponse).await.lookup_topic_response.unwrap();
    assert_eq!(found.response(), command_lookup_topic_response::LookupType::Connect);
    assert_eq!(found.broker_service_url, Some(format!("pulsar://{}", broker.address)));
    assert!(found.proxy_through_service_url());
    let listener = Some("inside".to_string());
    let named = CommandLookupTopic { advertised_listener_name: listener, topic: TOPIC.into(), ..Default::default() };
    client.send(named).await;
    let refused = client.expect(Type::LookupResponse).await.lookup_topic_response.unwrap();
    assert_eq!(refused.message(), "the broker do not have inside listener");
    let listener = Some("outside".to_string());
    let named = CommandLookupTopic { advertised_listener_name: listener, topic: TOPIC.into(), ..Default::default() };
    client.send(named).await;
    let found = client.expect(Type::LookupResponse).await.lookup_topic_response.unwrap();
    assert_eq!(found.broker_service_url(), "pulsar://203.0.113.1:16650");
    assert!(!found.proxy_through_service_url());
    for (topic, code) in [("a/b", ServerError::InvalidTopicName), ("no/where/x", ServerError::TopicNotFound)] {
        client.send(CommandLookupTopic { topic: topic.into(), request_id: 2, ..Default::default() }).await;
        let refused = client.expect(Type::LookupResponse).await.lookup_topic_response.unwrap();
        assert_eq!(refused.error(), code);
    }
}

#[tokio::test]
async fn partition_metadata_answers_inside_its_response() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    let ask = |topic: &str, create| CommandPartitionedTopicMetadata {
        topic: topic.into(),
        request_id: 1,
        metadata_auto_creation_enabled: Some(create),
        ..Default::default()
    };
    client.send(ask(TOPIC, true)).await;
    let found = client.expect(Type::PartitionedMetadataResponse).await.partition_metadata_response.unwrap();
    assert_eq!(found.partitions, Some(0));
    client.send(ask("a/b", true)).await;
    let found = client.expect(Type::PartitionedMetadataResponse).await.partition_metadata_response.unwrap();
    assert_eq!(found.error(), ServerError::InvalidTopicName);
    client.send(ask("persistent://public/default/absent", false)).await;
    let found = client.expect(Type::PartitionedMetadataResponse).await.partition_metadata_response.unwrap();
    assert_eq!(found.error(), ServerError::TopicNotFound);
}

#[tokio::test]
async fn a_namespace_lists_its_topics_once_per_hash() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.producer(TOPIC, 1).await;
    client.producer("persistent://public/default/__change_events", 2).await;
    let ask = |namespace: &str, topics_hash| CommandGetTopicsOfNamespace {
        request_id: 1,
        namespace: namespace.into(),
        topics_hash,
        ..Default::default()
    };
    client.send(ask("public/default", None)).await;
    let found = client.expect(Type::GetTopicsOfNamespaceResponse).await.get_topics_of_namespace_response.unwrap();
    assert_eq!((found.topics.clone(), found.changed()), (vec![TOPIC.to_string()], true));
    client.send(ask("public/default", found.topics_hash)).await;
    let found = client.expect(Type::GetTopicsOfNamespaceResponse).await.get_topics_of_namespace_response.unwrap();
    assert_eq!((found.topics.len(), found.changed()), (0, false));
    client.send(ask("no/where", None)).await;
    let found = client.expect(Type::GetTopicsOfNamespaceResponse).await.get_topics_of_namespace_response.unwrap();
    assert_eq!(found.topics.len(), 0);
}

#[tokio::test]
async fn what_is_not_built_is_refused_by_name_and_the_connection_stays() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.send(CommandNewTxn { request_id: 7, ..Default::default() }).await;
    let refused = client.expect(Type::NewTxnResponse).await.new_txn_response.unwrap();
    assert_eq!((refused.request_id, refused.error()), (7, ServerError::NotAllowedError));
    assert_eq!(refused.message(), "Transactions are not enabled.");
    for kind in 70..=82u8 {
        // A body in a field of that number, which holds a request id.
        let command = [0x08, kind, (((u32::from(kind) << 3) | 2) & 0x7f) as u8 | 0x80, (kind >> 4), 2, 0x08, 33];
        let mut bytes = vec![0, 0, 0, 4 + command.len() as u8, 0, 0, 0, command.len() as u8];
        bytes.extend(command);
        client.write(&bytes).await;
        client.expect_error(33, ServerError::NotAllowedError).await;
    }
    client.expect_silence().await;
}

#[tokio::test]
async fn consumer_stats_count_permits_and_backlog() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.producer(TOPIC, 1).await;
    client.subscribed("s", SubType::Shared, 2).await;
    client.publish(1, 0, "x").await;
    client.publish(1, 1, "y").await;
    client.flow(2, 5).await;
    client.messages(2).await;
    client.send(CommandConsumerStats { request_id: 1, consumer_id: 2 }).await;
    let stats = client.expect(Type::ConsumerStatsResponse).await.consumer_stats_response.unwrap();
    assert_eq!((stats.available_permits(), stats.unacked_messages(), stats.msg_backlog()), (3, 2, 2));
    client.send(CommandConsumerStats { request_id: 1, consumer_id: 9 }).await;
    let stats = client.expect(Type::ConsumerStatsResponse).await.consumer_stats_response.unwrap();
    assert_eq!(stats.error_code(), ServerError::ConsumerNotFound);
}

#[tokio::test]
async fn a_topic_in_use_is_deleted_only_by_force_and_its_name_is_free_at_once() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.producer(TOPIC, 1).await;
    client.publish(1, 0, "old").await;
    let topics = &broker.context.topics;
    assert!(matches!(topics.delete(&name(TOPIC), false).await, Err(crate::topic::TopicError::ActiveUsers)));
    topics.delete(&name(TOPIC), true).await.unwrap();
    client.expect(Type::CloseProducer).await;
    client.producer(TOPIC, 1).await;
    client.publish(1, 0, "new").await;
    client.subscribed("s", SubType::Shared, 2).await;
    client.flow(2, 5).await;
    assert_eq!(client.message().await.0, "new");
}
