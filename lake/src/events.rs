//! Batches of events: collected, sealed, and committed exactly once.
//!
//! An [`EventBatch`] takes whole records in the order they came, remembers the range of offsets of each
//! partition, and becomes one commit: Parquet files by `(row_kind, ingest_date)`, one transaction for each partition, and
//! the seal. Rows are hashed and written to their files a chunk at a time while the chunk is near the processor; so a batch
//! stands in memory as the compressed files it will be. Their order is that of arrival; those that are merged are sorted.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
use ledger::{Range, Seal};
use schemas::batch::{RowsBuilder, events_schema};
use schemas::columns::{Row, name};
use schemas::decode::EVENT;
use schemas::keys::Keys;

use crate::decide::Step;
use crate::growing_files::GrowingFiles;
use crate::layout::{parse_position_txn, position_txn};
use crate::leaves::leaf_hashes;
use crate::parquet_file::Logged;
use crate::table::{CommitOutcome, CommitRequest, Table, TableFile, TableSpec, random_id};
use crate::{Lake, LakeError, TableName};

/// Partition columns of `events`.
pub(crate) const PARTITION_COLUMNS: &[&str] = &[name::row_kind, name::ingest_date];
/// Columns of `events` with statistics: none of them sensitive.
pub(crate) const STATS_COLUMNS: &str = "event_time,ingest_time,offset";

/// What a row takes besides its payload before it is compressed, roughly, bytes.
const ROW_BYTES: usize = 3072;
/// Rows are built, hashed and written in chunks of about this size, which the cache of a core holds.
const CHUNK_BYTES: usize = 2 << 20;

/// Which part of which stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// Stream name.
    pub stream: String,
    /// Which life of the stream.
    pub incarnation: String,
    /// Partition.
    pub partition: i32,
}

impl Origin {
    fn txn(&self) -> String {
        position_txn(&self.stream, &self.incarnation, self.partition)
    }
}

/// What a batch or a run of batches held. The four classes of records are disjoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records read.
    pub records: u64,
    /// Records that gave at least one event.
    pub with_events: u64,
    /// Records that gave rejections only.
    pub rejected: u64,
    /// Records that held nothing.
    pub empty: u64,
    /// Rows that are events.
    pub events: u64,
    /// Rows that are rejections.
    pub rejections: u64,
    /// Offsets in the ranges without a record.
    pub no_record: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.with_events += other.with_events;
        self.rejected += other.rejected;
        self.empty += other.empty;
        self.events += other.events;
        self.rejections += other.rejections;
        self.no_record += other.no_record;
    }
}

/// Records on their way to one commit.
#[derive(Debug)]
pub struct EventBatch {
    keys: Arc<Keys>,
    batch_id: String,
    rows: RowsBuilder,
    /// Bytes of the rows in `rows`.
    open_bytes: usize,
    files: GrowingFiles,
    /// Of the rows of all chunks that were closed.
    leaves: Vec<ledger::Hash>,
    /// Of each row, in the order pushed: the number of its origin, its offset and its index.
    order: Vec<(usize, i64, usize)>,
    ranges: Vec<(Origin, i64, i64)>,
    counts: Counts,
    bytes: usize,
}

impl EventBatch {
    /// An empty batch for a lake.
    pub fn new(lake: &Lake, now_ms: i64) -> Self {
        Self::with_keys(lake.shared_keys(), now_ms)
    }

    fn with_keys(keys: Arc<Keys>, now_ms: i64) -> Self {
        Self {
            keys,
            batch_id: random_id(now_ms),
            rows: RowsBuilder::default(),
            open_bytes: 0,
            files: GrowingFiles::default(),
            leaves: Vec::new(),
            order: Vec::new(),
            ranges: Vec::new(),
            counts: Counts::default(),
            bytes: 0,
        }
    }

    /// The batch that comes after this one: empty, and after a large one with room for rows like its rows.
    pub fn next(&self, now_ms: i64) -> Self {
        let rows = if self.leaves.is_empty() { RowsBuilder::default() } else { self.rows.anew() };
        Self { rows, files: self.files.next(), ..Self::with_keys(Arc::clone(&self.keys), now_ms) }
    }

    /// Takes one record with its rows. `before` is the last offset that counts as taken already: the range
    /// of the partition starts after it. Records of one partition come in ascending order of offset.
    ///
    /// # Errors
    /// When the rows cannot be built, which would be a bug.
    pub fn push(&mut self, origin: &Origin, before: i64, offset: i64, rows: Vec<Box<Row>>) -> Result<(), LakeError> {
        let number = self.origin(origin, before);
        let to = &mut self.ranges[number].2;
        self.counts.no_record += u64::try_from(offset - *to - 1).unwrap_or(0);
        *to = offset;
        self.counts.records += 1;
        let events = rows.iter().filter(|row| row.row_kind.as_deref() == Some(EVENT)).count() as u64;
        match (events, rows.len()) {
            (0, 0) => self.counts.empty += 1,
            (0, _) => self.counts.rejected += 1,
            _ => self.counts.with_events += 1,
        }
        self.counts.events += events;
        self.counts.rejections += rows.len() as u64 - events;
        rows.into_iter().enumerate().try_for_each(|(index, row)| self.push_row((number, offset, index), row))
    }

    /// Counts the offsets of `(from, to]` as lost, and keeps the row that says so.
    ///
    /// # Errors
    /// As [`EventBatch::push`].
    pub fn lost(&mut self, origin: &Origin, (from, to): (i64, i64), row: Row) -> Result<(), LakeError> {
        let number = self.origin(origin, from);
        self.ranges[number] = (origin.clone(), from, to);
        self.counts.no_record += u64::try_from(to - from).unwrap_or(0);
        self.counts.rejections += 1;
        self.push_row((number, row.offset.unwrap_or(to), 0), Box::new(row))
    }

    /// Counts offsets up to `to` as read though no record was there (transaction markers, compaction).
    pub fn skip_to(&mut self, origin: &Origin, before: i64, to: i64) {
        let number = self.origin(origin, before);
        let end = &mut self.ranges[number].2;
        self.counts.no_record += u64::try_from(to - *end).unwrap_or(0);
        *end = to.max(*end);
    }

    /// The number of an origin; a new one begins after `before`.
    fn origin(&mut self, origin: &Origin, before: i64) -> usize {
        self.ranges.iter().position(|(known, ..)| known == origin).unwrap_or_else(|| {
            self.ranges.push((origin.clone(), before, before));
            self.ranges.len() - 1
        })
    }

    fn push_row(&mut self, place: (usize, i64, usize), mut row: Box<Row>) -> Result<(), LakeError> {
        let size_bytes = ROW_BYTES + row.raw_payload.as_ref().map_or(0, Vec::len);
        self.bytes += size_bytes;
        self.open_bytes += size_bytes;
        row.batch_id = Some(self.batch_id.clone());
        self.order.push(place);
        self.rows.push(&row);
        if self.open_bytes >= CHUNK_BYTES { self.close_chunk() } else { Ok(()) }
    }

    fn close_chunk(&mut self) -> Result<(), LakeError> {
        self.open_bytes = 0;
        if self.rows.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.rows).finish().map_err(|e| LakeError::Rows(Box::new(e)))?;
        self.rows = RowsBuilder::after(&chunk);
        let leaves = leaf_hashes(&chunk, &self.keys);
        self.files.write(&with_leaves(&chunk, &leaves)?)?;
        self.leaves.extend(leaves);
        Ok(())
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Rough size of its rows before they are compressed, bytes.
    pub fn size_bytes(&self) -> usize {
        self.bytes
    }

    /// What it holds.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Seals the batch: from here on it is fixed and can be committed any number of times.
    ///
    /// # Errors
    /// When the rows cannot be built or encoded.
    pub fn seal(mut self, now_ms: i64) -> Result<SealedBatch, LakeError> {
        self.close_chunk()?;
        let mut order: Vec<usize> = (0..self.leaves.len()).collect();
        let place = |i: usize| (&self.ranges[self.order[i].0].0, self.order[i].1, self.order[i].2);
        order.sort_by(|a, b| place(*a).cmp(&place(*b)));
        let ordered: Vec<ledger::Hash> = order.iter().map(|i| self.leaves[*i]).collect();
        self.ranges.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let ranges = self.ranges.iter().map(|(origin, from, to)| Range {
            stream: origin.stream.clone(),
            incarnation: origin.incarnation.clone(),
            partition: origin.partition,
            from: *from,
            to: *to,
        });
        let seal = Seal {
            batch_id: self.batch_id.clone(),
            events: self.counts.events,
            rejections: self.counts.rejections,
            empty: self.counts.empty,
            no_record: self.counts.no_record,
            root: ledger::root(&ordered),
            ranges: ranges.collect(),
        };
        let steps = self.ranges.iter().map(|(origin, from, to)| Step { app_id: origin.txn(), from: *from, to: *to }).collect();
        let files = self.files.finish(&self.batch_id)?;
        let request = CommitRequest { files, steps, seal: Some(seal.print()), operation: "STREAMING UPDATE", replaces: None, now_ms };
        Ok(SealedBatch { request, batch_id: self.batch_id, counts: self.counts })
    }
}

/// A batch that is fixed.
#[derive(Debug)]
pub struct SealedBatch {
    request: CommitRequest,
    batch_id: String,
    counts: Counts,
}

impl SealedBatch {
    /// Commits, or says why not. Repeating it is safe, and after an error it is the thing to do.
    ///
    /// # Errors
    /// When files cannot be written or read.
    pub fn commit(&self, table: &Table) -> Result<CommitOutcome, LakeError> {
        table.commit(&self.request)
    }

    /// What it holds.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Its batch id.
    pub fn batch_id(&self) -> &str {
        &self.batch_id
    }
}

/// The table `events` of a lake.
///
/// # Errors
/// When its log cannot be read.
pub fn open(lake: &Lake) -> Result<Table, LakeError> {
    let spec = TableSpec { schema: events_schema(), partition_columns: PARTITION_COLUMNS, stats_columns: STATS_COLUMNS };
    lake.table(TableName::Events, spec)
}

/// Last offset taken of a partition; `None` when nothing was.
pub fn position(table: &Table, origin: &Origin) -> Option<i64> {
    table.recorded(&origin.txn())
}

/// All positions of a table.
pub fn positions(table: &Table) -> BTreeMap<Origin, i64> {
    let origin =
        |app_id: &str| parse_position_txn(app_id).map(|(stream, incarnation, partition)| Origin { stream, incarnation, partition });
    table.txns().iter().filter_map(|(app_id, to)| Some((origin(app_id)?, *to))).collect()
}

/// Whether a merge put rows from both sides of a version into one file, so that what came before it is not told any more.
///
/// # Errors
/// When the log cannot be read.
pub fn is_merged_across(lake: &Lake, version: Option<u64>) -> Result<bool, LakeError> {
    let Some(version) = version else { return Ok(false) };
    let table = open(lake)?;
    table.refresh()?;
    Ok(table.data_files().iter().any(|file| file.add.oldest_version().is_some_and(|from| from <= version && version < file.version)))
}

/// The last version up to `up_to` before any whose newest event is later than `limit_us`: what another source may
/// still add to is not settled. An event dated into the future counts as of its arrival.
pub fn settled_version(table: &Table, after: Option<u64>, up_to: u64, limit_us: i64) -> Option<u64> {
    let files = files_between(table, after, up_to);
    let unsettled = files.iter().filter(|f| {
        let logged = Logged::of(f.add.stats.as_deref());
        let newest = |column| logged.as_ref().and_then(|logged| logged.bounds_us(column)).map_or(i64::MIN, |(_, max)| max);
        newest(name::event_time).min(newest(name::ingest_time)) > limit_us
    });
    match unsettled.map(|f| f.version).min() {
        Some(first) => first.checked_sub(1).max(after),
        None => Some(up_to),
    }
}

/// The last version after `after` and up to `up_to` that holds an event of `limit_us` or before; later ones hold nothing that
/// has settled.
pub fn last_due_version(table: &Table, after: Option<u64>, up_to: u64, limit_us: i64) -> Option<u64> {
    let oldest =
        |f: &TableFile| Logged::of(f.add.stats.as_deref()).and_then(|logged| logged.bounds_us(name::event_time)).map(|(min, _)| min);
    let files = files_between(table, after, up_to);
    files.iter().filter(|f| oldest(f).is_none_or(|oldest| oldest <= limit_us)).map(|f| f.version).max()
}

/// Bytes of the files that came after a version.
pub fn bytes_after(table: &Table, after: Option<u64>) -> u64 {
    files_between(table, after, u64::MAX).iter().map(|file| u64::try_from(file.add.size).unwrap_or(0)).sum()
}

/// Files that came after one version and not after another.
fn files_between(table: &Table, after: Option<u64>, up_to: u64) -> Vec<TableFile> {
    let mut files = table.data_files();
    files.retain(|file| file.came_between(after, up_to));
    files
}

fn with_leaves(batch: &RecordBatch, leaves: &[ledger::Hash]) -> Result<RecordBatch, LakeError> {
    let index = batch.schema().index_of(name::leaf_hash).map_err(|e| LakeError::Rows(Box::new(e)))?;
    let mut columns = batch.columns().to_vec();
    columns[index] = Arc::new(BinaryArray::from_iter_values(leaves)) as ArrayRef;
    RecordBatch::try_new(batch.schema(), columns).map_err(|e| LakeError::Rows(Box::new(e)))
}
