//! Faults of the commit with real processes: killed at every named point, lost replies, disks that are full or read-only,
//! clocks set back, damaged logs. After each the checker confirms the law.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ingest::embedded::EmbeddedBroker;
use ingest::produce::{Outgoing, Producer};

use crate::exactly_once::{EMBEDDED_GROUP_TIMES, check_exactly_once, tool_call};
use crate::support::{binary, number, skip, start_worker, summary, vialog, write_config};

const TOPIC: &str = "toolhive.audit";

struct Scene {
    broker: EmbeddedBroker,
    folder: tempfile::TempDir,
    config: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let broker = EmbeddedBroker::start(&[TOPIC], 2).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = write_config(folder.path(), &broker.brokers(), &[(TOPIC, "toolhive")], EMBEDDED_GROUP_TIMES);
        Self { broker, folder, config }
    }

    fn produce(&self, ids: std::ops::Range<u64>) {
        let producer = Producer::new(&self.broker.brokers(), &std::collections::BTreeMap::new()).unwrap();
        for id in ids {
            let payload = tool_call(id);
            let partition = Some(i32::try_from(id % 2).unwrap());
            producer.send(&Outgoing { topic: TOPIC, partition, payload: Some(payload.as_bytes()), ..Outgoing::default() }).unwrap();
        }
        producer.flush().unwrap();
    }

    fn lake(&self) -> PathBuf {
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

    fn drain(&self) {
        summary(&["ingest", "--config", self.config.to_str().unwrap(), "--once", "--format", "json"]);
    }
}

#[test]
fn a_worker_killed_at_any_point_of_the_commit_loses_nothing_and_doubles_nothing() {
    // Effects on the log: the table's making is the first, the first batch the second, the second batch the third.
    let points = ["before-file:1", "half-file:1", "after-file:1", "half-commit:1", "after-commit:1", "half-commit:2", "after-commit:2"];
    at_once(&points, |point| {
        let scene = Scene::new();
        scene.produce(0..200);
        scene.die_at(point);
        scene.produce(200..250);
        scene.drain();
        check_exactly_once(&scene.lake(), TOPIC, 250);
    });
}

#[test]
fn a_worker_killed_in_a_later_batch_goes_on_from_the_one_before() {
    at_once(&["before-file:1", "after-file:1", "after-commit:1"], |point| {
        let scene = Scene::new();
        scene.produce(0..100);
        scene.drain();
        assert_eq!(number(&scene.lake(), "SELECT count(*) FROM events"), 100);
        scene.produce(100..200);
        scene.die_at(point);
        scene.drain();
        check_exactly_once(&scene.lake(), TOPIC, 200);
    });
}

/// Runs a test for each point in a thread of its own: most of the time is waiting for group sessions to end.
fn at_once(points: &[&str], test: impl Fn(&str) + Sync) {
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
    check_exactly_once(&scene.lake(), TOPIC, 200);
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

#[test]
fn a_disk_that_is_full_and_then_is_not_loses_nothing() {
    disk_fault("a_disk_that_is_full_and_then_is_not_loses_nothing", "size=400k", "size=400k", "size=64m");
}

#[test]
fn a_lake_that_is_read_only_and_then_is_not_loses_nothing() {
    disk_fault("a_lake_that_is_read_only_and_then_is_not_loses_nothing", "size=64m", "ro,size=64m", "rw,size=64m");
}

fn disk_fault(test: &str, mounted: &str, faulty: &str, mended: &str) {
    let scene = Scene::new();
    // The lake's folder is the mount itself; its key file lies beside it.
    let Some(disk) = SmallDisk::mount(&scene.lake(), mounted) else {
        return skip(test, "no file system may be mounted here");
    };
    scene.produce(0..100);
    scene.drain();
    disk.remount(faulty);
    scene.produce(100..6_000);
    let mut worker = start_worker(&scene.config);
    std::thread::sleep(Duration::from_secs(4));
    let log = std::fs::read_to_string(scene.config.with_extension("log")).unwrap();
    assert!(log.contains("the commit failed and is repeated"), "the fault did not strike: {log}");
    assert!(worker.try_wait().unwrap().is_none(), "the worker gave up: {log}");
    disk.remount(mended);
    std::thread::sleep(Duration::from_secs(4));
    worker.kill().unwrap();
    worker.wait().unwrap();
    scene.drain();
    check_exactly_once(&scene.lake(), TOPIC, 6_000);
    drop(disk);
}

#[test]
fn a_clock_set_back_by_a_day_loses_nothing() {
    if Command::new("faketime").arg("--version").output().is_err() {
        return skip("a_clock_set_back_by_a_day_loses_nothing", "`faketime` is not installed");
    }
    let scene = Scene::new();
    scene.produce(0..100);
    scene.drain();
    // From a file: the Kafka client's own timers do not work under a clock that is only set back for one process.
    let file = scene.folder.path().join("more.jsonl");
    std::fs::write(&file, (100..200).map(tool_call).collect::<Vec<_>>().join("\n")).unwrap();
    let (lake, file) = (scene.lake(), file.to_str().unwrap().to_owned());
    let back = Command::new("faketime")
        .args(["-f", "-1d"])
        .arg(binary())
        .args(["import", "--lake", lake.to_str().unwrap(), "--adapter", "toolhive", "--instance", TOPIC, "--environment", "staging", &file])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(back.status.success(), "{}", String::from_utf8_lossy(&back.stderr));
    assert_eq!(number(&lake, "SELECT count(DISTINCT event_id) FROM events"), 200);
    assert_eq!(number(&lake, "SELECT count(DISTINCT ingest_date) FROM events"), 2);
    assert!(vialog(&["verify", lake.to_str().unwrap()]).status.success());
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
    for damage in [&whole[..whole.len() / 2], b"", b"{\"add\":", &[0; 64]] {
        std::fs::write(last, damage).unwrap();
        scene.produce(0..0);
        for args in
            [&["query", "--lake", scene.lake().to_str().unwrap(), "SELECT 1 FROM events"][..], &["verify", scene.lake().to_str().unwrap()]]
        {
            let output = vialog(args);
            let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
            assert!(matches!(output.status.code(), Some(1 | 2)), "{args:?} with {} bytes: {said}", damage.len());
            assert!(said.contains(&format!("{}", commits.len() - 1)), "{args:?} names no version: {said}");
        }
        assert_ne!(scene.ingest(&[]).status.code(), Some(0), "a worker goes on with a damaged log");
    }
    std::fs::write(last, whole).unwrap();
    // What a writer that died left behind is nobody's business.
    std::fs::write(log.join(".1-1.tmp"), b"{\"add\":").unwrap();
    scene.drain();
    check_exactly_once(&scene.lake(), TOPIC, 100);
}
