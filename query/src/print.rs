//! Rows as a table, JSON lines, CSV or Parquet.
//!
//! JSON: one object a line, explicit nulls, times as RFC 3339 in UTC with microseconds, bytes as lowercase
//! hex. CSV: RFC 4180, nested values as JSON, and a leading `'` where a cell would start a formula.

use std::borrow::Cow;
use std::io::Write;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches_with_schema;
use parquet::arrow::ArrowWriter;
use serde_json::{Map, Value};

use crate::QueryError;

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Table,
    /// One object a line.
    Json,
    /// RFC 4180.
    Csv,
    /// A Parquet file.
    Parquet,
}

/// A format that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no format; use table, json, csv or parquet")]
pub struct UnknownFormat(String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        match text {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            "csv" => Ok(Self::Csv),
            "parquet" => Ok(Self::Parquet),
            other => Err(UnknownFormat(other.to_owned())),
        }
    }
}

/// A line as a terminal may see it: what steers it, begins a line or turns the direction of writing becomes a mark.
pub fn harmless(line: &str) -> Cow<'_, str> {
    let is_harmful =
        |c: char| c.is_control() && c != '\t' || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if line.chars().any(is_harmful) { Cow::Owned(line.replace(is_harmful, "\u{fffd}")) } else { Cow::Borrowed(line) }
}

/// Prints rows.
///
/// # Errors
/// When they cannot be encoded or written.
pub fn print(schema: &SchemaRef, batches: &[RecordBatch], format: Format, out: &mut dyn Write) -> Result<(), QueryError> {
    match format {
        Format::Table => {
            let text = pretty_format_batches_with_schema(Arc::clone(schema), batches).map_err(encode)?;
            let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
            let text: Vec<_> = text.to_string().lines().map(|line| harmless(line).into_owned()).collect();
            Ok(writeln!(out, "{}\n{rows} rows", text.join("\n"))?)
        }
        Format::Json => batches.iter().try_for_each(|batch| json(batch, out)),
        Format::Csv => csv(schema, batches, out),
        Format::Parquet => {
            let mut bytes = Vec::new();
            let mut writer = ArrowWriter::try_new(&mut bytes, Arc::clone(schema), None).map_err(encode)?;
            batches.iter().try_for_each(|batch| writer.write(batch)).map_err(encode)?;
            writer.close().map_err(encode)?;
            Ok(out.write_all(&bytes)?)
        }
    }
}

fn encode(error: impl std::error::Error + Send + Sync + 'static) -> QueryError {
    QueryError::Encode(Box::new(error))
}

fn json(batch: &RecordBatch, out: &mut dyn Write) -> Result<(), QueryError> {
    for row in 0..batch.num_rows() {
        let mut object = Map::new();
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            object.insert(field.name().clone(), value(column, row)?);
        }
        serde_json::to_writer(&mut *out, &object).map_err(|e| QueryError::Output(e.into()))?;
        writeln!(out)?;
    }
    Ok(())
}

fn csv(schema: &SchemaRef, batches: &[RecordBatch], out: &mut dyn Write) -> Result<(), QueryError> {
    let names: Vec<String> = schema.fields().iter().map(|f| cell(f.name())).collect();
    write!(out, "{}\r\n", names.join(","))?;
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells: Result<Vec<String>, QueryError> = batch
                .columns()
                .iter()
                .map(|column| {
                    Ok(match value(column, row)? {
                        Value::Null => String::new(),
                        Value::String(text) => cell(&text),
                        other => cell(&other.to_string()),
                    })
                })
                .collect();
            write!(out, "{}\r\n", cells?.join(","))?;
        }
    }
    Ok(())
}

/// Quotes where needed; a cell that a spreadsheet would run is made text. Numbers stay as they are.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err();
    let safe = if is_formula { format!("'{text}") } else { text.to_owned() };
    if safe.contains([',', '"', '\n', '\r']) { format!("\"{}\"", safe.replace('"', "\"\"")) } else { safe }
}

fn value(array: &dyn Array, row: usize) -> Result<Value, QueryError> {
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match array.data_type() {
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            schemas::time::print(array.as_primitive::<TimestampMicrosecondType>().value(row)).into()
        }
        DataType::Timestamp(..) => {
            let micros = arrow::compute::cast(&array.slice(row, 1), &DataType::Timestamp(TimeUnit::Microsecond, None)).map_err(encode)?;
            schemas::time::print(micros.as_primitive::<TimestampMicrosecondType>().value(0)).into()
        }
        DataType::Binary => schemas::keys::hex(array.as_binary::<i32>().value(row)).into(),
        DataType::List(_) => list(&array.as_list::<i32>().value(row))?,
        DataType::Struct(fields) => {
            let members = fields.iter().zip(array.as_struct().columns());
            let members: Result<Map<String, Value>, QueryError> = members.map(|(f, c)| Ok((f.name().clone(), value(c, row)?))).collect();
            Value::Object(members?)
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            let pairs = (0..entries.len()).map(|i| Ok((value(keys, i)?.as_str().unwrap_or_default().to_owned(), value(values, i)?)));
            Value::Object(pairs.collect::<Result<Map<String, Value>, QueryError>>()?)
        }
        numeric if numeric.is_numeric() => {
            let text = text_of(array, row)?;
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        }
        _ => Value::String(text_of(array, row)?),
    })
}

fn list(values: &dyn Array) -> Result<Value, QueryError> {
    (0..values.len()).map(|i| value(values, i)).collect::<Result<Vec<Value>, QueryError>>().map(Value::Array)
}

fn text_of(array: &dyn Array, row: usize) -> Result<String, QueryError> {
    let formatter = ArrayFormatter::try_new(array, &FormatOptions::default()).map_err(encode)?;
    Ok(formatter.value(row).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_that_a_spreadsheet_would_run_is_text_and_numbers_stay_numbers() {
        assert_eq!(cell("=1+1"), "'=1+1");
        assert_eq!(cell("-5"), "-5");
        assert_eq!(cell("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
