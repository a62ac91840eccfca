//! Imports Sigma 2.1 rules, correlations and filters as rule files of this program.
//!
//! [`import`] takes the text of one file, of one or more YAML documents, and gives the text of a rule file for each rule
//! and correlation in it. It decides purely: no files, no clock. What cannot be said in SQL is an error that names the
//! document and the reason, never a rule that means something else; what a person should know is a warning.
//!
//! Filters are added as they are written (`(rule) AND (filter)`), as pySigma does: one that says `condition: selection`
//! keeps only what it names, which is linted. Rules that a correlation reads do not alert by themselves, unless every one of
//! these correlations says `generate: true`.

mod condition;
mod correlate;
mod correlation;
mod correlation_example;
mod detection;
mod document;
mod error;
mod example;
mod expr;
mod mapping;
mod matcher;
mod modifier;
mod network;
mod pattern;
mod rule_file;
mod sql;

use std::collections::BTreeMap;

use correlate::Branch;
use correlation::Correlation;
use detection::Compiler;
use document::{Body, Document, Meta, Targets};
pub use error::{Fault, SigmaError};
pub use expr::Kind;
use expr::{Column, Expr};
pub use mapping::FieldMapping;
use mapping::Source;
use rule_file::RuleFile;
use serde_yaml_ng::Mapping;

/// What came of a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// Rule files, in the order of the documents.
    pub rules: Vec<ImportedRule>,
    /// What a person should know, each with the title it is about.
    pub warnings: Vec<String>,
}

/// A rule file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedRule {
    /// Its name, `sigma/...`.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A rule with its fields resolved and its filters added.
#[derive(Debug)]
struct Compiled<'m> {
    meta: Meta,
    logsource: BTreeMap<String, String>,
    source: &'m Source,
    /// What tells events of its source.
    guard: Expr,
    expr: Expr,
    /// Its condition as it is written.
    text: String,
    /// Whom an alert is about.
    entity: Vec<Column>,
}

/// Imports the documents of one text.
///
/// # Errors
/// When one of them breaks the specification, or is beyond what this importer can say in SQL.
pub fn import(text: &str, mapping: &FieldMapping) -> Result<Imported, SigmaError> {
    let documents = document::documents(text)?;
    let mut imported = Imported::default();
    let mut rules = Vec::new();
    for document in &documents {
        if let Body::Rule { logsource, detection } = &document.body {
            let compiled = compile((&document.meta, logsource, detection), mapping, &mut imported.warnings);
            rules.push(compiled.map_err(|fault| document.meta.failed(fault))?);
        }
    }
    for document in &documents {
        if let Body::Filter { targets, logsource, section } = &document.body {
            let filter = Filter { meta: &document.meta, targets, logsource, section };
            filter.add(&mut rules, mapping, &mut imported.warnings).map_err(|fault| document.meta.failed(fault))?;
        }
    }
    let reading = |rule: &Compiled<'_>| documents.iter().filter(|d| reads(d, &rule.meta)).all(generates);
    let mut compiled = rules.iter();
    for document in &documents {
        let made = match &document.body {
            Body::Filter { .. } => continue,
            Body::Rule { .. } => match compiled.next() {
                Some(rule) if reading(rule) => plain(rule, mapping, &mut imported.warnings),
                _ => continue,
            },
            Body::Correlation(correlation) => {
                correlated((&document.meta, correlation), (&rules, &documents), mapping, &mut imported.warnings)
            }
        };
        imported.rules.push(made.map_err(|fault| document.meta.failed(fault))?);
    }
    distinct(&mut imported);
    Ok(imported)
}

fn generates(document: &Document) -> bool {
    matches!(&document.body, Body::Correlation(correlation) if correlation.generate)
}

/// Whether a document is a correlation that reads a rule.
fn reads(document: &Document, rule: &Meta) -> bool {
    matches!(&document.body, Body::Correlation(correlation) if correlation.rules.iter().any(|r| rule.is(r)))
}

fn compile<'m>(
    (meta, logsource, detection): (&Meta, &BTreeMap<String, String>, &Mapping),
    mapping: &'m FieldMapping,
    warnings: &mut Vec<String>,
) -> Result<Compiled<'m>, Fault> {
    let source = mapping.source(logsource)?;
    let mut compiler = Compiler::new(mapping, source);
    let detection = compiler.section(detection)?;
    note(meta, compiler.warnings, warnings);
    Ok(Compiled {
        meta: meta.clone(),
        logsource: logsource.clone(),
        source,
        guard: mapping.guard(source),
        expr: detection.expr,
        text: detection.text,
        entity: mapping.entity(source),
    })
}

/// A filter document.
struct Filter<'d> {
    meta: &'d Meta,
    targets: &'d Targets,
    logsource: &'d BTreeMap<String, String>,
    section: &'d Mapping,
}

impl Filter<'_> {
    /// Adds it to the rules that it is for.
    fn add(&self, rules: &mut [Compiled<'_>], mapping: &FieldMapping, warnings: &mut Vec<String>) -> Result<(), Fault> {
        let mut added = 0;
        for rule in rules.iter_mut().filter(|rule| self.is_for(rule)) {
            let mut compiler = Compiler::new(mapping, rule.source);
            let filter = compiler.section(self.section)?;
            if added == 0 && !filter.conditions.iter().any(condition::Condition::has_not) {
                compiler.warnings.push(format!(
                    "the filter says `condition: {}`: the rule then finds only what the filter names; to leave that out write `not {}`",
                    filter.text, filter.text
                ));
            }
            note(self.meta, compiler.warnings, warnings);
            let before = std::mem::replace(&mut rule.expr, Expr::All(Vec::new()));
            let mut parts = if let Expr::All(parts) = before { parts } else { vec![before] };
            parts.push(filter.expr);
            rule.expr = Expr::All(parts);
            rule.text = format!("({}) and ({})", rule.text, filter.text);
            added += 1;
        }
        if added == 0 {
            note(self.meta, vec!["the filter is for no rule in this text".into()], warnings);
        }
        Ok(())
    }

    fn is_for(&self, rule: &Compiled<'_>) -> bool {
        let of_source = self.logsource.iter().all(|(k, v)| rule.logsource.get(k).is_some_and(|w| w.eq_ignore_ascii_case(v)));
        let named = match self.targets {
            Targets::Any => true,
            Targets::Named(names) => names.iter().any(|name| rule.meta.is(name)),
        };
        of_source && named
    }
}

fn plain(rule: &Compiled<'_>, mapping: &FieldMapping, warnings: &mut Vec<String>) -> Result<ImportedRule, Fault> {
    let mut remarks = Vec::new();
    let mut file = RuleFile::new(&rule.meta, mapping.attack(), &mut remarks);
    file.reads(&[rule], Vec::new());
    file.query = rule_file::plain_query(rule, &rule.meta.title);
    file.tests = rule_file::plain_tests(rule).unwrap_or_else(|| {
        remarks.push(NO_TEST.into());
        Vec::new()
    });
    note(&rule.meta, remarks, warnings);
    Ok(ImportedRule { name: file.name.clone(), text: file.print(&rule.meta)? })
}

/// Said of a rule that no test could be made for.
const NO_TEST: &str = "no test could be made from the detection; the rule is refused until one is written";

fn correlated(
    (meta, correlation): (&Meta, &Correlation),
    (rules, documents): (&[Compiled<'_>], &[Document]),
    mapping: &FieldMapping,
    warnings: &mut Vec<String>,
) -> Result<ImportedRule, Fault> {
    let branches = correlation.rules.iter().map(|reference| branch(correlation, reference, (rules, documents), mapping));
    let branches = branches.collect::<Result<Vec<_>, _>>()?;
    let mut remarks = Vec::new();
    let mut file = RuleFile::new(meta, mapping.attack(), &mut remarks);
    file.query = correlate::query(correlation, &branches, &meta.title)?;
    let mut gaps = vec!["Events without a value in `group-by` belong to no group.".to_owned()];
    file.parameters.insert("timespan_seconds".into(), correlation.timespan_s.into());
    for (order, bound) in &correlation.bounds {
        file.parameters.insert(correlate::threshold(*order), example::number(*bound));
    }
    match correlation.judging() {
        correlation::Judging::Sliding => {}
        correlation::Judging::SlidingComplete => {
            gaps.push("Events that come in after their time counted as complete change no verdict.".into())
        }
        correlation::Judging::Fixed => {
            file.parameters.insert("settle_minutes".into(), correlation.timespan_s.div_ceil(60).into());
            gaps.push("It is judged for each timespan since 1970 once it is over; a timespan without any event is not seen.".into());
        }
    }
    let used: Vec<&Compiled<'_>> = branches.iter().map(|b| b.rule).collect();
    file.reads(&used, gaps);
    file.tests = correlation_example::tests(correlation, &branches).unwrap_or_else(|| {
        remarks.push(NO_TEST.into());
        Vec::new()
    });
    note(meta, remarks, warnings);
    Ok(ImportedRule { name: file.name.clone(), text: file.print(meta)? })
}

fn branch<'c, 'm>(
    correlation: &Correlation,
    reference: &str,
    (rules, documents): (&'c [Compiled<'m>], &[Document]),
    mapping: &FieldMapping,
) -> Result<Branch<'c, 'm>, Fault> {
    let Some(rule) = rules.iter().find(|rule| rule.meta.is(reference)) else {
        let is_correlation = documents.iter().any(|d| matches!(d.body, Body::Correlation(_)) && d.meta.is(reference));
        return Err(if is_correlation {
            Fault::Unsupported(format!("the correlation reads `{reference}`, which is a correlation itself"))
        } else {
            Fault::Invalid(format!("the correlation reads `{reference}`, which is no rule in this text"))
        });
    };
    let mut compiler = Compiler::new(mapping, rule.source);
    let mut columns = |field: &String| {
        let name = correlation.field_for(field, |r| rule.meta.is(r));
        let name = name.ok_or_else(|| Fault::Invalid(format!("the alias `{field}` has no field for `{reference}`")))?;
        compiler.known_columns(name)
    };
    let groups = correlation.group_by.iter().map(&mut columns).collect::<Result<Vec<_>, _>>()?;
    let values = correlation.fields.iter().map(&mut columns).collect::<Result<Vec<_>, _>>()?;
    Ok(Branch { rule, reference: reference.into(), groups, values })
}

fn note(meta: &Meta, remarks: Vec<String>, warnings: &mut Vec<String>) {
    warnings.extend(remarks.into_iter().map(|remark| format!("`{}`: {remark}", meta.title)));
}

/// Tells rules of one title apart: names have to differ.
fn distinct(imported: &mut Imported) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for rule in &mut imported.rules {
        let n = seen.entry(rule.name.clone()).or_default();
        *n += 1;
        if *n > 1 {
            let name = format!("{}_{n}", rule.name);
            rule.text = rule.text.replacen(&format!("\nname: {}\n", rule.name), &format!("\nname: {name}\n"), 1);
            rule.name = name;
        }
    }
}

#[cfg(test)]
mod tests;
