//! The few types a column can have, and one borrowed view of a value of any of them.
//!
//! Shared by the builders (cells to Arrow), the documentation and the redaction. Nested values are
//! lists of small structs of text and integers, a list of texts, and one map: what Delta, DuckDB
//! and SQL all read.

use crate::json::Json;
use crate::time::{self, TimeFormat};

/// Type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// 64-bit integer.
    Long,
    /// 32-bit integer.
    Int,
    /// 64-bit float.
    Double,
    /// Boolean.
    Flag,
    /// Microseconds since 1970, UTC.
    Time,
    /// Days since 1970.
    Date,
    /// Bytes.
    Bytes,
    /// List of texts.
    Texts,
    /// List of structs with these fields.
    Structs(&'static [Field]),
    /// Text to text.
    Map,
}

impl Kind {
    /// The type in words, for documentation.
    pub fn describe(self) -> String {
        match self {
            Self::Text => "text".into(),
            Self::Long => "integer (64 bit)".into(),
            Self::Int => "integer (32 bit)".into(),
            Self::Double => "float".into(),
            Self::Flag => "boolean".into(),
            Self::Time => "time (µs, UTC)".into(),
            Self::Date => "date".into(),
            Self::Bytes => "bytes".into(),
            Self::Texts => "list of text".into(),
            Self::Map => "map of text to text".into(),
            Self::Structs(fields) => format!("list of {{{}}}", fields.iter().map(|f| f.name).collect::<Vec<_>>().join(", ")),
        }
    }
}

/// A field of a struct in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Name of the field.
    pub name: &'static str,
    /// True for a 32-bit integer, false for text.
    pub is_int: bool,
}

impl Field {
    /// A text field.
    pub const fn text(name: &'static str) -> Self {
        Self { name, is_int: false }
    }

    /// An integer field.
    pub const fn int(name: &'static str) -> Self {
        Self { name, is_int: true }
    }
}

/// A value of one struct field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Member {
    /// No value.
    Null,
    /// Text.
    Text(String),
    /// Integer.
    Int(i32),
}

impl From<Option<String>> for Member {
    fn from(value: Option<String>) -> Self {
        value.map_or(Self::Null, Self::Text)
    }
}

/// One struct of a list: members in the order of the column's fields.
pub type Struct = Vec<Member>;

/// Most records leave fewer pairs.
const USUAL_PAIRS: usize = 32;

/// Pairs of texts in order, as a map column has them: all in one text, for a row has dozens of them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TextMap {
    text: String,
    /// Where each key and its value end.
    ends: Vec<(usize, usize)>,
}

impl std::fmt::Debug for TextMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl TextMap {
    /// Empty, with room for what most records leave.
    pub(crate) fn with_usual_room() -> Self {
        Self { text: String::with_capacity(USUAL_PAIRS * 32), ends: Vec::with_capacity(USUAL_PAIRS) }
    }

    /// Without the room that is left, where few pairs came: the rows of a record stand in memory together.
    pub(crate) fn with_less_room(mut self) -> Self {
        if self.ends.len() < USUAL_PAIRS / 4 {
            self.text.shrink_to_fit();
            self.ends.shrink_to_fit();
        }
        self
    }

    /// Adds a pair whose value is written at the end of a text; what stands before is others' and stays.
    pub(crate) fn push_written(&mut self, key: &str, write: impl FnOnce(&mut String)) {
        self.text.push_str(key);
        let key_end = self.text.len();
        write(&mut self.text);
        self.ends.push((key_end, self.text.len()));
    }

    /// The pairs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.iter().map(move |(key_end, end)| {
            let pair = (&self.text[start..*key_end], &self.text[*key_end..*end]);
            start = *end;
            pair
        })
    }

    /// How many pairs.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// A borrowed value of any column.
#[derive(Debug, Clone, Copy)]
pub enum Cell<'a> {
    /// Text.
    Text(&'a str),
    /// 64-bit integer or time.
    Long(i64),
    /// 32-bit integer or date.
    Int(i32),
    /// Float.
    Double(f64),
    /// Boolean.
    Flag(bool),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Texts.
    Texts(&'a [String]),
    /// Structs.
    Structs(&'a [Struct]),
    /// Map entries.
    Map(&'a TextMap),
}

macro_rules! cell_from {
    ($($type:ty => $variant:ident($value:ident) $expr:expr;)*) => {
        $(impl<'a> From<&'a $type> for Cell<'a> {
            fn from($value: &'a $type) -> Self {
                Cell::$variant($expr)
            }
        })*
    };
}

cell_from! {
    String => Text(v) v.as_str();
    i64 => Long(v) *v;
    i32 => Int(v) *v;
    f64 => Double(v) *v;
    bool => Flag(v) *v;
    Vec<u8> => Bytes(v) v.as_slice();
    Vec<String> => Texts(v) v.as_slice();
    Vec<Struct> => Structs(v) v.as_slice();
    TextMap => Map(v) v;
}

/// An owned value of a column, as mapping files make them.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    Text(String),
    /// 64-bit integer, or a time in microseconds.
    Long(i64),
    /// Float.
    Double(f64),
    /// Boolean.
    Flag(bool),
    /// Texts.
    Texts(Vec<String>),
    /// Structs.
    Structs(Vec<Struct>),
}

/// A column's value out of a [`Value`]; `None` when it does not fit.
pub(crate) trait FromValue: Sized {
    fn from_value(value: Value) -> Option<Self>;
}

macro_rules! from_value {
    ($($type:ty: $pattern:pat => $value:expr;)*) => {
        $(impl FromValue for $type {
            fn from_value(value: Value) -> Option<Self> {
                match value {
                    $pattern => $value,
                    _ => None,
                }
            }
        })*
    };
}

from_value! {
    String: Value::Text(v) => Some(v);
    i64: Value::Long(v) => Some(v);
    i32: Value::Long(v) => v.try_into().ok();
    f64: Value::Double(v) => Some(v);
    bool: Value::Flag(v) => Some(v);
    Vec<String>: Value::Texts(v) => Some(v);
    Vec<Struct>: Value::Structs(v) => Some(v);
}

// Bytes and maps come from no mapping file.
impl FromValue for Vec<u8> {
    fn from_value(_: Value) -> Option<Self> {
        None
    }
}

impl FromValue for TextMap {
    fn from_value(_: Value) -> Option<Self> {
        None
    }
}

/// A column's value from JSON, for rows written by hand in tests of rules.
pub(crate) trait FromJson: Sized {
    /// The value, when it fits.
    fn from_json(value: &Json<'_>) -> Option<Self>;
}

impl FromJson for String {
    fn from_json(value: &Json<'_>) -> Option<Self> {
        value.scalar()
    }
}

impl FromJson for i64 {
    fn from_json(value: &Json<'_>) -> Option<Self> {
        // A time may be written as text.
        value.integer().or_else(|| time::read(value, TimeFormat::Rfc3339).ok().map(|t| t.micros))
    }
}

impl FromJson for i32 {
    fn from_json(value: &Json<'_>) -> Option<Self> {
        value.integer().and_then(|n| n.try_into().ok())
    }
}

impl FromJson for f64 {
    fn from_json(value: &Json<'_>) -> Option<Self> {
        value.double()
    }
}

impl FromJson for bool {
    fn from_json(value: &Json<'_>) -> Option<Self> {
        value.flag()
    }
}

impl FromJson for Vec<u8> {
    fn from_json(value: &Json<'_>) -> Option<Self> {
        value.text().map(|t| t.as_bytes().to_vec())
    }
}

impl FromJson for Vec<String> {
    fn from_json(value: &Json<'_>) -> Option<Self> {
        value.texts()
    }
}

impl FromJson for Vec<Struct> {
    fn from_json(value: &Json<'_>) -> Option<Self> {
        let member = |v: &Json<'_>| v.scalar().map_or(Member::Null, Member::Text);
        Some(value.items().iter().map(|item| item.items().iter().map(member).collect()).collect())
    }
}

impl FromJson for TextMap {
    fn from_json(value: &Json<'_>) -> Option<Self> {
        let mut map = Self::default();
        value.members().iter().for_each(|(key, value)| map.push_written(key, |text| value.print_compact(text)));
        Some(map)
    }
}
