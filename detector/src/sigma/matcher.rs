//! Evaluates a detection over one event, column by column: the second opinion on the SQL, and the judge of the examples
//! that become the tests of a rule.
//!
//! Three-valued as SQL is: a test of what is not there gives `None`.

use chrono::{DateTime, Datelike, Timelike, Utc};
use serde_json::{Map, Value};

use super::expr::{Column, Expr, Kind, Part, Place, Test};

/// Column to value. `ext` is an object of path to value; lists of structs are lists of objects.
pub(super) type Event = Map<String, Value>;

/// Whether the detection holds.
pub(super) fn matches(expr: &Expr, event: &Event) -> bool {
    holds(expr, event) == Some(true)
}

fn holds(expr: &Expr, event: &Event) -> Option<bool> {
    match expr {
        Expr::All(exprs) => several(exprs, event, false),
        Expr::Any(exprs) => several(exprs, event, true),
        Expr::Not(expr) => Some(holds(expr, event) != Some(true)),
        Expr::Leaf(column, test) => leaf(column, test, event),
    }
}

/// What one of them decides, else whether any is not known, else what all of them say.
fn several(exprs: &[Expr], event: &Event, decides: bool) -> Option<bool> {
    let mut result = Some(!decides);
    for expr in exprs {
        match holds(expr, event) {
            Some(value) if value == decides => return Some(decides),
            None => result = None,
            Some(_) => {}
        }
    }
    result
}

/// One test on one column.
pub(super) fn leaf(column: &Column, test: &Test, event: &Event) -> Option<bool> {
    let value = value(column, event);
    if *test == Test::Null {
        return Some(value.is_none());
    }
    let value = value?;
    if column.kind() == Kind::Texts {
        let items = value.as_array()?;
        return Some(items.iter().any(|item| on_text(test, &text(item))));
    }
    match test {
        Test::Field(place, other) => field(column, *place, (other, event)),
        Test::Part(part, order, wanted) => Some(order.holds(part_of(*part, moment(value)?), *wanted)),
        Test::Moment(order, micros) => Some(order.holds(moment(value)?.timestamp_micros() as f64, *micros as f64)),
        Test::Number(order, wanted) => Some(order.holds(number(value)?, *wanted)),
        Test::Flag(wanted) => Some(value.as_bool()? == *wanted),
        _ => Some(on_text(test, &text(value))),
    }
}

fn on_text(test: &Test, text: &str) -> bool {
    match test {
        Test::Is(pattern) => pattern.matches(text),
        Test::Regex(regex) => regex::Regex::new(regex).is_ok_and(|r| r.is_match(text)),
        Test::Network(network) => network.contains(text),
        _ => false,
    }
}

/// What stands in a column.
fn value<'e>(column: &Column, event: &'e Event) -> Option<&'e Value> {
    let found = match column {
        Column::Plain { name, .. } => event.get(name),
        Column::Ext { path } => event.get("ext").and_then(|ext| ext.get(path)),
        Column::Item { list, index, member } => event.get(list).and_then(|items| items.get(index - 1)).and_then(|item| item.get(member)),
    };
    found.filter(|value| !value.is_null())
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

fn moment(value: &Value) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(value.as_str()?).ok().map(|t| t.to_utc())
}

fn field(column: &Column, place: Place, (other, event): (&Column, &Event)) -> Option<bool> {
    let (left, right) = (value(column, event)?, value(other, event)?);
    let is_number = |column: &Column| matches!(column.kind(), Kind::Integer | Kind::Float);
    if place == Place::Whole && is_number(column) && is_number(other) {
        return Some(number(left)? == number(right)?);
    }
    let (left, right) = (text(left).to_lowercase(), text(right).to_lowercase());
    Some(match place {
        Place::Whole => left == right,
        Place::Anywhere => left.contains(&right),
        Place::Start => left.starts_with(&right),
        Place::End => left.ends_with(&right),
    })
}

fn part_of(part: Part, moment: DateTime<Utc>) -> f64 {
    match part {
        Part::Minute => moment.minute().into(),
        Part::Hour => moment.hour().into(),
        Part::Day => moment.day().into(),
        Part::Week => moment.iso_week().week().into(),
        Part::Month => moment.month().into(),
        Part::Year => moment.year().into(),
    }
}
