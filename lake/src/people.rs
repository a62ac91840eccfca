//! Commits of what people do: two at the same moment both count, and none is written twice.

use arrow::array::RecordBatch;

use crate::LakeError;
use crate::decide::Step;
use crate::table::{CommitOutcome, Table};

/// Most times an action is tried beside those of other people.
const MAX_ATTEMPTS: u32 = 100;

/// Appends what a person did; `counter` counts the commits of the table, so that each is told from its copy.
pub(crate) fn append(table: &Table, batch: &RecordBatch, counter: &str, now_ms: i64) -> Result<(), LakeError> {
    for _ in 0..MAX_ATTEMPTS {
        table.refresh()?;
        let from = table.recorded(counter).unwrap_or(-1);
        let step = Step { app_id: counter.into(), from, to: from + 1 };
        // Otherwise somebody else acted at the same moment, and both count.
        if matches!(table.append(batch, vec![step], now_ms)?, CommitOutcome::Committed { .. }) {
            return Ok(());
        }
    }
    Err(LakeError::Unsupported("too many people act at once; try again".into()))
}
