//! No secret is kept, also where the record is refused, damaged or made to hide one.

use schemas::adapters::Adapter;

use crate::law::{self, CANARY};
use crate::{KEYCLOAK, TOOLHIVE, rows, with};

/// One test a row: the word `canary` is in no row of any adapter.
macro_rules! clean {
    ($($name:ident: $payload:expr;)*) => {
        $(#[test]
        fn $name() {
            let payload = $payload;
            for adapter in &Adapter::all() {
                for row in rows(adapter.clone(), &payload) {
                    assert!(!law::holds_text(&row, "canary"), "{adapter:?}: {:?}", row.raw_payload.map(|r| String::from_utf8_lossy(&r).into_owned()));
                    assert!(!row.raw_payload.unwrap().is_empty());
                }
            }
        })*
    };
}

clean! {
    a_secret_in_a_record_of_an_unknown_shape_goes: r#"{"password":"canary-1"}"#;
    a_secret_in_a_record_that_was_cut_goes: r#"{"a":1,"password":"canary-1","b":"#;
    a_secret_that_was_cut_itself_goes: r#"{"a":1,"Client-Secret" : "canary-1 and m"#;
    a_secret_with_an_escape_goes_whole: r#"{"password":"x\"canary-1","b":"#;
    a_secret_number_in_a_damaged_record_goes: r#"{"otp":123,"password":"canary", oops}"#;
    a_secret_beside_a_byte_that_is_no_text_goes: [b"{\"x\":\"\xff\",\"token\":\"canary-1\"}".to_vec(), CANARY.into()].concat();
    a_secret_in_a_line_among_damaged_lines_goes: format!("{{\"type\":\"X\"}}\noops\n{{\"token\":{{\"a\":\"canary\"}}}}\nnot {CANARY}\n");
    a_secret_in_utf16_goes: CANARY.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    a_secret_in_a_record_that_nests_too_deep_goes: format!("{}{{\"password\":\"canary-1\"}}{}", "[".repeat(80), "]".repeat(80));
    a_secret_in_the_name_of_a_key_goes: format!(r#"{{"type":"LOGIN","a":{{"{CANARY}":1}}}}"#);
    a_secret_behind_white_space_in_a_string_of_json_goes: r#"{"type":"LOGIN","x":" {\"password\":\"canary-1\"}"}"#;
    a_secret_that_begins_like_a_token_of_ours_goes: r#"{"type":"LOGIN","password":"tok1.canary"}"#;
    a_secret_in_json_in_json_in_json_goes: r#"{"type":"LOGIN","x":"{\"y\":\"{\\\"password\\\":\\\"canary\\\"}\"}"}"#;
    a_secret_at_the_head_of_an_oversize_record_goes: format!("{{\"password\":\"canary-1\",\"x\":\"{}\"}}", "\u{e9}".repeat(17 << 20));
}

#[test]
fn a_secret_in_the_arguments_of_a_tool_goes_from_every_column() {
    let record = with(TOOLHIVE, r#"{"path":"/a/b"}"#, &format!(r#"{{"api_key":"canary","note":"{CANARY}","{CANARY}":1}}"#));
    let rows = rows(Adapter::Toolhive, record);
    assert!(!law::holds_text(&rows[0], "canary"));
    assert_eq!(rows[0].params_state.as_deref(), Some("redacted"));
}

#[test]
fn a_reason_and_a_fault_quote_no_secret() {
    let record = with(KEYCLOAK, "1795000000000", &format!("\"{CANARY}\""));
    assert!(!law::holds_text(&rows(Adapter::Keycloak, record)[0], "canary"));
}
