//! New events that many statements read: the columns that most of them name are read once and held in memory.
//!
//! A step over a backlog reads the same files for every rule, and finding and unpacking their columns is then most of what it costs.
//! Whoever asks for columns that are all held reads memory; whoever asks for another one reads the files. Columns
//! without a value cost nothing to hold.
//!
//! Not for small batches, of which every column is kept (`views`). Limits: [`MAX_HELD_BYTES`] for all columns, as the first rows let expect;
//! where later rows take twice as much, nothing is held.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, DataFusionError, Result};
use datafusion::datasource::MemTable;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{Expr, col, lit};
use datafusion::physical_plan::filter::FilterExecBuilder;
use datafusion::physical_plan::{ExecutionPlan, execute_stream_partitioned};
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use futures::future::try_join_all;
use schemas::columns::name;

use crate::first_arrivals::FirstArrivals;
use crate::words::Words;

/// Most bytes that all columns together are expected to take.
pub(crate) const MAX_HELD_BYTES: usize = 256 << 20;
/// Files, one here and one there, and rows of each that tell what a column takes.
const SAMPLE_FILES: usize = 8;
const SAMPLE_ROWS: usize = 1024;
/// Longest batch whose empty columns are one and the same array.
const SHARED_ROWS: usize = 8192;

/// Events of some files, with some of their columns in memory.
#[derive(Debug)]
pub(crate) struct Held {
    files: FirstArrivals,
    rows: MemTable,
    /// Where each column stands in `rows`, if it is held.
    places: Vec<Option<usize>>,
}

impl Held {
    /// Reads what is to be held. `None` when it takes far more than was expected.
    pub(crate) async fn read(context: &SessionContext, files: FirstArrivals, budget: Budget, words: &Words) -> Result<Option<Self>> {
        let schema = files.schema();
        let mut sample = Vec::new();
        for file in files.some_files(SAMPLE_FILES) {
            sample.extend(context.read_table(Arc::new(file))?.limit(0, Some(SAMPLE_ROWS))?.collect().await?);
        }
        let uses = |place: usize| words.count(schema.field(place).name());
        let columns: Vec<Use> =
            (0..schema.fields().len()).map(|place| Use { place, uses: uses(place), row_bytes: row_bytes(&sample, place) }).collect();
        drop(sample);
        let held: Vec<usize> = chosen(columns, budget).into_iter().collect();
        let held_schema = Arc::new(schema.project(&held)?);
        let Some(partitions) = rows_of(context, &files, &held, budget.limit_bytes).await? else { return Ok(None) };
        let places = (0..schema.fields().len()).map(|place| held.binary_search(&place).ok()).collect();
        Ok(Some(Self { files, rows: MemTable::try_new(held_schema, partitions)?, places }))
    }

    /// The events by their files.
    pub(crate) fn files(&self) -> &FirstArrivals {
        &self.files
    }

    /// The wanted columns of the events of one category, or of all.
    pub(crate) async fn scan_of(
        &self,
        category: Option<&'static str>,
        state: &dyn Session,
        wanted: &[usize],
        filters: &[Expr],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let column = category.map(|_| self.files.schema().index_of(name::category).ok().and_then(|place| self.places[place]));
        let held: Option<Vec<usize>> = wanted.iter().map(|column| self.places[*column]).chain(column).collect();
        let Some(held) = held else {
            let files = category.map_or_else(|| self.files.clone(), |category| self.files.of_category(category));
            return files.scan(state, Some(&wanted.to_vec()), filters, None).await;
        };
        let plan = self.rows.scan(state, Some(&held), &[], None).await?;
        let Some(category) = category else { return Ok(plan) };
        let condition = state.create_physical_expr(col(name::category).eq(lit(category)), &DFSchema::try_from(plan.schema())?)?;
        Ok(Arc::new(FilterExecBuilder::new(condition, plan).apply_projection(Some((0..wanted.len()).collect()))?.build()?))
    }
}

/// How many rows there are, and how much of them may be held.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// Rows, as the log knows them.
    pub(crate) row_count: u64,
    /// Most bytes.
    pub(crate) limit_bytes: usize,
}

/// What a column would take, and how many statements would gain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Use {
    place: usize,
    uses: usize,
    row_bytes: usize,
}

/// The columns that are held: those without values, then those that most statements name, as long as there is room.
fn chosen(mut columns: Vec<Use>, budget: Budget) -> BTreeSet<usize> {
    columns.sort_by_key(|column| (column.row_bytes > 0, usize::MAX - column.uses, column.row_bytes));
    let rows = usize::try_from(budget.row_count).unwrap_or(usize::MAX);
    let mut left_bytes = budget.limit_bytes;
    let fits = |column: &Use| {
        let size_bytes = column.row_bytes.saturating_mul(rows);
        let is_room = size_bytes <= left_bytes;
        left_bytes -= if is_room { size_bytes } else { 0 };
        is_room
    };
    columns.into_iter().filter(fits).map(|column| column.place).collect()
}

/// Bytes a row of a column, rounded up; none when it has no value.
fn row_bytes(sample: &[RecordBatch], place: usize) -> usize {
    let rows: usize = sample.iter().map(RecordBatch::num_rows).sum();
    let columns = sample.iter().map(|batch| batch.column(place)).filter(|column| column.null_count() < column.len());
    columns.map(size_bytes).sum::<usize>().div_ceil(rows.max(1))
}

fn size_bytes(column: &ArrayRef) -> usize {
    column.to_data().get_slice_memory_size().unwrap_or_default()
}

/// The rows of these columns, by partition; `None` when they take far more than the limit.
async fn rows_of(
    context: &SessionContext,
    files: &FirstArrivals,
    columns: &[usize],
    limit_bytes: usize,
) -> Result<Option<Vec<Vec<RecordBatch>>>> {
    let plan = files.scan(&context.state(), Some(&columns.to_vec()), &[], None).await?;
    let lean = Lean::of(plan.schema(), 2 * limit_bytes);
    let streams = execute_stream_partitioned(plan, context.task_ctx())?;
    let readers = streams.into_iter().map(|stream| tokio::spawn(Arc::clone(&lean).rows(stream)));
    let partitions = try_join_all(readers).await.map_err(|e| DataFusionError::External(Box::new(e)))?;
    let partitions: Vec<Vec<RecordBatch>> = partitions.into_iter().collect::<Result<_>>()?;
    Ok(lean.has_room().then_some(partitions))
}

/// Makes batches lean: without room to spare, and with one array for all that is empty.
struct Lean {
    schema: SchemaRef,
    nothing: Vec<ArrayRef>,
    read_bytes: AtomicUsize,
    most_bytes: usize,
}

impl Lean {
    fn of(schema: SchemaRef, most_bytes: usize) -> Arc<Self> {
        let nothing = schema.fields().iter().map(|field| new_null_array(field.data_type(), SHARED_ROWS)).collect();
        Arc::new(Self { schema, nothing, read_bytes: AtomicUsize::new(0), most_bytes })
    }

    fn has_room(&self) -> bool {
        self.read_bytes.load(Ordering::Relaxed) <= self.most_bytes
    }

    /// The batches of a stream, as long as there is room.
    async fn rows(self: Arc<Self>, mut stream: SendableRecordBatchStream) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        while self.has_room()
            && let Some(batch) = stream.next().await
        {
            let (_, columns, rows) = batch?.into_parts();
            let columns = columns.into_iter().zip(&self.nothing).map(|(column, nothing)| self.column(column, nothing)).collect();
            batches.push(RecordBatch::try_new_with_options(
                Arc::clone(&self.schema),
                columns,
                &RecordBatchOptions::new().with_row_count(Some(rows)),
            )?);
        }
        Ok(batches)
    }

    fn column(&self, mut column: ArrayRef, nothing: &ArrayRef) -> ArrayRef {
        if column.null_count() == column.len() && column.len() <= nothing.len() {
            return nothing.slice(0, column.len());
        }
        if let Some(column) = Arc::get_mut(&mut column) {
            column.shrink_to_fit();
        }
        self.read_bytes.fetch_add(size_bytes(&column), Ordering::Relaxed);
        column
    }
}

#[cfg(test)]
mod tests {
    use arrow::util::pretty::pretty_format_batches;
    use schemas::Row;

    use super::*;
    use crate::events::{self, EventBatch, Origin};
    use crate::snapshot::Snapshot;
    use crate::{Lake, follow};

    #[test]
    fn columns_without_values_are_held_first_then_those_that_most_name() {
        let column = |place, uses, row_bytes| Use { place, uses, row_bytes };
        let columns = vec![column(0, 1, 0), column(1, 9, 40), column(2, 50, 60), column(3, 3, 10), column(4, 2, 1)];
        let chosen = |row_count, limit_bytes| chosen(columns.clone(), Budget { row_count, limit_bytes });
        assert_eq!(chosen(10, 1_000), BTreeSet::from([0, 1, 2]));
        assert_eq!(chosen(10, 900), BTreeSet::from([0, 2, 3, 4]));
        assert_eq!((chosen(10, 0), chosen(u64::MAX, 1_000)), (BTreeSet::from([0]), BTreeSet::from([0])));
    }

    /// Ten calls and decisions, of which the last comes twice; even ones name a tool.
    fn commit(lake: &Lake, first: i64) {
        let origin = Origin { stream: "t".into(), incarnation: "1".into(), partition: 0 };
        let mut batch = EventBatch::new(lake, 0);
        for offset in first..first + 10 {
            let n = offset.min(first + 8);
            let text = |text: &str| Some(text.to_owned());
            let row = Row {
                row_kind: text("event"),
                ingest_date: Some(20_000),
                stream: text("t"),
                incarnation: text("1"),
                partition: Some(0),
                offset: Some(offset),
                record_index: Some(0),
                tenant: text("default"),
                event_id: Some(format!("e{n}")),
                payload_mac: Some(vec![0]),
                event_time: Some(1_700_000_000_000_000 + n),
                category: text(if n % 3 == 0 { "authz_decision" } else { "tool_call" }),
                tool_name: (n % 2 == 0).then(|| format!("tool-{n}")),
                ..Row::default()
            };
            batch.push(&origin, offset - 1, offset, vec![Box::new(row)]).unwrap();
        }
        batch.seal(0).unwrap().commit(&events::open(lake).unwrap()).unwrap();
    }

    #[tokio::test]
    async fn what_is_held_answers_as_its_files_do() {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::open_or_create(folder.path().join("lake").to_string_lossy().as_ref(), "development").unwrap();
        (0..3).for_each(|batch| commit(&lake, batch * 10));
        follow::advance(&lake, 0).await.unwrap();
        let copies = Arc::new(Snapshot::of(&follow::open(&lake).unwrap(), None));
        let table = events::open(&lake).unwrap();
        let up_to = table.refresh().unwrap().unwrap();
        let (all, new) = (Snapshot::of(&table, None), Snapshot::between(&table, Some(up_to - 2), up_to));
        let words = Words::of(["event_id tenant category", "event_id tool_name agent_id"]);
        let context = SessionContext::new_with_config(crate::snapshot::session_config());
        let first = |files: &Snapshot| FirstArrivals::new(files.clone(), Some(Arc::clone(&copies)), &words);
        context.register_table("stored", Arc::new(first(&all))).unwrap();
        context.register_table("stored_calls", Arc::new(first(&all).of_category("tool_call"))).unwrap();
        for limit_bytes in [1 << 20, 200, 0] {
            let budget = Budget { row_count: new.row_count(), limit_bytes };
            let held = Arc::new(Held::read(&context, first(&new), budget, &words).await.unwrap().unwrap());
            let with = first(&all).with(Some(held));
            context.register_table("with", Arc::new(with.clone())).unwrap();
            context.register_table("with_calls", Arc::new(with.of_category("tool_call"))).unwrap();
            for sql in [
                "SELECT event_id, tool_name, agent_id, category FROM {} ORDER BY event_id",
                "SELECT COUNT(*) FROM {}",
                "SELECT event_id FROM {} WHERE category = 'tool_call' AND tool_name IS NOT NULL ORDER BY 1",
                "SELECT event_id FROM {} WHERE agent_id = 'nobody'",
                "SELECT tenant, COUNT(*) FROM {} GROUP BY 1",
                "SELECT event_id FROM {}_calls ORDER BY 1",
                "SELECT COUNT(*) FROM {}_calls",
            ] {
                let mut said = Vec::new();
                for name in ["stored", "with"] {
                    let rows = context.sql(&sql.replace("{}", name)).await.unwrap().collect().await.unwrap();
                    said.push(pretty_format_batches(&rows).unwrap().to_string());
                }
                assert_eq!(said[0], said[1], "{sql} {limit_bytes}");
            }
            ["with", "with_calls"].iter().for_each(|name| drop(context.deregister_table(*name).unwrap()));
        }
        let count = context.sql("SELECT 1 FROM stored").await.unwrap().count().await.unwrap();
        assert_eq!(count, 27, "nine of each ten, without the copy");
    }
}
