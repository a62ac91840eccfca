//! The forms of destinations: URL, host, mail address, IBAN, phone number; each text that has the form to its one spelling.
//!
//! URLs and hosts are read as browsers read them (crate `url`), so that what leads to one place is spelled alike; what that
//! refuses is taken apart at its slashes, so that nothing is lost. Linear in the text, which the caller bounds.

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::iban;

/// What follows `prefix`, whatever its capitals.
pub(super) fn after<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let start = text.get(..prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

/// Every URL among the words of a text, and every host that starts with `www.`.
pub(super) fn urls(text: &str) -> Vec<String> {
    let may_hold = text.contains("://") || text.as_bytes().windows(4).any(|four| four.eq_ignore_ascii_case(b"www."));
    if !may_hold {
        return Vec::new();
    }
    let is_between = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '`');
    let words = text.split(is_between).map(|word| {
        // What ends a sentence or a bracket is not of the URL; a value that is a URL and nothing else ends as it ends.
        if word.len() == text.len() && !word.starts_with(['(', '[']) {
            word
        } else {
            word.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '}', '*'])
        }
    });
    words.filter_map(|word| with_scheme(word).or_else(|| www(word))).collect()
}

fn with_scheme(word: &str) -> Option<String> {
    let at = word.find("://")?;
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let start = word[..at].rfind(|c| !is_scheme(c)).map_or(0, |last| last + word[last..].chars().next().map_or(1, char::len_utf8));
    let text = &word[start..];
    let (scheme, rest) = (word[start..at].to_ascii_lowercase(), &word[at + 3..]);
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || rest.is_empty() {
        return None;
    }
    let Ok(url) = Url::parse(text) else {
        let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let path = path.split(['?', '#']).next().unwrap_or_default();
        return Some(format!("{scheme}://{}{path}", host.to_ascii_lowercase()));
    };
    Some(format!("{scheme}://{}", place(&url)))
}

/// Host, port when it is not the scheme's own, and path.
fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default().to_lowercase();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}{}", host.trim_end_matches('.'), if url.path() == "/" { "" } else { url.path() })
}

fn www(word: &str) -> Option<String> {
    let at = word.as_bytes().windows(4).position(|four| four.eq_ignore_ascii_case(b"www."))?;
    let is_start = word[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '.' | '-' | '_' | '@'));
    is_start.then(|| bare_url(&word[at..])).flatten()
}

/// A URL that names no scheme: a host that a name server could know, an IP address or `localhost`, and what follows it.
pub(super) fn bare_url(text: &str) -> Option<String> {
    let text = text.strip_prefix("//").unwrap_or(text);
    let authority = text.split(['/', '?', '#']).next().unwrap_or_default();
    if text.contains(char::is_whitespace) || authority.is_empty() || authority.contains(['@', '\\']) {
        return None;
    }
    let url = Url::parse(&format!("http://{text}")).ok()?;
    let is_host = match url.host()? {
        Host::Domain("localhost") | Host::Ipv6(_) => true,
        Host::Domain(name) => name
            .trim_end_matches('.')
            .rsplit_once('.')
            .is_some_and(|(before, last)| !before.is_empty() && last.len() > 1 && last.starts_with(|c: char| c.is_ascii_alphabetic())),
        Host::Ipv4(_) => authority.matches('.').count() == 3,
    };
    is_host.then(|| place(&url))
}

/// A host in its one spelling; a text that is none lower-cased.
pub(super) fn host(text: &str) -> String {
    match Host::parse(text) {
        Ok(Host::Domain(name)) => name.trim_end_matches('.').to_owned(),
        Ok(Host::Ipv4(ip)) if text.matches('.').count() == 3 => ip.to_string(),
        _ => text.to_lowercase(),
    }
}

/// A mail address; not a sentence that holds one.
pub(super) fn mail(text: &str) -> Option<String> {
    let (local, domain) = text.split_once('@')?;
    let is_plausible = domain.contains('.') && !text.contains(char::is_whitespace) && !local.is_empty();
    is_plausible.then(|| format!("{local}@{}", host(domain)))
}

/// The mail addresses of a list, each alone or in angle brackets behind a name.
pub(super) fn mails(text: &str) -> Vec<String> {
    let inner =
        |part: &str| part.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(part, |(inner, _)| inner).trim().to_owned();
    text.split([',', ';']).filter_map(|part| mail(&inner(part))).collect()
}

/// The mail addresses of what follows `mailto:`, copies included.
pub(super) fn mailto(text: &str) -> Vec<String> {
    let (to, query) = text.split_once('?').unwrap_or((text, ""));
    let copies = query.split('&').filter_map(|pair| pair.split_once('='));
    let copies = copies.filter(|(key, _)| ["to", "cc", "bcc"].iter().any(|name| key.eq_ignore_ascii_case(name))).map(|(_, value)| value);
    std::iter::once(to).chain(copies).flat_map(|list| mails(&percent_decode_str(list).decode_utf8_lossy())).collect()
}

/// An IBAN of the length of its country whose check digits are right (ISO 13616, modulo 97).
pub(super) fn iban(text: &str) -> Option<String> {
    let text = after(text, "iban").map_or(text, |rest| rest.trim_start_matches([':', ' ']));
    // Most texts end here.
    let length = iban::length(text.as_bytes()).filter(|_| text.len() <= 64)?;
    let plain: String = text.chars().filter(|c| !matches!(c, ' ' | '-')).map(|c| c.to_ascii_uppercase()).collect();
    let is_plain = plain.len() == length && plain.bytes().all(|b| b.is_ascii_alphanumeric());
    (is_plain && iban::is_checked(&plain)).then_some(plain)
}

/// A phone number as `+` and digits, or digits alone where the country is not said: 7 to 15 of them (E.164).
pub(super) fn phone(text: &str, only_international: bool) -> Option<String> {
    let text = ["tel:", "sms:", "whatsapp:"].iter().find_map(|scheme| after(text, scheme)).unwrap_or(text);
    let text = text.split(';').next().unwrap_or_default().trim();
    let international = text.strip_prefix('+').or_else(|| text.strip_prefix("00"));
    let rest = international.unwrap_or(text);
    if !rest.chars().all(|c| c.is_ascii_digit() || matches!(c, ' ' | '-' | '.' | '(' | ')' | '/'))
        || only_international && international.is_none()
    {
        return None;
    }
    // The zero that is dialled within the country only.
    let rest = if international.is_some() { rest.replacen("(0)", "", 1) } else { rest.to_owned() };
    let digits: String = rest.chars().filter(char::is_ascii_digit).collect();
    let plus = if international.is_some() { "+" } else { "" };
    (7..=15).contains(&digits.len()).then(|| format!("{plus}{digits}"))
}
