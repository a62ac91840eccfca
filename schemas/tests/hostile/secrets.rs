//! No secret is kept, also where the record is refused, damaged or made to hide one.

use schemas::adapters::Adapter;
use schemas::decode::{Decoder, Record, Source};
use schemas::keys::Keys;
use schemas::privacy::Privacy;

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
    a_secret_in_json_in_a_string_of_a_record_that_was_cut_goes: r#"{"x":"{\"password\":\"canary, \\\"canary\",\"otp\":1,\"token\":\"canary"#;
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

#[test]
fn a_card_goes_from_whatever_comes_with_a_record_and_from_what_is_refused() {
    let card = "4111 1111 1111 1111";
    let hidden = "Y2FyZCA0MTExIDExMTEgMTExMSAxMTEx";
    let beside = law::Beside {
        headers: vec![
            ("note".into(), card.into()),
            ("json".into(), format!("{{\"a\":\"{card}\"}}").into()),
            ("hidden".into(), hidden.into()),
        ],
        key: Some(card.into()),
        timestamp_us: Some(law::KAFKA_US),
    };
    let call = with(TOOLHIVE, r#"{"path":"/a/b"}"#, &format!(r#"{{"path":"/a/{card}","n":4111111111111111}}"#));
    let hold = |adapter: Adapter, payload: &str| {
        for row in law::decode(adapter, Some(payload.as_bytes()), &beside) {
            let stands = |text: &str| law::holds_text(&row, text);
            assert!(!stands(card) && !stands(hidden) && !stands("4111111111111111"), "{row:?}");
        }
    };
    hold(Adapter::Toolhive, &call);
    for refused in [format!("oops {card} {hidden} \"a\""), format!("{{\"x\":\"{card}\"}}")] {
        Adapter::all().into_iter().for_each(|adapter| hold(adapter, &refused));
    }
}

#[test]
fn what_is_personal_by_its_path_goes_from_every_column() {
    let privacy = Privacy::none().with_paths(&["data.request.params.arguments.*.name".into()]).unwrap();
    let source =
        Source { adapter: Adapter::Toolhive, tenant: "default".into(), instance: "one".into(), environment: "prod".into(), privacy };
    let keys = Keys::from_master(&[7; 32]);
    let payload = with(TOOLHIVE, r#"{"path":"/a/b"}"#, r#"{"patient":{"name":"canary","ward":"b"},"others":7}"#);
    let record = Record { stream: "file:x", incarnation: "1", partition: 0, offset: 0, kafka: None, payload: Some(payload.as_bytes()) };
    let rows = Decoder { source: &source, keys: &keys }.decode(&record, law::NOW_US);
    assert!(!law::holds_text(&rows[0], "canary"));
    assert_eq!(rows[0].params_redacted_paths.as_deref(), Some(&["/data/request/params/arguments/patient/name".to_owned()][..]));
    assert!(rows[0].params_json.as_ref().unwrap().contains("tok1.personal.1."));
}
