//! Table `alerts`: what rules found. Alerts of one run of a rule and the rule's cursor are one commit.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::decide::Step;
use crate::layout::{data_file, follower_txn};
use crate::table::{CommitOutcome, CommitRequest, DataFile, Table, TableSpec, random_id};
use crate::{Lake, LakeError, TableName, parquet_file};

const STATS_COLUMNS: &str = "event_time";

/// One alert.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    lake.table(TableName::Alerts, TableSpec { schema: alerts_schema(), partition_columns: &[], stats_columns: STATS_COLUMNS })
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
    let settled = table.recorded(&settled_txn(rule_id)).and_then(|v| u64::try_from(v).ok());
    RuleCursor { rule_id: rule_id.to_owned(), settled, found: table.recorded(&found_txn(rule_id)).unwrap_or(-1) }
}

/// The versions that rules have settled.
pub(crate) fn settled_versions(table: &Table) -> Vec<u64> {
    let (first, last) = (settled_txn(""), "/found");
    let txns = table.txns();
    let settled = txns.iter().filter(|(name, _)| name.starts_with(&first) && !name.ends_with(last));
    settled.filter_map(|(_, version)| u64::try_from(*version).ok()).collect()
}

fn settled_txn(rule_id: &str) -> String {
    follower_txn(&format!("rule/{rule_id}"))
}

fn found_txn(rule_id: &str) -> String {
    follower_txn(&format!("rule/{rule_id}/found"))
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
    let (mut files, mut steps) = (Vec::new(), Vec::new());
    if step.settled > from.settled {
        let number = |version: Option<u64>| version.map_or(-1, u64::cast_signed);
        steps.push(Step { app_id: settled_txn(&from.rule_id), from: number(from.settled), to: number(step.settled) });
    }
    if !step.alerts.is_empty() {
        let batch = batch_of(step.alerts, step.seen)?;
        files.push(DataFile {
            path: data_file(&[], &random_id(now_ms), 0),
            partition: Vec::new(),
            stats: parquet_file::statistics(&batch, STATS_COLUMNS),
            bytes: parquet_file::encode(&batch, STATS_COLUMNS)?,
        });
        steps.push(Step { app_id: found_txn(&from.rule_id), from: from.found, to: from.found + 1 });
    }
    if steps.is_empty() {
        return Ok(CommitOutcome::AlreadyCommitted);
    }
    table.commit(&CommitRequest { files, steps, seal: None, operation: "WRITE", replaces: None, now_ms })
}

fn batch_of(alerts: &[Alert], version: u64) -> Result<RecordBatch, LakeError> {
    let texts = |get: fn(&Alert) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(alerts.iter().map(get))) };
    let times = |get: fn(&Alert) -> i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter_values(alerts.iter().map(get)).with_timezone("UTC"))
    };
    let mut ids = ListBuilder::new(StringBuilder::new()).with_field(Field::new("element", DataType::Utf8, true));
    for alert in alerts {
        alert.event_ids.iter().for_each(|id| ids.values().append_value(id));
        ids.append(true);
    }
    let columns: Vec<ArrayRef> = vec![
        texts(|a| &a.alert_id),
        texts(|a| &a.rule_id),
        Arc::new(Int32Array::from_iter_values(alerts.iter().map(|a| a.rule_version))),
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
        Arc::new(Int64Array::from_iter_values(alerts.iter().map(|_| version.cast_signed()))),
    ];
    RecordBatch::try_new(alerts_schema(), columns).map_err(|e| LakeError::Rows(Box::new(e)))
}
