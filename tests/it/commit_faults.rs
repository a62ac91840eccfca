//! Faults of the commit with real processes on the embedded broker: killed at every named point, asked to end in
//! mid-flush, lost replies, disks that are full or read-only, clocks set back, damaged logs. After each the checker
//! confirms the law.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ingest::embedded::EmbeddedBroker;
use serde_json::Value;

use crate::calls::{self, COMMITTED, file_of_calls, import_args};
use crate::checker::{Expected, check};
use crate::exactly_once::EMBEDDED_GROUP_TIMES;
use crate::running::Running;
use crate::support::{binary, number, skip, summary, vialog, wait_for, wait_for_log, wait_for_slow_commit, write_config};

pub(crate) const TOPIC: &str = "toolhive.audit";
const PARTITIONS: i32 = 2;

/// A topic on an embedded broker of its own, with a configuration that reads it.
pub(crate) struct Scene {
    broker: EmbeddedBroker,
    folder: tempfile::TempDir,
    pub(crate) config: PathBuf,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let broker = EmbeddedBroker::start(&[TOPIC], PARTITIONS).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = write_config(folder.path(), &broker.brokers(), &[(TOPIC, "toolhive")], EMBEDDED_GROUP_TIMES);
        Self { broker, folder, config }
    }

    pub(crate) fn produce(&self, ids: std::ops::Range<u64>) {
        calls::produce(&self.broker.brokers(), TOPIC, PARTITIONS, ids);
    }

    pub(crate) fn brokers(&self) -> String {
        self.broker.brokers()
    }

    pub(crate) fn lake(&self) -> PathBuf {
        self.folder.path().join("lake")
    }

    /// A worker with more arguments, to its end.
    fn ingest(&self, more: &[&str]) -> std::process::Output {
        let mut command = Command::new(binary());
        command.args(["ingest", "--config", self.config.to_str().unwrap(), "--once", "--format", "json"]).args(more);
        command.env("RUST_LOG", "warn").stdin(Stdio::null()).output().unwrap()
    }

    fn die_at(&self, point: &str) {
        let killed = self.ingest(&["--fault", point]);
        assert_eq!(killed.status.signal(), Some(9), "{point}: {}", String::from_utf8_lossy(&killed.stderr));
    }

    /// Reads to the end; what the worker says of it.
    pub(crate) fn drain(&self) -> Value {
        summary(&["ingest", "--config", self.config.to_str().unwrap(), "--once", "--format", "json"])
    }
}

/// Effects on the log: the table's making is the first commit, the first batch the second. Then the copies that follow.
pub(crate) const POINTS: &[&str] = &[
    "before-file:1",
    "half-file:1",
    "after-file:1",
    "half-commit:1",
    "after-commit:1",
    "half-commit:2",
    "after-commit:2",
    "copies/half-commit:1",
    "copies/after-commit:1",
    "copies/half-commit:2",
    "copies/after-commit:2",
];

#[test]
fn a_worker_killed_at_any_point_of_the_commit_loses_nothing_and_doubles_nothing() {
    at_once(POINTS, |point| {
        let scene = Scene::new();
        scene.produce(0..200);
        scene.die_at(point);
        scene.produce(200..250);
        scene.drain();
        check(&scene.lake(), &Expected::calls(TOPIC, 250));
    });
}

#[test]
fn a_worker_killed_in_a_later_batch_goes_on_from_the_one_before() {
    at_once(&["before-file:1", "after-file:1", "after-commit:1", "copies/half-commit:1"], |point| {
        let scene = Scene::new();
        scene.produce(0..100);
        scene.drain();
        assert_eq!(number(&scene.lake(), "SELECT count(*) FROM events"), 100);
        scene.produce(100..200);
        scene.die_at(point);
        scene.drain();
        check(&scene.lake(), &Expected::calls(TOPIC, 200));
    });
}

/// Runs a test for each point in a thread of its own: most of the time is waiting for group sessions to end.
pub(crate) fn at_once(points: &[&str], test: impl Fn(&str) + Sync) {
    std::thread::scope(|scope| {
        for point in points {
            scope.spawn(|| test(point));
        }
    });
}

#[test]
fn a_commit_whose_reply_is_lost_is_not_written_twice() {
    let scene = Scene::new();
    scene.produce(0..200);
    let output = scene.ingest(&["--fault", "lost-reply:2"]);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{log}");
    assert!(log.contains("a reply was lost"), "the fault did not strike: {log}");
    check(&scene.lake(), &Expected::calls(TOPIC, 200));
}

/// A batch is on its way to the table when the process is asked to end.
#[test]
fn a_worker_asked_to_end_in_mid_flush_ends_that_flush_and_ends_well() {
    let scene = Scene::new();
    scene.produce(0..200);
    // The first commit makes the table, the second is the batch.
    let worker = Running::worker_with(&scene.config, &["--fault", "slow-commit:2"]);
    wait_for_slow_commit(&scene.lake(), 1);
    // However slow the machine is, the commit waits until it was looked for.
    worker.signal("STOP");
    assert_eq!(number(&scene.lake(), COMMITTED), 0, "nothing is committed yet");
    worker.signal("TERM");
    worker.signal("CONT");
    assert!(worker.ended().success(), "it ends well");
    let committed = number(&scene.lake(), COMMITTED);
    assert!(committed > 0, "the flush that was on its way was ended");
    scene.produce(200..250);
    scene.drain();
    check(&scene.lake(), &Expected::calls(TOPIC, 250));
}

/// A small file system of its own, where this may be made.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path, options: &str) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder).stderr(Stdio::null()).status();
        status.is_ok_and(|s| s.success()).then(|| Self(folder.to_owned()))
    }

    fn remount(&self, options: &str) {
        assert!(Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A lake whose folder is a file system of its own, with the key file beside it; a worker's commits fail on it.
struct DiskFault {
    // Let go of in this order: the worker, what is mounted in the folder, the folder.
    worker: Running,
    disk: SmallDisk,
    scene: Scene,
}

/// Options of the mount at first, and while it does not work.
const FULL: (&str, &str) = ("size=400k", "size=400k");
const READ_ONLY: (&str, &str) = ("size=64m", "ro,size=64m");

impl DiskFault {
    fn new(test: &str, (mounted, faulty): (&str, &str)) -> Option<Self> {
        let scene = Scene::new();
        let Some(disk) = SmallDisk::mount(&scene.lake(), mounted) else {
            skip(test, "no file system may be mounted here");
            return None;
        };
        scene.produce(0..100);
        scene.drain();
        disk.remount(faulty);
        scene.produce(100..6_000);
        let worker = Running::worker(&scene.config);
        wait_for_log(&scene.config, "the commit failed and is repeated");
        Some(Self { worker, disk, scene })
    }

    /// The same worker goes on by itself once the disk works.
    fn recovers(mut self) {
        assert!(self.worker.is_there(), "the worker gave up");
        self.disk.remount("rw,size=64m");
        wait_for(&self.scene.lake(), "SELECT count(*) FROM events", 6_000);
        self.worker.ends_well();
        check(&self.scene.lake(), &Expected::calls(TOPIC, 6_000));
    }
}

#[test]
fn a_worker_on_a_disk_that_is_full_goes_on_when_it_is_not() {
    let Some(fault) = DiskFault::new("a_worker_on_a_disk_that_is_full_goes_on_when_it_is_not", FULL) else { return };
    fault.recovers();
}

#[test]
fn a_worker_on_a_lake_that_is_read_only_goes_on_when_it_is_not() {
    let Some(fault) = DiskFault::new("a_worker_on_a_lake_that_is_read_only_goes_on_when_it_is_not", READ_ONLY) else { return };
    fault.recovers();
}

#[test]
fn a_worker_asked_to_end_while_its_commit_fails_says_so_and_loses_nothing() {
    let test = "a_worker_asked_to_end_while_its_commit_fails_says_so_and_loses_nothing";
    let Some(DiskFault { scene, disk, worker }) = DiskFault::new(test, READ_ONLY) else { return };
    assert_eq!(worker.told_to_end().code(), Some(2), "what it held is not committed");
    disk.remount("rw,size=64m");
    assert_eq!(number(&scene.lake(), "SELECT count(*) FROM events"), 100);
    scene.drain();
    check(&scene.lake(), &Expected::calls(TOPIC, 6_000));
}

/// From a file: the Kafka client's waits end at a time of the wall clock, so they do not work under one that is set back for
/// a single process. What is decoded, committed and sealed is the same.
#[test]
fn a_clock_set_back_by_a_day_loses_nothing() {
    if Command::new("faketime").arg("--version").output().is_err() {
        return skip("a_clock_set_back_by_a_day_loses_nothing", "`faketime` is not installed");
    }
    let scene = Scene::new();
    scene.produce(0..100);
    scene.drain();
    let (lake, file) = (scene.lake(), file_of_calls(scene.folder.path(), 100..200));
    let back = Command::new("faketime")
        .args(["-f", "-1d"])
        .arg(binary())
        .args(import_args(&lake, TOPIC, &file))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(back.status.success(), "{}", String::from_utf8_lossy(&back.stderr));
    scene.produce(200..300);
    scene.drain();
    assert_eq!(number(&lake, "SELECT count(DISTINCT ingest_date) FROM events"), 2, "the clock was set back");
    check(&lake, &Expected::calls(TOPIC, 300));
}

#[test]
fn a_damaged_last_commit_is_refused_with_its_version_and_mends_by_its_copy() {
    let scene = Scene::new();
    scene.produce(0..100);
    scene.drain();
    let log = scene.lake().join("events/_delta_log");
    let mut commits: Vec<PathBuf> = std::fs::read_dir(&log).unwrap().map(|e| e.unwrap().path()).collect();
    commits.sort();
    let last = commits.last().unwrap();
    let whole = std::fs::read(last).unwrap();
    let named = format!("commit {} of the table is damaged", commits.len() - 1);
    scene.produce(100..150);
    for damage in [&whole[..whole.len() / 2], b"", b"{\"add\":", &[0; 64]] {
        std::fs::write(last, damage).unwrap();
        for args in
            [&["query", "--lake", scene.lake().to_str().unwrap(), "SELECT 1 FROM events"][..], &["verify", scene.lake().to_str().unwrap()]]
        {
            let output = vialog(args);
            let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
            assert!(matches!(output.status.code(), Some(1 | 2)), "{args:?} with {} bytes: {said}", damage.len());
            assert!(said.contains(&named), "{args:?} names no version: {said}");
        }
        assert_ne!(scene.ingest(&[]).status.code(), Some(0), "a worker goes on with a damaged log");
    }
    std::fs::write(last, whole).unwrap();
    // What a writer that died left behind is nobody's business.
    std::fs::write(log.join(".1-1.tmp"), b"{\"add\":").unwrap();
    scene.drain();
    check(&scene.lake(), &Expected::calls(TOPIC, 150));
}
