//! The rule file: metadata, parameters, SQL and tests; read, checked, and made ready to run.
//!
//! The SQL may name parameters as `{name}`, and the [`Moments`] of a run. The query must give the columns of [`OUTPUT`], and may give `severity`. `learning` counts identities without
//! enough history, `excluded` those that the rule does not apply to; `blind` gives a sentence when it cannot see.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lake::baselines::{Baseline, RELEASES};
use lake::views;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::DetectorError;
use crate::parameters::{Parameter, Parameters};

/// Columns that the query of a rule gives, in any order.
pub const OUTPUT: &[&str] = &["tenant", "entity", "event_time", "dedup_key", "value", "expected", "reason", "event_ids"];

/// How often a running detector learns baselines, seconds.
pub const LEARNT_EVERY_SECONDS: u32 = 60;
/// The rules that come with the program, as the build script found them in `rules/`.
const PACK: &[&str] = include!(concat!(env!("OUT_DIR"), "/pack.rs"));

/// A rule.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// UUID; never changes.
    pub id: String,
    /// `family/name`.
    pub name: String,
    /// For people.
    pub title: String,
    /// Goes up whenever the logic changes.
    pub version: i32,
    /// `experimental`, `test`, `stable` or `deprecated`.
    pub status: String,
    /// Kinds of incident that it is for, as labelled traffic names them.
    pub detects: Vec<String>,
    /// `low`, `medium`, `high` or `critical`.
    pub severity: String,
    /// What it looks for and why.
    pub description: String,
    /// What it reads.
    pub sources: Vec<String>,
    /// Columns without which it is blind.
    pub required_fields: Vec<String>,
    /// Framework ids, each framework with its version.
    pub taxonomy: BTreeMap<String, Vec<String>>,
    /// Values that the SQL names.
    #[serde(default)]
    pub parameters: Parameters,
    /// Values of the file that a configuration replaced for everybody.
    #[serde(skip)]
    pub replaced: Parameters,
    /// What a configuration says of them for single tenants.
    #[serde(skip)]
    pub of_tenants: BTreeMap<String, Parameters>,
    /// A running detector evaluates it at most this often, seconds; 0 is at every commit, as soon as it lands. Without it:
    /// once a minute when it reads baselines, which are learnt that often, else at every commit.
    every_seconds: Option<u32>,
    /// What to do with an alert.
    pub triage: Vec<String>,
    /// What it misses.
    pub known_gaps: String,
    /// Tables that are made first, in this order, each once; later ones and the query may read them. A CTE would be
    /// computed anew for every place that names it.
    #[serde(default)]
    pub tables: Vec<StepTable>,
    /// The SQL.
    pub query: String,
    /// SQL that counts identities being learnt.
    pub learning: Option<String>,
    /// SQL that counts identities that the rule does not apply to.
    pub excluded: Option<String>,
    /// SQL that gives a sentence when the rule cannot see.
    pub blind: Option<String>,
    /// Its tests.
    pub tests: Vec<Case>,
}

/// How far back a rule looks: what it costs, and what has to be up to date before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// New events only, and what is known of identities.
    NewEvents,
    /// Earlier events too.
    History,
    /// What was learnt.
    Baselines,
}

/// A table that a rule makes on its way.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepTable {
    /// Its name.
    pub name: String,
    /// The SQL.
    pub sql: String,
}

/// One test: given history and events, expect alerts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// A sentence.
    pub name: String,
    /// What is known of identities.
    #[serde(default)]
    pub inventory: TestInventory,
    /// Repeated events before.
    #[serde(default)]
    pub history: Vec<History>,
    /// The events that are judged: column to value.
    #[serde(default)]
    pub events: Vec<serde_json::Map<String, serde_json::Value>>,
    /// The alerts.
    pub expect: Vec<Expected>,
}

/// Inventory of a test.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestInventory {
    /// Identities.
    #[serde(default)]
    pub identities: Vec<crate::inventory::Identity>,
    /// Holidays.
    #[serde(default)]
    pub holidays: Vec<crate::inventory::Holiday>,
    /// Lists: name to rows.
    #[serde(default)]
    pub lists: crate::lists::Lists,
}

/// Repeated events: on each of `days` days from `first`, `each` events in each hour.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Number of days.
    pub days: u32,
    /// First day.
    pub first: chrono::NaiveDate,
    /// Leave Saturdays and Sundays out.
    #[serde(default)]
    pub weekdays: bool,
    /// Hours, UTC.
    pub hours: Vec<u32>,
    /// Events an hour, scattered over its minutes.
    pub each: u32,
    /// All at this minute instead.
    pub minute: Option<u32>,
    /// Each event is a tool call with an allow decision in a trace of its own.
    #[serde(default)]
    pub traced: bool,
    /// Whether each names a resource of its own.
    #[serde(default)]
    pub distinct: bool,
    /// Columns of each.
    pub set: serde_json::Map<String, serde_json::Value>,
}

/// An alert that a test expects.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Its entity.
    pub entity: String,
    /// Its severity, when it matters.
    pub severity: Option<String>,
}

impl Rule {
    /// Reads a rule and checks its laws. `origin` names it in errors.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str, origin: &str) -> Result<Self, DetectorError> {
        let rule: Self = serde_yaml_ng::from_str(text).map_err(|e| DetectorError::Rule { rule: origin.into(), what: e.to_string() })?;
        match rule.fault() {
            Some(what) => Err(DetectorError::Rule { rule: rule.name, what }),
            None => Ok(rule),
        }
    }

    fn fault(&self) -> Option<String> {
        if !matches!(self.severity.as_str(), "low" | "medium" | "high" | "critical") {
            return Some(format!("severity `{}`: use low, medium, high or critical", self.severity));
        }
        let is_uuid = self.id.len() == 36 && self.id.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
        if !is_uuid || !self.id.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit()) {
            return Some(format!("id `{}` is no UUID", self.id));
        }
        let sql: String = self.statements().collect();
        if let Some(unused) = self.parameters.keys().find(|p| !sql.contains(&format!("{{{p}}}"))) {
            return Some(format!("the parameter `{unused}` is not used"));
        }
        if !matches!(self.status.as_str(), "experimental" | "test" | "stable" | "deprecated") {
            return Some(format!("status `{}`: use experimental, test, stable or deprecated", self.status));
        }
        if self.version < 1 {
            return Some("version starts at 1".into());
        }
        if self.every_seconds.is_some_and(|every| every < LEARNT_EVERY_SECONDS) && self.reads_baselines() {
            return Some(format!("it reads baselines, which are learnt every {LEARNT_EVERY_SECONDS} seconds; leave `every_seconds` out"));
        }
        if self.triage.is_empty() {
            return Some("an alert needs at least one triage step".into());
        }
        let hits = self.tests.iter().filter(|t| !t.expect.is_empty()).count();
        if hits == 0 || hits == self.tests.len() {
            return Some("it needs at least one test that alerts and one that does not".into());
        }
        let missing: Vec<&str> = OUTPUT.iter().copied().filter(|column| !self.query.contains(column)).collect();
        if !missing.is_empty() {
            return Some(format!("the query must give the columns {}", missing.join(", ")));
        }
        let unknown = placeholders(&sql).into_iter().find(|p| !MOMENTS.contains(&p.as_str()) && !self.parameters.contains_key(p));
        unknown.map(|p| format!("the query names the parameter `{p}`, which is not listed"))
    }

    /// How often a running detector evaluates it, seconds; 0 is at every commit.
    pub fn every_seconds(&self) -> u32 {
        self.every_seconds.unwrap_or(if self.reads_baselines() { LEARNT_EVERY_SECONDS } else { 0 })
    }

    /// How far back it looks.
    pub fn reach(&self) -> Reach {
        let mut words = self.statements().flat_map(|sql| sql.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')));
        if self.reads_baselines() {
            Reach::Baselines
        } else if words.any(|word| views::VIEWS.contains(&word)) {
            Reach::History
        } else {
            Reach::NewEvents
        }
    }

    fn reads_baselines(&self) -> bool {
        self.statements().any(|sql| Baseline::ALL.iter().any(|kind| sql.contains(kind.table_name())) || sql.contains(RELEASES))
    }

    /// Whether its alerts are for those only who look how it would do.
    pub fn is_shadow(&self) -> bool {
        self.status == "test"
    }

    /// Hash of what decides about alerts: SQL and parameters. A change of it asks for a new version.
    pub fn logic_sha256(&self) -> String {
        let mut hash = Sha256::new();
        let names = self.tables.iter().map(|table| table.name.clone());
        let others = [self.severity.clone(), serde_json::json!(self.parameters).to_string()];
        for part in self.statements().map(str::to_owned).chain(names).chain(others) {
            hash.update(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            hash.update(part);
        }
        schemas::keys::hex(&hash.finalize()[..16])
    }

    /// All its SQL.
    pub(crate) fn statements(&self) -> impl Iterator<Item = &str> {
        let others = [Some(&self.query), self.learning.as_ref(), self.excluded.as_ref(), self.blind.as_ref()];
        self.tables.iter().map(|table| table.sql.as_str()).chain(others.into_iter().flatten().map(String::as_str))
    }

    /// How long another source may take to say its part, microseconds: the parameter `settle_minutes`.
    pub fn settle_us(&self) -> i64 {
        let minutes = self.parameters.get("settle_minutes").and_then(Parameter::number).unwrap_or(0.0);
        (minutes * 60e6) as i64
    }

    /// The longest of any tenant.
    pub fn longest_settle_us(&self) -> i64 {
        self.of_tenants.keys().map(|tenant| self.for_tenant(tenant).settle_us()).fold(self.settle_us(), i64::max)
    }

    /// The shortest of any tenant.
    pub fn shortest_settle_us(&self) -> i64 {
        self.of_tenants.keys().map(|tenant| self.for_tenant(tenant).settle_us()).fold(self.settle_us(), i64::min)
    }

    /// SQL with its parameters filled in, each name once: what was filled in is not looked at again.
    pub fn filled(&self, sql: &str, moments: Moments) -> String {
        let moments: BTreeMap<&str, String> = moments.named().into_iter().collect();
        let value = |name: &str| moments.get(name).cloned().or_else(|| self.parameters.get(name).map(Parameter::as_sql));
        let mut parts = sql.split('{');
        let mut filled = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            match part.split_once('}').and_then(|(name, rest)| Some((value(name)?, rest))) {
                Some((value, rest)) => {
                    filled.push_str(&value);
                    filled.push_str(rest);
                }
                None => {
                    filled.push('{');
                    filled.push_str(part);
                }
            }
        }
        filled
    }
}

/// Names of [`Moments`] in SQL.
const MOMENTS: [&str; 5] = ["as_of_us", "new_from_us", "new_to_us", "new_from_day", "new_to_day"];

/// Moments that SQL may name, microseconds since 1970. As numbers in the SQL they keep files of other times unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moments {
    /// Up to which the data counts as complete.
    pub as_of_us: i64,
    /// The earliest event that is new to the rule.
    pub new_from_us: i64,
    /// The latest.
    pub new_to_us: i64,
}

impl Moments {
    fn named(self) -> [(&'static str, String); 5] {
        let [as_of, new_from, new_to, from_day, to_day] = MOMENTS;
        let day = |us: i64| format!("arrow_cast({}, 'Date32')", schemas::time::day_of(us));
        [
            (as_of, self.as_of_us.to_string()),
            (new_from, self.new_from_us.to_string()),
            (new_to, self.new_to_us.to_string()),
            (from_day, day(self.new_from_us)),
            (to_day, day(self.new_to_us)),
        ]
    }
}

/// Names in braces.
fn placeholders(sql: &str) -> Vec<String> {
    sql.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name.to_owned()).collect()
}

/// The rules that come with the program.
///
/// # Errors
/// When one of them is wrong, which its tests would have shown.
pub fn pack() -> Result<Vec<Rule>, DetectorError> {
    PACK.iter().enumerate().map(|(i, text)| Rule::parse(text, &format!("pack[{i}]"))).collect()
}

/// The file of a rule that comes with the program, as it was written.
pub fn pack_text(name: &str) -> Option<&'static str> {
    PACK.iter().copied().find(|text| text.lines().any(|line| line.strip_prefix("name: ") == Some(name)))
}

/// Refuses two rules of one id or name: their alerts and cursors would mix.
///
/// # Errors
/// When there are any.
pub fn check_distinct(rules: &[Rule]) -> Result<(), DetectorError> {
    for (i, rule) in rules.iter().enumerate() {
        if let Some(other) = rules[..i].iter().find(|r| r.id == rule.id || r.name == rule.name) {
            let what = format!("`{}` has the same id or name; change one", other.name);
            return Err(DetectorError::Rule { rule: rule.name.clone(), what });
        }
    }
    Ok(())
}

/// The rule files of a folder and the folders in it, in order; or the one that is named.
///
/// # Errors
/// When a folder cannot be read.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, DetectorError> {
    let failed = |source| DetectorError::File { path: path.display().to_string(), source };
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut entries: Vec<_> = std::fs::read_dir(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::path);
    let mut found = Vec::new();
    for file in entries.iter().map(std::fs::DirEntry::path) {
        if file.is_dir() {
            found.extend(files(&file)?);
        } else if file.extension().is_some_and(|e| e == "yaml") {
            found.push(file);
        }
    }
    Ok(found)
}

/// The rules of those files.
///
/// # Errors
/// When a file cannot be read or is wrong.
pub fn folder(path: &Path) -> Result<Vec<Rule>, DetectorError> {
    let read = |file: PathBuf| {
        let text = std::fs::read_to_string(&file).map_err(|source| DetectorError::File { path: file.display().to_string(), source })?;
        Rule::parse(&text, &file.display().to_string())
    };
    files(path)?.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_file_is_in_the_pack_and_keeps_the_laws() {
        let files = folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("rules")).unwrap();
        let mut packed: Vec<String> = pack().unwrap().into_iter().map(|r| r.name).collect();
        let mut found: Vec<String> = files.into_iter().map(|r| r.name).collect();
        packed.sort();
        found.sort();
        assert_eq!(packed, found);
    }

    #[test]
    fn a_rule_with_an_unlisted_parameter_is_refused() {
        let text = PACK.iter().find(|t| t.contains("max_entropy: 0.9")).unwrap().replace("max_entropy: 0.9 ", "# ");
        let error = Rule::parse(&text, "x").unwrap_err().to_string();
        assert!(error.contains("max_entropy"), "{error}");
    }
}
