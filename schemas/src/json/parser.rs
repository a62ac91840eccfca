//! The recursive descent of the JSON reader (RFC 8259). Depth and count are bounded by the limits beside it.

use std::borrow::Cow;

use super::{Json, JsonError, MAX_DEPTH, MAX_PAIRWISE, MAX_VALUES};

/// Members of open objects that there is room for from the start.
const USUAL_OPEN: usize = 64;

pub(super) struct Parser<'a> {
    pub(super) text: &'a str,
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    pub(super) values: usize,
    /// No white space between values and no escape that [`super::print_text`] would write another way.
    pub(super) is_compact: bool,
    /// [`is_plain`] of the text.
    is_plain: bool,
    /// Whether a key stands twice in one object, or some object has too many to be compared as they come.
    pub(super) may_repeat: bool,
    /// Members of the objects that are open, innermost last: an object that ends takes its own, in a place of the right size.
    members: Vec<(Cow<'a, str>, Json<'a>)>,
    /// Items of the arrays that are open.
    items: Vec<Json<'a>>,
}

const ONES: u64 = u64::from_le_bytes([1; 8]);
const HIGH: u64 = ONES << 7;

/// Marks the bytes of a word that are below `n`: each borrows into its high bit. Only bytes after a true find can be marked falsely.
fn below(word: u64, n: u8) -> u64 {
    word.wrapping_sub(ONES * u64::from(n)) & !word & HIGH
}

/// As [`below`], the bytes that are this one.
fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (ONES * u64::from(byte)), 1)
}

/// How many bytes stand before the first that `marked` marks in a word and `is_meant` means: eight at a time, since most of a record
/// is text.
fn run_before(bytes: &[u8], marked: impl Fn(u64) -> u64, is_meant: impl Fn(&u8) -> bool) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let found = marked(u64::from_le_bytes(*word));
        if found != 0 {
            return i * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    words.len() * 8 + rest.iter().position(is_meant).unwrap_or(rest.len())
}

/// How many bytes stand before the next quote, backslash or control character.
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    let marked = |word: u64| below(word, 0x20) | equal(word, b'"') | equal(word, b'\\');
    run_before(bytes, marked, |b| matches!(b, b'"' | b'\\' | 0..=0x1f))
}

/// Whether a text has neither a backslash nor a control character, as most records have: then each string in it ends at a quote.
fn is_plain(bytes: &[u8]) -> bool {
    // To the end, without a way out: so it is done many bytes at a time.
    !bytes.iter().fold(false, |is_special, b| is_special | (*b < 0x20) | (*b == b'\\'))
}

/// One of 64 bits, by the length and both ends of a key.
fn mark(key: &[u8]) -> u64 {
    let ends = key.first().zip(key.last()).map_or(0, |(first, last)| 31 * usize::from(*first) + usize::from(*last));
    1 << ((ends + 7 * key.len()) % 64)
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let (members, items, bytes) = (Vec::with_capacity(USUAL_OPEN), Vec::new(), text.as_bytes());
        Self { text, bytes, at: 0, values: 0, is_compact: true, is_plain: is_plain(bytes), may_repeat: false, members, items }
    }

    pub(super) fn syntax(&self, what: &'static str) -> JsonError {
        JsonError::Syntax { at: self.at, what }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(super) fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
            self.is_compact = false;
        }
    }

    pub(super) fn value(&mut self, depth: usize) -> Result<Json<'a>, JsonError> {
        if depth > MAX_DEPTH {
            return Err(JsonError::TooDeep);
        }
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(JsonError::TooMany);
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Json::Text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(_) => Err(self.syntax("expected a value")),
            None => Err(self.syntax("the text ends where a value should be")),
        }
    }

    fn word(&mut self, word: &'static str, value: Json<'a>) -> Result<Json<'a>, JsonError> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.syntax("expected true, false or null"))
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json<'a>, JsonError> {
        self.at += 1;
        let (first, mut marks) = (self.members.len(), 0);
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(Vec::new()));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.syntax("expected a key"));
            }
            let key = self.string()?;
            marks = self.marked(marks, &key, first);
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.syntax("expected `:`"));
            }
            self.at += 1;
            self.space();
            let value = self.value(depth + 1)?;
            self.members.push((key, value));
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Json::Object(self.members.drain(first..).collect()));
                }
                _ => return Err(self.syntax("expected `,` or `}`")),
            }
        }
    }

    /// Adds the mark of a key to those of its object's keys, whose members begin at `first`. A key is compared with those before only
    /// where one of them has its mark.
    fn marked(&mut self, marks: u64, key: &str, first: usize) -> u64 {
        let before = &self.members[first..];
        let mark = mark(key.as_bytes());
        if before.len() >= MAX_PAIRWISE || (marks & mark != 0 && before.iter().any(|(other, _)| other == key)) {
            self.may_repeat = true;
        }
        marks | mark
    }

    fn array(&mut self, depth: usize) -> Result<Json<'a>, JsonError> {
        self.at += 1;
        let first = self.items.len();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Array(Vec::new()));
        }
        loop {
            self.space();
            let item = self.value(depth + 1)?;
            self.items.push(item);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Json::Array(self.items.drain(first..).collect()));
                }
                _ => return Err(self.syntax("expected `,` or `]`")),
            }
        }
    }

    /// RFC 8259 clause 6: `-? int frac? exp?`.
    fn number(&mut self) -> Result<Json<'a>, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.syntax("expected a digit")),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits()?;
        }
        Ok(Json::Number(Cow::Borrowed(&self.text[start..self.at])))
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn some_digits(&mut self) -> Result<(), JsonError> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.syntax("expected a digit"));
        }
        self.digits();
        Ok(())
    }

    /// A string, borrowed when it holds no escape.
    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.at += 1;
        let start = self.at;
        let rest = &self.bytes[start..];
        self.at += if self.is_plain { run_before(rest, |word| equal(word, b'"'), |b| *b == b'"') } else { plain_run(rest) };
        match self.peek() {
            Some(b'"') => {
                let text = &self.text[start..self.at];
                self.at += 1;
                Ok(Cow::Borrowed(text))
            }
            Some(b'\\') => self.escaped(start).map(Cow::Owned),
            Some(_) => Err(self.syntax("a control character in a string")),
            None => Err(self.syntax("the text ends in a string")),
        }
    }

    fn escaped(&mut self, start: usize) -> Result<String, JsonError> {
        let mut out = self.text[start..self.at].to_owned();
        loop {
            let run = self.at;
            self.at += plain_run(&self.bytes[run..]);
            out.push_str(&self.text[run..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                Some(_) => return Err(self.syntax("a control character in a string")),
                None => return Err(self.syntax("the text ends in a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        self.is_compact &= matches!(self.peek(), Some(b'"' | b'\\' | b'n' | b'r' | b't'));
        let c = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.syntax("an unknown escape")),
        };
        self.at += 1;
        Ok(c)
    }

    fn unicode(&mut self) -> Result<char, JsonError> {
        let first = self.hex4()?;
        if !(0xd800..0xdc00).contains(&first) {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let before = self.at;
        if self.bytes[self.at..].starts_with(b"\\u") {
            self.at += 2;
            let second = self.hex4()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = before;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let digits = self.bytes.get(self.at..self.at + 4).and_then(|b| std::str::from_utf8(b).ok());
        let code = digits.filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit())).and_then(|d| u32::from_str_radix(d, 16).ok());
        let code = code.ok_or_else(|| self.syntax("expected four hex digits"))?;
        self.at += 4;
        Ok(code)
    }
}
