//! Bytes that are no JSON, other encodings, compression that is damaged, nested or a bomb.

use std::io::Write;

use schemas::adapters::Adapter;

use crate::{CERBOS, KEYCLOAK, OKTA, event, law, rejected, row, rows};

fn utf16(text: &str, big: bool, mark: bool) -> Vec<u8> {
    let units = mark.then_some(0xfeff).into_iter().chain(text.encode_utf16());
    units.flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn zstd_with_checksum(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// One test a row: name, payload, code, what the sentence says. The bytes are kept as they came.
macro_rules! refused {
    ($($name:ident: $payload:expr => $code:literal $sentence:literal;)*) => {
        $(#[test]
        fn $name() {
            let payload = $payload;
            for adapter in &Adapter::all() {
                rejected(&row(adapter.clone(), &payload), $code, $sentence, payload.as_ref());
            }
        })*
    };
}

refused! {
    text_that_is_no_json_is_refused: "hello" => "not_json" "expected a value";
    half_a_document_is_refused: &OKTA[..100] => "not_json" "not JSON at byte 100";
    a_single_brace_is_refused: "{" => "not_json" "expected a key";
    random_bytes_are_refused: [0xff, 0xad, 0xbe, 0xef, 0, 1, 2] => "not_json" "not UTF-8 at byte 0";
    nul_bytes_are_refused: [0_u8; 32] => "not_json" "expected a value";
    xml_is_refused: "<event id=\"1\"/>" => "not_json" "expected a value";
    yaml_like_text_is_refused: "type: LOGIN\nid: 1\n" => "not_json" "expected true, false or null";
    nan_is_refused: "{\"a\":NaN}" => "not_json" "expected a value";
    single_quotes_are_refused: "{'a':1}" => "not_json" "expected a key";
    a_trailing_comma_is_refused: "{\"a\":1,}" => "not_json" "expected a key";
    a_bare_scalar_is_refused: "42" => "unknown_shape" "not a shape that adapter";
    a_bare_null_is_refused: "null" => "unknown_shape" "not a shape that adapter";
    an_empty_object_is_refused: "{}" => "unknown_shape" "not a shape that adapter";
    white_space_only_is_refused: " \r\n\t " => "unknown_shape" "holds no event";
    a_byte_order_mark_only_is_refused: "\u{feff}" => "unknown_shape" "holds no event";
    an_empty_array_is_refused: "[]" => "unknown_shape" "holds no event";
    an_empty_list_of_records_is_refused: "{\"records\":[]}" => "unknown_shape" "holds no event";
    utf16_little_endian_with_a_mark_is_named: utf16(KEYCLOAK, false, true) => "not_json" "look like UTF-16";
    utf16_big_endian_with_a_mark_is_named: utf16(KEYCLOAK, true, true) => "not_json" "look like UTF-16";
    utf16_little_endian_without_a_mark_is_named: utf16(KEYCLOAK, false, false) => "not_json" "look like UTF-16";
    utf16_big_endian_without_a_mark_is_named: utf16(KEYCLOAK, true, false) => "not_json" "look like UTF-16";
    latin1_is_named: b"{\"type\":\"LOGIN\",\"name\":\"J\xfcrgen\"}" => "not_json" "another encoding, such as Latin-1";
    an_overlong_utf8_sequence_is_refused: b"{\"a\":\"\xc0\xaf\"}" => "not_json" "not UTF-8 at byte 6";
    a_surrogate_in_utf8_is_refused: b"{\"a\":\"\xed\xa0\x80\"}" => "not_json" "not UTF-8 at byte 6";
    a_control_character_in_a_string_is_refused: "{\"a\":\"\u{1}\"}" => "not_json" "a control character in a string";
    truncated_gzip_is_refused: { let mut z = gzip(KEYCLOAK.as_bytes()); z.truncate(z.len() / 2); z } => "damaged_compression" "gzip data cannot be unpacked";
    gzip_without_its_checksum_is_refused: { let mut z = gzip(KEYCLOAK.as_bytes()); z.truncate(z.len() - 4); z } => "damaged_compression" "gzip data cannot be unpacked";
    gzip_with_a_wrong_checksum_is_refused: { let mut z = gzip(KEYCLOAK.as_bytes()); let at = z.len() - 6; z[at] ^= 1; z } => "damaged_compression" "gzip data cannot be unpacked";
    gzip_with_bytes_after_it_is_refused: [gzip(KEYCLOAK.as_bytes()), b"xx".to_vec()].concat() => "damaged_compression" "gzip data cannot be unpacked";
    a_bare_gzip_magic_is_refused: [0x1f_u8, 0x8b] => "damaged_compression" "gzip data cannot be unpacked";
    truncated_zstd_is_refused: { let mut z = zstd(KEYCLOAK.as_bytes()); z.truncate(z.len() / 2); z } => "damaged_compression" "zstd data cannot be unpacked";
    zstd_with_a_wrong_checksum_is_refused: { let mut z = zstd_with_checksum(KEYCLOAK.as_bytes()); let at = z.len() - 1; z[at] ^= 1; z } => "damaged_compression" "zstd data cannot be unpacked";
    zstd_with_bytes_after_it_is_refused: [zstd(KEYCLOAK.as_bytes()), b"xx".to_vec()].concat() => "damaged_compression" "zstd data cannot be unpacked";
    a_bomb_of_many_zstd_frames_is_refused: zstd(&vec![b' '; 1 << 20]).repeat(100) => "too_large" "unpacks to more than 67108864 bytes";
    a_bomb_in_zstd_in_gzip_is_refused: gzip(&zstd(&vec![b' '; 200 << 20])) => "too_large" "unpacks to more than 67108864 bytes";
    a_bare_zstd_magic_is_refused: [0x28_u8, 0xb5, 0x2f, 0xfd] => "damaged_compression" "zstd data cannot be unpacked";
    zstd_of_a_huge_window_is_refused: [0x28_u8, 0xb5, 0x2f, 0xfd, 0, 0xff, 1, 2, 3] => "damaged_compression" "zstd data cannot be unpacked";
    four_layers_of_gzip_are_refused: gzip(&gzip(&gzip(&gzip(KEYCLOAK.as_bytes())))) => "too_deep" "compressed more than 3 times over";
    a_gzip_bomb_is_refused: gzip(&vec![b' '; 200 << 20]) => "too_large" "unpacks to more than 67108864 bytes";
    a_zstd_bomb_is_refused: zstd(&vec![b' '; 200 << 20]) => "too_large" "unpacks to more than 67108864 bytes";
    a_bomb_of_many_gzip_members_is_refused: gzip(&vec![b' '; 1 << 20]).repeat(100) => "too_large" "unpacks to more than 67108864 bytes";
    a_bomb_in_gzip_in_gzip_is_refused: gzip(&gzip(&vec![b' '; 200 << 20])) => "too_large" "unpacks to more than 67108864 bytes";
}

#[test]
fn a_record_of_no_bytes_gives_no_row() {
    for adapter in &Adapter::all() {
        assert!(rows(adapter.clone(), b"").is_empty());
        let tombstone = law::Beside { key: Some(b"k".to_vec()), ..Default::default() };
        assert!(law::decode(adapter.clone(), None, &tombstone).is_empty());
    }
}

#[test]
fn gzip_of_nothing_is_refused_and_nothing_is_what_is_kept() {
    rejected(&row(Adapter::Opa, gzip(b"")), "unknown_shape", "holds no event", b"");
}

#[test]
fn a_byte_order_mark_before_json_is_skipped() {
    event(&row(Adapter::Keycloak, format!("\u{feff}{KEYCLOAK}")), &["event_id=keycloak:one:event:k-1", "parse_status=ok"]);
}

#[test]
fn one_line_of_another_encoding_does_not_fail_its_neighbours() {
    let bytes = [KEYCLOAK.as_bytes(), b"\n{\"type\":\"\xff\"}\n", KEYCLOAK.as_bytes()].concat();
    let rows = rows(Adapter::Keycloak, bytes);
    assert_eq!(rows.len(), 3);
    rejected(&rows[1], "not_json", "not UTF-8 at byte 9", b"{\"type\":\"\xff\"}");
    event(&rows[0], &["envelope=ndjson"]);
    event(&rows[2], &["envelope=ndjson"]);
}

#[test]
fn a_line_of_another_logger_does_not_fail_the_events_of_a_text_log() {
    let line = r#"2026-11-20 10:00:00,000 INFO  [org.keycloak.events] (t-1) type="LOGIN", realmId="r1", userId="u1""#;
    let rows = rows(Adapter::Keycloak, format!("{line}\n\tat java.base\n{line}\r\n"));
    assert_eq!(rows.len(), 3);
    rejected(&rows[1], "unknown_shape", "`type` or `operationType`", br#""\tat java.base""#);
    for row in [&rows[0], &rows[2]] {
        event(row, &["envelope=text_log+array", "delegator_id=u1", "event_id_kind=content_hash", "event_time_tz_assumed=true"]);
    }
}

#[test]
fn gzip_members_one_after_the_other_are_one_text() {
    let rows = rows(Adapter::Keycloak, [gzip(KEYCLOAK.as_bytes()), gzip(b"\n"), gzip(KEYCLOAK.as_bytes())].concat());
    assert_eq!(rows.len(), 2);
    rows.iter().for_each(|row| event(row, &["envelope=gzip+ndjson"]));
}

#[test]
fn layers_of_compression_come_off_one_by_one() {
    event(&row(Adapter::Okta, gzip(&zstd(OKTA.as_bytes()))), &["envelope=gzip+zstd", "event_id=okta:one:log:u-1"]);
    event(&row(Adapter::Okta, gzip(&gzip(&gzip(OKTA.as_bytes())))), &["envelope=gzip+gzip+gzip"]);
}

#[test]
fn two_kilobytes_that_unpack_to_a_megabyte_and_a_half_are_read() {
    let decision = r#"{"decision_id":"d","timestamp":"2026-11-20T10:00:00Z","result":true}"#;
    let text = format!("[{}]", vec![decision; 22_000].join(","));
    let packed = {
        let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        e.write_all(text.as_bytes()).unwrap();
        e.finish().unwrap()
    };
    assert!(text.len() > 1_500_000 && packed.len() < 8_000, "{} from {}", text.len(), packed.len());
    let rows = rows(Adapter::Opa, packed);
    assert_eq!(rows.len(), 22_000);
    event(&rows[21_999], &["decision=allow", "envelope=gzip+array", "record_index=21999"]);
}

#[test]
fn only_a_line_feed_separates_lines() {
    let odd = "{\"type\":\"LOGIN\",\"id\":\"a\u{2028}b\u{85}c\"}";
    let rows = rows(Adapter::Keycloak, format!("{odd}\nnot json\n{odd}\r\n"));
    assert_eq!(rows.len(), 3);
    event(&rows[0], &["event_id=keycloak:one:event:a\u{2028}b\u{85}c"]);
    rejected(&rows[1], "not_json", "expected true, false or null", b"not json");
}

#[test]
fn a_damaged_document_in_many_lines_is_one_rejection() {
    let text = "{\n\"a\": [\n1,\n2\n],\n\"b\": \n";
    rejected(&row(Adapter::Okta, text), "not_json", "the text ends", text.as_bytes());
}

#[test]
fn a_wrapper_that_holds_its_content_twice_is_kept_whole() {
    let text = format!("{{\"records\":[{KEYCLOAK}],\"records\":[]}}");
    rejected(&row(Adapter::Keycloak, &text), "unknown_shape", "not a shape", text.as_bytes());
}

#[test]
fn log_text_that_only_looks_like_json_is_left_to_the_adapter() {
    let text = r#"{"log":"{oops","stream":"stdout"}"#;
    rejected(&row(Adapter::Toolhive, text), "unknown_shape", "audit_id", text.as_bytes());
}

mod protobuf {
    //! Cerbos records in protobuf, written by hand.

    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2];
        let mut length = bytes.len();
        while length > 127 {
            out.push((length & 127) as u8 | 128);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend(bytes);
        out
    }

    fn call_id() -> Vec<u8> {
        field(1, b"01KAJ3Z3Q00000000000000000")
    }

    fn check(action: &[u8], more: &[u8]) -> Vec<u8> {
        let input = [field(3, &field(1, b"agent-\xff")), field(4, action)].concat();
        [call_id(), field(7, &[field(1, &input), more.to_vec()].concat())].concat()
    }

    #[test]
    fn a_string_that_is_not_utf8_is_replaced_and_the_record_read() {
        let row = row(Adapter::Cerbos, check(b"call", b""));
        event(&row, &["envelope=protobuf", "delegator_id=agent-\u{fffd}", "action_requested=call", "decision=indeterminate"]);
    }

    #[test]
    fn truncated_protobuf_is_refused() {
        let whole = check(b"call", b"");
        let cut = &whole[..whole.len() - 3];
        rejected(&row(Adapter::Cerbos, cut), "not_protobuf", "cannot be read", cut);
    }

    #[test]
    fn a_length_beyond_the_record_is_refused() {
        let bytes = [call_id(), vec![0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]].concat();
        rejected(&row(Adapter::Cerbos, &bytes), "not_protobuf", "cannot be read", &bytes);
    }

    #[test]
    fn a_number_without_an_end_is_refused() {
        let bytes = [call_id(), vec![0xff; 40]].concat();
        rejected(&row(Adapter::Cerbos, &bytes), "not_protobuf", "cannot be read", &bytes);
    }

    #[test]
    fn messages_nested_without_end_are_refused() {
        let mut value = field(3, b"x");
        for _ in 0..2000 {
            value = field(6, &field(1, &value));
        }
        let attr = field(4, &[field(1, b"k"), field(2, &value)].concat());
        let bytes = [call_id(), field(7, &field(1, &field(2, &attr)))].concat();
        rejected(&row(Adapter::Cerbos, &bytes), "not_protobuf", "cannot be read", &bytes);
    }

    #[test]
    fn fields_that_stand_a_hundred_thousand_times_are_read_in_linear_time() {
        let bytes = [call_id(), field(6, b"").repeat(90_000), [15 << 3 | 2, 0].repeat(90_000)].concat();
        let started = std::time::Instant::now();
        event(&row(Adapter::Cerbos, &bytes), &["decision=indeterminate"]);
        assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    }

    #[test]
    fn json_that_a_header_calls_protobuf_is_refused() {
        let headers = vec![("cerbos.audit.encoding".to_owned(), b"protobuf".to_vec())];
        let beside = law::Beside { headers, ..Default::default() };
        let rows = law::decode(Adapter::Cerbos, Some(CERBOS.as_bytes()), &beside);
        rejected(&rows[0], "not_protobuf", "marked protobuf", CERBOS.as_bytes());
    }

    #[test]
    fn protobuf_keeps_the_names_of_what_was_taken_off_before() {
        event(&row(Adapter::Cerbos, gzip(&check(b"call", b""))), &["envelope=gzip+protobuf"]);
    }
}
