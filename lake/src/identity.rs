//! What a lake says of itself in `lake.json`: which key it was written with, and which environment it holds.
//!
//! Made once, with the lake, and never changed: a lake is of one environment, and rows written under two keys could
//! not be verified by either.

use serde::{Deserialize, Serialize};

use crate::layout::IDENTITY_FILE;
use crate::place::Place;
use crate::{LakeError, io_error};

/// How the files of a lake are written; another one is refused. 6: the form of leaves in `ledger::leaf`.
const FORMAT: u32 = 6;

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    format: u32,
    key_id: String,
    environment: String,
}

impl Identity {
    pub(crate) fn new(key_id: String, environment: &str) -> Self {
        Self { format: FORMAT, key_id, environment: environment.to_owned() }
    }

    /// Reads it; `None` when the folder holds no lake.
    pub(crate) fn read(place: &Place) -> Result<Option<Self>, LakeError> {
        let path = place.name_of(IDENTITY_FILE);
        let bytes = place.files().read(IDENTITY_FILE).map_err(|e| io_error("read", path.clone(), e))?;
        let Some(bytes) = bytes else { return Ok(None) };
        let identity: Self = serde_json::from_slice(&bytes)
            .map_err(|e| LakeError::Unsupported(format!("`{path}` is damaged ({e}); restore it from a copy")))?;
        if identity.format != FORMAT {
            let age = if identity.format > FORMAT { "a newer version" } else { "a version before the first release" };
            return Err(LakeError::Unsupported(format!("the lake of `{path}` was made by {age}, and is read by that one only")));
        }
        Ok(Some(identity))
    }

    /// Writes it, unless another process was faster.
    pub(crate) fn create(&self, place: &Place) -> Result<(), LakeError> {
        let bytes = serde_json::to_vec(self).map_err(|e| LakeError::Unsupported(e.to_string()))?;
        place.files().create(IDENTITY_FILE, &bytes).map_err(|e| io_error("write", place.name_of(IDENTITY_FILE), e))?;
        Ok(())
    }

    /// Refuses another key than the one the lake was written with.
    pub(crate) fn check_key(&self, key_id: &str, key_file: &std::path::Path) -> Result<(), LakeError> {
        if self.key_id == key_id {
            return Ok(());
        }
        Err(LakeError::Key(format!(
            "the key file `{}` is not the one this lake was written with; restore that one from your backup, nothing was changed",
            key_file.display()
        )))
    }

    /// Refuses another environment.
    pub(crate) fn check_environment(&self, environment: &str) -> Result<(), LakeError> {
        if self.environment == environment {
            return Ok(());
        }
        Err(LakeError::Unsupported(format!(
            "this lake holds the environment `{}`, and was to be written as `{environment}`; each environment has a lake of its own",
            self.environment
        )))
    }
}
