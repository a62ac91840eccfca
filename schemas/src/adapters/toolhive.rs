//! ToolHive audit events (seen: v0.47.0; also the registry server's dotted types).
//!
//! `outcome` is the HTTP status there: a tool error comes as `success`, and so can a denial. So the captured response,
//! where there is one, decides first. `subjects.user` may be `anonymous` while `user_id` is known. The chain never holds
//! the person. A virtual server puts the backend's name before a tool's; it is taken off where the event names the backend.

mod answer;

use std::borrow::Cow;

use crate::cell::Member;
use crate::columns::Row;
use crate::draft::{Draft, Input, MAX_HOPS, set_address, set_params, set_time, set_trace, unknown_shape};
use crate::json::Json;
use crate::reader::Reader;
use crate::reject::Reject;
use crate::time::TimeFormat;

pub(super) fn adapt(input: &Input<'_>) -> Result<Vec<Draft>, Reject> {
    let r = input.reader;
    let (Some(id), Some(kind)) = (r.text("audit_id"), r.text("type")) else {
        return Err(unknown_shape("toolhive", "`audit_id` and `type`"));
    };
    let mut row = Row {
        source_kind: Some("mcp_gateway".into()),
        source_vendor: Some("toolhive".into()),
        vantage: Some("gateway_observed".into()),
        gateway_name: Some("toolhive".into()),
        protocol: Some("mcp".into()),
        ..Row::default()
    };
    set_time(&mut row, r.time("logged_at", TimeFormat::Rfc3339));
    row.source_logged_time = r.time("time", TimeFormat::Rfc3339).map(|t| t.micros);
    who(&mut row, r);
    row.mcp_server_name = r.text("component");
    row.service_name.clone_from(&row.mcp_server_name);
    row.mcp_backend_name = r.text("metadata.extra.backend_name");
    what(&mut row, r, &kind);
    call(&mut row, input);
    row.duration_us = duration(r);
    row.retry_attempt = r.integer("metadata.extra.retry_count").and_then(|count| i32::try_from(count).ok());
    row.result_bytes = r.integer("metadata.extra.response_size_bytes");
    row.request_id = r.text("source.extra.request_id");
    row.user_agent = r.text("source.extra.user_agent").or_else(|| r.text("metadata.extra.user_agent"));
    // The first X-Forwarded-For address: the caller can write what it likes there. Of a workflow it is no address.
    if r.peek("source.type").and_then(Json::text) != Some("local") {
        set_address(&mut row, r.text("source.value"), false);
    }
    outcome(&mut row, r, &kind);
    row.source_event_type = Some(kind);
    Ok(vec![Draft { row: row.into(), kind: "audit".into(), native_id: Some(id), path: None }])
}

fn duration(r: &Reader<'_>) -> Option<i64> {
    let millis = r.integer("metadata.extra.duration_ms")?;
    let micros = millis.checked_mul(1000);
    if micros.is_none() {
        r.fault(format!("metadata.extra.duration_ms: {millis} is no duration"));
    }
    micros
}

fn who(row: &mut Row, r: &Reader<'_>) {
    row.delegator_id = r.text("subjects.user_id").or_else(|| r.text("subjects.sub"));
    row.delegator_name = r.text("subjects.user").filter(|u| u != "anonymous");
    row.delegator_email = row.delegator_name.clone().filter(|n| n.contains('@'));
    let known = row.delegator_id.is_some() || row.delegator_name.is_some();
    row.delegator_type = Some(if known { "user" } else { "anonymous" }.into());
    row.client_name = r.text("subjects.client_name");
    row.client_version = r.text("subjects.client_version");
    let hops = r.items("delegation.chain");
    chain(row, r, hops);
    let text = |hop: &Json<'_>, key: &str| hop.get(key).and_then(Json::scalar);
    match hops.first() {
        Some(presenter) => {
            row.agent_id = text(presenter, "sub");
            row.agent_issuer = text(presenter, "iss");
            row.agent_type = Some("ai_agent".into());
            row.agent_verified = Some(true);
        }
        None => {
            row.agent_id.clone_from(&row.client_name);
            row.agent_type = row.agent_id.as_ref().map(|_| "oauth_client".into());
            row.agent_verified = row.agent_id.as_ref().map(|_| true);
        }
    }
    row.agent_name.clone_from(&row.client_name);
    row.delegator_issuer = row.agent_issuer.clone().filter(|_| known);
}

/// The chain, and whether all of it is there: the gateway says what it left out, and so do we.
fn chain(row: &mut Row, r: &Reader<'_>, hops: &[Json<'_>]) {
    let omitted = r.integer("delegation.omitted").unwrap_or(0).max(0);
    let is_cut = hops.len() > MAX_HOPS || omitted > 0;
    row.delegation_truncated = r.flag("delegation.truncated").map(|said| said || is_cut).or(is_cut.then_some(true));
    let nameless = hops.iter().any(|hop| hop.get("sub").and_then(Json::scalar).is_none());
    row.delegation_malformed = r.flag("delegation.malformed").map(|said| said || nameless).or(nameless.then_some(true));
    let reason = r.text("delegation.malformedReason");
    row.delegation_malformed_reason = reason.or_else(|| nameless.then(|| "sub_not_string".into()));
    let member = |hop: &Json<'_>, key: &str| Member::from(hop.get(key).and_then(Json::scalar));
    let kept = hops
        .iter()
        .take(MAX_HOPS)
        .zip(0..)
        .map(|(hop, pos)| vec![Member::Int(pos), member(hop, "iss"), member(hop, "sub"), member(hop, "client_id"), Member::Null]);
    row.delegation_chain = (!hops.is_empty()).then(|| kept.collect());
    row.delegation_depth = i64::try_from(hops.len()).ok().and_then(|kept| i32::try_from(kept.saturating_add(omitted)).ok());
    let of_none = if row.delegation_malformed == Some(true) { "unknown" } else { "none" };
    row.delegation_type = Some(if hops.is_empty() { of_none } else { "act" }.into());
}

fn what(row: &mut Row, r: &Reader<'_>, kind: &str) {
    row.method = r.text("target.method");
    let target = r.text("target.type");
    let name = r.text("target.name");
    let (category, activity) = match kind {
        "mcp_tool_call" => ("tool_call", "call"),
        "mcp_resource_read" => ("resource_access", "read"),
        "mcp_prompt_get" => ("prompt", "get"),
        "mcp_initialize" | "sse_connection" => ("session", "start"),
        k if k.ends_with("_list") => ("discovery", "list"),
        k if is_workflow(k) => ("tool_call", "workflow"),
        k if k.contains('.') => ("admin", k.rsplit('.').next().unwrap_or("other")),
        _ => ("session", "request"),
    };
    row.category = Some(category.into());
    row.activity = Some(activity.into());
    row.resource_type = target;
    match (category, activity) {
        (_, "workflow") => {
            workflow(row, r);
            row.resource_name = name;
        }
        ("tool_call", _) => {
            row.tool_name = name.as_deref().map(|name| plain_tool(name, row.mcp_backend_name.as_deref()).to_owned());
            row.tool_name_raw = name;
            row.tool_type = Some("tool".into());
        }
        ("resource_access", _) => {
            row.tool_type = Some("resource".into());
            row.resource_uri = name;
        }
        ("prompt", _) => {
            row.tool_type = Some("prompt".into());
            row.resource_name = name;
        }
        _ => row.resource_name = name,
    }
    if matches!(category, "tool_call" | "resource_access" | "prompt") {
        row.action_requested.clone_from(&row.activity);
    }
    r.at("target.endpoint");
}

fn is_workflow(kind: &str) -> bool {
    kind.starts_with("vmcp_workflow")
}

/// A composite tool and its steps: one run has one id, and a step's tool is called without a decision.
fn workflow(row: &mut Row, r: &Reader<'_>) {
    let of_step = r.text("target.tool_name");
    row.tool_type = Some(if of_step.is_some() { "tool" } else { "composite" }.into());
    row.tool_name_raw = r.text("target.workflow_name").or(of_step);
    row.tool_name.clone_from(&row.tool_name_raw);
    row.correlation_id = r.text("target.workflow_id");
    row.resource_id = r.text("target.step_id");
}

/// The tool without what a gateway put before it: `github___search`, and `records_search` of the backend `records`.
fn plain_tool<'n>(name: &'n str, backend: Option<&str>) -> &'n str {
    if let Some((_, tool)) = name.rsplit_once("___") {
        return tool;
    }
    let rest = backend.and_then(|backend| name.strip_prefix(backend));
    let tool = rest.and_then(|rest| rest.strip_prefix(['_', '.', '-', '/', ':'])).map(|tool| tool.trim_start_matches('_'));
    tool.filter(|tool| !tool.is_empty()).unwrap_or(name)
}

/// The JSON-RPC body that the gateway kept, when it was told to; of a workflow the arguments alone.
fn call(row: &mut Row, input: &Input<'_>) {
    let r = input.reader;
    let is_broken = r.peek("data.request").is_some_and(|request| !request.is_empty() && !matches!(request, Json::Object(_)));
    if let Some(request) = r.object("data.request").filter(|request| request.get("method").is_some()) {
        row.jsonrpc_id = request.get("id").and_then(Json::scalar);
        let meta = request.at("params._meta");
        set_trace(row, meta.and_then(|m| m.get("traceparent")).and_then(Json::text));
        row.protocol_version = request.at("params.protocolVersion").and_then(Json::scalar);
        row.job_id = meta.and_then(|m| m.get("job_id")).and_then(Json::scalar);
        row.client_software_reported = request.at("params.clientInfo.name").and_then(Json::scalar);
    }
    if let Some(arguments) = params(r.peek_all()) {
        set_params(row, &arguments, input);
    } else if row.action_requested.is_some() && !is_broken {
        // The call has none, or the gateway was told not to keep them, or they did not fit: the event does not say.
        row.params_state = Some("absent".into());
    }
}

/// The parameters of the call in an element: what was asked for, without what the protocol puts beside it.
pub(super) fn params<'j>(element: &'j Json<'_>) -> Option<Cow<'j, Json<'j>>> {
    let request = element.at("data.request")?;
    if element.get("type").and_then(Json::text).is_some_and(is_workflow) {
        return Some(Cow::Borrowed(request)).filter(|request| !request.is_empty());
    }
    let params = request.get("params")?;
    if matches!(element.at("target.method").and_then(Json::text), Some("tools/call" | "prompts/get")) {
        return params.get("arguments").map(Cow::Borrowed);
    }
    let Json::Object(members) = params else { return Some(Cow::Borrowed(params)) };
    if members.iter().all(|(key, _)| key != "_meta") {
        return Some(Cow::Borrowed(params)).filter(|params| !params.is_empty());
    }
    let rest: Vec<_> = members.iter().filter(|(key, _)| key != "_meta").cloned().collect();
    (!rest.is_empty()).then_some(Cow::Owned(Json::Object(rest)))
}

fn outcome(row: &mut Row, r: &Reader<'_>, kind: &str) {
    let said = r.text("outcome").unwrap_or_default();
    row.outcome_code = Some(said.clone()).filter(|s| !s.is_empty());
    row.jsonrpc_error_code = r.integer("metadata.extra.jsonrpc_error_code");
    row.outcome_reason = r.text("metadata.extra.jsonrpc_error_message");
    let denial = denial(row, r);
    let (outcome, ground) = match (said.as_str(), row.result_is_error, row.jsonrpc_error_code) {
        ("denied", ..) => ("denied", "http_status"),
        (_, Some(true), _) => (if denial.is_some() { "denied" } else { "failure" }, "is_error"),
        (_, _, Some(_)) => (if denial.is_some() { "denied" } else { "error" }, "jsonrpc"),
        _ if denial.is_some() => ("denied", "source_field"),
        ("success" | "", ..) if kind.ends_with("_failed") => ("failure", "event_type"),
        ("success" | "", ..) if kind.ends_with("_timed_out") => ("error", "event_type"),
        ("success", Some(false), _) => ("success", "is_error"),
        ("success", ..) => ("success", "http_status"),
        ("failure" | "application_error", ..) => ("failure", "source_field"),
        ("error", ..) => ("error", "http_status"),
        _ => ("unknown", "source_field"),
    };
    row.outcome = Some(outcome.into());
    row.outcome_ground = Some(ground.into());
    if denial.is_some() {
        row.outcome_reason.clone_from(&denial);
    }
    if row.category.as_deref() == Some("tool_call") && !is_workflow(kind) {
        row.decision = Some(if outcome == "denied" { "deny" } else { "allow" }.into());
        row.decision_source = Some("gateway".into());
        row.decision_reason = denial;
        row.action_approved = row.action_requested.clone().filter(|_| outcome != "denied");
    }
}

/// Reads the answer and gives the text of a denial that came as one.
fn denial(row: &mut Row, r: &Reader<'_>) -> Option<String> {
    let response = r.peek("data.response")?;
    if let Some(answer) = answer::read(response) {
        r.used(response);
        return answer::fill(row, &answer);
    }
    response.text().map(str::trim).filter(|text| answer::is_denial(text)).map(str::to_owned)
}
