//! All rules to the end of the data: learn, evaluate what is new to each rule, commit alerts with the cursor.

use std::collections::BTreeMap;
use std::time::Instant;

use datafusion::prelude::{SessionConfig, SessionContext};
use lake::alerts::{self, Alert, RuleCursor, RuleStep};
use lake::snapshot::session_config;
use lake::table::{CommitOutcome, Table};
use lake::views::{self, Window};
use lake::words::Words;
use lake::{Lake, events, follow, joined};
use schemas::decode::DEFAULT_TENANT;

use crate::evaluate::{Findings, OPEN, RoundFacts};
use crate::health::Trouble;
use crate::inventory::Inventory;
use crate::plans::Plans;
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
    /// Whether a run brings baselines up to date first.
    pub learns: bool,
    /// Whether a run asks each rule what it cannot judge.
    pub counts: bool,
}

impl<'a> Detector<'a> {
    /// One that runs as it should; tests and services change how.
    pub fn new(lake: &'a Lake, rules: &'a [Rule], inventory: &'a Inventory) -> Self {
        Self { lake, rules, inventory, config: session_config(), learns: true, counts: true }
    }

    /// Runs every rule to the end of the data. `as_of_us` is the moment up to which the data counts as complete.
    ///
    /// # Errors
    /// When the lake cannot be read or written; a rule that fails is in the report.
    pub async fn run(&self, as_of_us: i64, now_us: i64) -> Result<RunReport, DetectorError> {
        let mut report = RunReport::default();
        let clock = Instant::now();
        follow::advance(self.lake, now_us / 1000).await?;
        let copies_ms = clock.elapsed().as_millis();
        let Some(decided) = views::decided_version(self.lake)? else { return Ok(report) };
        // Another detector may have learnt more meanwhile; rows of baselines name the version that they were learnt up to.
        let up_to = if self.learns { baseline::learn(self.lake, decided, now_us / 1000).await? } else { decided };
        report.learning_ms = clock.elapsed().as_millis();
        let (table, events) = (alerts::open(self.lake)?, events::open(self.lake)?);
        let inventory_sha256 = self.inventory.sha256();
        for ((after, new_up_to), due) in self.due(&table, &events, (up_to, as_of_us)) {
            let window = Window { up_to: Some(up_to), after: Some(after), new_up_to, between: None };
            let context = self.narrow_session(window, due.iter().map(|(rule, _)| *rule)).await?;
            let new_us = evaluate::new_us(&context).await?;
            tracing::debug!(
                copies_ms,
                learning_ms = report.learning_ms,
                ready_ms = clock.elapsed().as_millis(),
                rules = due.len(),
                "rules run"
            );
            let (inventory_sha256, counts) = (inventory_sha256.clone(), self.counts);
            let facts = RoundFacts { after, new_up_to, up_to, as_of_us, new_us, now_us, inventory_sha256, again: false, counts };
            self.run_round(&due, &Round { context, table: &table, events: &events, facts }, &mut report).await?;
        }
        Ok(report)
    }

    /// Plans what the rules ask, over no events at all, so that the first events need not wait for it. What fails here is told
    /// when it fails over events.
    ///
    /// # Errors
    /// When tables cannot be read.
    pub async fn warm_up(&self) -> Result<(), DetectorError> {
        let window = Window { up_to: Some(0), after: Some(Some(u64::MAX)), ..Window::default() };
        let context = self.narrow_session(window, self.rules.iter()).await?;
        let facts = RoundFacts { counts: self.counts, ..RoundFacts::default() };
        for rule in self.rules {
            if let Err(error) = evaluate::evaluate(rule, &context, &facts).await {
                tracing::debug!(rule = rule.name, error = &error as &dyn std::error::Error, "not planned yet");
            }
        }
        Ok(())
    }

    /// The rules that have something to judge, by the versions that are new to them: those that stand at the same ones share
    /// a session. Cursors are read before the alerts that it shows.
    fn due(&self, table: &Table, events: &Table, (up_to, as_of_us): (u64, i64)) -> DueRules<'a> {
        let mut due = DueRules::new();
        for rule in self.rules {
            let cursor = alerts::cursor(table, &rule.name);
            let settle_us = rule.shortest_settle_us();
            // What has not settled is not judged: a rule that waits a quarter of an hour need not look at it each second.
            let last = match settle_us {
                0 => Some(up_to),
                _ => events::last_due_version(events, cursor.settled, up_to, as_of_us.saturating_sub(settle_us)),
            };
            if let Some(last) = last.filter(|last| cursor.settled.is_none_or(|settled| settled < *last)) {
                due.entry((cursor.settled, (last < up_to).then_some(last))).or_default().push((rule, cursor));
            }
        }
        due
    }

    /// Rules on one session; what they found and their cursors are one commit.
    async fn run_round(&self, due: &[(&Rule, RuleCursor)], round: &Round<'_>, report: &mut RunReport) -> Result<(), DetectorError> {
        let mut ran = Vec::new();
        let has_shadow = due.iter().any(|(rule, _)| rule.is_shadow());
        let promoted = if has_shadow { evaluate::promoted(&round.context).await? } else { Vec::new() };
        for (rule, cursor) in due {
            let clock = Instant::now();
            let outcome = evaluate::evaluate(rule, &round.context, &round.facts).await;
            let took_ms = clock.elapsed().as_millis();
            tracing::debug!(rule = rule.name, took_ms, is_done = outcome.is_ok(), "rule ran");
            let outcome = match outcome {
                Err(error) => {
                    let why = chain(&error);
                    report.alerts.extend(Self::tell_failure(rule, &why, round).await?);
                    RuleOutcome::Failed(why)
                }
                Ok(Findings { mut alerts, learning, excluded, blind }) => {
                    if promoted.contains(&rule.name) {
                        alerts.iter_mut().for_each(|alert| alert.status = OPEN.into());
                    }
                    let outcome = RuleOutcome::Ran { alerts: alerts.len(), learning, excluded, blind };
                    // Not past what another source may still answer.
                    let RoundFacts { up_to, as_of_us, .. } = round.facts;
                    let limit_us = as_of_us.saturating_sub(rule.longest_settle_us());
                    let settled = events::settled_version(round.events, cursor.settled, up_to, limit_us);
                    ran.push((cursor.clone(), settled, alerts));
                    outcome
                }
            };
            report.rules.push(RuleRun { rule: rule.name.clone(), took_ms, outcome });
        }
        report.alerts.extend(commit(ran, round)?);
        Ok(())
    }

    /// A failure is an alert, unless it was told today.
    async fn tell_failure(rule: &Rule, why: &str, round: &Round<'_>) -> Result<Vec<Alert>, DetectorError> {
        let alert = health::alert((&rule.name, DEFAULT_TENANT), Trouble::Failed, why, round.facts.now_us);
        if evaluate::known_alerts(&round.context, health::RULE).await?.contains(&alert.alert_id) {
            return Ok(Vec::new());
        }
        let alerts = vec![alert];
        let step = RuleStep { seen: round.facts.up_to, settled: None, alerts: &alerts };
        alerts::append(round.table, &alerts::cursor(round.table, health::RULE), &step, round.facts.now_us / 1000)?;
        Ok(alerts)
    }

    /// A session in which rules can run, and any other query.
    ///
    /// # Errors
    /// When tables cannot be read.
    pub async fn session(&self, window: Window) -> Result<SessionContext, DetectorError> {
        self.session_of(window, &Words::any()).await
    }

    /// A session for these rules: it has only what they name, so that they are planned fast; what any rule names, where plans are kept.
    async fn narrow_session<'r>(
        &self,
        window: Window,
        rules: impl Iterator<Item = &'r Rule> + Clone,
    ) -> Result<SessionContext, DetectorError> {
        let plans = self.config.get_extension::<Plans>();
        let words = plans.as_ref().map_or_else(|| words_of(rules), |plans| plans.words.clone());
        let context = self.session_of(window, &words).await?;
        if let Some(plans) = plans {
            plans.take_over(&context).await.map_err(|source| DetectorError::Sql { rule: "new_events".into(), source: Box::new(source) })?;
        }
        Ok(context)
    }

    async fn session_of(&self, window: Window, words: &Words) -> Result<SessionContext, DetectorError> {
        let context = views::session_of(self.lake, self.config.clone(), window, words).await?;
        functions::register(&context);
        if self.rules.iter().any(|rule| rule.statements().any(joined::is_named_in)) {
            joined::register(&context).await?;
        }
        self.inventory.register(&context)?;
        Ok(context)
    }
}

/// The words of what these rules ask; any word, where they read views over views, or compare whole rows.
pub(crate) fn words_of<'r>(rules: impl Iterator<Item = &'r Rule> + Clone) -> Words {
    if rules.clone().flat_map(Rule::statements).any(|sql| joined::is_named_in(sql) || compares_rows(sql)) {
        return Words::any();
    }
    Words::of(rules.flat_map(Rule::statements))
}

/// Whether a statement means all columns, named or not: of rows that are distinct, or joined by the names that they share.
fn compares_rows(sql: &str) -> bool {
    let words: Vec<String> = sql.replace('(', " ( ").split_whitespace().map(str::to_ascii_lowercase).collect();
    let is_star = |word: &str| word.trim_end_matches([')', ',']).ends_with('*');
    let distinct = words.windows(2).any(|pair| pair[0] == "distinct" && is_star(&pair[1]));
    distinct || words.iter().any(|word| word == "natural")
}

/// Rules with their cursors, by the version after which events are new to them, and the one up to which, where that is not the last.
type DueRules<'a> = BTreeMap<(Option<u64>, Option<u64>), Vec<(&'a Rule, RuleCursor)>>;

/// Commits what rules found with their cursors; returns the alerts that are new.
fn commit(ran: Vec<(RuleCursor, Option<u64>, Vec<Alert>)>, round: &Round<'_>) -> Result<Vec<Alert>, DetectorError> {
    let RoundFacts { up_to, now_us, .. } = round.facts;
    let steps: Vec<(RuleCursor, RuleStep<'_>)> =
        ran.iter().map(|(cursor, settled, alerts)| (cursor.clone(), RuleStep { seen: up_to, settled: *settled, alerts })).collect();
    let is_new = |committed: CommitOutcome| matches!(committed, CommitOutcome::Committed { .. });
    if is_new(alerts::append_all(round.table, &steps, now_us / 1000)?) {
        return Ok(ran.into_iter().flat_map(|(_, _, alerts)| alerts).collect());
    }
    // Another detector was faster with at least one of them, and its alerts are the same.
    let mut new = Vec::new();
    for (cursor, step) in &steps {
        if is_new(alerts::append(round.table, cursor, step, now_us / 1000)?) {
            new.extend_from_slice(step.alerts);
        }
    }
    Ok(new)
}

/// What rules that stand at the same version run on.
struct Round<'a> {
    context: SessionContext,
    table: &'a Table,
    events: &'a Table,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_that_compares_whole_rows_has_all_columns() {
        for sql in
            ["SELECT DISTINCT * FROM new_events", "SELECT COUNT(DISTINCT *) FROM t", "SELECT distinct e.* FROM e", "a NATURAL\nJOIN b"]
        {
            assert!(compares_rows(sql), "{sql}");
        }
        for sql in ["SELECT DISTINCT tenant, n * 2 FROM t", "SELECT COUNT(*) FROM t", "SELECT COUNT(DISTINCT a) FROM t"] {
            assert!(!compares_rows(sql), "{sql}");
        }
    }
}
