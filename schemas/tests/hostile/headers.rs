//! Headers, keys and timestamps of Kafka that no honest producer sends; records of another environment.

use schemas::Row;
use schemas::adapters::Adapter;

use crate::bytes::gzip;
use crate::law::{self, Beside};
use crate::{KEYCLOAK, OKTA, event, rejected, shown, with};

fn decoded(beside: &Beside) -> Box<Row> {
    law::decode(Adapter::Keycloak, Some(KEYCLOAK.as_bytes()), beside).remove(0)
}

fn headers(list: &[(&str, &[u8])]) -> Beside {
    Beside { headers: list.iter().map(|(k, v)| ((*k).to_owned(), v.to_vec())).collect(), ..Default::default() }
}

#[test]
fn a_header_of_another_environment_refuses_the_record() {
    let row = decoded(&headers(&[("Environment", b"staging")]));
    rejected(&row, "wrong_environment", "header says environment `staging`, the lake is `prod`", KEYCLOAK.as_bytes());
}

#[test]
fn a_header_of_our_environment_is_fine() {
    event(&decoded(&headers(&[("environment", b"prod")])), &["environment=prod"]);
}

#[test]
fn a_second_environment_header_cannot_hide_behind_the_first() {
    let row = decoded(&headers(&[("environment", b"prod"), ("environment", b"dev")]));
    rejected(&row, "wrong_environment", "`dev`", KEYCLOAK.as_bytes());
}

#[test]
fn an_environment_that_is_no_text_refuses_the_record() {
    rejected(&decoded(&headers(&[("environment", b"\xff\xfe")])), "wrong_environment", "`\u{fffd}\u{fffd}`", KEYCLOAK.as_bytes());
}

#[test]
fn an_environment_of_a_megabyte_is_quoted_in_part() {
    let row = decoded(&headers(&[("environment", &[b'x'; 1 << 20])]));
    assert!(row.reason.as_ref().unwrap().len() < 400);
    assert_eq!(row.reason_code.as_deref(), Some("wrong_environment"));
}

#[test]
fn a_compressed_record_of_another_environment_is_kept_unpacked_without_its_secrets() {
    let text = with(OKTA, r#""actor":{"#, &format!(r#""note":"{}","actor":{{"#, law::CANARY));
    let rows = law::decode(Adapter::Okta, Some(&gzip(text.as_bytes())), &headers(&[("environment", b"dev")]));
    assert_eq!(shown(&rows[0], "reason_code"), "wrong_environment");
    assert!(shown(&rows[0], "raw_payload").contains("00u1") && !law::holds_text(&rows[0], "canary"));
}

#[test]
fn of_a_thousand_headers_sixty_four_are_kept_and_the_rest_is_said() {
    let many: Vec<(String, Vec<u8>)> = (0..1000).map(|i| (format!("h{i}"), b"v".to_vec())).collect();
    let row = decoded(&Beside { headers: many, ..Default::default() });
    assert_eq!(row.kafka_headers.as_ref().unwrap().len(), 64);
    event(&row, &["parse_status=partial", "parse_errors=936 of 1000 Kafka headers were cut or left out"]);
}

#[test]
fn a_header_of_a_megabyte_is_cut_and_that_is_said() {
    let row = decoded(&headers(&[("big", &[b'x'; 1 << 20]), ("small", b"v")]));
    event(&row, &["parse_status=partial", "parse_errors=2 of 2 Kafka headers were cut or left out"]);
    assert!(shown(&row, "kafka_headers").len() < 5_000);
}

#[test]
fn a_header_that_is_no_text_is_kept_as_hex() {
    event(&decoded(&headers(&[("h", b"\xff\x00")])), &["kafka_headers=[[Text(\"h\"), Text(\"hex:ff00\")]]", "parse_status=ok"]);
}

#[test]
fn secrets_in_headers_are_taken_out() {
    let row = decoded(&headers(&[("Authorization", b"Basic canary123"), ("x", law::CANARY.as_bytes()), ("plain", b"kept")]));
    assert!(!law::holds_text(&row, "canary") && law::holds_text(&row, "kept"));
}

#[test]
fn a_key_of_a_megabyte_is_cut_and_that_is_said() {
    let row = decoded(&Beside { key: Some(vec![1; 1 << 20]), ..Default::default() });
    assert_eq!(row.kafka_key.as_ref().unwrap().len(), 4096);
    event(&row, &["parse_status=partial", "parse_errors=of the Kafka key's 1048576 bytes the first 4096 are kept"]);
}

#[test]
fn a_kafka_timestamp_out_of_all_bounds_is_not_kept_and_that_is_said() {
    for us in [i64::MIN, -1, 253_402_300_800_000_000, i64::MAX] {
        let row = decoded(&Beside { timestamp_us: Some(us), ..Default::default() });
        event(&row, &["parse_status=partial", "kafka_timestamp=", "clock_skew_ms=", "event_time_source=payload"]);
        assert!(shown(&row, "parse_errors").contains("outside the years 1970 to 9999"));
    }
}

#[test]
fn without_any_time_the_record_is_refused() {
    let text = with(KEYCLOAK, "1795000000000", "null");
    for timestamp_us in [None, Some(i64::MAX)] {
        let rows = law::decode(Adapter::Keycloak, Some(text.as_bytes()), &Beside { timestamp_us, ..Default::default() });
        rejected(&rows[0], "bad_time", "no time that could be read", text.as_bytes());
    }
}

#[test]
fn a_header_that_calls_a_decision_an_access_record_does_not_hide_the_decision() {
    let rows = law::decode(Adapter::Cerbos, Some(crate::CERBOS.as_bytes()), &headers(&[("cerbos.audit.kind", b"access")]));
    assert_eq!(rows.len(), 2);
    event(&rows[1], &["decision=deny", "action_requested=list"]);
}
