//! Every row of the tables, as one command line and the requests that it makes.
use std::collections::BTreeSet;

use super::super::TABLES;
use super::{Stub, parse, policies};

const T: &str = "/admin/v2/persistent/public/default/t";

/// A command, what the server answers to its requests, and these. `T` stands for the path of topic `t`, `N` for `/admin/v2/namespaces`.
const CASES: &[(&str, &[&str], &[&str])] = &[
    ("topics list a/b", &["[]", "[]"], &["GET /admin/v2/persistent/a/b", "GET /admin/v2/non-persistent/a/b"]),
    (
        "topics list a/b -td persistent -b 0x0_0x1 -ist",
        &["[]"],
        &["GET /admin/v2/persistent/a/b?bundle=0x0_0x1&includeSystemTopic=true"],
    ),
    ("topics list a/b -td=non_persistent", &["[]"], &["GET /admin/v2/non-persistent/a/b"]),
    ("topics create t", &[], &["PUT T"]),
    ("topics create t -m a=1,b=2 -m c=3", &[], &[r#"PUT T {"a":"1","b":"2","c":"3"}"#]),
    ("topics create persistent://x/y/z/%a", &[], &["PUT /admin/v2/persistent/x/y/z%2F%25a"]),
    ("topics delete non-persistent://x/y/z", &[], &["DELETE /admin/v2/non-persistent/x/y/z"]),
    ("topics delete t -f", &[], &["DELETE T?force=true"]),
    ("topics create-partitioned-topic t -p 3", &[], &["PUT T/partitions 3"]),
    (
        "topics create-partitioned-topic t -p 3 -m a=1",
        &[],
        &[r#"PUT T/partitions {"partitions":3,"properties":{"a":"1"}}"#],
    ),
    ("topics get-partitioned-topic-metadata t", &["{}"], &["GET T/partitions"]),
    ("topics update-partitioned-topic t --partitions 4", &[], &["POST T/partitions 4"]),
    (
        "topics update-partitioned-topic t -p 4 -f -ulo",
        &[],
        &["POST T/partitions?updateLocalTopicOnly=true&force=true 4"],
    ),
    ("topics delete-partitioned-topic t --force", &[], &["DELETE T/partitions?force=true"]),
    (
        "topics list-partitioned-topics a/b",
        &["[]", "[]"],
        &["GET /admin/v2/persistent/a/b/partitioned", "GET /admin/v2/non-persistent/a/b/partitioned"],
    ),
    ("topics get-properties t", &["{}"], &["GET T/properties"]),
    ("topics update-properties t -p a=1", &[], &[r#"PUT T/properties {"a":"1"}"#]),
    ("topics remove-properties t -k a", &[], &["DELETE T/properties?key=a"]),
    ("topics permissions t", &["{}"], &["GET T/permissions"]),
    (
        "topics grant-permission t --role r --actions produce,consume",
        &[],
        &[r#"POST T/permissions/r ["produce","consume"]"#],
    ),
    ("topics revoke-permission t --role r", &[], &["DELETE T/permissions/r"]),
    ("topics analyze-backlog t -s s", &[], &["POST T/subscription/s/analyzeBacklog"]),
    ("topics skip t -s s -n 3", &[], &["POST T/subscription/s/skip/3"]),
    ("topics expire-messages t -s s -t 3m", &[], &["POST T/subscription/s/expireMessages/180"]),
    ("topics expire-messages-all-subscriptions t -t 7", &[], &["POST T/all_subscription/expireMessages/7"]),
    ("topics get-subscription-properties t -s s", &["{}"], &["GET T/subscription/s/properties"]),
    ("topics update-subscription-properties t -s s -p a=1", &[], &[r#"PUT T/subscription/s/properties {"a":"1"}"#]),
    ("topics create-missed-partitions t", &[], &["POST T/createMissedPartitions"]),
    ("topics partitioned-stats-internal t", &["{}"], &["GET T/partitioned-internalStats"]),
    (
        "topics set-inactive-topic-policies t -e -t 10m -m delete_when_no_subscriptions",
        &[],
        &[
            r#"POST T/inactiveTopicPolicies {"deleteWhileInactive":true,"inactiveTopicDeleteMode":"delete_when_no_subscriptions","maxInactiveDurationSeconds":600}"#,
        ],
    ),
    ("topics get-inactive-topic-policies t -ap", &["{}"], &["GET T/inactiveTopicPolicies?applied=true"]),
    ("topics remove-inactive-topic-policies t", &[], &["DELETE T/inactiveTopicPolicies"]),
    ("namespaces permissions a/b", &["{}"], &["GET N/a/b/permissions"]),
    ("namespaces grant-permission a/b --role r --actions consume", &[], &[r#"POST N/a/b/permissions/r ["consume"]"#]),
    ("namespaces revoke-permission a/b --role r", &[], &["DELETE N/a/b/permissions/r"]),
    ("namespaces clear-backlog a/b", &[], &["POST N/a/b/clearBacklog"]),
    ("namespaces clear-backlog a/b -b 0x0_0x1 -s s -f", &[], &["POST N/a/b/0x0_0x1/clearBacklog/s?force=true"]),
    ("namespaces unsubscribe a/b -s s", &[], &["POST N/a/b/unsubscribe/s"]),
    (
        "namespaces set-inactive-topic-policies a/b -d -t 60 -m delete_when_subscriptions_caught_up",
        &[],
        &[
            r#"POST N/a/b/inactiveTopicPolicies {"inactiveTopicDeleteMode":"delete_when_subscriptions_caught_up","maxInactiveDurationSeconds":60}"#,
        ],
    ),
    ("namespaces get-inactive-topic-policies a/b", &["{}"], &["GET N/a/b/inactiveTopicPolicies"]),
    ("namespaces remove-inactive-topic-policies a/b", &[], &["DELETE N/a/b/inactiveTopicPolicies"]),
    ("namespaces set-subscription-expiration-time a/b -t 90", &[], &["POST N/a/b/subscriptionExpirationTime 90"]),
    ("namespaces get-subscription-expiration-time a/b", &["90"], &["GET N/a/b/subscriptionExpirationTime"]),
    ("namespaces remove-subscription-expiration-time a/b", &[], &["DELETE N/a/b/subscriptionExpirationTime"]),
    ("broker-stats topics", &["{}"], &["GET /admin/v2/broker-stats/topics"]),
    ("broker-stats monitoring-metrics", &["[]"], &["GET /admin/v2/broker-stats/metrics"]),
    ("broker-stats load-report", &["{}"], &["GET /admin/v2/broker-stats/load-report"]),
    ("brokers get-runtime-config", &["{}"], &["GET /admin/v2/brokers/configuration/runtime"]),
    ("brokers get-internal-config", &["{}"], &["GET /admin/v2/brokers/internal-configuration"]),
    ("brokers backlog-quota-check", &[], &["GET /admin/v2/brokers/backlog-quota-check"]),
    ("brokers openapi", &["{}"], &["GET /admin/v2/geminga/openapi"]),
    ("topics unload t", &[], &["PUT T/unload"]),
    ("topics terminate t", &["{}"], &["POST T/terminate"]),
    ("topics lookup t", &[r#"{"brokerUrl":"b"}"#], &["GET /lookup/v2/topic/persistent/public/default/t"]),
    ("lookup topic t", &[r#"{"brokerUrl":"b"}"#], &["GET /lookup/v2/topic/persistent/public/default/t"]),
    ("topics bundle-range t", &["0x0_0x1"], &["GET /lookup/v2/topic/persistent/public/default/t/bundle"]),
    ("topics stats t", &["{}"], &["GET T/stats"]),
    (
        "topics stats t -gpb -sbs -etb",
        &["{}"],
        &["GET T/stats?getPreciseBacklog=true&subscriptionBacklogSize=true&getEarliestTimeInBacklog=true"],
    ),
    ("topics stats-internal t", &["{}"], &["GET T/internalStats"]),
    ("topics stats-internal t -m", &["{}"], &["GET T/internalStats?metadata=true"]),
    ("topics partitioned-stats t --per-partition", &["{}"], &["GET T/partitioned-stats?perPartition=true"]),
    ("topics info-internal t", &["{}"], &["GET T/internal-info"]),
    ("topics last-message-id t", &["{}"], &["GET T/lastMessageId"]),
    ("topics subscriptions t", &["[]"], &["GET T/subscriptions"]),
    (
        "topics create-subscription t -s s",
        &[],
        &[r#"PUT T/subscription/s {"entryId":9223372036854775807,"ledgerId":9223372036854775807,"partitionIndex":-1}"#],
    ),
    (
        "topics create-subscription t -s s/1 -m earliest -p a=1 -r",
        &[],
        &[
            r#"PUT T/subscription/s%2F1?replicated=true {"entryId":-1,"ledgerId":-1,"partitionIndex":-1,"properties":{"a":"1"}}"#,
        ],
    ),
    ("topics unsubscribe t -s s -f", &[], &["DELETE T/subscription/s?force=true"]),
    ("topics skip-all t -s s", &[], &["POST T/subscription/s/skip_all"]),
    ("topics clear-backlog t --subscription=s", &[], &["POST T/subscription/s/skip_all"]),
    (
        "topics reset-cursor t -s s -m 12:3",
        &[],
        &[r#"POST T/subscription/s/resetcursor {"entryId":3,"ledgerId":12,"partitionIndex":-1}"#],
    ),
    (
        "topics reset-cursor t -s s -m 12:3 -e",
        &[],
        &[r#"POST T/subscription/s/resetcursor {"entryId":3,"isExcluded":true,"ledgerId":12,"partitionIndex":-1}"#],
    ),
    ("topics reset-cursor t -s s -t 10m", &[], &["POST T/subscription/s/resetcursor/999400000"]),
    ("topics reset-cursor t -s s -t 100y", &[], &["POST T/subscription/s/resetcursor/0"]),
    ("topics offload-status t", &["{}"], &["GET T/offload"]),
    ("topics compact t", &[], &["PUT T/compaction"]),
    ("topics compaction-status t", &["{}"], &["GET T/compaction"]),
    ("topics truncate t", &[], &["DELETE T/truncate"]),
    ("topics trim-topic t", &[], &["POST T/trim"]),
    (
        "topics set-retention t -t 3h -s 2G",
        &[],
        &[r#"POST T/retention {"retentionSizeInMB":2048,"retentionTimeInMinutes":180}"#],
    ),
    (
        "topics set-retention t -t -1 -s=-1",
        &[],
        &[r#"POST T/retention {"retentionSizeInMB":-1,"retentionTimeInMinutes":-1}"#],
    ),
    // What is kept is never less than what was asked for.
    (
        "topics set-retention t -t 90s -s 1025K",
        &[],
        &[r#"POST T/retention {"retentionSizeInMB":2,"retentionTimeInMinutes":2}"#],
    ),
    ("topics get-retention t -ap", &["null"], &["GET T/retention?applied=true"]),
    ("topics remove-retention t", &[], &["DELETE T/retention"]),
    (
        "topicPolicies set-retention t --time 120 --size 10M",
        &[],
        &[r#"POST T/retention {"retentionSizeInMB":10,"retentionTimeInMinutes":2}"#],
    ),
    ("topicPolicies get-retention t", &["null"], &["GET T/retention"]),
    ("topicPolicies remove-retention t", &[], &["DELETE T/retention"]),
    (
        "topics set-offload-policies t -d aws-s3 -b bucket -r eu -e http://h:1 -t 1M -ts 2m -dl 4h -orp bookkeeper-first -m 32M -rb 1M",
        &[],
        &[
            r#"POST T/offloadPolicies {"managedLedgerOffloadBucket":"bucket","managedLedgerOffloadDeletionLagInMillis":14400000,"managedLedgerOffloadDriver":"aws-s3","managedLedgerOffloadMaxBlockSizeInBytes":33554432,"managedLedgerOffloadReadBufferSizeInBytes":1048576,"managedLedgerOffloadRegion":"eu","managedLedgerOffloadServiceEndpoint":"http://h:1","managedLedgerOffloadThresholdInBytes":1048576,"managedLedgerOffloadThresholdInSeconds":120,"managedLedgerOffloadedReadPriority":"BOOKKEEPER_FIRST"}"#,
        ],
    ),
    ("topics get-offload-policies t", &["null"], &["GET T/offloadPolicies"]),
    ("topics remove-offload-policies t", &[], &["DELETE T/offloadPolicies"]),
    (
        "topicPolicies set-offload-policies t -d S3",
        &[],
        &[r#"POST T/offloadPolicies {"managedLedgerOffloadDriver":"S3"}"#],
    ),
    ("topicPolicies get-offload-policies t --applied", &["null"], &["GET T/offloadPolicies?applied=true"]),
    ("topicPolicies remove-offload-policies t", &[], &["DELETE T/offloadPolicies"]),
    ("namespaces list a", &["[]"], &["GET N/a"]),
    ("namespaces create a/b", &[], &["PUT N/a/b {}"]),
    ("namespaces create a/b -b 8 -c x,y -c z", &[], &[r#"PUT N/a/b?bundles=8 {"replication_clusters":["x","y","z"]}"#]),
    ("namespaces delete a/b -f", &[], &["DELETE N/a/b?force=true"]),
    (
        "namespaces topics a/b -m non_persistent -ist",
        &["[]"],
        &["GET N/a/b/topics?mode=NON_PERSISTENT&includeSystemTopic=true"],
    ),
    ("namespaces policies a/b", &["{}"], &["GET N/a/b"]),
    ("namespaces bundles a/b", &["{}"], &["GET N/a/b/bundles"]),
    ("namespaces split-bundle a/b -b 0x0_0x8", &[], &["PUT N/a/b/0x0_0x8/split"]),
    (
        "namespaces split-bundle a/b -bt largest -u -san topic_count_equally_divide",
        &[],
        &["PUT N/a/b/LARGEST/split?unload=true&splitAlgorithmName=topic_count_equally_divide"],
    ),
    (
        "namespaces split-bundle a/b -b 0x0_0x8 -san specified_positions_divide -sb 0x2,0x4",
        &[],
        &[r#"PUT N/a/b/0x0_0x8/split?splitAlgorithmName=specified_positions_divide ["0x2","0x4"]"#],
    ),
    ("namespaces get-topic-positions a/b -b 0x0_0x8", &["{}"], &["GET N/a/b/0x0_0x8/topicHashPositions"]),
    ("namespaces unload a/b", &[], &["PUT N/a/b/unload"]),
    (
        "namespaces unload a/b -b 0x0_0x8 -d http://h:1",
        &[],
        &["PUT N/a/b/0x0_0x8/unload?destinationBroker=http%3A%2F%2Fh%3A1"],
    ),
    (
        "namespaces set-retention a/b -t 2d -s -1",
        &[],
        &[r#"POST N/a/b/retention {"retentionSizeInMB":-1,"retentionTimeInMinutes":2880}"#],
    ),
    ("namespaces get-retention a/b", &["null"], &["GET N/a/b/retention"]),
    ("namespaces remove-retention a/b", &[], &["DELETE N/a/b/retention"]),
    (
        "namespaces set-offload-policies a/b -d S3 -oat 10M -oae 10s -oats 1h -mbs 64M -rbs 5M -orp tiered-storage-first",
        &[],
        &[
            r#"POST N/a/b/offloadPolicies {"managedLedgerOffloadDeletionLagInMillis":10000,"managedLedgerOffloadDriver":"S3","managedLedgerOffloadMaxBlockSizeInBytes":67108864,"managedLedgerOffloadReadBufferSizeInBytes":5242880,"managedLedgerOffloadThresholdInBytes":10485760,"managedLedgerOffloadThresholdInSeconds":3600,"managedLedgerOffloadedReadPriority":"TIERED_STORAGE_FIRST"}"#,
        ],
    ),
    ("namespaces get-offload-policies a/b", &["null"], &["GET N/a/b/offloadPolicies"]),
    ("namespaces remove-offload-policies a/b", &[], &["DELETE N/a/b/removeOffloadPolicies"]),
    ("namespaces set-offload-threshold a/b -s 10M", &[], &["PUT N/a/b/offloadThreshold 10485760"]),
    (
        "namespaces set-offload-threshold a/b -s 0 -t 2w",
        &[],
        &["PUT N/a/b/offloadThreshold 0", "PUT N/a/b/offloadThresholdInSeconds 1209600"],
    ),
    (
        "namespaces get-offload-threshold a/b",
        &["-1", "-1"],
        &["GET N/a/b/offloadThreshold", "GET N/a/b/offloadThresholdInSeconds"],
    ),
    ("namespaces set-offload-deletion-lag a/b -l 5h", &[], &["PUT N/a/b/offloadDeletionLagMs 18000000"]),
    ("namespaces get-offload-deletion-lag a/b", &["1"], &["GET N/a/b/offloadDeletionLagMs"]),
    ("namespaces clear-offload-deletion-lag a/b", &[], &["DELETE N/a/b/offloadDeletionLagMs"]),
    ("tenants list", &["[]"], &["GET /admin/v2/tenants"]),
    ("tenants get a", &["{}"], &["GET /admin/v2/tenants/a"]),
    (
        "tenants create a -c x -r me,you",
        &[],
        &[r#"PUT /admin/v2/tenants/a {"adminRoles":["me","you"],"allowedClusters":["x"]}"#],
    ),
    (
        "tenants create a",
        &[r#"["x","y"]"#],
        &["GET /admin/v2/clusters", r#"PUT /admin/v2/tenants/a {"allowedClusters":["x","y"]}"#],
    ),
    (
        "tenants update a -r me",
        &[r#"{"adminRoles":["you"],"allowedClusters":["x"]}"#],
        &["GET /admin/v2/tenants/a", r#"POST /admin/v2/tenants/a {"adminRoles":["me"],"allowedClusters":["x"]}"#],
    ),
    ("tenants delete a -f", &[], &["DELETE /admin/v2/tenants/a?force=true"]),
    ("clusters list", &["[]"], &["GET /admin/v2/clusters"]),
    ("clusters get a", &["{}"], &["GET /admin/v2/clusters/a"]),
    ("clusters create a", &[], &["PUT /admin/v2/clusters/a {}"]),
    (
        "clusters update a --service-url http://h:1 --broker-url-secure pulsar+ssl://h:2 --peer-clusters x,y",
        &[],
        &[
            r#"POST /admin/v2/clusters/a {"brokerServiceUrlTls":"pulsar+ssl://h:2","peerClusterNames":["x","y"],"serviceUrl":"http://h:1"}"#,
        ],
    ),
    ("clusters delete a", &[], &["DELETE /admin/v2/clusters/a"]),
    ("clusters get-peer-clusters a", &["[]"], &["GET /admin/v2/clusters/a/peers"]),
    ("clusters update-peer-clusters a --peer-clusters x", &[], &[r#"POST /admin/v2/clusters/a/peers ["x"]"#]),
    ("clusters list-failure-domains a", &["{}"], &["GET /admin/v2/clusters/a/failureDomains"]),
    ("clusters get-failure-domain a --domain-name d", &["{}"], &["GET /admin/v2/clusters/a/failureDomains/d"]),
    (
        "clusters create-failure-domain a --domain-name d --broker-list h:1,h:2",
        &[],
        &[r#"POST /admin/v2/clusters/a/failureDomains/d {"brokers":["h:1","h:2"]}"#],
    ),
    ("clusters update-failure-domain a --domain-name d", &[], &["POST /admin/v2/clusters/a/failureDomains/d {}"]),
    ("clusters delete-failure-domain a --domain-name d", &[], &["DELETE /admin/v2/clusters/a/failureDomains/d"]),
    ("namespaces get-clusters a/b", &["[]"], &["GET N/a/b/replication"]),
    ("namespaces set-clusters a/b -c x,y", &[], &[r#"POST N/a/b/replication ["x","y"]"#]),
    ("brokers list", &["[]"], &["GET /admin/v2/brokers"]),
    ("brokers list a", &["[]"], &["GET /admin/v2/brokers/a"]),
    ("brokers leader-broker", &["{}"], &["GET /admin/v2/brokers/leaderBroker"]),
    ("brokers healthcheck -tv V2", &["ok"], &["GET /admin/v2/brokers/health?topicVersion=V2"]),
    (
        "brokers namespaces a -u h:1",
        &[r#"{"t/n/0x0_0x8":{"is_active":true}}"#],
        &["GET /admin/v2/brokers/a/h%3A1/ownedNamespaces"],
    ),
    ("brokers moves", &[r#"{"decides":"h:1","movesPerMin":20}"#], &["GET /admin/v2/geminga/moves"]),
    ("brokers version", &["1"], &["GET /admin/v2/brokers/version"]),
    ("bookies list", &["[]"], &["GET /admin/v2/geminga/bookies"]),
    ("bookies list-bookies", &["{}"], &["GET /admin/v2/bookies/all"]),
    ("bookies racks-placement", &["{}"], &["GET /admin/v2/bookies/racks-info"]),
    ("bookies decommission b1", &[DRAINING], &["POST /admin/v2/geminga/bookies/b1/decommission"]),
    (
        "bookies decommission -w h:3181",
        &[DRAINING, RETIRED],
        &[
            "POST /admin/v2/geminga/bookies/h%3A3181/decommission",
            "POST /admin/v2/geminga/bookies/h%3A3181/decommission",
        ],
    ),
    ("bookies recommission b1", &[RETIRED], &["POST /admin/v2/geminga/bookies/b1/recommission"]),
    (
        "bookies audit --sample 10",
        &[r#"{"ledgers":3,"whole":9,"found":[],"after":7}"#, r#"{"ledgers":1,"whole":1,"found":[]}"#],
        &["POST /admin/v2/geminga/bookies/audit?sample=10", "POST /admin/v2/geminga/bookies/audit?sample=10&after=7"],
    ),
    ("schemas get t", &["{}"], &["GET /admin/v2/schemas/public/default/t/schema"]),
    ("schemas get t -v 2", &["{}"], &["GET /admin/v2/schemas/public/default/t/schema/2"]),
    ("schemas get t -a", &["{}"], &["GET /admin/v2/schemas/public/default/t/schemas"]),
    ("offload scrub", &[SCRUB], &["POST /admin/v2/geminga/offload/scrub?graceSeconds=86400"]),
    (
        "offload scrub --remove --grace 90m --store s3://b",
        &[SCRUB],
        &["POST /admin/v2/geminga/offload/scrub?remove=true&graceSeconds=5400&store=s3%3A%2F%2Fb"],
    ),
    ("offload status", &[r#"{"uploads":[],"topics":[]}"#], &["GET /admin/v2/geminga/offload/status"]),
    ("offload cost -o json", &["{}"], &["GET /admin/v2/geminga/offload/cost"]),
    (
        "offload cost -o json --egress-gb 0 --put-1000 1.5 --get-1000 2 --storage-gb-month .03",
        &["{}"],
        &["GET /admin/v2/geminga/offload/cost?storageGbMonth=0.03&put1000=1.5&get1000=2.0&egressGb=0.0"],
    ),
    (
        "topics set-backlog-quota t -l 10G -p producer_exception",
        &[],
        &[
            r#"POST T/backlogQuota?backlogQuotaType=destination_storage {"limitSize":10737418240,"limitTime":-1,"policy":"producer_exception"}"#,
        ],
    ),
    ("topics get-backlog-quotas t", &["{}"], &["GET T/backlogQuotaMap"]),
    ("topics remove-backlog-quota t -t message_age", &[], &["DELETE T/backlogQuota?backlogQuotaType=message_age"]),
    (
        "topicPolicies set-backlog-quota t -l 10G -p producer_exception",
        &[],
        &[
            r#"POST T/backlogQuota?backlogQuotaType=destination_storage {"limitSize":10737418240,"limitTime":-1,"policy":"producer_exception"}"#,
        ],
    ),
    ("topicPolicies get-backlog-quota t", &["{}"], &["GET T/backlogQuotaMap"]),
    (
        "topicPolicies remove-backlog-quota t -t message_age",
        &[],
        &["DELETE T/backlogQuota?backlogQuotaType=message_age"],
    ),
    (
        "namespaces set-backlog-quota a/b -l 10G -p producer_exception",
        &[],
        &[
            r#"POST N/a/b/backlogQuota?backlogQuotaType=destination_storage {"limitSize":10737418240,"limitTime":-1,"policy":"producer_exception"}"#,
        ],
    ),
    ("namespaces get-backlog-quotas a/b", &["{}"], &["GET N/a/b/backlogQuotaMap"]),
    (
        "namespaces remove-backlog-quota a/b -t message_age",
        &[],
        &["DELETE N/a/b/backlogQuota?backlogQuotaType=message_age"],
    ),
    ("topics set-message-ttl t -t 3h", &[], &["POST T/messageTTL?messageTTL=10800"]),
    ("topics get-message-ttl t -ap", &["null"], &["GET T/messageTTL?applied=true"]),
    ("topics remove-message-ttl t", &[], &["DELETE T/messageTTL"]),
    ("topicPolicies set-message-ttl t --ttl 3h", &[], &["POST T/messageTTL?messageTTL=10800"]),
    ("topicPolicies get-message-ttl t -ap", &["null"], &["GET T/messageTTL?applied=true"]),
    ("topicPolicies remove-message-ttl t", &[], &["DELETE T/messageTTL"]),
    (
        "topicPolicies set-inactive-topic-policies t -d -t 10m -m delete_when_no_subscriptions",
        &[],
        &[
            r#"POST T/inactiveTopicPolicies {"inactiveTopicDeleteMode":"delete_when_no_subscriptions","maxInactiveDurationSeconds":600}"#,
        ],
    ),
    ("topicPolicies get-inactive-topic-policies t", &["{}"], &["GET T/inactiveTopicPolicies"]),
    ("topicPolicies remove-inactive-topic-policies t", &[], &["DELETE T/inactiveTopicPolicies"]),
    ("namespaces set-encryption-required a/b -e", &[], &["POST N/a/b/encryptionRequired true"]),
    ("namespaces get-encryption-required a/b", &["true"], &["GET N/a/b/encryptionRequired"]),
    (
        "namespaces set-schema-compatibility-strategy a/b -c backward",
        &[],
        &[r#"PUT N/a/b/schemaCompatibilityStrategy "BACKWARD""#],
    ),
    ("namespaces get-schema-compatibility-strategy a/b", &["\"FULL\""], &["GET N/a/b/schemaCompatibilityStrategy"]),
    ("namespaces set-schema-validation-enforce a/b -d", &[], &["POST N/a/b/schemaValidationEnforced false"]),
    ("namespaces get-schema-validation-enforce a/b", &["false"], &["GET N/a/b/schemaValidationEnforced"]),
    ("namespaces set-is-allow-auto-update-schema a/b -d", &[], &["POST N/a/b/isAllowAutoUpdateSchema false"]),
    ("namespaces get-is-allow-auto-update-schema a/b", &["true"], &["GET N/a/b/isAllowAutoUpdateSchema"]),
    ("namespaces set-deduplication-snapshot-interval a/b -i 9", &[], &["POST N/a/b/deduplicationSnapshotInterval 9"]),
    ("namespaces get-deduplication-snapshot-interval a/b", &["9"], &["GET N/a/b/deduplicationSnapshotInterval"]),
    ("namespaces remove-deduplication-snapshot-interval a/b", &[], &["POST N/a/b/deduplicationSnapshotInterval"]),
    ("namespaces set-subscription-auth-mode a/b -m Prefix", &[], &[r#"POST N/a/b/subscriptionAuthMode "Prefix""#]),
    ("namespaces get-subscription-auth-mode a/b", &["\"None\""], &["GET N/a/b/subscriptionAuthMode"]),
    ("namespaces set-anti-affinity-group a/b -g g", &[], &[r#"POST N/a/b/antiAffinity "g""#]),
    ("namespaces get-anti-affinity-group a/b", &["\"g\""], &["GET N/a/b/antiAffinity"]),
    ("namespaces delete-anti-affinity-group a/b", &[], &["DELETE N/a/b/antiAffinity"]),
    ("namespaces set-properties a/b -p a=1,b=2", &[], &[r#"PUT N/a/b/properties {"a":"1","b":"2"}"#]),
    ("namespaces get-properties a/b", &["{}"], &["GET N/a/b/properties"]),
    ("namespaces clear-properties a/b", &[], &["DELETE N/a/b/properties"]),
    ("namespaces set-property a/b -k k/1 -v v", &[], &["PUT N/a/b/property/k%2F1/v"]),
    ("namespaces get-property a/b -k k", &["v"], &["GET N/a/b/property/k"]),
    ("namespaces remove-property a/b -k k", &["v"], &["DELETE N/a/b/property/k"]),
    ("topics peek-messages t -s s", &["hello"], &["GET T/subscription/s/position/1"]),
    (
        "topics peek-messages t -s s/1 -n 3",
        &["a", "b", "c"],
        &[
            "GET T/subscription/s%2F1/position/1",
            "GET T/subscription/s%2F1/position/2",
            "GET T/subscription/s%2F1/position/3",
        ],
    ),
    ("topics examine-messages t", &["a"], &["GET T/examinemessage?initialPosition=latest&messagePosition=1"]),
    (
        "topics examine-messages t -i earliest -m 7",
        &["a"],
        &["GET T/examinemessage?initialPosition=earliest&messagePosition=7"],
    ),
    ("topics get-message-by-id t -l 12 -e 3", &["a"], &["GET T/ledger/12/entry/3"]),
    ("topics get-message-id t -d 1970-01-12T13:46:40Z", &["{}"], &["GET T/messageid/1000000000"]),
    ("topics get-message-id t -d 2021-06-28T16:53:08.123456789+08:00", &["{}"], &["GET T/messageid/1624870388123"]),
    // 7 is written to, 6 and 5 are sealed: 20 bytes stay, and with them all of 6.
    (
        "topics offload t -s 25",
        &[
            r#"{"ledgers":[{"ledgerId":5,"size":10},{"ledgerId":6,"size":15},{"ledgerId":7,"size":0}],"currentLedgerSize":5}"#,
        ],
        &["GET T/internalStats", r#"PUT T/offload {"entryId":0,"ledgerId":6,"partitionIndex":-1}"#],
    ),
];

const SCRUB: &str = r#"{"stores":[]}"#;
const DRAINING: &str =
    r#"{"bookie":"b1","address":"h:3181","rack":"","state":"draining","ledgers":4,"status":"RUNNING"}"#;
const RETIRED: &str = r#"{"bookie":"b1","address":"","rack":"","state":"retired","ledgers":0,"status":"DONE"}"#;

fn written_out(request: &str) -> String {
    request.replacen(" T", &format!(" {T}"), 1).replacen(" N/", " /admin/v2/namespaces/", 1)
}

#[tokio::test]
async fn every_command_asks_what_its_row_says() {
    for (line, answers, requests) in CASES {
        let answers: Vec<(u16, &str)> = answers.iter().map(|text| (200, *text)).collect();
        let stub = Stub::answering(&answers).await;
        let (_, outcome) = stub.run(line).await;
        assert_eq!(outcome, Ok(()), "{line}");
        let requests: Vec<String> = requests.iter().map(|request| written_out(request)).collect();
        assert_eq!(stub.seen(), requests, "{line}");
    }
}

#[test]
fn every_row_has_a_case() {
    let tested: BTreeSet<(&str, &str)> = CASES
        .iter()
        .filter_map(|(line, _, _)| {
            let (resource, rest) = line.split_once(' ')?;
            Some((resource, rest.split(' ').next()?))
        })
        .collect();
    let of_policies = |resource: &str| -> BTreeSet<String> {
        match resource {
            "topics" => policies::rows(policies::OF_TOPICS).chain(policies::rows(policies::OLDER_OF_TOPICS)).collect(),
            "topicPolicies" => policies::rows(policies::OF_TOPICS).collect(),
            "namespaces" => policies::rows(policies::OF_NAMESPACES).collect(),
            _ => BTreeSet::new(),
        }
    };
    let rows = TABLES.iter().flat_map(|table| {
        let of_policies = of_policies(table.name);
        table.verbs().filter(move |verb| !of_policies.contains(verb.name)).map(|verb| (table.name, verb.name))
    });
    let untested: Vec<_> = rows.filter(|row| !tested.contains(row)).collect();
    assert_eq!(untested, []);
}

/// Goal: what a topic keeps is never less than what was asked to be kept, and the ledger that is written to stays.
#[tokio::test]
async fn offload_moves_whole_ledgers_beyond_what_is_kept() {
    let stats = r#"{"ledgers":[{"ledgerId":5,"size":10},{"ledgerId":6,"size":15},{"ledgerId":7,"size":0}],"currentLedgerSize":5}"#;
    for (keep, before) in
        [("0", Some(7)), ("5", Some(7)), ("19", Some(7)), ("20", Some(6)), ("29", Some(6)), ("30", None)]
    {
        let stub = Stub::answering(&[(200, stats)]).await;
        let (printed, outcome) = stub.run(&format!("topics offload t -s {keep}")).await;
        assert_eq!(outcome, Ok(()));
        let asked = stub.seen();
        match before {
            Some(ledger) => {
                assert!(asked[1].contains(&format!("\"ledgerId\":{ledger},")), "{keep}: {asked:?}");
                assert!(printed.contains(&format!("before {ledger}:0")), "{keep}: {printed}");
            }
            None => assert_eq!((asked.len(), printed.as_str()), (1, "nothing to offload\n"), "{keep}"),
        }
    }
}

/// Goal: a sealed last ledger counts with its size, although no ledger is the current one.
#[tokio::test]
async fn offload_counts_a_last_ledger_that_is_sealed() {
    let stats = r#"{"ledgers":[{"ledgerId":5,"size":10},{"ledgerId":6,"size":15}],"currentLedgerSize":0}"#;
    let stub = Stub::answering(&[(200, stats)]).await;
    let printed = stub.run("topics offload t -s 15").await.0;
    assert_eq!(printed, "offload of persistent://public/default/t begins, of messages before 6:0\n");
    assert_eq!(Stub::answering(&[(200, stats)]).await.run("topics offload t -s 25").await.0, "nothing to offload\n");
}

#[tokio::test]
async fn waiting_for_an_offload_asks_until_it_is_done() {
    let running = (200, r#"{"status":"RUNNING"}"#);
    let stub = Stub::answering(&[running, running, (200, r#"{"status":"SUCCESS"}"#)]).await;
    let (printed, outcome) = stub.run("topics offload-status t -w").await;
    assert_eq!((outcome, stub.seen().len()), (Ok(()), 3));
    assert_eq!(printed, "offload of persistent://public/default/t is done\n");
    let stub = Stub::answering(&[running]).await;
    assert_eq!(stub.run("topics offload-status t").await.0, "offload of persistent://public/default/t is running\n");
    assert_eq!(stub.seen().len(), 1);
}

#[test]
fn what_cannot_be_meant_is_refused_by_the_name_of_its_flag() {
    for (line, named, why) in [
        ("topics offload t -s 10X", "--size-threshold", "expected a size"),
        ("topics offload t -s 99999999999999999999", "--size-threshold", "expected a size"),
        ("topics offload t -s 9999999T", "--size-threshold", "expected a size"),
        ("topics offload t", "--size-threshold", "required"),
        ("topics set-retention t -t 3x -s 1G", "--time", "expected a time"),
        ("topics set-retention t -t -s 1G", "--time", "a value is required"),
        ("topics create-partitioned-topic t -p -1", "--partitions", "expected a number"),
        ("topics create-subscription t -s s -m 12", "--messageId", "LEDGER:ENTRY"),
        ("topics create t -m a", "--metadata", "KEY=VALUE"),
        ("topics list b", "TENANT/NAMESPACE", "expected TENANT/NAMESPACE"),
        ("topics stats a/b", "TOPIC", "invalid topic name"),
        ("topics delete a/b/..", "TOPIC", "`..` is no name"),
        ("topics list ../b", "TENANT/NAMESPACE", "`..` is no name"),
        ("topics unsubscribe t -s .", "--subscription", "`.` is no name"),
        ("namespaces unload a/b -b ..", "--bundle", "`..` is no name"),
        ("tenants delete ..", "TENANT", "`..` is no name"),
        ("topics list a/b -td stored", "--topic-domain", "persistent, non_persistent"),
        ("topics set-offload-policies t -d S3 -s secret", "--aws-secret", "take them from their environment"),
        ("namespaces set-offload-policies a/b -d S3 -i key", "--aws-id", "take them from their environment"),
        ("offload cost --put-1000 -1", "--put-1000", "amount of money"),
        ("namespaces set-deduplication a/b", "--enable|--disable", "required"),
        ("namespaces set-deduplication a/b -e -d", "--enable", "cannot be used with"),
        ("topics set-backlog-quota t -l 1G -p none", "--policy", "expected one of producer_request_hold"),
        ("topics examine-messages t -i first", "--initialPosition", "expected one of earliest, latest"),
        ("namespaces set-persistence a/b -r x", "--ml-mark-delete-max-rate", "expected a number"),
        ("topics get-message-id t -d yesterday", "--datetime", "expected a date and a time"),
        ("topics get-message-id t -d 2026-02-29T00:00:00Z", "--datetime", "expected a date and a time"),
        ("topics fly t", "fly", "unrecognized subcommand"),
        ("wings", "wings", "unrecognized subcommand"),
        ("topics stats t -zz", "-z", "unexpected argument"),
    ] {
        let error = parse(line).map(drop).expect_err(line).to_string();
        assert!(error.contains(named) && error.contains(why), "{line}: {error}");
    }
}

#[tokio::test]
async fn a_cursor_is_reset_to_either_a_message_or_a_time() {
    let stub = Stub::answering(&[]).await;
    for line in ["topics reset-cursor t -s s", "topics reset-cursor t -s s -m 1:2 -t 3h"] {
        let failure = stub.run(line).await.1.expect_err(line);
        assert_eq!(
            (failure.exit, failure.message.as_str()),
            (daemon::Exit::Usage, "topics reset-cursor: give either --messageId or --time")
        );
    }
    assert!(stub.seen().is_empty());
}

/// Goal: rewriting Pulsar's flags touches nothing else, and no flag has two meanings within a command.
#[test]
fn flags_of_several_letters_are_read_as_pulsar_reads_them() {
    let respelled = |line: &str| {
        let words = super::respelled(line.split(' ').map(Into::into));
        words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    };
    for (line, expected) in [
        ("geminga admin topics list a/b -td=x -ist", "geminga admin topics list a/b --td=x --ist"),
        ("geminga --admin http://h:1 admin x -td", "geminga --admin http://h:1 admin x --td"),
        ("geminga --admin=http://h:1 admin x -td", "geminga --admin=http://h:1 admin x --td"),
        ("geminga admin x -s -1 -tx --td -t=5", "geminga admin x -s -1 -tx --td -t=5"),
        ("geminga consume admin -td", "geminga consume admin -td"),
        ("geminga --url admin consume -td", "geminga --url admin consume -td"),
    ] {
        assert_eq!(respelled(line), expected);
    }
    for table in &TABLES {
        for verb in table.verbs() {
            let flags: Vec<&str> =
                verb.takes.iter().flat_map(|argument| argument.flags.split_terminator(' ')).collect();
            assert_eq!(flags.iter().collect::<BTreeSet<_>>().len(), flags.len(), "{} {}", table.name, verb.name);
        }
    }
}
