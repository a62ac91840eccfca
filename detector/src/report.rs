//! How good rules are: labels and alerts in, recall, precision, false alerts and time to detect out.
//!
//! Pure: no lake, no clock. What counts as what:
//! - an incident is found by an alert that shows its events (or names its entity on its day); an alert on the rest of its session is false;
//! - a session without an incident is flagged by any alert that shows one of its events;
//! - alerts of rules in shadow count for these rules alone, not for all together;
//! - for recall at a share of false alarms sessions are ranked by the severities of their alerts, each rule once, summed as in the view
//!   `incidents`. Sessions of one score stand or fall together, and a score of nothing flags nobody;
//! - time to detect is event time, never below zero: how long the incident ran before the act that gave it away.
//!
//! Intervals are Wilson's, 95 %. Shares of nothing are absent, not zero.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lake::alerts::Alert;
use serde::Serialize;

use crate::labels::{Label, Relation};

/// Shares of false alarms at which recall is told.
const BUDGETS: [f64; 2] = [0.01, 0.05];
/// Two-sided 95 % of the normal distribution.
const Z: f64 = 1.959_964;
const SHADOW: &str = "shadow";

/// What a report is made from.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What is reported on.
    pub labels: &'a [Label],
    /// Labels that are not: an alert on one of these alone does not count.
    pub set_aside: &'a [Label],
    /// The alerts of the time of the labels.
    pub alerts: &'a [Alert],
    /// Rules, and the kinds of incident that each is for.
    pub detects: &'a BTreeMap<String, Vec<String>>,
    /// People and agents that acted in that time.
    pub identities: u64,
    /// Days of that time with any event.
    pub days: u64,
}

/// A part of something, with its Wilson interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// How many.
    pub n: usize,
    /// Of how many.
    pub of: usize,
    /// The share.
    pub share: Option<f64>,
    /// Lower end of the interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

impl Share {
    /// So many of so many.
    pub fn new(n: usize, of: usize) -> Self {
        if of == 0 {
            return Self { n, of, share: None, low: None, high: None };
        }
        let (p, m) = (n as f64 / of as f64, of as f64);
        let middle = (p + Z * Z / (2.0 * m)) / (1.0 + Z * Z / m);
        let half = Z / (1.0 + Z * Z / m) * (p * (1.0 - p) / m + Z * Z / (4.0 * m * m)).sqrt();
        Self { n, of, share: Some(p), low: Some((middle - half).max(0.0)), high: Some((middle + half).min(1.0)) }
    }
}

/// Recall where sessions are flagged from the lowest score on whose false alarms stay within a budget.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AtBudget {
    /// Most of the sessions without an incident that may be flagged.
    pub budget: f64,
    /// The score from which sessions are flagged; absent when even the highest flags too many.
    pub from_score: Option<u32>,
    /// Incidents that are flagged.
    pub recall: Share,
    /// Sessions without one that are.
    pub false_alarms: Share,
}

/// How long incidents ran before the act that gave them away, seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Delay {
    /// Incidents that say when they began.
    pub n: usize,
    /// Half of them took at most this.
    pub median_s: f64,
    /// Nineteen of twenty took at most this.
    pub p95_s: f64,
}

/// How good one rule is, or all together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    /// Incidents that were found, of those that it is for.
    pub recall: Share,
    /// Alerts on an incident, of all alerts.
    pub precision: Share,
    /// Sessions without an incident, and near misses, with an alert.
    pub flagged: Share,
    /// False alerts for each session.
    pub false_per_session: Option<f64>,
    /// False alerts per thousand identities and day.
    pub false_per_thousand_identities_and_day: Option<f64>,
    /// Recall at shares of false alarms; empty without sessions to compare with.
    pub at_budget: Vec<AtBudget>,
    /// Time to detect.
    pub delay: Option<Delay>,
}

/// A report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// All rules that are not in shadow, together.
    pub all: Score,
    /// Each rule that gave an alert, or is for a kind that the labels name.
    pub rules: Vec<RuleScore>,
    /// Recall of all together by group.
    pub groups: BTreeMap<String, Share>,
    /// Missed incidents, by group and attack (or kind).
    pub missed: BTreeMap<String, Share>,
    /// False alerts that show no labelled session.
    pub unplaced: usize,
}

/// How good a rule is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleScore {
    /// Its name.
    pub rule: String,
    /// Whether all its alerts are in shadow.
    pub shadow: bool,
    /// How good.
    #[serde(flatten)]
    pub score: Score,
}

/// Which alerts are about which labels.
#[derive(Debug, Clone)]
pub struct Judged<'a> {
    facts: Facts<'a>,
    /// For each label the alerts on it.
    on: Vec<Vec<(&'a Alert, Relation)>>,
    /// Alerts that count, and whether they are on an incident.
    counted: Vec<(&'a Alert, Standing)>,
}

/// What an alert turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    True,
    False,
    /// False, and on no labelled session.
    Unplaced,
}

impl<'a> Judged<'a> {
    /// Puts alerts and labels together.
    pub fn of(facts: Facts<'a>) -> Self {
        let (wanted, aside) = (Index::of(facts.labels), Index::of(facts.set_aside));
        let mut on = vec![Vec::new(); facts.labels.len()];
        let mut counted = Vec::new();
        for alert in facts.alerts {
            let detects = facts.detects.get(&alert.rule_id).map_or(&[][..], Vec::as_slice);
            let touched = wanted.touched(alert, detects);
            let is_true = touched.iter().any(|(at, relation)| *relation == Relation::Incident && facts.labels[*at].expected);
            let is_aside = touched.is_empty() && !aside.touched(alert, detects).is_empty();
            let standing = match (is_true, touched.is_empty()) {
                (true, _) => Standing::True,
                (false, false) => Standing::False,
                (false, true) => Standing::Unplaced,
            };
            touched.iter().for_each(|(at, relation)| on[*at].push((alert, *relation)));
            if !is_aside {
                counted.push((alert, standing));
            }
        }
        Self { facts, on, counted }
    }

    /// Incidents that no alert found, shadows left out.
    pub fn missed(&self) -> Vec<&'a Label> {
        let labels = self.facts.labels.iter().zip(&self.on);
        labels.filter(|(label, on)| label.expected && finders(on, &calls).next().is_none()).map(|(label, _)| label).collect()
    }

    /// Alerts that are on no incident, shadows left out.
    pub fn false_alerts(&self) -> Vec<&'a Alert> {
        self.counted.iter().filter(|(alert, standing)| *standing != Standing::True && calls(alert)).map(|(alert, _)| *alert).collect()
    }

    /// The report.
    pub fn report(&self) -> Report {
        let kinds: BTreeSet<&str> = self.facts.labels.iter().filter_map(|l| l.kind.as_deref()).collect();
        let found: BTreeSet<&str> = self.facts.alerts.iter().map(|a| a.rule_id.as_str()).collect();
        let known = self.facts.detects.iter().filter(|(_, detects)| detects.iter().any(|k| kinds.contains(k.as_str())));
        let names: BTreeSet<&str> = known.map(|(name, _)| name.as_str()).chain(found).collect();
        let rules = names.into_iter().map(|rule| RuleScore {
            rule: rule.to_owned(),
            shadow: self.facts.alerts.iter().any(|a| a.rule_id == rule) && !self.facts.alerts.iter().any(|a| a.rule_id == rule && calls(a)),
            score: self.score(&|alert| alert.rule_id == rule, &|label| self.is_for(rule, label)),
        });
        let missed = self.shares_by(&|label| {
            let what = label.attack.as_ref().or(label.kind.as_ref()).map_or("", String::as_str);
            Some(format!("{} {what}", label.group.as_deref().unwrap_or_default()).trim().to_owned())
        });
        Report {
            all: self.score(&calls, &|_| true),
            rules: rules.collect(),
            groups: self.shares_by(&|label| label.group.clone()),
            missed: missed
                .into_iter()
                .map(|(what, found)| (what, Share::new(found.of - found.n, found.of)))
                .filter(|(_, s)| s.n > 0)
                .collect(),
            unplaced: self.counted.iter().filter(|(alert, standing)| *standing == Standing::Unplaced && calls(alert)).count(),
        }
    }

    fn is_for(&self, rule: &str, label: &Label) -> bool {
        label.kind.as_ref().is_none_or(|kind| self.facts.detects.get(rule).is_some_and(|detects| detects.contains(kind)))
    }

    fn shares_by(&self, name: &dyn Fn(&Label) -> Option<String>) -> BTreeMap<String, Share> {
        let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for (label, on) in self.facts.labels.iter().zip(&self.on).filter(|(label, _)| label.expected) {
            let Some(name) = name(label) else { continue };
            let count = counts.entry(name).or_default();
            count.0 += usize::from(finders(on, &calls).next().is_some());
            count.1 += 1;
        }
        counts.into_iter().map(|(name, (n, of))| (name, Share::new(n, of))).collect()
    }

    fn score(&self, of_alerts: &dyn Fn(&Alert) -> bool, of_labels: &dyn Fn(&Label) -> bool) -> Score {
        let labels: Vec<_> = self.facts.labels.iter().zip(&self.on).filter(|(label, _)| of_labels(label)).collect();
        let (incidents, others): (Vec<_>, Vec<_>) = labels.into_iter().partition(|(label, _)| label.expected);
        let alerts: Vec<Standing> = self.counted.iter().filter(|(alert, _)| of_alerts(alert)).map(|(_, standing)| *standing).collect();
        let right = alerts.iter().filter(|standing| **standing == Standing::True).count();
        let wrong = alerts.len() - right;
        let found = incidents.iter().filter(|(_, on)| finders(on, of_alerts).next().is_some()).count();
        let flagged = others.iter().filter(|(_, on)| on.iter().any(|(alert, _)| of_alerts(alert))).count();
        let per = |wrong: usize, of: u64| (of > 0).then(|| wrong as f64 / of as f64);
        let scores = |of: &[(&Label, &Vec<(&Alert, Relation)>)]| of.iter().map(|(_, on)| risk(on, of_alerts)).collect::<Vec<u32>>();
        Score {
            recall: Share::new(found, incidents.len()),
            precision: Share::new(right, alerts.len()),
            flagged: Share::new(flagged, others.len()),
            false_per_session: per(wrong, (incidents.len() + others.len()) as u64),
            false_per_thousand_identities_and_day: per(wrong * 1000, self.facts.identities * self.facts.days),
            at_budget: at_budgets(&scores(&incidents), &scores(&others)),
            delay: delay(incidents.iter().filter_map(|(label, on)| {
                let at = finders(on, of_alerts).map(|alert| alert.event_time).min()?;
                Some((at - label.began_us()?).max(0))
            })),
        }
    }
}

/// Whether somebody is called for it.
fn calls(alert: &Alert) -> bool {
    alert.status != SHADOW
}

fn finders<'a>(on: &'a [(&'a Alert, Relation)], of_alerts: &'a dyn Fn(&Alert) -> bool) -> impl Iterator<Item = &'a Alert> {
    on.iter().filter(move |(alert, relation)| *relation == Relation::Incident && of_alerts(alert)).map(|(alert, _)| *alert)
}

/// The severities of a session's alerts, each rule once with its highest.
fn risk(on: &[(&Alert, Relation)], of_alerts: &dyn Fn(&Alert) -> bool) -> u32 {
    let mut highest: BTreeMap<&str, u32> = BTreeMap::new();
    for (alert, _) in on.iter().filter(|(alert, _)| of_alerts(alert)) {
        let weight = match alert.severity.as_str() {
            "critical" => 80,
            "high" => 50,
            "medium" => 25,
            _ => 10,
        };
        let entry = highest.entry(&alert.rule_id).or_default();
        *entry = (*entry).max(weight);
    }
    highest.values().sum()
}

fn at_budgets(incidents: &[u32], others: &[u32]) -> Vec<AtBudget> {
    if incidents.is_empty() || others.is_empty() {
        return Vec::new();
    }
    let steps: BTreeSet<u32> = incidents.iter().chain(others).copied().filter(|score| *score > 0).collect();
    let flagged = |scores: &[u32], from: Option<u32>| scores.iter().filter(|score| from.is_some_and(|from| **score >= from)).count();
    let at = |budget: f64| {
        let from_score = steps.iter().copied().find(|from| flagged(others, Some(*from)) as f64 <= budget * others.len() as f64);
        AtBudget {
            budget,
            from_score,
            recall: Share::new(flagged(incidents, from_score), incidents.len()),
            false_alarms: Share::new(flagged(others, from_score), others.len()),
        }
    };
    BUDGETS.iter().map(|budget| at(*budget)).collect()
}

fn delay(took_us: impl Iterator<Item = i64>) -> Option<Delay> {
    let mut took: Vec<i64> = took_us.collect();
    took.sort_unstable();
    let rank = |percent: usize| took.get((took.len() * percent).div_ceil(100).saturating_sub(1)).map(|us| *us as f64 / 1e6);
    Some(Delay { n: took.len(), median_s: rank(50)?, p95_s: rank(95)? })
}

/// Labels by what finds them.
struct Index<'a> {
    labels: &'a [Label],
    by_event: HashMap<&'a str, Vec<usize>>,
    by_entity: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Index<'a> {
    fn of(labels: &'a [Label]) -> Self {
        let mut index = Self { labels, by_event: HashMap::new(), by_entity: HashMap::new() };
        for (at, label) in labels.iter().enumerate() {
            label.event_ids.iter().for_each(|id| index.by_event.entry(id).or_default().push(at));
            index.by_entity.entry(&label.entity).or_default().push(at);
        }
        index
    }

    /// Labels that an alert is about, each once.
    fn touched(&self, alert: &Alert, detects: &[String]) -> Vec<(usize, Relation)> {
        let of_events = alert.event_ids.iter().filter_map(|id| self.by_event.get(id.as_str())).flatten();
        let of_entity = self.by_entity.get(alert.entity.as_str()).into_iter().flatten();
        let places: BTreeSet<usize> = of_events.chain(of_entity).copied().collect();
        places.into_iter().filter_map(|at| Some((at, self.labels[at].relation(alert, detects)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session of one event `e<n>`; an incident where it says so.
    fn session(n: usize, is_incident: bool) -> Label {
        let day = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
        let ids = vec![format!("e{n}"), format!("e{n}b")];
        Label {
            kind: None,
            event_ids: ids,
            incident_event_ids: vec![format!("e{n}")],
            ..Label::of_day("", "job:a/b".into(), day, is_incident)
        }
    }

    fn alert(rule: &str, severity: &str, events: &[&str]) -> Alert {
        Alert {
            alert_id: String::new(),
            rule_id: rule.into(),
            rule_version: 1,
            severity: severity.into(),
            event_time: 5_000_000,
            tenant: String::new(),
            entity: "agent:x".into(),
            reason: String::new(),
            value: String::new(),
            expected: String::new(),
            event_ids: events.iter().map(|e| (*e).to_owned()).collect(),
            context: String::new(),
            status: "open".into(),
            detected_at: 0,
        }
    }

    fn report(labels: &[Label], set_aside: &[Label], alerts: &[Alert]) -> Report {
        let detects = BTreeMap::from([("r/one".to_owned(), vec!["new-tool".to_owned()]), ("r/two".to_owned(), vec!["drip".to_owned()])]);
        Judged::of(Facts { labels, set_aside, alerts, detects: &detects, identities: 2, days: 5 }).report()
    }

    #[test]
    fn an_interval_holds_the_share_and_is_never_outside_nothing_and_all() {
        // (n, of, low, high), as published tables have them.
        for (n, of, low, high) in [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)] {
            let share = Share::new(n, of);
            assert!((share.low.unwrap() - low).abs() < 1e-4 && (share.high.unwrap() - high).abs() < 1e-4, "{share:?}");
        }
        assert_eq!(Share::new(0, 0).share, None);
    }

    #[test]
    fn an_alert_on_the_rest_of_an_attacked_session_finds_nothing_and_is_false() {
        let labels = [session(1, true), session(2, false)];
        let beside = report(&labels, &[], &[alert("r/one", "high", &["e1b"])]).all;
        assert_eq!((beside.recall.n, beside.precision.n, beside.precision.of), (0, 0, 1));
        let on = report(&labels, &[], &[alert("r/one", "high", &["e1", "e1b"])]).all;
        assert_eq!((on.recall.n, on.precision.n, on.precision.of, on.flagged.n), (1, 1, 1, 0));
    }

    #[test]
    fn two_alerts_on_one_session_flag_it_once_and_are_two_false_alerts() {
        let labels = [session(1, true), session(2, false), session(3, false), session(4, false)];
        let all = report(&labels, &[], &[alert("r/one", "low", &["e2"]), alert("r/two", "low", &["e2b"])]).all;
        assert_eq!((all.flagged.n, all.flagged.of), (1, 3));
        assert_eq!((all.false_per_session, all.false_per_thousand_identities_and_day), (Some(0.5), Some(200.0)));
    }

    #[test]
    fn alerts_on_labels_that_are_set_aside_do_not_count_and_those_on_none_are_false() {
        let (labels, aside) = ([session(1, true)], [session(2, true)]);
        let found = report(&labels, &aside, &[alert("r/one", "low", &["e2"]), alert("r/one", "low", &["e9"])]);
        assert_eq!((found.all.precision.of, found.unplaced), (1, 1));
    }

    #[test]
    fn a_shadow_counts_for_its_rule_alone() {
        let labels = [session(1, true), session(2, false)];
        let shadow = |events: &[&str]| Alert { status: SHADOW.into(), ..alert("r/one", "low", events) };
        let found = report(&labels, &[], &[shadow(&["e1"]), shadow(&["e2"])]);
        assert_eq!((found.all.recall.n, found.all.flagged.n, found.all.precision.of), (0, 0, 0));
        let [rule] = &found.rules[..] else { panic!("{:?}", found.rules) };
        assert!(rule.shadow);
        assert_eq!((rule.score.recall.n, rule.score.flagged.n, rule.score.precision.n), (1, 1, 1));
        assert_eq!(found.missed["".to_owned().as_str()].n, 1);
    }

    #[test]
    fn sessions_of_one_score_stand_or_fall_together() {
        // 25 twice among ten others is a fifth, so only what is above may be flagged within a twentieth.
        let mut others = vec![0; 8];
        others.extend([25, 25]);
        let [at_1, at_5] = at_budgets(&[50, 25, 25, 0], &others)[..] else { panic!("two budgets") };
        assert_eq!((at_1.from_score, at_1.recall.n, at_1.false_alarms.n), (Some(50), 1, 0));
        assert_eq!(at_5, AtBudget { budget: 0.05, ..at_1 });
    }

    #[test]
    fn a_score_of_nothing_flags_nobody_and_where_the_highest_flags_too_many_nobody_is_flagged() {
        assert_eq!(at_budgets(&[0, 0], &[0, 0])[1].from_score, None);
        let [at_1, _] = at_budgets(&[80, 80], &[80, 10])[..] else { panic!("two budgets") };
        assert_eq!((at_1.from_score, at_1.recall.n, at_1.false_alarms.n), (None, 0, 0));
        assert!(at_budgets(&[10], &[]).is_empty());
    }

    #[test]
    fn a_session_scores_each_rule_once_with_its_highest() {
        let alerts = [alert("r/one", "low", &[]), alert("r/one", "high", &[]), alert("r/two", "medium", &[])];
        let on: Vec<_> = alerts.iter().map(|a| (a, Relation::Session)).collect();
        assert_eq!(risk(&on, &|_| true), 75);
    }

    #[test]
    fn time_to_detect_is_from_the_start_of_the_incident_to_its_first_alert_and_never_negative() {
        let at = |us| chrono::DateTime::from_timestamp_micros(us);
        let began = |n, us| Label { start: at(0), incident_start: at(us), ..session(n, true) };
        let labels = [began(1, 2_000_000), began(2, 9_000_000), began(3, 0)];
        let late = Alert { event_time: 8_000_000, ..alert("r/two", "low", &["e1"]) };
        let found = report(&labels, &[], &[alert("r/one", "low", &["e1"]), late, alert("r/one", "low", &["e2"])]).all;
        assert_eq!(found.delay, Some(Delay { n: 2, median_s: 0.0, p95_s: 3.0 }));
    }

    #[test]
    fn ranks_are_nearest_ones() {
        let of = |n: i64| delay((1..=n).map(|s| s * 1_000_000)).map(|d| (d.median_s, d.p95_s));
        assert_eq!((of(0), of(1), of(20), of(21)), (None, Some((1.0, 1.0)), Some((10.0, 19.0)), Some((11.0, 20.0))));
    }

    #[test]
    fn a_label_of_a_day_is_found_by_its_kind_on_its_entity_within_its_days() {
        let day = chrono::NaiveDate::from_ymd_opt(1970, 1, 4).unwrap();
        let label = |within_days| Label { within_days, ..Label::of_day("new-tool", "agent:x".into(), day, true) };
        for (rule, within_days, found) in [("r/one", 3, 1), ("r/one", 2, 0), ("r/two", 3, 0)] {
            assert_eq!(report(&[label(within_days)], &[], &[alert(rule, "low", &["e1"])]).all.recall.n, found, "{rule} {within_days}");
        }
    }

    #[test]
    fn a_rule_is_held_to_the_kinds_that_it_is_for_and_a_miss_is_told_by_group_and_attack() {
        let day = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
        let drip = Label { group: Some("g".into()), ..Label::of_day("drip", "agent:y".into(), day, true) };
        let tool = Label::of_day("new-tool", "agent:x".into(), day, true);
        let found = report(&[drip, tool], &[], &[alert("r/one", "low", &[])]);
        let recalls: Vec<_> = found.rules.iter().map(|r| (r.rule.as_str(), r.score.recall.n, r.score.recall.of)).collect();
        assert_eq!(recalls, [("r/one", 1, 1), ("r/two", 0, 1)]);
        assert_eq!(found.missed.iter().map(|(what, s)| (what.as_str(), s.n, s.of)).collect::<Vec<_>>(), [("g drip", 1, 1)]);
        assert_eq!(found.groups["g"].n, 0);
    }
}
