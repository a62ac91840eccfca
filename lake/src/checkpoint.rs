//! Delta checkpoints: the state of a table at one version as one Parquet file, so that opening a table does not replay
//! its whole log, and old commit files can go.
//!
//! Classic checkpoints (Delta protocol, "Checkpoints", V1, one part) with `_last_checkpoint`, as every reader knows them.
//! They hold no commit metadata: seals are kept in table `seals` before a commit file may go. Actions travel as their
//! JSON through Arrow's reader and writer, so there is one spelling of them. The version that a data file came in is a
//! tag of it.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::json::{LineDelimitedWriter, ReaderBuilder};
use parquet::arrow::ArrowWriter;
use serde::{Deserialize, Serialize};

use crate::delta::{self, Action, TableState, Txn};
use crate::{LakeError, parquet_file};

/// What `_last_checkpoint` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastCheckpoint {
    pub(crate) version: u64,
    /// Number of actions.
    pub(crate) size: usize,
}

/// The checkpoint file of a state, and how many actions it has.
pub(crate) fn encode(state: &TableState, version_of_file: impl Fn(&str) -> u64) -> Result<(Vec<u8>, usize), LakeError> {
    let mut actions = vec![Action::Protocol(delta::protocol())];
    actions.extend(state.metadata.clone().map(Action::MetaData));
    actions.extend(
        state.txns.iter().map(|(app_id, version)| Action::Txn(Txn { app_id: app_id.clone(), version: *version, last_updated: None })),
    );
    actions.extend(state.files.values().map(|add| {
        let mut add = add.clone();
        // A checkpoint is no change: readers that follow changes read commits.
        add.data_change = false;
        let version = version_of_file(&add.path);
        add.tags.get_or_insert_default().insert(delta::VERSION_TAG.into(), Some(version.to_string()));
        Action::Add(add)
    }));
    let lines = delta::print_commit(&actions);
    let reader = ReaderBuilder::new(schema()).with_batch_size(8192).build(lines.as_slice()).map_err(rows)?;
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, schema(), None).map_err(rows)?;
    for batch in reader {
        writer.write(&batch.map_err(rows)?).map_err(rows)?;
    }
    writer.close().map_err(rows)?;
    Ok((bytes, actions.len()))
}

/// The actions of a checkpoint file.
pub(crate) fn decode(bytes: Vec<u8>, version: u64) -> Result<Vec<Action>, LakeError> {
    let batches = parquet_file::decode(bytes.into())?;
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write_batches(&batches.iter().collect::<Vec<_>>()).map_err(rows)?;
    writer.finish().map_err(rows)?;
    delta::parse_commit(&writer.into_inner(), version)
}

fn schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let long = |name: &str| Field::new(name, DataType::Int64, true);
    let int = |name: &str| Field::new(name, DataType::Int32, true);
    let flag = |name: &str| Field::new(name, DataType::Boolean, true);
    let structure = |name: &str, fields: Vec<Field>| Field::new(name, DataType::Struct(Fields::from(fields)), true);
    let metadata = vec![
        text("id"),
        structure("format", vec![text("provider"), map("options")]),
        text("schemaString"),
        Field::new("partitionColumns", DataType::List(Arc::new(Field::new("element", DataType::Utf8, true))), true),
        long("createdTime"),
        map("configuration"),
    ];
    let add =
        vec![text("path"), map("partitionValues"), long("size"), long("modificationTime"), flag("dataChange"), text("stats"), map("tags")];
    Arc::new(Schema::new(vec![
        structure("txn", vec![text("appId"), long("version"), long("lastUpdated")]),
        structure("add", add),
        structure("metaData", metadata),
        structure("protocol", vec![int("minReaderVersion"), int("minWriterVersion")]),
    ]))
}

fn map(name: &str) -> Field {
    let entry = vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)];
    Field::new(name, DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entry.into()), false)), false), true)
}

fn rows(error: impl std::error::Error + Send + Sync + 'static) -> LakeError {
    LakeError::Rows(Box::new(error))
}
