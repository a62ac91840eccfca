//! Commits of what people do: two at the same moment both count, and none is written twice.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::decide::Step;
use crate::table::{CommitOutcome, Table, TableSpec};
use crate::{Lake, LakeError, TableName};

/// Most times an action is tried beside those of other people.
const MAX_ATTEMPTS: u32 = 100;

/// Columns of such a table: what it is about and what was done, then why, by whom and when.
pub(crate) fn schema(about: Vec<Field>) -> SchemaRef {
    let at = Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true);
    Arc::new(Schema::new(about.into_iter().chain([text("reason"), text("who"), at]).collect::<Vec<_>>()))
}

pub(crate) fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

/// Such a table of a lake.
pub(crate) fn open(lake: &Lake, name: TableName, schema: SchemaRef) -> Result<Table, LakeError> {
    lake.table(name, TableSpec { schema, partition_columns: &[], stats_columns: "" })
}

/// Appends what a person did; `counter` counts the commits of the table, so that each is told from its copy.
pub(crate) fn append(table: &Table, batch: &RecordBatch, counter: &str, now_ms: i64) -> Result<(), LakeError> {
    for _ in 0..MAX_ATTEMPTS {
        table.refresh()?;
        let from = table.recorded(counter).unwrap_or(-1);
        let step = Step { app_id: counter.into(), from, to: from + 1 };
        // Otherwise somebody else acted at the same moment, and both count.
        if matches!(table.append(batch, vec![step], now_ms)?, CommitOutcome::Committed { .. }) {
            return Ok(());
        }
    }
    Err(LakeError::Unsupported("too many people act at once; try again".into()))
}
