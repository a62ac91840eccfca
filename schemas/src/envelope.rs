//! The one stage that takes envelopes off before an adapter sees anything.
//!
//! Compression (gzip, zstd, told by magic bytes), then JSON framing (one value, an array, NDJSON),
//! then the wrappers that real feeds use: `{"records": [...]}` of Event Hubs, `{"log": "<json>"}`
//! of Kubernetes shippers, CloudEvents, EventBridge `detail`, Okta event hooks. One bad element
//! never fails its neighbours: it becomes a [`Element::Bad`].
//!
//! Limits: 64 MiB unpacked from one record, 50,000 elements. 2 KB that unpack to 1.5 MB is normal for
//! OPA; 10 KB to 10 GB is refused.

use std::borrow::Cow;
use std::io::Read;

use crate::json::{self, Json};

/// Most bytes that one record may unpack to.
pub const MAX_UNPACKED_BYTES: u64 = 64 << 20;
/// Most elements in one record.
pub const MAX_ELEMENTS: usize = 50_000;

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
    match payload {
        [0x1f, 0x8b, ..] => {
            let bytes = read_bounded("gzip", flate2::read::MultiGzDecoder::new(payload))?;
            Ok(Unpacked { bytes: Cow::Owned(bytes), taken_off: vec!["gzip"] })
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let decoder = zstd::stream::read::Decoder::new(payload).map_err(|e| UnpackError::Damaged("zstd", e))?;
            let bytes = read_bounded("zstd", decoder)?;
            Ok(Unpacked { bytes: Cow::Owned(bytes), taken_off: vec!["zstd"] })
        }
        _ => Ok(Unpacked { bytes: Cow::Borrowed(payload), taken_off: Vec::new() }),
    }
}

fn read_bounded(name: &'static str, reader: impl Read) -> Result<Vec<u8>, UnpackError> {
    let mut bytes = Vec::new();
    let read = reader.take(MAX_UNPACKED_BYTES + 1).read_to_end(&mut bytes).map_err(|e| UnpackError::Damaged(name, e))?;
    if read as u64 > MAX_UNPACKED_BYTES {
        return Err(UnpackError::TooLarge(name));
    }
    Ok(bytes)
}

/// Splits unpacked bytes into elements.
///
/// # Errors
/// [`json::JsonError::TooMany`] above [`MAX_ELEMENTS`], or the first error when nothing in the bytes is JSON.
pub fn elements(bytes: &[u8]) -> Result<Vec<Element<'_>>, json::JsonError> {
    let mut found = Vec::new();
    match json::parse_many(bytes) {
        Ok(values) => {
            let framing = if values.len() > 1 { vec!["ndjson"] } else { Vec::new() };
            values.into_iter().for_each(|value| explode(value, framing.clone(), 0, &mut found));
        }
        Err(error) => by_line(bytes, error, &mut found)?,
    }
    if found.len() > MAX_ELEMENTS { Err(json::JsonError::TooMany) } else { Ok(found) }
}

/// NDJSON with a bad line: the good lines are kept.
fn by_line<'a>(bytes: &'a [u8], error: json::JsonError, found: &mut Vec<Element<'a>>) -> Result<(), json::JsonError> {
    // Only `\n` separates: U+2028 and U+0085 stand inside real strings.
    let lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').filter(|l| !l.iter().all(u8::is_ascii_whitespace)).collect();
    if lines.len() < 2 || !lines.iter().any(|line| json::parse(line).is_ok()) {
        return Err(error);
    }
    for line in lines {
        match json::parse(line) {
            Ok(value) => explode(value, vec!["ndjson"], 0, found),
            Err(error) => found.push(Element::Bad { bytes: line.to_vec(), error }),
        }
    }
    Ok(())
}

fn explode<'a>(value: Json<'a>, mut envelope: Vec<&'static str>, depth: usize, found: &mut Vec<Element<'a>>) {
    if found.len() > MAX_ELEMENTS {
        return;
    }
    if depth < 4 {
        match wrapper_of(&value) {
            Wrapper::Array => {
                envelope.push("array");
                let Json::Array(items) = value else { return };
                items.into_iter().for_each(|item| explode(item, envelope.clone(), depth + 1, found));
                return;
            }
            Wrapper::Member(name, path) => {
                if let Some(inner) = take(value.clone(), path) {
                    envelope.push(name);
                    return explode(inner, envelope, depth + 1, found);
                }
            }
            Wrapper::TextMember(name, key) => {
                if let Some(inner) = value.get(key).and_then(Json::text).and_then(|t| json::parse(t.as_bytes()).ok()) {
                    envelope.push(name);
                    return explode(inner.into_owned(), envelope, depth + 1, found);
                }
            }
            Wrapper::None => {}
        }
    }
    found.push(Element::Good { json: value, envelope });
}

enum Wrapper {
    None,
    Array,
    Member(&'static str, &'static [&'static str]),
    TextMember(&'static str, &'static str),
}

fn wrapper_of(value: &Json<'_>) -> Wrapper {
    if matches!(value, Json::Array(_)) {
        return Wrapper::Array;
    }
    let has = |key: &str| value.get(key).is_some();
    if matches!(value.get("records"), Some(Json::Array(_))) && value.members().len() <= 2 {
        return Wrapper::Member("records", &["records"]);
    }
    if has("cloudEventsVersion") && value.at("data.events").is_some() {
        return Wrapper::Member("okta_hook", &["data", "events"]);
    }
    if has("detail-type") && has("detail") {
        return Wrapper::Member("eventbridge", &["detail"]);
    }
    if has("specversion") && has("data") {
        return Wrapper::Member("cloudevents", &["data"]);
    }
    if value.get("log").and_then(Json::text).is_some_and(|t| t.trim_start().starts_with('{')) && !has("eventType") {
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
        elements(&unpacked.bytes)
            .unwrap()
            .iter()
            .map(|e| match e {
                Element::Good { json, envelope } => format!("{} {}", envelope.join("+"), json.compact()),
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
