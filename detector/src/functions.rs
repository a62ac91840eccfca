//! SQL functions that rules have beside DataFusion's own.
//!
//! `local_time(moment, zone)` is the wall clock of an IANA zone at a moment, summer time included; NULL for a zone
//! that does not exist. Both arguments may be columns, which `AT TIME ZONE` cannot do.

use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use datafusion::prelude::SessionContext;
use lake::functions::moment;

const WALL_CLOCK: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// Registers them.
pub(crate) fn register(context: &SessionContext) {
    let arguments = vec![moment(), DataType::Utf8];
    context.register_udf(create_udf("local_time", arguments, WALL_CLOCK, Volatility::Immutable, Arc::new(local_times)));
}

fn local_times(arguments: &[ColumnarValue]) -> Result<ColumnarValue, DataFusionError> {
    let [moments, zones] = <[ArrayRef; 2]>::try_from(ColumnarValue::values_to_arrays(arguments)?)
        .map_err(|_| DataFusionError::Plan("local_time takes a moment and a zone".into()))?;
    let moments = cast(&moments, &moment())?;
    let moments = moments.as_primitive::<TimestampMicrosecondType>();
    let zones = cast(&zones, &DataType::Utf8)?;
    let zones = zones.as_string::<i32>();
    // Rows of one identity come together, so the zone seldom changes from row to row.
    let mut last: Option<(&str, Option<Tz>)> = None;
    let local = (0..moments.len()).map(|row| {
        if moments.is_null(row) || zones.is_null(row) {
            return None;
        }
        let name = zones.value(row);
        let zone = match last {
            Some((known, zone)) if known == name => zone,
            _ => Tz::from_str(name).ok(),
        };
        last = Some((name, zone));
        local_us(moments.value(row), zone?)
    });
    Ok(ColumnarValue::Array(Arc::new(TimestampMicrosecondArray::from_iter(local))))
}

fn local_us(utc_us: i64, zone: Tz) -> Option<i64> {
    let moment = DateTime::from_timestamp_micros(utc_us)?.naive_utc();
    let offset = zone.offset_from_utc_datetime(&moment).fix().local_minus_utc();
    utc_us.checked_add(i64::from(offset) * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summer_time_and_half_hours_are_known() {
        let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros();
        for (zone, utc, local) in [
            ("Europe/Berlin", "2026-01-15T12:00:00Z", "2026-01-15T13:00:00Z"),
            ("Europe/Berlin", "2026-07-15T12:00:00Z", "2026-07-15T14:00:00Z"),
            ("Asia/Kolkata", "2026-07-15T12:00:00Z", "2026-07-15T17:30:00Z"),
            ("America/New_York", "2026-03-08T06:59:59Z", "2026-03-08T01:59:59Z"),
            ("America/New_York", "2026-03-08T07:00:00Z", "2026-03-08T03:00:00Z"),
        ] {
            assert_eq!(local_us(at(utc), zone.parse().unwrap()), Some(at(local)), "{zone} {utc}");
        }
    }
}
