//! Event types that nobody knows, and repeated keys: what is read, and where the other value is.

use schemas::adapters::Adapter;

use crate::{CERBOS, CERBOS_PLAN, KEYCLOAK, KEYCLOAK_ADMIN, OKTA, OPA, TOOLHIVE, event, rejected, row, rows, with};

#[test]
fn an_unknown_okta_event_type_is_an_admin_event_under_its_own_name() {
    let row = row(Adapter::Okta, with(OKTA, "user.session.start", "zzz.new.thing"));
    event(&row, &["category=admin", "activity=other", "source_event_type=zzz.new.thing", "parse_status=ok"]);
}

#[test]
fn an_unknown_keycloak_event_type_is_an_authentication_event_under_its_own_name() {
    let row = row(Adapter::Keycloak, with(KEYCLOAK, "LOGIN", "ZZZ_NEW"));
    event(&row, &["category=authn", "activity=other", "source_event_type=ZZZ_NEW", "outcome=success"]);
}

#[test]
fn an_unknown_keycloak_operation_is_an_admin_event_under_its_own_name() {
    let row = row(Adapter::Keycloak, with(KEYCLOAK_ADMIN, "CREATE", "ZZZ"));
    event(&row, &["category=admin", "activity=zzz", "source_event_type=ZZZ:USER"]);
}

#[test]
fn an_unknown_cerbos_effect_is_indeterminate() {
    let rows = rows(Adapter::Cerbos, with(CERBOS, "EFFECT_ALLOW", "EFFECT_MAYBE"));
    event(&rows[0], &["decision=indeterminate", "outcome=unknown", "outcome_code=EFFECT_MAYBE", "actions_approved="]);
}

#[test]
fn an_unknown_kind_of_plan_is_indeterminate() {
    event(&row(Adapter::Cerbos, with(CERBOS_PLAN, "KIND_CONDITIONAL", "KIND_X")), &["decision=indeterminate", "outcome_code=KIND_X"]);
}

#[test]
fn a_cerbos_record_that_decides_nothing_is_indeterminate() {
    let row = row(Adapter::Cerbos, r#"{"callId":"x","timestamp":"2026-11-20T10:00:00Z","newThing":{"a":1}}"#);
    event(&row, &["decision=indeterminate", "ext=newThing.a: 1"]);
}

#[test]
fn an_opa_result_of_an_unknown_shape_is_indeterminate() {
    for result in ["{\"verdict\":\"fine\"}", "[true]", "\"yes\"", "1", "null", "{\"allow\":1}", "{\"allow\":null}"] {
        let row = row(Adapter::Opa, with(OPA, r#"{"allow":false,"reason":"no"}"#, result));
        event(&row, &["decision=indeterminate", "outcome=unknown", "action_approved="]);
    }
}

#[test]
fn an_opa_error_of_null_is_no_error() {
    event(&row(Adapter::Opa, with(OPA, r#""result""#, r#""error":null,"result""#)), &["decision=deny", "outcome=denied"]);
}

#[test]
fn an_opa_error_decides_over_its_result() {
    let record = with(OPA, r#""result""#, r#""error":{"message":"boom","code":"e1"},"result""#);
    event(&row(Adapter::Opa, record), &["decision=indeterminate", "outcome=error", "outcome_reason=boom", "outcome_code=e1"]);
}

#[test]
fn an_unknown_toolhive_type_is_a_request_of_a_session() {
    let row = row(Adapter::Toolhive, with(TOOLHIVE, "mcp_tool_call", "zzz"));
    event(&row, &["category=session", "activity=request", "source_event_type=zzz", "decision="]);
}

#[test]
fn an_unknown_toolhive_outcome_is_unknown() {
    let record = with(&with(TOOLHIVE, r#""outcome":"success""#, r#""outcome":"zzz""#), "false}}}}", "null}}}}");
    event(&row(Adapter::Toolhive, record), &["outcome=unknown", "outcome_code=zzz"]);
}

/// One test a row: of a key that stands twice the last value is read, that is said, and the raw bytes keep both.
macro_rules! twice {
    ($($name:ident: $adapter:ident $record:ident, $old:literal => $new:literal, $key:literal, $column:literal;)*) => {
        $(#[test]
        fn $name() {
            let record = with($record, $old, $new);
            let row = rows(Adapter::$adapter, &record).remove(0);
            let said = concat!("parse_errors=key `", $key, "` stands twice in one object; the last was read");
            event(&row, &[$column, "parse_status=partial", said]);
            assert_eq!(row.raw_payload.as_deref(), Some(record.as_bytes()));
        })*
    };
}

twice! {
    of_two_okta_results_the_last_is_read: Okta OKTA, r#""result":"SUCCESS""# => r#""result":"SUCCESS","result":"DENY""#, "result", "decision=deny";
    of_two_okta_actors_the_last_is_read: Okta OKTA, r#""actor":{"# => r#""actor":{"id":"other"},"actor":{"#, "actor", "delegator_id=00u1";
    of_two_keycloak_users_the_last_is_read: Keycloak KEYCLOAK, r#""userId":"u1""# => r#""userId":"u1","userId":"u2""#, "userId", "delegator_id=u2";
    of_two_keycloak_ids_the_last_is_read: Keycloak KEYCLOAK, r#""id":"k-1""# => r#""id":"k-1","id":"k-2""#, "id", "event_id=keycloak:one:event:k-2";
    of_two_cerbos_effects_the_last_is_read: Cerbos CERBOS, r#""effect":"EFFECT_ALLOW""# => r#""effect":"EFFECT_ALLOW","effect":"EFFECT_DENY""#, "effect", "actions_approved=";
    of_two_opa_results_the_last_is_read: Opa OPA, r#""allow":false"# => r#""allow":false,"allow":true"#, "allow", "decision=allow";
    of_two_toolhive_outcomes_the_last_is_read: Toolhive TOOLHIVE, r#""outcome":"success""# => r#""outcome":"success","outcome":"denied""#, "outcome", "outcome=denied";
    a_repeated_key_is_found_at_any_depth: Toolhive TOOLHIVE, r#"{"path":"/a/b"}"# => r#"{"path":[{"x":1,"x":2}]}"#, "x", "parse_status=partial";
}

#[test]
fn both_values_of_a_repeated_key_that_no_column_takes_are_in_ext() {
    let row = row(Adapter::Keycloak, with(KEYCLOAK, r#""error":null"#, r#""new":1,"new":2"#));
    event(&row, &["ext=new: 1", "ext=new#2: 2", "parse_status=partial"]);
}

#[test]
fn a_key_with_dots_does_not_pass_for_a_path_that_was_read() {
    let row = row(Adapter::Keycloak, with(KEYCLOAK, r#""error":null"#, r#""details.username":"mallory""#));
    event(&row, &["delegator_name=ann", "ext=details.username: \"mallory\"", "parse_status=ok"]);
}

#[test]
fn known_spellings_of_no_id_give_the_event_an_id_of_its_content() {
    for id in ["null", "unknown", "-"] {
        let row = row(Adapter::Keycloak, with(KEYCLOAK, "k-1", id));
        event(&row, &["event_id_kind=content_hash"]);
    }
}

#[test]
fn records_of_one_adapter_sent_to_another_are_refused_with_what_was_missing() {
    for (adapter, record, missing) in [
        (Adapter::Okta, KEYCLOAK, "`eventType`"),
        (Adapter::Keycloak, OKTA, "`type` or `operationType`"),
        (Adapter::Cerbos, OPA, "`callId`"),
        (Adapter::Opa, CERBOS, "`decision_id`"),
        (Adapter::Toolhive, OKTA, "`audit_id` and `type`"),
    ] {
        rejected(&row(adapter, record), "unknown_shape", missing, record.as_bytes());
    }
}
