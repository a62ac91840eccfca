//! Synthetic events in the shapes that the vendors really write (see the adapters for what was seen).

use serde_json::{Value, json};

use super::cast::{Agent, Person};
use super::rng::Rng;
use super::{Authority, Call, Generated, Traffic};

const REALM: &str = "7c7f1d0e-0000-4000-8000-000000000001";
const ISSUER: &str = "https://idp.example.com";

/// Okta: a person signs in.
pub(super) fn login(person: &Person, at_us: i64, rng: &mut Rng, traffic: &mut Traffic) {
    let event = json!({
        "uuid": uuid(rng), "published": millis(at_us), "eventType": "user.session.start", "version": "0", "severity": "INFO",
        "actor": { "id": person.id, "type": "User", "alternateId": format!("{}@example.com", person.id), "displayName": person.name },
        "client": { "ipAddress": "192.0.2.10", "userAgent": { "rawUserAgent": "Mozilla/5.0 (synthetic)" }, "geographicalContext": { "country": "Nowhere" } },
        "outcome": { "result": "SUCCESS", "reason": null },
        "authenticationContext": { "externalSessionId": uuid(rng) },
        "transaction": { "type": "WEB", "id": uuid(rng), "detail": {} },
        "target": null,
    });
    push(traffic, "okta", at_us, person.id, &event);
}

/// Keycloak: the agent exchanges a token for a session.
pub(super) fn exchange(agent: &Agent, at_us: i64, rng: &mut Rng, traffic: &mut Traffic) {
    let person = agent.person();
    let event = json!({
        "id": uuid(rng), "time": at_us / 1000, "type": if person.is_some() { "TOKEN_EXCHANGE" } else { "CLIENT_LOGIN" },
        "realmId": REALM, "realmName": "agents", "clientId": agent.id, "userId": person.map_or(agent.id, |p| p.id),
        "sessionId": uuid(rng), "ipAddress": "192.0.2.20", "error": null,
        "details": { "token_id": uuid(rng), "audience": "mcp-server", "scope": "openid tools", "client_auth_method": "client-secret",
            "username": person.map_or(agent.id, |p| p.name), "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange" },
    });
    push(traffic, "keycloak", at_us, agent.id, &event);
}

/// Cerbos: the decision on a call.
pub(super) fn decision(call: &Call<'_>, trace: &str, rng: &mut Rng, traffic: &mut Traffic) {
    let at_us = if call.authority == Authority::AllowedLate { call.at_us + 90_000_000 } else { call.at_us - 20_000 };
    let denied = matches!(call.authority, Authority::Denied | Authority::DeniedAndStopped);
    let effect = if denied { "EFFECT_DENY" } else { "EFFECT_ALLOW" };
    let reason = if denied { "the tool is not granted to this agent" } else { "granted" };
    let request = uuid(rng);
    let event = json!({
        "callId": ulid(at_us, rng), "timestamp": nanos(at_us + 400),
        "peer": { "address": "192.0.2.30:55804", "userAgent": "gateway/1 (synthetic)" },
        "metadata": { "traceparent": { "values": [traceparent(trace, rng)] } },
        "checkResources": {
            "inputs": [{ "requestId": request, "actions": ["call"],
                "resource": { "kind": "mcp:tool", "id": call.tool, "attr": { "server": "records" } },
                "principal": { "id": call.agent.id, "roles": ["agent"], "attr": { "agent_id": call.agent.id, "job_id": call.agent.job,
                    "delegating_user": call.agent.person().map(|p| p.id) } } }],
            "outputs": [{ "requestId": request, "resourceId": call.tool,
                "actions": { "call": { "effect": effect, "policy": "resource.mcp_tool.vdefault" } },
                "outputs": [{ "src": "resource.mcp_tool.vdefault#call", "action": "call", "val": { "reason": reason } }] }],
        },
        "policySource": { "disk": { "directory": "/policies" } },
    });
    push(traffic, "cerbos", at_us, call.agent.id, &event);
}

/// ToolHive: the call itself.
pub(super) fn tool_call(call: &Call<'_>, trace: &str, rng: &mut Rng, traffic: &mut Traffic) {
    let person = call.agent.person();
    let mut arguments = json!({ "query": format!("q{}", rng.below(1000)) });
    if let Some(destination) = call.destination {
        arguments["to"] = json!(destination);
    }
    let event = json!({
        "time": nanos(call.at_us + 900), "level": "AUDIT", "msg": "audit_event", "audit_id": uuid(rng), "type": "mcp_tool_call",
        "logged_at": nanos(call.at_us), "outcome": if call.authority == Authority::DeniedAndStopped { "denied" } else { "success" }, "component": "records",
        "source": { "type": "network", "value": "192.0.2.20", "extra": { "user_agent": "agent/1 (synthetic)" } },
        "subjects": { "user": person.map_or(call.agent.id, |p| p.name), "user_id": person.map(|p| p.id), "client_name": call.agent.id },
        "delegation": { "chain": [{ "iss": ISSUER, "sub": call.agent.id }], "truncated": false, "omitted": 0, "malformed": false },
        "target": { "endpoint": "/mcp", "method": "tools/call", "type": "tool", "name": call.tool },
        "metadata": { "extra": { "duration_ms": 20 + rng.below(200), "transport": "http", "response_size_bytes": 200 + call.rows * 120 } },
        "data": {
            "request": { "jsonrpc": "2.0", "id": rng.below(1_000_000), "method": "tools/call", "params": { "name": call.tool, "arguments": arguments,
                "_meta": { "traceparent": traceparent(trace, rng), "job_id": call.agent.job } } },
            "response": { "jsonrpc": "2.0", "result": { "isError": false, "structuredContent": { "row_count": call.rows } } },
        },
    });
    push(traffic, "toolhive", call.at_us, call.agent.id, &event);
}

fn push(traffic: &mut Traffic, adapter: &'static str, at_us: i64, key: &str, event: &Value) {
    traffic.records.push(Generated { adapter, at_us, key: key.to_owned(), payload: event.to_string() });
}

fn traceparent(trace: &str, rng: &mut Rng) -> String {
    format!("00-{trace}-{:016x}-01", rng.next() | 1)
}

fn uuid(rng: &mut Rng) -> String {
    let (a, b) = (rng.next(), rng.next());
    format!("{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}", a >> 32, (a >> 16) & 0xffff, a & 0xfff, b >> 52, b & 0xffff_ffff_ffff)
}

/// A ULID: 48 bits of milliseconds, 80 random bits, Crockford base 32.
fn ulid(at_us: i64, rng: &mut Rng) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let mut value = (u128::from((at_us / 1000).unsigned_abs()) << 80) | (u128::from(rng.next()) << 16) | u128::from(rng.below(1 << 16));
    let mut text = [b'0'; 26];
    for digit in text.iter_mut().rev() {
        *digit = ALPHABET[(value & 31) as usize];
        value >>= 5;
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn nanos(us: i64) -> String {
    chrono::DateTime::from_timestamp_micros(us).unwrap_or_default().to_rfc3339_opts(chrono::SecondsFormat::Nanos, true)
}

fn millis(us: i64) -> String {
    chrono::DateTime::from_timestamp_micros(us).unwrap_or_default().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
