//! Modifiers of a field: what `|contains|all` asks, put in order, and what they make of a value.
//!
//! Whatever order they are written in, values are first expanded from placeholders, then encoded, then given dashes and
//! wildcards. `base64` and `base64offset` keep to Sigma and compare without case, which Base64 would deserve: add `cased`.

use super::error::Fault;
use super::expr::{Order, Part, Place};
use super::pattern::Pattern;

/// What the modifiers of a field ask.
#[derive(Debug, Clone, Default)]
pub(super) struct Modifiers {
    pub(super) place: Option<Place>,
    /// Every value has to match, instead of one.
    pub(super) all: bool,
    pub(super) exists: bool,
    pub(super) cased: bool,
    pub(super) negated: bool,
    /// Flags of a regular expression.
    pub(super) regex: Option<String>,
    pub(super) cidr: bool,
    pub(super) order: Option<Order>,
    pub(super) field: bool,
    pub(super) part: Option<Part>,
    pub(super) expand: bool,
    encodings: Vec<Encoding>,
    windash: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf16Le,
    Utf16Be,
    Utf16,
    Base64,
    Base64Offset,
}

impl Modifiers {
    /// Reads the names after the field.
    pub(super) fn parse<'n>(names: impl Iterator<Item = &'n str>) -> Result<Self, Fault> {
        let mut found = Self::default();
        for name in names {
            found.add(name)?;
        }
        let ways = [found.exists, found.regex.is_some(), found.cidr, found.order.is_some(), found.field].iter().filter(|w| **w).count();
        let is_whole = ways > 0 && !found.field;
        let has_text = found.place.is_some() || found.windash || !found.encodings.is_empty();
        if ways > 1 || is_whole && has_text || found.part.is_some() && (has_text || ways > usize::from(found.order.is_some())) {
            return Err(Fault::Invalid("the modifiers of a field contradict each other".into()));
        }
        Ok(found)
    }

    fn add(&mut self, name: &str) -> Result<(), Fault> {
        match name {
            "contains" => self.place = Some(Place::Anywhere),
            "startswith" => self.place = Some(Place::Start),
            "endswith" => self.place = Some(Place::End),
            "all" => self.all = true,
            "exists" => self.exists = true,
            "cased" => self.cased = true,
            "neq" => self.negated = true,
            "re" => self.regex = Some(self.regex.take().unwrap_or_default()),
            "i" | "m" | "s" | "ignorecase" | "multiline" | "dotall" => match &mut self.regex {
                Some(flags) => flags.push_str(&name[..1].replace('d', "s")),
                None => return Err(Fault::Invalid(format!("the modifier `{name}` without `re` before it"))),
            },
            "cidr" => self.cidr = true,
            "lt" | "lte" | "gt" | "gte" => self.order = Order::parse(name),
            "fieldref" => self.field = true,
            "expand" => self.expand = true,
            "windash" => self.windash = true,
            "base64" => self.encodings.push(Encoding::Base64),
            "base64offset" => self.encodings.push(Encoding::Base64Offset),
            "utf16le" | "wide" => self.encodings.push(Encoding::Utf16Le),
            "utf16be" => self.encodings.push(Encoding::Utf16Be),
            "utf16" => self.encodings.push(Encoding::Utf16),
            _ => {
                self.part = Some(Part::parse(name).ok_or_else(|| Fault::Invalid(format!("`{name}` is no modifier")))?);
            }
        }
        Ok(())
    }

    /// Whether a value is the whole text as it stands.
    pub(super) fn is_equality(&self) -> bool {
        let ways = self.exists || self.cidr || self.field || self.regex.is_some() || self.order.is_some() || self.part.is_some();
        !ways && self.place.is_none() && self.encodings.is_empty() && !self.windash
    }

    /// The forms that a text may have.
    pub(super) fn patterns(&self, text: &str) -> Result<Vec<Pattern>, Fault> {
        let plain = if self.encodings.is_empty() { vec![Pattern::parse(text)] } else { encoded(text, &self.encodings)? };
        let placed = plain.into_iter().map(|pattern| {
            let pattern = if self.windash { pattern.windash() } else { pattern };
            let pattern = match self.place {
                Some(Place::Anywhere) => pattern.after_anything().before_anything(),
                Some(Place::Start) => pattern.before_anything(),
                Some(Place::End) => pattern.after_anything(),
                Some(Place::Whole) | None => pattern,
            };
            pattern.cased(self.cased)
        });
        Ok(placed.collect())
    }

    /// The regular expression of a text, with its flags, when DataFusion can run it.
    pub(super) fn regex(&self, text: &str) -> Result<String, Fault> {
        let flags = self.regex.as_deref().unwrap_or_default();
        let full = if flags.is_empty() { text.to_owned() } else { format!("(?{flags}){text}") };
        match regex::Regex::new(&full) {
            Ok(_) => Ok(full),
            Err(error) => {
                let why = error.to_string();
                let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                Err(Fault::Unsupported(format!("the regular expression `{text}`: {why}")))
            }
        }
    }
}

fn encoded(text: &str, encodings: &[Encoding]) -> Result<Vec<Pattern>, Fault> {
    let pattern = Pattern::parse(text).cased(true);
    let text = pattern.plain().ok_or_else(|| Fault::Invalid(format!("`{text}` has a wildcard and is to be encoded")))?;
    let mut bytes = text.clone().into_bytes();
    let mut done = None;
    for encoding in encodings {
        if done.is_some() {
            return Err(Fault::Unsupported("another encoding after Base64".into()));
        }
        let units = || text.encode_utf16();
        match encoding {
            Encoding::Utf16Le => bytes = units().flat_map(u16::to_le_bytes).collect(),
            Encoding::Utf16Be => bytes = units().flat_map(u16::to_be_bytes).collect(),
            Encoding::Utf16 => bytes = [0xff, 0xfe].into_iter().chain(units().flat_map(u16::to_le_bytes)).collect(),
            Encoding::Base64 => done = Some(vec![base64(&bytes)]),
            Encoding::Base64Offset => done = Some((0..3).map(|shift| base64_at(&bytes, shift)).collect()),
        }
    }
    let texts = done.ok_or_else(|| Fault::Unsupported("UTF-16 without Base64: no column holds such text".into()))?;
    Ok(texts.iter().map(|t| Pattern::literal(t)).collect())
}

/// What stays the same wherever the bytes stand, `shift` bytes after a multiple of three.
fn base64_at(bytes: &[u8], shift: usize) -> String {
    let padded: Vec<u8> = std::iter::repeat_n(b' ', shift).chain(bytes.iter().copied()).collect();
    let text = base64(&padded);
    let start = [0, 2, 3][shift];
    let end = text.len() - [0, 3, 2][padded.len() % 3];
    text.get(start..end).unwrap_or_default().to_owned()
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, b| word << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let sextet = (word >> (18 - 6 * i)) & 63;
            out.push(if i > chunk.len() { '=' } else { char::from(ALPHABET[sextet as usize]) });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(modifiers: &str, text: &str) -> Vec<Option<String>> {
        Modifiers::parse(modifiers.split('|')).unwrap().patterns(text).unwrap().iter().map(Pattern::like).collect()
    }

    fn some(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|t| Some((*t).to_owned())).collect()
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (text, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }

    #[test]
    fn encodings_give_the_forms_of_the_specification() {
        // As pySigma has them for `foobar`.
        assert_eq!(patterns("base64offset|contains|cased", "foobar"), some(&["%Zm9vYmFy%", "%Zvb2Jhc%", "%mb29iYX%"]));
        assert_eq!(patterns("wide|base64|cased", "ab"), some(&["YQBiAA=="]));
        assert_eq!(patterns("utf16be|base64|cased", "ab"), some(&["AGEAYg=="]));
        assert_eq!(patterns("utf16|base64|cased", "ab"), some(&["//5hAGIA"]));
        assert!(Modifiers::parse(["wide"].into_iter()).unwrap().patterns("ab").is_err());
        assert!(Modifiers::parse(["base64"].into_iter()).unwrap().patterns("a*").is_err());
    }

    #[test]
    fn modifiers_that_contradict_each_other_are_refused() {
        for names in ["re|contains", "cidr|re", "gt|contains", "exists|startswith", "i", "nonsense", "hour|contains"] {
            assert!(Modifiers::parse(names.split('|')).is_err(), "{names}");
        }
        assert!(Modifiers::parse("re|i|m|s".split('|')).is_ok());
        assert!(Modifiers::parse("hour|gte".split('|')).is_ok());
        assert!(Modifiers::parse("fieldref|startswith|neq".split('|')).is_ok());
    }

    #[test]
    fn what_the_regex_engine_cannot_do_is_named() {
        let modifiers = Modifiers::parse("re|i".split('|')).unwrap();
        assert_eq!(modifiers.regex("a.c").unwrap(), "(?i)a.c");
        for text in ["(?=x)", r"(a)\1", "("] {
            assert!(matches!(modifiers.regex(text), Err(Fault::Unsupported(_))), "{text}");
        }
    }
}
