//! Canaries of rules through the binary: what fires, what a configuration hides, and that nothing synthetic is stored.

use std::path::Path;

use crate::support::{number, query, rule_file, vialog};

/// A lake without events, a configuration of it with more text, and where both are.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(detector: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Self { folder };
        std::fs::write(
            place.folder.path().join("one.jsonl"),
            "{\"event_time\":\"2026-01-25T10:00:00Z\",\"category\":\"tool_call\",\"tool_name\":\"t\"}\n",
        )
        .unwrap();
        let file = place.folder.path().join("one.jsonl").to_str().unwrap().to_owned();
        let made = vialog(&["import", "--lake", &place.lake(), "--adapter", "json", &file]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        place.configure(detector);
        place
    }

    fn lake(&self) -> String {
        self.folder.path().join("lake").to_str().unwrap().to_owned()
    }

    fn config(&self) -> String {
        self.folder.path().join("vialog.toml").to_str().unwrap().to_owned()
    }

    fn inventory(&self) -> std::path::PathBuf {
        self.folder.path().join("inventory")
    }

    fn configure(&self, detector: &str) {
        std::fs::create_dir_all(self.inventory()).unwrap();
        let inventory = self.inventory();
        let text = format!(
            "environment = \"production\"\n[lake]\nuri = \"{}\"\n[detector]\ninventory = \"{}\"\n{detector}",
            self.lake(),
            inventory.display()
        );
        std::fs::write(self.config(), text).unwrap();
    }

    fn canary(&self, more: &[&str]) -> (Option<i32>, String) {
        let config = self.config();
        out(&[&["rules", "canary", "--config", &config][..], more].concat())
    }

    fn count(&self, sql: &str) -> i64 {
        number(Path::new(&self.lake()), sql)
    }
}

fn out(args: &[&str]) -> (Option<i32>, String) {
    let output = vialog(args);
    (output.status.code(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr))
}

const HEALTH: &str = "SELECT COUNT(*) FROM alerts WHERE rule_id = 'health/rule_failed'";

#[test]
fn a_canary_that_fires_is_recorded_with_its_alert_and_nothing_synthetic_is_stored() {
    let place = Place::new("");
    let rules = ["tool/new_tool", "pdp/denial_burst"];
    let (code, said) = place.canary(&[&["--dry-run"][..], &rules].concat());
    assert!(code == Some(0) && said.contains("nothing was recorded"), "{said}");
    assert_eq!(place.count("SELECT COUNT(*) FROM rule_canaries"), 0);
    for times in 1..=2 {
        let (code, said) = place.canary(&rules);
        assert!(code == Some(0) && said.contains("2 fired, 0 silent"), "{said}");
        assert_eq!(place.count("SELECT COUNT(*) FROM rule_canaries WHERE outcome = 'fired' AND who = 'vialog'"), 2 * times);
    }
    let kept =
        query(Path::new(&place.lake()), "SELECT alert_entity, alert_severity FROM rule_canaries WHERE rule = 'tool/new_tool' LIMIT 1");
    assert_eq!((kept[0]["alert_entity"].as_str(), kept[0]["alert_severity"].as_str()), (Some("job:billing/invoices"), Some("medium")));
    for view in ["alerts", "incidents", "baseline_terms", "baseline_hours", "baseline_facts", "rejections"] {
        assert_eq!(place.count(&format!("SELECT COUNT(*) FROM {view}")), 0, "{view}");
    }
    assert_eq!(place.count("SELECT COUNT(*) FROM events"), 1);
    let (code, said) = out(&["rules", "health", "--config", &place.config()]);
    assert!(code == Some(1) && said.contains("2 fired, 0 did not") && said.contains("never tried"), "{said}");
}

#[test]
fn a_rule_that_a_parameter_of_a_tenant_hides_is_named_as_silent_with_the_parameter_and_its_tenant() {
    let place = Place::new("[detector.tenant_parameters.acme.\"tool/new_tool\"]\nmin_days = 400\n");
    let (code, said) = place.canary(&["tool/new_tool"]);
    let (fired, silent) = (said.lines().find(|l| l.starts_with("fired")).unwrap(), said.lines().find(|l| l.starts_with("SILENT")).unwrap());
    assert_eq!(code, Some(1), "{said}");
    assert!(fired.contains("default") && silent.contains("acme") && silent.contains("min_days = 400 (in the file 10)"), "{said}");
    // One alert about the rule a day, however often it is tried, and it is of the tenant.
    assert_eq!(place.canary(&["tool/new_tool"]).0, Some(1));
    assert_eq!(place.count(HEALTH), 1);
    let alert = query(Path::new(&place.lake()), "SELECT tenant, entity, reason, status FROM alerts");
    assert_eq!(
        (alert[0]["tenant"].as_str(), alert[0]["entity"].as_str(), alert[0]["status"].as_str()),
        (Some("acme"), Some("rule:tool/new_tool"), Some("open"))
    );
    let (code, said) = out(&["rules", "health", "--config", &place.config()]);
    assert!(code == Some(1) && said.contains("SILENT") && said.contains("1 fired, 1 did not"), "{said}");
    // Mended.
    place.configure("[detector.tenant_parameters.acme.\"tool/new_tool\"]\nmin_days = 5\n");
    let (code, said) = place.canary(&["tool/new_tool"]);
    assert!(code == Some(0) && said.contains("2 fired"), "{said}");
    assert_eq!(place.count(HEALTH), 1);
}

#[test]
fn a_rule_that_a_list_of_the_inventory_hides_is_named_as_silent_with_the_list() {
    let place = Place::new("");
    assert_eq!(place.canary(&["tool/unregistered_server"]).0, Some(0));
    let (_, fired) = place.canary(&["--format", "json", "tool/unregistered_server"]);
    let entity =
        query(Path::new(&place.lake()), "SELECT alert_entity FROM rule_canaries LIMIT 1")[0]["alert_entity"].as_str().unwrap().to_owned();
    let server = entity.split_once(':').map_or(entity.as_str(), |(_, server)| server);
    std::fs::write(place.inventory().join("known_servers.csv"), format!("server,resource,environment\n{server},,\n")).unwrap();
    let (code, said) = place.canary(&["tool/unregistered_server"]);
    assert!(code == Some(1) && said.contains("SILENT") && said.contains("`known_servers`"), "{entity}: {said} {fired}");
    assert_eq!(place.count(HEALTH), 1);
}

#[test]
fn a_rule_that_fails_at_its_canary_is_an_alert_about_the_rule() {
    let place = Place::new("");
    let rules = place.folder.path().join("rules");
    std::fs::create_dir_all(&rules).unwrap();
    let query = "SELECT tenant, event_id AS entity, event_time, event_id AS dedup_key, CAST(tool_name AS BIGINT) AS value, event_id AS expected, \
      event_id AS reason, make_array(event_id) AS event_ids FROM new_events";
    let text = rule_file("5a1c4f0e-0b0f-4f4e-9a59-3a6d0c3ffff1", "own/fails", query, "test:0");
    std::fs::write(rules.join("fails.yaml"), text).unwrap();
    let (code, said) = place.canary(&["--rules", rules.to_str().unwrap(), "own/fails"]);
    assert!(code == Some(1) && said.contains("FAILED") && said.contains("1 failed"), "{said}");
    assert_eq!(place.count(HEALTH), 1);
    let (code, said) = place.canary(&["no/rule"]);
    assert!(code == Some(2) && said.contains("no rule `no/rule`"), "{said}");
}
