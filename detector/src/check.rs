//! The tests of a rule file through the real engine: a lake is made, events are committed, copies and baselines
//! are brought up, the rule runs, and what it found is compared.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{Datelike, Weekday};
use lake::Lake;
use lake::alerts::{self, RuleStep};
use lake::events::{self, EventBatch, Origin};
use schemas::Row;
use schemas::decode::DEFAULT_TENANT;
use schemas::json;
use tokio::runtime::Runtime;

use crate::DetectorError;
use crate::inventory::Inventory;
use crate::lists;
use crate::pool;
use crate::rule::{Case, History, Rule, TestInventory};
use crate::run::{Detector, RunReport};

const ENVIRONMENT: &str = "development";

/// Outcome of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseResult {
    /// Its name.
    pub case: String,
    /// Entities that were expected.
    pub expected: Vec<String>,
    /// Entities that alerts were for.
    pub found: Vec<String>,
    /// Why the rule could not run, when it could not.
    pub failure: Option<String>,
}

impl CaseResult {
    /// Whether it found what was expected.
    pub fn passed(&self) -> bool {
        self.failure.is_none() && self.expected == self.found
    }
}

/// How a case is run. The same alerts are expected either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Events as the case has them, in one commit.
    Plain,
    /// Events backwards over two commits, in four partitions, with filters pushed into Parquet.
    Shuffled,
    /// Once each way.
    Both,
}

/// Runs one case in lakes of its own in an empty folder.
///
/// # Errors
/// When the case cannot be set up.
async fn run_case(rule: &Rule, case: &Case, folder: &str, how: How) -> Result<CaseResult, DetectorError> {
    if how != How::Both {
        return run_once(rule, case, folder, how).await;
    }
    let plain = run_once(rule, case, &format!("{folder}-plain"), How::Plain).await?;
    if !plain.passed() {
        return Ok(plain);
    }
    let shuffled = run_once(rule, case, &format!("{folder}-shuffled"), How::Shuffled).await?;
    let failure = shuffled.failure.clone().or((!shuffled.passed()).then(|| "shuffled over two commits".into()));
    Ok(CaseResult { failure, ..shuffled })
}

async fn run_once(rule: &Rule, case: &Case, folder: &str, how: How) -> Result<CaseResult, DetectorError> {
    let inventory = inventory_of(rule, case)?;
    let report = judged(&Trial { rule, case, inventory: &inventory, how }, folder).await?;
    // Severity is compared where the test names it.
    let named = |entity: &str, severity: Option<&str>| severity.map_or(entity.to_owned(), |s| format!("{entity} ({s})"));
    let mut found: Vec<String> =
        report.alerts.iter().map(|a| named(&a.entity, Some(a.severity.as_str()).filter(|_| with_severity(case)))).collect();
    let mut expected: Vec<String> = case.expect.iter().map(|e| named(&e.entity, e.severity.as_deref())).collect();
    found.sort();
    expected.sort();
    let failure = report.failed().next().map(|(_, why)| why.to_owned());
    Ok(CaseResult { case: case.name.clone(), expected, found, failure })
}

/// What is known of identities in a case.
pub(crate) fn inventory_of(rule: &Rule, case: &Case) -> Result<Inventory, DetectorError> {
    let TestInventory { identities, holidays, lists } = case.inventory.clone();
    match lists::fault(&lists) {
        Some(what) => Err(DetectorError::Rule { rule: rule.name.clone(), what }),
        None => Ok(Inventory { default_zone: None, identities, holidays, lists }),
    }
}

/// A rule and what it is shown.
pub(crate) struct Trial<'a> {
    pub(crate) rule: &'a Rule,
    pub(crate) case: &'a Case,
    pub(crate) inventory: &'a Inventory,
    pub(crate) how: How,
}

/// What the engine makes of a trial, in a lake of its own in an empty folder.
pub(crate) async fn judged(trial: &Trial<'_>, folder: &str) -> Result<RunReport, DetectorError> {
    let Trial { rule, case, inventory, how } = *trial;
    let lake = Lake::open_or_create(folder, ENVIRONMENT)?;
    let mut rows = Vec::new();
    for history in &case.history {
        history_rows(rule, history, &mut rows)?;
    }
    let next = rows.len();
    if next > 0 {
        commit(&lake, rows, 0)?;
        treat_as_seen(&lake, rule)?;
    }
    let events = case.events.iter().map(|event| row_of(rule, event)).collect::<Result<Vec<_>, _>>()?;
    commit_events(&lake, events, next, how)?;
    let mut detector = Detector::new(&lake, std::slice::from_ref(rule), inventory);
    detector.config.options_mut().execution.parquet.pushdown_filters = how == How::Shuffled;
    if how == How::Shuffled {
        detector.config = detector.config.with_target_partitions(4).with_batch_size(3);
    }
    detector.run(i64::MAX / 2, 0).await
}

/// Whether every expected alert of a case names its severity.
fn with_severity(case: &Case) -> bool {
    !case.expect.is_empty() && case.expect.iter().all(|e| e.severity.is_some())
}

/// History is there to be learnt from, not to be judged.
fn treat_as_seen(lake: &Lake, rule: &Rule) -> Result<(), DetectorError> {
    let version = events::open(lake)?.refresh()?;
    let table = alerts::open(lake)?;
    let step = RuleStep { seen: version.unwrap_or(0), settled: version, alerts: &[] };
    alerts::append(&table, &alerts::cursor(&table, &rule.name), &step, 0)?;
    Ok(())
}

fn commit_events(lake: &Lake, mut rows: Vec<Row>, first: usize, how: How) -> Result<(), DetectorError> {
    if rows.is_empty() {
        return Ok(());
    }
    for (number, row) in rows.iter_mut().enumerate() {
        row.event_id.get_or_insert(format!("test:{}", first + number));
    }
    if how != How::Shuffled {
        return commit(lake, rows, first);
    }
    rows.reverse();
    let later = rows.split_off(rows.len() / 2);
    let middle = first + rows.len();
    if !rows.is_empty() {
        commit(lake, rows, first)?;
    }
    commit(lake, later, middle)
}

fn commit(lake: &Lake, rows: Vec<Row>, first: usize) -> Result<(), DetectorError> {
    let origin = Origin { stream: "test".into(), incarnation: "1".into(), partition: 0 };
    let mut batch = EventBatch::new(lake, 0);
    for (offset, mut row) in rows.into_iter().enumerate() {
        let offset = i64::try_from(first + offset).unwrap_or(i64::MAX);
        row.offset = Some(offset);
        row.event_id.get_or_insert(format!("test:{offset}"));
        row.raw_sha256 = Some(offset.to_be_bytes().to_vec());
        batch.push(&origin, offset - 1, offset, vec![Box::new(row)])?;
    }
    batch.seal(0)?.commit(&events::open(lake)?)?;
    Ok(())
}

fn row_of(rule: &Rule, columns: &serde_json::Map<String, serde_json::Value>) -> Result<Row, DetectorError> {
    let mut row = Row {
        row_kind: Some("event".into()),
        ingest_date: Some(0),
        ingest_time: Some(0),
        tenant: Some(DEFAULT_TENANT.into()),
        stream: Some("test".into()),
        incarnation: Some("1".into()),
        partition: Some(0),
        record_index: Some(0),
        outcome: Some("success".into()),
        ..Row::default()
    };
    for (name, value) in columns {
        let text = value.to_string();
        let fits = json::parse(text.as_bytes()).is_ok_and(|value| row.set(name, &value));
        if !fits {
            return Err(DetectorError::Rule {
                rule: rule.name.clone(),
                what: format!("a test sets `{name}` to {text}, which does not fit any column"),
            });
        }
    }
    row.event_date = row.event_time.map(schemas::time::day_of);
    Ok(row)
}

fn history_rows(rule: &Rule, history: &History, rows: &mut Vec<Row>) -> Result<(), DetectorError> {
    let template = row_of(rule, &history.set)?;
    for day in history.first.iter_days().take(history.days as usize) {
        if history.weekdays && matches!(day.weekday(), Weekday::Sat | Weekday::Sun) {
            continue;
        }
        for hour in &history.hours {
            for n in 0..history.each {
                // Scattered, because whole hours would look like a schedule.
                let minute = history.minute.unwrap_or((day.ordinal() * 7 + hour * 13 + n * 29) % 60);
                let start = day.and_hms_opt(*hour, minute, n % 60).map_or(0, |t| t.and_utc().timestamp_micros());
                let mut row = template.clone();
                row.event_time = Some(start);
                row.event_date = Some(schemas::time::day_of(start));
                if history.distinct {
                    row.resource_id = Some(format!("history-{}", rows.len()));
                }
                if history.traced {
                    row.trace_id = Some(format!("history-{}", rows.len()));
                    let decision = Row { category: Some("authz_decision".into()), decision: Some("allow".into()), ..row.clone() };
                    rows.push(decision);
                    row.category = Some("tool_call".into());
                }
                rows.push(row);
            }
        }
    }
    Ok(())
}

/// Runs every case of these rules, as many at once as there are cores, in folders of `root`. `hear` is told each result with
/// its rule, in the order in which they come in.
///
/// # Errors
/// When a case cannot be set up.
pub fn run_all(rules: &[Rule], root: &Path, how: How, hear: &(dyn Fn(&Rule, &CaseResult) + Sync)) -> Result<usize, DetectorError> {
    let cases: Vec<(&Rule, &Case)> = rules.iter().flat_map(|rule| rule.tests.iter().map(move |case| (rule, case))).collect();
    let failed = AtomicUsize::new(0);
    let work = |runtime: &Runtime, number: usize, (rule, case): &(&Rule, &Case)| {
        let folder = root.join(number.to_string());
        let result = runtime.block_on(run_case(rule, case, &folder.to_string_lossy(), how))?;
        failed.fetch_add(usize::from(!result.passed()), Ordering::Relaxed);
        hear(rule, &result);
        Ok(ControlFlow::Continue(()))
    };
    pool::each(&cases, pool::cores(), &work)?;
    Ok(failed.into_inner())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn every_test_of_every_rule_passes_through_the_engine_in_one_batch_and_shuffled() {
        let (folder, failed) = (tempfile::tempdir().unwrap(), Mutex::new(Vec::new()));
        let rules = crate::rule::pack().unwrap();
        let hear = |rule: &Rule, result: &CaseResult| {
            if !result.passed() {
                failed.lock().unwrap().push(format!("{}: {result:?}", rule.name));
            }
        };
        run_all(&rules, folder.path(), How::Both, &hear).unwrap();
        assert_eq!(failed.into_inner().unwrap(), Vec::<String>::new());
    }
}
