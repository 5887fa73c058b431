//! What a subscription tells about itself.
use proto::pulsar::CommandConsumerStatsResponse;
use proto::pulsar::command_subscribe::SubType;

use super::SubscriptionError;
use super::attached::Attached;
use super::consumers::Consumer;
use super::keys::Keys;
use super::task::Task;
use crate::clock::rfc3339;
use crate::outbox::Serial;
use crate::stats::{ConsumerStats, CursorStats, DrainingHash, SubscriptionStats};

impl Task {
    pub(super) fn stats(&mut self) -> SubscriptionStats {
        let now = self.clock.now_ms();
        let acks = self.dispatch.acks();
        let (backlog, bytes) = self.reader.with_chain(|chain| {
            let backlog = acks.unacknowledged(chain);
            let (entries, bytes) = chain.ledgers().iter().fold((0, 0), |(entries, bytes), listed| {
                if listed.ledger < acks.mark().ledger {
                    (entries, bytes)
                } else {
                    (entries + listed.entries, bytes + listed.bytes)
                }
            });
            // In proportion, like Pulsar's estimate: sizes of single entries are not kept.
            (backlog, (u128::from(bytes) * u128::from(backlog) / u128::from(entries.max(1))) as u64)
        });
        let holes = acks.holes();
        let consumers: Vec<ConsumerStats> =
            self.serials().into_iter().filter_map(|serial| self.one(serial, now)).collect();
        let (rate_out, throughput_out) = self.counters.out.per_second(now);
        let active = self.dispatch.consumers().active();
        let active = active.and_then(|serial| self.dispatch.consumers().get(serial));
        let draining = |count: fn(&ConsumerStats) -> u64| consumers.iter().map(count).sum();
        let policy = self.dispatch.keys().map(Keys::policy);
        SubscriptionStats {
            msg_in_replay: self.dispatch.queued(),
            allow_out_of_order_delivery: policy.is_some_and(|policy| policy.out_of_order),
            key_shared_mode: policy.map(|policy| policy.mode_name().into()),
            draining_hashes_count: draining(|consumer| consumer.draining_hashes_count),
            draining_hashes_cleared_total: draining(|consumer| consumer.draining_hashes_cleared_total),
            draining_hashes_unacked_messages: draining(|consumer| consumer.draining_hashes_unacked_messages),
            msg_rate_out: rate_out,
            msg_throughput_out: throughput_out,
            msg_rate_redeliver: self.counters.redelivered.per_second(now).0,
            msg_backlog: backlog,
            msg_backlog_no_delayed: backlog.saturating_sub(self.dispatch.delayed()),
            msg_delayed: self.dispatch.delayed(),
            backlog_size: bytes,
            unacked_messages: self.dispatch.consumers().unacked().messages(),
            blocked_subscription_on_unacked_msgs: self.dispatch.consumers().unacked().is_blocked(),
            kind: kind_name(self.dispatch.kind()).into(),
            active_consumer_name: active.map(|consumer| consumer.name.clone()),
            last_consumed_flow_timestamp: self.counters.last_flow,
            last_consumed_timestamp: self.counters.last_consumed,
            last_acked_timestamp: self.counters.last_acked,
            last_mark_delete_advanced_timestamp: self.counters.last_mark,
            msg_rate_expired: self.counters.expired.per_second(now).0,
            total_msg_expired: self.counters.expired.messages,
            last_expire_timestamp: self.counters.last_expired,
            msg_out_counter: self.counters.out.messages,
            bytes_out_counter: self.counters.out.bytes,
            message_ack_rate: self.counters.acked.per_second(now).0,
            is_durable: self.durable,
            durable: self.durable,
            non_contiguous_deleted_messages_ranges: holes,
            subscription_properties: self.properties.clone().into_iter().collect(),
            consumers,
            ..Default::default()
        }
    }

    fn serials(&self) -> Vec<Serial> {
        self.dispatch.consumers().iter().map(|consumer| consumer.serial).collect()
    }

    fn one(&mut self, serial: Serial, now: u64) -> Option<ConsumerStats> {
        let consumer = self.dispatch.consumers().get(serial)?;
        Some(consumer_stats(consumer, self.attached.get_mut(&serial)?, self.dispatch.keys(), now))
    }

    /// CONSUMER_STATS, without its request id.
    pub(super) fn consumer_stats(&mut self, serial: Serial) -> Result<CommandConsumerStatsResponse, SubscriptionError> {
        let stats = self.one(serial, self.clock.now_ms()).ok_or(SubscriptionError::Closed)?;
        let backlog = self.reader.with_chain(|chain| self.dispatch.acks().unacknowledged(chain));
        Ok(told(stats, self.dispatch.kind(), backlog))
    }

    pub(super) fn cursor_stats(&self) -> CursorStats {
        let acks = self.dispatch.acks();
        let (mark_delete, unacknowledged) =
            self.reader.with_chain(|chain| (acks.mark_delete(chain), acks.unacknowledged(chain)));
        // Before the first entry of a ledger, Pulsar's tools show entry -1.
        let before_first = || match acks.mark().entry.0 {
            0 => format!("{}:-1", acks.mark().ledger),
            entry => format!("{}:{}", acks.mark().ledger, entry - 1),
        };
        CursorStats {
            mark_delete_position: mark_delete.map_or_else(before_first, |position| position.to_string()),
            read_position: self.dispatch.next_position().to_string(),
            messages_consumed_counter: self.counters.acked.messages,
            cursor_ledger: -1,
            cursor_ledger_last_entry: -1,
            individually_deleted_messages: "[]".into(),
            state: "Open".into(),
            active: !self.attached.is_empty(),
            number_of_entries_since_first_not_acked_message: unacknowledged + acks.holes(),
            total_non_contiguous_deleted_messages_range: acks.holes(),
            standstill: self.watch.standstill().map(|standstill| standstill.to_string()),
            ..Default::default()
        }
    }
}

/// As Apache Pulsar writes it.
pub(crate) fn kind_name(kind: SubType) -> &'static str {
    match kind {
        SubType::Exclusive => "Exclusive",
        SubType::Shared => "Shared",
        SubType::Failover => "Failover",
        SubType::KeyShared => "Key_Shared",
    }
}

/// Of one consumer.
pub(super) fn consumer_stats(
    consumer: &Consumer,
    attached: &mut Attached,
    keys: Option<&Keys>,
    now: u64,
) -> ConsumerStats {
    let (rate_out, throughput_out) = attached.out.per_second(now);
    let draining = keys.map(|keys| keys.draining(consumer.serial)).unwrap_or_default();
    let draining: Vec<DrainingHash> = draining
        .into_iter()
        .map(|draining| DrainingHash {
            hash: draining.slot.0,
            unack_msgs: draining.pending,
            blocked_attempts: draining.waiting as u64,
        })
        .collect();
    ConsumerStats {
        consumer_name: consumer.name.clone(),
        available_permits: consumer.permits,
        unacked_messages: consumer.unacked().messages(),
        blocked_consumer_on_unacked_msgs: consumer.unacked().is_blocked(),
        avg_messages_per_entry: (consumer.messages_out + consumer.entries_out / 2) / consumer.entries_out.max(1),
        msg_rate_out: rate_out,
        msg_throughput_out: throughput_out,
        msg_rate_redeliver: attached.redelivered.per_second(now).0,
        msg_out_counter: consumer.messages_out,
        bytes_out_counter: consumer.bytes_out,
        message_ack_rate: attached.acked.per_second(now).0,
        address: attached.client.address.clone(),
        connected_since: attached.client.connected_since.clone(),
        client_version: attached.client.version.clone(),
        last_acked_timestamp: attached.last_acked,
        last_consumed_timestamp: attached.last_consumed,
        last_consumed_flow_timestamp: attached.last_flow,
        last_acked_time: rfc3339(attached.last_acked),
        last_consumed_time: rfc3339(attached.last_consumed),
        metadata: attached.metadata.clone(),
        takes_any_schema: attached.takes_any_schema,
        draining_hashes_count: draining.len() as u64,
        draining_hashes_cleared_total: keys.map_or(0, |keys| keys.drained(consumer.serial)),
        draining_hashes_unacked_messages: draining.iter().map(|draining| u64::from(draining.unack_msgs)).sum(),
        draining_hashes: keys.map(|_| draining),
        key_hash_range_arrays: keys.map(|keys| keys.slots().ranges_of(consumer.serial)),
    }
}

/// As CONSUMER_STATS tells it.
pub(super) fn told(stats: ConsumerStats, kind: SubType, backlog: u64) -> CommandConsumerStatsResponse {
    CommandConsumerStatsResponse {
        msg_rate_out: Some(stats.msg_rate_out),
        msg_throughput_out: Some(stats.msg_throughput_out),
        msg_rate_redeliver: Some(stats.msg_rate_redeliver),
        consumer_name: Some(stats.consumer_name),
        available_permits: Some(u64::try_from(stats.available_permits).unwrap_or(0)),
        unacked_messages: Some(stats.unacked_messages),
        blocked_consumer_on_unacked_msgs: Some(stats.blocked_consumer_on_unacked_msgs),
        address: Some(stats.address),
        connected_since: Some(stats.connected_since),
        r#type: Some(kind_name(kind).into()),
        msg_rate_expired: Some(0.0),
        msg_backlog: Some(backlog),
        message_ack_rate: Some(stats.message_ack_rate),
        ..Default::default()
    }
}
