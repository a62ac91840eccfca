//! One adapter a vendor: an element of a record to drafts of events.
//!
//! An adapter reads an element that is parsed and redacted already, fills the columns it knows, and
//! names the source's own id. Everything that rows have in common is done by [`crate::decode`].

mod cerbos;
mod keycloak;
mod okta;
mod opa;
mod toolhive;

use std::sync::Arc;

use crate::draft::{Draft, Input, ParamsAsCame};
use crate::json::Json;
use crate::keys::Keys;
use crate::mapping::{Mapping, MappingTest};
use crate::otlp;
use crate::reader::is_nothing;
use crate::redact::Redactor;
use crate::reject::Reject;

/// An adapter, by its name in configuration.
#[derive(Debug, Clone)]
pub enum Adapter {
    /// Okta System Log.
    Okta,
    /// Keycloak user and admin events: of the API, of listeners and of the log.
    Keycloak,
    /// Cerbos access and decision records, JSON and protobuf.
    Cerbos,
    /// OPA decision logs.
    Opa,
    /// ToolHive audit events.
    Toolhive,
    /// Any other: a mapping file.
    Mapped(Arc<Mapping>),
}

/// Adapters that are code.
const CODED: &[Adapter] = &[Adapter::Okta, Adapter::Keycloak, Adapter::Cerbos, Adapter::Opa, Adapter::Toolhive];

/// Mapping files that come with the program: name and text. Listed by the build.
const MAPPINGS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/mappings.rs"));
/// Tests of adapters that are code: name and text. Listed by the build.
const TESTS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/tests.rs"));

impl Adapter {
    /// All adapters that come with the program, by name.
    ///
    /// # Panics
    /// Never: a test reads every mapping that comes with the program.
    pub fn all() -> Vec<Self> {
        let mapping = |(_, text): &(&str, &str)| Mapping::parse(text).expect("the mappings that come with the program are tested");
        let mapped = MAPPINGS.iter().map(|file| Self::Mapped(Arc::new(mapping(file))));
        let mut all: Vec<Self> = CODED.iter().cloned().chain(mapped).collect();
        all.sort_by(|a, b| a.name().cmp(b.name()));
        all
    }

    /// The adapter of a name in configuration.
    pub fn by_name(name: &str) -> Option<Self> {
        let coded = CODED.iter().find(|adapter| adapter.name() == name).cloned();
        coded.or_else(|| {
            let (_, text) = MAPPINGS.iter().find(|(file, _)| *file == name)?;
            Some(Self::Mapped(Arc::new(Mapping::parse(text).ok()?)))
        })
    }

    /// Its name in configuration.
    pub fn name(&self) -> &str {
        match self {
            Self::Okta => "okta",
            Self::Keycloak => "keycloak",
            Self::Cerbos => "cerbos",
            Self::Opa => "opa",
            Self::Toolhive => "toolhive",
            Self::Mapped(mapping) => &mapping.name,
        }
    }

    /// What it reads, for people.
    pub fn title(&self) -> &str {
        match self {
            Self::Okta => "Okta System Log: API, event hooks, EventBridge",
            Self::Keycloak => "Keycloak user and admin events: API, listener and log",
            Self::Cerbos => "Cerbos access and decision records: JSON and protobuf",
            Self::Opa => "Open Policy Agent decision logs: uploads, arrays, lines",
            Self::Toolhive => "ToolHive audit events",
            Self::Mapped(mapping) => &mapping.title,
        }
    }

    /// The records that it is tested with, and what they give: from its mapping file, or from `NAME.tests.yaml` beside
    /// the mapping files for an adapter that is code.
    ///
    /// # Panics
    /// Never: a test reads every file that comes with the program.
    pub fn tests(&self) -> Vec<MappingTest> {
        if let Self::Mapped(mapping) = self {
            return mapping.tests.clone();
        }
        let file = TESTS.iter().find(|(name, _)| *name == self.name());
        file.map_or_else(Vec::new, |(_, text)| MappingTest::parse(text).expect("the tests that come with the program are tested"))
    }

    /// Version of the mapping; it goes up when the same bytes give other columns.
    pub fn version(&self) -> &str {
        match self {
            Self::Mapped(mapping) => &mapping.version,
            Self::Okta | Self::Keycloak => "2",
            Self::Cerbos | Self::Opa | Self::Toolhive => "3",
        }
    }

    /// Parses what stands in strings, where the adapter knows of some; false when there was nothing.
    pub(crate) fn unpack(&self, json: &mut Json<'_>) -> bool {
        match self {
            Self::Keycloak => keycloak::log::unpack(json),
            Self::Mapped(mapping) => mapping.unpack(json),
            _ => false,
        }
    }

    /// Takes secrets out, by where they stand and by name and form, and says where.
    pub(crate) fn redact(&self, json: &mut Json<'_>, redactor: &Redactor<'_>) -> Vec<String> {
        let Self::Mapped(mapping) = self else { return redactor.element(json).paths };
        let mut paths = mapping.redact(json, redactor);
        let kept = mapping.redact_kept(json, redactor, &mut paths);
        paths.extend(redactor.element(json).paths);
        mapping.restore(json, kept);
        paths
    }

    /// The form of a record that is not JSON itself, and its JSON; `None` when it is.
    pub(crate) fn other_form(&self, bytes: &[u8], headers: &[(String, Vec<u8>)]) -> Option<(&'static str, Result<Json<'static>, Reject>)> {
        match self {
            Self::Cerbos => cerbos::from_protobuf(bytes, headers).map(|json| ("protobuf", json)),
            Self::Keycloak => keycloak::log::from_text(bytes).map(|json| ("text_log", Ok(json))),
            Self::Mapped(mapping) if mapping.reads_otlp => otlp::from_protobuf(bytes).map(|json| ("protobuf", Ok(json))),
            _ => None,
        }
    }

    /// Wrappers that the adapter reads itself.
    pub(crate) fn kept_wrappers(&self) -> &'static [&'static str] {
        match self {
            Self::Mapped(mapping) if mapping.keeps_cloudevents => &["cloudevents"],
            _ => &[],
        }
    }

    /// The parameters of an element that is not redacted yet.
    pub fn params_as_came(&self, json: &Json<'_>, keys: &Keys) -> Option<ParamsAsCame> {
        match self {
            Self::Toolhive => toolhive::params(json).map(|params| ParamsAsCame::of(&params.canonical(), keys)),
            Self::Mapped(mapping) => mapping.params_as_came(json, keys),
            _ => None,
        }
    }

    /// Whether the element has no id of its own.
    pub fn needs_content_id(&self, json: &Json<'_>) -> bool {
        let id = match self {
            Self::Okta => okta::native_id(json),
            Self::Keycloak => json.get("id"),
            Self::Cerbos => json.get("callId"),
            Self::Opa => json.get("decision_id"),
            Self::Toolhive => json.get("audit_id"),
            Self::Mapped(mapping) => return mapping.needs_content_id(json),
        };
        id.and_then(Json::scalar).is_none_or(|id| is_nothing(&id))
    }

    /// The events of one element.
    ///
    /// # Errors
    /// A [`Reject`] when the element is not of the shape that this adapter knows.
    pub fn adapt<'a>(&'a self, input: &Input<'a>) -> Result<Vec<Draft>, Reject> {
        match self {
            Self::Okta => okta::adapt(input),
            Self::Keycloak => keycloak::adapt(input),
            Self::Cerbos => cerbos::adapt(input),
            Self::Opa => opa::adapt(input),
            Self::Toolhive => toolhive::adapt(input),
            Self::Mapped(mapping) => mapping.adapt(input),
        }
    }
}
