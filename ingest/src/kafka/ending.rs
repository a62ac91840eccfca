//! Where a run with `once` ends: each partition is read to the end that it had at the start, by this worker or another.
//!
//! Where a topic ends in transaction markers, or in records of aborted transactions, no record reaches its end. That nothing
//! came for a while does not show it: the group may be joining, a commit may be slow, a broker away. So after a
//! second without a record a reader of its own looks whether there are more, and only what it found empty is accounted for.
//!
//! Limits: such a look takes at most 10 s; when it does not know by then, it is repeated.

use std::ops::Range;
use std::sync::PoisonError;
use std::time::Instant;

use lake::events;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::Worker;
use crate::assignment::{WATERMARK_TIMEOUT, client_config, origin};
use crate::broker::{Ends, POLL, is_damaged, is_out_of_range, report};
use crate::{IngestError, WorkerConfig, now_us};

/// After how long without a record it is asked whether there are more.
const QUIET_MS: i64 = 1_000;

impl Worker<'_> {
    /// Whether every partition of every feed is read to the end that it had at the start, by whichever worker. Where a
    /// topic ends in transaction markers no record reaches its end: after a while without records they are looked for.
    pub(super) fn is_at_end(&mut self, ends: &Ends) -> Result<bool, IngestError> {
        let unread = self.unread(ends);
        if unread.is_empty() {
            return Ok(true);
        }
        if now_us() - self.last_record_us <= QUIET_MS * 1000 {
            return Ok(false);
        }
        for (key, end) in &unread {
            self.take_markers(key, *end)?;
        }
        self.last_record_us = now_us();
        Ok(self.unread(ends).is_empty())
    }

    /// The partitions that nobody has read to their ends, with these. What is stopped is not read.
    pub(super) fn unread(&self, ends: &Ends) -> Vec<((String, i32), i64)> {
        let stopped = self.shared.lock().unwrap_or_else(PoisonError::into_inner).stopped.clone();
        let is_read = |key: &(String, i32), end: i64| {
            let by_us = self.next.get(key).is_some_and(|next| *next >= end);
            end <= 0 || by_us || stopped.contains(key) || self.recorded(key).is_some_and(|to| to + 1 >= end)
        };
        ends.iter().filter(|(key, end)| !is_read(key, **end)).map(|(key, end)| (key.clone(), *end)).collect()
    }

    /// Accounts for the offsets up to an end where they hold transaction markers or records of aborted transactions only. (With
    /// `read_committed` an end is that of the last decided transaction.) Another reader says so: that nothing came for a
    /// while has many reasons.
    fn take_markers(&mut self, key: &(String, i32), end: i64) -> Result<(), IngestError> {
        let Some(next) = self.next.get_mut(key) else { return Ok(()) };
        let Some(feed) = self.config.feeds.iter().find(|f| f.topic == key.0) else { return Ok(()) };
        if holds_no_record(self.config, key, *next..end)? {
            self.batch.skip_to(&origin(self.config, feed, key.1), *next - 1, end - 1);
            *next = end;
        }
        Ok(())
    }

    fn recorded(&self, (topic, partition): &(String, i32)) -> Option<i64> {
        let feed = self.config.feeds.iter().find(|f| &f.topic == topic)?;
        events::position(&self.table, &origin(self.config, feed, *partition))
    }
}

/// Whether a partition has no record at these offsets, below its end: a reader of its own looks, whose only partition it is, so that
/// what it hears of an end is of this one. When that takes too long the answer is no.
fn holds_no_record(config: &WorkerConfig, (topic, partition): &(String, i32), offsets: Range<i64>) -> Result<bool, IngestError> {
    let failed = |source| IngestError::Kafka { action: "look for records before the end", source };
    let reader: BaseConsumer = client_config(config).create().map_err(failed)?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, *partition, Offset::Offset(offsets.start)).map_err(failed)?;
    reader.assign(&list).map_err(failed)?;
    let until = Instant::now() + WATERMARK_TIMEOUT;
    while Instant::now() < until {
        match reader.poll(POLL) {
            Some(Ok(message)) => return Ok(message.offset() >= offsets.end),
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(true),
            Some(Err(error)) if is_out_of_range(&error) || is_damaged(&error) => return Ok(false),
            Some(Err(error)) => report(&error),
            None => {}
        }
    }
    Ok(false)
}
