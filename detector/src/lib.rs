//! Rules over the lake: baselines kept by day, rules run on what is new, alerts committed with their cursor.
//!
//! Rules are data; no rule has a name here. In reading order: [`rule`] (the file and its laws),
//! [`baseline`] (what is learnt), [`evaluate`] (one rule over one span of versions), [`run`] (all of
//! them), [`check`] (the tests in a rule file through the same engine), [`canary`] (one of them, to see that a rule still fires), [`report`] (how good rules are against [`labels`]).
//!
//! What makes it cheap and repeatable: a rule reads the events that are new to it and day rows of
//! baselines before each event's day, never the whole history; so the same history gives the same alerts
//! however it was cut into batches, and a step costs by new events.

pub mod again;
pub mod baseline;
pub mod canary;
mod canary_case;
pub mod check;
pub mod evaluate;
mod functions;
mod health;
pub mod inventory;
pub mod labels;
pub mod lint;
pub mod lists;
mod near;
pub mod parameters;
pub mod plans;
mod pool;
pub mod report;
pub mod rule;
pub mod run;
pub mod sigma;

use datafusion::error::DataFusionError;

/// A failure of the detector.
#[derive(Debug, thiserror::Error)]
pub enum DetectorError {
    /// The lake failed.
    #[error("the lake failed")]
    Lake(#[from] lake::LakeError),
    /// A rule file is wrong.
    #[error("rule `{rule}`: {what}")]
    Rule {
        /// File or name of the rule.
        rule: String,
        /// What is wrong and how to mend it.
        what: String,
    },
    /// The inventory is wrong.
    #[error("inventory `{path}`: {what}")]
    Inventory {
        /// File or folder.
        path: String,
        /// What is wrong and how to mend it.
        what: String,
    },
    /// Labels are wrong.
    #[error("labels `{path}`: {what}")]
    Labels {
        /// File.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// SQL failed.
    #[error("the SQL of `{rule}` failed")]
    Sql {
        /// Name of the rule or baseline.
        rule: String,
        /// Why.
        #[source]
        source: Box<DataFusionError>,
    },
    /// A file cannot be read.
    #[error("cannot read `{path}`")]
    File {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
