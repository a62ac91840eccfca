//! The lake as others read it: DuckDB and Python's `deltalake` see the same counts.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{query, repository, shared, skip, summary, vialog};

/// Counts of `events` as DuckDB and `deltalake` see them; `false`, and a visible skip, where they cannot run.
pub(crate) fn read_by_others(test: &str, lake: &Path, (events, ids): (i64, i64)) -> bool {
    let Ok(python) = std::env::var("VIALOG_TEST_PYTHON") else {
        skip(test, "no Python with deltalake and duckdb (VIALOG_TEST_PYTHON is not set; .ci/run sets it)");
        return false;
    };
    let script = repository().join("tests/peers/read_delta.py");
    let output = Command::new(python).arg(script).arg(lake.join("events")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs: Vec<serde_json::Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(theirs.len(), 2, "two readers answer");
    // Each has its own reader of Parquet, and numbers and times are written as deltas.
    assert_eq!((&theirs[0]["offsets"], &theirs[0]["times"]), (&theirs[1]["offsets"], &theirs[1]["times"]));
    for reader in theirs {
        assert_eq!((reader["events"].as_i64(), reader["ids"].as_i64()), (Some(events), Some(ids)), "{reader}");
    }
    true
}

#[test]
fn another_delta_reader_sees_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("lake");
    // Enough rows for columns that differ to be seen as such, and some that came twice.
    let out = folder.path().join("traffic");
    assert!(vialog(&["generate", "--seed", "3", "--events", "3000", "--out", out.to_str().unwrap()]).status.success());
    let mut files = vec![("toolhive", out.join("toolhive.jsonl")), ("keycloak", repository().join("tests/fixtures/keycloak.jsonl"))];
    files.extend(shared("samples/captured/keycloak/admin-events.jsonl").map(|file| ("keycloak", file)));
    let read = |(adapter, file): &(&str, PathBuf)| {
        let args = ["import", "--lake", lake.to_str().unwrap(), "--adapter", adapter, "--format", "json", file.to_str().unwrap()];
        summary(&args)["events"].as_i64().unwrap()
    };
    let arrivals: i64 = files.iter().map(read).sum();
    let ours = query(&lake, "SELECT count(*) AS n, count(DISTINCT event_id) AS ids FROM events");
    let (events, ids) = (ours[0]["n"].as_i64().unwrap(), ours[0]["ids"].as_i64().unwrap());
    assert!(events == ids && events < arrivals, "{events} events of {arrivals} arrivals, {ids} ids");
    read_by_others("another_delta_reader_sees_the_same_rows", &lake, (arrivals, ids));
}
