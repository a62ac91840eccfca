//! One Delta table: its state, and the one way to change it.
//!
//! Every commit carries at least one transaction with the range it stands for, and is decided against
//! the same state that it is written on: the commit file of the next version is created once and only
//! once, so a writer that lost the race decides again on the new state. A lost reply is no failed
//! commit: the caller repeats the same request and hears `AlreadyCommitted`.
//!
//! Cost: a commit writes one file and reads only the commits of other writers since the last one; it
//! does not depend on how many commits or files there are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::decide::{Decision, Step, decide};
use crate::delta::{self, Action, Add, CommitInfo, OLDEST_TAG, Remove, TableState, Txn, VERSION_TAG};
use crate::layout::{LOG_FOLDER, commit_file, data_file, follower_txn, version_of};
use crate::place::Place;
use crate::store::{Created, Files};
use crate::{LakeError, io_error, parquet_file};

/// Most times a commit is tried against other writers.
const MAX_ATTEMPTS: u32 = 1_000;

/// What a table is made of.
#[derive(Debug, Clone)]
pub struct TableSpec {
    /// All columns, partition columns included.
    pub schema: SchemaRef,
    /// Partition columns, in folder order.
    pub partition_columns: &'static [&'static str],
    /// Columns with statistics in the log, separated by commas. Never sensitive ones.
    pub stats_columns: &'static str,
}

/// A Parquet file to be written with a commit.
#[derive(Debug, Clone)]
pub struct DataFile {
    /// Path relative to the table.
    pub path: String,
    /// Partition columns and values, in folder order.
    pub partition: Vec<(String, String)>,
    /// The file.
    pub bytes: Vec<u8>,
    /// Statistics as JSON.
    pub stats: String,
}

impl DataFile {
    /// The file of a batch, whose partition columns are left out of it. `id` and `number` name it.
    pub(crate) fn of(
        batch: &RecordBatch,
        partition: Vec<(String, String)>,
        stats_columns: &str,
        (id, number): (&str, usize),
    ) -> Result<Self, LakeError> {
        let (bytes, stats) = parquet_file::encode(batch, stats_columns)?;
        Ok(Self { path: data_file(&partition, id, number), partition, stats, bytes })
    }
}

/// One commit to be made.
#[derive(Debug, Clone)]
pub struct CommitRequest {
    /// Files to add.
    pub files: Vec<DataFile>,
    /// Ranges that this commit stands for; at least one.
    pub steps: Vec<Step>,
    /// Seal of the batch, for `events`.
    pub seal: Option<String>,
    /// Files that these stand for from now on, with the same rows.
    pub replaces: Option<Replaced>,
    /// Delta's name of the operation.
    pub operation: &'static str,
    /// Time of the commit, milliseconds since 1970.
    pub now_ms: i64,
}

/// Files that go because others hold their rows.
#[derive(Debug, Clone)]
pub struct Replaced {
    /// Their paths.
    pub paths: Vec<String>,
    /// The newest version that their rows came in.
    pub version: u64,
    /// The oldest.
    pub oldest_version: u64,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitOutcome {
    /// It is version `version` of the table.
    Committed {
        /// The version.
        version: u64,
    },
    /// It was there already.
    AlreadyCommitted,
    /// It does not fit what is recorded; nothing was written.
    Refused(Decision),
}

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    pub(crate) files: Arc<dyn Files>,
    place: Place,
    spec: TableSpec,
    pub(crate) state: Arc<Mutex<Versioned>>,
}

/// State with the version that each file came in.
#[derive(Debug, Default, Clone)]
pub(crate) struct Versioned {
    pub(crate) state: TableState,
    pub(crate) added_at: BTreeMap<String, u64>,
    /// Whether the metadata was found to name every column of ours.
    has_our_columns: bool,
}

/// A data file as readers see it.
#[derive(Debug, Clone)]
pub(crate) struct TableFile {
    pub(crate) add: Add,
    pub(crate) version: u64,
}

impl TableFile {
    /// Whether it came after one version and not after another.
    pub(crate) fn came_between(&self, after: Option<u64>, up_to: u64) -> bool {
        after.is_none_or(|version| self.version > version) && self.version <= up_to
    }
}

/// One commit as followers see it.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) seal: Option<String>,
}

impl Table {
    /// Opens a table; it need not exist yet.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub(crate) fn open(place: Place, spec: TableSpec) -> Result<Self, LakeError> {
        Self::over(place.files(), place, spec)
    }

    pub(crate) fn over(files: Arc<dyn Files>, place: Place, spec: TableSpec) -> Result<Self, LakeError> {
        let table = Self { files, place, spec, state: Arc::default() };
        let first = table.load_checkpoint(&mut table.state.lock().unwrap_or_else(PoisonError::into_inner))?;
        table.check_log(first)?;
        table.refresh()?;
        Ok(table)
    }

    /// Columns of the table.
    pub fn spec(&self) -> &TableSpec {
        &self.spec
    }

    /// Where the table lies.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Reads the commits of other writers. Returns the latest version, if the table exists.
    ///
    /// # Errors
    /// When a commit cannot be read.
    pub fn refresh(&self) -> Result<Option<u64>, LakeError> {
        let mut guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh_locked(&mut guard)?;
        Ok(guard.state.next_version.checked_sub(1))
    }

    /// Last value recorded under a transaction name.
    pub fn recorded(&self, app_id: &str) -> Option<i64> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).state.txns.get(app_id).copied()
    }

    /// All transactions.
    pub fn txns(&self) -> BTreeMap<String, i64> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).state.txns.clone()
    }

    /// Files of the table, with the version that each came in.
    pub(crate) fn data_files(&self) -> Vec<TableFile> {
        let guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let files = guard.state.files.values();
        files.map(|add| TableFile { add: add.clone(), version: guard.added_at.get(&add.path).copied().unwrap_or(0) }).collect()
    }

    /// Commits after a version (`None`: all) and not after `up_to`, oldest first.
    pub(crate) fn changes(&self, after: Option<u64>, up_to: u64) -> Result<Vec<Change>, LakeError> {
        let mut changes = Vec::new();
        for version in after.map_or(0, |v| v + 1)..=up_to {
            let Some(actions) = self.read_commit(version)? else { break };
            let seal = actions.into_iter().find_map(|action| match action {
                Action::CommitInfo(info) => info.seal,
                _ => None,
            });
            changes.push(Change { version, seal });
        }
        Ok(changes)
    }

    /// Version of another table that a follower has come to, which is kept in the table that it writes.
    pub(crate) fn cursor(&self, follower: &str) -> Option<u64> {
        self.recorded(&follower_txn(follower)).and_then(|v| u64::try_from(v).ok())
    }

    /// Appends rows, if there are any, and moves cursors, in one commit.
    pub(crate) fn append(&self, batch: &RecordBatch, steps: Vec<Step>, now_ms: i64) -> Result<CommitOutcome, LakeError> {
        let mut files = Vec::new();
        if batch.num_rows() > 0 {
            files.push(DataFile::of(batch, Vec::new(), self.spec.stats_columns, (&random_id(now_ms), 0))?);
        }
        self.commit(&CommitRequest { files, steps, seal: None, operation: "WRITE", replaces: None, now_ms })
    }

    /// Makes a commit, or says why not. Repeating a request is safe.
    ///
    /// # Errors
    /// When files cannot be written or read. The commit may have landed all the same: repeat it.
    pub fn commit(&self, request: &CommitRequest) -> Result<CommitOutcome, LakeError> {
        assert!(!request.steps.is_empty(), "a commit without a transaction cannot be told from its copy");
        let mut guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh_locked(&mut guard)?;
        if let Some(outcome) = settled(request, &guard.state) {
            return Ok(outcome);
        }
        self.create_table(&mut guard, request.now_ms)?;
        for file in &request.files {
            self.files.write(&file.path, &file.bytes).map_err(|e| self.io("write", &file.path, e))?;
        }
        for _ in 0..MAX_ATTEMPTS {
            self.refresh_locked(&mut guard)?;
            if let Some(outcome) = settled(request, &guard.state) {
                return Ok(outcome);
            }
            let version = guard.state.next_version;
            let mut actions = actions_of(request);
            if !guard.has_our_columns {
                let added = delta::added_columns(guard.state.metadata.as_ref(), &self.spec.schema)?;
                guard.has_our_columns = added.is_none();
                actions.extend(added);
            }
            delta::number(&mut actions);
            let name = log_path(version);
            match self.files.create(&name, &delta::print_commit(&actions)).map_err(|e| self.io("write", &name, e))? {
                Created::Existed => {}
                Created::New => {
                    self.check_place(version, &name)?;
                    apply(&mut guard, version, actions)?;
                    return Ok(CommitOutcome::Committed { version });
                }
            }
        }
        Err(LakeError::Contended(MAX_ATTEMPTS))
    }

    fn create_table(&self, guard: &mut Versioned, now_ms: i64) -> Result<(), LakeError> {
        if guard.state.next_version > 0 {
            return Ok(());
        }
        let id = random_id(now_ms);
        let actions = delta::create_actions(&id, &self.spec.schema, self.spec.partition_columns, self.spec.stats_columns, now_ms);
        let name = log_path(0);
        // Whoever creates version 0, the table is the same: the schema is the program's.
        self.files.create(&name, &delta::print_commit(&actions)).map_err(|e| self.io("write", &name, e))?;
        self.refresh_locked(guard)
    }

    fn refresh_locked(&self, guard: &mut Versioned) -> Result<(), LakeError> {
        loop {
            while let Some(actions) = self.read_commit(guard.state.next_version)? {
                let version = guard.state.next_version;
                apply(guard, version, actions)?;
            }
            // Where a later checkpoint stands, commits are missing only because they were cleaned up behind it.
            let overtaken = self.last_checkpoint()?.is_some_and(|version| version >= guard.state.next_version);
            if !overtaken {
                return Ok(());
            }
            self.load_checkpoint(guard)?;
        }
    }

    fn read_commit(&self, version: u64) -> Result<Option<Vec<Action>>, LakeError> {
        let name = log_path(version);
        let bytes = self.files.read(&name).map_err(|e| self.io("read", &name, e))?;
        bytes.map(|bytes| delta::parse_commit(&bytes, version)).transpose()
    }

    /// A log with a hole would read as a shorter table: refuse it.
    fn check_log(&self, first: u64) -> Result<(), LakeError> {
        let names = self.files.list(LOG_FOLDER).map_err(|e| self.io("list", LOG_FOLDER, e))?;
        let versions = names.iter().filter_map(|name| version_of(name)).filter(|version| *version >= first);
        match versions.zip(first..).find(|(version, expected)| version != expected) {
            Some((_, hole)) => Err(LakeError::MissingCommit { version: hole }),
            None => Ok(()),
        }
    }

    pub(crate) fn io(&self, action: &'static str, name: &str, source: std::io::Error) -> LakeError {
        io_error(action, self.place.name_of(name), source)
    }
}

/// The outcome when nothing is to be written.
fn settled(request: &CommitRequest, state: &TableState) -> Option<CommitOutcome> {
    match decide(&request.steps, |app_id| state.txns.get(app_id).copied()) {
        // Files to be replaced that are gone were replaced by somebody else.
        Decision::Commit if request.replaces.iter().flat_map(|r| &r.paths).any(|path| !state.files.contains_key(path)) => {
            Some(CommitOutcome::Refused(Decision::Overlap))
        }
        Decision::Commit => None,
        Decision::AlreadyCommitted => Some(CommitOutcome::AlreadyCommitted),
        refused => Some(CommitOutcome::Refused(refused)),
    }
}

/// The state that a checkpoint stands for.
pub(crate) fn apply_checkpoint(version: u64, actions: Vec<Action>) -> Result<Versioned, LakeError> {
    let mut versioned = Versioned::default();
    versioned.state.next_version = version;
    apply(&mut versioned, version, actions)?;
    Ok(versioned)
}

fn apply(guard: &mut Versioned, version: u64, actions: Vec<Action>) -> Result<(), LakeError> {
    for action in &actions {
        match action {
            Action::Add(add) => {
                guard.added_at.insert(add.path.clone(), add.tagged_version().unwrap_or(version));
            }
            Action::Remove(remove) => {
                guard.added_at.remove(&remove.path);
            }
            Action::MetaData(_) => guard.has_our_columns = false,
            _ => {}
        }
    }
    guard.state.apply(version, actions)
}

fn actions_of(request: &CommitRequest) -> Vec<Action> {
    let info = CommitInfo {
        timestamp: request.now_ms,
        operation: request.operation.into(),
        engine_info: Some(concat!("vialog/", env!("CARGO_PKG_VERSION")).into()),
        operation_id: None,
        action_count: None,
        seal: request.seal.clone(),
    };
    let txns = request.steps.iter().map(|step| Txn { app_id: step.app_id.clone(), version: step.to, last_updated: Some(request.now_ms) });
    let adds = request.files.iter().map(|file| Add {
        path: file.path.clone(),
        partition_values: file.partition.iter().map(|(column, value)| (column.clone(), Some(value.clone()))).collect(),
        size: i64::try_from(file.bytes.len()).unwrap_or(i64::MAX),
        modification_time: request.now_ms,
        data_change: request.replaces.is_none(),
        stats: Some(file.stats.clone()),
        tags: request.replaces.as_ref().map(|r| {
            let tag = |name: &str, version: u64| (name.to_owned(), Some(version.to_string()));
            [tag(VERSION_TAG, r.version), tag(OLDEST_TAG, r.oldest_version)].into()
        }),
    });
    let removed = request.replaces.iter().flat_map(|r| &r.paths);
    let removes = removed.map(|path| Remove { path: path.clone(), deletion_timestamp: Some(request.now_ms), data_change: false });
    let actions = std::iter::once(Action::CommitInfo(info)).chain(txns.map(Action::Txn));
    actions.chain(removes.map(Action::Remove)).chain(adds.map(Action::Add)).collect()
}

fn log_path(version: u64) -> String {
    format!("{LOG_FOLDER}/{}", commit_file(version))
}

/// An id that no other process makes: time, process and a counter, in the form of a UUID.
pub fn random_id(now_ms: i64) -> String {
    use std::hash::{BuildHasher, RandomState};
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    // RandomState is seeded by the operating system for each process.
    let (a, b) = (RandomState::new().hash_one((now_ms, count)), RandomState::new().hash_one((count, std::process::id())));
    format!("{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}", a >> 32, (a >> 16) & 0xffff, a & 0xfff, b >> 52, b & 0xffff_ffff_ffff)
}
