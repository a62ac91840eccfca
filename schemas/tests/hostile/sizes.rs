//! Large, deep, wide and repetitive records: read in linear time and bounded memory, or refused with the limit named.

use std::time::{Duration, Instant};

use schemas::adapters::Adapter;

use crate::law::{self, Beside};
use crate::{ALL, CERBOS, KEYCLOAK, OKTA, TOOLHIVE, event, rejected, row, rows, shown, with};

/// Generous for a slow machine; a quadratic reader takes minutes.
fn soon<T>(act: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let done = act();
    assert!(started.elapsed() < Duration::from_secs(30), "it took {:?}", started.elapsed());
    done
}

/// Checks a rejection of a record that is larger than what is kept of it.
fn cut(row: &schemas::Row, code: &str, sentence: &str) {
    assert_eq!(row.reason_code.as_deref(), Some(code), "{:?}", row.reason);
    assert!(row.reason.as_ref().unwrap().contains(sentence), "{:?}", row.reason);
    assert_eq!(row.raw_truncated, Some(true));
}

#[test]
fn a_record_of_twenty_megabytes_with_one_long_string_is_an_event() {
    let record = with(TOOLHIVE, r#""/a/b""#, &format!("\"{}\"", "x".repeat(20 << 20)));
    let row = soon(|| row(Adapter::Toolhive, &record));
    event(&row, &["raw_truncated=true", "parse_status=ok", "tool_name=read"]);
    assert_eq!(row.raw_payload.as_ref().unwrap().len(), 1 << 20);
    assert!(row.params_bytes.unwrap() > 20 << 20);
}

#[test]
fn a_record_of_twenty_megabytes_in_one_array_is_all_its_events() {
    let count = (20 << 20) / OKTA.len() + 1;
    let text = format!("[{}]", vec![OKTA; count].join(","));
    let rows = soon(|| rows(Adapter::Okta, &text));
    assert_eq!(rows.len(), count);
    event(&rows[count - 1], &["envelope=array", "parse_status=ok"]);
}

#[test]
fn a_record_of_twenty_megabytes_in_lines_is_all_its_events() {
    let count = 40_000;
    let padded = with(KEYCLOAK, r#""error":null"#, &format!("\"pad\":\"{}\"", "p".repeat(400)));
    let text = vec![padded; count].join("\n");
    let rows = soon(|| rows(Adapter::Keycloak, &text));
    assert_eq!(rows.len(), count);
    assert!(rows.iter().all(|row| row.row_kind.as_deref() == Some("event")));
}

#[test]
fn a_record_above_the_limit_is_refused_and_its_head_kept() {
    let text = format!("{KEYCLOAK}{}", " ".repeat(33 << 20));
    let row = row(Adapter::Keycloak, &text);
    cut(&row, "too_large", "more than 33554432");
    assert_eq!(row.raw_payload.as_ref().unwrap().len(), 64 << 10);
}

#[test]
fn a_hundred_thousand_arrays_in_one_another_are_refused() {
    for text in ["[".repeat(100_000), format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))] {
        for adapter in &Adapter::all() {
            rejected(&row(adapter.clone(), &text), "too_deep", "nested deeper than 64 levels", text.as_bytes());
        }
    }
}

#[test]
fn a_hundred_thousand_objects_in_one_another_are_refused() {
    let text = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    rejected(&row(Adapter::Okta, &text), "too_deep", "nested deeper than 64 levels", text.as_bytes());
}

#[test]
fn depth_inside_a_record_of_every_adapter_is_refused_as_depth() {
    for (adapter, record) in ALL {
        let text = record.replacen('{', &format!("{{\"deep\":{}1{},", "[".repeat(70), "]".repeat(70)), 1);
        rejected(&row(adapter.clone(), &text), "too_deep", "nested deeper than 64 levels", text.as_bytes());
    }
}

#[test]
fn depth_inside_a_string_of_json_is_only_a_string() {
    let record = with(KEYCLOAK, r#""ann""#, &format!("\"{}\"", "[".repeat(100_000)));
    event(&soon(|| row(Adapter::Keycloak, record)), &["parse_status=ok"]);
}

#[test]
fn fifty_thousand_keys_are_an_event_with_sixty_four_of_them_in_ext() {
    let keys: Vec<String> = (0..50_000).map(|i| format!("\"k{i}\":{i}")).collect();
    for (adapter, record) in ALL {
        let wide = record.replacen('{', &format!("{{{},", keys.join(",")), 1);
        let rows = soon(|| rows(adapter.clone(), &wide));
        assert_eq!(rows[0].ext.as_ref().unwrap().len(), 64);
        event(&rows[0], &["parse_status=ok"]);
    }
}

#[test]
fn fifty_thousand_arguments_are_parameters() {
    let keys: Vec<String> = (0..50_000).map(|i| format!("\"k{i}\":{i}")).collect();
    let row = soon(|| row(Adapter::Toolhive, with(TOOLHIVE, r#""path":"/a/b""#, &keys.join(","))));
    assert_eq!(row.arg_keys.as_ref().unwrap().len(), 50_000);
}

#[test]
fn one_key_fifty_thousand_times_is_an_event_with_a_fault() {
    let record = KEYCLOAK.replacen('{', &format!("{{{}", "\"k\":1,".repeat(50_000)), 1);
    event(&soon(|| row(Adapter::Keycloak, record)), &["parse_errors=key `k` stands twice in one object; the last was read"]);
}

#[test]
fn more_elements_than_the_limit_are_refused_as_a_whole() {
    let text = format!("[{}1]", "1,".repeat(60_000));
    rejected(&row(Adapter::Opa, &text), "too_large", "more than 50000 elements in one record", text.as_bytes());
}

#[test]
fn more_values_than_the_limit_are_refused() {
    let text = format!("{{\"a\":[{}1]}}", "1,".repeat(2_000_001));
    cut(&soon(|| row(Adapter::Opa, &text)), "too_large", "more than 2000000 values");
}

#[test]
fn values_are_counted_over_all_lines_of_a_record() {
    let line = format!("{{\"a\":[{}1]}}\n", "1,".repeat(600_000));
    let rows = soon(|| rows(Adapter::Opa, line.repeat(6)));
    let codes: Vec<_> = rows.iter().map(|row| shown(row, "reason_code")).collect();
    assert_eq!(codes, ["unknown_shape", "unknown_shape", "unknown_shape", "too_large", "too_large", "too_large"]);
}

#[test]
fn values_are_counted_over_json_in_log_text() {
    let line = format!("{{\"log\":\"{{\\\"a\\\":[{}1]}}\"}}\n", "1,".repeat(800_000));
    let rows = soon(|| rows(Adapter::Opa, line.repeat(3)));
    let codes: Vec<_> = rows.iter().map(|row| shown(row, "reason_code")).collect();
    assert_eq!(codes, ["unknown_shape", "unknown_shape", "too_large"]);
}

#[test]
fn millions_of_damaged_lines_are_refused_by_their_number() {
    let text = format!("{{\"a\":1}}\n{}", "x\n".repeat(10 << 20));
    cut(&soon(|| row(Adapter::Opa, &text)), "too_large", "more than 50000 elements");
}

#[test]
fn a_key_of_ten_megabytes_is_cut_wherever_it_is_quoted() {
    let key = "k".repeat(10 << 20);
    let leaves: Vec<String> = (0..64).map(|i| format!("\"l{i}\":{i}")).collect();
    let record = with(KEYCLOAK, r#""error":null"#, &format!("\"{key}\":{{{}}},\"{key}\":1", leaves.join(",")));
    let row = soon(|| row(Adapter::Keycloak, record));
    assert!(row.ext.as_ref().unwrap().iter().all(|(path, _)| path.len() <= 300));
    assert!(row.parse_errors.as_ref().unwrap()[0].len() < 300);
}

#[test]
fn secrets_below_a_long_key_have_short_paths() {
    let list: Vec<&str> = vec![r#"{"password":"x"}"#; 64];
    let record = with(KEYCLOAK, r#""error":null"#, &format!("\"{}\":[{}]", "k".repeat(5 << 20), list.join(",")));
    let row = soon(|| row(Adapter::Keycloak, record));
    assert!(row.params_redacted_paths.as_ref().unwrap().iter().all(|path| path.len() <= 256));
}

#[test]
fn a_time_of_a_megabyte_is_quoted_in_part() {
    let row = row(Adapter::Keycloak, with(KEYCLOAK, "1795000000000", &format!("\"{}\"", "9".repeat(1 << 20))));
    assert!(row.parse_errors.as_ref().unwrap()[0].len() < 200);
}

/// Each of these made the search for secrets quadratic or could make it so.
#[test]
fn text_made_to_slow_the_search_for_secrets_is_read_in_linear_time() {
    for part in ["eyJ-AKIAABCDEFGHIJKLMNOP-", "eyJ", "-----BEGIN ", "bearer ", "password=", "a://b:", r#"\"password\":"#, "sk-live-"] {
        let record = with(KEYCLOAK, r#""ann""#, &format!("\"{}\"", part.repeat((4 << 20) / part.len())));
        let row = soon(|| row(Adapter::Keycloak, record));
        assert_eq!(row.row_kind.as_deref(), Some("event"), "{part}");
    }
}

#[test]
fn secrets_in_a_damaged_record_are_found_in_linear_time() {
    for part in [r#""password":"#, r#""password" "#, r#"{"password":1}"#, r#""password":"\"#, "\u{e9}\"otp\":"] {
        let mut bytes = part.repeat((4 << 20) / part.len()).into_bytes();
        bytes.push(0xff);
        soon(|| row(Adapter::Okta, &bytes));
    }
}

mod cerbos {
    //! N inputs of M actions unfold to N×M events that repeat what they share.

    use super::*;

    fn actions(count: usize) -> (String, String) {
        let names: Vec<String> = (0..count).map(|i| format!("\"act{i}\"")).collect();
        let effects: Vec<String> = names.iter().map(|name| format!("{name}:{{\"effect\":\"EFFECT_ALLOW\"}}")).collect();
        (names.join(","), effects.join(","))
    }

    fn record(count: usize) -> String {
        let (names, effects) = actions(count);
        let record = with(CERBOS, r#""call","list""#, &names);
        let (head, tail) = record.split_once(r#""actions":{"call""#).unwrap();
        let (_, tail) = tail.split_once(r#""policy":"p2"}"#).unwrap();
        format!("{head}\"actions\":{{{effects}{tail}")
    }

    #[test]
    fn as_many_actions_as_cerbos_can_be_told_to_allow_are_events() {
        let rows = soon(|| rows(Adapter::Cerbos, record(500)));
        assert_eq!(rows.len(), 500);
        event(&rows[499], &["decision=allow", "action_requested=act499", "explode_path=input/0/act499", "parse_status=ok"]);
        assert_eq!(rows[499].actions_approved.as_ref().unwrap().len(), 500);
    }

    #[test]
    fn twenty_thousand_actions_are_refused_with_their_number() {
        let text = record(20_000);
        let row = soon(|| row(Adapter::Cerbos, &text));
        cut_or_whole(&row, "unfolds to 20000 decisions", text.len());
    }

    #[test]
    fn large_arguments_times_many_actions_are_refused() {
        let text = with(&record(500), r#""path":"/a/b""#, &format!("\"path\":\"{}\"", "x".repeat(1 << 20)));
        cut_or_whole(&soon(|| row(Adapter::Cerbos, &text)), "unfolds to 500 decisions", text.len());
    }

    #[test]
    fn a_large_part_that_all_decisions_share_is_refused_too() {
        let text = with(&record(500), r#""userAgent":"grpc""#, &format!("\"userAgent\":\"{}\"", "x".repeat(1 << 20)));
        cut_or_whole(&soon(|| row(Adapter::Cerbos, &text)), "unfolds to 500 decisions", text.len());
    }

    fn cut_or_whole(row: &schemas::Row, sentence: &str, length: usize) {
        assert_eq!(row.reason_code.as_deref(), Some("too_large"), "{:?}", row.reason);
        assert!(row.reason.as_ref().unwrap().contains(sentence), "{:?}", row.reason);
        assert_eq!(row.raw_truncated, Some(length > 1 << 20));
        assert_eq!(row.raw_payload.as_ref().unwrap().len(), length.min(1 << 20));
    }

    #[test]
    fn of_many_events_of_one_large_record_the_first_keep_it_whole_and_the_rest_its_head() {
        let text = with(&record(150), r#""path":"/a/b""#, &format!("\"path\":\"{}\"", "x".repeat(200 << 10)));
        let rows = soon(|| rows(Adapter::Cerbos, &text));
        assert_eq!(rows.len(), 150);
        event(&rows[0], &["raw_truncated=false"]);
        event(&rows[149], &["raw_truncated=true"]);
        assert_eq!(rows[149].raw_payload.as_ref().unwrap().len(), 1 << 10);
    }
}

#[test]
fn the_rows_of_a_hostile_record_fit_the_table() {
    let beside = Beside { timestamp_us: Some(i64::MAX), key: Some(vec![0xff; 1 << 20]), ..Default::default() };
    let mut builder = schemas::batch::RowsBuilder::default();
    for (adapter, record) in ALL {
        let odd = record.replacen('{', "{\"\\u0000\":\"\\ud800\",\"a\":1e400,\"a\":[],", 1);
        law::decode(adapter.clone(), Some(odd.as_bytes()), &beside).iter().for_each(|row| builder.push(row));
    }
    assert!(builder.finish().unwrap().num_rows() >= ALL.len());
}
