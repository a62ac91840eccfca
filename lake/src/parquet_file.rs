//! Record batches to the bytes of one Parquet file with Delta statistics.
//!
//! zstd level 1, statistics only on the columns that the table names, dictionaries everywhere but on the
//! raw payload. Row groups of at most 128 Ki rows.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{max, min};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use serde_json::{Map, Value, json};

use crate::LakeError;

const ROW_GROUP_ROWS: usize = 128 << 10;
const BLOOM_FALSE_HITS: f64 = 1e-5;

/// The file of one batch.
pub(crate) fn encode(batch: &RecordBatch, stats_columns: &str) -> Result<Vec<u8>, LakeError> {
    let mut bytes = Vec::new();
    let properties = properties(batch, stats_columns)?;
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).map_err(rows)?;
    writer.write(batch).map_err(rows)?;
    writer.close().map_err(rows)?;
    Ok(bytes)
}

/// The rows of a file.
pub(crate) fn decode(bytes: Bytes) -> Result<Vec<RecordBatch>, LakeError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).and_then(|b| b.build()).map_err(rows)?;
    reader.collect::<Result<_, _>>().map_err(rows)
}

/// Delta statistics of one batch, as JSON.
pub(crate) fn statistics(batch: &RecordBatch, stats_columns: &str) -> String {
    let (mut lowest, mut highest, mut nulls) = (Map::new(), Map::new(), Map::new());
    for name in stats_columns.split(',').filter(|n| !n.is_empty()) {
        let Some(column) = batch.column_by_name(name) else { continue };
        nulls.insert(name.into(), json!(column.null_count()));
        if let Some((low, high)) = bounds(column) {
            lowest.insert(name.into(), low);
            highest.insert(name.into(), high);
        }
    }
    json!({ "numRecords": batch.num_rows(), "minValues": lowest, "maxValues": highest, "nullCount": nulls }).to_string()
}

/// Lowest and highest time of a column in Delta statistics, microseconds.
pub(crate) fn bounds_us(stats: &str, column: &str) -> Option<(i64, i64)> {
    let stats: Value = serde_json::from_str(stats).ok()?;
    let time = |key: &str| {
        let text = stats.get(key)?.get(column)?.as_str()?;
        Some(chrono::DateTime::parse_from_rfc3339(text).ok()?.timestamp_micros())
    };
    Some((time("minValues")?, time("maxValues")?))
}

fn bounds(column: &dyn Array) -> Option<(Value, Value)> {
    if let Some(times) = column.as_primitive_opt::<TimestampMicrosecondType>() {
        // Delta cuts times to milliseconds: down for the lowest, up for the highest, so that both still bound.
        let (low, high) = (min(times)?, max(times)?);
        return Some((json!(milliseconds(low.div_euclid(1000))), json!(milliseconds((high + 999).div_euclid(1000)))));
    }
    let longs = column.as_primitive_opt::<Int64Type>()?;
    Some((json!(min(longs)?), json!(max(longs)?)))
}

fn milliseconds(ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ms).map_or_else(|| ms.to_string(), |t| t.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

fn properties(batch: &RecordBatch, stats_columns: &str) -> Result<WriterProperties, LakeError> {
    let schema = batch.schema();
    let level = ZstdLevel::try_new(1).map_err(rows)?;
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS));
    for name in stats_columns.split(',').filter(|n| !n.is_empty()) {
        builder = builder.set_column_statistics_enabled(ColumnPath::from(name), EnabledStatistics::Page);
    }
    for unique in ["raw_payload", "raw_sha256", "payload_mac", "leaf_hash", "event_id"] {
        if schema.field_with_name(unique).is_ok() {
            builder = builder.set_column_dictionary_enabled(ColumnPath::from(unique), false);
        }
    }
    // Copies are found, and one event is looked up, by its id.
    if schema.field_with_name("leaf_hash").is_ok() {
        let ids = ColumnPath::from("event_id");
        let count = batch.num_rows().clamp(1, ROW_GROUP_ROWS) as u64;
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
