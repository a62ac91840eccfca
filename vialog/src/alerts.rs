//! `alerts`: what rules found, in whose hands it is, and what it turned out to be.

use std::process::ExitCode;

use anyhow::{Result, bail};
use detector::rule;
use lake::Lake;
use lake::alert_actions::{self, Action, AlertAction};
use query::{Session, literal};
use serde_json::{Map, Value, json};

use crate::args::{AlertsCommand, AlertsListArgs, HandleArgs, LakeArgs, Output};
use crate::tell;

/// Shortest part of an id that names an alert.
const MIN_PREFIX: usize = 4;

/// Runs one.
pub(crate) async fn run(command: &AlertsCommand) -> Result<ExitCode> {
    match command {
        AlertsCommand::List(args) => list(args).await,
        AlertsCommand::Show { lake, id, format } => show(lake, id, *format).await,
        AlertsCommand::Ack(args) => handle(args, Action::Acknowledge).await,
        AlertsCommand::Close { as_, handle: args } => handle(args, Action::Close((*as_).into())).await,
        AlertsCommand::Reopen(args) => handle(args, Action::Reopen).await,
    }
}

async fn list(args: &AlertsListArgs) -> Result<ExitCode> {
    let session = Session::open(&Lake::open(args.lake.at()?)?).await?;
    let columns = "alert_id, severity, status, event_time, rule_id, tenant, entity, reason";
    let mut conditions = vec!["true".to_owned()];
    let wanted = [
        ("status", &args.status),
        ("severity", &args.severity),
        ("rule_id", &args.rule),
        ("entity", &args.entity),
        ("tenant", &args.tenant),
    ];
    conditions.extend(wanted.iter().filter_map(|(column, value)| Some(format!("{column} = {}", literal(value.as_ref()?)))));
    if let Some(since) = args.since {
        conditions.push(format!("event_time >= to_timestamp_micros({})", since.timestamp_micros()));
    }
    let condition = conditions.join(" AND ");
    let sql = format!("SELECT {columns} FROM alerts WHERE {condition} ORDER BY event_time DESC, alert_id LIMIT {}", args.limit);
    let rows = session.texts(&sql).await?;
    let total = session.texts(&format!("SELECT COUNT(*) FROM alerts WHERE {condition}")).await?;
    for row in &rows {
        match args.format {
            Output::Text => tell::line(&format!(
                "{:.8}  {:<8} {:<12} {:.16}  {:<24} {}{}",
                row[0],
                row[1],
                row[2],
                row[3].replace('T', " "),
                row[4],
                tell::of_tenant(&row[5]),
                row[7]
            ))?,
            Output::Json => tell::object(&object(columns, row))?,
        }
    }
    let total: usize = total.first().and_then(|row| row[0].parse().ok()).unwrap_or(0);
    match args.format {
        Output::Json => tell::object(&json!({ "alerts": total, "shown": rows.len() }))?,
        Output::Text if rows.len() < total => tell::line(&format!("{} of {total} alerts; more with --limit", rows.len()))?,
        Output::Text => tell::line(&format!("{total} alerts"))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(lake: &LakeArgs, id: &str, format: Output) -> Result<ExitCode> {
    let session = Session::open(&Lake::open(lake.at()?)?).await?;
    let id = full_id(&session, id).await?;
    let columns = "alert_id, rule_id, rule_version, severity, status, event_time, tenant, entity, reason, value, expected, context, detected_at, disposition, handling_reason, handled_by";
    let row = session.texts(&format!("SELECT {columns} FROM alerts WHERE alert_id = {}", literal(&id))).await?.swap_remove(0);
    let evidence_columns = "event_id, event_time, principal_path, activity, tool_name, outcome, decision";
    let evidence = session
        .texts(&format!("SELECT {evidence_columns} FROM events WHERE event_id IN (SELECT unnest(event_ids) FROM alerts WHERE alert_id = {}) ORDER BY event_time", literal(&id)))
        .await?;
    let action_columns = "at, who, action, disposition, reason";
    let actions =
        session.texts(&format!("SELECT {action_columns} FROM alert_actions WHERE alert_id = {} ORDER BY at", literal(&id))).await?;
    let rule = rule::pack()?.into_iter().find(|rule| rule.name == row[1]);
    if format == Output::Json {
        let mut shown = object(columns, &row);
        let objects = |columns: &str, rows: &[Vec<String>]| rows.iter().map(|row| Value::Object(object(columns, row))).collect::<Vec<_>>();
        shown.insert("evidence".into(), objects(evidence_columns, &evidence).into());
        shown.insert("actions".into(), objects(action_columns, &actions).into());
        shown.insert("triage".into(), rule.map(|rule| rule.triage).into());
        tell::object(&shown)?;
        return Ok(ExitCode::SUCCESS);
    }
    for (column, value) in columns.split(", ").zip(&row).filter(|(_, value)| !value.is_empty()) {
        tell::line(&format!("{column:<16} {value}"))?;
    }
    for (number, step) in rule.iter().flat_map(|rule| &rule.triage).enumerate() {
        tell::line(&format!("{:<16} {step}", if number == 0 { "to do" } else { "" }))?;
    }
    for row in &evidence {
        tell::line(&format!("{:<16} {}  {} {} {} {} {}", "evidence", row[1], row[2], row[3], row[4], row[5], row[6]))?;
    }
    for row in &actions {
        tell::line(&format!("{:<16} {}  {} {} {}: {}", "handled", row[0], row[1], row[2], row[3], row[4]))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn handle(args: &HandleArgs, action: Action) -> Result<ExitCode> {
    let lake = Lake::open(args.lake.at()?)?;
    let session = Session::open(&lake).await?;
    let mut alert_ids = Vec::new();
    for id in &args.ids {
        alert_ids.push(full_id(&session, id).await?);
    }
    let at_us = chrono::Utc::now().timestamp_micros();
    alert_actions::append(
        &alert_actions::open(&lake)?,
        &AlertAction { alert_ids: &alert_ids, action, reason: &args.told.reason, who: &args.told.who, at_us },
    )?;
    for id in &alert_ids {
        tell::line(&format!(
            "{id} {}",
            match action {
                Action::Acknowledge => "acknowledged",
                Action::Close(_) => "closed",
                Action::Reopen => "open again",
            }
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The id that a part of it names.
pub(crate) async fn full_id(session: &Session, part: &str) -> Result<String> {
    let part = part.trim();
    if part.len() < MIN_PREFIX || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
        bail!("`{part}` is no alert id: `vialog alerts list` shows them, {MIN_PREFIX} digits are enough where they are unique");
    }
    let found = session
        .texts(&format!("SELECT DISTINCT alert_id FROM alerts WHERE alert_id LIKE '{}%' LIMIT 2", part.to_ascii_lowercase()))
        .await?;
    match &found[..] {
        [only] => Ok(only[0].clone()),
        [] => bail!("there is no alert `{part}`; `vialog alerts list` shows them"),
        _ => bail!("several alerts begin with `{part}`; write more of the id"),
    }
}

/// Columns and a row as an object; what is empty is null.
fn object(columns: &str, row: &[String]) -> Map<String, Value> {
    columns
        .split(", ")
        .zip(row)
        .map(|(column, value)| (column.to_owned(), if value.is_empty() { Value::Null } else { value.clone().into() }))
        .collect()
}
