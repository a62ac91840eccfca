//! A mapping file as it is written, and its check.
//!
//! One YAML file a source. What is wrong is said with the place in the file and how to mend it; a file that passes has
//! only columns, tables, paths and formats that exist.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_yaml_ng::Value as Yaml;

use crate::columns::ColumnId;
use crate::mapping::compile::{Check, any_of, one_of, path, paths};
use crate::mapping::expression::{Condition, Expression};
use crate::mapping::fault::{Fault, fault};
use crate::mapping::path::Path;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    version: u32,
    title: String,
    source: RawSource,
    #[serde(default)]
    otlp: bool,
    #[serde(default)]
    cloudevents: bool,
    #[serde(default)]
    inside: Vec<String>,
    #[serde(default)]
    needs: Vec<Yaml>,
    accepts: Option<Yaml>,
    #[serde(default)]
    keep: Vec<String>,
    #[serde(default)]
    unpack: Vec<String>,
    #[serde(default)]
    secrets: Vec<String>,
    each: Option<RawEach>,
    id: Option<RawId>,
    time: Yaml,
    params: Option<Yaml>,
    address: Option<Yaml>,
    #[serde(default)]
    address_trusted: bool,
    traceparent: Option<Yaml>,
    columns: BTreeMap<String, Yaml>,
    #[serde(default)]
    tables: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default)]
    variants: Vec<RawVariant>,
    #[serde(default)]
    tests: Vec<MappingTest>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSource {
    kind: String,
    vendor: String,
    product: String,
    vantage: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEach {
    list: String,
    path: Option<Yaml>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawId {
    kind: String,
    of: Yaml,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVariant {
    when: Yaml,
    columns: BTreeMap<String, Yaml>,
    params: Option<Yaml>,
}

/// A test of a mapping: a record and the columns of the events that it gives.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MappingTest {
    /// What it shows.
    pub name: String,
    /// The record: YAML that stands for JSON, or a text with the bytes as they come.
    pub record: Yaml,
    /// Columns of each event; `null` says that a column is empty.
    #[serde(default)]
    pub expect: Vec<BTreeMap<String, Yaml>>,
    /// The reason code, when the record is refused.
    pub rejected: Option<String>,
    /// What must not stand anywhere in the rows.
    #[serde(default)]
    pub never: Vec<String>,
}

impl MappingTest {
    /// Reads a file of tests alone: `tests` with a list.
    ///
    /// # Errors
    /// A [`Fault`] when it is no such file.
    pub fn parse(text: &str) -> Result<Vec<Self>, Fault> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Tests {
            tests: Vec<MappingTest>,
        }
        serde_yaml_ng::from_str(text).map(|file: Tests| file.tests).map_err(|error| fault("the file", &error.to_string()))
    }
}

/// What a mapping does when its condition holds.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) when: Vec<Condition>,
    pub(crate) columns: Vec<(ColumnId, Expression)>,
    pub(crate) params: Option<Expression>,
}

/// A mapping file that was checked.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// Name of the adapter.
    pub name: String,
    /// Version of the mapping.
    pub version: String,
    /// For people.
    pub title: String,
    pub(crate) fixed: [(ColumnId, String); 4],
    /// Whether records that are no JSON are OpenTelemetry exports.
    pub(crate) reads_otlp: bool,
    /// Whether the wrapper of CloudEvents is read too.
    pub(crate) keeps_cloudevents: bool,
    pub(crate) inside: Vec<Path>,
    /// Of each list one must hold something.
    pub(crate) needs: Vec<Vec<Path>>,
    pub(crate) accepts: Vec<Condition>,
    pub(crate) keep: Vec<Path>,
    pub(crate) unpack: Vec<Path>,
    pub(crate) secrets: Vec<Path>,
    pub(crate) each: Option<(Path, Option<Expression>)>,
    pub(crate) id: Option<(String, Expression)>,
    pub(crate) time: Expression,
    pub(crate) address: Option<Expression>,
    pub(crate) address_trusted: bool,
    pub(crate) traceparent: Option<Expression>,
    pub(crate) blocks: Vec<Block>,
    /// Its tests.
    pub tests: Vec<MappingTest>,
}

impl Mapping {
    /// Reads and checks a mapping file.
    ///
    /// # Errors
    /// The first [`Fault`] that is found.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let raw: Raw = serde_yaml_ng::from_str(text).map_err(|error| fault("the file", &error.to_string()))?;
        let check = Check { tables: &raw.tables };
        let plain = Block {
            when: Vec::new(),
            columns: check.columns("columns", &raw.columns)?,
            params: check.optional("params", raw.params.as_ref())?,
        };
        let mut blocks = vec![plain];
        for (number, variant) in raw.variants.iter().enumerate() {
            let at = format!("variants.{number}");
            blocks.push(Block {
                when: check.conditions(&format!("{at}.when"), &variant.when)?,
                columns: check.columns(&format!("{at}.columns"), &variant.columns)?,
                params: check.optional(&format!("{at}.params"), variant.params.as_ref())?,
            });
        }
        let each = raw.each.as_ref().map(|each| Ok((path("each.list", &each.list)?, check.optional("each.path", each.path.as_ref())?)));
        let id = raw.id.as_ref().map(|id| Ok((id.kind.clone(), check.expression("id.of", &id.of)?)));
        if raw.name.is_empty() || !raw.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            return Err(fault("name", "a name has small letters, digits and dashes"));
        }
        let source = raw.source;
        Ok(Self {
            version: raw.version.to_string(),
            title: raw.title,
            fixed: [
                (
                    ColumnId::source_kind,
                    one_of("source.kind", source.kind, &["mcp_gateway", "mcp_wire", "agent_runtime", "idp", "pdp", "cloud"])?,
                ),
                (ColumnId::source_vendor, source.vendor),
                (ColumnId::source_product, source.product),
                (
                    ColumnId::vantage,
                    one_of("source.vantage", source.vantage, &["gateway_observed", "idp_issued", "pdp_decided", "client_reported"])?,
                ),
            ],
            reads_otlp: raw.otlp,
            keeps_cloudevents: raw.cloudevents,
            inside: paths("inside", &raw.inside)?,
            needs: raw.needs.iter().map(any_of).collect::<Result<_, _>>()?,
            accepts: raw.accepts.as_ref().map_or(Ok(Vec::new()), |accepts| check.conditions("accepts", accepts))?,
            keep: paths("keep", &raw.keep)?,
            unpack: paths("unpack", &raw.unpack)?,
            secrets: paths("secrets", &raw.secrets)?,
            each: each.transpose()?,
            id: id.transpose()?,
            time: check.expression("time", &raw.time)?,
            address: check.optional("address", raw.address.as_ref())?,
            address_trusted: raw.address_trusted,
            traceparent: check.optional("traceparent", raw.traceparent.as_ref())?,
            blocks,
            tests: raw.tests,
            name: raw.name,
        })
    }
}
