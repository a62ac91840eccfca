//! Auth0's published schemas of its log types (`../shared/samples/auth0_log_schemas`, not part of the project): the least
//! record that each schema allows goes through the real adapter. Without them the test says `SKIP`.
//!
//! A least record holds what the schema requires, values by `const`, `enum`, format or type, and a date: a stream has one.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking and says why it was skipped")]

use std::path::{Path, PathBuf};

use schemas::adapters::Adapter;
use schemas::mapping::check::rows;
use serde_json::{Map, Value, json};

/// Types that are deliberately of no activity: notices and summaries, nobody's act.
const GENERIC: &[&str] = &["acls_summary", "acul_sdk_notice", "appi", "depnote", "w", "wn", "wum"];

fn published() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/samples/auth0_log_schemas/log-types");
    folder.is_dir().then_some(folder)
}

/// The least value that a schema allows.
fn least(schema: &Value) -> Value {
    if let Some(value) = schema.get("const") {
        return value.clone();
    }
    if let Some(first) = ["enum", "examples"].iter().find_map(|key| schema[key].get(0)).filter(|first| !first.is_array()) {
        return first.clone();
    }
    if let Some(first) = ["anyOf", "oneOf"].iter().find_map(|key| schema[key].get(0)) {
        return least(first);
    }
    let all = schema["allOf"].as_array().into_iter().flatten().chain([schema]);
    let required: Map<String, Value> = all
        .flat_map(|part| {
            let names = part["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            names.map(|name| (name.to_owned(), least(&part["properties"][name]))).collect::<Vec<_>>()
        })
        .collect();
    let kind = schema["type"].as_str().or_else(|| schema["type"].get(0)?.as_str());
    match (kind, schema["format"].as_str()) {
        (Some("string"), Some("ipv4")) => json!("192.0.2.1"),
        (Some("string"), Some("ipv6")) => json!("2001:db8::1"),
        (Some("string"), Some("date-time")) => json!("2026-07-01T08:00:00.000Z"),
        (Some("string"), _) => json!("x"),
        (Some("number" | "integer"), _) => json!(1),
        (Some("boolean"), _) => json!(true),
        (Some("array"), _) => json!([]),
        _ => Value::Object(required),
    }
}

/// What is wrong with the rows of the least record of a type, and whether it is generic.
fn judge(adapter: &Adapter, schema: &Value) -> (Vec<String>, bool) {
    let mut record = least(schema);
    record["date"] = json!("2026-07-01T08:00:00.000Z");
    let id = record["log_id"].clone();
    let found = rows(adapter, json!({ "log_id": id, "data": record }).to_string().as_bytes());
    let [row] = found.as_slice() else { return (vec![format!("{} rows", found.len())], false) };
    let text = |column: &Option<String>| column.clone().unwrap_or_default();
    let (category, activity, outcome) = (text(&row.category), text(&row.activity), text(&row.outcome));
    let kind = record["type"].as_str().unwrap_or_default();
    let said = format!("{} {}", schema["description"], schema["properties"]["type"]["description"]).to_lowercase();
    let mut wrong = Vec::new();
    if row.row_kind.as_deref() != Some("event") || row.parse_status.as_deref() != Some("ok") {
        wrong.push(format!("{:?} {:?} {:?}", row.row_kind, row.reason, row.parse_errors));
    }
    if [&category, &activity, &outcome].iter().any(|value| value.is_empty()) || category == "lifecycle" && activity == "other" {
        wrong.push(format!("category {category}, activity {activity}, outcome {outcome}"));
    }
    let is_failure = ["failure", "denied", "error"].contains(&outcome.as_str());
    let fails = |word: &str| kind.contains(word) || said.contains(&format!("\"{word}"));
    if ["failed", "failure"].iter().any(|word| fails(word)) && !is_failure || fails("succe") && outcome != "success" {
        wrong.push(format!("outcome {outcome}, and the schema says {said}"));
    }
    let is_generic = activity == "other";
    if is_generic != GENERIC.contains(&kind) {
        wrong.push(format!("category {category}, activity {activity}"));
    }
    (wrong.into_iter().map(|what| format!("{kind}: {what}")).collect(), is_generic)
}

#[test]
fn every_log_type_that_auth0_publishes_is_an_event_with_category_activity_and_outcome() {
    let Some(folder) = published() else {
        return eprintln!("SKIP every_log_type_that_auth0_publishes_is_an_event_with_category_activity_and_outcome: no ../shared");
    };
    let adapter = Adapter::by_name("auth0").unwrap();
    let (mut wrong, mut generic, mut all) = (Vec::new(), 0, 0);
    for file in std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
        let schema: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let (faults, is_generic) = judge(&adapter, &schema);
        wrong.extend(faults);
        generic += usize::from(is_generic);
        all += 1;
    }
    wrong.sort();
    eprintln!("auth0: {all} published log types, {} classified, {generic} deliberately generic", all - generic);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!((all, generic), (166, GENERIC.len()));
}
