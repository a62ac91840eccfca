//! A rule over history: replay gives an alert again from what it recorded, backtest says what a rule would have found.
//!
//! Neither writes alerts. Replay needs the rule in the version, the inventory and the versions of the table that the alert
//! names; what differs is told. Backtest sees baselines as of each event, because rules read only days before it.

use std::collections::BTreeMap;

use lake::alerts::Alert;
use lake::events;
use lake::views::{self, Window};

use crate::evaluate::{self, Recorded, RoundFacts};
use crate::run::Detector;
use crate::{DetectorError, baseline};

/// Most alerts that a backtest shows.
const EXAMPLES: usize = 5;
/// Most entities that it names.
const TOP_ENTITIES: usize = 10;

/// What came of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// The same alert, bit for bit.
    Same,
    /// An alert of the same id that is otherwise: name of the field, then, now.
    Different(Vec<(&'static str, String, String)>),
    /// No such alert.
    Gone,
    /// It cannot be replayed as it was, and why.
    Otherwise(String),
}

/// Gives an alert again. The detector has its rule and nothing else.
///
/// # Errors
/// When the lake cannot be read or the rule fails.
pub async fn replay(detector: &Detector<'_>, alert: &Alert) -> Result<Replayed, DetectorError> {
    let Some(rule) = detector.rules.iter().find(|rule| rule.name == alert.rule_id) else {
        return Ok(Replayed::Otherwise(format!("there is no rule `{}`", alert.rule_id)));
    };
    let Ok(recorded) = serde_json::from_str::<Recorded>(&alert.context) else {
        return Ok(Replayed::Otherwise("the alert does not record how it came about".into()));
    };
    if rule.version != alert.rule_version {
        let what = format!("the alert is of version {} of the rule, this is version {}", alert.rule_version, rule.version);
        return Ok(Replayed::Otherwise(what));
    }
    if rule.for_tenant(&alert.tenant).logic_sha256() != recorded.logic_sha256 {
        let what = "the SQL, the parameters or the severity of the rule are not those that it was found with; name the --config and --rules of then";
        return Ok(Replayed::Otherwise(what.into()));
    }
    if detector.inventory.sha256() != recorded.inventory_sha256 {
        return Ok(Replayed::Otherwise("the inventory is not the one that the alert was found with".into()));
    }
    let Recorded { after, new_up_to, up_to, as_of_us, inventory_sha256, .. } = recorded;
    let borders = [after, new_up_to, Some(up_to)];
    if borders.iter().map(|version| events::is_merged_across(detector.lake, *version)).collect::<Result<Vec<_>, _>>()?.contains(&true) {
        return Ok(Replayed::Otherwise(
            "files of the versions that it was found in were merged since, and no longer tell what was new then".into(),
        ));
    }
    let context = detector.session(Window { up_to: Some(up_to), after: Some(after), new_up_to, between: None }).await?;
    let new_us = evaluate::new_us(&context).await?;
    let facts =
        RoundFacts { after, new_up_to, up_to, as_of_us, new_us, now_us: alert.detected_at, inventory_sha256, again: true, counts: false };
    let found = evaluate::evaluate(rule, &context, &facts).await?.alerts;
    Ok(found.iter().find(|found| found.alert_id == alert.alert_id).map_or(Replayed::Gone, |found| compare(alert, found)))
}

fn compare(then: &Alert, now: &Alert) -> Replayed {
    let fields = |a: &Alert| -> [(&'static str, String); 9] {
        [
            ("severity", a.severity.clone()),
            ("event_time", a.event_time.to_string()),
            ("tenant", a.tenant.clone()),
            ("entity", a.entity.clone()),
            ("reason", a.reason.clone()),
            ("value", a.value.clone()),
            ("expected", a.expected.clone()),
            ("event_ids", a.event_ids.join(" ")),
            ("context", a.context.clone()),
        ]
    };
    let different: Vec<_> =
        fields(then).into_iter().zip(fields(now)).filter(|(a, b)| a != b).map(|((name, then), (_, now))| (name, then, now)).collect();
    if different.is_empty() { Replayed::Same } else { Replayed::Different(different) }
}

/// What a rule would have found in a span of time.
#[derive(Debug, Clone, Default)]
pub struct Backtest {
    /// Name of the rule.
    pub rule: String,
    /// How many alerts.
    pub alerts: usize,
    /// People and agents that acted in the span.
    pub identities: u64,
    /// Days of the span with any event.
    pub days: u64,
    /// Identities being learnt at its end.
    pub learning: u64,
    /// Why the rule could not see, when it could not.
    pub blind: Option<String>,
    /// Entities with most alerts.
    pub top: Vec<(String, usize)>,
    /// Some alerts.
    pub examples: Vec<Alert>,
    /// Why it failed, when it did.
    pub failed: Option<String>,
}

impl Backtest {
    /// Alerts per thousand identities and day; what an analyst will have to look at.
    pub fn rate(&self) -> f64 {
        self.alerts as f64 * 1000.0 / (self.identities.max(1) as f64 * self.days.max(1) as f64)
    }
}

/// Runs the detector's rules over what happened from one moment up to another.
///
/// # Errors
/// When the lake cannot be read; a rule that fails says so in its report.
pub async fn backtest(detector: &Detector<'_>, (from_us, to_us): (i64, i64), now_us: i64) -> Result<Vec<Backtest>, DetectorError> {
    let Some(up_to) = views::decided_version(detector.lake)? else { return Ok(Vec::new()) };
    let up_to = baseline::learn(detector.lake, up_to, now_us / 1000).await?;
    let context = detector.session(Window { up_to: Some(up_to), between: Some((from_us, to_us)), ..Window::default() }).await?;
    let (new_us, inventory_sha256) = (evaluate::new_us(&context).await?, detector.inventory.sha256());
    let facts =
        RoundFacts { after: None, new_up_to: None, up_to, as_of_us: to_us, new_us, now_us, inventory_sha256, again: true, counts: true };
    let counted =
        "SELECT COUNT(DISTINCT COALESCE('user:' || delegator_id, 'agent:' || agent_id)), COUNT(DISTINCT event_date) FROM new_events";
    let counts = evaluate::counts(&context, counted).await?;
    let mut reports = Vec::new();
    for rule in detector.rules {
        let report = Backtest { rule: rule.name.clone(), identities: counts[0], days: counts[1], ..Backtest::default() };
        reports.push(match evaluate::evaluate(rule, &context, &facts).await {
            Err(error) => Backtest { failed: Some(crate::run::chain(&error)), ..report },
            Ok(found) => {
                let mut by_entity: BTreeMap<&str, usize> = BTreeMap::new();
                found.alerts.iter().for_each(|alert| *by_entity.entry(&alert.entity).or_default() += 1);
                let mut top: Vec<(String, usize)> = by_entity.into_iter().map(|(entity, n)| (entity.to_owned(), n)).collect();
                top.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
                top.truncate(TOP_ENTITIES);
                let examples = found.alerts.iter().take(EXAMPLES).cloned().collect();
                Backtest { alerts: found.alerts.len(), learning: found.learning, blind: found.blind, top, examples, ..report }
            }
        });
    }
    Ok(reports)
}
