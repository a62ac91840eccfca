//! The life of rules and alerts: lint, lock, backtest, replay, parameters of one's own, what people do.

use std::path::Path;
use std::sync::OnceLock;

use serde_json::Value;

use crate::support::{number, query, repository, rule_file, summary, vialog};

/// A lake of labelled traffic on which the detector ran once.
fn judged() -> &'static Path {
    static LAKE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = LAKE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let (lake, out) = (folder.path().join("lake"), folder.path().join("traffic"));
        assert!(vialog(&["generate", "--seed", "11", "--events", "9000", "--out", out.to_str().unwrap()]).status.success());
        for adapter in ["toolhive", "cerbos", "keycloak", "okta"] {
            let file = out.join(format!("{adapter}.jsonl"));
            summary(&["import", "--lake", lake.to_str().unwrap(), "--adapter", adapter, "--format", "json", file.to_str().unwrap()]);
        }
        let inventory = out.join("inventory");
        let found = summary(&[
            "detect",
            "--once",
            "--lake",
            lake.to_str().unwrap(),
            "--inventory",
            inventory.to_str().unwrap(),
            "--format",
            "json",
        ]);
        assert!(found["alerts"].as_u64() > Some(3), "{found}");
        folder
    });
    folder.path()
}

fn lake() -> String {
    judged().join("lake").to_str().unwrap().to_owned()
}

fn inventory() -> String {
    judged().join("traffic/inventory").to_str().unwrap().to_owned()
}

fn out(args: &[&str]) -> (Option<i32>, String) {
    let output = vialog(args);
    (output.status.code(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr))
}

#[test]
fn every_alert_is_given_again_bit_for_bit() {
    let alerts = query(Path::new(&lake()), "SELECT alert_id, rule_id FROM alerts");
    let mut rules: Vec<&str> = alerts.iter().map(|a| a["rule_id"].as_str().unwrap()).collect();
    rules.sort_unstable();
    rules.dedup();
    assert!(rules.len() >= 4, "{rules:?}");
    for rule in rules {
        let alert = alerts.iter().find(|a| a["rule_id"] == rule).unwrap();
        let id = alert["alert_id"].as_str().unwrap();
        let said = summary(&["rules", "replay", "--lake", &lake(), "--inventory", &inventory(), "--format", "json", id]);
        assert_eq!((said["same"].as_bool(), said["rule_id"].as_str()), (Some(true), Some(rule)), "{said}");
    }
}

#[test]
fn an_alert_that_was_found_with_another_inventory_is_not_called_the_same() {
    let id = query(Path::new(&lake()), "SELECT alert_id FROM alerts ORDER BY 1 LIMIT 1")[0]["alert_id"].as_str().unwrap().to_owned();
    let (code, said) = out(&["rules", "replay", "--lake", &lake(), &id]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the inventory is not the one"), "{said}");
}

#[test]
fn a_backtest_finds_what_was_found_and_writes_nothing() {
    let lake = lake();
    let before = number(Path::new(&lake), "SELECT COUNT(*) FROM alerts");
    let found = number(Path::new(&lake), "SELECT COUNT(*) FROM alerts WHERE rule_id = 'tool/new_tool'");
    let args = [
        "rules",
        "backtest",
        "--lake",
        &lake,
        "--inventory",
        &inventory(),
        "--from",
        "2026-01-01",
        "--to",
        "2026-12-31",
        "--format",
        "json",
    ];
    let output = vialog(&[&args[..], &["tool/new_tool"]].concat());
    let first: Value = serde_json::from_str(String::from_utf8(output.stdout).unwrap().lines().next().unwrap()).unwrap();
    assert_eq!((first["alerts"].as_i64(), first["rule"].as_str()), (Some(found), Some("tool/new_tool")));
    assert!(first["per_thousand_identities_and_day"].as_f64() > Some(0.0), "{first}");
    assert_eq!(number(Path::new(&lake), "SELECT COUNT(*) FROM alerts"), before);
}

#[test]
fn a_report_counts_the_labels_of_generated_traffic_and_of_sessions_alike() {
    let (lake, folder) = (lake(), tempfile::tempdir().unwrap());
    let planted = judged().join("traffic/labels.jsonl");
    let report = |labels: &Path, rest: &[&str]| {
        let args = ["rules", "report", "--lake", &lake, "--format", "json", "--labels", labels.to_str().unwrap()];
        out(&[&args[..], rest].concat())
    };
    let all = |(code, said): (Option<i32>, String)| -> Value {
        assert_eq!(code, Some(0), "{said}");
        serde_json::from_str(said.lines().last().unwrap()).unwrap()
    };
    let found = all(report(&planted, &[]));
    let expected = std::fs::read_to_string(&planted).unwrap().lines().filter(|line| line.contains("\"expected\":true")).count() as u64;
    assert_eq!((found["all"]["recall"]["of"].as_u64(), found["all"]["recall"]["n"].as_u64()), (Some(expected), Some(expected)), "{found}");
    assert!(found["all"]["delay"]["n"].as_u64() > Some(0), "{found}");
    // The same finding, labelled by its events, and a session that has nothing to do with it.
    let alert = &query(Path::new(&lake), "SELECT event_ids[1] AS id, rule_id FROM alerts WHERE rule_id = 'tool/new_tool' LIMIT 1")[0];
    let other = &query(Path::new(&lake), "SELECT MIN(event_id) AS id FROM events WHERE category = 'authn'")[0];
    let session = |id: &Value, split: &str, expected: bool| {
        serde_json::json!({ "entity": "job:a/b", "day": "2026-01-30", "expected": expected, "split": split, "event_ids": [id] }).to_string()
    };
    let sessions = folder.path().join("sessions.jsonl");
    std::fs::write(
        &sessions,
        [session(&alert["id"], "one", true), session(&other["id"], "one", false), session(&other["id"], "two", true)].join("\n"),
    )
    .unwrap();
    let wide = session(&other["id"], "one", false).replace("2026-01-30", "2026-01-01");
    std::fs::write(&sessions, std::fs::read_to_string(&sessions).unwrap() + "\n" + &wide).unwrap();
    let found = all(report(&sessions, &["--split", "one", "tool/new_tool"]));
    let numbers = ["recall", "flagged"].map(|what| (found["all"][what]["n"].as_u64(), found["all"][what]["of"].as_u64()));
    assert_eq!(numbers, [(Some(1), Some(1)), (Some(0), Some(2))], "{found}");
    // Events of elsewhere would all look missed.
    let foreign = folder.path().join("foreign.jsonl");
    std::fs::write(&foreign, session(&Value::from("toolhive:other:audit:1"), "one", true)).unwrap();
    let (code, said) = report(&foreign, &[]);
    assert!(code == Some(2) && said.contains("--instance"), "{code:?} {said}");
}

#[test]
fn what_people_do_with_an_alert_is_kept_and_shown() {
    let lake = lake();
    let id =
        query(Path::new(&lake), "SELECT alert_id FROM alerts ORDER BY alert_id DESC LIMIT 1")[0]["alert_id"].as_str().unwrap().to_owned();
    let act = |args: &[&str]| out(&[args, &["--lake", &lake, "--who", "ann", "--reason", "looked at it", &id]].concat());
    assert_eq!(act(&["alerts", "ack"]).0, Some(0));
    assert_eq!(act(&["alerts", "close", "--as", "benign"]).0, Some(0));
    let row = &query(Path::new(&lake), &format!("SELECT status, disposition, handled_by FROM alerts WHERE alert_id = '{id}'"))[0];
    assert_eq!(
        (row["status"].as_str(), row["disposition"].as_str(), row["handled_by"].as_str()),
        (Some("closed"), Some("benign"), Some("ann"))
    );
    assert_eq!(act(&["alerts", "reopen"]).0, Some(0));
    let shown = summary(&["alerts", "show", "--lake", &lake, "--format", "json", &id[..8]]);
    assert_eq!((shown["status"].as_str(), shown["actions"].as_array().map(Vec::len)), (Some("open"), Some(3)));
    let (code, said) = out(&["alerts", "ack", "--lake", &lake, "--who", "ann", "--reason", "x", "ffffffffffff"]);
    assert!(code == Some(2) && said.contains("alerts list"), "{code:?} {said}");
}

#[test]
fn what_is_known_of_an_agent_is_told_in_words() {
    let (code, said) = out(&["baselines", "show", "--lake", &lake(), "agent:billing-agent"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("a usual day of ") && said.contains(" calls, "), "{said}");
    let (code, said) = out(&["baselines", "show", "--lake", &lake(), "job:billing-agent/invoices"]);
    assert!(code == Some(0) && said.contains("search_invoices"), "{said}");
    assert_eq!(out(&["baselines", "show", "--lake", &lake(), "billing"]).0, Some(2));
}

#[test]
fn the_pack_is_well_and_its_logic_is_that_of_its_versions() {
    let lock = repository().join("detector/rules.lock");
    let said = summary(&["rules", "lint", "--lock", lock.to_str().unwrap(), "--format", "json"]);
    assert_eq!(said["faults"], 0, "{said}");
    assert!(said["rules"].as_u64() > Some(40));
}

#[test]
fn lint_names_what_a_rule_may_not_do() {
    let folder = tempfile::tempdir().unwrap();
    let rule = |from: &str| {
        let query = format!(
            "SELECT e.tenant, e.event_id AS entity, e.event_time, e.event_id AS dedup_key, e.event_id AS value, e.event_id AS expected, \
             e.event_id AS reason, make_array(e.event_id) AS event_ids FROM {from}"
        );
        rule_file("5a1c4f0e-0b0f-4f4e-9a59-3a6d0c3fffff", "own/rule", &query, "x")
    };
    for (from, what) in [
        ("new_events e CROSS JOIN events o", "pairs everything with everything"),
        ("new_events e JOIN events o ON o.trace_id = e.trace_id", "tenants are equal"),
        ("(SELECT * FROM new_events WHERE random() < 0.5) e", "another answer each time"),
        ("new_events e JOIN generate_series(1, 100000000) g ON g.value = e.offset", "makes rows"),
        (
            "(SELECT MIN(tenant) AS tenant, agent_id AS event_id, MAX(event_time) AS event_time FROM new_events GROUP BY agent_id) e",
            "GROUP BY",
        ),
        (
            "(SELECT tenant, event_id, event_time, lag(event_id) OVER (PARTITION BY agent_id ORDER BY event_time) AS b FROM new_events) e",
            "PARTITION BY",
        ),
        ("(SELECT tenant, event_id, event_time, lag(event_id) OVER (ORDER BY tenant, event_time) AS b FROM new_events) e", "PARTITION BY"),
        ("no_such_view e", "not found"),
        ("stored_events e", "stored_"),
    ] {
        let file = folder.path().join("rule.yaml");
        std::fs::write(&file, rule(from)).unwrap();
        let (code, said) = out(&["rules", "lint", file.to_str().unwrap()]);
        assert!(code == Some(1) && said.contains(what), "{from}: {said}");
    }
    std::fs::write(folder.path().join("rule.yaml"), rule("new_events e")).unwrap();
    assert_eq!(out(&["rules", "lint", folder.path().to_str().unwrap()]).0, Some(0));
}

#[test]
fn lint_refuses_a_rule_of_ones_own_that_has_the_name_or_the_id_of_a_built_in_one() {
    let folder = tempfile::tempdir().unwrap();
    let source = repository().join("detector/rules/tool/new_tool.yaml");
    assert_eq!(out(&["rules", "lint", source.to_str().unwrap()]).0, Some(0));
    let text = std::fs::read_to_string(&source).unwrap();
    let own = text.replace("name: tool/new_tool", "name: own/new_tool");
    let whole = own.replace("id: 5a1c4f0e-", "id: 6a1c4f0e-");
    for (text, code, at) in [(&text, 1, "name: `tool/new_tool` comes"), (&own, 1, "id: `tool/new_tool` comes"), (&whole, 0, "0 faults")] {
        std::fs::write(folder.path().join("own.yaml"), text).unwrap();
        let (found, said) = out(&["rules", "lint", folder.path().to_str().unwrap()]);
        assert!(found == Some(code) && said.contains(at), "{said}");
    }
}

#[test]
fn a_parameter_of_ones_own_changes_what_is_found_and_an_unknown_one_is_refused() {
    let config = |parameters: &str| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vialog.toml");
        let text = format!(
            "environment = \"production\"\n[lake]\nuri = \"{}\"\n[detector]\ninventory = \"{}\"\n{parameters}",
            lake(),
            inventory()
        );
        std::fs::write(&path, text).unwrap();
        (folder, path.to_str().unwrap().to_owned())
    };
    let backtest = |path: &str| {
        let args =
            ["rules", "backtest", "--config", path, "--from", "2026-01-01", "--to", "2026-12-31", "--format", "json", "tool/new_tool"];
        summary(&args)["alerts"].as_i64().unwrap()
    };
    let (_kept, usual) = config("");
    let (_kept, strict) = config("[detector.parameters.\"tool/new_tool\"]\nmin_days = 400\n");
    let (_kept, one_tenant) = config("[detector.tenant_parameters.default.\"tool/new_tool\"]\nmin_days = 400\n");
    let (_kept, other_tenant) = config("[detector.tenant_parameters.acme.\"tool/new_tool\"]\nmin_days = 400\n");
    let found = backtest(&usual);
    assert!(found > 0);
    assert_eq!((backtest(&strict), backtest(&one_tenant), backtest(&other_tenant)), (0, 0, found));
    let (_kept, wrong) = config("[detector.parameters.\"tool/new_tool\"]\nmin_dayz = 400\n");
    let (code, said) = out(&["detect", "--once", "--config", &wrong]);
    assert!(code == Some(2) && said.contains("min_dayz") && said.contains("min_days"), "{said}");
}

#[test]
fn an_event_dated_far_beyond_any_calendar_stops_no_rule() {
    let folder = tempfile::tempdir().unwrap();
    let (lake, file) = (folder.path().join("lake"), folder.path().join("events.jsonl"));
    let mut lines = String::new();
    for (year, name) in [(9000, "far"), (1971, "old"), (2026, "now")] {
        for (category, n) in [("tool_call", 0), ("authz_decision", 1), ("token", 2), ("authn", 3), ("lifecycle", 4), ("admin", 5)] {
            lines.push_str(&format!(
                "{{\"event_id\":\"{name}-{n}\",\"event_time\":\"{year}-05-05T10:00:00Z\",\"category\":\"{category}\",\"activity\":\"call\",\"tool_name\":\"delete_all\",\"agent_id\":\"a\",\"delegator_id\":\"u\",\"outcome\":\"success\",\"decision\":\"deny\",\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\",\"token_jti\":\"j\",\"src_ip\":\"192.0.2.{n}\",\"scopes_granted\":[\"*\"],\"sequence\":{n}}}\n"
            ));
        }
    }
    std::fs::write(&file, lines).unwrap();
    let lake = lake.to_str().unwrap();
    let found = summary(&["import", "--lake", lake, "--adapter", "json", "--format", "json", file.to_str().unwrap()]);
    assert_eq!(found["events"], 18, "{found}");
    let (code, said) = out(&["detect", "--once", "--lake", lake]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(number(Path::new(lake), "SELECT COUNT(*) FROM alerts WHERE rule_id LIKE 'health/%'"), 0, "{said}");
    assert!(number(Path::new(lake), "SELECT COUNT(*) FROM coverage") > 0);
}
