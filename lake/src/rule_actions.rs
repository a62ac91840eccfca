//! Table `rule_actions`: which rules in shadow were promoted, by whom and why.
//!
//! A rule of status `test` alerts in shadow. Once its history is long enough somebody promotes it, and its alerts are open
//! ones from then on; the last action on a rule holds, for later versions of it too, so an update silences nothing.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, SchemaRef};

use crate::table::Table;
use crate::{Lake, LakeError, TableName, people};

/// Counts the commits of the table, so that each is told from its copy.
const COUNTER: &str = "rules/actions";

/// SQL of the names of rules that are promoted.
pub const PROMOTED_SQL: &str = r#"SELECT rule FROM (
  SELECT rule, action, row_number() OVER (PARTITION BY rule ORDER BY "at" DESC) AS place FROM rule_actions
) r WHERE place = 1 AND action = 'promote'"#;

/// What a person did with a rule.
#[derive(Debug, Clone)]
pub struct RuleAction<'a> {
    /// Its name.
    pub rule: &'a str,
    /// The version that was looked at.
    pub rule_version: i32,
    /// True for out of the shadow, false for back into it.
    pub is_promotion: bool,
    /// Why.
    pub reason: &'a str,
    /// By whom.
    pub who: &'a str,
    /// When, microseconds.
    pub at_us: i64,
}

fn schema() -> SchemaRef {
    people::schema(vec![people::text("rule"), Field::new("rule_version", DataType::Int32, true), people::text("action")])
}

/// The table of a lake.
///
/// # Errors
/// When its log cannot be read.
pub fn open(lake: &Lake) -> Result<Table, LakeError> {
    people::open(lake, TableName::RuleActions, schema())
}

/// Writes an action down.
///
/// # Errors
/// When the table cannot be written.
pub fn append(table: &Table, action: &RuleAction<'_>) -> Result<(), LakeError> {
    let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let columns: Vec<ArrayRef> = vec![
        text(action.rule),
        Arc::new(Int32Array::from(vec![action.rule_version])),
        text(if action.is_promotion { "promote" } else { "demote" }),
        text(action.reason),
        text(action.who),
        Arc::new(TimestampMicrosecondArray::from(vec![action.at_us]).with_timezone("UTC")),
    ];
    let batch = RecordBatch::try_new(schema(), columns).map_err(|e| LakeError::Rows(Box::new(e)))?;
    people::append(table, &batch, COUNTER, action.at_us / 1000)
}
