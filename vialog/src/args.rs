//! The command line as clap reads it: every command and option with its help.

mod alerts;
mod rules;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use lake::LakeAt;
use query::Format;
use schemas::adapters::Adapter;
use schemas::decode::DEFAULT_TENANT;
use schemas::privacy::Privacy;

pub(crate) use self::alerts::{AlertsCommand, AlertsListArgs, HandleArgs};
pub(crate) use self::rules::{
    BacktestArgs, BaselinesCommand, BaselinesShowArgs, CanaryArgs, DetectArgs, PromoteArgs, ReportArgs, RuleRunArgs, RulesCommand, ToldArgs,
};
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
    /// Import files (or `-`, standard input) through the same adapters, without Kafka. Exits 1 when there is no record in them.
    Import(ImportArgs),
    /// Run rules on each commit as it lands, until stopped; with --once, to the end of the data.
    Detect(DetectArgs),
    /// What is known of people, agents, jobs and tools.
    Baselines {
        #[command(subcommand)]
        command: BaselinesCommand,
    },
    /// See alerts, take them up, close them.
    Alerts {
        #[command(subcommand)]
        command: AlertsCommand,
    },
    /// List the rules, or run their tests through the real engine.
    Rules {
        #[command(subcommand)]
        command: RulesCommand,
    },
    /// Write labelled synthetic traffic: `<adapter>.jsonl` and `labels.jsonl`.
    Generate(GenerateArgs),
    /// Run one SQL query over the views: events, events_tip, tool_calls, decisions, token_grants, revisions, rejections, alerts, alert_actions, rule_actions, rule_canaries, incidents, observations, acts, lost_calls, coverage. DESCRIBE shows their columns.
    Query(QueryArgs),
    /// Recompute every leaf, root, count and range of a lake and compare them with its seals.
    Verify(VerifyArgs),
    /// Keep a lake fast: merge small files, write checkpoints, remove what nothing needs. Shows what is due; --apply does it.
    Maintain(MaintainArgs),
    /// Look at everything and say what is in doubt: brokers and topics, clocks, rejections, completeness, blind rules.
    Doctor(DoctorArgs),
    /// Show which sources can be read; check, test and explain mapping files.
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

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) lake: LakeArgs,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) format: Output,
}

/// Which lake.
#[derive(Debug, Args)]
pub(crate) struct LakeArgs {
    /// Folder of the lake, or s3://bucket/prefix.
    #[arg(long, value_name = "URI", required_unless_present = "config", conflicts_with = "config")]
    pub(crate) lake: Option<String>,
    /// Configuration file that names it.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<String>,
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
}

impl LakeArgs {
    pub(crate) fn at(&self) -> Result<LakeAt> {
        match (&self.lake, &self.config) {
            (Some(uri), _) => Ok(self.storage.complete(LakeAt::from(uri))),
            (None, Some(file)) => Ok(self.storage.complete(Config::read(file)?.lake)),
            (None, None) => bail!("name a lake with --lake or --config"),
        }
    }

    /// The policy of the configuration; the usual one when there is none.
    pub(crate) fn privacy(&self) -> Result<Privacy> {
        self.config.as_ref().map_or_else(|| Ok(Privacy::default()), |file| Ok(Config::read(file)?.privacy))
    }
}

/// How a lake is reached. What is not given here may come from the configuration.
#[derive(Debug, Args)]
pub(crate) struct StorageArgs {
    /// Key file of the lake. [default: beside the folder; a lake in a bucket has no default]
    #[arg(long, value_name = "FILE")]
    key_file: Option<std::path::PathBuf>,
    /// Address of S3-compatible storage that is not Amazon's.
    #[arg(long, value_name = "URL", env = "AWS_ENDPOINT_URL", hide_env_values = true)]
    s3_endpoint: Option<String>,
    #[arg(long, hide = true, env = "AWS_REGION", hide_env_values = true)]
    s3_region: Option<String>,
    #[arg(long, hide = true, env = "AWS_ACCESS_KEY_ID", hide_env_values = true)]
    s3_access_key_id: Option<String>,
    #[arg(long, hide = true, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
    s3_secret_access_key: Option<String>,
    #[arg(long, hide = true, env = "AWS_SESSION_TOKEN", hide_env_values = true)]
    s3_session_token: Option<String>,
}

impl StorageArgs {
    /// Adds to a place what the command line or the environment says; the configuration goes first.
    pub(crate) fn complete(&self, mut at: LakeAt) -> LakeAt {
        at.key_file = self.key_file.clone().or(at.key_file);
        let named = [
            ("aws_endpoint", &self.s3_endpoint),
            ("aws_region", &self.s3_region),
            ("aws_access_key_id", &self.s3_access_key_id),
            ("aws_secret_access_key", &self.s3_secret_access_key),
            ("aws_session_token", &self.s3_session_token),
        ];
        for (key, value) in named {
            if let Some(value) = value {
                at.properties.entry(key.to_owned()).or_insert_with(|| value.clone());
            }
        }
        // Plain HTTP only to this machine.
        let is_loopback =
            |url: &String| ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|local| url.starts_with(local));
        if at.properties.get("aws_endpoint").is_some_and(is_loopback) {
            at.properties.entry("aws_allow_http".into()).or_insert_with(|| "true".into());
        }
        at
    }
}

#[derive(Debug, Args)]
pub(crate) struct IngestArgs {
    /// Configuration file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: String,
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
    /// Stop at the end offsets seen at the start, and print a summary.
    #[arg(long)]
    pub(crate) once: bool,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) format: Output,
    #[cfg(debug_assertions)]
    #[command(flatten)]
    pub(crate) tests: FaultArgs,
}

/// Tests only, and not in a release build.
#[cfg(debug_assertions)]
#[derive(Debug, Args)]
pub(crate) struct FaultArgs {
    /// Fail at a point of the commit, such as `after-commit:3`.
    #[arg(long, hide = true)]
    pub(crate) fault: Option<lake::faults::Fault>,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    pub(crate) lake: LakeArgs,
    #[command(flatten)]
    pub(crate) adapter: AdapterArgs,
    /// Tenant of the events.
    #[arg(long, default_value = DEFAULT_TENANT, value_parser = crate::config::tenant)]
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
    /// Folder of the lake, or s3://bucket/prefix.
    pub(crate) lake: String,
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
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
    #[cfg(debug_assertions)]
    #[command(flatten)]
    pub(crate) tests: FaultArgs,
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
pub(crate) enum SourcesCommand {
    /// Print the documentation of every column of `events`, as Markdown.
    Columns,
    /// Print which parts of an event each source says, as Markdown.
    Matrix,
    /// List the sources that can be read, with the number of their tests.
    List {
        #[arg(long, value_enum, default_value_t = Output::Text)]
        format: Output,
    },
    /// Check mapping files: paths, columns, tables, formats.
    Lint {
        /// Mapping files, or folders of them.
        #[arg(required = true)]
        files: Vec<std::path::PathBuf>,
    },
    /// Run the tests of mapping files; without a file, of those that come with the program.
    Test {
        /// Mapping files, or folders of them.
        files: Vec<std::path::PathBuf>,
        #[arg(long, value_enum, default_value_t = Output::Text)]
        format: Output,
    },
    /// Show where every column of the records of a file comes from, and what no column took.
    Explain {
        #[command(flatten)]
        adapter: AdapterArgs,
        /// How many records.
        #[arg(long, default_value_t = 1)]
        records: usize,
        /// File with one record a line.
        file: std::path::PathBuf,
    },
}

/// How records are decoded.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct AdapterArgs {
    /// An adapter that comes with the program; `vialog sources list` shows them.
    #[arg(long)]
    adapter: Option<String>,
    /// A mapping file of one's own.
    #[arg(long, value_name = "FILE")]
    mapping: Option<std::path::PathBuf>,
}

impl AdapterArgs {
    pub(crate) fn adapter(&self) -> Result<Adapter> {
        match (&self.adapter, &self.mapping) {
            (Some(name), _) => crate::config::adapter(name),
            (None, Some(file)) => crate::config::mapping(file),
            (None, None) => bail!("name an adapter with --adapter or a mapping file with --mapping"),
        }
    }
}
