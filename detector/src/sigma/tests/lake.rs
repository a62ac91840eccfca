//! A real lake for tests, by way of the program.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::super::matcher::Event;

/// Numbers that look random and are always the same.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// A number below `n`.
    pub(super) fn roll(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    /// One of several.
    pub(super) fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.roll(from.len())]
    }
}

/// The built program: beside the folder of this test's own executable.
pub(super) fn program() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.parent()?.parent()?.join("vialog");
    path.is_file().then_some(path)
}

/// A lake of a test.
pub(super) struct Lake {
    binary: PathBuf,
    folder: PathBuf,
}

impl Lake {
    /// An empty one; without the program none, which is said.
    pub(super) fn new(name: &str) -> Option<Self> {
        let Some(binary) = program() else {
            println!("SKIP sigma against the engine: the program is not built");
            return None;
        };
        let folder = std::env::temp_dir().join(format!("sigma-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Some(Self { binary, folder })
    }

    /// Adds events.
    pub(super) fn import(&self, events: &[Value]) {
        let lines: String = events.iter().map(|e| format!("{e}\n")).collect();
        std::fs::write(self.folder.join("events.jsonl"), lines).unwrap();
        self.run(&["import", "--environment", "development", "--adapter", "json", &self.path("events.jsonl")]);
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn run(&self, args: &[&str]) -> String {
        let lake = self.path("lake");
        let output = Command::new(&self.binary).args(&args[..1]).args(["--lake", &lake]).args(&args[1..]).output().unwrap();
        assert!(output.status.success(), "{}\n{}", args.join(" "), String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The rows of a query.
    pub(super) fn query(&self, sql: &str) -> Vec<Value> {
        self.run(&["query", "--format", "json", sql]).lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }

    /// The events as the lake has them.
    pub(super) fn events(&self) -> Vec<Event> {
        let sql = "SELECT event_id, event_time, category, src_ip, tool_name, http_status, asn, risk_score, delegator_id, agent_id, resource_owner, result_bytes, cost_usd, outcome, is_proxy, agent_name, resource_id, delegator_roles, \
                   ext, source_event_type, action_requested, method, params_json, resource_name, resource_uri, outcome_reason, decision_reason, user_agent FROM events";
        let decode = |row: Value| {
            let mut event = row.as_object().unwrap().clone();
            if let Some(Value::Object(ext)) = event.get_mut("ext") {
                for value in ext.values_mut() {
                    let text = value.as_str().unwrap().to_owned();
                    // Numbers keep their spelling; control characters do not.
                    let decoded: String = if text.starts_with('"') { serde_json::from_str(&text).unwrap() } else { text };
                    *value = json!(decoded.replace(|c: char| c.is_control() && !"\r\n\t".contains(c), "\u{fffd}"));
                }
            }
            event
        };
        self.query(sql).into_iter().map(decode).collect()
    }
}

impl Drop for Lake {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(Path::new(&self.folder));
    }
}
