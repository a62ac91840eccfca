//! A strict, bounded JSON reader that loses nothing: number text, key order and repeated keys stay.
//!
//! Why our own: audit records hold integers beyond 2^53, repeated keys in one object, and hostile
//! depth, and each of those must be seen, not rounded, merged or crashed on. Strings borrow from the
//! input unless they hold escapes.
//!
//! Limits: nesting 64, values 2,000,000 in one text (a record of 20 MB holds some 1,200,000). Lone surrogates become U+FFFD. Input must be
//! UTF-8 (RFC 8259 clause 8.1); a byte order mark is skipped.
//!
//! Not for: writing typed data, or speed records; the parser reads every value once.

mod parser;

use std::borrow::Cow;
use std::fmt::Write as _;

use parser::{Parser, plain_run};

/// Most elements in one record.
pub const MAX_ELEMENTS: usize = 50_000;

/// Deepest nesting that is read.
pub const MAX_DEPTH: usize = 64;
/// Most values (scalars and containers) in one text.
pub const MAX_VALUES: usize = 2_000_000;

/// Most members of an object whose keys are compared pair by pair.
const MAX_PAIRWISE: usize = 24;

/// A JSON value that borrows from its text.
#[derive(Debug, Clone, PartialEq)]
pub enum Json<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as its source text.
    Number(Cow<'a, str>),
    /// A string, unescaped.
    Text(Cow<'a, str>),
    /// An array.
    Array(Vec<Json<'a>>),
    /// An object in source order; a key may stand there twice.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// Why a text is not JSON that we read. Offsets are bytes from the start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not UTF-8.
    #[error("not UTF-8 at byte {0}")]
    NotUtf8(usize),
    /// Not JSON.
    #[error("not JSON at byte {at}: {what}")]
    Syntax {
        /// Where.
        at: usize,
        /// What was expected or found.
        what: &'static str,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// More than [`MAX_VALUES`] values.
    #[error("more than {MAX_VALUES} values")]
    TooMany,
    /// More than [`MAX_ELEMENTS`] elements in one record.
    #[error("more than {} elements in one record", MAX_ELEMENTS)]
    TooManyElements,
}

/// Reads one JSON text.
///
/// # Errors
/// [`JsonError`] says what is wrong and where.
pub fn parse(bytes: &[u8]) -> Result<Json<'_>, JsonError> {
    parse_counted(bytes, &mut 0)
}

/// As [`parse`], where several texts share [`MAX_VALUES`]: `values` counts what was read before and grows.
///
/// # Errors
/// [`JsonError`] says what is wrong and where.
pub fn parse_counted<'a>(bytes: &'a [u8], values: &mut usize) -> Result<Json<'a>, JsonError> {
    let mut parser = Parser::new(text_of(bytes)?);
    parser.values = *values;
    parser.space();
    let value = parser.value(0)?;
    parser.space();
    if parser.at < parser.bytes.len() {
        return Err(parser.syntax("text after the value"));
    }
    *values = parser.values;
    Ok(value)
}

/// The values of a text, and what was seen while they were read.
#[derive(Debug)]
pub struct Many<'a> {
    /// The values, in order.
    pub values: Vec<Json<'a>>,
    /// Whether the text is exactly what [`Json::compact`] prints of the one value in it.
    pub is_compact: bool,
    /// False when no key stands twice in one object; else [`Json::repeated_key`] tells.
    pub may_repeat: bool,
}

/// All values of a text that holds one after the other, NDJSON or concatenated JSON.
///
/// # Errors
/// The first value that is not JSON ends the reading with its error.
pub fn parse_many<'a>(bytes: &'a [u8], values: &mut usize) -> Result<Many<'a>, JsonError> {
    let text = text_of(bytes)?;
    let mut parser = Parser::new(text);
    parser.values = *values;
    let mut found = Vec::new();
    parser.space();
    while parser.at < parser.bytes.len() {
        found.push(parser.value(0)?);
        parser.space();
    }
    *values = parser.values;
    let is_compact = parser.is_compact && found.len() == 1 && text.len() == bytes.len();
    Ok(Many { values: found, is_compact, may_repeat: parser.may_repeat })
}

/// The steps of a path. Byte by byte: they are short, and looking for a dot several bytes at a time costs more.
fn steps(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(path);
    std::iter::from_fn(move || {
        let here = rest?;
        let dot = here.bytes().position(|b| b == b'.');
        rest = dot.map(|at| &here[at + 1..]);
        Some(dot.map_or(here, |at| &here[..at]))
    })
}

fn text_of(bytes: &[u8]) -> Result<&str, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|e| JsonError::NotUtf8(e.valid_up_to()))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

impl<'a> Json<'a> {
    /// The last value under `key`, as most readers take it.
    pub fn get(&self, key: &str) -> Option<&Json<'a>> {
        match self {
            Json::Object(members) => members.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The value at a path of keys and array indexes, such as `client.ipAddress` or `target.0.id`.
    pub fn at(&self, path: &str) -> Option<&Json<'a>> {
        steps(path).try_fold(self, Json::step)
    }

    /// One step of a path: the value under a key, or at an index.
    pub(crate) fn step(&self, step: &str) -> Option<&Json<'a>> {
        match self {
            Json::Array(items) => items.get(step.parse::<usize>().ok()?),
            _ => self.get(step),
        }
    }

    /// As [`Json::step`], to change the value.
    pub(crate) fn step_mut(&mut self, step: &str) -> Option<&mut Json<'a>> {
        match self {
            Json::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
            Json::Object(members) => members.iter_mut().rev().find(|(k, _)| k == step).map(|(_, v)| v),
            _ => None,
        }
    }

    /// Whether there is nothing in it: `null`, `""`, `[]` or `{}`.
    pub fn is_empty(&self) -> bool {
        match self {
            Json::Null => true,
            Json::Text(text) => text.is_empty(),
            Json::Array(items) => items.is_empty(),
            Json::Object(members) => members.is_empty(),
            Json::Bool(_) | Json::Number(_) => false,
        }
    }

    /// The text of a string that is not empty.
    pub fn text(&self) -> Option<&str> {
        match self {
            Json::Text(t) if !t.is_empty() => Some(t),
            _ => None,
        }
    }

    /// Text of a string, number or boolean: for ids that are strings in one release, numbers in another.
    pub fn scalar(&self) -> Option<String> {
        match self {
            Json::Text(t) if !t.is_empty() => Some(t.to_string()),
            Json::Number(n) => Some(n.to_string()),
            Json::Bool(b) => Some(b.to_string()),
            _ => None,
        }
    }

    /// An integer from a number or a string that holds one; `1.0` and `1e3` count as integers.
    pub fn integer(&self) -> Option<i64> {
        let text = match self {
            Json::Number(n) => n.as_ref(),
            Json::Text(t) => t.as_ref(),
            _ => return None,
        };
        text.parse().ok().or_else(|| {
            let float: f64 = text.parse().ok()?;
            // 2^53: beyond it a double no longer names one integer.
            (float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0).then_some(float as i64)
        })
    }

    /// A finite float from a number or a string that holds one.
    pub fn double(&self) -> Option<f64> {
        let text = match self {
            Json::Number(n) => n.as_ref(),
            Json::Text(t) => t.as_ref(),
            _ => return None,
        };
        text.parse::<f64>().ok().filter(|f| f.is_finite())
    }

    /// A boolean, also as the strings `true` and `false`.
    pub fn flag(&self) -> Option<bool> {
        match self {
            Json::Bool(b) => Some(*b),
            Json::Text(t) => match t.to_ascii_lowercase().as_str() {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// Texts of an array, or of one string split at white space and commas (`scope`, `aud`).
    pub fn texts(&self) -> Option<Vec<String>> {
        let list: Vec<String> = match self {
            Json::Array(items) => items.iter().filter_map(Json::scalar).collect(),
            Json::Text(t) => t.split([' ', ',']).filter(|s| !s.is_empty()).map(str::to_owned).collect(),
            _ => return None,
        };
        (!list.is_empty()).then_some(list)
    }

    /// Members of an object, else none.
    pub fn members(&self) -> &[(Cow<'a, str>, Json<'a>)] {
        match self {
            Json::Object(members) => members,
            _ => &[],
        }
    }

    /// Items of an array, else none.
    pub fn items(&self) -> &[Json<'a>] {
        match self {
            Json::Array(items) => items,
            _ => &[],
        }
    }

    /// The first key that stands twice in one object, anywhere inside.
    pub fn repeated_key(&self) -> Option<&str> {
        match self {
            Json::Array(items) => items.iter().find_map(Json::repeated_key),
            Json::Object(members) => repeated(members).or_else(|| members.iter().find_map(|(_, v)| v.repeated_key())),
            _ => None,
        }
    }

    /// Prints with sorted keys and no white space; numbers keep their text. The base of content ids.
    pub fn canonical(&self) -> String {
        let mut out = String::new();
        self.print(&mut out, true);
        out
    }

    /// Prints in source order without white space.
    pub fn compact(&self) -> String {
        let size_bytes = match self {
            Json::Text(text) => text.len() + 2,
            Json::Number(digits) => digits.len(),
            _ => 8,
        };
        self.compact_sized(size_bytes)
    }

    /// Prints as [`Json::compact`] does, at the end of a text.
    pub(crate) fn print_compact(&self, out: &mut String) {
        self.print(out, false);
    }

    /// As [`Json::compact`], into a text of about this size.
    pub fn compact_sized(&self, size_bytes: usize) -> String {
        let mut out = String::with_capacity(size_bytes);
        self.print(&mut out, false);
        out
    }

    /// The same value with nothing borrowed.
    pub fn into_owned(self) -> Json<'static> {
        match self {
            Json::Null => Json::Null,
            Json::Bool(b) => Json::Bool(b),
            Json::Number(n) => Json::Number(Cow::Owned(n.into_owned())),
            Json::Text(t) => Json::Text(Cow::Owned(t.into_owned())),
            Json::Array(items) => Json::Array(items.into_iter().map(Json::into_owned).collect()),
            Json::Object(members) => {
                let owned = |(k, v): (Cow<'a, str>, Json<'a>)| (Cow::Owned(k.into_owned()), v.into_owned());
                Json::Object(members.into_iter().map(owned).collect())
            }
        }
    }

    fn print(&self, out: &mut String, sorted: bool) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Json::Number(n) => out.push_str(n),
            Json::Text(t) => print_text(t, out),
            Json::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.print(out, sorted);
                }
                out.push(']');
            }
            Json::Object(members) => {
                if !sorted || members.is_sorted_by(|a, b| a.0 <= b.0) {
                    return print_members(members.iter(), out, sorted);
                }
                let mut order: Vec<_> = members.iter().collect();
                order.sort_by(|a, b| a.0.cmp(&b.0));
                print_members(order.into_iter(), out, sorted);
            }
        }
    }
}

fn print_members<'m, 'a: 'm>(members: impl Iterator<Item = &'m (Cow<'a, str>, Json<'a>)>, out: &mut String, sorted: bool) {
    out.push('{');
    for (i, (key, value)) in members.enumerate() {
        if i > 0 {
            out.push(',');
        }
        print_text(key, out);
        out.push(':');
        value.print(out, sorted);
    }
    out.push('}');
}

/// A key that stands twice in one object. Small objects are compared pair by pair, which needs no memory.
fn repeated<'j>(members: &'j [(Cow<'_, str>, Json<'_>)]) -> Option<&'j str> {
    if members.len() <= MAX_PAIRWISE {
        let later = |i: usize| members[i + 1..].iter().any(|(k, _)| *k == members[i].0);
        return (0..members.len()).find(|i| later(*i)).map(|i| members[i].0.as_ref());
    }
    let mut keys: Vec<&str> = members.iter().map(|(k, _)| k.as_ref()).collect();
    keys.sort_unstable();
    keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

/// Prints a JSON string with its quotes.
pub fn print_text(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    loop {
        let (plain, special) = rest.split_at(plain_run(rest.as_bytes()));
        out.push_str(plain);
        let Some(c) = special.chars().next() else { break };
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Writing to a string cannot fail.
            c => drop(write!(out, "\\u{:04x}", c as u32)),
        }
        // Every special character is one byte.
        rest = &special[1..];
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_text_and_keys_their_order() {
        let json = parse(br#"{"b":12345678901234567890.123,"a":[1e400,-0]}"#).unwrap();
        assert_eq!(json.compact(), r#"{"b":12345678901234567890.123,"a":[1e400,-0]}"#);
        assert_eq!(json.canonical(), r#"{"a":[1e400,-0],"b":12345678901234567890.123}"#);
        assert_eq!(json.at("a.0").unwrap().double(), None);
    }

    #[test]
    fn a_repeated_key_is_seen_and_the_last_one_wins() {
        let json = parse(br#"{"x":{"k":1,"k":2}}"#).unwrap();
        assert_eq!(json.repeated_key(), Some("k"));
        let may_repeat = |text: &str| parse_many(text.as_bytes(), &mut 0).unwrap().may_repeat;
        let many = |keys: usize| format!("{{{}}}", (0..keys).map(|n| format!("\"k{n}\":{n}")).collect::<Vec<_>>().join(","));
        assert!(may_repeat(r#"[{"x":{"k":1,"j":{},"k":2}}]"#) && may_repeat(r#"{"":1,"":2}"#) && may_repeat(&many(MAX_PAIRWISE + 1)));
        assert!(!may_repeat(r#"{"k":{"k":[{"k":1},{"k":2}]},"":1} {"k":1}"#) && !may_repeat(&many(MAX_PAIRWISE)));
        assert_eq!(json.at("x.k").unwrap().integer(), Some(2));
    }

    #[test]
    fn hostile_nesting_is_refused_and_does_not_overflow_the_stack() {
        let deep = "[".repeat(100_000);
        assert_eq!(parse(deep.as_bytes()), Err(JsonError::TooDeep));
        let wide = format!("[{}1]", "1,".repeat(MAX_VALUES));
        assert_eq!(parse(wide.as_bytes()), Err(JsonError::TooMany));
    }

    #[test]
    fn it_agrees_with_serde_json_on_what_is_json() {
        for text in [
            "",
            "{",
            "{}",
            "[]",
            "[1,]",
            "01",
            "1.",
            "-",
            "1e",
            "\"\\x\"",
            "\"\\u12\"",
            "nul",
            "true ",
            " \"a\\n\"",
            "{\"a\":1,}",
            "\"\t\"",
            "[1 2]",
            "1 1",
            "\"\\ud83d\\ude00\"",
            "{\"a\" :\r\n[null,false]}",
        ] {
            let ours = parse(text.as_bytes());
            let oracle = serde_json::from_str::<serde_json::Value>(text);
            assert_eq!(ours.is_ok(), oracle.is_ok(), "{text:?}: {ours:?} against {oracle:?}");
            if let (Ok(ours), Ok(oracle)) = (ours, oracle) {
                assert_eq!(serde_json::from_str::<serde_json::Value>(&ours.compact()).unwrap(), oracle);
            }
        }
    }

    #[test]
    fn a_lone_surrogate_becomes_the_replacement_character() {
        assert_eq!(parse(br#""a\ud800b""#).unwrap().text(), Some("a\u{fffd}b"));
    }
}
