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

/// Deepest nesting of typed values.
const MAX_VALUE_DEPTH: usize = 16;

/// How one kind of export nests: signal, key of resources, key of scopes, key of records.
const EXPORTS: &[(&str, &str, &str, &str)] =
    &[("span", "resourceSpans", "scopeSpans", "spans"), ("log", "resourceLogs", "scopeLogs", "logRecords")];

/// Whether an element is an export.
pub(crate) fn is_export(value: &Json<'_>) -> bool {
    EXPORTS.iter().any(|(_, resources, ..)| matches!(value.get(resources), Some(Json::Array(_))))
}

/// The spans or log records of an export, in order.
pub(crate) fn records<'a>(export: &Json<'a>) -> Vec<Json<'a>> {
    let mut found = Vec::new();
    for (signal, resources, scopes, records) in EXPORTS {
        for resource in export.get(resources).map_or(&[][..], Json::items) {
            let of_resource = resource.at("resource.attributes").map_or(Json::Object(Vec::new()), attributes);
            for scope in resource.get(scopes).map_or(&[][..], Json::items) {
                let of_scope = scope.get("scope").cloned().unwrap_or(Json::Null);
                for record in scope.get(records).map_or(&[][..], Json::items) {
                    found.push(flat(signal, &of_resource, &of_scope, record));
                }
            }
        }
    }
    found
}

fn flat<'a>(signal: &'static str, resource: &Json<'a>, scope: &Json<'a>, record: &Json<'a>) -> Json<'a> {
    let mut members: Vec<(Cow<'a, str>, Json<'a>)> =
        vec![("signal".into(), Json::Text(signal.into())), ("resource".into(), resource.clone()), ("scope".into(), scope.clone())];
    for (key, value) in record.members() {
        let value = match key.as_ref() {
            "attributes" => attributes(value),
            "body" => typed(value, 0),
            "events" => Json::Array(value.items().iter().map(event).collect()),
            _ => value.clone(),
        };
        members.push((key.clone(), value));
    }
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
            Json::Text(digits) => Json::Number(digits.clone()),
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
/// record has no name at 5 that is text and no times at 7 and 8, and a span none at 1 that is a time.
pub(crate) fn from_protobuf(bytes: &[u8]) -> Option<Json<'static>> {
    if bytes.first() != Some(&0x0a) {
        return None;
    }
    let spans = protobuf::read(bytes, TRACES);
    let is_span = |export: &Json<'_>| {
        let all = records(export);
        !all.is_empty() && all.iter().all(|record| record.get("startTimeUnixNano").is_some() && record.get("name").is_some())
    };
    match spans {
        Some(export) if is_span(&export) => Some(export),
        _ => protobuf::read(bytes, LOGS).filter(|export| !records(export).is_empty()),
    }
}
