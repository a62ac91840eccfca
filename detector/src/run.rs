//! All rules to the end of the data: learn, evaluate what is new to each rule, commit alerts with the cursor.

use std::collections::BTreeSet;

use datafusion::prelude::SessionContext;
use lake::alerts::{self, Alert};
use lake::table::CommitOutcome;
use lake::views::{self, Window};
use lake::{Lake, follow};

use crate::rule::Rule;
use crate::{DetectorError, baseline, evaluate};

/// What a run did.
#[derive(Debug, Clone, Default)]
pub struct RunReport {
    /// Alerts that are new.
    pub alerts: Vec<Alert>,
    /// Rules and how many identities each is still learning.
    pub learning: Vec<(String, u64)>,
    /// Rules that cannot see, and why.
    pub blind: Vec<(String, String)>,
    /// Rules that failed, and why; the others ran.
    pub failed: Vec<(String, String)>,
}

/// Runs every rule to the end of the data. `as_of_us` is the moment up to which the data counts as complete.
///
/// # Errors
/// When the lake cannot be read or written; a rule that fails is in the report.
pub async fn run(lake: &Lake, rules: &[Rule], as_of_us: i64, now_us: i64) -> Result<RunReport, DetectorError> {
    let mut report = RunReport::default();
    follow::advance(lake, now_us / 1000).await?;
    let Some(up_to) = views::decided_version(lake)? else { return Ok(report) };
    baseline::learn(lake, up_to, now_us / 1000).await?;
    let table = alerts::open(lake)?;
    for rule in rules {
        let after = alerts::cursor(&table, &rule.name);
        if after.is_some_and(|v| v >= up_to) {
            continue;
        }
        let context = views::session(lake, baseline::session_config(), Window { up_to: Some(up_to), after: Some(after) }).await?;
        let known = known_alerts(&context, rule).await?;
        match evaluate::evaluate(rule, &context, as_of_us, now_us, &known).await {
            Err(error) => report.failed.push((rule.name.clone(), chain(&error))),
            Ok(found) => {
                if found.learning > 0 {
                    report.learning.push((rule.name.clone(), found.learning));
                }
                report.blind.extend(found.blind.map(|why| (rule.name.clone(), why)));
                let outcome = alerts::append(&table, &rule.name, after, up_to, &found.alerts, now_us / 1000)?;
                // Otherwise another detector was faster, and its alerts are the same.
                if matches!(outcome, CommitOutcome::Committed { .. }) {
                    report.alerts.extend(found.alerts);
                }
            }
        }
    }
    Ok(report)
}

async fn known_alerts(context: &SessionContext, rule: &Rule) -> Result<BTreeSet<String>, DetectorError> {
    use arrow::array::AsArray;
    let failed = |source| DetectorError::Sql { rule: rule.name.clone(), source: Box::new(source) };
    let sql = format!("SELECT alert_id FROM alerts WHERE rule_id = '{}'", rule.name.replace('\'', "''"));
    let batches = context.sql(&sql).await.map_err(failed)?.collect().await.map_err(failed)?;
    Ok(batches.iter().flat_map(|b| b.column(0).as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>()).collect())
}

/// An error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
