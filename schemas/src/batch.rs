//! Rows to Arrow: the schema of `events` and the builder that turns rows into one record batch.
//!
//! The only code that knows how a [`Row`] becomes Arrow. Plain `Utf8` and `Binary` are used because
//! Delta's schema has no views or dictionaries; Parquet's own dictionaries do the compression.

use std::sync::{Arc, LazyLock};

use arrow::array::builder::MapFieldNames;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, Date32Builder, Float64Builder, Int32Builder, Int64Builder, ListBuilder,
    MapBuilder, StringBuilder, StructBuilder, TimestampMicrosecondBuilder, make_builder, new_null_array,
};
use arrow::datatypes::{DataType, Field as ArrowField, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use crate::cell::{Cell, Field, Kind, Member, Struct, TextMap};
use crate::columns::{COLUMNS, Column, Row};

/// Arrow schema of `events`, partition columns included, every column nullable.
pub fn events_schema() -> SchemaRef {
    // Asked for with every chunk of rows.
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| Arc::new(Schema::new(COLUMNS.iter().map(arrow_field).collect::<Vec<_>>())));
    Arc::clone(&SCHEMA)
}

/// Collects rows and builds record batches of [`events_schema`].
#[derive(Debug)]
pub struct RowsBuilder {
    /// Of each column that has a value: most have none.
    builders: Vec<Option<ColumnBuilder>>,
    /// How much room each is given.
    room: Vec<ColumnRoom>,
    /// Rows in each builder: most columns of most rows are empty, and are filled up only when a value comes.
    filled: Vec<usize>,
    rows: usize,
}

impl Default for RowsBuilder {
    fn default() -> Self {
        Self::with_room(vec![ColumnRoom::default(); COLUMNS.len()])
    }
}

impl RowsBuilder {
    /// With room for an eighth more than a batch of [`events_schema`] took that came before: rows are mostly like those before, and
    /// what has room need not be moved as it grows.
    pub fn after(batch: &RecordBatch) -> Self {
        Self::with_room(COLUMNS.iter().zip(batch.columns()).map(|(column, values)| ColumnRoom::of(column.kind, values)).collect())
    }

    /// Empty, with the room that this one was given.
    pub fn anew(&self) -> Self {
        Self::with_room(self.room.clone())
    }

    fn with_room(room: Vec<ColumnRoom>) -> Self {
        Self { builders: COLUMNS.iter().map(|_| None).collect(), room, filled: vec![0; COLUMNS.len()], rows: 0 }
    }

    /// Appends one row.
    pub fn push(&mut self, row: &Row) {
        let (builders, room, filled, before) = (&mut self.builders, &self.room, &mut self.filled, self.rows);
        row.for_each_value(|index, cell| {
            let builder = builders[index].get_or_insert_with(|| ColumnBuilder::with_room(COLUMNS[index].kind, &room[index]));
            if filled[index] < before {
                builder.append_nulls(before - filled[index]);
            }
            builder.append(cell);
            filled[index] = before + 1;
        });
        self.rows += 1;
    }

    /// Number of rows so far.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Builds the batch.
    ///
    /// # Errors
    /// Only if the builders disagree about the number of rows, which would be a bug here.
    pub fn finish(self) -> Result<RecordBatch, ArrowError> {
        let column = |((column, builder), filled): ((&Column, Option<ColumnBuilder>), usize)| match builder {
            None => new_null_array(&arrow_type(column.kind), self.rows),
            Some(mut builder) => {
                builder.append_nulls(self.rows - filled);
                builder.finish()
            }
        };
        let arrays = COLUMNS.iter().zip(self.builders).zip(self.filled).map(column).collect();
        RecordBatch::try_new(events_schema(), arrays)
    }
}

/// What a column took; nothing where it was empty.
#[derive(Debug, Clone, Copy, Default)]
struct ColumnRoom {
    rows: usize,
    /// Of a map.
    entries: usize,
    key_bytes: usize,
    /// Of the values of a map, or of a column of texts or bytes.
    value_bytes: usize,
}

impl ColumnRoom {
    fn of(kind: Kind, values: &ArrayRef) -> Self {
        let rows = values.len();
        if values.null_count() == rows {
            return Self::default();
        }
        let took = match kind {
            Kind::Text => Self { rows, value_bytes: values.as_string::<i32>().value_data().len(), ..Self::default() },
            Kind::Bytes => Self { rows, value_bytes: values.as_binary::<i32>().value_data().len(), ..Self::default() },
            Kind::Map => {
                let (keys, texts) = (values.as_map().keys().as_string::<i32>(), values.as_map().values().as_string::<i32>());
                Self { rows, entries: keys.len(), key_bytes: keys.value_data().len(), value_bytes: texts.value_data().len() }
            }
            _ => Self { rows, ..Self::default() },
        };
        let more = |size: usize| size + size / 8;
        Self { rows: more(rows), entries: more(took.entries), key_bytes: more(took.key_bytes), value_bytes: more(took.value_bytes) }
    }
}

fn arrow_field(column: &Column) -> ArrowField {
    ArrowField::new(column.name, arrow_type(column.kind), true)
}

/// Arrow type of a kind.
pub fn arrow_type(kind: Kind) -> DataType {
    match kind {
        Kind::Text => DataType::Utf8,
        Kind::Long => DataType::Int64,
        Kind::Int => DataType::Int32,
        Kind::Double => DataType::Float64,
        Kind::Flag => DataType::Boolean,
        Kind::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Kind::Date => DataType::Date32,
        Kind::Bytes => DataType::Binary,
        Kind::Texts => DataType::List(Arc::new(ArrowField::new("element", DataType::Utf8, true))),
        Kind::Structs(fields) => DataType::List(Arc::new(ArrowField::new("element", DataType::Struct(struct_fields(fields)), true))),
        Kind::Map => map_type(),
    }
}

fn struct_fields(fields: &[Field]) -> Fields {
    fields.iter().map(|f| ArrowField::new(f.name, if f.is_int { DataType::Int32 } else { DataType::Utf8 }, true)).collect()
}

fn map_type() -> DataType {
    let entry =
        DataType::Struct(Fields::from(vec![ArrowField::new("key", DataType::Utf8, false), ArrowField::new("value", DataType::Utf8, true)]));
    DataType::Map(Arc::new(ArrowField::new("key_value", entry, false)), false)
}

#[derive(Debug)]
enum ColumnBuilder {
    Text(StringBuilder),
    Long(Int64Builder),
    Int(Int32Builder),
    Double(Float64Builder),
    Flag(BooleanBuilder),
    Time(TimestampMicrosecondBuilder),
    Date(Date32Builder),
    Bytes(BinaryBuilder),
    Texts(ListBuilder<StringBuilder>),
    Structs(&'static [Field], ListBuilder<StructBuilder>),
    Map(MapBuilder<StringBuilder, StringBuilder>),
}

impl ColumnBuilder {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text(StringBuilder::new()),
            Kind::Long => Self::Long(Int64Builder::new()),
            Kind::Int => Self::Int(Int32Builder::new()),
            Kind::Double => Self::Double(Float64Builder::new()),
            Kind::Flag => Self::Flag(BooleanBuilder::new()),
            Kind::Time => Self::Time(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            Kind::Date => Self::Date(Date32Builder::new()),
            Kind::Bytes => Self::Bytes(BinaryBuilder::new()),
            Kind::Texts => {
                let element = ArrowField::new("element", DataType::Utf8, true);
                Self::Texts(ListBuilder::new(StringBuilder::new()).with_field(element))
            }
            Kind::Structs(fields) => Self::Structs(fields, struct_list_builder(fields)),
            Kind::Map => Self::Map(MapBuilder::new(Some(map_field_names()), StringBuilder::new(), StringBuilder::new())),
        }
    }

    fn with_room(kind: Kind, room: &ColumnRoom) -> Self {
        match kind {
            _ if room.rows == 0 => Self::new(kind),
            Kind::Text => Self::Text(StringBuilder::with_capacity(room.rows, room.value_bytes)),
            Kind::Bytes => Self::Bytes(BinaryBuilder::with_capacity(room.rows, room.value_bytes)),
            Kind::Map => {
                let keys = StringBuilder::with_capacity(room.entries, room.key_bytes);
                let values = StringBuilder::with_capacity(room.entries, room.value_bytes);
                Self::Map(MapBuilder::with_capacity(Some(map_field_names()), keys, values, room.rows))
            }
            Kind::Long => Self::Long(Int64Builder::with_capacity(room.rows)),
            Kind::Int => Self::Int(Int32Builder::with_capacity(room.rows)),
            Kind::Time => Self::Time(TimestampMicrosecondBuilder::with_capacity(room.rows).with_timezone("UTC")),
            Kind::Date => Self::Date(Date32Builder::with_capacity(room.rows)),
            Kind::Double | Kind::Flag | Kind::Texts | Kind::Structs(_) => Self::new(kind),
        }
    }

    fn append_nulls(&mut self, count: usize) {
        match self {
            Self::Text(b) => b.append_nulls(count),
            Self::Long(b) => b.append_nulls(count),
            Self::Int(b) => b.append_nulls(count),
            Self::Double(b) => b.append_nulls(count),
            Self::Flag(b) => b.append_nulls(count),
            Self::Time(b) => b.append_nulls(count),
            Self::Date(b) => b.append_nulls(count),
            Self::Bytes(b) => b.append_nulls(count),
            Self::Texts(b) => b.append_nulls(count),
            Self::Structs(_, b) => b.append_nulls(count),
            Self::Map(b) => b.append_nulls(count).expect("keys and values are appended in pairs"),
        }
    }

    fn append(&mut self, cell: Cell<'_>) {
        match (self, cell) {
            (Self::Text(b), Cell::Text(v)) => b.append_value(v),
            (Self::Long(b), Cell::Long(v)) => b.append_value(v),
            (Self::Int(b), Cell::Int(v)) => b.append_value(v),
            (Self::Double(b), Cell::Double(v)) => b.append_value(v),
            (Self::Flag(b), Cell::Flag(v)) => b.append_value(v),
            (Self::Time(b), Cell::Long(v)) => b.append_value(v),
            (Self::Date(b), Cell::Int(v)) => b.append_value(v),
            (Self::Bytes(b), Cell::Bytes(v)) => b.append_value(v),
            (Self::Texts(b), Cell::Texts(v)) => {
                v.iter().for_each(|text| b.values().append_value(text));
                b.append(true);
            }
            (Self::Structs(fields, b), Cell::Structs(v)) => append_structs(fields, b, v),
            (Self::Map(b), Cell::Map(v)) => append_map(b, v),
            (builder, _) => builder.append_nulls(1),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(b) => Arc::new(b.finish()),
            Self::Long(b) => Arc::new(b.finish()),
            Self::Int(b) => Arc::new(b.finish()),
            Self::Double(b) => Arc::new(b.finish()),
            Self::Flag(b) => Arc::new(b.finish()),
            Self::Time(b) => Arc::new(b.finish()),
            Self::Date(b) => Arc::new(b.finish()),
            Self::Bytes(b) => Arc::new(b.finish()),
            Self::Texts(b) => Arc::new(b.finish()),
            Self::Structs(_, b) => Arc::new(b.finish()),
            Self::Map(b) => Arc::new(b.finish()),
        }
    }
}

fn map_field_names() -> MapFieldNames {
    MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() }
}

fn struct_list_builder(fields: &'static [Field]) -> ListBuilder<StructBuilder> {
    let arrow_fields = struct_fields(fields);
    let members = arrow_fields.iter().map(|f| make_builder(f.data_type(), 0)).collect();
    let element = ArrowField::new("element", DataType::Struct(arrow_fields.clone()), true);
    ListBuilder::new(StructBuilder::new(arrow_fields, members)).with_field(element)
}

fn append_structs(fields: &[Field], list: &mut ListBuilder<StructBuilder>, values: &[Struct]) {
    for value in values {
        let builder = list.values();
        for (i, field) in fields.iter().enumerate() {
            let member = value.get(i).unwrap_or(&Member::Null);
            if field.is_int {
                let b = builder.field_builder::<Int32Builder>(i).expect("integer fields have integer builders");
                b.append_option(if let Member::Int(v) = member { Some(*v) } else { None });
            } else {
                let b = builder.field_builder::<StringBuilder>(i).expect("text fields have text builders");
                b.append_option(if let Member::Text(v) = member { Some(v) } else { None });
            }
        }
        builder.append(true);
    }
    list.append(true);
}

fn append_map(builder: &mut MapBuilder<StringBuilder, StringBuilder>, entries: &TextMap) {
    for (key, value) in entries.iter() {
        builder.keys().append_value(key);
        builder.values().append_value(value);
    }
    builder.append(true).expect("keys and values are appended in pairs");
}
