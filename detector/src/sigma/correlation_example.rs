//! Tests of an imported correlation: as few events as fulfil its condition, and as many as just do not.
//!
//! Each event is an example of its rule with the values of groups and fields set, and is judged by the matcher again. They
//! lie within one timespan since 1970. Limit: [`MAX_EVENTS`] events.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::condition::Condition;
use super::correlate::{Branch, entity_prefix};
use super::correlation::{Correlation, CorrelationKind};
use super::example::{self, START};
use super::expr::{Column, Expr, Kind};
use super::matcher::{self, Event};
use super::rule_file::{CaseFile, ExpectedFile};

/// Most events of one test.
const MAX_EVENTS: usize = 200;
/// Value of a group where the detection asks for none.
const GROUP: &str = "g-1";

/// Which rule an event is of, and its value.
type Plan = Vec<(usize, Option<Value>)>;

/// The tests; `None` where none can be made.
pub(super) fn tests(correlation: &Correlation, branches: &[Branch<'_, '_>]) -> Option<Vec<CaseFile>> {
    let stage = Stage::new(correlation, branches)?;
    let (hit, silence) = plans(correlation, branches)?;
    let (events, near) = (stage.play(&hit)?, stage.play(&silence)?);
    let is_clean = |plan: &Plan, events: &[Event]| plan.iter().zip(events).all(|((own, _), event)| stage.only_of(*own, event));
    let counts = !matches!(correlation.kind, CorrelationKind::Temporal | CorrelationKind::TemporalOrdered);
    let is_told_apart = counts || is_clean(&hit, &events) && is_clean(&silence, &near);
    if !is_told_apart {
        return None;
    }
    Some(vec![
        CaseFile {
            name: "what fulfils the condition is an alert".into(),
            events,
            expect: vec![ExpectedFile { entity: stage.entity.clone() }],
        },
        CaseFile { name: "what just does not is none".into(), events: near, expect: Vec::new() },
    ])
}

/// Events by rule that fulfil the condition, and that do not.
fn plans(correlation: &Correlation, branches: &[Branch<'_, '_>]) -> Option<(Plan, Plan)> {
    let holds = |n: f64| correlation.bounds.iter().all(|(order, bound)| order.holds(n, *bound));
    let many = |n: usize| -> Plan { (0..n).map(|i| (0, Some(json!(i)))).collect() };
    let all: Plan = (0..branches.len()).map(|i| (i, None)).collect();
    match correlation.kind {
        CorrelationKind::EventCount | CorrelationKind::ValueCount => {
            let hit = (1..=MAX_EVENTS).find(|n| holds(*n as f64))?;
            let silence =
                if holds(hit as f64 - 1.0) || hit == 1 { (1..=MAX_EVENTS).find(|n| !holds(*n as f64)).unwrap_or(0) } else { hit - 1 };
            Some((many(hit), many(silence)))
        }
        CorrelationKind::ValueSum | CorrelationKind::ValueAvg | CorrelationKind::ValuePercentile => {
            let tried = || correlation.bounds.iter().flat_map(|(_, b)| [*b, b + 1.0, b - 1.0, b + 0.5]);
            let one = |n: f64| vec![(0, Some(example::number(n)))];
            Some((one(tried().find(|n| holds(*n))?), one(tried().find(|n| !holds(*n))?)))
        }
        CorrelationKind::TemporalOrdered if branches.len() > 1 => Some((all.clone(), all.into_iter().rev().collect())),
        CorrelationKind::TemporalOrdered => Some((all, Vec::new())),
        CorrelationKind::Temporal => {
            let enough = |n: &usize| match &correlation.occur {
                Some(condition) => occur(condition, branches, *n),
                None if correlation.bounds.is_empty() => *n == branches.len(),
                None => holds(*n as f64),
            };
            let hit = (1..=branches.len()).find(enough)?;
            Some((all[..hit].to_vec(), all[..hit - 1].to_vec()))
        }
    }
}

/// Whether the condition holds when the first rules occur.
fn occur(condition: &Condition, branches: &[Branch<'_, '_>], n: usize) -> bool {
    let names = |branch: &Branch<'_, '_>| [Some(branch.reference.clone()), branch.rule.meta.name.clone(), branch.rule.meta.id.clone()];
    let says = |i: usize| if i < n { Expr::All(Vec::new()) } else { Expr::Any(Vec::new()) };
    let searches: Vec<(String, Expr)> =
        branches.iter().enumerate().flat_map(|(i, branch)| names(branch).into_iter().flatten().map(move |name| (name, says(i)))).collect();
    condition.build(&searches).is_ok_and(|expr| matcher::matches(&expr, &Event::new()))
}

/// What the events of a test are made from.
struct Stage<'s, 'c, 'm> {
    correlation: &'s Correlation,
    branches: &'s [Branch<'c, 'm>],
    /// An event of each rule.
    templates: Vec<Event>,
    entity: String,
}

impl<'s, 'c, 'm> Stage<'s, 'c, 'm> {
    fn new(correlation: &'s Correlation, branches: &'s [Branch<'c, 'm>]) -> Option<Self> {
        let mut templates = branches.iter().map(|b| example::hit(&whole(b))).collect::<Option<Vec<_>>>()?;
        let mut values = Vec::new();
        for i in 0..correlation.group_by.len() {
            let columns = branches.iter().map(|b| first_settable(&b.groups[i])).collect::<Option<Vec<_>>>()?;
            let known = templates.iter().zip(&columns).find_map(|(event, column)| known(event, column));
            let value = known.unwrap_or_else(|| if columns[0].kind() == Kind::Text { json!(GROUP) } else { json!(1) });
            for (event, column) in templates.iter_mut().zip(&columns) {
                example::set(event, column, value.clone());
            }
            values.push(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        let entity = match (correlation.group_by.as_slice(), values.as_slice()) {
            ([name], [value]) => format!("{}:{value}", entity_prefix(branches, name)),
            ([], _) => "tenant:default".into(),
            (names, values) => names.iter().zip(values).map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(", "),
        };
        Some(Self { correlation, branches, templates, entity })
    }

    /// The events of a plan, evenly over less than a timespan.
    fn play(&self, plan: &Plan) -> Option<Vec<Event>> {
        let span_us = i64::try_from(self.correlation.timespan_s).ok()?.checked_mul(1_000_000)?;
        let start: DateTime<Utc> = START.parse().ok()?;
        let first_us = start.timestamp_micros().div_euclid(span_us) * span_us;
        let step_us = span_us / (i64::try_from(plan.len()).ok()? + 1);
        let mut events = Vec::new();
        for (i, (rule, value)) in plan.iter().enumerate() {
            let mut event = self.templates[*rule].clone();
            for field in &self.branches[*rule].values {
                let column = first_settable(field)?;
                example::set(&mut event, column, value.clone()?);
            }
            let at = DateTime::from_timestamp_micros(first_us + step_us * i64::try_from(i).ok()?)?;
            event.insert("event_time".into(), json!(at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)));
            if !matcher::matches(&whole(&self.branches[*rule]), &event) {
                return None;
            }
            events.push(event);
        }
        Some(events)
    }

    /// Whether no other rule matches the event.
    fn only_of(&self, own: usize, event: &Event) -> bool {
        self.branches.iter().enumerate().all(|(i, branch)| i == own || !matcher::matches(&whole(branch), event))
    }
}

fn whole(branch: &Branch<'_, '_>) -> Expr {
    Expr::All(vec![branch.rule.guard.clone(), branch.rule.expr.clone()])
}

fn first_settable(columns: &[Column]) -> Option<&Column> {
    columns.iter().find(|c| example::is_settable(c) && !matches!(c.kind(), Kind::Texts | Kind::Boolean | Kind::Moment))
}

fn known(event: &Event, column: &Column) -> Option<Value> {
    match column {
        Column::Ext { path } => event.get("ext").and_then(|ext| ext.get(path)).cloned(),
        _ => event.get(column.base()).cloned(),
    }
}
