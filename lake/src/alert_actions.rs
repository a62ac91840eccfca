//! Table `alert_actions`: what people did with alerts. Alerts are never changed; the view `alerts` shows the last action.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;

use crate::table::Table;
use crate::{Lake, LakeError, TableName, people};

/// Counts the commits of the table, so that each is told from its copy.
const COUNTER: &str = "alerts/actions";

/// What a person did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Somebody looks at it.
    Acknowledge,
    /// Somebody is done with it, and says what it was.
    Close(Disposition),
    /// It was closed too early.
    Reopen,
}

/// What an alert turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// What the rule is for, and it was wrong.
    TruePositive,
    /// What the rule is for, and it was allowed.
    Benign,
    /// Not what the rule is for.
    FalsePositive,
}

impl Action {
    fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::Close(_) => "close",
            Self::Reopen => "reopen",
        }
    }

    fn disposition(self) -> Option<&'static str> {
        match self {
            Self::Close(Disposition::TruePositive) => Some("true-positive"),
            Self::Close(Disposition::Benign) => Some("benign"),
            Self::Close(Disposition::FalsePositive) => Some("false-positive"),
            Self::Acknowledge | Self::Reopen => None,
        }
    }
}

/// One action on some alerts.
#[derive(Debug, Clone)]
pub struct AlertAction<'a> {
    /// Alerts.
    pub alert_ids: &'a [String],
    /// What was done.
    pub action: Action,
    /// Why.
    pub reason: &'a str,
    /// By whom.
    pub who: &'a str,
    /// When, microseconds.
    pub at_us: i64,
}

fn schema() -> SchemaRef {
    people::schema(vec![people::text("alert_id"), people::text("action"), people::text("disposition")])
}

/// The table of a lake.
///
/// # Errors
/// When its log cannot be read.
pub fn open(lake: &Lake) -> Result<Table, LakeError> {
    people::open(lake, TableName::AlertActions, schema())
}

/// Writes an action down.
///
/// # Errors
/// When the table cannot be written.
pub fn append(table: &Table, action: &AlertAction<'_>) -> Result<(), LakeError> {
    people::append(table, &batch_of(action)?, COUNTER, action.at_us / 1000)
}

fn batch_of(action: &AlertAction<'_>) -> Result<RecordBatch, LakeError> {
    let count = action.alert_ids.len();
    let same = |text: Option<&str>| -> ArrayRef { Arc::new(StringArray::from(vec![text; count])) };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(action.alert_ids)),
        same(Some(action.action.as_str())),
        same(action.action.disposition()),
        same(Some(action.reason)),
        same(Some(action.who)),
        Arc::new(TimestampMicrosecondArray::from(vec![action.at_us; count]).with_timezone("UTC")),
    ];
    RecordBatch::try_new(schema(), columns).map_err(|e| LakeError::Rows(Box::new(e)))
}
