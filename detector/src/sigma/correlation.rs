//! A `correlation` section as it is written, and which way of judging it needs.
//!
//! Sliding: at each event, the events of the timespan before it. What more events can only make truer (counts from below,
//! rules that occur) is judged as events come; averages and percentiles, which more events can undo, where the data is
//! complete. Fixed: counts and sums with a bound from above (`lt`, `lte`, `eq`, `neq`) are judged for each timespan since
//! 1970 once it is over, because at some event the count is always still low.

use serde_yaml_ng::{Mapping, Value};

use super::condition::Condition;
use super::document::texts;
use super::error::Fault;
use super::expr::Order;

/// Longest timespan, seconds: 30 days. A run reads that much before and after what is new.
const MAX_TIMESPAN_S: u64 = 30 * 86_400;

/// A correlation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Correlation {
    pub(super) kind: CorrelationKind,
    /// Names or ids of rules.
    pub(super) rules: Vec<String>,
    pub(super) group_by: Vec<String>,
    pub(super) timespan_s: u64,
    /// Bounds, all of which have to hold.
    pub(super) bounds: Vec<(Order, f64)>,
    /// Of temporal correlations: which rules have to occur.
    pub(super) occur: Option<Condition>,
    /// Fields whose value counts.
    pub(super) fields: Vec<String>,
    /// Of percentiles, between 0 and 1.
    pub(super) percentile: f64,
    /// Alias, rule, field.
    pub(super) aliases: Vec<(String, String, String)>,
    /// Whether the rules alert by themselves too.
    pub(super) generate: bool,
}

/// What is correlated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CorrelationKind {
    EventCount,
    ValueCount,
    Temporal,
    TemporalOrdered,
    ValueSum,
    ValueAvg,
    ValuePercentile,
}

/// When and over what a correlation is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judging {
    /// At each event.
    Sliding,
    /// At each event, where the data is complete.
    SlidingComplete,
    /// For each timespan once it is over.
    Fixed,
}

impl Correlation {
    /// Reads a section.
    pub(super) fn parse(section: &Mapping) -> Result<Self, Fault> {
        let kind = section.get("type").and_then(Value::as_str).unwrap_or_default();
        let kind = kind_of(kind).ok_or_else(|| Fault::Unsupported(format!("the correlation type `{kind}`")))?;
        let timespan = section.get("timespan").or_else(|| section.get("timeframe")).and_then(Value::as_str).unwrap_or_default();
        let mut correlation = Self {
            kind,
            rules: texts(section.get("rules")),
            group_by: texts(section.get("group-by")),
            timespan_s: seconds(timespan)?,
            bounds: Vec::new(),
            occur: None,
            fields: Vec::new(),
            percentile: 0.0,
            aliases: aliases(section.get("aliases")),
            generate: section.get("generate").and_then(Value::as_bool).unwrap_or(false),
        };
        if correlation.rules.is_empty() {
            return Err(Fault::Invalid("a correlation needs `rules`".into()));
        }
        correlation.read_condition(section.get("condition"))?;
        correlation.check()?;
        Ok(correlation)
    }

    fn read_condition(&mut self, condition: Option<&Value>) -> Result<(), Fault> {
        match condition {
            None => {}
            Some(Value::String(text)) => self.occur = Some(Condition::parse(text)?),
            Some(Value::Mapping(map)) => {
                for (key, value) in map {
                    match (key.as_str().unwrap_or_default(), value.as_f64()) {
                        ("field", _) => self.fields = texts(Some(value)),
                        ("percentile", Some(p)) if (0.0..=100.0).contains(&p) => self.percentile = p / 100.0,
                        (name, Some(number)) if Order::parse(name).is_some() => self.bounds.extend(Order::parse(name).map(|o| (o, number))),
                        (name, _) => return Err(Fault::Invalid(format!("`{name}` in the condition of a correlation"))),
                    }
                }
            }
            Some(_) => return Err(Fault::Invalid("the condition of a correlation is a map, or a text".into())),
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Fault> {
        use CorrelationKind::{EventCount, Temporal, TemporalOrdered, ValuePercentile};
        let is_temporal = matches!(self.kind, Temporal | TemporalOrdered);
        let invalid = |what: &str| Err(Fault::Invalid(what.into()));
        let unsupported = |what: &str| Err(Fault::Unsupported(what.into()));
        if !is_temporal && (self.bounds.is_empty() || self.occur.is_some()) {
            return invalid("the condition needs a bound such as `gte: 10`");
        }
        if !is_temporal && self.kind != EventCount && self.fields.is_empty() {
            return invalid("the condition needs a `field`");
        }
        if self.kind == ValuePercentile && self.percentile == 0.0 {
            return invalid("the condition needs a `percentile`");
        }
        if is_temporal && self.bounds.iter().any(|(order, _)| !matches!(order, Order::Greater | Order::GreaterOrEqual)) {
            return unsupported("a temporal correlation with a bound from above");
        }
        if self.occur.as_ref().is_some_and(Condition::has_not) {
            return unsupported("`not` in a temporal correlation: that something did not occur");
        }
        let all = self
            .bounds
            .iter()
            .all(|(order, n)| order.holds(self.rules.len() as f64, *n) && !order.holds(self.rules.len() as f64 - 1.0, *n));
        if self.kind == TemporalOrdered && (self.occur.is_some() || !all) {
            return unsupported("`temporal_ordered` for some of its rules only");
        }
        Ok(())
    }

    /// When and over what it is judged.
    pub(super) fn judging(&self) -> Judging {
        let only_grows = self.bounds.iter().all(|(order, _)| matches!(order, Order::Greater | Order::GreaterOrEqual));
        match self.kind {
            CorrelationKind::ValueAvg | CorrelationKind::ValuePercentile => Judging::SlidingComplete,
            _ if only_grows => Judging::Sliding,
            _ => Judging::Fixed,
        }
    }

    /// The field that a name in `group-by` means for a rule.
    pub(super) fn field_for<'c>(&'c self, name: &'c str, is_rule: impl Fn(&str) -> bool) -> Option<&'c str> {
        let mut of_alias = self.aliases.iter().filter(|(alias, _, _)| alias == name).peekable();
        if of_alias.peek().is_none() {
            return Some(name);
        }
        of_alias.find(|(_, rule, _)| is_rule(rule)).map(|(_, _, field)| field.as_str())
    }
}

fn kind_of(name: &str) -> Option<CorrelationKind> {
    Some(match name {
        "event_count" => CorrelationKind::EventCount,
        "value_count" => CorrelationKind::ValueCount,
        "temporal" => CorrelationKind::Temporal,
        "temporal_ordered" => CorrelationKind::TemporalOrdered,
        "value_sum" => CorrelationKind::ValueSum,
        "value_avg" => CorrelationKind::ValueAvg,
        "value_percentile" => CorrelationKind::ValuePercentile,
        _ => return None,
    })
}

fn seconds(timespan: &str) -> Result<u64, Fault> {
    let invalid = || Fault::Invalid(format!("`{timespan}` is no timespan such as `30s`, `5m`, `2h`, `1d`"));
    let (digits, unit) = timespan.split_at_checked(timespan.len().saturating_sub(1)).ok_or_else(invalid)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        "M" | "y" => return Err(Fault::Unsupported(format!("the timespan `{timespan}`: months and years have no fixed length"))),
        _ => return Err(invalid()),
    };
    let count: u64 = digits.parse().ok().filter(|n| *n > 0).ok_or_else(invalid)?;
    let seconds = count.checked_mul(unit).filter(|s| *s <= MAX_TIMESPAN_S);
    seconds.ok_or_else(|| Fault::Unsupported(format!("the timespan `{timespan}`, longer than 30 days")))
}

fn aliases(value: Option<&Value>) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for (alias, rules) in value.and_then(Value::as_mapping).into_iter().flatten() {
        for (rule, field) in rules.as_mapping().into_iter().flatten() {
            let texts = (alias.as_str(), rule.as_str(), field.as_str());
            found.extend(if let (Some(a), Some(r), Some(f)) = texts { Some((a.into(), r.into(), f.into())) } else { None });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Correlation, Fault> {
        Correlation::parse(&serde_yaml_ng::from_str(text).unwrap())
    }

    #[test]
    fn what_more_events_can_undo_waits() {
        for (text, judging) in [
            ("{type: event_count, rules: [a], timespan: 5m, condition: {gte: 3}}", Judging::Sliding),
            ("{type: event_count, rules: [a], timespan: 5m, condition: {gt: 3, lte: 9}}", Judging::Fixed),
            ("{type: value_avg, rules: [a], timespan: 5m, condition: {field: x, gte: 3}}", Judging::SlidingComplete),
            ("{type: value_sum, rules: [a], timespan: 5m, condition: {field: x, lt: 3}}", Judging::Fixed),
            ("{type: temporal, rules: [a, b], timespan: 5m}", Judging::Sliding),
        ] {
            assert_eq!(parse(text).unwrap().judging(), judging, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_or_beyond_us_is_refused() {
        for text in [
            "{type: event_count, rules: [a], timespan: 5m}",
            "{type: event_count, rules: [], timespan: 5m, condition: {gte: 1}}",
            "{type: event_count, rules: [a], timespan: 5, condition: {gte: 1}}",
            "{type: event_count, rules: [a], timespan: 0m, condition: {gte: 1}}",
            "{type: event_count, rules: [a], timespan: 1M, condition: {gte: 1}}",
            "{type: event_count, rules: [a], timespan: 31d, condition: {gte: 1}}",
            "{type: value_count, rules: [a], timespan: 5m, condition: {gte: 1}}",
            "{type: value_percentile, rules: [a], timespan: 5m, condition: {field: x, gte: 1}}",
            "{type: temporal, rules: [a, b], timespan: 5m, condition: a and not b}",
            "{type: temporal, rules: [a, b], timespan: 5m, condition: {lt: 2}}",
            "{type: temporal_ordered, rules: [a, b], timespan: 5m, condition: {gte: 1}}",
            "{type: new_thing, rules: [a], timespan: 5m}",
            "{type: event_count, rules: [a], timespan: é, condition: {gte: 1}}",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
