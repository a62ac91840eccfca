//! One lake written by two versions of the program, in turn and at once. The other version is a binary that
//! `VIALOG_TEST_OTHER_BINARY` names; `tests/peers/next_version.sh` builds one with a column more, which `.ci/run` does.
//! Without it the tests are skipped. `lake/src/upkeep_test.rs` holds the same for two handles of one process.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use ingest::embedded::EmbeddedBroker;
use ingest::produce::{Outgoing, Producer};

use crate::checker::{Expected, faults};
use crate::exactly_once::{EMBEDDED_GROUP_TIMES, tool_call};
use crate::support::{binary, number, skip, write_config};

const TOPIC: &str = "toolhive.audit";

fn other(test: &str) -> Option<PathBuf> {
    let named = std::env::var_os("VIALOG_TEST_OTHER_BINARY").map(PathBuf::from);
    if named.is_none() {
        skip(test, "no binary of another version (VIALOG_TEST_OTHER_BINARY is not set)");
    }
    named
}

struct Scene {
    broker: EmbeddedBroker,
    _folder: tempfile::TempDir,
    config: String,
    lake: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let broker = EmbeddedBroker::start(&[TOPIC], 2).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = write_config(folder.path(), &broker.brokers(), &[(TOPIC, "toolhive")], EMBEDDED_GROUP_TIMES);
        let lake = folder.path().join("lake");
        Self { broker, _folder: folder, config: config.to_str().unwrap().to_owned(), lake }
    }

    fn produce(&self, ids: std::ops::Range<u64>) {
        let producer = Producer::new(&self.broker.brokers(), &std::collections::BTreeMap::new()).unwrap();
        for id in ids {
            let (payload, partition) = (tool_call(id), Some(i32::try_from(id % 2).unwrap()));
            producer.send(&Outgoing { topic: TOPIC, partition, payload: Some(payload.as_bytes()), ..Outgoing::default() }).unwrap();
        }
        producer.flush().unwrap();
    }
}

/// The newer of the two confirms the law; the older one may say that it cannot.
#[track_caller]
fn check_by_either(lake: &Path, other: &Path, produced: u64) {
    let found = [&binary(), other].map(|program| faults(program, lake, &Expected::calls(TOPIC, produced)));
    assert!(found.iter().any(Vec::is_empty), "{found:?}");
    let cannot = |fault: &String| fault.contains("which this one does not know; verify the lake with that one");
    assert!(found.iter().all(|found| found.is_empty() || found.iter().all(cannot)), "{found:?}");
}

fn run(program: &Path, args: &[&str]) -> Output {
    Command::new(program).args(args).env("RUST_LOG", "warn").stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn succeeds(program: &Path, args: &[&str]) {
    let output = run(program, args);
    assert!(output.status.success(), "{}: {args:?}: {}", program.display(), String::from_utf8_lossy(&output.stderr));
}

#[test]
fn two_versions_that_take_turns_and_keep_house_lose_and_double_nothing() {
    let Some(other) = other("two_versions_that_take_turns_and_keep_house_lose_and_double_nothing") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lake");
    let lake = path.to_str().unwrap();
    let mut imported = 0;
    let mut import = |program: &Path| {
        let file = folder.path().join(format!("{imported}.jsonl"));
        std::fs::write(&file, (imported..imported + 10).map(tool_call).collect::<Vec<_>>().join("\n")).unwrap();
        succeeds(program, &["import", "--lake", lake, "--adapter", "toolhive", "--instance", TOPIC, file.to_str().unwrap()]);
        imported += 10;
        imported
    };
    // Maintained first by the one and then by the other; the one that does not know all columns leaves the files as they are.
    for first in [&other, &binary()] {
        let imports = (0..20).map(|round| if round % 2 == 0 { import(&other) } else { import(&binary()) });
        let produced = imports.last().unwrap();
        assert_eq!(number(&path, "SELECT count(*) FROM events"), i64::try_from(produced).unwrap());
        check_by_either(&path, &other, produced);
        succeeds(first, &["maintain", "--lake", lake, "--apply"]);
        check_by_either(&path, &other, produced);
    }
    let files = std::fs::read_dir(path.join("events/_delta_log")).unwrap().count();
    assert!(files > 40, "each import is a commit: {files}");
    succeeds(&other, &["detect", "--lake", lake, "--once"]);
    succeeds(&binary(), &["detect", "--lake", lake, "--once"]);
    check_by_either(&path, &other, 400);
}

#[test]
fn two_versions_that_run_at_once_lose_and_double_nothing() {
    let Some(other) = other("two_versions_that_run_at_once_lose_and_double_nothing") else { return };
    let scene = Scene::new();
    let start = |program: &Path| {
        let mut command = Command::new(program);
        command.args(["ingest", "--config", &scene.config]).env("RUST_LOG", "off").stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut workers = [start(&other), start(&binary())];
    let mut produced = 0;
    for round in 0..60 {
        scene.produce(produced..produced + 20);
        produced += 20;
        std::thread::sleep(std::time::Duration::from_millis(200));
        if round % 20 == 19 {
            let victim = &mut workers[usize::from(round == 39)];
            victim.kill().unwrap();
            victim.wait().unwrap();
            *victim = if round == 39 { start(&other) } else { start(&binary()) };
        }
    }
    for worker in &mut workers {
        worker.kill().unwrap();
        worker.wait().unwrap();
    }
    succeeds(&other, &["ingest", "--config", &scene.config, "--once"]);
    check_by_either(&scene.lake, &other, produced);
}
