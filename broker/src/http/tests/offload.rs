//! The pages of ledgers in objects. Of a topic's, codes and bodies are those that Apache Pulsar 4.0.8 gave without a store to the same
//! requests, but for the text of why nothing moves.
use super::*;

const PAGE: &str = "/persistent/public/default/t/offload";

fn progress(status: &str, error: &str) -> Value {
    let unmoved = json!({"ledgerId": -1, "entryId": -1, "partitionIndex": -1, "batchIndex": -1, "batchSize": 0});
    json!({"status": status, "lastError": error, "firstUnoffloadedMessage": unmoved})
}

#[tokio::test]
async fn a_topic_is_asked_to_move_and_tells_how_it_goes() {
    let broker = broker().await;
    let id = r#"{"ledgerId":99999,"entryId":0,"partitionIndex":-1}"#;
    let nothere = "/persistent/public/default/nothere/offload";
    let not_found = "Topic persistent://public/default/nothere not found";
    broker
        .rows(&[
            ("PUT", "/persistent/public/default/t", "", 204, ""),
            ("GET", nothere, "", 404, not_found),
            ("PUT", nothere, r#"{"ledgerId":1,"entryId":0}"#, 404, not_found),
            ("PUT", PAGE, "", 400, "messageId is null"),
            ("PUT", PAGE, "null", 400, "messageId is null"),
            ("PUT", PAGE, "7", 400, ""),
            ("PUT", "/persistent/public/default/p/partitions", "2", 204, ""),
            ("GET", "/persistent/public/default/p/offload", "", 404, "Topic persistent://public/default/p not found"),
        ])
        .await;
    assert_eq!(broker.json(PAGE).await, progress("NOT_RUN", ""));
    broker.rows(&[("PUT", PAGE, id, 204, "")]).await;
    let shown = loop {
        let shown = broker.json(PAGE).await;
        if shown["status"] != "RUNNING" {
            break shown;
        }
        tokio::task::yield_now().await;
    };
    let why = "no object store is set: set `offload` of the broker, or an offload policy";
    assert_eq!(shown, progress("ERROR", why));
    let stats = broker.json("/persistent/public/default/t/stats").await;
    let names =
        ["offloadedStorageSize", "lastOffloadLedgerId", "lastOffloadSuccessTimeStamp", "lastOffloadFailureTimeStamp"];
    assert_eq!(names.map(|name| stats[name].as_u64()), [Some(0); 4]);
}

#[tokio::test]
async fn without_anything_in_objects_our_own_pages_say_so() {
    let broker = broker().await;
    broker
        .rows(&[
            ("PUT", "/persistent/public/default/t", "", 204, ""),
            ("POST", "/geminga/offload/scrub", "", 200, r#"{"stores":[]}"#),
            ("POST", "/geminga/offload/scrub?remove=true&graceSeconds=0&store=s3://b", "", 200, r#"{"stores":[]}"#),
            ("POST", "/geminga/offload/scrub?store=nonsense", "", 400, ""),
            ("GET", "/geminga/offload/scrub", "", 405, ""),
        ])
        .await;
    let status = broker.json("/geminga/offload/status").await;
    let nothing = json!({"uploads": [], "topics": [], "hotBytes": 0, "coldBytes": 0, "savedBytes": 0, "lagSeconds": 0});
    assert_eq!(status, nothing);
    let cost = broker.json("/geminga/offload/cost?storageGbMonth=1&put1000=2&egressGb=0.5").await;
    assert_eq!(cost["prices"], json!({"storageGbMonth": 1.0, "put1000": 2.0, "get1000": 0.0004, "egressGb": 0.5}));
    assert_eq!((&cost["usage"]["storedBytes"], &cost["monthly"]["total"]), (&json!(0), &json!(0.0)));
}
