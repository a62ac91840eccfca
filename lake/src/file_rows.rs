//! The rows of files that become one, sorted by `(tenant, event_time)`.
//!
//! Rows come in chunks and are gathered slice by slice, so that they stand in memory once and not once for every step. Equal
//! keys keep the order they came in.
//!
//! Limits: slices of 1,024 rows (of at most 1 MiB of payload each, so that offsets of 32 bits do).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::{Schema, SchemaRef, TimestampMicrosecondType};
use schemas::columns::name;

use crate::LakeError;
use crate::parquet_file::Encoder;

const SLICE_ROWS: usize = 1 << 10;

/// Where a row stands, and what decides on its place in the file. Ordered as the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place<'c> {
    tenant: &'c str,
    time_us: i64,
    chunk: usize,
    row: usize,
}

/// The bytes of the file of these rows, and its statistics.
pub(crate) fn encode(chunks: &[RecordBatch], stats_columns: &str) -> Result<(Vec<u8>, String), LakeError> {
    let schema = chunks.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
    let places = places(chunks);
    let columns = Columns::of(&schema, chunks);
    let mut slices = places.chunks(SLICE_ROWS);
    let first = columns.gather(slices.next().unwrap_or_default())?;
    let mut encoder = Encoder::new(&first, stats_columns, places.len(), &columns.empty())?;
    encoder.write(&first)?;
    drop(first);
    for slice in slices {
        encoder.write(&columns.gather(slice)?)?;
    }
    encoder.finish()
}

/// All rows in the order of the file.
fn places(chunks: &[RecordBatch]) -> Vec<Place<'_>> {
    let mut places = Vec::with_capacity(chunks.iter().map(RecordBatch::num_rows).sum());
    for (number, chunk) in chunks.iter().enumerate() {
        let tenants = chunk.column_by_name(name::tenant).and_then(|c| c.as_string_opt::<i32>());
        let times = chunk.column_by_name(name::event_time).and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
        places.extend((0..chunk.num_rows()).map(|row| Place {
            tenant: tenants.map_or("", |c| c.value(row)),
            time_us: times.filter(|c| c.is_valid(row)).map_or(i64::MIN, |c| c.value(row)),
            chunk: number,
            row,
        }));
    }
    places.sort_unstable();
    places
}

/// The columns of all chunks, one after the other.
struct Columns<'b> {
    schema: &'b SchemaRef,
    columns: Vec<Column<'b>>,
}

enum Column<'b> {
    /// Empty in all rows, as most are: a slice of nothing.
    Empty(ArrayRef),
    Full(Vec<&'b dyn Array>),
}

impl<'b> Columns<'b> {
    fn of(schema: &'b SchemaRef, chunks: &'b [RecordBatch]) -> Self {
        let column = |index: usize| {
            let is_empty = chunks.iter().all(|chunk| chunk.column(index).null_count() == chunk.num_rows());
            if is_empty {
                Column::Empty(new_null_array(schema.field(index).data_type(), SLICE_ROWS))
            } else {
                Column::Full(chunks.iter().map(|chunk| chunk.column(index).as_ref()).collect())
            }
        };
        Self { schema, columns: (0..schema.fields().len()).map(column).collect() }
    }

    /// Names of those without a value.
    fn empty(&self) -> Vec<&'b str> {
        let named = self.schema.fields().iter().zip(&self.columns);
        named.filter(|(_, column)| matches!(column, Column::Empty(_))).map(|(field, _)| field.name().as_str()).collect()
    }

    /// These rows, at most a slice of them.
    fn gather(&self, places: &[Place<'_>]) -> Result<RecordBatch, LakeError> {
        let indices: Vec<(usize, usize)> = places.iter().map(|place| (place.chunk, place.row)).collect();
        let is_run = indices.windows(2).all(|pair| pair[0].0 == pair[1].0 && pair[0].1 + 1 == pair[1].1);
        let run = indices.first().filter(|_| is_run);
        let column = |column: &Column<'_>| match (column, run) {
            (Column::Empty(nothing), _) => Ok(nothing.slice(0, indices.len())),
            (Column::Full(chunks), Some((chunk, row))) => Ok(chunks[*chunk].slice(*row, indices.len())),
            (Column::Full(chunks), None) => interleave(chunks, &indices),
        };
        let columns: Result<Vec<ArrayRef>, _> = self.columns.iter().map(column).collect();
        RecordBatch::try_new(Arc::clone(self.schema), columns.map_err(rows)?).map_err(rows)
    }
}

fn rows(error: arrow::error::ArrowError) -> LakeError {
    LakeError::Rows(Box::new(error))
}
