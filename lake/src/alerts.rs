//! Table `alerts`: what rules found. Alerts of one run of a rule and the rule's cursor are one commit.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::decide::Step;
use crate::layout::follower_txn;
use crate::table::{CommitOutcome, Table, TableSpec};
use crate::{Lake, LakeError, TableName};

/// One alert.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alert {
    /// Hash of rule, version, dedup key and time bucket: the same finding has the same id.
    pub alert_id: String,
    /// Rule.
    pub rule_id: String,
    /// Version of the rule.
    pub rule_version: i32,
    /// `low`, `medium`, `high` or `critical`.
    pub severity: String,
    /// Event time of the finding, microseconds.
    pub event_time: i64,
    /// Tenant.
    pub tenant: String,
    /// Who or what it is about.
    pub entity: String,
    /// Why, in a sentence.
    pub reason: String,
    /// What was seen.
    pub value: String,
    /// What was expected.
    pub expected: String,
    /// Evidence.
    pub event_ids: Vec<String>,
    /// Parameters and baseline values that were used, as JSON.
    pub context: String,
    /// `open`, `acknowledged` or `closed`.
    pub status: String,
    /// When the detector found it, microseconds.
    pub detected_at: i64,
}

/// Columns of `alerts`.
pub fn alerts_schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let time = |name: &str| Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true);
    Arc::new(Schema::new(vec![
        text("alert_id"),
        text("rule_id"),
        Field::new("rule_version", DataType::Int32, true),
        text("severity"),
        time("event_time"),
        text("tenant"),
        text("entity"),
        text("reason"),
        text("value"),
        text("expected"),
        Field::new("event_ids", DataType::List(Arc::new(Field::new("element", DataType::Utf8, true))), true),
        text("context"),
        text("status"),
        time("detected_at"),
        Field::new("events_version", DataType::Int64, true),
    ]))
}

/// The table `alerts` of a lake.
///
/// # Errors
/// When its log cannot be read.
pub fn open(lake: &Lake) -> Result<Table, LakeError> {
    lake.table(TableName::Alerts, TableSpec { schema: alerts_schema(), partition_columns: &[], stats_columns: "event_time" })
}

/// Where a rule stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleCursor {
    rule_id: String,
    /// Version of `events` up to which it needs to see nothing again.
    pub settled: Option<u64>,
    /// Commits with alerts of it so far, less one: of two detectors that found the same, one writes it.
    found: i64,
}

/// Where a rule stands. To be read before the alerts that are known.
pub fn cursor(table: &Table, rule_id: &str) -> RuleCursor {
    let found = table.recorded(&follower_txn(&found_by(rule_id))).unwrap_or(-1);
    RuleCursor { rule_id: rule_id.to_owned(), settled: table.cursor(&settled_by(rule_id)), found }
}

/// The versions that rules have settled.
pub(crate) fn settled_versions(table: &Table) -> Vec<u64> {
    let (first, last) = (follower_txn(&settled_by("")), "/found");
    let txns = table.txns();
    let settled = txns.iter().filter(|(name, _)| name.starts_with(&first) && !name.ends_with(last));
    settled.filter_map(|(_, version)| u64::try_from(*version).ok()).collect()
}

fn settled_by(rule_id: &str) -> String {
    format!("rule/{rule_id}")
}

fn found_by(rule_id: &str) -> String {
    format!("rule/{rule_id}/found")
}

/// What a run of a rule gave.
#[derive(Debug, Clone, Copy)]
pub struct RuleStep<'a> {
    /// Version of `events` that it has seen.
    pub seen: u64,
    /// Version up to which it needs to see nothing again; later ones are shown to it once more.
    pub settled: Option<u64>,
    /// The alerts.
    pub alerts: &'a [Alert],
}

/// Appends what a run of a rule found, and moves the rule's cursor, in one commit. With nothing found and nothing
/// settled there is nothing to commit.
///
/// # Errors
/// When the table cannot be written.
pub fn append(table: &Table, from: &RuleCursor, step: &RuleStep<'_>, now_ms: i64) -> Result<CommitOutcome, LakeError> {
    append_all(table, &[(from.clone(), *step)], now_ms)
}

/// As [`append`], for several rules at once: a commit takes as long as any, and most rules find nothing. When another
/// detector was faster with one of them, nothing is written of any.
///
/// # Errors
/// As [`append`].
pub fn append_all(table: &Table, runs: &[(RuleCursor, RuleStep<'_>)], now_ms: i64) -> Result<CommitOutcome, LakeError> {
    let steps: Vec<Step> = runs.iter().flat_map(|(from, step)| steps_of(from, step)).collect();
    if steps.is_empty() {
        return Ok(CommitOutcome::AlreadyCommitted);
    }
    let rows: Vec<(&Alert, u64)> = runs.iter().flat_map(|(_, step)| step.alerts.iter().map(|alert| (alert, step.seen))).collect();
    table.append(&batch_of(&rows)?, steps, now_ms)
}

fn steps_of(from: &RuleCursor, step: &RuleStep<'_>) -> Vec<Step> {
    let settled = step.settled.filter(|settled| from.settled.is_none_or(|before| *settled > before));
    let settled = settled.map(|settled| Step::follow(&settled_by(&from.rule_id), from.settled, settled));
    let app_id = follower_txn(&found_by(&from.rule_id));
    let found = (!step.alerts.is_empty()).then(|| Step { app_id, from: from.found, to: from.found + 1 });
    settled.into_iter().chain(found).collect()
}

fn batch_of(rows: &[(&Alert, u64)]) -> Result<RecordBatch, LakeError> {
    let alerts = || rows.iter().map(|(alert, _)| *alert);
    let texts = |get: fn(&Alert) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(alerts().map(get))) };
    let times = |get: fn(&Alert) -> i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter_values(alerts().map(get)).with_timezone("UTC"))
    };
    let mut ids = ListBuilder::new(StringBuilder::new()).with_field(Field::new("element", DataType::Utf8, true));
    for alert in alerts() {
        alert.event_ids.iter().for_each(|id| ids.values().append_value(id));
        ids.append(true);
    }
    let columns: Vec<ArrayRef> = vec![
        texts(|a| &a.alert_id),
        texts(|a| &a.rule_id),
        Arc::new(Int32Array::from_iter_values(alerts().map(|a| a.rule_version))),
        texts(|a| &a.severity),
        times(|a| a.event_time),
        texts(|a| &a.tenant),
        texts(|a| &a.entity),
        texts(|a| &a.reason),
        texts(|a| &a.value),
        texts(|a| &a.expected),
        Arc::new(ids.finish()),
        texts(|a| &a.context),
        texts(|a| &a.status),
        times(|a| a.detected_at),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, version)| version.cast_signed()))),
    ];
    RecordBatch::try_new(alerts_schema(), columns).map_err(|e| LakeError::Rows(Box::new(e)))
}
