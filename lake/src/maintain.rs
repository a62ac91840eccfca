//! Maintenance away from the hot path: seals are copied out of the log, checkpoints written, small files merged, old
//! commit files and files that no version names removed.
//!
//! Everything that changes a table is one commit of it, fenced by a transaction, so two maintainers do no harm. Files
//! are merged only below the version that every follower has passed, and only when the multiset of rows before and
//! after is the same; and never by a version of the program that does not know all columns. Nothing is removed that a reader of the last hour, or a follower, may still need.
//!
//! Limits: one merge takes at most 8 MiB of files (some 80 MiB of rows), so that it fits in memory beside everything else.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::row::{RowConverter, SortField};
use bytes::Bytes;
use schemas::columns::name;
use schemas::keys::Keys;
use sha2::{Digest, Sha256};

use crate::baselines::Baseline;
use crate::decide::Step;
use crate::layout::{COMPACT_TXN, data_file};
use crate::leaves::leaf_hashes;
use crate::table::{CommitOutcome, CommitRequest, DataFile, Replaced, Table, TableFile, random_id};
use crate::{Lake, LakeError, TableName, alert_actions, alerts, events, file_rows, follow, parquet_file, rule_actions, seals, snapshot};

/// Commits after which a checkpoint is due.
const CHECKPOINT_EVERY: u64 = 100;
/// A file below this size is small, bytes.
const SMALL_FILE_BYTES: i64 = 4 << 20;
/// Most bytes of files in one merge.
const MERGE_BYTES: i64 = 8 << 20;
/// Small files of one partition from which a merge is worth it.
const MERGE_FILES: usize = 16;
/// Most files in one merge.
const MAX_MERGE_FILES: usize = 512;
/// Commit files are kept this many versions behind the checkpoint, for readers that lag.
const KEPT_COMMITS: u64 = 200;

/// What there is to do, or was done, for one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maintenance {
    /// Name of the table.
    pub table: &'static str,
    /// Its version; `None` when it does not exist.
    pub version: Option<u64>,
    /// Files that it has.
    pub files: usize,
    /// Small files that can be merged.
    pub mergeable: usize,
    /// Commits since its last checkpoint.
    pub uncheckpointed: u64,
    /// Commit files that may go.
    pub old_commits: usize,
    /// Files that no version names, and that are older than an hour.
    pub orphans: usize,
    /// Why none are merged, where that is so.
    pub not_merged: Option<String>,
}

/// What is due, without doing it.
///
/// # Errors
/// When a table cannot be read.
pub fn plan(lake: &Lake, now_ms: i64) -> Result<Vec<Maintenance>, LakeError> {
    tables(lake)?.into_iter().map(|(name, table)| plan_table(lake, name, &table, now_ms)).collect()
}

fn plan_table(lake: &Lake, name: TableName, table: &Table, now_ms: i64) -> Result<Maintenance, LakeError> {
    let version = table.refresh()?;
    let (mergeable, not_merged) = match merges_due(lake, name, table)? {
        Due::Groups(groups) => (groups.iter().map(Vec::len).sum(), None),
        Due::LeftAlone(why) => (0, Some(why)),
    };
    let checkpoint = table.last_checkpoint()?;
    Ok(Maintenance {
        table: name.as_str(),
        version,
        files: table.data_files().len(),
        mergeable,
        uncheckpointed: version.map_or(0, |v| v - checkpoint.unwrap_or(0)),
        old_commits: table.commits_before(commits_limit(lake, name, checkpoint)?)?.len(),
        orphans: table.orphans(now_ms)?.len(),
        not_merged,
    })
}

/// Does everything that is due. `progress` hears a line for each step.
///
/// # Errors
/// When a table cannot be read or written; what was done stays done.
pub async fn run(lake: &Lake, now_ms: i64, progress: &dyn Fn(&str)) -> Result<(), LakeError> {
    seals::advance(lake, now_ms)?;
    for (name, table) in tables(lake)? {
        let Some(version) = table.refresh()? else { continue };
        loop {
            match merge_once(lake, name, &table, now_ms).await? {
                Merged::Files(merged) => progress(&format!("{}: merged {merged} files into one", name.as_str())),
                Merged::LeftAlone(why) => break progress(&format!("{}: {why}", name.as_str())),
                Merged::Nothing => break,
            }
        }
        if table.last_checkpoint()?.is_none_or(|last| last < version) {
            let at = table.checkpoint()?;
            progress(&format!("{}: checkpoint at version {at}", name.as_str()));
        }
        let old = table.commits_before(commits_limit(lake, name, table.last_checkpoint()?)?)?;
        let orphans = table.orphans(now_ms)?;
        if !old.is_empty() || !orphans.is_empty() {
            table.remove_files(&old)?;
            table.remove_files(&orphans)?;
            progress(&format!("{}: removed {} old commit files and {} unused files", name.as_str(), old.len(), orphans.len()));
        }
    }
    Ok(())
}

/// The part that a running worker does beside its work: at most one merge and one checkpoint of each table.
///
/// # Errors
/// When a table cannot be read or written.
pub async fn step(lake: &Lake, now_ms: i64) -> Result<(), LakeError> {
    seals::advance(lake, now_ms)?;
    for (name, table) in tables(lake)? {
        let Some(version) = table.refresh()? else { continue };
        merge_once(lake, name, &table, now_ms).await?;
        if version >= table.last_checkpoint()?.unwrap_or(0) + CHECKPOINT_EVERY {
            table.checkpoint()?;
        }
    }
    Ok(())
}

fn tables(lake: &Lake) -> Result<Vec<(TableName, Table)>, LakeError> {
    let mut tables = vec![
        (TableName::Events, events::open(lake)?),
        (TableName::Copies, follow::open(lake)?),
        (TableName::Alerts, alerts::open(lake)?),
        (TableName::AlertActions, alert_actions::open(lake)?),
        (TableName::RuleActions, rule_actions::open(lake)?),
        (TableName::Seals, seals::open(lake)?),
    ];
    for kind in Baseline::ALL {
        tables.push((kind.table(), kind.open(lake)?));
    }
    Ok(tables)
}

/// The version up to which files may be merged: what every follower of `events` has passed; nobody follows the others.
fn merge_limit(lake: &Lake, name: TableName, version: Option<u64>) -> Result<Option<u64>, LakeError> {
    if name != TableName::Events {
        return Ok(version);
    }
    // A follower that never began sees every file, merged or not.
    let mut cursors = vec![follow::cursor(&follow::open(lake)?)];
    for kind in Baseline::ALL {
        cursors.extend(kind.cursor(&kind.open(lake)?).map(Some));
    }
    cursors.extend(alerts::settled_versions(&alerts::open(lake)?).into_iter().map(Some));
    Ok(cursors.into_iter().min().flatten())
}

/// Commit files before this version may go: they are in the checkpoint, their seals are copied, every follower passed.
fn commits_limit(lake: &Lake, name: TableName, checkpoint: Option<u64>) -> Result<u64, LakeError> {
    let kept = checkpoint.unwrap_or(0).saturating_sub(KEPT_COMMITS);
    if name != TableName::Events {
        return Ok(kept);
    }
    let passed = merge_limit(lake, name, None)?.unwrap_or(0);
    Ok(kept.min(passed).min(seals::cursor(&seals::open(lake)?).unwrap_or(0)))
}

/// What there is to merge in a table.
enum Due {
    /// Groups of small files.
    Groups(Vec<Vec<TableFile>>),
    /// Nothing, whatever there is, and why.
    LeftAlone(String),
}

fn merges_due(lake: &Lake, name: TableName, table: &Table) -> Result<Due, LakeError> {
    let limit = merge_limit(lake, name, table.refresh()?)?;
    // The files first: a column that came with one of them is then known to the table.
    let files = table.data_files();
    let unknown = table.unknown_columns()?;
    if unknown.is_empty() {
        return Ok(Due::Groups(merge_groups(files, limit)));
    }
    let names = unknown.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let why = format!("files are not merged, for a newer version of vialog has added {names}; maintain the lake with that one");
    Ok(Due::LeftAlone(why))
}

/// Small files by partition, oldest first, as many as make one merge worth it.
fn merge_groups(files: Vec<TableFile>, limit: Option<u64>) -> Vec<Vec<TableFile>> {
    let mut by_partition: BTreeMap<BTreeMap<String, Option<String>>, Vec<TableFile>> = BTreeMap::new();
    for file in files {
        if file.add.size < SMALL_FILE_BYTES && limit.is_some_and(|limit| file.version <= limit) {
            by_partition.entry(file.add.partition_values.clone()).or_default().push(file);
        }
    }
    let mut groups = Vec::new();
    for mut files in by_partition.into_values() {
        files.sort_by(|a, b| (a.version, &a.add.path).cmp(&(b.version, &b.add.path)));
        let mut bytes = 0;
        let fits = |file: &TableFile| {
            bytes += file.add.size;
            bytes <= MERGE_BYTES
        };
        let group: Vec<TableFile> = files.into_iter().take(MAX_MERGE_FILES).take_while(fits).collect();
        if group.len() >= MERGE_FILES {
            groups.push(group);
        }
    }
    groups
}

/// What became of one merge.
enum Merged {
    /// So many files are one.
    Files(usize),
    /// There was none to do, or another maintainer did it.
    Nothing,
    /// None may be done, and why.
    LeftAlone(String),
}

/// Merges one group of small files, if there is one.
async fn merge_once(lake: &Lake, name: TableName, table: &Table, now_ms: i64) -> Result<Merged, LakeError> {
    let group = match merges_due(lake, name, table)? {
        Due::LeftAlone(why) => return Ok(Merged::LeftAlone(why)),
        Due::Groups(groups) => groups.into_iter().next(),
    };
    let Some(group) = group else { return Ok(Merged::Nothing) };
    let number = table.recorded(COMPACT_TXN).unwrap_or(-1);
    let adds: Vec<_> = group.iter().map(|f| f.add.clone()).collect();
    let read = snapshot::read_without(table, adds, table.spec().partition_columns).await;
    let batches = read.map_err(|e| LakeError::Rows(Box::new(e)))?;
    if batches.iter().all(|batch| batch.num_rows() == 0) {
        return Ok(Merged::Nothing);
    }
    let (bytes, stats) = file_rows::encode(&batches, table.spec().stats_columns)?;
    let partition: Vec<(String, String)> =
        group[0].add.partition_values.iter().filter_map(|(k, v)| Some((k.clone(), v.clone()?))).collect();
    let partition =
        table.spec().partition_columns.iter().filter_map(|c| partition.iter().find(|(k, _)| k == c).cloned()).collect::<Vec<_>>();
    let file = DataFile { path: data_file(&partition, &random_id(now_ms), 0), partition, stats, bytes };
    let before = Multiset::of(&batches, lake.keys())?;
    drop(batches);
    if before != Multiset::of_file(&file.bytes, lake.keys())? {
        return Err(LakeError::Unsupported(format!("a merge of {} files would have changed their rows; nothing was written", group.len())));
    }
    let request = CommitRequest {
        files: vec![file],
        steps: vec![Step { app_id: COMPACT_TXN.into(), from: number, to: number + 1 }],
        seal: None,
        operation: "OPTIMIZE",
        replaces: Some(Replaced {
            paths: group.iter().map(|f| f.add.path.clone()).collect(),
            version: group.iter().map(|f| f.version).max().unwrap_or(0),
            oldest_version: group.iter().map(|f| f.add.oldest_version().unwrap_or(f.version)).min().unwrap_or(0),
        }),
        now_ms,
    };
    let is_done = matches!(table.commit(&request)?, CommitOutcome::Committed { .. });
    Ok(if is_done { Merged::Files(group.len()) } else { Merged::Nothing })
}

/// How many rows, and a sum of their hashes: the same rows in any order give the same. Rows of `events` give what their leaf
/// is computed from, anew, the leaf that they carry, and the bytes that they keep; others their bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Multiset {
    rows: usize,
    sum: [u64; 4],
}

impl Multiset {
    fn of(batches: &[RecordBatch], keys: &Keys) -> Result<Self, LakeError> {
        let mut set = Self::default();
        batches.iter().try_for_each(|batch| set.add_rows(batch, keys))?;
        Ok(set)
    }

    /// Of a Parquet file, read a few rows at a time.
    fn of_file(bytes: &[u8], keys: &Keys) -> Result<Self, LakeError> {
        let mut set = Self::default();
        parquet_file::read(Bytes::copy_from_slice(bytes))?.try_for_each(|batch| set.add_rows(&batch?, keys))?;
        Ok(set)
    }

    fn add_rows(&mut self, batch: &RecordBatch, keys: &Keys) -> Result<(), LakeError> {
        let bytes_of = |name| batch.column_by_name(name).and_then(|c| c.as_binary_opt::<i32>());
        if let Some(stored) = bytes_of(name::leaf_hash) {
            let kept = bytes_of(name::raw_payload);
            for (row, leaf) in leaf_hashes(batch, keys).iter().enumerate() {
                self.add(&[leaf, stored.value(row), kept.map_or(&[][..], |kept| kept.value(row))]);
            }
            return Ok(());
        }
        let fields = batch.schema().fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
        let converter = RowConverter::new(fields).map_err(|e| LakeError::Rows(Box::new(e)))?;
        let rows = converter.convert_columns(batch.columns()).map_err(|e| LakeError::Rows(Box::new(e)))?;
        rows.iter().for_each(|row| self.add(&[row.as_ref()]));
        Ok(())
    }

    fn add(&mut self, parts: &[&[u8]]) {
        self.rows += 1;
        let hash = parts.iter().fold(Sha256::new(), Digest::chain_update).finalize();
        for (total, part) in self.sum.iter_mut().zip(hash.as_chunks::<8>().0) {
            *total = total.wrapping_add(u64::from_le_bytes(*part));
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::Row;
    use schemas::batch::RowsBuilder;

    use super::*;

    fn row(offset: i64, tool: &str, raw: &[u8], leaf: u8) -> Row {
        let (tool_name, raw_payload) = (Some(tool.to_owned()), Some(raw.to_vec()));
        Row { offset: Some(offset), tool_name, raw_payload, leaf_hash: Some(vec![leaf; 32]), ..Row::default() }
    }

    fn set(rows: &[Row]) -> Multiset {
        let mut builder = RowsBuilder::default();
        rows.iter().for_each(|row| builder.push(row));
        Multiset::of(&[builder.finish().unwrap()], &Keys::from_master(&[7; 32])).unwrap()
    }

    #[test]
    fn rows_in_another_order_are_the_same_and_any_other_change_is_not() {
        let (one, two) = (row(1, "a", b"r", 1), row(2, "b", b"s", 2));
        let before = set(&[one.clone(), two.clone()]);
        assert_eq!(set(&[two.clone(), one.clone()]), before);
        let changed = [
            vec![one.clone()],
            vec![one.clone(), one.clone()],
            vec![one.clone(), two.clone(), two],
            vec![one.clone(), row(2, "c", b"s", 2)],
            vec![one.clone(), row(2, "b", b"t", 2)],
            vec![one.clone(), row(3, "b", b"s", 2)],
            vec![one, row(2, "b", b"s", 3)],
        ];
        for rows in changed {
            assert_ne!(set(&rows), before, "{rows:?}");
        }
    }
}
