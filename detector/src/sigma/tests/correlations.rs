//! The SQL of correlations against a plain evaluation, on all events at once and on batches that come in any order.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use serde_json::{Value, json};

use super::super::correlate::{self, Branch};
use super::super::correlation::{Correlation, CorrelationKind, Judging};
use super::super::document::{self, Body};
use super::super::expr::{Column, Expr};
use super::super::matcher::{Event, matches};
use super::super::{branch, compile};
use super::lake::{Dice, Lake};
use super::mapping;

const RULES: &str = include_str!("../testdata/correlations.yml");
const START_US: i64 = 1_767_607_200_000_000;

fn event(dice: &mut Dice, i: usize) -> Value {
    // Most within half an hour, some over eight; all on whole ten seconds, so that many share a moment or an edge.
    let at = START_US + dice.roll(if i.is_multiple_of(8) { 2_880 } else { 180 }) as i64 * 10_000_000;
    let mut event = json!({
        "event_id": i.to_string(), "event_time": DateTime::from_timestamp_micros(at).unwrap().to_rfc3339(),
        "category": dice.pick(&["tool_call", "tool_call", "tool_call", "authn"]), "outcome": dice.pick(&["success", "failure", "denied"]),
        "agent_id": dice.pick(&["a1", "a2"]), "delegator_id": dice.pick(&["u1", "u2"]), "resource_owner": dice.pick(&["u1", "u2"]),
        "src_ip": dice.pick(&["10.0.0.1", "10.0.0.2"]), "tool_name": dice.pick(&["t1", "t2", "t3", "t4"]),
        "result_bytes": dice.roll(4) * 200_000, "cost_usd": dice.roll(4) as f64 / 4.0, "latency": dice.roll(30) * 100,
    });
    for key in ["agent_id", "delegator_id", "src_ip", "tool_name", "latency", "cost_usd"] {
        if dice.roll(8) == 0
            && let Some(event) = event.as_object_mut()
        {
            event.remove(key);
        }
    }
    event
}

fn time_us(event: &Event) -> i64 {
    DateTime::parse_from_rfc3339(event["event_time"].as_str().unwrap()).unwrap().timestamp_micros()
}

/// An event that a rule matched.
struct Seen<'e> {
    at: i64,
    rule: usize,
    value: Option<String>,
    id: &'e Value,
}

fn text(columns: &[Column], event: &Event) -> Option<String> {
    columns.iter().find_map(|column| {
        let value = match column {
            Column::Ext { path } => event.get("ext")?.get(path)?,
            _ => event.get(column.base())?,
        };
        (!value.is_null()).then(|| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    })
}

/// Keys of the alerts that there have to be.
fn expected(correlation: &Correlation, branches: &[Branch<'_, '_>], events: &[Event]) -> BTreeSet<String> {
    let span = correlation.timespan_s as i64 * 1_000_000;
    let mut groups: BTreeMap<Vec<String>, Vec<Seen<'_>>> = BTreeMap::new();
    for event in events {
        for (rule, branch) in branches.iter().enumerate() {
            let whole = Expr::All(vec![branch.rule.guard.clone(), branch.rule.expr.clone()]);
            let group: Option<Vec<String>> = branch.groups.iter().map(|c| text(c, event)).collect();
            if let (true, Some(group)) = (matches(&whole, event), group) {
                let value = branch.values.first().and_then(|c| text(c, event));
                groups.entry(group).or_default().push(Seen { at: time_us(event), rule, value, id: &event["event_id"] });
            }
        }
    }
    let mut keys = BTreeSet::new();
    for (group, seen) in &groups {
        let mut add = |bucket: i64| keys.insert(format!("{}{bucket}", group.iter().map(|g| format!("{g}|")).collect::<String>()));
        if correlation.judging() == Judging::Fixed {
            let buckets: BTreeSet<i64> = seen.iter().map(|s| s.at / span).collect();
            for bucket in buckets {
                let window: Vec<&Seen<'_>> = seen.iter().filter(|s| s.at / span == bucket).collect();
                if holds(correlation, branches, &window, 0) {
                    add(bucket);
                }
            }
        } else {
            for anchor in seen {
                let window: Vec<&Seen<'_>> = seen.iter().filter(|s| s.at >= anchor.at - span && s.at <= anchor.at).collect();
                let is_last = correlation.kind != CorrelationKind::TemporalOrdered || anchor.rule + 1 == branches.len();
                if is_last && holds(correlation, branches, &window, anchor.at) {
                    add(anchor.at / span);
                }
            }
        }
    }
    keys
}

fn holds(correlation: &Correlation, branches: &[Branch<'_, '_>], window: &[&Seen<'_>], end: i64) -> bool {
    let distinct = |of: &dyn Fn(&Seen<'_>) -> Option<String>| window.iter().filter_map(|s| of(s)).collect::<BTreeSet<_>>().len() as f64;
    let mut numbers: Vec<f64> = window.iter().filter_map(|s| s.value.as_ref()?.parse().ok()).collect();
    numbers.sort_by(f64::total_cmp);
    let occurs = |rule: usize| window.iter().any(|s| s.rule == rule);
    let measure = match correlation.kind {
        CorrelationKind::EventCount => distinct(&|s| Some(s.id.to_string())),
        CorrelationKind::ValueCount => distinct(&|s| s.value.clone()),
        CorrelationKind::ValueSum => numbers.iter().sum(),
        CorrelationKind::ValueAvg if numbers.is_empty() => return false,
        CorrelationKind::ValueAvg => numbers.iter().sum::<f64>() / numbers.len() as f64,
        CorrelationKind::ValuePercentile if numbers.is_empty() => return false,
        CorrelationKind::ValuePercentile => {
            let place = correlation.percentile * (numbers.len() - 1) as f64;
            let (low, high) = (numbers[place.floor() as usize], numbers[place.ceil() as usize]);
            low + (high - low) * place.fract()
        }
        CorrelationKind::Temporal => {
            let searches: Vec<(String, Expr)> = branches
                .iter()
                .enumerate()
                .map(|(i, b)| (b.reference.clone(), if occurs(i) { Expr::All(vec![]) } else { Expr::Any(vec![]) }))
                .collect();
            return match &correlation.occur {
                Some(condition) => matches(&condition.build(&searches).unwrap(), &Event::new()),
                None => (0..branches.len()).all(occurs),
            };
        }
        CorrelationKind::TemporalOrdered => {
            // The earliest of each rule after the earliest of the one before; the last is the anchor itself.
            let first_after = |after: i64, rule: usize| window.iter().filter(|s| s.rule == rule && s.at > after).map(|s| s.at).min();
            let chain = (0..branches.len() - 1).try_fold(i64::MIN, first_after);
            return chain.is_some_and(|at| at < end);
        }
    };
    correlation.bounds.iter().all(|(order, bound)| order.holds(measure, *bound))
}

/// The query with its parameters and moments.
fn filled(query: &str, correlation: &Correlation, moments: [(&str, i64); 3]) -> String {
    let bounds = correlation.bounds.iter().map(|(order, n)| (correlate::threshold(*order), n.to_string()));
    let span = correlation.timespan_s;
    let times = [("timespan_seconds".to_owned(), span.to_string()), ("settle_minutes".to_owned(), span.div_ceil(60).to_string())];
    let moments = moments.map(|(name, us)| (name.to_owned(), us.to_string()));
    bounds.chain(times).chain(moments).fold(query.to_owned(), |sql, (name, value)| sql.replace(&format!("{{{name}}}"), &value))
}

fn keys(lake: &Lake, sql: &str) -> BTreeSet<String> {
    let rows = lake.query(&format!("SELECT dedup_key, COUNT(*) AS n FROM ({sql}) GROUP BY 1"));
    assert!(rows.iter().all(|row| row["n"] == json!(1)), "{rows:?}");
    rows.iter().map(|row| row["dedup_key"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn correlations_find_the_same_whatever_batches_the_events_come_in() {
    let mapping = mapping();
    let documents = document::documents(RULES).unwrap();
    let rules: Vec<_> = documents
        .iter()
        .filter_map(|d| match &d.body {
            Body::Rule { logsource, detection } => Some(compile((&d.meta, logsource, detection), &mapping, &mut Vec::new()).unwrap()),
            _ => None,
        })
        .collect();
    let mut dice = Dice(11);
    let written: Vec<Value> = (0..240).map(|i| event(&mut dice, i)).collect();
    let Some(lake) = Lake::new("correlations") else { return };
    let mut prepared = Vec::new();
    for document in &documents {
        let Body::Correlation(correlation) = &document.body else { continue };
        let branches: Vec<Branch<'_, '_>> =
            correlation.rules.iter().map(|r| branch(correlation, r, (&rules, &documents), &mapping).unwrap()).collect();
        let query = correlate::query(correlation, &branches, &document.meta.title).unwrap();
        prepared.push((&document.meta.title, correlation, branches, query, BTreeSet::new()));
    }
    // Late and early events in every batch; `as_of` is the last moment before what is still to come.
    let us = |event: &Value| DateTime::parse_from_rfc3339(event["event_time"].as_str().unwrap()).unwrap().timestamp_micros();
    let mut given: Vec<i64> = Vec::new();
    let mut as_of_before = i64::MIN;
    for (n, batch) in written.chunks(40).enumerate() {
        lake.import(batch);
        let to_come = written.iter().skip((n + 1) * 40).map(us).min();
        let as_of = to_come.map_or(i64::MAX / 2, |t| t - 1);
        for (_, correlation, _, query, found) in &mut prepared {
            // What the detector shows: the batch, and again what was later than the settle time allowed in the run before.
            let settle = if correlation.judging() == Judging::Fixed { correlation.timespan_s.div_ceil(60) as i64 * 60_000_000 } else { 0 };
            let again = given.iter().copied().filter(|t| *t > as_of_before.saturating_sub(settle));
            let new: Vec<i64> = batch.iter().map(us).chain(again).collect();
            let (from, to) = (*new.iter().min().unwrap(), *new.iter().max().unwrap());
            let sql = filled(query, correlation, [("as_of_us", as_of), ("new_from_us", from), ("new_to_us", to)]);
            found.extend(keys(&lake, &sql));
        }
        given.extend(batch.iter().map(us));
        as_of_before = as_of;
    }
    let events = lake.events();
    let (first, last) = (events.iter().map(time_us).min().unwrap(), events.iter().map(time_us).max().unwrap());
    for (title, correlation, branches, query, by_batches) in &prepared {
        let wanted = expected(correlation, branches, &events);
        let sql = filled(query, correlation, [("as_of_us", i64::MAX / 2), ("new_from_us", first), ("new_to_us", last)]);
        println!("{title}: {} alerts", wanted.len());
        assert!(!wanted.is_empty(), "{title} finds nothing, so it shows nothing");
        assert_eq!(keys(&lake, &sql), wanted, "{title}, all at once\n{sql}");
        assert_eq!(*by_batches, wanted, "{title}, in batches\n{sql}");
    }
}
