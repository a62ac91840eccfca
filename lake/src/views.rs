//! The views that people and rules write SQL against, and nothing else: tables themselves have no name there.
//!
//! `events` shows each `(tenant, event_id)` once, its first arrival, and stops at the version that the copies follower has
//! decided; `events_tip` shows what came after it, `revisions` later arrivals under a known id with other content. `tool_calls`, `decisions`, `token_grants` are `events` of
//! one category. `rejections` shows what could not become an event, `alerts` what rules found.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::first_arrivals::{self, FirstArrivals};
use crate::held::{Budget, Held, MAX_HELD_BYTES};
use crate::snapshot::Snapshot;
use crate::table::{Table, TableFile};
use crate::words::Words;
use crate::{Lake, LakeError, alert_actions, alerts, baselines, canaries, events, follow, functions, rule_actions};

/// Names of all views.
pub const VIEWS: &[&str] = &[
    "events",
    "events_tip",
    "tool_calls",
    "decisions",
    "token_grants",
    "revisions",
    "rejections",
    "alerts",
    "observations",
    "acts",
    "lost_calls",
    "coverage",
];

/// New events in files of at most this size are kept in memory for the rules that read them.
const MAX_KEPT_BYTES: u64 = 8 << 20;

/// Which versions a session sees.
#[derive(Debug, Clone, Copy, Default)]
pub struct Window {
    /// Events of versions up to this one; the copies cursor when not given.
    pub up_to: Option<u64>,
    /// With it, the views `new_events` and `new_rejections` hold what came in later versions only.
    pub after: Option<Option<u64>>,
    /// With `after`, those views stop at this version, where it is lower.
    pub new_up_to: Option<u64>,
    /// With it, those views hold what happened from one moment up to another instead, microseconds.
    pub between: Option<(i64, i64)>,
}

/// A session over the views of a lake.
///
/// # Errors
/// When tables cannot be read.
pub async fn session(lake: &Lake, config: SessionConfig, window: Window) -> Result<SessionContext, LakeError> {
    session_of(lake, config, window, &Words::any()).await
}

/// A session for statements of these words: views and columns of events that they do not name are not there.
///
/// # Errors
/// When tables cannot be read.
pub async fn session_of(lake: &Lake, config: SessionConfig, window: Window, words: &Words) -> Result<SessionContext, LakeError> {
    let config = config.with_information_schema(false);
    let context = SessionContext::new_with_config_rt(config, Arc::clone(&lake.runtime));
    functions::register(&context);
    register(&context, lake, window, words).await?;
    Ok(context)
}

/// The version of `events` that the views show; `None` when there is nothing yet.
///
/// # Errors
/// When the cursor cannot be read.
pub fn decided_version(lake: &Lake) -> Result<Option<u64>, LakeError> {
    let copies = follow::open(lake)?;
    Ok(follow::cursor(&copies))
}

async fn register(context: &SessionContext, lake: &Lake, window: Window, words: &Words) -> Result<(), LakeError> {
    let (events, copies) = (events::open(lake)?, follow::open(lake)?);
    let decided = follow::cursor(&copies);
    let up_to = window.up_to.or(decided);
    let copies = Snapshot::of(&copies, None);
    let has_copies = copies.file_count() > 0;
    let mut used = Used {
        events: &events,
        files: events.data_files(),
        copies: has_copies.then(|| Arc::new(copies.clone())),
        up_to,
        held: None,
        words,
    };
    if let (Some(after), Some(up_to)) = (window.after, up_to) {
        used.held = register_new(context, &used, after, window.new_up_to.map_or(up_to, |version| version.min(up_to))).await?;
    }
    if words.has_any(OF_ALL_EVENTS) || window.between.is_some() {
        provider(context, "stored_copies", copies)?;
        register_events(context, &used).await?;
        // As of a version, where one is named; people see the newest.
        view(context, "rejections", &rejections_sql(if window.up_to.is_some() { "stored_events" } else { "stored_all" })).await?;
    }
    if words.has("events_tip") {
        let tip = events.refresh()?.map_or_else(|| Snapshot::nothing(&events), |latest| Snapshot::between(&events, decided, latest));
        provider(context, "events_tip", FirstArrivals::new(tip, None, words))?;
    }
    if let Some((from_us, to_us)) = window.between {
        let when = format!("event_time >= to_timestamp_micros({from_us}) AND event_time < to_timestamp_micros({to_us})");
        view(context, "new_events", &format!("SELECT * FROM events WHERE {when}")).await?;
        view(context, "new_rejections", &format!("SELECT * FROM ({}) r WHERE {when}", rejections_sql("stored_all"))).await?;
    }
    provider(context, "stored_alerts", Snapshot::of(&alerts::open(lake)?, None))?;
    provider(context, "alert_actions", Snapshot::of(&alert_actions::open(lake)?, None))?;
    provider(context, "rule_actions", Snapshot::of(&rule_actions::open(lake)?, None))?;
    provider(context, "rule_canaries", Snapshot::of(&canaries::open(lake)?, None))?;
    if words.has("alerts") {
        view(context, "alerts", ALERTS_SQL).await?;
    }
    let has_releases = words.has(baselines::RELEASES);
    let is_named = |kind: &&baselines::Baseline| words.has(kind.table_name()) || (has_releases && **kind == baselines::Baseline::Facts);
    for kind in baselines::Baseline::ALL.iter().filter(is_named) {
        let stored = format!("stored_{}", kind.table_name());
        provider(context, &stored, Snapshot::of(&kind.open(lake)?, None))?;
        // As of a version: what was learnt from later ones is not there.
        let known = up_to.map_or_else(String::new, |version| format!(" WHERE events_version <= {version}"));
        view(context, kind.table_name(), &format!("SELECT * FROM {stored}{known}")).await?;
    }
    if has_releases {
        view(context, baselines::RELEASES, baselines::RELEASES_SQL).await?;
    }
    Ok(())
}

/// Views that read all events.
const OF_ALL_EVENTS: &[&str] = &["events", "tool_calls", "decisions", "token_grants", "revisions", "rejections"];

/// What views of events are made of.
struct Used<'a> {
    events: &'a Table,
    /// Files of the table, listed once: a merge between two lists would show rows twice or not at all.
    files: Vec<TableFile>,
    copies: Option<Arc<Snapshot>>,
    up_to: Option<u64>,
    /// New events, where they are held.
    held: Option<Arc<Held>>,
    words: &'a Words,
}

async fn register_events(context: &SessionContext, used: &Used<'_>) -> Result<(), LakeError> {
    let stored = match used.up_to {
        Some(version) => Snapshot::among(used.events, &used.files, None, version),
        None => Snapshot::nothing(used.events),
    };
    provider(context, "stored_events", stored.clone())?;
    let first = FirstArrivals::new(stored, used.copies.clone(), used.words).with(used.held.clone());
    for (name, category) in [("tool_calls", "tool_call"), ("decisions", "authz_decision"), ("token_grants", "token")] {
        provider(context, name, first.of_category(category))?;
    }
    provider(context, "events", first)?;
    provider(context, "stored_all", Snapshot::of(used.events, None))?;
    if used.words.has("revisions") {
        view(context, "revisions", &revisions_sql(used.copies.is_some())).await?;
    }
    Ok(())
}

/// Events that came after a version and not after another; returns them, where they are held.
async fn register_new(context: &SessionContext, used: &Used<'_>, after: Option<u64>, up_to: u64) -> Result<Option<Arc<Held>>, LakeError> {
    let new = Snapshot::among(used.events, &used.files, after, up_to);
    if used.words.has("new_rejections") {
        provider(context, "stored_new", new.clone())?;
        view(context, "new_rejections", &rejections_sql("stored_new")).await?;
    }
    let first = FirstArrivals::new(new.clone(), used.copies.clone(), used.words);
    if new.size_bytes() <= MAX_KEPT_BYTES {
        // Every rule reads them, some several times.
        let (schema, rows) = (first.schema(), context.read_table(Arc::new(first)).map_err(failed)?.collect().await.map_err(failed)?);
        register_rows(context, "new_events", schema, rows)?;
        return Ok(None);
    }
    let budget = Budget { row_count: new.row_count(), limit_bytes: MAX_HELD_BYTES };
    // Where words are not known, nobody can tell which columns will be asked for.
    let held = match used.words.is_known() {
        true => Held::read(context, first.clone(), budget, used.words).await.map_err(failed)?.map(Arc::new),
        false => None,
    };
    provider(context, "new_events", first.with(held.clone()))?;
    Ok(held)
}

/// Registers a small table that a rule joins with, such as a calendar.
///
/// # Errors
/// When rows and schema differ.
pub fn register_rows(
    context: &SessionContext,
    name: &str,
    schema: SchemaRef,
    rows: Vec<arrow::array::RecordBatch>,
) -> Result<(), LakeError> {
    let table = MemTable::try_new(schema, vec![rows]).map_err(failed)?;
    context.register_table(name, Arc::new(table)).map(|_| ()).map_err(failed)
}

fn provider(context: &SessionContext, name: &str, provider: impl TableProvider + 'static) -> Result<(), LakeError> {
    context.register_table(name, Arc::new(provider)).map(|_| ()).map_err(failed)
}

/// Registers SQL under a name.
pub(crate) async fn view(context: &SessionContext, name: &str, sql: &str) -> Result<(), LakeError> {
    let plan = context.sql(sql).await.map_err(failed)?;
    context.register_table(name, plan.into_view()).map(|_| ()).map_err(failed)
}

/// Each alert with the last thing that was done with it.
const ALERTS_SQL: &str = r#"
SELECT a.* EXCEPT (status), CASE WHEN a.status = 'shadow' THEN 'shadow' WHEN x.action = 'acknowledge' THEN 'acknowledged' WHEN x.action = 'close' THEN 'closed'
    WHEN x.action = 'reopen' THEN 'open' ELSE a.status END AS status,
  x.disposition, x.reason AS handling_reason, x.who AS handled_by, x.at AS handled_at
FROM stored_alerts a LEFT JOIN (
  SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY alert_id ORDER BY "at" DESC) AS place FROM alert_actions) r WHERE place = 1
) x ON x.alert_id = a.alert_id"#;

/// Arrivals under a known id with other content than the first.
fn revisions_sql(has_copies: bool) -> String {
    let columns: Vec<String> = first_arrivals::columns().map(|column| format!("e.\"{}\"", column.name)).collect();
    let events = format!("SELECT {} FROM stored_events e WHERE e.row_kind = 'event'", columns.join(", "));
    if !has_copies {
        return format!("{events} AND false");
    }
    format!(
        r#"SELECT v.* FROM ({events}) v LEFT SEMI JOIN stored_copies c ON c.kind = 'revision' AND v.stream = c.stream AND v.incarnation = c.incarnation
            AND v."partition" = c."partition" AND v."offset" = c."offset" AND v.record_index = c.record_index"#
    )
}

fn rejections_sql(table: &str) -> String {
    format!(
        r#"SELECT stream, incarnation, "partition", "offset", record_index, tenant, adapter, source_instance, reason_code, reason,
    raw_payload AS raw, raw_bytes, raw_truncated, envelope, kafka_topic, kafka_partition, kafka_offset, kafka_timestamp,
    event_time, ingest_time, ingest_date, batch_id, payload_mac
FROM {table} WHERE row_kind = 'rejection'"#
    )
}

fn failed(error: DataFusionError) -> LakeError {
    LakeError::Rows(Box::new(error))
}
