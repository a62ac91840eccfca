//! What several sources said of one act is one row; what one of them did not write down is named.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{number, query, repository, summary};

fn captured(name: &str) -> String {
    repository().join("tests/fixtures/captured").join(format!("{name}.jsonl.gz")).to_str().unwrap().to_owned()
}

fn lines(name: &str) -> Vec<Value> {
    let output = Command::new("gzip").args(["-dc", &captured(name)]).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn import(lake: &Path, adapter: &str, instance: &str, file: &str) {
    let lake = lake.to_str().unwrap();
    let found = summary(&["import", "--lake", lake, "--adapter", adapter, "--instance", instance, "--format", "json", file]);
    assert_eq!(found["records_rejected"], 0, "{file}");
}

/// A scenario through ToolHive with a recorder before it.
fn scenario(folder: &Path) -> PathBuf {
    let lake = folder.join("lake");
    for server in ["records", "filesystem", "everything"] {
        import(&lake, "toolhive", server, &captured(&format!("toolhive-{server}")));
        import(&lake, "mcp", &format!("client-{server}"), &captured(&format!("mcp-client-{server}")));
    }
    lake
}

fn counted(keys: impl Iterator<Item = (String, String)>) -> BTreeMap<(String, String), usize> {
    let mut counts = BTreeMap::new();
    keys.for_each(|key| *counts.entry(key).or_insert(0) += 1);
    counts
}

/// Calls that the client made and got an answer to, less those in the audit files: counted by job and tool.
fn lost_by_truth() -> BTreeMap<(String, String), usize> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let answered = |call: &Value| {
        let direct = ["records", "filesystem", "everything"].contains(&call["server"].as_str().unwrap_or_default());
        // A refused token never becomes a call.
        direct && call["method"] == "tools/call" && call["flow"] != "modern" && call["outcome"] != "http_401"
    };
    let mut made = counted(lines("truth").iter().filter(|t| answered(t)).map(|t| (text(&t["job"]), text(&t["target"]))));
    for server in ["records", "filesystem", "everything"] {
        for audited in lines(&format!("toolhive-{server}")).iter().filter(|a| a["type"] == "mcp_tool_call") {
            let request = text(&audited["source"]["extra"]["request_id"]);
            let job = request.rsplit_once('-').map(|(job, _)| job.to_owned()).unwrap_or_default();
            if let Some(count) = made.get_mut(&(job, text(&audited["target"]["name"]))) {
                *count -= 1;
            }
        }
    }
    made.retain(|_, count| *count > 0);
    made
}

#[test]
fn calls_that_a_gateway_did_not_write_down_are_named_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let lake = scenario(folder.path());
    let named = query(&lake, "SELECT DISTINCT act_key, tool_name FROM lost_calls WHERE not_seen_by LIKE 'toolhive:%'");
    // The key is `request <job>-<number> <tool> <day>`.
    let job = |row: &Value| row["act_key"].as_str().unwrap().split(' ').nth(1).and_then(|id| id.rsplit_once('-')).unwrap().0.to_owned();
    let named = counted(named.iter().map(|row| (job(row), row["tool_name"].as_str().unwrap().to_owned())));
    let lost = lost_by_truth();
    assert_eq!(named, lost);
    assert_eq!(lost.values().sum::<usize>(), 17);
    let missing = "SELECT SUM(missing) FROM coverage WHERE source LIKE 'toolhive:%' AND \"check\" = 'calls that another observer saw'";
    assert_eq!(number(&lake, missing), 17);
}

#[test]
fn a_call_that_two_observers_saw_is_one_act() {
    let folder = tempfile::tempdir().unwrap();
    let lake = scenario(folder.path());
    let shared = "SELECT COUNT(*) FROM acts WHERE array_length(observers) = 2";
    let both = "SELECT COUNT(*) FROM (SELECT act_key FROM observations WHERE act_key_method IS NOT NULL GROUP BY 1 HAVING COUNT(DISTINCT observer) = 2)";
    assert!(number(&lake, shared) > 40);
    assert_eq!(number(&lake, shared), number(&lake, both));
    // The gateway knows the person, the recorder what came back.
    let row = &query(
        &lake,
        "SELECT delegator_id, outcome, sentence FROM acts WHERE act_id = 'request job-42-0-research-1 list_directory 2026-11-23'",
    )[0];
    assert_eq!((row["delegator_id"].as_str(), row["outcome"].as_str()), (Some("user-alice"), Some("success")));
    assert!(row["sentence"].as_str().unwrap().contains("list_directory"), "{row}");
}

#[test]
fn a_decision_that_cerbos_dropped_for_its_size_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("lake");
    import(&lake, "cerbos", "cerbos", &captured("cerbos-decisions"));
    let checks = query(&lake, "SELECT seen, expected, missing, doubt FROM coverage WHERE \"check\" = 'decision for each access'");
    assert_eq!((checks.len(), &checks[0]["seen"], &checks[0]["expected"], &checks[0]["missing"]), (1, &47.into(), &48.into(), &1.into()));
}

#[test]
fn call_decision_and_token_of_labelled_traffic_are_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let (lake, out) = (folder.path().join("lake"), folder.path().join("traffic"));
    let made = crate::support::vialog(&["generate", "--seed", "3", "--events", "3000", "--out", out.to_str().unwrap()]);
    assert!(made.status.success());
    for adapter in ["toolhive", "cerbos", "keycloak", "okta"] {
        import(&lake, adapter, adapter, out.join(format!("{adapter}.jsonl")).to_str().unwrap());
    }
    let calls = number(&lake, "SELECT COUNT(*) FROM tool_calls");
    assert_eq!(number(&lake, "SELECT COUNT(*) FROM acts WHERE parts <> 'decision'"), calls);
    // By another way: calls whose trace some decision has.
    let decided = "SELECT COUNT(*) FROM tool_calls WHERE trace_id IN (SELECT trace_id FROM decisions)";
    assert_eq!(number(&lake, "SELECT COUNT(*) FROM acts WHERE decision_join = 'trace and tool'"), number(&lake, decided));
    let row =
        &query(&lake, "SELECT sentence, token_confidence FROM acts WHERE parts = 'call + decision + token' ORDER BY event_time LIMIT 1")[0];
    let sentence = row["sentence"].as_str().unwrap();
    for part in
        ["User ", " via Agent ", " via MCP Server ", " called ", "; asked call, got allow, because ", "; outcome success; with token "]
    {
        assert!(sentence.contains(part), "`{part}` in {sentence}");
    }
    assert_eq!(row["token_confidence"].as_f64(), Some(0.6));
}

/// What Keycloak, Cerbos, OPA, ToolHive and a collector wrote of the same minute (`tests/peers/together.sh --capture`).
fn together(folder: &Path) -> PathBuf {
    let lake = folder.join("lake");
    for adapter in ["keycloak", "cerbos", "opa", "toolhive", "otel"] {
        import(&lake, adapter, adapter, &captured(&format!("together-{adapter}")));
    }
    lake
}

#[test]
fn one_act_that_five_sources_tell_of_is_one_row() {
    let folder = tempfile::tempdir().unwrap();
    let lake = together(folder.path());
    let truth = lines("together-truth");
    // By the agent's span of the act, which the decision points were told.
    let rows = query(
        &lake,
        "SELECT e.span_id, a.delegator_id, a.delegator_name, a.agent_id, a.mcp_server, a.tool_name, a.decision, a.token_jti, a.trace_id, a.parts, array_length(a.decision_event_ids) AS decisions
         FROM acts a JOIN events e ON e.event_id = a.decision_event_id",
    );
    assert_eq!((number(&lake, "SELECT COUNT(*) FROM acts"), rows.len()), (i64::try_from(truth.len()).unwrap(), truth.len()));
    let rows: BTreeMap<&str, &Value> = rows.iter().map(|row| (row["span_id"].as_str().unwrap(), row)).collect();
    for act in &truth {
        let row = rows[act["span_id"].as_str().unwrap()];
        let names = [("delegator_id", "user_id"), ("delegator_name", "user"), ("agent_id", "agent"), ("mcp_server", "server")];
        for (column, true_name) in names.into_iter().chain([("tool_name", "tool"), ("token_jti", "jti"), ("trace_id", "trace_id")]) {
            assert_eq!(row[column], act[true_name], "{column}: {row} {act}");
        }
        let refused_by = act["refused_by"].as_str();
        assert_eq!(row["decision"], if refused_by.is_some() { "deny" } else { "allow" }, "{row} {act}");
        assert_eq!(row["parts"] == "decision", matches!(refused_by, Some("cerbos" | "opa")), "{row} {act}");
        assert_eq!(row["decisions"], 2, "{row}");
    }
}

#[test]
fn an_answer_that_somebody_read_goes_before_a_status() {
    let folder = tempfile::tempdir().unwrap();
    let lake = together(folder.path());
    let tools = [("charge", "error"), ("delete_patient", "failure"), ("search_patients", "success"), ("send_mail", "denied")];
    for (tool, outcome) in tools {
        let others = format!("SELECT COUNT(*) FROM acts WHERE tool_name = '{tool}' AND parts <> 'decision' AND outcome <> '{outcome}'");
        assert_eq!(number(&lake, &others), 0, "{tool}");
    }
}

#[test]
fn what_the_gateway_lost_is_named_and_nothing_else_is_in_doubt() {
    let folder = tempfile::tempdir().unwrap();
    let lake = together(folder.path());
    let audited = lines("together-toolhive").iter().filter(|a| a["type"] == "mcp_tool_call").count();
    let called = lines("together-truth").iter().filter(|t| matches!(t["refused_by"].as_str(), None | Some("gateway"))).count();
    let named = query(&lake, "SELECT not_seen_by, COUNT(DISTINCT act_key) AS n FROM lost_calls GROUP BY 1 ORDER BY 1");
    // ToolHive's spans, at the collector, are lost with its audit records. The records server writes spans of its own calls.
    let named: Vec<_> = named.iter().map(|row| (row["not_seen_by"].as_str().unwrap(), row["n"].as_u64().unwrap())).collect();
    let lost = u64::try_from(called - audited).unwrap();
    assert!(lost > 0);
    assert_eq!(named, [("otel:otel", lost), ("toolhive:toolhive", lost)]);
    // And nothing else is in doubt: tokens that were exchanged were used, decisions of two points were both followed.
    let doubts = query(&lake, "SELECT source, missing FROM coverage WHERE missing > 0 ORDER BY source");
    let doubts: Vec<_> = doubts.iter().map(|row| (row["source"].as_str().unwrap(), row["missing"].as_u64().unwrap())).collect();
    assert_eq!(doubts, [("otel:otel", lost), ("toolhive:toolhive", lost)]);
}
