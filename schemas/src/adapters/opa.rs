//! OPA and EOPA decision logs (seen: OPA 1.22.2).
//!
//! `result` can be any JSON. A boolean, or an object with `allow`, decides; without a `result` the
//! document was undefined, which callers must read as deny: kept as `not_applicable`, unless the mask took the result out
//! of the log. An `error` is `indeterminate`. Who and what come from `input`, whose shape the policy's author chose; the
//! common names are read and the rest is in `ext`.

use crate::columns::Row;
use crate::draft::{Draft, Input, set_address, set_params, set_time, set_trace, unknown_shape};
use crate::json::Json;
use crate::reader::Reader;
use crate::reject::Reject;
use crate::time::TimeFormat;

/// Most paths of the mask that are kept.
const MAX_MASKED: usize = 64;

pub(super) fn adapt(input: &Input<'_>) -> Result<Vec<Draft>, Reject> {
    let r = input.reader;
    let Some(id) = r.text("decision_id") else {
        return Err(unknown_shape("opa", "`decision_id`"));
    };
    let mut row = Row {
        source_kind: Some("pdp".into()),
        source_vendor: Some("opa".into()),
        pdp_vendor: Some("opa".into()),
        vantage: Some("pdp_decided".into()),
        category: Some("authz_decision".into()),
        activity: Some("check".into()),
        protocol: Some("http".into()),
        decision_source: Some("pdp".into()),
        source_event_type: Some("decision".into()),
        decision_id: Some(id.clone()),
        ..Row::default()
    };
    set_time(&mut row, r.time("timestamp", TimeFormat::Rfc3339));
    set_address(&mut row, r.text("requested_by"), true);
    row.policy_id = r.text("path").or_else(|| r.text("query"));
    row.policy_version = bundle_revision(r);
    row.source_event_version = r.text("labels.version");
    row.service_name = r.text("labels.app").or_else(|| r.text("labels.id"));
    row.region = r.text("labels.region");
    request(&mut row, r);
    who(&mut row, r);
    if let Some(arguments) = r.at("input.arguments").or_else(|| r.at("input.params")) {
        set_params(&mut row, arguments, input);
    }
    let masked = masked(r);
    decided(&mut row, r, &masked);
    if masked.iter().any(|path| ["/input/arguments", "/input/params"].iter().any(|start| path.starts_with(start))) {
        row.params_state = Some("redacted".into());
    }
    row.params_redacted_paths = (!masked.is_empty()).then_some(masked);
    Ok(vec![Draft { row: row.into(), kind: "decision".into(), native_id: Some(id), path: None }])
}

fn bundle_revision(r: &Reader<'_>) -> Option<String> {
    let bundles = r.object("bundles")?.members();
    bundles.iter().find_map(|(_, b)| b.get("revision").and_then(Json::scalar))
}

/// The request to OPA: its ids, and the headers that the log was told to keep, each a list.
fn request(row: &mut Row, r: &Reader<'_>) {
    let headers = r.peek("request_context.http.headers").map(Json::members).unwrap_or_default();
    let header = |name: &str| {
        let (_, values) = headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        let value = values.items().first().unwrap_or(values).text()?;
        r.used(values);
        Some(value.to_owned())
    };
    set_trace(row, header("traceparent").as_deref());
    row.trace_id = r.text("trace_id").or(row.trace_id.take());
    row.span_id = r.text("span_id").or(row.span_id.take());
    row.mcp_session_id = header("mcp-session-id");
    row.user_agent = header("user-agent");
    // The server's own number starts anew with each start of it.
    row.request_id = header("x-request-id").or_else(|| r.text("req_id"));
}

/// Paths that the mask of the decision log took out or replaced.
fn masked(r: &Reader<'_>) -> Vec<String> {
    let paths = ["erased", "masked"].into_iter().flat_map(|list| r.items(list));
    paths.take(MAX_MASKED).filter_map(Json::scalar).collect()
}

fn who(row: &mut Row, r: &Reader<'_>) {
    let first = |paths: &[&str]| paths.iter().find_map(|p| r.peek(p).and_then(|v| v.scalar().inspect(|_| r.used(v))));
    row.delegator_id = first(&[
        "input.principal.delegating_user",
        "input.agent.delegating_user",
        "input.agent.on_behalf_of",
        "input.delegating_user",
        "input.user.id",
        "input.user",
        "input.subject",
    ]);
    row.delegator_type = row.delegator_id.as_ref().map(|_| "user".into());
    row.agent_id = first(&["input.principal.agent_id", "input.agent.id", "input.agent_id", "input.agent"]);
    row.agent_type = row.agent_id.as_ref().map(|_| "ai_agent".into());
    row.agent_verified = row.agent_id.as_ref().map(|_| false);
    let principal = first(&["input.principal.id"]);
    if row.delegator_id.is_none() && row.agent_id.is_none() {
        row.delegator_id = principal;
        row.delegator_type = row.delegator_id.as_ref().map(|_| "user".into());
    }
    row.delegator_email = row.delegator_id.clone().filter(|id| id.contains('@'));
    row.action_requested = first(&["input.action", "input.method"]);
    row.tool_name = first(&["input.tool.name", "input.tool"]);
    row.mcp_server_name = first(&["input.server", "input.tool.server", "input.resource.server"]);
    row.resource_type = first(&["input.resource.type", "input.resource.kind"]);
    row.resource_id = first(&["input.resource.id", "input.resource"]);
    row.job_id = first(&["input.job_id"]);
    row.token_jti = first(&["input.token.jti", "input.jti"]);
    row.token_id_kind = row.token_jti.as_ref().map(|_| "jti".into());
}

fn decided(row: &mut Row, r: &Reader<'_>, masked: &[String]) {
    let result = r.at("result");
    let verdict = result.and_then(|v| v.flag().or_else(|| ["allow", "allowed"].iter().find_map(|k| v.get(k).and_then(Json::flag))));
    let failed = r.peek("error").is_some_and(|e| !e.is_empty());
    let is_masked = masked.iter().any(|path| path == "/result" || path.starts_with("/result/"));
    let (decision, outcome) = match (failed, result, verdict) {
        (true, ..) => ("indeterminate", "error"),
        (_, None, _) if is_masked => ("indeterminate", "unknown"),
        (_, None, _) => ("not_applicable", "unknown"),
        (_, _, Some(true)) => ("allow", "success"),
        (_, _, Some(false)) => ("deny", "denied"),
        _ => ("indeterminate", "unknown"),
    };
    row.decision = Some(decision.into());
    row.outcome = Some(outcome.into());
    row.outcome_ground = Some("policy_effect".into());
    row.action_approved = (decision == "allow").then(|| row.action_requested.clone()).flatten();
    let reason = result.and_then(|v| ["reason", "reasons", "message"].iter().find_map(|k| v.get(k))).filter(|v| !v.is_empty());
    row.decision_reason = reason.map(|v| v.scalar().unwrap_or_else(|| v.compact()));
    row.outcome_reason = r.text("error.message");
    row.outcome_code = r.text("error.code").or_else(|| (decision == "not_applicable").then(|| "undefined".into()));
    row.pdp_errors = row.outcome_reason.clone().map(|e| vec![e]);
}
