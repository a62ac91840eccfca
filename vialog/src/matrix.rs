//! Which parts of the sentence each source says: measured in a lake, or in the records that its tests hold.
//!
//! A part counts as said when one of its columns has a value. What is missing stays NULL, and is shown here as missing.

use std::collections::BTreeSet;

use schemas::COLUMNS;
use schemas::adapters::Adapter;
use schemas::columns::Row;
use schemas::mapping::check;

/// Parts of the sentence, and the columns that say them.
pub(crate) const PARTS: &[(&str, &[&str])] = &[
    ("person", &["delegator_id"]),
    ("agent", &["agent_id", "client_id"]),
    ("chain", &["delegation_chain"]),
    ("tool", &["tool_name"]),
    ("parameters", &["params_json", "params_sha256"]),
    ("resource", &["resource_id", "resource_uri", "resource_name"]),
    ("asked", &["action_requested"]),
    ("got", &["action_approved"]),
    ("server", &["mcp_server_id", "mcp_server_name"]),
    ("address", &["src_ip"]),
    ("time", &["event_time"]),
    ("outcome", &["outcome"]),
    ("decision", &["decision"]),
    ("reason", &["decision_reason", "policy_id"]),
    ("token", &["token_jti"]),
    ("scopes", &["scopes_granted", "scopes_requested"]),
    ("trace", &["trace_id"]),
];

/// Outcome that says nothing.
const UNKNOWN: &str = "unknown";

/// SQL for one row a source: its name, its events, and how many say each part, in the order of [`PARTS`].
pub(crate) fn sql() -> String {
    let said = |(_, columns): &(&str, &[&str])| {
        let tests: Vec<String> = columns.iter().map(|column| test(column)).collect();
        format!("SUM(CASE WHEN {} THEN 1 ELSE 0 END)", tests.join(" OR "))
    };
    let parts: Vec<String> = PARTS.iter().map(said).collect();
    format!(
        "SELECT source_vendor || ':' || source_instance AS source, COUNT(*) AS events, {} FROM events GROUP BY 1 ORDER BY 1",
        parts.join(", ")
    )
}

fn test(column: &str) -> String {
    if column == "outcome" { format!("outcome <> '{UNKNOWN}'") } else { format!("{column} IS NOT NULL") }
}

/// What the records that an adapter's tests hold say.
#[derive(Debug, Clone)]
pub(crate) struct FixtureParts {
    pub(crate) adapter: String,
    pub(crate) events: usize,
    /// How many events say each part, in the order of [`PARTS`].
    pub(crate) said: Vec<usize>,
}

/// Of every adapter.
pub(crate) fn of_fixtures() -> Vec<FixtureParts> {
    Adapter::all().into_iter().map(|adapter| fixtures_of(&adapter)).collect()
}

fn fixtures_of(adapter: &Adapter) -> FixtureParts {
    let mut parts = FixtureParts { adapter: adapter.name().to_owned(), events: 0, said: vec![0; PARTS.len()] };
    for row in fixture_events(adapter) {
        let says = |column: &str| check::cell_text(&row, column).is_some_and(|value| column != "outcome" || value != UNKNOWN);
        parts.events += 1;
        for (count, (_, columns)) in parts.said.iter_mut().zip(PARTS) {
            *count += usize::from(columns.iter().any(|column| says(column)));
        }
    }
    parts
}

/// The events of the records that an adapter's tests hold.
fn fixture_events(adapter: &Adapter) -> impl Iterator<Item = Box<Row>> {
    let rows = adapter.tests().into_iter().flat_map(|case| check::rows(adapter, &check::bytes_of(&case.record)));
    rows.filter(|row| row.reason_code.is_none())
}

/// Columns that an adapter fills in at least one of them.
pub(crate) fn filled_by(adapter: &Adapter) -> BTreeSet<&'static str> {
    let mut filled = BTreeSet::new();
    for row in fixture_events(adapter) {
        row.for_each_value(|index, _| {
            filled.insert(COLUMNS[index].name);
        });
    }
    filled
}

/// As Markdown: `all`, a share of the events, or nothing.
pub(crate) fn markdown() -> String {
    let head: Vec<&str> = PARTS.iter().map(|(part, _)| *part).collect();
    let mut text = format!(
        "# What each source says\n\nWritten by `./dev docs` from the records that the tests of each source hold: the share of their events that say each part\nof the sentence. `vialog doctor` prints the same of a lake. What a source cannot say is NULL.\n\n| source | events | {} |\n|---|---|{}\n",
        head.join(" | "),
        "---|".repeat(head.len())
    );
    for FixtureParts { adapter, events, said } in of_fixtures() {
        let cells: Vec<String> = said.iter().map(|count| share(*count, events)).collect();
        text.push_str(&format!("| {adapter} | {events} | {} |\n", cells.join(" | ")));
    }
    text
}

/// A share as people read it.
pub(crate) fn share(count: usize, of: usize) -> String {
    match (count, of) {
        (0, _) | (_, 0) => "-".into(),
        (count, of) if count == of => "all".into(),
        (count, of) => format!("{} %", (count * 100 / of).max(1)),
    }
}
