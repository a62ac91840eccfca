//! The Delta Lake transaction log, as much of it as an append-only table of ours needs.
//!
//! Actions as their JSON (Delta protocol, reader version 1, writer version 2), and the state that
//! replaying them gives. No IO: bytes of commit files come in, bytes of a commit go out.
//!
//! A table that lacks columns of ours gets them with the next commit. Not for: deletion vectors, column mapping, other
//! changes of schema. A table
//! that asks for a newer protocol is refused.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::LakeError;

/// Highest reader version that is understood.
const READER_VERSION: i64 = 1;
/// Highest writer version that is understood.
const WRITER_VERSION: i64 = 2;

/// Tag of a data file with the version that its rows came in.
pub(crate) const VERSION_TAG: &str = "vialog.version";

/// A data file that is part of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Add {
    pub(crate) path: String,
    pub(crate) partition_values: BTreeMap<String, Option<String>>,
    pub(crate) size: i64,
    pub(crate) modification_time: i64,
    pub(crate) data_change: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stats: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tags: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Remove {
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) deletion_timestamp: Option<i64>,
    pub(crate) data_change: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Txn {
    pub(crate) app_id: String,
    pub(crate) version: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_updated: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CommitInfo {
    pub(crate) timestamp: i64,
    pub(crate) operation: String,
    #[serde(default)]
    pub(crate) engine_info: Option<String>,
    /// Who wrote this commit: unique for each attempt of each batch.
    #[serde(default)]
    pub(crate) operation_id: Option<String>,
    /// Number of actions of this commit, this one included: a commit that was cut at a line's end shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) action_count: Option<usize>,
    /// The batch's seal, for commits of `events`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seal: Option<String>,
}

/// One line of a commit file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Action {
    Add(Add),
    Remove(Remove),
    Txn(Txn),
    CommitInfo(CommitInfo),
    MetaData(Value),
    Protocol(Value),
    #[serde(untagged)]
    Other(Value),
}

/// Reads the actions of a commit file.
pub(crate) fn parse_commit(bytes: &[u8], version: u64) -> Result<Vec<Action>, LakeError> {
    let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.iter().all(u8::is_ascii_whitespace));
    let damaged = |what: String| LakeError::DamagedCommit { version, what };
    let actions = lines.map(|line| serde_json::from_slice(line).map_err(|e| damaged(e.to_string())));
    let actions: Vec<Action> = actions.collect::<Result<_, _>>()?;
    let expected = actions.iter().find_map(|action| match action {
        Action::CommitInfo(info) => info.action_count,
        _ => None,
    });
    match expected.unwrap_or(actions.len().max(1)) {
        count if count == actions.len() => Ok(actions),
        count => Err(damaged(format!("it has {} of its {count} actions", actions.len()))),
    }
}

/// Tag of a merged file with the lowest version that any of its rows came in.
pub(crate) const OLDEST_TAG: &str = "vialog.oldest";

impl Add {
    /// The lowest version that its rows came in, where a merge tells.
    pub(crate) fn oldest_version(&self) -> Option<u64> {
        self.tags.as_ref()?.get(OLDEST_TAG)?.as_ref()?.parse().ok()
    }

    /// The version that its rows came in, where a merge or a checkpoint tells.
    pub(crate) fn tagged_version(&self) -> Option<u64> {
        self.tags.as_ref()?.get(VERSION_TAG)?.as_ref()?.parse().ok()
    }
}

/// The protocol of our tables.
pub(crate) fn protocol() -> Value {
    json!({ "minReaderVersion": READER_VERSION, "minWriterVersion": WRITER_VERSION })
}

/// Writes into the commit how many actions it has.
pub(crate) fn number(actions: &mut [Action]) {
    let count = actions.len();
    for action in actions {
        if let Action::CommitInfo(info) = action {
            info.action_count = Some(count);
        }
    }
}

/// Prints actions as the bytes of a commit file.
pub(crate) fn print_commit(actions: &[Action]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for action in actions {
        serde_json::to_writer(&mut bytes, action).expect("actions hold nothing that JSON cannot");
        bytes.push(b'\n');
    }
    bytes
}

/// The table after replaying its commits.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableState {
    /// Next version to write; 0 means that there is no table.
    pub(crate) next_version: u64,
    /// Data files by path.
    pub(crate) files: BTreeMap<String, Add>,
    /// Transactions by application id.
    pub(crate) txns: BTreeMap<String, i64>,
    /// Metadata action of the table.
    pub(crate) metadata: Option<Value>,
}

impl TableState {
    /// Replays one commit. Versions must come one after the other.
    pub(crate) fn apply(&mut self, version: u64, actions: Vec<Action>) -> Result<(), LakeError> {
        if version != self.next_version {
            return Err(LakeError::MissingCommit { version: self.next_version });
        }
        for action in actions {
            match action {
                Action::Add(add) => {
                    self.files.insert(add.path.clone(), add);
                }
                Action::Remove(remove) => {
                    self.files.remove(&remove.path);
                }
                Action::Txn(txn) => {
                    self.txns.insert(txn.app_id, txn.version);
                }
                Action::MetaData(metadata) => self.metadata = Some(metadata),
                Action::Protocol(protocol) => check_protocol(&protocol)?,
                Action::CommitInfo(_) | Action::Other(_) => {}
            }
        }
        self.next_version = version + 1;
        Ok(())
    }
}

fn check_protocol(protocol: &Value) -> Result<(), LakeError> {
    let version = |key: &str| protocol.get(key).and_then(Value::as_i64).unwrap_or(i64::MAX);
    if version("minReaderVersion") > READER_VERSION || version("minWriterVersion") > WRITER_VERSION {
        return Err(LakeError::Unsupported(format!("the table asks for the Delta protocol {protocol}")));
    }
    Ok(())
}

/// Actions that make a table.
pub(crate) fn create_actions(id: &str, schema: &Schema, partition_columns: &[&str], stats_columns: &str, now_ms: i64) -> Vec<Action> {
    let schema_string = json!({ "type": "struct", "fields": schema.fields().iter().map(|f| delta_field(f)).collect::<Vec<_>>() });
    vec![
        Action::Protocol(protocol()),
        Action::MetaData(json!({
            "id": id,
            "format": { "provider": "parquet", "options": {} },
            "schemaString": schema_string.to_string(),
            "partitionColumns": partition_columns,
            "createdTime": now_ms,
            "configuration": {
                "delta.enableExpiredLogCleanup": "false",
                "delta.dataSkippingStatsColumns": stats_columns,
            },
        })),
    ]
}

/// The metadata of a table that lacks columns of ours, with them at its end: files without them read as NULL there, and
/// a binary that does not know them leaves them alone.
pub(crate) fn added_columns(metadata: Option<&Value>, schema: &Schema) -> Result<Option<Action>, LakeError> {
    let Some(metadata) = metadata else { return Ok(None) };
    let mut stored = stored_schema(metadata)?;
    let Some(fields) = stored.get_mut("fields").and_then(Value::as_array_mut) else { return Ok(None) };
    let before = fields.len();
    for field in schema.fields() {
        let ours = delta_field(field);
        match fields.iter().find(|f| f["name"] == ours["name"]) {
            None => fields.push(ours),
            Some(theirs) if theirs["type"] != ours["type"] => {
                let (name, theirs, ours) = (field.name(), &theirs["type"], &ours["type"]);
                return Err(LakeError::Unsupported(format!(
                    "column `{name}` of this lake has the type {theirs}, this version writes {ours}; use the version that wrote it"
                )));
            }
            Some(_) => {}
        }
    }
    if fields.len() == before {
        return Ok(None);
    }
    let mut metadata = metadata.clone();
    metadata["schemaString"] = Value::String(stored.to_string());
    Ok(Some(Action::MetaData(metadata)))
}

/// Columns that the metadata names and this schema does not: those of a newer version of the program.
pub(crate) fn unknown_columns(metadata: Option<&Value>, schema: &Schema) -> Result<Vec<String>, LakeError> {
    let stored = metadata.map(stored_schema).transpose()?.unwrap_or_default();
    let names = stored["fields"].as_array().into_iter().flatten().filter_map(|field| field["name"].as_str());
    Ok(names.filter(|name| schema.column_with_name(name).is_none()).map(str::to_owned).collect())
}

fn stored_schema(metadata: &Value) -> Result<Value, LakeError> {
    let text = metadata.get("schemaString").and_then(Value::as_str).unwrap_or("{}");
    serde_json::from_str(text).map_err(|e| LakeError::DamagedCommit { version: 0, what: e.to_string() })
}

fn delta_field(field: &Field) -> Value {
    json!({ "name": field.name(), "type": delta_type(field.data_type()), "nullable": field.is_nullable(), "metadata": {} })
}

/// Delta's name of an Arrow type (Delta protocol, "Schema Serialization Format").
fn delta_type(data_type: &DataType) -> Value {
    match data_type {
        DataType::Utf8 => json!("string"),
        DataType::Int64 => json!("long"),
        DataType::Int32 => json!("integer"),
        DataType::Float64 => json!("double"),
        DataType::Boolean => json!("boolean"),
        DataType::Date32 => json!("date"),
        DataType::Binary => json!("binary"),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => json!("timestamp"),
        DataType::List(element) => {
            json!({ "type": "array", "elementType": delta_type(element.data_type()), "containsNull": element.is_nullable() })
        }
        DataType::Struct(fields) => json!({ "type": "struct", "fields": fields.iter().map(|f| delta_field(f)).collect::<Vec<_>>() }),
        DataType::Map(entry, _) => {
            let DataType::Struct(fields) = entry.data_type() else { return json!("string") };
            json!({ "type": "map", "keyType": delta_type(fields[0].data_type()), "valueType": delta_type(fields[1].data_type()), "valueContainsNull": true })
        }
        other => unreachable!("no table of ours has a column of type {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_reads_back_as_it_was_printed() {
        let actions = vec![
            Action::Txn(Txn { app_id: "position/kafka:a/1/0".into(), version: 9, last_updated: None }),
            Action::Remove(Remove { path: "x".into(), deletion_timestamp: Some(1), data_change: false }),
            Action::CommitInfo(CommitInfo {
                timestamp: 1,
                operation: "WRITE".into(),
                engine_info: None,
                operation_id: Some("o".into()),
                action_count: Some(3),
                seal: Some("s".into()),
            }),
        ];
        assert_eq!(parse_commit(&print_commit(&actions), 0).unwrap(), actions);
    }

    #[test]
    fn unknown_actions_are_kept_out_and_a_newer_protocol_is_refused() {
        let mut state = TableState::default();
        let known = parse_commit(b"{\"domainMetadata\":{\"domain\":\"d\"}}\n", 0).unwrap();
        assert!(state.apply(0, known).is_ok());
        let newer = parse_commit(br#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7}}"#, 1).unwrap();
        assert!(matches!(state.apply(1, newer), Err(LakeError::Unsupported(_))));
        assert!(matches!(state.apply(5, Vec::new()), Err(LakeError::MissingCommit { version: 1 })));
    }

    #[test]
    fn a_half_written_commit_is_an_error_not_an_empty_one() {
        assert!(matches!(parse_commit(b"{\"txn\":{\"appId\":\"a\"", 4), Err(LakeError::DamagedCommit { version: 4, .. })));
    }
}
