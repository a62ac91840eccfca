//! The one checker of all tests of faults: every produced id is there once, every offset is accounted for, seals recompute,
//! no row stands in the table that no seal covers. And that it finds what it is for, on lakes that were tampered with.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::calls::import_calls;
use crate::support::{binary, copy_of, query};

/// What a lake of ToolHive calls must hold.
#[derive(Debug, Clone)]
pub(crate) struct Expected<'a> {
    /// Instance of the source; its topic, where nothing else was said.
    pub(crate) instance: &'a str,
    /// Numbers of the calls that were produced.
    pub(crate) ids: BTreeSet<u64>,
    /// Rows beside the events.
    pub(crate) rejections: u64,
    /// Offsets that the seals account for: records, markers, gaps.
    pub(crate) offsets: u64,
}

impl<'a> Expected<'a> {
    /// So many calls and nothing else.
    pub(crate) fn calls(instance: &'a str, produced: u64) -> Self {
        Self { instance, ids: (0..produced).collect(), rejections: 0, offsets: produced }
    }
}

/// Fails when the lake holds anything else.
#[track_caller]
pub(crate) fn check(lake: &Path, expected: &Expected) {
    let found = faults(&binary(), lake, expected);
    assert!(found.is_empty(), "{found:?}");
}

/// What is wrong with a lake, by this binary.
pub(crate) fn faults(program: &Path, lake: &Path, expected: &Expected) -> Vec<String> {
    let mut found = Vec::new();
    let ids: Vec<String> =
        query(lake, "SELECT event_id FROM events").iter().map(|row| row["event_id"].as_str().unwrap().to_owned()).collect();
    let unique: BTreeSet<String> = ids.iter().cloned().collect();
    let wanted: BTreeSet<String> = expected.ids.iter().map(|id| format!("toolhive:{}:audit:id-{id}", expected.instance)).collect();
    if ids.len() != unique.len() {
        found.push(format!("{} ids are there twice", ids.len() - unique.len()));
    }
    for (what, mut odd) in [("missing", wanted.difference(&unique).peekable()), ("not sent", unique.difference(&wanted).peekable())] {
        if odd.peek().is_some() {
            found.push(format!("{what}: {:?}", odd.take(5).collect::<Vec<_>>()));
        }
    }
    // The view hides what is there twice; this counts rows as they are stored, and holds them against the seals.
    let mut command = Command::new(program);
    let output = command.args(["verify", lake.to_str().unwrap(), "--format", "json"]).stdin(Stdio::null()).output().unwrap();
    let lines: Vec<Value> = String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    found.extend(lines.iter().filter_map(|line| line["fault"].as_str().map(str::to_owned)));
    let rows = expected.ids.len() as u64 + expected.rejections;
    let Some(report) = lines.iter().find(|line| line["rows"].is_u64()) else {
        return [found, vec![format!("no report: {}", String::from_utf8_lossy(&output.stderr))]].concat();
    };
    if (report["rows"].as_u64(), report["offsets"].as_u64()) != (Some(rows), Some(expected.offsets)) {
        found.push(format!("{rows} rows and {} offsets are due: {report}", expected.offsets));
    }
    found
}

/// A lake of two batches of one file each, and the log of `events`.
struct Sound {
    _folder: tempfile::TempDir,
    lake: PathBuf,
}

impl Sound {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lake = folder.path().join("lake");
        import_calls(&lake, "one", 0..10);
        import_calls(&lake, "one", 10..20);
        Self { _folder: folder, lake }
    }
}

fn log_of(lake: &Path) -> PathBuf {
    lake.join("events/_delta_log")
}

/// Actions of the newest commit, and the number of the next one.
fn last_commit(lake: &Path) -> (Vec<Value>, usize) {
    let mut names: Vec<PathBuf> = std::fs::read_dir(log_of(lake)).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|name| name.extension().is_some_and(|e| e == "json"));
    names.sort();
    let text = std::fs::read_to_string(names.last().unwrap()).unwrap();
    (text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), names.len())
}

fn write_commit(lake: &Path, version: usize, action: &Value) {
    std::fs::write(log_of(lake).join(format!("{version:020}.json")), format!("{action}\n")).unwrap();
}

fn added(actions: &[Value]) -> Value {
    actions.iter().find(|action| action["add"].is_object()).unwrap().clone()
}

#[track_caller]
fn found(lake: &Path, said: &[&str]) {
    let found = faults(&binary(), lake, &Expected::calls("one", 20));
    for said in said {
        assert!(found.iter().any(|fault| fault.contains(said)), "{said} is not in {found:?}");
    }
}

#[test]
fn the_checker_finds_nothing_in_a_sound_lake() {
    check(&Sound::new().lake, &Expected::calls("one", 20));
}

#[test]
fn the_checker_finds_an_event_that_is_not_there_and_one_that_nobody_sent() {
    let sound = Sound::new();
    let mut expected = Expected::calls("one", 20);
    expected.ids.remove(&3);
    expected.ids.insert(77);
    let found = faults(&binary(), &sound.lake, &expected);
    assert_eq!(found, ["missing: [\"toolhive:one:audit:id-77\"]", "not sent: [\"toolhive:one:audit:id-3\"]"]);
}

#[test]
fn the_checker_finds_a_file_that_stands_twice_in_the_table() {
    let sound = Sound::new();
    let (actions, next) = last_commit(&sound.lake);
    let mut action = added(&actions);
    let path = action["add"]["path"].as_str().unwrap().to_owned();
    let second = path.replace(".parquet", "-again.parquet");
    std::fs::copy(sound.lake.join("events").join(&path), sound.lake.join("events").join(&second)).unwrap();
    action["add"]["path"] = json!(second);
    write_commit(&sound.lake, next, &action);
    found(&sound.lake, &["the batch has 20 rows, its seal says 10", "20 rows and 20 offsets are due"]);
}

#[test]
fn the_checker_finds_a_file_that_was_taken_out_of_the_table() {
    let sound = Sound::new();
    let (actions, next) = last_commit(&sound.lake);
    let path = added(&actions)["add"]["path"].clone();
    write_commit(&sound.lake, next, &json!({ "remove": { "path": path, "deletionTimestamp": 0, "dataChange": true } }));
    found(&sound.lake, &["missing:", "the batch has 0 rows, its seal says 10"]);
}

#[test]
fn the_checker_finds_rows_that_no_seal_covers() {
    // What a third batch would have added, in a lake that has no such batch.
    let sound = Sound::new();
    let (_folder, copy) = copy_of(&sound.lake);
    import_calls(&copy, "one", 20..30);
    let (actions, next) = last_commit(&copy);
    let action = added(&actions);
    let path = action["add"]["path"].as_str().unwrap();
    std::fs::create_dir_all(sound.lake.join("events").join(path).parent().unwrap()).unwrap();
    std::fs::copy(copy.join("events").join(path), sound.lake.join("events").join(path)).unwrap();
    write_commit(&sound.lake, next - 1, &action);
    found(&sound.lake, &["stand in the table without a seal", "20 rows and 20 offsets are due"]);
}

#[test]
fn the_checker_finds_a_commit_that_was_emptied() {
    let sound = Sound::new();
    let (_, next) = last_commit(&sound.lake);
    // The batch and its seal are gone together; the follower has read this version, so the log does not end too early.
    std::fs::write(log_of(&sound.lake).join(format!("{:020}.json", next - 1)), "{\"commitInfo\":{}}\n").unwrap();
    found(&sound.lake, &["missing:", "20 rows and 20 offsets are due"]);
}
