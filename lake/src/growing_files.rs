//! The files of one commit of `events` while its rows come: one for each `(row_kind, ingest_date)`, written chunk by chunk.
//!
//! What is held is what the files will be, compressed, with a page and a dictionary of each column and half a MiB of a bloom
//! filter a file. Columns that are empty where a file begins, and were in the batches before, are not compressed; a value that
//! comes in one of them later is kept all the same, and the next batch knows.
//!
//! Not for: the order of rows, which is that of arrival.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};

use arrow::array::{Array as _, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Date32Type;
use schemas::columns::name;

use crate::LakeError;
use crate::events::{PARTITION_COLUMNS, STATS_COLUMNS};
use crate::layout::data_file;
use crate::parquet_file::{Encoder, date};
use crate::table::DataFile;

/// The `row_kind` and the day since 1970 of a file's rows.
type Key = (String, i32);

/// The files so far.
#[derive(Default)]
pub(crate) struct GrowingFiles {
    files: BTreeMap<Key, Encoder>,
    /// Columns that held a value, in this batch or one before.
    filled: BTreeSet<String>,
}

impl std::fmt::Debug for GrowingFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.files.keys()).finish()
    }
}

impl GrowingFiles {
    /// Those of the batch after this one.
    pub(crate) fn next(&self) -> Self {
        Self { files: BTreeMap::new(), filled: self.filled.clone() }
    }

    /// Takes rows, each into its file.
    pub(crate) fn write(&mut self, rows: &RecordBatch) -> Result<(), LakeError> {
        let keys = keys(rows);
        let Some(first) = keys.first() else { return Ok(()) };
        if keys.iter().all(|key| key == first) {
            return self.write_to(first, rows);
        }
        let mut distinct: Vec<(&str, i32)> = keys.clone();
        distinct.sort_unstable();
        distinct.dedup();
        distinct.iter().try_for_each(|key| {
            let mine: BooleanArray = keys.iter().map(|other| Some(other == key)).collect();
            self.write_to(key, &filter_record_batch(rows, &mine).map_err(|e| LakeError::Rows(Box::new(e)))?)
        })
    }

    fn write_to(&mut self, (kind, day): &(&str, i32), rows: &RecordBatch) -> Result<(), LakeError> {
        let schema = rows.schema();
        let kept: Vec<usize> =
            (0..schema.fields().len()).filter(|i| !PARTITION_COLUMNS.contains(&schema.field(*i).name().as_str())).collect();
        let rows = rows.project(&kept).map_err(|e| LakeError::Rows(Box::new(e)))?;
        for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
            if column.null_count() < rows.num_rows() && !self.filled.contains(field.name()) {
                self.filled.insert(field.name().clone());
            }
        }
        let encoder = match self.files.entry(((*kind).to_owned(), *day)) {
            Entry::Occupied(file) => file.into_mut(),
            Entry::Vacant(place) => place.insert(encoder(&rows, &self.filled)?),
        };
        encoder.write(&rows)
    }

    /// The files as a commit takes them.
    pub(crate) fn finish(self, batch_id: &str) -> Result<Vec<DataFile>, LakeError> {
        let file = |(number, ((kind, day), encoder)): (usize, (Key, Encoder))| {
            let (bytes, stats) = encoder.finish()?;
            let partition = vec![(name::row_kind.to_owned(), kind), (name::ingest_date.to_owned(), date(day.into()))];
            Ok(DataFile { path: data_file(&partition, batch_id, number), partition, bytes, stats })
        };
        self.files.into_iter().enumerate().map(file).collect()
    }
}

/// For a file that begins with these rows, of which these columns may hold a value; how many will come is not known.
fn encoder(rows: &RecordBatch, filled: &BTreeSet<String>) -> Result<Encoder, LakeError> {
    let names = rows.schema_ref().fields().iter().map(|field| field.name().as_str());
    let empty: Vec<&str> = names.filter(|name| !filled.contains(*name)).collect();
    Encoder::new(rows, STATS_COLUMNS, usize::MAX, &empty)
}

/// The key of each row.
fn keys(rows: &RecordBatch) -> Vec<(&str, i32)> {
    let kinds = rows.column_by_name(name::row_kind).and_then(|c| c.as_string_opt::<i32>());
    let days = rows.column_by_name(name::ingest_date).and_then(|c| c.as_primitive_opt::<Date32Type>());
    (0..rows.num_rows()).map(|row| (kinds.map_or("", |c| c.value(row)), days.map_or(0, |c| c.value(row)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parquet_file::decode;
    use schemas::Row;
    use schemas::batch::RowsBuilder;

    /// Rows of these kinds, days and tools.
    fn chunk(rows: &[(&str, i32, Option<&str>)]) -> RecordBatch {
        let mut builder = RowsBuilder::default();
        for (kind, day, tool) in rows {
            let (row_kind, tool_name) = (Some((*kind).to_owned()), tool.map(str::to_owned));
            builder.push(&Row { row_kind, ingest_date: Some(*day), tool_name, ..Row::default() });
        }
        builder.finish().unwrap()
    }

    #[test]
    fn each_row_goes_to_the_file_of_its_kind_and_day_also_a_value_that_its_first_rows_had_none_of() {
        let mut files = GrowingFiles::default();
        files.write(&chunk(&[])).unwrap();
        files.write(&chunk(&[("event", 0, None), ("rejection", 0, None), ("event", 1, Some("late"))])).unwrap();
        files.write(&chunk(&[("event", 0, Some("a")), ("event", 0, None)])).unwrap();
        files.write(&chunk(&[("event", 1, None), ("event", 0, Some("b"))])).unwrap();
        let files = files.finish("batch").unwrap();
        let seen = files.iter().map(|file| {
            let rows = decode(file.bytes.clone().into()).unwrap();
            assert!(rows.iter().all(|rows| PARTITION_COLUMNS.iter().all(|name| rows.column_by_name(name).is_none())));
            let tools = rows.iter().flat_map(|rows| rows.column_by_name(name::tool_name).unwrap().as_string::<i32>().iter());
            let tools: Vec<String> = tools.map(|tool| tool.unwrap_or("-").to_owned()).collect();
            let partition: Vec<&str> = file.partition.iter().map(|(_, value)| value.as_str()).collect();
            format!("{}: {}", partition.join(" "), tools.join(" "))
        });
        let wanted = ["event 1970-01-01: - a - b", "event 1970-01-02: late -", "rejection 1970-01-01: -"];
        assert_eq!(seen.collect::<Vec<_>>(), wanted);
        let paths: std::collections::BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths.len(), files.len());
    }
}
