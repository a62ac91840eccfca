//! What happens when partitions are assigned and revoked, and the client's settings.
//!
//! The callback runs within a poll of the worker's loop. On assignment it reads the positions from the table and
//! starts there, never at what Kafka keeps; a partition whose next offset is gone, or that the table is ahead of,
//! is stopped and reported. The assignment strategy is eager: on every rebalance each partition starts anew at the
//! table's position, so no fetch position is left behind when the batch is dropped. The loop hears of every change
//! through `Shared` and drops its batch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lake::events::{self, Origin};
use lake::table::Table;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use crate::gap::Gap;
use crate::start::{self, Start};
use crate::{Feed, WorkerConfig};

/// Settings that the commit protocol stands on: a configuration may not change them.
pub const FIXED: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("auto.offset.reset", "error"),
    ("isolation.level", "read_committed"),
    ("allow.auto.create.topics", "false"),
    ("partition.assignment.strategy", "range"),
];

pub(crate) const WATERMARK_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) fn origin(config: &WorkerConfig, feed: &Feed, partition: i32) -> Origin {
    Origin { stream: format!("kafka:{}/{}", config.cluster, feed.topic), incarnation: feed.incarnation.clone(), partition }
}

pub(crate) fn client_config(config: &WorkerConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    for (key, value) in [
        ("check.crcs", "true"),
        // Little waits here, so that it is still near the processor when it is decoded; asked for again soon.
        ("queued.max.messages.kbytes", "2048"),
        ("fetch.queue.backoff.ms", "10"),
        ("fetch.wait.max.ms", "100"),
        ("message.max.bytes", "33554432"),
        ("receive.message.max.bytes", "134217728"),
        ("topic.metadata.refresh.interval.ms", "30000"),
    ] {
        client.set(key, value);
    }
    // A broker that is back is asked within two seconds, not ten; the client refuses a first pause longer than the longest one.
    if !config.properties.contains_key("reconnect.backoff.ms") {
        client.set("reconnect.backoff.max.ms", "2000");
    }
    client.set("bootstrap.servers", &config.brokers).set("group.id", &config.group);
    for (key, value) in config.properties.iter().map(|(k, v)| (k.as_str(), v.as_str())).chain(FIXED.iter().copied()) {
        client.set(key, value);
    }
    client
}

/// What the rebalance callback tells the loop.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// The whole assignment with next offsets, when it changed.
    pub(crate) changed: Option<BTreeMap<(String, i32), i64>>,
    pub(crate) assigned: BTreeMap<(String, i32), i64>,
    pub(crate) stopped: BTreeSet<(String, i32)>,
    /// Gaps that were found and are not in the table yet.
    pub(crate) gaps: Vec<Gap>,
}

pub(crate) struct Context {
    pub(crate) table: Table,
    pub(crate) config: WorkerConfig,
    pub(crate) shared: Arc<Mutex<Shared>>,
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka client");
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let result = if err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let keys: Vec<(String, i32)> = list.elements().iter().map(|e| (e.topic().to_owned(), e.partition())).collect();
            consumer.assign(&self.starts(consumer, &keys))
        } else {
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            shared.assigned.clear();
            shared.changed = Some(BTreeMap::new());
            consumer.unassign()
        };
        if let Err(error) = result {
            tracing::error!(%error, "the assignment could not be applied");
        }
    }
}

impl Context {
    /// Where to read on in each partition of a new assignment; what cannot be read on is stopped, and its gap noted.
    pub(crate) fn starts(&self, consumer: &BaseConsumer<Self>, keys: &[(String, i32)]) -> TopicPartitionList {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.assigned.clear();
        if let Err(error) = self.table.refresh() {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the table could not be read; its positions may be old, commits will be refused"
            );
        }
        let mut list = TopicPartitionList::new();
        for (topic, partition) in keys {
            let key = (topic.clone(), *partition);
            let offset = match self.start_of(consumer, topic, *partition) {
                Start::At(offset) => {
                    shared.stopped.remove(&key);
                    shared.assigned.insert(key, offset);
                    Offset::Offset(offset)
                }
                gap => {
                    shared.stopped.insert(key);
                    shared.gaps.push(Gap { topic: topic.clone(), partition: *partition, start: gap });
                    Offset::End
                }
            };
            if let Err(error) = list.add_partition_offset(topic, *partition, offset) {
                tracing::error!(%error, topic, partition, "the partition could not be listed");
            }
        }
        shared.changed = Some(shared.assigned.clone());
        list
    }

    fn start_of(&self, consumer: &BaseConsumer<Self>, topic: &str, partition: i32) -> Start {
        let feed = self.config.feeds.iter().find(|f| f.topic == topic);
        let recorded = feed.and_then(|feed| events::position(&self.table, &origin(&self.config, feed, partition)));
        match consumer.fetch_watermarks(topic, partition, WATERMARK_TIMEOUT) {
            Ok((low, high)) => start::decide(recorded, low, high),
            Err(error) => {
                tracing::warn!(%error, topic, partition, "no watermarks; starting from the recorded position");
                Start::At(recorded.map_or(0, |r| r + 1))
            }
        }
    }
}
