//! What is kept of a record's bytes: redacted as far as they can be read, capped, with their hash.
//!
//! An event keeps its redacted element. A refused record keeps the bytes as they came, except where a
//! secret is found: as JSON, line by line, or by pattern in whatever part of the bytes is text. UTF-16 is
//! looked through too and becomes UTF-8 when something had to go.
//!
//! Not for: compressed bytes that cannot be unpacked; no pattern is found in them and they are kept whole.

use std::borrow::Cow;

use sha2::Digest;

use crate::columns::Row;
use crate::decode::Record;
use crate::json::{self, Json};
use crate::redact::Redactor;
use crate::reject::{Code, Reject};

/// Most bytes kept of one element.
pub(crate) const MAX_RAW_BYTES: usize = 1 << 20;
/// Most bytes kept of all events of one element together, beyond [`MIN_RAW_BYTES`] each.
const MAX_RAW_OF_ELEMENT: usize = 8 << 20;
/// Room for the text of an element of usual size.
const RAW_GUESS_BYTES: usize = 2 << 10;
/// Bytes that every event keeps of its element.
const MIN_RAW_BYTES: usize = 1 << 10;

/// The bytes of an element that its events keep, and their hash: made once, for it may be that of the whole record.
#[derive(Debug)]
pub(crate) struct Raw<'r> {
    bytes: Cow<'r, [u8]>,
    sha256: Sha256Digest,
}

/// A SHA-256 hash.
pub(crate) type Sha256Digest = [u8; 32];

impl<'r> Raw<'r> {
    /// Bytes whose hash is not known yet.
    pub(crate) fn new(bytes: impl Into<Cow<'r, [u8]>>) -> Self {
        let bytes = bytes.into();
        Self { sha256: sha256(&bytes), bytes }
    }

    /// The whole record, whose hash is known.
    pub(crate) fn of_record(bytes: &'r [u8], sha256: Sha256Digest) -> Self {
        Self { bytes: Cow::Borrowed(bytes), sha256 }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Sets the columns of the raw bytes of a row.
    pub(crate) fn keep(&self, row: &mut Row, limit: usize) {
        let kept = &self.bytes[..self.bytes.len().min(limit)];
        let is_cut = kept.len() < self.bytes.len();
        row.raw_truncated = Some(is_cut);
        row.raw_sha256 = Some(if is_cut { sha256(kept) } else { self.sha256 }.to_vec());
        row.raw_payload = Some(kept.to_vec());
    }
}

/// A record, with what is made once for all of its elements.
#[derive(Debug)]
pub(crate) struct Whole<'r> {
    pub(crate) record: &'r Record<'r>,
    pub(crate) payload: &'r [u8],
    pub(crate) sha256: Sha256Digest,
    pub(crate) redactor: Redactor<'r>,
}

impl Whole<'_> {
    /// What is kept of an element: its text, where it has one that nothing was taken out of, else as it prints.
    pub(crate) fn raw<'t>(&self, text: Option<&'t [u8]>, json: &Json<'_>) -> Raw<'t> {
        match text {
            Some(text) if std::ptr::eq(text, self.payload) => Raw::of_record(text, self.sha256),
            Some(text) => Raw::new(text),
            None => Raw::new(json.compact_sized(RAW_GUESS_BYTES).into_bytes()),
        }
    }
}

/// The SHA-256 hash of bytes.
pub(crate) fn sha256(bytes: &[u8]) -> Sha256Digest {
    sha2::Sha256::digest(bytes).into()
}

/// The SHA-256 hash of bytes that nobody looked at since they came: they are read through first (to a NUL, which JSON
/// has none of), several lines of the cache at a time, for the hash would wait for each of them (2 KiB: 1.7 and not 2.8 µs).
pub(crate) fn sha256_of_new(bytes: &[u8]) -> Sha256Digest {
    std::hint::black_box(memchr::memchr(0, bytes));
    sha256(bytes)
}

/// How much each event of one element keeps: all of it, until many events of a large one would repeat it too often.
#[derive(Debug)]
pub(crate) struct Allowance {
    left: usize,
}

impl Allowance {
    pub(crate) fn new() -> Self {
        Self { left: MAX_RAW_OF_ELEMENT }
    }

    /// The limit of the next event over an element of this size.
    pub(crate) fn next(&mut self, size: usize) -> usize {
        let limit = if size.min(MAX_RAW_BYTES) <= self.left { MAX_RAW_BYTES } else { MIN_RAW_BYTES };
        self.left = self.left.saturating_sub(size.min(limit));
        limit
    }
}

/// Bytes of a refused record without the secrets and the personal data that can be found in them.
pub(crate) fn refused<'b>(redactor: &Redactor<'_>, bytes: &'b [u8]) -> Cow<'b, [u8]> {
    if let Some(text) = utf16(bytes) {
        return match redacted(redactor, &text) {
            Some(clean) => Cow::Owned(clean.into_bytes()),
            None => Cow::Borrowed(bytes),
        };
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return redacted(redactor, text).map_or(Cow::Borrowed(bytes), |clean| Cow::Owned(clean.into_bytes()));
    }
    let mut out = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        match redacted(redactor, chunk.valid()) {
            Some(clean) => out.extend_from_slice(clean.as_bytes()),
            None => out.extend_from_slice(chunk.valid().as_bytes()),
        }
        out.extend_from_slice(chunk.invalid());
    }
    Cow::Owned(out)
}

/// Text of UTF-16, told by its mark, or by the zero bytes that JSON in UTF-16 has and UTF-8 never.
pub(crate) fn utf16(bytes: &[u8]) -> Option<String> {
    let (big, rest) = match bytes {
        [0xff, 0xfe, rest @ ..] => (false, rest),
        [0xfe, 0xff, rest @ ..] => (true, rest),
        [a, 0, b, 0, ..] if *a != 0 && *b != 0 => (false, bytes),
        [0, a, 0, b, ..] if *a != 0 && *b != 0 => (true, bytes),
        _ => return None,
    };
    let unit = |pair: &[u8; 2]| if big { u16::from_be_bytes(*pair) } else { u16::from_le_bytes(*pair) };
    let units: Vec<u16> = rest.as_chunks::<2>().0.iter().map(unit).collect();
    Some(String::from_utf16_lossy(&units))
}

/// The error of bytes that are no JSON, with what they look like instead.
pub(crate) fn explained(error: json::JsonError, bytes: &[u8]) -> Reject {
    let mut reject = Reject::from(error);
    if reject.code == Code::NotJson {
        if utf16(bytes).is_some() {
            reject.reason.push_str("; the bytes look like UTF-16, and JSON is sent as UTF-8");
        } else if let Some(charset) = latin1(bytes) {
            reject.reason.push_str(charset);
        }
    }
    reject
}

/// Text with a few bytes of another encoding in it.
fn latin1(bytes: &[u8]) -> Option<&'static str> {
    let starts = matches!(bytes.first(), Some(b'{' | b'[' | b' ' | b'\n' | b'"'));
    (starts && std::str::from_utf8(bytes).is_err())
        .then_some("; the text is of another encoding, such as Latin-1, or damaged, and JSON is sent as UTF-8")
}

/// The clean text, when anything had to go.
fn redacted(redactor: &Redactor<'_>, text: &str) -> Option<String> {
    if let Ok(mut json) = json::parse(text.as_bytes()) {
        return (!redactor.element(&mut json).paths.is_empty()).then(|| json.compact());
    }
    let by_line: String = text.split_inclusive('\n').map(|line| redacted_line(redactor, line)).collect();
    let clean = redactor.loose_text(&by_line);
    (clean != text).then(|| clean.into_owned())
}

fn redacted_line<'t>(redactor: &Redactor<'_>, line: &'t str) -> Cow<'t, str> {
    if line.trim_start().starts_with(['{', '['])
        && let Ok(mut json) = json::parse(line.as_bytes())
        && !redactor.element(&mut json).paths.is_empty()
    {
        return Cow::Owned(json.compact() + if line.ends_with('\n') { "\n" } else { "" });
    }
    Cow::Borrowed(line)
}
