//! All rules to the end of the data: learn, evaluate what is new to each rule, commit alerts with the cursor.

use std::collections::BTreeMap;
use std::time::Instant;

use datafusion::prelude::{SessionConfig, SessionContext};
use lake::alerts::{self, Alert, RuleCursor, RuleStep};
use lake::snapshot::session_config;
use lake::table::{CommitOutcome, Table};
use lake::views::{self, Window};
use lake::{Lake, events, follow, joined};

use crate::evaluate::{Findings, RoundFacts};
use crate::inventory::Inventory;
use crate::rule::Rule;
use crate::{DetectorError, baseline, evaluate, functions, health};

/// What a run did.
#[derive(Debug, Clone, Default)]
pub struct RunReport {
    /// Alerts that are new.
    pub alerts: Vec<Alert>,
    /// The rules that ran.
    pub rules: Vec<RuleRun>,
    /// How long copies and baselines took, milliseconds.
    pub learning_ms: u128,
}

/// How a rule ran.
#[derive(Debug, Clone)]
pub struct RuleRun {
    /// Its name.
    pub rule: String,
    /// How long it took, milliseconds.
    pub took_ms: u128,
    /// What came of it.
    pub outcome: RuleOutcome,
}

/// What came of a run of a rule.
#[derive(Debug, Clone)]
pub enum RuleOutcome {
    /// It ran.
    Ran {
        /// Alerts that it found.
        alerts: usize,
        /// Identities that it is still learning.
        learning: u64,
        /// Identities that it does not apply to.
        excluded: u64,
        /// Why it cannot see, when it cannot.
        blind: Option<String>,
    },
    /// It failed; the others ran.
    Failed(String),
}

impl RunReport {
    /// Rules that failed, and why.
    pub fn failed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rules.iter().filter_map(|run| match &run.outcome {
            RuleOutcome::Failed(why) => Some((run.rule.as_str(), why.as_str())),
            RuleOutcome::Ran { .. } => None,
        })
    }

    /// Rules that cannot see, and why.
    pub fn blind(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rules.iter().filter_map(|run| match &run.outcome {
            RuleOutcome::Ran { blind: Some(why), .. } => Some((run.rule.as_str(), why.as_str())),
            _ => None,
        })
    }

    /// Rules, how many identities each is still learning, and how many it does not apply to.
    pub fn unjudged(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        self.rules.iter().filter_map(|run| match &run.outcome {
            RuleOutcome::Ran { learning, excluded, .. } => Some((run.rule.as_str(), *learning, *excluded)),
            RuleOutcome::Failed(_) => None,
        })
    }
}

/// What a detector works with.
#[derive(Debug, Clone)]
pub struct Detector<'a> {
    /// The lake.
    pub lake: &'a Lake,
    /// The rules.
    pub rules: &'a [Rule],
    /// What is known of identities.
    pub inventory: &'a Inventory,
    /// How queries run.
    pub config: SessionConfig,
}

impl<'a> Detector<'a> {
    /// One that runs as it should; tests change how.
    pub fn new(lake: &'a Lake, rules: &'a [Rule], inventory: &'a Inventory) -> Self {
        Self { lake, rules, inventory, config: session_config() }
    }

    /// Runs every rule to the end of the data. `as_of_us` is the moment up to which the data counts as complete.
    ///
    /// # Errors
    /// When the lake cannot be read or written; a rule that fails is in the report.
    pub async fn run(&self, as_of_us: i64, now_us: i64) -> Result<RunReport, DetectorError> {
        let mut report = RunReport::default();
        let clock = Instant::now();
        follow::advance(self.lake, now_us / 1000).await?;
        let Some(decided) = views::decided_version(self.lake)? else { return Ok(report) };
        // Another detector may have learnt more meanwhile; rows of baselines name the version that they were learnt up to.
        let up_to = baseline::learn(self.lake, decided, now_us / 1000).await?;
        report.learning_ms = clock.elapsed().as_millis();
        // Rules that stand at the same version share a session: cursors are read before the alerts that it shows.
        let table = alerts::open(self.lake)?;
        let mut by_cursor: BTreeMap<Option<u64>, Vec<(&Rule, RuleCursor)>> = BTreeMap::new();
        for rule in self.rules {
            let cursor = alerts::cursor(&table, &rule.name);
            if cursor.settled.is_none_or(|v| v < up_to) {
                by_cursor.entry(cursor.settled).or_default().push((rule, cursor));
            }
        }
        let inventory_sha256 = self.inventory.sha256();
        for (settled, due) in by_cursor {
            let context = self.session(Window { up_to: Some(up_to), after: Some(settled), between: None }).await?;
            let new_us = evaluate::new_us(&context).await?;
            let inventory_sha256 = inventory_sha256.clone();
            let facts = RoundFacts { after: settled, up_to, as_of_us, new_us, now_us, inventory_sha256, again: false };
            let round = Round { context, table: &table, facts };
            for (rule, cursor) in due {
                let clock = Instant::now();
                let (outcome, alerts) = self.run_rule(rule, &cursor, &round).await?;
                let took_ms = clock.elapsed().as_millis();
                tracing::debug!(rule = rule.name, took_ms, alerts = alerts.len(), "rule ran");
                report.alerts.extend(alerts);
                report.rules.push(RuleRun { rule: rule.name.clone(), took_ms, outcome });
            }
        }
        Ok(report)
    }

    /// What came of a rule, and the alerts that are new.
    async fn run_rule(&self, rule: &Rule, cursor: &RuleCursor, round: &Round<'_>) -> Result<(RuleOutcome, Vec<Alert>), DetectorError> {
        let Findings { alerts, learning, excluded, blind } = match evaluate::evaluate(rule, &round.context, &round.facts).await {
            Ok(findings) => findings,
            Err(error) => {
                let why = chain(&error);
                let alerts = Self::tell_failure(rule, &why, round).await?;
                return Ok((RuleOutcome::Failed(why), alerts));
            }
        };
        // Not past what another source may still answer.
        let RoundFacts { up_to, as_of_us, now_us, .. } = round.facts;
        let settled = events::settled_version(self.lake, cursor.settled, up_to, as_of_us.saturating_sub(rule.longest_settle_us()))?;
        let step = RuleStep { seen: up_to, settled, alerts: &alerts };
        let committed = alerts::append(round.table, cursor, &step, now_us / 1000)?;
        let outcome = RuleOutcome::Ran { alerts: alerts.len(), learning, excluded, blind };
        // Otherwise another detector was faster, and its alerts are the same.
        let is_new = matches!(committed, CommitOutcome::Committed { .. });
        Ok((outcome, if is_new { alerts } else { Vec::new() }))
    }

    /// A failure is an alert, unless it was told today.
    async fn tell_failure(rule: &Rule, why: &str, round: &Round<'_>) -> Result<Vec<Alert>, DetectorError> {
        let alert = health::alert(&rule.name, why, round.facts.now_us);
        if evaluate::known_alerts(&round.context, health::RULE).await?.contains(&alert.alert_id) {
            return Ok(Vec::new());
        }
        let alerts = vec![alert];
        let step = RuleStep { seen: round.facts.up_to, settled: None, alerts: &alerts };
        alerts::append(round.table, &alerts::cursor(round.table, health::RULE), &step, round.facts.now_us / 1000)?;
        Ok(alerts)
    }

    /// A session in which rules can run.
    ///
    /// # Errors
    /// When tables cannot be read.
    pub async fn session(&self, window: Window) -> Result<SessionContext, DetectorError> {
        let context = views::session(self.lake, self.config.clone(), window).await?;
        functions::register(&context);
        if self.rules.iter().any(|rule| rule.statements().any(joined::is_named_in)) {
            joined::register(&context).await?;
        }
        self.inventory.register(&context)?;
        Ok(context)
    }
}

/// What rules that stand at the same version run on.
struct Round<'a> {
    context: SessionContext,
    table: &'a Table,
    facts: RoundFacts,
}

/// An error with its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
