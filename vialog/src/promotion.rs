//! `rules promote` and `rules demote`: out of the shadow and back. A rule in shadow is judged by what it would have found
//! before anybody has to look at its alerts.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use chrono::{Days, Utc};
use detector::again;
use lake::Lake;
use lake::rule_actions::{self, PROMOTED_SQL, RuleAction};
use query::{Session, literal};

use crate::args::{PromoteArgs, RuleRunArgs, ToldArgs};
use crate::detection::Setup;
use crate::rules::{print, span_us};
use crate::tell;

/// Days that are shown where none are named.
const SHOWN_DAYS: u64 = 30;

/// Shows what a rule would have found, and promotes it when told to.
pub(crate) async fn promote(args: &PromoteArgs) -> Result<ExitCode> {
    let mut setup = Setup::read(&args.run)?;
    setup.keep(std::slice::from_ref(&args.name))?;
    let rule = &setup.rules[0];
    if !rule.is_shadow() {
        bail!("`{}` is not in shadow: its status is `{}`, so its alerts are open ones", rule.name, rule.status);
    }
    let to = args.to.unwrap_or_else(|| Utc::now().date_naive());
    let from = args.from.unwrap_or(to - Days::new(SHOWN_DAYS));
    let now_us = Utc::now().timestamp_micros();
    for report in again::backtest(&setup.detector(), span_us(from, to), now_us).await? {
        print(&report, args.run.format)?;
        if let Some(why) = report.failed.or(report.blind) {
            bail!("`{}` cannot judge this data ({why}), so it stays in shadow", rule.name);
        }
    }
    if !args.yes {
        tell::line(&format!("nothing was changed; with --yes the alerts of `{}` are open ones from now on", rule.name))?;
        return Ok(ExitCode::SUCCESS);
    }
    act(&setup.lake, &args.told, (&rule.name, rule.version), true)?;
    tell::line(&format!("`{}` is promoted: its alerts are open ones from now on", rule.name))?;
    Ok(ExitCode::SUCCESS)
}

/// Puts a promoted rule back. One that is not there any more is put back in the version that was promoted.
pub(crate) async fn demote(run: &RuleRunArgs, told: &ToldArgs, name: &str) -> Result<ExitCode> {
    let Setup { lake, rules, .. } = Setup::read(run)?;
    let session = Session::open(&lake).await?;
    if !session.texts(PROMOTED_SQL).await?.iter().any(|row| row[0] == name) {
        bail!("`{name}` is not promoted");
    }
    let version = match rules.iter().find(|rule| rule.name == name) {
        Some(rule) => rule.version,
        None => {
            let last = format!(r#"SELECT rule_version FROM rule_actions WHERE rule = {} ORDER BY "at" DESC LIMIT 1"#, literal(name));
            session.texts(&last).await?.first().context("the rule was promoted a moment ago")?[0].parse()?
        }
    };
    act(&lake, told, (name, version), false)?;
    tell::line(&format!("`{name}` is back in shadow"))?;
    Ok(ExitCode::SUCCESS)
}

fn act(lake: &Lake, told: &ToldArgs, (rule, rule_version): (&str, i32), is_promotion: bool) -> Result<()> {
    let at_us = Utc::now().timestamp_micros();
    let action = RuleAction { rule, rule_version, is_promotion, reason: &told.reason, who: &told.who, at_us };
    Ok(rule_actions::append(&rule_actions::open(lake)?, &action)?)
}
