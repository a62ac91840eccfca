//! Null where an object belongs, arrays where objects belong, strings where numbers belong: every section of every adapter.

use schemas::adapters::Adapter;
use serde_json::{Value, json};

use crate::law;
use crate::{ALL, CERBOS, CERBOS_ACCESS, CERBOS_PLAN, KEYCLOAK, KEYCLOAK_ADMIN, OKTA, OPA, TOOLHIVE, event, rejected, rows};

/// A record with the value at a JSON pointer replaced.
fn put(record: &str, pointer: &str, value: &Value) -> String {
    let mut json: Value = serde_json::from_str(record).unwrap();
    *json.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} is in the record")) = value.clone();
    json.to_string()
}

fn pointers(value: &Value, at: &str, out: &mut Vec<String>) {
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(members) => members.iter().for_each(|(k, v)| {
            let inner = format!("{at}/{}", escaped(k));
            out.push(inner.clone());
            pointers(v, &inner, out);
        }),
        Value::Array(items) => items.iter().enumerate().for_each(|(i, v)| {
            let inner = format!("{at}/{i}");
            out.push(inner.clone());
            pointers(v, &inner, out);
        }),
        _ => {}
    }
}

/// Holds the law for every value of every record replaced by `value` and kept in it.
fn everywhere(value: &Value, mark: Option<&str>) {
    let mut lost = Vec::new();
    for (adapter, record) in ALL {
        let mut all = Vec::new();
        pointers(&serde_json::from_str(record).unwrap(), "", &mut all);
        for pointer in all {
            let rows = rows(adapter.clone(), put(record, &pointer, value));
            let Some(mark) = mark else { continue };
            let said = rows.iter().all(|row| law::holds_text(row, mark));
            if !said {
                lost.push(format!("{adapter:?} {pointer}"));
            }
        }
    }
    assert!(lost.is_empty(), "{value} is not kept at {lost:?}");
}

/// The same for what every adapter is tested with, where that is one JSON object: nothing breaks the law.
fn everywhere_in_tests(value: &Value) {
    let mut adapters = std::collections::BTreeSet::new();
    for adapter in Adapter::all() {
        for test in adapter.tests() {
            let bytes = schemas::mapping::check::bytes_of(&test.record);
            let Ok(json @ Value::Object(_)) = serde_json::from_slice(&bytes) else { continue };
            adapters.insert(adapter.name().to_owned());
            let mut all = Vec::new();
            pointers(&json, "", &mut all);
            for pointer in all {
                let mut json = json.clone();
                *json.pointer_mut(&pointer).unwrap() = value.clone();
                rows(adapter.clone(), json.to_string());
            }
        }
    }
    assert_eq!(adapters.len(), Adapter::all().len(), "adapters without a record that is an object: only {adapters:?}");
}

macro_rules! everywhere {
    ($($name:ident: $value:expr, $mark:expr;)*) => {
        $(#[test]
        fn $name() {
            everywhere(&$value, $mark);
            everywhere_in_tests(&$value);
        })*
    };
}

everywhere! {
    null_anywhere_is_an_event_or_a_rejection: json!(null), None;
    an_empty_object_anywhere_is_an_event_or_a_rejection: json!({}), None;
    an_empty_array_anywhere_is_an_event_or_a_rejection: json!([]), None;
    an_empty_string_anywhere_is_an_event_or_a_rejection: json!(""), None;
    a_boolean_anywhere_is_an_event_or_a_rejection: json!(true), None;
    a_string_anywhere_is_kept: json!("zz-odd"), Some("zz-odd");
    a_number_anywhere_is_kept: json!(918_273), Some("918273");
    an_object_anywhere_is_kept: json!({"zz": "zz-odd"}), Some("zz-odd");
    an_array_anywhere_is_kept: json!(["zz-odd"]), Some("zz-odd");
    an_array_of_nulls_anywhere_is_an_event_or_a_rejection: json!([null, null]), None;
    arrays_in_arrays_anywhere_are_an_event_or_a_rejection: json!([[[["x"]]]]), None;
}

/// One test a row: adapter, record, the section, what stands there instead, what the first row is then.
macro_rules! sections {
    ($($name:ident: $adapter:ident $record:ident $pointer:literal = $value:tt => $($column:literal),*;)*) => {
        $(#[test]
        fn $name() {
            event(&rows(Adapter::$adapter, put($record, $pointer, &json!($value)))[0], &[$($column),*]);
        })*
    };
}

sections! {
    an_okta_actor_of_null_is_an_event_without_a_person: Okta OKTA "/actor" = null => "delegator_id=", "decision=allow", "parse_status=ok";
    an_okta_actor_that_is_a_list_goes_to_ext: Okta OKTA "/actor" = ["zz"] => "delegator_id=", "ext=actor.0: \"zz\"";
    an_okta_actor_that_is_text_goes_to_ext: Okta OKTA "/actor" = "zz" => "delegator_id=", "ext=actor: \"zz\"";
    an_okta_actor_id_that_is_a_number_is_read_as_text: Okta OKTA "/actor/id" = 12 => "delegator_id=12", "parse_status=ok";
    an_okta_actor_id_that_is_an_object_is_a_fault: Okta OKTA "/actor/id" = {"a": 1} => "delegator_id=", "parse_errors=actor.id is no text", "ext=actor.id.a: 1";
    an_okta_client_of_null_is_an_event_without_an_address: Okta OKTA "/client" = null => "src_ip=", "parse_status=ok";
    an_okta_client_that_is_a_list_goes_to_ext: Okta OKTA "/client" = [1] => "src_ip=", "ext=client.0: 1";
    an_okta_outcome_of_null_is_indeterminate: Okta OKTA "/outcome" = null => "outcome=unknown", "decision=indeterminate", "action_approved=";
    an_okta_outcome_that_is_text_is_not_taken_for_its_result: Okta OKTA "/outcome" = "SUCCESS" => "outcome=unknown", "ext=outcome: \"SUCCESS\"";
    an_okta_target_of_null_is_an_event_without_a_resource: Okta OKTA "/target" = null => "resource_id=", "resources=", "parse_status=ok";
    an_okta_target_that_is_an_object_is_a_list_of_one: Okta OKTA "/target" = {"id": "t9", "type": "AppInstance"} => "resource_id=t9", "client_id=t9";
    an_okta_target_that_is_text_is_a_fault: Okta OKTA "/target" = "t9" => "resource_id=", "ext=target: \"t9\"", "parse_errors=target is no list";
    an_okta_target_of_scalars_is_resources_without_names: Okta OKTA "/target" = [1, null, "x"] => "resource_id=", "parse_status=ok";
    an_okta_debug_context_that_is_text_goes_to_ext: Okta OKTA "/debugContext" = "zz" => "request_id=", "ext=debugContext: \"zz\"";
    an_okta_risk_that_is_an_object_is_a_fault: Okta OKTA "/debugContext/debugData/risk" = {"level": "HIGH"} => "risk_level=", "parse_errors=debugContext.debugData.risk is no text";
    an_okta_proxy_flag_in_a_string_is_read: Okta OKTA "/securityContext/isProxy" = "TRUE" => "is_proxy=true", "parse_status=ok";
    an_okta_proxy_flag_that_is_a_number_is_a_fault: Okta OKTA "/securityContext/isProxy" = 1 => "is_proxy=", "parse_errors=securityContext.isProxy is no boolean";
    okta_latitude_in_a_string_is_read: Okta OKTA "/client/geographicalContext/geolocation/lat" = "48.5" => "geo_lat=48.5", "parse_status=ok";

    keycloak_details_of_null_are_an_event_without_a_name: Keycloak KEYCLOAK "/details" = null => "delegator_name=", "outcome=success", "parse_status=ok";
    keycloak_details_that_are_a_list_go_to_ext: Keycloak KEYCLOAK "/details" = ["zz"] => "delegator_name=", "ext=details.0: \"zz\"";
    keycloak_details_that_are_text_go_to_ext: Keycloak KEYCLOAK "/details" = "zz" => "delegator_name=", "ext=details: \"zz\"";
    a_keycloak_user_that_is_an_object_is_a_fault: Keycloak KEYCLOAK "/userId" = {"id": "zz"} => "delegator_id=", "parse_errors=userId is no text", "ext=userId.id: \"zz\"";
    a_keycloak_time_in_a_string_is_read: Keycloak KEYCLOAK "/time" = "1795000000000" => "event_time_source=payload", "parse_status=ok";
    a_keycloak_time_of_null_is_the_time_of_kafka: Keycloak KEYCLOAK "/time" = null => "event_time_source=kafka", "parse_status=ok";
    a_keycloak_scope_that_is_a_list_is_read: Keycloak KEYCLOAK "/details/scope" = ["a", 1] => "scopes_granted=a; 1", "parse_status=ok";
    a_keycloak_scope_that_is_an_object_is_a_fault: Keycloak KEYCLOAK "/details/scope" = {"a": 1} => "scopes_granted=", "parse_errors=details.scope is no list of texts";
    keycloak_auth_details_of_null_are_an_event_without_a_person: Keycloak KEYCLOAK_ADMIN "/authDetails" = null => "delegator_id=", "category=lifecycle";
    keycloak_auth_details_that_are_a_list_go_to_ext: Keycloak KEYCLOAK_ADMIN "/authDetails" = [true] => "delegator_id=", "ext=authDetails.0: true";
    a_keycloak_representation_that_is_an_object_is_parameters: Keycloak KEYCLOAK_ADMIN "/representation" = {"a": 1} => "params_json={\"a\":1}", "params_state=present";
    a_keycloak_representation_of_null_is_no_parameters: Keycloak KEYCLOAK_ADMIN "/representation" = null => "params_json=", "params_state=";

    cerbos_check_resources_of_null_are_indeterminate: Cerbos CERBOS "/checkResources" = null => "decision=indeterminate", "category=authz_decision";
    cerbos_check_resources_that_are_text_are_indeterminate_and_kept: Cerbos CERBOS "/checkResources" = "zz" => "decision=indeterminate", "ext=checkResources: \"zz\"";
    cerbos_check_resources_that_are_a_list_are_indeterminate_and_kept: Cerbos CERBOS "/checkResources" = ["zz"] => "decision=indeterminate", "ext=checkResources.0: \"zz\"";
    cerbos_inputs_of_null_are_indeterminate: Cerbos CERBOS "/checkResources/inputs" = null => "decision=indeterminate";
    cerbos_inputs_that_are_text_are_a_fault: Cerbos CERBOS "/checkResources/inputs" = "zz" => "decision=indeterminate", "parse_errors=checkResources.inputs is no list";
    a_cerbos_input_of_null_is_a_fault: Cerbos CERBOS "/checkResources/inputs/0" = null => "decision=indeterminate", "parse_errors=checkResources.inputs.0 asks for no action";
    cerbos_actions_that_are_text_are_one_action: Cerbos CERBOS "/checkResources/inputs/0/actions" = "call" => "decision=allow", "action_requested=call";
    cerbos_outputs_of_null_are_indeterminate: Cerbos CERBOS "/checkResources/outputs" = null => "decision=indeterminate", "action_requested=call";
    a_cerbos_output_that_is_a_list_is_indeterminate: Cerbos CERBOS "/checkResources/outputs/0" = [1] => "decision=indeterminate", "action_requested=call";
    a_cerbos_effect_that_is_a_number_is_indeterminate: Cerbos CERBOS "/checkResources/outputs/0/actions/call/effect" = 1 => "decision=indeterminate", "outcome_code=1";
    a_cerbos_principal_of_null_is_a_decision_about_nobody: Cerbos CERBOS "/checkResources/inputs/0/principal" = null => "decision=allow", "agent_id=", "delegator_id=";
    a_cerbos_principal_that_is_a_list_is_a_decision_about_nobody: Cerbos CERBOS "/checkResources/inputs/0/principal" = ["x"] => "decision=allow", "agent_id=", "delegator_id=";
    cerbos_metadata_of_null_is_no_request_id: Cerbos CERBOS "/metadata" = null => "request_id=", "parse_status=ok";
    cerbos_metadata_that_is_a_list_goes_to_ext: Cerbos CERBOS "/metadata" = ["zz"] => "request_id=", "ext=metadata.0: \"zz\"";
    a_cerbos_peer_that_is_text_goes_to_ext: Cerbos CERBOS "/peer" = "zz" => "src_ip=", "ext=peer: \"zz\"";
    a_cerbos_status_in_a_string_is_read: Cerbos CERBOS_ACCESS "/statusCode" = "7" => "outcome=error", "outcome_code=7";
    a_cerbos_status_that_is_a_word_is_no_success: Cerbos CERBOS_ACCESS "/statusCode" = "OK" => "outcome=unknown", "outcome_code=", "parse_errors=statusCode is no integer";
    a_cerbos_status_that_is_an_object_is_no_success: Cerbos CERBOS_ACCESS "/statusCode" = {"a": 1} => "outcome=unknown", "parse_status=partial";
    a_cerbos_method_of_null_is_no_access_record: Cerbos CERBOS_ACCESS "/method" = null => "category=authz_decision", "decision=indeterminate";
    cerbos_plan_resources_of_null_are_indeterminate: Cerbos CERBOS_PLAN "/planResources" = null => "decision=indeterminate";
    a_cerbos_plan_input_that_is_a_list_is_a_plan_about_nobody: Cerbos CERBOS_PLAN "/planResources/input" = ["zz"] => "decision=conditional", "delegator_id=", "ext=planResources.input.0: \"zz\"";
    a_cerbos_plan_filter_that_is_text_is_indeterminate: Cerbos CERBOS_PLAN "/planResources/output/filter" = "zz" => "decision=indeterminate", "ext=planResources.output.filter: \"zz\"";

    an_opa_input_of_null_is_a_decision_about_nobody: Opa OPA "/input" = null => "decision=deny", "delegator_id=", "parse_status=ok";
    an_opa_input_that_is_a_list_goes_to_ext: Opa OPA "/input" = ["zz"] => "decision=deny", "delegator_id=", "ext=input.0: \"zz\"";
    an_opa_input_that_is_text_goes_to_ext: Opa OPA "/input" = "zz" => "decision=deny", "ext=input: \"zz\"";
    opa_arguments_of_null_are_empty_parameters: Opa OPA "/input/arguments" = null => "params_json=null", "arg_keys=";
    opa_arguments_that_are_text_are_kept: Opa OPA "/input/arguments" = "zz" => "params_json=\"zz\"", "arg_keys=";
    opa_labels_that_are_a_list_go_to_ext: Opa OPA "/labels" = ["zz"] => "service_name=", "ext=labels.0: \"zz\"";
    opa_bundles_that_are_text_are_a_fault: Opa OPA "/bundles" = "zz" => "policy_version=", "ext=bundles: \"zz\"";
    an_opa_verdict_in_a_string_is_read: Opa OPA "/result/allow" = "true" => "decision=allow", "outcome=success";
    an_opa_verdict_that_is_a_number_is_indeterminate: Opa OPA "/result/allow" = 1 => "decision=indeterminate", "outcome=unknown";

    toolhive_subjects_of_null_are_anonymous: Toolhive TOOLHIVE "/subjects" = null => "delegator_type=anonymous", "delegator_id=";
    toolhive_subjects_that_are_a_list_go_to_ext: Toolhive TOOLHIVE "/subjects" = ["zz"] => "delegator_type=anonymous", "ext=subjects.0: \"zz\"";
    a_toolhive_chain_of_null_is_no_delegation: Toolhive TOOLHIVE "/delegation/chain" = null => "delegation_type=none", "parse_status=ok";
    a_toolhive_chain_that_is_one_object_is_a_chain_of_one: Toolhive TOOLHIVE "/delegation/chain" = {"sub": "a9", "iss": "i"} => "delegation_type=act", "agent_id=a9";
    a_toolhive_chain_that_is_text_is_a_fault: Toolhive TOOLHIVE "/delegation/chain" = "zz" => "parse_errors=delegation.chain is no list", "ext=delegation.chain: \"zz\"";
    a_toolhive_hop_of_null_is_an_agent_without_a_name: Toolhive TOOLHIVE "/delegation/chain/0" = null => "delegation_depth=1", "agent_id=";
    a_toolhive_target_of_null_is_a_call_without_a_tool: Toolhive TOOLHIVE "/target" = null => "category=tool_call", "tool_name=", "method=";
    a_toolhive_target_that_is_a_list_goes_to_ext: Toolhive TOOLHIVE "/target" = ["zz"] => "tool_name=", "ext=target.0: \"zz\"";
    toolhive_metadata_that_is_text_goes_to_ext: Toolhive TOOLHIVE "/metadata" = "zz" => "duration_us=", "ext=metadata: \"zz\"";
    toolhive_data_of_null_is_a_call_without_parameters: Toolhive TOOLHIVE "/data" = null => "params_state=absent", "outcome=success";
    a_toolhive_request_of_null_is_a_call_without_parameters: Toolhive TOOLHIVE "/data/request" = null => "params_state=absent", "jsonrpc_id=";
    a_toolhive_request_that_is_text_is_a_fault: Toolhive TOOLHIVE "/data/request" = "zz" => "parse_errors=data.request is no object", "params_json=", "ext=data.request: \"zz\"";
    a_toolhive_request_that_is_a_list_is_a_fault: Toolhive TOOLHIVE "/data/request" = ["zz"] => "parse_errors=data.request is no object", "params_json=", "ext=data.request.0: \"zz\"";
    toolhive_parameters_that_are_a_list_are_kept: Toolhive TOOLHIVE "/data/request/params/arguments" = [1] => "params_json=[1]", "arg_keys=";
    a_toolhive_response_that_is_a_number_is_a_fault: Toolhive TOOLHIVE "/data/response" = 7 => "result_is_error=", "ext=data.response: 7";
    a_toolhive_duration_in_a_string_is_read: Toolhive TOOLHIVE "/metadata/extra/duration_ms" = "12" => "duration_us=12000", "parse_status=ok";
    a_toolhive_source_that_is_text_goes_to_ext: Toolhive TOOLHIVE "/source" = "10.0.0.9" => "src_ip=", "ext=source: \"10.0.0.9\"";
}

#[test]
fn a_record_whose_kind_is_no_text_is_refused() {
    for (adapter, record, pointer) in [
        (Adapter::Okta, OKTA, "/eventType"),
        (Adapter::Keycloak, KEYCLOAK, "/type"),
        (Adapter::Cerbos, CERBOS, "/callId"),
        (Adapter::Opa, OPA, "/decision_id"),
        (Adapter::Toolhive, TOOLHIVE, "/type"),
        (Adapter::Toolhive, TOOLHIVE, "/audit_id"),
    ] {
        for value in [json!(null), json!({"a": 1}), json!([1]), json!("")] {
            let text = put(record, pointer, &value);
            rejected(&rows(adapter.clone(), &text)[0], "unknown_shape", "not a shape that adapter", text.as_bytes());
        }
    }
}
