//! OPA and EOPA decision logs (seen: OPA 1.22.2).
//!
//! `result` can be any JSON. A boolean, or an object with `allow`, decides; without a `result` the
//! document was undefined, which callers must read as deny: kept as `not_applicable`. An `error` is
//! `indeterminate`. Who and what come from `input`, whose shape the policy's author chose; the common
//! names are read and the rest is in `ext`.

use crate::columns::Row;
use crate::draft::{Draft, Input, set_address, set_params, set_time, set_trace, unknown_shape};
use crate::json::Json;
use crate::reader::Reader;
use crate::reject::Reject;
use crate::time::TimeFormat;

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
    set_trace(&mut row, r.at("request_context.http.headers.traceparent.0").and_then(Json::text));
    row.trace_id = r.text("trace_id").or(row.trace_id);
    row.span_id = r.text("span_id").or(row.span_id);
    row.request_id = r.text("req_id");
    who(&mut row, r);
    if let Some(arguments) = r.at("input.arguments").or_else(|| r.at("input.params")) {
        set_params(&mut row, arguments, input);
    }
    decided(&mut row, r);
    Ok(vec![Draft { row: row.into(), kind: "decision".into(), native_id: Some(id), path: None }])
}

fn bundle_revision(r: &Reader<'_>) -> Option<String> {
    let bundles = r.object("bundles")?.members();
    bundles.iter().find_map(|(_, b)| b.get("revision").and_then(Json::scalar))
}

fn who(row: &mut Row, r: &Reader<'_>) {
    let first = |paths: &[&str]| paths.iter().find_map(|p| r.peek(p).and_then(|v| v.scalar().inspect(|_| r.used(v))));
    row.delegator_id = first(&["input.principal.delegating_user", "input.delegating_user", "input.user.id", "input.user", "input.subject"]);
    row.delegator_type = row.delegator_id.as_ref().map(|_| "user".into());
    row.agent_id = first(&["input.principal.agent_id", "input.agent.id", "input.agent_id", "input.agent"]);
    row.agent_type = row.agent_id.as_ref().map(|_| "ai_agent".into());
    row.agent_verified = row.agent_id.as_ref().map(|_| false);
    let principal = first(&["input.principal.id"]);
    if row.delegator_id.is_none() && row.agent_id.is_none() {
        row.delegator_id = principal;
    }
    row.action_requested = first(&["input.action", "input.method"]);
    row.tool_name = first(&["input.tool.name", "input.tool"]);
    row.mcp_server_name = first(&["input.server", "input.tool.server", "input.resource.server"]);
    row.resource_type = first(&["input.resource.type", "input.resource.kind"]);
    row.resource_id = first(&["input.resource.id", "input.resource"]);
    row.job_id = first(&["input.job_id"]);
    row.token_jti = first(&["input.token.jti", "input.jti"]);
    row.token_id_kind = row.token_jti.as_ref().map(|_| "jti".into());
}

fn decided(row: &mut Row, r: &Reader<'_>) {
    let result = r.at("result");
    let verdict = result.and_then(|v| v.flag().or_else(|| ["allow", "allowed"].iter().find_map(|k| v.get(k).and_then(Json::flag))));
    let failed = r.peek("error").is_some_and(|e| !e.is_empty());
    let (decision, outcome) = match (failed, result, verdict) {
        (true, ..) => ("indeterminate", "error"),
        (_, None, _) => ("not_applicable", "unknown"),
        (_, _, Some(true)) => ("allow", "success"),
        (_, _, Some(false)) => ("deny", "denied"),
        _ => ("indeterminate", "unknown"),
    };
    row.decision = Some(decision.into());
    row.outcome = Some(outcome.into());
    row.outcome_ground = Some("policy_effect".into());
    row.action_approved = (decision == "allow").then(|| row.action_requested.clone()).flatten();
    let reason = result.and_then(|v| ["reason", "reasons", "message"].iter().find_map(|k| v.get(k)));
    row.decision_reason = reason.map(|v| v.scalar().unwrap_or_else(|| v.compact()));
    row.outcome_reason = r.text("error.message");
    row.outcome_code = r.text("error.code");
    row.pdp_errors = row.outcome_reason.clone().map(|e| vec![e]);
}
