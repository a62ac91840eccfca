//! A lake in a bucket of a real S3-compatible store (`tests/peers/s3.sh`): the same commits, from several writers at once.

use std::path::Path;
use std::process::{Command, Stdio};

use ingest::embedded::EmbeddedBroker;
use serde_json::Value;

use crate::calls;
use crate::exactly_once::EMBEDDED_GROUP_TIMES;
use crate::running::Running;
use crate::support::{binary, repository, skip, summary, vialog, write_config};

/// A lake of its own in the bucket that the environment names, and its key file; none where no store runs.
fn lake(test: &str, folder: &Path) -> Option<[String; 4]> {
    let (Ok(bucket), Ok(_)) = (std::env::var("S3_BUCKET"), std::env::var("AWS_ENDPOINT_URL")) else {
        skip(test, "no S3-compatible store (S3_BUCKET is not set; .ci/run sets it where Go is there to build one)");
        return None;
    };
    let uri = format!("s3://{bucket}/{test}-{}/lake", std::process::id());
    Some(["--lake".into(), uri, "--key-file".into(), folder.join("lake.key").to_str().unwrap().into()])
}

fn args<'a>(command: &'a str, lake: &'a [String; 4], rest: &[&'a str]) -> Vec<&'a str> {
    [&[command][..], &lake.each_ref().map(String::as_str), rest].concat()
}

fn count(lake: &[String; 4], sql: &str) -> i64 {
    let output = vialog(&args("query", lake, &["--format", "json", sql]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let row: Value = serde_json::from_slice(&output.stdout).unwrap();
    row.as_object().unwrap().values().next().unwrap().as_i64().unwrap()
}

fn assert_verified(lake: &[String; 4]) {
    let output = vialog(&["verify", &lake[1], "--key-file", &lake[3]]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_lake_in_a_bucket_takes_a_file_once_and_is_kept_up() {
    let folder = tempfile::tempdir().unwrap();
    let Some(lake) = lake("a_lake_in_a_bucket_takes_a_file_once_and_is_kept_up", folder.path()) else { return };
    let fixture = repository().join("tests/fixtures/keycloak.jsonl");
    let import = args("import", &lake, &["--adapter", "keycloak", "--format", "json", fixture.to_str().unwrap()]);
    let first = summary(&import);
    assert!(first["events"].as_i64() > Some(0));
    assert_eq!(summary(&import)["events"], 0);
    let stored = count(&lake, "SELECT count(*) FROM events");
    assert_eq!(Some(stored), first["events"].as_i64());
    summary(&args("detect", &lake, &["--once", "--format", "json"]));
    assert!(vialog(&args("maintain", &lake, &["--apply"])).status.success());
    assert_eq!(count(&lake, "SELECT count(*) FROM events"), stored);
    assert_verified(&lake);
}

#[test]
fn writers_that_race_in_a_bucket_lose_and_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(lake) = lake("writers_that_race_in_a_bucket_lose_and_double_nothing", folder.path()) else { return };
    // The first import makes the lake; the others race for its versions.
    let file = |writer: usize| {
        let path = folder.path().join(format!("{writer}.jsonl"));
        let line = |n: usize| {
            format!(
                r#"{{"id":"{writer}-{n}","time":{},"type":"LOGIN","realmId":"r","userId":"u{writer}"}}"#,
                1_780_000_000_000_u64 + n as u64
            )
        };
        std::fs::write(&path, (0..20).map(line).collect::<Vec<_>>().join("\n")).unwrap();
        path
    };
    let start = |writer: usize| {
        let path = file(writer);
        let mut command = Command::new(binary());
        command.args(args("import", &lake, &["--adapter", "keycloak", path.to_str().unwrap()]));
        Running::start(command.env("RUST_LOG", "error").stdout(Stdio::null()))
    };
    assert!(start(0).ended().success());
    let writers: Vec<Running> = (1..8).map(start).collect();
    for writer in writers {
        assert!(writer.ended().success());
    }
    assert_eq!(count(&lake, "SELECT count(DISTINCT event_id) FROM events"), 8 * 20);
    assert_eq!(count(&lake, "SELECT count(*) FROM events"), 8 * 20);
    assert_verified(&lake);
}

#[test]
fn a_commit_to_a_bucket_whose_reply_is_lost_is_not_written_twice() {
    const TOPIC: &str = "toolhive.audit";
    let folder = tempfile::tempdir().unwrap();
    let Some(lake) = lake("a_commit_to_a_bucket_whose_reply_is_lost_is_not_written_twice", folder.path()) else { return };
    let broker = EmbeddedBroker::start(&[TOPIC], 1).unwrap();
    let config = write_config(folder.path(), &broker.brokers(), &[(TOPIC, "toolhive")], EMBEDDED_GROUP_TIMES);
    let local = folder.path().join("lake");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace(local.to_str().unwrap(), &lake[1])).unwrap();
    calls::produce(&broker.brokers(), TOPIC, 1, 0..100);
    let mut command = Command::new(binary());
    command.args(["ingest", "--config", config.to_str().unwrap(), "--once", "--key-file", &lake[3], "--fault", "lost-reply:2"]);
    let output = command.env("RUST_LOG", "warn").stdin(Stdio::null()).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && log.contains("a reply was lost"), "{log}");
    assert_eq!(count(&lake, "SELECT count(*) FROM events"), 100);
    let report = summary(&["verify", &lake[1], "--key-file", &lake[3], "--format", "json"]);
    assert_eq!((report["rows"].as_u64(), report["offsets"].as_u64()), (Some(100), Some(100)), "{report}");
}

#[test]
fn a_bucket_needs_a_key_file_and_says_so() {
    let output = vialog(&["query", "--lake", "s3://nowhere/lake", "--s3-endpoint", "http://127.0.0.1:9", "SELECT 1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--key-file"));
    let output = vialog(&["query", "--lake", "gs://bucket/lake", "SELECT 1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("s3://bucket/prefix"));
}
