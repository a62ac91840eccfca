//! OpenTelemetry exports: spans and log records with their resource and scope beside them, attributes as plain objects.
//!
//! An export nests records in scopes in resources, and writes attributes as lists of key and typed value. Here each
//! span or log record becomes one element that a mapping can read by path:
//! `{"signal", "resource": {…}, "scope": {…}, "attributes": {…}, …}`. Of JSON and protobuf alike (OTLP 1.5).
//!
//! Limits: those of JSON and protobuf; typed values nest at most 16 deep.

use std::borrow::Cow;

use crate::json::Json;
use crate::protobuf::{self, Field, Wire};

/// Most bytes of resources and scopes when every record has its own copy, roughly.
const MAX_SPREAD_BYTES: usize = 64 << 20;
/// Deepest nesting of typed values.
const MAX_VALUE_DEPTH: usize = 16;

/// How one kind of export nests: signal, key of resources, key of scopes, key of records.
const EXPORTS: &[(&str, &str, &str, &str)] =
    &[("span", "resourceSpans", "scopeSpans", "spans"), ("log", "resourceLogs", "scopeLogs", "logRecords")];

/// Whether an element is an export and nothing else.
pub(crate) fn is_export(value: &Json<'_>) -> bool {
    let is_part =
        |(key, value): &(Cow<'_, str>, Json<'_>)| matches!(value, Json::Array(_)) && EXPORTS.iter().any(|(_, name, ..)| name == key);
    !value.members().is_empty() && value.members().iter().all(is_part)
}

/// The spans or log records of an export, in order; `None` when each of them with its resource and scope beside it would
/// be more than [`MAX_SPREAD_BYTES`] together.
pub(crate) fn records<'a>(export: &Json<'a>) -> Option<Vec<Json<'a>>> {
    let (mut found, mut left) = (Vec::new(), MAX_SPREAD_BYTES);
    for (signal, resources, scopes, records) in EXPORTS {
        for resource in export.get(resources).map_or(&[][..], Json::items) {
            let attributes_of = resource.at("resource.attributes");
            let of_resource = attributes_of.map_or(Json::Object(Vec::new()), attributes);
            for scope in resource.get(scopes).map_or(&[][..], Json::items) {
                let of_scope = scope.get("scope").unwrap_or(&Json::Null);
                let records = scope.get(records).map_or(&[][..], Json::items);
                // Decided before anything is copied: a resource of a megabyte beside fifty thousand records is a bomb.
                let beside = weight(&of_resource) + weight(of_scope);
                left = left.checked_sub(beside.checked_mul(records.len())?)?;
                found.extend(records.iter().map(|record| flat(signal, &of_resource, of_scope, record)));
            }
        }
    }
    Some(found)
}

/// What a value takes in memory, roughly, bytes.
fn weight(value: &Json<'_>) -> usize {
    const VALUE_BYTES: usize = 64;
    VALUE_BYTES
        + match value {
            Json::Text(text) | Json::Number(text) => text.len(),
            Json::Array(items) => items.iter().map(weight).sum(),
            Json::Object(members) => members.iter().map(|(key, value)| key.len() + weight(value)).sum(),
            Json::Null | Json::Bool(_) => 0,
        }
}

/// What is around a record comes last, so that the record cannot speak for it.
fn flat<'a>(signal: &'static str, resource: &Json<'a>, scope: &Json<'a>, record: &Json<'a>) -> Json<'a> {
    let mut members: Vec<(Cow<'a, str>, Json<'a>)> = Vec::with_capacity(record.members().len() + 3);
    for (key, value) in record.members() {
        let value = match key.as_ref() {
            "attributes" => attributes(value),
            "body" => typed(value, 0),
            "events" => Json::Array(value.items().iter().map(event).collect()),
            _ => value.clone(),
        };
        members.push((key.clone(), value));
    }
    members.push(("signal".into(), Json::Text(signal.into())));
    members.push(("resource".into(), resource.clone()));
    members.push(("scope".into(), scope.clone()));
    Json::Object(members)
}

fn event<'a>(event: &Json<'a>) -> Json<'a> {
    let member =
        |(key, value): &(Cow<'a, str>, Json<'a>)| (key.clone(), if key == "attributes" { attributes(value) } else { value.clone() });
    Json::Object(event.members().iter().map(member).collect())
}

/// `[{"key", "value": {"stringValue"}}]` as `{key: value}`; what is an object already stays.
fn attributes<'a>(list: &Json<'a>) -> Json<'a> {
    let Json::Array(items) = list else { return list.clone() };
    let pair = |item: &Json<'a>| match item.get("key") {
        Some(Json::Text(key)) => Some((key.clone(), item.get("value").map_or(Json::Null, |value| typed(value, 0)))),
        _ => None,
    };
    Json::Object(items.iter().filter_map(pair).collect())
}

/// A typed value without its type; integers come as strings and stay exact.
fn typed<'a>(value: &Json<'a>, depth: usize) -> Json<'a> {
    let [(key, inner), ..] = value.members() else { return value.clone() };
    if depth > MAX_VALUE_DEPTH {
        return Json::Null;
    }
    match key.as_ref() {
        "intValue" => match inner {
            Json::Text(digits) if is_integer(digits) => Json::Number(digits.clone()),
            other => other.clone(),
        },
        "arrayValue" => Json::Array(inner.get("values").map_or(&[][..], Json::items).iter().map(|v| typed(v, depth + 1)).collect()),
        "kvlistValue" => match inner.get("values") {
            Some(Json::Array(items)) => {
                let pair = |item: &Json<'a>| match item.get("key") {
                    Some(Json::Text(key)) => Some((key.clone(), item.get("value").map_or(Json::Null, |v| typed(v, depth + 1)))),
                    _ => None,
                };
                Json::Object(items.iter().filter_map(pair).collect())
            }
            _ => Json::Object(Vec::new()),
        },
        "stringValue" | "boolValue" | "doubleValue" | "bytesValue" => inner.clone(),
        _ => value.clone(),
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.len() <= 20 && digits.bytes().all(|b| b.is_ascii_digit())
}

const ANY_DEPTH_3: &[Field] = &scalars();
const KV_3: &[Field] = &[Field::one(1, "key", Wire::Text), Field::one(2, "value", Wire::Message(ANY_DEPTH_3))];
const ANY_DEPTH_2: &[Field] =
    &nested(&[Field::many(1, "values", Wire::Message(ANY_DEPTH_3))], &[Field::many(1, "values", Wire::Message(KV_3))]);
const KV_2: &[Field] = &[Field::one(1, "key", Wire::Text), Field::one(2, "value", Wire::Message(ANY_DEPTH_2))];
const ANY: &[Field] = &nested(&[Field::many(1, "values", Wire::Message(ANY_DEPTH_2))], &[Field::many(1, "values", Wire::Message(KV_2))]);
const KV: &[Field] = &[Field::one(1, "key", Wire::Text), Field::one(2, "value", Wire::Message(ANY))];

const fn scalars() -> [Field; 5] {
    [
        Field::one(1, "stringValue", Wire::Text),
        Field::one(2, "boolValue", Wire::Flag),
        Field::one(3, "intValue", Wire::Signed),
        Field::one(4, "doubleValue", Wire::Double),
        Field::one(7, "bytesValue", Wire::Hex),
    ]
}

const fn nested(array: &'static [Field], pairs: &'static [Field]) -> [Field; 7] {
    let [a, b, c, d, e] = scalars();
    [a, b, c, d, e, Field::one(5, "arrayValue", Wire::Message(array)), Field::one(6, "kvlistValue", Wire::Message(pairs))]
}

const SCOPE: &[Field] = &[Field::one(1, "name", Wire::Text), Field::one(2, "version", Wire::Text)];
const RESOURCE: &[Field] = &[Field::many(1, "attributes", Wire::Message(KV))];
const STATUS: &[Field] = &[Field::one(2, "message", Wire::Text), Field::one(3, "code", Wire::Number)];
const EVENT: &[Field] =
    &[Field::one(1, "timeUnixNano", Wire::Fixed), Field::one(2, "name", Wire::Text), Field::many(3, "attributes", Wire::Message(KV))];
const SPAN: &[Field] = &[
    Field::one(1, "traceId", Wire::Hex),
    Field::one(2, "spanId", Wire::Hex),
    Field::one(4, "parentSpanId", Wire::Hex),
    Field::one(5, "name", Wire::Text),
    Field::one(6, "kind", Wire::Number),
    Field::one(7, "startTimeUnixNano", Wire::Fixed),
    Field::one(8, "endTimeUnixNano", Wire::Fixed),
    Field::many(9, "attributes", Wire::Message(KV)),
    Field::many(11, "events", Wire::Message(EVENT)),
    Field::one(15, "status", Wire::Message(STATUS)),
];
const LOG: &[Field] = &[
    Field::one(1, "timeUnixNano", Wire::Fixed),
    Field::one(2, "severityNumber", Wire::Number),
    Field::one(3, "severityText", Wire::Text),
    Field::one(5, "body", Wire::Message(ANY)),
    Field::many(6, "attributes", Wire::Message(KV)),
    Field::one(9, "traceId", Wire::Hex),
    Field::one(10, "spanId", Wire::Hex),
    Field::one(11, "observedTimeUnixNano", Wire::Fixed),
    Field::one(12, "eventName", Wire::Text),
];
const SCOPE_SPANS: &[Field] = &[Field::one(1, "scope", Wire::Message(SCOPE)), Field::many(2, "spans", Wire::Message(SPAN))];
const SCOPE_LOGS: &[Field] = &[Field::one(1, "scope", Wire::Message(SCOPE)), Field::many(2, "logRecords", Wire::Message(LOG))];
const RESOURCE_SPANS: &[Field] =
    &[Field::one(1, "resource", Wire::Message(RESOURCE)), Field::many(2, "scopeSpans", Wire::Message(SCOPE_SPANS))];
const RESOURCE_LOGS: &[Field] =
    &[Field::one(1, "resource", Wire::Message(RESOURCE)), Field::many(2, "scopeLogs", Wire::Message(SCOPE_LOGS))];
const TRACES: &[Field] = &[Field::many(1, "resourceSpans", Wire::Message(RESOURCE_SPANS))];
const LOGS: &[Field] = &[Field::many(1, "resourceLogs", Wire::Message(RESOURCE_LOGS))];

/// An export in protobuf as OTLP JSON; `None` when the bytes are none. Spans and logs have the same outer numbers: a log
/// record has no time at 7, and that of a span may be left out only where it is nought.
pub(crate) fn from_protobuf(bytes: &[u8]) -> Option<Json<'static>> {
    if bytes.first() != Some(&0x0a) {
        return None;
    }
    let is_there = |export: &Json<'_>, (_, resources, scopes, records): &(&str, &str, &str, &str), member: &str| {
        let inside =
            |value: &Json<'_>, key: &str, next: &dyn Fn(&Json<'_>) -> bool| value.get(key).map_or(&[][..], Json::items).iter().any(next);
        inside(export, resources, &|resource| {
            inside(resource, scopes, &|scope| inside(scope, records, &|record| member.is_empty() || record.get(member).is_some()))
        })
    };
    let spans = protobuf::read(bytes, TRACES).filter(|export| is_there(export, &EXPORTS[0], "startTimeUnixNano"));
    spans.or_else(|| protobuf::read(bytes, LOGS).filter(|export| is_there(export, &EXPORTS[1], "")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    #[test]
    fn a_large_resource_beside_many_records_is_refused_before_it_is_copied() {
        let attributes = vec![r#"{"key":"k","value":{"stringValue":"0123456789"}}"#; 10_000].join(",");
        let records = vec!["{}"; 50_000].join(",");
        let text =
            format!(r#"{{"resourceLogs":[{{"resource":{{"attributes":[{attributes}]}},"scopeLogs":[{{"logRecords":[{records}]}}]}}]}}"#);
        assert!(records_of(&text).is_none());
    }

    #[test]
    fn a_number_is_only_what_is_one_and_nothing_speaks_for_the_resource() {
        let text = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"a"}}]},
            "scopeLogs":[{"logRecords":[{"body":{"intValue":"1,\"x\":2"},"resource":{"service.name":"b"},"attributes":[{"key":"n","value":{"intValue":"-7"}}]}]}]}]}"#;
        let [record] = &records_of(text).unwrap()[..] else { panic!("one record") };
        assert!(matches!(record.get("body"), Some(Json::Text(_))));
        assert_eq!(record.at("attributes.n").and_then(Json::integer), Some(-7));
        assert_eq!(record.get("resource").unwrap().get("service.name").and_then(Json::text), Some("a"));
    }

    #[test]
    fn only_an_export_and_nothing_else_is_one() {
        assert!(!is_export(&parse(br#"{"uuid":"2","eventType":"x","resourceLogs":[]}"#).unwrap()));
        assert!(is_export(&parse(br#"{"resourceSpans":[]}"#).unwrap()));
    }

    fn records_of(text: &str) -> Option<Vec<Json<'_>>> {
        records(&parse(text.as_bytes()).unwrap())
    }
}
