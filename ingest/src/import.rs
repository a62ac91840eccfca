//! Files and standard input through the same adapters and the same commit path, without Kafka.
//!
//! A file is a stream named by a keyed hash of its content and of how it is read (adapter, tenant, instance), each line of
//! it one record (see `split`; a file that is one JSON array: each element). So the same file imported twice is
//! recognised by its recorded position, an interrupted import goes on where it stopped, and a file that was read by the
//! wrong adapter can be read again by the right one. gzip and zstd files are unpacked on the way.
//!
//! Limits: an array file may be 256 MiB unpacked; line files have no limit, a line at most 32 MiB is decoded.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::path::Path;

use lake::Lake;
use lake::events::{self, Counts, EventBatch, Origin};
use lake::follow;
use lake::table::{CommitOutcome, Table};
use schemas::decode::{Decoder, Record, Source};
use schemas::json::{self, Json};

use crate::flush::FlushPolicy;
use crate::split::Records;
use crate::summary::Summary;
use crate::{IngestError, now_us};

/// Largest array file, bytes unpacked.
const MAX_ARRAY_BYTES: u64 = 256 << 20;

/// What an import did.
#[derive(Debug, Clone, Copy)]
pub struct Imported {
    /// What was added.
    pub summary: Summary,
    /// Files that were in the lake already, read the same way.
    pub known_files: u64,
}

/// Imports files; `-` is standard input. `progress` hears the bytes read so far.
///
/// # Errors
/// When a file cannot be read or the lake fails.
pub async fn import(lake: &Lake, source: &Source, paths: &[String], progress: &dyn Fn(u64)) -> Result<Imported, IngestError> {
    let table = events::open(lake)?;
    let mut run = Import { lake, source, table, counts: Counts::default(), commits: 0, batch_ids: Vec::new(), bytes: 0, known_files: 0 };
    for path in paths {
        run.file(path, progress)?;
    }
    follow::advance(lake, now_us() / 1000).await?;
    let duplicates = follow::duplicates_of(lake, &run.batch_ids).await?;
    Ok(Imported { summary: Summary::of(run.counts, duplicates, run.commits, 0), known_files: run.known_files })
}

struct Import<'a> {
    lake: &'a Lake,
    source: &'a Source,
    table: Table,
    counts: Counts,
    commits: u64,
    batch_ids: Vec<String>,
    bytes: u64,
    known_files: u64,
}

impl Import<'_> {
    fn file(&mut self, path: &str, progress: &dyn Fn(u64)) -> Result<(), IngestError> {
        let failed = |source| IngestError::File { path: path.to_owned(), source };
        let mut file = if path == "-" { spool().map_err(failed)? } else { File::open(path).map_err(failed)? };
        let digest = digest(&mut file).map_err(failed)?;
        file.rewind().map_err(failed)?;
        let origin = Origin {
            stream: format!("file:{}", self.lake.keys().file_id(&digest, &self.read_as())),
            incarnation: "1".into(),
            partition: 0,
        };
        let mut reader = unpacked(file).map_err(failed)?;
        if starts_with_array(&mut reader).map_err(failed)? {
            let mut bytes = Vec::new();
            reader.take(MAX_ARRAY_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
            if bytes.len() as u64 > MAX_ARRAY_BYTES {
                return Err(IngestError::Refused(format!(
                    "`{path}` is one JSON array of more than {MAX_ARRAY_BYTES} bytes; split it into lines"
                )));
            }
            return match json::parse(&bytes) {
                Ok(Json::Array(items)) => self.records(&origin, items.iter().map(|item| Ok(item.compact().into_bytes())), progress),
                _ => self.records(&origin, std::iter::once(Ok(bytes)), progress),
            };
        }
        let lines = Records::new(reader).map(|line| line.map_err(failed));
        self.records(&origin, lines, progress)
    }

    fn read_as(&self) -> [&str; 3] {
        [self.source.adapter.name(), &self.source.tenant, &self.source.instance]
    }

    fn records(
        &mut self,
        origin: &Origin,
        records: impl Iterator<Item = Result<Vec<u8>, IngestError>>,
        progress: &dyn Fn(u64),
    ) -> Result<(), IngestError> {
        let policy = FlushPolicy { age_ms: i64::MAX, ..FlushPolicy::default() };
        let before = events::position(&self.table, origin);
        let mut taken = before.unwrap_or(-1);
        let mut batch = EventBatch::new(self.lake, now_us() / 1000);
        for (offset, record) in records.enumerate() {
            let (offset, payload) = (i64::try_from(offset).unwrap_or(i64::MAX), record?);
            self.bytes += payload.len() as u64;
            if offset <= taken {
                continue;
            }
            let record = Record {
                stream: &origin.stream,
                incarnation: &origin.incarnation,
                partition: 0,
                offset,
                kafka: None,
                payload: Some(&payload),
            };
            let rows = Decoder { source: self.source, keys: self.lake.keys() }.decode(&record, now_us());
            batch.push(origin, taken, offset, rows)?;
            taken = offset;
            if policy.is_due(batch.size_bytes(), 0) {
                let next = batch.next(now_us() / 1000);
                self.commit(std::mem::replace(&mut batch, next))?;
                progress(self.bytes);
            }
        }
        if batch.is_empty() && before.is_some() {
            self.known_files += 1;
        }
        self.commit(batch)?;
        progress(self.bytes);
        Ok(())
    }

    fn commit(&mut self, batch: EventBatch) -> Result<(), IngestError> {
        if batch.is_empty() {
            return Ok(());
        }
        let sealed = batch.seal(now_us() / 1000)?;
        match sealed.commit(&self.table)? {
            CommitOutcome::Committed { .. } => {
                self.counts += sealed.counts();
                self.commits += 1;
                self.batch_ids.push(sealed.batch_id().to_owned());
                Ok(())
            }
            CommitOutcome::AlreadyCommitted => Ok(()),
            CommitOutcome::Refused(_) => {
                Err(IngestError::Refused("another import of the same file runs at this moment; let it finish".into()))
            }
        }
    }
}

/// Standard input into a file without a name, because it is read twice: for its name and for its records.
fn spool() -> std::io::Result<File> {
    let path = std::env::temp_dir().join(format!("vialog-import-{}-{}", std::process::id(), now_us()));
    let mut file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    std::io::copy(&mut std::io::stdin().lock(), &mut file)?;
    file.flush()?;
    file.rewind()?;
    Ok(file)
}

fn digest(file: &mut File) -> std::io::Result<Vec<u8>> {
    use sha2::Digest;
    let mut hash = sha2::Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().to_vec()),
            n => hash.update(&buffer[..n]),
        }
    }
}

fn unpacked(mut file: File) -> std::io::Result<Box<dyn BufRead>> {
    let mut magic = [0; 4];
    let read = file.read(&mut magic)?;
    file.rewind()?;
    Ok(match &magic[..read] {
        [0x1f, 0x8b, ..] => Box::new(BufReader::with_capacity(1 << 20, flate2::read::MultiGzDecoder::new(file))),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(BufReader::with_capacity(1 << 20, zstd::stream::read::Decoder::new(file)?)),
        _ => Box::new(BufReader::with_capacity(1 << 20, file)),
    })
}

fn starts_with_array(reader: &mut impl BufRead) -> std::io::Result<bool> {
    let head = reader.fill_buf()?;
    Ok(head.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'['))
}

/// Whether a path names something that can be imported, for an early answer.
pub fn is_importable(path: &str) -> bool {
    path == "-" || Path::new(path).is_file()
}
