//! What the tests share: the binary, a lake in a temporary folder, queries, skips.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The repository.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The built binary: beside the folder of this test's own executable.
pub(crate) fn binary() -> PathBuf {
    let path = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("vialog");
    assert!(path.is_file(), "build the binary first: `./dev test` does (looked for {})", path.display());
    path
}

/// Prints a skip that `.ci/run` counts.
pub(crate) fn skip(test: &str, why: &str) {
    eprintln!("SKIP {test}: {why}");
}

/// A folder of `../shared`, when there is one.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let found = repository().parent()?.join("shared").join(path);
    found.exists().then_some(found)
}

/// Runs the binary to its end.
pub(crate) fn vialog(args: &[&str]) -> Output {
    Command::new(binary()).args(args).env("RUST_LOG", "error").stdin(Stdio::null()).output().unwrap()
}

/// Runs the binary, expects exit code 0, and gives the last line as JSON.
pub(crate) fn summary(args: &[&str]) -> Value {
    let output = vialog(args);
    assert!(
        output.status.success(),
        "{args:?}: {:?} {} {}",
        output.status,
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// Rows of a query as JSON objects.
pub(crate) fn query(lake: &Path, sql: &str) -> Vec<Value> {
    let output = vialog(&["query", "--lake", lake.to_str().unwrap(), "--format", "json", sql]);
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The one number of a query.
pub(crate) fn number(lake: &Path, sql: &str) -> i64 {
    query(lake, sql)[0].as_object().unwrap().values().next().unwrap().as_i64().unwrap()
}

/// A configuration file for topics of one adapter.
pub(crate) fn write_config(folder: &Path, brokers: &str, sources: &[(&str, &str)], properties: &[(&str, &str)]) -> PathBuf {
    let sources: String =
        sources.iter().map(|(topic, adapter)| format!("[[source]]\ntopic = \"{topic}\"\nadapter = \"{adapter}\"\n")).collect();
    let properties: String = properties.iter().map(|(key, value)| format!("\"{key}\" = \"{value}\"\n")).collect();
    let lake = folder.join("lake");
    let text = format!(
        "environment = \"staging\"\n[lake]\nuri = \"{}\"\n[ingest]\nflush_age = \"150ms\"\n[kafka]\nbrokers = \"{brokers}\"\ngroup = \"test\"\n[kafka.properties]\n{properties}\n{sources}",
        lake.display()
    );
    let path = folder.join("vialog.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// How long something may take to come that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until the one number of a query is at least this.
pub(crate) fn wait_for(lake: &Path, sql: &str, wanted: i64) {
    wait_until(sql, || lake.join("events").is_dir() && number(lake, sql) >= wanted);
}

/// Waits until workers of this configuration have logged a text.
pub(crate) fn wait_for_log(config: &Path, text: &str) {
    wait_until(text, || std::fs::read_to_string(config.with_extension("log")).is_ok_and(|log| log.contains(text)));
}

/// Waits until the commit of a worker with the fault `slow-commit` of this version is on its way.
pub(crate) fn wait_for_slow_commit(lake: &Path, version: u64) {
    let mark = lake.join(format!("events/_delta_log/{version:020}.json.slow.tmp"));
    wait_until("a slow commit", || mark.exists());
}

/// Looks until it is so, but not for ever.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never came: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A copy of a lake and of its key, in a folder of its own.
pub(crate) fn copy_of(lake: &Path) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for from in [lake.to_owned(), lake.with_extension("key")] {
        assert!(Command::new("cp").arg("-a").arg(from).arg(folder.path()).status().unwrap().success());
    }
    let copy = folder.path().join(lake.file_name().unwrap());
    (folder, copy)
}

/// The file of a rule whose only query is this; its tests expect one alert about `entity` of one call, and none of nothing.
pub(crate) fn rule_file(id: &str, name: &str, query: &str, entity: &str) -> String {
    format!(
        r#"
id: {id}
name: {name}
title: A rule
version: 1
status: experimental
detects: [something]
severity: low
description: A rule.
sources: [mcp.tool_call]
required_fields: [agent_id]
taxonomy: {{}}
triage: [Look.]
known_gaps: none
query: |
  {query}
tests:
  - {{name: one, events: [{{event_time: "2026-01-25T10:00:00Z", category: tool_call, tool_name: x}}], expect: [{{entity: "{entity}"}}]}}
  - {{name: none, events: [], expect: []}}
"#
    )
}
