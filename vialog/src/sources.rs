//! `vialog sources`: what can be read, and the tools for whoever writes a mapping file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use schemas::adapters::Adapter;
use schemas::mapping::explain::{Explained, explain};
use schemas::mapping::{Mapping, check};
use serde_json::json;

use crate::args::{Output, SourcesCommand};
use crate::tell;

/// Longest value that `explain` prints, characters.
const MAX_SHOWN: usize = 72;

/// Runs one of its commands.
pub(crate) fn run(command: &SourcesCommand) -> Result<ExitCode> {
    match command {
        SourcesCommand::Columns => columns(),
        SourcesCommand::Matrix => tell::text(crate::matrix::markdown().trim_end()).map(|()| ExitCode::SUCCESS),
        SourcesCommand::List { format } => list(*format),
        SourcesCommand::Lint { files } => lint(files),
        SourcesCommand::Test { files, format } => test(files, *format),
        SourcesCommand::Explain { adapter, records, file } => explain_file(&adapter.adapter()?, *records, file),
    }
}

fn columns() -> Result<ExitCode> {
    tell::text(
        "# The columns of an event\n\nWritten by `./dev docs` from `schemas/src/columns.rs`; change it there.\nSensitive columns have a salted commitment of their own in the ledger and no statistics.\n",
    )?;
    tell::line("| column | type | sensitive | meaning |")?;
    tell::line("|---|---|---|---|")?;
    for column in schemas::COLUMNS {
        let sensitive = if column.sensitive { "yes" } else { "" };
        tell::line(&format!("| `{}` | {} | {sensitive} | {} |", column.name, column.kind.describe(), column.doc))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list(format: Output) -> Result<ExitCode> {
    for adapter in Adapter::all() {
        match format {
            Output::Text => tell::line(&format!("{:<14} {:>2} fixtures  {}", adapter.name(), adapter.tests().len(), adapter.title()))?,
            Output::Json => tell::object(&json!({ "name": adapter.name(), "status": "working", "fixtures": adapter.tests().len() }))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn lint(files: &[PathBuf]) -> Result<ExitCode> {
    let mut faulty = false;
    for file in mapping_files(files)? {
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
        match Mapping::parse(&text) {
            Ok(mapping) => tell::line(&format!("{}: fine, {} tests", file.display(), mapping.tests.len()))?,
            Err(fault) => {
                faulty = true;
                tell::line(&format!("{}:{} {fault}", file.display(), line_of(&text, &fault.at)))?;
            }
        }
    }
    Ok(ExitCode::from(u8::from(faulty)))
}

/// The line of the last key of a place such as `columns.outcome.table`, as near as the text tells.
fn line_of(text: &str, at: &str) -> usize {
    let mut line = 0;
    for key in at.split('.').filter(|key| key.parse::<usize>().is_err()) {
        let stands = |l: &&str| l.trim_start().trim_start_matches("- ").starts_with(key) || l.contains(&format!("{key}:"));
        line += text.lines().skip(line).position(|l| stands(&l)).unwrap_or(0);
    }
    line + 1
}

fn test(files: &[PathBuf], format: Output) -> Result<ExitCode> {
    let adapters: Vec<Adapter> = if files.is_empty() {
        Adapter::all()
    } else {
        mapping_files(files)?.iter().map(|file| crate::config::mapping(file)).collect::<Result<_>>()?
    };
    let (mut cases, mut failed) = (0, 0);
    for adapter in &adapters {
        for case in adapter.tests() {
            let wrong = check::run(adapter, &case);
            cases += 1;
            failed += usize::from(!wrong.is_empty());
            match format {
                Output::Text if !wrong.is_empty() => {
                    tell::line(&format!("FAILED {}: {}: {}", adapter.name(), case.name, wrong.join("; ")))?
                }
                Output::Json => tell::object(&json!({ "source": adapter.name(), "case": case.name, "wrong": wrong }))?,
                Output::Text => {}
            }
        }
    }
    match format {
        Output::Text => tell::line(&format!("{} sources, {cases} cases: {} passed, {failed} failed", adapters.len(), cases - failed))?,
        Output::Json => tell::object(&json!({ "sources": adapters.len(), "cases": cases, "passed": cases - failed, "failed": failed }))?,
    }
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// The files named, and those of the folders named.
fn mapping_files(named: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in named {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        for entry in entries {
            files.push(entry?.path());
        }
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml"));
    files.sort();
    if files.is_empty() {
        bail!("there are no mapping files (*.yaml) in what was named");
    }
    Ok(files)
}

fn explain_file(adapter: &Adapter, records: usize, file: &Path) -> Result<ExitCode> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    // A whole file may be one record of many lines, or an array.
    let is_lines = bytes.split(|b| *b == b'\n').next().is_some_and(|line| schemas::json::parse(line).is_ok());
    let lines: Vec<&[u8]> = if is_lines { bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()).collect() } else { vec![&bytes] };
    for (number, record) in lines.into_iter().take(records).enumerate() {
        for (event, explained) in explain(adapter, record).iter().take(records.max(8)).enumerate() {
            tell::line(&format!("record {number}, event {event}"))?;
            show(explained)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(explained: &Explained) -> Result<()> {
    if let Some(reason) = &explained.refused {
        return tell::line(&format!("  refused: {reason}"));
    }
    for (column, value, paths) in &explained.columns {
        let shown: String = value.chars().take(MAX_SHOWN).collect();
        let from = if paths.is_empty() { "(derived)".to_owned() } else { paths.join(", ") };
        tell::line(&format!("  {column:<26} {shown:<40} <- {from}"))?;
    }
    for (path, value) in explained.left_over.iter() {
        let shown: String = value.chars().take(MAX_SHOWN).collect();
        tell::line(&format!("  left in ext: {path} = {shown}"))?;
    }
    explained.faults.iter().try_for_each(|fault| tell::line(&format!("  could not be read: {fault}")))
}
