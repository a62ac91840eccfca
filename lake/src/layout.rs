//! Every path, table name, transaction name and file name of a lake. Nothing outside this file spells one.

use std::path::{Path, PathBuf};

/// Tables of a lake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TableName {
    /// Events and rejections.
    Events,
    /// Which arrivals are copies of an earlier one.
    Copies,
    /// Seals of batches, copied out of the log.
    Seals,
    /// What rules found.
    Alerts,
    /// What people did with alerts.
    AlertActions,
    /// Which rules people promoted.
    RuleActions,
    /// What came of showing rules a synthetic violation.
    RuleCanaries,
    /// Day rows of hour-of-week histograms.
    BaselineHours,
    /// Day rows of volumes.
    BaselineVolumes,
    /// Day rows of terms seen.
    BaselineTerms,
    /// What holds from a moment on.
    BaselineFacts,
    /// Sketches of the resources read on a day.
    BaselineResources,
}

impl TableName {
    /// All tables.
    pub const ALL: &'static [TableName] = &[
        Self::Events,
        Self::Copies,
        Self::Seals,
        Self::Alerts,
        Self::AlertActions,
        Self::RuleActions,
        Self::RuleCanaries,
        Self::BaselineHours,
        Self::BaselineVolumes,
        Self::BaselineTerms,
        Self::BaselineFacts,
        Self::BaselineResources,
    ];

    /// Folder of the table, and its name in SQL where it is a view of its own.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Copies => "copies",
            Self::Seals => "seals",
            Self::Alerts => "alerts",
            Self::AlertActions => "alert_actions",
            Self::RuleActions => "rule_actions",
            Self::RuleCanaries => "rule_canaries",
            Self::BaselineHours => "baseline_hours",
            Self::BaselineVolumes => "baseline_volumes",
            Self::BaselineTerms => "baseline_terms",
            Self::BaselineFacts => "baseline_facts",
            Self::BaselineResources => "baseline_resources",
        }
    }
}

/// Folder of the Delta log within a table.
pub(crate) const LOG_FOLDER: &str = "_delta_log";

/// File that says whose lake it is, within its folder.
pub(crate) const IDENTITY_FILE: &str = "lake.json";

/// Object that tells whether a bucket writes an object once and only once.
pub(crate) const PROBE_FILE: &str = "create-once.probe";

/// Names the newest checkpoint, within the log folder.
pub(crate) const LAST_CHECKPOINT: &str = "_last_checkpoint";

/// Checkpoint of one version within the log folder.
pub(crate) fn checkpoint_file(version: u64) -> String {
    format!("{version:020}.checkpoint.parquet")
}

/// Transaction name of whoever merges files.
pub(crate) const COMPACT_TXN: &str = "maintain/compact";

/// File of one commit within the log folder.
pub(crate) fn commit_file(version: u64) -> String {
    format!("{version:020}.json")
}

/// Version of a commit file, if it is one.
pub(crate) fn version_of(file_name: &str) -> Option<u64> {
    let digits = file_name.strip_suffix(".json")?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

/// Data file of a batch, relative to the table.
pub(crate) fn data_file(partition: &[(String, String)], batch_id: &str, number: usize) -> String {
    let folders: String = partition.iter().map(|(column, value)| format!("{column}={value}/")).collect();
    format!("{folders}part-{batch_id}-{number:05}.parquet")
}

/// Default key file of a lake: beside it, never in it.
pub fn default_key_file(lake: &Path) -> PathBuf {
    let mut name = lake.file_name().unwrap_or_default().to_os_string();
    name.push(".key");
    lake.with_file_name(name)
}

/// Transaction name of one partition's position.
pub(crate) fn position_txn(stream: &str, incarnation: &str, partition: i32) -> String {
    format!("position/{stream}/{incarnation}/{partition}")
}

/// Stream, incarnation and partition of a transaction name.
pub(crate) fn parse_position_txn(app_id: &str) -> Option<(String, String, i32)> {
    let rest = app_id.strip_prefix("position/")?;
    let (rest, partition) = rest.rsplit_once('/')?;
    let (stream, incarnation) = rest.rsplit_once('/')?;
    Some((stream.to_owned(), incarnation.to_owned(), partition.parse().ok()?))
}

/// Transaction name of a follower's cursor, kept in the table that it writes.
pub(crate) fn follower_txn(name: &str) -> String {
    format!("follower/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        assert_eq!(version_of(&commit_file(42)), Some(42));
        assert_eq!(version_of("00000000000000000042.checkpoint.parquet"), None);
        let txn = position_txn("kafka:main/a/b", "i-1", 7);
        assert_eq!(parse_position_txn(&txn), Some(("kafka:main/a/b".into(), "i-1".into(), 7)));
    }
}
