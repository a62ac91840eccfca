//! Checkpoints, clean-up and two versions of the schema, against handles that were open before.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::LakeError;
use crate::decide::{Decision, Step};
use crate::parquet_file;
use crate::place::Place;
use crate::table::{CommitOutcome, CommitRequest, DataFile, Table, TableSpec};

fn schema(columns: &[&str]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect::<Vec<_>>()))
}

fn open(folder: &Path, columns: &[&str]) -> Table {
    Table::open(Place::Folder(folder.to_owned()), TableSpec { schema: schema(columns), partition_columns: &[], stats_columns: "" }).unwrap()
}

/// A commit of one row whose columns all hold `n`.
fn request(table: &Table, n: i64) -> CommitRequest {
    let schema = Arc::clone(&table.spec().schema);
    let columns = schema.fields().iter().map(|_| Arc::new(Int64Array::from(vec![n])) as _).collect();
    let batch = RecordBatch::try_new(schema, columns).unwrap();
    let (bytes, stats) = parquet_file::encode(&batch, "").unwrap();
    let file = DataFile { path: format!("part-{n}.parquet"), partition: Vec::new(), bytes, stats };
    let step = Step { app_id: "position/t/1/0".into(), from: n - 1, to: n };
    CommitRequest { files: vec![file], steps: vec![step], seal: None, operation: "WRITE", replaces: None, now_ms: 0 }
}

fn commit(table: &Table, n: i64) -> CommitOutcome {
    table.commit(&request(table, n)).unwrap()
}

fn paths(table: &Table) -> BTreeSet<String> {
    table.data_files().into_iter().map(|f| f.add.path).collect()
}

#[test]
fn a_table_opens_from_its_checkpoint_as_from_its_whole_log() {
    let folder = tempfile::tempdir().unwrap();
    let table = open(folder.path(), &["x"]);
    (0..30).for_each(|n| assert_ne!(commit(&table, n), CommitOutcome::AlreadyCommitted));
    assert_eq!(table.checkpoint().unwrap(), 30);
    (30..40).for_each(|n| assert_ne!(commit(&table, n), CommitOutcome::AlreadyCommitted));
    let old = table.commits_before(30).unwrap();
    assert_eq!(old.len(), 30);
    table.remove_files(&old).unwrap();
    let anew = open(folder.path(), &["x"]);
    assert_eq!((paths(&anew), anew.txns()), (paths(&table), table.txns()));
    let versions = |t: &Table| t.data_files().into_iter().map(|f| (f.add.path, f.version)).collect::<BTreeSet<_>>();
    assert_eq!(versions(&anew), versions(&table), "each file keeps the version that it came in");
    assert_eq!(commit(&anew, 40), CommitOutcome::Committed { version: 41 });
}

#[test]
fn a_clean_up_that_died_half_way_leaves_a_log_that_opens_and_is_ended_by_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let table = open(folder.path(), &["x"]);
    (0..30).for_each(|n| assert_ne!(commit(&table, n), CommitOutcome::AlreadyCommitted));
    table.checkpoint().unwrap();
    let old = table.commits_before(30).unwrap();
    for gone in [&old[..1], &old[..15], &old[20..25], &old[29..]] {
        table.remove_files(gone).unwrap();
        assert_eq!(paths(&open(folder.path(), &["x"])), paths(&table));
    }
    let left = table.commits_before(30).unwrap();
    assert!(!left.is_empty() && left.len() < old.len());
    table.remove_files(&left).unwrap();
    assert_eq!(commit(&open(folder.path(), &["x"]), 30), CommitOutcome::Committed { version: 31 });
}

#[test]
fn a_handle_that_slept_through_a_clean_up_goes_on_from_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let (sleeper, worker) = (open(folder.path(), &["x"]), open(folder.path(), &["x"]));
    commit(&sleeper, 0);
    (1..20).for_each(|n| assert_ne!(commit(&worker, n), CommitOutcome::AlreadyCommitted));
    worker.checkpoint().unwrap();
    worker.remove_files(&worker.commits_before(20).unwrap()).unwrap();
    assert_eq!(commit(&sleeper, 1), CommitOutcome::Refused(Decision::Overlap), "what it holds was taken long ago");
    assert_eq!(commit(&sleeper, 20), CommitOutcome::Committed { version: 21 });
    assert_eq!(paths(&open(folder.path(), &["x"])).len(), 21);
}

#[test]
fn a_log_with_a_hole_after_its_checkpoint_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let table = open(folder.path(), &["x"]);
    (0..10).for_each(|n| assert_ne!(commit(&table, n), CommitOutcome::AlreadyCommitted));
    table.checkpoint().unwrap();
    (10..15).for_each(|n| assert_ne!(commit(&table, n), CommitOutcome::AlreadyCommitted));
    std::fs::remove_file(folder.path().join("_delta_log/00000000000000000013.json")).unwrap();
    let spec = TableSpec { schema: schema(&["x"]), partition_columns: &[], stats_columns: "" };
    assert!(matches!(Table::open(Place::Folder(folder.path().to_owned()), spec), Err(LakeError::MissingCommit { version: 13 })));
}

#[test]
fn two_versions_of_the_program_write_one_table_and_lose_no_column() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (open(folder.path(), &["x"]), open(folder.path(), &["x", "y"]));
    commit(&old, 0);
    commit(&new, 1);
    commit(&old, 2);
    let metadata = open(folder.path(), &["x"]).state.lock().unwrap().state.metadata.clone().unwrap();
    assert!(metadata["schemaString"].as_str().unwrap().contains("\"y\""), "the older one left the new column alone: {metadata}");
    assert_eq!(paths(&new).len(), 2, "what it knew");
    new.refresh().unwrap();
    assert_eq!(paths(&new).len(), 3);
    old.refresh().unwrap();
    assert_eq!(
        (old.unknown_columns().unwrap(), new.unknown_columns().unwrap()),
        (vec!["y".to_owned()], vec![]),
        "it may not write such rows anew"
    );
}

#[test]
fn a_column_of_another_type_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    commit(&open(folder.path(), &["x"]), 0);
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Utf8, true)]));
    let other =
        Table::open(Place::Folder(folder.path().to_owned()), TableSpec { schema, partition_columns: &[], stats_columns: "" }).unwrap();
    let request = CommitRequest {
        files: Vec::new(),
        steps: vec![Step { app_id: "a".into(), from: -1, to: 0 }],
        seal: None,
        operation: "WRITE",
        replaces: None,
        now_ms: 0,
    };
    assert!(matches!(other.commit(&request), Err(LakeError::Unsupported(_))));
}

#[test]
fn files_that_no_version_names_are_found_when_they_are_old_enough() {
    let folder = tempfile::tempdir().unwrap();
    let table = open(folder.path(), &["x"]);
    commit(&table, 0);
    std::fs::write(folder.path().join("part-orphan.parquet"), b"left by a writer that died").unwrap();
    let now_ms = chrono::Utc::now().timestamp_millis();
    assert!(table.orphans(now_ms).unwrap().is_empty(), "it may be one that is being committed");
    assert_eq!(table.orphans(now_ms + 2 * 3_600_000).unwrap(), ["part-orphan.parquet"]);
}
