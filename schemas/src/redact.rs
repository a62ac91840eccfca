//! Takes secrets and personal data out of a record before anything is stored or mapped from it.
//!
//! Works on the parsed element, so whatever an adapter maps from it is already clean: values of keys that name a secret or,
//! by the policy, something personal; strings that contain one (`secrets`, `personal`), also inside JSON that stands in a
//! string, and behind Base64 and URL encoding, to depth 3. What is taken out leaves a keyed token of its class, so
//! equal values stay equal without being known.
//!
//! Not for: names of people in free text; they have no form, and this does not try.

use std::borrow::Cow;
use std::cell::Cell;

use memchr::memmem;

use crate::encoded;
use crate::json::{self, Json};
use crate::keys::Keys;
use crate::personal;
use crate::privacy::{Kind, PERSONAL, Privacy};
use crate::secrets::{self, chain, is_secret_key, is_token};
use crate::spots::{Spots, Suspicion};
use crate::way::Way;

/// Class of the tokens of secrets.
const SECRET: &str = "secret";

/// Most depth of JSON inside strings.
const MAX_INNER: usize = 3;
/// Shortest text that a pattern can match.
const MIN_SECRET: usize = 7;

/// Most members of an object that is a name with its value.
const MAX_PAIR_MEMBERS: usize = 6;

/// Longest path that is noted, bytes.
const MAX_PATH: usize = 256;

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
    privacy: &'k Privacy,
    /// Those of the record that all texts are of.
    spots: Option<Spots<'k>>,
    /// False when no text can hold a sign of a secret.
    may_hold_signs: bool,
}

impl<'k> Redactor<'k> {
    /// A redactor whose tokens are of this tenant.
    pub fn new(keys: &'k Keys, tenant: &'k str, privacy: &'k Privacy) -> Self {
        Self { keys, tenant, privacy, spots: None, may_hold_signs: true }
    }

    /// The redactor of the texts of one record: its bytes are looked through once for signs, not each of its many short texts.
    pub fn of_record(self, bytes: &'k [u8]) -> Self {
        let spots = Spots::of(bytes, self.privacy);
        // An escape can spell any letter, also one inside JSON that stands in a string; without one a text is what it says.
        let is_spelled = memmem::find(bytes, b"\\u").is_some();
        Self { may_hold_signs: is_spelled || spots.hold_signs, spots: Some(spots), ..self }
    }

    /// Redacts in place and says which paths changed.
    pub fn element(&self, value: &mut Json<'_>) -> Redactions {
        let mut done = Redactions::default();
        self.walk(value, &Way::Top, 0, &mut done);
        done
    }

    /// Takes out what is personal by its path, and says where.
    pub(crate) fn at_paths(&self, value: &mut Json<'_>) -> Vec<String> {
        let mut done = Redactions::default();
        self.privacy.each_at_paths(value, &mut |value, way| {
            if self.take_out_as(PERSONAL, value) {
                note(way, &mut done);
            }
        });
        done.paths
    }

    /// Redacts free text.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        chain(self.without_secrets(text, self.may_hold_signs), |t| self.without_personal(t))
    }

    /// Redacts text of any form, also the words of it that are encoded: rejections that are no JSON, and reasons that quote input.
    pub(crate) fn loose_text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let instead = |word: &str| self.hidden_class(word, &|| false).map(|class| self.token(class, word));
        chain(self.text(text), |t| encoded::words_replaced(t, &instead).map_or(Cow::Borrowed(t), Cow::Owned))
    }

    /// Redacts the value of a header or another named text.
    pub fn named(&self, name: &str, value: &str) -> String {
        match self.class_of(name) {
            Some(_) if value.is_empty() || is_token(value) => value.to_owned(),
            Some(class) => self.token(class, value),
            None => {
                let way = Way::Key(&Way::Top, name);
                self.clean_text(value, &way, 0, &mut Redactions::default()).unwrap_or_else(|| value.to_owned())
            }
        }
    }

    fn without_secrets<'t>(&self, text: &'t str, may_hold_signs: bool) -> Cow<'t, str> {
        let take = |value: &str| self.token(SECRET, value);
        let text = secrets::replaced(text, may_hold_signs, &take);
        if text.contains('"') { secrets::replaced_keyed(text, &secrets::KEYED, &take) } else { text }
    }

    fn without_personal<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let text = match self.privacy.keyed().filter(|_| text.contains('"')) {
            Some(keyed) => secrets::replaced_keyed(Cow::Borrowed(text), keyed, &|value| self.token(PERSONAL, value)),
            None => Cow::Borrowed(text),
        };
        chain(text, |t| personal::replaced(self.privacy.kinds(), t, &|kind: Kind, value| self.token(kind.name(), value)))
    }

    fn token(&self, class: &str, value: &str) -> String {
        self.keys.token(self.tenant, class, value)
    }

    /// The class of what a text hides behind an encoding, whatever the bytes of the record show.
    fn hidden_class(&self, text: &str, is_kept: &impl Fn() -> bool) -> Option<&'static str> {
        let class = Cell::new(None);
        let is_found = |plain: &str| {
            let is_secret = owned(self.without_secrets(plain, true)).is_some();
            let is_personal = || owned(self.without_personal(plain)).is_some() && !is_kept();
            class.set(if is_secret { Some(SECRET) } else { is_personal().then_some(PERSONAL) });
            class.get().is_some()
        };
        encoded::hides(text, &is_found);
        class.get()
    }

    /// What could be in a text, JSON that stands in it aside.
    fn suspicion(&self, text: &str) -> Suspicion {
        self.spots.as_ref().map_or(Suspicion::ALL, |spots| spots.suspicion(text))
    }

    /// What a key says of its value.
    fn class_of(&self, key: &str) -> Option<&'static str> {
        if is_secret_key(key) {
            return Some(SECRET);
        }
        self.privacy.is_personal(key).then_some(PERSONAL)
    }

    fn walk(&self, value: &mut Json<'_>, way: &Way<'_>, inner: usize, done: &mut Redactions) {
        match value {
            Json::Object(members) => {
                self.pair(members, way, done);
                for (key, member) in members {
                    // A caller can put a secret into the name of an argument too; no pattern is shorter.
                    let is_suspect = key.len() >= MIN_SECRET && self.spots.as_ref().is_none_or(|spots| spots.is_key_suspected(key));
                    let clean = if is_suspect { owned(self.text(key)) } else { None };
                    let is_clean = clean.is_none();
                    if let Some(clean) = clean {
                        *key = Cow::Owned(clean);
                    }
                    let way = &Way::Key(way, key);
                    if !is_clean {
                        note(way, done);
                    }
                    match self.class_of(key).filter(|class| self.is_taken(class, member, way)) {
                        Some(class) if self.take_out_as(class, member) => note(way, done),
                        Some(_) => {}
                        None => self.walk(member, way, inner, done),
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
            // A card can be a number too.
            Json::Number(digits) => {
                if self.suspicion(digits).is_personal
                    && let Some(token) = owned(self.without_personal(digits)).filter(|_| !self.privacy.keeps(way))
                {
                    note(way, done);
                    *value = Json::Text(Cow::Owned(token));
                }
            }
            _ => {}
        }
    }

    /// Whether the whole value of a key goes. That there is a secret is none; what is personal may be so in one bit.
    fn is_taken(&self, class: &str, value: &Json<'_>, way: &Way<'_>) -> bool {
        match value {
            Json::Null => false,
            Json::Bool(_) if class == SECRET => false,
            _ => class == SECRET || !self.privacy.keeps(way),
        }
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
                && let Some(class) = self.class_of(name)
                && self.is_taken(class, value, way)
                && self.take_out_as(class, value)
            {
                note(way, done);
            }
        }
    }

    /// A header or parameter as a pair: `{"name": "cookie", "value": ...}`.
    fn pair(&self, members: &mut [(Cow<'_, str>, Json<'_>)], way: &Way<'_>, done: &mut Redactions) {
        if members.len() > MAX_PAIR_MEMBERS {
            return;
        }
        let class = members.iter().find_map(|(key, value)| {
            let is_name = matches!(key.as_ref(), "name" | "key" | "header" | "Name" | "Key");
            if is_name { value.text().and_then(|name| self.class_of(name)) } else { None }
        });
        let Some(class) = class else { return };
        for (key, value) in members.iter_mut().filter(|(key, _)| matches!(key.as_ref(), "value" | "values" | "Value")) {
            let way = &Way::Key(way, key);
            if (class == SECRET || self.is_taken(class, value, way)) && self.take_out_as(class, value) {
                note(way, done);
            }
        }
    }

    /// Puts a token in the place of a secret; false when there is nothing to take out.
    pub(crate) fn take_out(&self, value: &mut Json<'_>) -> bool {
        self.take_out_as(SECRET, value)
    }

    fn take_out_as(&self, class: &str, value: &mut Json<'_>) -> bool {
        let clear = value.scalar().unwrap_or_else(|| value.canonical());
        if clear.is_empty() || matches!(clear.as_str(), "null" | "\"\"") || is_token(&clear) {
            return false;
        }
        *value = Json::Text(Cow::Owned(self.token(class, &clear)));
        true
    }

    /// The clean text, when anything had to go.
    fn clean_text(&self, text: &str, way: &Way<'_>, inner: usize, done: &mut Redactions) -> Option<String> {
        let suspicion = self.suspicion(text);
        if suspicion.is_none() && !may_be_nested(text) {
            return None;
        }
        if inner < MAX_INNER
            && text.trim_start().starts_with(['{', '['])
            && let Ok(mut nested) = json::parse(text.as_bytes())
        {
            let before = done.count;
            self.walk(&mut nested, way, inner + 1, done);
            return (done.count > before).then(|| nested.compact());
        }
        let is_kept = || self.privacy.keeps(way);
        if suspicion.is_encoded
            && let Some(class) = self.hidden_class(text, &is_kept)
        {
            note(way, done);
            return Some(self.token(class, text));
        }
        let mut clean = Cow::Borrowed(text);
        if suspicion.is_secret {
            clean = self.without_secrets(text, self.may_hold_signs);
        }
        if suspicion.is_personal {
            clean = chain(clean, |t| match self.without_personal(t) {
                Cow::Owned(_) if is_kept() => Cow::Borrowed(t),
                found => found,
            });
        }
        let clean = owned(clean)?;
        note(way, done);
        Some(clean)
    }
}

/// Whether JSON may stand in a text, by its first byte: white space can be of many bytes.
fn may_be_nested(text: &str) -> bool {
    text.bytes().next().is_some_and(|first| matches!(first, b'{' | b'[') || !first.is_ascii_graphic())
}

fn owned(text: Cow<'_, str>) -> Option<String> {
    if let Cow::Owned(changed) = text { Some(changed) } else { None }
}

fn note(way: &Way<'_>, done: &mut Redactions) {
    done.count += 1;
    if done.paths.len() < 64 {
        let path = way.written();
        done.paths.push(path[..path.floor_char_boundary(MAX_PATH)].to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(text: &str) -> (String, Vec<String>) {
        let keys = Keys::from_master(&[7; 32]);
        let mut value = json::parse(text.as_bytes()).unwrap();
        let done = Redactor::new(&keys, "default", &Privacy::default()).element(&mut value);
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
    fn a_sign_that_is_spelled_by_escapes_is_found() {
        let keys = Keys::from_master(&[7; 32]);
        for text in [r#"{"a":"p\u0061ssword=hunter2"}"#, r#"{"a":"{\"b\":\"p\\u0061ssword=hunter2\"}"}"#] {
            let mut value = json::parse(text.as_bytes()).unwrap();
            Redactor::new(&keys, "default", &Privacy::default()).of_record(text.as_bytes()).element(&mut value);
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

    fn by_policy(policy: &Privacy, text: &str) -> (String, Vec<String>) {
        let keys = Keys::from_master(&[7; 32]);
        let mut value = json::parse(text.as_bytes()).unwrap();
        let done = Redactor::new(&keys, "default", policy).of_record(text.as_bytes()).element(&mut value);
        (value.compact(), done.paths)
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_card_goes_wherever_it_stands_and_has_one_token() {
        // The Base64 and the URL encoding say `card 4111 1111 1111 1111`; then whole texts go.
        let (clean, paths) = by_policy(
            &Privacy::default(),
            r#"{"a":"4111111111111111","b":"pay 4111 1111 1111 1111 now","c":4111111111111111,"d":"{\"x\":\"4111-1111-1111-1111\"}",
                "e":"Y2FyZCA0MTExIDExMTEgMTExMSAxMTEx","f":"card%204111%201111%201111%201111","4111111111111111":1,"iban":"DE89370400440532013000"}"#,
        );
        assert!(!clean.contains("1111") && !clean.contains("Y2Fy") && clean.contains("DE89370400440532013000"), "{clean}");
        let token = &clean[clean.find("tok1.card.1.").unwrap()..][..38];
        assert_eq!((clean.matches(token).count(), clean.matches("tok1.personal.1.").count()), (5, 2), "{clean}");
        assert_eq!(paths[..6], ["/a", "/b", "/c", "/d/x", "/e", "/f"]);
    }

    #[test]
    fn a_personal_name_takes_its_whole_value_and_a_kept_path_stays() {
        let policy = Privacy::none().with_kinds(&texts(&["mail"])).unwrap().with_names(&texts(&["patient", "is-ill"])).unwrap();
        let policy = policy.keeping(&texts(&["actor.", "to.*.mail"])).unwrap();
        let (clean, paths) = by_policy(
            &policy,
            r#"{"actor":{"mail":"a@kept.example","patient":"kept-1"},"by":"b@gone.example","to":[{"mail":"c@kept.example"}],
                "Patient":{"name":"gone-1"},"is_ill":true,"q":[["patient","gone-2"]],"p":{"name":"patient","value":"gone-3"},
                "x":"{\"patient\":\"gone-4\", oops","y":null}"#,
        );
        assert!(!clean.contains("gone") && !clean.contains("true") && clean.matches("kept").count() == 3, "{clean}");
        assert_eq!(paths, ["/by", "/Patient", "/is_ill", "/q", "/p/value", "/x"]);
    }

    #[test]
    fn no_policy_takes_out_nothing_personal() {
        let text = r#"{"a":"4111111111111111","b":"519-84-1234"}"#;
        assert_eq!(by_policy(&Privacy::none(), text), (text.into(), vec![]));
    }
}
