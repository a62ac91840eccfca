//! The records of every adapter, its tests and what was captured, read by us and by `serde_json`: equal values, and the same
//! rows of the bytes as they came and of what `serde_json` prints of them (keys sorted, no spaces, its own escapes).
//!
//! A record is compared value by value when it holds several. Skipped and counted are records that are no JSON, and those
//! that `serde_json` cannot print as they mean: with a number that it would write otherwise, or a key that stands twice.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use schemas::adapters::Adapter;
use schemas::cell::Cell;
use schemas::json::{self, Json};
use schemas::mapping::check;
use schemas::{COLUMNS, Row};
use serde_json::Value;

use crate::agree::equal;

/// Columns that hold bytes of the record, or say how many or which: they differ as the spaces do.
const OF_BYTES: &[&str] = &["payload_mac", "raw_bytes", "raw_payload", "raw_sha256", "raw_truncated"];

/// Columns that list what they found in the order of keys: they are compared without it.
const IN_ORDER_OF_KEYS: &[&str] = &["dest_entities", "ext", "params_redacted_paths", "parse_errors"];

/// Most entries of `ext`: which ones are kept of more is a matter of order, so only how many is compared.
const MAX_EXT: usize = 64;

/// Captured files of `tests/fixtures/captured` and the adapter that reads them.
const CAPTURED: &[(&str, &str)] = &[
    ("cerbos", "cerbos-decisions"),
    ("cerbos", "together-cerbos"),
    ("keycloak", "together-keycloak"),
    ("mcp", "mcp-client-everything"),
    ("mcp", "mcp-client-filesystem"),
    ("mcp", "mcp-client-records"),
    ("opa", "together-opa"),
    ("otel", "together-otel"),
    ("toolhive", "together-toolhive"),
    ("toolhive", "toolhive-everything"),
    ("toolhive", "toolhive-filesystem"),
    ("toolhive", "toolhive-records"),
];

fn records(adapter: &Adapter) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/captured");
    let mut all: Vec<Vec<u8>> = adapter.tests().iter().map(|test| check::bytes_of(&test.record)).collect();
    for (_, file) in CAPTURED.iter().filter(|(name, _)| *name == adapter.name()) {
        let mut text = String::new();
        let packed = std::fs::File::open(folder.join(format!("{file}.jsonl.gz"))).unwrap();
        MultiGzDecoder::new(packed).read_to_string(&mut text).unwrap();
        all.extend(text.lines().map(|line| line.as_bytes().to_vec()));
    }
    all
}

/// Whether `serde_json` prints every number as it stands.
fn keeps_numbers(json: &Json<'_>) -> bool {
    match json {
        Json::Number(text) => serde_json::from_str::<Value>(text).is_ok_and(|number| number.to_string() == *text),
        Json::Array(items) => items.iter().all(keeps_numbers),
        Json::Object(members) => members.iter().all(|(_, value)| keeps_numbers(value)),
        _ => true,
    }
}

/// What `serde_json` prints of a record, after both read the same of it; or why not.
fn printed(record: &[u8]) -> Result<String, &'static str> {
    let oracle: Result<Vec<Value>, _> = serde_json::Deserializer::from_slice(record).into_iter().collect();
    let (Ok(oracle), Ok(json::Many { values: ours, may_repeat, .. })) = (oracle, json::parse_many(record, &mut 0)) else {
        return Err("no JSON");
    };
    assert_eq!(ours.len(), oracle.len());
    for (ours, oracle) in ours.iter().zip(&oracle) {
        assert!(equal(ours, oracle), "{ours:?} against {oracle:?}");
    }
    if ours.iter().any(|json| json.repeated_key().is_some()) {
        assert!(may_repeat, "a repeated key is not said");
        return Err("a repeated key");
    }
    if !ours.iter().all(keeps_numbers) {
        return Err("a number written otherwise");
    }
    Ok(oracle.iter().map(Value::to_string).collect::<Vec<_>>().join("\n"))
}

/// A text; one that holds JSON in one order of its keys.
fn ordered(text: &str) -> String {
    match json::parse(text.as_bytes()) {
        Ok(json @ (Json::Object(_) | Json::Array(_))) => json.canonical(),
        _ => text.to_owned(),
    }
}

/// Every column that is compared, as text.
fn cells(row: &Row) -> BTreeMap<&'static str, String> {
    let mut found = BTreeMap::new();
    row.for_each_value(|index, cell| {
        let name = COLUMNS[index].name;
        let mut parts: Vec<String> = match &cell {
            Cell::Text(text) => vec![ordered(text)],
            Cell::Texts(all) => all.iter().map(|text| ordered(text)).collect(),
            Cell::Structs(all) => all.iter().map(|one| format!("{one:?}")).collect(),
            Cell::Map(all) if all.len() >= MAX_EXT => vec![format!("{} entries", all.len())],
            Cell::Map(all) => all.iter().map(|(path, text)| format!("{path}: {}", ordered(text))).collect(),
            other => vec![format!("{other:?}")],
        };
        if IN_ORDER_OF_KEYS.contains(&name) {
            parts.sort_unstable();
        }
        if !OF_BYTES.contains(&name) {
            found.insert(name, parts.join(", "));
        }
    });
    found
}

/// Columns that differ between the rows of a record as it came and as `serde_json` prints it.
fn differences(adapter: &Adapter, record: &[u8], printed: &str) -> Vec<String> {
    let (came, again) = (check::rows(adapter, record), check::rows(adapter, printed.as_bytes()));
    if came.len() != again.len() {
        return vec![format!("{} rows against {}", came.len(), again.len())];
    }
    let of_row = |(came, again): (&Row, &Row)| {
        let (came, again) = (cells(came), cells(again));
        let differ = came.iter().filter(|(name, text)| again.get(*name) != Some(*text));
        differ.map(|(name, text)| format!("{name}: {text} against {}", again[name])).collect::<Vec<_>>()
    };
    came.iter().map(AsRef::as_ref).zip(again.iter().map(AsRef::as_ref)).flat_map(of_row).collect()
}

#[test]
fn every_record_of_every_adapter_gives_the_same_rows_when_serde_json_prints_it() {
    let mut wrong = Vec::new();
    for adapter in Adapter::all() {
        let (mut compared, mut skipped) = (0, BTreeMap::<&str, u32>::new());
        for record in records(&adapter) {
            match printed(&record) {
                Err(why) => *skipped.entry(why).or_default() += 1,
                Ok(printed) => {
                    compared += 1;
                    let found = differences(&adapter, &record, &printed);
                    let shown = String::from_utf8_lossy(&record[..record.len().min(200)]).into_owned();
                    wrong.extend(found.iter().map(|what| format!("{}: {what}: {shown}", adapter.name())));
                }
            }
        }
        println!("{:14} {compared:4} records compared, skipped {skipped:?}", adapter.name());
        if compared == 0 {
            wrong.push(format!("{}: no record was compared", adapter.name()));
        }
    }
    assert!(wrong.is_empty(), "{} differences, the first:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
}
