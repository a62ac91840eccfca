//! The copies follower: which arrivals of an event are copies of an earlier one.
//!
//! It reads the versions of `events` in order and writes to table `copies` one row for each arrival whose
//! `(tenant, event_id)` was there before, with its cursor in the same commit; two followers fence each other
//! by that cursor. What it remembers is the table itself: earlier arrivals are found by event id among the
//! files whose event times meet those of the new ones, since a copy carries the same event time. So its
//! memory does not grow with history.
//!
//! First is who stands first in (version, stream, partition, offset, record index). Other content under the
//! same id is a `revision`, kept and counted, not shown in `events`.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;

use crate::decide::Step;
use crate::layout::{data_file, follower_txn};
use crate::snapshot::Snapshot;
use crate::table::{CommitOutcome, CommitRequest, DataFile, Table, TableSpec, random_id};
use crate::{Lake, LakeError, TableName, events, parquet_file};

/// Name of this follower.
const NAME: &str = "copies";

/// Most versions of `events` in one step.
const MAX_VERSIONS: u64 = 500;

/// What one run of the follower did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopiesFound {
    /// Arrivals with the same content as the first.
    pub copies: u64,
    /// Arrivals with other content.
    pub revisions: u64,
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

/// Columns of `copies`.
pub fn copies_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        text("tenant"),
        text("event_id"),
        text("kind"),
        text("stream"),
        text("incarnation"),
        Field::new("partition", DataType::Int32, true),
        Field::new("offset", DataType::Int64, true),
        Field::new("record_index", DataType::Int32, true),
    ]))
}

/// The table `copies` of a lake.
///
/// # Errors
/// When its log cannot be read.
pub fn open(lake: &Lake) -> Result<Table, LakeError> {
    lake.table(TableName::Copies, TableSpec { schema: copies_schema(), partition_columns: &[], stats_columns: "offset" })
}

/// Version of `events` up to which copies are decided.
pub fn cursor(copies: &Table) -> Option<u64> {
    copies.recorded(&follower_txn(NAME)).and_then(|v| u64::try_from(v).ok())
}

/// Decides on everything that `events` holds now.
///
/// # Errors
/// When tables cannot be read or written.
pub async fn advance(lake: &Lake, now_ms: i64) -> Result<CopiesFound, LakeError> {
    let (events, copies) = (events::open(lake)?, open(lake)?);
    let mut found = CopiesFound::default();
    loop {
        let Some(latest) = events.refresh()? else { return Ok(found) };
        copies.refresh()?;
        let after = cursor(&copies);
        let up_to = latest.min(after.map_or(0, |v| v + 1) + MAX_VERSIONS);
        if after == Some(up_to) {
            return Ok(found);
        }
        let rows = copies_between(&events, after, up_to).await?;
        let step = Step { app_id: follower_txn(NAME), from: after.map_or(-1, u64::cast_signed), to: up_to.cast_signed() };
        // On another outcome a second follower was faster: read its cursor and go on from there.
        if let CommitOutcome::Committed { .. } = commit(&copies, &rows, step, now_ms)? {
            found += count(&rows);
        }
    }
}

impl std::ops::AddAssign for CopiesFound {
    fn add_assign(&mut self, other: Self) {
        self.copies += other.copies;
        self.revisions += other.revisions;
    }
}

fn count(rows: &[RecordBatch]) -> CopiesFound {
    let kinds = rows.iter().filter_map(|b| b.column_by_name("kind").and_then(|c| c.as_any().downcast_ref::<StringArray>()));
    let mut found = CopiesFound::default();
    for kind in kinds.flat_map(|k| k.iter().flatten()) {
        if kind == "copy" {
            found.copies += 1;
        } else {
            found.revisions += 1;
        }
    }
    found
}

fn commit(copies: &Table, rows: &[RecordBatch], step: Step, now_ms: i64) -> Result<CommitOutcome, LakeError> {
    let batch = arrow::compute::concat_batches(&copies_schema(), rows).map_err(|e| LakeError::Rows(Box::new(e)))?;
    let mut files = Vec::new();
    if batch.num_rows() > 0 {
        files.push(DataFile {
            path: data_file(&[], &random_id(now_ms), 0),
            partition: Vec::new(),
            stats: parquet_file::statistics(&batch, "offset"),
            bytes: parquet_file::encode(&batch, "offset")?,
        });
    }
    copies.commit(&CommitRequest { files, steps: vec![step], seal: None, operation: "WRITE", now_ms })
}

async fn copies_between(events: &Table, after: Option<u64>, up_to: u64) -> Result<Vec<RecordBatch>, LakeError> {
    let context = SessionContext::new();
    let df = |e: datafusion::error::DataFusionError| LakeError::Rows(Box::new(e));
    context.register_table("fresh", Arc::new(Snapshot::between(events, after, up_to))).map_err(df)?;
    context.register_table("versions", Arc::new(versions(events, after, up_to)?)).map_err(df)?;
    let bounds = "SELECT MIN(event_time), MAX(event_time) FROM fresh WHERE row_kind = 'event'";
    let bounds = context.sql(bounds).await.map_err(df)?.collect().await.map_err(df)?;
    let Some((low, high)) = time_bounds(&bounds) else { return Ok(Vec::new()) };
    let earlier = after.map_or_else(|| Snapshot::nothing(events), |v| Snapshot::of(events, Some(v)));
    context.register_table("earlier", Arc::new(earlier)).map_err(df)?;
    let query = COPIES_SQL.replace("{low}", &low.to_string()).replace("{high}", &high.to_string());
    context.sql(&query).await.map_err(df)?.collect().await.map_err(df)
}

const COPIES_SQL: &str = r#"
WITH arrivals AS (
    SELECT f.tenant, f.event_id, f.payload_mac, f.raw_sha256, f.stream, f.incarnation, f."partition", f."offset", f.record_index, v.version
    FROM fresh f JOIN versions v ON f.batch_id = v.batch_id
    WHERE f.row_kind = 'event'
),
known AS (
    SELECT tenant, event_id, MIN(raw_sha256) AS raw_sha256 FROM earlier
    WHERE row_kind = 'event'
      AND event_time >= to_timestamp_micros({low}) AND event_time <= to_timestamp_micros({high})
      AND event_id IN (SELECT event_id FROM arrivals)
    GROUP BY tenant, event_id
),
ranked AS (
    SELECT a.*,
        ROW_NUMBER() OVER w AS place,
        FIRST_VALUE(a.raw_sha256) OVER w AS first_content
    FROM arrivals a
    WINDOW w AS (PARTITION BY a.tenant, a.event_id ORDER BY a.version, a.stream, a.incarnation, a."partition", a."offset", a.record_index)
)
SELECT r.tenant, r.event_id,
    CASE WHEN r.raw_sha256 = COALESCE(k.raw_sha256, r.first_content) THEN 'copy' ELSE 'revision' END AS kind,
    r.stream, r.incarnation, r."partition", r."offset", r.record_index
FROM ranked r LEFT JOIN known k ON r.tenant = k.tenant AND r.event_id = k.event_id
WHERE k.event_id IS NOT NULL OR r.place > 1
"#;

/// Batch ids with the version that each came in.
fn versions(events: &Table, after: Option<u64>, up_to: u64) -> Result<MemTable, LakeError> {
    let (mut ids, mut numbers) = (Vec::new(), Vec::new());
    for change in events.changes_after(after)?.into_iter().filter(|c| c.version <= up_to) {
        if let Some(seal) = change.seal.as_deref().and_then(|s| ledger::Seal::parse(s).ok()) {
            ids.push(seal.batch_id);
            numbers.push(change.version.cast_signed());
        }
    }
    let schema = Arc::new(Schema::new(vec![text("batch_id"), Field::new("version", DataType::Int64, true)]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(StringArray::from(ids)), Arc::new(Int64Array::from(numbers))]);
    let batch = batch.map_err(|e| LakeError::Rows(Box::new(e)))?;
    MemTable::try_new(schema, vec![vec![batch]]).map_err(|e| LakeError::Rows(Box::new(e)))
}

fn time_bounds(batches: &[RecordBatch]) -> Option<(i64, i64)> {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::TimestampMicrosecondType;
    let batch = batches.iter().find(|b| b.num_rows() > 0)?;
    let value = |i: usize| {
        let column = batch.column(i).as_primitive::<TimestampMicrosecondType>();
        (!column.is_null(0)).then(|| column.value(0))
    };
    Some((value(0)?, value(1)?))
}

/// Copies among the rows of some batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Duplicates {
    /// Records all of whose events are copies.
    pub records: u64,
    /// Events that are copies or revisions.
    pub events: u64,
}

/// Counts the copies among the events of these batches; [`advance`] must have run.
///
/// # Errors
/// When tables cannot be read.
pub async fn duplicates_of(lake: &Lake, batch_ids: &[String]) -> Result<Duplicates, LakeError> {
    let df = |e: datafusion::error::DataFusionError| LakeError::Rows(Box::new(e));
    let (events, copies) = (events::open(lake)?, open(lake)?);
    if batch_ids.is_empty() || copies.refresh()?.is_none() {
        return Ok(Duplicates::default());
    }
    let context = SessionContext::new();
    context.register_table("stored", Arc::new(Snapshot::of(&events, None))).map_err(df)?;
    context.register_table("copies", Arc::new(Snapshot::of(&copies, None))).map_err(df)?;
    let schema = Arc::new(Schema::new(vec![text("batch_id")]));
    let ids = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(StringArray::from(batch_ids.to_vec()))])
        .map_err(|e| LakeError::Rows(Box::new(e)))?;
    let wanted = MemTable::try_new(schema, vec![vec![ids]]).map_err(df)?;
    context.register_table("wanted", Arc::new(wanted)).map_err(df)?;
    let result = context.sql(DUPLICATES_SQL).await.map_err(df)?.collect().await.map_err(df)?;
    let value = |i: usize| {
        let column = result.first().and_then(|b| b.column(i).as_any().downcast_ref::<Int64Array>().map(|c| c.value(0)));
        column.and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
    };
    Ok(Duplicates { records: value(0), events: value(1) })
}

const DUPLICATES_SQL: &str = r#"
WITH per_record AS (
    SELECT s.stream, s.incarnation, s."partition", s."offset", COUNT(*) AS events, COUNT(c.event_id) AS copied
    FROM stored s JOIN wanted w ON s.batch_id = w.batch_id
    LEFT JOIN copies c ON s.stream = c.stream AND s.incarnation = c.incarnation AND s."partition" = c."partition"
        AND s."offset" = c."offset" AND s.record_index = c.record_index
    WHERE s.row_kind = 'event'
    GROUP BY s.stream, s.incarnation, s."partition", s."offset"
)
SELECT CAST(COALESCE(SUM(CASE WHEN events = copied THEN 1 ELSE 0 END), 0) AS BIGINT), CAST(COALESCE(SUM(copied), 0) AS BIGINT) FROM per_record
"#;
