//! Faults on command, for the tests of the commit protocol with real processes. Not part of a release build.
//!
//! A fault strikes at one named point of the n-th effect on one table: the process kills itself (SIGKILL), the effect
//! takes place and its reply is lost, or it takes long. Files are counted by handle of a table: data files, checkpoints
//! and the hint to them; so are commits, and removals that name a file.

use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::layout::TableName;
use crate::store::{Created, Files};

/// How long a slow commit takes.
const SLOW: Duration = Duration::from_secs(4);

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
    /// The commit takes four seconds to begin, and a file `<commit>.slow.tmp` says so.
    SlowCommit,
    /// When half of the files that may go are removed.
    HalfRemove,
}

/// A point of a table and which time around it strikes, written `after-commit:3` for `events`, else `seals/after-commit:3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    table: TableName,
    point: Point,
    nth: u64,
}

impl Fault {
    /// Whether it strikes in this table.
    pub(crate) fn is_of(self, table: TableName) -> bool {
        self.table == table
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (table, text) = text.split_once('/').unwrap_or((TableName::Events.as_str(), text));
        let named = TableName::ALL.iter().find(|name| name.as_str() == table);
        let table = *named.ok_or_else(|| format!("there is no table `{table}`"))?;
        let (name, nth) = text.split_once(':').unwrap_or((text, "1"));
        let point = match name {
            "before-file" => Point::BeforeFile,
            "half-file" => Point::HalfFile,
            "after-file" => Point::AfterFile,
            "half-commit" => Point::HalfCommit,
            "after-commit" => Point::AfterCommit,
            "lost-reply" => Point::LostReply,
            "slow-commit" => Point::SlowCommit,
            "half-remove" => Point::HalfRemove,
            other => return Err(format!("there is no fault `{other}`")),
        };
        Ok(Self { table, point, nth: nth.parse().map_err(|_| format!("`{nth}` is no number"))? })
    }
}

/// Files that fail once.
#[derive(Debug)]
pub(crate) struct FaultyFiles {
    inner: Arc<dyn Files>,
    fault: Fault,
    writes: AtomicU64,
    commits: AtomicU64,
    removals: AtomicU64,
}

impl FaultyFiles {
    pub(crate) fn new(inner: Arc<dyn Files>, fault: Fault) -> Self {
        Self { inner, fault, writes: AtomicU64::new(0), commits: AtomicU64::new(0), removals: AtomicU64::new(0) }
    }

    fn is_due(&self, count: u64, point: Point) -> bool {
        (self.fault.point, self.fault.nth) == (point, count)
    }

    fn strike(&self, count: u64, point: Point) {
        if self.is_due(count, point) {
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
        if self.is_due(count, Point::HalfFile) {
            self.inner.write(&format!("{name}.half"), &bytes[..bytes.len() / 2])?;
            self.strike(count, Point::HalfFile);
        }
        self.inner.write(name, bytes)?;
        self.strike(count, Point::AfterFile);
        Ok(())
    }

    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<Created> {
        let count = self.commits.fetch_add(1, Ordering::Relaxed) + 1;
        if self.is_due(count, Point::SlowCommit) {
            self.inner.write(&format!("{name}.slow.tmp"), b"")?;
            std::thread::sleep(SLOW);
        }
        if self.is_due(count, Point::HalfCommit) {
            self.inner.write(&format!("{name}.half.tmp"), &bytes[..bytes.len() / 2])?;
            self.strike(count, Point::HalfCommit);
        }
        let created = self.inner.create(name, bytes)?;
        self.strike(count, Point::AfterCommit);
        if self.is_due(count, Point::LostReply) {
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
        if !names.is_empty() {
            let count = self.removals.fetch_add(1, Ordering::Relaxed) + 1;
            if self.is_due(count, Point::HalfRemove) {
                self.inner.remove(&names[..names.len().div_ceil(2)])?;
                self.strike(count, Point::HalfRemove);
            }
        }
        self.inner.remove(names)
    }

    fn list_data(&self) -> io::Result<Vec<(String, i64)>> {
        self.inner.list_data()
    }
}
