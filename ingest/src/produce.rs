//! A small producer for demo, generator and tests: send records, wait until the broker has them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};

use crate::IngestError;

/// One record to send.
#[derive(Debug, Clone, Default)]
pub struct Outgoing<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Partition; `None` lets the key decide.
    pub partition: Option<i32>,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Headers.
    pub headers: &'a [(String, Vec<u8>)],
    /// Timestamp, milliseconds.
    pub timestamp_ms: Option<i64>,
    /// Value; `None` is a tombstone.
    pub payload: Option<&'a [u8]>,
}

#[derive(Debug, Default)]
struct Delivered {
    done: AtomicU64,
    failed: AtomicU64,
}

impl ClientContext for Delivered {}

impl ProducerContext for Delivered {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let counter = if result.is_ok() { &self.done } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// A producer.
pub struct Producer {
    inner: ThreadedProducer<Delivered>,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Producer")
    }
}

impl Producer {
    /// Connects lazily.
    ///
    /// # Errors
    /// When a property is wrong.
    pub fn new(brokers: &str, properties: &BTreeMap<String, String>) -> Result<Self, IngestError> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("linger.ms", "5").set("acks", "all").set("queue.buffering.max.messages", "1000000");
        for (key, value) in properties {
            config.set(key, value);
        }
        let inner = config.create_with_context(Delivered::default());
        Ok(Self { inner: inner.map_err(|source| IngestError::Kafka { action: "start the producer", source })? })
    }

    /// Queues a record; waits while the queue is full.
    ///
    /// # Errors
    /// When the record is refused, such as one that is too large.
    pub fn send(&self, record: &Outgoing<'_>) -> Result<(), IngestError> {
        let headers = record.headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(value) }));
        let mut outgoing: BaseRecord<'_, [u8], [u8], ()> = BaseRecord::to(record.topic).headers(headers);
        outgoing.key = record.key;
        outgoing.payload = record.payload;
        outgoing.partition = record.partition;
        outgoing.timestamp = record.timestamp_ms;
        loop {
            match self.inner.send(outgoing) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    outgoing = back;
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err((source, _)) => return Err(IngestError::Kafka { action: "send a record", source }),
            }
        }
    }

    /// Waits until the broker has everything; returns how many records it took.
    ///
    /// # Errors
    /// When some were not delivered.
    pub fn flush(&self) -> Result<u64, IngestError> {
        self.inner.flush(Duration::from_secs(60)).map_err(|source| IngestError::Kafka { action: "deliver all records", source })?;
        let failed = self.inner.context().failed.load(Ordering::Relaxed);
        if failed > 0 {
            return Err(IngestError::Refused(format!("{failed} records were not delivered")));
        }
        Ok(self.inner.context().done.load(Ordering::Relaxed))
    }
}
