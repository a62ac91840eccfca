//! SQL functions that every session has beside DataFusion's own.
//!
//! `time_bucket(moment, seconds)` is the start of the span of that length that a moment lies in, counted from 1970. `date_bin` and
//! `date_trunc` count in nanoseconds and fail for an event that is dated after the year 2262, which anybody can send.
//!
//! `sketch_register(text)` and `sketch_weight(text)` are the place of a text in a sketch of how many different ones there are, and
//! `sketch_count(registers, weights)` is that number, of the least weights of a sketch's registers (`sketch.rs`).

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use datafusion::prelude::SessionContext;

use crate::sketch;

/// Registers them.
pub(crate) fn register(context: &SessionContext) {
    let arguments = vec![moment(), DataType::Int64];
    context.register_udf(create_udf("time_bucket", arguments, moment(), Volatility::Immutable, Arc::new(time_buckets)));
    let integer = |name: &str, arguments: Vec<DataType>, work: Work| {
        context.register_udf(create_udf(name, arguments, DataType::Int64, Volatility::Immutable, Arc::new(work)));
    };
    integer("sketch_register", vec![DataType::Utf8], |texts| of_texts(texts, |text| sketch::place(text).0));
    integer("sketch_weight", vec![DataType::Utf8], |texts| of_texts(texts, |text| sketch::place(text).1));
    integer("sketch_count", vec![DataType::Int64, DataType::Int64], sketch_counts);
}

type Work = fn(&[ColumnarValue]) -> Result<ColumnarValue, DataFusionError>;

fn of_texts(arguments: &[ColumnarValue], work: fn(&str) -> i64) -> Result<ColumnarValue, DataFusionError> {
    let [texts] = arrays(arguments, "a function of a sketch takes a text")?;
    let texts = cast(&texts, &DataType::Utf8)?;
    let found: Int64Array = texts.as_string::<i32>().iter().map(|text| text.map(work)).collect();
    Ok(ColumnarValue::Array(Arc::new(found)))
}

fn sketch_counts(arguments: &[ColumnarValue]) -> Result<ColumnarValue, DataFusionError> {
    let [registers, weights] = arrays(arguments, "sketch_count takes a number of registers and the sum of their weights")?;
    let (registers, weights) = (registers.as_primitive::<Int64Type>(), weights.as_primitive::<Int64Type>());
    let found: Int64Array = registers.iter().zip(weights.iter()).map(|(r, w)| Some(sketch::count(r?, w?))).collect();
    Ok(ColumnarValue::Array(Arc::new(found)))
}

fn arrays<const N: usize>(arguments: &[ColumnarValue], wrong: &str) -> Result<[ArrayRef; N], DataFusionError> {
    <[ArrayRef; N]>::try_from(ColumnarValue::values_to_arrays(arguments)?).map_err(|_| DataFusionError::Plan(wrong.into()))
}

/// Type of a moment in SQL: microseconds in UTC.
pub fn moment() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn time_buckets(arguments: &[ColumnarValue]) -> Result<ColumnarValue, DataFusionError> {
    let [moments, lengths] = arrays(arguments, "time_bucket takes a moment and a number of seconds")?;
    let moments = cast(&moments, &moment())?;
    let (moments, lengths) = (moments.as_primitive::<TimestampMicrosecondType>(), lengths.as_primitive::<Int64Type>());
    let start = |(at, seconds): (Option<i64>, Option<i64>)| {
        let length_us = seconds?.checked_mul(1_000_000).filter(|length| *length > 0)?;
        at?.div_euclid(length_us).checked_mul(length_us)
    };
    let buckets: TimestampMicrosecondArray = moments.iter().zip(lengths.iter()).map(start).collect();
    Ok(ColumnarValue::Array(Arc::new(buckets.with_timezone("UTC"))))
}
