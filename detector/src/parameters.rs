//! Parameters of rules, and what a configuration makes of them: for everybody, or for one tenant.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::DetectorError;
use crate::rule::Rule;

/// Value of a parameter, as a rule file or a configuration writes it.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Parameter {
    /// A number.
    Number(f64),
    /// A text; in SQL a literal.
    Text(String),
    /// Texts; in SQL what stands in the brackets of `IN (...)`.
    Texts(Vec<String>),
}

impl Parameter {
    /// As SQL has it. No text can leave its literal.
    pub(crate) fn as_sql(&self) -> String {
        let literal = |text: &String| format!("'{}'", text.replace('\'', "''"));
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => literal(text),
            // Nothing is in an empty list.
            Self::Texts(texts) if texts.is_empty() => "NULL".into(),
            Self::Texts(texts) => texts.iter().map(literal).collect::<Vec<_>>().join(", "),
        }
    }

    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(_) | Self::Texts(_) => None,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::Texts(_) => "a list of texts",
        }
    }
}

/// Parameters by name.
pub type Parameters = BTreeMap<String, Parameter>;

/// What a configuration says of parameters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// For every tenant: by name of the rule.
    pub all: BTreeMap<String, Parameters>,
    /// For one tenant: by tenant and name of the rule.
    pub tenants: BTreeMap<String, BTreeMap<String, Parameters>>,
}

impl Overrides {
    /// Puts them into the rules.
    ///
    /// # Errors
    /// When a rule or a parameter does not exist, or is of another kind.
    pub fn apply(&self, rules: &mut [Rule]) -> Result<(), DetectorError> {
        for (name, values) in &self.all {
            let rule = named(rules, name)?;
            check(rule, values)?;
            for (parameter, value) in values {
                // What was replaced twice was written first.
                if let Some(written) = rule.parameters.insert(parameter.clone(), value.clone()) {
                    rule.replaced.entry(parameter.clone()).or_insert(written);
                }
            }
        }
        for (tenant, by_rule) in &self.tenants {
            for (name, values) in by_rule {
                let rule = named(rules, name)?;
                check(rule, values)?;
                rule.of_tenants.insert(tenant.clone(), values.clone());
            }
        }
        Ok(())
    }
}

impl Rule {
    /// The rule with the parameters of a tenant.
    pub fn for_tenant(&self, tenant: &str) -> Self {
        let mut rule = self.clone();
        rule.parameters.extend(rule.of_tenants.remove(tenant).unwrap_or_default());
        rule.of_tenants.clear();
        rule
    }

    /// The rule as its file has it, without what a configuration says of it.
    pub fn as_written(&self) -> Self {
        let mut rule = self.clone();
        rule.of_tenants.clear();
        rule.parameters.append(&mut rule.replaced);
        rule
    }
}

fn named<'a>(rules: &'a mut [Rule], name: &str) -> Result<&'a mut Rule, DetectorError> {
    let wrong =
        || DetectorError::Rule { rule: name.into(), what: "the configuration has parameters for it, and there is no such rule".into() };
    rules.iter_mut().find(|rule| rule.name == name).ok_or_else(wrong)
}

fn check(rule: &Rule, values: &Parameters) -> Result<(), DetectorError> {
    let wrong = |what| Err(DetectorError::Rule { rule: rule.name.clone(), what });
    for (name, value) in values {
        match rule.parameters.get(name) {
            None => {
                let known: Vec<&str> = rule.parameters.keys().map(String::as_str).collect();
                return wrong(format!("it has no parameter `{name}`; it has {}", known.join(", ")));
            }
            Some(usual) if usual.kind() != value.kind() => {
                return wrong(format!("its parameter `{name}` is {}, not {}", usual.kind(), value.kind()));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack() -> Vec<Rule> {
        crate::rule::pack().unwrap()
    }

    fn over(rule: &str, name: &str, value: Parameter) -> Overrides {
        Overrides { all: BTreeMap::from([(rule.to_owned(), Parameters::from([(name.to_owned(), value)]))]), ..Overrides::default() }
    }

    #[test]
    fn a_text_cannot_leave_its_literal() {
        assert_eq!(Parameter::Text("x' OR 1=1 --".into()).as_sql(), "'x'' OR 1=1 --'");
        assert_eq!(Parameter::Texts(vec!["a".into(), "b'c".into()]).as_sql(), "'a', 'b''c'");
        assert_eq!(Parameter::Texts(Vec::new()).as_sql(), "NULL");
    }

    #[test]
    fn what_does_not_exist_or_is_of_another_kind_is_refused_with_what_there_is() {
        let (mut rules, name) = (pack(), pack()[0].name.clone());
        let error = over(&name, "no_such", Parameter::Number(1.0)).apply(&mut rules).unwrap_err().to_string();
        assert!(error.contains("no parameter `no_such`; it has "), "{error}");
        let error = over("no/rule", "x", Parameter::Number(1.0)).apply(&mut rules).unwrap_err().to_string();
        assert!(error.contains("no such rule"), "{error}");
        let number =
            pack().into_iter().find_map(|r| Some((r.name.clone(), r.parameters.iter().find(|(_, v)| v.number().is_some())?.0.clone())));
        let (rule, parameter) = number.unwrap();
        let error = over(&rule, &parameter, Parameter::Text("five".into())).apply(&mut rules).unwrap_err().to_string();
        assert!(error.contains("is a number, not a text"), "{error}");
    }
}
