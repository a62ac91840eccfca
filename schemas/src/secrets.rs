//! What a secret looks like: the names of keys that hold one, and the forms that one has in text.
//!
//! Few texts hold one, so a sign that every form has is looked for first. Limits: a value below 3 characters after `password=`
//! and the like, or a token of 8 after its prefix, is no secret.
//!
//! Not for: secrets without name and form, such as a random word in a sentence; those stay.

use std::borrow::Cow;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, packed};
use memchr::memmem;
use regex::{Captures, Regex};

use crate::spots::Noted;

/// Keys whose whole value is a secret, in lower case with `-` as `_`.
const SECRET_KEYS: &[&str] = &[
    "password",
    "passwd",
    "pwd",
    "new_password",
    "old_password",
    "secret",
    "client_secret",
    "token",
    "access_token",
    "refresh_token",
    "id_token",
    "idtoken",
    "accesstoken",
    "refreshtoken",
    "subject_token",
    "actor_token",
    "api_key",
    "apikey",
    "x_api_key",
    "authorization",
    "proxy_authorization",
    "cookie",
    "set_cookie",
    "private_key",
    "privatekey",
    "client_assertion",
    "assertion",
    "code_verifier",
    "otp",
    "totp",
    "passcode",
    "opa.runtime",
    "aws_secret_access_key",
    "secret_key",
    "connection_string",
    "passwordhash",
    "password_hash",
    "newpassword",
    "oldpassword",
    "clientsecret",
    "oobcode",
    "sessioninfo",
    "mfapendingcredential",
    "subjecttoken",
    "actortoken",
    "identitytoken",
    "otp_code",
];

/// No secret key is longer, bytes.
const MAX_KEY: usize = 24;

/// By length, a bit for each letter that a secret key of that length begins with: few keys have both.
const FIRST_LETTERS: [u32; MAX_KEY + 1] = {
    let (mut letters, mut i) = ([0; MAX_KEY + 1], 0);
    while i < SECRET_KEYS.len() {
        let key = SECRET_KEYS[i].as_bytes();
        letters[key.len()] |= letter(key[0]);
        i += 1;
    }
    letters
};

/// The bit of a letter, in any case.
const fn letter(byte: u8) -> u32 {
    1 << (byte & 31)
}

/// On its own: beside the other patterns a long text without a dot would be scanned again for each of their finds.
static JWT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.?[A-Za-z0-9_-]*").expect("the JWT pattern is valid"));

/// Number as the value of a key.
pub(crate) const NUMBER: &str = "-?[0-9][0-9.eE+-]*";

/// A secret key with its value in text that is no JSON.
pub(crate) static KEYED: LazyLock<Regex> = LazyLock::new(|| {
    let names: Vec<String> = SECRET_KEYS.iter().map(|key| regex::escape(key).replace('_', "[_-]")).collect();
    keyed(&names, NUMBER).expect("the pattern of secret keys is valid")
});

static SECRET_TEXT: LazyLock<Regex> = LazyLock::new(|| {
    let patterns = [
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
        r"(?i)\bbearer\s+[A-Za-z0-9._~+/=-]{8,}",
        r"\b(?:sk|pk|rk)[-_](?:live|test|proj|ant)[-_][A-Za-z0-9_-]{8,}",
        r"\bsk-[A-Za-z0-9]{20,}",
        r"\bgh[pousr]_[A-Za-z0-9]{20,}",
        r"\bgithub_pat_[A-Za-z0-9_]{20,}",
        r"\bglpat-[A-Za-z0-9_-]{16,}",
        r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
        r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
        r"\bAIza[A-Za-z0-9_-]{30,}",
        r"(?i)\b(?:password|passwd|pwd|client_secret|api_?key|(?:access_|refresh_|id_)?token|sig|signature|x-amz-signature)=(?:bearer\s+)?[^\s&;,]{3,}",
    ];
    Regex::new(&patterns.join("|")).expect("the secret patterns are valid")
});

/// Credentials in a URL; on its own, because addresses are common and most have none.
static URL_SECRET: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[a-z][a-z0-9+.-]{1,20}://[^\s/:@]{1,64}:[^\s/@]{1,128}@").expect("the URL pattern is valid"));

/// What every match of [`JWT`] or [`SECRET_TEXT`] contains, in any case: few texts do, and only those are matched.
const SIGNS: &[&str] = &[
    "eyj",
    "-----begin",
    "bearer",
    "sk-",
    "sk_",
    "pk-",
    "pk_",
    "rk-",
    "rk_",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "akia",
    "asia",
    "xox",
    "aiza",
    "password=",
    "passwd=",
    "pwd=",
    "client_secret=",
    "apikey=",
    "api_key=",
    "token=",
    "sig=",
    "signature=",
];

static SIGN: LazyLock<AhoCorasick> = LazyLock::new(|| {
    AhoCorasick::builder().ascii_case_insensitive(true).kind(Some(AhoCorasickKind::DFA)).build(SIGNS).expect("the signs are few and short")
});

/// As [`SIGN`], over a whole record: folded to lower case, several bytes at a time where the processor can.
static FOLDED_SIGN: LazyLock<Option<packed::Searcher>> = LazyLock::new(|| packed::Searcher::new(SIGNS));

/// Notes where in bytes what every secret that has a form holds stands, in any case.
pub(crate) fn note_signs(bytes: &[u8], noted: &mut Noted) {
    match &*FOLDED_SIGN {
        Some(searcher) => noted.all(searcher.find_iter(&bytes.to_ascii_lowercase()).map(|sign| sign.range())),
        None => noted.all(SIGN.find_iter(bytes).map(|sign| sign.range())),
    }
}

/// Notes where bytes hold what credentials in a URL need.
pub(crate) fn note_addresses(bytes: &[u8], noted: &mut Noted) {
    if memmem::find(bytes, b"://").is_some() {
        noted.each(b'@', bytes);
    }
}

/// The text with `take` in the place of every secret that has a form; borrowed when there is none. Without signs, some forms
/// need not be looked for.
pub(crate) fn replaced<'t>(text: &'t str, may_hold_signs: bool, take: &impl Fn(&str) -> String) -> Cow<'t, str> {
    let whole = |found: &Captures<'_>| take(&found[0]);
    let mut text = Cow::Borrowed(text);
    if may_hold_signs && SIGN.is_match(&*text) {
        text = chain(text, |t| JWT.replace_all(t, whole));
        text = chain(text, |t| SECRET_TEXT.replace_all(t, whole));
    }
    if text.contains('@') && text.contains("://") {
        text = chain(text, |t| URL_SECRET.replace_all(t, whole));
    }
    text
}

/// The text with `take` in the place of the values that stand behind `keyed`: `"name": "value"`, in text that is no JSON.
pub(crate) fn replaced_keyed<'t>(text: Cow<'t, str>, keyed: &Regex, take: &impl Fn(&str) -> String) -> Cow<'t, str> {
    let value = |found: &Captures<'_>| {
        let part = |name: &str| found.name(name).map_or("", |m| m.as_str());
        let value = [part("text"), part("bare"), part("inner"), part("digits")].concat();
        if value.is_empty() || is_token(&value) {
            return found[0].to_owned();
        }
        match found.name("escaped").or(found.name("number")) {
            Some(before) => format!("{}{}{}", before.as_str(), take(&value), part("after")),
            None => format!("{}\"{}\"", part("before"), take(&value)),
        }
    };
    chain(text, |t| keyed.replace_all(t, value))
}

/// The pattern of one of some names, written as patterns, with its value in text that is no JSON, such as a record that was
/// cut: also inside JSON in a string of it, where quotes are escaped.
pub(crate) fn keyed(names: &[String], values: &str) -> Result<Regex, regex::Error> {
    let names = names.join("|");
    let plain = format!(r#"(?P<before>"(?:{names})"\s*:\s*)(?:"(?P<text>(?:[^"\\]|\\.)*)(?:"|\\?$)|(?P<bare>{values}))"#);
    let key = format!(r#"\\+"(?:{names})\\+"\s*:\s*"#);
    let escaped = format!(r#"(?P<escaped>{key}\\+")(?P<inner>.*?)(?P<after>\\+"\s*(?:[,}}\]]|$)|$)|(?P<number>{key})(?P<digits>{values})"#);
    Regex::new(&format!("(?is){plain}|{escaped}"))
}

/// Whether a value is a token of ours: by its whole form, for a secret can begin with `tok1.` too.
pub(crate) fn is_token(value: &str) -> bool {
    let digest = value.strip_prefix("tok1.").and_then(|rest| rest.split_once(".1.")).map_or("", |(_, digest)| digest);
    digest.len() == 26 && digest.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The text that a step made of another; borrowed stays borrowed when nothing changed.
pub(crate) fn chain<'t>(text: Cow<'t, str>, step: impl Fn(&str) -> Cow<'_, str>) -> Cow<'t, str> {
    match step(&text) {
        Cow::Owned(changed) => Cow::Owned(changed),
        Cow::Borrowed(_) => text,
    }
}

/// Whether a key names a secret.
pub(crate) fn is_secret_key(key: &str) -> bool {
    let same = |a: &u8, b: &u8| a.to_ascii_lowercase() == *b || (*a == b'-' && *b == b'_');
    let letters = FIRST_LETTERS.get(key.len()).copied().unwrap_or(0);
    key.bytes().next().is_some_and(|first| letters & letter(first) != 0)
        && SECRET_KEYS.iter().any(|name| name.len() == key.len() && key.as_bytes().iter().zip(name.as_bytes()).all(|(a, b)| same(a, b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privacy::Privacy;
    use crate::spots::Spots;

    #[test]
    fn every_pattern_has_its_sign() {
        let samples = [
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0abc.sig",
            "-----BEGIN PRIVATE KEY-----x-----END PRIVATE KEY-----",
            "BEARER abcdefghij",
            "sk_live_abcdefgh1",
            "pk-test-abcdefgh1",
            "rk_proj_abcdefgh1",
            "sk-abcdefghijklmnopqrstuvwx",
            "ghp_abcdefghijklmnopqrstuvwx",
            "ghr_abcdefghijklmnopqrstuvwx",
            "github_pat_abcdefghijklmnopqrstuvwx",
            "glpat-abcdefghijklmnopqr",
            "AKIAABCDEFGHIJKLMNOP",
            "ASIAABCDEFGHIJKLMNOP",
            "xoxb-1234567890ab",
            "AIzaabcdefghijklmnopqrstuvwxyz0123456",
            "password=abc",
            "Passwd=abc",
            "PWD=abc",
            "client_secret=abc",
            "apikey=abc",
            "API_KEY=abc",
            "access_token=abc",
            "refresh_token=abc",
            "https://a.example/x?token=abc",
            "?sig=abc",
            "X-Amz-Signature=abc",
        ];
        let privacy = Privacy::none();
        for sample in samples {
            assert!(JWT.is_match(sample) || SECRET_TEXT.is_match(sample), "{sample}");
            let spots = Spots::of(sample.as_bytes(), &privacy);
            assert!(SIGN.is_match(sample) && spots.hold_signs, "{sample} has no sign");
        }
    }
}
