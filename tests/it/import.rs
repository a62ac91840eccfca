//! Files through the adapters: counts add up, a second import adds nothing, bad input is kept.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::calls::{import_args, import_calls, tool_call};
use crate::support::{binary, number, query, repository, shared, skip, summary, vialog};

fn fixture(name: &str) -> String {
    repository().join("tests/fixtures").join(name).to_str().unwrap().to_owned()
}

#[test]
fn an_import_that_reads_nothing_says_so_and_a_tenant_with_a_space_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (lake, file) = (folder.path().join("lake"), folder.path().join("empty.jsonl"));
    std::fs::write(&file, "").unwrap();
    let import = |tenant: &str| {
        vialog(&["import", "--lake", lake.to_str().unwrap(), "--adapter", "json", "--tenant", tenant, file.to_str().unwrap()])
    };
    let (nothing, refused) = (import("acme"), import("acme corp"));
    assert!(nothing.status.code() == Some(1) && String::from_utf8_lossy(&nothing.stdout).contains("NOTHING was read"), "{nothing:?}");
    assert!(refused.status.code() == Some(2) && String::from_utf8_lossy(&refused.stderr).contains("use 1 to 64"), "{refused:?}");
}

#[test]
fn an_import_whose_records_are_all_refused_fails_and_keeps_them() {
    let folder = tempfile::tempdir().unwrap();
    let (lake, file) = (folder.path().join("lake"), folder.path().join("other.jsonl"));
    std::fs::write(&file, "{\"x\":1}\nnot json\n").unwrap();
    let done = vialog(&["import", "--lake", lake.to_str().unwrap(), "--adapter", "okta", file.to_str().unwrap()]);
    assert!(done.status.code() == Some(1) && String::from_utf8_lossy(&done.stdout).contains("NOTHING could be read"), "{done:?}");
    assert_eq!(number(&lake, "SELECT count(*) FROM rejections"), 2);
}

#[test]
fn importing_the_same_file_twice_adds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("lake");
    let args = ["import", "--lake", lake.to_str().unwrap(), "--adapter", "keycloak", "--format", "json", &fixture("keycloak.jsonl")];
    let first = summary(&args);
    assert_eq!(first["records"], first["records_with_events"]);
    assert!(first["events"].as_u64() > Some(0));
    assert_eq!(summary(&args)["events"], 0);
    assert_eq!(number(&lake, "SELECT count(*) FROM events"), first["events"].as_i64().unwrap());
}

#[test]
fn the_two_doors_of_keycloak_give_each_event_once() {
    let Some(captured) = shared("samples/captured/keycloak") else {
        return skip("the_two_doors_of_keycloak_give_each_event_once", "no ../shared");
    };
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("lake");
    let file = |name: &str| captured.join(name).to_str().unwrap().to_owned();
    let (api, listener) = (file("user-events.jsonl"), file("listener-events.jsonl"));
    let found = summary(&["import", "--lake", lake.to_str().unwrap(), "--adapter", "keycloak", "--format", "json", &api, &listener]);
    assert_eq!(
        (found["records"].as_u64(), found["records_with_events"].as_u64(), found["records_duplicate"].as_u64()),
        (Some(432), Some(216), Some(216))
    );
    assert_eq!(number(&lake, "SELECT count(*) FROM events"), 216);
}

#[test]
fn a_record_that_is_no_event_is_kept_with_its_reason_and_without_its_secret() {
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("lake");
    let mut child = Command::new(binary())
        .args(["import", "--lake", lake.to_str().unwrap(), "--adapter", "opa", "--format", "json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = "not json, password=hunter2-canary\n{\"decision_id\":\"d1\",\"timestamp\":\"2026-01-01T00:00:00Z\",\"input\":{\"password\":\"hunter2-canary\"},\"result\":true}\n\n{\"x\":1}\n";
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (
            found["records"].as_u64(),
            found["records_with_events"].as_u64(),
            found["records_rejected"].as_u64(),
            found["records_empty"].as_u64()
        ),
        (Some(4), Some(1), Some(2), Some(1))
    );
    let reasons = query(&lake, "SELECT reason_code FROM rejections ORDER BY reason_code");
    assert_eq!(reasons.iter().map(|r| r["reason_code"].as_str().unwrap()).collect::<Vec<_>>(), ["not_json", "unknown_shape"]);
    assert!(!holds(folder.path(), b"hunter2-canary"), "the secret is on disk");
}

/// Whether any file below holds the bytes. Parquet pages are compressed, so the rows are asked as well.
fn holds(folder: &std::path::Path, canary: &[u8]) -> bool {
    let lake = folder.join("lake");
    let everything =
        vialog(&["query", "--lake", lake.to_str().unwrap(), "--format", "json", "SELECT encode(raw_payload, 'escape') FROM events"]);
    let rejected = query(&lake, "SELECT raw, reason FROM rejections");
    let hex: String = canary.iter().map(|b| format!("{b:02x}")).collect();
    let events = query(&lake, "SELECT raw_payload, params_json, ext FROM events");
    let text = format!("{rejected:?} {events:?} {}", String::from_utf8_lossy(&everything.stdout));
    if text.contains(&hex) || text.as_bytes().windows(canary.len()).any(|w| w == canary) {
        return true;
    }
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if std::fs::read(&path).unwrap().windows(canary.len()).any(|w| w == canary) {
                return true;
            }
        }
    }
    false
}

#[test]
fn errors_say_what_to_do_and_exit_with_two() {
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("lake");
    for (args, expected) in [
        (vec!["query", "--lake", lake.to_str().unwrap(), "SELECT 1"], "there is no lake"),
        (vec!["import", "--lake", lake.to_str().unwrap(), "--adapter", "nope", "x"], "is no adapter; there are"),
        (vec!["ingest", "--config", "/nonexistent.toml"], "cannot read the configuration"),
    ] {
        let output = vialog(&args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(expected), "{text}");
    }
    assert!(!lake.join("events").exists());
}

#[test]
fn a_query_can_only_read() {
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("lake");
    summary(&["import", "--lake", lake.to_str().unwrap(), "--adapter", "keycloak", "--format", "json", &fixture("keycloak.jsonl")]);
    for sql in [
        "DROP TABLE events",
        "CREATE TABLE x AS SELECT 1",
        "INSERT INTO events SELECT * FROM events",
        "COPY events TO '/tmp/x.csv'",
        "SET datafusion.execution.batch_size = 1",
    ] {
        assert_eq!(vialog(&["query", "--lake", lake.to_str().unwrap(), sql]).status.code(), Some(2), "{sql}");
    }
}

#[test]
fn maintenance_changes_no_row_and_leaves_a_lake_that_others_read() {
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("lake");
    let uri = lake.to_str().unwrap();
    (0..40).for_each(|batch| import_calls(&lake, "maintained", batch * 10..batch * 10 + 12));
    let rows = "SELECT event_id, leaf_hash FROM events ORDER BY 1";
    let before = query(&lake, rows);
    assert_eq!(before.len(), 402);
    let due = |args: &[&str]| -> Vec<Value> {
        let output = vialog(&[&["maintain", "--lake", uri, "--format", "json"], args].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let plan = due(&[]);
    assert_eq!((plan[0]["table"].as_str(), plan[0]["files"].as_u64(), plan[0]["mergeable"].as_u64()), (Some("events"), Some(40), Some(40)));
    assert_eq!(due(&[])[0]["version"], plan[0]["version"], "a dry run changes nothing");
    let after = due(&["--apply"]);
    assert_eq!(
        (after[0]["files"].as_u64(), after[0]["mergeable"].as_u64(), after[0]["uncheckpointed"].as_u64()),
        (Some(1), Some(0), Some(0))
    );
    assert_eq!(query(&lake, rows), before);
    let verify = vialog(&["verify", uri]);
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stdout));
    // Goes on after it: the same file adds nothing, another one does, and what comes twice is still found.
    let file = folder.path().join("0.jsonl");
    let again = |instance: &str| summary(&import_args(&lake, instance, &file));
    assert_eq!(again("maintained")["commits"], 0);
    std::fs::write(&file, tool_call(5) + "\n").unwrap();
    assert_eq!(again("maintained")["records_duplicate"], 1);
    assert_eq!(query(&lake, rows), before);
    // With the copies, which only our views leave out: two of each ten come again, and one more.
    crate::foreign::read_by_others("maintenance_changes_no_row_and_leaves_a_lake_that_others_read", &lake, (481, 402));
}

#[test]
fn what_the_log_says_of_a_file_and_damage_in_it_are_verified() {
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("lake");
    summary(&["import", "--lake", lake.to_str().unwrap(), "--adapter", "keycloak", "--format", "json", &fixture("keycloak.jsonl")]);
    let verified = || vialog(&["verify", lake.to_str().unwrap()]).status.code();
    assert_eq!(verified(), Some(0));
    // Whoever changes the times in the log hides a file from every query with a time in it.
    let commit = lake.join("events/_delta_log/00000000000000000001.json");
    let text = std::fs::read_to_string(&commit).unwrap();
    let year = text.split("\\\"event_time\\\":\\\"").nth(1).unwrap()[..4].to_owned();
    std::fs::write(&commit, text.replace(&format!("\\\"event_time\\\":\\\"{year}"), "\\\"event_time\\\":\\\"1999")).unwrap();
    assert_eq!(verified(), Some(1));
    std::fs::write(&commit, text).unwrap();
    assert_eq!(verified(), Some(0));
    let part = lake.join("events").join("row_kind=event");
    let day = std::fs::read_dir(part).unwrap().next().unwrap().unwrap().path();
    let file = std::fs::read_dir(day).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(&file).unwrap();
    let mut damaged = bytes.clone();
    let middle = bytes.len() / 3;
    damaged[middle..middle + 64].fill(0xff);
    std::fs::write(&file, damaged).unwrap();
    assert_eq!(verified(), Some(1));
}
