//! Takes secrets out of a record before anything is stored or mapped from it.
//!
//! Works on the parsed element, so whatever an adapter maps from it is already clean: values of
//! keys that name a secret, and strings that contain one (tokens by prefix, JWT, PEM, credentials in
//! URLs, bearer headers), also inside JSON that stands in a string, and behind Base64 and URL encoding, to depth 3. What is taken out
//! leaves a keyed token, so equal secrets stay equal without being known.
//!
//! Not for: personal data in free text; names cannot be found by pattern, and this does not try.

use std::borrow::Cow;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, packed};
use memchr::{memchr2, memmem};
use regex::Regex;

use crate::encoded;
use crate::json::{self, Json};
use crate::keys::Keys;
use crate::way::Way;

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

/// Secret keys by their length: few of them have that of any one key.
static SECRET_KEYS_BY_LENGTH: LazyLock<Vec<Vec<&'static [u8]>>> = LazyLock::new(|| {
    let longest = SECRET_KEYS.iter().map(|key| key.len()).max().unwrap_or(0);
    (0..=longest).map(|length| SECRET_KEYS.iter().filter(|key| key.len() == length).map(|key| key.as_bytes()).collect()).collect()
});

/// Most depth of JSON inside strings.
const MAX_INNER: usize = 3;
/// Shortest text that a pattern can match.
const MIN_SECRET: usize = 7;

/// Most members of an object that is a name with its value.
const MAX_PAIR_MEMBERS: usize = 6;

/// Longest path that is noted, bytes.
const MAX_PATH: usize = 256;

/// On its own: beside the other patterns a long text without a dot would be scanned again for each of their finds.
static JWT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.?[A-Za-z0-9_-]*").expect("the JWT pattern is valid"));

/// A secret key with its value in text that is no JSON, such as a record that was cut.
static KEYED: LazyLock<Regex> = LazyLock::new(|| {
    let keys: Vec<String> = SECRET_KEYS.iter().map(|key| regex::escape(key).replace('_', "[_-]")).collect();
    let pattern = format!(r#"(?is)("(?:{})"\s*:\s*)(?:"((?:[^"\\]|\\.)*)(?:"|\\?$)|(-?[0-9][0-9.eE+-]*))"#, keys.join("|"));
    Regex::new(&pattern).expect("the pattern of secret keys is valid")
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

fn holds_sign(bytes: &[u8]) -> bool {
    match &*FOLDED_SIGN {
        Some(searcher) => searcher.find(bytes.to_ascii_lowercase()).is_some(),
        None => SIGN.is_match(bytes),
    }
}

/// What a redaction did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Redactions {
    /// Paths whose values were taken out, in order, at most 64.
    pub paths: Vec<String>,
    /// How many values were taken out.
    pub count: usize,
}

/// Redacts an element for one tenant.
#[derive(Debug)]
pub struct Redactor<'k> {
    keys: &'k Keys,
    tenant: &'k str,
    /// False when no text can hold one of [`SIGNS`].
    may_hold_signs: bool,
}

impl<'k> Redactor<'k> {
    /// A redactor whose tokens are of this tenant.
    pub fn new(keys: &'k Keys, tenant: &'k str) -> Self {
        Self { keys, tenant, may_hold_signs: true }
    }

    /// A redactor of the texts of one record: signs are looked for once in its bytes, not in each of its many short texts.
    pub fn of_record(keys: &'k Keys, tenant: &'k str, bytes: &[u8]) -> Self {
        // An escape can spell any letter, also one inside JSON that stands in a string; without one a text is what it says.
        let is_spelled = || memmem::find(bytes, b"\\u").is_some();
        Self { keys, tenant, may_hold_signs: is_spelled() || holds_sign(bytes) }
    }

    /// Redacts in place and says which paths changed.
    pub fn element(&self, value: &mut Json<'_>) -> Redactions {
        let mut done = Redactions::default();
        self.walk(value, &Way::Top, 0, &mut done);
        done
    }

    /// Redacts free text, for rejections that are no JSON and for reasons that quote input.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let token = |found: &regex::Captures<'_>| self.keys.token(self.tenant, "secret", &found[0]);
        let mut text = Cow::Borrowed(text);
        if self.may_hold_signs && SIGN.is_match(&*text) {
            text = chain(text, |t| JWT.replace_all(t, token));
            text = chain(text, |t| SECRET_TEXT.replace_all(t, token));
        }
        if text.contains('@') && text.contains("://") {
            text = chain(text, |t| URL_SECRET.replace_all(t, token));
        }
        if !text.contains('"') {
            return text;
        }
        chain(text, |t| KEYED.replace_all(t, |found: &regex::Captures<'_>| self.keyed(found)))
    }

    /// Redacts the value of a header or another named text.
    pub fn named(&self, name: &str, value: &str) -> String {
        if is_secret_key(name) && !is_token(value) && !value.is_empty() {
            return self.keys.token(self.tenant, "secret", value);
        }
        self.text(value).into_owned()
    }

    fn keyed(&self, found: &regex::Captures<'_>) -> String {
        let value = found.get(2).or(found.get(3)).map_or("", |m| m.as_str());
        if value.is_empty() || is_token(value) {
            return found[0].to_owned();
        }
        format!("{}\"{}\"", &found[1], self.keys.token(self.tenant, "secret", value))
    }

    fn walk(&self, value: &mut Json<'_>, way: &Way<'_>, inner: usize, done: &mut Redactions) {
        match value {
            Json::Object(members) => {
                self.pair(members, way, done);
                for (key, member) in members {
                    // A caller can put a secret into the name of an argument too; no pattern is shorter.
                    let clean = if key.len() < MIN_SECRET || self.is_plain(key) { None } else { owned(self.text(key)) };
                    let is_clean = clean.is_none();
                    if let Some(clean) = clean {
                        *key = Cow::Owned(clean);
                    }
                    let way = &Way::Key(way, key);
                    if !is_clean {
                        note(way, done);
                    }
                    if is_secret_key(key) && !matches!(member, Json::Null | Json::Bool(_)) {
                        if self.take_out(member) {
                            note(way, done);
                        }
                    } else {
                        self.walk(member, way, inner, done);
                    }
                }
            }
            Json::Array(items) => {
                self.pairs(items, way, done);
                items.iter_mut().enumerate().for_each(|(i, item)| self.walk(item, &Way::Index(way, i), inner, done));
            }
            Json::Text(text) => {
                if let Some(clean) = self.clean_text(text, way, inner, done) {
                    *text = Cow::Owned(clean);
                }
            }
            _ => {}
        }
    }

    /// Whether a text holds nothing that any pattern needs, by one look at it.
    fn is_plain(&self, text: &str) -> bool {
        !self.may_hold_signs && memchr2(b'@', b'"', text.as_bytes()).is_none()
    }

    /// Headers or parameters as a list of pairs: `[["cookie", "..."], ...]`. A list of two texts alone is no pair.
    fn pairs(&self, items: &mut [Json<'_>], way: &Way<'_>, done: &mut Redactions) {
        let is_pair = |item: &Json<'_>| matches!(item, Json::Array(pair) if matches!(pair.as_slice(), [Json::Text(_), _]));
        if !items.iter().all(is_pair) {
            return;
        }
        for item in items {
            if let Json::Array(pair) = item
                && let [Json::Text(name), value] = pair.as_mut_slice()
                && is_secret_key(name)
                && !matches!(value, Json::Bool(_))
                && self.take_out(value)
            {
                note(way, done);
            }
        }
    }

    /// A header or parameter as a pair: `{"name": "cookie", "value": ...}`.
    fn pair(&self, members: &mut [(Cow<'_, str>, Json<'_>)], way: &Way<'_>, done: &mut Redactions) {
        let is_name = |(key, value): &(Cow<'_, str>, Json<'_>)| {
            let names = ["name", "key", "header", "Name", "Key"].contains(&key.as_ref());
            names && value.text().is_some_and(is_secret_key)
        };
        if members.len() > MAX_PAIR_MEMBERS || !members.iter().any(is_name) {
            return;
        }
        for (key, value) in members.iter_mut().filter(|(key, _)| ["value", "values", "Value"].contains(&key.as_ref())) {
            if self.take_out(value) {
                note(&Way::Key(way, key), done);
            }
        }
    }

    /// Puts a token in the place of a value; false when there is nothing to take out.
    pub(crate) fn take_out(&self, value: &mut Json<'_>) -> bool {
        let clear = value.scalar().unwrap_or_else(|| value.compact());
        if clear.is_empty() || clear == "null" || is_token(&clear) {
            return false;
        }
        *value = Json::Text(Cow::Owned(self.keys.token(self.tenant, "secret", &clear)));
        true
    }

    /// The clean text, when anything had to go.
    fn clean_text(&self, text: &str, way: &Way<'_>, inner: usize, done: &mut Redactions) -> Option<String> {
        if inner < MAX_INNER
            && text.trim_start().starts_with(['{', '['])
            && let Ok(mut nested) = json::parse(text.as_bytes())
        {
            let before = done.count;
            self.walk(&mut nested, way, inner + 1, done);
            return (done.count > before).then(|| nested.compact());
        }
        // What was wrapped up is looked at as any text, whatever the bytes of the record show.
        let unwrapped = Redactor::new(self.keys, self.tenant);
        if encoded::hides(text, &|plain| owned(unwrapped.text(plain)).is_some()) {
            note(way, done);
            return Some(self.keys.token(self.tenant, "secret", text));
        }
        if self.is_plain(text) {
            return None;
        }
        let clean = owned(self.text(text))?;
        note(way, done);
        Some(clean)
    }
}

/// The text that a step made of another; borrowed stays borrowed when nothing changed.
fn chain<'t>(text: Cow<'t, str>, step: impl Fn(&str) -> Cow<'_, str>) -> Cow<'t, str> {
    match owned(step(&text)) {
        Some(changed) => Cow::Owned(changed),
        None => text,
    }
}

fn owned(text: Cow<'_, str>) -> Option<String> {
    if let Cow::Owned(changed) = text { Some(changed) } else { None }
}

/// Whether a value is a token of ours: by its whole form, for a secret can begin with `tok1.` too.
fn is_token(value: &str) -> bool {
    let digest = value.strip_prefix("tok1.").and_then(|rest| rest.split_once(".1.")).map_or("", |(_, digest)| digest);
    digest.len() == 26 && digest.bytes().all(|b| b.is_ascii_hexdigit())
}

fn note(way: &Way<'_>, done: &mut Redactions) {
    done.count += 1;
    if done.paths.len() < 64 {
        let path = way.written('/');
        done.paths.push(path[..path.floor_char_boundary(MAX_PATH)].to_owned());
    }
}

fn is_secret_key(key: &str) -> bool {
    let same = |a: &u8, b: &u8| a.to_ascii_lowercase() == *b || (*a == b'-' && *b == b'_');
    let names = SECRET_KEYS_BY_LENGTH.get(key.len());
    names.is_some_and(|names| names.iter().any(|name| key.as_bytes().iter().zip(*name).all(|(a, b)| same(a, b))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(text: &str) -> (String, Vec<String>) {
        let keys = Keys::from_master(&[7; 32]);
        let mut value = json::parse(text.as_bytes()).unwrap();
        let done = Redactor::new(&keys, "default").element(&mut value);
        (value.compact(), done.paths)
    }

    #[test]
    fn a_secret_behind_an_encoding_takes_the_whole_text_with_it() {
        // user=ann&password=hunter2-canary, in Base64 and URL encoding.
        for hidden in ["dXNlcj1hbm4mcGFzc3dvcmQ9aHVudGVyMi1jYW5hcnk=", "user%3Dann%26password%3Dhunter2-canary"] {
            let (text, paths) = redacted(&format!(r#"{{"note":"{hidden}","plain":"dGhpcyBpcyBhIGhhcm1sZXNzIHNlbnRlbmNl"}}"#));
            assert!(!text.contains(hidden) && text.contains("dGhpcyBpcyBhIGhhcm1sZXNzIHNlbnRlbmNl"), "{text}");
            assert_eq!(paths, ["/note"]);
        }
    }

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
        for sample in samples {
            assert!(JWT.is_match(sample) || SECRET_TEXT.is_match(sample), "{sample}");
            assert!(SIGN.is_match(sample) && holds_sign(sample.as_bytes()), "{sample} has no sign");
        }
    }

    #[test]
    fn a_sign_that_is_spelled_by_escapes_is_found() {
        let keys = Keys::from_master(&[7; 32]);
        for text in [r#"{"a":"p\u0061ssword=hunter2"}"#, r#"{"a":"{\"b\":\"p\\u0061ssword=hunter2\"}"}"#] {
            let mut value = json::parse(text.as_bytes()).unwrap();
            Redactor::of_record(&keys, "default", text.as_bytes()).element(&mut value);
            assert!(!value.compact().contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn secrets_go_by_key_by_pattern_and_inside_json_strings() {
        let (clean, paths) = redacted(
            r#"{"user":"bob","Password":"hunter2!","h":"Bearer abcdefghijkl","x":"{\"api-key\":\"k-123456\"}","u":"postgres://app:s3cr3t@db/x"}"#,
        );
        for secret in ["hunter2!", "abcdefghijkl", "k-123456", "s3cr3t"] {
            assert!(!clean.contains(secret), "{secret} is in {clean}");
        }
        assert!(clean.contains("bob"));
        assert_eq!(paths, ["/Password", "/h", "/x/api-key", "/u"]);
    }

    #[test]
    fn secrets_in_pairs_of_name_and_value_go() {
        let (clean, _) = redacted(
            r#"{"headers":[["cookie","planted-1"],["Authorization","Basic planted-2"],["accept","kept-1"]],
                "amr":["pwd","kept-3"],
                "h":[{"name":"X-Api-Key","value":"planted-3"},{"key":"set-cookie","values":["planted-4"]},{"name":"accept","value":"kept-2"}]}"#,
        );
        assert!(!clean.contains("planted") && ["kept-1", "kept-2", "kept-3"].iter().all(|kept| clean.contains(kept)), "{clean}");
    }

    #[test]
    fn equal_secrets_keep_equal_tokens_and_ids_of_tokens_stay() {
        let (a, _) = redacted(r#"{"token":"abcdef"}"#);
        let (b, _) = redacted(r#"{"token":"abcdef"}"#);
        assert_eq!(a, b);
        let (kept, paths) = redacted(r#"{"token_id":"onrtac:1","refresh_token_id":"x"}"#);
        assert!(kept.contains("onrtac:1") && paths.is_empty());
    }

    #[test]
    fn every_environment_variable_of_opa_goes_at_once() {
        let (clean, _) = redacted(r#"{"nd_builtin_cache":{"opa.runtime":{"[]":{"env":{"DB":"x"}}}}}"#);
        assert!(!clean.contains("env"), "{clean}");
    }
}
