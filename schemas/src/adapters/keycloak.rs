//! Keycloak user and admin events, as the API, listeners and the log write them (seen: 26.7.3).
//!
//! API and listeners carry the same `id`, so the two doors of one act give one event; lines of the log have none. A
//! failure is a type that ends in `_ERROR`. The client is the agent where the grant is an agent's (client credentials,
//! token exchange), the administrator where one becomes another person; the person is `userId`.
//!
//! What an administrator does to a user or a client itself is its lifecycle. An update says the state after it only: one
//! that leaves the user disabled is `disable`, one that leaves it enabled may have changed anything and is `update`.

pub(super) mod log;

use std::borrow::Cow;

use crate::cell::Member;
use crate::columns::Row;
use crate::draft::{Draft, Input, set_address, set_time, unknown_shape};
use crate::json::{self, Json};
use crate::reader::Reader;
use crate::reject::Reject;
use crate::time::TimeFormat;

/// Most members of a representation that changes the state of a user alone.
const MAX_STATE_MEMBERS: usize = 3;

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
    if row.event_time.is_none() {
        let logged = ["logged", "log.timestamp"].iter().find_map(|path| r.time(path, TimeFormat::Rfc3339));
        set_time(&mut row, logged);
    }
    if r.peek("unread").is_some() {
        r.fault("the line ends in what is no key and value".into());
    }
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
    row.host_name = r.text("log.hostName");
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
    // A lockout is the answer to sign-ins that failed: nothing was let through.
    let (outcome, decision) = match (failed, plain.starts_with("USER_DISABLED_")) {
        (true, _) => ("failure", "deny"),
        (false, true) => ("denied", "deny"),
        (false, false) => ("success", "allow"),
    };
    row.action_approved = (decision == "allow").then(|| activity.into());
    row.outcome = Some(outcome.into());
    row.outcome_ground = Some("event_type".into());
    row.outcome_code = r.text("error");
    row.outcome_reason = r.text("details.reason").or_else(|| row.outcome_code.clone());
    row.decision = Some(decision.into());
    row.decision_reason.clone_from(&row.outcome_reason);
    row.client_id = r.text("clientId");
    row.delegator_id = r.text("userId");
    row.delegator_issuer = r.peek("realmId").and_then(Json::scalar);
    row.delegator_name = r.text("details.username");
    row.idp_session_id = r.text("sessionId");
    set_address(row, r.text("ipAddress"), true);
    token(row, r, plain, failed);
    agent(row, r, plain);
    if category == "lifecycle" {
        subject(row, plain);
    }
}

fn classify(plain: &str) -> (&'static str, &'static str) {
    match plain {
        "LOGIN" | "RESTART_AUTHENTICATION" => ("authn", "login"),
        "IDENTITY_PROVIDER_LOGIN" | "IDENTITY_PROVIDER_FIRST_LOGIN" | "IDENTITY_PROVIDER_POST_LOGIN" => ("authn", "login"),
        "IDENTITY_PROVIDER_RESPONSE" => ("authn", "login"),
        "LOGOUT" | "USER_SESSION_DELETED" => ("authn", "logout"),
        "OAUTH2_DEVICE_AUTH" | "OAUTH2_DEVICE_VERIFY_USER_CODE" | "EXECUTE_ACTIONS" | "EXECUTE_ACTION_TOKEN" => ("authn", "challenge"),
        "CUSTOM_REQUIRED_ACTION" => ("authn", "challenge"),
        p if p.starts_with("SEND_") => ("authn", "challenge"),
        "CODE_TO_TOKEN" | "CLIENT_LOGIN" | "OAUTH2_DEVICE_CODE_TO_TOKEN" | "PERMISSION_TOKEN" | "AUTHREQID_TO_TOKEN" => ("token", "issue"),
        "JWT_AUTHORIZATION_GRANT" | "OAUTH2_EXTENSION_GRANT" | "IDENTITY_PROVIDER_RETRIEVE_TOKEN" => ("token", "issue"),
        "VERIFIABLE_CREDENTIAL_REQUEST" | "VERIFIABLE_CREDENTIAL_PRE_AUTHORIZED_GRANT" => ("token", "issue"),
        "PUSHED_AUTHORIZATION_REQUEST" => ("token", "request"),
        p if p.starts_with("VERIFIABLE_CREDENTIAL_") => ("token", "request"),
        "TOKEN_EXCHANGE" => ("token", "exchange"),
        "REFRESH_TOKEN" => ("token", "refresh"),
        "REVOKE_GRANT" => ("token", "revoke"),
        "INTROSPECT_TOKEN" | "USER_INFO_REQUEST" | "VALIDATE_ACCESS_TOKEN" => ("token", "use"),
        "IMPERSONATE" => ("token", "impersonate"),
        "GRANT_CONSENT" | "UPDATE_CONSENT" => ("consent", "grant"),
        "REGISTER" | "CLIENT_REGISTER" => ("lifecycle", "create"),
        "CLIENT_DELETE" | "DELETE_ACCOUNT" => ("lifecycle", "delete"),
        p if p.starts_with("USER_DISABLED_") => ("lifecycle", "disable"),
        "CLIENT_UPDATE" | "CLIENT_INITIATED_ACCOUNT_LINKING" | "IDENTITY_PROVIDER_LINK_ACCOUNT" => ("lifecycle", "update"),
        p if ["UPDATE_", "REMOVE_", "RESET_", "VERIFY_", "FEDERATED_"].iter().any(|start| p.starts_with(start)) => ("lifecycle", "update"),
        "REGISTER_NODE" | "INVITE_ORG" => ("admin", "create"),
        "UNREGISTER_NODE" => ("admin", "delete"),
        "CLIENT_INFO" => ("admin", "read"),
        _ => ("authn", "other"),
    }
}

/// Whose lifecycle it is: the client's that registers itself, else the person's.
fn subject(row: &mut Row, plain: &str) {
    let is_client = matches!(plain, "CLIENT_REGISTER" | "CLIENT_UPDATE" | "CLIENT_DELETE");
    row.resource_type = Some(if is_client { "client" } else { "user" }.into());
    row.resource_id.clone_from(if is_client { &row.client_id } else { &row.delegator_id });
    row.resource_name = row.delegator_name.clone().filter(|_| !is_client);
}

fn token(row: &mut Row, r: &Reader<'_>, plain: &str, failed: bool) {
    let detail = |key: &str| r.text(&format!("details.{key}"));
    row.grant_type = detail("grant_type").or_else(|| match plain {
        "CODE_TO_TOKEN" => Some("authorization_code".into()),
        "CLIENT_LOGIN" => Some("client_credentials".into()),
        "REFRESH_TOKEN" => Some("refresh_token".into()),
        _ => None,
    });
    row.refresh_family_id = detail("refresh_token_id");
    // What a revocation names may be the refresh token alone.
    row.token_jti = detail("token_id").or_else(|| row.refresh_family_id.clone().filter(|_| plain == "REVOKE_GRANT"));
    row.token_id_kind = row.token_jti.as_ref().map(|_| "jti".into());
    // What was asked for and refused was not granted; of audiences there is no column for that, so it is left in `ext`.
    if failed {
        row.scopes_requested = r.texts("details.scope");
    } else {
        row.token_audience = r.texts("details.audience");
        row.scopes_granted = r.texts("details.scope");
    }
    row.resource_indicator = r.texts("details.resource");
    row.client_auth_method = detail("client_auth_method");
    row.requested_token_type = detail("requested_token_type");
    row.subject_token_client_id = detail("subject_token_client_id");
    row.pkce_method = detail("code_challenge_method");
    row.pkce_used = row.pkce_method.as_ref().map(|_| true);
    row.token_type = detail("token_type").or_else(|| detail("access_token_type"));
    row.correlation_id = detail("code_id");
}

fn agent(row: &mut Row, r: &Reader<'_>, plain: &str) {
    let named = r.text("details.actor");
    let actor = r.text("details.actor_id").or_else(|| named.clone());
    let impersonator = r.text("details.impersonator");
    let impersonator_issuer = r.text("details.impersonator_realm").or_else(|| row.delegator_issuer.clone());
    let acts_for_itself = plain == "CLIENT_LOGIN";
    let person = if acts_for_itself { "service" } else { "user" };
    row.delegator_type = row.delegator_id.as_ref().map(|_| person.into());
    let delegation = match plain {
        "TOKEN_EXCHANGE" if actor.is_some() => "act",
        "TOKEN_EXCHANGE" => "token_exchange",
        "IMPERSONATE" => "impersonation",
        _ => "none",
    };
    row.delegation_type = Some(delegation.into());
    if acts_for_itself || plain == "TOKEN_EXCHANGE" {
        row.agent_id = actor.clone().or_else(|| row.client_id.clone());
        row.agent_name = named;
        row.agent_issuer.clone_from(&row.delegator_issuer);
        row.agent_type = Some("oauth_client".into());
        row.agent_verified = Some(row.outcome_code.as_deref() != Some("invalid_client_credentials"));
    } else if let Some(administrator) = &impersonator {
        row.agent_id = Some(administrator.clone());
        row.agent_name = Some(administrator.clone());
        row.agent_issuer.clone_from(&impersonator_issuer);
        row.agent_type = Some("user".into());
        row.agent_verified = Some(true);
    }
    let hops = [(actor, row.delegator_issuer.clone()), (impersonator, impersonator_issuer)];
    let hops = hops.into_iter().filter(|(sub, _)| sub.is_some()).zip(0..);
    let hop = |((sub, issuer), pos): ((Option<String>, Option<String>), i32)| {
        vec![Member::Int(pos), Member::from(issuer), Member::from(sub), Member::from(row.client_id.clone()), Member::Null]
    };
    let chain: Vec<_> = hops.map(hop).collect();
    row.delegation_depth = i32::try_from(chain.len()).ok();
    row.delegation_chain = (!chain.is_empty()).then_some(chain);
}

fn admin(row: &mut Row, r: &Reader<'_>, operation: &str) {
    let failed = r.text("error").is_some();
    row.resource_type = r.text("resourceType");
    row.source_event_type = Some(format!("{operation}:{}", row.resource_type.as_deref().unwrap_or("-")));
    row.resource_id = r.text("resourcePath");
    let representation = r.at("representation").filter(|v| !v.is_empty());
    let changed = representation.and_then(parsed);
    if let Some((kind, id, activity)) = lifecycle(row, operation, changed.as_deref()) {
        row.category = Some("lifecycle".into());
        row.activity = Some(activity.into());
        row.resource_type = Some(kind.into());
        row.resource_id = Some(id);
    } else {
        row.category = Some("admin".into());
        row.activity = Some(operation.to_ascii_lowercase());
    }
    let name = |key: &str| changed.as_deref().and_then(|c| c.get(key)).and_then(Json::scalar);
    row.resource_name = ["username", "clientId", "name"].into_iter().find_map(name);
    row.action_requested.clone_from(&row.activity);
    row.action_approved = row.activity.clone().filter(|_| !failed);
    row.outcome = Some(if failed { "failure" } else { "success" }.into());
    row.outcome_ground = Some("source_field".into());
    row.outcome_reason = r.text("error");
    row.client_id = r.text("authDetails.clientId");
    row.delegator_id = r.text("authDetails.userId");
    row.delegator_issuer = r.text("authDetails.realmId");
    row.delegator_type = row.delegator_id.as_ref().map(|_| "user".into());
    set_address(row, r.text("authDetails.ipAddress"), true);
    if let Some(representation) = representation {
        let text = representation.text().map_or_else(|| representation.compact(), str::to_owned);
        row.params_bytes = i64::try_from(text.len()).ok();
        row.params_json = Some(text);
        row.params_state = Some("present".into());
    }
}

/// What the administrator sent: JSON, mostly in a string.
fn parsed<'j>(representation: &'j Json<'_>) -> Option<Cow<'j, Json<'j>>> {
    match representation {
        Json::Text(text) => json::parse(text.as_bytes()).ok().map(Cow::Owned),
        other => Some(Cow::Borrowed(other)),
    }
}

/// Of a user or a client itself: what it is, its id, and what became of it.
fn lifecycle(row: &Row, operation: &str, changed: Option<&Json<'_>>) -> Option<(&'static str, String, &'static str)> {
    let (parent, id) = row.resource_id.as_deref()?.rsplit_once('/')?;
    let kind = match (row.resource_type.as_deref()?, parent) {
        ("USER", "users") => "user",
        ("CLIENT", "clients") => "client",
        ("USER_LOGIN_FAILURE", _) if operation == "DELETE" && parent.ends_with("/users") => return Some(("user", id.into(), "enable")),
        _ => return None,
    };
    let enabled = changed.and_then(|c| c.get("enabled")).and_then(Json::flag);
    let is_state_alone = changed.is_some_and(|c| c.members().len() <= MAX_STATE_MEMBERS);
    let activity = match (operation, enabled) {
        ("CREATE", _) => "create",
        ("DELETE", _) => "delete",
        ("UPDATE", Some(false)) => "disable",
        ("UPDATE", Some(true)) if is_state_alone => "enable",
        ("UPDATE", _) => "update",
        _ => return None,
    };
    Some((kind, id.into(), activity))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The types that a realm of 26.7.3 can save, without their errors.
    const TYPES: &str = "AUTHREQID_TO_TOKEN CLIENT_DELETE CLIENT_INFO CLIENT_INITIATED_ACCOUNT_LINKING CLIENT_LOGIN \
        CLIENT_REGISTER CLIENT_UPDATE CODE_TO_TOKEN CUSTOM_REQUIRED_ACTION DELETE_ACCOUNT EXECUTE_ACTIONS EXECUTE_ACTION_TOKEN \
        FEDERATED_IDENTITY_LINK FEDERATED_IDENTITY_OVERRIDE_LINK GRANT_CONSENT IDENTITY_PROVIDER_FIRST_LOGIN \
        IDENTITY_PROVIDER_LINK_ACCOUNT IDENTITY_PROVIDER_LOGIN IDENTITY_PROVIDER_POST_LOGIN IDENTITY_PROVIDER_RESPONSE \
        IDENTITY_PROVIDER_RETRIEVE_TOKEN IMPERSONATE INTROSPECT_TOKEN INVITE_ORG JWT_AUTHORIZATION_GRANT LOGIN LOGOUT \
        OAUTH2_DEVICE_AUTH OAUTH2_DEVICE_CODE_TO_TOKEN OAUTH2_DEVICE_VERIFY_USER_CODE OAUTH2_EXTENSION_GRANT PERMISSION_TOKEN \
        PUSHED_AUTHORIZATION_REQUEST REFRESH_TOKEN REGISTER REGISTER_NODE REMOVE_CREDENTIAL REMOVE_FEDERATED_IDENTITY REMOVE_TOTP \
        RESET_PASSWORD RESTART_AUTHENTICATION REVOKE_GRANT SEND_IDENTITY_PROVIDER_LINK SEND_RESET_PASSWORD SEND_VERIFY_EMAIL \
        TOKEN_EXCHANGE UNREGISTER_NODE UPDATE_CONSENT UPDATE_CREDENTIAL UPDATE_EMAIL UPDATE_PASSWORD UPDATE_PROFILE UPDATE_TOTP \
        USER_DISABLED_BY_PERMANENT_LOCKOUT USER_DISABLED_BY_TEMPORARY_LOCKOUT USER_INFO_REQUEST USER_SESSION_DELETED \
        VALIDATE_ACCESS_TOKEN VERIFIABLE_CREDENTIAL_CREATE_OFFER VERIFIABLE_CREDENTIAL_NONCE_REQUEST \
        VERIFIABLE_CREDENTIAL_OFFER_REQUEST VERIFIABLE_CREDENTIAL_PRE_AUTHORIZED_GRANT VERIFIABLE_CREDENTIAL_REQUEST VERIFY_EMAIL \
        VERIFY_PROFILE";

    #[test]
    fn every_type_of_the_server_has_a_category_and_an_activity() {
        for plain in TYPES.split_whitespace() {
            let (category, activity) = classify(plain);
            assert_ne!(activity, "other", "{plain}");
            let is_lifecycle = matches!(activity, "create" | "update" | "delete" | "enable" | "disable");
            assert!(category != "lifecycle" || is_lifecycle, "{plain}: {activity}");
        }
        // A signature that is wrong says nothing of what was asked for.
        assert_eq!(classify("INVALID_SIGNATURE"), ("authn", "other"));
    }
}
