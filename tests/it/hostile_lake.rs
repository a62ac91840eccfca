//! Hostile records all the way into a lake: what is odd in a value comes back as it was read, and what is refused is kept.
//! All data here is synthetic.

use std::path::Path;

use serde_json::{Value, json};

use crate::foreign::read_by_others;
use crate::support::{query, summary, vialog};

/// A login of Keycloak with this id, time in milliseconds, and name.
fn login(id: &str, time_ms: u64, name: &str) -> String {
    format!(r#"{{"id":"{id}","time":{time_ms},"type":"LOGIN","realmId":"r","userId":"u","details":{{"username":"{name}","n":1e400}}}}"#)
}

/// Id, how the name stands in the record and as the lake gives it back, milliseconds of the record, and the lake's time.
const ODD: &[(&str, &str, &str, u64, &str)] = &[
    ("nul", "a\\u0000b", "a\0b", 1_795_000_000_000, "2026-11-18T11:06:40"),
    ("lone", "a\\ud800b", "a\u{fffd}b", 1_795_000_000_000, "2026-11-18T11:06:40"),
    ("separator", "a\u{2028}b\u{85}c", "a\u{2028}b\u{85}c", 1_795_000_000_000, "2026-11-18T11:06:40"),
    ("epoch", "x", "x", 1_000, "1970-01-01T00:00:01"),
    ("next-year", "x", "x", 1_830_000_000_000, "2027-12-28T13:20:00"),
];

#[test]
fn odd_values_come_back_out_of_the_lake_as_they_were_read() {
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("lake");
    let lines: Vec<String> = ODD.iter().map(|(id, name, _, time_ms, _)| login(id, *time_ms, name)).collect();
    let done = import(&lake, "keycloak", &lines);
    assert_eq!((done["records"].as_u64(), done["events"].as_u64()), (Some(ODD.len() as u64), Some(ODD.len() as u64)), "{done}");
    let rows = query(&lake, "SELECT event_id, event_time, delegator_name FROM events WHERE ext['details.n'] = '1e400'");
    for (id, _, name, _, time) in ODD {
        let row = rows.iter().find(|row| row["event_id"].as_str().unwrap().ends_with(&format!(":{id}"))).unwrap();
        assert_eq!(row["delegator_name"].as_str(), Some(*name), "{id}");
        assert!(row["event_time"].as_str().unwrap().starts_with(time), "{id}: {row}");
    }
    let uri = lake.to_str().unwrap();
    assert!(vialog(&["verify", uri]).status.success());
    assert!(vialog(&["detect", "--lake", uri, "--once"]).status.success(), "rules read them");
    let count = i64::try_from(ODD.len()).unwrap();
    read_by_others("odd_values_come_back_out_of_the_lake_as_they_were_read", &lake, (count, count));
}

/// A file says nothing of when its records came, so no other time can stand in.
#[test]
fn of_a_file_a_leap_second_is_an_event_and_the_thirtieth_of_february_a_kept_rejection() {
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("lake");
    let record = |id: &str, time: &str| format!(r#"{{"uuid":"{id}","eventType":"user.session.start","published":"{time}"}}"#);
    let lines = [record("leap", "2016-12-31T23:59:60Z"), record("no-day", "02/30/2026 10:00:00")];
    assert_eq!(import(&lake, "okta", &lines)["records"], 2);
    let rows = query(&lake, "SELECT event_time, event_time_raw AS raw FROM events");
    assert_eq!(rows.len(), 1);
    assert!(rows[0]["event_time"].as_str().unwrap().starts_with("2016-12-31T23:59:59") && rows[0]["raw"] == "2016-12-31T23:59:60Z");
    let kept = query(&lake, "SELECT reason_code, reason, CAST(raw AS VARCHAR) AS raw FROM rejections");
    assert_eq!((kept.len(), &kept[0]["reason_code"], &kept[0]["raw"]), (1, &json!("bad_time"), &json!(lines[1])), "{kept:?}");
    assert!(kept[0]["reason"].as_str().unwrap().contains("02/30/2026"), "{kept:?}");
}

fn import(lake: &Path, adapter: &str, lines: &[String]) -> Value {
    let file = lake.with_file_name("records.jsonl");
    std::fs::write(&file, lines.join("\n")).unwrap();
    summary(&["import", "--lake", lake.to_str().unwrap(), "--adapter", adapter, "--format", "json", file.to_str().unwrap()])
}
