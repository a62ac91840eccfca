//! `doctor`: what is well, what is in doubt and what is broken: broker and topics, clock, sources, completeness, rules.
//!
//! A finding is a fact with a state. Doubts are for people to look at; only what is broken makes the exit code 1.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context, Result};
use detector::rule;
use ingest::inspect::{self, TopicState};
use lake::Lake;
use query::Session;
use schemas::adapters::Adapter;
use serde_json::json;

use crate::args::{DoctorArgs, Output};
use crate::config::Config;
use crate::matrix::{self, PARTS};
use crate::tell;

/// Beyond this the clock of a source, or ours, is wrong.
const MAX_AHEAD_MS: i64 = 60_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Well,
    Doubt,
    Broken,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Well => "ok",
            Self::Doubt => "DOUBT",
            Self::Broken => "BROKEN",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone)]
struct Finding {
    area: &'static str,
    state: State,
    what: String,
}

impl Finding {
    fn new(area: &'static str, state: State, what: impl Into<String>) -> Self {
        Self { area, state, what: what.into() }
    }
}

/// Runs it.
pub(crate) async fn run(args: &DoctorArgs) -> Result<ExitCode> {
    let config = args.lake.config.as_deref().map(Config::read).transpose()?;
    let lake = Lake::open(args.lake.at()?)?;
    let session = Session::open(&lake).await?;
    let mut findings = brokers(&lake, config.as_ref());
    findings.extend(clock(&session).await?);
    findings.extend(rejections(&session).await?);
    findings.extend(completeness(&session).await?);
    findings.extend(rules(&session, config.as_ref()).await?);
    print_matrix(&session, args.format).await?;
    for Finding { area, state, what } in &findings {
        match args.format {
            Output::Text => tell::line(&format!("{:<6} {area:<13} {what}", state.as_str()))?,
            Output::Json => tell::object(&json!({ "area": area, "state": state.as_str(), "what": what }))?,
        }
    }
    let count = |state| findings.iter().filter(|f| f.state == state).count();
    let (doubts, broken) = (count(State::Doubt), count(State::Broken));
    match args.format {
        Output::Text => tell::line(&format!("{} looked at, {doubts} in doubt, {broken} broken", findings.len()))?,
        Output::Json => tell::object(&json!({ "findings": findings.len(), "doubts": doubts, "broken": broken }))?,
    }
    Ok(ExitCode::from(u8::from(broken > 0)))
}

/// Whether the brokers answer, the topics are there, and how far the table is behind.
fn brokers(lake: &Lake, config: Option<&Config>) -> Vec<Finding> {
    const AREA: &str = "kafka";
    let Some(worker) = config.and_then(|c| c.worker.as_ref()) else {
        return vec![Finding::new(AREA, State::Well, "not looked at: name a configuration with [kafka] by --config")];
    };
    let topics = match inspect::topics(lake, worker) {
        Ok(topics) => topics,
        Err(error) => {
            let why = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(" ({cause})"));
            return vec![Finding::new(AREA, State::Broken, format!("{error}{why}: is it running, and is [kafka] brokers right?"))];
        }
    };
    topics.into_iter().map(|(topic, state)| of_topic(&topic, &state)).collect()
}

fn of_topic(topic: &str, state: &TopicState) -> Finding {
    let TopicState::There(partitions) = state else {
        return Finding::new("kafka", State::Broken, format!("topic `{topic}` does not exist"));
    };
    let lost: i64 = partitions.iter().map(inspect::PartitionState::lost).sum();
    let lag: i64 = partitions.iter().map(inspect::PartitionState::lag).sum();
    if lost > 0 {
        let what = format!("topic `{topic}`: {lost} records were deleted before they were read; a longer retention keeps them");
        return Finding::new("kafka", State::Broken, what);
    }
    let state = if lag > 0 { State::Doubt } else { State::Well };
    Finding::new("kafka", state, format!("topic `{topic}`: {} partitions, {lag} records still to be read", partitions.len()))
}

/// Clocks that run ahead.
async fn clock(session: &Session) -> Result<Vec<Finding>> {
    let sql = "SELECT source_vendor || ':' || source_instance, COUNT(*), MAX(clock_skew_ms) FROM events WHERE clock_skew_ms > 0 GROUP BY 1 ORDER BY 1";
    let ahead = session.texts(sql).await?;
    let found = ahead.iter().filter_map(|row| {
        let most_ms: i64 = row[2].parse().ok()?;
        let what = || {
            format!("{}: {} events are dated after their Kafka record, by up to {} s; compare its clock", row[0], row[1], most_ms / 1000)
        };
        (most_ms > MAX_AHEAD_MS).then(|| Finding::new("clock", State::Doubt, what()))
    });
    let found: Vec<Finding> = found.collect();
    Ok(if found.is_empty() { vec![Finding::new("clock", State::Well, "no source is ahead of its Kafka records")] } else { found })
}

async fn rejections(session: &Session) -> Result<Vec<Finding>> {
    let sql = "SELECT COALESCE(adapter, '?'), reason_code, COUNT(*), MIN(reason) FROM rejections GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 20";
    let found = session.texts(sql).await?;
    if found.is_empty() {
        return Ok(vec![Finding::new("records", State::Well, "every record that was read is an event, a copy or empty")]);
    }
    let what = |row: &Vec<String>| format!("{} records of `{}` are kept as {}: {}", row[2], row[0], row[1], row[3]);
    Ok(found.iter().map(|row| Finding::new("records", State::Doubt, what(row))).collect())
}

/// What others say that a source should have said, summed over its hours.
async fn completeness(session: &Session) -> Result<Vec<Finding>> {
    let sql = "SELECT source, \"check\", SUM(missing), COUNT(*), MAX(doubt) FROM coverage WHERE missing > 0 GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 50";
    let found = session.texts(sql).await?;
    if found.is_empty() {
        return Ok(vec![Finding::new("completeness", State::Well, "no source lacks what another one saw")]);
    }
    let what = |row: &Vec<String>| format!("{}: {}: {} missing in {} hours, such as: {}", row[0], row[1], row[2], row[3], row[4]);
    Ok(found.iter().map(|row| Finding::new("completeness", State::Doubt, what(row))).collect())
}

/// Rules whose columns nobody fills.
async fn rules(session: &Session, config: Option<&Config>) -> Result<Vec<Finding>> {
    let mut rules = rule::pack()?;
    if let Some(folder) = config.and_then(|c| c.rules.as_ref()) {
        rules.extend(rule::folder(folder)?);
    }
    let columns = session.columns("events").await?;
    let is_column = |field: &&str| columns.iter().any(|column| column == field);
    // Others are of rejections.
    let mut fields: Vec<&str> = rules.iter().flat_map(|r| r.required_fields.iter().map(String::as_str)).filter(is_column).collect();
    fields.sort_unstable();
    fields.dedup();
    let counts: Vec<String> = fields.iter().map(|field| format!("COUNT(\"{field}\")")).collect();
    let row = session.texts(&format!("SELECT {} FROM events", counts.join(", "))).await?;
    let filled = |field: &str| fields.iter().position(|f| *f == field).is_none_or(|i| row.first().is_some_and(|r| r[i] != "0"));
    let fillable = fillable(session).await?;
    let blind = rules.iter().filter_map(|rule| {
        // What a source here can say and has not said yet, such as an error, did not happen.
        let empty = rule.required_fields.iter().find(|field| !filled(field) && !fillable.contains(field.as_str()))?;
        Some(Finding::new("rules", State::Doubt, format!("{} is blind: no source here says `{empty}`", rule.name)))
    });
    let mut found: Vec<Finding> = blind.collect();
    found.push(Finding::new(
        "rules",
        State::Well,
        format!("{} of {} rules have the columns that they need", rules.len() - found.len(), rules.len()),
    ));
    Ok(found)
}

/// Columns that the sources of this lake can fill, by the records that their adapters are tested with. A mapping of one's own has
/// none here, and is known by what it filled.
async fn fillable(session: &Session) -> Result<BTreeSet<&'static str>> {
    let adapters = session.texts("SELECT DISTINCT adapter FROM events").await?;
    Ok(adapters.iter().filter_map(|row| Adapter::by_name(&row[0])).flat_map(|adapter| matrix::filled_by(&adapter)).collect())
}

/// What each source says of the sentence.
async fn print_matrix(session: &Session, format: Output) -> Result<()> {
    let found = session.texts(&matrix::sql()).await?;
    if format == Output::Text {
        let head: Vec<String> = PARTS.iter().map(|(part, _)| format!("{part:>10}")).collect();
        tell::line(&format!("{:<32} {:>9} {}", "source", "events", head.join(" ")))?;
    }
    for row in &found {
        let counts: Vec<usize> = row[1..].iter().map(|count| count.parse().context("a count")).collect::<Result<_>>()?;
        let (events, said) = counts.split_first().context("a count of events")?;
        match format {
            Output::Text => {
                let cells: Vec<String> = said.iter().map(|count| format!("{:>10}", matrix::share(*count, *events))).collect();
                tell::line(&format!("{:<32} {events:>9} {}", row[0], cells.join(" ")))?;
            }
            Output::Json => {
                let shares =
                    PARTS.iter().zip(said).map(|((part, _), count)| ((*part).to_owned(), json!(*count as f64 / (*events).max(1) as f64)));
                tell::object(&json!({ "source": row[0], "events": events, "says": shares.collect::<serde_json::Map<_, _>>() }))?;
            }
        }
    }
    Ok(())
}
