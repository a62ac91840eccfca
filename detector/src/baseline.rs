//! What is learnt from events: day rows of hours, volumes, terms and resources, appended as versions come in.
//!
//! Each kind is one SQL statement over the new events; its rows are added to the baseline table together with
//! its cursor. Sums of integers only, so order and batch boundaries do not matter.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use datafusion::prelude::SessionContext;
use lake::Lake;
use lake::baselines::Baseline;
use lake::snapshot::session_config;
use lake::table::{CommitOutcome, Table};
use lake::views::{self, Window};
use lake::words::Words;

use crate::DetectorError;

/// The identity that hours are kept of: the delegating person, else the agent. Kept in five minutes of UTC, so that
/// the zone of an identity may be learnt or mended later, and that zones of half hours and schedules are seen.
const HOURS_SQL: &str = "
SELECT tenant, COALESCE('user:' || delegator_id, 'agent:' || agent_id) AS identity, event_date AS day,
  time_bucket(event_time, 300) AS at, COUNT(*) AS n
FROM new_events WHERE category IN ('tool_call', 'authn') AND COALESCE(delegator_id, agent_id) IS NOT NULL
GROUP BY 1, 2, 3, 4";

const VOLUMES_SQL: &str = "
SELECT tenant, 'agent:' || agent_id AS identity, event_date AS day, COUNT(*) AS calls,
  CAST(COALESCE(SUM(result_rows), 0) AS BIGINT) AS rows_out, CAST(COALESCE(SUM(result_bytes), 0) AS BIGINT) AS bytes_out,
  COALESCE(MAX(result_rows), 0) AS max_rows, COALESCE(MAX(result_bytes), 0) AS max_bytes
FROM new_events WHERE category = 'tool_call' AND agent_id IS NOT NULL
GROUP BY 1, 2, 3";

/// Terms of a job are its tools, destinations, servers and steps from one tool to the next; of an agent the networks that it
/// comes from; of a tool the sets of its arguments; of a person the days with a sign-in.
/// The step from the last call of one batch to the first of the next is not seen. Each kind is counted by the columns that it is made of, and
/// its texts are put together once for what is left.
const TERMS_SQL: &str = "
WITH steps AS (
  SELECT tenant, agent_id, job_id, tool_name, event_date,
    lag(tool_name) OVER (PARTITION BY tenant, agent_id, job_id, COALESCE(mcp_session_id, conversation_id, delegator_id) ORDER BY event_time, event_id) AS before
  FROM new_events WHERE category = 'tool_call' AND agent_id IS NOT NULL
),
dests AS (
  SELECT tenant, agent_id, job_id, event_date, unnest(dest_entities) AS dest FROM new_events
  WHERE category = 'tool_call' AND agent_id IS NOT NULL AND dest_entities IS NOT NULL
),
of_jobs AS (
  SELECT tenant, agent_id, job_id, 'tool' AS kind, tool_name AS term, event_date, COUNT(*) AS n
  FROM new_events WHERE category = 'tool_call' AND agent_id IS NOT NULL GROUP BY 1, 2, 3, 5, 6
  UNION ALL SELECT tenant, agent_id, job_id, 'server', COALESCE(mcp_server_id, mcp_server_name), event_date, COUNT(*)
  FROM new_events WHERE category = 'tool_call' AND agent_id IS NOT NULL GROUP BY 1, 2, 3, 5, 6
  UNION ALL SELECT tenant, agent_id, job_id, 'step', before || ' > ' || tool_name, event_date, n FROM (
    SELECT tenant, agent_id, job_id, before, tool_name, event_date, COUNT(*) AS n FROM steps GROUP BY 1, 2, 3, 4, 5, 6) s
  UNION ALL SELECT tenant, agent_id, job_id, 'dest', type || ' ' || value, event_date, n FROM (
    SELECT tenant, agent_id, job_id, dest['type'] AS type, dest['value'] AS value, event_date, COUNT(*) AS n FROM dests GROUP BY 1, 2, 3, 4, 5, 6) d
),
terms AS (
  SELECT tenant, 'job:' || agent_id || '/' || COALESCE(job_id, '') AS identity, kind, term, event_date AS day, n FROM of_jobs
  UNION ALL SELECT tenant, 'agent:' || COALESCE(agent_id, client_id), 'network', COALESCE('AS' || CAST(asn AS VARCHAR), geo_country), event_date, COUNT(*)
  FROM new_events WHERE category IN ('token', 'authn') GROUP BY 1, 2, 4, 5
  UNION ALL SELECT tenant, 'tool:' || COALESCE(mcp_server_id, mcp_server_name, '') || '/' || tool_name, 'arguments', array_to_string(arg_keys, ','), event_date, COUNT(*)
  FROM new_events WHERE category = 'tool_call' GROUP BY 1, 2, 4, 5
  UNION ALL SELECT tenant, 'user:' || delegator_id, 'sign-in', activity, event_date, COUNT(*)
  FROM new_events WHERE category = 'authn' AND outcome = 'success' GROUP BY 1, 2, 4, 5
)
SELECT tenant, identity, kind, term, day, n FROM terms WHERE identity IS NOT NULL AND term IS NOT NULL";

/// Who was switched off or on, which tokens were revoked, what tools are defined as, in which release and with which model an
/// agent calls tools; a release and a model once, for each call names them.
const FACTS_SQL: &str = "
WITH facts AS (
  SELECT tenant, CASE WHEN resource_type ILIKE '%user%' THEN 'user:' ELSE 'agent:' END || resource_id AS identity,
    CASE WHEN activity IN ('disable', 'delete') THEN 'disabled' ELSE 'enabled' END AS kind, activity AS value, event_date AS day, event_time, event_id
  FROM new_events WHERE category = 'lifecycle' AND activity IN ('disable', 'delete', 'enable') AND outcome = 'success' AND resource_id IS NOT NULL
  UNION ALL SELECT tenant, 'token:' || token_jti, 'revoked', activity, event_date, event_time, event_id
    FROM new_events WHERE category = 'token' AND activity = 'revoke' AND outcome = 'success' AND token_jti IS NOT NULL
  UNION ALL SELECT tenant, 'tool:' || COALESCE(mcp_server_id, mcp_server_name, '') || '/' || tool_name, 'definition', encode(tool_definition_sha256, 'hex'), event_date, event_time, event_id
    FROM new_events WHERE tool_definition_sha256 IS NOT NULL AND tool_name IS NOT NULL
  UNION ALL SELECT tenant, 'agent:' || agent_id, 'version', agent_version, event_date, event_time, event_id
    FROM new_events WHERE category = 'tool_call' AND agent_id IS NOT NULL AND agent_version IS NOT NULL
  UNION ALL SELECT tenant, 'agent:' || agent_id, 'model', agent_model, event_date, event_time, event_id
    FROM new_events WHERE category = 'tool_call' AND agent_id IS NOT NULL AND agent_model IS NOT NULL
)
SELECT tenant, identity, kind, value, day, MIN(event_time) AS first_at, MAX(event_time) AS last_at, MIN(event_id) AS event_id, COUNT(*) AS n
FROM facts f
WHERE kind NOT IN ('version', 'model')
  OR NOT EXISTS (SELECT 1 FROM baseline_facts k WHERE k.tenant = f.tenant AND k.identity = f.identity AND k.kind = f.kind AND k.value = f.value)
GROUP BY 1, 2, 3, 4, 5";

/// Of an agent, which resources of a type it was given: those that a call or an access names, alone or in a list.
const RESOURCES_SQL: &str = "
WITH acts AS (
  SELECT tenant, 'agent:' || agent_id AS identity, event_date AS day, resource_type, COALESCE(resource_uri, resource_id) AS resource, resources
  FROM new_events
  WHERE category IN ('tool_call', 'resource_access') AND agent_id IS NOT NULL AND COALESCE(outcome, '') NOT IN ('denied', 'failure', 'error')
    AND (resource_uri IS NOT NULL OR resource_id IS NOT NULL OR resources IS NOT NULL)
),
listed AS (SELECT tenant, identity, day, unnest(resources) AS item FROM acts WHERE resources IS NOT NULL),
named AS (
  SELECT tenant, identity, day, COALESCE(resource_type, '') AS type, resource FROM acts WHERE resource IS NOT NULL
  UNION ALL SELECT tenant, identity, day, COALESCE(item['type'], ''), COALESCE(item['uri'], item['id']) FROM listed
),
once AS (SELECT DISTINCT tenant, identity, type, day, resource FROM named WHERE resource IS NOT NULL)
SELECT tenant, identity, type, day, sketch_register(resource) AS register, MIN(sketch_weight(resource)) AS weight FROM once GROUP BY 1, 2, 3, 4, 5";

fn sql(kind: Baseline) -> &'static str {
    match kind {
        Baseline::Hours => HOURS_SQL,
        Baseline::Volumes => VOLUMES_SQL,
        Baseline::Terms => TERMS_SQL,
        Baseline::Facts => FACTS_SQL,
        Baseline::Resources => RESOURCES_SQL,
    }
}

/// Brings all baselines up to a version of `events`. Returns the version that all of them cover: higher when another
/// detector was faster.
///
/// # Errors
/// When the lake cannot be read or written.
pub async fn learn(lake: &Lake, up_to: u64, now_ms: i64) -> Result<u64, DetectorError> {
    let mut up_to = up_to;
    for kind in Baseline::ALL {
        up_to = up_to.max(kind.cursor(&kind.open(lake)?).unwrap_or(0));
    }
    // Those that stand at the same version, mostly all, read what is new once.
    let mut due: BTreeMap<Option<u64>, Vec<(Baseline, Table)>> = BTreeMap::new();
    for kind in Baseline::ALL {
        let table = kind.open(lake)?;
        let after = kind.cursor(&table);
        if after.is_none_or(|v| v < up_to) {
            due.entry(after).or_default().push((*kind, table));
        }
    }
    for (after, kinds) in due {
        let window = Window { up_to: Some(up_to), after: Some(after), ..Window::default() };
        let words = Words::of(kinds.iter().map(|(kind, _)| sql(*kind)));
        let context = views::session_of(lake, session_config(), window, &words).await?;
        for (kind, table) in kinds {
            let rows = rows_of(&context, kind, up_to).await?;
            let outcome = kind.append(&table, after, up_to, &rows, now_ms)?;
            if outcome == CommitOutcome::AlreadyCommitted {
                tracing::debug!(kind = kind.table_name(), "another detector learnt this already");
            }
        }
    }
    Ok(up_to)
}

async fn rows_of(context: &SessionContext, kind: Baseline, up_to: u64) -> Result<Vec<RecordBatch>, DetectorError> {
    let failed = |source| DetectorError::Sql { rule: kind.table_name().into(), source: Box::new(source) };
    let query = format!("SELECT s.*, CAST({up_to} AS BIGINT) AS events_version FROM ({}) s", sql(kind));
    let batches = context.sql(&query).await.map_err(failed)?.collect().await.map_err(failed)?;
    let schema = kind.schema();
    let fitted = batches.iter().map(|batch| {
        let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| cast(column, field.data_type()));
        RecordBatch::try_new(schema.clone(), columns.collect::<Result<Vec<_>, _>>()?)
    });
    fitted.collect::<Result<Vec<_>, _>>().map_err(|e| failed(e.into()))
}
