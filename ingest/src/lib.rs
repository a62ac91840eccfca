//! Kafka and files to the lake: read, decode, batch, commit exactly once.
//!
//! Positions are stored nowhere but in the Delta commit that holds their data; what Kafka keeps of this
//! consumer group is for lag displays. In reading order: [`start`] and [`flush`] (pure decisions),
//! [`kafka`] (the worker), [`import`] (files), [`produce`] and [`embedded`] (for demo and tests).

pub mod assignment;
mod broker;
pub mod embedded;
pub mod flush;
pub mod gap;
pub mod import;
pub mod inspect;
pub mod kafka;
pub mod produce;
mod split;
pub mod start;
mod summary;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use schemas::decode::Source;

use crate::flush::FlushPolicy;
use crate::gap::OnGap;
pub use summary::Summary;

/// A failure of ingest.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The lake failed.
    #[error("the lake failed")]
    Lake(#[from] lake::LakeError),
    /// Kafka failed.
    #[error("cannot {action}")]
    Kafka {
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: rdkafka::error::KafkaError,
    },
    /// A file cannot be read.
    #[error("cannot read `{path}`")]
    File {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Something that a person has to mend.
    #[error("{0}")]
    Refused(String),
}

/// One feed: a topic and how to decode it.
#[derive(Debug, Clone)]
pub struct Feed {
    /// Topic.
    pub topic: String,
    /// Which life of the topic; raised by the operator when a topic was made anew.
    pub incarnation: String,
    /// How to decode it.
    pub source: Source,
}

/// What a worker needs to know.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Brokers, `host:port,host:port`.
    pub brokers: String,
    /// Consumer group.
    pub group: String,
    /// Name of the cluster in stream names.
    pub cluster: String,
    /// Any librdkafka property, over the defaults below.
    pub properties: BTreeMap<String, String>,
    /// Feeds.
    pub feeds: Vec<Feed>,
    /// When batches are due.
    pub flush: FlushPolicy,
    /// What to do where records are gone.
    pub on_gap: OnGap,
    /// Stop at the end offsets seen at the start.
    pub once: bool,
}

/// Microseconds since 1970 by the system clock: the one place where ingest reads it.
pub(crate) fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
}
