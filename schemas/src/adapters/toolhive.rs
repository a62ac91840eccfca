//! ToolHive audit events (seen: v0.47.0; also the registry server's dotted types).
//!
//! `outcome` is the HTTP status there: a tool error comes as `success`. So the captured response, where
//! there is one, decides first. `subjects.user` may be `anonymous` while `user_id` is known. The chain
//! never holds the person.

use crate::cell::Member;
use crate::columns::Row;
use crate::draft::{Draft, Input, set_address, set_params, set_time, set_trace, unknown_shape};
use crate::json::{self, Json};
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
    what(&mut row, r, &kind);
    call(&mut row, input);
    row.mcp_server_name = r.text("component");
    row.service_name.clone_from(&row.mcp_server_name);
    row.mcp_backend_name = r.text("metadata.extra.backend_name");
    row.duration_us = duration(r);
    row.result_bytes = r.integer("metadata.extra.response_size_bytes");
    row.request_id = r.text("source.extra.request_id");
    row.user_agent = r.text("source.extra.user_agent");
    // The first X-Forwarded-For address: the caller can write what it likes there.
    set_address(&mut row, r.text("source.value"), false);
    outcome(&mut row, r);
    row.source_event_type = Some(kind);
    Ok(vec![Draft { row: row.into(), kind: "audit".into(), native_id: Some(id), path: None }])
}

fn duration(r: &Reader<'_>) -> Option<i64> {
    let millis = r.integer("metadata.extra.duration_ms")?;
    let micros = millis.checked_mul(1000).filter(|us| *us >= 0);
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
    row.delegation_truncated = r.flag("delegation.truncated");
    row.delegation_malformed = r.flag("delegation.malformed");
    row.delegation_malformed_reason = r.text("delegation.malformedReason");
    let hops = r.items("delegation.chain");
    let text = |hop: &Json<'_>, key: &str| hop.get(key).and_then(Json::scalar);
    let member = |hop: &Json<'_>, key: &str| Member::from(text(hop, key));
    let chain = hops.iter().take(16).enumerate().map(|(i, hop)| {
        let pos = i32::try_from(i).unwrap_or(i32::MAX);
        vec![Member::Int(pos), member(hop, "iss"), member(hop, "sub"), member(hop, "client_id"), Member::Null]
    });
    row.delegation_chain = (!hops.is_empty()).then(|| chain.collect());
    row.delegation_depth = i32::try_from(hops.len()).ok();
    row.delegation_type = Some(if hops.is_empty() { "none" } else { "act" }.into());
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
        k if k.starts_with("vmcp_workflow") => ("tool_call", "workflow"),
        k if k.contains('.') => ("admin", k.rsplit('.').next().unwrap_or("other")),
        _ => ("session", "request"),
    };
    row.category = Some(category.into());
    row.activity = Some(activity.into());
    row.resource_type.clone_from(&target);
    match category {
        "tool_call" => {
            row.tool_name_raw.clone_from(&name);
            row.tool_name = name.as_deref().map(|n| n.rsplit_once("___").map_or(n, |(_, tool)| tool).to_owned());
            row.tool_type = Some(if activity == "workflow" { "composite" } else { "tool" }.into());
            row.action_requested = Some("call".into());
        }
        "resource_access" => row.resource_uri = name,
        _ => row.resource_name = name,
    }
    r.at("target.endpoint");
}

/// The JSON-RPC body that the gateway kept, when it was told to.
fn call(row: &mut Row, input: &Input<'_>) {
    let r = input.reader;
    let Some(request) = r.object("data.request") else {
        row.params_state = Some("absent".into());
        return;
    };
    row.jsonrpc_id = request.get("id").and_then(Json::scalar);
    let meta = request.at("params._meta");
    set_trace(row, meta.and_then(|m| m.get("traceparent")).and_then(Json::text));
    row.protocol_version = request.at("params.protocolVersion").and_then(Json::scalar);
    row.job_id = meta.and_then(|m| m.get("job_id")).and_then(Json::scalar);
    row.client_software_reported = request.at("params.clientInfo.name").and_then(Json::scalar);
    if let Some(arguments) = params(r.peek_all()) {
        set_params(row, arguments, input);
    }
}

/// The parameters of the call in an element.
pub(super) fn params<'j, 'a>(element: &'j Json<'a>) -> Option<&'j Json<'a>> {
    let request = element.at("data.request")?;
    let is_call = element.at("target.method").and_then(Json::text) == Some("tools/call");
    request.at(if is_call && request.get("params").is_some() { "params.arguments" } else { "params" })
}

fn outcome(row: &mut Row, r: &Reader<'_>) {
    let said = r.text("outcome").unwrap_or_default();
    row.outcome_code = Some(said.clone()).filter(|s| !s.is_empty());
    row.jsonrpc_error_code = r.integer("metadata.extra.jsonrpc_error_code");
    row.outcome_reason = r.text("metadata.extra.jsonrpc_error_message");
    let inner = r.peek("data.response").and_then(|v| response(v).inspect(|_| r.used(v)));
    if let Some(result) = &inner {
        row.result_is_error = result.at("result.isError").and_then(Json::flag);
        row.result_rows = rows_of(result);
        row.jsonrpc_error_code = row.jsonrpc_error_code.or_else(|| result.at("error.code").and_then(Json::integer));
    }
    let (outcome, ground) = match (said.as_str(), row.result_is_error, row.jsonrpc_error_code) {
        ("denied", ..) => ("denied", "http_status"),
        (_, Some(true), _) => ("failure", "is_error"),
        (_, _, Some(_)) => ("error", "jsonrpc"),
        ("success", Some(false), _) => ("success", "is_error"),
        ("success", ..) => ("success", "http_status"),
        ("failure" | "application_error", ..) => ("failure", "source_field"),
        ("error", ..) => ("error", "http_status"),
        _ => ("unknown", "source_field"),
    };
    row.outcome = Some(outcome.into());
    row.outcome_ground = Some(ground.into());
    if row.category.as_deref() == Some("tool_call") {
        row.decision = Some(if outcome == "denied" { "deny" } else { "allow" }.into());
        row.decision_source = Some("gateway".into());
        row.action_approved = (outcome != "denied").then(|| "call".into());
    }
}

/// The JSON-RPC answer: an object, or text that holds one, or server-sent events that hold one.
fn response(value: &Json<'_>) -> Option<Json<'static>> {
    match value {
        Json::Object(_) => Some(value.clone().into_owned()),
        Json::Text(text) => {
            let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or(text);
            json::parse(data.trim().as_bytes()).ok().map(Json::into_owned)
        }
        _ => None,
    }
}

/// Rows of a structured result: a number under a common name, or the length of the one array there.
fn rows_of(result: &Json<'_>) -> Option<i64> {
    let content = result.at("result.structuredContent")?;
    let named = ["row_count", "rows_returned", "count", "total"].iter().find_map(|k| content.get(k).and_then(Json::integer));
    named.or_else(|| content.members().iter().find_map(|(_, v)| if let Json::Array(a) = v { i64::try_from(a.len()).ok() } else { None }))
}
