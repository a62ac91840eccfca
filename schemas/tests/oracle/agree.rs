//! When our reading of a text agrees with that of `serde_json`; tests and a fuzz target hold it.

use schemas::json::{self, Json, JsonError};
use serde_json::Value;

/// Equality of values; numbers by `serde_json`'s own reading of our text.
pub(crate) fn equal(ours: &Json<'_>, oracle: &Value) -> bool {
    match (ours, oracle) {
        (Json::Null, Value::Null) => true,
        (Json::Bool(a), Value::Bool(b)) => a == b,
        (Json::Number(text), Value::Number(b)) => serde_json::from_str::<serde_json::Number>(text).is_ok_and(|a| a == *b),
        (Json::Text(a), Value::String(b)) => a == b,
        (Json::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Json::Object(a), Value::Object(b)) => {
            a.iter().all(|(key, _)| b.contains_key(key.as_ref())) && b.iter().all(|(key, b)| ours.get(key).is_some_and(|a| equal(a, b)))
        }
        _ => false,
    }
}

/// Whether one of the intended differences is why only one of the two accepts a text.
fn is_intended(bytes: &[u8], ours: &Result<Json<'_>, JsonError>, oracle: &Result<Value, serde_json::Error>) -> bool {
    match (ours, oracle) {
        (Err(JsonError::TooDeep | JsonError::TooMany), Ok(_)) => true,
        (Ok(_), Err(error)) => {
            let said = error.to_string();
            bytes.starts_with("\u{feff}".as_bytes())
                || ["number out of range", "lone leading surrogate", "unexpected end of hex escape"].iter().any(|w| said.contains(w))
        }
        _ => false,
    }
}

/// Fails when the two readers do not agree on a text.
pub(crate) fn compare(bytes: &[u8]) {
    let (ours, oracle) = (json::parse(bytes), serde_json::from_slice::<Value>(bytes));
    if let (Ok(ours), Ok(oracle)) = (&ours, &oracle) {
        let text = String::from_utf8_lossy(bytes);
        assert!(equal(ours, oracle), "{text}: {ours:?} against {oracle:?}");
        for printed in [ours.compact(), ours.canonical()] {
            assert_eq!(&serde_json::from_str::<Value>(&printed).unwrap(), oracle, "{printed} is printed for {text}");
        }
    } else if ours.is_ok() != oracle.is_ok() {
        assert!(is_intended(bytes, &ours, &oracle), "{}: {ours:?} against {oracle:?}", String::from_utf8_lossy(bytes));
    }
}
