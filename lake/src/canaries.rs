//! Table `rule_canaries`: what came of showing rules a synthetic violation, and the alert that it raised.
//!
//! That alert stands here and not in `alerts`: everything there can be given again from stored events, and counts in incidents
//! and reports. Nobody has to close it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, SchemaRef};

use crate::alerts::Alert;
use crate::table::Table;
use crate::{Lake, LakeError, TableName, people};

/// Counts the commits of the table, so that each is told from its copy.
const COUNTER: &str = "rules/canaries";

/// Outcome of a rule that gave its alert.
pub const FIRED: &str = "fired";
/// Of one that ran and gave none.
pub const SILENT: &str = "silent";
/// Of one that did not run.
pub const FAILED: &str = "failed";

/// SQL of the last canary of each rule and tenant: `rule, rule_version, tenant, outcome, reason, at`.
pub const LAST_SQL: &str = r#"SELECT rule, rule_version, tenant, outcome, reason, "at" FROM (
  SELECT *, row_number() OVER (PARTITION BY rule, tenant ORDER BY "at" DESC) AS place FROM rule_canaries
) c WHERE place = 1 ORDER BY rule, tenant"#;

/// What came of one canary.
#[derive(Debug, Clone)]
pub struct CanaryRow<'a> {
    /// Name of the rule.
    pub rule: &'a str,
    /// Its version.
    pub rule_version: i32,
    /// The tenant that it was tried for.
    pub tenant: &'a str,
    /// [`FIRED`], [`SILENT`] or [`FAILED`].
    pub outcome: &'a str,
    /// What the rule gave.
    pub alert: Option<&'a Alert>,
    /// Why that is so, or what was done with the alert.
    pub reason: &'a str,
}

fn schema() -> SchemaRef {
    let text = people::text;
    let version = Field::new("rule_version", DataType::Int32, true);
    people::schema(vec![
        text("rule"),
        version,
        text("tenant"),
        text("outcome"),
        text("alert_severity"),
        text("alert_entity"),
        text("alert_reason"),
    ])
}

/// The table of a lake.
///
/// # Errors
/// When its log cannot be read.
pub fn open(lake: &Lake) -> Result<Table, LakeError> {
    people::open(lake, TableName::RuleCanaries, schema())
}

/// Writes canaries down, in one commit.
///
/// # Errors
/// When the table cannot be written.
pub fn append(table: &Table, rows: &[CanaryRow<'_>], who: &str, at_us: i64) -> Result<(), LakeError> {
    let texts = |get: fn(&CanaryRow<'_>) -> Option<String>| -> ArrayRef { Arc::new(rows.iter().map(get).collect::<StringArray>()) };
    let columns: Vec<ArrayRef> = vec![
        texts(|row| Some(row.rule.to_owned())),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.rule_version))),
        texts(|row| Some(row.tenant.to_owned())),
        texts(|row| Some(row.outcome.to_owned())),
        texts(|row| row.alert.map(|alert| alert.severity.clone())),
        texts(|row| row.alert.map(|alert| alert.entity.clone())),
        texts(|row| row.alert.map(|alert| alert.reason.clone())),
        texts(|row| Some(row.reason.to_owned())),
        Arc::new(StringArray::from(vec![who; rows.len()])),
        Arc::new(TimestampMicrosecondArray::from(vec![at_us; rows.len()]).with_timezone("UTC")),
    ];
    let batch = RecordBatch::try_new(schema(), columns).map_err(|e| LakeError::Rows(Box::new(e)))?;
    people::append(table, &batch, COUNTER, at_us / 1000)
}
