use super::*;

fn connect() -> CommandConnect {
    CommandConnect { client_version: "test".into(), protocol_version: Some(21), ..Default::default() }
}

#[tokio::test]
async fn a_client_learns_what_both_sides_speak() {
    let broker = Broker::start().await;
    for (theirs, spoken) in [(21, 21), (12, 12), (999, 21), (0, 0), (-5, 0)] {
        let mut client = broker.stranger().await;
        client.send(CommandConnect { protocol_version: Some(theirs), ..connect() }).await;
        let connected = client.expect(Type::Connected).await.connected.unwrap();
        assert_eq!(connected.protocol_version, Some(spoken));
        assert_eq!(connected.max_message_size, Some(5 << 20));
        assert!(connected.server_version.starts_with("Geminga "));
        let flags = connected.feature_flags.unwrap();
        assert!(flags.supports_get_partitioned_metadata_without_auto_creation());
        assert!(!flags.supports_auth_refresh() && flags.supports_topic_watchers());
    }
}

#[tokio::test]
async fn nothing_is_served_before_connect() {
    let broker = Broker::start().await;
    for command in [
        BaseCommand::from(CommandPing {}),
        CommandLookupTopic { topic: TOPIC.into(), ..Default::default() }.into(),
        CommandConnected { server_version: "x".into(), ..Default::default() }.into(),
    ] {
        let mut client = broker.stranger().await;
        client.send(command).await;
        client.expect_end().await;
    }
}

#[tokio::test]
async fn connecting_twice_is_an_error_and_ends_the_connection() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    client.send(connect()).await;
    client.expect_error(u64::MAX, ServerError::UnknownError).await;
    client.expect_end().await;
}

#[tokio::test]
async fn a_cluster_broker_refuses_to_stand_in_for_another_and_standalone_cannot_be_another() {
    let (cluster, standalone) = (Broker::with(Config::default(), false).await, Broker::start().await);
    let through = |url: String| CommandConnect { proxy_to_broker_url: Some(url), ..connect() };
    let mut client = cluster.stranger().await;
    client.send(through("pulsar://elsewhere:6650".into())).await;
    client.expect_error(u64::MAX, ServerError::ServiceNotReady).await;
    client.expect_end().await;
    let mut client = cluster.stranger().await;
    client.send(through(format!("pulsar://{}", cluster.address))).await;
    client.expect(Type::Connected).await;
    let mut client = standalone.stranger().await;
    client.send(through("pulsar://elsewhere:6650".into())).await;
    client.expect(Type::Connected).await;
}

#[tokio::test(start_paused = true)]
async fn a_stranger_who_says_nothing_is_shown_out() {
    let broker = Broker::start().await;
    let mut client = broker.stranger().await;
    client.write(&[0, 0]).await;
    client.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_asked_and_then_given_up() {
    let broker = Broker::start().await;
    let mut client = broker.client().await;
    let read = tokio::time::timeout(Duration::from_secs(100), client.stream.read_buf(&mut client.buffer)).await;
    assert!(0 < read.unwrap().unwrap());
    client.expect(Type::Ping).await;
    let read = tokio::time::timeout(Duration::from_secs(100), client.stream.read_buf(&mut client.buffer)).await;
    assert_eq!(read.unwrap().unwrap(), 0, "closed");
}
