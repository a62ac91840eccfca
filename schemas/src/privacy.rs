//! The policy for personal data: which kinds, which names and which paths are taken out before anything is stored.
//!
//! Parsed once from the configuration and handed on with the source; a redactor asks it. Without a policy of its own a source
//! has the default: payment cards and social security numbers. Bank accounts, mail addresses and phone numbers are not in it:
//! they are the destinations that rules compare, and a token hides the bank and the domain. Limits: 256 names of 64
//! bytes, 64 paths.
//!
//! Not for: finding names of people in sentences; only keys and paths say that a value is one.

use regex::Regex;

use crate::json::Json;
use crate::mapping::path::Path;
use crate::secrets;
use crate::way::Way;

/// Most names.
const MAX_NAMES: usize = 256;
/// Longest name, bytes.
const MAX_NAME: usize = 64;
/// Most paths that are taken out or kept.
const MAX_PATHS: usize = 64;

/// Class of the tokens of values that are personal by where they stand.
pub(crate) const PERSONAL: &str = "personal";

/// Personal data that has a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Number of a payment card: by issuer and Luhn.
    Card,
    /// International bank account number: by country and mod 97.
    Iban,
    /// Social security number of the United States: by its ranges.
    Ssn,
    /// Mail address.
    Mail,
    /// Phone number: with `+`, or of North America.
    Phone,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Card, Self::Iban, Self::Ssn, Self::Mail, Self::Phone];

    /// As the configuration names it, and the class of its tokens.
    pub fn name(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Iban => "iban",
            Self::Ssn => "ssn",
            Self::Mail => "mail",
            Self::Phone => "phone",
        }
    }
}

/// Why a policy cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrivacyError {
    /// No such kind.
    #[error("`{0}` is no kind; there are: card, iban, ssn, mail, phone")]
    Kind(String),
    /// Not the name of a key.
    #[error("`{0}` is no name: write a key of ASCII letters, digits, `-` and `_`, at most {MAX_NAME} bytes")]
    Name(String),
    /// Not a path.
    #[error("{0}")]
    Path(String),
    /// Too many of them.
    #[error("more than {1} {0}")]
    TooMany(&'static str, usize),
}

/// A policy that was checked.
#[derive(Debug, Clone)]
pub struct Privacy {
    kinds: Vec<Kind>,
    /// As [`folded`], in order.
    names: Vec<Vec<u8>>,
    /// A name with its value in text that is no JSON; with names only.
    keyed: Option<Regex>,
    kept: Vec<Path>,
    paths: Vec<Path>,
}

impl Default for Privacy {
    /// Cards and social security numbers.
    fn default() -> Self {
        Self { kinds: vec![Kind::Card, Kind::Ssn], ..Self::none() }
    }
}

impl Privacy {
    /// Takes out nothing.
    pub fn none() -> Self {
        Self { kinds: Vec::new(), names: Vec::new(), keyed: None, kept: Vec::new(), paths: Vec::new() }
    }

    /// The kinds that are taken out of any text, in the place of those it had.
    ///
    /// # Errors
    /// When there is no such kind.
    pub fn with_kinds(mut self, names: &[String]) -> Result<Self, PrivacyError> {
        let kind = |name: &String| Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| PrivacyError::Kind(name.clone()));
        self.kinds = names.iter().map(kind).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Keys whose whole value is personal wherever they stand. Case, `-` and `_` do not count.
    ///
    /// # Errors
    /// When one is no name of a key, or there are too many.
    pub fn with_names(mut self, names: &[String]) -> Result<Self, PrivacyError> {
        if names.len() > MAX_NAMES {
            return Err(PrivacyError::TooMany("names", MAX_NAMES));
        }
        let is_name = |name: &&String| name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        let is_short = |name: &&String| (1..=MAX_NAME).contains(&folded(name).count());
        if let Some(wrong) = names.iter().find(|name| !is_name(name) || !is_short(name)) {
            return Err(PrivacyError::Name(wrong.clone()));
        }
        self.names = names.iter().map(|name| folded(name).collect()).collect();
        self.names.sort_unstable();
        self.names.dedup();
        let spelled = |name: &Vec<u8>| name.iter().map(|b| format!("{}[_-]?", char::from(*b))).collect::<String>();
        let patterns: Vec<String> = self.names.iter().map(spelled).collect();
        let values = format!("{}|true|false", secrets::NUMBER);
        let keyed = || secrets::keyed(&patterns, &values).map_err(|e| PrivacyError::Name(e.to_string()));
        self.keyed = if patterns.is_empty() { None } else { Some(keyed()?) };
        Ok(self)
    }

    /// Paths below which nothing is taken out for being personal.
    ///
    /// # Errors
    /// When one is no path, or there are too many.
    pub fn keeping(mut self, paths: &[String]) -> Result<Self, PrivacyError> {
        self.kept = parsed(paths)?;
        Ok(self)
    }

    /// Paths whose whole value is personal; a step `*` stands for every member and every item.
    ///
    /// # Errors
    /// When one is no path, or there are too many.
    pub fn with_paths(mut self, paths: &[String]) -> Result<Self, PrivacyError> {
        self.paths = parsed(paths)?;
        Ok(self)
    }

    pub(crate) fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    pub(crate) fn keyed(&self) -> Option<&Regex> {
        self.keyed.as_ref()
    }

    /// Whether the value of a key is personal.
    pub(crate) fn is_personal(&self, key: &str) -> bool {
        !self.names.is_empty() && self.names.binary_search_by(|name| name.iter().copied().cmp(folded(key))).is_ok()
    }

    /// Whether what stands here stays, whatever it is.
    pub(crate) fn keeps(&self, way: &Way<'_>) -> bool {
        if self.kept.is_empty() {
            return false;
        }
        let here = way.steps();
        self.kept.iter().any(|path| path.steps().len() <= here.len() && path.steps().iter().zip(&here).all(|(a, b)| a == "*" || a == b))
    }

    /// Hands over every value that is personal by its path, with its path as redactions are written.
    pub(crate) fn each_at_paths(&self, element: &mut Json<'_>, take: &mut impl FnMut(&mut Json<'_>, &Way<'_>)) {
        self.paths.iter().for_each(|path| descend(path.steps(), element, &Way::Top, take));
    }
}

fn descend(steps: &[String], value: &mut Json<'_>, way: &Way<'_>, take: &mut impl FnMut(&mut Json<'_>, &Way<'_>)) {
    let Some((step, rest)) = steps.split_first() else { return take(value, way) };
    match value {
        Json::Object(members) => {
            for (key, member) in members.iter_mut().filter(|(key, _)| step == "*" || key == step) {
                descend(rest, member, &Way::Key(way, key), take);
            }
        }
        Json::Array(items) => {
            let is_meant = |index: usize| step == "*" || step.parse() == Ok(index);
            for (index, item) in items.iter_mut().enumerate().filter(|(index, _)| is_meant(*index)) {
                descend(rest, item, &Way::Index(way, index), take);
            }
        }
        _ => {}
    }
}

fn parsed(paths: &[String]) -> Result<Vec<Path>, PrivacyError> {
    if paths.len() > MAX_PATHS {
        return Err(PrivacyError::TooMany("paths", MAX_PATHS));
    }
    // `actor.` says the same as `actor`.
    paths.iter().map(|path| Path::parse(path.strip_suffix('.').unwrap_or(path)).map_err(PrivacyError::Path)).collect()
}

/// A key as it is compared.
fn folded(key: &str) -> impl Iterator<Item = u8> {
    key.bytes().filter(|b| !matches!(b, b'-' | b'_')).map(|b| b.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_name_is_the_same_in_any_case_and_with_any_separator() {
        let policy = Privacy::none().with_names(&texts(&["patient_name", "MRN"])).unwrap();
        assert!(["patient_name", "Patient-Name", "patientName", "mrn"].iter().all(|key| policy.is_personal(key)));
        assert!(["patient", "name", "patient_names", "mrns", ""].iter().all(|key| !policy.is_personal(key)));
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        let none = Privacy::none;
        assert_eq!(none().with_kinds(&texts(&["cards"])).unwrap_err(), PrivacyError::Kind("cards".into()));
        assert_eq!(none().with_names(&texts(&["a.b"])).unwrap_err(), PrivacyError::Name("a.b".into()));
        assert!(matches!(none().with_names(&texts(&["_"])).unwrap_err(), PrivacyError::Name(_)));
        assert!(matches!(none().keeping(&texts(&["a..b"])).unwrap_err(), PrivacyError::Path(_)));
        assert!(matches!(none().with_paths(&vec!["a".into(); 65]).unwrap_err(), PrivacyError::TooMany("paths", 64)));
    }
}
