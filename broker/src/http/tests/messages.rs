use super::*;

const TOPIC: &str = "/persistent/public/default/orders";

#[tokio::test]
async fn an_empty_topic_has_no_message_to_show_and_nothing_to_expire() {
    let broker = broker().await;
    let at = |rest: &str| format!("{TOPIC}/{rest}");
    let caught_up = "Expire message by timestamp not issued on topic persistent://public/default/orders for subscription s due to ongoing message expiration not finished or subscription almost catch  up. If it's performed on a partitioned topic operation might succeeded on other partitions, please check stats of individual partition.";
    let beyond = "Expire message by position not issued on topic persistent://public/default/orders for subscription s due to ongoing message expiration not finished or invalid message position provided.";
    let zero = "Could not examine messages due to the total message is zero";
    let nowhere = "Subscription x not found for topic persistent://public/default/orders";
    let rows: &[(&str, String, &str, u16, &str)] = &[
        ("GET", at("ledger/1/entry/1"), "", 404, "Topic persistent://public/default/orders not found"),
        ("PUT", TOPIC.into(), "", 204, ""),
        ("PUT", at("subscription/s"), r#"{"ledgerId":-1,"entryId":-1,"properties":{"a":"b"}}"#, 204, ""),
        ("PUT", at("subscription/s"), r#""earliest""#, 409, "Subscription already exists for topic"),
        ("GET", at("subscription/s/position/1"), "", 404, "Message not found"),
        ("GET", at("subscription/s/position/0"), "", 412, ""),
        ("GET", at("subscription/peeked/position/1"), "", 404, "Message not found"),
        ("GET", at("subscriptions"), "", 200, r#"["peeked","s"]"#),
        ("DELETE", at("subscription/peeked"), "", 204, ""),
        ("GET", at("ledger/1/entry/1"), "", 404, "Message id not found"),
        ("GET", at("ledger/-1/entry/0"), "", 404, "Message id not found"),
        ("GET", at("examinemessage"), "", 412, zero),
        ("GET", at("messageid/x"), "", 404, ""),
        ("PUT", at("backlogSize"), r#"{"ledgerId":-1,"entryId":-1}"#, 200, "0"),
        ("POST", at("subscription/s/skip/3"), "", 204, ""),
        ("POST", at("subscription/x/skip/3"), "", 404, nowhere),
        ("POST", at("subscription/s/expireMessages/10"), "", 409, caught_up),
        ("POST", at("all_subscription/expireMessages/10"), "", 409, caught_up),
        ("POST", at("subscription/s/expireMessages"), r#"{"ledgerId":999,"entryId":0}"#, 409, beyond),
        ("POST", at("subscription/s/expireMessages"), "", 400, ""),
        ("GET", at("subscription/s/properties"), "", 200, r#"{"a":"b"}"#),
        ("PUT", at("subscription/s/properties"), r#"{"x":"y"}"#, 204, ""),
        ("PUT", at("unload"), "", 204, ""),
        ("GET", at("subscription/s/properties"), "", 200, r#"{"x":"y"}"#),
        ("PUT", at("subscription/s/properties"), "", 204, ""),
        ("GET", at("subscription/s/properties"), "", 200, "{}"),
        ("PUT", at("subscription/x/properties"), "{}", 404, nowhere),
    ];
    let rows: Vec<_> =
        rows.iter().map(|(method, path, body, code, said)| (*method, &path[..], *body, *code, *said)).collect();
    broker.rows(&rows).await;
}

#[tokio::test]
async fn a_partitioned_topic_says_which_requests_are_for_one_partition() {
    let broker = broker().await;
    let at = |rest: &str| format!("{TOPIC}/{rest}");
    let id = r#"{"ledgerId":1,"entryId":1}"#;
    let rows: &[(&str, String, &str, u16, &str)] = &[
        ("PUT", at("partitions"), "2", 204, ""),
        ("PUT", at("subscription/s"), "", 204, ""),
        ("GET", at("subscription/s/position/1"), "", 405, "Peek messages on a partitioned topic is not allowed"),
        ("GET", at("ledger/1/entry/0"), "", 405, "GetMessageById is not allowed on partitioned-topic"),
        ("GET", at("examinemessage"), "", 405, ""),
        ("GET", at("messageid/0"), "", 405, ""),
        (
            "POST",
            at("subscription/s/analyzeBacklog"),
            "",
            405,
            "Analyze backlog on a partitioned topic is not allowed, please try do it on specific topic partition",
        ),
        ("POST", at("subscription/s/skip/1"), "", 405, "Skip messages on a partitioned topic is not allowed"),
        (
            "POST",
            at("subscription/s/expireMessages"),
            id,
            405,
            "Expire message at position is not supported for partitioned-topic",
        ),
        ("PUT", at("backlogSize"), id, 405, "calculate backlog size is not allowed for partitioned-topic"),
        ("PUT", at("subscription/s/properties"), r#"{"x":"y"}"#, 204, ""),
        ("GET", at("subscription/s/properties"), "", 200, r#"{"x":"y"}"#),
        ("POST", at("subscription/s/skip_all"), "", 204, ""),
    ];
    let rows: Vec<_> =
        rows.iter().map(|(method, path, body, code, said)| (*method, &path[..], *body, *code, *said)).collect();
    broker.rows(&rows).await;
}
