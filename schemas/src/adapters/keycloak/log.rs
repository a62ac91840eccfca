//! The event listener's lines in Keycloak's log: `type="LOGIN", realmId="…", …`, alone, in a text log, or as the message
//! of a JSON log. They become elements of the shape that the API has, so that the adapter reads one shape only.
//!
//! Such a line has no id and no realm of the act: for an administrator's act it names the realm of the administrator.
//! Only quotes are escaped there; white space was made plain by the server. What is no key and value ends the reading, and
//! is kept as `unread`.

use std::borrow::Cow;

use crate::json::{Json, MAX_ELEMENTS};

/// The logger that writes events.
const LOGGER: &str = "[org.keycloak.events]";
/// Keys that an event begins with.
const FIRST_KEYS: [&str; 2] = ["type=", "operationType="];

type Members<'a> = Vec<(Cow<'a, str>, Json<'a>)>;

/// The events of a text log, a line each; `None` when no line of it is one. Lines of other loggers stay text.
pub(in crate::adapters) fn from_text(bytes: &[u8]) -> Option<Json<'static>> {
    // Most records are JSON: that is told by a byte.
    if matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'[')) {
        return None;
    }
    let text = std::str::from_utf8(bytes).ok()?.trim_start_matches('\u{feff}').trim_ascii();
    if text.starts_with(['{', '[']) || !text.lines().any(|line| fields_in(line).is_some()) {
        return None;
    }
    let lines = text.lines().filter(|line| !line.trim_ascii().is_empty());
    let element = |line: &str| event(line).map_or_else(|| Json::Text(line.to_owned().into()), |e| Json::Object(e).into_owned());
    // One more than is allowed is refused later.
    let mut elements: Vec<Json<'static>> = lines.take(MAX_ELEMENTS + 1).map(element).collect();
    Some(if elements.len() == 1 { elements.swap_remove(0) } else { Json::Array(elements) })
}

/// Puts the event in the place of a log entry that has it as its message; the rest of the entry is kept as `log`.
pub(in crate::adapters) fn unpack(json: &mut Json<'_>) -> bool {
    let Json::Object(entry) = json else { return false };
    let is_message = |(key, value): &(Cow<'_, str>, Json<'_>)| {
        matches!(key.as_ref(), "message" | "log") && value.text().is_some_and(|text| fields_in(text).is_some())
    };
    let Some(at) = entry.iter().position(is_message) else { return false };
    let (_, message) = entry.remove(at);
    let Some(mut event) = message.text().and_then(event).map(|members| Json::Object(members).into_owned()) else { return true };
    if let Json::Object(members) = &mut event {
        members.push(("log".into(), Json::Object(std::mem::take(entry)).into_owned()));
    }
    *json = event;
    true
}

/// Where the keys and values of a line begin, if it is an event's.
fn fields_in(line: &str) -> Option<&str> {
    let begins = |text: &str| FIRST_KEYS.iter().any(|key| text.starts_with(key));
    if begins(line) {
        return Some(line);
    }
    let (_, after) = line.split_once(LOGGER)?;
    // Between the two stands the thread, whose name can hold anything but this.
    let (_, fields) = after.split_once(") ")?;
    begins(fields).then_some(fields)
}

/// The members of an event of a line.
fn event(line: &str) -> Option<Members<'_>> {
    let mut rest = fields_in(line)?.trim_ascii_end();
    let is_admin = rest.starts_with(FIRST_KEYS[1]);
    let (mut event, mut of_caller, mut details): (Members<'_>, Members<'_>, Members<'_>) = Default::default();
    while let Some((key, value, after)) = field(rest) {
        let place = match key {
            "realmId" | "realmName" | "clientId" | "userId" | "ipAddress" if is_admin => &mut of_caller,
            "type" | "operationType" | "realmId" | "realmName" | "clientId" | "userId" | "sessionId" | "ipAddress" | "error"
            | "resourceType" | "resourcePath" | "representation" => &mut event,
            _ => &mut details,
        };
        // The server writes its own keys first: a detail of the same name does not take their place.
        let place = if place.iter().any(|(k, _)| k == key) { &mut details } else { place };
        place.push((key.into(), Json::Text(value)));
        rest = after;
    }
    if !rest.is_empty() {
        event.push(("unread".into(), Json::Text(rest.into())));
    }
    // `2026-11-23 02:30:49,793`; older logs have the time alone, which is no date.
    if let Some(logged) = line.get(..23).filter(|text| text.as_bytes()[4] == b'-' && text.as_bytes()[10] == b' ') {
        event.push(("logged".into(), Json::Text(logged.into())));
    }
    for (key, members) in [("authDetails", of_caller), ("details", details)] {
        if !members.is_empty() {
            event.push((key.into(), Json::Object(members)));
        }
    }
    Some(event)
}

/// The first key and value, and what follows them; values are quoted since 2023.
fn field(text: &str) -> Option<(&str, Cow<'_, str>, &str)> {
    let (key, value) = text.split_once('=').filter(|(key, _)| is_key(key))?;
    let (value, after) = match value.strip_prefix('"') {
        Some(quoted) => unquoted(quoted)?,
        None => {
            let end = value.match_indices(", ").map(|(at, _)| at).find(|at| starts_field(&value[at + 2..]));
            let (value, after) = value.split_at(end.unwrap_or(value.len()));
            (Cow::Borrowed(value), after)
        }
    };
    match after.strip_prefix(", ") {
        Some(next) => Some((key, value, next)),
        None => after.is_empty().then_some((key, value, after)),
    }
}

fn starts_field(text: &str) -> bool {
    // Up to the first byte that no key has: not the rest of the line again for each comma.
    let length = text.bytes().take_while(|b| is_key_byte(*b)).count();
    length > 0 && text.as_bytes().get(length) == Some(&b'=')
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(is_key_byte)
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// A value up to its closing quote, and what follows.
fn unquoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let bytes = text.as_bytes();
    let end = (0..bytes.len()).find(|&at| bytes[at] == b'"' && (at == 0 || bytes[at - 1] != b'\\'))?;
    let value = &text[..end];
    let value = if value.contains("\\\"") { Cow::Owned(value.replace("\\\"", "\"")) } else { Cow::Borrowed(value) };
    Some((value, &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        event(line).map_or_else(|| "none".into(), |members| Json::Object(members).compact())
    }

    #[test]
    fn a_line_becomes_an_event_of_the_api() {
        let line = r#"2026-11-23 02:30:49,793 WARN  [org.keycloak.events] (executor-thread-1) type="LOGIN_ERROR", realmId="r1", userId="null", error="x", username="a \"b\", type=\"c\"""#;
        let event = r#"{"type":"LOGIN_ERROR","realmId":"r1","userId":"null","error":"x","logged":"2026-11-23 02:30:49,793","details":{"username":"a \"b\", type=\"c\""}}"#;
        assert_eq!(shown(line), event);
        let line = r#"operationType="UPDATE", realmId="m", clientId="c", resourcePath="users/1", representation="{\"a\":\"\\"\"}""#;
        let event = r#"{"operationType":"UPDATE","resourcePath":"users/1","representation":"{\"a\":\"\\\"\"}","authDetails":{"realmId":"m","clientId":"c"}}"#;
        assert_eq!(shown(line), event);
    }

    #[test]
    fn values_without_quotes_end_before_the_next_key() {
        let line = "21:01:45,403 WARN  [org.keycloak.events] (default task-1) type=LOGIN_ERROR, realmId=test, redirect_uri=http://h/?a=1, b, error=e";
        let event = r#"{"type":"LOGIN_ERROR","realmId":"test","error":"e","details":{"redirect_uri":"http://h/?a=1, b"}}"#;
        assert_eq!(shown(line), event);
    }

    #[test]
    fn a_detail_takes_no_place_of_the_servers_and_what_is_no_field_is_kept() {
        assert_eq!(shown(r#"type="LOGIN", userId="a", userId="b""#), r#"{"type":"LOGIN","userId":"a","details":{"userId":"b"}}"#);
        assert_eq!(shown(r#"type="LOGIN", username="cut of"#), r#"{"type":"LOGIN","unread":"username=\"cut of"}"#);
    }

    #[test]
    fn other_lines_and_json_are_left_alone() {
        assert_eq!(from_text(b"2026-11-23 02:30:49,793 INFO  [org.keycloak.services] (main) type=\"LOGIN\""), None);
        assert_eq!(from_text(br#"{"a":"type=\"LOGIN\""}"#), None);
        assert_eq!(from_text(b"\xff"), None);
        let mixed = from_text(b"type=\"LOGIN\"\n\tat java.base\ntype=\"LOGOUT\"\n").unwrap();
        assert_eq!(mixed.compact(), r#"[{"type":"LOGIN"},"\tat java.base",{"type":"LOGOUT"}]"#);
    }
}
