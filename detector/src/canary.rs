//! Canaries: a synthetic violation for each rule, to see that it still fires with the parameters and lists that are in force.
//!
//! The violation is the first test of the rule file that expects an alert, moved to now. It goes through the real engine, in a
//! lake of its own: no synthetic event is ever stored beside real ones, and no baseline learns from it. What came of it is a row of
//! [`lake::canaries`]; a rule that does not fire is an alert about the rule itself.
//!
//! Not for: whether the sources send what a rule reads, which `blind` of the rule says. Limits: one case a rule.

use std::ops::ControlFlow;
use std::path::Path;

use chrono::DateTime;
use lake::alerts::{self, Alert, RuleStep};
use lake::canaries::{self, CanaryRow};
use lake::table::CommitOutcome;
use lake::views::{self, Window};
use lake::{Lake, snapshot};
use schemas::decode::DEFAULT_TENANT;
use tokio::runtime::Runtime;

use crate::check::{self, How, Trial};
use crate::health::{self, Trouble};
use crate::inventory::Inventory;
use crate::parameters::Parameters;
use crate::rule::{Case, Rule};
use crate::{DetectorError, canary_case, evaluate, pool};

/// Who acts where nobody did.
const WHO: &str = "vialog";
/// Most times an alert about a rule is tried beside those of other detectors.
const MAX_ATTEMPTS: usize = 20;

/// What came of a canary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The rule fired; its alert, which is kept nowhere else.
    Fired(Box<Alert>),
    /// It ran and said nothing; why, as far as trying it otherwise tells.
    Silent(String),
    /// It did not run; why.
    Failed(String),
}

/// A canary of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// Name of the rule.
    pub rule: String,
    /// Its version.
    pub rule_version: i32,
    /// The tenant that it was tried for.
    pub tenant: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What is tried.
#[derive(Debug, Clone)]
pub struct Canaries<'a> {
    /// Rules as they run, with what a configuration says of their parameters.
    pub rules: &'a [Rule],
    /// What is really known.
    pub inventory: &'a Inventory,
    /// For which tenants; when empty for the default one, and for each that has parameters of its own for the rule.
    pub tenants: &'a [String],
    /// When, microseconds.
    pub now_us: i64,
}

impl Canaries<'_> {
    /// Tries all of them in folders of `root`, as many at once as `workers`; 0 is as many as there are cores. `hear` is told each
    /// as it comes in, and says whether to go on.
    ///
    /// # Errors
    /// When a folder cannot be written.
    pub fn run(&self, root: &Path, workers: usize, hear: &(dyn Fn(Canary) -> ControlFlow<()> + Sync)) -> Result<(), DetectorError> {
        let of_rule = |rule| self.tenants_of(rule).into_iter().map(move |tenant| (rule, tenant));
        let jobs: Vec<(&Rule, String)> = self.rules.iter().flat_map(of_rule).collect();
        let work = |runtime: &Runtime, number: usize, (rule, tenant): &(&Rule, String)| {
            let one = One { rule, tenant, inventory: self.inventory, now_us: self.now_us };
            let outcome = runtime.block_on(one.outcome(&root.join(number.to_string())));
            let outcome = outcome.unwrap_or_else(|error| Outcome::Failed(crate::run::chain(&error)));
            Ok(hear(Canary { rule: rule.name.clone(), rule_version: rule.version, tenant: tenant.clone(), outcome }))
        };
        pool::each(&jobs, if workers == 0 { pool::cores() } else { workers }, &work)
    }

    fn tenants_of(&self, rule: &Rule) -> Vec<String> {
        if !self.tenants.is_empty() {
            return self.tenants.to_vec();
        }
        let own = rule.of_tenants.keys().filter(|tenant| *tenant != DEFAULT_TENANT);
        std::iter::once(DEFAULT_TENANT.to_owned()).chain(own.cloned()).collect()
    }
}

/// One canary.
struct One<'a> {
    rule: &'a Rule,
    tenant: &'a str,
    inventory: &'a Inventory,
    now_us: i64,
}

impl One<'_> {
    async fn outcome(&self, folder: &Path) -> Result<Outcome, DetectorError> {
        let written = self.rule.tests.iter().find(|case| !case.expect.is_empty());
        let Some(written) = written else { return Ok(Outcome::Failed("it has no test that expects an alert".into())) };
        let today = DateTime::from_timestamp_micros(self.now_us).unwrap_or_default().date_naive();
        let weeks = canary_case::weeks_to(written, today);
        let case = canary_case::moved(written, weeks, self.tenant);
        let (own, as_written) = (check::inventory_of(self.rule, &case)?, self.rule.as_written());
        let both = canary_case::beside(self.inventory, &own);
        let trial = |rule, inventory| Trial { rule, case: &case, inventory, how: How::Plain };
        let alert = match fired(&trial(self.rule, &both), &folder.join("now")).await? {
            Tried::Fired(alert) => return Ok(Outcome::Fired(alert)),
            Tried::Failed(why) => return Ok(Outcome::Failed(why)),
            Tried::Silent(alert) => alert,
        };
        if let Some(alert) = self.fired_in_season((written, canary_case::weeks_in_season(weeks)), folder).await? {
            return Ok(Outcome::Fired(alert));
        }
        // What is to be changed for it to fire says what hides it.
        let parameters = self.parameters_in_force();
        let lists = self.lists_in_force();
        let fires = async |trial: Trial<'_>, name: &str| Ok::<_, DetectorError>(fired(&trial, &folder.join(name)).await?.is_fired());
        let why = if !parameters.is_empty() && fires(trial(&as_written, &both), "as-written").await? {
            format!("it fires with the parameters of the rule file; in force are {parameters}")
        } else if !lists.is_empty() && fires(trial(self.rule, &own), "without-inventory").await? {
            format!("it fires without the inventory; look at {lists}")
        } else if fires(trial(&as_written, &own), "as-tested").await? {
            format!("it fires with the parameters of the rule file and without the inventory; in force are {parameters}, and {lists}")
        } else if fires(Trial { case: written, ..trial(&as_written, &check::inventory_of(self.rule, written)?) }, "at-its-time").await? {
            "it fires at the times that its test was written with, and neither now nor at that time of the last year".to_owned()
        } else {
            "its own test does not pass; `vialog rules test` says more".to_owned()
        };
        Ok(Outcome::Silent(alert.map_or(why.clone(), |other| format!("{why} (it gave an alert for {} instead)", other.entity))))
    }

    /// A test that names a zone and hours of UTC holds in the season that it was written for: at the same time of the last year.
    async fn fired_in_season(&self, (written, weeks): (&Case, i64), folder: &Path) -> Result<Option<Box<Alert>>, DetectorError> {
        let case = canary_case::moved(written, weeks, self.tenant);
        let inventory = canary_case::beside(self.inventory, &check::inventory_of(self.rule, &case)?);
        let trial = Trial { rule: self.rule, case: &case, inventory: &inventory, how: How::Plain };
        Ok(if let Tried::Fired(alert) = fired(&trial, &folder.join("season")).await? { Some(alert) } else { None })
    }

    /// Parameters that are not those of the rule file.
    fn parameters_in_force(&self) -> String {
        let (now, written) = (self.rule.for_tenant(self.tenant).parameters, self.rule.as_written().parameters);
        let differ = now.iter().filter(|(name, value)| written.get(*name) != Some(value));
        let said = |parameters: &Parameters, name: &str| parameters.get(name).map_or_else(String::new, |value| value.as_sql());
        differ
            .map(|(name, _)| format!("{name} = {} (in the file {})", said(&now, name), said(&written, name)))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// What of the inventory the rule reads.
    fn lists_in_force(&self) -> String {
        let is_read = |name: &str| self.rule.statements().any(|sql| sql.contains(name));
        let Inventory { identities, holidays, lists, default_zone } = self.inventory;
        let tables = [("identities", identities.len()), ("holidays", holidays.len()), ("defaults", default_zone.iter().len())];
        let lists = lists.iter().map(|(name, rows)| (name.as_str(), rows.len()));
        let read = tables.into_iter().chain(lists).filter(|(name, rows)| *rows > 0 && is_read(name));
        let named =
            read.map(|(name, _)| if name == "defaults" { "the zone of whoever is not listed".to_owned() } else { format!("`{name}`") });
        named.collect::<Vec<_>>().join(", ")
    }
}

/// What came of a trial.
enum Tried {
    Fired(Box<Alert>),
    /// With an alert that was not the one expected.
    Silent(Option<Box<Alert>>),
    Failed(String),
}

impl Tried {
    fn is_fired(&self) -> bool {
        matches!(self, Self::Fired(_))
    }
}

async fn fired(trial: &Trial<'_>, folder: &Path) -> Result<Tried, DetectorError> {
    let report = check::judged(trial, &folder.to_string_lossy()).await?;
    if let Some((_, why)) = report.failed().next() {
        return Ok(Tried::Failed(why.to_owned()));
    }
    let Case { expect, .. } = trial.case;
    let is_expected = |alert: &Alert| expect.iter().any(|expected| expected.entity == alert.entity);
    let is_whole = expect.iter().all(|expected| report.alerts.iter().any(|alert| alert.entity == expected.entity));
    let (mut expected, mut others): (Vec<Alert>, Vec<Alert>) = report.alerts.into_iter().partition(is_expected);
    Ok(if is_whole && !expected.is_empty() {
        Tried::Fired(Box::new(expected.swap_remove(0)))
    } else {
        others.truncate(1);
        Tried::Silent(others.pop().map(Box::new))
    })
}

/// Writes down what came of canaries, and gives the alerts about rules that did not fire, less those of today that are
/// there already.
///
/// # Errors
/// When the lake cannot be written.
pub async fn record(lake: &Lake, canaries: &[Canary], now_us: i64) -> Result<Vec<Alert>, DetectorError> {
    if canaries.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<CanaryRow<'_>> = canaries.iter().map(row_of).collect();
    let troubles: Vec<Alert> = canaries.iter().filter_map(|canary| trouble_of(canary, now_us)).collect();
    let table = alerts::open(lake)?;
    for _ in 0..MAX_ATTEMPTS {
        table.refresh()?;
        // Read before the alerts that are known: another detector may write one meanwhile.
        let cursor = alerts::cursor(&table, health::RULE);
        let context = views::session(lake, snapshot::session_config(), Window::default()).await?;
        let known = evaluate::known_alerts(&context, health::RULE).await?;
        let new: Vec<Alert> = troubles.iter().filter(|alert| !known.contains(&alert.alert_id)).cloned().collect();
        let step = RuleStep { seen: views::decided_version(lake)?.unwrap_or(0), settled: None, alerts: &new };
        if new.is_empty() || matches!(alerts::append(&table, &cursor, &step, now_us / 1000)?, CommitOutcome::Committed { .. }) {
            // After the alerts: who is stopped in between tries again, and an alert is not raised twice.
            canaries::append(&canaries::open(lake)?, &rows, WHO, now_us)?;
            return Ok(new);
        }
    }
    Err(lake::LakeError::Unsupported("too many detectors write alerts about rules at once; try again".into()).into())
}

fn row_of(canary: &Canary) -> CanaryRow<'_> {
    let (outcome, reason, alert) = match &canary.outcome {
        Outcome::Fired(alert) => (canaries::FIRED, "closed at once: nothing of it happened", Some(&**alert)),
        Outcome::Silent(why) => (canaries::SILENT, why.as_str(), None),
        Outcome::Failed(why) => (canaries::FAILED, why.as_str(), None),
    };
    CanaryRow { rule: &canary.rule, rule_version: canary.rule_version, tenant: &canary.tenant, outcome, alert, reason }
}

fn trouble_of(canary: &Canary, now_us: i64) -> Option<Alert> {
    let (trouble, why) = match &canary.outcome {
        Outcome::Fired(_) => return None,
        Outcome::Silent(why) => (Trouble::CanarySilent, why),
        Outcome::Failed(why) => (Trouble::CanaryFailed, why),
    };
    Some(health::alert((&canary.rule, &canary.tenant), trouble, why, now_us))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn every_rule_fires_at_its_canary_as_it_is_written_whatever_the_season() {
        let (folder, rules, others) = (tempfile::tempdir().unwrap(), crate::rule::pack().unwrap(), Mutex::new(Vec::new()));
        // Two days after the clocks of Europe go forward; some rules know zones.
        let now_us = DateTime::parse_from_rfc3339("2027-03-30T12:00:00Z").unwrap().timestamp_micros();
        let hear = |canary: Canary| {
            if !matches!(canary.outcome, Outcome::Fired(_)) {
                others.lock().unwrap().push(canary);
            }
            ControlFlow::Continue(())
        };
        let inventory = Inventory::default();
        Canaries { rules: &rules, inventory: &inventory, tenants: &[], now_us }.run(folder.path(), 0, &hear).unwrap();
        assert_eq!(others.into_inner().unwrap(), Vec::<Canary>::new());
    }
}
