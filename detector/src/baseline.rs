//! What is learnt from events: day rows of hours, volumes and terms, appended as versions come in.
//!
//! Each kind is one SQL statement over the new events; its rows are added to the baseline table together with
//! its cursor. Sums of integers only, so order and batch boundaries do not matter.

use arrow::array::RecordBatch;
use arrow::compute::cast;
use datafusion::prelude::SessionConfig;
use lake::Lake;
use lake::baselines::Baseline;
use lake::table::CommitOutcome;
use lake::views::{self, Window};

use crate::DetectorError;

/// The identity that hours are kept of: the delegating person, else the agent. Kept in five minutes of UTC, so that
/// the zone of an identity may be learnt or mended later, and that zones of half hours and schedules are seen.
const HOURS_SQL: &str = "
SELECT tenant, COALESCE('user:' || delegator_id, 'agent:' || agent_id) AS identity, event_date AS day,
  date_bin(INTERVAL '5 minutes', event_time) AS at, COUNT(*) AS n
FROM new_events WHERE category IN ('tool_call', 'authn') AND COALESCE(delegator_id, agent_id) IS NOT NULL
GROUP BY 1, 2, 3, 4";

const VOLUMES_SQL: &str = "
SELECT tenant, 'agent:' || agent_id AS identity, event_date AS day, COUNT(*) AS calls,
  CAST(COALESCE(SUM(result_rows), 0) AS BIGINT) AS rows_out, CAST(COALESCE(SUM(result_bytes), 0) AS BIGINT) AS bytes_out,
  COALESCE(MAX(result_rows), 0) AS max_rows, COALESCE(MAX(result_bytes), 0) AS max_bytes
FROM new_events WHERE category = 'tool_call' AND agent_id IS NOT NULL
GROUP BY 1, 2, 3";

const TERMS_SQL: &str = "
WITH calls AS (
  SELECT tenant, 'job:' || agent_id || '/' || COALESCE(job_id, '') AS identity, tool_name, dest_entities, event_date
  FROM new_events WHERE category = 'tool_call' AND agent_id IS NOT NULL
),
dests AS (SELECT tenant, identity, event_date, unnest(dest_entities) AS dest FROM calls WHERE dest_entities IS NOT NULL)
SELECT tenant, identity, 'tool' AS kind, tool_name AS term, event_date AS day, COUNT(*) AS n FROM calls WHERE tool_name IS NOT NULL GROUP BY 1, 2, 3, 4, 5
UNION ALL
SELECT tenant, identity, 'dest' AS kind, dest['type'] || ' ' || dest['value'] AS term, event_date AS day, COUNT(*) AS n FROM dests GROUP BY 1, 2, 3, 4, 5";

fn sql(kind: Baseline) -> &'static str {
    match kind {
        Baseline::Hours => HOURS_SQL,
        Baseline::Volumes => VOLUMES_SQL,
        Baseline::Terms => TERMS_SQL,
    }
}

/// Brings all baselines up to a version of `events`.
///
/// # Errors
/// When the lake cannot be read or written.
pub async fn learn(lake: &Lake, up_to: u64, now_ms: i64) -> Result<(), DetectorError> {
    for kind in Baseline::ALL {
        let table = kind.open(lake)?;
        let after = kind.cursor(&table);
        if after.is_some_and(|v| v >= up_to) {
            continue;
        }
        let rows = rows_of(lake, *kind, after, up_to).await?;
        let outcome = kind.append(&table, after, up_to, &rows, now_ms)?;
        if outcome == CommitOutcome::AlreadyCommitted {
            tracing::debug!(kind = kind.table_name(), "another detector learnt this already");
        }
    }
    Ok(())
}

async fn rows_of(lake: &Lake, kind: Baseline, after: Option<u64>, up_to: u64) -> Result<Vec<RecordBatch>, DetectorError> {
    let failed = |source| DetectorError::Sql { rule: kind.table_name().into(), source: Box::new(source) };
    let window = Window { up_to: Some(up_to), after: Some(after) };
    let context = views::session(lake, session_config(), window).await?;
    let query = format!("SELECT s.*, CAST({up_to} AS BIGINT) AS events_version FROM ({}) s", sql(kind));
    let batches = context.sql(&query).await.map_err(failed)?.collect().await.map_err(failed)?;
    let schema = kind.schema();
    let fitted = batches.iter().map(|batch| {
        let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| cast(column, field.data_type()));
        RecordBatch::try_new(schema.clone(), columns.collect::<Result<Vec<_>, _>>()?)
    });
    fitted.collect::<Result<Vec<_>, _>>().map_err(|e| failed(e.into()))
}

/// Sessions of the detector: plain strings, so rows go back into tables as they are.
pub(crate) fn session_config() -> SessionConfig {
    let mut config = SessionConfig::new();
    config.options_mut().execution.parquet.schema_force_view_types = false;
    config
}
