//! The one stage that takes envelopes off before an adapter sees anything.
//!
//! Compression (gzip, zstd, told by magic bytes), then JSON framing (one value, an array, NDJSON),
//! then the wrappers that real feeds use: `{"records": [...]}` of Event Hubs, `{"log": "<json>"}`
//! of Kubernetes shippers, CloudEvents, EventBridge `detail`, Okta event hooks, OpenTelemetry exports. One bad element
//! never fails its neighbours: it becomes a [`Element::Bad`].
//!
//! Limits: 3 layers of compression, 64 MiB unpacked from one layer, 50,000 elements. 2 KB that unpack to 1.5 MB is normal for
//! OPA; 10 KB to 10 GB is refused.

use std::borrow::Cow;
use std::io::Read;

use crate::json::{self, Json, MAX_ELEMENTS};
use crate::otlp;

/// Most bytes that one record may unpack to.
pub const MAX_UNPACKED_BYTES: u64 = 64 << 20;

/// Most compressions, one inside the other, that are taken off.
pub const MAX_LAYERS: usize = 3;
/// Most wrappers, one inside the other, that are taken off.
const MAX_WRAPPERS: usize = 4;

/// Bytes of a record without compression.
#[derive(Debug)]
pub struct Unpacked<'a> {
    /// The bytes.
    pub bytes: Cow<'a, [u8]>,
    /// Names of what was taken off, outermost first.
    pub taken_off: Vec<&'static str>,
}

/// Why a record cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The compressed data is damaged or cut.
    #[error("the {0} data cannot be unpacked")]
    Damaged(&'static str, #[source] std::io::Error),
    /// It unpacks to more than [`MAX_UNPACKED_BYTES`].
    #[error("the {0} data unpacks to more than {MAX_UNPACKED_BYTES} bytes")]
    TooLarge(&'static str),
    /// Compressed more than [`MAX_LAYERS`] times over.
    #[error("compressed more than {MAX_LAYERS} times over")]
    TooManyLayers,
}

/// One element of a record.
#[derive(Debug)]
pub enum Element<'a> {
    /// JSON with the envelope that it came in and its path there.
    Good {
        /// The element.
        json: Json<'a>,
        /// Names of the wrappers, outermost first.
        envelope: Vec<&'static str>,
        /// The text that it was read from, where that is what [`Json::compact`] prints of it.
        text: Option<&'a [u8]>,
        /// False when no key stands twice in one object of it.
        may_repeat: bool,
    },
    /// A part that is no JSON, with its bytes.
    Bad {
        /// What stood there.
        bytes: Vec<u8>,
        /// Why it is no JSON.
        error: json::JsonError,
    },
}

/// Takes compression off.
///
/// # Errors
/// [`UnpackError`] when the data is damaged or unpacks to too much.
pub fn unpack(payload: &[u8]) -> Result<Unpacked<'_>, UnpackError> {
    let mut unpacked = Unpacked { bytes: Cow::Borrowed(payload), taken_off: Vec::new() };
    while let Some((name, inner)) = layer(&unpacked.bytes, unpacked.taken_off.len())? {
        unpacked.bytes = Cow::Owned(inner);
        unpacked.taken_off.push(name);
    }
    Ok(unpacked)
}

/// One layer off, or `None` when the bytes are not compressed.
fn layer(bytes: &[u8], taken: usize) -> Result<Option<(&'static str, Vec<u8>)>, UnpackError> {
    let name = match bytes {
        [0x1f, 0x8b, ..] => "gzip",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
        _ => return Ok(None),
    };
    if taken == MAX_LAYERS {
        return Err(UnpackError::TooManyLayers);
    }
    let inner = if name == "gzip" {
        read_bounded(name, flate2::read::MultiGzDecoder::new(bytes))?
    } else {
        read_bounded(name, zstd::stream::read::Decoder::new(bytes).map_err(|e| UnpackError::Damaged(name, e))?)?
    };
    Ok(Some((name, inner)))
}

fn read_bounded(name: &'static str, reader: impl Read) -> Result<Vec<u8>, UnpackError> {
    let mut bytes = Vec::new();
    let read = reader.take(MAX_UNPACKED_BYTES + 1).read_to_end(&mut bytes).map_err(|e| UnpackError::Damaged(name, e))?;
    if read as u64 > MAX_UNPACKED_BYTES {
        return Err(UnpackError::TooLarge(name));
    }
    Ok(bytes)
}

/// Splits unpacked bytes into elements. Wrappers named in `kept` are left on.
///
/// # Errors
/// [`json::JsonError::TooManyElements`] above [`MAX_ELEMENTS`], or the first error when nothing in the bytes is JSON.
pub fn elements<'a>(bytes: &'a [u8], kept: &'static [&'static str]) -> Result<Vec<Element<'a>>, json::JsonError> {
    let mut split = Split::new(kept);
    match json::parse_many(bytes, &mut split.values) {
        Ok(json::Many { values, is_compact, may_repeat }) => {
            split.may_repeat = may_repeat;
            let framing = if values.len() > 1 { vec!["ndjson"] } else { Vec::new() };
            values.into_iter().for_each(|value| split.explode(value, framing.clone(), 0));
            if let ([Element::Good { envelope, text, .. }], true) = (&mut split.found[..], is_compact)
                && envelope.is_empty()
            {
                *text = Some(bytes);
            }
        }
        Err(error) => split.by_line(bytes, error)?,
    }
    split.all()
}

/// The elements of JSON that was something else before.
///
/// # Errors
/// As [`elements`].
pub fn elements_of(value: Json<'_>) -> Result<Vec<Element<'_>>, json::JsonError> {
    let mut split = Split::new(&[]);
    split.explode(value, Vec::new(), 0);
    split.all()
}

/// Elements so far, and the JSON values that all of them hold together.
struct Split<'a> {
    found: Vec<Element<'a>>,
    values: usize,
    /// False when it is known that no key stands twice in one object.
    may_repeat: bool,
    /// Wrappers that are left on, because the adapter reads them.
    kept: &'static [&'static str],
}

impl<'a> Split<'a> {
    fn new(kept: &'static [&'static str]) -> Self {
        Self { found: Vec::new(), values: 0, may_repeat: true, kept }
    }

    fn all(self) -> Result<Vec<Element<'a>>, json::JsonError> {
        if self.found.len() > MAX_ELEMENTS { Err(json::JsonError::TooManyElements) } else { Ok(self.found) }
    }

    /// NDJSON with a bad line: the good lines are kept.
    fn by_line(&mut self, bytes: &'a [u8], error: json::JsonError) -> Result<(), json::JsonError> {
        // Only `\n` separates: U+2028 and U+0085 stand inside real strings.
        let lines = || bytes.split(|b| *b == b'\n').filter(|l| !l.iter().all(u8::is_ascii_whitespace));
        // A line of a damaged document in many lines can be a scalar; only a whole object or array is an element.
        let is_element = |line: &[u8]| matches!(json::parse(line), Ok(Json::Object(_) | Json::Array(_)));
        if lines().nth(1).is_none() || !lines().any(is_element) {
            return Err(error);
        }
        for line in lines() {
            match json::parse_counted(line, &mut self.values) {
                Ok(value) => self.explode(value, vec!["ndjson"], 0),
                Err(error) => self.found.push(Element::Bad { bytes: line.to_vec(), error }),
            }
            if self.found.len() > MAX_ELEMENTS {
                break;
            }
        }
        Ok(())
    }

    fn good(&mut self, json: Json<'a>, envelope: Vec<&'static str>) {
        self.found.push(Element::Good { json, envelope, text: None, may_repeat: self.may_repeat });
    }

    fn explode(&mut self, value: Json<'a>, mut envelope: Vec<&'static str>, depth: usize) {
        if self.found.len() > MAX_ELEMENTS {
            return;
        }
        match if depth < MAX_WRAPPERS { wrapper_of(&value) } else { Wrapper::None } {
            Wrapper::None => self.good(value, envelope),
            Wrapper::Array => {
                envelope.push("array");
                let Json::Array(items) = value else { return };
                items.into_iter().for_each(|item| self.explode(item, envelope.clone(), depth + 1));
            }
            Wrapper::Otlp => {
                match otlp::records(&value) {
                    None => {
                        let (bytes, error) = (value.compact().into_bytes(), json::JsonError::TooMany);
                        self.found.push(Element::Bad { bytes, error });
                    }
                    // Nothing inside: the adapter says what it is.
                    Some(records) if records.is_empty() => self.good(value, envelope),
                    Some(records) => {
                        envelope.push("otlp");
                        // Its objects are made of lists of keys and values.
                        self.may_repeat = true;
                        records.into_iter().for_each(|record| self.explode(record, envelope.clone(), depth + 1));
                    }
                }
            }
            Wrapper::Member(name, _) if self.kept.contains(&name) => self.good(value, envelope),
            Wrapper::Member(name, path) => {
                envelope.push(name);
                let Some(inner) = take(value, path) else { return };
                self.explode(inner, envelope, depth + 1);
            }
            Wrapper::TextMember(name, key) => {
                let text = value.get(key).and_then(Json::text).unwrap_or_default();
                match json::parse_counted(text.as_bytes(), &mut self.values).map(Json::into_owned) {
                    Ok(inner) => {
                        envelope.push(name);
                        self.may_repeat = true;
                        self.explode(inner, envelope, depth + 1);
                    }
                    // Text that only looks like JSON: the adapter says what it is.
                    Err(json::JsonError::Syntax { .. }) => self.good(value, envelope),
                    Err(error) => self.found.push(Element::Bad { bytes: value.compact().into_bytes(), error }),
                }
            }
        }
    }
}

enum Wrapper {
    None,
    Array,
    Otlp,
    Member(&'static str, &'static [&'static str]),
    TextMember(&'static str, &'static str),
}

fn wrapper_of(value: &Json<'_>) -> Wrapper {
    if matches!(value, Json::Array(_)) {
        return Wrapper::Array;
    }
    if otlp::is_export(value) {
        return Wrapper::Otlp;
    }
    // A wrapper that holds its content twice is left on: taking it off would lose one of the two.
    let has = |key: &str| value.members().iter().filter(|(k, _)| k == key).count() == 1;
    if has("records") && matches!(value.get("records"), Some(Json::Array(_))) && value.members().len() <= 2 {
        return Wrapper::Member("records", &["records"]);
    }
    if has("cloudEventsVersion") && has("data") && value.at("data.events").is_some() {
        return Wrapper::Member("okta_hook", &["data", "events"]);
    }
    if has("detail-type") && has("detail") {
        return Wrapper::Member("eventbridge", &["detail"]);
    }
    if has("specversion") && has("data") {
        return Wrapper::Member("cloudevents", &["data"]);
    }
    if has("log") && value.get("log").and_then(Json::text).is_some_and(|t| t.trim_start().starts_with('{')) && !has("eventType") {
        return Wrapper::TextMember("k8s_log", "log");
    }
    Wrapper::None
}

fn take<'a>(value: Json<'a>, path: &[&str]) -> Option<Json<'a>> {
    path.iter().try_fold(value, |value, key| match value {
        Json::Object(members) => members.into_iter().rev().find(|(k, _)| k == key).map(|(_, v)| v),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn shapes(bytes: &[u8]) -> Vec<String> {
        let unpacked = unpack(bytes).unwrap();
        elements(&unpacked.bytes, &[])
            .unwrap()
            .iter()
            .map(|e| match e {
                Element::Good { json, envelope, .. } => format!("{} {}", envelope.join("+"), json.compact()),
                Element::Bad { .. } => "bad".to_owned(),
            })
            .collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_known_envelope_comes_off() {
        assert_eq!(shapes(br#"[{"a":1},{"a":2}]"#), ["array {\"a\":1}", "array {\"a\":2}"]);
        assert_eq!(shapes(b"{\"a\":1}\n{\"a\":2}\n"), ["ndjson {\"a\":1}", "ndjson {\"a\":2}"]);
        assert_eq!(shapes(br#"{"records":[{"a":1}]}"#), ["records+array {\"a\":1}"]);
        assert_eq!(shapes(br#"{"log":"{\"a\":1}","kubernetes":{}}"#), ["k8s_log {\"a\":1}"]);
        assert_eq!(shapes(&gzip(br#"[{"a":1}]"#)), ["array {\"a\":1}"]);
        assert_eq!(shapes(&zstd::encode_all(&b"{\"a\":1}"[..], 1).unwrap()), [" {\"a\":1}"]);
        assert_eq!(shapes(b"[]"), Vec::<String>::new());
    }

    #[test]
    fn what_is_made_of_text_or_of_pairs_may_repeat_a_key() {
        let may_repeat = |bytes: &[u8]| elements(bytes, &[]).unwrap().iter().any(|e| matches!(e, Element::Good { may_repeat: true, .. }));
        let attribute = r#"{"key":"a","value":{"stringValue":"1"}}"#;
        let otlp = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"attributes":[{attribute},{attribute}]}}]}}]}}]}}"#);
        assert!(may_repeat(otlp.as_bytes()) && may_repeat(br#"{"log":"{\"a\":1,\"a\":2}"}"#) && may_repeat(b"{\"a\":1,\"a\":2}"));
        assert!(!may_repeat(br#"[{"a":1},{"a":2}]"#));
    }

    #[test]
    fn one_bad_line_does_not_fail_its_neighbours() {
        assert_eq!(shapes(b"{\"a\":1}\nnot json\n{\"a\":\"\xe2\x80\xa8\"}"), ["ndjson {\"a\":1}", "bad", "ndjson {\"a\":\"\u{2028}\"}"]);
    }

    #[test]
    fn a_bomb_is_refused_and_a_dense_upload_is_not() {
        let dense = gzip(format!("[{}]", vec!["{\"a\":1}"; 20_000].join(",")).as_bytes());
        assert!(dense.len() < 3_000 && shapes(&dense).len() == 20_000);
        let bomb = gzip(&vec![b' '; (MAX_UNPACKED_BYTES + 10) as usize]);
        assert!(matches!(unpack(&bomb), Err(UnpackError::TooLarge("gzip"))));
        assert!(matches!(unpack(&dense[..dense.len() / 2]), Err(UnpackError::Damaged("gzip", _))));
    }
}
