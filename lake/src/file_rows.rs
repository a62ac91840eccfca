//! Rows on their way into the files of `events`: one file for each `(row_kind, ingest_date)`, sorted by
//! `(tenant, event_time)`.
//!
//! Rows come in chunks and are gathered slice by slice, so that a batch stands in memory once and not once for every
//! step. Equal keys keep the order they came in.
//!
//! Limits: slices of 1,024 rows (of at most 1 MiB of payload each, so that offsets of 32 bits do); rows without a partition column (those of a file that is merged) are of one partition.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::{Date32Type, Schema, SchemaRef, TimestampMicrosecondType};
use schemas::columns::name;

use crate::LakeError;
use crate::parquet_file::Encoder;

const SLICE_ROWS: usize = 1 << 10;

/// Where a row stands, and what decides on its place in the files. Ordered as the files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place<'c> {
    kind: &'c str,
    day: i32,
    tenant: &'c str,
    time_us: i64,
    chunk: usize,
    row: usize,
}

/// The rows of one file.
pub(crate) struct FileRows<'p, 'c> {
    pub(crate) kind: &'c str,
    /// Days since 1970.
    pub(crate) day: i32,
    places: &'p [Place<'c>],
}

/// All rows in the order of the files.
pub(crate) fn places(chunks: &[RecordBatch]) -> Vec<Place<'_>> {
    let mut places = Vec::with_capacity(chunks.iter().map(RecordBatch::num_rows).sum());
    for (number, chunk) in chunks.iter().enumerate() {
        let text = |name: &str| chunk.column_by_name(name).and_then(|c| c.as_string_opt::<i32>());
        let (kinds, tenants) = (text(name::row_kind), text(name::tenant));
        let days = chunk.column_by_name(name::ingest_date).and_then(|c| c.as_primitive_opt::<Date32Type>());
        let times = chunk.column_by_name(name::event_time).and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
        places.extend((0..chunk.num_rows()).map(|row| Place {
            kind: kinds.map_or("", |c| c.value(row)),
            day: days.map_or(0, |c| c.value(row)),
            tenant: tenants.map_or("", |c| c.value(row)),
            time_us: times.filter(|c| c.is_valid(row)).map_or(i64::MIN, |c| c.value(row)),
            chunk: number,
            row,
        }));
    }
    places.sort_unstable();
    places
}

/// The rows of each file.
pub(crate) fn files<'p, 'c>(places: &'p [Place<'c>]) -> impl Iterator<Item = FileRows<'p, 'c>> {
    places.chunk_by(|a, b| (a.kind, a.day) == (b.kind, b.day)).map(|places| FileRows { kind: places[0].kind, day: places[0].day, places })
}

impl FileRows<'_, '_> {
    /// The bytes of the file, without the columns `left_out`, and its statistics.
    pub(crate) fn encode(&self, chunks: &[RecordBatch], left_out: &[&str], stats_columns: &str) -> Result<(Vec<u8>, String), LakeError> {
        let schema = chunks.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
        let kept: Vec<usize> = (0..schema.fields().len()).filter(|i| !left_out.contains(&schema.field(*i).name().as_str())).collect();
        let chunks: Result<Vec<RecordBatch>, _> = chunks.iter().map(|chunk| chunk.project(&kept)).collect();
        let chunks = chunks.map_err(rows)?;
        let file_schema = Arc::new(schema.project(&kept).map_err(rows)?);
        let columns = Columns::of(&file_schema, &chunks);
        let mut encoder = Encoder::new(&file_schema, stats_columns, self.places.len(), &columns.empty())?;
        for slice in self.places.chunks(SLICE_ROWS) {
            encoder.write(&columns.gather(slice)?)?;
        }
        encoder.finish()
    }
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
