//! Commands on rules: run them over a lake, list them, run their tests.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use detector::check::{CaseResult, How};
use detector::inventory::Inventory;
use detector::rule::{self, Rule};
use detector::run::Detector;
use lake::Lake;
use lake::alerts::Alert;
use serde_json::json;

use crate::args::{DetectArgs, Output, RuleRunArgs};
use crate::config::Config;
use crate::{canary, tell, watch};

/// What `detect`, `rules backtest`, `rules report` and `rules replay` run with.
pub(crate) struct Setup {
    pub(crate) lake: Lake,
    pub(crate) rules: Vec<Rule>,
    pub(crate) inventory: Inventory,
}

impl Setup {
    pub(crate) fn read(args: &RuleRunArgs) -> Result<Self> {
        let config = args.lake.config.as_deref().map(Config::read).transpose()?;
        let folder = args.inventory.as_ref().or(config.as_ref().and_then(|c| c.inventory.as_ref()));
        let zone = args.zone.clone().or(config.as_ref().and_then(|c| c.zone.clone()));
        let inventory = match folder {
            Some(folder) if !folder.is_dir() => bail!("there is no inventory folder `{}`", folder.display()),
            Some(folder) => Inventory::read(folder, zone)?,
            None => Inventory::of_zone(zone)?,
        };
        let lake = Lake::open(args.lake.at()?)?;
        let mut rules = rule::pack()?;
        if let Some(folder) = args.rules.as_ref().or(config.as_ref().and_then(|c| c.rules.as_ref())) {
            rules.extend(rule::folder(folder)?);
            rule::check_distinct(&rules)?;
        }
        if let Some(config) = &config {
            config.overrides.apply(&mut rules)?;
        }
        Ok(Self { lake, rules, inventory })
    }

    /// Keeps the rules of these names; all when none is named.
    pub(crate) fn keep(&mut self, names: &[String]) -> Result<()> {
        if let Some(unknown) = names.iter().find(|name| !self.rules.iter().any(|rule| rule.name == **name)) {
            bail!("there is no rule `{unknown}`; `vialog rules list` shows them");
        }
        self.rules.retain(|rule| names.is_empty() || names.contains(&rule.name));
        Ok(())
    }

    pub(crate) fn detector(&self) -> Detector<'_> {
        Detector::new(&self.lake, &self.rules, &self.inventory)
    }
}

/// `detect`: as a service, or once.
pub(crate) async fn detect(args: &DetectArgs, stop: Arc<AtomicBool>) -> Result<ExitCode> {
    let as_json = args.run.format == Output::Json;
    let setup = Setup::read(&args.run)?;
    if !args.once {
        if args.canaries {
            tokio::spawn(canary::daily(Arc::new(Setup::read(&args.run)?), as_json, Arc::clone(&stop)));
        }
        watch::watch(setup, as_json, stop).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let as_of_us = args.as_of.map_or(i64::MAX / 2, |t| t.timestamp_micros());
    let report = setup.detector().run(as_of_us, chrono::Utc::now().timestamp_micros()).await?;
    report.alerts.iter().try_for_each(|alert| tell_alert(alert, as_json))?;
    for (rule, why) in report.failed() {
        tracing::error!(rule, why, "a rule failed; the others ran");
    }
    if as_json {
        let learning: u64 = report.unjudged().map(|(_, learning, _)| learning).sum();
        tell::object(
            &json!({ "rules": setup.rules.len(), "alerts": report.alerts.len(), "learning": learning, "blind": report.blind().count() }),
        )?;
    } else {
        for (rule, learning, excluded) in report.unjudged() {
            if learning > 0 {
                tell::line(&format!("{rule} is still learning {learning} identities"))?;
            }
            if excluded > 0 {
                tell::line(&format!("{rule} does not apply to {excluded} identities"))?;
            }
        }
        report.blind().try_for_each(|(rule, why)| tell::line(&format!("{rule} is BLIND: {why}")))?;
        tell::line(&format!("{} rules, {} new alerts", setup.rules.len(), report.alerts.len()))?;
    }
    Ok(ExitCode::from(u8::from(report.failed().next().is_some())))
}

/// An alert in a line.
pub(crate) fn tell_alert(alert: &Alert, as_json: bool) -> Result<()> {
    if as_json {
        return tell::object(
            &json!({ "alert_id": alert.alert_id, "rule_id": alert.rule_id, "severity": alert.severity, "event_time": schemas::time::print(alert.event_time), "tenant": alert.tenant, "entity": alert.entity, "reason": alert.reason }),
        );
    }
    let (when, whose) = (schemas::time::print(alert.event_time), tell::of_tenant(&alert.tenant));
    tell::line(&format!("{:<8} {when}  {whose}{}", alert.severity, alert.reason))
}

/// `rules list`.
pub(crate) fn list(folder: Option<&Path>, as_json: bool) -> Result<ExitCode> {
    for rule in folder.map_or_else(rule::pack, rule::folder)? {
        if as_json {
            tell::object(
                &json!({ "name": rule.name, "title": rule.title, "version": rule.version, "status": rule.status, "severity": rule.severity }),
            )?;
        } else {
            tell::line(&format!("{:<24} {:<8} {}", rule.name, rule.severity, rule.title))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `rules test`.
pub(crate) fn test(folder: Option<&Path>, how: How, as_json: bool) -> Result<ExitCode> {
    let rules = folder.map_or_else(rule::pack, rule::folder)?;
    if rules.is_empty() {
        bail!("there is no rule file (*.yaml) in `{}`", folder.unwrap_or(Path::new("")).display());
    }
    rule::check_distinct(&rules)?;
    let root = std::env::temp_dir().join(format!("vialog-rules-{}", std::process::id()));
    std::fs::create_dir_all(&root).with_context(|| format!("cannot make `{}`", root.display()))?;
    // A closed output is no reason to leave cases untested.
    let hear = |rule: &Rule, result: &CaseResult| drop(tell_case(rule, result, as_json));
    let tested = detector::check::run_all(&rules, &root, how, &hear);
    std::fs::remove_dir_all(&root).with_context(|| format!("cannot remove `{}`", root.display()))?;
    let failed = tested?;
    let cases: usize = rules.iter().map(|rule| rule.tests.len()).sum();
    if as_json {
        tell::object(&json!({ "rules": rules.len(), "cases": cases, "passed": cases - failed, "failed": failed }))?;
    } else {
        tell::line(&format!("{} rules, {cases} cases: {} passed, {failed} failed", rules.len(), cases - failed))?;
    }
    Ok(ExitCode::from(u8::from(failed > 0)))
}

fn tell_case(rule: &Rule, result: &CaseResult, as_json: bool) -> Result<()> {
    if as_json {
        return tell::object(
            &json!({ "rule": rule.name, "case": result.case, "passed": result.passed(), "expected": result.expected, "found": result.found, "failure": result.failure }),
        );
    }
    if result.passed() {
        return tell::line(&format!("ok      {}: {}", rule.name, result.case));
    }
    tell::line(&format!("FAILED  {}: {}", rule.name, result.case))?;
    let failure = result.failure.as_deref().unwrap_or_default();
    tell::line(&format!("        expected alerts for {:?}, found {:?} {failure}", result.expected, result.found))
}
