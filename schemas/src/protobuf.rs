//! A lenient reader of protobuf by a table of fields, giving the JSON that protojson would give.
//!
//! Why not generated code: strict decoders refuse a whole message over one string that is not UTF-8,
//! and real decision points write such strings (a caller can make its own decision unreadable that
//! way). Here such bytes become U+FFFD and the record is kept. Fields that no table names are
//! skipped, as protobuf means them to be.
//!
//! Limits: nesting 32, 200,000 fields in one message tree.

use std::borrow::Cow;

use crate::json::Json;
use crate::keys::hex;

/// Type of one field.
#[derive(Debug, Clone, Copy)]
pub enum Wire {
    /// `string`
    Text,
    /// `bool`
    Flag,
    /// Unsigned or enum without names.
    Number,
    /// `int64`.
    Signed,
    /// `double`.
    Double,
    /// `fixed64`, printed as a text of digits.
    Fixed,
    /// `bytes`, printed as lowercase hex.
    Hex,
    /// An enum with the names of its values from 0.
    Enum(&'static [&'static str]),
    /// A message.
    Message(&'static [Field]),
    /// `map<string, message or scalar>`.
    Map(&'static Wire),
    /// `google.protobuf.Timestamp`, printed as RFC 3339.
    Timestamp,
    /// `google.protobuf.Value`.
    Value,
}

/// One field of a message.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    number: u64,
    name: &'static str,
    wire: Wire,
    repeated: bool,
}

impl Field {
    /// A field that stands at most once.
    pub const fn one(number: u64, name: &'static str, wire: Wire) -> Self {
        Self { number, name, wire, repeated: false }
    }

    /// A repeated field.
    pub const fn many(number: u64, name: &'static str, wire: Wire) -> Self {
        Self { number, name, wire, repeated: true }
    }
}

const MAX_DEPTH: usize = 32;
const MAX_FIELDS: usize = 200_000;

/// Reads a message. `None` when the bytes are no protobuf.
pub fn read(bytes: &[u8], fields: &'static [Field]) -> Option<Json<'static>> {
    let mut budget = MAX_FIELDS;
    message(bytes, fields, 0, &mut budget)
}

enum Raw<'a> {
    Number(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Skipped,
}

fn message(bytes: &[u8], fields: &'static [Field], depth: usize, budget: &mut usize) -> Option<Json<'static>> {
    if depth > MAX_DEPTH {
        return None;
    }
    let mut members: Vec<(Cow<'static, str>, Json<'static>)> = Vec::new();
    // Where the list or map of each field of the table stands in `members`.
    let mut slots: Vec<Option<usize>> = vec![None; fields.len()];
    let mut rest = bytes;
    while !rest.is_empty() {
        *budget = budget.checked_sub(1)?;
        let (number, raw) = field(&mut rest)?;
        let Some(index) = fields.iter().position(|f| f.number == number) else { continue };
        let spec = &fields[index];
        if let Wire::Map(of) = spec.wire {
            let Raw::Bytes(entry) = raw else { return None };
            let (key, value) = map_entry(entry, of, depth, budget)?;
            if let Json::Object(entries) = slot(&mut members, &mut slots[index], spec.name, Json::Object(Vec::new())) {
                entries.push((key, value));
            }
            continue;
        }
        let value = convert(&raw, spec.wire, depth, budget)?;
        if spec.repeated {
            if let Json::Array(items) = slot(&mut members, &mut slots[index], spec.name, Json::Array(Vec::new())) {
                items.push(value);
            }
        } else {
            members.push((Cow::Borrowed(spec.name), value));
        }
    }
    Some(Json::Object(members))
}

/// The one list or map of a field, made at its first occurrence.
fn slot<'m>(
    members: &'m mut Vec<(Cow<'static, str>, Json<'static>)>,
    at: &mut Option<usize>,
    name: &'static str,
    empty: Json<'static>,
) -> &'m mut Json<'static> {
    let index = *at.get_or_insert_with(|| {
        members.push((Cow::Borrowed(name), empty));
        members.len() - 1
    });
    &mut members[index].1
}

fn convert(raw: &Raw<'_>, wire: Wire, depth: usize, budget: &mut usize) -> Option<Json<'static>> {
    Some(match (wire, raw) {
        (Wire::Text, Raw::Bytes(b)) => Json::Text(Cow::Owned(String::from_utf8_lossy(b).into_owned())),
        (Wire::Flag, Raw::Number(n)) => Json::Bool(*n != 0),
        (Wire::Number, Raw::Number(n)) => Json::Number(Cow::Owned(n.to_string())),
        (Wire::Signed, Raw::Number(n)) => Json::Number(Cow::Owned(n.cast_signed().to_string())),
        (Wire::Double, Raw::Fixed64(b)) => double(f64::from_le_bytes(*b)),
        (Wire::Fixed, Raw::Fixed64(b)) => Json::Text(Cow::Owned(u64::from_le_bytes(*b).to_string())),
        (Wire::Hex, Raw::Bytes(b)) => Json::Text(Cow::Owned(hex(b))),
        (Wire::Enum(names), Raw::Number(n)) => {
            let name = usize::try_from(*n).ok().and_then(|n| names.get(n));
            name.map_or_else(|| Json::Number(Cow::Owned(n.to_string())), |name| Json::Text(Cow::Borrowed(name)))
        }
        (Wire::Message(fields), Raw::Bytes(b)) => message(b, fields, depth + 1, budget)?,
        (Wire::Timestamp, Raw::Bytes(b)) => timestamp(b)?,
        (Wire::Value, Raw::Bytes(b)) => value(b, depth + 1, budget)?,
        _ => return None,
    })
}

fn map_entry(bytes: &[u8], of: &Wire, depth: usize, budget: &mut usize) -> Option<(Cow<'static, str>, Json<'static>)> {
    let (mut key, mut found) = (Cow::Borrowed(""), Json::Null);
    let mut rest = bytes;
    while !rest.is_empty() {
        *budget = budget.checked_sub(1)?;
        match field(&mut rest)? {
            (1, Raw::Bytes(b)) => key = Cow::Owned(String::from_utf8_lossy(b).into_owned()),
            (2, raw) => found = convert(&raw, *of, depth, budget)?,
            _ => {}
        }
    }
    Some((key, found))
}

fn timestamp(bytes: &[u8]) -> Option<Json<'static>> {
    let (mut seconds, mut nanos) = (0_u64, 0_u64);
    let mut rest = bytes;
    while !rest.is_empty() {
        match field(&mut rest)? {
            (1, Raw::Number(n)) => seconds = n,
            (2, Raw::Number(n)) => nanos = n,
            _ => {}
        }
    }
    let time = chrono::DateTime::from_timestamp(seconds.cast_signed(), u32::try_from(nanos).ok()?)?;
    Some(Json::Text(Cow::Owned(time.to_rfc3339_opts(chrono::SecondsFormat::Nanos, true))))
}

/// `google.protobuf.Value`: null 1, number 2, string 3, bool 4, struct 5, list 6.
fn value(bytes: &[u8], depth: usize, budget: &mut usize) -> Option<Json<'static>> {
    if depth > MAX_DEPTH {
        return None;
    }
    let mut found = Json::Null;
    let mut rest = bytes;
    while !rest.is_empty() {
        *budget = budget.checked_sub(1)?;
        found = match field(&mut rest)? {
            (2, Raw::Fixed64(b)) => double(f64::from_le_bytes(b)),
            (3, Raw::Bytes(b)) => Json::Text(Cow::Owned(String::from_utf8_lossy(b).into_owned())),
            (4, Raw::Number(n)) => Json::Bool(n != 0),
            (5, Raw::Bytes(b)) => structure(b, depth, budget)?,
            (6, Raw::Bytes(b)) => list(b, depth, budget)?,
            _ => Json::Null,
        };
    }
    Some(found)
}

fn structure(bytes: &[u8], depth: usize, budget: &mut usize) -> Option<Json<'static>> {
    let mut members = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        *budget = budget.checked_sub(1)?;
        if let (1, Raw::Bytes(entry)) = field(&mut rest)? {
            members.push(map_entry(entry, &Wire::Value, depth, budget)?);
        }
    }
    Some(Json::Object(members))
}

fn list(bytes: &[u8], depth: usize, budget: &mut usize) -> Option<Json<'static>> {
    let mut items = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        *budget = budget.checked_sub(1)?;
        if let (1, Raw::Bytes(item)) = field(&mut rest)? {
            items.push(value(item, depth + 1, budget)?);
        }
    }
    Some(Json::Array(items))
}

fn double(number: f64) -> Json<'static> {
    if number.is_finite() { Json::Number(Cow::Owned(number.to_string())) } else { Json::Text(Cow::Owned(number.to_string())) }
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Raw<'a>)> {
    let tag = varint(rest)?;
    let raw = match tag & 7 {
        0 => Raw::Number(varint(rest)?),
        1 => Raw::Fixed64(take(rest, 8)?.try_into().ok()?),
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Raw::Bytes(take(rest, length)?)
        }
        5 => {
            take(rest, 4)?;
            Raw::Skipped
        }
        _ => return None,
    };
    (tag >> 3 > 0).then_some((tag >> 3, raw))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(head)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
