//! How fast one adapter is on one core: MB/s of raw JSON for parsing, with redaction, and for the whole decoding.
//!
//! `cargo run --release -p schemas --example adapter_rate ADAPTER FILE [SECONDS [STAGE]]`: FILE holds one record a line.

use std::hint::black_box;
use std::time::{Duration, Instant};

use schemas::adapters::Adapter;
use schemas::batch::RowsBuilder;
use schemas::decode::{Decoder, Record, Source};
use schemas::keys::Keys;
use schemas::privacy::Privacy;
use schemas::redact::Redactor;

fn record(payload: &[u8]) -> Record<'_> {
    Record { stream: "file:bench", incarnation: "1", partition: 0, offset: 0, kafka: None, payload: Some(payload) }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, file, rest @ ..] = args.as_slice() else { return Err("ADAPTER FILE [SECONDS]".into()) };
    let adapter = Adapter::by_name(name).ok_or("no such adapter")?;
    let text = std::fs::read(file)?;
    let lines: Vec<&[u8]> = text.split(|b| *b == b'\n').filter(|line| !line.is_empty()).collect();
    let seconds = rest.first().map_or(Ok(2), |s| s.parse())?;
    let keys = Keys::from_master(&[7; 32]);
    let source = Source {
        adapter,
        tenant: "default".into(),
        instance: "bench".into(),
        environment: "development".into(),
        privacy: Privacy::default(),
    };
    let decoder = Decoder { source: &source, keys: &keys };
    let only = rest.get(1);
    let rate = |what: &str, each: &mut dyn FnMut(&[u8])| {
        if only.is_some_and(|only| only != what) {
            return;
        }
        let (start, mut bytes, mut records) = (Instant::now(), 0, 0_u32);
        while start.elapsed() < Duration::from_secs(seconds) {
            lines.iter().for_each(|line| each(line));
            bytes += lines.iter().map(|line| line.len()).sum::<usize>();
            records += u32::try_from(lines.len()).unwrap_or(u32::MAX);
        }
        let elapsed = start.elapsed();
        println!(
            "{name:12} {what:12} {:8.1} MB/s {:8.2} µs/record",
            bytes as f64 / 1e6 / elapsed.as_secs_f64(),
            elapsed.as_secs_f64() * 1e6 / f64::from(records)
        );
    };
    rate("parse", &mut |line| drop(black_box(schemas::json::parse(line))));
    rate("redact", &mut |line| {
        if let Ok(mut json) = schemas::json::parse(line) {
            black_box(Redactor::new(&keys, "default", &decoder.source.privacy).of_record(line).element(&mut json));
        }
    });
    rate("decode", &mut |line| drop(black_box(decoder.decode(&record(line), 1_700_000_000_000_000))));
    let mut rows = RowsBuilder::default();
    rate("columns", &mut |line| {
        decoder.decode(&record(line), 1_700_000_000_000_000).iter().for_each(|row| rows.push(row));
        if rows.len() > 10_000 {
            black_box(std::mem::take(&mut rows).finish().is_ok());
        }
    });
    Ok(())
}
