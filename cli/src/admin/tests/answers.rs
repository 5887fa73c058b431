//! What people and scripts see of answers, and how commands end.
use daemon::Exit;

use super::Stub;

/// What a command prints of one answer.
async fn printed(line: &str, answer: &str) -> String {
    let (printed, outcome) = Stub::answering(&[(200, answer)]).await.run(line).await;
    assert_eq!(outcome, Ok(()), "{line}");
    printed
}

#[tokio::test]
async fn answers_are_shown_by_their_shape() {
    assert_eq!(printed("topics subscriptions t", r#"["a","b"]"#).await, "a\nb\n");
    assert_eq!(printed("topics subscriptions t", "[]").await, "");
    assert_eq!(printed("brokers version", "1.2").await, "1.2\n");
    assert_eq!(printed("brokers healthcheck", "ok").await, "ok\n");
    assert_eq!(printed("topics unload t", "").await, "");
    let policies = r#"{"bundles":{"boundaries":["0x0","0x8"],"numBundles":1},"name":"x","none":null,"more":[{"a":1}]}"#;
    let expected = "\
bundles.boundaries  0x0, 0x8
bundles.numBundles  1
more                [{\"a\":1}]
name                x
none                -
";
    assert_eq!(printed("namespaces policies a/b", policies).await, expected);
    assert_eq!(
        printed("topics lookup t", r#"{"brokerUrl":"pulsar://h:1","httpUrl":"http://h:2"}"#).await,
        "pulsar://h:1\n"
    );
    assert_eq!(printed("topics last-message-id t", r#"{"ledgerId":1,"entryId":2,"partitionIndex":-1}"#).await, "1:2\n");
    assert_eq!(
        printed("topics last-message-id t", r#"{"ledgerId":1,"entryId":2,"partitionIndex":3}"#).await,
        "1:2:3\n"
    );
    let ended = "persistent://public/default/t ends with 1:2\n";
    assert_eq!(printed("topics terminate t", r#"{"ledgerId":1,"entryId":2,"partitionIndex":-1}"#).await, ended);
    assert_eq!(printed("namespaces get-retention a/b", "").await, "not set\n");
    assert_eq!(printed("namespaces get-backlog-quotas a/b", "{}").await, "not set\n");
    assert_eq!(printed("topicPolicies get-subscription-types-enabled t", "[]").await, "not set\n");
    assert_eq!(printed("namespaces get-offload-deletion-lag a/b", "90000").await, "1.5 minutes\n");
}

#[tokio::test]
async fn statistics_are_tables() {
    let stats = r#"{"msgRateIn":1234.56,"msgRateOut":0,"msgThroughputIn":10,"msgThroughputOut":0.04,"storageSize":1572864,
        "offloadedStorageSize":0,"backlogSize":100,
        "subscriptions":{"long-name":{"type":"Shared","msgBacklog":12,"unackedMessages":3,"msgRateOut":1,"consumers":[{},{}]},
                         "s":{"type":"Exclusive","msgBacklog":1000,"unackedMessages":0,"msgRateOut":22.25,"consumers":[]}},
        "publishers":[{"producerName":"p-1","msgRateIn":5,"address":"/127.0.0.1:1","connectedSince":"2026-01-01T00:00:00Z"}]}"#;
    let expected = "\
messages in/s     1234.6
messages out/s    0.0
bytes in/s        10.0
bytes out/s       0.0
stored            1.5 MiB
of it in objects  0 B
backlog           100 B

SUBSCRIPTION  TYPE       BACKLOG  UNACKED  OUT/S  CONSUMERS
long-name     Shared          12        3    1.0          2
s             Exclusive     1000        0   22.2          0

PRODUCER  IN/S  ADDRESS       SINCE
p-1        5.0  /127.0.0.1:1  2026-01-01T00:00:00Z
";
    assert_eq!(printed("topics stats t", stats).await, expected);
    let internal = r#"{"state":"LedgerOpened","lastConfirmedEntry":"7:9","numberOfEntries":30,"totalSize":2048,
        "ledgers":[{"ledgerId":5,"entries":20,"size":2000,"offloaded":true},{"ledgerId":7,"entries":0,"size":0,"offloaded":false}],
        "cursors":{"s":{"markDeletePosition":"5:3","readPosition":"5:4","individuallyDeletedMessages":"[]","state":"Open"}}}"#;
    let expected = "\
state           LedgerOpened
last confirmed  7:9
entries         30
stored          2.0 KiB

LEDGER  ENTRIES     SIZE  IN OBJECTS
     5       20  2.0 KiB  true
     7        0      0 B  false

CURSOR  ALL BEFORE  READS AT  ACKED BEYOND  STATE
s       5:3         5:4       []            Open
";
    assert_eq!(printed("topics stats-internal t", internal).await, expected);
}

#[tokio::test]
async fn peeking_ends_where_there_is_nothing_more() {
    let nothing = (404, r#"{"reason":"Message not found"}"#);
    let stub = Stub::answering(&[(200, "a"), (200, "b"), nothing]).await;
    assert_eq!(stub.run("topics peek-messages t -s s -n 7").await, ("-\na\n\n-\nb\n".into(), Ok(())));
    assert_eq!(Stub::answering(&[nothing]).await.run("topics peek-messages t -s s").await, (String::new(), Ok(())));
    let stub = Stub::answering(&[(404, r#"{"reason":"Subscription not found"}"#)]).await;
    let failure = stub.run("topics peek-messages t -s s").await.1.unwrap_err();
    assert_eq!((failure.exit, &*failure.message), (Exit::Usage, "topics peek-messages: Subscription not found (404)"));
}

#[tokio::test]
async fn scripts_get_the_answer_itself() {
    let answer = r#"{"b":[1,{"c":null}],"a":1.5}"#;
    for line in ["-o json topics stats t", "topics stats t --output json", "topics -o json stats t"] {
        let printed = printed(line, answer).await;
        let value: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
        assert_eq!(value, serde_json::from_str::<serde_json::Value>(answer).expect("JSON"));
    }
    assert_eq!(printed("topics unload t -o json", "").await, "", "nothing to say");
    assert_eq!(printed("brokers healthcheck -o json", "ok").await, "\"ok\"\n");
}

/// Goal: whoever asked wrongly hears so (64), what is away may be asked again (75), and the rest is broken (70).
#[tokio::test]
async fn a_refusal_is_shown_in_the_servers_words_and_says_who_may_mend_it() {
    for (status, body, exit, message) in [
        (404, r#"{"reason":"Topic t not found"}"#, Exit::Usage, "topics stats: Topic t not found (404)"),
        (405, r#"{"reason":"not stored"}"#, Exit::Usage, "topics stats: not stored (405)"),
        (409, "plain text", Exit::Usage, "topics stats: plain text (409)"),
        (412, "", Exit::Usage, "topics stats: no reason given (412)"),
        (429, r#"{"reason":"slowly"}"#, Exit::TryAgain, "topics stats: slowly (429)"),
        (500, r#"{"reason":"broken"}"#, Exit::Internal, "topics stats: broken (500)"),
        (500, "<html>\nlong\n</html>", Exit::Internal, "topics stats: no reason given (500)"),
        (501, r#"{"reason":"not supported yet"}"#, Exit::Internal, "topics stats: not supported yet (501)"),
        (503, r#"{"reason":"moving"}"#, Exit::TryAgain, "topics stats: moving (503)"),
        (504, r#"{"reason":"late"}"#, Exit::TryAgain, "topics stats: late (504)"),
    ] {
        let (printed, outcome) = Stub::answering(&[(status, body)]).await.run("topics stats t").await;
        let failure = outcome.expect_err("refused");
        assert_eq!((failure.exit, failure.message.as_str(), printed.as_str()), (exit, message, ""));
    }
}

/// Goal: an older broker, Apache Pulsar and what is no broker at all are told from a topic that is not there.
#[tokio::test]
async fn a_page_that_a_server_lacks_is_said_to_be_lacking() {
    for (status, body) in [
        (404, r#"{"reason":"there is no page /admin/v2/geminga/offload/status"}"#),
        (405, r#"{"reason":"this page does not take this method"}"#),
        (404, "<html><body>HTTP ERROR 404 Not Found</body></html>"),
        (404, "404 page not found"),
        (405, ""),
    ] {
        let (printed, outcome) = Stub::answering(&[(status, body)]).await.run("offload status").await;
        let failure = outcome.expect_err("refused");
        let expected = format!(
            "offload status: the server does not offer `GET /admin/v2/geminga/offload/status` ({status}): \
             it is older than this command, or another kind of server"
        );
        assert_eq!((failure.exit, failure.message, printed.as_str()), (Exit::Internal, expected, ""), "{body}");
    }
}

#[tokio::test]
async fn a_server_of_web_pages_is_no_broker() {
    let stub = Stub::answering(&[(200, "<!doctype html><title>Shop</title>")]).await;
    let (printed, outcome) = stub.run("tenants list").await;
    let failure = outcome.expect_err("not a list");
    assert_eq!((failure.exit, printed.as_str()), (Exit::Usage, ""));
    let expected = format!("tenants list: {} shows web pages: name a broker's HTTP side with --admin", stub.url);
    assert_eq!(failure.message, expected);
}

#[tokio::test]
async fn the_first_refusal_of_several_requests_ends_the_command() {
    let stub = Stub::answering(&[(404, r#"{"reason":"no such topic"}"#)]).await;
    let failure = stub.run("topics offload t -s 0").await.1.expect_err("refused");
    assert_eq!(failure.message, "topics offload: no such topic (404)");
    assert_eq!(stub.seen().len(), 1);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_with_what_to_do() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    drop(listener);
    let away = |url: String| async move {
        let arguments = super::parse("tenants list").expect("it reads");
        super::super::run(arguments, &url, 0, &mut Vec::new()).await.expect_err("refused")
    };
    let failure = away(url.clone()).await;
    assert_eq!(failure.exit, Exit::TryAgain);
    let expected = format!(
        "tenants list: cannot reach {url}: connection refused; start a server with `geminga standalone`, or name another with --admin"
    );
    assert_eq!(failure.message, expected);
    for (url, why) in [("https://h:1", "TLS"), ("h:1", "http://HOST:PORT"), ("pulsar://h:1", "http://HOST:PORT")] {
        let failure = away(url.into()).await;
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.contains(why) && failure.message.contains(url), "{failure}");
    }
}

#[tokio::test]
async fn failed_work_is_a_failure() {
    let answer = r#"{"status":"ERROR","lastError":"the bucket is gone"}"#;
    let (printed, outcome) = Stub::answering(&[(200, answer)]).await.run("topics offload-status t").await;
    assert_eq!(printed, "offload of persistent://public/default/t failed\n");
    let failure = outcome.expect_err("it failed");
    assert_eq!((failure.exit, failure.message.as_str()), (Exit::Internal, "topics offload-status: the bucket is gone"));
}

const SCRUB: &str = r#"{"stores":[{"store":"s3://b","sound":12,"soundBytes":3145728,"intended":1,"missing":[],"wrongSize":[],
    "orphans":[{"object":"geminga/x/1","bytes":1024,"ageSeconds":90000,"removable":true,"removed":false},
               {"object":"geminga/x/2","bytes":10,"ageSeconds":5,"removable":false,"removed":false},
               {"object":"geminga/x/3","bytes":10,"ageSeconds":99999,"removable":true,"removed":true}],
    "surplus":["geminga/y"],"unknown":["geminga/z"]}]}"#;

#[tokio::test]
async fn a_scrub_lists_what_nobody_refers_to() {
    let expected = "\
STORE   SOUND    BYTES  MISSING  WRONG SIZE  ORPHANS  TO BE REMOVED  SURPLUS  UNKNOWN
s3://b     12  3.0 MiB        0           0        3              1        1        1
orphan      geminga/x/1, 1.0 KiB, 90000 s old: may be removed
orphan      geminga/x/2, 10 B, 5 s old: too young to be removed
orphan      geminga/x/3, 10 B, 99999 s old: removed
surplus     geminga/y
unknown     geminga/z
";
    assert_eq!(printed("offload scrub", SCRUB).await, expected);
    assert_eq!(printed("offload scrub", r#"{"stores":[]}"#).await, "no store is in use\n");
}

#[tokio::test]
async fn a_scrub_that_misses_data_is_a_failure() {
    let missing = r#"{"topic":"persistent://a/b/c","ledger":7,"object":"geminga/x/0"}"#;
    let wrong = r#"{"topic":"persistent://a/b/c","ledger":8,"recordedBytes":10,"foundBytes":9}"#;
    let answer = SCRUB.replace(r#""missing":[]"#, &format!(r#""missing":[{missing}]"#));
    let answer = answer.replace(r#""wrongSize":[]"#, &format!(r#""wrongSize":[{wrong}]"#));
    for line in ["offload scrub", "offload scrub -o json"] {
        let (printed, outcome) = Stub::answering(&[(200, &answer)]).await.run(line).await;
        assert!(printed.contains("geminga/x/0"), "{printed}");
        let failure = outcome.expect_err("an alarm");
        let expected = "offload scrub: 1 objects are missing and 1 ledgers have a wrong size";
        assert_eq!((failure.exit, failure.message.as_str()), (Exit::Internal, expected));
    }
    let (printed, _) = Stub::answering(&[(200, &answer)]).await.run("offload scrub").await;
    assert!(printed.contains("MISSING     geminga/x/0, of ledger 7 of persistent://a/b/c\n"), "{printed}");
    assert!(printed.contains("WRONG SIZE  ledger 8 of persistent://a/b/c: 9 bytes instead of 10\n"), "{printed}");
}

#[tokio::test]
async fn offload_status_and_cost_are_tables() {
    let status = r#"{"uploads":[{"broker":"h:1","topic":"persistent://a/b/c","ledger":9,"bytes":2097152,"uploadedBytes":1048576}],
        "topics":[{"topic":"persistent://a/b/c","offloadedLedgers":3,"offloadedBytes":3145728,"waitingLedgers":1,
                   "waitingBytes":2097152,"bothBytes":0,"lastError":null}]}"#;
    let expected = "\
TOPIC               IN OBJECTS    BYTES  WAITING    BYTES  ON BOTH  LAST ERROR
persistent://a/b/c           3  3.0 MiB        1  2.0 MiB      0 B  -

BROKER UPLOADS  TOPIC               LEDGER     SIZE  DONE
h:1             persistent://a/b/c       9  2.0 MiB  50 %
";
    assert_eq!(printed("offload status", status).await, expected);
    let none = "nothing is in objects, and nothing waits to go there\n";
    assert_eq!(printed("offload status", r#"{"uploads":[],"topics":[]}"#).await, none);
    let cost = r#"{"usage":{"storedBytes":1073741824,"puts":160,"gets":640,"readBytes":0,"overSeconds":7200},
        "prices":{"storageGbMonth":0.023,"put1000":0.005,"get1000":0.0004,"egressGb":0.09},
        "monthly":{"storage":0.0247,"puts":0.29,"gets":0.1,"egress":0,"total":0.4147}}"#;
    let expected = "\
WHAT        USED     PRICE                   $ A MONTH
storage     1.0 GiB  0.023 per GB and month       0.02
writes      160      0.005 per 1000               0.29
reads       640      0.0004 per 1000              0.10
bytes read  0 B      0.09 per GB                  0.00
total                                             0.41
requests and bytes read were counted over 2.0 h
";
    assert_eq!(printed("offload cost", cost).await, expected);
}

/// A scrub that nobody understands is no all-clear for scripts either.
#[tokio::test]
async fn an_answer_of_another_shape_is_said_to_be_one() {
    for (line, command) in [("offload status", "offload status"), ("offload scrub -o json", "offload scrub")] {
        let (_, outcome) = Stub::answering(&[(200, "{}")]).await.run(line).await;
        let failure = outcome.expect_err(line);
        assert_eq!(failure.exit, Exit::Internal);
        let expected = format!("{command}: the server's answer is another than expected: missing field");
        assert!(failure.message.starts_with(&expected), "{failure}");
    }
}

#[tokio::test]
async fn bookies_are_a_table_and_an_audit_that_finds_something_is_a_failure() {
    let answer = r#"[{"bookie":"b1","address":"h:3181","rack":"/z/r","state":"read-only","freeBytes":1048576,"totalBytes":1073741824,
        "ledgers":12,"status":"DONE"},
        {"bookie":"b2","address":"","rack":"","state":"away","freeBytes":null,"totalBytes":null,"ledgers":0,"status":"DONE"}]"#;
    let expected = "BOOKIE  STATE      ADDRESS  RACK     FREE       OF  LEDGERS\n\
                    b1      read-only  h:3181   /z/r  1.0 MiB  1.0 GiB       12\n\
                    b2      away                            -        -        0\n";
    assert_eq!(printed("bookies list", answer).await, expected);
    let first = r#"{"ledgers":2,"whole":5,"found":[{"ledger":7,"fragment":0,"bookie":"b1","answered":true,"missing":1,"damaged":2,
        "firstBad":3,"marked":true}],"after":8}"#;
    let stub = Stub::answering(&[(200, first), (200, r#"{"ledgers":1,"whole":1,"found":[]}"#)]).await;
    let (printed, outcome) = stub.run("bookies audit").await;
    assert!(printed.ends_with("3 ledgers were read, 6 copies of entries are whole\n"), "{printed}");
    assert_eq!(
        printed.lines().nth(1).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).as_deref(),
        Some("7 0 b1 yes 1 2 3")
    );
    assert_eq!(outcome.expect_err("something is not whole").exit, Exit::Internal);
}
