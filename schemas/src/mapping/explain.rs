//! Where every column of an event came from, for people who want to trust an adapter.
//!
//! For a mapping file the paths are those that were read. An adapter that is code does not say: there, the paths are
//! those whose value is the same.

use crate::adapters::Adapter;
use crate::cell::{Cell, TextMap};
use crate::columns::{COLUMNS, Row};
use crate::decode::DEFAULT_TENANT;
use crate::draft::Input;
use crate::envelope::{self, Element};
use crate::json::Json;
use crate::keys::{Keys, hex};
use crate::mapping::{Origin, check};
use crate::privacy::Privacy;
use crate::reader::Reader;
use crate::redact::Redactor;

/// One event explained.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explained {
    /// Why it was refused, when it was.
    pub refused: Option<String>,
    /// Columns with a value: name, value as text, and where in the record it stands.
    pub columns: Vec<(&'static str, String, Vec<String>)>,
    /// Leaves that no column took.
    pub left_over: TextMap,
    /// What could not be read.
    pub faults: Vec<String>,
}

/// Columns that are about the way here, not about the act.
const NOT_EXPLAINED: &[&str] =
    &["raw_payload", "ext", "parse_errors", "stream", "incarnation", "partition", "offset", "record_index", "payload_mac", "raw_sha256"];

/// Explains every event of a record.
pub fn explain(adapter: &Adapter, record: &[u8]) -> Vec<Explained> {
    let element = first_element(adapter, record);
    let origins = element.as_ref().map(|json| origins(adapter, json)).unwrap_or_default();
    check::rows(adapter, record).iter().map(|row| one(row, element.as_ref(), &origins)).collect()
}

fn one(row: &Row, element: Option<&Json<'static>>, origins: &[Origin]) -> Explained {
    let mut explained = Explained {
        refused: row.reason.clone(),
        left_over: row.ext.clone().unwrap_or_default(),
        faults: row.parse_errors.clone().unwrap_or_default(),
        ..Explained::default()
    };
    row.for_each_value(|index, cell| {
        let name = COLUMNS[index].name;
        let text = print(cell);
        if text.is_empty() || NOT_EXPLAINED.contains(&name) {
            return;
        }
        let traced = origins.iter().rev().find(|origin| origin.column == name).map(|origin| origin.paths.clone());
        let guessed = || element.filter(|_| origins.is_empty()).map_or_else(Vec::new, |json| same_value(json, &text));
        let said = |paths: Vec<String>| if paths.is_empty() { vec!["(said by the mapping)".to_owned()] } else { paths };
        let paths = traced.map_or_else(guessed, said);
        explained.columns.push((name, text, paths));
    });
    explained
}

/// The first element of a record, as the adapter sees it.
fn first_element(adapter: &Adapter, record: &[u8]) -> Option<Json<'static>> {
    let keys = Keys::from_master(&[7; 32]);
    let bytes = envelope::unpack(record).ok()?.bytes;
    let mut json = match adapter.other_form(&bytes, &[]) {
        Some((_, other)) => first(envelope::elements_of(other.ok()?).ok()?)?,
        None => first(envelope::elements(&bytes, adapter.kept_wrappers()).ok()?)?,
    };
    adapter.unpack(&mut json);
    let privacy = Privacy::default();
    let redactor = Redactor::new(&keys, DEFAULT_TENANT, &privacy);
    adapter.redact(&mut json, &redactor);
    Some(json)
}

fn first(elements: Vec<Element<'_>>) -> Option<Json<'static>> {
    match elements.into_iter().next()? {
        Element::Good { json, .. } => Some(json.into_owned()),
        Element::Bad { .. } => None,
    }
}

fn origins(adapter: &Adapter, json: &Json<'_>) -> Vec<Origin> {
    let Adapter::Mapped(mapping) = adapter else { return Vec::new() };
    let keys = Keys::from_master(&[7; 32]);
    let reader = Reader::new(json);
    let input = Input { reader: &reader, params: None, headers: &[], keys: &keys };
    let mut origins = Some(Vec::new());
    // A record that is refused has no origins; its reason says why.
    let _ = mapping.traced(&input, &mut origins);
    origins.unwrap_or_default()
}

/// Paths whose value is this text.
fn same_value(json: &Json<'_>, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    walk(json, &mut String::new(), text, &mut found);
    found
}

fn walk(json: &Json<'_>, path: &mut String, text: &str, found: &mut Vec<String>) {
    let mut inner = |key: &str, value: &Json<'_>| {
        let length = path.len();
        path.push_str(if length > 0 { "." } else { "" });
        path.push_str(key);
        walk(value, path, text, found);
        path.truncate(length);
    };
    match json {
        Json::Object(members) => members.iter().for_each(|(key, value)| inner(key, value)),
        Json::Array(items) => items.iter().enumerate().for_each(|(i, value)| inner(&i.to_string(), value)),
        leaf if leaf.scalar().is_some_and(|scalar| scalar == text) => found.push(path.clone()),
        _ => {}
    }
}

fn print(cell: Cell<'_>) -> String {
    match cell {
        Cell::Text(text) => text.to_owned(),
        Cell::Long(n) => n.to_string(),
        Cell::Int(n) => n.to_string(),
        Cell::Double(f) => f.to_string(),
        Cell::Flag(flag) => flag.to_string(),
        Cell::Bytes(bytes) => hex(bytes),
        Cell::Texts(all) => all.join(", "),
        Cell::Structs(all) => all.iter().map(|one| check::printed(one)).collect::<Vec<_>>().join(", "),
        Cell::Map(all) => all.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", "),
    }
}
