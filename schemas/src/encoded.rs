//! Texts behind an encoding: what a text says once URL encoding and Base64 are taken off, to a depth.
//!
//! For finding secrets that a caller wrapped up. Not for reading: what is found there is never mapped. Limits: three
//! layers, Base64 from 24 to 65,536 characters, as a whole text or as one word of it.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use memchr::memchr;
use percent_encoding::percent_decode_str;

use crate::run::holds_run;

const MAX_LAYERS: usize = 3;
const MIN_BASE64: usize = 24;
const MAX_BASE64: usize = 65_536;
/// Characters of the shortest Base64 without its padding.
const MIN_RUN: usize = MIN_BASE64 - 2;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Whether a text says something of this kind behind at least one layer.
pub(crate) fn hides(text: &str, is_found: &impl Fn(&str) -> bool) -> bool {
    hides_below(text, is_found, MAX_LAYERS)
}

/// A text with what `instead` says in the place of its words; `None` when nothing changes.
pub(crate) fn words_replaced(text: &str, instead: &impl Fn(&str) -> Option<String>) -> Option<String> {
    if memchr(b'%', text.as_bytes()).is_none() && words(text).next().is_none() {
        return None;
    }
    let (mut out, mut is_changed) = (String::with_capacity(text.len()), false);
    for piece in text.split_inclusive(is_between) {
        let (word, end) = piece.split_at(piece.trim_end_matches(is_between).len());
        let other = instead(word);
        is_changed |= other.is_some();
        out.push_str(other.as_deref().unwrap_or(word));
        out.push_str(end);
    }
    is_changed.then_some(out)
}

fn hides_below(text: &str, is_found: &impl Fn(&str) -> bool, layers: usize) -> bool {
    if layers == 0 {
        return false;
    }
    let says = |plain: String| is_found(&plain) || hides_below(&plain, is_found, layers - 1);
    without_percent(text).is_some_and(says) || words(text).filter_map(without_base64).any(says)
}

fn without_percent(text: &str) -> Option<String> {
    memchr(b'%', text.as_bytes())?;
    let plain = percent_decode_str(text).decode_utf8_lossy().into_owned();
    (plain != text).then_some(plain)
}

/// Whether a character ends a word.
fn is_between(c: char) -> bool {
    c.is_whitespace() || matches!(c, ',' | ';' | ':' | '"' | '\'' | '&')
}

/// Words that may be Base64. A text without a run of its characters has none.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = holds_run(text.as_bytes(), MIN_RUN, is_base64).then(|| text.split(is_between));
    words.into_iter().flatten().filter(|word| (MIN_BASE64..=MAX_BASE64).contains(&word.len()))
}

/// Whether a byte is of either alphabet of Base64 (RFC 4648 clauses 4 and 5), padding aside.
fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

fn without_base64(word: &str) -> Option<String> {
    // After `name=`; padding is at the end only.
    let word = word.trim_end_matches('=').rsplit('=').next().filter(|rest| rest.len() >= MIN_RUN)?;
    if !word.bytes().all(is_base64) {
        return None;
    }
    let bytes = STANDARD.decode(word).or_else(|_| URL_SAFE.decode(word)).ok()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_behind_up_to_three_layers_is_found() {
        let is_found = |text: &str| text.contains("password=hunter2");
        let wrap = |text: &str| STANDARD.encode(text);
        let percent = |text: &str| text.bytes().fold(String::new(), |all, b| all + &format!("%{b:02X}"));
        let plain = "user=ann&password=hunter2";
        let cases = [
            (percent(plain), true),
            ("user=ann&password%3Dhunter2".into(), true),
            (wrap(plain), true),
            (URL_SAFE.encode(format!("{plain}\u{3ff}\u{3ff}")), true),
            (format!("basic {}", wrap(plain)), true),
            (format!("blob={}", wrap(plain)), true),
            (wrap(&wrap(plain)), true),
            (percent(&wrap(&percent(plain))), true),
            (wrap(&wrap(&wrap(&wrap(plain)))), false),
            ("100 % of it, and nothing else in here".into(), false),
            ("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into(), false),
        ];
        for (text, expected) in cases {
            assert_eq!(hides(&text, &is_found), expected, "{text}");
        }
    }
}
