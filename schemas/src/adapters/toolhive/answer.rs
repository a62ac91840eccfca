//! What the server answered, as far as the gateway kept it: an object, JSON in text, or server-sent events.
//!
//! Before the answer a server may send notifications, each in a frame of its own, and the gateway leaves out what does
//! not fit: so a frame that cannot be read is skipped, and of those that can the last answer counts.

use std::borrow::Cow;

use crate::columns::Row;
use crate::json::{self, Json};

/// How a denial begins that comes with HTTP 200, in lower case. Not `permission denied`: so does a file system speak.
const DENIALS: &[&str] = &["access denied", "unauthorized", "not authorized", "forbidden", "denied by policy"];

/// The answer in `data.response`.
pub(super) fn read<'j>(value: &'j Json<'_>) -> Option<Cow<'j, Json<'j>>> {
    match value {
        Json::Object(_) => Some(Cow::Borrowed(value)),
        Json::Text(text) => in_frames(text).or_else(|| json::parse(text.trim().as_bytes()).ok()).map(Cow::Owned),
        _ => None,
    }
}

/// Fills what the answer says, and gives the text of a denial, if it is one.
pub(super) fn fill(row: &mut Row, answer: &Json<'_>) -> Option<String> {
    row.result_is_error = answer.at("result.isError").and_then(Json::flag);
    row.result_rows = rows_of(answer);
    let code = answer.at("error.code").and_then(Json::integer);
    row.jsonrpc_error_code = row.jsonrpc_error_code.or(code);
    let of_error = answer.at("error.message").and_then(Json::text);
    if row.outcome_reason.is_none() {
        row.outcome_reason = of_error.map(str::to_owned);
    }
    let of_tool = (row.result_is_error == Some(true)).then(|| answer.at("result.content.0.text").and_then(Json::text)).flatten();
    let denial = of_error.or(of_tool).filter(|text| is_denial(text)).map(str::to_owned);
    denial.or_else(|| matches!(code, Some(401 | 403)).then(|| of_error.unwrap_or("denied").to_owned()))
}

/// Whether a text begins as a denial does.
pub(super) fn is_denial(text: &str) -> bool {
    DENIALS.iter().any(|denial| text.get(..denial.len()).is_some_and(|start| start.eq_ignore_ascii_case(denial)))
}

/// The last answer among server-sent events.
fn in_frames(text: &str) -> Option<Json<'_>> {
    let is_answer = |json: &Json<'_>| json.get("result").or_else(|| json.get("error")).is_some();
    let (mut found, mut pending) = (None, String::new());
    for line in text.lines().chain([""]) {
        if let Some(data) = line.strip_prefix("data:") {
            match json::parse(data.trim().as_bytes()) {
                Ok(json) if is_answer(&json) => found = Some(json),
                Ok(_) => {}
                // JSON over several lines is one frame.
                Err(_) => pending.push_str(data.trim()),
            }
        } else if line.is_empty() && !pending.is_empty() {
            let joined = json::parse(pending.as_bytes()).ok().filter(is_answer).map(Json::into_owned);
            found = joined.or(found);
            pending.clear();
        }
    }
    found
}

/// Rows of a structured result: the number that it names, else the length of the one list there. A `total` is how many
/// there are, not how many came.
fn rows_of(answer: &Json<'_>) -> Option<i64> {
    let content = answer.at("result.structuredContent")?;
    let named = |names: &[&str]| names.iter().find_map(|name| content.get(name).and_then(Json::integer));
    let mut lists = content.members().iter().filter_map(|(_, value)| if let Json::Array(items) = value { Some(items.len()) } else { None });
    let listed = lists.next().filter(|_| lists.next().is_none()).and_then(|length| i64::try_from(length).ok());
    named(&["row_count", "rows_returned"]).or(listed).or_else(|| named(&["count"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_of_all_frames_counts() {
        let progress = r#"event: message
data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}

event: message
data: {"jsonrpc":"2.0","id":2,"result":{"isError":true}}

data: {"jsonrpc":"2.0","method":"notif"#;
        assert_eq!(in_frames(progress).unwrap().at("result.isError").and_then(Json::flag), Some(true));
        let broken = "data: {\"result\":\ndata: {\"isError\":false}}\n\n";
        assert_eq!(in_frames(broken).unwrap().at("result.isError").and_then(Json::flag), Some(false));
        assert_eq!(in_frames("no frames\n"), None);
    }

    #[test]
    fn a_total_is_not_the_number_of_rows() {
        let rows = |content: &str| rows_of(&json::parse(format!("{{\"result\":{{\"structuredContent\":{content}}}}}").as_bytes()).unwrap());
        assert_eq!(rows(r#"{"total":1648,"patients":[{}]}"#), Some(1));
        assert_eq!(rows(r#"{"row_count":7,"rows":[1]}"#), Some(7));
        assert_eq!(rows(r#"{"count":3}"#), Some(3));
        assert_eq!(rows(r#"{"total":9}"#), None);
        assert_eq!(rows(r#"{"a":[1],"b":[2,3]}"#), None);
    }
}
