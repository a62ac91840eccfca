//! The copies follower: which arrivals of an event are copies of an earlier one.
//!
//! It reads the versions of `events` in order and writes to table `copies` one row for each arrival whose
//! `(tenant, event_id)` was there before, with its cursor in the same commit; two followers fence each other
//! by that cursor. What it remembers is the table itself (see `seen`), so its memory does not grow with
//! history, and a step costs by what is new. There is no window: a copy is found however late it comes.
//!
//! First is who stands first in (version, stream, partition, offset, record index). Other content under the
//! same id is a `revision`, kept and counted, not shown in `events`.
//!
//! Limits: a step takes at most 500 versions or 32 MiB of files, whichever comes first, but at least one version.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;

use crate::decide::Step;
use crate::seen::{Ids, SeenIds};
use crate::snapshot::Snapshot;
use crate::table::{CommitOutcome, Table, TableSpec};
use crate::{Lake, LakeError, TableName, events};

/// Name of this follower.
const NAME: &str = "copies";

/// Most versions of `events` in one step.
const MAX_VERSIONS: u64 = 500;
/// Most bytes of files of `events` in one step.
const MAX_BYTES: i64 = 32 << 20;

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
    copies.cursor(NAME)
}

/// A follower that stays open: opening one replays the log, which a worker should do once.
#[derive(Debug)]
pub struct Follower {
    events: Table,
    copies: Table,
    seen: SeenIds,
}

impl Follower {
    /// Opens the tables.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn open(lake: &Lake) -> Result<Self, LakeError> {
        Ok(Self { events: events::open(lake)?, copies: open(lake)?, seen: SeenIds::default() })
    }

    /// Decides on the next versions of `events`. Returns what it found; `None` when there is nothing left to decide.
    ///
    /// # Errors
    /// When tables cannot be read or written.
    pub async fn step(&mut self, now_ms: i64) -> Result<Option<CopiesFound>, LakeError> {
        let Some(latest) = self.events.refresh()? else { return Ok(None) };
        self.copies.refresh()?;
        let after = cursor(&self.copies);
        if after.is_some_and(|v| v >= latest) {
            return Ok(None);
        }
        let up_to = self.end_of_step(after, latest);
        let rows = copies_between(&self.events, &mut self.seen, after, up_to).await?;
        let batch = arrow::compute::concat_batches(&copies_schema(), &rows).map_err(|e| LakeError::Rows(Box::new(e)))?;
        let outcome = self.copies.append(&batch, vec![Step::follow(NAME, after, up_to)], now_ms)?;
        // On another outcome a second follower was faster: its cursor is read in the next step.
        let committed = matches!(outcome, CommitOutcome::Committed { .. });
        Ok(Some(if committed { count(&rows) } else { CopiesFound::default() }))
    }

    fn end_of_step(&self, after: Option<u64>, latest: u64) -> u64 {
        let first = after.map_or(0, |v| v + 1);
        let last = latest.min(first + MAX_VERSIONS - 1);
        let mut files = self.events.data_files();
        files.retain(|f| f.version >= first && f.version <= last);
        files.sort_by_key(|f| f.version);
        let mut bytes = 0;
        for file in &files {
            bytes += file.add.size;
            if bytes > MAX_BYTES && file.version > first {
                return file.version - 1;
            }
        }
        last
    }
}

/// Decides on everything that `events` holds now; what comes in while it runs is for the next call.
///
/// # Errors
/// When tables cannot be read or written.
pub async fn advance(lake: &Lake, now_ms: i64) -> Result<CopiesFound, LakeError> {
    let mut follower = Follower::open(lake)?;
    let target = follower.events.refresh()?;
    let mut found = CopiesFound::default();
    while cursor(&follower.copies) < target {
        match follower.step(now_ms).await? {
            Some(more) => found += more,
            None => break,
        }
    }
    Ok(found)
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

async fn copies_between(events: &Table, seen: &mut SeenIds, after: Option<u64>, up_to: u64) -> Result<Vec<RecordBatch>, LakeError> {
    let context = SessionContext::new();
    let df = |e: datafusion::error::DataFusionError| LakeError::Rows(Box::new(e));
    context.register_table("fresh", Arc::new(Snapshot::between(events, after, up_to))).map_err(df)?;
    context.register_table("versions", Arc::new(versions(events, after, up_to)?)).map_err(df)?;
    let ids = "SELECT event_id, event_time, event_time_source = 'kafka' FROM fresh WHERE row_kind = 'event'";
    let ids = Ids::of(&context.sql(ids).await.map_err(df)?.collect().await.map_err(df)?)?;
    let mut earlier = events.data_files();
    earlier.retain(|f| after.is_some_and(|v| f.version <= v));
    let suspects = seen.suspects(events, earlier, &ids)?;
    // Most steps bring new events only: then there is nothing to rank.
    if suspects.ids.is_empty() {
        return Ok(Vec::new());
    }
    context.register_table("suspects", Arc::new(one_column("event_id", suspects.ids)?)).map_err(df)?;
    context.register_table("earlier", Arc::new(Snapshot::files(events, suspects.files))).map_err(df)?;
    context.sql(COPIES_SQL).await.map_err(df)?.collect().await.map_err(df)
}

const COPIES_SQL: &str = r#"
WITH arrivals AS (
    SELECT f.tenant, f.event_id, f.payload_mac, f.raw_sha256, f.stream, f.incarnation, f."partition", f."offset", f.record_index, v.version
    FROM fresh f JOIN versions v ON f.batch_id = v.batch_id
    WHERE f.row_kind = 'event' AND f.event_id IN (SELECT event_id FROM suspects)
),
known AS (
    SELECT tenant, event_id, MIN(raw_sha256) AS raw_sha256 FROM earlier
    WHERE row_kind = 'event' AND event_id IN (SELECT event_id FROM suspects)
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
    for change in events.changes(after, up_to)? {
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

/// A table of one column of texts.
fn one_column<'t>(name: &str, texts: impl IntoIterator<Item = &'t str>) -> Result<MemTable, LakeError> {
    let schema = Arc::new(Schema::new(vec![text(name)]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(StringArray::from_iter_values(texts))]);
    let batch = batch.map_err(|e| LakeError::Rows(Box::new(e)))?;
    MemTable::try_new(schema, vec![vec![batch]]).map_err(|e| LakeError::Rows(Box::new(e)))
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
    copies.refresh()?;
    let copies = Snapshot::of(&copies, None);
    // Most runs bring none, and need not read their rows again.
    if batch_ids.is_empty() || copies.file_count() == 0 {
        return Ok(Duplicates::default());
    }
    let context = SessionContext::new();
    context.register_table("stored", Arc::new(Snapshot::of(&events, None))).map_err(df)?;
    context.register_table("copies", Arc::new(copies)).map_err(df)?;
    let wanted = one_column("batch_id", batch_ids.iter().map(String::as_str))?;
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
