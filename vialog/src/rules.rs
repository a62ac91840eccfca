//! `rules`: list, lint with a lock file, test, backtest, replay; the others are modules of their own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use detector::again::{self, Backtest, Replayed};
use detector::check::How;
use detector::inventory::Inventory;
use detector::lint::{self, Fault};
use detector::rule::{self, Rule};
use detector::run::Detector;
use detector::sigma::{self, FieldMapping};
use lake::Lake;
use lake::alerts::Alert;
use lake::views::Window;
use query::{Session, literal};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::args::{BacktestArgs, Output, RuleRunArgs, RulesCommand};
use crate::detection::{self, Setup};
use crate::{alerts, canary, promotion, report, tell};

/// Between event ids in one text.
const SEPARATOR: char = '\u{1f}';

/// Runs one.
pub(crate) async fn run(command: &RulesCommand) -> Result<ExitCode> {
    match command {
        RulesCommand::List { folder, format } => detection::list(folder.as_deref(), *format == Output::Json),
        RulesCommand::Show { name } => show(name),
        RulesCommand::Lint { folder, lock, write, format } => {
            let lock = lock.as_deref().map(|file| Lock { file, write: *write });
            lint_rules(folder.as_deref(), lock, *format).await
        }
        RulesCommand::Test { folder, thorough, format } => {
            let how = if *thorough { How::Both } else { How::Plain };
            detection::test(folder.as_deref(), how, *format == Output::Json)
        }
        RulesCommand::ImportSigma { out, files } => import_sigma(out, files),
        RulesCommand::Backtest(args) => backtest(args).await,
        RulesCommand::Promote(args) => promotion::promote(args).await,
        RulesCommand::Demote { run, told, name } => promotion::demote(run, told, name).await,
        RulesCommand::Canary(args) => canary::run(args).await,
        RulesCommand::Health(args) => canary::health(args).await,
        RulesCommand::Report(args) => report::run(args).await,
        RulesCommand::Replay { run, alert } => replay(run, alert).await,
    }
}

/// The file of a rule, with its comments.
fn show(name: &str) -> Result<ExitCode> {
    let text =
        rule::pack_text(name).with_context(|| format!("no rule `{name}` comes with the program; `vialog rules list` has their names"))?;
    tell::text(text)?;
    Ok(ExitCode::SUCCESS)
}

/// Each file for itself; when one refers to another, all of them together.
fn import_sigma(out: &Path, files: &[PathBuf]) -> Result<ExitCode> {
    let mapping = FieldMapping::built_in().map_err(|fault| anyhow::anyhow!("the field mapping is wrong: {fault}"))?;
    let texts = files.iter().map(|file| std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display())));
    let texts = texts.collect::<Result<Vec<String>>>()?;
    let together = sigma::import(&texts.join("\n---\n"), &mapping).map(|imported| vec![(String::new(), imported)]);
    let (mut imported, mut refused) = (Vec::new(), 0);
    match together {
        Ok(all) => imported = all,
        Err(_) => {
            for (file, text) in files.iter().zip(&texts) {
                match sigma::import(text, &mapping) {
                    Ok(found) => imported.push((format!("{}: ", file.display()), found)),
                    Err(error) => {
                        refused += 1;
                        tell::line(&format!("REFUSED {}: {error}: {}", file.display(), error.fault))?;
                    }
                }
            }
        }
    }
    std::fs::create_dir_all(out).with_context(|| format!("cannot make `{}`", out.display()))?;
    let mut written = 0;
    for (file, found) in &imported {
        found.warnings.iter().try_for_each(|warning| tell::line(&format!("warning {file}{warning}")))?;
        for rule in &found.rules {
            let path = out.join(format!("{}.yaml", rule.name.trim_start_matches("sigma/")));
            std::fs::write(&path, &rule.text).with_context(|| format!("cannot write `{}`", path.display()))?;
            written += 1;
        }
    }
    tell::line(&format!("{written} rules in {}, {refused} files refused; next: vialog rules test {}", out.display(), out.display()))?;
    Ok(ExitCode::from(u8::from(refused > 0)))
}

/// What a lock file says of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Locked {
    version: i32,
    logic_sha256: String,
}

#[derive(Clone, Copy)]
struct Lock<'a> {
    file: &'a Path,
    write: bool,
}

async fn lint_rules(folder: Option<&Path>, lock: Option<Lock<'_>>, format: Output) -> Result<ExitCode> {
    let (rules, mut faults) = read(folder)?;
    let scratch = std::env::temp_dir().join(format!("vialog-lint-{}", std::process::id()));
    let planned = plan(&rules, &scratch).await;
    std::fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove `{}`", scratch.display()))?;
    faults.extend(planned?);
    if let Err(error) = rule::check_distinct(&rules) {
        faults.push((String::new(), Fault { at: "name".into(), what: error.to_string() }));
    }
    if let Some(lock) = lock {
        faults.extend(against_lock(&rules, lock, faults.is_empty())?);
    }
    for (rule, Fault { at, what }) in &faults {
        match format {
            Output::Text => tell::line(&format!("FAULT   {rule}: {at}: {what}"))?,
            Output::Json => tell::object(&json!({ "rule": rule, "at": at, "what": what }))?,
        }
    }
    match format {
        Output::Text => tell::line(&format!("{} rules, {} faults", rules.len(), faults.len()))?,
        Output::Json => tell::object(&json!({ "rules": rules.len(), "faults": faults.len() }))?,
    }
    Ok(ExitCode::from(u8::from(!faults.is_empty())))
}

type Faults = Vec<(String, Fault)>;

/// The rules that can be read, and what is wrong with the others.
fn read(folder: Option<&Path>) -> Result<(Vec<Rule>, Faults)> {
    let Some(folder) = folder else { return Ok((rule::pack()?, Vec::new())) };
    let (mut rules, mut faults, pack) = (Vec::new(), Vec::new(), rule::pack()?);
    for file in rule::files(folder)? {
        match rule::folder(&file) {
            Ok(read) => {
                faults.extend(read.iter().filter_map(|rule| Some((rule.name.clone(), taken(rule, &file, &pack)?))));
                rules.extend(read);
            }
            Err(error) => faults.push((file.display().to_string(), Fault { at: "file".into(), what: error.to_string() })),
        }
    }
    if rules.is_empty() && faults.is_empty() {
        bail!("there is no rule file (*.yaml) in `{}`", folder.display());
    }
    Ok((rules, faults))
}

/// A rule of one's own that has the id or the name of one that comes with the program: `detect` refuses the two together. The source
/// of that one, in the folder where the program is built from, is well.
fn taken(rule: &Rule, file: &Path, pack: &[Rule]) -> Option<Fault> {
    let is_source = std::fs::canonicalize(file).is_ok_and(|path| path.ends_with(format!("detector/rules/{}.yaml", rule.name)));
    let other = pack.iter().find(|other| !is_source && (other.id == rule.id || other.name == rule.name))?;
    let at = if other.name == rule.name { "name" } else { "id" };
    let what = format!(
        "`{}` comes with the program and has the same {at}, so `detect` would refuse both; give yours an `id` (uuidgen) and a `name` of its own. To change a parameter of `{}`, set it in the configuration",
        other.name, other.name
    );
    Some(Fault { at: at.into(), what })
}

/// Plans every statement against an empty lake.
async fn plan(rules: &[Rule], scratch: &Path) -> Result<Faults> {
    let lake = Lake::open_or_create(scratch.join("lake").to_string_lossy().as_ref(), "development")?;
    let inventory = Inventory::default();
    let context =
        Detector::new(&lake, rules, &inventory).session(Window { up_to: Some(0), after: Some(None), ..Window::default() }).await?;
    let mut found = Vec::new();
    for rule in rules {
        found.extend(lint::faults(rule, &context).await.into_iter().map(|fault| (rule.name.clone(), fault)));
    }
    Ok(found)
}

/// Rules whose logic is not that of their version, as the lock file knows it.
fn against_lock(rules: &[Rule], lock: Lock<'_>, is_well: bool) -> Result<Faults> {
    let now: BTreeMap<String, Locked> =
        rules.iter().map(|r| (r.name.clone(), Locked { version: r.version, logic_sha256: r.logic_sha256() })).collect();
    let before: BTreeMap<String, Locked> = match std::fs::read_to_string(lock.file) {
        Ok(text) => serde_json::from_str(&text).with_context(|| format!("`{}` is no lock file", lock.file.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && lock.write => BTreeMap::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read `{}`; make it with --write", lock.file.display())),
    };
    let mut faults = Vec::new();
    for (name, now) in &now {
        let what = match before.get(name) {
            Some(locked) if locked == now => continue,
            Some(locked) if locked.version >= now.version => {
                format!("its logic changed since version {}; set `version: {}`", locked.version, locked.version + 1)
            }
            _ if lock.write => continue,
            _ => "it is not in the lock file in this version; write it there with --write".into(),
        };
        faults.push((name.clone(), Fault { at: "version".into(), what }));
    }
    if lock.write && is_well && faults.is_empty() {
        std::fs::write(lock.file, serde_json::to_string_pretty(&now)? + "\n")
            .with_context(|| format!("cannot write `{}`", lock.file.display()))?;
    }
    Ok(faults)
}

async fn backtest(args: &BacktestArgs) -> Result<ExitCode> {
    let mut setup = Setup::read(&args.run)?;
    setup.keep(&args.names)?;
    if args.to < args.from {
        bail!("--to {} is before --from {}", args.to, args.from);
    }
    let span = span_us(args.from, args.to);
    let reports = again::backtest(&setup.detector(), span, chrono::Utc::now().timestamp_micros()).await?;
    let failed = reports.iter().filter(|report| report.failed.is_some()).count();
    reports.iter().try_for_each(|report| print(report, args.run.format))?;
    let alerts: usize = reports.iter().map(|report| report.alerts).sum();
    match args.run.format {
        Output::Json => tell::object(&json!({ "rules": reports.len(), "alerts": alerts, "failed": failed }))?,
        Output::Text => tell::line(&format!("{} rules would have given {alerts} alerts; nothing was written", reports.len()))?,
    }
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// From the beginning of one day to the end of another, microseconds, UTC.
pub(crate) fn span_us(from: chrono::NaiveDate, to: chrono::NaiveDate) -> (i64, i64) {
    const DAY_US: i64 = 86_400_000_000;
    let us = |day: chrono::NaiveDate| day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros();
    (us(from), us(to) + DAY_US)
}

pub(crate) fn print(report: &Backtest, format: Output) -> Result<()> {
    if format == Output::Json {
        let examples: Vec<_> = report
            .examples
            .iter()
            .map(|a| json!({ "entity": a.entity, "event_time": schemas::time::print(a.event_time), "reason": a.reason }))
            .collect();
        return tell::object(&json!({ "rule": report.rule, "alerts": report.alerts, "identities": report.identities, "days": report.days,
            "per_thousand_identities_and_day": report.rate(), "learning": report.learning, "blind": report.blind, "top": report.top,
            "examples": examples, "failed": report.failed }));
    }
    if let Some(why) = &report.failed {
        return tell::line(&format!("{:<28} FAILED: {why}", report.rule));
    }
    let Backtest { rule, alerts, identities, days, .. } = report;
    tell::line(&format!(
        "{rule:<28} {alerts:>6} alerts, {:.2} per 1,000 identities and day ({identities} identities, {days} days)",
        report.rate()
    ))?;
    if let Some(why) = &report.blind {
        tell::line(&format!("    BLIND: {why}"))?;
    }
    if report.learning > 0 {
        tell::line(&format!("    still learning {} identities", report.learning))?;
    }
    report.top.iter().filter(|(_, n)| *n > 1).try_for_each(|(entity, n)| tell::line(&format!("    {n:>6} of {entity}")))?;
    report.examples.iter().try_for_each(|alert| tell::line(&format!("    {}  {}", schemas::time::print(alert.event_time), alert.reason)))
}

async fn replay(args: &RuleRunArgs, id: &str) -> Result<ExitCode> {
    let setup = Setup::read(args)?;
    let session = Session::open(&setup.lake).await?;
    let id = alerts::full_id(&session, id).await?;
    let alert =
        stored(&session, &format!("alert_id = {}", literal(&id))).await?.into_iter().next().context("the alert was there a moment ago")?;
    let replayed = again::replay(&setup.detector(), &alert).await?;
    let (said, well) = match &replayed {
        Replayed::Same => ("the same, bit for bit".to_owned(), true),
        Replayed::Gone => ("the rule does not give this alert any more".to_owned(), false),
        Replayed::Otherwise(why) => (format!("it cannot be replayed as it was: {why}"), false),
        Replayed::Different(fields) => {
            let fields: Vec<String> = fields.iter().map(|(name, then, now)| format!("{name}: `{then}`, now `{now}`")).collect();
            (format!("it is otherwise now: {}", fields.join("; ")), false)
        }
    };
    match args.format {
        Output::Text => tell::line(&format!("{} {}: {said}", alert.alert_id, alert.rule_id))?,
        Output::Json => tell::object(&json!({ "alert_id": alert.alert_id, "rule_id": alert.rule_id, "same": well, "what": said }))?,
    }
    Ok(ExitCode::from(u8::from(!well)))
}

/// Alerts as the table has them, and where they stand now.
pub(crate) async fn stored(session: &Session, condition: &str) -> Result<Vec<Alert>> {
    let sql = format!(
        "SELECT alert_id, rule_id, CAST(rule_version AS VARCHAR), severity, CAST(CAST(event_time AS BIGINT) AS VARCHAR) AS event_us, tenant, entity, reason, value, expected,
           array_to_string(event_ids, '{SEPARATOR}'), context, status, CAST(CAST(detected_at AS BIGINT) AS VARCHAR) AS detected_us FROM alerts WHERE {condition} ORDER BY event_time, alert_id"
    );
    session.texts(&sql).await?.into_iter().map(alert_of).collect()
}

fn alert_of(row: Vec<String>) -> Result<Alert> {
    let [
        alert_id,
        rule_id,
        version,
        severity,
        event_time,
        tenant,
        entity,
        reason,
        value,
        expected,
        event_ids,
        context,
        status,
        detected_at,
    ] = <[String; 14]>::try_from(row).ok().context("fourteen columns")?;
    Ok(Alert {
        alert_id,
        rule_id,
        rule_version: version.parse()?,
        severity,
        event_time: event_time.parse()?,
        tenant,
        entity,
        reason,
        value,
        expected,
        event_ids: event_ids.split(SEPARATOR).filter(|id| !id.is_empty()).map(str::to_owned).collect(),
        context,
        status,
        detected_at: detected_at.parse()?,
    })
}
