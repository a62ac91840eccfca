//! Turns the YAML of a mapping file into expressions, and says with the place what is wrong.

use std::collections::BTreeMap;

use regex::Regex;
use serde_yaml_ng::Value as Yaml;

use crate::cell::Kind;
use crate::columns::{ColumnId, name};
use crate::mapping::expression::{Change, Condition, Expression, Fields, Form, StructField, Wanted};
use crate::mapping::fault::{Fault, fault};
use crate::mapping::path::Path;
use crate::time::TimeFormat;

/// Columns that a mapping cannot set: ids and times have keys of their own, the rest is known without it.
const NOT_MAPPED: &[&str] = &[
    name::row_kind,
    name::ingest_date,
    name::event_id,
    name::event_id_kind,
    name::parent_event_id,
    name::explode_path,
    name::revision,
    name::schema_version,
    name::tenant,
    name::batch_id,
    name::stream,
    name::incarnation,
    name::partition,
    name::offset,
    name::record_index,
    name::source_instance,
    name::adapter,
    name::adapter_version,
    name::kafka_topic,
    name::kafka_partition,
    name::kafka_offset,
    name::kafka_timestamp,
    name::kafka_timestamp_type,
    name::kafka_key,
    name::kafka_headers,
    name::envelope,
    name::parse_status,
    name::parse_errors,
    name::reason_code,
    name::reason,
    name::event_time,
    name::event_time_raw,
    name::event_time_source,
    name::event_time_tz_assumed,
    name::ingest_time,
    name::clock_skew_ms,
    name::is_late,
    name::event_date,
    name::principal_path,
    name::ocsf_class_uid,
    name::ocsf_activity_id,
    name::params_json,
    name::params_sha256,
    name::params_redacted_paths,
    name::ext,
    name::leaf_hash,
    name::payload_mac,
    name::raw_sha256,
    name::raw_bytes,
    name::raw_truncated,
    name::raw_payload,
];

/// Checks expressions against what the file defines.
pub(super) struct Check<'r> {
    pub(super) tables: &'r BTreeMap<String, BTreeMap<String, String>>,
}

impl Check<'_> {
    pub(super) fn columns(&self, at: &str, raw: &BTreeMap<String, Yaml>) -> Result<Vec<(ColumnId, Expression)>, Fault> {
        raw.iter().map(|(name, value)| self.column(&format!("{at}.{name}"), name, value)).collect()
    }

    fn column(&self, at: &str, column: &str, value: &Yaml) -> Result<(ColumnId, Expression), Fault> {
        let id = ColumnId::by_name(column)
            .ok_or_else(|| fault(at, &format!("there is no column `{column}`; `vialog sources columns` lists them")))?;
        if NOT_MAPPED.contains(&column) {
            return Err(fault(at, "this column is not set by a mapping: use the keys `id`, `time`, `params`, or leave it"));
        }
        let mut expression = self.expression(at, value)?;
        match id.column().kind {
            Kind::Structs(fields) => order_fields(at, &mut expression, fields)?,
            Kind::Bytes | Kind::Map => return Err(fault(at, "a mapping cannot set a column of this type")),
            _ => {}
        }
        Ok((id, expression))
    }

    pub(super) fn optional(&self, at: &str, value: Option<&Yaml>) -> Result<Option<Expression>, Fault> {
        value.map(|value| self.expression(at, value)).transpose()
    }

    pub(super) fn expression(&self, at: &str, value: &Yaml) -> Result<Expression, Fault> {
        match value {
            Yaml::String(text) => Ok(Expression { when: Vec::new(), form: Form::Path(path(at, text)?) }),
            Yaml::Sequence(all) => {
                let all = all.iter().enumerate().map(|(i, one)| self.expression(&format!("{at}.{i}"), one)).collect::<Result<_, _>>()?;
                Ok(Expression { when: Vec::new(), form: Form::First(all) })
            }
            Yaml::Mapping(_) => self.form(at, &members(at, value)?),
            _ => Err(fault(at, "write a path, a list of them, or a form such as `{text: success}`")),
        }
    }

    fn form(&self, at: &str, members: &BTreeMap<String, Yaml>) -> Result<Expression, Fault> {
        let text = |key: &str| members.get(key).map(|value| text_of(&format!("{at}.{key}"), value)).transpose();
        let mut allowed = vec!["when"];
        let form = if let (Some(list), Some(of)) = (text("all")?, members.get("of")) {
            allowed.extend(["all", "of"]);
            Form::All { list: path(at, &list)?, of: Box::new(self.expression(&format!("{at}.of"), of)?) }
        } else if let Some(of) = members.get("of") {
            allowed.extend(["of", "table", "else", "pattern", "format", "scale", "lower"]);
            Form::Changed { of: Box::new(self.expression(&format!("{at}.of"), of)?), changes: self.changes(at, members)? }
        } else if let Some(constant) = text("text")? {
            allowed.push("text");
            Form::Text(constant)
        } else if let Some(Yaml::Sequence(parts)) = members.get("join") {
            allowed.extend(["join", "with"]);
            let parts = parts.iter().map(|part| self.expression(&format!("{at}.join"), part)).collect::<Result<_, _>>()?;
            Form::Join { parts, with: text("with")?.unwrap_or_default() }
        } else if let Some(there) = text("present")? {
            allowed.push("present");
            Form::Present(path(at, &there)?)
        } else if let Some(list) = text("each")? {
            allowed.extend(["each", "fields", "reverse"]);
            let reverse = members.get("reverse").is_some_and(|value| *value == Yaml::Bool(true));
            Form::Each { list: path(at, &list)?, fields: self.fields(at, members)?, reverse }
        } else if let (Some(since), Some(until)) = (members.get("since"), members.get("until")) {
            allowed.extend(["since", "until", "format"]);
            let format = text("format")?.map_or(Ok(TimeFormat::Rfc3339), |name| format(at, &name))?;
            Form::Span { since: Box::new(self.expression(at, since)?), until: Box::new(self.expression(at, until)?), format }
        } else if let Some(first) = text("chain")? {
            allowed.extend(["chain", "next", "fields"]);
            let next = text("next")?.ok_or_else(|| fault(at, "`chain` needs `next`, the key of the next hop"))?;
            Form::Chain { first: path(at, &first)?, next, fields: self.fields(at, members)? }
        } else {
            return Err(fault(at, "a form has one of `of`, `text`, `join`, `present`, `since`, `all`, `each`, `chain`"));
        };
        if let Some(unknown) = members.keys().find(|key| !allowed.contains(&key.as_str())) {
            return Err(fault(at, &format!("`{unknown}` does not belong here; there may be: {}", allowed.join(", "))));
        }
        let when = members.get("when").map_or(Ok(Vec::new()), |when| self.conditions(&format!("{at}.when"), when))?;
        Ok(Expression { when, form })
    }

    fn changes(&self, at: &str, members: &BTreeMap<String, Yaml>) -> Result<Vec<Change>, Fault> {
        let mut changes = Vec::new();
        for (key, value) in members {
            let at = format!("{at}.{key}");
            match (key.as_str(), value) {
                ("table", value) => {
                    let otherwise = members.get("else").map(|value| text_of(&at, value)).transpose()?;
                    changes.push(Change::Table { entries: self.table(&at, value)?, otherwise });
                }
                ("pattern", value) => {
                    let pattern = Regex::new(&text_of(&at, value)?).map_err(|error| fault(&at, &error.to_string()))?;
                    changes.insert(0, Change::Pattern(pattern));
                }
                ("format", value) => changes.push(Change::Format(format(&at, &text_of(&at, value)?)?)),
                ("scale", Yaml::Number(factor)) => {
                    changes.push(Change::Scale(factor.as_i64().ok_or_else(|| fault(&at, "a factor is a whole number"))?));
                }
                ("lower", Yaml::Bool(true)) => changes.insert(0, Change::Lower),
                ("of" | "else" | "when", _) => {}
                (other, _) => return Err(fault(&at, &format!("`{other}` does not belong here, or has a value of the wrong type"))),
            }
        }
        Ok(changes)
    }

    fn table(&self, at: &str, value: &Yaml) -> Result<Vec<(String, String)>, Fault> {
        let mut entries: Vec<(String, String)> = match value {
            Yaml::String(name) => {
                let table = self.tables.get(name).ok_or_else(|| fault(at, &format!("there is no table `{name}` under `tables`")))?;
                table.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
            }
            _ => members(at, value)?.iter().map(|(k, v)| Ok((k.clone(), text_of(at, v)?))).collect::<Result<_, Fault>>()?,
        };
        // Exact keys first, then the longer of two that end in `*`.
        entries.sort_by_key(|(key, _)| (key.contains('*'), std::cmp::Reverse(key.len())));
        Ok(entries)
    }

    fn fields(&self, at: &str, parent: &BTreeMap<String, Yaml>) -> Result<Fields, Fault> {
        let fields = parent.get("fields").ok_or_else(|| fault(at, "a list of structs needs `fields`"))?;
        let named = members(at, fields)?;
        let field = |(name, value): (&String, &Yaml)| {
            let of = Some(self.expression(&format!("{at}.fields.{name}"), value)?);
            Ok(StructField { name: name.clone(), is_int: false, of })
        };
        named.iter().map(field).collect()
    }

    pub(super) fn conditions(&self, at: &str, value: &Yaml) -> Result<Vec<Condition>, Fault> {
        let wanted = |at: &str, value: &Yaml| match value {
            Yaml::Bool(true) => Ok(Wanted::Something),
            Yaml::Bool(false) => Ok(Wanted::Nothing),
            Yaml::Sequence(_) => Ok(Wanted::OneOf(texts(at, value)?)),
            Yaml::Mapping(members) if members.len() == 1 && members.contains_key("not") => Ok(Wanted::NoneOf(texts(at, &members["not"])?)),
            one => Ok(Wanted::OneOf(vec![text_of(at, one)?])),
        };
        members(at, value)?.iter().map(|(key, value)| Ok(Condition { path: path(at, key)?, wanted: wanted(at, value)? })).collect()
    }
}

/// Puts the fields of a struct into the order of the column.
fn order_fields(at: &str, expression: &mut Expression, wanted: &'static [crate::cell::Field]) -> Result<(), Fault> {
    match &mut expression.form {
        Form::First(all) => all.iter_mut().try_for_each(|one| order_fields(at, one, wanted)),
        Form::Each { fields, .. } | Form::Chain { fields, .. } => {
            let mut given = std::mem::take(fields);
            *fields = wanted
                .iter()
                .map(|field| {
                    let place = given.iter().position(|given| given.name == field.name);
                    let of = place.and_then(|place| given.swap_remove(place).of);
                    StructField { name: field.name.to_owned(), is_int: field.is_int, of }
                })
                .collect();
            match given.first() {
                None => Ok(()),
                Some(unknown) => {
                    let names: Vec<&str> = wanted.iter().map(|field| field.name).collect();
                    Err(fault(at, &format!("there is no field `{}`; there are: {}", unknown.name, names.join(", "))))
                }
            }
        }
        _ => Err(fault(at, "this column is a list of structs: use `each` or `chain`")),
    }
}

pub(super) fn path(at: &str, text: &str) -> Result<Path, Fault> {
    Path::parse(text).map_err(|what| fault(at, &what))
}

/// A path, or several of which one will do.
pub(super) fn any_of(value: &Yaml) -> Result<Vec<Path>, Fault> {
    let all = if let Yaml::Sequence(all) = value { all.as_slice() } else { std::slice::from_ref(value) };
    all.iter().map(|one| path("needs", &text_of("needs", one)?)).collect()
}

pub(super) fn paths(at: &str, texts: &[String]) -> Result<Vec<Path>, Fault> {
    texts.iter().map(|text| path(at, text)).collect()
}

fn members(at: &str, value: &Yaml) -> Result<BTreeMap<String, Yaml>, Fault> {
    let Yaml::Mapping(members) = value else { return Err(fault(at, "names and values belong here")) };
    members.iter().map(|(key, value)| Ok((text_of(at, key)?, value.clone()))).collect()
}

fn text_of(at: &str, value: &Yaml) -> Result<String, Fault> {
    match value {
        Yaml::String(text) => Ok(text.clone()),
        Yaml::Number(number) => Ok(number.to_string()),
        Yaml::Bool(flag) => Ok(flag.to_string()),
        _ => Err(fault(at, "a text belongs here")),
    }
}

fn texts(at: &str, value: &Yaml) -> Result<Vec<String>, Fault> {
    let all = if let Yaml::Sequence(all) = value { all.as_slice() } else { std::slice::from_ref(value) };
    all.iter().map(|one| text_of(at, one)).collect()
}

pub(super) fn one_of(at: &str, text: String, known: &[&str]) -> Result<String, Fault> {
    if known.contains(&text.as_str()) { Ok(text) } else { Err(fault(at, &format!("`{text}`: use one of {}", known.join(", ")))) }
}

fn format(at: &str, name: &str) -> Result<TimeFormat, Fault> {
    Ok(match name {
        "rfc3339" => TimeFormat::Rfc3339,
        "us_date" => TimeFormat::UsDate,
        "european_date" => TimeFormat::EuropeanDate,
        "epoch_s" => TimeFormat::EpochSeconds,
        "epoch_ms" => TimeFormat::EpochMillis,
        "epoch_us" => TimeFormat::EpochMicros,
        "epoch_ns" => TimeFormat::EpochNanos,
        other => {
            return Err(fault(at, &format!("`{other}`: use rfc3339, us_date, european_date, epoch_s, epoch_ms, epoch_us or epoch_ns")));
        }
    })
}
