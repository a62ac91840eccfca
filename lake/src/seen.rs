//! Which files may hold an event id: the memory of the copies follower, which is the table itself.
//!
//! Every file of `events` carries a bloom filter of its event ids (one false hit in 100,000) and the range of its event
//! times; a copy carries the same id and the same event time. So of all files only those that overlap in time are
//! asked, and of those only the ones that say *maybe* are read. An event without a time of its own has that of its Kafka record,
//! which is another one when it is sent again: of those the files of seven days around it are asked. One that is stored with the time of
//! its record and comes again with its own is not found.
//!
//! Memory: filters are kept up to 96 MiB, about 25 million ids; past that the least recently used are read anew.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use bytes::Bytes;
use parquet::bloom_filter::Sbbf;
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::{ChunkReader, FileReader, Length};
use parquet::file::serialized_reader::{ReadOptionsBuilder, SerializedFileReader};
use schemas::columns::name;

use crate::LakeError;
use crate::delta::Add;
use crate::parquet_file::Logged;
use crate::store::Files;
use crate::table::{Table, TableFile};

const MAX_CACHE_BYTES: usize = 96 << 20;
/// What is read of a file where its reader does not say how much it wants: headers of a few bytes.
const READ_AHEAD_BYTES: u64 = 64 << 10;

/// Event ids.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    /// With their times, by time.
    timed: Vec<(i64, String)>,
    /// Of events whose time is that of their record.
    untimed: Vec<(i64, String)>,
}

/// How far from its record's time an event without its own may have been before, microseconds.
const UNTIMED_REACH_US: i64 = 7 * 86_400_000_000;

impl Ids {
    /// From batches of `event_id, event_time` and whether that is the time of the record.
    pub(crate) fn of(batches: &[RecordBatch]) -> Result<Self, LakeError> {
        let rows = |e: arrow::error::ArrowError| LakeError::Rows(Box::new(e));
        let mut ids = Self::default();
        for batch in batches {
            let texts = cast(batch.column(0), &DataType::Utf8).map_err(rows)?;
            let times = cast(batch.column(1), &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))).map_err(rows)?;
            let (texts, times) = (texts.as_string::<i32>(), times.as_primitive::<TimestampMicrosecondType>());
            let of_record = batch.column(2).as_boolean();
            for i in (0..batch.num_rows()).filter(|i| !texts.is_null(*i)) {
                let is_untimed = of_record.is_valid(i) && of_record.value(i);
                let those = if is_untimed { &mut ids.untimed } else { &mut ids.timed };
                those.push((times.value(i), texts.value(i).to_owned()));
            }
        }
        ids.timed.sort_unstable();
        ids.untimed.sort_unstable();
        Ok(ids)
    }

    /// Those that may stand here twice.
    fn repeated(&self) -> impl Iterator<Item = &str> {
        let hasher = RandomState::new();
        let mut seen = HashSet::with_capacity(self.timed.len() + self.untimed.len());
        self.all().filter(move |id| !seen.insert(hasher.hash_one(id)))
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        self.timed.iter().chain(&self.untimed).map(|(_, id)| id.as_str())
    }

    /// Those whose time lies in a range, or near it where it is not their own; all when the range is not known.
    fn within(&self, times: Option<(i64, i64)>) -> impl Iterator<Item = &str> {
        let (low, high) = times.unwrap_or((i64::MIN, i64::MAX));
        let near = (low.saturating_sub(UNTIMED_REACH_US), high.saturating_add(UNTIMED_REACH_US));
        between(&self.timed, (low, high)).iter().chain(between(&self.untimed, near)).map(|(_, id)| id.as_str())
    }
}

fn between(ids: &[(i64, String)], (low, high): (i64, i64)) -> &[(i64, String)] {
    let from = ids.partition_point(|(time, _)| *time < low);
    let to = ids.partition_point(|(time, _)| *time <= high);
    &ids[from..to]
}

/// Filters that were read.
#[derive(Debug, Default)]
pub(crate) struct SeenIds {
    filters: HashMap<String, Kept>,
    bytes: usize,
    clock: u64,
}

#[derive(Debug)]
struct Kept {
    /// One for each row group; none where the file has no filter.
    filters: Vec<Option<Sbbf>>,
    bytes: usize,
    used: u64,
}

/// What has to be looked at closely: mostly nothing.
#[derive(Debug)]
pub(crate) struct Suspects<'i> {
    /// Ids that may have been there before, or stand twice among those that were asked about.
    pub(crate) ids: BTreeSet<&'i str>,
    /// The files that may hold them.
    pub(crate) files: Vec<Add>,
}

impl SeenIds {
    /// Of these ids, those that may stand in one of the files or are here twice.
    pub(crate) fn suspects<'i>(&mut self, table: &Table, files: Vec<TableFile>, ids: &'i Ids) -> Result<Suspects<'i>, LakeError> {
        let mut found = Suspects { ids: ids.repeated().collect(), files: Vec::new() };
        for file in files {
            let times = Logged::of(file.add.stats.as_deref()).and_then(|logged| logged.bounds_us(name::event_time));
            if ids.within(times).next().is_none() {
                continue;
            }
            let filters = self.filters_of(table, &file.add)?;
            let may_hold = |id: &str| filters.iter().any(|filter| filter.as_ref().is_none_or(|f| f.check(id)));
            if ids.within(times).any(may_hold) {
                // The file is read: then also those of another time are looked for in it.
                found.ids.extend(ids.all().filter(|id| may_hold(id)));
                found.files.push(file.add);
            }
        }
        Ok(found)
    }

    /// The filters of a file: one for each row group, none where it has none.
    fn filters_of(&mut self, table: &Table, file: &Add) -> Result<&[Option<Sbbf>], LakeError> {
        let path = file.path.as_str();
        self.clock += 1;
        if !self.filters.contains_key(path) {
            let filters = read_filters(table, file)?;
            let bytes = filters.iter().flatten().map(|f| f.num_blocks() * 32).sum::<usize>() + path.len() + 128;
            self.bytes += bytes;
            self.filters.insert(path.to_owned(), Kept { filters, bytes, used: self.clock });
            self.forget_oldest(path);
        }
        let clock = self.clock;
        Ok(self.filters.get_mut(path).map_or(&[None], |kept| {
            kept.used = clock;
            &kept.filters
        }))
    }

    fn forget_oldest(&mut self, keep: &str) {
        while self.bytes > MAX_CACHE_BYTES && self.filters.len() > 1 {
            let oldest = self.filters.iter().filter(|(path, _)| *path != keep).min_by_key(|(_, kept)| kept.used);
            let Some(path) = oldest.map(|(path, _)| path.clone()) else { return };
            self.bytes -= self.filters.remove(&path).map_or(0, |kept| kept.bytes);
        }
    }
}

fn read_filters(table: &Table, file: &Add) -> Result<Vec<Option<Sbbf>>, LakeError> {
    let rows = |e: parquet::errors::ParquetError| LakeError::Rows(Box::new(e));
    let chunks = Chunks { files: Arc::clone(&table.files), name: file.path.clone(), size_bytes: u64::try_from(file.size).unwrap_or(0) };
    let properties = ReaderProperties::builder().set_read_bloom_filter(true).build();
    let options = ReadOptionsBuilder::new().with_reader_properties(properties).build();
    let reader = SerializedFileReader::new_with_options(chunks, options).map_err(rows)?;
    let schema = reader.metadata().file_metadata().schema_descr();
    let Some(column) = (0..schema.num_columns()).find(|i| schema.column(*i).path().string() == name::event_id) else {
        return Ok(vec![None]);
    };
    let groups = 0..reader.num_row_groups();
    groups.map(|i| Ok(reader.get_row_group(i).map_err(rows)?.get_column_bloom_filter(column).cloned())).collect()
}

/// A data file of which only a few parts are read.
struct Chunks {
    files: Arc<dyn Files>,
    name: String,
    size_bytes: u64,
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.size_bytes
    }
}

impl ChunkReader for Chunks {
    type T = std::io::Cursor<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        let length = self.size_bytes.saturating_sub(start).min(READ_AHEAD_BYTES);
        self.get_bytes(start, usize::try_from(length).unwrap_or(0)).map(std::io::Cursor::new)
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        Ok(self.files.read_range(&self.name, start..start + length as u64)?)
    }
}
