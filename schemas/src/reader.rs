//! Reads fields of one element by path and remembers which were read; the rest becomes `ext`.
//!
//! So an adapter never has to list what it did not map, and nothing is lost when it is wrong.

use std::borrow::Cow;
use std::cell::RefCell;

use crate::cell::TextMap;
use crate::json::Json;
use crate::time::{self, TimeFormat};

/// Most leaves kept in `ext`.
pub const MAX_EXT: usize = 64;
/// Most bytes of one leaf in `ext`.
pub const MAX_EXT_BYTES: usize = 1024;
/// Most bytes of the path of a leaf in `ext`.
const MAX_EXT_PATH: usize = 256;

/// Values that an adapter reads, and there is room for from the start.
const USUAL_USED: usize = 64;

/// A reading view of one element.
#[derive(Debug)]
pub struct Reader<'a> {
    json: &'a Json<'a>,
    /// The values that were read, each by where it lies: a path of them would be compared with every leaf.
    used: RefCell<Vec<usize>>,
    faults: RefCell<Vec<String>>,
    /// Where the last value lay.
    last: RefCell<Option<Container<'a>>>,
}

/// The container of a value, with its path; its fields are mostly read one after the other.
#[derive(Debug)]
struct Container<'a> {
    path: String,
    found: Option<&'a Json<'a>>,
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
        Self { json, used: RefCell::new(Vec::with_capacity(USUAL_USED)), faults: RefCell::default(), last: RefCell::default() }
    }

    fn find(&self, path: &str) -> Option<&'a Json<'a>> {
        let Some(dot) = path.bytes().rposition(|b| b == b'.') else { return self.json.step(path) };
        let (parent, mut last) = (&path[..dot], self.last.borrow_mut());
        let last = last.get_or_insert_with(|| Container { path: parent.to_owned(), found: self.json.at(parent) });
        if last.path != parent {
            parent.clone_into(&mut last.path);
            last.found = self.json.at(parent);
        }
        last.found?.step(&path[dot + 1..])
    }

    /// The value at a path; counts as mapped.
    pub fn at(&self, path: &str) -> Option<&'a Json<'a>> {
        self.find(path).inspect(|value| self.used(value))
    }

    /// Counts a value of the element as mapped, with all that is in it.
    pub fn used(&self, value: &Json<'a>) {
        self.used.borrow_mut().push(place(value));
    }

    /// A look at a path that does not count as mapped.
    pub fn peek(&self, path: &str) -> Option<&'a Json<'a>> {
        self.find(path)
    }

    /// The whole element.
    pub fn peek_all(&self) -> &'a Json<'a> {
        self.json
    }

    /// Text at a path. Known spellings of nothing (`null`, `unknown`, `-`) read as missing.
    pub fn text(&self, path: &str) -> Option<String> {
        self.typed(path, "text", Json::scalar).filter(|t| !is_nothing(t))
    }

    /// Text at a path when it is of a kind; else it stays unread and so goes to `ext`.
    pub fn text_if(&self, path: &str, is_of_kind: impl Fn(&str) -> bool) -> Option<String> {
        let value = self.find(path)?;
        let text = value.scalar().filter(|t| is_of_kind(t))?;
        self.used(value);
        Some(text)
    }

    /// An object at a path; another type becomes a fault, and stays unread.
    pub fn object(&self, path: &str) -> Option<&'a Json<'a>> {
        let value = self.find(path).filter(|v| !v.is_empty())?;
        if let Json::Object(_) = value {
            self.used(value);
            return Some(value);
        }
        self.fault(format!("{path} is no object"));
        None
    }

    /// Integer at a path.
    pub fn integer(&self, path: &str) -> Option<i64> {
        self.typed(path, "integer", Json::integer)
    }

    /// Boolean at a path.
    pub fn flag(&self, path: &str) -> Option<bool> {
        self.typed(path, "boolean", Json::flag)
    }

    /// Float at a path.
    pub fn double(&self, path: &str) -> Option<f64> {
        self.typed(path, "finite number", Json::double)
    }

    /// Texts at a path: an array, or one string split at spaces and commas.
    pub fn texts(&self, path: &str) -> Option<Vec<String>> {
        self.typed(path, "list of texts", Json::texts)
    }

    /// The items of an array at a path; one object where a list belongs is a list of one.
    pub fn items(&self, path: &str) -> &'a [Json<'a>] {
        match self.find(path) {
            Some(list @ Json::Array(items)) => {
                self.used(list);
                items
            }
            Some(object @ Json::Object(_)) => {
                self.used(object);
                std::slice::from_ref(object)
            }
            None | Some(Json::Null) => &[],
            Some(_) => {
                self.fault(format!("{path} is no list"));
                &[]
            }
        }
    }

    /// A value of a type; another type becomes a fault, and the value stays unread and so goes to `ext`.
    fn typed<T>(&self, path: &str, wanted: &str, read: impl Fn(&Json<'a>) -> Option<T>) -> Option<T> {
        let value = self.find(path)?;
        let found = read(value);
        if found.is_some() || value.is_empty() {
            self.used(value);
        } else {
            self.fault(format!("{path} is no {wanted}"));
        }
        found
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

    /// Leaves that nothing read: path and JSON text. `is_repetitive` says that a key stands twice in some object.
    pub fn rest(&self, is_repetitive: bool) -> TextMap {
        let used = Places::of(&self.used.borrow());
        let (path, leaves) = (String::with_capacity(MAX_EXT_PATH), TextMap::with_usual_room());
        let mut rest = Rest { used, may_meet: is_repetitive, path, odd_steps: 0, leaves };
        if !rest.used.has(place(self.json)) {
            rest.collect(self.json, 0);
        }
        rest.leaves.with_less_room()
    }
}

/// Spellings of a missing value that real sources use (trap 6 of the source notes).
pub(crate) fn is_nothing(text: &str) -> bool {
    matches!(text, "null" | "unknown" | "-" | "none" | "undefined")
}

/// Where a value lies: no two values of one element lie in one place.
fn place(value: &Json<'_>) -> usize {
    std::ptr::from_ref(value).addr()
}

/// A set of places, which mostly says no: of every value of an element it is asked whether it was read.
struct Places {
    /// In order.
    all: Vec<usize>,
    /// A bit for some of a place: where it is not set, none of the places is.
    marks: [u64; Self::MARKS / 64],
}

impl Places {
    const MARKS: usize = 1024;

    fn of(places: &[usize]) -> Self {
        let mut marks = [0; Self::MARKS / 64];
        for place in places {
            let mark = Self::mark(*place);
            marks[mark / 64] |= 1 << (mark % 64);
        }
        let mut all = places.to_vec();
        all.sort_unstable();
        Self { all, marks }
    }

    fn has(&self, place: usize) -> bool {
        let mark = Self::mark(place);
        self.marks[mark / 64] >> (mark % 64) & 1 == 1 && self.all.binary_search(&place).is_ok()
    }

    /// Multiplied by the golden ratio, the upper bits differ also between neighbours (Knuth, volume 3, 6.4).
    fn mark(place: usize) -> usize {
        ((place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize
    }
}

/// Leaves that do not lie in one of the `used` places, nor in a value that does.
struct Rest {
    used: Places,
    /// Whether two leaves can have one path: by keys that repeat, or that hold what joins the steps of a path, or because one was cut.
    may_meet: bool,
    /// Where the walk stands.
    path: String,
    /// How many steps of the path hold what joins steps, or nothing.
    odd_steps: usize,
    leaves: TextMap,
}

impl Rest {
    /// What is in a value that was not read.
    fn collect(&mut self, value: &Json<'_>, depth: usize) {
        match value {
            Json::Object(members) => members.iter().for_each(|(key, member)| self.step(key, member, depth)),
            Json::Array(items) => items.iter().enumerate().for_each(|(i, item)| self.step(&i.to_string(), item, depth)),
            Json::Null => {}
            leaf => self.take(leaf),
        }
    }

    fn step(&mut self, step: &str, value: &Json<'_>, depth: usize) {
        if matches!(value, Json::Null) || self.leaves.len() >= MAX_EXT || self.used.has(place(value)) {
            return;
        }
        let before = self.path.len();
        if depth > 0 {
            self.path.push('.');
        }
        self.path.push_str(step);
        let is_odd = usize::from(step.is_empty() || step.bytes().any(|b| matches!(b, b'.' | b'#')));
        self.odd_steps += is_odd;
        self.collect(value, depth + 1);
        self.odd_steps -= is_odd;
        self.path.truncate(before);
    }

    fn take(&mut self, leaf: &Json<'_>) {
        let path = &self.path[..self.path.floor_char_boundary(MAX_EXT_PATH)];
        self.may_meet |= self.odd_steps > 0 || path.len() < self.path.len();
        let path = if self.may_meet { Cow::Owned(unlike(path, &self.leaves)) } else { Cow::Borrowed(path) };
        self.leaves.push_written(&path, |text| {
            let start = text.len();
            leaf.print_compact(text);
            text.truncate(text.floor_char_boundary(start + MAX_EXT_BYTES));
        });
    }
}

/// A path that no other leaf has: repeated keys and cut paths get a number, for keys of a map are unique.
fn unlike(path: &str, others: &TextMap) -> String {
    let taken = |candidate: &str| others.iter().any(|(other, _)| other == candidate);
    if !taken(path) {
        return path.to_owned();
    }
    (2..).map(|n| format!("{path}#{n}")).find(|candidate| !taken(candidate)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn no_two_leaves_have_one_path_also_where_one_was_cut() {
        let (long, cut) = ("k".repeat(MAX_EXT_PATH + 9), "k".repeat(MAX_EXT_PATH));
        let text = format!(r#"{{"{long}":1,"{cut}":2,"a":{{"b":3}},"a.b":4}}"#);
        let json = json::parse(text.as_bytes()).unwrap();
        let reader = Reader::new(&json);
        let rest = reader.rest(false);
        let paths: Vec<&str> = rest.iter().map(|(path, _)| path).collect();
        assert_eq!(paths, [cut.as_str(), &format!("{cut}#2"), "a.b", "a.b#2"]);
        // Whoever read the whole element read all that is in it.
        reader.used(&json);
        assert!(reader.rest(false).is_empty());
    }
}
