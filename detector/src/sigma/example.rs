//! Events that a detection holds for, and others that it just does not: the tests of an imported rule.
//!
//! A detection is one of several conjunctions of tests; of the first [`MAX_WORLDS`] each is tried. For each column the
//! values that its tests suggest are tried until one satisfies them all. Whatever comes out is judged by the matcher, so
//! an example can be missing, never wrong.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Timelike, Utc};
use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::{Value, json};

use super::expr::{Column, Expr, Kind, Order, Part, Test};
use super::matcher::{self, Event};

/// Most conjunctions that are tried.
const MAX_WORLDS: usize = 64;
/// When examples happen.
pub(super) const START: &str = "2026-01-05T10:00:00Z";

/// Tests, each with whether it has to hold.
type World<'e> = Vec<(&'e Column, &'e Test, bool)>;

/// What every event of a test has.
pub(super) fn blank() -> Event {
    [("event_time", START), ("outcome", "success")].into_iter().map(|(k, v)| (k.to_owned(), v.into())).collect()
}

/// An event that the detection holds for.
pub(super) fn hit(expr: &Expr) -> Option<Event> {
    worlds(expr, true).iter().filter_map(|world| solve(world)).find(|event| matcher::matches(expr, event))
}

/// Events that it does not hold for, each near one that it holds for, with what they are.
pub(super) fn silences(guard: &Expr, expr: &Expr, hit: &Event) -> Vec<(&'static str, Event)> {
    let mut found = Vec::new();
    let whole = |event: &Event| matcher::matches(guard, event) && matcher::matches(expr, event);
    for (column, _, _) in expr.leaves() {
        let mut other = hit.clone();
        set(&mut other, column, json!("other"));
        let mut without = hit.clone();
        unset(&mut without, column);
        let near = [other, without].into_iter().find(|event| !whole(event) && matcher::matches(guard, event));
        if let Some(near) = near {
            found.push(("an event that differs in one field is not", near));
            break;
        }
    }
    if let Expr::All(parts) = expr {
        let filters = |part: &Expr| if let Expr::Not(inner) = part { (**inner).clone() } else { part.clone() };
        let filtered = Expr::All(std::iter::once(guard).chain(parts).map(filters).collect());
        let has_not = parts.iter().any(|part| matches!(part, Expr::Not(_)));
        found.extend(self::hit(&filtered).filter(|event| has_not && !whole(event)).map(|event| ("what its filters name is not", event)));
    }
    found
}

fn worlds(expr: &Expr, wanted: bool) -> Vec<World<'_>> {
    let mut found = match (expr, wanted) {
        (Expr::Leaf(column, test), _) => vec![vec![(column, test, wanted)]],
        (Expr::Not(inner), _) => worlds(inner, !wanted),
        (Expr::All(exprs), true) | (Expr::Any(exprs), false) => {
            exprs.iter().fold(vec![Vec::new()], |so_far, expr| product(&so_far, &worlds(expr, wanted)))
        }
        (Expr::All(exprs), false) | (Expr::Any(exprs), true) => exprs.iter().flat_map(|expr| worlds(expr, wanted)).collect(),
    };
    found.truncate(MAX_WORLDS);
    found
}

/// Every one of the first with every one of the second.
fn product<'e>(first: &[World<'e>], second: &[World<'e>]) -> Vec<World<'e>> {
    let pairs = first.iter().flat_map(|a| second.iter().map(move |b| (a, b)));
    pairs.take(MAX_WORLDS).map(|(a, b)| a.iter().chain(b).copied().collect()).collect()
}

fn solve(world: &World<'_>) -> Option<Event> {
    let mut by_column: BTreeMap<&Column, Vec<(&Test, bool)>> = BTreeMap::new();
    for (column, test, wanted) in world {
        if !matches!(test, Test::Field(..)) {
            by_column.entry(column).or_default().push((test, *wanted));
        }
    }
    let mut event = blank();
    for (column, tests) in by_column {
        let fits = |event: &Event| tests.iter().all(|(test, wanted)| (matcher::leaf(column, test, event) == Some(true)) == *wanted);
        let mut tried = candidates(column, &tests).into_iter().map(|value| {
            let mut next = event.clone();
            match value {
                Some(value) => set(&mut next, column, value),
                None => unset(&mut next, column),
            }
            next
        });
        event = tried.find(fits)?;
    }
    for (column, test, wanted) in world {
        if let (Test::Field(_, other), true) = (test, wanted) {
            let known = event.get(other.base()).or_else(|| event.get(column.base())).cloned();
            let value = known.unwrap_or_else(|| if column.kind() == Kind::Text { json!("same") } else { json!(1) });
            set(&mut event, column, value.clone());
            set(&mut event, other, value);
        }
    }
    Some(event)
}

/// Values worth trying in a column; `None` is none.
fn candidates(column: &Column, tests: &[(&Test, bool)]) -> Vec<Option<Value>> {
    let suggested: Vec<Value> = tests.iter().filter(|(_, wanted)| *wanted).flat_map(|(test, _)| suggestions(test)).collect();
    let texts: Vec<&str> = suggested.iter().filter_map(Value::as_str).collect();
    let mut found: Vec<Option<Value>> = suggested.iter().cloned().map(Some).collect();
    if column.kind() == Kind::Texts {
        found = vec![Some(json!(texts))];
    } else if texts.len() > 1 {
        found.push(Some(json!(texts.concat())));
        found.push(Some(json!(texts.join(" "))));
        found.push(Some(json!(texts.iter().rev().copied().collect::<String>())));
    }
    if column.kind() == Kind::Moment {
        let start: DateTime<Utc> = START.parse().unwrap_or_default();
        let parts = tests.iter().filter_map(|(test, wanted)| match test {
            Test::Part(part, order, n) if *wanted => Some((*part, *order, *n)),
            _ => None,
        });
        let all = parts.fold(start, |at, (part, order, n)| with_part(at, part, order, n).unwrap_or(at));
        found.push(moment(all.timestamp_micros()));
    }
    if let Column::Plain { name, .. } = column {
        found.extend(blank().get(name).cloned().map(Some));
    }
    let others: &[Value] = match column.kind() {
        Kind::Text => &[json!("other"), json!("1")],
        Kind::Texts => &[json!(["other"])],
        Kind::Integer | Kind::Float => &[json!(0), json!(1)],
        Kind::Boolean => &[json!(true), json!(false)],
        Kind::Moment => &[json!(START)],
        Kind::Opaque => &[],
    };
    // Where nothing is asked for, nothing is simplest.
    if suggested.is_empty() {
        found.insert(0, None);
    }
    found.into_iter().chain(others.iter().cloned().map(Some)).chain([None]).collect()
}

/// Values of which one may satisfy a test.
fn suggestions(test: &Test) -> Vec<Value> {
    let numbers = |n: f64| [n, n + 1.0, n - 1.0].map(number).to_vec();
    match test {
        Test::Null | Test::Field(..) => Vec::new(),
        // An empty text is stored as nothing.
        Test::Is(pattern) => Some(pattern.example()).filter(|text| !text.is_empty()).map(|text| json!(text)).into_iter().collect(),
        Test::Number(_, n) => numbers(*n),
        Test::Flag(flag) => vec![json!(flag)],
        Test::Regex(regex) => regex_syntax::parse(regex).ok().map(|hir| json!(sample(&hir))).into_iter().collect(),
        Test::Network(network) => vec![json!(network.example())],
        Test::Part(..) => Vec::new(),
        Test::Moment(_, us) => [0, 1_000_000, -1_000_000].into_iter().filter_map(|d| moment(us.checked_add(d)?)).collect(),
    }
}

/// A number as JSON, whole where it is.
pub(super) fn number(n: f64) -> Value {
    if n.fract() == 0.0 && n.abs() < 9e15 { json!(n as i64) } else { json!(n) }
}

fn moment(us: i64) -> Option<Value> {
    DateTime::from_timestamp_micros(us).map(|t| json!(t.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)))
}

/// The moment with one part such that the test holds.
fn with_part(start: DateTime<Utc>, part: Part, order: Order, n: f64) -> Option<DateTime<Utc>> {
    let step = match order {
        Order::Less => n - 1.0,
        Order::Greater => n + 1.0,
        _ => n,
    };
    let value = u32::try_from(step as i64).ok()?;
    match part {
        Part::Minute => start.with_minute(value),
        Part::Hour => start.with_hour(value),
        Part::Day => start.with_day(value),
        Part::Week => start.checked_add_days(chrono::Days::new(7 * u64::from(value.saturating_sub(start.iso_week().week())))),
        Part::Month => start.with_month(value),
        Part::Year => start.with_year(i32::try_from(value).ok()?),
    }
}

/// A text that a regular expression finds: of each alternative the first, of each repetition the fewest.
fn sample(hir: &Hir) -> String {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => String::new(),
        HirKind::Literal(literal) => String::from_utf8_lossy(&literal.0).into_owned(),
        HirKind::Class(Class::Unicode(class)) => {
            let ranges = || class.iter().flat_map(|r| [r.start(), r.end()]);
            ranges().find(char::is_ascii_alphanumeric).or_else(|| ranges().find(|c| !c.is_control())).unwrap_or('a').to_string()
        }
        HirKind::Class(Class::Bytes(_)) => "a".into(),
        HirKind::Repetition(repetition) => sample(&repetition.sub).repeat(repetition.min.min(64) as usize),
        HirKind::Capture(capture) => sample(&capture.sub),
        HirKind::Concat(parts) => parts.iter().map(sample).collect(),
        HirKind::Alternation(parts) => parts.first().map(sample).unwrap_or_default(),
    }
}

/// Sets a column; a member of a list of structs cannot be set.
pub(super) fn set(event: &mut Event, column: &Column, value: Value) {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match column {
        Column::Plain { name, kind: Kind::Text } => drop(event.insert(name.clone(), json!(text(&value)))),
        Column::Plain { name, kind: Kind::Texts } if !value.is_array() => drop(event.insert(name.clone(), json!([text(&value)]))),
        Column::Plain { name, kind: Kind::Boolean } if !value.is_boolean() => drop(event.remove(name)),
        Column::Plain { name, kind: Kind::Integer | Kind::Float } if !value.is_number() => {
            event.remove(name);
            event.extend(text(&value).parse::<f64>().ok().map(|n| (name.clone(), number(n))));
        }
        Column::Plain { kind: Kind::Moment, .. } if text(&value).parse::<DateTime<Utc>>().is_err() => {}
        Column::Plain { kind: Kind::Opaque, .. } | Column::Item { .. } => {}
        Column::Plain { name, .. } => drop(event.insert(name.clone(), value)),
        Column::Ext { path } => {
            let ext = event.entry("ext").or_insert_with(|| json!({}));
            ext[path.as_str()] = json!(text(&value));
        }
    }
}

/// Takes a column out; an event without a time is none.
fn unset(event: &mut Event, column: &Column) {
    match column {
        Column::Plain { name, .. } if name == "event_time" => {}
        Column::Plain { name, .. } => drop(event.remove(name)),
        Column::Ext { path } => drop(event.get_mut("ext").and_then(Value::as_object_mut).map(|ext| ext.remove(path))),
        Column::Item { .. } => {}
    }
}

/// Whether tests of this place can be set up.
pub(super) fn is_settable(column: &Column) -> bool {
    !matches!(column, Column::Item { .. }) && column.kind() != Kind::Opaque
}
