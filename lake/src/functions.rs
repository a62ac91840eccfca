//! SQL functions that every session has beside DataFusion's own.
//!
//! `time_bucket(moment, seconds)` is the start of the span of that length that a moment lies in, counted from 1970. `date_bin` and
//! `date_trunc` count in nanoseconds and fail for an event that is dated after the year 2262, which anybody can send.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use datafusion::prelude::SessionContext;

/// Registers them.
pub(crate) fn register(context: &SessionContext) {
    let arguments = vec![moment(), DataType::Int64];
    context.register_udf(create_udf("time_bucket", arguments, moment(), Volatility::Immutable, Arc::new(time_buckets)));
}

/// Type of a moment in SQL: microseconds in UTC.
pub fn moment() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn time_buckets(arguments: &[ColumnarValue]) -> Result<ColumnarValue, DataFusionError> {
    let [moments, lengths] = <[ArrayRef; 2]>::try_from(ColumnarValue::values_to_arrays(arguments)?)
        .map_err(|_| DataFusionError::Plan("time_bucket takes a moment and a number of seconds".into()))?;
    let moments = cast(&moments, &moment())?;
    let (moments, lengths) = (moments.as_primitive::<TimestampMicrosecondType>(), lengths.as_primitive::<Int64Type>());
    let start = |(at, seconds): (Option<i64>, Option<i64>)| {
        let length_us = seconds?.checked_mul(1_000_000).filter(|length| *length > 0)?;
        at?.div_euclid(length_us).checked_mul(length_us)
    };
    let buckets: TimestampMicrosecondArray = moments.iter().zip(lengths.iter()).map(start).collect();
    Ok(ColumnarValue::Array(Arc::new(buckets.with_timezone("UTC"))))
}
