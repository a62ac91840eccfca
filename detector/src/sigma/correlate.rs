//! A correlation as SQL over `events`.
//!
//! A run reads the events from one timespan before the new ones to one after them, and judges every moment from the first
//! new event on: nothing that a new or late event can change is left out, whatever batch it came in. An alert is known by
//! its group and the timespan since 1970 (the bucket) in which the condition first held. Both ends of a window count.
//! Events without a value in `group-by` belong to no group.

use super::Compiled;
use super::condition::Condition;
use super::correlation::{Correlation, CorrelationKind, Judging};
use super::error::Fault;
use super::expr::{Column, Kind, Order};
use super::rule_file::{conditions, prefix};
use super::sql::{self, Derived, literal};

/// A rule of a correlation, with the columns of its groups and values.
#[derive(Debug)]
pub(super) struct Branch<'c, 'm> {
    pub(super) rule: &'c Compiled<'m>,
    /// As the correlation names it.
    pub(super) reference: String,
    pub(super) groups: Vec<Vec<Column>>,
    pub(super) values: Vec<Vec<Column>>,
}

const SPAN: &str = "INTERVAL '{timespan_seconds} seconds'";
const SPAN_US: &str = "({timespan_seconds} * 1000000)";

/// The query.
pub(super) fn query(correlation: &Correlation, branches: &[Branch<'_, '_>], title: &str) -> Result<String, Fault> {
    if let Some(condition) = &correlation.occur {
        check_occur(condition, branches)?;
    }
    let seen = seen(correlation, branches)?;
    let writer = Writer { correlation, branches, title };
    let rest = match correlation.judging() {
        Judging::Fixed => writer.fixed(),
        Judging::Sliding | Judging::SlidingComplete => writer.sliding(),
    };
    Ok(format!("WITH seen AS (\n{seen}\n),\n{rest}\n"))
}

/// Refuses a condition on rules that the correlation does not read.
fn check_occur(condition: &Condition, branches: &[Branch<'_, '_>]) -> Result<(), Fault> {
    match condition {
        Condition::And(parts) | Condition::Or(parts) => parts.iter().try_for_each(|part| check_occur(part, branches)),
        Condition::Name(name) if branches.iter().any(|b| b.rule.meta.is(name)) => Ok(()),
        Condition::Name(name) => {
            Err(Fault::Invalid(format!("the condition names `{name}`, which is not among the rules of the correlation")))
        }
        Condition::OneOf(_) | Condition::AllOf(_) | Condition::Not(_) => {
            Err(Fault::Unsupported("anything but names, `and` and `or` in the condition of a temporal correlation".into()))
        }
    }
}

/// What the condition says, for people.
pub(super) fn described(correlation: &Correlation) -> String {
    let bounds: Vec<String> = correlation.bounds.iter().map(|(order, n)| format!("{} {n}", order.name())).collect();
    let what = if bounds.is_empty() { format!("all of {}", correlation.rules.join(", ")) } else { bounds.join(" and ") };
    let of = if correlation.fields.is_empty() { String::new() } else { format!(" of {}", correlation.fields.join(", ")) };
    format!("{}{of} {what} within {} s", name(correlation.kind), correlation.timespan_s)
}

fn name(kind: CorrelationKind) -> &'static str {
    match kind {
        CorrelationKind::EventCount => "event count",
        CorrelationKind::ValueCount => "different values",
        CorrelationKind::Temporal => "rules that match",
        CorrelationKind::TemporalOrdered => "rules that match in order",
        CorrelationKind::ValueSum => "sum",
        CorrelationKind::ValueAvg => "average",
        CorrelationKind::ValuePercentile => "percentile",
    }
}

/// The parameter of a bound.
pub(super) fn threshold(order: Order) -> String {
    format!("threshold_{}", order.name())
}

/// The events of all rules.
fn seen(correlation: &Correlation, branches: &[Branch<'_, '_>]) -> Result<String, Fault> {
    let is_temporal = matches!(correlation.kind, CorrelationKind::Temporal | CorrelationKind::TemporalOrdered);
    let parts = branches.iter().enumerate().map(|(i, branch)| of_rule(correlation, branch, i)).collect::<Result<Vec<_>, _>>()?;
    let union = parts.join("\n  UNION ALL\n");
    if is_temporal || branches.len() == 1 {
        return Ok(union);
    }
    // An event that several rules match counts once.
    let groups: String = (1..=correlation.group_by.len()).map(|i| format!(", g{i}")).collect();
    Ok(format!(
        "  SELECT tenant, event_time, event_id{groups}, MIN(v) AS v FROM (\n{union}\n  ) GROUP BY tenant, event_time, event_id{groups}"
    ))
}

fn of_rule(correlation: &Correlation, branch: &Branch<'_, '_>, i: usize) -> Result<String, Fault> {
    let mut derived = Derived::default();
    let condition = conditions(branch.rule, &mut derived);
    let mut columns = format!("{i} AS rule");
    let mut present = String::new();
    for (n, group) in branch.groups.iter().enumerate() {
        let text = first_text(group, &mut derived)?;
        columns.push_str(&format!(", {text} AS g{}", n + 1));
        present.push_str(&format!("\n  AND {text} IS NOT NULL"));
    }
    let value = match correlation.kind {
        CorrelationKind::EventCount | CorrelationKind::Temporal | CorrelationKind::TemporalOrdered => "NULL".into(),
        CorrelationKind::ValueCount => {
            let texts = branch.values.iter().map(|v| first_text(v, &mut derived)).collect::<Result<Vec<_>, _>>()?;
            texts.join(" || chr(31) || ")
        }
        CorrelationKind::ValueSum | CorrelationKind::ValueAvg | CorrelationKind::ValuePercentile => {
            first_number(&branch.values, &mut derived)?
        }
    };
    let reach = if correlation.judging() == Judging::Fixed { "INTERVAL '{settle_minutes} minutes'" } else { SPAN };
    Ok(format!(
        "  SELECT tenant, event_time, event_id, {columns}, {value} AS v\n  FROM {}\n  \
         WHERE event_time >= to_timestamp_micros({{new_from_us}}) - {reach} AND event_time <= to_timestamp_micros({{new_to_us}}) + {reach}\n  \
         AND {condition}{present}",
        derived.from("events"),
    ))
}

fn first_text(columns: &[Column], derived: &mut Derived) -> Result<String, Fault> {
    if let Some(column) = columns.iter().find(|c| matches!(c.kind(), Kind::Texts | Kind::Opaque)) {
        return Err(Fault::Unsupported(format!("`{}`, which is a list or a structure, in a correlation", column.label())));
    }
    let texts: Vec<String> = columns.iter().map(|c| sql::text(c, derived)).collect();
    Ok(if texts.len() == 1 { texts[0].clone() } else { format!("COALESCE({})", texts.join(", ")) })
}

fn first_number(values: &[Vec<Column>], derived: &mut Derived) -> Result<String, Fault> {
    let [columns] = values else { return Err(Fault::Unsupported("a sum, average or percentile of several fields".into())) };
    if let Some(column) = columns.iter().find(|c| !matches!(c.kind(), Kind::Integer | Kind::Float | Kind::Text)) {
        return Err(Fault::Unsupported(format!("`{}` as a number", column.label())));
    }
    let numbers: Vec<String> = columns.iter().map(|c| sql::number(c, derived)).collect();
    Ok(format!("COALESCE({})", numbers.join(", ")))
}

struct Writer<'w, 'c, 'm> {
    correlation: &'w Correlation,
    branches: &'w [Branch<'c, 'm>],
    title: &'w str,
}

impl Writer<'_, '_, '_> {
    /// `g1, g2`, each with something before it, after a comma each.
    fn groups(&self, before: &str) -> String {
        (1..=self.correlation.group_by.len()).map(|i| format!(", {before}g{i}")).collect()
    }

    fn over(&self) -> String {
        format!("OVER (PARTITION BY tenant{} ORDER BY event_time RANGE BETWEEN {SPAN} PRECEDING AND CURRENT ROW)", self.groups(""))
    }

    fn measure(&self) -> String {
        match self.correlation.kind {
            CorrelationKind::EventCount => "COUNT(*)".into(),
            CorrelationKind::ValueCount => "COUNT(DISTINCT v)".into(),
            CorrelationKind::ValueSum => "SUM(v)".into(),
            CorrelationKind::ValueAvg => "AVG(v)".into(),
            CorrelationKind::ValuePercentile => format!("percentile_cont(v, {})", self.correlation.percentile),
            CorrelationKind::Temporal | CorrelationKind::TemporalOrdered => String::new(),
        }
    }

    fn bounds(&self) -> String {
        if let Some(condition) = &self.correlation.occur {
            return self.occurs(condition);
        }
        if self.correlation.bounds.is_empty() {
            return format!("n >= {}", self.branches.len());
        }
        let bound = |(order, _): &(Order, f64)| sql::compared("n", *order, &format!("{{{}}}", threshold(*order)));
        self.correlation.bounds.iter().map(bound).collect::<Vec<_>>().join(" AND ")
    }

    /// Which rules have to occur, over the flags `r0`, `r1`, ...
    fn occurs(&self, condition: &Condition) -> String {
        let joined = |parts: &[Condition], word: &str| format!("({})", parts.iter().map(|p| self.occurs(p)).collect::<Vec<_>>().join(word));
        match condition {
            Condition::And(parts) => joined(parts, " AND "),
            Condition::Or(parts) => joined(parts, " OR "),
            Condition::Name(name) => self.flag(|b| b.rule.meta.is(name)),
            Condition::OneOf(_) | Condition::AllOf(_) | Condition::Not(_) => "false".into(),
        }
    }

    fn flag(&self, is: impl Fn(&Branch<'_, '_>) -> bool) -> String {
        self.branches.iter().position(is).map_or("false".into(), |i| format!("r{i} = 1"))
    }

    fn sliding(&self) -> String {
        let bucket = format!("CAST(event_time AS BIGINT) / {SPAN_US} AS bucket");
        let flags = (0..self.branches.len()).map(|i| format!("MAX(CASE WHEN rule = {i} THEN 1 ELSE 0 END) {} AS r{i}", self.over()));
        let judged = match self.correlation.kind {
            CorrelationKind::Temporal => {
                let sum = (0..self.branches.len()).map(|i| format!("r{i}")).collect::<Vec<_>>().join(" + ");
                let flags = flags.collect::<Vec<_>>().join(",\n    ");
                format!("judged AS (\n  SELECT *, {sum} AS n FROM (SELECT *, {bucket},\n    {flags}\n    FROM seen)\n)")
            }
            CorrelationKind::TemporalOrdered => self.ordered(&bucket),
            _ => format!("judged AS (\n  SELECT *, {bucket},\n    {} {} AS n\n  FROM seen\n)", self.measure(), self.over()),
        };
        let complete = match self.correlation.judging() {
            Judging::SlidingComplete => " AND event_time <= to_timestamp_micros({as_of_us})",
            Judging::Sliding | Judging::Fixed => "",
        };
        let (groups, of_hit, of_seen) = (self.groups(""), self.groups("h."), self.groups("s."));
        let same: String = of_hit.split(", ").zip(of_seen.split(", ")).skip(1).map(|(h, s)| format!(" AND {s} = {h}")).collect();
        format!(
            "{judged},\nhits AS (\n  SELECT *, ROW_NUMBER() OVER (PARTITION BY tenant{groups}, bucket ORDER BY event_time, event_id) AS place\n  FROM judged\n  \
             WHERE event_time >= to_timestamp_micros({{new_from_us}}){complete} AND {bounds}\n)\n\
             SELECT h.tenant, {shown},\n  array_agg(s.event_id ORDER BY s.event_time, s.event_id) AS event_ids\n\
             FROM hits h JOIN (SELECT DISTINCT tenant, event_time, event_id{groups} FROM seen) s\n  \
             ON s.tenant = h.tenant{same} AND s.event_time >= h.event_time - {SPAN} AND s.event_time <= h.event_time\n\
             WHERE h.place = 1\nGROUP BY h.tenant, h.event_time, h.bucket, h.n{of_hit}",
            bounds = self.bounds(),
            shown = self.shown(),
        )
    }

    /// Of the chains of earlier rules that end before an event, the one that began last: `s1`, `s2`, ... are its beginning.
    fn ordered(&self, bucket: &str) -> String {
        let before = format!(
            "OVER (PARTITION BY tenant{} ORDER BY event_time RANGE BETWEEN UNBOUNDED PRECEDING AND INTERVAL '1 microsecond' PRECEDING)",
            self.groups("")
        );
        let last = self.branches.len();
        let mut steps = "step1 AS (SELECT *, CASE WHEN rule = 0 THEN event_time END AS s1 FROM seen)".to_owned();
        for i in 2..=last {
            steps.push_str(&format!(
                ",\nstep{i} AS (\n  SELECT *, CASE WHEN rule = {} THEN MAX(s{}) {before} END AS s{i}\n  FROM step{}\n)",
                i - 1,
                i - 1,
                i - 1
            ));
        }
        format!("{steps},\njudged AS (\n  SELECT *, {bucket}, {last} AS n FROM step{last} WHERE s{last} >= event_time - {SPAN}\n)")
    }

    fn fixed(&self) -> String {
        let groups = self.groups("");
        format!(
            "judged AS (\n  SELECT tenant{groups}, CAST(event_time AS BIGINT) / {SPAN_US} AS bucket, MAX(event_time) AS event_time, {measure} AS n,\n    \
             array_agg(event_id ORDER BY event_time, event_id) AS event_ids\n  FROM seen GROUP BY tenant{groups}, CAST(event_time AS BIGINT) / {SPAN_US}\n)\n\
             SELECT h.tenant, {shown}, h.event_ids\nFROM judged h\nWHERE {bounds}\n  -- Over, and not without a new event.\n  \
             AND (bucket + 1) * {SPAN_US} <= {{as_of_us}} AND (bucket + 1) * {SPAN_US} > {{new_from_us}} AND bucket * {SPAN_US} <= {{new_to_us}}",
            measure = self.measure(),
            bounds = self.bounds(),
            shown = self.shown(),
        )
    }

    /// What an alert says, of a row `h`.
    fn shown(&self) -> String {
        let entity = self.entity();
        let key: String = (1..=self.correlation.group_by.len()).map(|i| format!("h.g{i} || '|' || ")).collect();
        let described = literal(&format!("not: {}", described(self.correlation)));
        let title = literal(&format!(": {}: ", self.title));
        let what = literal(&format!(" ({})", name(self.correlation.kind)));
        format!(
            "{entity} AS entity, h.event_time, {key}CAST(h.bucket AS VARCHAR) AS dedup_key,\n  CAST(h.n AS VARCHAR) AS value, {described} AS expected,\n  \
             {entity} || {title} || CAST(h.n AS VARCHAR) || {what} AS reason"
        )
    }

    fn entity(&self) -> String {
        match self.correlation.group_by.as_slice() {
            [] => "'tenant:' || h.tenant".into(),
            [one] => format!("{} || h.g1", literal(&format!("{}:", entity_prefix(self.branches, one)))),
            many => {
                let parts = many.iter().enumerate().map(|(i, name)| format!("{} || h.g{}", literal(&format!("{name}=")), i + 1));
                parts.collect::<Vec<_>>().join(" || ', ' || ")
            }
        }
    }
}

/// What the one group of a correlation is: an identity where its column is one, else the field.
pub(super) fn entity_prefix(branches: &[Branch<'_, '_>], name: &str) -> String {
    let column = branches.first().and_then(|b| b.groups.first()).and_then(|g| g.first());
    column.filter(|c| matches!(c.base(), "delegator_id" | "agent_id")).map_or_else(|| name.to_owned(), prefix)
}
