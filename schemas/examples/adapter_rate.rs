//! How fast one adapter is on one core: MB/s of raw JSON for parsing, with redaction, and for the whole decoding.
//!
//! `cargo run --release -p schemas --example adapter_rate ADAPTER FILE [SECONDS [STAGE]]`: FILE holds one record a line.
//! `... adapter_rate all [SECONDS]`: decoding of every adapter over the records that it is tested with, as one table.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use schemas::adapters::Adapter;
use schemas::batch::RowsBuilder;
use schemas::decode::{Decoder, Record, Source};
use schemas::keys::Keys;
use schemas::mapping::check;
use schemas::privacy::Privacy;
use schemas::redact::Redactor;

/// When the records are decoded, microseconds.
const NOW_US: i64 = 1_700_000_000_000_000;

fn record(payload: &[u8]) -> Record<'_> {
    Record { stream: "file:bench", incarnation: "1", partition: 0, offset: 0, kafka: None, payload: Some(payload) }
}

fn source(adapter: Adapter) -> Source {
    Source { adapter, tenant: "default".into(), instance: "bench".into(), environment: "development".into(), privacy: Privacy::default() }
}

/// MB a second and microseconds a record.
struct Rate {
    mb_s: f64,
    us: f64,
}

/// What this thread was on a core for, seconds, where Linux says so: other programs beside it then do not count.
fn cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split(' ').next()?.parse::<f64>().ok()? / 1e9)
}

/// Does something with every record, again and again for some seconds.
fn rate(records: &[&[u8]], seconds: u64, each: &mut dyn FnMut(&[u8])) -> Rate {
    let (start, cpu, mut bytes, mut done) = (Instant::now(), cpu_seconds(), 0, 0_u32);
    while start.elapsed() < Duration::from_secs(seconds) {
        records.iter().for_each(|record| each(record));
        bytes += records.iter().map(|record| record.len()).sum::<usize>();
        done += u32::try_from(records.len()).unwrap_or(u32::MAX);
    }
    let elapsed = cpu.zip(cpu_seconds()).map_or(start.elapsed().as_secs_f64(), |(before, now)| now - before);
    Rate { mb_s: bytes as f64 / 1e6 / elapsed, us: elapsed * 1e6 / f64::from(done) }
}

/// The table of all adapters.
fn all(seconds: u64) {
    let keys = Keys::from_master(&[7; 32]);
    println!("| adapter | records | bytes a record | MB/s | µs a record |\n|---|---|---|---|---|");
    for adapter in Adapter::all() {
        let tests: Vec<Vec<u8>> = adapter.tests().iter().map(|test| check::bytes_of(&test.record)).collect();
        let records: Vec<&[u8]> = tests.iter().map(Vec::as_slice).collect();
        let source = source(adapter);
        let decoder = Decoder { source: &source, keys: &keys };
        let Rate { mb_s, us } = rate(&records, seconds, &mut |bytes| drop(black_box(decoder.decode(&record(bytes), NOW_US))));
        let size = tests.iter().map(Vec::len).sum::<usize>() / tests.len().max(1);
        println!("| {} | {} | {size} | {mb_s:.1} | {us:.1} |", source.adapter.name(), tests.len());
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let seconds = |at: usize| args.get(at).map_or(Ok(2), |s| s.parse());
    match args.as_slice() {
        [name, ..] if name == "all" => all(seconds(1)?),
        [name, file, ..] => stages(name, &std::fs::read(file)?, (seconds(2)?, args.get(3)))?,
        _ => return Err("ADAPTER FILE [SECONDS [STAGE]], or all [SECONDS]".into()),
    }
    Ok(())
}

/// Each stage of one adapter over the lines of a file, or the one that is named.
fn stages(name: &str, text: &[u8], (seconds, only): (u64, Option<&String>)) -> Result<(), Box<dyn Error>> {
    let adapter = Adapter::by_name(name).ok_or("no such adapter")?;
    let lines: Vec<&[u8]> = text.split(|b| *b == b'\n').filter(|line| !line.is_empty()).collect();
    let keys = Keys::from_master(&[7; 32]);
    let source = source(adapter);
    let decoder = Decoder { source: &source, keys: &keys };
    let measure = |what: &str, each: &mut dyn FnMut(&[u8])| {
        if only.is_none_or(|only| only == what) {
            let Rate { mb_s, us } = rate(&lines, seconds, each);
            println!("{name:12} {what:12} {mb_s:8.1} MB/s {us:8.2} µs/record");
        }
    };
    measure("parse", &mut |line| drop(black_box(schemas::json::parse(line))));
    for (what, privacy) in [("redact", &source.privacy), ("secrets only", &Privacy::none())] {
        measure(what, &mut |line| {
            if let Ok(mut json) = schemas::json::parse(line) {
                black_box(Redactor::new(&keys, "default", privacy).of_record(line).element(&mut json));
            }
        });
    }
    measure("decode", &mut |line| drop(black_box(decoder.decode(&record(line), NOW_US))));
    let mut rows = RowsBuilder::default();
    measure("columns", &mut |line| {
        decoder.decode(&record(line), NOW_US).iter().for_each(|row| rows.push(row));
        if rows.len() > 10_000 {
            black_box(std::mem::take(&mut rows).finish().is_ok());
        }
    });
    Ok(())
}
