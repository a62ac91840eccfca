//! Table `seals`: the seal of every batch, copied out of the log of `events`, where a checkpoint does not keep it.
//!
//! A follower like the others: rows and cursor in one commit. A commit file of `events` may go only when its seal is here.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use crate::decide::Step;
use crate::table::{Table, TableSpec};
use crate::{Lake, LakeError, TableName, events, parquet_file};

const NAME: &str = "seals";
/// Most versions copied in one commit.
const MAX_VERSIONS: u64 = 1_000;

/// Columns: the version of `events`, and the seal as it stood in its commit.
pub fn seals_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("version", DataType::Int64, true), Field::new("seal", DataType::Utf8, true)]))
}

/// The table `seals` of a lake.
///
/// # Errors
/// When its log cannot be read.
pub fn open(lake: &Lake) -> Result<Table, LakeError> {
    lake.table(TableName::Seals, TableSpec { schema: seals_schema(), partition_columns: &[], stats_columns: "version" })
}

/// Version of `events` up to which seals are copied.
pub fn cursor(seals: &Table) -> Option<u64> {
    seals.cursor(NAME)
}

/// Copies what is new.
///
/// # Errors
/// When tables cannot be read or written.
pub fn advance(lake: &Lake, now_ms: i64) -> Result<(), LakeError> {
    let (events, seals) = (events::open(lake)?, open(lake)?);
    loop {
        let Some(latest) = events.refresh()? else { return Ok(()) };
        seals.refresh()?;
        let after = cursor(&seals);
        if after.is_some_and(|v| v >= latest) {
            return Ok(());
        }
        let up_to = latest.min(after.map_or(0, |v| v + 1) + MAX_VERSIONS);
        let changes = events.changes(after, up_to)?;
        let sealed: Vec<(i64, String)> = changes.into_iter().filter_map(|c| Some((c.version.cast_signed(), c.seal?))).collect();
        let versions = Int64Array::from_iter_values(sealed.iter().map(|(v, _)| *v));
        let texts = StringArray::from_iter_values(sealed.iter().map(|(_, s)| s));
        let batch = RecordBatch::try_new(seals_schema(), vec![Arc::new(versions), Arc::new(texts)]);
        let batch = batch.map_err(|e| LakeError::Rows(Box::new(e)))?;
        seals.append(&batch, vec![Step::follow(NAME, after, up_to)], now_ms)?;
    }
}

/// All seals in order of version: those that were copied, then those of the log.
///
/// # Errors
/// When a table cannot be read.
pub(crate) fn all(lake: &Lake) -> Result<Vec<(u64, String)>, LakeError> {
    let (events, seals) = (events::open(lake)?, open(lake)?);
    let (latest, copied) = (events.refresh()?, cursor(&seals));
    let mut found = Vec::new();
    for file in seals.data_files() {
        for batch in parquet_file::decode(seals.read_file(&file.add.path)?.into())? {
            let (versions, texts) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_string::<i32>());
            found.extend((0..batch.num_rows()).map(|i| (versions.value(i).cast_unsigned(), texts.value(i).to_owned())));
        }
    }
    if let Some(latest) = latest.filter(|latest| copied.is_none_or(|c| c < *latest)) {
        found.extend(events.changes(copied, latest)?.into_iter().filter_map(|c| Some((c.version, c.seal?))));
    }
    found.sort_unstable();
    Ok(found)
}
