//! Where a value stands in an element: keys and array indexes with dots between them.
//!
//! A key that holds a dot is written in double quotes: `attributes."gen_ai.tool.name"`. A path that begins with `^`
//! starts at the whole element where others start at the part that `inside` or `each` chose.

use std::fmt;

use crate::json::Json;

/// A path that was parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    from_top: bool,
    steps: Vec<String>,
}

impl Path {
    /// Parses a path.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (from_top, mut rest) = text.strip_prefix('^').map_or((false, text), |rest| (true, rest));
        if rest == "." {
            return Ok(Self { from_top, steps: Vec::new() });
        }
        let mut steps = Vec::new();
        loop {
            let (step, after) = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').ok_or_else(|| format!("`{text}`: a quote is not closed"))?,
                None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
            };
            if step.is_empty() || step.chars().any(char::is_whitespace) && !rest.starts_with('"') {
                return Err(format!("`{text}` is no path: write keys with dots between them, such as `actor.id`"));
            }
            steps.push(step.to_owned());
            match after.strip_prefix('.') {
                Some(next) => rest = next,
                None if after.is_empty() => return Ok(Self { from_top, steps }),
                None => return Err(format!("`{text}`: after a quoted key comes a dot or the end")),
            }
        }
    }

    /// Keys and places, outermost first.
    pub(crate) fn steps(&self) -> &[String] {
        &self.steps
    }

    /// Whether it starts at the whole element wherever it is used.
    pub(crate) fn is_from_top(&self) -> bool {
        self.from_top
    }

    /// As the paths of redactions are written: steps with slashes before them.
    pub(crate) fn pointer(&self) -> String {
        self.steps.iter().map(|step| format!("/{step}")).collect()
    }

    /// The value there.
    pub(crate) fn find<'j, 'a>(&self, top: &'j Json<'a>, part: &'j Json<'a>) -> Option<&'j Json<'a>> {
        self.steps.iter().try_fold(if self.from_top { top } else { part }, |value, step| value.step(step))
    }

    /// The value there, to be changed; `start` is the whole or the part.
    pub(crate) fn find_mut<'j, 'a>(&self, start: &'j mut Json<'a>) -> Option<&'j mut Json<'a>> {
        self.steps.iter().try_fold(start, |value, step| value.step_mut(step))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |step: &String| if step.contains('.') { format!("\"{step}\"") } else { step.clone() };
        let steps: Vec<String> = self.steps.iter().map(quoted).collect();
        write!(f, "{}{}", if self.from_top { "^" } else { "" }, steps.join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_dots_are_quoted() {
        let json = crate::json::parse(br#"{"a":[{"b.c":{"d":1}}]}"#).unwrap();
        let path = Path::parse(r#"a.0."b.c".d"#).unwrap();
        assert_eq!(path.find(&json, &json).and_then(Json::integer), Some(1));
        assert_eq!(path.to_string(), r#"a.0."b.c".d"#);
        for bad in ["", "a..b", "a.", r#"a."b"#, "not a path"] {
            assert!(Path::parse(bad).is_err(), "{bad}");
        }
    }
}
