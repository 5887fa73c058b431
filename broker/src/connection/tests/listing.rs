//! Patterns, and watchers of a namespace's topics.
use super::*;

const NAMESPACE: &str = "public/default";

fn full(local: &str) -> String {
    format!("persistent://{NAMESPACE}/{local}")
}

async fn create(broker: &Broker, local: &str) {
    let put = Operation::put(keys::topic(&name(&full(local))), vec![], Expect::Absent);
    broker.context.metadata.commit(Transaction::new(vec![put])).await.unwrap();
}

async fn remove(broker: &Broker, local: &str) {
    let delete = Operation::delete(keys::topic(&name(&full(local))), Expect::Any);
    broker.context.metadata.commit(Transaction::new(vec![delete])).await.unwrap();
}

fn watch(watcher_id: u64, pattern: &str) -> CommandWatchTopicList {
    watch_in(NAMESPACE, watcher_id, pattern, None)
}

fn watch_in(namespace: &str, watcher_id: u64, pattern: &str, topics_hash: Option<String>) -> CommandWatchTopicList {
    CommandWatchTopicList {
        request_id: watcher_id,
        watcher_id,
        namespace: namespace.into(),
        topics_pattern: pattern.into(),
        topics_hash,
    }
}

impl Client {
    async fn watching(&mut self) -> CommandWatchTopicListSuccess {
        self.expect(Type::WatchTopicListSuccess).await.watch_topic_list_success.unwrap()
    }

    async fn update(&mut self) -> CommandWatchTopicUpdate {
        self.expect(Type::WatchTopicUpdate).await.watch_topic_update.unwrap()
    }
}

#[tokio::test]
async fn a_pattern_is_applied_before_the_hash_is_taken() {
    let broker = Broker::start().await;
    for local in ["bar", "foo-1", "foo-2", "__change_events", "__mine"] {
        create(&broker, local).await;
    }
    let mut client = broker.client().await;
    let mut ask = async |pattern: Option<&str>, topics_hash| {
        client
            .send(CommandGetTopicsOfNamespace {
                request_id: 1,
                namespace: NAMESPACE.into(),
                topics_pattern: pattern.map(str::to_owned),
                topics_hash,
                ..Default::default()
            })
            .await;
        client.expect(Type::GetTopicsOfNamespaceResponse).await.get_topics_of_namespace_response.unwrap()
    };
    let all = ask(None, None).await;
    assert_eq!((all.topics, all.filtered), (["__mine", "bar", "foo-1", "foo-2"].map(full).to_vec(), Some(false)));
    let some = ask(Some("persistent://public/default/foo-.*"), None).await;
    assert_eq!((some.topics, some.filtered), (["foo-1", "foo-2"].map(full).to_vec(), Some(true)));
    let same = ask(Some("public/default/foo.*"), some.topics_hash).await;
    assert_eq!((same.topics, same.changed), (vec![], Some(false)));
    let long = ask(Some(&"x".repeat(51)), None).await;
    assert_eq!((long.topics.len(), long.filtered), (4, Some(false)), "it is the client's to apply");
}

#[tokio::test]
async fn a_watcher_is_told_what_comes_and_goes_until_it_is_closed() {
    let broker = Broker::start().await;
    create(&broker, "foo-1").await;
    let mut client = broker.client().await;
    client.send(watch(1, "public/default/foo-.*")).await;
    let begun = client.watching().await;
    assert_eq!((begun.watcher_id, begun.topic), (1, vec![full("foo-1")]));
    client.send(watch_in(NAMESPACE, 2, "public/default/foo-.*", Some(begun.topics_hash.clone()))).await;
    assert_eq!(client.watching().await.topic, [""; 0], "it knows them");
    client.send(CommandWatchTopicListClose { request_id: 5, watcher_id: 2 }).await;
    client.expect(Type::Success).await;

    for local in ["bar", "__change_events", "foo-2"] {
        create(&broker, local).await;
    }
    let update = client.update().await;
    assert_eq!((update.watcher_id, update.new_topics, update.deleted_topics.len()), (1, vec![full("foo-2")], 0));
    assert_ne!(update.topics_hash, begun.topics_hash);
    remove(&broker, "foo-2").await;
    let update = client.update().await;
    assert_eq!((update.new_topics.len(), update.deleted_topics), (0, vec![full("foo-2")]));
    assert_eq!(update.topics_hash, begun.topics_hash);

    client.send(CommandWatchTopicListClose { request_id: 6, watcher_id: 1 }).await;
    client.expect(Type::Success).await;
    client.send(CommandWatchTopicListClose { request_id: 7, watcher_id: 99 }).await;
    client.expect(Type::Success).await;
    create(&broker, "foo-3").await;
    client.expect_silence().await;
}

#[tokio::test]
async fn a_watcher_that_cannot_be_is_refused_in_pulsars_words() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.send(watch(1, &"x".repeat(51))).await;
    client.expect_error(1, ServerError::NotAllowedError).await;
    client.send(watch(2, "public/default/foo-(")).await;
    client.expect_error(2, ServerError::InvalidTopicName).await;
    client.send(watch_in("public/nix", 3, ".*", None)).await;
    let begun = client.watching().await;
    assert_eq!((begun.topic.len(), begun.topics_hash.as_str()), (0, "00000000"), "it may come into being");
}
