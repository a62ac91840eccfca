//! One adapter a vendor: an element of a record to drafts of events.
//!
//! An adapter reads an element that is parsed and redacted already, fills the columns it knows, and
//! names the source's own id. Everything that rows have in common is done by [`crate::decode`].

mod cerbos;
mod destinations;
mod keycloak;
mod okta;
mod opa;
mod toolhive;

use crate::columns::Row;
use crate::json::Json;
use crate::keys::Keys;
use crate::reader::{Reader, TimeField, is_nothing};
use crate::reject::{Code, Reject};

/// The adapters that exist, by their names in configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Adapter {
    /// Okta System Log.
    Okta,
    /// Keycloak user and admin events, API and listener form.
    Keycloak,
    /// Cerbos access and decision records, JSON and protobuf.
    Cerbos,
    /// OPA decision logs.
    Opa,
    /// ToolHive audit events.
    Toolhive,
}

/// What an adapter gets.
#[derive(Debug)]
pub struct Input<'a> {
    /// The redacted element.
    pub reader: &'a Reader<'a>,
    /// The element before redaction, for keyed hashes only, when [`Adapter::needs_original`] asked for it.
    pub original: Option<&'a Json<'a>>,
    /// Headers of the record.
    pub headers: &'a [(String, Vec<u8>)],
    /// Keys, for keyed hashes.
    pub keys: &'a Keys,
}

/// One event in the making.
#[derive(Debug, Default)]
pub struct Draft {
    /// The columns that the adapter filled.
    pub row: Row,
    /// Kind of the event within the vendor, part of its id.
    pub kind: &'static str,
    /// The source's own id; without one the content is hashed.
    pub native_id: Option<String>,
    /// Which part of the element, when it gives several events.
    pub path: Option<String>,
}

impl Adapter {
    /// All adapters.
    pub const ALL: &'static [Adapter] = &[Self::Okta, Self::Keycloak, Self::Cerbos, Self::Opa, Self::Toolhive];

    /// The adapter of a name in configuration.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|a| a.name() == name)
    }

    /// Its name in configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Okta => "okta",
            Self::Keycloak => "keycloak",
            Self::Cerbos => "cerbos",
            Self::Opa => "opa",
            Self::Toolhive => "toolhive",
        }
    }

    /// Version of the mapping; it goes up when the same bytes give other columns.
    pub fn version(self) -> &'static str {
        "1"
    }

    /// The JSON of a record that is not JSON itself; `None` when it is.
    pub fn from_binary(self, bytes: &[u8], headers: &[(String, Vec<u8>)]) -> Option<Result<Json<'static>, Reject>> {
        match self {
            Self::Cerbos => cerbos::from_protobuf(bytes, headers),
            _ => None,
        }
    }

    /// Whether keyed hashes of values before redaction are wanted.
    pub fn needs_original(self, json: &Json<'_>) -> bool {
        self == Self::Toolhive && json.get("data").is_some()
    }

    /// Whether the element has no id of its own.
    pub fn needs_content_id(self, json: &Json<'_>) -> bool {
        let id = match self {
            Self::Okta => okta::native_id(json),
            Self::Keycloak => json.get("id"),
            Self::Cerbos => json.get("callId"),
            Self::Opa => json.get("decision_id"),
            Self::Toolhive => json.get("audit_id"),
        };
        id.and_then(Json::scalar).is_none_or(|id| is_nothing(&id))
    }

    /// The events of one element.
    ///
    /// # Errors
    /// A [`Reject`] when the element is not of the shape that this adapter knows.
    pub fn adapt(self, input: &Input<'_>) -> Result<Vec<Draft>, Reject> {
        match self {
            Self::Okta => okta::adapt(input),
            Self::Keycloak => keycloak::adapt(input),
            Self::Cerbos => cerbos::adapt(input),
            Self::Opa => opa::adapt(input),
            Self::Toolhive => toolhive::adapt(input),
        }
    }
}

/// A refusal of an element that the adapter does not know, naming what it looked for.
fn unknown_shape(adapter: &str, wanted: &str) -> Reject {
    Reject::new(Code::UnknownShape, format!("not a shape that adapter `{adapter}` knows: {wanted}"))
}

/// Sets the event time from a field of the payload.
fn set_time(row: &mut Row, time: Option<TimeField>) {
    if let Some(time) = time {
        row.event_time = Some(time.micros);
        row.event_time_raw = Some(time.raw);
        row.event_time_source = Some("payload".into());
        row.event_time_tz_assumed = Some(time.zone_assumed);
    }
}

/// Sets trace and span from a W3C `traceparent`; a malformed one is left alone.
fn set_trace(row: &mut Row, traceparent: Option<&str>) {
    let parts: Vec<&str> = traceparent.unwrap_or_default().split('-').collect();
    let is_hex = |text: &str, length: usize| text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit());
    if let [_, trace, span, _] = parts[..]
        && is_hex(trace, 32)
        && is_hex(span, 16)
    {
        row.trace_id = Some(trace.to_ascii_lowercase());
        row.span_id = Some(span.to_ascii_lowercase());
    }
}

/// Address and port out of `ip`, `ip:port`, `[v6]:port`; anything else is kept as it is.
fn set_address(row: &mut Row, text: Option<String>, trusted: bool) {
    use std::net::{IpAddr, SocketAddr};
    let Some(text) = text else { return };
    row.src_ip_trusted = Some(trusted);
    if let Ok(socket) = text.parse::<SocketAddr>() {
        row.src_ip = Some(socket.ip().to_canonical().to_string());
        row.src_port = Some(i32::from(socket.port()));
    } else if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        row.src_ip = Some(ip.to_canonical().to_string());
    } else {
        row.src_ip = Some(text);
    }
}

/// Parameters: redacted text, keyed hash of the original, size, names and destinations.
fn set_params(row: &mut Row, redacted: &Json<'_>, original: Option<&Json<'_>>, keys: &Keys) {
    let canonical = redacted.canonical();
    let before = original.map_or_else(|| canonical.clone(), Json::canonical);
    row.params_sha256 = Some(keys.payload_mac(before.as_bytes()));
    row.params_bytes = i64::try_from(before.len()).ok();
    row.params_state = Some(if canonical == before { "present" } else { "redacted" }.into());
    let mut names: Vec<String> = redacted.members().iter().map(|(k, _)| k.to_string()).collect();
    names.sort_unstable();
    row.arg_keys = (!names.is_empty()).then_some(names);
    row.dest_entities = destinations::find(redacted);
    row.params_json = Some(canonical);
}
