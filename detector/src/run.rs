//! All rules to the end of the data: learn, evaluate what is new to each rule, commit alerts with the cursor.

use std::collections::BTreeSet;

use datafusion::prelude::SessionContext;
use lake::alerts::{self, Alert, RuleStep};
use lake::table::CommitOutcome;
use lake::views::{self, Window};
use lake::{Lake, events, follow};

use crate::evaluate::Findings;
use crate::inventory::Inventory;
use crate::rule::Rule;
use crate::{DetectorError, baseline, evaluate, functions};

/// What a run did.
#[derive(Debug, Clone, Default)]
pub struct RunReport {
    /// Alerts that are new.
    pub alerts: Vec<Alert>,
    /// Rules and how many identities each is still learning.
    pub learning: Vec<(String, u64)>,
    /// Rules and how many identities each does not apply to.
    pub excluded: Vec<(String, u64)>,
    /// Rules that cannot see, and why.
    pub blind: Vec<(String, String)>,
    /// Rules that failed, and why; the others ran.
    pub failed: Vec<(String, String)>,
}

/// What a detector works with.
#[derive(Debug, Clone, Copy)]
pub struct Detector<'a> {
    /// The lake.
    pub lake: &'a Lake,
    /// The rules.
    pub rules: &'a [Rule],
    /// What is known of identities.
    pub inventory: &'a Inventory,
}

impl Detector<'_> {
    /// Runs every rule to the end of the data. `as_of_us` is the moment up to which the data counts as complete.
    ///
    /// # Errors
    /// When the lake cannot be read or written; a rule that fails is in the report.
    pub async fn run(&self, as_of_us: i64, now_us: i64) -> Result<RunReport, DetectorError> {
        let mut report = RunReport::default();
        follow::advance(self.lake, now_us / 1000).await?;
        let Some(up_to) = views::decided_version(self.lake)? else { return Ok(report) };
        baseline::learn(self.lake, up_to, now_us / 1000).await?;
        let table = alerts::open(self.lake)?;
        for rule in self.rules {
            let cursor = alerts::cursor(&table, &rule.name);
            if cursor.settled.is_some_and(|v| v >= up_to) {
                continue;
            }
            let context = self.session(Window { up_to: Some(up_to), after: Some(cursor.settled) }).await?;
            let known = known_alerts(&context, rule).await?;
            match evaluate::evaluate(rule, &context, as_of_us, now_us, &known).await {
                Err(error) => report.failed.push((rule.name.clone(), chain(&error))),
                Ok(found) => {
                    // Not past what another source may still answer.
                    let limit_us = as_of_us.saturating_sub(rule.settle_us());
                    let settled = events::settled_version(self.lake, cursor.settled, up_to, limit_us)?;
                    let step = RuleStep { seen: up_to, settled, alerts: &found.alerts };
                    let outcome = alerts::append(&table, &cursor, &step, now_us / 1000)?;
                    report.take(rule, found, outcome);
                }
            }
        }
        Ok(report)
    }

    async fn session(&self, window: Window) -> Result<SessionContext, DetectorError> {
        let context = views::session(self.lake, baseline::session_config(), window).await?;
        functions::register(&context);
        self.inventory.register(&context)?;
        Ok(context)
    }
}

impl RunReport {
    fn take(&mut self, rule: &Rule, found: Findings, outcome: CommitOutcome) {
        for (list, count) in [(&mut self.learning, found.learning), (&mut self.excluded, found.excluded)] {
            if count > 0 {
                list.push((rule.name.clone(), count));
            }
        }
        self.blind.extend(found.blind.map(|why| (rule.name.clone(), why)));
        // Otherwise another detector was faster, and its alerts are the same.
        if matches!(outcome, CommitOutcome::Committed { .. }) {
            self.alerts.extend(found.alerts);
        }
    }
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
