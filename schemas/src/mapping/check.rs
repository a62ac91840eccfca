//! Runs the tests that a mapping file carries.

use serde_yaml_ng::Value as Yaml;

use crate::adapters::Adapter;
use crate::cell::Cell;
use crate::columns::{ColumnId, Row};
use crate::decode::{DEFAULT_TENANT, Decoder, Record, Source};
use crate::keys::{Keys, hex};
use crate::mapping::MappingTest;
use crate::privacy::Privacy;
use crate::time::{self, TimeFormat};

/// When the records of tests are decoded: 2026-11-01, microseconds.
const NOW_US: i64 = 1_793_491_200_000_000;

/// Runs one test; the sentences say what is not as expected.
pub fn run(adapter: &Adapter, test: &MappingTest) -> Vec<String> {
    let bytes = bytes_of(&test.record);
    let rows = rows(adapter, &bytes);
    let mut wrong = Vec::new();
    if let Some(code) = &test.rejected {
        if !rows.iter().any(|row| row.reason_code.as_ref() == Some(code)) {
            wrong.push(format!("expected a rejection `{code}`, and there is none"));
        }
    } else if let Some(row) = rows.iter().find(|row| row.reason_code.is_some()) {
        wrong.push(format!("refused: {}", row.reason.as_deref().unwrap_or_default()));
    } else if rows.len() != test.expect.len() {
        wrong.push(format!("expected {} events, got {}", test.expect.len(), rows.len()));
    }
    for (number, (expected, row)) in test.expect.iter().zip(&rows).enumerate() {
        for (column, wanted) in expected {
            match cell(row, column) {
                None => wrong.push(format!("there is no column `{column}`")),
                Some(found) if !is_equal(wanted, &found) => {
                    wrong.push(format!("event {number}: {column} is {}, expected {}", print(&found), print(wanted)))
                }
                Some(_) => {}
            }
        }
    }
    let all = format!("{rows:?}")
        + &rows.iter().filter_map(|row| Some(String::from_utf8_lossy(row.raw_payload.as_ref()?).into_owned())).collect::<String>();
    wrong.extend(test.never.iter().filter(|text| all.contains(text.as_str())).map(|text| format!("`{text}` stands in the rows")));
    wrong
}

/// The rows that an adapter makes of a record, under a key of tests.
pub fn rows(adapter: &Adapter, bytes: &[u8]) -> Vec<Box<Row>> {
    let keys = Keys::from_master(&[7; 32]);
    let source = Source {
        adapter: adapter.clone(),
        tenant: DEFAULT_TENANT.into(),
        instance: "test".into(),
        environment: "development".into(),
        privacy: Privacy::default(),
    };
    let record = Record { stream: "file:test", incarnation: "1", partition: 0, offset: 0, kafka: None, payload: Some(bytes) };
    Decoder { source: &source, keys: &keys }.decode(&record, NOW_US)
}

/// The record of a test: a text as it is, anything else as JSON.
pub fn bytes_of(record: &Yaml) -> Vec<u8> {
    match record {
        Yaml::String(text) => text.clone().into_bytes(),
        other => print(other).into_bytes(),
    }
}

/// A cell as text; `None` when it is NULL or there is no such column.
pub fn cell_text(row: &Row, column: &str) -> Option<String> {
    match cell(row, column)? {
        Yaml::Null => None,
        Yaml::String(text) => Some(text),
        other => Some(print(&other)),
    }
}

/// A cell as YAML: times as RFC 3339, structs as lists.
fn cell(row: &Row, column: &str) -> Option<Yaml> {
    let id = ColumnId::by_name(column)?;
    let mut found = Yaml::Null;
    row.for_each_value(|index, cell| {
        if index == id as usize {
            found = yaml(cell, id);
        }
    });
    Some(found)
}

fn yaml(cell: Cell<'_>, id: ColumnId) -> Yaml {
    let texts = |all: &[String]| Yaml::Sequence(all.iter().cloned().map(Yaml::String).collect());
    match cell {
        Cell::Text(text) => Yaml::String(text.into()),
        Cell::Long(us) if id.column().kind == crate::cell::Kind::Time => Yaml::String(rfc3339(us)),
        Cell::Long(n) => Yaml::Number(n.into()),
        Cell::Int(n) => Yaml::Number(n.into()),
        Cell::Double(f) => Yaml::Number(f.into()),
        Cell::Flag(flag) => Yaml::Bool(flag),
        Cell::Bytes(bytes) => Yaml::String(hex(bytes)),
        Cell::Texts(all) => texts(all),
        Cell::Structs(all) => Yaml::Sequence(all.iter().map(|one| Yaml::Sequence(one.iter().map(member).collect())).collect()),
        Cell::Map(all) => {
            all.iter().map(|(k, v)| (Yaml::String(k.to_owned()), Yaml::String(v.to_owned()))).collect::<serde_yaml_ng::Mapping>().into()
        }
    }
}

/// The members of a struct as text.
pub(crate) fn printed(one: &[crate::cell::Member]) -> String {
    print(&Yaml::Sequence(one.iter().map(member).collect()))
}

fn member(member: &crate::cell::Member) -> Yaml {
    match member {
        crate::cell::Member::Null => Yaml::Null,
        crate::cell::Member::Text(text) => Yaml::String(text.clone()),
        crate::cell::Member::Int(n) => Yaml::Number((*n).into()),
    }
}

fn is_equal(wanted: &Yaml, found: &Yaml) -> bool {
    let time = |value: &Yaml| time::read_text(value.as_str()?, TimeFormat::Rfc3339).ok().map(|read| read.micros);
    match (wanted, found) {
        (Yaml::String(a), Yaml::String(b)) => a == b || time(wanted).is_some_and(|t| time(found) == Some(t)),
        (Yaml::Number(a), Yaml::Number(b)) => a.as_f64() == b.as_f64(),
        _ => wanted == found,
    }
}

fn rfc3339(us: i64) -> String {
    chrono::DateTime::from_timestamp_micros(us).map_or_else(String::new, |t| t.to_rfc3339_opts(chrono::SecondsFormat::Micros, true))
}

/// YAML as JSON text.
fn print(value: &Yaml) -> String {
    let mut out = String::new();
    print_into(value, &mut out);
    out
}

fn print_into(value: &Yaml, out: &mut String) {
    match value {
        Yaml::Null => out.push_str("null"),
        Yaml::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Yaml::Number(number) => out.push_str(&number.to_string()),
        Yaml::String(text) => crate::json::print_text(text, out),
        Yaml::Sequence(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                print_into(item, out);
            }
            out.push(']');
        }
        Yaml::Mapping(members) => {
            out.push('{');
            for (i, (key, value)) in members.iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                let key = key.as_str().map_or_else(|| print(key), str::to_owned);
                crate::json::print_text(&key, out);
                out.push(':');
                print_into(value, out);
            }
            out.push('}');
        }
        Yaml::Tagged(tagged) => print_into(&tagged.value, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::Mapping;

    #[test]
    fn every_adapter_gives_what_its_tests_expect() {
        let mut wrong = Vec::new();
        for adapter in Adapter::all() {
            let tests = adapter.tests();
            if tests.len() < 2 {
                wrong.push(format!("{} has fewer than two tests", adapter.name()));
            }
            let of_test = |test: &MappingTest| {
                run(&adapter, test).into_iter().map(|what| format!("{}: {}: {what}", adapter.name(), test.name)).collect::<Vec<_>>()
            };
            wrong.extend(tests.iter().flat_map(of_test));
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn a_mapping_that_is_wrong_is_refused_with_its_place() {
        let right = include_str!("../../sources/auth0.yaml");
        for (from, to, at, what) in [
            ("  client_id: client_id", "  client_idd: client_id", "columns.client_idd", "no column"),
            ("table: category,", "table: categories,", "columns.category.table", "no table"),
            ("time: date", "time: {of: date, format: epoch}", "time.format", "epoch_ms"),
            ("  region: environment_name", "  region: [a..b]", "columns.region.0", "no path"),
            ("fields: {sub: sub,", "fields: {subject: sub,", "columns.delegation_chain", "no field"),
            ("kind: idp,", "kind: idps,", "source.kind", "use one of"),
        ] {
            assert!(right.contains(from), "{from}");
            let fault = Mapping::parse(&right.replacen(from, to, 1)).unwrap_err();
            assert!(fault.at == at && fault.what.contains(what), "{fault}");
        }
    }
}
