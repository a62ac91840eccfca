//! Faults of maintenance with real processes: killed at every point at which it writes or removes, and several maintainers
//! beside a worker. After each the checker confirms the law, and the next maintainer ends the work.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use ingest::embedded::EmbeddedBroker;
use serde_json::Value;

use crate::calls::{Producing, import_calls};
use crate::checker::{Expected, check};
use crate::commit_faults::at_once;
use crate::exactly_once::EMBEDDED_GROUP_TIMES;
use crate::running::Running;
use crate::support::{binary, copy_of, vialog, wait_for, write_config};

/// Small files of one day from which a merge is worth it, and some.
const BATCHES: u64 = 18;
const CALLS: u64 = BATCHES * 10;

/// A lake of many small files of one day, and three data files that nobody names and that are a day old.
fn lake_with_work_due(folder: &Path) -> std::path::PathBuf {
    let lake = folder.join("lake");
    (0..BATCHES).for_each(|batch| import_calls(&lake, "one", batch * 10..batch * 10 + 10));
    for number in 0..3 {
        let orphan = lake.join(format!("events/part-orphan-{number}.parquet"));
        std::fs::write(&orphan, b"left by a writer that died").unwrap();
        assert!(Command::new("touch").args(["-d", "1 day ago"]).arg(&orphan).status().unwrap().success());
    }
    lake
}

fn maintain(lake: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(["maintain", "--lake", lake.to_str().unwrap(), "--apply"]).args(more).env("RUST_LOG", "error");
    command.stdin(Stdio::null()).output().unwrap()
}

/// What is still due for `events`, by the dry run: files to merge, commits without a checkpoint, files to remove.
fn due(lake: &Path) -> [u64; 3] {
    let output = vialog(&["maintain", "--lake", lake.to_str().unwrap(), "--format", "json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let events: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    ["mergeable", "uncheckpointed", "orphans"].map(|name| events[name].as_u64().unwrap())
}

/// Files of `events` that maintenance writes: the merged one, the checkpoint, the hint to it. Commits: the merge. Removals:
/// the data files that nobody names. Table `seals` is made and written first.
const POINTS: &[&str] = &[
    "seals/half-commit:1",
    "seals/after-commit:1",
    "seals/after-file:1",
    "seals/half-commit:2",
    "seals/after-commit:2",
    "before-file:1",
    "half-file:1",
    "after-file:1",
    "half-commit:1",
    "after-commit:1",
    "before-file:2",
    "half-file:2",
    "after-file:2",
    "after-file:3",
    "half-remove:1",
    "copies/half-file:1",
    "copies/after-file:1",
];

#[test]
fn a_maintainer_killed_at_any_point_changes_no_row_and_the_next_one_ends_its_work() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake_with_work_due(folder.path());
    let expected = Expected::calls("one", CALLS);
    check(&lake, &expected);
    assert_eq!(due(&lake)[0], BATCHES, "there is a merge to do");
    for half in POINTS.chunks(POINTS.len().div_ceil(2)) {
        at_once(half, |point| {
            let (_folder, lake) = copy_of(&lake);
            let killed = maintain(&lake, &["--fault", point]);
            assert_eq!(killed.status.signal(), Some(9), "{point}: {}", String::from_utf8_lossy(&killed.stderr));
            check(&lake, &expected);
            assert!(maintain(&lake, &[]).status.success(), "{point}");
            assert_eq!(due(&lake), [0, 0, 0], "{point}: the next one leaves nothing undone");
            check(&lake, &expected);
        });
    }
}

#[test]
fn maintenance_says_what_it_does_as_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake_with_work_due(folder.path());
    let output = maintain(&lake, &[]);
    let said = String::from_utf8(output.stdout).unwrap();
    for line in
        ["events: merged 18 files into one", "events: checkpoint at version", "events: removed 0 old commit files and 3 unused files"]
    {
        assert!(said.contains(line), "{line}: {said}");
    }
    let dry = vialog(&["maintain", "--lake", lake.to_str().unwrap()]);
    let said = String::from_utf8(dry.stdout).unwrap();
    assert!(said.contains("nothing was changed; do it with --apply"), "{said}");
}

/// Three maintainers want to merge the same files, while a worker commits new ones and merges by itself.
#[test]
fn maintainers_at_once_beside_a_worker_change_no_row() {
    const TOPIC: &str = "one";
    let broker = EmbeddedBroker::start(&[TOPIC], 1).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let lake = lake_with_work_due(folder.path());
    let config = write_config(folder.path(), &broker.brokers(), &[(TOPIC, "toolhive")], EMBEDDED_GROUP_TIMES);
    let worker = Running::worker(&config);
    let until = Instant::now() + Duration::from_secs(10);
    let producing = Producing::start(&broker.brokers(), TOPIC, 1, CALLS);
    let maintainers = [0, 1, 2].map(|_| {
        let lake = lake.clone();
        std::thread::spawn(move || {
            let mut merges = 0;
            while Instant::now() < until {
                let output = maintain(&lake, &[]);
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                merges += String::from_utf8(output.stdout).unwrap().matches("events: merged").count();
            }
            merges
        })
    });
    let merges: usize = maintainers.map(|maintainer| maintainer.join().unwrap()).iter().sum();
    let produced = producing.end();
    wait_for(&lake, "SELECT count(*) FROM events", i64::try_from(produced).unwrap());
    worker.ends_well();
    eprintln!("{produced} calls, {merges} merges beside the worker's own");
    assert!(merges > 0, "nobody merged");
    check(&lake, &Expected::calls(TOPIC, produced));
}
