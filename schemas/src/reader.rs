//! Reads fields of one element by path and remembers which were read; the rest becomes `ext`.
//!
//! So an adapter never has to list what it did not map, and nothing is lost when it is wrong.

use std::cell::RefCell;

use crate::json::Json;
use crate::time::{self, TimeFormat};

/// Most leaves kept in `ext`.
pub const MAX_EXT: usize = 64;
/// Most bytes of one leaf in `ext`.
pub const MAX_EXT_BYTES: usize = 1024;

/// A reading view of one element.
#[derive(Debug)]
pub struct Reader<'a> {
    json: &'a Json<'a>,
    used: RefCell<Vec<String>>,
    faults: RefCell<Vec<String>>,
}

/// A time that was read, with its source text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeField {
    /// Microseconds since 1970, UTC.
    pub micros: i64,
    /// The source's text or number.
    pub raw: String,
    /// True when the text had no zone.
    pub zone_assumed: bool,
}

impl<'a> Reader<'a> {
    /// A reader of this element.
    pub fn new(json: &'a Json<'a>) -> Self {
        Self { json, used: RefCell::default(), faults: RefCell::default() }
    }

    /// The value at a path; counts as mapped.
    pub fn at(&self, path: &str) -> Option<&'a Json<'a>> {
        self.used(path);
        self.json.at(path)
    }

    /// Counts a path as mapped.
    pub fn used(&self, path: &str) {
        self.used.borrow_mut().push(path.to_owned());
    }

    /// A look at a path that does not count as mapped.
    pub fn peek(&self, path: &str) -> Option<&'a Json<'a>> {
        self.json.at(path)
    }

    /// Text at a path. Known spellings of nothing (`null`, `unknown`, `-`) read as missing.
    pub fn text(&self, path: &str) -> Option<String> {
        self.at(path).and_then(Json::scalar).filter(|t| !is_nothing(t))
    }

    /// Integer at a path.
    pub fn integer(&self, path: &str) -> Option<i64> {
        self.at(path).and_then(Json::integer)
    }

    /// Boolean at a path.
    pub fn flag(&self, path: &str) -> Option<bool> {
        self.at(path).and_then(Json::flag)
    }

    /// Float at a path.
    pub fn double(&self, path: &str) -> Option<f64> {
        self.at(path).and_then(Json::double)
    }

    /// Texts at a path: an array, or one string split at spaces and commas.
    pub fn texts(&self, path: &str) -> Option<Vec<String>> {
        self.at(path).and_then(Json::texts)
    }

    /// Time at a path; a value that is no time becomes a fault of the element.
    pub fn time(&self, path: &str, format: TimeFormat) -> Option<TimeField> {
        let value = self.at(path)?;
        if matches!(value, Json::Null) {
            return None;
        }
        match time::read(value, format) {
            Ok(read) => {
                let raw = value.scalar().unwrap_or_default();
                Some(TimeField { micros: read.micros, raw, zone_assumed: read.zone_assumed })
            }
            Err(error) => {
                self.fault(format!("{path}: {error}"));
                None
            }
        }
    }

    /// Notes that something could not be read.
    pub fn fault(&self, sentence: String) {
        let mut faults = self.faults.borrow_mut();
        if faults.len() < 16 {
            faults.push(sentence);
        }
    }

    /// What could not be read so far.
    pub fn faults(&self) -> Vec<String> {
        self.faults.borrow().clone()
    }

    /// Leaves that nothing read: path and JSON text.
    pub fn rest(&self) -> Vec<(String, String)> {
        let used = self.used.borrow();
        let mut out = Vec::new();
        collect(self.json, &mut String::new(), &used, &mut out);
        out
    }
}

/// Spellings of a missing value that real sources use (trap 6 of the source notes).
fn is_nothing(text: &str) -> bool {
    matches!(text, "null" | "unknown" | "-" | "none" | "undefined")
}

fn collect(value: &Json<'_>, path: &mut String, used: &[String], out: &mut Vec<(String, String)>) {
    if out.len() >= MAX_EXT || used.iter().any(|u| u == path) {
        return;
    }
    let inner = |key: &str, value: &Json<'_>, path: &mut String, out: &mut Vec<(String, String)>| {
        let length = path.len();
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key);
        collect(value, path, used, out);
        path.truncate(length);
    };
    match value {
        Json::Object(members) => members.iter().for_each(|(k, v)| inner(k, v, path, out)),
        Json::Array(items) => items.iter().enumerate().for_each(|(i, v)| inner(&i.to_string(), v, path, out)),
        Json::Null => {}
        leaf => {
            let mut text = leaf.compact();
            if text.len() > MAX_EXT_BYTES {
                let end = (0..=MAX_EXT_BYTES).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
                text.truncate(end);
            }
            out.push((path.clone(), text));
        }
    }
}
