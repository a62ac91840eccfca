//! The detector as a service, and rules in shadow: what lands is judged at once, and nobody sees what was not promoted.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::json;

use crate::running::Running;
use crate::support::{binary, number, query, repository, summary, vialog};

/// A tool call of an agent with a secret in an argument (synthetic, as ToolHive writes one).
fn call_with_secret(folder: &Path, agent: &str) -> PathBuf {
    let record = json!({
        "time": "2026-03-02T10:00:00Z", "level": "AUDIT", "msg": "audit_event", "audit_id": format!("0f9619ff-8b86-d011-b42d-{agent:0>12}"),
        "type": "mcp_tool_call", "logged_at": "2026-03-02T10:00:00Z", "outcome": "success", "subjects": { "user_id": "ann" },
        "delegation": { "chain": [{ "iss": "https://idp.example.com", "sub": agent }], "truncated": false, "omitted": 0, "malformed": false },
        "target": { "endpoint": "/mcp", "method": "tools/call", "type": "tool", "name": "connect" },
        "data": { "request": { "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "connect", "arguments": { "password": "hunter2hunter2" } } } }
    });
    let file = folder.join(format!("{agent}.jsonl"));
    std::fs::write(&file, format!("{record}\n")).unwrap();
    file
}

fn import(lake: &Path, file: &Path) {
    summary(&["import", "--lake", lake.to_str().unwrap(), "--adapter", "toolhive", "--format", "json", file.to_str().unwrap()]);
}

/// A running detector, and what it prints.
struct Service {
    child: Running,
    lines: mpsc::Receiver<String>,
}

impl Service {
    fn start(lake: &Path) -> Self {
        let mut command = Command::new(binary());
        command.args(["detect", "--lake", lake.to_str().unwrap(), "--format", "json"]).env("RUST_LOG", "error");
        let mut child = Running::start(command.stdout(Stdio::piped()));
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout());
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    /// The next line of the rule; fails when it takes far longer than it should.
    fn next(&self, rule: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(Duration::from_mins(2)).expect("an alert comes");
            if line.contains(rule) {
                return line;
            }
        }
    }

    fn stop(self) -> Vec<String> {
        self.child.ends_well();
        self.lines.iter().collect()
    }
}

#[test]
fn a_detector_that_runs_tells_each_violation_once_and_ends_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("lake");
    import(&lake, &call_with_secret(folder.path(), "1"));
    let service = Service::start(&lake);
    let rule = "tok/secret_in_arguments";
    assert!(service.next(rule).contains("agent:1"));
    import(&lake, &call_with_secret(folder.path(), "2"));
    assert!(service.next(rule).contains("agent:2"));
    let rest = service.stop();
    assert!(!rest.iter().any(|line| line.contains(rule)), "{rest:?}");
    // Whoever runs after it finds nothing more.
    let after = summary(&["detect", "--once", "--lake", lake.to_str().unwrap(), "--format", "json"]);
    let told = number(&lake, &format!("SELECT COUNT(*) FROM alerts WHERE rule_id = '{rule}'"));
    assert_eq!(told, 2, "{after}");
}

#[test]
fn a_rule_in_shadow_is_seen_by_nobody_until_somebody_promotes_it() {
    let folder = tempfile::tempdir().unwrap();
    let (lake, rules) = (folder.path().join("lake"), folder.path().join("rules"));
    std::fs::create_dir(&rules).unwrap();
    let text = std::fs::read_to_string(repository().join("detector/rules/tok/secret_in_arguments.yaml")).unwrap();
    let id = text.lines().next().unwrap();
    let own = text.replace(id, "id: 11111111-2222-4333-8444-555555555555").replace("tok/secret_in_arguments", "own/secrets");
    std::fs::write(rules.join("secrets.yaml"), own.replace("status: stable", "status: test")).unwrap();
    let (lake_text, rules_text) = (lake.to_str().unwrap(), rules.to_str().unwrap());
    let judge = |agent: &str| {
        import(&lake, &call_with_secret(folder.path(), agent));
        summary(&["detect", "--once", "--lake", lake_text, "--rules", rules_text, "--format", "json"]);
        let sql = format!("SELECT status FROM alerts WHERE rule_id = 'own/secrets' AND entity = 'agent:{agent}'");
        query(&lake, &sql)[0]["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(judge("1"), "shadow");
    let why = ["--who", "ann", "--reason", "thirty quiet days"];
    let about = ["--from", "2026-03-01", "--to", "2026-03-03", "--lake", lake_text, "--rules", rules_text, "own/secrets"];
    let promote = |more: &[&str]| vialog(&[&["rules", "promote"][..], &why, more, &about].concat());
    let said = String::from_utf8(promote(&[]).stdout).unwrap();
    assert!(said.contains("1 alerts") && said.contains("nothing was changed"), "{said}");
    assert_eq!(judge("2"), "shadow");
    assert!(promote(&["--yes"]).status.success());
    assert_eq!(judge("3"), "open");
    let demoted = vialog(&[&["rules", "demote"][..], &why, &["--lake", lake_text, "own/secrets"]].concat());
    assert!(demoted.status.success(), "{}", String::from_utf8_lossy(&demoted.stderr));
    // The rules of that folder were not named, so it is the version that was promoted.
    assert_eq!(number(&lake, "SELECT COUNT(*) FROM rule_actions WHERE rule_version < 1"), 0);
    assert_eq!(judge("4"), "shadow");
    assert_eq!(number(&lake, "SELECT COUNT(*) FROM rule_actions WHERE who = 'ann'"), 2);
    assert_eq!(promote(&["--yes", "--zone", "UTC"]).status.code(), Some(0));
}
