//! What labelled traffic says of itself: one JSON object a line, for generated and for foreign traffic alike.
//!
//! A label is an incident that should be found, or something that should not be: a session without one, or a near miss. Where
//! it names events, these decide which alerts are about it; where it does not, its entity, its day and its kind do.

use chrono::{DateTime, NaiveDate, Utc};
use lake::alerts::Alert;
use serde::{Deserialize, Serialize};

use crate::DetectorError;

/// A label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// Kind of incident, as rules name it under `detects`; without one any rule may find it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Entity that an alert would name.
    pub entity: String,
    /// UTC day.
    pub day: NaiveDate,
    /// Whether it should be found.
    pub expected: bool,
    /// How many days before or after an alert is still about it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub within_days: u32,
    /// Id of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// What recall is also counted by, such as a suite of tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Which part of the traffic it belongs to: what rules were tuned on is not what they are reported on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// Which attack it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attack: Option<String>,
    /// First event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<DateTime<Utc>>,
    /// Last event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<DateTime<Utc>>,
    /// First event of the incident itself; without one, that of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident_start: Option<DateTime<Utc>>,
    /// Ids of its events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event_ids: Vec<String>,
    /// Ids of those that are the incident; without any, all are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub incident_event_ids: Vec<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it")]
fn is_zero(days: &u32) -> bool {
    *days == 0
}

/// How an alert stands to a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// About something else of the same session.
    Session,
    /// About what is labelled.
    Incident,
}

impl Label {
    /// A label that names no events.
    pub fn of_day(kind: &str, entity: String, day: NaiveDate, expected: bool) -> Self {
        Self {
            kind: Some(kind.to_owned()),
            entity,
            day,
            expected,
            within_days: 0,
            session: None,
            group: None,
            split: None,
            attack: None,
            start: None,
            end: None,
            incident_start: None,
            event_ids: Vec::new(),
            incident_event_ids: Vec::new(),
        }
    }

    /// How an alert of a rule that detects these kinds stands to it, when it does.
    pub fn relation(&self, alert: &Alert, detects: &[String]) -> Option<Relation> {
        if self.kind.as_ref().is_some_and(|kind| !detects.contains(kind)) {
            return None;
        }
        if self.event_ids.is_empty() || alert.event_ids.is_empty() {
            let day = DateTime::from_timestamp_micros(alert.event_time)?.date_naive();
            let is_near = (day - self.day).num_days().unsigned_abs() <= u64::from(self.within_days);
            return (is_near && alert.entity == self.entity).then_some(Relation::Incident);
        }
        let shows = |ids: &[String]| alert.event_ids.iter().any(|id| ids.contains(id));
        let incident = if self.incident_event_ids.is_empty() { &self.event_ids } else { &self.incident_event_ids };
        if shows(incident) { Some(Relation::Incident) } else { shows(&self.event_ids).then_some(Relation::Session) }
    }

    /// When the incident began, microseconds, where the label says so.
    pub fn began_us(&self) -> Option<i64> {
        self.incident_start.or(self.start).map(|t| t.timestamp_micros())
    }
}

/// Reads labels, one a line.
///
/// # Errors
/// When a line is no label; says which.
pub fn read(text: &str, origin: &str) -> Result<Vec<Label>, DetectorError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parsed = lines.map(|(number, line)| {
        let fault =
            |error: serde_json::Error| DetectorError::Labels { path: origin.to_owned(), what: format!("line {}: {error}", number + 1) };
        serde_json::from_str(line).map_err(fault)
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_of_a_day_is_written_as_four_members_and_read_again() {
        let day = NaiveDate::from_ymd_opt(2026, 1, 5).unwrap();
        let label = Label::of_day("new-tool", "job:a/b".into(), day, true);
        let text = serde_json::to_string(&label).unwrap();
        assert_eq!(text, r#"{"kind":"new-tool","entity":"job:a/b","day":"2026-01-05","expected":true}"#);
        assert_eq!(read(&format!("{text}\n\n"), "l").unwrap(), [label]);
    }

    #[test]
    fn a_line_that_is_no_label_is_named() {
        let said =
            read("\n{\"entity\":\"x\",\"day\":\"2026-01-05\",\"expected\":true,\"sesion\":\"s\"}", "labels.jsonl").unwrap_err().to_string();
        assert!(said.contains("labels.jsonl") && said.contains("line 2") && said.contains("sesion"), "{said}");
    }
}
