//! Where the time of ingest goes: each stage on its own, over the same records, on one core.
//!
//! `stages ADAPTER FILE` with one record a line prints microseconds a record and the share of each stage. Stages are timed
//! one after the other over batches of about 64 MiB, so their sum is that of the whole but for what caches do.

use std::hint::black_box;
use std::time::{Duration, Instant};

use lake::events::{self, EventBatch, Origin};
use lake::{Lake, follow, leaves};
use schemas::adapters::Adapter;
use schemas::batch::RowsBuilder;
use schemas::decode::{Decoder, Record, Source};
use schemas::privacy::Privacy;
use schemas::redact::Redactor;
use sha2::{Digest, Sha256};

type Failure = Box<dyn std::error::Error>;

const BATCH_BYTES: usize = 64 << 20;

#[derive(Default)]
struct Times {
    parse: Duration,
    redact: Duration,
    hash: Duration,
    decode: Duration,
    columns: Duration,
    leaves: Duration,
    seal: Duration,
    compress: Duration,
    commit: Duration,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, file] = args.as_slice() else { return Err("ADAPTER FILE".into()) };
    let text = std::fs::read(file)?;
    let records: Vec<&[u8]> = text.split(|b| *b == b'\n').filter(|line| !line.is_empty()).collect();
    let folder = std::env::temp_dir().join(format!("vialog-stages-{}", std::process::id()));
    let lake = Lake::open_or_create(folder.join("lake").to_string_lossy(), "development")?;
    let adapter = Adapter::by_name(name).ok_or("no such adapter")?;
    let source = Source {
        adapter,
        tenant: "default".into(),
        instance: "bench".into(),
        environment: "development".into(),
        privacy: Privacy::default(),
    };
    let (mut times, mut first, mut bytes) = (Times::default(), 0, 0);
    for (i, record) in records.iter().enumerate() {
        bytes += record.len() + 1024;
        if bytes > BATCH_BYTES || i + 1 == records.len() {
            batch(&lake, &source, &records[first..=i], first, &mut times)?;
            (first, bytes) = (i + 1, 0);
        }
    }
    let start = Instant::now();
    follow::advance(&lake, 0).await?;
    print(&times, start.elapsed(), records.len());
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

/// Records that are taken through the stages together: about as many as a chunk of the worker holds, which stays in the cache.
const CHUNK_RECORDS: usize = 400;

fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    *total += start.elapsed();
    done
}

fn batch(lake: &Lake, source: &Source, records: &[&[u8]], first: usize, times: &mut Times) -> Result<(), Failure> {
    let keys = lake.keys();
    let parse = schemas::json::parse;
    timed(&mut times.parse, || records.iter().for_each(|record| drop(black_box(parse(record)))));
    let redact = |record: &[u8]| {
        parse(record).map(|mut json| black_box(Redactor::new(keys, "default", &source.privacy).of_record(record).element(&mut json)))
    };
    timed(&mut times.redact, || records.iter().for_each(|record| drop(redact(record))));
    let hash = |record: &[u8]| black_box(keys.payload_mac(&Sha256::digest(record).into()));
    timed(&mut times.hash, || records.iter().for_each(|record| drop(hash(record))));
    let decoder = Decoder { source, keys };
    let origin = Origin { stream: "file:bench".into(), incarnation: "1".into(), partition: 0 };
    let offset = |i: usize| i64::try_from(first + i).unwrap_or(i64::MAX);
    let decode = |(i, record): (usize, &&[u8])| {
        let record =
            Record { stream: &origin.stream, incarnation: "1", partition: 0, offset: offset(i), kafka: None, payload: Some(record) };
        decoder.decode(&record, 1_793_491_200_000_000)
    };
    black_box(timed(&mut times.compress, || zstd::encode_all(&records.concat()[..], 1))?);
    let mut batch = EventBatch::new(lake, 0);
    let numbered: Vec<(usize, &&[u8])> = records.iter().enumerate().collect();
    for chunk in numbered.chunks(CHUNK_RECORDS) {
        let decoded: Vec<_> = timed(&mut times.decode, || chunk.iter().copied().map(decode).collect());
        let mut rows = RowsBuilder::default();
        timed(&mut times.columns, || decoded.iter().flatten().for_each(|row| rows.push(row)));
        let columns = timed(&mut times.columns, || rows.finish())?;
        black_box(timed(&mut times.leaves, || leaves::leaf_hashes(&columns, keys)));
        drop(columns);
        let mut push = |((i, _), rows): (&(usize, _), _)| batch.push(&origin, offset(*i) - 1, offset(*i), rows);
        timed(&mut times.seal, || chunk.iter().zip(decoded).try_for_each(&mut push))?;
    }
    let sealed = timed(&mut times.seal, || batch.seal(0))?;
    let table = events::open(lake)?;
    timed(&mut times.commit, || sealed.commit(&table))?;
    Ok(())
}

fn print(times: &Times, follow: Duration, records: usize) {
    let us = |time: Duration| time.as_secs_f64() * 1e6 / records as f64;
    let stages = [
        ("parse", us(times.parse)),
        ("redact", us(times.redact) - us(times.parse)),
        ("map to columns", us(times.decode) - us(times.redact) - us(times.hash) + us(times.columns)),
        ("hash payload", us(times.hash)),
        ("hash leaves", us(times.leaves)),
        ("encode Parquet", us(times.seal) - us(times.columns) - us(times.leaves) - us(times.compress)),
        ("compress payload", us(times.compress)),
        ("commit, fsync", us(times.commit)),
        ("copies", us(follow)),
    ];
    let sum: f64 = stages.iter().map(|(_, us)| us).sum();
    for (name, us) in stages {
        println!("  {name:<18} {us:>7.2} µs/record {:>5.1} %", 100.0 * us / sum);
    }
}
