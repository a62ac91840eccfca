//! Options of what has to do with rules.

use clap::{Args, Subcommand};
use schemas::decode::DEFAULT_TENANT;

use super::{LakeArgs, Output};

#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// List the rules that come with the program, or those of a folder.
    List {
        /// Folder of rule files.
        folder: Option<std::path::PathBuf>,
        #[arg(long, value_enum, default_value_t = Output::Text)]
        format: Output,
    },
    /// Print the file of a rule that comes with the program: a copy is the quickest start of one's own.
    Show {
        /// Name of the rule.
        name: String,
    },
    /// Check rule files without running them: keys, SQL, joins, versions.
    Lint {
        /// Folder of rule files, or one; without it, the rules that come with the program.
        folder: Option<std::path::PathBuf>,
        /// Lock file: a rule whose logic changed must have another version than there.
        #[arg(long, value_name = "FILE")]
        lock: Option<std::path::PathBuf>,
        /// Write the lock file anew, once everything else is well.
        #[arg(long, requires = "lock")]
        write: bool,
        #[arg(long, value_enum, default_value_t = Output::Text)]
        format: Output,
    },
    /// Run the tests of all rules, or of the rules in a folder.
    Test {
        /// Folder of rule files.
        folder: Option<std::path::PathBuf>,
        /// Each case once more with rows shuffled over several commits, in parallel and with filters pushed down.
        #[arg(long)]
        thorough: bool,
        #[arg(long, value_enum, default_value_t = Output::Text)]
        format: Output,
    },
    /// Make rule files out of Sigma 2.1 files: rules, filters and correlations.
    ImportSigma {
        /// Folder to write to, which `detect --rules` reads.
        #[arg(long, value_name = "DIR")]
        out: std::path::PathBuf,
        /// Sigma files; what a correlation or filter refers to must be among them.
        #[arg(required = true)]
        files: Vec<std::path::PathBuf>,
    },
    /// Say what rules would have found in stored history. Writes no alerts.
    Backtest(BacktestArgs),
    /// Take a rule out of the shadow: its alerts are open ones from then on. Shows first what it would have found.
    Promote(PromoteArgs),
    /// Put a promoted rule back into the shadow.
    Demote {
        #[command(flatten)]
        run: RuleRunArgs,
        #[command(flatten)]
        told: ToldArgs,
        /// Name of the rule.
        name: String,
    },
    /// Show each rule a synthetic violation, with the parameters and lists that are in force, and keep whether it fired. Stores no event and no alert of it.
    Canary(CanaryArgs),
    /// Say when each rule last fired at its canary.
    Health(RuleRunArgs),
    /// Say how good rules are: the alerts of a lake against labels. Writes nothing.
    Report(ReportArgs),
    /// Give an alert again from what it recorded, and compare.
    Replay {
        #[command(flatten)]
        run: RuleRunArgs,
        /// Id of the alert, or its first digits.
        alert: String,
    },
}

/// With which rules, and what is known of identities.
#[derive(Debug, Args)]
pub(crate) struct RuleRunArgs {
    #[command(flatten)]
    pub(crate) lake: LakeArgs,
    /// Folder with identities.csv (identity,zone,country,peer_group,tenant), holidays.csv (country,day) and the lists of `docs/rules.md`. [default: that of the configuration]
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
pub(crate) struct BacktestArgs {
    #[command(flatten)]
    pub(crate) run: RuleRunArgs,
    /// First day.
    #[arg(long, value_name = "DAY")]
    pub(crate) from: chrono::NaiveDate,
    /// Last day, included.
    #[arg(long, value_name = "DAY")]
    pub(crate) to: chrono::NaiveDate,
    /// Names of rules. [default: all]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CanaryArgs {
    #[command(flatten)]
    pub(crate) run: RuleRunArgs,
    /// Only look; record nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// For this tenant; may be given several times. [default: `default`, and each that has parameters of its own for a rule]
    #[arg(long = "tenant", value_name = "TENANT", value_parser = crate::config::tenant)]
    pub(crate) tenants: Vec<String>,
    /// Names of rules. [default: all]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PromoteArgs {
    #[command(flatten)]
    pub(crate) run: RuleRunArgs,
    #[command(flatten)]
    pub(crate) told: ToldArgs,
    /// First day of what is shown. [default: 30 days before the last]
    #[arg(long, value_name = "DAY")]
    pub(crate) from: Option<chrono::NaiveDate>,
    /// Last day of what is shown, included. [default: today]
    #[arg(long, value_name = "DAY")]
    pub(crate) to: Option<chrono::NaiveDate>,
    /// Do it; without it, only show.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Name of the rule.
    pub(crate) name: String,
}

/// Who did something, and why.
#[derive(Debug, Args)]
pub(crate) struct ToldArgs {
    /// Who does it.
    #[arg(long, env = "USER", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) who: String,
    /// Why.
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    pub(crate) run: RuleRunArgs,
    /// Labels, one JSON object a line: `generate` writes them, and so does tests/quality/agentdojo.py.
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: std::path::PathBuf,
    /// Only labels of this split; alerts on others do not count. [default: all]
    #[arg(long, value_name = "NAME")]
    pub(crate) split: Option<String>,
    /// Names of rules, together and one by one. [default: all]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DetectArgs {
    #[command(flatten)]
    pub(crate) run: RuleRunArgs,
    /// Run to the end of the data and stop, instead of going on with each commit that lands.
    #[arg(long)]
    pub(crate) once: bool,
    /// Show each rule its canary once a day, as `rules canary` does.
    #[arg(long, conflicts_with = "once")]
    pub(crate) canaries: bool,
    /// With --once, treat the data as complete up to this moment (RFC 3339). [default: all of it]
    #[arg(long, value_name = "T", requires = "once")]
    pub(crate) as_of: Option<chrono::DateTime<chrono::Utc>>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BaselinesCommand {
    /// Tell what is known of one identity.
    Show(BaselinesShowArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BaselinesShowArgs {
    #[command(flatten)]
    pub(crate) lake: LakeArgs,
    #[arg(long, default_value = DEFAULT_TENANT, value_parser = crate::config::tenant)]
    pub(crate) tenant: String,
    /// Such as user:ann, agent:billing, job:billing/invoices, tool:crm/search or token:JTI.
    pub(crate) entity: String,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) format: Output,
}
