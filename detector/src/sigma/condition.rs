//! The condition of a detection: `and`, `or`, `not`, brackets, `1 of sel*`, `any of them`, `all of sel*`.
//!
//! `not` binds closest, then `and`, then `or`. `them` and patterns leave out names that begin with `_`, unless the
//! pattern does too. Brackets and `not` nest at most [`MAX_DEPTH`] deep.

use super::error::Fault;
use super::expr::Expr;

/// Deepest nesting.
const MAX_DEPTH: usize = 64;

/// A condition as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
    /// One search by its name.
    Name(String),
    /// At least one of those of a pattern.
    OneOf(String),
    /// Every one of those of a pattern.
    AllOf(String),
}

impl Condition {
    /// Reads a condition.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        if text.contains('|') {
            return Err(Fault::Unsupported(format!("the condition `{text}` aggregates with `|`; write it as a correlation")));
        }
        let spaced = text.replace('(', " ( ").replace(')', " ) ");
        let mut reader = Reader { words: spaced.split_whitespace().collect(), at: 0, text, depth: 0 };
        let condition = reader.or()?;
        if reader.at < reader.words.len() { Err(reader.fault()) } else { Ok(condition) }
    }

    /// The detection that it makes of named searches.
    pub(super) fn build(&self, searches: &[(String, Expr)]) -> Result<Expr, Fault> {
        let many = |conditions: &[Self]| conditions.iter().map(|c| c.build(searches)).collect::<Result<Vec<_>, _>>();
        Ok(match self {
            Self::And(conditions) => Expr::all(many(conditions)?),
            Self::Or(conditions) => Expr::any(many(conditions)?),
            Self::Not(condition) => condition.build(searches)?.negated(),
            Self::Name(name) => {
                let found = searches.iter().find(|(n, _)| n == name);
                found
                    .map(|(_, e)| e.clone())
                    .ok_or_else(|| Fault::Invalid(format!("the condition names `{name}`, which is not defined")))?
            }
            Self::OneOf(pattern) => Expr::any(of_pattern(pattern, searches)?),
            Self::AllOf(pattern) => Expr::all(of_pattern(pattern, searches)?),
        })
    }

    /// Whether something is asked not to be.
    pub(super) fn has_not(&self) -> bool {
        match self {
            Self::And(conditions) | Self::Or(conditions) => conditions.iter().any(Self::has_not),
            Self::Not(_) => true,
            Self::Name(_) | Self::OneOf(_) | Self::AllOf(_) => false,
        }
    }
}

fn of_pattern(pattern: &str, searches: &[(String, Expr)]) -> Result<Vec<Expr>, Fault> {
    let glob = if pattern == "them" { "*" } else { pattern };
    let fits =
        |name: &str| super::pattern::Pattern::parse(glob).cased(true).matches(name) && (pattern.starts_with('_') || !name.starts_with('_'));
    let found: Vec<Expr> = searches.iter().filter(|(name, _)| fits(name)).map(|(_, e)| e.clone()).collect();
    if found.is_empty() { Err(Fault::Invalid(format!("no search is named like `{pattern}`"))) } else { Ok(found) }
}

struct Reader<'t> {
    words: Vec<&'t str>,
    at: usize,
    text: &'t str,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn fault(&self) -> Fault {
        let near = self.words.get(self.at).map_or("its end".to_owned(), |word| format!("`{word}`"));
        Fault::Invalid(format!("the condition `{}` cannot be read at {near}", self.text))
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.words.get(self.at).is_some_and(|w| w.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    fn or(&mut self) -> Result<Condition, Fault> {
        let mut parts = vec![self.and()?];
        while self.take("or") {
            parts.push(self.and()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::Or(parts) })
    }

    fn and(&mut self) -> Result<Condition, Fault> {
        let mut parts = vec![self.not()?];
        while self.take("and") {
            parts.push(self.not()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::And(parts) })
    }

    fn not(&mut self) -> Result<Condition, Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Fault::Invalid(format!("the condition nests deeper than {MAX_DEPTH}")));
        }
        let condition = if self.take("not") {
            Condition::Not(Box::new(self.not()?))
        } else if self.take("(") {
            let inner = self.or()?;
            if !self.take(")") {
                return Err(self.fault());
            }
            inner
        } else {
            self.search()?
        };
        self.depth -= 1;
        Ok(condition)
    }

    fn search(&mut self) -> Result<Condition, Fault> {
        let word = self.words.get(self.at).copied().ok_or_else(|| self.fault())?;
        let is_quantifier = self.words.get(self.at + 1).is_some_and(|w| w.eq_ignore_ascii_case("of"));
        if is_quantifier {
            let pattern = self.words.get(self.at + 2).copied().filter(|p| is_name(p)).ok_or_else(|| self.fault())?;
            let condition = match word.to_ascii_lowercase().as_str() {
                "1" | "any" => Condition::OneOf(pattern.into()),
                "all" => Condition::AllOf(pattern.into()),
                _ => return Err(Fault::Unsupported(format!("`{word} of` in a condition: Sigma has `1 of`, `any of` and `all of`"))),
            };
            self.at += 3;
            return Ok(condition);
        }
        if !is_name(word) || word.contains('*') || ["and", "or", "of"].iter().any(|w| word.eq_ignore_ascii_case(w)) {
            return Err(self.fault());
        }
        self.at += 1;
        Ok(Condition::Name(word.into()))
    }
}

fn is_name(word: &str) -> bool {
    word.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '*' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Condition {
        Condition::parse(text).unwrap()
    }

    fn name(text: &str) -> Condition {
        Condition::Name(text.into())
    }

    #[test]
    fn not_binds_closer_than_and_and_and_than_or() {
        let expected = Condition::Or(vec![name("a"), Condition::And(vec![name("b"), Condition::Not(Box::new(name("c")))])]);
        assert_eq!(parsed("a or b AND NOT c"), expected);
        assert_eq!(
            parsed("(a or b)and not(c)"),
            Condition::And(vec![Condition::Or(vec![name("a"), name("b")]), Condition::Not(Box::new(name("c")))])
        );
    }

    #[test]
    fn quantifiers_take_patterns_and_them() {
        assert_eq!(parsed("1 of sel_*"), Condition::OneOf("sel_*".into()));
        assert_eq!(parsed("not all of them"), Condition::Not(Box::new(Condition::AllOf("them".into()))));
        assert!(matches!(Condition::parse("2 of them"), Err(Fault::Unsupported(_))));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for text in ["", "a b", "a and", "(a", "a)", "not", "1 of", "sel*", "a or or b"] {
            assert!(matches!(Condition::parse(text), Err(Fault::Invalid(_))), "{text}");
        }
        assert!(matches!(Condition::parse("a | count() > 5"), Err(Fault::Unsupported(_))));
        assert!(Condition::parse(&"not ".repeat(100_000)).is_err());
        assert!(Condition::parse(&"(".repeat(100_000)).is_err());
    }

    #[test]
    fn them_leaves_out_names_with_an_underscore_before() {
        let searches: Vec<(String, Expr)> =
            ["a", "_b", "selection_1"].map(|n| (n.to_owned(), Expr::Any(vec![Expr::All(vec![]), Expr::All(vec![])]))).into();
        let count = |text: &str| match parsed(text).build(&searches) {
            Ok(Expr::All(exprs)) => exprs.len(),
            Ok(_) => 1,
            Err(_) => 0,
        };
        assert_eq!((count("all of them"), count("all of _*"), count("all of sel*"), count("all of x*")), (2, 1, 1, 0));
    }
}
