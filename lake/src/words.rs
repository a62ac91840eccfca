//! The words of some SQL: what none of them names needs no place in a session.
//!
//! A table of two hundred columns is slow to plan over, and a view is planned when it is registered; a session for known
//! statements leaves out what they do not name. A word too many only costs time: comments and texts count as well.

use std::collections::{BTreeMap, BTreeSet};

/// Words of statements, and how many of them name each; or any word at all.
#[derive(Debug, Clone, Default)]
pub struct Words(Option<BTreeMap<String, usize>>);

impl Words {
    /// Any word: for statements that are not known yet.
    pub fn any() -> Self {
        Self(None)
    }

    /// The words of these statements.
    pub fn of<'a>(statements: impl IntoIterator<Item = &'a str>) -> Self {
        let mut words = BTreeMap::new();
        for sql in statements {
            let parts = sql.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            let of_statement: BTreeSet<String> = parts.filter(|word| !word.is_empty()).map(str::to_ascii_lowercase).collect();
            of_statement.into_iter().for_each(|word| *words.entry(word).or_default() += 1);
        }
        Self(Some(words))
    }

    /// Whether a name is among them.
    pub fn has(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|words| words.contains_key(name))
    }

    /// Whether it is known which words there are.
    pub fn is_known(&self) -> bool {
        self.0.is_some()
    }

    /// How many statements name it; none, where it is not known.
    pub fn count(&self, name: &str) -> usize {
        self.0.as_ref().and_then(|words| words.get(name).copied()).unwrap_or(0)
    }

    /// Whether one of these names is among them.
    pub fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.has(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_counts_however_it_is_written_and_not_as_a_part_of_another() {
        let words = Words::of(["SELECT e.\"offset\", Tenant FROM new_events e"]);
        assert!(words.has_any(&["offset"]) && words.has("tenant") && words.has("new_events"));
        assert!(!words.has("events") && !words.has_any(&["event_id", "new"]));
        assert!(Words::any().has("anything"));
    }
}
