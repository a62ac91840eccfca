//! The only code that knows a path, a table name, Delta or Parquet.
//!
//! A lake is a folder of Delta tables. [`Lake`] opens it; [`events::EventBatch`] commits events
//! exactly once; [`snapshot`] gives tables to DataFusion; [`follow`] reads what came since a version.
//!
//! In reading order: [`layout`] (names), [`decide`] (pure commit decisions), `delta` (the log's
//! bytes), `store` (durable files), [`table`] (one table), [`leaves`] and [`events`] (batches).

mod bucket;
mod checkpoint;
mod delta;
mod place;
mod store;

pub mod alert_actions;
pub mod alerts;
pub mod baselines;
pub mod canaries;
pub mod decide;
pub mod events;
#[cfg(debug_assertions)]
pub mod faults;
mod file_rows;
mod first_arrivals;
pub mod follow;
pub mod functions;
mod growing_files;
mod held;
mod identity;
pub mod joined;
pub mod keys;
pub mod layout;
pub mod leaves;
pub mod maintain;
#[cfg(test)]
mod model_test;
mod parquet_file;
mod people;
pub mod rule_actions;
pub mod seals;
mod seen;
mod sketch;
pub mod slot;
pub mod snapshot;
pub mod table;
mod table_upkeep;
#[cfg(test)]
mod upkeep_test;
pub mod verify;
pub mod views;
pub mod words;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use identity::Identity;
pub use layout::TableName;
pub use place::LakeAt;
use place::Place;
use schemas::keys::Keys;
use table::Table;

/// Most that is kept of the footers of files, bytes in memory.
const FOOTERS_BYTES: usize = 64 << 20;

/// A failure of the lake. Outcomes such as "already committed" are not errors.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// Reading or writing a file failed.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A commit file is damaged.
    #[error("commit {version} of the table is damaged ({what}); restore it from a copy, nothing was changed")]
    DamagedCommit {
        /// Its version.
        version: u64,
        /// How.
        what: String,
    },
    /// A commit file is missing.
    #[error("commit {version} of the table is missing")]
    MissingCommit {
        /// Its version.
        version: u64,
    },
    /// Arrow or Parquet failed.
    #[error("cannot write or read the rows")]
    Rows(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Something that is not built or not understood.
    #[error("{0}")]
    Unsupported(String),
    /// Another writer won too many times.
    #[error("gave up after {0} attempts to commit; other writers were faster each time")]
    Contended(u32),
    /// The key file is missing, readable by others, or damaged.
    #[error("{0}")]
    Key(String),
}

/// A lake that is open.
#[derive(Debug, Clone)]
pub struct Lake {
    place: Place,
    keys: Arc<Keys>,
    /// Tables that were opened: what is known of them is only brought up to date the next time.
    tables: Arc<Mutex<BTreeMap<TableName, Table>>>,
    /// What queries share: the footers of files that were read.
    runtime: Arc<RuntimeEnv>,
    #[cfg(debug_assertions)]
    fault: Option<faults::Fault>,
}

impl Lake {
    /// Opens a lake for writing events of an environment, or makes it with its key file beside it.
    ///
    /// # Errors
    /// When its place or the key file cannot be made or read, or the lake is of another key or environment.
    pub fn open_or_create(at: impl Into<LakeAt>, environment: &str) -> Result<Self, LakeError> {
        let at = at.into();
        let place = Place::of(&at)?;
        let key_file = place.key_file(at.key_file.as_deref())?;
        place.prepare()?;
        if Identity::read(&place)?.is_none() {
            let keys = keys::load_or_create(&key_file)?;
            Identity::new(keys.id(), environment).create(&place)?;
        }
        let (lake, identity) = Self::of_place(place, &at)?;
        identity.check_environment(environment)?;
        Ok(lake)
    }

    /// Opens a lake that exists.
    ///
    /// # Errors
    /// When there is none, or its key file cannot be read or is another one.
    pub fn open(at: impl Into<LakeAt>) -> Result<Self, LakeError> {
        let at = at.into();
        Ok(Self::of_place(Place::of(&at)?, &at)?.0)
    }

    fn of_place(place: Place, at: &LakeAt) -> Result<(Self, Identity), LakeError> {
        // Before anything is asked of a store.
        let key_file = place.key_file(at.key_file.as_deref())?;
        let Some(identity) = Identity::read(&place)? else {
            return Err(LakeError::Unsupported(format!(
                "there is no lake at `{}`; make one with `vialog import`, `ingest` or `demo`",
                at.uri
            )));
        };
        let keys = keys::load(&key_file)?;
        identity.check_key(&keys.id(), &key_file)?;
        Ok((Self::of(place, keys)?, identity))
    }

    fn of(place: Place, keys: Keys) -> Result<Self, LakeError> {
        let runtime = RuntimeEnvBuilder::new().with_metadata_cache_limit(FOOTERS_BYTES).build_arc();
        Ok(Self {
            place,
            keys: Arc::new(keys),
            tables: Arc::default(),
            runtime: runtime.map_err(|error| LakeError::Rows(Box::new(error)))?,
            #[cfg(debug_assertions)]
            fault: None,
        })
    }

    /// The same lake, of which one table fails once in each handle of it, and each opening gives another handle.
    #[cfg(debug_assertions)]
    #[must_use]
    pub fn with_fault(self, fault: Option<faults::Fault>) -> Self {
        Self { fault, ..self }
    }

    /// Keys of the lake.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The same, for one who lives on its own.
    pub(crate) fn shared_keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys)
    }

    /// A table with its schema; made on its first commit.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn table(&self, name: TableName, spec: table::TableSpec) -> Result<Table, LakeError> {
        let place = self.place.below(name.as_str());
        #[cfg(debug_assertions)]
        if let Some(fault) = self.fault.filter(|fault| fault.is_of(name)) {
            return Table::over(Arc::new(faults::FaultyFiles::new(place.files(), fault)), place, spec);
        }
        let known = self.tables.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        if let Some(table) = known {
            table.refresh()?;
            return Ok(table);
        }
        let table = Table::open(place, spec)?;
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).insert(name, table.clone());
        Ok(table)
    }
}

fn io_error(action: &'static str, path: String, source: std::io::Error) -> LakeError {
    LakeError::Io { action, path, source }
}
