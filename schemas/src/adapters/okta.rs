//! Okta System Log events: API, event hook and EventBridge layouts.
//!
//! Keys come in camel case from the API and in lower case from some stores; both are read. For agent
//! grants the agent is the `actor` and the person stands in `target[]`, and so for a client that is no agent, and for who
//! becomes another person. Text that looks like a map (`"{level=LOW}"`), text lists (`"openid, profile"`) and an `act`
//! claim in a string are read as far as their shape allows.

mod kinds;

use crate::cell::Member;
use crate::columns::Row;
use crate::draft::{Draft, Input, set_act_chain, set_address, set_time, unknown_shape};
use crate::json::{self, Json};
use crate::reader::{Reader, is_nothing};
use crate::reject::Reject;
use crate::time::TimeFormat;

/// Most targets that are kept.
const MAX_TARGETS: usize = 32;

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
    let (category, activity) = kinds::classify(&event_type);
    row.category = Some(category.into());
    row.activity = Some(activity.into());
    row.action_requested = Some(event_type.clone());
    let targets = r.items("target");
    who(&mut row, r, &event_type, targets);
    about(&mut row, &event_type, targets);
    place(&mut row, r);
    outcome(&mut row, r, &event_type);
    token(&mut row, r, &event_type, targets);
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

fn who(row: &mut Row, r: &Reader<'_>, event_type: &str, targets: &[Json<'_>]) {
    let actor = (r.text("actor.id"), r.text("actor.displayName"));
    let person = target_of(targets, &["User"]);
    let is_impersonation = event_type == "user.session.impersonation.initiate";
    let agent_type = match r.text("actor.type").as_deref() {
        Some(kind) if kind.contains("Workload") || kind.contains("AI Agent") => Some("ai_agent"),
        Some("PublicClientApp") => Some("oauth_client"),
        Some("User") if is_impersonation && person.is_some() => Some("user"),
        _ => None,
    };
    if let Some(agent_type) = agent_type {
        (row.agent_id, row.agent_name) = actor;
        row.agent_type = Some(agent_type.into());
        row.agent_verified = Some(true);
        row.delegator_id = text_of(person, "id");
        row.delegator_name = text_of(person, "displayName");
        row.delegator_email = text_of(person, "alternateId").filter(|a| a.contains('@'));
    } else {
        (row.delegator_id, row.delegator_name) = actor;
        row.delegator_email = ["actor.alternateId", "actor.alternateid"].iter().find_map(|path| r.text_if(path, |a| a.contains('@')));
    }
    row.delegation_type = match agent_type {
        _ if is_impersonation => Some("impersonation".into()),
        Some("ai_agent") if event_type.contains("id_jag") => Some("id_jag".into()),
        Some("ai_agent") => Some("token_exchange".into()),
        _ => None,
    };
    row.delegator_type = row.delegator_id.as_ref().map(|_| "user".into());
    row.delegator_issuer = either(r, "authenticationContext.issuer.id", "authenticationcontext.issuer.id");
    let client = target_of(targets, &["AppInstance", "PublicClientApp"]);
    row.client_id = text_of(client, "id");
    row.client_name = text_of(client, "displayName");
    if agent_type == Some("oauth_client") {
        row.client_id.clone_from(&row.agent_id);
        row.client_name.clone_from(&row.agent_name);
    }
}

/// What the event is about: all of its targets, of which the first is the resource; of a lifecycle, the one whose it is.
fn about(row: &mut Row, event_type: &str, targets: &[Json<'_>]) {
    row.policy_id = text_of(target_of(targets, &["PolicyEntity"]), "id");
    row.policy_rule = text_of(target_of(targets, &["PolicyRule"]), "displayName");
    let resource = |t: &Json<'_>| {
        let member = |key: &str| Member::from(t.get(key).and_then(Json::scalar));
        vec![member("type"), member("id"), Member::Null, member("displayName"), Member::Text("target".into())]
    };
    row.resources = (!targets.is_empty()).then(|| targets.iter().take(MAX_TARGETS).map(resource).collect());
    let is_lifecycle = row.category.as_deref() == Some("lifecycle");
    let is_of_person = is_lifecycle && event_type.contains("user");
    // A person beside an application whose lifecycle it is would read as a person who left.
    let is_subject = |t: &&Json<'_>| !is_lifecycle || (t.get("type").and_then(Json::text) == Some("User")) == is_of_person;
    let subject = targets.iter().find(is_subject).or(targets.first());
    row.resource_type = text_of(subject, "type");
    row.resource_id = text_of(subject, "id");
    row.resource_name = text_of(subject, "displayName");
    if is_of_person {
        row.resource_type = Some("user".into());
        // Some name nobody but the actor, such as a lockout.
        if row.resource_id.is_none() {
            row.resource_id.clone_from(&row.delegator_id);
            row.resource_name.clone_from(&row.delegator_name);
        }
    }
}

fn target_of<'j, 'a>(targets: &'j [Json<'a>], kinds: &[&str]) -> Option<&'j Json<'a>> {
    targets.iter().find(|t| t.get("type").and_then(Json::text).is_some_and(|kind| kinds.contains(&kind)))
}

fn text_of(value: Option<&Json<'_>>, key: &str) -> Option<String> {
    value.and_then(|value| value.get(key)).and_then(Json::scalar)
}

fn place(row: &mut Row, r: &Reader<'_>) {
    set_address(row, either(r, "client.ipAddress", "client.ipaddress"), true);
    row.forwarded_for = forwarded(r);
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

/// The addresses that the request passed, first to last: of the API in `request`, of event hooks in `client`.
fn forwarded(r: &Reader<'_>) -> Option<Vec<String>> {
    let chain = ["request.ipChain", "client.ipChain", "request.ipchain"].iter().find_map(|path| r.peek(path))?;
    let addresses = chain.items().iter().take(MAX_TARGETS).filter_map(|hop| hop.get("ip"));
    let addresses: Vec<String> = addresses.filter_map(|ip| ip.text().inspect(|_| r.used(ip)).map(str::to_owned)).collect();
    (!addresses.is_empty()).then_some(addresses)
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

fn token(row: &mut Row, r: &Reader<'_>, event_type: &str, targets: &[Json<'_>]) {
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
    let hash = targets.iter().find_map(|t| t.at("detailEntry.hash").and_then(Json::scalar));
    let id = || text_of(target_of(targets, &["access_token", "refresh_token", "id_token"]), "id");
    row.token_id_kind = Some(if hash.is_some() { "hash" } else { "jti" }.into());
    row.token_jti = hash.or_else(id);
    row.token_id_kind.take_if(|_| row.token_jti.is_none());
    let credential = either(r, "authenticationContext.credentialType", "authenticationcontext.credentialtype");
    row.amr = credential.map(|credential| vec![credential]);
    // One event says it; a credential that is no password may well be the only factor.
    let is_second = event_type == "user.authentication.auth_via_mfa" && row.outcome.as_deref() == Some("success");
    row.mfa_used = is_second.then_some(true);
    if row.agent_type.as_deref() == Some("oauth_client") {
        let is_exchange = row.grant_type.as_deref().is_some_and(|grant| grant.ends_with("token-exchange"));
        row.delegation_type = Some(if is_exchange { "token_exchange" } else { "none" }.into());
    }
    let of_debug =
        ["act", "actor"].iter().find_map(|key| camel.and_then(|data| data.get(key)).or_else(|| lower.and_then(|data| data.get(key))));
    let of_target = || targets.iter().find_map(|t| t.at("detailEntry.actor"));
    if let Some(act) = of_debug.inspect(|act| r.used(act)).or_else(of_target) {
        actors(row, act);
    }
}

/// The parties of an `act` claim, mostly JSON in a string. Who presented the token is the agent, unless the actor is.
fn actors(row: &mut Row, act: &Json<'_>) {
    let inner = act.text().and_then(|text| json::parse(text.as_bytes()).ok());
    let act = inner.as_ref().unwrap_or(act);
    let said = row.delegation_type.take();
    set_act_chain(row, act);
    if said.as_deref() == Some("id_jag") {
        row.delegation_type = said;
    }
    if row.agent_id.is_none() {
        row.agent_id = text_of(Some(act), "sub");
        row.agent_issuer = text_of(Some(act), "iss");
        let is_agent = act.get("sub_profile").and_then(Json::text) == Some("ai_agent");
        row.agent_type = row.agent_id.as_ref().map(|_| if is_agent { "ai_agent" } else { "oauth_client" }.into());
        row.agent_verified = row.agent_id.as_ref().map(|_| true);
    }
}
