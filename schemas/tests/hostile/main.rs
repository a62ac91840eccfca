//! Hostile input, one named test a row: what precisely becomes of it, and that its bytes are kept.
//!
//! All data here is synthetic. Every test decodes through [`law::decode`], which also holds the law against the rows.

#![allow(clippy::unwrap_used)]

mod bytes;
mod dates;
mod headers;
mod law;
mod secrets;
mod sections;
mod seeds;
mod shapes;
mod sizes;
mod values;

use schemas::Row;
use schemas::adapters::Adapter;
use schemas::cell::Cell;

/// A valid synthetic record of each adapter, with the place of everything that a test replaces.
const OKTA: &str = r#"{"uuid":"u-1","eventType":"user.session.start","version":"0","published":"2026-11-20T10:00:00.000Z","actor":{"id":"00u1","type":"User","displayName":"Ann","alternateId":"ann@example.com"},"client":{"ipAddress":"10.0.0.1","userAgent":{"rawUserAgent":"curl"},"geographicalContext":{"country":"Austria","geolocation":{"lat":48.2,"lon":16.3}}},"outcome":{"result":"SUCCESS","reason":"r"},"target":[{"id":"t1","type":"AppInstance","displayName":"App"}],"transaction":{"id":"tr1"},"authenticationContext":{"externalSessionId":"s1"},"securityContext":{"asNumber":64500,"isProxy":false},"debugContext":{"debugData":{"requestId":"rq1","risk":"{level=LOW}"}}}"#;
const KEYCLOAK: &str = r#"{"id":"k-1","time":1795000000000,"type":"LOGIN","realmId":"r1","clientId":"c1","userId":"u1","sessionId":"s1","ipAddress":"10.0.0.1","error":null,"details":{"username":"ann","scope":"openid profile"}}"#;
const KEYCLOAK_ADMIN: &str = r#"{"id":"ka-1","time":1795000000000,"operationType":"CREATE","resourceType":"USER","resourcePath":"users/1","realmId":"r1","authDetails":{"userId":"u1","clientId":"c1","ipAddress":"10.0.0.1","realmId":"r1"},"representation":"{\"a\":1}"}"#;
const CERBOS: &str = r#"{"callId":"01KAJ3Z3Q00000000000000000","timestamp":"2026-11-20T10:00:00Z","peer":{"address":"10.0.0.1:99","userAgent":"grpc"},"metadata":{"x-request-id":{"values":["rq"]}},"checkResources":{"inputs":[{"requestId":"1","resource":{"kind":"tool","id":"db/read","attr":{"owner":"ann","arguments":{"path":"/a/b"}}},"principal":{"id":"agent-1","roles":["user"],"attr":{"delegating_user":"ann"}},"actions":["call","list"],"auxData":{"jwt":{"jti":"j1"}}}],"outputs":[{"requestId":"1","resourceId":"db/read","actions":{"call":{"effect":"EFFECT_ALLOW","policy":"p1"},"list":{"effect":"EFFECT_DENY","policy":"p2"}}}]}}"#;
const CERBOS_ACCESS: &str = r#"{"callId":"01KAJ3Z3Q00000000000000000","timestamp":"2026-11-20T10:00:00Z","peer":{"address":"10.0.0.1:99"},"metadata":{},"method":"/cerbos.svc.v1.CerbosService/CheckResources","statusCode":0}"#;
const CERBOS_PLAN: &str = r#"{"callId":"01KAJ3Z3Q00000000000000000","timestamp":"2026-11-20T10:00:00Z","planResources":{"input":{"actions":["view"],"principal":{"id":"ann","roles":["user"]},"resource":{"kind":"doc"}},"output":{"filter":{"kind":"KIND_CONDITIONAL"}}}}"#;
const OPA: &str = r#"{"decision_id":"d-1","timestamp":"2026-11-20T10:00:00.123456789Z","path":"mcp/allow","requested_by":"10.0.0.1:99","labels":{"id":"l1","version":"1.22.2"},"bundles":{"b":{"revision":"7"}},"input":{"user":"ann","action":"read","tool":{"name":"t"},"arguments":{"path":"/a/b"}},"result":{"allow":false,"reason":"no"}}"#;
const TOOLHIVE: &str = r#"{"audit_id":"t-1","type":"mcp_tool_call","logged_at":"2026-11-20T10:00:00.1Z","time":"2026-11-20T10:00:00.2Z","outcome":"success","component":"files","source":{"type":"network","value":"10.0.0.1","extra":{"user_agent":"go"}},"subjects":{"user":"Ann","user_id":"u1","client_name":"agent"},"delegation":{"chain":[{"iss":"https://i","sub":"agent-1"}],"truncated":false},"target":{"endpoint":"/mcp","method":"tools/call","name":"read","type":"tool"},"metadata":{"extra":{"duration_ms":12,"response_size_bytes":5}},"data":{"request":{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"path":"/a/b"}}},"response":{"result":{"isError":false}}}}"#;

/// Every adapter with every kind of record that it reads.
const ALL: &[(Adapter, &str)] = &[
    (Adapter::Okta, OKTA),
    (Adapter::Keycloak, KEYCLOAK),
    (Adapter::Keycloak, KEYCLOAK_ADMIN),
    (Adapter::Cerbos, CERBOS),
    (Adapter::Cerbos, CERBOS_ACCESS),
    (Adapter::Cerbos, CERBOS_PLAN),
    (Adapter::Opa, OPA),
    (Adapter::Toolhive, TOOLHIVE),
];

fn rows(adapter: Adapter, payload: impl AsRef<[u8]>) -> Vec<Box<Row>> {
    let beside = law::Beside { timestamp_us: Some(law::KAFKA_US), ..Default::default() };
    law::decode(adapter, Some(payload.as_ref()), &beside)
}

/// The one row of a payload.
fn row(adapter: Adapter, payload: impl AsRef<[u8]>) -> Box<Row> {
    let mut rows = rows(adapter, payload);
    assert_eq!(rows.len(), 1, "one row");
    rows.remove(0)
}

/// A record with one part replaced by another.
fn with(record: &str, old: &str, new: &str) -> String {
    assert!(record.contains(old), "{old} stands in the record");
    record.replacen(old, new, 1)
}

/// Checks a rejection: its code, a part of its sentence, and the bytes that are kept.
#[track_caller]
fn rejected(row: &Row, code: &str, sentence: &str, raw: &[u8]) {
    assert_eq!(row.row_kind.as_deref(), Some("rejection"), "{:?}", row.event_id);
    assert_eq!(row.reason_code.as_deref(), Some(code), "{:?}", row.reason);
    let reason = row.reason.as_deref().unwrap();
    assert!(reason.contains(sentence), "{reason}");
    // Up to 1 MiB: how far a bomb packs depends on the library that packed it.
    let kept = row.raw_payload.as_deref().unwrap();
    assert!(kept == &raw[..raw.len().min(1 << 20)], "the bytes are kept as they came");
    assert_eq!(row.raw_truncated, Some(kept.len() < raw.len()));
}

/// Checks columns of an event, each written as `name=value`; an absent value is written as nothing, and of `ext` one leaf
/// is enough.
#[track_caller]
fn event(row: &Row, columns: &[&str]) {
    assert_eq!(row.row_kind.as_deref(), Some("event"), "{:?}", row.reason);
    for column in columns {
        let (name, wanted) = column.split_once('=').unwrap();
        let found = shown(row, name);
        let fits = found == wanted || (name == "ext" && found.split("; ").any(|leaf| leaf == wanted));
        assert!(fits, "{name} is {found}, not {wanted}; faults {:?}", row.parse_errors);
    }
}

fn shown(row: &Row, name: &str) -> String {
    let index = schemas::COLUMNS.iter().position(|c| c.name == name).unwrap();
    let mut out = String::new();
    row.for_each_value(|i, cell| {
        if i == index {
            out = match cell {
                Cell::Text(v) => v.to_owned(),
                Cell::Long(v) if name.ends_with("_time") => schemas::time::print(v),
                Cell::Long(v) => v.to_string(),
                Cell::Int(v) => v.to_string(),
                Cell::Double(v) => v.to_string(),
                Cell::Flag(v) => v.to_string(),
                Cell::Bytes(v) => String::from_utf8_lossy(v).into_owned(),
                Cell::Texts(v) => v.join("; "),
                Cell::Structs(v) => format!("{v:?}"),
                Cell::Map(v) => v.iter().map(|(k, v)| format!("{k}: {v}")).collect::<Vec<_>>().join("; "),
            };
        }
    });
    out
}

#[test]
fn every_record_that_the_tests_start_from_is_read_without_fault() {
    for (adapter, record) in ALL {
        for row in rows(adapter.clone(), record) {
            event(&row, &["parse_status=ok", "event_time_source=payload"]);
        }
    }
}
