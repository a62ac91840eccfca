//! Checks a lake against its own seals: every row's leaf, every batch's root, counts and ranges.
//!
//! It recomputes what the seals say from the rows as stored, and the ranges from one seal to the next, and
//! reports what was checked, not a bool. A batch whose rows are missing, changed or doubled shows, and so do commits
//! that were removed from the end, as long as a follower's table remembers them. What it cannot show yet: whoever
//! removes the end from every table. The public log will (its checkpoints leave the lake).

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use ledger::{Hash, Seal};
use schemas::columns::name;
use schemas::decode::EVENT;

use crate::baselines::Baseline;
use crate::leaves::{leaf_hashes, raw_fits};
use crate::snapshot;
use crate::table::Table;
use crate::{Lake, LakeError, events, follow, parquet_file, seals};

/// What was checked and what failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Batches whose seal was checked.
    pub batches: u64,
    /// Rows whose leaf was recomputed.
    pub rows: u64,
    /// Offsets that the seals account for.
    pub offsets: u64,
    /// What is wrong, one sentence each.
    pub faults: Vec<String>,
}

struct StoredRow {
    key: (String, String, i32, i64, i32),
    leaf: Hash,
    is_event: bool,
}

/// Verifies table `events`.
///
/// # Errors
/// When the table cannot be read, or has columns that only a newer version knows; what does not hold is in the report.
pub async fn verify(lake: &Lake) -> Result<Report, LakeError> {
    let table = events::open(lake)?;
    let mut report = Report::default();
    let latest = table.refresh()?;
    // A leaf goes over all columns. Before all else, so that nothing is found and then not said.
    if let [name, ..] = &table.unknown_columns()?[..] {
        let what =
            format!("column `{name}` was added by a newer version of vialog, which this one does not know; verify the lake with that one");
        return Err(LakeError::Unsupported(what));
    }
    check_end(lake, latest, &mut report)?;
    if latest.is_none() {
        return Ok(report);
    }
    let mut batches = stored_rows(lake, &table, &mut report).await;
    let mut ends: BTreeMap<(String, String, i32), i64> = BTreeMap::new();
    for (version, text) in seals::all(lake)? {
        match Seal::parse(&text) {
            Ok(seal) => {
                let rows = batches.remove(&seal.batch_id).unwrap_or_default();
                check_batch(&seal, rows, version, &mut report);
                check_ranges(&seal, &mut ends, version, &mut report);
            }
            Err(error) => report.faults.push(format!("version {version}: {error}")),
        }
    }
    for batch_id in batches.keys() {
        report.faults.push(format!("rows of batch {batch_id} stand in the table without a seal"));
    }
    Ok(report)
}

/// Rows of all files; a file that cannot be read is a fault, and the others are checked all the same.
async fn stored_rows(lake: &Lake, table: &Table, report: &mut Report) -> BTreeMap<String, Vec<StoredRow>> {
    let mut found: BTreeMap<String, Vec<StoredRow>> = BTreeMap::new();
    for file in table.data_files() {
        let (path, said) = (file.add.path.clone(), file.add.stats.clone());
        let table = table.clone();
        // In a task of its own: the reader may panic on bytes that were damaged.
        match tokio::spawn(async move { snapshot::read(&table, vec![file.add]).await }).await {
            Ok(Ok(batches)) => {
                batches.iter().for_each(|batch| take_rows(lake, batch, &mut found, report));
                // Queries leave out files by what the log says of them.
                if said.is_some_and(|said| said != parquet_file::statistics(&batches, events::STATS_COLUMNS)) {
                    report.faults.push(format!("what the log says of the file `{path}` (rows, times, offsets) is not what stands in it"));
                }
            }
            Ok(Err(error)) => report.faults.push(format!("the file `{path}` cannot be read: {error}")),
            Err(_) => report.faults.push(format!("the file `{path}` cannot be read: it is damaged")),
        }
    }
    found
}

/// Whoever followed `events` has recorded how far: a log that ends before that has lost its end.
fn check_end(lake: &Lake, latest: Option<u64>, report: &mut Report) -> Result<(), LakeError> {
    let mut seen = vec![("copies", follow::cursor(&follow::open(lake)?))];
    for kind in Baseline::ALL {
        seen.push((kind.table_name(), kind.cursor(&kind.open(lake)?)));
    }
    for (follower, version) in seen {
        if version > latest {
            report.faults.push(format!(
                "table `events` ends at version {}, but `{follower}` had read version {}: commits were removed from its end",
                latest.map_or("none".into(), |v| v.to_string()),
                version.unwrap_or_default()
            ));
        }
    }
    Ok(())
}

fn take_rows(lake: &Lake, batch: &RecordBatch, found: &mut BTreeMap<String, Vec<StoredRow>>, report: &mut Report) {
    let text = |name: &str, row: usize| batch.column_by_name(name).map_or("", |c| c.as_string::<i32>().value(row)).to_owned();
    let int = |name: &str, row: usize| batch.column_by_name(name).map_or(0, |c| c.as_primitive::<Int32Type>().value(row));
    let leaves = leaf_hashes(batch, lake.keys());
    for (row, leaf) in leaves.into_iter().enumerate() {
        let offset = batch.column_by_name(name::offset).map_or(0, |c| c.as_primitive::<Int64Type>().value(row));
        let key = (text(name::stream, row), text(name::incarnation, row), int(name::partition, row), offset, int(name::record_index, row));
        let stored = batch.column_by_name(name::leaf_hash).filter(|c| !c.is_null(row)).map(|c| c.as_binary::<i32>().value(row));
        if stored != Some(&leaf[..]) || !raw_fits(batch, row) {
            report.faults.push(format!("the row at {}/{}/{} offset {} was changed: its leaf does not fit", key.0, key.1, key.2, key.3));
        }
        report.rows += 1;
        let is_event = text(name::row_kind, row) == EVENT;
        found.entry(text(name::batch_id, row)).or_default().push(StoredRow { key, leaf, is_event });
    }
}

fn check_batch(seal: &Seal, mut rows: Vec<StoredRow>, version: u64, report: &mut Report) {
    report.batches += 1;
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    let events = rows.iter().filter(|row| row.is_event).count() as u64;
    if events != seal.events || rows.len() as u64 - events != seal.rejections {
        let (have, said) = (rows.len(), seal.events + seal.rejections);
        report.faults.push(format!("version {version}: the batch has {have} rows, its seal says {said}"));
    }
    let leaves: Vec<Hash> = rows.iter().map(|row| row.leaf).collect();
    if ledger::root(&leaves) != seal.root {
        report.faults.push(format!("version {version}: the rows of batch {} do not give the root of its seal", seal.batch_id));
    }
    let inside = |row: &StoredRow| {
        seal.ranges.iter().any(|r| {
            (&r.stream, &r.incarnation, r.partition) == (&row.key.0, &row.key.1, row.key.2) && row.key.3 > r.from && row.key.3 <= r.to
        })
    };
    if !rows.iter().all(inside) {
        report.faults.push(format!("version {version}: a row lies outside the ranges of its seal"));
    }
}

/// Ranges of one partition follow each other without hole or overlap.
fn check_ranges(seal: &Seal, ends: &mut BTreeMap<(String, String, i32), i64>, version: u64, report: &mut Report) {
    for range in &seal.ranges {
        let key = (range.stream.clone(), range.incarnation.clone(), range.partition);
        if ends.get(&key).is_some_and(|end| *end != range.from) {
            report.faults.push(format!(
                "version {version}: {}/{} goes on after {}, not after {}",
                range.stream, range.partition, range.from, ends[&key]
            ));
        }
        report.offsets += u64::try_from(range.to - range.from).unwrap_or(0);
        ends.insert(key, range.to);
    }
}
