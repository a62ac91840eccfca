//! The worker: one thread that polls, decodes, batches and commits.
//!
//! One loop, so there is nothing to coordinate: while a batch is being committed nothing is polled, which is
//! the back-pressure, and librdkafka's bounded queue (2 MiB) fills behind it. On a rebalance the batch is
//! thrown away and reading goes on from the positions in the table: whoever owns a partition next reads
//! them there too. A partition whose next offset is gone is stopped and reported, never jumped over.
//!
//! Limits: records up to 32 MiB; a failed commit is repeated with the same batch for ever, waiting at most
//! 10 s between tries, because nothing else can be done with it that loses nothing.

mod ending;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lake::events::{self, Counts, EventBatch, Origin};
use lake::follow::{self, Follower};
use lake::table::{CommitOutcome, Table};
use lake::{Lake, LakeError};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use schemas::decode::Decoder;

use crate::assignment::{Context, Shared, client_config, origin};
use crate::broker::{self, Ends, POLL, end_offsets, is_damaged, is_out_of_range, report, seek};
use crate::gap::{self, OnGap};
use crate::start::Start;
use crate::summary::Summary;
use crate::{Feed, IngestError, WorkerConfig, now_us};

/// How often copies are decided while a worker runs.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);
/// How often a running worker merges files and writes checkpoints.
const MAINTAIN_EVERY: Duration = Duration::from_secs(30);

/// Runs a worker until `stop` is set, or to the end of the topics with `once`.
///
/// # Errors
/// When Kafka cannot be reached at the start, a topic is missing, or the lake cannot be read.
pub fn run(lake: &Lake, config: &WorkerConfig, stop: &AtomicBool) -> Result<Summary, IngestError> {
    let table = events::open(lake)?;
    let context = Context { table: table.clone(), config: config.clone(), shared: Arc::default() };
    let shared = Arc::clone(&context.shared);
    let consumer: BaseConsumer<Context> =
        client_config(config).create_with_context(context).map_err(|source| IngestError::Kafka { action: "start the consumer", source })?;
    let ends = end_offsets(&consumer, config)?;
    let topics: Vec<&str> = config.feeds.iter().map(|feed| feed.topic.as_str()).collect();
    consumer.subscribe(&topics).map_err(|source| IngestError::Kafka { action: "subscribe", source })?;
    let mut worker = Worker {
        lake,
        config,
        table,
        shared,
        batch: EventBatch::new(lake, now_us() / 1000),
        batch_since_us: now_us(),
        next: BTreeMap::new(),
        done: Run::default(),
        quiet_since_us: now_us(),
        look: None,
        reading: None,
    };
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| decide_copies(lake, &ended));
        let result = worker.run(&consumer, stop, &ends);
        ended.store(true, Ordering::Relaxed);
        // It need not sleep to the end.
        follower.thread().unpark();
        result
    })?;
    worker.finish()
}

/// Keeps the views up while the worker runs: of several workers, one at a time wins each step.
fn decide_copies(lake: &Lake, ended: &AtomicBool) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        tracing::error!("no runtime for the copies follower; `events` will stand still");
        return;
    };
    let (mut follower, mut maintained) = (None, std::time::Instant::now());
    while !ended.load(Ordering::Relaxed) {
        if maintained.elapsed() > MAINTAIN_EVERY {
            maintained = std::time::Instant::now();
            if let Err(error) = runtime.block_on(lake::maintain::step(lake, now_us() / 1000)) {
                tracing::warn!(error = &error as &dyn std::error::Error, "maintenance failed; trying again");
            }
        }
        match runtime.block_on(one_step(lake, &mut follower)) {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "copies were not decided; trying again"),
        }
        std::thread::park_timeout(FOLLOW_EVERY);
    }
}

/// Whether there may be more to decide.
async fn one_step(lake: &Lake, follower: &mut Option<Follower>) -> Result<bool, LakeError> {
    let opened = match follower {
        Some(opened) => opened,
        None => follower.insert(Follower::open(lake)?),
    };
    Ok(opened.step(now_us() / 1000).await?.is_some())
}

/// What a run did so far.
#[derive(Debug, Default)]
struct Run {
    counts: Counts,
    commits: u64,
    batch_ids: Vec<String>,
}

struct Worker<'a> {
    lake: &'a Lake,
    config: &'a WorkerConfig,
    table: Table,
    shared: Arc<Mutex<Shared>>,
    batch: EventBatch,
    batch_since_us: i64,
    /// Next offset of each partition that is assigned.
    next: BTreeMap<(String, i32), i64>,
    done: Run,
    /// When a record came last, or with `once` it was asked last whether there are more.
    quiet_since_us: i64,
    /// With `once`: whether there are more records where none came.
    look: Option<ending::Look>,
    /// Of the last record.
    reading: Option<Reading<'a>>,
}

/// A partition with all of its names: made once for all records that come from it in a row.
struct Reading<'a> {
    key: (String, i32),
    feed: &'a Feed,
    origin: Origin,
}

impl<'a> Reading<'a> {
    fn of(config: &'a WorkerConfig, message: &BorrowedMessage<'_>) -> Option<Self> {
        let feed = config.feeds.iter().find(|feed| feed.topic == message.topic())?;
        let key = (message.topic().to_owned(), message.partition());
        Some(Self { key, feed, origin: origin(config, feed, message.partition()) })
    }

    fn decode(&self, lake: &Lake, message: &BorrowedMessage<'_>, now_us: i64) -> Vec<Box<schemas::Row>> {
        broker::decode(&Decoder { source: &self.feed.source, keys: lake.keys() }, &self.origin, message, now_us)
    }

    fn is_of(&self, message: &BorrowedMessage<'_>) -> bool {
        self.key.1 == message.partition() && self.key.0 == message.topic()
    }
}

impl Worker<'_> {
    fn run(&mut self, consumer: &BaseConsumer<Context>, stop: &AtomicBool, ends: &Ends) -> Result<(), IngestError> {
        while !stop.load(Ordering::Relaxed) {
            let may_be_at_end = self.step(consumer, stop, ends)?;
            if self.config.once && may_be_at_end && self.is_at_end(consumer, ends)? {
                self.flush(consumer, stop)?;
                // Where another owner took some of the batch, it goes on from the table.
                if self.unread(ends).is_empty() {
                    return Ok(());
                }
            }
        }
        self.flush(consumer, stop)
    }

    /// Takes what comes next. Returns whether this may be the end: a record may be only where it is the last of its partition.
    fn step(&mut self, consumer: &BaseConsumer<Context>, stop: &AtomicBool, ends: &Ends) -> Result<bool, IngestError> {
        let polled = consumer.poll(POLL);
        let (now_us, mut may_be_at_end) = (now_us(), true);
        self.follow_assignment(consumer)?;
        match polled {
            None => {}
            Some(Ok(message)) => {
                self.take(&message, now_us)?;
                may_be_at_end = self.last_of(ends).is_none_or(|end| message.offset() >= end - 1);
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Err(error)) if is_out_of_range(&error) => self.start_anew(consumer)?,
            Some(Err(source)) if is_damaged(&source) => {
                // The client has passed over them: with the next record they would look like offsets that never held one.
                self.flush(consumer, stop)?;
                return Err(IngestError::Kafka {
                    action: "read records that the broker holds damaged, and they are not passed over",
                    source,
                });
            }
            Some(Err(error)) => report(&error),
        }
        self.record_gaps(consumer)?;
        let age_ms = (now_us - self.batch_since_us) / 1000;
        if !self.batch.is_empty() && self.config.flush.is_due(self.batch.size_bytes(), age_ms) {
            self.flush(consumer, stop)?;
        }
        Ok(may_be_at_end)
    }

    /// The end of the partition that is being read.
    fn last_of(&self, ends: &Ends) -> Option<i64> {
        ends.get(&self.reading.as_ref()?.key).copied()
    }

    /// After a rebalance the batch is dropped: whoever owns its partitions now reads the same records from the table's
    /// positions. This worker goes on fetching the partitions that it kept, so it has to go back on them itself;
    /// records that it dropped and did not read again would look like offsets that never held one.
    fn follow_assignment(&mut self, consumer: &BaseConsumer<Context>) -> Result<(), IngestError> {
        let changed = self.shared.lock().unwrap_or_else(PoisonError::into_inner).changed.take();
        let Some(assigned) = changed else { return Ok(()) };
        for ((topic, partition), next) in &assigned {
            let read_to = self.next.get(&(topic.clone(), *partition));
            if read_to.is_some_and(|read_to| read_to > next) {
                seek(consumer, topic, *partition, *next)?;
            }
        }
        self.next = assigned;
        self.new_batch();
        Ok(())
    }

    /// The broker has deleted what was to be read next, or the topic is another one: what holds for an assignment is
    /// decided again, and the gap found there.
    fn start_anew(&mut self, consumer: &BaseConsumer<Context>) -> Result<(), IngestError> {
        self.new_batch();
        let keys: Vec<(String, i32)> = self.next.keys().cloned().collect();
        let starts = consumer.context().starts(consumer, &keys);
        consumer.assign(&starts).map_err(|source| IngestError::Kafka { action: "start anew after a gap", source })?;
        self.follow_assignment(consumer)
    }

    /// Commits the rows of gaps that were found; with `continue`, reads on after them.
    fn record_gaps(&mut self, consumer: &BaseConsumer<Context>) -> Result<(), IngestError> {
        let gaps = std::mem::take(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner).gaps);
        let mut resumed = false;
        for gap in &gaps {
            let Some(feed) = self.config.feeds.iter().find(|f| f.topic == gap.topic) else { continue };
            let on_gap = self.config.on_gap;
            tracing::error!("{}", gap.reason(on_gap));
            gap::record(self.lake, feed, &origin(self.config, feed, gap.partition), gap, on_gap)?;
            resumed |= on_gap == OnGap::Continue && matches!(gap.start, Start::Lost { .. });
        }
        if resumed {
            let stopped: Vec<(String, i32)> = gaps.iter().map(|g| (g.topic.clone(), g.partition)).collect();
            let keys: BTreeSet<(String, i32)> = self.next.keys().cloned().chain(stopped).collect();
            let starts = consumer.context().starts(consumer, &keys.into_iter().collect::<Vec<_>>());
            consumer.assign(&starts).map_err(|source| IngestError::Kafka { action: "go on after a gap", source })?;
            self.follow_assignment(consumer)?;
        }
        Ok(())
    }

    fn new_batch(&mut self) {
        self.batch = self.batch.next(now_us() / 1000);
        self.batch_since_us = now_us();
    }

    fn take(&mut self, message: &BorrowedMessage<'_>, now_us: i64) -> Result<(), IngestError> {
        let last = self.reading.take().filter(|reading| reading.is_of(message));
        let Some(reading) = last.or_else(|| Reading::of(self.config, message)) else { return Ok(()) };
        let result = self.take_of(&reading, message, now_us);
        self.reading = Some(reading);
        result
    }

    fn take_of(&mut self, reading: &Reading<'_>, message: &BorrowedMessage<'_>, now_us: i64) -> Result<(), IngestError> {
        let Some(next) = self.next.get_mut(&reading.key) else { return Ok(()) };
        if message.offset() < *next {
            return Ok(());
        }
        if self.batch.is_empty() {
            self.batch_since_us = now_us;
        }
        let rows = reading.decode(self.lake, message, now_us);
        self.batch.push(&reading.origin, *next - 1, message.offset(), rows)?;
        *next = message.offset() + 1;
        self.quiet_since_us = now_us;
        Ok(())
    }

    fn flush(&mut self, consumer: &BaseConsumer<Context>, stop: &AtomicBool) -> Result<(), IngestError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let now_ms = now_us() / 1000;
        let next = self.batch.next(now_ms);
        let sealed = std::mem::replace(&mut self.batch, next).seal(now_ms)?;
        let mut wait = Duration::from_millis(100);
        let outcome = loop {
            match sealed.commit(&self.table) {
                Ok(outcome) => break outcome,
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "the commit failed and is repeated");
                    if stop.load(Ordering::Relaxed) {
                        return Err(error.into());
                    }
                    sleep_unless(stop, wait);
                    wait = (wait * 2).min(Duration::from_secs(10));
                }
            }
        };
        match outcome {
            CommitOutcome::Committed { version } => {
                self.done.counts += sealed.counts();
                self.done.commits += 1;
                self.done.batch_ids.push(sealed.batch_id().to_owned());
                tracing::debug!(version, records = sealed.counts().records, "committed");
                self.show_progress(consumer);
            }
            CommitOutcome::AlreadyCommitted => tracing::warn!("the batch was in the table already: a reply was lost"),
            CommitOutcome::Refused(decision) => {
                tracing::warn!(?decision, "another owner took some of this batch; reading on from the table");
                self.rewind(consumer)?;
            }
        }
        self.new_batch();
        Ok(())
    }

    /// Kafka's own positions, for lag displays only; nothing reads them back.
    fn show_progress(&self, consumer: &BaseConsumer<Context>) {
        let mut list = TopicPartitionList::new();
        for ((topic, partition), next) in &self.next {
            // A partition that cannot be listed only misses its lag display.
            let _ = list.add_partition_offset(topic, *partition, Offset::Offset(*next));
        }
        if let Err(error) = consumer.commit(&list, CommitMode::Async) {
            tracing::debug!(%error, "lag display not updated");
        }
    }

    /// Back to the recorded positions; to where reading started when nothing is recorded.
    fn rewind(&mut self, consumer: &BaseConsumer<Context>) -> Result<(), IngestError> {
        self.table.refresh()?;
        let starts = self.shared.lock().unwrap_or_else(PoisonError::into_inner).assigned.clone();
        for ((topic, partition), next) in &mut self.next {
            let Some(feed) = self.config.feeds.iter().find(|f| &f.topic == topic) else { continue };
            let recorded = events::position(&self.table, &origin(self.config, feed, *partition));
            let start = starts.get(&(topic.clone(), *partition)).copied();
            let wanted = recorded.map(|r| r + 1).or(start).unwrap_or(*next);
            if wanted != *next {
                seek(consumer, topic, *partition, wanted)?;
                *next = wanted;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Summary, IngestError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| IngestError::Refused(format!("cannot start a runtime: {e}")))?;
        let duplicates = runtime.block_on(async {
            follow::advance(self.lake, now_us() / 1000).await?;
            follow::duplicates_of(self.lake, &self.done.batch_ids).await
        })?;
        let stopped = self.shared.lock().unwrap_or_else(PoisonError::into_inner).stopped.len() as u64;
        Ok(Summary::of(self.done.counts, duplicates, self.done.commits, stopped))
    }
}

/// Sleeps, and not on when the process is asked to end.
pub fn sleep_unless(stop: &AtomicBool, wait: Duration) {
    let until = Instant::now() + wait;
    while !stop.load(Ordering::Relaxed) && Instant::now() < until {
        std::thread::sleep(POLL);
    }
}
