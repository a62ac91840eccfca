//! The command line: every command, its options, and what it runs.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use ingest::Summary;
use lake::Lake;
use query::{Format, Session};
use schemas::adapters::Adapter;
use schemas::decode::Source;
use serde_json::json;

use crate::config::{self, Config};
use crate::tell;

/// Audit-log pipeline and anomaly detector for AI agents.
#[derive(Debug, Parser)]
#[command(version, about, after_help = "Logs go to standard error; RUST_LOG=debug shows more.\nExit codes: 0 done, 1 a check failed, 2 usage, configuration or SQL error.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Consume the configured topics into the lake, exactly once.
    Ingest(IngestArgs),
    /// Import files (or `-`, standard input) through the same adapters, without Kafka.
    Import(ImportArgs),
    /// Run one SQL query over the views: events, events_tip, tool_calls, decisions, token_grants, rejections, alerts.
    Query(QueryArgs),
    /// Recompute every leaf, root, count and range of a lake and compare them with its seals.
    Verify(VerifyArgs),
    /// Show which sources can be read.
    Sources {
        #[command(subcommand)]
        command: SourcesCommand,
    },
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// One JSON object a line; the last is a summary.
    Json,
}

/// Which lake.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct LakeArgs {
    /// Folder of the lake.
    #[arg(long, value_name = "DIR")]
    lake: Option<String>,
    /// Configuration file that names it.
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
}

impl LakeArgs {
    fn uri(&self) -> Result<String> {
        match (&self.lake, &self.config) {
            (Some(uri), _) => Ok(uri.clone()),
            (None, Some(file)) => Ok(Config::read(file)?.lake_uri),
            (None, None) => bail!("name a lake with --lake or --config"),
        }
    }
}

#[derive(Debug, Args)]
struct IngestArgs {
    /// Configuration file.
    #[arg(long, value_name = "FILE")]
    config: String,
    /// Stop at the end offsets seen at the start, and print a summary.
    #[arg(long)]
    once: bool,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    format: Output,
}

#[derive(Debug, Args)]
struct ImportArgs {
    #[command(flatten)]
    lake: LakeArgs,
    /// How to decode the files.
    #[arg(long)]
    adapter: String,
    /// Tenant of the events.
    #[arg(long, default_value = "default")]
    tenant: String,
    /// Instance of the source; part of every event id. [default: the adapter's name]
    #[arg(long)]
    instance: Option<String>,
    /// Environment of the events.
    #[arg(long, default_value = "production")]
    environment: String,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    format: Output,
    /// Files: JSON lines, a JSON array, or either of them as gzip or zstd; `-` is standard input.
    #[arg(required = true)]
    files: Vec<String>,
}

#[derive(Debug, Args)]
struct QueryArgs {
    #[command(flatten)]
    lake: LakeArgs,
    /// table, json, csv or parquet.
    #[arg(long, default_value = "table")]
    format: Format,
    /// The query.
    sql: String,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// Folder of the lake.
    lake: String,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    format: Output,
}

#[derive(Debug, Subcommand)]
enum SourcesCommand {
    /// List the adapters.
    List {
        #[arg(long, value_enum, default_value_t = Output::Text)]
        format: Output,
    },
}

/// Runs a command.
pub(crate) fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Ingest(args) => ingest(&args),
        Command::Import(args) => runtime()?.block_on(import(&args)),
        Command::Query(args) => runtime()?.block_on(run_query(&args)),
        Command::Verify(args) => runtime()?.block_on(verify(&args)),
        Command::Sources { command: SourcesCommand::List { format } } => sources(format),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Runtime::new().context("cannot start the runtime")
}

fn ingest(args: &IngestArgs) -> Result<ExitCode> {
    let config = Config::read(&args.config)?;
    let mut worker = config.worker.context("the configuration has no [kafka] section")?;
    if worker.feeds.is_empty() {
        bail!("the configuration has no [[source]]; add one for each topic");
    }
    worker.once = args.once;
    let lake = Lake::open_or_create(&config.lake_uri)?;
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
    let adapter = config::adapter(&args.adapter)?;
    if let Some(missing) = args.files.iter().find(|file| !ingest::import::is_importable(file)) {
        bail!("there is no file `{missing}`");
    }
    let source = Source {
        adapter,
        tenant: args.tenant.clone(),
        instance: args.instance.clone().unwrap_or_else(|| adapter.name().into()),
        environment: args.environment.clone(),
    };
    let lake = Lake::open_or_create(&args.lake.uri()?)?;
    let bar = std::io::stderr().is_terminal().then(|| indicatif::ProgressBar::new_spinner().with_style(indicatif::ProgressStyle::with_template("{spinner} {bytes} read, {bytes_per_sec}").unwrap_or_else(|_| indicatif::ProgressStyle::default_spinner())));
    let progress = |bytes: u64| {
        if let Some(bar) = &bar {
            bar.set_position(bytes);
        }
    };
    let summary = ingest::import::import(&lake, &source, &args.files, &progress).await?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    print_summary(&summary, args.format)?;
    Ok(ExitCode::SUCCESS)
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
    let lake = Lake::open(&args.lake.uri()?)?;
    let session = Session::open(&lake).await?;
    let (schema, rows) = session.query(&args.sql).await?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    query::print(&schema, &rows, args.format, &mut out)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

async fn verify(args: &VerifyArgs) -> Result<ExitCode> {
    let lake = Lake::open(&args.lake)?;
    let report = lake::verify::verify(&lake).await?;
    for fault in &report.faults {
        match args.format {
            Output::Text => tell::line(&format!("FAILED {fault}"))?,
            Output::Json => tell::object(&json!({ "fault": fault }))?,
        }
    }
    let checked = report.batches + report.rows;
    match args.format {
        Output::Json => tell::object(&json!({ "checked": checked, "failed": report.faults.len(), "batches": report.batches, "rows": report.rows, "offsets": report.offsets }))?,
        Output::Text => tell::line(&format!(
            "checked {} batches, {} rows and {} offsets against their seals: {}",
            report.batches, report.rows, report.offsets,
            if report.faults.is_empty() { "all hold".to_owned() } else { format!("{} FAULTS", report.faults.len()) }
        ))?,
    }
    Ok(ExitCode::from(u8::from(!report.faults.is_empty())))
}

fn sources(format: Output) -> Result<ExitCode> {
    for adapter in Adapter::ALL {
        match format {
            Output::Text => tell::line(adapter.name())?,
            Output::Json => tell::object(&json!({ "name": adapter.name(), "status": "working" }))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
