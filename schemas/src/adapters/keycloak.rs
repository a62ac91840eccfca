//! Keycloak user and admin events, as the API and as listeners write them (seen: 26.7.3).
//!
//! Both forms carry the same `id`, so the two doors of one act give one event. A failure is a type that
//! ends in `_ERROR`. The client is the agent where the grant is an agent's (client credentials, token
//! exchange); the person is `userId`.

use crate::cell::Member;
use crate::columns::Row;
use crate::draft::{Draft, Input, set_address, set_time, unknown_shape};
use crate::json::Json;
use crate::reader::Reader;
use crate::reject::Reject;
use crate::time::TimeFormat;

pub(super) fn adapt(input: &Input<'_>) -> Result<Vec<Draft>, Reject> {
    let r = input.reader;
    let mut row = Row {
        source_kind: Some("idp".into()),
        source_vendor: Some("keycloak".into()),
        vantage: Some("idp_issued".into()),
        decision_source: Some("idp_policy".into()),
        protocol: Some("oauth2".into()),
        ..Row::default()
    };
    set_time(&mut row, r.time("time", TimeFormat::EpochMillis));
    let kind = if let Some(operation) = r.text("operationType") {
        admin(&mut row, r, &operation);
        "admin"
    } else if let Some(event_type) = r.text("type") {
        user(&mut row, r, &event_type);
        "event"
    } else {
        return Err(unknown_shape("keycloak", "`type` or `operationType`"));
    };
    row.org_id = r.text("realmName");
    row.tenant_id = r.text("realmId");
    Ok(vec![Draft { row: row.into(), kind: kind.into(), native_id: r.text("id"), path: None }])
}

fn user(row: &mut Row, r: &Reader<'_>, event_type: &str) {
    let failed = event_type.ends_with("_ERROR");
    let plain = event_type.trim_end_matches("_ERROR");
    let (category, activity) = classify(plain);
    row.category = Some(category.into());
    row.activity = Some(activity.into());
    row.source_event_type = Some(event_type.into());
    row.action_requested = Some(activity.into());
    row.action_approved = (!failed).then(|| activity.into());
    row.outcome = Some(if failed { "failure" } else { "success" }.into());
    row.outcome_ground = Some("event_type".into());
    row.outcome_code = r.text("error");
    row.outcome_reason = r.text("details.reason").or_else(|| row.outcome_code.clone());
    row.decision = Some(if failed { "deny" } else { "allow" }.into());
    row.decision_reason.clone_from(&row.outcome_reason);
    row.client_id = r.text("clientId");
    row.delegator_id = r.text("userId");
    row.delegator_issuer = r.peek("realmId").and_then(Json::scalar);
    row.delegator_name = r.text("details.username");
    row.idp_session_id = r.text("sessionId");
    set_address(row, r.text("ipAddress"), true);
    token(row, r, plain);
    agent(row, r, plain);
}

fn classify(plain: &str) -> (&'static str, &'static str) {
    match plain {
        "LOGIN" | "IDENTITY_PROVIDER_LOGIN" | "RESTART_AUTHENTICATION" => ("authn", "login"),
        "LOGOUT" => ("authn", "logout"),
        "CODE_TO_TOKEN" | "CLIENT_LOGIN" | "OAUTH2_DEVICE_CODE_TO_TOKEN" | "PERMISSION_TOKEN" => ("token", "issue"),
        "TOKEN_EXCHANGE" => ("token", "exchange"),
        "REFRESH_TOKEN" => ("token", "refresh"),
        "REVOKE_GRANT" => ("token", "revoke"),
        "INTROSPECT_TOKEN" | "USER_INFO_REQUEST" | "VALIDATE_ACCESS_TOKEN" => ("token", "use"),
        "IMPERSONATE" => ("token", "impersonate"),
        "GRANT_CONSENT" | "UPDATE_CONSENT" => ("consent", "grant"),
        "CLIENT_REGISTER" => ("lifecycle", "create"),
        "CLIENT_UPDATE" => ("lifecycle", "update"),
        "CLIENT_DELETE" | "DELETE_ACCOUNT" => ("lifecycle", "delete"),
        p if p.starts_with("UPDATE_") || p.starts_with("REMOVE_") || p.starts_with("RESET_") => ("lifecycle", "update"),
        _ => ("authn", "other"),
    }
}

fn token(row: &mut Row, r: &Reader<'_>, plain: &str) {
    let detail = |key: &str| r.text(&format!("details.{key}"));
    row.grant_type = detail("grant_type").or_else(|| match plain {
        "CODE_TO_TOKEN" => Some("authorization_code".into()),
        "CLIENT_LOGIN" => Some("client_credentials".into()),
        "REFRESH_TOKEN" => Some("refresh_token".into()),
        _ => None,
    });
    row.token_jti = detail("token_id");
    row.token_id_kind = row.token_jti.as_ref().map(|_| "jti".into());
    row.refresh_family_id = detail("refresh_token_id");
    row.token_audience = r.texts("details.audience");
    row.resource_indicator = r.texts("details.resource");
    row.scopes_granted = r.texts("details.scope");
    row.client_auth_method = detail("client_auth_method");
    row.requested_token_type = detail("requested_token_type");
    row.subject_token_client_id = detail("subject_token_client_id");
    row.pkce_method = detail("code_challenge_method");
    row.pkce_used = row.pkce_method.as_ref().map(|_| true);
    row.token_type = detail("token_type").or_else(|| detail("access_token_type"));
    row.correlation_id = detail("code_id");
}

fn agent(row: &mut Row, r: &Reader<'_>, plain: &str) {
    let actor = r.text("details.actor_id").or_else(|| r.text("details.actor"));
    let impersonator = r.text("details.impersonator");
    row.delegator_type = row.delegator_id.as_ref().map(|_| "user".into());
    let delegation = match plain {
        "TOKEN_EXCHANGE" if actor.is_some() => "act",
        "TOKEN_EXCHANGE" => "token_exchange",
        "IMPERSONATE" => "impersonation",
        _ => "none",
    };
    row.delegation_type = Some(delegation.into());
    let acts_for_itself = plain == "CLIENT_LOGIN";
    if acts_for_itself {
        row.delegator_type = Some("service".into());
    }
    if acts_for_itself || plain == "TOKEN_EXCHANGE" {
        row.agent_id = actor.clone().or_else(|| row.client_id.clone());
        row.agent_issuer.clone_from(&row.delegator_issuer);
        row.agent_type = Some("oauth_client".into());
        row.agent_verified = Some(true);
    }
    let hops: Vec<Option<String>> = [actor, impersonator].into_iter().filter(Option::is_some).collect();
    row.delegation_depth = i32::try_from(hops.len()).ok();
    if !hops.is_empty() {
        let issuer = row.delegator_issuer.clone();
        let hop = |(i, sub): (usize, Option<String>)| {
            vec![Member::Int(i as i32), Member::from(issuer.clone()), Member::from(sub), Member::from(row.client_id.clone()), Member::Null]
        };
        row.delegation_chain = Some(hops.into_iter().enumerate().map(hop).collect());
    }
}

fn admin(row: &mut Row, r: &Reader<'_>, operation: &str) {
    let failed = r.text("error").is_some();
    row.category = Some("admin".into());
    row.activity = Some(operation.to_ascii_lowercase());
    row.action_requested.clone_from(&row.activity);
    row.action_approved = row.activity.clone().filter(|_| !failed);
    row.resource_type = r.text("resourceType");
    row.source_event_type = Some(format!("{operation}:{}", row.resource_type.as_deref().unwrap_or("-")));
    row.resource_id = r.text("resourcePath");
    row.outcome = Some(if failed { "failure" } else { "success" }.into());
    row.outcome_ground = Some("source_field".into());
    row.outcome_reason = r.text("error");
    row.client_id = r.text("authDetails.clientId");
    row.delegator_id = r.text("authDetails.userId");
    row.delegator_issuer = r.text("authDetails.realmId");
    row.delegator_type = row.delegator_id.as_ref().map(|_| "user".into());
    set_address(row, r.text("authDetails.ipAddress"), true);
    if let Some(representation) = r.at("representation").filter(|v| !v.is_empty()) {
        let text = representation.text().map_or_else(|| representation.compact(), str::to_owned);
        row.params_bytes = i64::try_from(text.len()).ok();
        row.params_json = Some(text);
        row.params_state = Some("present".into());
    }
}
