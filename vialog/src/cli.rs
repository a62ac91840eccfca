//! What each command runs.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use ingest::Summary;
use ingest::produce::{Outgoing, Producer};
use lake::{Lake, LakeAt};
use query::Session;
use schemas::decode::Source;
use serde_json::json;

use crate::args::{
    BaselinesCommand, Cli, Command, DemoArgs, GenerateArgs, ImportArgs, IngestArgs, MaintainArgs, Output, QueryArgs, VerifyArgs,
};
use crate::config::Config;
use crate::demo::{self, DemoOptions};
use crate::{alerts, allocator, baselines, detection, doctor, generate, rules, sources, tell};

/// Runs a command.
pub(crate) fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Alerts { command } => runtime()?.block_on(alerts::run(&command)),
        Command::Baselines { command: BaselinesCommand::Show(args) } => runtime()?.block_on(baselines::show(&args)),
        Command::Demo(args) => demo(&args),
        Command::Detect(args) => {
            let stop = if args.once { Arc::default() } else { stop_on_signal()? };
            runtime()?.block_on(detection::detect(&args, stop))
        }
        Command::Rules { command } => runtime()?.block_on(rules::run(&command)),
        Command::Generate(args) => generate_traffic(&args),
        Command::Ingest(args) => ingest(&args),
        Command::Import(args) => {
            allocator::keep_memory();
            runtime()?.block_on(import(&args))
        }
        Command::Query(args) => runtime()?.block_on(run_query(&args)),
        Command::Maintain(args) => runtime()?.block_on(maintain(&args)),
        Command::Verify(args) => runtime()?.block_on(verify(&args)),
        Command::Doctor(args) => runtime()?.block_on(doctor::run(&args)),
        Command::Sources { command } => sources::run(&command),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Runtime::new().context("cannot start the runtime")
}

fn demo(args: &DemoArgs) -> Result<ExitCode> {
    let lake = args.lake.clone().unwrap_or_else(|| {
        let name = format!("vialog-demo-{}", std::process::id());
        std::env::temp_dir().join(name).join("lake").to_string_lossy().into_owned()
    });
    let options = DemoOptions { once: args.once, lake: lake.clone(), seed: args.seed, json: args.format == Output::Json };
    let report = demo::run(&options, &stop_on_signal()?)?;
    if args.format == Output::Json {
        tell::object(&report)?;
    } else {
        print_summary(&report.summary, Output::Text)?;
        tell::line(&format!(
            "planted incidents: {}, found: {}; near misses planted: {}; false alerts: {}",
            report.incidents_planted, report.incidents_found, report.near_misses_planted, report.false_alerts
        ))?;
        tell::line(&format!("look around: vialog query --lake {lake} \"SELECT severity, reason FROM alerts ORDER BY event_time\""))?;
        if !report.reconciles {
            tell::line("THE NUMBERS DO NOT RECONCILE: not everything that was sent was stored")?;
        }
    }
    Ok(ExitCode::from(u8::from(!report.reconciles)))
}

fn generate_traffic(args: &GenerateArgs) -> Result<ExitCode> {
    match (&args.out, &args.brokers) {
        (Some(out), _) => write_traffic(args, out),
        (None, Some(brokers)) => send_traffic(args, brokers),
        (None, None) => bail!("name a folder with --out or brokers with --brokers"),
    }
}

/// Up to today, so that no broker deletes it for its age.
fn send_traffic(args: &GenerateArgs, brokers: &str) -> Result<ExitCode> {
    let producer = Producer::new(brokers, &std::collections::BTreeMap::new())?;
    let start = chrono::Utc::now().date_naive() - chrono::Days::new(30);
    let (mut sent, mut index) = (0, 0);
    while sent < args.events {
        let traffic = generate::day(args.seed, start, index);
        for record in &traffic.records {
            let (topic, key) = (format!("demo.{}", record.adapter), Some(record.key.as_bytes()));
            let timestamp_ms = Some(record.at_us / 1000);
            producer.send(&Outgoing {
                topic: &topic,
                key,
                timestamp_ms,
                payload: Some(record.payload.as_bytes()),
                ..Outgoing::default()
            })?;
        }
        sent += traffic.records.len();
        index += 1;
    }
    let delivered = producer.flush()?;
    tell::line(&format!("{delivered} records of {index} days sent to {brokers}"))?;
    Ok(ExitCode::SUCCESS)
}

fn write_traffic(args: &GenerateArgs, out: &std::path::Path) -> Result<ExitCode> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot make `{}`", out.display()))?;
    let start = chrono::NaiveDate::from_ymd_opt(2026, 1, 5).context("a valid date")?;
    let (mut written, mut index, mut files) = (0, 0, std::collections::BTreeMap::new());
    let mut labels = std::io::BufWriter::new(std::fs::File::create(out.join("labels.jsonl"))?);
    while written < args.events {
        let traffic = generate::day(args.seed, start, index);
        for record in &traffic.records {
            if !files.contains_key(record.adapter) {
                let file = std::fs::File::create(out.join(format!("{}.jsonl", record.adapter)))?;
                files.insert(record.adapter, std::io::BufWriter::new(file));
            }
            let file = files.get_mut(record.adapter).context("the file was just made")?;
            writeln!(file, "{}", record.payload)?;
        }
        for label in &traffic.labels {
            writeln!(labels, "{}", serde_json::to_string(label)?)?;
        }
        written += traffic.records.len();
        index += 1;
    }
    write_inventory(&out.join("inventory"), &generate::inventory(start))?;
    labels.flush()?;
    files.values_mut().try_for_each(Write::flush)?;
    tell::line(&format!("{written} records of {index} days in {}", out.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// The folder that `detect --inventory` reads.
fn write_inventory(folder: &std::path::Path, inventory: &detector::inventory::Inventory) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut identities = String::from("identity,zone,country,peer_group\n");
    for i in &inventory.identities {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        identities.push_str(&format!("{},{},{},{}\n", i.identity, text(&i.zone), text(&i.country), text(&i.peer_group)));
    }
    let holidays: String = inventory.holidays.iter().map(|h| format!("{},{}\n", h.country, h.day)).collect();
    std::fs::write(folder.join("identities.csv"), identities)?;
    std::fs::write(folder.join("holidays.csv"), format!("country,day\n{holidays}"))?;
    Ok(())
}

fn ingest(args: &IngestArgs) -> Result<ExitCode> {
    allocator::keep_memory();
    let config = Config::read(&args.config)?;
    let mut worker = config.worker.context("the configuration has no [kafka] section")?;
    if worker.feeds.is_empty() {
        bail!("the configuration has no [[source]]; add one for each topic");
    }
    worker.once = args.once;
    let lake = Lake::open_or_create(args.storage.complete(config.lake), &config.environment)?;
    #[cfg(debug_assertions)]
    let lake = lake.with_fault(args.tests.fault);
    let stop = stop_on_signal()?;
    let summary = ingest::kafka::run(&lake, &worker, &stop)?;
    print_summary(&summary, args.format)?;
    Ok(ExitCode::from(u8::from(summary.partitions_stopped > 0)))
}

/// Set when the process is asked to end.
fn stop_on_signal() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok()?;
            tokio::select! {
                _ = term.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            flag.store(true, Ordering::Relaxed);
            Some(())
        })
    })?;
    Ok(stop)
}

async fn import(args: &ImportArgs) -> Result<ExitCode> {
    let adapter = args.adapter.adapter()?;
    if let Some(missing) = args.files.iter().find(|file| !ingest::import::is_importable(file)) {
        let what = if std::path::Path::new(missing).is_dir() { "is a folder; name its files" } else { "does not exist" };
        bail!("`{missing}` {what}");
    }
    let source = Source {
        tenant: args.tenant.clone(),
        instance: args.instance.clone().unwrap_or_else(|| adapter.name().into()),
        adapter,
        environment: args.environment.clone(),
        privacy: args.lake.privacy()?,
    };
    let lake = Lake::open_or_create(args.lake.at()?, &args.environment)?;
    let bar = std::io::stderr().is_terminal().then(|| {
        indicatif::ProgressBar::new_spinner().with_style(
            indicatif::ProgressStyle::with_template("{spinner} {bytes} read, {bytes_per_sec}")
                .unwrap_or_else(|_| indicatif::ProgressStyle::default_spinner()),
        )
    });
    let progress = |bytes: u64| {
        if let Some(bar) = &bar {
            bar.set_position(bytes);
        }
    };
    let imported = ingest::import::import(&lake, &source, &args.files, &progress).await?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    if imported.known_files > 0 && args.format == Output::Text {
        tell::line(&format!("{} files are in the lake already, read by the same adapter: nothing to add", imported.known_files))?;
    }
    print_summary(&imported.summary, args.format)?;
    let Summary { records, records_rejected, .. } = imported.summary;
    let complaint = match (records, records_rejected) {
        (0, _) if imported.known_files == 0 => Some("NOTHING was read: there is no record in what was named"),
        (1.., rejected) if rejected == records => Some(
            "NOTHING could be read: is the adapter, or the mapping, the right one? The rejections keep every byte; import again with another",
        ),
        _ => None,
    };
    if let Some(complaint) = complaint.filter(|_| args.format == Output::Text) {
        tell::line(complaint)?;
    }
    Ok(ExitCode::from(u8::from(complaint.is_some())))
}

fn print_summary(summary: &Summary, format: Output) -> Result<()> {
    if format == Output::Json {
        return tell::object(summary);
    }
    tell::line(&format!(
        "{} records: {} with events, {} rejected, {} duplicate, {} empty",
        summary.records, summary.records_with_events, summary.records_rejected, summary.records_duplicate, summary.records_empty
    ))?;
    tell::line(&format!(
        "{} events ({} of them copies) and {} rejections in {} commits",
        summary.events, summary.duplicates, summary.rejections, summary.commits
    ))?;
    if summary.rejections > 0 {
        tell::line("see why: SELECT reason_code, reason, count(*) FROM rejections GROUP BY ALL")?;
    }
    if summary.partitions_stopped > 0 {
        tell::line(&format!("{} partitions are STOPPED because records are missing; the log says which", summary.partitions_stopped))?;
    }
    Ok(())
}

async fn run_query(args: &QueryArgs) -> Result<ExitCode> {
    let lake = Lake::open(args.lake.at()?)?;
    let session = Session::open(&lake).await?;
    let (schema, rows) = session.query(&args.sql).await?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    query::print(&schema, &rows, args.format, &mut out)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

async fn verify(args: &VerifyArgs) -> Result<ExitCode> {
    let lake = Lake::open(args.storage.complete(LakeAt::from(&args.lake)))?;
    let report = lake::verify::verify(&lake).await?;
    for fault in &report.faults {
        match args.format {
            Output::Text => tell::line(&format!("FAILED {fault}"))?,
            Output::Json => tell::object(&json!({ "fault": fault }))?,
        }
    }
    let checked = report.batches + report.rows;
    match args.format {
        Output::Json => tell::object(
            &json!({ "checked": checked, "failed": report.faults.len(), "batches": report.batches, "rows": report.rows, "offsets": report.offsets }),
        )?,
        Output::Text => tell::line(&format!(
            "checked {} batches, {} rows and {} offsets against their seals: {}",
            report.batches,
            report.rows,
            report.offsets,
            if report.faults.is_empty() { "all hold".to_owned() } else { format!("{} FAULTS", report.faults.len()) }
        ))?,
    }
    Ok(ExitCode::from(u8::from(!report.faults.is_empty())))
}

async fn maintain(args: &MaintainArgs) -> Result<ExitCode> {
    let lake = Lake::open(args.lake.at()?)?;
    #[cfg(debug_assertions)]
    let lake = lake.with_fault(args.tests.fault);
    let now_ms = chrono::Utc::now().timestamp_millis();
    if args.apply {
        let text = args.format == Output::Text;
        // A closed output is no reason to leave the work half done.
        let progress = |line: &str| drop(text.then(|| tell::line(line)));
        lake::maintain::run(&lake, now_ms, &progress).await?;
    }
    for due in lake::maintain::plan(&lake, now_ms)?.into_iter().filter(|due| due.version.is_some()) {
        match args.format {
            Output::Json => {
                tell::object(&json!({ "table": due.table, "version": due.version, "files": due.files, "mergeable": due.mergeable,
                "uncheckpointed": due.uncheckpointed, "old_commits": due.old_commits, "orphans": due.orphans, "not_merged": due.not_merged }))?
            }
            Output::Text => tell::line(&format!(
                "{:<18} version {:>6}, {:>5} files; due: merge {} files, checkpoint after {} commits, remove {} old commit files and {} unused files{}",
                due.table,
                due.version.unwrap_or(0),
                due.files,
                due.mergeable,
                due.uncheckpointed,
                due.old_commits,
                due.orphans,
                due.not_merged.map(|why| format!("; {why}")).unwrap_or_default()
            ))?,
        }
    }
    if !args.apply && args.format == Output::Text {
        tell::line("nothing was changed; do it with --apply")?;
    }
    Ok(ExitCode::SUCCESS)
}
