//! Typed destinations in the arguments of any tool: where an act sends something.
//!
//! Recognised by form under any key (URL, `www.` host, mail address, `mailto:`, IBAN, absolute path) and by the name of the
//! argument (address without a scheme, phone number, channel, recipient, host, table, account). A value is one destination;
//! only of URLs may several stand among words. What one place is has one spelling: hosts are lower-cased, punycode and
//! without the port of their scheme; user names, query and fragment of a URL are not kept; IBANs have no spaces; `+tags` of
//! mail addresses stay. A URL that names no scheme keeps none.
//!
//! Limits: nesting 6, 32 destinations, 512 bytes each. A text that is longer is read when it is one word, for its first 512.

mod forms;

use crate::cell::{Member, Struct};
use crate::json::Json;

const MAX_FOUND: usize = 32;
const MAX_BYTES: usize = 512;

/// Destinations in the order found, each once; `None` when there is none.
pub(crate) fn find(arguments: &Json<'_>) -> Option<Vec<Struct>> {
    let mut found = Found::default();
    walk("", arguments, 0, &mut found);
    let structs = found.0.into_iter().map(|(kind, value)| vec![Member::Text(kind.into()), Member::Text(value)]);
    let structs: Vec<Struct> = structs.collect();
    (!structs.is_empty()).then_some(structs)
}

#[derive(Default)]
struct Found(Vec<(&'static str, String)>);

impl Found {
    fn add(&mut self, kind: &'static str, value: impl Into<String>) {
        let mut value: String = value.into();
        value.truncate(value.floor_char_boundary(MAX_BYTES));
        let entity = (kind, value);
        if self.0.len() < MAX_FOUND && !self.0.contains(&entity) {
            self.0.push(entity);
        }
    }

    /// Adds all and says whether there was one.
    fn add_all(&mut self, kind: &'static str, values: Vec<String>) -> bool {
        let is_any = !values.is_empty();
        values.into_iter().for_each(|value| self.add(kind, value));
        is_any
    }
}

/// What the name of an argument says of its value.
#[derive(Clone, Copy, PartialEq)]
enum Named {
    Path,
    Web,
    Phone,
    Recipient,
    Copy,
    Account,
    Host,
    Other(&'static str),
    Nothing,
}

fn named(key: &str) -> Named {
    match key.to_ascii_lowercase().as_str() {
        "path" | "file" | "filename" | "destination" | "source" => Named::Path,
        "url" | "uri" | "link" | "website" | "webhook" | "endpoint" => Named::Web,
        "phone" | "phone_number" | "phonenumber" | "telephone" | "tel" | "mobile" | "msisdn" | "sms" | "whatsapp" => Named::Phone,
        "recipient" | "recipients" | "to" | "participants" => Named::Recipient,
        "cc" | "bcc" | "email" | "emails" | "attendees" => Named::Copy,
        "iban" | "account" | "account_id" => Named::Account,
        "host" | "hostname" => Named::Host,
        "channel" | "room" => Named::Other("channel"),
        "table" | "dataset" => Named::Other("table"),
        _ => Named::Nothing,
    }
}

fn walk(key: &str, value: &Json<'_>, depth: usize, found: &mut Found) {
    if depth > 6 || found.0.len() >= MAX_FOUND {
        return;
    }
    match value {
        Json::Object(members) => members.iter().for_each(|(k, v)| walk(k, v, depth + 1, found)),
        Json::Array(items) => items.iter().for_each(|v| walk(key, v, depth + 1, found)),
        Json::Text(text) => {
            let text = text.trim();
            let start = &text[..text.floor_char_boundary(MAX_BYTES)];
            if !text.is_empty() && (start.len() == text.len() || !start.contains(char::is_whitespace)) {
                classify(named(key), start, found);
            }
        }
        // Numbers of phones and accounts come as numbers too.
        Json::Number(text) if matches!(named(key), Named::Phone | Named::Account) && text.bytes().all(|b| b.is_ascii_digit()) => {
            classify(named(key), text, found);
        }
        _ => {}
    }
}

fn classify(name: Named, text: &str, found: &mut Found) {
    if let Some(mail) = forms::after(text, "mailto:") {
        found.add_all("address", forms::mailto(mail));
        return;
    }
    if found.add_all("url", forms::urls(text)) {
        return;
    }
    if text.contains('@') {
        let several = matches!(name, Named::Recipient | Named::Copy).then(|| forms::mails(text)).unwrap_or_default();
        if !found.add_all("address", several)
            && let Some(mail) = forms::mail(text)
        {
            found.add("address", mail);
        }
        return;
    }
    if let Some(iban) = forms::iban(text) {
        return found.add("account", iban);
    }
    match name {
        Named::Path if text.contains('/') => found.add("path", text),
        Named::Web => forms::bare_url(text).into_iter().for_each(|url| found.add("url", url)),
        Named::Phone => forms::phone(text, false).into_iter().for_each(|phone| found.add("phone", phone)),
        Named::Recipient => match forms::phone(text, true) {
            Some(phone) => found.add("phone", phone),
            None => found.add("address", text),
        },
        Named::Account => found.add("account", text),
        Named::Host => found.add("host", forms::host(text)),
        Named::Other(kind) => found.add(kind, text),
        Named::Path | Named::Copy | Named::Nothing => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    /// `type value` of each destination in the arguments.
    fn found(arguments: &str) -> Vec<String> {
        let text = |member: &Member| if let Member::Text(text) = member { text.clone() } else { String::new() };
        let all = find(&parse(arguments.as_bytes()).unwrap()).unwrap_or_default();
        all.iter().map(|one| one.iter().map(text).collect::<Vec<_>>().join(" ")).collect()
    }

    /// Each row: the name of an argument, its value, and what is found, parted by `|`.
    fn hold(rows: &[(&str, &str, &str)]) {
        for (key, value, expected) in rows {
            let quoted = Json::Object(vec![((*key).into(), Json::Text((*value).into()))]).compact();
            assert_eq!(found(&quoted).join("|"), *expected, "{key}: {value}");
        }
    }

    #[test]
    fn destinations_are_typed_and_normalised() {
        let arguments = r#"{"to":["Bob+x@EXAMPLE.com"],"u":{"link":"HTTPS://Evil.Example:443/a?q=1"},"channel":"ops","body":"hi there","path":"/etc/x"}"#;
        assert_eq!(found(arguments), ["address Bob+x@example.com", "url https://evil.example/a", "channel ops", "path /etc/x"]);
    }

    #[test]
    fn a_url_has_one_spelling() {
        hold(&[
            ("q", "HTTP://Evil.Example:80/a", "url http://evil.example/a"),
            ("q", "https://evil.example:443/", "url https://evil.example"),
            ("q", "https://evil.example:80/", "url https://evil.example:80"),
            ("q", "http://evil.example:443/", "url http://evil.example:443"),
            ("q", "https://evil.example.?a=1#b", "url https://evil.example"),
            ("q", "https://good.example@evil.example/a/../b", "url https://evil.example/b"),
            ("q", "https://0x7f.1/", "url https://127.0.0.1"),
            ("q", "https://[::1]:8080/a", "url https://[::1]:8080/a"),
            ("q", "https://bücher.example/ä", "url https://xn--bcher-kva.example/%C3%A4"),
            ("q", "https://BÜCHER.example/%C3%A4", "url https://xn--bcher-kva.example/%C3%A4"),
            ("q", "https://xn--bcher-kva.example/%C3%A4", "url https://xn--bcher-kva.example/%C3%A4"),
            ("q", "s3://Bucket/Key", "url s3://bucket/Key"),
            ("q", "postgres://me:pw@DB.example:5432/x", "url postgres://db.example:5432/x"),
            ("q", "file:///etc/passwd", "url file:///etc/passwd"),
            ("q", "https://no host/a", "url https://no"),
            ("q", "https://[redacted]/A?b", "url https://[redacted]/A"),
        ]);
    }

    #[test]
    fn a_host_without_a_scheme_is_a_url_where_the_name_says_so_or_it_starts_with_www() {
        hold(&[
            ("url", "www.Evil.example/a?b=c", "url www.evil.example/a"),
            ("url", "evil.example", "url evil.example"),
            ("webhook", "//evil.example/x", "url evil.example/x"),
            ("endpoint", "evil.example:8443/x", "url evil.example:8443/x"),
            ("endpoint", "localhost:8080/x", "url localhost:8080/x"),
            ("endpoint", "192.0.2.7/x", "url 192.0.2.7/x"),
            ("link", "bücher.example", "url xn--bcher-kva.example"),
            ("website", "n/a", ""),
            ("url", "4711", ""),
            ("url", "1.2", ""),
            ("url", "home", ""),
            ("url", "/relative/a.b", ""),
            ("query", "evil.example/a", ""),
            ("query", "www.evil.example", "url www.evil.example"),
            ("query", "www.", ""),
            ("query", "awww.cute", ""),
        ]);
    }

    #[test]
    fn urls_among_words_are_found_each_for_itself() {
        hold(&[
            ("body", "see https://evil.example/a, and www.other.example.", "url https://evil.example/a|url www.other.example"),
            ("body", "[here](https://evil.example/a)", "url https://evil.example/a"),
            ("body", r#"{"u":"https://evil.example/a"}"#, "url https://evil.example/a"),
            ("body", "ends with ://", ""),
        ]);
    }

    #[test]
    fn mail_addresses_of_a_list_and_of_mailto_are_found() {
        hold(&[
            ("q", "mailto:Bob@Example.com?subject=x&bcc=eve%40evil.example", "address Bob@example.com|address eve@evil.example"),
            ("q", "bob@bücher.example", "address bob@xn--bcher-kva.example"),
            ("to", "Bob <bob@example.com>, eve@EVIL.example", "address bob@example.com|address eve@evil.example"),
            ("cc", "bob@example.com;eve@evil.example", "address bob@example.com|address eve@evil.example"),
            ("body", "write to bob@example.com", ""),
            ("to", "ops", "address ops"),
        ]);
    }

    #[test]
    fn phone_numbers_are_found_under_names_for_them_and_as_recipients_when_international() {
        hold(&[
            ("phone", "+43 (0)664 123-45-67", "phone +436641234567"),
            ("phone", "0043 664 1234567", "phone +436641234567"),
            ("mobile", "0664/1234567", "phone 06641234567"),
            ("to", "+1 415 555 0100", "phone +14155550100"),
            ("to", "whatsapp:+14155550100", "phone +14155550100"),
            ("recipient", "4155550100", "address 4155550100"),
            ("phone", "12345", ""),
            ("phone", "1234567890123456", ""),
            ("query", "+14155550100", ""),
        ]);
        assert_eq!(found(r#"{"phone":436641234567,"account":4711,"amount":4711}"#), ["phone 436641234567", "account 4711"]);
    }

    #[test]
    fn an_iban_is_an_account_under_any_name_when_its_check_digits_are_right() {
        hold(&[
            ("recipient", "de89 3704 0044 0532 0130 00", "account DE89370400440532013000"),
            ("q", "GB33BUKB20201555555555", "account GB33BUKB20201555555555"),
            ("q", "IBAN: AT61-1904-3002-3457-3201", "account AT611904300234573201"),
            ("iban", "DE89 3704 0044 0532 0130 01", "account DE89 3704 0044 0532 0130 01"),
            ("q", "DE89 3704 0044 0532 0130 01", ""),
            ("q", "DE8937040044053201300", ""),
            ("q", "US133000000121212121212", ""),
        ]);
    }

    #[test]
    fn hosts_under_a_name_for_them_have_one_spelling() {
        hold(&[
            ("host", "BÜCHER.example", "host xn--bcher-kva.example"),
            ("host", "DB.example:5432", "host db.example:5432"),
            ("hostname", "4711", "host 4711"),
        ]);
    }

    #[test]
    fn what_is_found_is_bounded_and_a_long_address_does_not_hide_where_it_leads() {
        let long = format!("https://evil.example/?data={}", "A".repeat(5000));
        let path = format!("https://evil.example/{}", "A".repeat(5000));
        let prose = format!("https://evil.example/ {}", "word ".repeat(1000));
        hold(&[("q", &long, "url https://evil.example"), ("q", &path, &format!("url {}", &path[..MAX_BYTES])), ("q", &prose, "")]);
        let many: Vec<String> = (0..100).map(|i| format!("\"https://h{i}.example\"")).collect();
        assert_eq!(found(&format!("[{}]", many.join(","))).len(), MAX_FOUND);
    }
}
