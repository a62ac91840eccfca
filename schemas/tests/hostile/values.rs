//! Numbers at and beyond their limits, NUL, lone surrogates: what each becomes in columns and in `ext`.

use schemas::adapters::Adapter;

use crate::{KEYCLOAK, OKTA, TOOLHIVE, event, row, shown, with};

/// One test a row: a number as a leaf that no column takes is kept digit by digit.
macro_rules! kept {
    ($($name:ident: $number:literal;)*) => {
        $(#[test]
        fn $name() {
            let row = row(Adapter::Keycloak, with(KEYCLOAK, r#""error":null"#, concat!("\"n\":", $number)));
            event(&row, &[concat!("ext=n: ", $number), "parse_status=ok"]);
            assert!(shown(&row, "raw_payload").contains(concat!("\"n\":", $number)));
        })*
    };
}

kept! {
    a_number_beyond_2_to_the_53_is_kept: "9007199254740993";
    the_largest_i64_is_kept: "9223372036854775807";
    the_smallest_i64_is_kept: "-9223372036854775808";
    the_largest_u64_is_kept: "18446744073709551615";
    a_number_beyond_u64_is_kept: "18446744073709551616";
    a_number_of_fifty_digits_is_kept: "12345678901234567890123456789012345678901234567890";
    ten_to_the_400_is_kept: "1e400";
    ten_to_the_minus_400_is_kept: "1e-400";
    minus_zero_is_kept: "-0";
    minus_zero_with_a_fraction_is_kept: "-0.0";
    a_fraction_beyond_a_double_is_kept: "0.1000000000000000055511151231257827";
}

/// One test a row: a number where a column holds an integer of 64 bits (`asNumber`, `duration_ms`).
macro_rules! integers {
    ($($name:ident: $number:literal => $asn:literal, $duration:literal;)*) => {
        $(#[test]
        fn $name() {
            let okta = row(Adapter::Okta, with(OKTA, "64500", $number));
            event(&okta, &[concat!("asn=", $asn), if $asn.is_empty() { "parse_status=partial" } else { "parse_status=ok" }]);
            let toolhive = row(Adapter::Toolhive, with(TOOLHIVE, r#""duration_ms":12"#, concat!("\"duration_ms\":", $number)));
            event(&toolhive, &[concat!("duration_us=", $duration)]);
            event(&toolhive, &[if $duration.is_empty() { "parse_status=partial" } else { "parse_status=ok" }]);
        })*
    };
}

integers! {
    an_integer_beyond_2_to_the_53_is_read_to_the_digit: "9007199254740993" => "9007199254740993", "9007199254740993000";
    the_largest_integer_is_read_and_is_no_duration: "9223372036854775807" => "9223372036854775807", "";
    the_smallest_integer_is_read_and_is_no_duration: "-9223372036854775808" => "-9223372036854775808", "";
    a_negative_duration_is_none: "-1" => "-1", "";
    an_integer_beyond_64_bits_is_not_read: "9223372036854775808" => "", "";
    ten_to_the_400_is_not_read: "1e400" => "", "";
    ten_to_the_minus_400_is_nought: "1e-400" => "0", "0";
    ten_to_the_three_is_a_thousand: "1e3" => "1000", "1000000";
    minus_nought_is_nought: "-0" => "0", "0";
    one_and_a_half_is_no_integer: "1.5" => "", "";
    a_double_that_names_no_one_integer_is_not_read: "9.1e18" => "", "";
    an_integer_in_a_string_is_read: "\"42\"" => "42", "42000";
    a_word_is_no_integer: "\"many\"" => "", "";
    infinity_is_no_integer: "\"inf\"" => "", "";
}

#[test]
fn a_value_that_is_not_read_is_in_ext_and_named_in_a_fault() {
    let row = row(Adapter::Okta, with(OKTA, "64500", "1e400"));
    event(&row, &["parse_errors=securityContext.asNumber is no integer"]);
    assert!(shown(&row, "ext").contains("securityContext.asNumber: 1e400"));
}

#[test]
fn a_latitude_that_is_not_finite_is_not_read() {
    for text in ["1e400", "\"NaN\"", "\"inf\"", "-1e999"] {
        event(&row(Adapter::Okta, with(OKTA, "48.2", text)), &["geo_lat=", "geo_lon=16.3", "parse_status=partial"]);
    }
}

#[test]
fn an_event_of_which_nothing_is_said_has_a_category_an_activity_and_an_outcome() {
    let said = row(Adapter::by_name("json").unwrap(), r#"{"id":"a","time":"2026-11-20T10:00:00Z","delegator_id":"u-1"}"#);
    event(&said, &["category=session", "activity=unknown", "outcome=unknown", "source_vendor=json"]);
}

/// Whatever its source, and one that lies about it cannot hide what others did beside it.
#[test]
fn an_amount_below_zero_is_none_and_named() {
    let json = Adapter::by_name("json").unwrap();
    for column in ["duration_us", "params_bytes", "result_rows", "result_bytes", "tokens_in", "tokens_out", "cost_usd"] {
        let record = |amount: &str| format!(r#"{{"id":"a","time":"2026-11-20T10:00:00Z","tool_name":"t","{column}":{amount}}}"#);
        event(&row(json.clone(), record("0")), &[&format!("{column}=0"), "parse_status=ok"]);
        let below = row(json.clone(), record("-1"));
        let fault = format!("parse_errors=`{column}` cannot be -1, which is below zero");
        event(&below, &[&format!("{column}="), "parse_status=partial", &fault]);
        assert!(shown(&below, "raw_payload").contains("-1"), "what was said is kept");
    }
}

#[test]
fn nul_in_a_string_is_kept() {
    let row = row(Adapter::Keycloak, with(KEYCLOAK, r#""ann""#, r#""a\u0000nn""#));
    event(&row, &["delegator_name=a\0nn", "parse_status=ok"]);
    assert!(shown(&row, "raw_payload").contains(r"a\u0000nn"));
}

#[test]
fn a_lone_surrogate_becomes_the_replacement_character() {
    for half in [r"\ud800", r"\udc00", r"\udc00\ud800", r"\ud800\n"] {
        let row = row(Adapter::Keycloak, with(KEYCLOAK, r#""ann""#, &format!("\"a{half}nn\"")));
        let name = shown(&row, "delegator_name");
        assert!(name.starts_with("a\u{fffd}") && name.ends_with("nn"), "{name:?}");
    }
}

#[test]
fn a_pair_of_surrogates_is_one_character() {
    event(&row(Adapter::Keycloak, with(KEYCLOAK, r#""ann""#, r#""\ud83d\ude00""#)), &["delegator_name=\u{1f600}"]);
}
