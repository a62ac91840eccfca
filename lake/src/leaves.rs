//! The ledger leaf of each row of a record batch of `events`.
//!
//! Computed from Arrow, not from the rows that were pushed, so the same function that seals a batch
//! verifies it later from its Parquet file. `leaf_hash` itself is left out, and `raw_payload` goes in by its hash:
//! `raw_sha256` is a column of its own, and whoever verifies compares the two ([`raw_fits`]). Every other column goes in.
//!
//! Values: text and bytes as they are; integers, times and dates as eight bytes big-endian (so widening a
//! type keeps leaves valid); floats as their bits; lists and structs with counts and null marks; a map as its count, the lengths of
//! each key and value (four bytes, big-endian, all ones where there is no value), all keys, all values.

use std::fmt::Write as _;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int32Array, Int64Array, MapArray, RecordBatch, StringArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Date32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use ledger::{ColumnTag, Hash, LeafBuilder, RowKey, commit_field};
use schemas::COLUMNS;
use schemas::columns::{ColumnId, name};
use schemas::keys::Keys;
use sha2::{Digest, Sha256};

/// Leaves of all rows, in row order.
pub fn leaf_hashes(batch: &RecordBatch, keys: &Keys) -> Vec<Hash> {
    let schema = batch.schema_ref();
    let fields = schema.fields().iter().zip(batch.columns());
    // Most columns of most batches are empty.
    let mut columns: Vec<Column<'_>> = fields
        .filter(|(_, values)| values.null_count() < values.len())
        .filter_map(|(field, values)| Some((&COLUMNS[ColumnId::by_name(field.name())? as usize], values)))
        .filter(|(column, _)| column.name != name::leaf_hash && column.name != name::raw_payload)
        .map(|(column, values)| Column::of(column, values))
        .collect();
    columns.sort_unstable_by_key(|column| column.name);
    let names = RowNames::of(batch);
    let (mut leaf, mut scratch, mut row_name) = (LeafBuilder::default(), Vec::new(), String::new());
    (0..batch.num_rows())
        .map(|row| {
            names.of_row(row, &mut row_name);
            let row_key = RowKey::new(&keys.row_secret(&row_name));
            for column in columns.iter().filter(|column| column.nulls.is_none_or(|nulls| nulls.is_valid(row))) {
                let value = column.values.bytes_of(row, &mut scratch);
                if column.is_sensitive {
                    leaf.commitment(column.tag, &commit_field(&row_key.salt(column.tag), value));
                } else {
                    leaf.plain(column.tag, value);
                }
            }
            leaf.finish()
        })
        .collect()
}

/// A column that is not empty.
struct Column<'b> {
    name: &'static str,
    tag: ColumnTag,
    is_sensitive: bool,
    nulls: Option<&'b NullBuffer>,
    values: Values<'b>,
}

impl<'b> Column<'b> {
    fn of(column: &schemas::Column, values: &'b ArrayRef) -> Self {
        let schemas::Column { name, sensitive, .. } = *column;
        Self { name, tag: ColumnTag::new(name), is_sensitive: sensitive, nulls: values.nulls(), values: Values::of(values.as_ref()) }
    }
}

/// The values of a column, by what most are: asked for its type once, not for each row.
enum Values<'b> {
    Text(&'b StringArray),
    Bytes(&'b BinaryArray),
    Long(&'b [i64]),
    Int(&'b [i32]),
    /// Of texts.
    Map(&'b MapArray),
    Other(&'b dyn Array),
}

impl<'b> Values<'b> {
    fn of(array: &'b dyn Array) -> Self {
        match array.data_type() {
            DataType::Utf8 => Self::Text(array.as_string()),
            DataType::Binary => Self::Bytes(array.as_binary()),
            DataType::Int64 => Self::Long(array.as_primitive::<Int64Type>().values()),
            DataType::Timestamp(..) => Self::Long(array.as_primitive::<TimestampMicrosecondType>().values()),
            DataType::Int32 => Self::Int(array.as_primitive::<Int32Type>().values()),
            DataType::Date32 => Self::Int(array.as_primitive::<Date32Type>().values()),
            DataType::Map(..) => Self::Map(array.as_map()),
            _ => Self::Other(array),
        }
    }

    /// The bytes of a value: as they stand, where they do, for some are long.
    fn bytes_of<'a>(&'a self, row: usize, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        scratch.clear();
        match self {
            Self::Text(texts) => return texts.value(row).as_bytes(),
            Self::Bytes(bytes) => return bytes.value(row),
            Self::Long(numbers) => long(numbers[row], scratch),
            Self::Int(numbers) => long(numbers[row].into(), scratch),
            Self::Map(map) => entries(map, row, scratch),
            Self::Other(array) => encode(*array, row, scratch),
        }
        scratch
    }
}

/// Whether the bytes kept of a row are those whose hash its leaf holds: both are there, or neither.
pub fn raw_fits(batch: &RecordBatch, row: usize) -> bool {
    let bytes =
        |name: &str| batch.column_by_name(name).and_then(|c| c.as_binary_opt::<i32>()).filter(|c| !c.is_null(row)).map(|c| c.value(row));
    bytes(name::raw_payload).map(|raw| Sha256::digest(raw).to_vec()).as_deref() == bytes(name::raw_sha256)
}

/// What names a row for its salts: where it came from. Looked up once a batch, for a schema is searched name by name.
struct RowNames<'b> {
    stream: Option<&'b StringArray>,
    incarnation: Option<&'b StringArray>,
    partition: Option<&'b Int32Array>,
    offset: Option<&'b Int64Array>,
    record_index: Option<&'b Int32Array>,
}

impl<'b> RowNames<'b> {
    fn of(batch: &'b RecordBatch) -> Self {
        let text = |name: &str| batch.column_by_name(name).map(|c| c.as_string::<i32>());
        let int = |name: &str| batch.column_by_name(name).map(|c| c.as_primitive::<Int32Type>());
        Self {
            stream: text(name::stream),
            incarnation: text(name::incarnation),
            partition: int(name::partition),
            offset: batch.column_by_name(name::offset).map(|c| c.as_primitive::<Int64Type>()),
            record_index: int(name::record_index),
        }
    }

    /// Written in the place of what stood in `name`.
    fn of_row(&self, row: usize, name: &mut String) {
        let text = |column: Option<&'b StringArray>| column.map_or("", |c| c.value(row));
        let int = |column: Option<&Int32Array>| column.map_or(0, |c| c.value(row));
        let offset = self.offset.map_or(0, |c| c.value(row));
        let (stream, incarnation) = (text(self.stream), text(self.incarnation));
        let (partition, index) = (int(self.partition), int(self.record_index));
        name.clear();
        // Writing to a string cannot fail.
        let _ = write!(name, "{stream}\0{incarnation}\0{partition}\0{offset}\0{index}");
    }
}

fn encode(array: &dyn Array, row: usize, out: &mut Vec<u8>) {
    match array.data_type() {
        DataType::Utf8 => out.extend_from_slice(array.as_string::<i32>().value(row).as_bytes()),
        DataType::Utf8View => out.extend_from_slice(array.as_string_view().value(row).as_bytes()),
        DataType::Binary => out.extend_from_slice(array.as_binary::<i32>().value(row)),
        DataType::BinaryView => out.extend_from_slice(array.as_binary_view().value(row)),
        DataType::Int64 => long(array.as_primitive::<Int64Type>().value(row), out),
        DataType::Int32 => long(array.as_primitive::<Int32Type>().value(row).into(), out),
        DataType::Date32 => long(array.as_primitive::<Date32Type>().value(row).into(), out),
        DataType::Timestamp(..) => long(array.as_primitive::<TimestampMicrosecondType>().value(row), out),
        DataType::Float64 => out.extend_from_slice(&array.as_primitive::<Float64Type>().value(row).to_bits().to_be_bytes()),
        DataType::Boolean => out.push(u8::from(array.as_boolean().value(row))),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            nested(list.values(), list.value_offsets(), row, out);
        }
        DataType::Struct(_) => {
            for member in array.as_struct().columns() {
                element(member, row, out);
            }
        }
        other => unreachable!("no column of `events` has type {other}"),
    }
}

/// The length of a value that is not there.
const NO_VALUE: i32 = -1;

/// The entries of one row: how many, how long each key and each value is, all keys, all values; so it is written by the piece and
/// not by the entry.
fn entries(map: &MapArray, row: usize, out: &mut Vec<u8>) {
    let (keys, values) = (map.keys().as_string::<i32>(), map.values().as_string::<i32>());
    let items = items(map.value_offsets(), row, out);
    for i in items.clone() {
        let value_length = if values.is_valid(i) { values.value_length(i) } else { NO_VALUE };
        out.extend_from_slice(&keys.value_length(i).to_be_bytes());
        out.extend_from_slice(&value_length.to_be_bytes());
    }
    for texts in [keys, values] {
        let place = |i: usize| usize::try_from(texts.value_offsets()[i]).unwrap_or_default();
        out.extend_from_slice(&texts.value_data()[place(items.start)..place(items.end)]);
    }
}

/// The items of one row in the values of all rows.
fn nested(values: &dyn Array, offsets: &[i32], row: usize, out: &mut Vec<u8>) {
    items(offsets, row, out).for_each(|i| element(values, i, out));
}

/// Where the items of one row are, after their number is written.
fn items(offsets: &[i32], row: usize, out: &mut Vec<u8>) -> Range<usize> {
    let place = |i: usize| usize::try_from(offsets[i]).unwrap_or_default();
    let items = place(row)..place(row + 1);
    out.extend_from_slice(&u32::try_from(items.len()).unwrap_or(u32::MAX).to_be_bytes());
    items
}

fn element(values: &dyn Array, row: usize, out: &mut Vec<u8>) {
    if values.is_null(row) {
        out.push(0);
        return;
    }
    out.push(1);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    encode(values, row, out);
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn long(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{MapBuilder, StringBuilder};

    #[test]
    fn no_two_columns_have_one_tag() {
        let tags: std::collections::BTreeSet<ColumnTag> = COLUMNS.iter().map(|column| ColumnTag::new(column.name)).collect();
        assert_eq!(tags.len(), COLUMNS.len());
    }

    #[test]
    fn a_map_is_written_from_its_row_alone_and_no_two_maps_alike() {
        let rows: [&[(&str, Option<&str>)]; 5] = [
            &[("a", Some("1")), ("bc", None)],
            &[],
            &[("", Some("")), ("d", Some("\u{e9}"))],
            &[("", None), ("d", Some("\u{e9}"))],
            &[("d", Some(""))],
        ];
        let mut builder = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        for row in rows {
            for (key, value) in row {
                builder.keys().append_value(key);
                builder.values().append_option(*value);
            }
            builder.append(true).unwrap();
        }
        let map = builder.finish();
        let written = |map: &MapArray, row: usize| {
            let mut out = Vec::new();
            entries(map, row, &mut out);
            out
        };
        assert_eq!(written(&map, 0), b"\0\0\0\x02\0\0\0\x01\0\0\0\x01\0\0\0\x02\xff\xff\xff\xffabc1");
        let all: std::collections::BTreeSet<Vec<u8>> = (0..rows.len()).map(|row| written(&map, row)).collect();
        assert_eq!(all.len(), rows.len());
        let sliced = map.slice(1, 3);
        (0..sliced.len()).for_each(|row| assert_eq!(written(&sliced, row), written(&map, row + 1)));
    }
}
