//! Our JSON reader against `serde_json` as an oracle: both accept or both refuse, and read equal values; here of JSON that is
//! made up, in [`adapters`] of the records of every adapter.
//!
//! Intended differences, each held by a test of its own: a byte order mark is skipped, lone surrogates become U+FFFD,
//! numbers beyond a double are kept as text, nesting ends at 64 where `serde_json` ends at 127. NUL and repeated keys
//! are no difference: both read NUL, and of a repeated key both give the last value (ours keeps the first one too).

#![allow(clippy::unwrap_used)]

mod adapters;
mod agree;

use agree::compare;
use proptest::collection::vec;
use proptest::prelude::*;
use schemas::json;
use serde_json::Value;

fn tree() -> impl Strategy<Value = String> {
    let number = r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?";
    let escape = prop_oneof![
        Just(r"\n".to_owned()),
        Just(r"\/".to_owned()),
        Just(r"\u0000".to_owned()),
        Just(r"\ud83d\ude00".to_owned()),
        r"\\u[0-9a-fA-F]{4}",
        "[ -!#-\\[\\]-~]{0,8}",
        "[\u{80}-\u{2fff}\u{1f600}-\u{1f64f}]{1,3}",
    ];
    let string = vec(escape, 0..5).prop_map(|parts| format!("\"{}\"", parts.concat()));
    let leaf = prop_oneof![Just("null".to_owned()), Just("true".to_owned()), Just("false".to_owned()), number, string.clone()];
    let space = "[ \n\r\t]{0,2}";
    leaf.prop_recursive(8, 64, 6, move |inner| {
        let member = (string.clone(), inner.clone()).prop_map(|(key, value)| format!("{key}:{value}"));
        let repeated = inner.clone().prop_map(|value| format!("\"k\":{value}"));
        prop_oneof![
            (space, vec(inner, 0..6)).prop_map(|(s, items)| format!("[{s}{}{s}]", items.join(&format!("{s},")))),
            (space, vec(prop_oneof![member, repeated], 0..6)).prop_map(|(s, all)| format!("{{{s}{}{s}}}", all.join(&format!(",{s}")))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn generated_json_is_read_as_the_oracle_reads_it(text in tree()) {
        compare(text.as_bytes());
    }

    #[test]
    fn mutated_json_is_accepted_or_refused_as_by_the_oracle(text in tree(), changes in vec((any::<prop::sample::Index>(), 0..4_u8, any::<u8>(), 0..16_usize), 1..4)) {
        let mut bytes = text.into_bytes();
        for (index, how, byte, mark) in changes {
            let at = index.index(bytes.len() + 1).min(bytes.len().saturating_sub(1));
            let marks = b"{}[]\",:\\-+.eE0u\n";
            match how {
                _ if bytes.is_empty() => bytes.push(byte),
                0 => bytes[at] = byte,
                1 => bytes[at] = marks[mark],
                2 => bytes.insert(at, marks[mark]),
                _ => { bytes.remove(at); }
            }
        }
        compare(&bytes);
    }

    #[test]
    fn any_bytes_are_accepted_or_refused_as_by_the_oracle(bytes in vec(any::<u8>(), 0..64)) {
        compare(&bytes);
    }
}

#[test]
fn a_byte_order_mark_is_skipped_where_the_oracle_refuses_it() {
    let text = "\u{feff}1".as_bytes();
    assert!(json::parse(text).is_ok() && serde_json::from_slice::<Value>(text).is_err());
}

#[test]
fn a_lone_surrogate_is_replaced_where_the_oracle_refuses_it() {
    for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\u0041""#, r#""\ud800x""#] {
        assert!(json::parse(text.as_bytes()).is_ok() && serde_json::from_str::<Value>(text).is_err(), "{text}");
    }
}

#[test]
fn a_number_beyond_a_double_is_kept_where_the_oracle_refuses_it() {
    assert_eq!(json::parse(b"1e400").unwrap().compact(), "1e400");
    assert!(serde_json::from_str::<Value>("1e400").is_err());
}

#[test]
fn nesting_ends_at_64_where_the_oracle_ends_at_127() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(json::parse(nested(65).as_bytes()).is_ok());
    assert_eq!(json::parse(nested(66).as_bytes()), Err(json::JsonError::TooDeep));
    assert!(serde_json::from_str::<Value>(&nested(127)).is_ok() && serde_json::from_str::<Value>(&nested(128)).is_err());
}

#[test]
fn nul_is_read_by_both() {
    compare(br#"{"a\u0000":"\u0000"}"#);
}
