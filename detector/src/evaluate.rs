//! One rule over the events of one span of versions: its SQL to alerts.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef, TimestampMicrosecondType};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::collect;
use datafusion::prelude::{SQLOptions, SessionContext};
use futures::FutureExt;
use lake::alerts::Alert;
use lake::functions::moment;
use lake::{rule_actions, views};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::parameters::{Parameter, Parameters};
use crate::rule::{Moments, Rule, StepTable};
use crate::{DetectorError, plans};

/// Most event ids that an alert names.
const MAX_EVIDENCE: usize = 20;
/// Most bytes of a table that a rule makes on its way.
const MAX_TABLE_BYTES: usize = 512 << 20;
/// Longest that a rule may take for a step; history that is imported at once is a step.
const TIME_LIMIT: Duration = Duration::from_mins(10);

/// Status of an alert that waits for somebody.
pub(crate) const OPEN: &str = "open";

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
    /// Version of `events` up to which they are, where it is lower than `up_to`.
    pub new_up_to: Option<u64>,
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
    /// Count what the rule cannot judge, and ask whether it can see.
    pub counts: bool,
}

/// How an alert came about: its `context` as JSON, and what a replay starts from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Recorded {
    pub(crate) rule: String,
    pub(crate) parameters: Parameters,
    pub(crate) logic_sha256: String,
    pub(crate) after: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) new_up_to: Option<u64>,
    pub(crate) up_to: u64,
    pub(crate) as_of_us: i64,
    pub(crate) inventory_sha256: String,
}

impl Recorded {
    fn of(rule: &Rule, round: &RoundFacts) -> Self {
        let RoundFacts { after, new_up_to, up_to, as_of_us, .. } = *round;
        let inventory_sha256 = round.inventory_sha256.clone();
        let (parameters, logic_sha256) = (rule.parameters.clone(), rule.logic_sha256());
        Self { rule: rule.name.clone(), parameters, logic_sha256, after, new_up_to, up_to, as_of_us, inventory_sha256 }
    }
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
    let sql = "SELECT CAST(MIN(event_time) AS BIGINT), CAST(MAX(event_time) AS BIGINT) FROM new_events";
    let us: Vec<i64> = one_row(context, sql).await?.iter().filter_map(|value| value.as_ref()?.parse().ok()).collect();
    Ok(if let [from, to] = us[..] { Some((from, to)) } else { None })
}

/// The counts of the one row of a query.
pub(crate) async fn counts(context: &SessionContext, sql: &str) -> Result<Vec<u64>, DetectorError> {
    Ok(one_row(context, sql).await?.iter().map(|value| value.as_ref().and_then(|text| text.parse().ok()).unwrap_or(0)).collect())
}

/// Ids of the alerts that a rule gave before.
pub(crate) async fn known_alerts(context: &SessionContext, rule: &str) -> Result<Vec<String>, DetectorError> {
    let sql = format!("SELECT alert_id FROM stored_alerts WHERE rule_id = {}", Parameter::Text(rule.to_owned()).as_sql());
    Ok(texts_of(&own_rows(context, &sql).await?))
}

/// Names of rules that people took out of the shadow.
pub(crate) async fn promoted(context: &SessionContext) -> Result<Vec<String>, DetectorError> {
    Ok(texts_of(&own_rows(context, rule_actions::PROMOTED_SQL).await?))
}

/// The first column of batches.
fn texts_of(batches: &[RecordBatch]) -> Vec<String> {
    batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>()).collect()
}

async fn one_row(context: &SessionContext, sql: &str) -> Result<Vec<Option<String>>, DetectorError> {
    Ok(first_row(&own_rows(context, sql).await?))
}

/// Rows of a query of the program's own.
async fn own_rows(context: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>, DetectorError> {
    let failed = |source| DetectorError::Sql { rule: "the detector's own query".into(), source: Box::new(source) };
    context.sql(sql).await.map_err(failed)?.collect().await.map_err(failed)
}

/// The first row as texts; nothing when there is none.
fn first_row(batches: &[RecordBatch]) -> Vec<Option<String>> {
    let batch = batches.iter().find(|b| b.num_rows() > 0);
    batch.map(|b| b.columns().iter().map(|column| Texts::of(&column.slice(0, 1)).get(0)).collect()).unwrap_or_default()
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
            alerts_of(self.rule, &batch, self.round)?.into_iter().for_each(|alert| keep_earliest(&mut by_id, alert));
        }
        if !by_id.is_empty() && !self.round.again {
            known_alerts(self.context, &self.rule.name).await?.iter().for_each(|id| drop(by_id.remove(id)));
        }
        let mut findings = Findings { alerts: by_id.into_values().collect(), ..Findings::default() };
        if !self.round.counts {
            return Ok(findings);
        }
        findings.learning = self.count(self.rule.learning.as_deref()).await?;
        findings.excluded = self.count(self.rule.excluded.as_deref()).await?;
        if let Some(sql) = &self.rule.blind {
            findings.blind = first_row(&self.rows(sql).await?.1).into_iter().next().flatten();
        }
        Ok(findings)
    }

    async fn make_tables(&mut self) -> Result<(), DetectorError> {
        for StepTable { name, sql } in &self.rule.tables {
            let wrong = |what| DetectorError::Rule { rule: self.rule.name.clone(), what };
            if self.context.table_exist(name.as_str()).map_err(|e| self.failed(e))? {
                return Err(wrong(format!("there is a table `{name}` already; name its own another way")));
            }
            let clock = Instant::now();
            let (schema, batches) = self.rows(sql).await?;
            let size_bytes: usize = batches.iter().map(size_bytes).sum();
            tracing::trace!(rule = self.rule.name, table = name, took_ms = clock.elapsed().as_millis(), size_bytes, "table made");
            if size_bytes > MAX_TABLE_BYTES {
                return Err(wrong(format!("its table `{name}` takes {} MiB, the limit is {}", size_bytes >> 20, MAX_TABLE_BYTES >> 20)));
            }
            views::register_rows(self.context, name, schema, batches)?;
            self.made.push(name);
        }
        Ok(())
    }

    /// First value of a query that counts; 0 where the rule has none.
    async fn count(&self, sql: Option<&str>) -> Result<u64, DetectorError> {
        let Some(sql) = sql else { return Ok(0) };
        Ok(first_row(&self.rows(sql).await?.1).first().and_then(|value| value.as_ref()?.parse().ok()).unwrap_or(0))
    }

    async fn rows(&self, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>), DetectorError> {
        let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let as_of_us = self.round.as_of_us;
        let (new_from_us, new_to_us) = self.round.new_us.unwrap_or((as_of_us, as_of_us));
        let filled = self.rule.filled(sql, Moments { as_of_us, new_from_us, new_to_us });
        let plan = plans::physical(self.context, &filled, options).await.map_err(|e| self.failed(e))?;
        let (schema, task) = (plan.schema(), self.context.task_ctx());
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
    let times = cast(times, &moment()).map_err(|e| DetectorError::Sql { rule: rule.name.clone(), source: Box::new(e.into()) })?;
    let times = times.as_primitive::<TimestampMicrosecondType>();
    let texts = |name: &str| column(name).map(Texts::of);
    let (tenants, keys, entities) = (texts("tenant")?, texts("dedup_key")?, texts("entity")?);
    let (reasons, values, expected) = (texts("reason")?, texts("value")?, texts("expected")?);
    let (severities, event_ids) = (batch.column_by_name("severity").map(Texts::of), column("event_ids")?);
    let context = serde_json::json!(Recorded::of(rule, round)).to_string();
    let status = if rule.is_shadow() { "shadow" } else { OPEN };
    let alert = |row: usize| {
        let tenant = tenants.said(row);
        Alert {
            alert_id: alert_id(rule, &tenant, &keys.said(row)),
            rule_id: rule.name.clone(),
            rule_version: rule.version,
            severity: severities.as_ref().and_then(|texts| texts.get(row)).unwrap_or_else(|| rule.severity.clone()),
            event_time: times.value(row),
            tenant,
            entity: entities.said(row),
            reason: reasons.said(row),
            value: values.said(row),
            expected: expected.said(row),
            event_ids: evidence(event_ids, row),
            context: context.clone(),
            status: status.into(),
            detected_at: round.now_us,
        }
    };
    Ok((0..batch.num_rows()).map(alert).collect())
}

/// A column of any type as texts, made once: row by row it would be made anew for each.
struct Texts(Option<StringArray>);

impl Texts {
    fn of(column: &ArrayRef) -> Self {
        Self(cast(column, &DataType::Utf8).ok().and_then(|texts| texts.as_string_opt::<i32>().cloned()))
    }

    fn get(&self, row: usize) -> Option<String> {
        self.0.as_ref().filter(|texts| texts.is_valid(row)).map(|texts| texts.value(row).to_owned())
    }

    /// The text of a row, empty where it has none.
    fn said(&self, row: usize) -> String {
        self.get(row).unwrap_or_default()
    }
}

/// Of several rows with one key the earliest is the alert, in whatever order a query gives them.
fn keep_earliest(by_id: &mut BTreeMap<String, Alert>, alert: Alert) {
    fn order(alert: &Alert) -> (i64, &str, &str, &[String]) {
        (alert.event_time, &alert.reason, &alert.value, &alert.event_ids)
    }
    match by_id.get_mut(&alert.alert_id) {
        Some(kept) if order(kept) <= order(&alert) => {}
        Some(kept) => *kept = alert,
        None => drop(by_id.insert(alert.alert_id.clone(), alert)),
    }
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

/// The events that an alert rests on: the first of its list.
fn evidence(column: &ArrayRef, row: usize) -> Vec<String> {
    let Some(lists) = column.as_list_opt::<i32>().filter(|l| l.is_valid(row)) else { return Vec::new() };
    let values = lists.value(row);
    let first = values.slice(0, values.len().min(MAX_EVIDENCE));
    let texts = Texts::of(&first);
    (0..first.len()).filter_map(|i| texts.get(i)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_rows_with_one_key_the_earliest_is_the_alert_in_whatever_order_they_come() {
        let alert = |event_time, reason: &str| Alert { alert_id: "a".into(), event_time, reason: reason.into(), ..Alert::default() };
        let rows = [alert(2, "x"), alert(1, "y"), alert(1, "b"), alert(3, "a")];
        for start in 0..rows.len() {
            let mut by_id = BTreeMap::new();
            rows.iter().cycle().skip(start).take(rows.len()).for_each(|row| keep_earliest(&mut by_id, row.clone()));
            assert_eq!((by_id["a"].event_time, by_id["a"].reason.as_str(), by_id.len()), (1, "b", 1));
        }
    }
}
