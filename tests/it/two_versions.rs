//! One lake written by two versions of the program, in turn and at once. The other version is a binary that
//! `VIALOG_TEST_OTHER_BINARY` names; `tests/peers/next_version.sh` builds one with a column more, which `.ci/run` does.
//! Without it the tests are skipped. `lake/src/upkeep_test.rs` holds the same for two handles of one process.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::calls::{file_of_calls, import_args};
use crate::checker::{Expected, faults};
use crate::commit_faults::{Scene, TOPIC};
use crate::running::Running;
use crate::support::{binary, number, skip, wait_until};

fn other(test: &str) -> Option<PathBuf> {
    let named = std::env::var_os("VIALOG_TEST_OTHER_BINARY").map(PathBuf::from);
    if named.is_none() {
        skip(test, "no binary of another version (VIALOG_TEST_OTHER_BINARY is not set)");
    }
    named
}

/// The newer of the two confirms the law; the older one may say that it cannot.
#[track_caller]
fn check_by_either(lake: &Path, other: &Path, produced: u64) {
    let found = [&binary(), other].map(|program| faults(program, lake, &Expected::calls(TOPIC, produced)));
    assert!(found.iter().any(Vec::is_empty), "{found:?}");
    let cannot = |fault: &String| fault.contains("which this one does not know; verify the lake with that one");
    assert!(found.iter().all(|found| found.is_empty() || found.iter().all(cannot)), "{found:?}");
}

/// What a program printed that ended well.
#[track_caller]
fn succeeds(program: &Path, args: &[&str]) -> String {
    let output = Command::new(program).args(args).env("RUST_LOG", "warn").stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}: {args:?}: {}", program.display(), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn two_versions_that_take_turns_and_keep_house_lose_and_double_nothing() {
    let Some(other) = other("two_versions_that_take_turns_and_keep_house_lose_and_double_nothing") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lake");
    let lake = path.to_str().unwrap();
    let mut imported = 0;
    let mut import = |program: &Path| {
        let file = file_of_calls(folder.path(), imported..imported + 10);
        succeeds(program, &import_args(&path, TOPIC, &file));
        imported += 10;
        imported
    };
    // Maintained first by the one and then by the other; the one that does not know all columns leaves the files as they are.
    let mut said = String::new();
    for program in [&other, &binary()] {
        let imports = (0..20).map(|round| if round % 2 == 0 { import(&other) } else { import(&binary()) });
        let produced = imports.last().unwrap();
        assert_eq!(number(&path, "SELECT count(*) FROM events"), i64::try_from(produced).unwrap());
        check_by_either(&path, &other, produced);
        said += &succeeds(program, &["maintain", "--lake", lake, "--apply"]);
        check_by_either(&path, &other, produced);
    }
    assert!(said.contains("events: merged"), "nobody merged: {said}");
    let files = std::fs::read_dir(path.join("events/_delta_log")).unwrap().count();
    assert!(files > 40, "each import is a commit: {files}");
    succeeds(&other, &["detect", "--lake", lake, "--once"]);
    succeeds(&binary(), &["detect", "--lake", lake, "--once"]);
    check_by_either(&path, &other, 400);
}

/// How many events are committed whose newer column is so; 0 where there is no lake yet.
fn written(newer: &Path, lake: &Path, next_thing: &str) -> u64 {
    if !lake.join("events/_delta_log").is_dir() {
        return 0;
    }
    let all = "SELECT event_id, next_thing FROM events UNION SELECT event_id, next_thing FROM events_tip";
    let sql = format!("SELECT count(*) FROM ({all}) WHERE next_thing {next_thing}");
    let said = succeeds(newer, &["query", "--lake", lake.to_str().unwrap(), "--format", "csv", &sql]);
    said.lines().last().unwrap().parse().unwrap()
}

#[test]
fn two_versions_that_run_at_once_lose_and_double_nothing() {
    let Some(other) = other("two_versions_that_run_at_once_lose_and_double_nothing") else { return };
    let scene = Scene::new();
    let (lake, config) = (scene.lake(), scene.config.to_str().unwrap());
    let start = |program: &Path| Running::worker_of(program, &scene.config, &[]);
    let mut workers = [start(&other), start(&binary())];
    scene.produce(0..20);
    let mut produced = 20;
    wait_until("a commit of the newer one", || written(&other, &lake, "IS NOT NULL") > 0);
    for round in 0..60 {
        scene.produce(produced..produced + 20);
        produced += 20;
        std::thread::sleep(std::time::Duration::from_millis(200));
        if round % 20 == 19 {
            let victim = &mut workers[usize::from(round == 39)];
            victim.kill();
            *victim = if round == 39 { start(&other) } else { start(&binary()) };
        }
    }
    workers.iter_mut().for_each(Running::kill);
    // Only the newer one fills its column.
    for next_thing in ["IS NOT NULL", "IS NULL"] {
        assert!(written(&other, &lake, next_thing) > 0, "one of the two committed nothing while both ran: next_thing {next_thing}");
    }
    succeeds(&other, &["ingest", "--config", config, "--once"]);
    check_by_either(&lake, &other, produced);
}
