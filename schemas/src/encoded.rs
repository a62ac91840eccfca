//! Texts behind an encoding: what a text says once URL encoding and Base64 are taken off, to a depth.
//!
//! For finding secrets that a caller wrapped up. Not for reading: what is found there is never mapped. Limits: three
//! layers, Base64 from 22 to 65,536 characters without padding, as a whole text or as one word of it.

use std::ops::Range;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use memchr::memchr;
use percent_encoding::percent_decode_str;

use crate::run::{self, ByteSet, runs};
use crate::spots::Noted;

const MAX_LAYERS: usize = 3;
/// Characters of the shortest Base64, without its padding.
const MIN_BASE64: usize = 22;
const MAX_BASE64: usize = 65_536;
/// Characters that show whether there can be text behind: all that are there are decoded only where it can.
const SAMPLE: usize = 24;
/// Bytes of either alphabet of Base64 (RFC 4648 clauses 4 and 5), padding aside.
static BASE64: ByteSet = ByteSet::new(b"0123456789+/-_", true);

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Whether a text says something of this kind behind at least one layer.
pub(crate) fn hides(text: &str, is_found: &impl Fn(&str) -> bool) -> bool {
    hides_below(text, is_found, MAX_LAYERS)
}

/// Notes where bytes may hold URL encoding: [`hides`] finds nothing in a text that reaches into none of these and has no run.
pub(crate) fn note_spots(bytes: &[u8], noted: &mut Noted) {
    noted.each(b'%', bytes);
}

/// Whether a text is long enough, in one piece, to hold Base64.
pub(crate) fn has_run(text: &str) -> bool {
    run::has_run(text.as_bytes(), MIN_BASE64, &BASE64)
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

/// Runs of the alphabet that end a word, padding aside, and begin it or stand behind a `=` of it (`name=`): those may be Base64.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_word = |run: &Range<usize>| {
        let (before, after) = (&text[..run.start], text[run.end..].trim_start_matches('='));
        run.len() <= MAX_BASE64
            && before.chars().next_back().is_none_or(|c| is_between(c) || c == '=')
            && after.chars().next().is_none_or(is_between)
    };
    runs(text.as_bytes(), MIN_BASE64, &BASE64).filter(is_word).map(|run| &text[run])
}

fn without_base64(word: &str) -> Option<String> {
    let engine = if word.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    let mut sample = [0; SAMPLE];
    let length = engine.decode_slice(&word[..word.len().min(SAMPLE)], &mut sample).ok()?;
    // Cut within a character it would have no length of an error.
    if std::str::from_utf8(&sample[..length]).is_err_and(|error| error.error_len().is_some()) {
        return None;
    }
    String::from_utf8(engine.decode(word).ok()?).ok()
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
            (format!("blob={};next", wrap(plain)), true),
            // More of the word stands behind it.
            (format!("{}.x", wrap(plain)), false),
            (wrap("password=hunter2").trim_end_matches('=').into(), true),
            // Cut within a character of its sample.
            (wrap(&format!("a{}password=hunter2", "\u{e9}".repeat(9))), true),
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
