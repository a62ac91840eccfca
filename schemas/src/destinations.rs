//! Typed destinations in the arguments of any tool: where an act sends something.
//!
//! Recognised by shape (mail address, URL, absolute path) and by the name of the argument (channel,
//! recipient, host, table, account). Hosts and mail domains are lower-cased; `+tags` are kept.
//!
//! Limits: nesting 6, 32 destinations, 512 bytes each.

use crate::cell::{Member, Struct};
use crate::json::Json;

const MAX_FOUND: usize = 32;
const MAX_BYTES: usize = 512;

/// Destinations in the order found, each once; `None` when there is none.
pub(crate) fn find(arguments: &Json<'_>) -> Option<Vec<Struct>> {
    let mut found: Vec<(&'static str, String)> = Vec::new();
    walk("", arguments, 0, &mut found);
    let structs = found.into_iter().map(|(kind, value)| vec![Member::Text(kind.into()), Member::Text(value)]);
    let structs: Vec<Struct> = structs.collect();
    (!structs.is_empty()).then_some(structs)
}

fn walk(key: &str, value: &Json<'_>, depth: usize, found: &mut Vec<(&'static str, String)>) {
    if depth > 6 || found.len() >= MAX_FOUND {
        return;
    }
    match value {
        Json::Object(members) => members.iter().for_each(|(k, v)| walk(k, v, depth + 1, found)),
        Json::Array(items) => items.iter().for_each(|v| walk(key, v, depth + 1, found)),
        Json::Text(text) if text.len() <= MAX_BYTES => {
            if let Some(entity) = classify(key, text.trim())
                && !found.contains(&entity)
            {
                found.push(entity);
            }
        }
        _ => {}
    }
}

fn classify(key: &str, text: &str) -> Option<(&'static str, String)> {
    if text.is_empty() {
        return None;
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let host = host.to_ascii_lowercase();
        let host = host.strip_suffix(":443").or(host.strip_suffix(":80")).unwrap_or(&host);
        let path = path.split(['?', '#']).next().unwrap_or_default();
        return Some(("url", format!("{}://{host}{path}", scheme.to_ascii_lowercase())));
    }
    if let Some((local, domain)) = text.split_once('@') {
        let plausible = domain.contains('.') && !text.contains(char::is_whitespace) && !local.is_empty();
        return plausible.then(|| ("address", format!("{local}@{}", domain.to_ascii_lowercase())));
    }
    let name = key.to_ascii_lowercase();
    if matches!(name.as_str(), "path" | "file" | "filename" | "destination" | "source") && text.contains('/') {
        return Some(("path", text.to_owned()));
    }
    let kind = match name.as_str() {
        "channel" | "room" => "channel",
        "recipient" | "recipients" | "to" | "participants" => "address",
        "host" | "hostname" => "host",
        "table" | "dataset" => "table",
        "iban" | "account" | "account_id" => "account",
        _ => return None,
    };
    Some((kind, text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    #[test]
    fn destinations_are_typed_and_normalised() {
        let json = parse(br#"{"to":["Bob+x@EXAMPLE.com"],"u":{"link":"HTTPS://Evil.Example:443/a?q=1"},"channel":"ops","body":"hi there","path":"/etc/x"}"#);
        let found: Vec<String> = find(&json.unwrap())
            .unwrap()
            .into_iter()
            .map(|s| s.into_iter().map(|m| if let Member::Text(t) = m { t } else { String::new() }).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(found, ["address Bob+x@example.com", "url https://evil.example/a", "channel ops", "path /etc/x"]);
    }
}
