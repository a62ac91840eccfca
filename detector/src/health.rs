//! A rule that fails is itself a finding: whoever relies on it has to know that it does not look any more.

use arrow::array::AsArray;
use datafusion::prelude::SessionContext;
use lake::alerts::Alert;
use sha2::{Digest, Sha256};

use crate::DetectorError;

/// Under which name these alerts stand; no rule file may have it.
pub(crate) const RULE: &str = "health/rule_failed";
const VERSION: i32 = 1;
const SEVERITY: &str = "medium";

/// One alert a day for each rule that failed, less those that are there already. `failed` are names and reasons.
pub(crate) async fn alerts(failed: &[(&str, &str)], context: &SessionContext, now_us: i64) -> Result<Vec<Alert>, DetectorError> {
    if failed.is_empty() {
        return Ok(Vec::new());
    }
    let sql_failed = |source| DetectorError::Sql { rule: RULE.into(), source: Box::new(source) };
    let sql = format!("SELECT alert_id FROM stored_alerts WHERE rule_id = '{RULE}'");
    let batches = context.sql(&sql).await.map_err(sql_failed)?.collect().await.map_err(sql_failed)?;
    let known: Vec<&str> = batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten()).collect();
    let found = failed.iter().map(|(rule, why)| alert(rule, why, now_us));
    Ok(found.filter(|alert| !known.contains(&alert.alert_id.as_str())).collect())
}

fn alert(rule: &str, why: &str, now_us: i64) -> Alert {
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
