//! Where a run with `once` ends: each partition is read to the end that it had at the start, by this worker or another.
//!
//! Where a topic ends in transaction markers, or in records of aborted transactions, no record reaches its end. That nothing
//! came for a while does not show it: the group may be joining, a commit may be slow, a broker away. So after a
//! second without a record a reader of its own looks whether there are more, and only what it found empty is accounted for.
//!
//! Limits: one partition is looked at at a time; a look goes on until it knows.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use lake::events;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, Statistics, TopicPartitionList};

use super::Worker;
use crate::assignment::{Context, client_config, origin};
use crate::broker::{Ends, is_damaged, is_out_of_range, report};
use crate::{IngestError, WorkerConfig, now_us};

/// After how long without a record it is asked whether there are more.
const QUIET_MS: i64 = 1_000;

impl Worker<'_> {
    /// Whether every partition of every feed is read to the end that it had at the start, by whichever worker. Where a
    /// topic ends in transaction markers no record reaches its end: after a while without records they are looked for.
    pub(super) fn is_at_end(&mut self, consumer: &BaseConsumer<Context>, ends: &Ends) -> Result<bool, IngestError> {
        let unread = self.unread(ends);
        if unread.is_empty() {
            return Ok(true);
        }
        if self.look.is_none() {
            if now_us() - self.quiet_since_us <= QUIET_MS * 1000 {
                return Ok(false);
            }
            // Another worker may have read on.
            self.table.refresh()?;
            self.quiet_since_us = now_us();
        }
        let ours = unread.into_iter().find_map(|(key, end)| self.next.get(&key).map(|next| (key.clone(), *next, end)));
        let last = self.look.take();
        let Some((key, next, end)) = ours else { return Ok(false) };
        let look = match last.filter(|look| (&look.key, look.start, look.end) == (&key, next, end)) {
            Some(look) => look,
            None => Look::start(self.config, key, next, end)?,
        };
        match look.found() {
            Found::NotYet => self.look = Some(look),
            // It will come to this worker too.
            Found::Record => {}
            Found::NoRecord => {
                self.take_markers(&look.key, end);
                return Ok(self.unread(ends).is_empty());
            }
            Found::Gone => self.start_anew(consumer)?,
        }
        Ok(false)
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

    /// Accounts for the offsets up to an end, which hold transaction markers or records of aborted transactions only. (With
    /// `read_committed` an end is that of the last decided transaction.)
    fn take_markers(&mut self, key: &(String, i32), end: i64) {
        let Some(next) = self.next.get_mut(key) else { return };
        let Some(feed) = self.config.feeds.iter().find(|f| f.topic == key.0) else { return };
        self.batch.skip_to(&origin(self.config, feed, key.1), *next - 1, end - 1);
        *next = end;
    }

    fn recorded(&self, (topic, partition): &(String, i32)) -> Option<i64> {
        let feed = self.config.feeds.iter().find(|f| &f.topic == topic)?;
        events::position(&self.table, &origin(self.config, feed, *partition))
    }
}

/// A reader that looks whether a partition has a record at these offsets, below `end`. What it hears of an end is of this partition, and
/// says where: a replica that lags behind, or that just became the leader, may say that it ends before.
pub(super) struct Look {
    key: (String, i32),
    start: i64,
    end: i64,
    reader: BaseConsumer<EndSeen>,
}

enum Found {
    NotYet,
    Record,
    NoRecord,
    /// The first of the offsets is not there any more.
    Gone,
}

/// The offset of the last end that a reader was told of.
struct EndSeen(AtomicI64);

impl ClientContext for EndSeen {
    fn stats(&self, statistics: Statistics) {
        let partitions = statistics.topics.values().flat_map(|topic| topic.partitions.values());
        let end = partitions.map(|partition| partition.eof_offset).max();
        self.0.store(end.unwrap_or(-1), Ordering::Relaxed);
    }
}

impl ConsumerContext for EndSeen {}

impl Look {
    fn start(config: &WorkerConfig, key: (String, i32), start: i64, end: i64) -> Result<Self, IngestError> {
        let failed = |source| IngestError::Kafka { action: "look for records before the end", source };
        let mut client = client_config(config);
        // It waits for nothing, asks the leader, and is told every tenth of a second where it stands.
        client.set("fetch.wait.max.ms", "100").set("fetch.min.bytes", "1").set("client.rack", "").set("statistics.interval.ms", "100");
        let reader: BaseConsumer<EndSeen> = client.create_with_context(EndSeen(AtomicI64::new(-1))).map_err(failed)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&key.0, key.1, Offset::Offset(start)).map_err(failed)?;
        reader.assign(&list).map_err(failed)?;
        Ok(Self { key, start, end, reader })
    }

    fn found(&self) -> Found {
        while let Some(polled) = self.reader.poll(Duration::ZERO) {
            match polled {
                Ok(message) if message.offset() < self.end => return Found::Record,
                Ok(_) => return Found::NoRecord,
                Err(error) if is_out_of_range(&error) => return Found::Gone,
                // Damaged ones are records too, and the client is behind them now.
                Err(error) if is_damaged(&error) => return Found::Record,
                Err(KafkaError::PartitionEOF(_)) => {}
                Err(error) => report(&error),
            }
        }
        if self.reader.context().0.load(Ordering::Relaxed) >= self.end { Found::NoRecord } else { Found::NotYet }
    }
}
