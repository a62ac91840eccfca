//! `rules report`: how good rules are on labelled traffic, as `detector::report` counts it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use detector::labels::{self, Label};
use detector::report::{AtBudget, Facts, Judged, Report, Score, Share};
use detector::rule::Rule;
use query::{Session, literal};
use serde_json::json;

use crate::args::{Output, ReportArgs};
use crate::detection::Setup;
use crate::{rules, tell};

/// Labels whose events are looked up to see that they are of this lake.
const SAMPLES: usize = 20;
/// Most lines about what was missed.
const MISSED_SHOWN: usize = 20;

/// Runs it.
pub(crate) async fn run(args: &ReportArgs) -> Result<ExitCode> {
    let mut setup = Setup::read(&args.run)?;
    setup.keep(&args.names)?;
    let path = args.labels.display().to_string();
    let text = std::fs::read_to_string(&args.labels).with_context(|| format!("cannot read `{path}`"))?;
    let all = labels::read(&text, &path)?;
    let days = all.iter().map(|label| label.day);
    let (Some(first), Some(last)) = (days.clone().min(), days.max()) else { bail!("`{path}` has no labels") };
    let detects = detects(&setup.rules);
    let is_wanted = |label: &Label| args.split.is_none() || label.split == args.split;
    // Where rules are named, nobody asks of them what they are not for.
    let is_for = |label: &Label| {
        label.kind.is_none() || args.names.is_empty() || detects.values().any(|d| label.kind.iter().any(|kind| d.contains(kind)))
    };
    let (wanted, aside): (Vec<Label>, Vec<Label>) = all.into_iter().partition(|label| is_wanted(label) && is_for(label));
    if wanted.is_empty() {
        bail!("no label in `{path}` is of that split, or of a kind that these rules are for");
    }
    let session = Session::open(&setup.lake).await?;
    of_this_lake(&session, &wanted).await?;
    let (from_us, to_us) = rules::span_us(first, last);
    let within = format!("event_time >= to_timestamp_micros({from_us}) AND event_time < to_timestamp_micros({to_us})");
    let names: Vec<String> = args.names.iter().map(|name| literal(name)).collect();
    let of_rules = if names.is_empty() { "true".to_owned() } else { format!("rule_id IN ({})", names.join(", ")) };
    let alerts = rules::stored(&session, &format!("{within} AND {of_rules}")).await?;
    let outside = count(&session, &format!("SELECT COUNT(*) FROM alerts WHERE NOT ({within}) AND {of_rules}")).await?;
    let who = "COUNT(DISTINCT COALESCE('user:' || delegator_id, 'agent:' || agent_id))";
    let identities = count(&session, &format!("SELECT {who} FROM events WHERE {within}")).await?;
    let days = count(&session, &format!("SELECT COUNT(DISTINCT event_date) FROM events WHERE {within}")).await?;
    let facts = Facts { labels: &wanted, set_aside: &aside, alerts: &alerts, detects: &detects, identities, days };
    let report = Judged::of(facts).report();
    match args.run.format {
        Output::Json => print_json(&report, outside)?,
        Output::Text => {
            tell::line(&format!("{} labels from {first} to {last}; {identities} identities on {days} days", wanted.len()))?;
            print_text(&report, outside)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Kinds of incident by rule.
pub(crate) fn detects(rules: &[Rule]) -> BTreeMap<String, Vec<String>> {
    rules.iter().map(|rule| (rule.name.clone(), rule.detects.clone())).collect()
}

async fn count(session: &Session, sql: &str) -> Result<u64> {
    Ok(session.texts(sql).await?.first().and_then(|row| row.first()?.parse().ok()).unwrap_or(0))
}

/// Labels that name events of another lake, or of another instance of the source, would all look missed.
async fn of_this_lake(session: &Session, labels: &[Label]) -> Result<()> {
    let step = (labels.len() / SAMPLES).max(1);
    let ids: BTreeSet<&String> = labels.iter().step_by(step).filter_map(|label| label.event_ids.first()).collect();
    let texts: Vec<String> = ids.iter().map(|id| literal(id)).collect();
    let (Some(example), sql) = (ids.first(), format!("SELECT COUNT(*) FROM events WHERE event_id IN ({})", texts.join(", "))) else {
        return Ok(());
    };
    let there = count(session, &sql).await?;
    if usize::try_from(there) != Ok(ids.len()) {
        bail!(
            "{there} of {} events that the labels name are in the lake, such as `{example}`: were they imported with another --instance?",
            ids.len()
        );
    }
    Ok(())
}

fn print_json(report: &Report, outside: u64) -> Result<()> {
    report.rules.iter().try_for_each(tell::object)?;
    tell::object(
        &json!({ "all": report.all, "groups": report.groups, "missed": report.missed, "unplaced": report.unplaced, "outside": outside }),
    )
}

fn print_text(report: &Report, outside: u64) -> Result<()> {
    let titles =
        ["recall", "precision", "flagged of the benign", "false/1,000 id.·day", "recall at 1 %", "at 5 % FPR", "detected after p50, p95"];
    tell::line(&row("", &titles.map(str::to_owned)))?;
    for rule in &report.rules {
        tell::line(&row(&format!("{}{}", rule.rule, if rule.shadow { " (shadow)" } else { "" }), &cells(&rule.score)))?;
    }
    tell::line(&row("all that are not in shadow", &cells(&report.all)))?;
    if let Some(rate) = report.all.false_per_session {
        tell::line(&format!("false alerts for each labelled session: {rate:.4}; {} of them show no labelled session", report.unplaced))?;
    }
    if outside > 0 {
        tell::line(&format!("{outside} alerts are of days before the first or after the last label, and not counted"))?;
    }
    for (group, recall) in &report.groups {
        tell::line(&format!("found in {group}: {}", with_interval(recall)))?;
    }
    let mut missed: Vec<_> = report.missed.iter().collect();
    missed.sort_by_key(|(_, share)| std::cmp::Reverse(share.n));
    for (what, share) in missed.iter().take(MISSED_SHOWN) {
        tell::line(&format!("MISSED   {} of {} {what}", share.n, share.of))?;
    }
    if missed.len() > MISSED_SHOWN {
        tell::line(&format!("         and {} more kinds; see --format json", missed.len() - MISSED_SHOWN))?;
    }
    Ok(())
}

fn row(name: &str, cells: &[String; 7]) -> String {
    let [recall, precision, flagged, rate, at_1, at_5, delay] = cells;
    format!("{name:<32} {recall:<26} {precision:<28} {flagged:<28} {rate:>20} {at_1:>14} {at_5:>11}  {delay}")
}

fn cells(score: &Score) -> [String; 7] {
    let at = |budget: Option<&AtBudget>| budget.and_then(|b| b.recall.share).map_or("-".into(), |share| format!("{:.1} %", share * 100.0));
    [
        with_interval(&score.recall),
        with_interval(&score.precision),
        with_interval(&score.flagged),
        score.false_per_thousand_identities_and_day.map_or("-".into(), |rate| format!("{rate:.2}")),
        at(score.at_budget.first()),
        at(score.at_budget.last()),
        score.delay.map_or("-".into(), |d| format!("{:.1} s, {:.1} s", d.median_s, d.p95_s)),
    ]
}

/// Such as `57/60 95 % (86-98)`.
fn with_interval(share: &Share) -> String {
    let (Some(part), Some(low), Some(high)) = (share.share, share.low, share.high) else { return "-".into() };
    format!("{}/{} {:.1} % ({:.1}-{:.1})", share.n, share.of, part * 100.0, low * 100.0, high * 100.0)
}
