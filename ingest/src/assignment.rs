//! What happens when partitions are assigned and revoked, and the client's settings.
//!
//! The callback runs within a poll of the worker's loop. On assignment it reads the positions from the table and
//! starts there, never at what Kafka keeps; a partition whose next offset is gone, or that the table is ahead of,
//! is stopped and reported. The assignment strategy is eager: on every rebalance each partition starts anew at the
//! table's position, so no fetch position is left behind when the batch is dropped. The loop hears of every change through [`Shared`] and drops its batch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lake::events::{self, Origin};
use lake::table::Table;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use crate::Feed;
use crate::kafka::WorkerConfig;
use crate::start::{self, Start};

pub(crate) const WATERMARK_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) fn origin(config: &WorkerConfig, feed: &Feed, partition: i32) -> Origin {
    Origin { stream: format!("kafka:{}/{}", config.cluster, feed.topic), incarnation: feed.incarnation.clone(), partition }
}

pub(crate) fn client_config(config: &WorkerConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    for (key, value) in [
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("enable.partition.eof", "true"),
        ("auto.offset.reset", "error"),
        ("isolation.level", "read_committed"),
        ("check.crcs", "true"),
        ("allow.auto.create.topics", "false"),
        ("partition.assignment.strategy", "range"),
        ("queued.max.messages.kbytes", "65536"),
        ("fetch.queue.backoff.ms", "50"),
        ("fetch.wait.max.ms", "100"),
        ("message.max.bytes", "33554432"),
        ("receive.message.max.bytes", "134217728"),
        ("topic.metadata.refresh.interval.ms", "30000"),
    ] {
        client.set(key, value);
    }
    client.set("bootstrap.servers", &config.brokers).set("group.id", &config.group);
    for (key, value) in &config.properties {
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
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let assign = err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let keys: Vec<(String, i32)> = list.elements().iter().map(|e| (e.topic().to_owned(), e.partition())).collect();
        let result = if assign {
            let starts = self.starts(consumer, &keys, cooperative);
            match (cooperative, starts) {
                (true, starts) => consumer.incremental_assign(&starts),
                (false, starts) => consumer.assign(&starts),
            }
        } else {
            self.revoke(&keys, cooperative);
            if cooperative { consumer.incremental_unassign(list) } else { consumer.unassign() }
        };
        if let Err(error) = result {
            tracing::error!(%error, "the assignment could not be applied");
        }
    }
}

impl Context {
    fn revoke(&self, keys: &[(String, i32)], cooperative: bool) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if cooperative {
            keys.iter().for_each(|key| {
                shared.assigned.remove(key);
            });
        } else {
            shared.assigned.clear();
        }
        self.keep_rest(&mut shared);
    }

    fn starts(&self, consumer: &BaseConsumer<Self>, keys: &[(String, i32)], cooperative: bool) -> TopicPartitionList {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if !cooperative {
            shared.assigned.clear();
        }
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
                Some(offset) => {
                    shared.stopped.remove(&key);
                    shared.assigned.insert(key, offset);
                    Offset::Offset(offset)
                }
                None => {
                    shared.stopped.insert(key);
                    Offset::End
                }
            };
            if let Err(error) = list.add_partition_offset(topic, *partition, offset) {
                tracing::error!(%error, topic, partition, "the partition could not be listed");
            }
        }
        self.keep_rest(&mut shared);
        list
    }

    /// The loop drops its batch, so what it kept of other partitions is read again from the table's positions.
    fn keep_rest(&self, shared: &mut Shared) {
        for ((topic, partition), next) in &mut shared.assigned {
            let feed = self.config.feeds.iter().find(|f| &f.topic == topic);
            let recorded = feed.and_then(|feed| events::position(&self.table, &origin(&self.config, feed, *partition)));
            *next = recorded.map_or(*next, |r| r + 1);
        }
        shared.changed = Some(shared.assigned.clone());
    }

    fn start_of(&self, consumer: &BaseConsumer<Self>, topic: &str, partition: i32) -> Option<i64> {
        let feed = self.config.feeds.iter().find(|f| f.topic == topic)?;
        let recorded = events::position(&self.table, &origin(&self.config, feed, partition));
        let (low, high) = match consumer.fetch_watermarks(topic, partition, WATERMARK_TIMEOUT) {
            Ok(watermarks) => watermarks,
            Err(error) => {
                tracing::warn!(%error, topic, partition, "no watermarks; starting from the recorded position");
                return Some(recorded.map_or(0, |r| r + 1));
            }
        };
        match start::decide(recorded, low, high) {
            Start::At(offset) => Some(offset),
            Start::Lost { first, low } => {
                tracing::error!(
                    topic,
                    partition,
                    first,
                    low,
                    "records were deleted from the topic before they were read; the partition is stopped. Raise `incarnation` of this source to go on after the gap"
                );
                None
            }
            Start::Ahead { recorded, high } => {
                tracing::error!(
                    topic,
                    partition,
                    recorded,
                    high,
                    "the table is ahead of the topic: it was made anew. The partition is stopped. Raise `incarnation` of this source to read it from the start"
                );
                None
            }
        }
    }
}
