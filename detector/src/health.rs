//! A rule that fails is itself a finding: whoever relies on it has to know that it does not look any more.

use lake::alerts::Alert;
use sha2::{Digest, Sha256};

/// Under which name these alerts stand; no rule file may have it.
pub(crate) const RULE: &str = "health/rule_failed";
const VERSION: i32 = 1;
const SEVERITY: &str = "medium";

/// The alert of a day about a rule.
pub(crate) fn alert(rule: &str, why: &str, now_us: i64) -> Alert {
    let day = schemas::time::day_of(now_us);
    let id = Sha256::digest(format!("{RULE} {VERSION} {day} {rule}"));
    Alert {
        alert_id: schemas::keys::hex(&id[..16]),
        rule_id: RULE.into(),
        rule_version: VERSION,
        severity: SEVERITY.into(),
        event_time: now_us,
        tenant: crate::lists::DEFAULT_TENANT.into(),
        entity: format!("rule:{rule}"),
        reason: format!("the rule {rule} failed and found nothing in this step, which is shown to it again: {why}"),
        value: "failed".into(),
        expected: "every rule runs".into(),
        event_ids: Vec::new(),
        context: serde_json::json!({ "rule": rule, "why": why }).to_string(),
        status: "open".into(),
        detected_at: now_us,
    }
}
