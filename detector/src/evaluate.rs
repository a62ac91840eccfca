//! One rule over the events of one span of versions: its SQL to alerts.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampMicrosecondType};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::collect;
use datafusion::prelude::{SQLOptions, SessionContext};
use futures::FutureExt;
use lake::alerts::Alert;
use lake::views;
use sha2::{Digest, Sha256};

use crate::DetectorError;
use crate::rule::{Moments, Rule, StepTable};

/// Most event ids that an alert names.
const MAX_EVIDENCE: usize = 20;
/// Most bytes of a table that a rule makes on its way.
const MAX_TABLE_BYTES: usize = 512 << 20;
/// Longest that a rule may take for a step; history that is imported at once is a step.
const TIME_LIMIT: Duration = Duration::from_mins(10);

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

/// What a rule runs on, as its alerts record it: the same facts give the same alerts.
#[derive(Debug, Clone, Default)]
pub struct RoundFacts {
    /// Version of `events` after which events are new.
    pub after: Option<u64>,
    /// Version of `events` up to which there are any.
    pub up_to: u64,
    /// The moment up to which the data counts as complete, microseconds.
    pub as_of_us: i64,
    /// The earliest and the latest of the new events, microseconds; `None` when there are none.
    pub new_us: Option<(i64, i64)>,
    /// When the detector ran, microseconds.
    pub now_us: i64,
    /// What was known of identities.
    pub inventory_sha256: String,
    /// Give alerts that were given before, too.
    pub again: bool,
}

/// Runs a rule in a session that has `new_events`; alerts that are there already are left out. A rule that takes too
/// long, or panics, fails alone.
///
/// # Errors
/// When the SQL is wrong, takes too long or too much memory, or is anything but a query.
pub async fn evaluate(rule: &Rule, context: &SessionContext, round: &RoundFacts) -> Result<Findings, DetectorError> {
    // Once with the usual parameters, and once more for each tenant that has its own.
    let usual = rule.for_tenant("");
    let mut findings = evaluate_one(&usual, context, round).await?;
    findings.alerts.retain(|alert| !rule.of_tenants.contains_key(&alert.tenant));
    for tenant in rule.of_tenants.keys() {
        let own = evaluate_one(&rule.for_tenant(tenant), context, round).await?;
        findings.alerts.extend(own.alerts.into_iter().filter(|alert| alert.tenant == *tenant));
    }
    findings.alerts.sort_by(|a, b| (a.event_time, &a.alert_id).cmp(&(b.event_time, &b.alert_id)));
    Ok(findings)
}

async fn evaluate_one(rule: &Rule, context: &SessionContext, round: &RoundFacts) -> Result<Findings, DetectorError> {
    let mut evaluation = Evaluation { rule, context, round, made: Vec::new() };
    let run = AssertUnwindSafe(tokio::time::timeout(TIME_LIMIT, evaluation.run())).catch_unwind().await;
    let dropped = evaluation.made.iter().try_for_each(|name| context.deregister_table(*name).map(drop));
    let limits = |what: String| DetectorError::Rule { rule: rule.name.clone(), what };
    let findings = run.map_err(|_| limits("it panicked, which is a fault of the program; please report it".into()))?;
    let findings = findings.map_err(|_| limits(format!("it took more than {} minutes", TIME_LIMIT.as_secs() / 60)))?;
    dropped.map_err(|source| DetectorError::Sql { rule: rule.name.clone(), source: Box::new(source) })?;
    findings
}

/// The earliest and the latest of the new events of a session, microseconds.
pub(crate) async fn new_us(context: &SessionContext) -> Result<Option<(i64, i64)>, DetectorError> {
    let failed = |source| DetectorError::Sql { rule: "the span of new events".into(), source: Box::new(source) };
    let sql = "SELECT CAST(MIN(event_time) AS BIGINT), CAST(MAX(event_time) AS BIGINT) FROM new_events";
    let batches = context.sql(sql).await.map_err(failed)?.collect().await.map_err(failed)?;
    let us = |i: usize| batches.iter().find(|b| b.num_rows() > 0).and_then(|b| text(b.column(i), 0)?.parse().ok());
    Ok(us(0).zip(us(1)))
}

/// The counts of the one row of a query.
pub(crate) async fn counts(context: &SessionContext, sql: &str) -> Result<Vec<u64>, DetectorError> {
    let failed = |source| DetectorError::Sql { rule: "a count".into(), source: Box::new(source) };
    let batches = context.sql(sql).await.map_err(failed)?.collect().await.map_err(failed)?;
    let counts =
        batches.iter().find(|b| b.num_rows() > 0).map(|b| b.columns().iter().map(|c| text(c, 0).and_then(|t| t.parse().ok()).unwrap_or(0)));
    Ok(counts.map(Iterator::collect).unwrap_or_default())
}

/// A rule on its way.
struct Evaluation<'a> {
    rule: &'a Rule,
    context: &'a SessionContext,
    round: &'a RoundFacts,
    /// Tables that it made so far.
    made: Vec<&'a str>,
}

impl Evaluation<'_> {
    async fn run(&mut self) -> Result<Findings, DetectorError> {
        self.make_tables().await?;
        let mut by_id = BTreeMap::new();
        for batch in self.rows(&self.rule.query).await?.1 {
            for alert in alerts_of(self.rule, &batch, self.round)? {
                by_id.entry(alert.alert_id.clone()).or_insert(alert);
            }
        }
        if !by_id.is_empty() && !self.round.again {
            self.known_alerts().await?.iter().for_each(|id| drop(by_id.remove(id)));
        }
        let mut findings = Findings { alerts: by_id.into_values().collect(), ..Findings::default() };
        findings.learning = self.count(self.rule.learning.as_deref()).await?;
        findings.excluded = self.count(self.rule.excluded.as_deref()).await?;
        if let Some(sql) = &self.rule.blind {
            findings.blind = self.first_row(sql).await?.into_iter().next().flatten();
        }
        Ok(findings)
    }

    async fn make_tables(&mut self) -> Result<(), DetectorError> {
        for StepTable { name, sql } in &self.rule.tables {
            let wrong = |what| DetectorError::Rule { rule: self.rule.name.clone(), what };
            if self.context.table_exist(name.as_str()).map_err(|e| self.failed(e))? {
                return Err(wrong(format!("there is a table `{name}` already; name its own another way")));
            }
            let (schema, batches) = self.rows(sql).await?;
            let size_bytes: usize = batches.iter().map(size_bytes).sum();
            if size_bytes > MAX_TABLE_BYTES {
                return Err(wrong(format!("its table `{name}` takes {} MiB, the limit is {}", size_bytes >> 20, MAX_TABLE_BYTES >> 20)));
            }
            views::register_rows(self.context, name, schema, batches)?;
            self.made.push(name);
        }
        Ok(())
    }

    /// Ids of the alerts that the rule gave before.
    async fn known_alerts(&self) -> Result<Vec<String>, DetectorError> {
        let sql = format!("SELECT alert_id FROM stored_alerts WHERE rule_id = '{}'", self.rule.name.replace('\'', "''"));
        let batches = self.rows(&sql).await?.1;
        let ids = |batch: &RecordBatch| batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>();
        Ok(batches.iter().flat_map(ids).collect())
    }

    /// First value of a query that counts; 0 where the rule has none.
    async fn count(&self, sql: Option<&str>) -> Result<u64, DetectorError> {
        let Some(sql) = sql else { return Ok(0) };
        Ok(self.first_row(sql).await?.first().and_then(|value| value.as_ref()?.parse().ok()).unwrap_or(0))
    }

    /// The first row of a query as texts; nothing when it has none.
    async fn first_row(&self, sql: &str) -> Result<Vec<Option<String>>, DetectorError> {
        let (_, batches) = self.rows(sql).await?;
        let batch = batches.iter().find(|b| b.num_rows() > 0);
        Ok(batch.map(|b| b.columns().iter().map(|column| text(column, 0)).collect()).unwrap_or_default())
    }

    async fn rows(&self, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>), DetectorError> {
        let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let as_of_us = self.round.as_of_us;
        let (new_from_us, new_to_us) = self.round.new_us.unwrap_or((as_of_us, as_of_us));
        let filled = self.rule.filled(sql, Moments { as_of_us, new_from_us, new_to_us });
        let frame = self.context.sql_with_options(&filled, options).await.map_err(|e| self.failed(e))?;
        let task = Arc::new(frame.task_ctx());
        let plan = frame.create_physical_plan().await.map_err(|e| self.failed(e))?;
        let schema = plan.schema();
        Ok((schema, collect(plan, task).await.map_err(|e| self.failed(e))?))
    }

    fn failed(&self, source: DataFusionError) -> DetectorError {
        DetectorError::Sql { rule: self.rule.name.clone(), source: Box::new(source) }
    }
}

/// Of its values; batches of an aggregation share one buffer, which would count for each of them.
fn size_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or_default()).sum()
}

fn alerts_of(rule: &Rule, batch: &RecordBatch, round: &RoundFacts) -> Result<Vec<Alert>, DetectorError> {
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
    let context = serde_json::json!({
        "rule": rule.name, "parameters": rule.parameters, "logic_sha256": rule.logic_sha256(),
        "after": round.after, "up_to": round.up_to, "as_of_us": round.as_of_us, "inventory_sha256": round.inventory_sha256,
    });
    let context = context.to_string();
    let status = if rule.is_shadow() { "shadow" } else { "open" };
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
            status: status.into(),
            detected_at: round.now_us,
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
