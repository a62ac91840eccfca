//! What keeps a table's log short: checkpoints, and what may be removed behind them.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use crate::LakeError;
use crate::checkpoint::{self, LastCheckpoint};
use crate::delta;
use crate::layout::{LAST_CHECKPOINT, LOG_FOLDER, checkpoint_file, version_of};
use crate::table::{Table, Versioned, apply_checkpoint};

/// A file that no version names may be one that is being committed: it is left alone for this long.
const ORPHAN_AGE_MS: i64 = 3_600_000;

impl Table {
    /// Version of the newest checkpoint.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn last_checkpoint(&self) -> Result<Option<u64>, LakeError> {
        let name = format!("{LOG_FOLDER}/{LAST_CHECKPOINT}");
        let bytes = self.files.read(&name).map_err(|e| self.io("read", &name, e))?;
        let last = bytes.map(|bytes| serde_json::from_slice::<LastCheckpoint>(&bytes)).transpose();
        // It is only a hint: without it the log is read from its start, which then must be whole.
        Ok(last.ok().flatten().map(|last| last.version))
    }

    /// Writes a checkpoint of the newest version; returns that version.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn checkpoint(&self) -> Result<u64, LakeError> {
        self.refresh()?;
        let (version, encoded) = {
            let guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let encoded = checkpoint::encode(&guard.state, |path| guard.added_at.get(path).copied().unwrap_or(0))?;
            (guard.state.next_version.saturating_sub(1), encoded)
        };
        let (bytes, size) = encoded;
        let name = format!("{LOG_FOLDER}/{}", checkpoint_file(version));
        self.files.write(&name, &bytes).map_err(|e| self.io("write", &name, e))?;
        let last = serde_json::to_vec(&LastCheckpoint { version, size }).map_err(|e| LakeError::Unsupported(e.to_string()))?;
        let hint = format!("{LOG_FOLDER}/{LAST_CHECKPOINT}");
        self.files.write(&hint, &last).map_err(|e| self.io("write", &hint, e))?;
        Ok(version)
    }

    /// Columns of the table, as far as it is known, that this version of the program does not know. It adds rows all the same;
    /// but it must not write rows anew that may hold them.
    ///
    /// # Errors
    /// When the table's schema cannot be read.
    pub(crate) fn unknown_columns(&self) -> Result<Vec<String>, LakeError> {
        let guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        delta::unknown_columns(guard.state.metadata.as_ref(), &self.spec().schema)
    }

    /// Replaces the state by that of the newest checkpoint, if it is newer. Returns the first version after it.
    pub(crate) fn load_checkpoint(&self, guard: &mut Versioned) -> Result<u64, LakeError> {
        let Some(version) = self.last_checkpoint()?.filter(|v| *v >= guard.state.next_version) else {
            return Ok(guard.state.next_version);
        };
        let name = format!("{LOG_FOLDER}/{}", checkpoint_file(version));
        let bytes = self.files.read(&name).map_err(|e| self.io("read", &name, e))?;
        let damaged = |what: String| LakeError::DamagedCommit { version, what: format!("its checkpoint: {what}") };
        let bytes = bytes.ok_or_else(|| damaged("it is missing".into()))?;
        let actions = checkpoint::decode(bytes, version).map_err(|e| damaged(e.to_string()))?;
        *guard = apply_checkpoint(version, actions)?;
        Ok(version + 1)
    }

    /// Commit and checkpoint files of versions before this one, relative to the table.
    pub(crate) fn commits_before(&self, limit: u64) -> Result<Vec<String>, LakeError> {
        let names = self.files.list(LOG_FOLDER).map_err(|e| self.io("list", LOG_FOLDER, e))?;
        let version = |name: &str| {
            let commit = name.strip_suffix(".checkpoint.parquet").map(|digits| format!("{digits}.json"));
            version_of(commit.as_deref().unwrap_or(name))
        };
        Ok(names.iter().filter(|name| version(name).is_some_and(|v| v < limit)).map(|name| format!("{LOG_FOLDER}/{name}")).collect())
    }

    /// Data files that the newest version does not name, older than an hour.
    pub(crate) fn orphans(&self, now_ms: i64) -> Result<Vec<String>, LakeError> {
        let listed = self.files.list_data().map_err(|e| self.io("list", "", e))?;
        self.refresh()?;
        let named: BTreeSet<String> = self.data_files().into_iter().map(|f| f.add.path).collect();
        let is_old = |changed_ms: i64| now_ms - changed_ms > ORPHAN_AGE_MS;
        Ok(listed.into_iter().filter(|(name, changed_ms)| is_old(*changed_ms) && !named.contains(name)).map(|(name, _)| name).collect())
    }

    pub(crate) fn remove_files(&self, names: &[String]) -> Result<(), LakeError> {
        self.files.remove(names).map_err(|e| self.io("remove files of", "", e))
    }

    pub(crate) fn read_file(&self, name: &str) -> Result<Vec<u8>, LakeError> {
        let bytes = self.files.read(name).map_err(|e| self.io("read", name, e))?;
        bytes.ok_or_else(|| self.io("read", name, std::io::ErrorKind::NotFound.into()))
    }

    /// A commit that landed below a checkpoint, because its writer slept while the log was cleaned up, is none.
    pub(crate) fn check_place(&self, version: u64, name: &str) -> Result<(), LakeError> {
        if self.last_checkpoint()?.is_none_or(|last| last < version) {
            return Ok(());
        }
        self.remove_files(&[name.to_owned()])?;
        Err(LakeError::Unsupported(format!("the log was cleaned up past version {version} while it was written; it is tried again")))
    }
}
