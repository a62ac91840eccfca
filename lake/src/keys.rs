//! The key file of a lake: 64 hex digits, readable by its owner alone.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use schemas::keys::Keys;

use crate::{LakeError, io_error};

/// Reads the key file, or makes one with a random key.
///
/// # Errors
/// When it cannot be read or made, is no key, or others may read it.
pub fn load_or_create(path: &Path) -> Result<Keys, LakeError> {
    if !path.exists() {
        create(path)?;
    }
    load(path)
}

/// Reads the key file.
///
/// # Errors
/// When it is missing, cannot be read, is no key, or others may read it.
pub fn load(path: &Path) -> Result<Keys, LakeError> {
    if !path.exists() {
        return Err(LakeError::Key(format!(
            "the key file `{}` of this lake is missing; restore it from your backup: without it nothing can be verified or added",
            path.display()
        )));
    }
    let metadata = fs::metadata(path).map_err(|e| io_error("read", path.display().to_string(), e))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(LakeError::Key(format!("the key file `{}` can be read by others; run `chmod 600` on it", path.display())));
    }
    let text = fs::read_to_string(path).map_err(|e| io_error("read", path.display().to_string(), e))?;
    let master = ledger::unhex(text.trim()).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let master = master.ok_or_else(|| LakeError::Key(format!("`{}` is no key file: it must hold 64 hex digits", path.display())))?;
    Ok(Keys::from_master(&master))
}

fn create(path: &Path) -> Result<(), LakeError> {
    let mut random = [0_u8; 32];
    let source = fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut random));
    source.map_err(|e| io_error("read", "/dev/urandom".into(), e))?;
    // Made whole under another name, then linked: of two processes at once, both read the same key.
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary).and_then(|mut file| {
        file.write_all(ledger::hex(&random).as_bytes())?;
        file.sync_all()
    });
    written.map_err(|e| io_error("write", temporary.display().to_string(), e))?;
    let linked = fs::hard_link(&temporary, path);
    let _ = fs::remove_file(&temporary);
    match linked {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(io_error("write", path.display().to_string(), e)),
        _ => Ok(()),
    }
}
