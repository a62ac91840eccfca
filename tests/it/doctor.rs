//! `doctor` says what is in doubt, and fails only for what is broken.

use serde_json::Value;

use crate::support::{repository, summary, vialog, write_config};

fn lines(args: &[&str]) -> (Option<i32>, Vec<Value>) {
    let output = vialog(args);
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[test]
fn a_source_that_lacks_what_another_saw_is_in_doubt_and_nothing_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("lake").to_str().unwrap().to_owned();
    for (adapter, instance, file) in [("toolhive", "everything", "toolhive-everything"), ("mcp", "client", "mcp-client-everything")] {
        let file = repository().join(format!("tests/fixtures/captured/{file}.jsonl.gz"));
        summary(&["import", "--lake", &lake, "--adapter", adapter, "--instance", instance, "--format", "json", file.to_str().unwrap()]);
    }
    let (code, lines) = lines(&["doctor", "--lake", &lake, "--format", "json"]);
    assert_eq!(code, Some(0));
    let doubt = lines.iter().find(|l| l["area"] == "completeness" && l["state"] == "DOUBT").unwrap();
    assert!(doubt["what"].as_str().unwrap().starts_with("toolhive:everything: calls that another observer saw: 8 missing"), "{doubt}");
    let says = &lines.iter().find(|l| l["source"] == "toolhive:everything").unwrap()["says"];
    assert_eq!((says["time"].as_f64(), says["token"].as_f64()), (Some(1.0), Some(0.0)));
    assert_eq!(lines.last().unwrap()["broken"], 0);
    let says_of_rules = |what: &str| lines.iter().any(|l| l["area"] == "rules" && l["what"].as_str().unwrap().contains(what));
    // No gateway says what tokens were granted. What was asked of a tool it does say, though nobody sent any here.
    assert!(says_of_rules("no source here says `token_audience`"), "{lines:?}");
    assert!(!says_of_rules("says `source_event_type`") && !says_of_rules("says `trace_id`"), "{lines:?}");
}

#[test]
fn a_broker_that_does_not_answer_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path(), "127.0.0.1:1", &[("gone", "okta")], &[("socket.connection.setup.timeout.ms", "1000")]);
    let lake = folder.path().join("lake").to_str().unwrap().to_owned();
    let fixture = repository().join("tests/fixtures/keycloak.jsonl");
    let staging = ["import", "--lake", &lake, "--environment", "staging", "--adapter", "keycloak", "--format", "json"];
    summary(&[&staging[..], &[fixture.to_str().unwrap()]].concat());
    let (code, lines) = lines(&["doctor", "--config", config.to_str().unwrap(), "--format", "json"]);
    assert_eq!(code, Some(1));
    assert!(lines.iter().any(|l| l["area"] == "kafka" && l["state"] == "BROKEN"), "{lines:?}");
}
