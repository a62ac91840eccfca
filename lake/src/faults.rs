//! Faults on command, for the tests of the commit protocol with real processes. Not part of a release build.
//!
//! A fault strikes at one named point of the n-th effect on table `events`: the process kills itself (SIGKILL), or
//! the effect takes place and its reply is lost.

use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::store::{Created, Files};

/// Where a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    /// Before a data file is written.
    BeforeFile,
    /// When half of a data file is written.
    HalfFile,
    /// When a data file is written, and the commit is not.
    AfterFile,
    /// When half of a commit is written.
    HalfCommit,
    /// When the commit stands, and nobody was told.
    AfterCommit,
    /// The commit stands, and its writer hears of an error.
    LostReply,
}

/// A point and which time around it strikes, written `after-commit:3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    point: Point,
    nth: u64,
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, nth) = text.split_once(':').unwrap_or((text, "1"));
        let point = match name {
            "before-file" => Point::BeforeFile,
            "half-file" => Point::HalfFile,
            "after-file" => Point::AfterFile,
            "half-commit" => Point::HalfCommit,
            "after-commit" => Point::AfterCommit,
            "lost-reply" => Point::LostReply,
            other => return Err(format!("there is no fault `{other}`")),
        };
        Ok(Self { point, nth: nth.parse().map_err(|_| format!("`{nth}` is no number"))? })
    }
}

/// Files that fail once.
#[derive(Debug)]
pub(crate) struct FaultyFiles {
    inner: Arc<dyn Files>,
    fault: Fault,
    writes: AtomicU64,
    commits: AtomicU64,
}

impl FaultyFiles {
    pub(crate) fn new(inner: Arc<dyn Files>, fault: Fault) -> Self {
        Self { inner, fault, writes: AtomicU64::new(0), commits: AtomicU64::new(0) }
    }

    fn strike(&self, count: u64, point: Point) {
        if self.fault == (Fault { point, nth: count }) {
            // From outside, as the tests' own kills come.
            let _ = std::process::Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
            std::thread::sleep(Duration::from_secs(60));
        }
    }
}

impl Files for FaultyFiles {
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let count = self.writes.fetch_add(1, Ordering::Relaxed) + 1;
        self.strike(count, Point::BeforeFile);
        if self.fault == (Fault { point: Point::HalfFile, nth: count }) {
            self.inner.write(&format!("{name}.half"), &bytes[..bytes.len() / 2])?;
            self.strike(count, Point::HalfFile);
        }
        self.inner.write(name, bytes)?;
        self.strike(count, Point::AfterFile);
        Ok(())
    }

    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<Created> {
        let count = self.commits.fetch_add(1, Ordering::Relaxed) + 1;
        if self.fault == (Fault { point: Point::HalfCommit, nth: count }) {
            self.inner.write(&format!("{name}.half.tmp"), &bytes[..bytes.len() / 2])?;
            self.strike(count, Point::HalfCommit);
        }
        let created = self.inner.create(name, bytes)?;
        self.strike(count, Point::AfterCommit);
        if self.fault == (Fault { point: Point::LostReply, nth: count }) {
            return Err(io::Error::other("the reply was lost (injected)"));
        }
        Ok(created)
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.inner.read(name)
    }

    fn read_range(&self, name: &str, range: std::ops::Range<u64>) -> io::Result<bytes::Bytes> {
        self.inner.read_range(name, range)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.inner.list(folder)
    }

    fn remove(&self, names: &[String]) -> io::Result<()> {
        self.inner.remove(names)
    }

    fn list_data(&self) -> io::Result<Vec<(String, i64)>> {
        self.inner.list_data()
    }
}
