//! Record batches to the bytes of one Parquet file with Delta statistics.
//!
//! zstd level 1, statistics only on the columns that the table names. Dictionaries, but for columns whose values mostly differ, by
//! the first rows of the file: one would hold them all and say nothing. Numbers and times of that sort are written as deltas. Row
//! groups of at most 128 Ki rows. Columns that are empty where a file of events begins are not compressed: whoever reads them would
//! make ready to unpack some bytes of nothing, and most columns of most files are such.

use std::collections::HashSet;
use std::hash::Hash;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{max, min};
use arrow::datatypes::{DataType, Date32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use bytes::Bytes;
use chrono::NaiveDate;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use schemas::columns::name;
use serde_json::{Map, Value, json};

use crate::LakeError;

const ROW_GROUP_ROWS: usize = 128 << 10;
const BLOOM_FALSE_HITS: f64 = 1e-5;
/// Pages, before they are compressed: each takes twice its size meanwhile, and what is above 512 KiB the allocator makes ready
/// anew each time.
const PAGE_BYTES: usize = 240 << 10;
/// Columns of `events` whose values always differ.
const DISTINCT: [&str; 5] = [name::raw_payload, name::raw_sha256, name::payload_mac, name::leaf_hash, name::event_id];
/// Rows that show whether the values of a column differ, and values below which they do not.
const SAMPLE_ROWS: usize = 512;
const MIN_SAMPLE: usize = 64;

/// Writes one file batch by batch, so that only what is not compressed yet is held besides the file itself.
pub(crate) struct Encoder {
    writer: ArrowWriter<Vec<u8>>,
    statistics: Statistics,
}

impl Encoder {
    /// A file of rows like these, about so many or fewer, with few values or none in the `empty` columns.
    pub(crate) fn new(like: &RecordBatch, stats_columns: &str, row_count: usize, empty: &[&str]) -> Result<Self, LakeError> {
        let properties = properties(like, stats_columns, row_count, empty)?;
        let writer = ArrowWriter::try_new(Vec::new(), like.schema(), Some(properties)).map_err(rows)?;
        Ok(Self { writer, statistics: Statistics::of(stats_columns) })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        self.statistics.take(batch);
        self.writer.write(batch).map_err(rows)
    }

    /// The bytes of the file, and its Delta statistics as JSON.
    pub(crate) fn finish(self) -> Result<(Vec<u8>, String), LakeError> {
        Ok((self.writer.into_inner().map_err(rows)?, self.statistics.print()))
    }
}

/// The file of one batch, and its statistics.
pub(crate) fn encode(batch: &RecordBatch, stats_columns: &str) -> Result<(Vec<u8>, String), LakeError> {
    let mut encoder = Encoder::new(batch, stats_columns, batch.num_rows(), &[])?;
    encoder.write(batch)?;
    encoder.finish()
}

/// The rows of a file.
pub(crate) fn decode(bytes: Bytes) -> Result<Vec<RecordBatch>, LakeError> {
    read(bytes)?.collect()
}

/// The rows of a file, a few at a time.
pub(crate) fn read(bytes: Bytes) -> Result<impl Iterator<Item = Result<RecordBatch, LakeError>>, LakeError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).and_then(|b| b.build()).map_err(rows)?;
    Ok(reader.map(|batch| batch.map_err(rows)))
}

/// Delta statistics of these rows, as JSON.
pub(crate) fn statistics(batches: &[RecordBatch], stats_columns: &str) -> String {
    let mut statistics = Statistics::of(stats_columns);
    batches.iter().for_each(|batch| statistics.take(batch));
    statistics.print()
}

/// Delta statistics of the rows seen so far.
struct Statistics {
    rows: usize,
    columns: Vec<ColumnStatistics>,
}

struct ColumnStatistics {
    name: String,
    nulls: usize,
    /// Lowest and highest value; microseconds of a time, days of a date.
    bounds: Option<(i64, i64)>,
    unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Number,
    Time,
    Day,
}

impl Statistics {
    fn of(stats_columns: &str) -> Self {
        let names = stats_columns.split(',').filter(|n| !n.is_empty());
        let columns = names.map(|name| ColumnStatistics { name: name.to_owned(), nulls: 0, bounds: None, unit: Unit::Number });
        Self { rows: 0, columns: columns.collect() }
    }

    fn take(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows();
        for known in &mut self.columns {
            let Some(column) = batch.column_by_name(&known.name) else { continue };
            known.nulls += column.null_count();
            let times = column.as_primitive_opt::<TimestampMicrosecondType>();
            let days = column.as_primitive_opt::<Date32Type>();
            let longs = column.as_primitive_opt::<Int64Type>();
            known.unit = match (times, days) {
                (Some(_), _) => Unit::Time,
                (_, Some(_)) => Unit::Day,
                _ => Unit::Number,
            };
            let bounds = times.and_then(|c| min(c).zip(max(c))).or(longs.and_then(|c| min(c).zip(max(c))));
            let bounds = bounds.or(days.and_then(|c| Some((min(c)?.into(), max(c)?.into()))));
            known.bounds = match (known.bounds, bounds) {
                (Some((low, high)), Some((lower, higher))) => Some((low.min(lower), high.max(higher))),
                (known, new) => known.or(new),
            };
        }
    }

    fn print(&self) -> String {
        let (mut lowest, mut highest, mut nulls) = (Map::new(), Map::new(), Map::new());
        for column in &self.columns {
            nulls.insert(column.name.clone(), json!(column.nulls));
            let Some((low, high)) = column.bounds else { continue };
            // Delta cuts times to milliseconds: down for the lowest, up for the highest, so that both still bound.
            let (low, high) = match column.unit {
                Unit::Time => (json!(milliseconds(low.div_euclid(1000))), json!(milliseconds((high + 999).div_euclid(1000)))),
                Unit::Day => (json!(date(low)), json!(date(high))),
                Unit::Number => (json!(low), json!(high)),
            };
            lowest.insert(column.name.clone(), low);
            highest.insert(column.name.clone(), high);
        }
        json!({ "numRecords": self.rows, "minValues": lowest, "maxValues": highest, "nullCount": nulls }).to_string()
    }
}

/// The Delta statistics of a file, as its log entry has them.
pub(crate) struct Logged(Value);

impl Logged {
    /// Those of a file that has any.
    pub(crate) fn of(stats: Option<&str>) -> Option<Self> {
        serde_json::from_str(stats?).ok().map(Self)
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> Option<u64> {
        self.0.get("numRecords")?.as_u64()
    }

    /// Lowest and highest time of a column, microseconds.
    pub(crate) fn bounds_us(&self, column: &str) -> Option<(i64, i64)> {
        let time = |key| Some(chrono::DateTime::parse_from_rfc3339(self.bound(key, column)?).ok()?.timestamp_micros());
        Some((time("minValues")?, time("maxValues")?))
    }

    /// Lowest and highest day of a column, days since 1970.
    pub(crate) fn bounds_days(&self, column: &str) -> Option<(i64, i64)> {
        let day = |key| Some((self.bound(key, column)?.parse::<NaiveDate>().ok()? - NaiveDate::default()).num_days());
        Some((day("minValues")?, day("maxValues")?))
    }

    fn bound(&self, key: &str, column: &str) -> Option<&str> {
        self.0.get(key)?.get(column)?.as_str()
    }
}

/// A day since 1970 as the log writes it.
pub(crate) fn date(days: i64) -> String {
    NaiveDate::default().checked_add_signed(chrono::Duration::days(days)).map_or_else(|| days.to_string(), |day| day.to_string())
}

fn milliseconds(ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ms).map_or_else(|| ms.to_string(), |t| t.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

/// Whether most values of a column differ, by the first of them.
fn is_distinct(column: &dyn Array) -> bool {
    let first = column.slice(0, column.len().min(SAMPLE_ROWS));
    let count = first.len() - first.null_count();
    if count < MIN_SAMPLE {
        return false;
    }
    let distinct = match first.data_type() {
        DataType::Utf8 => distinct(first.as_string::<i32>()),
        DataType::Binary => distinct(first.as_binary::<i32>()),
        DataType::Int64 => distinct(first.as_primitive::<Int64Type>()),
        DataType::Timestamp(TimeUnit::Microsecond, _) => distinct(first.as_primitive::<TimestampMicrosecondType>()),
        _ => 0,
    };
    distinct * 16 > count * 15
}

fn distinct<T: Eq + Hash>(values: impl IntoIterator<Item = Option<T>>) -> usize {
    values.into_iter().flatten().collect::<HashSet<_>>().len()
}

fn properties(like: &RecordBatch, stats_columns: &str, row_count: usize, empty: &[&str]) -> Result<WriterProperties, LakeError> {
    let level = ZstdLevel::try_new(1).map_err(rows)?;
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS));
    for column in stats_columns.split(',').filter(|n| !n.is_empty()) {
        builder = builder.set_column_statistics_enabled(ColumnPath::from(column), EnabledStatistics::Page);
    }
    let schema = like.schema_ref();
    for (field, column) in schema.fields().iter().zip(like.columns()) {
        let path = ColumnPath::from(field.name().as_str());
        if !DISTINCT.contains(&field.name().as_str()) && !is_distinct(column) {
            continue;
        }
        if matches!(field.data_type(), DataType::Int64 | DataType::Timestamp(..)) {
            // Offsets and times of arrival go up by little.
            builder = builder.set_column_encoding(path.clone(), Encoding::DELTA_BINARY_PACKED);
        }
        builder = builder.set_column_dictionary_enabled(path, false);
    }
    let leaves = ArrowSchemaConverter::new().convert(schema).map_err(rows)?;
    for leaf in leaves.columns().iter().filter(|leaf| leaf.path().parts().first().is_some_and(|name| empty.contains(&name.as_str()))) {
        builder = builder.set_column_compression(leaf.path().clone(), Compression::UNCOMPRESSED);
    }
    // Copies are found, and one event is looked up, by its id.
    if schema.field_with_name(name::leaf_hash).is_ok() {
        let ids = ColumnPath::from(name::event_id);
        let count = row_count.clamp(1, ROW_GROUP_ROWS) as u64;
        builder = builder
            .set_column_bloom_filter_enabled(ids.clone(), true)
            .set_column_bloom_filter_fpp(ids.clone(), BLOOM_FALSE_HITS)
            .set_column_bloom_filter_max_ndv(ids, count);
    }
    Ok(builder.build())
}

fn rows(error: impl std::error::Error + Send + Sync + 'static) -> LakeError {
    LakeError::Rows(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
    use std::sync::Arc;

    /// Columns that differ, that differ only where the first rows do not show it, and that never do.
    fn batch(rows: i64) -> RecordBatch {
        let late = |n: i64| if n < SAMPLE_ROWS as i64 { 7 } else { n * 1_000_003 };
        let times: TimestampMicrosecondArray = (0..rows).map(|n| (n % 5 != 0).then_some(n * n)).collect();
        let columns: [(&str, ArrayRef); 5] = [
            ("offset", Arc::new(Int64Array::from_iter_values((0..rows).map(|n| n * 3 - 7)))),
            ("event_time", Arc::new(times.with_timezone("UTC"))),
            ("request_id", Arc::new(StringArray::from_iter((0..rows).map(|n| (n % 7 != 0).then(|| format!("r{n}")))))),
            ("late", Arc::new(Int64Array::from_iter_values((0..rows).map(late)))),
            ("tenant", Arc::new(StringArray::from_iter_values((0..rows).map(|_| "default")))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    #[test]
    fn what_differs_has_no_dictionary_and_every_value_comes_back() {
        for rows in [1, MIN_SAMPLE as i64, 3_000] {
            let batch = batch(rows);
            let (bytes, _) = encode(&batch, "offset").unwrap();
            let bytes = Bytes::from(bytes);
            assert_eq!(arrow::compute::concat_batches(&batch.schema(), &decode(bytes.clone()).unwrap()).unwrap(), batch);
            let file = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
            let columns = file.metadata().row_group(0).columns();
            let plain: Vec<&str> =
                columns.iter().filter(|c| c.dictionary_page_offset().is_none()).map(|c| c.column_path().parts()[0].as_str()).collect();
            let wanted: &[&str] = if rows == 3_000 { &["offset", "event_time", "request_id"] } else { &["offset"] };
            assert_eq!(plain, if rows == 1 { &[][..] } else { wanted }, "{rows}");
        }
    }
}
