//! What topics tell about themselves, under Pulsar's JSON names.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::rate::Rate;

/// Of one topic. Rates are per second over the last window.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct TopicStats {
    pub(crate) msg_rate_in: f64,
    pub(crate) msg_rate_out: f64,
    pub(crate) msg_throughput_in: f64,
    pub(crate) msg_throughput_out: f64,
    pub(crate) average_msg_size: f64,
    pub(crate) storage_size: u64,
    pub(crate) backlog_size: u64,
    pub(crate) offloaded_storage_size: u64,
    pub(crate) last_offload_ledger_id: u64,
    pub(crate) last_offload_success_time_stamp: u64,
    pub(crate) last_offload_failure_time_stamp: u64,
    pub(crate) backlog_quota_limit_size: i64,
    /// In seconds, as all ages. -1 where there is no limit.
    pub(crate) backlog_quota_limit_time: i64,
    /// -1 where nothing waits, or nobody asked.
    pub(crate) oldest_backlog_message_age_seconds: i64,
    pub(crate) earliest_msg_publish_time_in_backlogs: i64,
    pub(crate) msg_in_counter: u64,
    pub(crate) bytes_in_counter: u64,
    pub(crate) msg_out_counter: u64,
    pub(crate) bytes_out_counter: u64,
    #[serde(flatten)]
    pub(crate) none: NotOfTopics,
    pub(crate) non_contiguous_deleted_messages_ranges: u64,
    pub(crate) publishers: Vec<PublisherStats>,
    pub(crate) subscriptions: BTreeMap<String, SubscriptionStats>,
    pub(crate) replication: BTreeMap<String, serde_json::Value>,
    pub(crate) deduplication_status: String,
    pub(crate) topic_creation_time_stamp: u64,
    pub(crate) last_publish_time_stamp: u64,
    pub(crate) waiting_publishers: u64,
    pub(crate) owner_broker: Option<String>,
    /// Of a topic that stores nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) msg_drop_rate: Option<f64>,
    pub(crate) compaction: CompactionStats,
}

impl TopicStats {
    /// What has come in, at `now_ms`; the rest is empty.
    pub(crate) fn of_published(published: &mut Rate, now_ms: u64) -> Self {
        let (rate, throughput) = published.per_second(now_ms);
        Self {
            msg_rate_in: rate,
            msg_throughput_in: throughput,
            average_msg_size: if 0.0 < rate { throughput / rate } else { 0.0 },
            msg_in_counter: published.messages,
            bytes_in_counter: published.bytes,
            ..Self::default()
        }
    }
}

/// What Apache Pulsar counts of things that do not exist here: system topics, readers of its own, transactions.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NotOfTopics {
    system_topic_bytes_in_counter: u64,
    bytes_out_internal_counter: u64,
    ongoing_txn_count: u64,
    aborted_txn_count: u64,
    committed_txn_count: u64,
}

/// Of the compactions since the topic was loaded.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct CompactionStats {
    pub(crate) last_compaction_removed_event_count: u64,
    pub(crate) last_compaction_succeed_timestamp: u64,
    pub(crate) last_compaction_failed_timestamp: u64,
    pub(crate) last_compaction_duration_time_in_mills: u64,
}

/// Of one producer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PublisherStats {
    pub(crate) access_mode: String,
    pub(crate) producer_id: u64,
    pub(crate) msg_rate_in: f64,
    pub(crate) msg_throughput_in: f64,
    pub(crate) average_msg_size: f64,
    pub(crate) chunked_message_rate: f64,
    pub(crate) supports_partial_producer: bool,
    pub(crate) producer_name: String,
    pub(crate) address: String,
    pub(crate) connected_since: String,
    pub(crate) client_version: String,
    pub(crate) metadata: BTreeMap<String, String>,
    /// Of a topic that stores nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) msg_drop_rate: Option<f64>,
}

/// Of one subscription.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SubscriptionStats {
    pub(crate) msg_rate_out: f64,
    pub(crate) msg_throughput_out: f64,
    pub(crate) msg_rate_redeliver: f64,
    pub(crate) msg_backlog: u64,
    pub(crate) msg_backlog_no_delayed: u64,
    pub(crate) msg_delayed: u64,
    pub(crate) msg_in_replay: u64,
    pub(crate) backlog_size: u64,
    /// 0 where nobody asked, -1 where nothing waits.
    pub(crate) earliest_msg_publish_time_in_backlog: i64,
    pub(crate) unacked_messages: u64,
    pub(crate) blocked_subscription_on_unacked_msgs: bool,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) active_consumer_name: Option<String>,
    pub(crate) msg_rate_expired: f64,
    pub(crate) total_msg_expired: u64,
    pub(crate) last_expire_timestamp: u64,
    pub(crate) last_consumed_flow_timestamp: u64,
    pub(crate) last_consumed_timestamp: u64,
    pub(crate) last_acked_timestamp: u64,
    pub(crate) last_mark_delete_advanced_timestamp: u64,
    pub(crate) msg_out_counter: u64,
    pub(crate) bytes_out_counter: u64,
    pub(crate) message_ack_rate: f64,
    pub(crate) is_durable: bool,
    /// The same once more, for tools that know it by this name.
    pub(crate) durable: bool,
    pub(crate) is_replicated: bool,
    pub(crate) replicated: bool,
    pub(crate) allow_out_of_order_delivery: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_shared_mode: Option<String>,
    pub(crate) draining_hashes_count: u64,
    pub(crate) draining_hashes_cleared_total: u64,
    pub(crate) draining_hashes_unacked_messages: u64,
    pub(crate) consumers_after_mark_delete_position: BTreeMap<String, String>,
    pub(crate) non_contiguous_deleted_messages_ranges: u64,
    pub(crate) subscription_properties: BTreeMap<String, String>,
    /// Of a topic that stores nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) msg_drop_rate: Option<f64>,
    pub(crate) consumers: Vec<ConsumerStats>,
}

/// Of one consumer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ConsumerStats {
    pub(crate) consumer_name: String,
    pub(crate) available_permits: i64,
    pub(crate) unacked_messages: u64,
    pub(crate) blocked_consumer_on_unacked_msgs: bool,
    /// A whole number, and clients read nothing else.
    pub(crate) avg_messages_per_entry: u64,
    pub(crate) msg_rate_out: f64,
    pub(crate) msg_throughput_out: f64,
    pub(crate) msg_rate_redeliver: f64,
    pub(crate) msg_out_counter: u64,
    pub(crate) bytes_out_counter: u64,
    pub(crate) message_ack_rate: f64,
    pub(crate) address: String,
    pub(crate) connected_since: String,
    pub(crate) client_version: String,
    pub(crate) last_acked_timestamp: u64,
    pub(crate) last_consumed_timestamp: u64,
    pub(crate) last_consumed_flow_timestamp: u64,
    pub(crate) last_acked_time: String,
    pub(crate) last_consumed_time: String,
    pub(crate) metadata: BTreeMap<String, String>,
    #[serde(skip)]
    pub(crate) takes_any_schema: bool,
    pub(crate) draining_hashes_count: u64,
    pub(crate) draining_hashes_cleared_total: u64,
    pub(crate) draining_hashes_unacked_messages: u64,
    /// Key_Shared only, as its ranges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) draining_hashes: Option<Vec<DrainingHash>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_hash_range_arrays: Option<Vec<[u16; 2]>>,
}

/// A slot of keys that has a new owner and is still at this consumer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DrainingHash {
    pub(crate) hash: u16,
    pub(crate) unack_msgs: u32,
    pub(crate) blocked_attempts: u64,
}

/// The chain of ledgers and the cursors of one topic.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct InternalStats {
    pub(crate) entries_added_counter: u64,
    pub(crate) number_of_entries: u64,
    pub(crate) total_size: u64,
    pub(crate) current_ledger_entries: u64,
    pub(crate) current_ledger_size: u64,
    pub(crate) last_ledger_created_timestamp: Option<String>,
    pub(crate) waiting_cursors_count: u64,
    pub(crate) pending_add_entries_count: u64,
    pub(crate) last_confirmed_entry: String,
    pub(crate) state: String,
    pub(crate) ledgers: Vec<LedgerStats>,
    pub(crate) cursors: BTreeMap<String, CursorStats>,
    pub(crate) schema_ledgers: Vec<LedgerStats>,
    pub(crate) compacted_ledger: LedgerStats,
}

/// One ledger of the chain. Numbers are -1 where there is none.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LedgerStats {
    pub(crate) ledger_id: i64,
    pub(crate) entries: i64,
    pub(crate) size: i64,
    pub(crate) offloaded: bool,
    pub(crate) under_replicated: bool,
}

/// Where one subscription stands.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct CursorStats {
    pub(crate) mark_delete_position: String,
    pub(crate) read_position: String,
    pub(crate) waiting_read_op: bool,
    pub(crate) pending_read_ops: u64,
    pub(crate) messages_consumed_counter: u64,
    pub(crate) cursor_ledger: i64,
    pub(crate) cursor_ledger_last_entry: i64,
    pub(crate) individually_deleted_messages: String,
    pub(crate) last_ledger_switch_timestamp: Option<String>,
    pub(crate) state: String,
    pub(crate) active: bool,
    pub(crate) number_of_entries_since_first_not_acked_message: u64,
    pub(crate) total_non_contiguous_deleted_messages_range: u64,
    /// Why nothing moves although a consumer has permits and there is a backlog.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) standstill: Option<String>,
    pub(crate) properties: BTreeMap<String, u64>,
}
