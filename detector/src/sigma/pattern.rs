//! Texts of Sigma with their wildcards: `*` any text, `?` one character, `\` before these or itself takes their meaning.
//!
//! Case does not count unless `cased`: both sides are compared in lower case as `lower()` of SQL gives it, so `?` stands
//! for one character of that (`İ` becomes two).

/// A text with wildcards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    parts: Vec<Piece>,
    cased: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Any,
    One,
    /// One of [`DASHES`].
    Dash,
}

/// What a Windows command line takes for the dash of an option: `-`, `/`, en dash, em dash, horizontal bar.
const DASHES: [char; 5] = ['-', '/', '–', '—', '―'];

impl Pattern {
    /// Reads wildcards and escapes.
    pub(super) fn parse(text: &str) -> Self {
        let mut pattern = Self { parts: Vec::new(), cased: false };
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match (c, chars.peek()) {
                ('\\', Some('*' | '?' | '\\')) => {
                    let escaped = chars.next().unwrap_or('\\');
                    pattern.push(escaped);
                }
                ('*', _) => pattern.parts.push(Piece::Any),
                ('?', _) => pattern.parts.push(Piece::One),
                _ => pattern.push(c),
            }
        }
        pattern
    }

    /// The text itself, nothing in it a wildcard.
    pub(super) fn literal(text: &str) -> Self {
        let parts = if text.is_empty() { Vec::new() } else { vec![Piece::Text(text.into())] };
        Self { parts, cased: false }
    }

    fn push(&mut self, c: char) {
        match self.parts.last_mut() {
            Some(Piece::Text(text)) => text.push(c),
            _ => self.parts.push(Piece::Text(c.into())),
        }
    }

    /// With case counting.
    pub(super) fn cased(mut self, cased: bool) -> Self {
        self.cased = cased;
        self
    }

    /// Whether case counts.
    pub(super) fn is_cased(&self) -> bool {
        self.cased
    }

    /// With anything before it.
    pub(super) fn after_anything(mut self) -> Self {
        if self.parts.first() != Some(&Piece::Any) {
            self.parts.insert(0, Piece::Any);
        }
        self
    }

    /// With anything behind it.
    pub(super) fn before_anything(mut self) -> Self {
        if self.parts.last() != Some(&Piece::Any) {
            self.parts.push(Piece::Any);
        }
        self
    }

    /// With every dash or slash that begins a word standing for any of [`DASHES`].
    pub(super) fn windash(self) -> Self {
        let mut parts = Vec::new();
        for piece in self.parts {
            let Piece::Text(text) = piece else {
                parts.push(piece);
                continue;
            };
            let chars: Vec<char> = text.chars().collect();
            let is_word = |i: Option<usize>| i.and_then(|i| chars.get(i)).is_some_and(|c| c.is_alphanumeric() || *c == '_');
            let mut run = String::new();
            for (i, c) in chars.iter().enumerate() {
                if matches!(c, '-' | '/') && !is_word(i.checked_sub(1)) && is_word(Some(i + 1)) {
                    parts.extend((!run.is_empty()).then(|| Piece::Text(std::mem::take(&mut run))));
                    parts.push(Piece::Dash);
                } else {
                    run.push(*c);
                }
            }
            parts.extend((!run.is_empty()).then_some(Piece::Text(run)));
        }
        Self { parts, cased: self.cased }
    }

    /// The text, where there is no wildcard; in lower case where case does not count.
    pub(super) fn plain(&self) -> Option<String> {
        match self.parts.as_slice() {
            [] => Some(String::new()),
            [Piece::Text(text)] => Some(self.folded(text)),
            _ => None,
        }
    }

    /// As LIKE has it with `\` as escape; `None` where LIKE cannot say it.
    pub(super) fn like(&self) -> Option<String> {
        let mut like = String::new();
        for piece in &self.parts {
            match piece {
                Piece::Text(text) => {
                    for c in self.folded(text).chars() {
                        if matches!(c, '\\' | '%' | '_') {
                            like.push('\\');
                        }
                        like.push(c);
                    }
                }
                Piece::Any => like.push('%'),
                Piece::One => like.push('_'),
                Piece::Dash => return None,
            }
        }
        Some(like)
    }

    /// As a regular expression without anchors; `any` is the class that wildcards stand for.
    pub(super) fn regex(&self, any: &str) -> String {
        let mut out = String::new();
        for piece in &self.parts {
            match piece {
                Piece::Text(text) => out.push_str(&regex::escape(&self.folded(text))),
                Piece::Any => out.push_str(&format!("{any}*")),
                Piece::One => out.push_str(any),
                Piece::Dash => out.push_str(&format!("[{}]", DASHES.map(|c| regex::escape(&c.to_string())).concat())),
            }
        }
        out
    }

    /// A short text that it matches.
    pub(super) fn example(&self) -> String {
        let of = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Any => String::new(),
            Piece::One => "x".into(),
            Piece::Dash => "-".into(),
        };
        self.parts.iter().map(of).collect()
    }

    /// Whether a text, whole, is of this form.
    pub(super) fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = self.folded(text).chars().collect();
        let mut steps = Vec::new();
        for piece in &self.parts {
            match piece {
                Piece::Text(part) => steps.extend(self.folded(part).chars().map(Step::Char)),
                Piece::Any => steps.push(Step::Any),
                Piece::One => steps.push(Step::One),
                Piece::Dash => steps.push(Step::Dash),
            }
        }
        walk(&steps, &text)
    }

    fn folded(&self, text: &str) -> String {
        if self.cased { text.to_owned() } else { text.to_lowercase() }
    }
}

/// One step of a match.
enum Step {
    Char(char),
    One,
    Dash,
    Any,
}

/// A wildcard match that goes back to the last `*` only: linear in memory, at worst quadratic in time.
fn walk(steps: &[Step], text: &[char]) -> bool {
    let (mut s, mut t) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    loop {
        let fits = match (steps.get(s), text.get(t)) {
            (None, None) => return true,
            (Some(Step::Any), _) => {
                back = Some((s, t));
                s += 1;
                continue;
            }
            (Some(Step::Char(c)), Some(d)) => c == d,
            (Some(Step::One), Some(_)) => true,
            (Some(Step::Dash), Some(d)) => DASHES.contains(d),
            _ => false,
        };
        match back {
            _ if fits => (s, t) = (s + 1, t + 1),
            Some((at, from)) if from < text.len() => {
                back = Some((at, from + 1));
                (s, t) = (at + 1, from + 1);
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, text: &str, expected: bool) {
        assert_eq!(Pattern::parse(pattern).matches(text), expected, "{pattern} on {text}");
    }

    #[test]
    fn wildcards_match_and_escapes_take_their_meaning() {
        check("a*c", "abbc", true);
        check("a*c", "ABBC", true);
        check("a?c", "ac", false);
        check("a?c", "aüc", true);
        check(r"a\*c", "abc", false);
        check(r"a\*c", "a*c", true);
        check(r"c:\windows\*", r"c:\windows*", true);
        check(r"c:\windows\\*", r"c:\windows\system32", true);
        check(r"c:\dir", r"c:\dir", true);
        check(r"c:\\dir", r"c:\dir", true);
        check(r"end\", r"end\", true);
        check("", "", true);
        check("*", "", true);
        check("*a*b*", "xxaxxbxx", true);
        check("*a*b*", "xxbxxaxx", false);
        check("50%_", "50%_", true);
        check("50%_", "50xxx", false);
    }

    #[test]
    fn like_escapes_what_like_takes_for_wildcards() {
        assert_eq!(Pattern::parse(r"a*%_\b?").like().unwrap(), r"a%\%\_\\b_");
        assert_eq!(Pattern::parse("A?").cased(true).like().unwrap(), "A_");
    }

    #[test]
    fn windash_takes_dashes_that_begin_a_word() {
        let pattern = Pattern::parse("cmd -x /y a-b").windash();
        assert!(pattern.matches("cmd /x –y a-b"));
        assert!(!pattern.matches("cmd -x -y a/b"));
        assert_eq!(pattern.like(), None);
    }
}
