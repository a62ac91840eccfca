//! The documents of a Sigma file: rules, correlations and filters, with what they say of themselves.
//!
//! Limits: [`MAX_DOCUMENTS`] documents a text. `action: global` and the like, which Sigma 2 dropped, are refused.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_yaml_ng::{Mapping, Value};

use super::correlation::Correlation;
use super::error::{Fault, SigmaError};

/// Most documents in one text.
const MAX_DOCUMENTS: usize = 1_000;

/// One document.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) meta: Meta,
    pub(super) body: Body,
}

/// What a document holds.
#[derive(Debug, Clone)]
pub(super) enum Body {
    Rule { logsource: BTreeMap<String, String>, detection: Mapping },
    Correlation(Correlation),
    Filter { targets: Targets, logsource: BTreeMap<String, String>, section: Mapping },
}

/// Which rules a filter is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Targets {
    Any,
    Named(Vec<String>),
}

/// What a document says of itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Meta {
    pub(super) title: String,
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) status: Option<String>,
    pub(super) level: Option<String>,
    pub(super) description: Option<String>,
    pub(super) author: Option<String>,
    pub(super) license: Option<String>,
    pub(super) references: Vec<String>,
    pub(super) tags: Vec<String>,
    pub(super) false_positives: Vec<String>,
}

impl Meta {
    /// Whether a reference means this document.
    pub(super) fn is(&self, reference: &str) -> bool {
        self.name.as_deref() == Some(reference) || self.id.as_deref().is_some_and(|id| id.eq_ignore_ascii_case(reference))
    }

    /// The error that this document has.
    pub(super) fn failed(&self, fault: Fault) -> SigmaError {
        SigmaError { document: format!("`{}`", self.title), fault }
    }
}

/// Reads all documents of a text.
pub(super) fn documents(text: &str) -> Result<Vec<Document>, SigmaError> {
    let mut found = Vec::new();
    for (i, document) in serde_yaml_ng::Deserializer::from_str(text).enumerate() {
        let at = |fault| SigmaError { document: format!("document {}", i + 1), fault };
        if i >= MAX_DOCUMENTS {
            return Err(at(Fault::Invalid(format!("more than {MAX_DOCUMENTS} documents"))));
        }
        match Value::deserialize(document).map_err(|e| at(Fault::Yaml(e.to_string())))? {
            Value::Null => {}
            Value::Mapping(map) => {
                let meta = meta(&map).map_err(at)?;
                let body = body(&map).map_err(|fault| meta.failed(fault))?;
                found.push(Document { meta, body });
            }
            _ => return Err(at(Fault::Invalid("it is no map".into()))),
        }
    }
    Ok(found)
}

fn meta(map: &Mapping) -> Result<Meta, Fault> {
    let text = |key: &str| map.get(key).and_then(Value::as_str).map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
    let title = text("title").ok_or_else(|| Fault::Invalid("it has no title".into()))?;
    Ok(Meta {
        title,
        id: text("id"),
        name: text("name"),
        status: text("status"),
        level: text("level"),
        description: text("description"),
        author: text("author"),
        license: text("license"),
        references: texts(map.get("references")),
        tags: texts(map.get("tags")),
        false_positives: texts(map.get("falsepositives")),
    })
}

fn body(map: &Mapping) -> Result<Body, Fault> {
    if map.contains_key("action") {
        return Err(Fault::Unsupported("`action`: write every document out".into()));
    }
    let section = |key: &str| map.get(key).and_then(Value::as_mapping);
    if let Some(correlation) = map.get("correlation") {
        let correlation = correlation.as_mapping().ok_or_else(|| Fault::Invalid("`correlation` is no map".into()))?;
        return Ok(Body::Correlation(Correlation::parse(correlation)?));
    }
    let logsource = logsource(section("logsource").ok_or_else(|| Fault::Invalid("it has no log source".into()))?);
    if let Some(filter) = section("filter") {
        let targets = match filter.get("rules") {
            Some(Value::String(any)) if any.eq_ignore_ascii_case("any") => Targets::Any,
            Some(value) if !texts(Some(value)).is_empty() => Targets::Named(texts(Some(value))),
            _ => return Err(Fault::Invalid("a filter needs `rules`: a list, or `any`".into())),
        };
        return Ok(Body::Filter { targets, logsource, section: filter.clone() });
    }
    let detection = section("detection").ok_or_else(|| Fault::Invalid("it has no detection, correlation or filter".into()))?;
    Ok(Body::Rule { logsource, detection: detection.clone() })
}

/// `category`, `product` and `service`; the rest is for people.
fn logsource(map: &Mapping) -> BTreeMap<String, String> {
    let text = |key: &str| map.get(key).and_then(Value::as_str).map(|v| (key.to_owned(), v.to_owned()));
    ["category", "product", "service"].into_iter().filter_map(text).collect()
}

/// A text or a list of texts.
pub(super) fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Sequence(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}
