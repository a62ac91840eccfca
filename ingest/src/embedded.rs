//! A Kafka-compatible broker in this process, for the demo and for tests without Apache Kafka.
//!
//! It is librdkafka's mock cluster: real sockets and protocol, data in memory. Chosen over embedded brokers
//! on crates.io because it resumes in the middle of a batch correctly (docs/decisions/0003).
//!
//! Limits: 5 MiB for each partition, the oldest records go first; no authentication; loopback only.

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use crate::IngestError;

/// Bytes that a partition holds before the oldest records go.
pub const PARTITION_BYTES: usize = 5 << 20;

/// A broker that lives as long as this value.
pub struct EmbeddedBroker {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl std::fmt::Debug for EmbeddedBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedBroker").field("brokers", &self.brokers()).finish()
    }
}

impl EmbeddedBroker {
    /// Starts a broker with these topics.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start(topics: &[&str], partitions: i32) -> Result<Self, IngestError> {
        let cluster = MockCluster::new(1).map_err(|source| IngestError::Kafka { action: "start the embedded broker", source })?;
        for topic in topics {
            cluster.create_topic(topic, partitions, 1).map_err(|source| IngestError::Kafka { action: "create a topic", source })?;
        }
        Ok(Self { cluster })
    }

    /// Its address.
    pub fn brokers(&self) -> String {
        self.cluster.bootstrap_servers()
    }
}
