//! The commit protocol against a model: random owners, crashes between every two effects, lost replies.
//!
//! The table is the real one over files in memory that fail on command, before the effect (a crash) or
//! after it (a lost reply). Owners read records of a topic, batch, commit, crash and start anew; two may
//! hold the same partition. At the end every offset must be in the visible files exactly once.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use arrow::datatypes::{DataType, Field, Schema};
use proptest::prelude::*;

use crate::decide::Step;
use crate::place::Place;
use crate::store::{Created, Files};
use crate::table::{CommitOutcome, CommitRequest, DataFile, Table, TableSpec};

const RECORDS: i64 = 40;
const PARTITIONS: usize = 2;

#[derive(Debug, Default)]
struct Disk {
    files: BTreeMap<String, Vec<u8>>,
    /// Effects until the next fault, and whether the effect takes place before the error.
    fault: Option<(u32, bool)>,
}

#[derive(Debug, Clone, Default)]
struct FaultyFiles(Arc<Mutex<Disk>>);

impl FaultyFiles {
    fn effect<T>(&self, run: impl FnOnce(&mut Disk) -> T) -> io::Result<T> {
        let mut disk = self.0.lock().unwrap();
        match disk.fault.take() {
            Some((0, lands)) => {
                if lands {
                    run(&mut disk);
                }
                Err(io::Error::other("injected"))
            }
            Some((left, lands)) => {
                disk.fault = Some((left - 1, lands));
                Ok(run(&mut disk))
            }
            None => Ok(run(&mut disk)),
        }
    }
}

impl Files for FaultyFiles {
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.effect(|disk| {
            disk.files.insert(name.into(), bytes.into());
        })
    }
    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<Created> {
        self.effect(|disk| {
            if disk.files.contains_key(name) {
                return Created::Existed;
            }
            disk.files.insert(name.into(), bytes.into());
            Created::New
        })
    }
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().files.get(name).cloned())
    }
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let disk = self.0.lock().unwrap();
        Ok(disk.files.keys().filter_map(|name| name.strip_prefix(&format!("{folder}/"))).map(str::to_owned).collect())
    }
    fn read_range(&self, name: &str, range: std::ops::Range<u64>) -> io::Result<bytes::Bytes> {
        let bytes = self.read(name)?.ok_or(io::ErrorKind::NotFound)?;
        Ok(bytes[range.start as usize..range.end as usize].to_vec().into())
    }
    fn remove(&self, names: &[String]) -> io::Result<()> {
        self.0.lock().unwrap().files.retain(|name, _| !names.contains(name));
        Ok(())
    }
    fn list_data(&self) -> io::Result<Vec<(String, i64)>> {
        Ok(Vec::new())
    }
}

fn open(files: &FaultyFiles) -> Table {
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
    Table::over(Arc::new(files.clone()), Place::Folder("model".into()), TableSpec { schema, partition_columns: &[], stats_columns: "" })
        .unwrap()
}

fn app_id(partition: usize) -> String {
    format!("position/t/1/{partition}")
}

/// One owner: its own handle on the table and how far it has read.
struct Owner {
    table: Table,
    batch: BTreeMap<usize, (i64, i64)>,
    pending: Option<CommitRequest>,
    number: u32,
}

impl Owner {
    fn start(files: &FaultyFiles) -> Self {
        Self { table: open(files), batch: BTreeMap::new(), pending: None, number: 0 }
    }

    fn read(&mut self, partition: usize, count: i64) {
        let recorded = self.table.recorded(&app_id(partition)).unwrap_or(-1);
        let range = self.batch.entry(partition).or_insert((recorded, recorded));
        range.1 = (range.1 + count).min(RECORDS - 1);
    }

    /// Commits what was read; after an error the same request is repeated next time.
    fn commit(&mut self, owner: usize, run: u32) {
        let request = match self.pending.take() {
            Some(request) => request,
            None => match self.seal(owner, run) {
                Some(request) => request,
                None => return,
            },
        };
        match self.table.commit(&request) {
            Ok(CommitOutcome::Committed { .. } | CommitOutcome::AlreadyCommitted) => {}
            Ok(CommitOutcome::Refused(_)) => self.batch.clear(),
            Err(_) => self.pending = Some(request),
        }
    }

    fn seal(&mut self, owner: usize, run: u32) -> Option<CommitRequest> {
        let batch = std::mem::take(&mut self.batch);
        let ranges: Vec<_> = batch.into_iter().filter(|(_, (from, to))| to > from).collect();
        if ranges.is_empty() {
            return None;
        }
        self.number += 1;
        let offsets: Vec<String> = ranges.iter().flat_map(|(p, (from, to))| (from + 1..=*to).map(move |o| format!("{p}:{o}"))).collect();
        let file = DataFile {
            path: format!("{owner}-{run}-{}", self.number),
            partition: Vec::new(),
            bytes: offsets.join(",").into_bytes(),
            stats: "{}".into(),
        };
        let steps = ranges.iter().map(|(p, (from, to))| Step { app_id: app_id(*p), from: *from, to: *to }).collect();
        Some(CommitRequest { files: vec![file], steps, seal: None, operation: "WRITE", replaces: None, now_ms: 0 })
    }
}

fn visible_offsets(files: &FaultyFiles) -> Vec<String> {
    let disk = files.0.lock().unwrap();
    let table = {
        drop(disk);
        open(files)
    };
    let mut all = Vec::new();
    for file in table.data_files() {
        let bytes = files.read(&file.add.path).unwrap().expect("a visible file exists");
        all.extend(String::from_utf8(bytes).unwrap().split(',').map(str::to_owned));
    }
    all.sort();
    all
}

#[derive(Debug, Clone)]
enum Action {
    Read { owner: usize, partition: usize, count: i64 },
    Commit { owner: usize },
    Fault { after: u32, lands: bool },
    Crash { owner: usize },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (0..2_usize, 0..PARTITIONS, 1..7_i64).prop_map(|(owner, partition, count)| Action::Read { owner, partition, count }),
        4 => (0..2_usize).prop_map(|owner| Action::Commit { owner }),
        2 => (0..4_u32, any::<bool>()).prop_map(|(after, lands)| Action::Fault { after, lands }),
        1 => (0..2_usize).prop_map(|owner| Action::Crash { owner }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_crashes_every_offset_is_visible_exactly_once(actions in proptest::collection::vec(action(), 1..60)) {
        let files = FaultyFiles::default();
        let mut owners = [Owner::start(&files), Owner::start(&files)];
        let mut runs = 0;
        for action in actions {
            match action {
                Action::Read { owner, partition, count } if owners[owner].pending.is_none() => owners[owner].read(partition, count),
                Action::Read { .. } => {}
                Action::Commit { owner } => owners[owner].commit(owner, runs),
                Action::Fault { after, lands } => files.0.lock().unwrap().fault = Some((after, lands)),
                Action::Crash { owner } => {
                    runs += 1;
                    owners[owner] = Owner::start(&files);
                }
            }
        }
        files.0.lock().unwrap().fault = None;
        let mut last = Owner::start(&files);
        for partition in 0..PARTITIONS {
            last.read(partition, RECORDS);
        }
        last.commit(9, runs + 1);
        let mut expected: Vec<String> = (0..PARTITIONS).flat_map(|p| (0..RECORDS).map(move |o| format!("{p}:{o}"))).collect();
        expected.sort();
        prop_assert_eq!(visible_offsets(&files), expected);
    }
}

/// The check itself can fail: a writer that does not repeat the same request but a new one doubles rows
/// unless the position stops it.
#[test]
fn a_commit_whose_reply_is_lost_is_not_written_twice() {
    let files = FaultyFiles::default();
    let mut owner = Owner::start(&files);
    owner.read(0, 5);
    owner.commit(0, 0);
    owner.read(0, 5);
    // The data file lands, then the commit lands and its reply is lost.
    files.0.lock().unwrap().fault = Some((1, true));
    owner.commit(0, 0);
    assert!(owner.pending.is_some());
    owner.commit(0, 0);
    assert!(owner.pending.is_none());
    assert_eq!(visible_offsets(&files).len(), 10);
}
