//! What stands on the brokers beside what the table has read: for people who ask why something is not there.
//!
//! Asks and changes nothing; needs no group and commits nothing.

use lake::{Lake, events};
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::assignment::{WATERMARK_TIMEOUT, client_config, origin};
use crate::{Feed, IngestError, WorkerConfig};

/// A topic as the broker has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicState {
    /// It is not there.
    Missing,
    /// Its partitions.
    There(Vec<PartitionState>),
}

/// One partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionState {
    /// Number.
    pub partition: i32,
    /// First offset that the broker still has.
    pub low: i64,
    /// The offset after the last.
    pub high: i64,
    /// What the table has read up to; `None` before the first commit.
    pub read_to: Option<i64>,
}

impl PartitionState {
    /// Offsets that are still to be read.
    pub fn lag(&self) -> i64 {
        (self.high - self.read_to.unwrap_or(self.low).max(self.low)).max(0)
    }

    /// Offsets that were deleted before they were read.
    pub fn lost(&self) -> i64 {
        self.read_to.map_or(0, |read_to| (self.low - read_to).max(0))
    }
}

/// Asks for the topic of each feed, in their order.
///
/// # Errors
/// When no broker answers or the lake cannot be read.
pub fn topics(lake: &Lake, config: &WorkerConfig) -> Result<Vec<(String, TopicState)>, IngestError> {
    let failed = |action| move |source| IngestError::Kafka { action, source };
    let consumer: BaseConsumer = client_config(config).create().map_err(failed("set up the Kafka client"))?;
    config.feeds.iter().map(|feed| Ok((feed.topic.clone(), topic(lake, config, feed, &consumer)?))).collect()
}

fn topic(lake: &Lake, config: &WorkerConfig, feed: &Feed, consumer: &BaseConsumer) -> Result<TopicState, IngestError> {
    let failed = |action| move |source| IngestError::Kafka { action, source };
    let metadata = consumer.fetch_metadata(Some(&feed.topic), WATERMARK_TIMEOUT).map_err(failed("reach a Kafka broker"))?;
    let found: Vec<i32> = metadata.topics().iter().flat_map(|t| t.partitions()).map(|p| p.id()).collect();
    if found.is_empty() {
        return Ok(TopicState::Missing);
    }
    let table = events::open(lake)?;
    let partition = |partition| {
        let (low, high) = consumer.fetch_watermarks(&feed.topic, partition, WATERMARK_TIMEOUT).map_err(failed("read the end offsets"))?;
        let read_to = events::position(&table, &origin(config, feed, partition)).map(|last| last + 1);
        Ok(PartitionState { partition, low, high, read_to })
    };
    Ok(TopicState::There(found.into_iter().map(partition).collect::<Result<_, IngestError>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_deleted_before_it_was_read_is_lost_and_no_lag() {
        let state = PartitionState { partition: 0, low: 50, high: 80, read_to: Some(20) };
        assert_eq!((state.lag(), state.lost()), (30, 30));
        let fresh = PartitionState { read_to: None, ..state };
        assert_eq!((fresh.lag(), fresh.lost()), (30, 0));
    }
}
