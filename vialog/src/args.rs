//! The command line as clap reads it: every command and option with its help.

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use query::Format;

use crate::config::Config;

/// Audit-log pipeline and anomaly detector for AI agents.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "Logs go to standard error; RUST_LOG=debug shows more.\nExit codes: 0 done, 1 a check failed, 2 usage, configuration or SQL error."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// See it work: embedded broker, thirty days of labelled synthetic traffic, real ingest, detector, alerts.
    Demo(DemoArgs),
    /// Consume the configured topics into the lake, exactly once.
    Ingest(IngestArgs),
    /// Import files (or `-`, standard input) through the same adapters, without Kafka.
    Import(ImportArgs),
    /// Run every rule that is due to the end of the data.
    Detect(DetectArgs),
    /// List the rules, or run their tests through the real engine.
    Rules {
        #[command(subcommand)]
        command: RulesCommand,
    },
    /// Write labelled synthetic traffic: `<adapter>.jsonl` and `labels.jsonl`.
    Generate(GenerateArgs),
    /// Run one SQL query over the views: events, events_tip, tool_calls, decisions, token_grants, revisions, rejections, alerts. DESCRIBE shows their columns.
    Query(QueryArgs),
    /// Recompute every leaf, root, count and range of a lake and compare them with its seals.
    Verify(VerifyArgs),
    /// Keep a lake fast: merge small files, write checkpoints, remove what nothing needs. Shows what is due; --apply does it.
    Maintain(MaintainArgs),
    /// Show which sources can be read.
    Sources {
        #[command(subcommand)]
        command: SourcesCommand,
    },
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// One JSON object a line; the last is a summary.
    Json,
}

/// Which lake.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct LakeArgs {
    /// Folder of the lake.
    #[arg(long, value_name = "DIR")]
    pub(crate) lake: Option<String>,
    /// Configuration file that names it.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<String>,
}

impl LakeArgs {
    pub(crate) fn uri(&self) -> Result<String> {
        match (&self.lake, &self.config) {
            (Some(uri), _) => Ok(uri.clone()),
            (None, Some(file)) => Ok(Config::read(file)?.lake_uri),
            (None, None) => bail!("name a lake with --lake or --config"),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct IngestArgs {
    /// Configuration file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: String,
    /// Stop at the end offsets seen at the start, and print a summary.
    #[arg(long)]
    pub(crate) once: bool,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) format: Output,
    /// Tests only: fail at a point of the commit, such as `after-commit:3`.
    #[cfg(debug_assertions)]
    #[arg(long, hide = true)]
    pub(crate) fault: Option<lake::faults::Fault>,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    pub(crate) lake: LakeArgs,
    /// How to decode the files.
    #[arg(long)]
    pub(crate) adapter: String,
    /// Tenant of the events.
    #[arg(long, default_value = "default", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) tenant: String,
    /// Instance of the source; part of every event id. [default: the adapter's name]
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) instance: Option<String>,
    /// Environment of the events.
    #[arg(long, default_value = "production", value_parser = crate::config::environment)]
    pub(crate) environment: String,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) format: Output,
    /// Files: JSON lines, a JSON array, or either of them as gzip or zstd; `-` is standard input.
    #[arg(required = true)]
    pub(crate) files: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    #[command(flatten)]
    pub(crate) lake: LakeArgs,
    /// table, json, csv or parquet.
    #[arg(long, default_value = "table")]
    pub(crate) format: Format,
    /// The query.
    pub(crate) sql: String,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Folder of the lake.
    pub(crate) lake: String,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) format: Output,
}

#[derive(Debug, Args)]
pub(crate) struct MaintainArgs {
    #[command(flatten)]
    pub(crate) lake: LakeArgs,
    /// Do what is due; without it nothing is changed.
    #[arg(long)]
    pub(crate) apply: bool,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) format: Output,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// End by itself with a report; exit code 0 only when its numbers reconcile.
    #[arg(long)]
    pub(crate) once: bool,
    /// Folder of the lake. [default: a new temporary folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) lake: Option<String>,
    /// Seed of the traffic.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) format: Output,
}

#[derive(Debug, Args)]
pub(crate) struct DetectArgs {
    #[command(flatten)]
    pub(crate) lake: LakeArgs,
    /// Run to the end of the data and stop (the only way so far).
    #[arg(long, required = true)]
    pub(crate) once: bool,
    /// Treat the data as complete up to this moment (RFC 3339). [default: all of it]
    #[arg(long, value_name = "T")]
    pub(crate) as_of: Option<chrono::DateTime<chrono::Utc>>,
    /// Folder with identities.csv (identity,zone,country,peer_group,tenant) and holidays.csv (country,day). [default: that of the configuration]
    #[arg(long, value_name = "DIR")]
    pub(crate) inventory: Option<std::path::PathBuf>,
    /// Folder of further rules, beside those that come with the program. [default: that of the configuration]
    #[arg(long, value_name = "DIR")]
    pub(crate) rules: Option<std::path::PathBuf>,
    /// IANA zone of identities that are not listed there. [default: that of the configuration, else UTC]
    #[arg(long, value_name = "ZONE")]
    pub(crate) zone: Option<String>,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) format: Output,
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// Same seed, same bytes.
    #[arg(long)]
    pub(crate) seed: u64,
    /// At least this many records; whole days are written.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) events: usize,
    /// Folder to write to.
    #[arg(long, value_name = "DIR", required_unless_present = "brokers")]
    pub(crate) out: Option<std::path::PathBuf>,
    /// Send to the topics `demo.<adapter>` of these brokers instead, which must exist.
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "out")]
    pub(crate) brokers: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// List the rules that come with the program, or those of a folder.
    List {
        /// Folder of rule files.
        folder: Option<std::path::PathBuf>,
        #[arg(long, value_enum, default_value_t = Output::Text)]
        format: Output,
    },
    /// Run the tests of all rules, or of the rules in a folder.
    Test {
        /// Folder of rule files.
        folder: Option<std::path::PathBuf>,
        #[arg(long, value_enum, default_value_t = Output::Text)]
        format: Output,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SourcesCommand {
    /// Print the documentation of every column of `events`, as Markdown.
    Columns,
    /// List the adapters.
    List {
        #[arg(long, value_enum, default_value_t = Output::Text)]
        format: Output,
    },
}
