//! Mapping files: an adapter that is data, written by whoever knows the source.
//!
//! The forms are in `expression`, the file in `file`; `docs/sources.md` is the guide. A mapping reads the same redacted
//! element with the same types as an adapter that is code, and what it does not read goes to `ext` all the same.
//!
//! Not for: shapes that need arithmetic over several values, or parts joined by key (Cerbos); those are code.

pub mod check;
mod compile;
pub mod explain;
mod expression;
mod fault;
mod file;
mod found;
pub(crate) mod path;

use std::borrow::Cow;

pub use fault::Fault;
pub use file::{Mapping, MappingTest};

use crate::cell::{Kind, Value};
use crate::columns::{ColumnId, Row, name};
use crate::draft::{Draft, Input, ParamsAsCame, set_address, set_params, set_time, set_trace, unknown_shape};
use crate::json::{self, Json};
use crate::keys::Keys;
use crate::reader::Reader;
use crate::redact::Redactor;
use crate::reject::{Code, Reject};
use crate::time::TimeFormat;
use expression::{Deaf, Expression, Notes, Scope};
use found::Found;
use path::Path;

/// Columns whose lists real sources write as one text with spaces or commas.
const SPLIT: &[ColumnId] = &[
    ColumnId::scopes_requested,
    ColumnId::scopes_granted,
    ColumnId::token_audience,
    ColumnId::resource_indicator,
    ColumnId::amr,
    ColumnId::forwarded_for,
];

/// Most events out of one element.
const MAX_PARTS: usize = 10_000;
/// Most items times members of the whole element.
const MAX_LOOKS: usize = 2_000_000;

/// Where a column's value came from, for people who check a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Name of the column.
    pub column: &'static str,
    /// The paths that were read for it; none for a text of the mapping itself.
    pub paths: Vec<String>,
}

/// Hears what is read for which column.
struct Listener<'r, 'j> {
    reader: &'r Reader<'j>,
    paths: Option<Vec<String>>,
}

impl<'j> Notes<'j> for Listener<'_, 'j> {
    fn read(&mut self, value: &'j Json<'j>, path: &'j Path) {
        self.reader.used(value);
        if let Some(paths) = &mut self.paths {
            paths.push(path.to_string());
        }
    }

    fn fault(&mut self, sentence: String) {
        self.reader.fault(sentence);
    }
}

impl Listener<'_, '_> {
    /// What was read since the last time was read for this column.
    fn tell(&mut self, column: &'static str, origins: &mut Option<Vec<Origin>>) {
        if let (Some(paths), Some(origins)) = (&mut self.paths, origins) {
            origins.push(Origin { column, paths: std::mem::take(paths) });
        }
    }

    fn forget(&mut self) {
        self.paths.iter_mut().for_each(Vec::clear);
    }
}

impl Mapping {
    /// Parses JSON that stands in strings, where the mapping says so, before anything else sees the element.
    pub(crate) fn unpack(&self, element: &mut Json<'_>) -> bool {
        let mut is_changed = false;
        for path in &self.unpack {
            let Some(value) = self.find_mut(path, element) else { continue };
            if let Json::Text(text) = value
                && text.trim_start().starts_with(['{', '['])
                && let Ok(inner) = json::parse(text.as_bytes())
            {
                *value = inner.into_owned();
                is_changed = true;
            }
        }
        is_changed
    }

    /// Takes out values that are secrets by where they stand.
    pub(crate) fn redact(&self, element: &mut Json<'_>, redactor: &Redactor<'_>) -> Vec<String> {
        let taken = |path: &&Path| self.find_mut(path, element).is_some_and(|value| redactor.take_out(value));
        self.secrets.iter().filter(taken).map(Path::pointer).collect()
    }

    /// Redacts what stands where a name says secret and the source means something else: from the inside only.
    pub(crate) fn redact_kept(
        &self,
        element: &mut Json<'_>,
        redactor: &Redactor<'_>,
        paths: &mut Vec<String>,
    ) -> Vec<(Path, Json<'static>)> {
        let mut kept = Vec::new();
        for path in &self.keep {
            let Some(value) = self.find_mut(path, element) else { continue };
            let mut inner = std::mem::replace(value, Json::Null).into_owned();
            let inside = redactor.element(&mut inner).paths;
            paths.extend(inside.iter().map(|below| path.pointer() + below));
            kept.push((path.clone(), inner));
        }
        kept
    }

    /// Puts back what was kept.
    pub(crate) fn restore(&self, element: &mut Json<'_>, kept: Vec<(Path, Json<'static>)>) {
        for (path, inner) in kept {
            if let Some(value) = self.find_mut(&path, element) {
                *value = inner;
            }
        }
    }

    /// Whether the element has no id of its own.
    pub(crate) fn needs_content_id(&self, element: &Json<'_>) -> bool {
        let part = self.part(element);
        let has_id = |id: &Expression| id.find(Scope { top: element, part }, &mut Deaf).and_then(Found::text).is_some();
        // With parts of its own, each part has an id or none.
        !self.id.as_ref().is_some_and(|(_, id)| has_id(id))
    }

    /// The parameters of an element that is not redacted yet.
    pub(crate) fn params_as_came(&self, element: &Json<'_>, keys: &Keys) -> Option<ParamsAsCame> {
        let scope = Scope { top: element, part: self.part(element) };
        let found = self.params(scope, &mut Deaf)?;
        Some(ParamsAsCame::of(&params_json(&found)?.canonical(), keys))
    }

    /// The events of one element.
    pub(crate) fn adapt<'a>(&'a self, input: &Input<'a>) -> Result<Vec<Draft>, Reject> {
        self.traced(input, &mut None)
    }

    /// As the adapter does it, with the origin of every column of the first event.
    ///
    /// # Errors
    /// When the element is not of the mapping's shape.
    pub(crate) fn traced<'a>(&'a self, input: &Input<'a>, origins: &mut Option<Vec<Origin>>) -> Result<Vec<Draft>, Reject> {
        let reader = input.reader;
        let (top, part) = (reader.peek_all(), self.part(reader.peek_all()));
        let is_there = |path: &Path| path.find(top, part).is_some_and(|value| !value.is_empty());
        if let Some(missing) = self.needs.iter().find(|any| !any.iter().any(is_there)) {
            let names: Vec<String> = missing.iter().map(|path| format!("`{path}`")).collect();
            return Err(unknown_shape(&self.name, &names.join(" or ")));
        }
        if let Some(other) = self.accepts.iter().find(|condition| !condition.holds(Scope { top, part }, &mut Deaf)) {
            return Err(unknown_shape(&self.name, &format!("another value of `{}`", other.path)));
        }
        let Some((list, name)) = &self.each else {
            return Ok(vec![self.event(Scope { top, part }, input, None, origins)]);
        };
        let items = list.find(top, part).map_or(&[][..], Json::items);
        if items.is_empty() {
            return Ok(vec![self.event(Scope { top, part }, input, None, origins)]);
        }
        // Every part may look at the whole: what that costs is bounded too.
        if items.len() > MAX_PARTS || items.len().saturating_mul(top.members().len()) > MAX_LOOKS {
            return Err(Reject::new(Code::TooLarge, format!("`{list}` has {} items, more than are taken apart", items.len())));
        }
        let event = |(number, item)| {
            let scope = Scope { top, part: item };
            let named = name.as_ref().and_then(|name: &Expression| name.find(scope, &mut Deaf)?.text());
            let path =
                format!("{}/{number}{}", list.to_string().trim_start_matches('^'), named.map_or(String::new(), |name| format!("/{name}")));
            self.event(scope, input, Some(path), &mut None)
        };
        Ok(items.iter().enumerate().map(event).collect())
    }

    /// A value to be changed, of the part that is mapped or of the whole.
    fn find_mut<'j, 'a>(&self, path: &Path, element: &'j mut Json<'a>) -> Option<&'j mut Json<'a>> {
        let inner = self.inside.iter().find(|inside| matches!(inside.find(element, element), Some(Json::Object(_))));
        match inner.filter(|_| !path.is_from_top()) {
            Some(inside) => path.find_mut(inside.find_mut(element)?),
            None => path.find_mut(element),
        }
    }

    fn part<'j>(&self, element: &'j Json<'j>) -> &'j Json<'j> {
        let inner = |path: &Path| path.find(element, element).filter(|value| matches!(value, Json::Object(_)));
        self.inside.iter().find_map(inner).unwrap_or(element)
    }

    fn event<'j>(&'j self, scope: Scope<'j>, input: &Input<'j>, path: Option<String>, origins: &mut Option<Vec<Origin>>) -> Draft {
        let mut row = Row::default();
        let mut notes = Listener { reader: input.reader, paths: origins.as_ref().map(|_| Vec::new()) };
        for (column, text) in &self.fixed {
            row.put(*column, Value::Text(text.clone()));
        }
        self.time(&mut row, scope, &mut notes);
        notes.tell(name::event_time, origins);
        for block in &self.blocks {
            if !block.when.iter().all(|condition| condition.holds(scope, &mut notes)) {
                continue;
            }
            notes.forget();
            for (column, expression) in &block.columns {
                let Some(value) = expression.find(scope, &mut notes) else {
                    notes.forget();
                    continue;
                };
                if !value_of(value, *column).is_some_and(|value| row.put(*column, value)) {
                    input.reader.fault(format!("what `{}` should hold is no {}", column.column().name, column.column().kind.describe()));
                }
                notes.tell(column.column().name, origins);
            }
        }
        self.set_parts(&mut row, scope, input, &mut notes);
        notes.forget();
        let native_id = self.id.as_ref().and_then(|(_, id)| id.find(scope, &mut notes)?.text());
        // An item without an id of its own has that of its element, and says which part it is.
        let native_id = native_id.or_else(|| {
            let whole = Scope { part: self.part(scope.top), ..scope };
            self.id.as_ref().and_then(|(_, id)| id.find(whole, &mut notes)?.text())
        });
        notes.tell(name::event_id, origins);
        let kind = self.id.as_ref().map_or("event", |(kind, _)| kind.as_str()).to_owned();
        Draft { row: row.into(), kind: kind.into(), native_id, path }
    }

    fn time<'j>(&'j self, row: &mut Row, scope: Scope<'j>, notes: &mut dyn Notes<'j>) {
        match self.time.find(scope, notes).and_then(|found| found.time(TimeFormat::Rfc3339)) {
            Some(Ok(time)) => set_time(row, Some(time)),
            Some(Err(error)) => notes.fault(error.to_string()),
            None => {}
        }
    }

    /// What is made of several columns at once.
    fn set_parts<'j>(&'j self, row: &mut Row, scope: Scope<'j>, input: &Input<'_>, notes: &mut dyn Notes<'j>) {
        let mut text = |of: &'j Option<Expression>| of.as_ref().and_then(|of| of.find(scope, notes)?.text());
        set_trace(row, text(&self.traceparent).as_deref());
        set_address(row, text(&self.address), self.address_trusted);
        if let Some(params) = self.params(scope, notes)
            && let Some(json) = params_json(&params)
        {
            set_params(row, &json, input);
        }
    }

    /// Of the last block that holds and names parameters.
    fn params<'j>(&'j self, scope: Scope<'j>, notes: &mut dyn Notes<'j>) -> Option<Found<'j>> {
        let holds = |block: &&file::Block| block.params.is_some() && block.when.iter().all(|condition| condition.holds(scope, &mut Deaf));
        let params = self.blocks.iter().rev().find(holds)?.params.as_ref()?;
        // A call without arguments has an empty object, which is something.
        params.find(scope, notes).or_else(|| params.empty_object(scope))
    }
}

/// The value of a column of this type.
fn value_of(found: Found<'_>, column: ColumnId) -> Option<Value> {
    match column.column().kind {
        Kind::Text => found.text().filter(|text| !text.is_empty()).map(Value::Text),
        Kind::Long | Kind::Int | Kind::Date => found.number().map(Value::Long),
        Kind::Time => found.time(TimeFormat::Rfc3339)?.ok().map(|time| Value::Long(time.micros)),
        Kind::Double => found.double().map(Value::Double),
        Kind::Flag => found.flag().map(Value::Flag),
        Kind::Texts => found.texts(SPLIT.contains(&column)).map(Value::Texts),
        Kind::Structs(_) => match found {
            Found::Structs(structs) => Some(Value::Structs(structs)),
            _ => None,
        },
        Kind::Bytes | Kind::Map => None,
    }
}

/// Parameters as JSON: as they stand, or out of a text that holds some.
fn params_json<'f>(found: &'f Found<'_>) -> Option<Cow<'f, Json<'f>>> {
    let inner = |text: &'f str| json::parse(text.as_bytes()).ok().map(Cow::Owned);
    match found {
        Found::There(Json::Text(text)) => inner(text).or_else(|| Some(Cow::Owned(Json::Text(Cow::Borrowed(text.as_ref()))))),
        Found::There(value) => Some(Cow::Borrowed(*value)),
        Found::Made(text) => inner(text),
        _ => None,
    }
}
