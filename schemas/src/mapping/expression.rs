//! What a mapping file says of one column, and how it is read from an element.
//!
//! | form | meaning |
//! |---|---|
//! | `actor.id` | the value at a path |
//! | `[a.b, c.d]` | the first of several that gives something |
//! | `{text: success}` | always this text |
//! | `{of: a.b, table: name, else: other}` | translated by a table; `*` at the end of a key stands for any end |
//! | `{of: a.b, pattern: "x(.*)"}` | the first group of a regular expression, or the whole match |
//! | `{of: a.b, format: epoch_ms}` | a time in another format than RFC 3339 |
//! | `{of: a.b, scale: 1000}` | a number times a whole number |
//! | `{of: a.b, lower: true}` | in lower case |
//! | `{join: [a, b], with: ":"}` | several texts as one, when all are there |
//! | `{present: a.b}` | whether there is something |
//! | `{since: a, until: b, format: epoch_ns}` | what lies between two times, microseconds |
//! | `{all: list, of: id}` | a list of texts, one of each item; `.` is the item itself |
//! | `{each: list, fields: {id: id}, reverse: true}` | a list of structs, one for each item, from the last if so said |
//! | `{chain: actor, next: act, fields: {sub: sub}}` | a list of structs, by following one key inwards |
//! | `when: {path: [values]}` beside any of them | only when the value there is one of these; `true` for any, `false` for none, `{not: [values]}` |

use regex::Regex;

use crate::cell::{Member, Struct};
use crate::json::Json;
use crate::mapping::found::{Found, MAX_TEXTS};
use crate::mapping::path::Path;
use crate::reader::is_nothing;
use crate::time::TimeFormat;

/// Most structs in a list.
const MAX_STRUCTS: usize = 32;

/// One rule of a column.
#[derive(Debug, Clone)]
pub(crate) struct Expression {
    pub(crate) when: Vec<Condition>,
    pub(crate) form: Form,
}

/// The forms above.
#[derive(Debug, Clone)]
pub(crate) enum Form {
    Path(Path),
    First(Vec<Expression>),
    Text(String),
    Changed { of: Box<Expression>, changes: Vec<Change> },
    Join { parts: Vec<Expression>, with: String },
    Present(Path),
    Each { list: Path, fields: Fields, reverse: bool },
    All { list: Path, of: Box<Expression> },
    Span { since: Box<Expression>, until: Box<Expression>, format: TimeFormat },
    Chain { first: Path, next: String, fields: Fields },
}

/// Fields of a struct, in the order of the column once it is known.
pub(crate) type Fields = Vec<StructField>;

/// One field, with where it stands in an item.
#[derive(Debug, Clone)]
pub(crate) struct StructField {
    pub(crate) name: String,
    /// Whether it is a number; one without a place is that of the item in its list.
    pub(crate) is_int: bool,
    pub(crate) of: Option<Expression>,
}

/// What is done to a text.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Table { entries: Vec<(String, String)>, otherwise: Option<String> },
    Pattern(Regex),
    Format(TimeFormat),
    Scale(i64),
    Lower,
}

/// A condition on a value.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    pub(crate) path: Path,
    pub(crate) wanted: Wanted,
}

/// What a value has to be.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    Something,
    Nothing,
    OneOf(Vec<String>),
    NoneOf(Vec<String>),
}

/// Where values are looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'j> {
    /// The whole element.
    pub(crate) top: &'j Json<'j>,
    /// The part that is mapped.
    pub(crate) part: &'j Json<'j>,
}

/// What looking for a value tells besides: which values were read, and what was no value of the wanted kind.
pub(crate) trait Notes<'j> {
    /// A value was read, at this path.
    fn read(&mut self, value: &'j Json<'j>, path: &'j Path);
    /// Something could not be read.
    fn fault(&mut self, sentence: String);
    /// A value was looked at and is not of the wanted kind.
    fn looked(&mut self, _: &'j Json<'j>) {}
}

/// Hears nothing: for what is read twice.
pub(crate) struct Deaf;

impl<'j> Notes<'j> for Deaf {
    fn read(&mut self, _: &'j Json<'j>, _: &'j Path) {}
    fn fault(&mut self, _: String) {}
}

/// Keeps what is told until it is known whether it counts: a value that was looked at and not used is not read.
#[derive(Default)]
struct Pending<'j> {
    reads: Vec<(&'j Json<'j>, &'j Path)>,
    faults: Vec<String>,
    looked: Vec<&'j Json<'j>>,
}

impl<'j> Notes<'j> for Pending<'j> {
    fn read(&mut self, value: &'j Json<'j>, path: &'j Path) {
        self.reads.push((value, path));
    }
    fn fault(&mut self, sentence: String) {
        self.faults.push(sentence);
    }
    fn looked(&mut self, value: &'j Json<'j>) {
        self.looked.push(value);
    }
}

impl<'j> Pending<'j> {
    /// Passes on what led to a value; without one, only why there is none.
    fn settle<T>(self, found: Option<T>, notes: &mut dyn Notes<'j>) -> Option<T> {
        if found.is_some() {
            self.reads.into_iter().for_each(|(value, path)| notes.read(value, path));
        } else {
            self.faults.into_iter().for_each(|fault| notes.fault(fault));
            self.reads.into_iter().map(|(value, _)| value).chain(self.looked).for_each(|value| notes.looked(value));
        }
        found
    }
}

/// The first of several that gives something. That an earlier one did not is a fault, unless the value itself was only
/// of another of the kinds that are wanted here.
fn first<'j>(all: &'j [Expression], scope: Scope<'j>, notes: &mut dyn Notes<'j>) -> Option<Found<'j>> {
    let mut failed: Vec<Pending<'j>> = Vec::new();
    for one in all {
        let mut tried = Pending::default();
        if let Some(found) = one.find(scope, &mut tried) {
            let is_read = |value: &&Json<'j>| tried.reads.iter().any(|(read, _)| std::ptr::eq(*read, *value));
            failed.retain(|other| !other.looked.iter().any(&is_read));
            failed.into_iter().flat_map(|other| other.faults).for_each(|fault| notes.fault(fault));
            return tried.settle(Some(found), notes);
        }
        failed.push(tried);
    }
    failed.into_iter().flat_map(|other| other.faults).for_each(|fault| notes.fault(fault));
    None
}

impl Condition {
    pub(crate) fn holds<'j>(&'j self, scope: Scope<'j>, notes: &mut dyn Notes<'j>) -> bool {
        let value = self.path.find(scope.top, scope.part).filter(|v| !v.is_empty());
        let is_one_of =
            |texts: &[String]| value.and_then(Json::scalar).is_some_and(|text| texts.iter().any(|wanted| matches(wanted, &text)));
        match &self.wanted {
            Wanted::Something => value.is_some(),
            Wanted::Nothing => value.is_none(),
            Wanted::NoneOf(texts) => !is_one_of(texts),
            Wanted::OneOf(texts) => {
                let holds = is_one_of(texts);
                if let (true, Some(value)) = (holds, value) {
                    notes.read(value, &self.path);
                }
                holds
            }
        }
    }
}

/// Whether a text is as a key says; `*` at its end stands for any end, at its beginning for any beginning.
fn matches(wanted: &str, text: &str) -> bool {
    match (wanted.strip_prefix('*'), wanted.strip_suffix('*')) {
        (Some(""), _) => true,
        (Some(end), None) => text.ends_with(end),
        (None, Some(start)) => text.starts_with(start),
        (Some(_), Some(_)) => text.contains(&wanted[1..wanted.len() - 1]),
        (None, None) => wanted == text,
    }
}

impl Expression {
    /// What there is, if there is something.
    pub(crate) fn find<'j>(&'j self, scope: Scope<'j>, notes: &mut dyn Notes<'j>) -> Option<Found<'j>> {
        if !self.when.iter().all(|condition| condition.holds(scope, notes)) {
            return None;
        }
        match &self.form {
            Form::Path(path) => {
                let value = path.find(scope.top, scope.part)?;
                notes.read(value, path);
                let is_missing = value.is_empty() || matches!(value, Json::Text(text) if is_nothing(text));
                (!is_missing).then_some(Found::There(value))
            }
            Form::First(all) => first(all, scope, notes),
            Form::Text(text) => Some(Found::Made(text.clone())),
            Form::Changed { of, changes } => {
                let mut tried = Pending::default();
                let found = of.find(scope, &mut tried);
                let found = found.and_then(|found| changes.iter().try_fold(found, |found, change| change.apply(found, &mut tried)));
                tried.settle(found, notes)
            }
            Form::Join { parts, with } => {
                let mut tried = Pending::default();
                let texts: Option<Vec<String>> = parts.iter().map(|part| part.find(scope, &mut tried)?.text()).collect();
                tried.settle(texts, notes).map(|texts| Found::Made(texts.join(with)))
            }
            Form::Present(path) => Some(Found::Flag(path.find(scope.top, scope.part).is_some_and(|v| !v.is_empty()))),
            Form::Span { since, until, format } => {
                let mut time = |of: &'j Expression| of.find(scope, notes)?.time(*format)?.ok();
                let (since, until) = (time(since)?.micros, time(until)?.micros);
                until.checked_sub(since).filter(|us| *us >= 0).map(|us| Found::Made(us.to_string()))
            }
            Form::All { list, of } => {
                let items = items(list.find(scope.top, scope.part)?);
                let texts: Vec<String> =
                    items.iter().take(MAX_TEXTS).filter_map(|item| of.find(Scope { part: item, ..scope }, notes)?.text()).collect();
                (!texts.is_empty()).then_some(Found::Texts(texts))
            }
            Form::Each { list, fields, reverse } => {
                let items = items(list.find(scope.top, scope.part)?);
                if *reverse { structs(items.iter().rev(), scope, fields, notes) } else { structs(items.iter(), scope, fields, notes) }
            }
            Form::Chain { first, next, fields } => {
                let value = first.find(scope.top, scope.part).filter(|v| matches!(v, Json::Object(_)))?;
                let hops = std::iter::successors(Some(value), |hop| hop.get(next).filter(|v| matches!(v, Json::Object(_))));
                structs(hops, scope, fields, notes)
            }
        }
    }
}

impl Expression {
    /// The object without members that stands at its path.
    pub(crate) fn empty_object<'j>(&self, scope: Scope<'j>) -> Option<Found<'j>> {
        match &self.form {
            Form::Path(path) => path.find(scope.top, scope.part).filter(|v| matches!(v, Json::Object(m) if m.is_empty())).map(Found::There),
            Form::First(all) => all.iter().find_map(|one| one.empty_object(scope)),
            _ => None,
        }
    }
}

/// Items of a list; one object where a list belongs is a list of one.
fn items<'j>(value: &'j Json<'j>) -> &'j [Json<'j>] {
    if let Json::Object(_) = value { std::slice::from_ref(value) } else { value.items() }
}

fn structs<'j>(
    items: impl Iterator<Item = &'j Json<'j>>,
    scope: Scope<'j>,
    fields: &'j Fields,
    notes: &mut dyn Notes<'j>,
) -> Option<Found<'j>> {
    let mut member = |field: &'j StructField, number: usize, item: &'j Json<'j>| match &field.of {
        None if field.is_int => i32::try_from(number).map_or(Member::Null, Member::Int),
        None => Member::Null,
        Some(expression) => match expression.find(Scope { part: item, ..scope }, notes) {
            None => Member::Null,
            Some(found) if field.is_int => found.number().and_then(|n| i32::try_from(n).ok()).map_or(Member::Null, Member::Int),
            Some(found) => found.text().map_or(Member::Null, Member::Text),
        },
    };
    let mut made: Vec<Struct> = Vec::new();
    for (number, item) in items.take(MAX_STRUCTS).enumerate() {
        made.push(fields.iter().map(|field| member(field, number, item)).collect());
    }
    (!made.is_empty()).then_some(Found::Structs(made))
}

impl Change {
    fn apply<'j>(&self, found: Found<'j>, notes: &mut dyn Notes<'j>) -> Option<Found<'j>> {
        match self {
            Self::Table { entries, otherwise } => {
                let text = found.text()?;
                let entry = entries.iter().find(|(key, _)| matches(key, &text)).map(|(_, value)| value);
                entry.or(otherwise.as_ref()).cloned().map(Found::Made)
            }
            Self::Pattern(pattern) => {
                let text = found.text()?;
                let captures = pattern.captures(&text)?;
                let part = captures.get(1).or_else(|| captures.get(0))?.as_str();
                (!part.is_empty()).then(|| Found::Made(part.to_owned()))
            }
            Self::Format(format) => match found.time(*format)? {
                Ok(time) => Some(Found::Time(time)),
                Err(error) => {
                    notes.fault(error.to_string());
                    None
                }
            },
            Self::Scale(factor) => {
                let whole = found.number().map(|n| n.checked_mul(*factor));
                let scaled = whole.unwrap_or_else(|| scaled(found.double()?, *factor));
                if scaled.is_none() {
                    notes.fault(format!("a number times {factor} is out of range"));
                }
                scaled.map(|n| Found::Made(n.to_string()))
            }
            Self::Lower => Some(Found::Made(found.text()?.to_ascii_lowercase())),
        }
    }
}

/// A fraction times a factor, rounded; `None` beyond what a double names exactly.
fn scaled(number: f64, factor: i64) -> Option<i64> {
    let product = (number * factor as f64).round();
    (product.abs() <= 9_007_199_254_740_992.0).then_some(product as i64)
}
