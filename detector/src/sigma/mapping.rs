//! Which column a Sigma field is, for each log source: data, in `mapping.yaml`.
//!
//! A log source is known by those of `category`, `product` and `service` that the entry names; of several entries that fit,
//! the one that names most wins. Fields are found without regard to case. A place is `column`, `ext:path` (a leaf that no
//! column took) or `list[n].member`; a field with several places is whatever one of them says. `{at: place, values: {a: b}}`
//! says which text the source's own words became (`null`: nothing is stored); other words are refused. `native: true` adds
//! every column of events under its own name, and `ext.path`.

use std::collections::BTreeMap;

use schemas::columns::COLUMNS;
use serde::Deserialize;

use super::error::Fault;
use super::expr::{Column, Expr, Kind, Test};
use super::pattern::Pattern;

/// The mapping that comes with the program.
const BUILT_IN: &str = include_str!("mapping.yaml");

/// Sigma fields to columns, and what the columns hold.
#[derive(Debug, Clone)]
pub struct FieldMapping {
    raw: RawMapping,
    kinds: BTreeMap<String, Kind>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMapping {
    /// Version of ATT&CK that tags are taken for.
    attack: String,
    /// Values of placeholders.
    #[serde(default)]
    placeholders: BTreeMap<String, Vec<String>>,
    sources: Vec<Source>,
}

/// One log source.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    logsource: BTreeMap<String, String>,
    /// What a rule of it reads, as rule files name it.
    pub(super) reads: Vec<String>,
    /// Columns and values that tell its events from others.
    #[serde(default)]
    when: BTreeMap<String, Several<String>>,
    /// Whom an alert is about: the first of these columns that says something.
    pub(super) entity: Vec<String>,
    /// Columns in which keywords are looked for.
    keywords: Vec<String>,
    #[serde(default)]
    native: bool,
    #[serde(default)]
    fields: BTreeMap<String, Several<RawPlace>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum RawPlace {
    Same(String),
    Translated { at: String, values: Words },
}

impl RawPlace {
    fn at(&self) -> &str {
        match self {
            Self::Same(at) | Self::Translated { at, .. } => at,
        }
    }
}

/// What the source's words became.
pub(super) type Words = BTreeMap<String, Option<String>>;

/// Where a field lives, and what its words became there.
#[derive(Debug, Clone)]
pub(super) struct FieldPlace<'m> {
    pub(super) column: Column,
    pub(super) words: Option<&'m Words>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Several<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> Several<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// Columns of `events`, and how each is compared.
pub(super) fn kinds() -> BTreeMap<String, Kind> {
    COLUMNS.iter().map(|column| (column.name.to_owned(), Kind::of(&column.kind.describe()))).collect()
}

impl FieldMapping {
    /// The mapping that comes with the program, over the columns of `events`.
    ///
    /// # Errors
    /// When it names a column that is not there.
    pub fn built_in() -> Result<Self, Fault> {
        Self::parse(BUILT_IN, kinds())
    }

    /// Reads a mapping.
    ///
    /// # Errors
    /// When it is wrong, or names a column that is not there.
    pub fn parse(text: &str, kinds: BTreeMap<String, Kind>) -> Result<Self, Fault> {
        let raw: RawMapping = serde_yaml_ng::from_str(text).map_err(|e| Fault::Yaml(e.to_string()))?;
        let mapping = Self { raw, kinds };
        for source in &mapping.raw.sources {
            let fields = source.fields.values().flat_map(Several::as_slice).map(RawPlace::at);
            let columns = source.keywords.iter().chain(&source.entity).chain(source.when.keys()).map(String::as_str);
            for place in fields.chain(columns) {
                mapping
                    .place(place)
                    .ok_or_else(|| Fault::Invalid(format!("the mapping names `{place}`, which is no place in an event")))?;
            }
        }
        Ok(mapping)
    }

    /// With the values of a placeholder.
    #[must_use]
    pub fn with_placeholder(mut self, name: &str, values: Vec<String>) -> Self {
        self.raw.placeholders.insert(name.into(), values);
        self
    }

    /// Values of a placeholder.
    pub(super) fn placeholder(&self, name: &str) -> Option<&[String]> {
        self.raw.placeholders.get(name).map(Vec::as_slice)
    }

    /// Version of ATT&CK that tags are taken for.
    pub(super) fn attack(&self) -> &str {
        &self.raw.attack
    }

    /// The entry for a log source.
    pub(super) fn source(&self, logsource: &BTreeMap<String, String>) -> Result<&Source, Fault> {
        let fits = |s: &&Source| s.logsource.iter().all(|(key, value)| logsource.get(key).is_some_and(|v| v.eq_ignore_ascii_case(value)));
        let best = self.raw.sources.iter().filter(fits).max_by_key(|s| s.logsource.len());
        best.ok_or_else(|| {
            let parts: Vec<String> = logsource.iter().map(|(k, v)| format!("{k}: {v}")).collect();
            Fault::LogSource(format!("{{{}}}", parts.join(", ")))
        })
    }

    /// Where a field lives; empty when nowhere.
    pub(super) fn field<'m>(&'m self, source: &'m Source, field: &str) -> Vec<FieldPlace<'m>> {
        let known = source.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(field));
        let place = |raw: &'m RawPlace| {
            let words = if let RawPlace::Translated { values, .. } = raw { Some(values) } else { None };
            self.place(raw.at()).map(|column| FieldPlace { column, words })
        };
        match known {
            Some((_, places)) => places.as_slice().iter().filter_map(place).collect(),
            None if source.native => {
                self.place(&field.replacen("ext.", "ext:", 1)).map(|column| FieldPlace { column, words: None }).into_iter().collect()
            }
            None => Vec::new(),
        }
    }

    /// Columns in which keywords are looked for.
    pub(super) fn keywords(&self, source: &Source) -> Vec<FieldPlace<'_>> {
        source.keywords.iter().filter_map(|p| self.place(p)).map(|column| FieldPlace { column, words: None }).collect()
    }

    /// Columns of which the first that says something is whom an alert is about.
    pub(super) fn entity(&self, source: &Source) -> Vec<Column> {
        source.entity.iter().filter_map(|p| self.place(p)).collect()
    }

    /// What tells events of the source from others.
    pub(super) fn guard(&self, source: &Source) -> Expr {
        let one_of = |(place, values): (&String, &Several<String>)| {
            let column = self.place(place)?;
            let is = |value: &String| Expr::Leaf(column.clone(), Test::Is(Pattern::literal(value).cased(true)));
            Some(Expr::any(values.as_slice().iter().map(is).collect()))
        };
        Expr::All(source.when.iter().filter_map(one_of).collect())
    }

    fn place(&self, text: &str) -> Option<Column> {
        if let Some(path) = text.strip_prefix("ext:") {
            return (!path.is_empty()).then(|| Column::Ext { path: path.into() });
        }
        if let Some((list, rest)) = text.split_once('[') {
            let (index, member) = rest.split_once("].")?;
            let is_name = |t: &str| !t.is_empty() && t.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let index: usize = index.parse().ok().filter(|i| *i > 0)?;
            return (self.kinds.get(list) == Some(&Kind::Opaque) && is_name(member)).then(|| Column::Item {
                list: list.into(),
                index,
                member: member.into(),
            });
        }
        // Columns are in lower case; a field may be written otherwise.
        let name = text.to_ascii_lowercase();
        self.kinds.get(&name).map(|kind| Column::Plain { name: name.clone(), kind: *kind })
    }
}
