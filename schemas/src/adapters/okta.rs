//! Okta System Log events: API, event hook and EventBridge layouts.
//!
//! Keys come in camel case from the API and in lower case from some stores; both are read. For agent
//! grants the agent is the `actor` and the person stands in `target[]`. Text that looks like a map
//! (`"{level=LOW}"`) and text lists (`"openid, profile"`) are read as far as their shape allows.

use crate::cell::Member;
use crate::columns::Row;
use crate::draft::{Draft, Input, set_address, set_time, unknown_shape};
use crate::json::Json;
use crate::reader::{Reader, is_nothing};
use crate::reject::Reject;
use crate::time::TimeFormat;

pub(super) fn native_id<'j>(json: &'j Json<'_>) -> Option<&'j Json<'j>> {
    json.get("uuid")
}

pub(super) fn adapt(input: &Input<'_>) -> Result<Vec<Draft>, Reject> {
    let r = input.reader;
    let Some(event_type) = either(r, "eventType", "eventtype") else {
        return Err(unknown_shape("okta", "`eventType`"));
    };
    let mut row = Row {
        source_kind: Some("idp".into()),
        source_vendor: Some("okta".into()),
        source_product: Some("system_log".into()),
        source_event_version: r.text("version"),
        vantage: Some("idp_issued".into()),
        decision_source: Some("idp_policy".into()),
        ..Row::default()
    };
    set_time(&mut row, r.time("published", TimeFormat::Rfc3339));
    let (category, activity) = classify(&event_type);
    row.category = Some(category.into());
    row.activity = Some(activity.into());
    row.action_requested = Some(event_type.clone());
    who(&mut row, r, &event_type);
    place(&mut row, r);
    outcome(&mut row, r, &event_type);
    token(&mut row, r);
    row.idp_session_id = either(r, "authenticationContext.externalSessionId", "authenticationcontext.externalsessionid");
    row.correlation_id = r.text("transaction.id");
    row.request_id = either(r, "debugContext.debugData.requestId", "debugcontext.debugdata.requestid");
    row.trace_id = either(r, "debugContext.debugData.traceId", "debugcontext.debugdata.traceid");
    row.source_event_type = Some(event_type);
    Ok(vec![Draft { row: row.into(), kind: "log".into(), native_id: r.text("uuid"), path: None }])
}

fn either(r: &Reader<'_>, camel: &str, lower: &str) -> Option<String> {
    r.text(camel).or_else(|| r.text(lower))
}

fn classify(event_type: &str) -> (&'static str, &'static str) {
    let starts = |prefix: &str| event_type.starts_with(prefix);
    if starts("user.session.end") {
        ("authn", "logout")
    } else if starts("user.session") || starts("user.authentication") || starts("user.mfa") {
        ("authn", "login")
    } else if event_type.contains("token.grant") || event_type.contains("token.mint") {
        ("token", "issue")
    } else if event_type.contains("token.revoke") {
        ("token", "revoke")
    } else if event_type.contains("consent") {
        ("consent", "grant")
    } else if starts("policy.evaluate") {
        ("authz_decision", "check")
    } else if starts("user.lifecycle") || starts("workload_principal") || starts("application.lifecycle") || starts("group.") {
        ("lifecycle", lifecycle(event_type))
    } else if event_type.contains("capability.discover") {
        ("discovery", "list")
    } else {
        ("admin", lifecycle(event_type))
    }
}

fn lifecycle(event_type: &str) -> &'static str {
    match event_type.rsplit('.').next().unwrap_or_default() {
        "create" | "add" | "register" | "grant" => "create",
        "delete" | "remove" | "revoke" => "delete",
        "update" | "activate" | "deactivate" | "suspend" | "unsuspend" | "reset" => "update",
        _ => "other",
    }
}

fn who(row: &mut Row, r: &Reader<'_>, event_type: &str) {
    let actor_is_agent = r.text("actor.type").is_some_and(|t| t.contains("Workload") || t.contains("AI Agent") || t == "PublicClientApp");
    let actor = (r.text("actor.id"), r.text("actor.displayName"));
    let targets = r.items("target");
    let find = |kinds: &[&str]| targets.iter().find(|t| t.get("type").and_then(Json::text).is_some_and(|k| kinds.contains(&k)));
    let text = |t: Option<&Json<'_>>, key: &str| t.and_then(|t| t.get(key)).and_then(Json::scalar);
    if actor_is_agent {
        (row.agent_id, row.agent_name) = (actor.0, actor.1);
        row.agent_type = Some("ai_agent".into());
        row.agent_verified = Some(true);
        let person = find(&["User"]);
        row.delegator_id = text(person, "id");
        row.delegator_name = text(person, "displayName");
        row.delegator_email = text(person, "alternateId").filter(|a| a.contains('@'));
        row.delegation_type = Some(if event_type.contains("id_jag") { "id_jag" } else { "token_exchange" }.into());
    } else {
        (row.delegator_id, row.delegator_name) = (actor.0, actor.1);
        row.delegator_email = ["actor.alternateId", "actor.alternateid"].iter().find_map(|path| r.text_if(path, |a| a.contains('@')));
    }
    row.delegator_type = row.delegator_id.as_ref().map(|_| "user".into());
    row.delegator_issuer = either(r, "authenticationContext.issuer.id", "authenticationcontext.issuer.id");
    row.client_id = text(find(&["AppInstance", "PublicClientApp"]), "id");
    row.client_name = text(find(&["AppInstance", "PublicClientApp"]), "displayName");
    let rule = find(&["PolicyRule"]);
    row.policy_id = text(find(&["PolicyEntity"]), "id");
    row.policy_rule = text(rule, "displayName");
    let resource = |t: &Json<'_>| {
        let member = |key: &str| Member::from(t.get(key).and_then(Json::scalar));
        vec![member("type"), member("id"), Member::Null, member("displayName"), Member::Text("target".into())]
    };
    row.resources = (!targets.is_empty()).then(|| targets.iter().take(32).map(resource).collect());
    row.resource_type = text(targets.first(), "type");
    row.resource_id = text(targets.first(), "id");
    row.resource_name = text(targets.first(), "displayName");
}

fn place(row: &mut Row, r: &Reader<'_>) {
    set_address(row, either(r, "client.ipAddress", "client.ipaddress"), true);
    row.user_agent = either(r, "client.userAgent.rawUserAgent", "client.useragent.rawuseragent");
    row.geo_country = either(r, "client.geographicalContext.country", "client.geographicalcontext.country");
    row.geo_region = either(r, "client.geographicalContext.state", "client.geographicalcontext.state");
    row.geo_city = either(r, "client.geographicalContext.city", "client.geographicalcontext.city");
    row.geo_lat = r.double("client.geographicalContext.geolocation.lat");
    row.geo_lon = r.double("client.geographicalContext.geolocation.lon");
    row.asn = r.integer("securityContext.asNumber");
    row.is_proxy = r.flag("securityContext.isProxy");
    row.device_id = r.text("device.id");
}

fn outcome(row: &mut Row, r: &Reader<'_>, event_type: &str) {
    let result = r.text("outcome.result").unwrap_or_default();
    let (outcome, decision) = match result.as_str() {
        "SUCCESS" | "ALLOW" => ("success", "allow"),
        "DENY" => ("denied", "deny"),
        "FAILURE" => ("failure", "deny"),
        "CHALLENGE" => ("challenge", "challenge"),
        "SKIPPED" => ("unknown", "not_applicable"),
        _ => ("unknown", "indeterminate"),
    };
    row.outcome = Some(outcome.into());
    row.outcome_ground = Some("source_field".into());
    row.outcome_code = Some(result).filter(|c| !c.is_empty());
    row.outcome_reason = r.text("outcome.reason");
    row.decision = Some(decision.into());
    row.decision_reason.clone_from(&row.outcome_reason);
    row.action_approved = (outcome == "success").then(|| event_type.into());
    let risk = either(r, "debugContext.debugData.risk", "debugcontext.debugdata.risk");
    row.risk_level =
        risk.and_then(|t| t.split_once("level=").map(|(_, l)| l.split([',', '}']).next().unwrap_or_default().trim().to_ascii_lowercase()));
}

fn token(row: &mut Row, r: &Reader<'_>) {
    let (camel, lower) = (r.peek("debugContext.debugData"), r.peek("debugcontext.debugdata"));
    let debug = |key: &str, low: &str| {
        let value = camel.and_then(|data| data.get(key)).or_else(|| lower.and_then(|data| data.get(low)))?;
        value.scalar().filter(|text| !is_nothing(text)).inspect(|_| r.used(value))
    };
    let list = |text: Option<String>| text.and_then(|t| Json::Text(t.into()).texts());
    row.grant_type = debug("grantType", "granttype");
    row.scopes_requested = list(debug("requestedScopes", "requestedscopes"));
    row.scopes_granted = list(debug("grantedScopes", "grantedscopes"));
    row.token_audience = list(debug("authorizationServerAudience", "authorizationserveraudience"));
    row.resource_indicator = list(debug("resource", "resource"));
    let targets = r.items("target");
    row.token_jti = targets.iter().find_map(|t| t.at("detailEntry.hash").and_then(Json::scalar));
    row.token_id_kind = row.token_jti.as_ref().map(|_| "hash".into());
    row.mfa_used = either(r, "authenticationContext.credentialType", "authenticationcontext.credentialtype").map(|c| c != "PASSWORD");
}
