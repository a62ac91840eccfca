//! `baselines show`: what is known of one identity, in words.

use std::process::ExitCode;

use anyhow::{Result, bail};
use lake::Lake;
use query::{Session, literal};
use serde_json::json;

use crate::args::{BaselinesShowArgs, Output};
use crate::tell;

/// Most terms of a kind that are shown.
const MAX_TERMS: usize = 8;
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Something that is known.
struct Known {
    kind: &'static str,
    what: String,
}

/// Runs it.
pub(crate) async fn show(args: &BaselinesShowArgs) -> Result<ExitCode> {
    let session = Session::open(&Lake::open(args.lake.at()?)?).await?;
    check_name(&args.entity)?;
    let condition = format!("tenant = {} AND identity = {}", literal(&args.tenant), literal(&args.entity));
    let mut known = hours(&session, &condition).await?;
    known.extend(volumes(&session, &condition).await?);
    known.extend(terms(&session, &condition).await?);
    known.extend(facts(&session, &condition).await?);
    known.extend(resources(&session, &condition).await?);
    if known.is_empty() {
        let names = session
            .texts(&format!("SELECT DISTINCT identity FROM baseline_hours WHERE tenant = {} ORDER BY 1 LIMIT 5", literal(&args.tenant)))
            .await?;
        let names: Vec<String> = names.into_iter().flatten().collect();
        bail!("nothing is known of `{}`; run `vialog detect` first, and name one such as {}", args.entity, names.join(", "));
    }
    for Known { kind, what } in &known {
        match args.format {
            Output::Text => tell::line(&format!("{kind:<13} {what}"))?,
            Output::Json => tell::object(&json!({ "kind": kind, "what": what }))?,
        }
    }
    if args.format == Output::Json {
        tell::object(&json!({ "entity": args.entity, "known": known.len() }))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Refuses what baselines cannot know.
fn check_name(entity: &str) -> Result<()> {
    match entity.split_once(':') {
        Some(("user" | "agent" | "job" | "token" | "tool", rest)) if !rest.is_empty() => Ok(()),
        _ => bail!("`{entity}`: write user:<id>, agent:<id>, job:<agent>/<job>, tool:<server>/<tool> or token:<jti>"),
    }
}

async fn hours(session: &Session, condition: &str) -> Result<Vec<Known>> {
    let sql = format!("SELECT SUM(n), COUNT(DISTINCT day), MIN(day), MAX(day) FROM baseline_hours WHERE {condition}");
    let total = session.texts(&sql).await?;
    let Some([events, days, first, last]) = total.first().map(Vec::as_slice).filter(|row| !row[0].is_empty()) else {
        return Ok(Vec::new());
    };
    let mut known = vec![Known { kind: "activity", what: format!("{events} acts on {days} days, from {first} to {last}") }];
    let busiest = |unit: &str, limit: usize| {
        format!(
            "SELECT CAST(date_part('{unit}', at) AS BIGINT), SUM(n) AS n FROM baseline_hours WHERE {condition} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {limit}"
        )
    };
    let on = session.texts(&busiest("dow", 7)).await?;
    let day = |row: &Vec<String>| {
        row[0].parse::<usize>().ok().and_then(|d| WEEKDAYS.get(d)).map_or_else(String::new, |d| format!("{d} ({})", row[1]))
    };
    known.push(Known { kind: "weekdays", what: on.iter().map(day).collect::<Vec<_>>().join(", ") });
    let at = session.texts(&busiest("hour", 6)).await?;
    let hour = |row: &Vec<String>| format!("{:0>2}:00 ({})", row[0], row[1]);
    known.push(Known { kind: "hours (UTC)", what: at.iter().map(hour).collect::<Vec<_>>().join(", ") });
    Ok(known)
}

async fn volumes(session: &Session, condition: &str) -> Result<Vec<Known>> {
    let sql = format!(
        "SELECT COUNT(*), CAST(median(calls) AS BIGINT), CAST(median(rows_out) AS BIGINT), MAX(rows_out), CAST(median(bytes_out) AS BIGINT), MAX(bytes_out) FROM (
           SELECT day, SUM(calls) AS calls, SUM(rows_out) AS rows_out, SUM(bytes_out) AS bytes_out FROM baseline_volumes WHERE {condition} GROUP BY 1) d"
    );
    let rows = session.texts(&sql).await?;
    let Some(row) = rows.first().filter(|row| row[0] != "0") else { return Ok(Vec::new()) };
    let what = format!(
        "a usual day of {} has {} calls, {} rows (at most {}) and {} bytes (at most {})",
        row[0], row[1], row[2], row[3], row[4], row[5]
    );
    Ok(vec![Known { kind: "volume", what }])
}

async fn terms(session: &Session, condition: &str) -> Result<Vec<Known>> {
    let sql =
        format!("SELECT kind, term, SUM(n), COUNT(DISTINCT day) FROM baseline_terms WHERE {condition} GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2");
    let rows = session.texts(&sql).await?;
    let kinds: [&'static str; 7] = ["tool", "dest", "server", "step", "network", "arguments", "sign-in"];
    let of_kind = |kind: &'static str| {
        let found: Vec<&Vec<String>> = rows.iter().filter(|row| row[0] == kind).collect();
        let mut shown: Vec<String> =
            found.iter().take(MAX_TERMS).map(|row| format!("{} ({} on {} days)", row[1], row[2], row[3])).collect();
        if found.len() > MAX_TERMS {
            shown.push(format!("and {} more", found.len() - MAX_TERMS));
        }
        (!found.is_empty()).then(|| Known { kind, what: shown.join(", ") })
    };
    Ok(kinds.into_iter().filter_map(of_kind).collect())
}

async fn facts(session: &Session, condition: &str) -> Result<Vec<Known>> {
    let sql = format!("SELECT kind, value, MAX(last_at), SUM(n) FROM baseline_facts WHERE {condition} GROUP BY 1, 2 ORDER BY 3");
    let rows = session.texts(&sql).await?;
    Ok(rows
        .iter()
        .map(|row| Known { kind: "fact", what: format!("{} ({}), last at {}, {} times", row[0], row[1], row[2], row[3]) })
        .collect())
}

async fn resources(session: &Session, condition: &str) -> Result<Vec<Known>> {
    let sql = format!(
        "SELECT type, sketch_count(registers, weights) AS known, first, last FROM (
           SELECT type, COUNT(*) AS registers, SUM(weight) AS weights, MIN(first) AS first, MAX(last) AS last FROM (
             SELECT type, register, MIN(weight) AS weight, MIN(day) AS first, MAX(day) AS last FROM baseline_resources WHERE {condition} GROUP BY 1, 2) r
           GROUP BY 1) t ORDER BY known DESC, type LIMIT {MAX_TERMS}"
    );
    let rows = session.texts(&sql).await?;
    let noun = |row: &Vec<String>| if row[0].is_empty() { "resources without a type".to_owned() } else { format!("of type {}", row[0]) };
    Ok(rows
        .iter()
        .map(|row| Known { kind: "resources", what: format!("about {} {}, from {} to {}", row[1], noun(row), row[2], row[3]) })
        .collect())
}
