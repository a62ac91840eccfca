//! One rule over the events of one span of versions: its SQL to alerts.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use datafusion::prelude::{SQLOptions, SessionContext};
use lake::alerts::Alert;
use sha2::{Digest, Sha256};

use crate::DetectorError;
use crate::rule::{Moments, Rule};

/// Most event ids that an alert names.
const MAX_EVIDENCE: usize = 20;

/// What a rule found.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// The alerts, by id.
    pub alerts: Vec<Alert>,
    /// Identities without enough history.
    pub learning: u64,
    /// Identities that the rule does not apply to.
    pub excluded: u64,
    /// Why the rule cannot see, when it cannot.
    pub blind: Option<String>,
}

/// Runs a rule in a session that has `new_events`; alerts that are there already are left out.
///
/// # Errors
/// When the SQL is wrong, or is anything but a query.
pub async fn evaluate(
    rule: &Rule,
    context: &SessionContext,
    as_of_us: i64,
    now_us: i64,
) -> Result<Findings, DetectorError> {
    let mut findings = Findings::default();
    let moments = moments(rule, context, as_of_us).await?;
    let mut by_id = BTreeMap::new();
    for batch in rows(rule, context, &rule.query, moments).await? {
        for alert in alerts_of(rule, &batch, now_us)? {
            by_id.entry(alert.alert_id.clone()).or_insert(alert);
        }
    }
    if !by_id.is_empty() {
        known_alerts(rule, context).await?.iter().for_each(|id| drop(by_id.remove(id)));
    }
    findings.alerts = by_id.into_values().collect();
    findings.alerts.sort_by(|a, b| (a.event_time, &a.alert_id).cmp(&(b.event_time, &b.alert_id)));
    findings.learning = count(rule, context, rule.learning.as_deref(), moments).await?;
    findings.excluded = count(rule, context, rule.excluded.as_deref(), moments).await?;
    if let Some(sql) = &rule.blind {
        let batches = rows(rule, context, sql, moments).await?;
        findings.blind = batches.iter().find(|b| b.num_rows() > 0).and_then(|b| text(b.column(0), 0));
    }
    Ok(findings)
}

/// Ids of the alerts of a rule.
async fn known_alerts(rule: &Rule, context: &SessionContext) -> Result<Vec<String>, DetectorError> {
    let failed = |source| DetectorError::Sql { rule: rule.name.clone(), source: Box::new(source) };
    let sql = format!("SELECT alert_id FROM alerts WHERE rule_id = '{}'", rule.name.replace('\'', "''"));
    let batches = context.sql(&sql).await.map_err(failed)?.collect().await.map_err(failed)?;
    let ids = |batch: &RecordBatch| batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>();
    Ok(batches.iter().flat_map(ids).collect())
}

/// When what is new happened.
async fn moments(rule: &Rule, context: &SessionContext, as_of_us: i64) -> Result<Moments, DetectorError> {
    let empty = Moments { as_of_us, new_from_us: as_of_us, new_to_us: as_of_us };
    let sql = "SELECT CAST(MIN(event_time) AS BIGINT), CAST(MAX(event_time) AS BIGINT) FROM new_events";
    let batches = rows(rule, context, sql, empty).await?;
    let us = |i: usize| batches.iter().find(|b| b.num_rows() > 0).and_then(|b| text(b.column(i), 0)?.parse().ok());
    Ok(us(0).zip(us(1)).map_or(empty, |(new_from_us, new_to_us)| Moments { new_from_us, new_to_us, ..empty }))
}

/// First value of a query that counts; 0 where the rule has none.
async fn count(rule: &Rule, context: &SessionContext, sql: Option<&str>, moments: Moments) -> Result<u64, DetectorError> {
    let Some(sql) = sql else { return Ok(0) };
    let batches = rows(rule, context, sql, moments).await?;
    Ok(batches.iter().find(|b| b.num_rows() > 0).and_then(|b| text(b.column(0), 0)?.parse().ok()).unwrap_or(0))
}

async fn rows(rule: &Rule, context: &SessionContext, sql: &str, moments: Moments) -> Result<Vec<RecordBatch>, DetectorError> {
    let failed = |source| DetectorError::Sql { rule: rule.name.clone(), source: Box::new(source) };
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let frame = context.sql_with_options(&rule.filled(sql, moments), options).await.map_err(failed)?;
    frame.collect().await.map_err(failed)
}

fn alerts_of(rule: &Rule, batch: &RecordBatch, now_us: i64) -> Result<Vec<Alert>, DetectorError> {
    let column = |name: &str| {
        batch
            .column_by_name(name)
            .ok_or_else(|| DetectorError::Rule { rule: rule.name.clone(), what: format!("the query gives no column `{name}`") })
    };
    let times = column("event_time")?;
    let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let times = cast(times, &micros).map_err(|e| DetectorError::Sql { rule: rule.name.clone(), source: Box::new(e.into()) })?;
    let times = times.as_primitive::<TimestampMicrosecondType>();
    let get = |name: &str, row: usize| column(name).map(|c| text(c, row).unwrap_or_default());
    let context = serde_json::json!({ "parameters": rule.parameters, "rule": rule.name, "title": rule.title }).to_string();
    let mut alerts = Vec::new();
    for row in 0..batch.num_rows() {
        let (tenant, key) = (get("tenant", row)?, get("dedup_key", row)?);
        alerts.push(Alert {
            alert_id: alert_id(rule, &tenant, &key),
            rule_id: rule.name.clone(),
            rule_version: rule.version,
            severity: batch.column_by_name("severity").and_then(|c| text(c, row)).unwrap_or_else(|| rule.severity.clone()),
            event_time: times.value(row),
            tenant,
            entity: get("entity", row)?,
            reason: get("reason", row)?,
            value: get("value", row)?,
            expected: get("expected", row)?,
            event_ids: texts(column("event_ids")?, row),
            context: context.clone(),
            status: "open".into(),
            detected_at: now_us,
        });
    }
    Ok(alerts)
}

/// The same finding has the same id, whatever batch it came in.
fn alert_id(rule: &Rule, tenant: &str, key: &str) -> String {
    let mut hash = Sha256::new();
    for part in [rule.id.as_str(), &rule.version.to_string(), tenant, key] {
        hash.update(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        hash.update(part);
    }
    schemas::keys::hex(&hash.finalize()[..16])
}

fn text(column: &ArrayRef, row: usize) -> Option<String> {
    let texts = cast(column, &DataType::Utf8).ok()?;
    let texts = texts.as_string::<i32>();
    (!texts.is_null(row)).then(|| texts.value(row).to_owned())
}

fn texts(column: &ArrayRef, row: usize) -> Vec<String> {
    let Some(lists) = column.as_list_opt::<i32>().filter(|l| !l.is_null(row)) else { return Vec::new() };
    let values = lists.value(row);
    (0..values.len().min(MAX_EVIDENCE)).filter_map(|i| text(&values, i)).collect()
}
