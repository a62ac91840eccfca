//! `rules canary` and `rules health`: show each rule a synthetic violation, keep what came of it, and tell when it last fired.
//!
//! As part of the service once a day (`detect --canaries`), counted from what the lake says of the last time, so that a service
//! that is started anew does not begin again. Limits: there one rule after the other, so that detection has the machine.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use detector::canary::{self, Canaries, Canary, Outcome};
use lake::Lake;
use lake::canaries::{FIRED, LAST_SQL};
use query::Session;
use serde_json::json;

use crate::args::{CanaryArgs, Output, RuleRunArgs};
use crate::detection::{Setup, tell_alert};
use crate::tell;

/// How often the service tries rules.
const EVERY_HOURS: i64 = 24;
/// How often it looks whether that is due, and whether it is to stop.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// Width of the name of a rule.
const NAME: usize = 34;

/// Runs `rules canary`.
pub(crate) async fn run(args: &CanaryArgs) -> Result<ExitCode> {
    let mut setup = Setup::read(&args.run)?;
    setup.keep(&args.names)?;
    let (now_us, format) = (chrono::Utc::now().timestamp_micros(), args.run.format);
    let setup = Arc::new(setup);
    let (ran, tenants) = (Arc::clone(&setup), args.tenants.clone());
    let tried = tokio::task::spawn_blocking(move || {
        // A closed output is no reason to leave rules untried.
        let hear = |canary: &Canary| {
            drop(tell_canary(canary, format));
            ControlFlow::Continue(())
        };
        tried(&ran, &tenants, (now_us, 0), &hear)
    });
    let tried = tried.await??;
    let alerts = if args.dry_run { Vec::new() } else { canary::record(&setup.lake, &tried, now_us).await? };
    let count = |is: fn(&Outcome) -> bool| tried.iter().filter(|canary| is(&canary.outcome)).count();
    let fired = count(|outcome| matches!(outcome, Outcome::Fired(_)));
    let (silent, failed) = (count(|outcome| matches!(outcome, Outcome::Silent(_))), count(|outcome| matches!(outcome, Outcome::Failed(_))));
    if format == Output::Json {
        tell::object(
            &json!({ "tried": tried.len(), "fired": fired, "silent": silent, "failed": failed, "alerts": alerts.len(), "recorded": !args.dry_run }),
        )?;
    } else {
        let kept = if args.dry_run { "nothing was recorded" } else { "recorded in `rule_canaries`" };
        tell::line(&format!("{} canaries: {fired} fired, {silent} silent, {failed} failed; {kept}", tried.len()))?;
        if silent + failed > 0 {
            tell::line("A rule that does not fire at its canary would miss a real violation like it: mend what is said above")?;
        }
    }
    Ok(ExitCode::from(u8::from(silent + failed > 0)))
}

/// Tries rules in a folder that is removed again.
fn tried(
    setup: &Setup,
    tenants: &[String],
    (now_us, workers): (i64, usize),
    hear: &(dyn Fn(&Canary) -> ControlFlow<()> + Sync),
) -> Result<Vec<Canary>> {
    let root = Scratch::make()?;
    let tried = Mutex::new(Vec::new());
    let keep = |canary: Canary| {
        let goes_on = hear(&canary);
        tried.lock().unwrap_or_else(PoisonError::into_inner).push(canary);
        goes_on
    };
    Canaries { rules: &setup.rules, inventory: &setup.inventory, tenants, now_us }.run(&root.0, workers, &keep)?;
    Ok(tried.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// A folder that is there as long as this.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> Result<Self> {
        // One of its own: a process that was killed leaves its folder, and the next may have the same number.
        let since_1970 = chrono::Utc::now().timestamp_micros();
        let folder = std::env::temp_dir().join(format!("vialog-canaries-{}-{since_1970}", std::process::id()));
        std::fs::create_dir(&folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), "cannot remove the scratch folder of canaries: {error}");
        }
    }
}

fn tell_canary(canary: &Canary, format: Output) -> Result<()> {
    let (word, why) = match &canary.outcome {
        Outcome::Fired(alert) => ("fired", alert.reason.as_str()),
        Outcome::Silent(why) => ("SILENT", why.as_str()),
        Outcome::Failed(why) => ("FAILED", why.as_str()),
    };
    match format {
        Output::Json => tell::object(&json!({ "rule": canary.rule, "version": canary.rule_version, "tenant": canary.tenant,
            "outcome": word.to_lowercase(), "reason": why })),
        Output::Text => tell::line(&format!("{word:<7} {:<NAME$} {:<10} {why}", canary.rule, canary.tenant)),
    }
}

/// Runs `rules health`.
pub(crate) async fn health(args: &RuleRunArgs) -> Result<ExitCode> {
    let setup = Setup::read(args)?;
    let last = last(&setup.lake).await?;
    let (mut fired, mut others, mut untried) = (0, 0, 0);
    for rule in &setup.rules {
        let of_rule: Vec<&Last> = last.iter().filter(|last| last.rule == rule.name).collect();
        if of_rule.is_empty() {
            untried += 1;
            tell_last(rule, None, args.format)?;
        }
        for last in of_rule {
            if last.version != rule.version {
                untried += 1;
            } else if last.outcome == FIRED {
                fired += 1;
            } else {
                others += 1;
            }
            tell_last(rule, Some(last), args.format)?;
        }
    }
    match args.format {
        Output::Json => tell::object(&json!({ "rules": setup.rules.len(), "fired": fired, "not_fired": others, "untried": untried }))?,
        Output::Text => tell::line(&format!(
            "{} rules; last canaries: {fired} fired, {others} did not, {untried} not tried in this version{}",
            setup.rules.len(),
            if untried > 0 { "; `vialog rules canary` tries them" } else { "" }
        ))?,
    }
    Ok(ExitCode::from(u8::from(others + untried > 0)))
}

fn tell_last(rule: &detector::rule::Rule, last: Option<&Last>, format: Output) -> Result<()> {
    if format == Output::Json {
        return tell::object(
            &json!({ "rule": rule.name, "version": rule.version, "status": rule.status, "tenant": last.map(|l| &l.tenant),
            "outcome": last.map(|l| &l.outcome), "of_version": last.map(|l| l.version), "at": last.map(|l| &l.at), "reason": last.map(|l| &l.reason) }),
        );
    }
    let said = match last {
        None => "never tried".to_owned(),
        Some(last) if last.version != rule.version => {
            format!("{} in version {} at {:.19}, not tried in version {}", last.outcome, last.version, last.at, rule.version)
        }
        Some(last) if last.outcome == FIRED => format!("{} at {:.19}", last.outcome, last.at),
        Some(last) => format!("{} at {:.19}: {}", last.outcome.to_uppercase(), last.at, last.reason),
    };
    let tenant = last.map_or("", |last| last.tenant.as_str());
    tell::line(&format!("{:<NAME$} {:<12} {tenant:<10} {said}", rule.name, rule.status))
}

/// The last canary of a rule for a tenant.
struct Last {
    rule: String,
    version: i32,
    tenant: String,
    outcome: String,
    reason: String,
    at: String,
}

async fn last(lake: &Lake) -> Result<Vec<Last>> {
    let rows = Session::open(lake).await?.texts(LAST_SQL).await?;
    let of_row = |row: Vec<String>| {
        let [rule, version, tenant, outcome, reason, at] = <[String; 6]>::try_from(row).ok().context("six columns")?;
        Ok(Last { rule, version: version.parse()?, tenant, outcome, reason, at })
    };
    rows.into_iter().map(of_row).collect()
}

/// Tries rules once a day until `stop`, and says what does not fire. A failure is logged and tried again.
pub(crate) async fn daily(setup: Arc<Setup>, as_json: bool, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        if let Err(error) = daily_step(&setup, as_json, &stop).await {
            tracing::error!("cannot try the canaries of rules: {error:#}; tried again in {} s", LOOK_EVERY.as_secs());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn daily_step(setup: &Arc<Setup>, as_json: bool, stop: &Arc<AtomicBool>) -> Result<()> {
    let now_us = chrono::Utc::now().timestamp_micros();
    if !is_due(last_us(setup, now_us).await?, now_us) {
        return Ok(());
    }
    let (ran, stopped) = (Arc::clone(setup), Arc::clone(stop));
    let hear = move |_: &Canary| if stopped.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let tried = tokio::task::spawn_blocking(move || tried(&ran, &[], (now_us, 1), &hear)).await??;
    if stop.load(Ordering::Relaxed) {
        return Ok(());
    }
    let alerts = canary::record(&setup.lake, &tried, now_us).await?;
    let fired = tried.iter().filter(|canary| matches!(canary.outcome, Outcome::Fired(_))).count();
    tracing::info!(tried = tried.len(), fired, "canaries of rules");
    alerts.iter().try_for_each(|alert| tell_alert(alert, as_json))
}

/// Since when every rule in force was tried; `None` when one never was.
async fn last_us(setup: &Setup, now_us: i64) -> Result<Option<i64>> {
    let sql = format!(
        r#"SELECT rule, CAST(CAST(MAX("at") AS BIGINT) AS VARCHAR) FROM rule_canaries WHERE "at" <= to_timestamp_micros({now_us}) GROUP BY 1"#
    );
    let rows = Session::open(&setup.lake).await?.texts(&sql).await?;
    let last: BTreeMap<&str, i64> = rows.iter().filter_map(|row| Some((row[0].as_str(), row[1].parse().ok()?))).collect();
    let of_each: Option<Vec<i64>> = setup.rules.iter().map(|rule| last.get(rule.name.as_str()).copied()).collect();
    Ok(of_each.and_then(|all| all.into_iter().min()))
}

fn is_due(last_us: Option<i64>, now_us: i64) -> bool {
    const HOUR_US: i64 = 3_600_000_000;
    last_us.is_none_or(|last| now_us.saturating_sub(last) >= EVERY_HOURS * HOUR_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canaries_are_due_a_day_after_the_last_and_at_once_where_there_was_none() {
        let day = EVERY_HOURS * 3_600_000_000;
        assert!(is_due(None, 0) && is_due(Some(1), day + 1));
        assert!(!is_due(Some(1), day) && !is_due(Some(day), 1));
    }
}
