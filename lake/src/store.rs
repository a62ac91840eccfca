//! Durable files in one folder: write a new file, write a file once and only once, read, list.
//!
//! A write counts when this returns: the file's bytes and its folder entry are synced first. A file
//! that must be written once is made under a temporary name and linked, so no reader ever sees a part
//! of it and two writers cannot both succeed.
//!
//! Needs a file system with hard links. Object storage: see `bucket`.

use std::fs;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

/// Whether a create-once write made the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Created {
    /// This call made it.
    New,
    /// It was there before.
    Existed,
}

/// The files of a lake or of a table, by their names relative to its root.
pub(crate) trait Files: Send + Sync + std::fmt::Debug {
    /// Writes a file whose name is new by construction, or whose last writer may win.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Writes a file if there is none of that name.
    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<Created>;
    /// The bytes of a file; `None` when there is none.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// Some bytes of a file.
    fn read_range(&self, name: &str, range: Range<u64>) -> io::Result<Bytes>;
    /// Names in a folder, sorted; none when there is no such folder.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    /// Removes files; one that is not there is no error. Only maintenance does.
    fn remove(&self, names: &[String]) -> io::Result<()>;
    /// Files with the time of their last change, milliseconds; those of the log left out.
    fn list_data(&self) -> io::Result<Vec<(String, i64)>>;
}

/// A folder with durable writes.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
    temporary: AtomicU64,
}

impl Store {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, temporary: AtomicU64::new(0) }
    }

    fn temporary_for(&self, path: &Path) -> io::Result<PathBuf> {
        let folder = path.parent().unwrap_or(&self.root);
        if !folder.is_dir() {
            fs::create_dir_all(folder)?;
            sync_folder(folder)?;
        }
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        Ok(folder.join(format!(".{}-{number}.tmp", std::process::id())))
    }
}

impl Files for Store {
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.root.join(name);
        let temporary = self.temporary_for(&path)?;
        write_synced(&temporary, bytes)?;
        fs::rename(&temporary, &path)?;
        sync_folder(&path)
    }

    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<Created> {
        let path = self.root.join(name);
        let temporary = self.temporary_for(&path)?;
        write_synced(&temporary, bytes)?;
        let linked = fs::hard_link(&temporary, &path);
        fs::remove_file(&temporary)?;
        match linked {
            Ok(()) => sync_folder(&path).map(|()| Created::New),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Created::Existed),
            Err(error) => Err(error),
        }
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.root.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read_range(&self, name: &str, range: Range<u64>) -> io::Result<Bytes> {
        let mut bytes = vec![0; usize::try_from(range.end - range.start).map_err(io::Error::other)?];
        fs::File::open(self.root.join(name))?.read_exact_at(&mut bytes, range.start)?;
        Ok(bytes.into())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.root.join(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn remove(&self, names: &[String]) -> io::Result<()> {
        for name in names {
            match fs::remove_file(self.root.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn list_data(&self) -> io::Result<Vec<(String, i64)>> {
        let mut found = Vec::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            if !folder.is_dir() {
                continue;
            }
            for entry in fs::read_dir(&folder)? {
                let (path, kind) = entry.and_then(|e| Ok((e.path(), e.file_type()?)))?;
                let name = path.strip_prefix(&self.root).unwrap_or(&path).to_string_lossy().into_owned();
                if kind.is_dir() && name != crate::layout::LOG_FOLDER {
                    folders.push(path);
                } else if kind.is_file() {
                    // A writer gives its temporary file its name meanwhile, or another maintainer removes what is old.
                    let changed = match fs::metadata(&path) {
                        Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                        metadata => metadata?.modified()?,
                    };
                    let changed = changed.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                    found.push((name, i64::try_from(changed.as_millis()).unwrap_or(i64::MAX)));
                }
            }
        }
        Ok(found)
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // A half-written temporary file helps nobody; the first error is the one to report.
        let _ = fs::remove_file(path);
    }
    written
}

fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_of_two_creators_succeeds_and_the_first_bytes_stay() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().into());
        assert_eq!(store.create("a/1", b"first").unwrap(), Created::New);
        assert_eq!(store.create("a/1", b"second").unwrap(), Created::Existed);
        assert_eq!(store.read("a/1").unwrap().unwrap(), b"first");
        assert_eq!(store.list("a").unwrap(), ["1"]);
        assert_eq!(store.read("a/2").unwrap(), None);
    }
}
