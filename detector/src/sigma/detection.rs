//! A `detection` (or `filter`) section: YAML to a detection over columns.
//!
//! A map is all of its items, a list one of its entries, a list of texts keywords. A field with several values is one of
//! them, or with `all` every one. An empty text is what the lake stores as nothing: it also matches a missing value.

use serde_yaml_ng::{Mapping, Value};

use super::condition::Condition;
use super::error::Fault;
use super::expr::{Column, Expr, Kind, Order, Place, Test};
use super::mapping::{FieldMapping, FieldPlace, Source, Words};
use super::modifier::Modifiers;
use super::network::Network;
use super::pattern::Pattern;

/// Keys of the section that are no searches.
const NO_SEARCH: [&str; 3] = ["condition", "timeframe", "rules"];

/// Most values that placeholders make of one.
const MAX_EXPANDED: usize = 10_000;

/// A section as it was read.
#[derive(Debug, Clone)]
pub(super) struct Detection {
    /// What it says.
    pub(super) expr: Expr,
    /// The conditions as they are written.
    pub(super) conditions: Vec<Condition>,
    /// Their text.
    pub(super) text: String,
}

/// Reads detections of one log source, and notes what a person should know.
#[derive(Debug)]
pub(super) struct Compiler<'m> {
    mapping: &'m FieldMapping,
    source: &'m Source,
    unknown: Vec<String>,
    /// Remarks.
    pub(super) warnings: Vec<String>,
}

impl<'m> Compiler<'m> {
    /// For a log source.
    pub(super) fn new(mapping: &'m FieldMapping, source: &'m Source) -> Self {
        Self { mapping, source, unknown: Vec::new(), warnings: Vec::new() }
    }

    /// Reads a section.
    pub(super) fn section(&mut self, section: &Mapping) -> Result<Detection, Fault> {
        let mut searches = Vec::new();
        for (key, value) in section {
            let name = key.as_str().ok_or_else(|| Fault::Invalid("a search whose name is no text".into()))?;
            if !NO_SEARCH.contains(&name) {
                searches.push((name.to_owned(), self.search(value)?));
            }
        }
        if section.contains_key("timeframe") {
            self.warn("`timeframe` without a correlation is left out");
        }
        let texts = match section.get("condition") {
            Some(Value::String(text)) => vec![text.clone()],
            Some(Value::Sequence(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        if texts.is_empty() {
            return Err(Fault::Invalid("a detection needs a condition".into()));
        }
        if !self.unknown.is_empty() {
            return Err(Fault::Fields(std::mem::take(&mut self.unknown)));
        }
        let conditions = texts.iter().map(|t| Condition::parse(t)).collect::<Result<Vec<_>, _>>()?;
        let exprs = conditions.iter().map(|c| c.build(&searches)).collect::<Result<Vec<_>, _>>()?;
        Ok(Detection { expr: Expr::any(exprs), conditions, text: texts.join(" or ") })
    }

    /// Where a field lives; an unknown one is noted.
    fn places(&mut self, field: &str) -> Vec<FieldPlace<'m>> {
        let places = self.mapping.field(self.source, field);
        if places.is_empty() && !self.unknown.iter().any(|f| f == field) {
            self.unknown.push(field.to_owned());
        }
        places
    }

    /// Columns of a field that has to have some.
    pub(super) fn known_columns(&mut self, field: &str) -> Result<Vec<Column>, Fault> {
        let places = self.places(field);
        if places.is_empty() { Err(Fault::Fields(std::mem::take(&mut self.unknown))) } else { Ok(columns_of(&places)) }
    }

    fn warn(&mut self, text: &str) {
        if !self.warnings.iter().any(|w| w == text) {
            self.warnings.push(text.to_owned());
        }
    }

    fn search(&mut self, value: &Value) -> Result<Expr, Fault> {
        match value {
            Value::Mapping(items) => {
                let items = items.iter().map(|(key, value)| self.item(key, value)).collect::<Result<Vec<_>, _>>()?;
                if items.is_empty() { Err(Fault::Invalid("an empty search".into())) } else { Ok(Expr::all(items)) }
            }
            Value::Sequence(entries) if entries.is_empty() => Err(Fault::Invalid("an empty search".into())),
            Value::Sequence(entries) => Ok(Expr::any(entries.iter().map(|e| self.search(e)).collect::<Result<Vec<_>, _>>()?)),
            Value::Null | Value::Tagged(_) => Err(Fault::Invalid("an empty search".into())),
            keyword => self.values(None, &Modifiers::default(), std::slice::from_ref(keyword)),
        }
    }

    fn item(&mut self, key: &Value, value: &Value) -> Result<Expr, Fault> {
        let key = key.as_str().ok_or_else(|| Fault::Invalid("a field whose name is no text".into()))?;
        let mut names = key.split('|');
        let field = names.next().filter(|f| !f.is_empty());
        let modifiers = Modifiers::parse(names).map_err(|fault| match fault {
            Fault::Invalid(what) => Fault::Invalid(format!("{what} (`{key}`)")),
            other => other,
        })?;
        let values = match value {
            Value::Sequence(values) if values.is_empty() => return Err(Fault::Invalid(format!("`{key}` has no value"))),
            Value::Sequence(values) => values.as_slice(),
            Value::Mapping(_) => return Err(Fault::Invalid(format!("`{key}` has a map for a value"))),
            one => std::slice::from_ref(one),
        };
        self.values(field, &modifiers, values).map_err(|fault| match fault {
            Fault::Unsupported(what) => Fault::Unsupported(format!("{what} (`{key}`)")),
            other => other,
        })
    }

    fn values(&mut self, field: Option<&str>, modifiers: &Modifiers, values: &[Value]) -> Result<Expr, Fault> {
        let places = match field {
            Some(field) => self.places(field),
            None => self.mapping.keywords(self.source),
        };
        let mut exprs = Vec::new();
        for value in values {
            let expanded = self.expanded(value, modifiers)?;
            let forms = expanded.iter().map(|v| self.value(&places, field.is_none(), (modifiers, v))).collect::<Result<Vec<_>, _>>()?;
            exprs.push(Expr::any(forms));
        }
        let expr = if modifiers.all { Expr::all(exprs) } else { Expr::any(exprs) };
        Ok(if modifiers.negated { expr.negated() } else { expr })
    }

    /// The values that placeholders make of one.
    fn expanded(&self, value: &Value, modifiers: &Modifiers) -> Result<Vec<Value>, Fault> {
        let mut done = vec![value.clone()];
        let Some(text) = value.as_str().filter(|_| modifiers.expand) else { return Ok(done) };
        let names: Vec<&str> = text.split('%').skip(1).step_by(2).collect();
        let is_open = text.matches('%').count() % 2 == 1;
        if names.is_empty() || is_open {
            return Err(Fault::Invalid(format!("`{text}` has no placeholder to expand")));
        }
        for name in names {
            let values = self.mapping.placeholder(name).filter(|v| !v.is_empty()).ok_or_else(|| Fault::Placeholder(name.into()))?;
            let with = |text: &Value, value: &String| Value::String(text.as_str().unwrap_or_default().replace(&format!("%{name}%"), value));
            if done.len() * values.len() > MAX_EXPANDED {
                return Err(Fault::Unsupported(format!("`{text}` with more than {MAX_EXPANDED} values")));
            }
            done = done.iter().flat_map(|text| values.iter().map(move |value| with(text, value))).collect();
        }
        Ok(done)
    }

    /// One value over the places of its field.
    fn value(&mut self, places: &[FieldPlace<'_>], is_keyword: bool, (modifiers, value): (&Modifiers, &Value)) -> Result<Expr, Fault> {
        let absent = || Expr::all(places.iter().map(|p| Expr::Leaf(p.column.clone(), Test::Null)).collect());
        if modifiers.exists {
            let wanted = value.as_bool().ok_or_else(|| Fault::Invalid("`exists` takes true or false".into()))?;
            return Ok(if wanted { absent().negated() } else { absent() });
        }
        if value.is_null() {
            return Ok(absent());
        }
        if modifiers.field {
            return self.other_field(&columns_of(places), modifiers, value);
        }
        let text = scalar(value).ok_or_else(|| Fault::Invalid("a value that is a list or a map".into()))?;
        if text.contains('\0') {
            return Err(Fault::Unsupported("a value with a NUL".into()));
        }
        let mut modifiers = modifiers.clone();
        if is_keyword && modifiers.regex.is_none() && !modifiers.cidr {
            modifiers.place = modifiers.place.or(Some(Place::Anywhere));
        }
        let is_empty = text.is_empty() && modifiers.is_equality();
        self.warn_of_nothing(places, &text, is_empty);
        let one = |place: &FieldPlace<'_>| match place.words {
            Some(words) => translated(place, words, (&modifiers, &text)),
            None => tests(&place.column, &modifiers, (value, &text)).map(|tests| of_column(&place.column, tests)),
        };
        let mut exprs = places.iter().map(one).collect::<Result<Vec<_>, _>>()?;
        if is_empty {
            exprs.push(absent());
        }
        Ok(Expr::any(exprs))
    }

    fn warn_of_nothing(&mut self, places: &[FieldPlace<'_>], text: &str, is_empty: bool) {
        let in_column = places.iter().any(|p| p.words.is_none() && matches!(p.column, Column::Plain { .. }));
        if is_empty {
            self.warn("an empty text also matches events where the field is missing: the lake stores empty texts as nothing");
        } else if in_column && ["-", "none", "unknown", "null", "undefined"].contains(&text.to_ascii_lowercase().as_str()) {
            self.warn(&format!("`{text}` may be stored as nothing: many mappings take it for a missing value"));
        }
    }

    fn other_field(&mut self, columns: &[Column], modifiers: &Modifiers, value: &Value) -> Result<Expr, Fault> {
        let name = value.as_str().ok_or_else(|| Fault::Invalid("`fieldref` takes the name of a field".into()))?;
        let others = columns_of(&self.places(name));
        let fits = |column: &Column| !matches!(column.kind(), Kind::Texts | Kind::Opaque | Kind::Moment);
        if !columns.iter().chain(&others).all(fits) {
            return Err(Fault::Unsupported("`fieldref` on a list, a time or a structure".into()));
        }
        let place = modifiers.place.unwrap_or(Place::Whole);
        let pairs = columns.iter().flat_map(|c| others.iter().map(move |o| Expr::Leaf(c.clone(), Test::Field(place, o.clone()))));
        Ok(Expr::any(pairs.collect()))
    }
}

fn columns_of(places: &[FieldPlace<'_>]) -> Vec<Column> {
    places.iter().map(|p| p.column.clone()).collect()
}

/// A word of the source as the column has it.
fn translated(place: &FieldPlace<'_>, words: &Words, (modifiers, text): (&Modifiers, &str)) -> Result<Expr, Fault> {
    let label = place.column.label();
    if !modifiers.is_equality() {
        return Err(Fault::Unsupported(format!("a modifier on a field whose words were translated (`{label}`)")));
    }
    let word = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, stored)| stored);
    match word.ok_or_else(|| Fault::Unsupported(format!("the value `{text}`, which `{label}` does not keep")))? {
        Some(stored) => {
            let plain = Modifiers::default();
            tests(&place.column, &plain, (&Value::String(stored.clone()), stored)).map(|tests| of_column(&place.column, tests))
        }
        None => Ok(Expr::Leaf(place.column.clone(), Test::Null)),
    }
}

fn of_column(column: &Column, tests: Vec<Test>) -> Expr {
    Expr::any(tests.into_iter().map(|test| Expr::Leaf(column.clone(), test)).collect())
}

/// A scalar as text.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// What a value asks of one column, of which one has to hold.
fn tests(column: &Column, modifiers: &Modifiers, (value, text): (&Value, &str)) -> Result<Vec<Test>, Fault> {
    let beyond = |what: &str| Fault::Unsupported(format!("{what} on `{}`", column.label()));
    // Beyond that a float does not hold every integer.
    let number = || text.parse::<f64>().ok().filter(|n| n.abs() < 9e15);
    let kind = column.kind();
    if let Some(part) = modifiers.part {
        let wanted = number().ok_or_else(|| Fault::Invalid(format!("`{text}` is no number")))?;
        let order = modifiers.order.unwrap_or(Order::Equal);
        return if kind == Kind::Moment { Ok(vec![Test::Part(part, order, wanted)]) } else { Err(beyond("a part of a time")) };
    }
    if let Some(order) = modifiers.order {
        return match (kind, number()) {
            (Kind::Text | Kind::Integer | Kind::Float, Some(number)) => Ok(vec![Test::Number(order, number)]),
            (Kind::Moment, _) => Ok(vec![Test::Moment(order, moment(text)?)]),
            (Kind::Texts | Kind::Boolean | Kind::Opaque, _) => Err(beyond("a comparison by size")),
            (_, None) => Err(Fault::Invalid(format!("`{text}` is no number"))),
        };
    }
    if modifiers.cidr {
        let network = Network::parse(text).ok_or_else(|| Fault::Invalid(format!("`{text}` is no network")))?;
        return if kind == Kind::Text { Ok(vec![Test::Network(network)]) } else { Err(beyond("`cidr`")) };
    }
    if modifiers.regex.is_some() {
        let regex = modifiers.regex(text)?;
        return match kind {
            Kind::Text | Kind::Integer | Kind::Boolean => Ok(vec![Test::Regex(regex)]),
            _ => Err(beyond("`re`")),
        };
    }
    let is_whole = modifiers.place.is_none();
    let patterns = || if value.is_string() { modifiers.patterns(text) } else { Ok(vec![placed(modifiers, text)]) };
    match kind {
        Kind::Float | Kind::Integer if is_whole && number().is_some() => {
            Ok(number().map(|n| Test::Number(Order::Equal, n)).into_iter().collect())
        }
        Kind::Boolean if is_whole => match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(vec![Test::Flag(true)]),
            "false" | "0" => Ok(vec![Test::Flag(false)]),
            _ => Err(beyond(&format!("the value `{text}`, which is no boolean,"))),
        },
        Kind::Float | Kind::Moment | Kind::Opaque => Err(beyond("a comparison of texts")),
        _ => Ok(patterns()?.into_iter().map(Test::Is).collect()),
    }
}

/// A number or boolean as text, of which nothing is a wildcard.
fn placed(modifiers: &Modifiers, text: &str) -> Pattern {
    let pattern = Pattern::literal(text);
    match modifiers.place {
        Some(Place::Anywhere) => pattern.after_anything().before_anything(),
        Some(Place::Start) => pattern.before_anything(),
        Some(Place::End) => pattern.after_anything(),
        Some(Place::Whole) | None => pattern,
    }
}

fn moment(text: &str) -> Result<i64, Fault> {
    let parsed =
        chrono::DateTime::parse_from_rfc3339(text).map_err(|_| Fault::Invalid(format!("`{text}` is no time as RFC 3339 has it")))?;
    Ok(parsed.timestamp_micros())
}
