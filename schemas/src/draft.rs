//! What an adapter gets and what it gives, and the few setters that adapters share: those that are code and mapping files.

use std::borrow::Cow;

use crate::cell::{Member, Struct};
use crate::columns::Row;
use crate::destinations;
use crate::json::Json;
use crate::kept;
use crate::keys::Keys;
use crate::reader::{Reader, TimeField};
use crate::reject::{Code, Reject};

/// Most hops of a chain that are kept.
pub(crate) const MAX_HOPS: usize = 16;

/// What an adapter gets.
#[derive(Debug)]
pub struct Input<'a> {
    /// The redacted element.
    pub reader: &'a Reader<'a>,
    /// The parameters as they came, where the element holds some.
    pub params: Option<ParamsAsCame>,
    /// Headers of the record.
    pub headers: &'a [(String, Vec<u8>)],
    /// Keys, for keyed hashes.
    pub keys: &'a Keys,
}

/// What is known of the parameters before redaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamsAsCame {
    /// Keyed hash of their canonical JSON.
    pub mac: Vec<u8>,
    /// Its size, bytes.
    pub size_bytes: usize,
}

impl ParamsAsCame {
    pub(crate) fn of(canonical: &str, keys: &Keys) -> Self {
        Self { mac: keys.payload_mac(&kept::sha256(canonical.as_bytes())), size_bytes: canonical.len() }
    }
}

/// One event in the making. A row has some two hundred columns, so it is moved by its place.
#[derive(Debug, Default)]
pub struct Draft {
    /// The columns that the adapter filled.
    pub row: Box<Row>,
    /// Kind of the event within the vendor, part of its id.
    pub kind: Cow<'static, str>,
    /// The source's own id; without one the content is hashed.
    pub native_id: Option<String>,
    /// Which part of the element, when it gives several events.
    pub path: Option<String>,
}

/// A refusal of an element that the adapter does not know, naming what it looked for.
pub(crate) fn unknown_shape(adapter: &str, wanted: &str) -> Reject {
    Reject::new(Code::UnknownShape, format!("not a shape that adapter `{adapter}` knows: {wanted}"))
}

/// Sets the event time from a field of the payload.
pub(crate) fn set_time(row: &mut Row, time: Option<TimeField>) {
    if let Some(time) = time {
        row.event_time = Some(time.micros);
        row.event_time_raw = Some(time.raw);
        row.event_time_source = Some("payload".into());
        row.event_time_tz_assumed = Some(time.zone_assumed);
    }
}

/// Sets trace and span from a W3C `traceparent`; a malformed one is left alone.
pub(crate) fn set_trace(row: &mut Row, traceparent: Option<&str>) {
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

/// Chain out of an `act` claim (RFC 8693), the presenting party first. What is no such claim, or longer than
/// [`MAX_HOPS`], is kept as far as it goes and marked.
pub(crate) fn set_act_chain(row: &mut Row, act: &Json<'_>) {
    let mut hops: Vec<Struct> = Vec::new();
    let (mut next, mut depth, mut wrong) = (Some(act), 0, None);
    while let Some(hop) = next {
        if !matches!(hop, Json::Object(_)) {
            wrong = Some(if depth == 0 { "act_not_object" } else { "nested_act_not_object" });
            break;
        }
        if !matches!(hop.get("sub"), None | Some(Json::Text(_))) {
            wrong = wrong.or(Some("sub_not_string"));
        }
        if hops.len() < MAX_HOPS {
            let member = |key: &str| Member::from(hop.get(key).and_then(Json::scalar));
            hops.push(vec![Member::Int(depth), member("iss"), member("sub"), member("client_id"), member("sub_profile")]);
        }
        depth += 1;
        next = hop.get("act").filter(|act| !act.is_empty());
    }
    row.delegation_truncated = (depth as usize > MAX_HOPS).then_some(true);
    row.delegation_malformed = wrong.map(|_| true);
    row.delegation_malformed_reason = wrong.map(str::to_owned);
    row.delegation_depth = Some(depth);
    row.delegation_chain = (!hops.is_empty()).then_some(hops);
    row.delegation_type = Some(if depth == 0 { "unknown" } else { "act" }.into());
}

/// Address and port out of `ip`, `ip:port`, `[v6]:port`; anything else is kept as it is.
pub(crate) fn set_address(row: &mut Row, text: Option<String>, trusted: bool) {
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

/// Parameters: redacted text, keyed hash and size as they came, names and destinations.
pub(crate) fn set_params(row: &mut Row, redacted: &Json<'_>, input: &Input<'_>) {
    let canonical = redacted.canonical();
    let now = ParamsAsCame::of(&canonical, input.keys);
    let came = input.params.clone().unwrap_or_else(|| now.clone());
    row.params_state = Some(if came == now { "present" } else { "redacted" }.into());
    row.params_sha256 = Some(came.mac);
    row.params_bytes = i64::try_from(came.size_bytes).ok();
    let mut names: Vec<String> = redacted.members().iter().map(|(k, _)| k.to_string()).collect();
    names.sort_unstable();
    row.arg_keys = (!names.is_empty()).then_some(names);
    row.dest_entities = destinations::find(redacted);
    row.params_json = Some(canonical);
}
