//! A rule file of this program out of what a Sigma document says: metadata, taxonomy, and the SQL of a plain rule.
//!
//! The id is the Sigma id; a document without one gets an id that its title decides. Severity `informational` is `low`, and
//! so is none. Alerts of a plain rule are one for each event.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::document::Meta;
use super::error::Fault;
use super::expr::{Column, Expr, Kind, Test};
use super::matcher::Event;
use super::sql::{self, Derived};
use super::{Compiled, example};

/// Most columns whose value an alert shows.
const MAX_SHOWN: usize = 4;
/// Longest name, bytes: it may become the name of a file.
const MAX_SLUG: usize = 120;
/// Tactics of ATT&CK as tags name them, in words and in ids.
const TACTICS: [(&str, &str); 14] = [
    ("reconnaissance", "TA0043"),
    ("resource-development", "TA0042"),
    ("initial-access", "TA0001"),
    ("execution", "TA0002"),
    ("persistence", "TA0003"),
    ("privilege-escalation", "TA0004"),
    ("defense-evasion", "TA0005"),
    ("credential-access", "TA0006"),
    ("discovery", "TA0007"),
    ("lateral-movement", "TA0008"),
    ("collection", "TA0009"),
    ("command-and-control", "TA0011"),
    ("exfiltration", "TA0010"),
    ("impact", "TA0040"),
];

/// A rule file, in the order in which it is written.
#[derive(Debug, Serialize)]
pub(super) struct RuleFile {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) title: String,
    pub(super) version: i32,
    pub(super) status: String,
    pub(super) detects: Vec<String>,
    pub(super) severity: String,
    pub(super) description: String,
    pub(super) sources: Vec<String>,
    pub(super) required_fields: Vec<String>,
    pub(super) taxonomy: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) parameters: BTreeMap<String, Value>,
    pub(super) triage: Vec<String>,
    pub(super) known_gaps: String,
    pub(super) query: String,
    pub(super) tests: Vec<CaseFile>,
}

/// A test of it.
#[derive(Debug, Serialize)]
pub(super) struct CaseFile {
    pub(super) name: String,
    pub(super) events: Vec<Event>,
    pub(super) expect: Vec<ExpectedFile>,
}

/// An alert that a test expects.
#[derive(Debug, Serialize)]
pub(super) struct ExpectedFile {
    pub(super) entity: String,
}

impl RuleFile {
    /// What every rule has; the query, its sources and its tests come after.
    pub(super) fn new(meta: &Meta, attack: &str, warnings: &mut Vec<String>) -> Self {
        let references = meta.references.iter().map(|r| format!("Read {r}"));
        let mut triage: Vec<String> = meta.false_positives.iter().filter(|f| !is_empty_talk(f)).map(|f| format!("Rule out: {f}")).collect();
        triage.push("Look at the event, and at what else the entity did around that time.".into());
        triage.extend(references);
        Self {
            id: id(meta, warnings),
            name: format!("sigma/{}", slug(&meta.title)),
            title: meta.title.clone(),
            version: 1,
            status: status(meta, warnings),
            detects: Vec::new(),
            severity: severity(meta, warnings),
            description: meta.description.clone().unwrap_or_else(|| meta.title.clone()),
            sources: Vec::new(),
            required_fields: Vec::new(),
            taxonomy: taxonomy(&meta.tags, attack, warnings),
            parameters: BTreeMap::new(),
            triage,
            known_gaps: String::new(),
            query: String::new(),
            tests: Vec::new(),
        }
    }

    /// Says what rules of these log sources read, and what they are blind to.
    pub(super) fn reads(&mut self, rules: &[&Compiled<'_>], gaps: Vec<String>) {
        let sources: BTreeSet<&String> = rules.iter().flat_map(|rule| &rule.source.reads).collect();
        self.sources = sources.into_iter().cloned().collect();
        let mut fields: Vec<String> = rules.iter().flat_map(|rule| required(rule)).collect();
        fields.sort();
        fields.dedup();
        let uses_ext = fields.iter().any(|f| f == "ext");
        self.required_fields = fields;
        let mut said = vec!["Sigma rules do not say what they miss.".to_owned()];
        said.extend(uses_ext.then(|| "`ext` keeps at most 64 leaves of 1 KiB of an event.".into()));
        said.extend(gaps);
        self.known_gaps = said.join(" ");
    }

    /// The file, with whom it is from.
    pub(super) fn print(&self, meta: &Meta) -> Result<String, Fault> {
        let one_line = |text: &str| text.replace(char::is_control, " ");
        let author = meta.author.as_deref().map(|a| format!(" by {}", one_line(a))).unwrap_or_default();
        let license = one_line(meta.license.as_deref().unwrap_or("not stated (rules of SigmaHQ: Detection Rule License 1.1)"));
        let body = serde_yaml_ng::to_string(self).map_err(|e| Fault::Yaml(e.to_string()))?;
        Ok(format!("# From the Sigma rule \"{}\"{author}; licence: {license}.\n{body}", one_line(&meta.title)))
    }
}

/// The query of a plain rule.
pub(super) fn plain_query(rule: &Compiled<'_>, title: &str) -> String {
    let mut derived = Derived::default();
    let condition = conditions(rule, &mut derived);
    let mut shown: Vec<&Column> = Vec::new();
    for (column, test, wanted) in rule.expr.leaves() {
        if wanted && *test != Test::Null && !shown.contains(&column) && shown.len() < MAX_SHOWN {
            shown.push(column);
        }
    }
    let show = |column: &&Column| {
        let text = match column.kind() {
            Kind::Texts => format!("array_to_string({}, ', ')", sql::raw(column)),
            _ => sql::text(column, &mut derived),
        };
        format!("{} || {text}", sql::literal(&format!("{}=", column.label())))
    };
    let shown: Vec<String> = shown.iter().map(show).collect();
    let value = if shown.is_empty() { "'present'".into() } else { format!("concat_ws('; ', {})", shown.join(", ")) };
    let entity = entity_sql(&rule.entity, &mut derived);
    format!(
        "SELECT tenant, {entity} AS entity, event_time, event_id AS dedup_key,\n  {value} AS value,\n  {} AS expected,\n  \
         COALESCE(principal_path, {entity}) || {} AS reason, make_array(event_id) AS event_ids\nFROM {}\nWHERE {condition}\n",
        sql::literal(&format!("not: {}", rule.text)),
        sql::literal(&format!(": {title}")),
        derived.from("new_events"),
    )
}

/// What tells the events of a rule, one condition a line.
pub(super) fn conditions(rule: &Compiled<'_>, derived: &mut Derived) -> String {
    let mut parts = vec![rule.guard.clone()];
    match &rule.expr {
        Expr::All(exprs) => parts.extend(exprs.iter().cloned()),
        other => parts.push(other.clone()),
    }
    let parts = parts.into_iter().filter(|part| *part != Expr::All(Vec::new()));
    let lines: Vec<String> = parts
        .map(|part| {
            let sql = sql::condition(&part, derived);
            if matches!(part, Expr::Any(_)) { format!("({sql})") } else { sql }
        })
        .collect();
    if lines.is_empty() { "true".into() } else { lines.join("\n  AND ") }
}

/// Tests of a plain rule: what it finds, and what just not.
pub(super) fn plain_tests(rule: &Compiled<'_>) -> Option<Vec<CaseFile>> {
    let whole = Expr::All(vec![rule.guard.clone(), rule.expr.clone()]);
    let mut hit = example::hit(&whole)?;
    let mut silences = example::silences(&rule.guard, &rule.expr, &hit);
    if silences.is_empty() {
        return None;
    }
    if entity_of(&rule.entity, &hit).starts_with("tenant:") {
        let named = rule.entity.iter().filter(|c| c.kind() == Kind::Text).map(|column| {
            let mut named = hit.clone();
            example::set(&mut named, column, "someone".into());
            named
        });
        hit = named.into_iter().find(|event| super::matcher::matches(&whole, event)).unwrap_or(hit);
    }
    let entity = entity_of(&rule.entity, &hit);
    let mut cases =
        vec![CaseFile { name: "an event of the detection is an alert".into(), events: vec![hit], expect: vec![ExpectedFile { entity }] }];
    cases.extend(silences.drain(..).map(|(name, event)| CaseFile { name: name.into(), events: vec![event], expect: Vec::new() }));
    Some(cases)
}

/// What kind of identity a column names.
pub(super) fn prefix(column: &Column) -> String {
    match column.base() {
        "delegator_id" => "user".into(),
        "agent_id" => "agent".into(),
        _ => column.label(),
    }
}

fn entity_sql(columns: &[Column], derived: &mut Derived) -> String {
    let mut parts: Vec<String> =
        columns.iter().map(|c| format!("{} || {}", sql::literal(&format!("{}:", prefix(c))), sql::text(c, derived))).collect();
    parts.push("'tenant:' || tenant".into());
    format!("COALESCE({})", parts.join(", "))
}

fn entity_of(columns: &[Column], event: &Event) -> String {
    let text = |column: &Column| event.get(column.base()).and_then(Value::as_str).map(|v| format!("{}:{v}", prefix(column)));
    columns.iter().find_map(text).unwrap_or_else(|| "tenant:default".into())
}

/// Columns without which a rule sees nothing: those that it asks something of; where it does not, all.
fn required(rule: &Compiled<'_>) -> Vec<String> {
    let leaves = rule.expr.leaves();
    let asked = leaves.iter().filter(|(_, test, wanted)| *wanted && **test != Test::Null);
    let found: Vec<String> = asked.map(|(column, _, _)| column.base().to_owned()).collect();
    if found.is_empty() { leaves.iter().map(|(column, _, _)| column.base().to_owned()).collect() } else { found }
}

fn is_empty_talk(text: &str) -> bool {
    ["unknown", "unlikely", "none", "-", ""].contains(&text.trim().trim_end_matches('.').to_ascii_lowercase().as_str())
}

/// A name of letters, digits and `_`.
fn slug(title: &str) -> String {
    let words = title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_ascii_lowercase);
    let mut slug = words.collect::<Vec<_>>().join("_");
    slug.truncate(MAX_SLUG);
    if slug.is_empty() { "untitled".into() } else { slug }
}

fn id(meta: &Meta, warnings: &mut Vec<String>) -> String {
    let is_uuid = |id: &&String| {
        id.len() == 36 && id.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && id.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
    };
    if let Some(id) = meta.id.as_ref().filter(is_uuid) {
        return id.to_ascii_lowercase();
    }
    warnings.push("it has no UUID as id: one was made from its title, which must not change any more".into());
    let mut bytes: [u8; 16] = [0; 16];
    bytes.copy_from_slice(&Sha256::digest(format!("sigma\n{}\n{}", meta.id.as_deref().unwrap_or_default(), meta.title))[..16]);
    // Version 8, variant 1: an id of one's own making.
    (bytes[6], bytes[8]) = (bytes[6] & 0x0f | 0x80, bytes[8] & 0x3f | 0x80);
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn status(meta: &Meta, warnings: &mut Vec<String>) -> String {
    match meta.status.as_deref() {
        Some(status @ ("stable" | "test" | "experimental" | "deprecated")) => status.into(),
        None => "experimental".into(),
        Some(other) => {
            warnings.push(format!("the status `{other}` became `experimental`"));
            "experimental".into()
        }
    }
}

fn severity(meta: &Meta, warnings: &mut Vec<String>) -> String {
    match meta.level.as_deref() {
        Some(level @ ("low" | "medium" | "high" | "critical")) => level.into(),
        Some("informational") => "low".into(),
        other => {
            warnings.push(format!("the level is {}; the severity became `low`", other.map_or("missing".into(), |o| format!("`{o}`"))));
            "low".into()
        }
    }
}

fn taxonomy(tags: &[String], attack: &str, warnings: &mut Vec<String>) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for tag in tags {
        let Some((space, id)) = tag.split_once('.') else { continue };
        let (key, id) = match space {
            "attack" => (
                format!("attack@{attack}"),
                attack_id(id).unwrap_or_else(|| {
                    warnings
                        .push(format!("`{tag}` is no tactic of ATT&CK {attack}; the mapping says which version its tags are taken for"));
                    id.to_owned()
                }),
            ),
            "cve" => ("cve".to_owned(), format!("CVE-{}", id.replace('.', "-"))),
            "detection" | "tlp" | "stp" => continue,
            _ => (space.to_owned(), id.to_owned()),
        };
        let ids = found.entry(key).or_default();
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    found
}

/// The id of a tactic, technique, group or software.
fn attack_id(tag: &str) -> Option<String> {
    let name = tag.replace('_', "-");
    let is_id = tag.len() > 4 && matches!(tag.as_bytes(), [b't' | b'g' | b's', b'0'..=b'9', ..]);
    let tactic = TACTICS.iter().find(|(tactic, _)| *tactic == name).map(|(_, id)| (*id).to_owned());
    tactic.or_else(|| is_id.then(|| tag.to_ascii_uppercase()))
}
