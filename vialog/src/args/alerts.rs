//! Options of what people do with alerts.

use clap::{Args, Subcommand, ValueEnum};
use lake::alert_actions::Disposition;

use super::{LakeArgs, Output, ToldArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum AlertsCommand {
    /// List alerts, newest first.
    List(AlertsListArgs),
    /// Show one alert: why, evidence, what to do, what was done.
    Show {
        #[command(flatten)]
        lake: LakeArgs,
        /// Its id, or the first digits of it.
        id: String,
        #[arg(long, value_enum, default_value_t = Output::Text)]
        format: Output,
    },
    /// Take alerts up.
    Ack(HandleArgs),
    /// Close alerts, and say what they were.
    Close {
        /// What they turned out to be.
        #[arg(long = "as", value_enum, value_name = "DISPOSITION")]
        as_: DispositionArg,
        #[command(flatten)]
        handle: HandleArgs,
    },
    /// Open closed alerts again.
    Reopen(HandleArgs),
}

/// What an alert turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DispositionArg {
    /// What the rule is for, and it was wrong.
    TruePositive,
    /// What the rule is for, and it was allowed.
    Benign,
    /// Not what the rule is for.
    FalsePositive,
}

impl From<DispositionArg> for Disposition {
    fn from(arg: DispositionArg) -> Self {
        match arg {
            DispositionArg::TruePositive => Self::TruePositive,
            DispositionArg::Benign => Self::Benign,
            DispositionArg::FalsePositive => Self::FalsePositive,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct AlertsListArgs {
    #[command(flatten)]
    pub(crate) lake: LakeArgs,
    /// Only alerts in this state.
    #[arg(long, value_parser = ["open", "acknowledged", "closed", "shadow"])]
    pub(crate) status: Option<String>,
    /// Only alerts of this severity.
    #[arg(long, value_parser = ["low", "medium", "high", "critical"])]
    pub(crate) severity: Option<String>,
    /// Name of a rule.
    #[arg(long)]
    pub(crate) rule: Option<String>,
    /// Whom it is about, such as user:ann.
    #[arg(long)]
    pub(crate) entity: Option<String>,
    /// Of this tenant.
    #[arg(long, value_parser = crate::config::tenant)]
    pub(crate) tenant: Option<String>,
    /// Not before this day, or this moment (RFC 3339).
    #[arg(long, value_name = "T", value_parser = moment)]
    pub(crate) since: Option<chrono::DateTime<chrono::Utc>>,
    /// At most this many.
    #[arg(long, default_value_t = 50)]
    pub(crate) limit: usize,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) format: Output,
}

/// A moment, or the beginning of a day in UTC.
fn moment(text: &str) -> Result<chrono::DateTime<chrono::Utc>, String> {
    let day = text.parse::<chrono::NaiveDate>().map(|day| day.and_time(chrono::NaiveTime::MIN).and_utc());
    day.or_else(|_| text.parse()).map_err(|_| format!("write a day as 2026-01-31, or a moment as 2026-01-31T08:00:00Z, not `{text}`"))
}

#[derive(Debug, Args)]
pub(crate) struct HandleArgs {
    #[command(flatten)]
    pub(crate) lake: LakeArgs,
    #[command(flatten)]
    pub(crate) told: ToldArgs,
    /// Ids, or their first digits.
    #[arg(required = true)]
    pub(crate) ids: Vec<String>,
}
