//! A test of a rule as a canary: moved to now and to a tenant, beside what is really known. Pure.
//!
//! Texts that are a time (RFC 3339) or a day as a whole are moved, by whole weeks, so that hours and weekdays stay what
//! they were; a time within another text is not. The last of them comes to lie in the seven days before today.
//!
//! Limits: in the other half of the year the wall clock of a zone is an hour off what the test was written for; the same season of
//! the year before is the way out.

use chrono::{DateTime, Days, NaiveDate, SecondsFormat, TimeDelta};
use schemas::decode::DEFAULT_TENANT;
use serde_json::{Map, Value};

use crate::inventory::Inventory;
use crate::lists::TENANT;
use crate::rule::Case;

const WEEK_DAYS: i64 = 7;
const YEAR_WEEKS: i64 = 52;
/// Column of the moment of an event.
const EVENT_TIME: &str = "event_time";

/// The case `weeks` later, of a tenant in place of the default one.
pub(crate) fn moved(case: &Case, weeks: i64, tenant: &str) -> Case {
    let mut case = case.clone();
    let days = weeks * WEEK_DAYS;
    for event in &mut case.events {
        of_tenant(event, tenant);
        event.values_mut().for_each(|value| later(value, days));
    }
    for history in &mut case.history {
        history.first = day_later(history.first, days);
        of_tenant(&mut history.set, tenant);
        history.set.values_mut().for_each(|value| later(value, days));
    }
    for identity in &mut case.inventory.identities {
        if identity.tenant.as_deref().is_none_or(is_default) {
            identity.tenant = Some(tenant.to_owned());
        }
    }
    case.inventory.holidays.iter_mut().for_each(|holiday| holiday.day = day_later(holiday.day, days));
    for row in case.inventory.lists.values_mut().flatten() {
        row.values_mut().for_each(|text| *text = text_later(text, days).unwrap_or_else(|| std::mem::take(text)));
        if row.get(TENANT).is_none_or(|tenant| is_default(tenant)) {
            row.insert(TENANT.into(), tenant.to_owned());
        }
    }
    case
}

/// How many weeks later its last event lies in the seven days before today.
pub(crate) fn weeks_to(case: &Case, today: NaiveDate) -> i64 {
    let time = |event: &Map<String, Value>| DateTime::parse_from_rfc3339(event.get(EVENT_TIME)?.as_str()?).ok();
    let events = case.events.iter().filter_map(|event| Some(time(event)?.to_utc().date_naive()));
    let history = case.history.iter().map(|history| day_later(history.first, i64::from(history.days) - 1));
    events.chain(history).max().map_or(0, |last| ((today - last).num_days() - 1).div_euclid(WEEK_DAYS))
}

/// The last time before that in the season that the case was written for.
pub(crate) fn weeks_in_season(weeks: i64) -> i64 {
    weeks - weeks.rem_euclid(YEAR_WEEKS)
}

/// What is really known, and what the case says of its own people, agents and servers.
pub(crate) fn beside(real: &Inventory, case: &Inventory) -> Inventory {
    let mut both = real.clone();
    both.identities.extend(case.identities.iter().cloned());
    both.holidays.extend(case.holidays.iter().cloned());
    for (name, rows) in &case.lists {
        both.lists.entry(name.clone()).or_default().extend(rows.iter().cloned());
    }
    both
}

fn is_default(tenant: &str) -> bool {
    tenant.is_empty() || tenant == DEFAULT_TENANT
}

fn of_tenant(columns: &mut Map<String, Value>, tenant: &str) {
    if columns.get(TENANT).and_then(Value::as_str).is_none_or(is_default) {
        columns.insert(TENANT.into(), tenant.into());
    }
}

fn later(value: &mut Value, days: i64) {
    match value {
        Value::String(text) => {
            if let Some(moved) = text_later(text, days) {
                *text = moved;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| later(value, days)),
        Value::Object(members) => members.values_mut().for_each(|value| later(value, days)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A text that is a time or a day, later; `None` for any other.
fn text_later(text: &str, days: i64) -> Option<String> {
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Some(day_later(day, days).to_string());
    }
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    Some(time.checked_add_signed(TimeDelta::try_days(days)?)?.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

fn day_later(day: NaiveDate, days: i64) -> NaiveDate {
    let by = Days::new(days.unsigned_abs());
    if days < 0 { day.checked_sub_days(by) } else { day.checked_add_days(by) }.unwrap_or(day)
}

#[cfg(test)]
mod tests {
    use chrono::Datelike;

    use super::*;

    const CASE: &str = r#"
name: x
inventory: {holidays: [{country: DE, day: 2026-01-25}], lists: {absences: [{identity: a, from: "2026-01-24", to: "no day"}]}}
history: [{days: 2, first: 2026-01-20, hours: [9], each: 1, set: {category: tool_call}}]
events:
  - {event_time: "2026-01-25T10:00:00Z", auth_time: "2026-01-25T09:00:00+02:00", tool_name: "2026 things", params_json: '{"on":"2026-01-25"}'}
  - {event_time: "2026-01-25T11:00:00Z", tenant: other}
expect: [{entity: x}]
"#;

    #[test]
    fn what_is_a_time_is_moved_by_whole_weeks_and_nothing_else_is() {
        let case: Case = serde_yaml_ng::from_str(CASE).unwrap();
        let today = NaiveDate::from_ymd_opt(2026, 11, 24).unwrap();
        let weeks = weeks_to(&case, today);
        let moved = moved(&case, weeks, "acme");
        let day = moved.inventory.holidays[0].day;
        assert_eq!(day.weekday(), case.inventory.holidays[0].day.weekday());
        assert!(day < today && (today - day).num_days() <= 7, "{day}");
        assert_eq!(moved.events[0][EVENT_TIME], format!("{day}T10:00:00Z"));
        assert_eq!(moved.events[0]["auth_time"], format!("{day}T09:00:00+02:00"));
        assert_eq!(
            (&moved.events[0]["tool_name"], &moved.events[0]["params_json"]),
            (&case.events[0]["tool_name"], &case.events[0]["params_json"])
        );
        assert_eq!((day - moved.history[0].first).num_days(), 5);
        assert_eq!((moved.events[0][TENANT].as_str(), moved.events[1][TENANT].as_str()), (Some("acme"), Some("other")));
        let absence = &moved.inventory.lists["absences"][0];
        assert_eq!((absence["to"].as_str(), absence[TENANT].as_str()), ("no day", "acme"));
        assert_eq!(absence["from"], day.pred_opt().unwrap().to_string());
    }
}
