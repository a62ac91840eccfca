//! Who asks, in a check or plan input: the principal as the application describes it, and the token that it brought.
//!
//! The principal is the agent when the application says so by attribute or role, or when the token's `act` claim names it;
//! else it is the person. Roles are the principal's, so those of an agent are nobody's whom it acts for.

use crate::columns::Row;
use crate::draft::set_act_chain;
use crate::json::Json;
use crate::time::{self, TimeFormat};

/// Roles by which an application marks an agent.
const AGENT_ROLES: &[&str] = &["agent", "ai_agent"];

/// Fills the columns of who asks.
pub(super) fn fill(row: &mut Row, request: &Json<'_>) {
    let claims = claims(request);
    if let Some(claims) = claims {
        token(row, claims);
    }
    let text = |path: &str| request.at(path).and_then(Json::scalar);
    let principal = text("principal.id");
    let roles = request.at("principal.roles").and_then(Json::texts);
    let presenter = claims.and_then(|c| c.at("act.sub")).and_then(Json::scalar);
    let subject = row.token_subject.clone().filter(|_| presenter.is_some());
    let named = text("principal.attr.agent_id");
    let delegator = text("principal.attr.delegating_user").or_else(|| text("principal.attr.on_behalf_of"));
    let is_of_agents = roles.iter().flatten().any(|role| AGENT_ROLES.contains(&role.as_str()));
    let is_presenter = principal.is_some() && principal == presenter;
    let is_for_another = delegator.is_some() && delegator != principal;
    let is_named = match &named {
        Some(agent) => principal.as_ref() == Some(agent),
        None => is_of_agents || is_presenter,
    };
    let is_agent = is_for_another || is_named;
    let kind = if named.is_some() || is_of_agents || is_presenter { "ai_agent" } else { "workload" };
    if is_agent {
        row.agent_id = named.or(principal);
        row.delegator_id = delegator.or(subject);
    } else {
        row.agent_id = named.or_else(|| presenter.clone());
        row.delegator_id = principal;
        row.delegator_roles = roles;
    }
    row.agent_type = row.agent_id.as_ref().map(|_| kind.into());
    row.agent_verified = row.agent_id.as_ref().map(|agent| presenter.as_ref() == Some(agent));
    row.delegator_type = row.delegator_id.as_ref().map(|_| "user".into());
    row.delegator_email = row.delegator_id.clone().filter(|d| d.contains('@'));
    row.delegator_issuer = row.token_issuer.clone().filter(|_| row.delegator_id.is_some() && row.delegator_id == row.token_subject);
    row.job_id = text("principal.attr.job_id");
}

/// The claims of the token; of several, which have names, the first.
fn claims<'j, 'a>(request: &'j Json<'a>) -> Option<&'j Json<'a>> {
    let one = request.at("auxData.jwt").filter(|claims| !claims.is_empty());
    one.or_else(|| request.at("auxData.jwts").and_then(|jwts| jwts.members().first()).and_then(|(_, jwt)| jwt.get("claims")))
}

fn token(row: &mut Row, claims: &Json<'_>) {
    let text = |key: &str| claims.get(key).and_then(Json::scalar);
    row.token_jti = text("jti");
    row.token_id_kind = row.token_jti.as_ref().map(|_| "jti".into());
    row.token_issuer = text("iss");
    row.token_subject = text("sub");
    row.token_audience = claims.get("aud").and_then(Json::texts);
    row.scopes_granted = claims.get("scope").and_then(Json::texts);
    row.client_id = text("azp").or_else(|| text("client_id"));
    let time = |key: &str| claims.get(key).and_then(|v| time::read(v, TimeFormat::Rfc3339).ok()).map(|t| t.micros);
    row.token_expires_at = time("exp");
    row.token_issued_at = time("iat");
    if let Some(act) = claims.get("act").filter(|act| !act.is_empty()) {
        set_act_chain(row, act);
    }
}
