//! Cerbos access and decision records, JSON (protojson) and protobuf (seen: 0.51.0, 0.55.0).
//!
//! A decision record holds N inputs of M actions: each pair is one event. Outputs name only the resource
//! id, so they are joined to inputs by index. The request's time is the one in the call id (a ULID); a
//! decision's `timestamp` is when its record was built, once seen 125 s later. `EFFECT_ALLOW` beside an
//! evaluation error is kept as allow with the error in `pdp_errors`.

mod who;
mod wire;

use std::collections::BTreeMap;

use crate::columns::Row;
use crate::draft::{Draft, Input, set_address, set_params, set_time, set_trace, unknown_shape};
use crate::json::Json;
use crate::protobuf;
use crate::reader::{Reader, TimeField};
use crate::reject::{Code, Reject};
use crate::time::TimeFormat;

const ENCODING_HEADER: &str = "cerbos.audit.encoding";
const KIND_HEADER: &str = "cerbos.audit.kind";
/// Most decisions in one record; Cerbos itself allows 50 resources of 50 actions unless told otherwise.
const MAX_EVENTS: usize = 10_000;
/// Most errors that are kept beside a decision.
const MAX_ERRORS: usize = 16;
/// Most bytes that the decisions of one record may hold together.
const MAX_UNFOLDED: usize = 64 << 20;

pub(super) fn adapt(input: &Input<'_>) -> Result<Vec<Draft>, Reject> {
    let r = input.reader;
    let Some(call_id) = r.text("callId") else {
        return Err(unknown_shape("cerbos", "`callId`"));
    };
    let base = common(r, &call_id);
    let has = |key: &str| r.peek(key).is_some_and(|v| !v.is_empty());
    let is_access = header(input.headers, KIND_HEADER).map_or(has("method"), |kind| kind == "access");
    // A decision that is there is read, whatever a header or another field says.
    let mut drafts = if has("checkResources") {
        check(base, r, input)?
    } else if has("planResources") {
        vec![plan(base, input)]
    } else if is_access {
        vec![access(base, r)]
    } else {
        vec![Draft { row: undecided(base, r).into(), kind: "decision".into(), native_id: None, path: None }]
    };
    drafts.iter_mut().for_each(|draft| draft.native_id = Some(call_id.clone()));
    Ok(drafts)
}

fn common(r: &Reader<'_>, call_id: &str) -> Row {
    let mut row = Row {
        source_kind: Some("pdp".into()),
        source_vendor: Some("cerbos".into()),
        pdp_vendor: Some("cerbos".into()),
        vantage: Some("pdp_decided".into()),
        decision_source: Some("pdp".into()),
        correlation_id: Some(call_id.into()),
        ..Row::default()
    };
    let logged = r.time("timestamp", TimeFormat::Rfc3339);
    row.source_logged_time = logged.as_ref().map(|t| t.micros);
    set_time(&mut row, ulid_time(call_id).or(logged));
    let metadata = |key: &str| r.at(&format!("metadata.{key}.values.0")).and_then(Json::text).map(str::to_owned);
    set_trace(&mut row, metadata("traceparent").as_deref());
    row.request_id = metadata("x-request-id");
    row.mcp_session_id = metadata("mcp-session-id");
    set_address(&mut row, r.text("peer.address"), true);
    row.user_agent = r.text("peer.userAgent");
    row.forwarded_for = r.texts("peer.forwardedFor");
    row.policy_version = r.text("policySource.git.hash").or_else(|| r.text("policySource.hub.remoteBundle.bundleId"));
    row
}

fn access(mut row: Row, r: &Reader<'_>) -> Draft {
    row.category = Some("session".into());
    row.activity = Some("access".into());
    row.protocol = Some("grpc".into());
    row.method = r.text("method");
    // protojson leaves 0 out: no status is success. A status that is no number is not.
    let absent = r.peek("statusCode").is_none_or(Json::is_empty);
    let status = r.integer("statusCode").or(absent.then_some(0));
    let outcome = match status {
        Some(0) => "success",
        Some(_) => "error",
        None => "unknown",
    };
    row.outcome = Some(outcome.into());
    row.outcome_ground = Some("source_field".into());
    row.outcome_code = status.map(|s| s.to_string());
    row.source_event_type = Some("access".into());
    Draft { row: row.into(), kind: "access".into(), native_id: None, path: None }
}

fn check(mut base: Row, r: &Reader<'_>, input: &Input<'_>) -> Result<Vec<Draft>, Reject> {
    let inputs = r.items("checkResources.inputs");
    let outputs = r.items("checkResources.outputs");
    let mut left = bounded(r, inputs, outputs)?;
    let mut drafts = Vec::with_capacity(left);
    for (i, request) in inputs.iter().enumerate() {
        let output = outputs.get(i);
        let allowed = output.map(allowed);
        let before = drafts.len();
        for action in actions(request).filter_map(Json::scalar) {
            // The one that comes last, and most have one only, need not be copied.
            left = left.saturating_sub(1);
            let mut row = if left == 0 { std::mem::take(&mut base) } else { base.clone() };
            asked(&mut row, request, input);
            row.actions_requested = request.get("actions").and_then(Json::texts);
            row.actions_approved.clone_from(&allowed);
            decided(&mut row, output, &action);
            row.source_event_type = Some("decision".into());
            drafts.push(Draft { row: row.into(), kind: "decision".into(), native_id: None, path: Some(format!("input/{i}/{action}")) });
        }
        if drafts.len() == before {
            r.fault(format!("checkResources.inputs.{i} asks for no action"));
        }
    }
    if drafts.is_empty() {
        drafts.push(Draft { row: undecided(base, r).into(), kind: "decision".into(), native_id: None, path: None });
    }
    Ok(drafts)
}

/// The actions asked for: a list, or one as text.
fn actions<'j>(request: &'j Json<'j>) -> impl Iterator<Item = &'j Json<'j>> {
    let list: &[Json<'_>] = match request.get("actions") {
        Some(Json::Array(items)) => items,
        Some(text @ Json::Text(_)) => std::slice::from_ref(text),
        _ => &[],
    };
    list.iter()
}

/// How many actions a record asks for. Refuses one whose events together would be far larger than itself: each repeats its
/// input, its output and what the record says once for all.
fn bounded(r: &Reader<'_>, inputs: &[Json<'_>], outputs: &[Json<'_>]) -> Result<usize, Reject> {
    let asked_for: usize = inputs.iter().map(|request| actions(request).count()).sum();
    if asked_for <= 1 {
        return Ok(asked_for);
    }
    let mut rest = r.peek_all().compact().len();
    let mut unfolded = 0;
    for (i, request) in inputs.iter().enumerate() {
        let size = request.compact().len() + outputs.get(i).map_or(0, |o| o.compact().len());
        rest = rest.saturating_sub(size);
        unfolded += actions(request).count() * size;
    }
    unfolded += asked_for * rest;
    if asked_for > MAX_EVENTS || unfolded > MAX_UNFOLDED {
        let reason =
            format!("the record unfolds to {asked_for} decisions of {unfolded} bytes, more than {MAX_EVENTS} or {MAX_UNFOLDED} bytes");
        return Err(Reject::new(Code::TooLarge, reason));
    }
    Ok(asked_for)
}

/// Actions that an output allows, in its order.
fn allowed(output: &Json<'_>) -> Vec<String> {
    let actions = output.get("actions").map(Json::members).unwrap_or_default();
    let effects: BTreeMap<&str, &Json<'_>> = actions.iter().map(|(k, v)| (k.as_ref(), v)).collect();
    let is_allowed = |action: &str| effects.get(action).and_then(|e| e.get("effect")).and_then(Json::text) == Some("EFFECT_ALLOW");
    actions.iter().map(|(k, _)| k.to_string()).filter(|a| is_allowed(a)).collect()
}

/// Who asked for what, from a check or plan input.
fn asked(row: &mut Row, request: &Json<'_>, input: &Input<'_>) {
    let text = |path: &str| request.at(path).and_then(Json::scalar);
    row.category = Some("authz_decision".into());
    row.activity = Some("check".into());
    row.protocol = Some("grpc".into());
    row.decision_id = text("requestId");
    row.resource_type = text("resource.kind");
    row.resource_id = text("resource.id");
    row.resource_owner = text("resource.attr.owner");
    row.region = text("resource.attr.region");
    row.mcp_server_name = text("resource.attr.server");
    row.policy_scope = text("resource.scope");
    if row.resource_type.as_deref().is_some_and(|kind| kind.contains("tool")) {
        row.tool_name_raw.clone_from(&row.resource_id);
        row.tool_name = row.resource_id.as_deref().map(|id| id.rsplit('/').next().unwrap_or(id).to_owned());
    }
    who::fill(row, request);
    if let Some(arguments) = request.at("resource.attr.arguments") {
        set_params(row, arguments, input);
    }
}

fn decided(row: &mut Row, output: Option<&Json<'_>>, action: &str) {
    row.action_requested = Some(action.into());
    let entry = output.and_then(|o| o.get("actions")).and_then(|m| m.get(action));
    let text = |key: &str| entry.and_then(|e| e.get(key)).and_then(Json::scalar);
    let effect = text("effect");
    let (decision, outcome) = match effect.as_deref() {
        Some("EFFECT_ALLOW") => ("allow", "success"),
        Some("EFFECT_DENY" | "EFFECT_NO_MATCH") => ("deny", "denied"),
        _ => ("indeterminate", "unknown"),
    };
    row.decision = Some(decision.into());
    row.outcome = Some(outcome.into());
    row.outcome_ground = Some("policy_effect".into());
    row.outcome_code = effect;
    row.policy_id = text("policy");
    row.policy_scope = text("scope").or_else(|| row.policy_scope.take());
    row.action_approved = (decision == "allow").then(|| action.to_owned());
    let Some(output) = output else { return };
    let said = output.get("outputs").map(Json::items).unwrap_or_default();
    let of_action = |o: &&Json<'_>| o.get("action").and_then(Json::text).is_none_or(|a| a == action);
    let reasons: Vec<String> = said.iter().filter(of_action).filter_map(|o| o.get("val")).map(reason_of).collect();
    row.decision_reason = if reasons.is_empty() { row.policy_id.clone() } else { Some(reasons.join("; ")) };
    row.pdp_errors = errors_of(output);
}

/// What went wrong beside a decision: conditions, outputs of rules, and what does not fit its schema.
fn errors_of(output: &Json<'_>) -> Option<Vec<String>> {
    let list = |key: &str| output.get(key).map(Json::items).unwrap_or_default().iter();
    let of_outputs = list("outputs").filter(|o| o.get("error").is_some());
    let errors = list("evaluationErrors").chain(of_outputs).chain(list("validationErrors"));
    let errors: Vec<String> = errors.take(MAX_ERRORS).map(Json::compact).collect();
    (!errors.is_empty()).then_some(errors)
}

fn reason_of(value: &Json<'_>) -> String {
    value.get("reason").and_then(Json::scalar).or_else(|| value.scalar()).unwrap_or_else(|| value.compact())
}

fn plan(mut row: Row, input: &Input<'_>) -> Draft {
    let r = input.reader;
    let at = |path: &str| r.at(&format!("planResources.{path}"));
    let request = r.object("planResources.input").unwrap_or(&Json::Null);
    asked(&mut row, request, input);
    row.activity = Some("plan".into());
    row.actions_requested = request.get("actions").and_then(Json::texts);
    row.action_requested = request.get("action").and_then(Json::scalar).or_else(|| row.actions_requested.as_ref()?.first().cloned());
    row.pdp_errors = r.peek("planResources.output").and_then(errors_of);
    for list in ["evaluationErrors", "validationErrors"] {
        at(&format!("output.{list}"));
    }
    row.outcome_reason = r.text("planResources.error");
    let kind = at("output.filter.kind").and_then(Json::scalar);
    let (decision, outcome) = match kind.as_deref() {
        Some("KIND_ALWAYS_ALLOWED") => ("allow", "success"),
        Some("KIND_ALWAYS_DENIED") => ("deny", "denied"),
        Some("KIND_CONDITIONAL") => ("conditional", "success"),
        _ => ("indeterminate", "unknown"),
    };
    row.decision = Some(decision.into());
    row.outcome = Some(outcome.into());
    row.outcome_ground = Some("policy_effect".into());
    row.outcome_code = kind;
    row.decision_reason = at("output.filterDebug").and_then(Json::scalar);
    row.source_event_type = Some("plan".into());
    Draft { row: row.into(), kind: "decision".into(), native_id: None, path: None }
}

/// A decision record without inputs: refused before anything was decided, or an older form.
fn undecided(mut row: Row, r: &Reader<'_>) -> Row {
    row.category = Some("authz_decision".into());
    row.activity = Some("check".into());
    row.decision = Some("indeterminate".into());
    row.outcome = Some("unknown".into());
    row.outcome_ground = Some("policy_effect".into());
    row.outcome_reason = r.text("checkResources.error").or_else(|| r.text("error"));
    row.source_event_type = Some("decision".into());
    row
}

/// The time in the first 48 bits of a ULID (Crockford base 32), in milliseconds.
fn ulid_time(ulid: &str) -> Option<TimeField> {
    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    if ulid.len() != 26 {
        return None;
    }
    let digit = |b: u8| ALPHABET.iter().position(|a| *a == b.to_ascii_uppercase());
    let millis = ulid.bytes().take(10).try_fold(0_i64, |n, b| Some(n * 32 + i64::try_from(digit(b)?).ok()?))?;
    // Ten digits hold 50 bits; a ULID's first digit is at most 7.
    (millis < 253_402_300_800_000).then(|| TimeField { micros: millis * 1000, raw: ulid.into(), zone_assumed: false })
}

fn header(headers: &[(String, Vec<u8>)], name: &str) -> Option<String> {
    let (_, value) = headers.iter().find(|(key, _)| key == name)?;
    String::from_utf8(value.clone()).ok()
}

/// JSON of a protobuf record, told by its header, or by a first byte that no JSON has.
pub(super) fn from_protobuf(bytes: &[u8], headers: &[(String, Vec<u8>)]) -> Option<Result<Json<'static>, Reject>> {
    let said = header(headers, ENCODING_HEADER);
    // 0x0a is field 1, length-delimited: `call_id`. As JSON it would be a line feed.
    let looks = said.is_none() && bytes.first() == Some(&0x0a) && bytes.get(1) == Some(&26);
    if said.as_deref() != Some("protobuf") && !looks {
        return None;
    }
    let access = header(headers, KIND_HEADER).as_deref() == Some("access");
    let fields = if access { wire::ACCESS } else { wire::DECISION };
    Some(
        protobuf::read(bytes, fields)
            .ok_or_else(|| Reject::new(Code::NotProtobuf, "the record is marked protobuf and cannot be read as such")),
    )
}
